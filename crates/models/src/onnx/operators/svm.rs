//! `SVMRegressor` and `SVMClassifier`, in the runtime's single precision.

use super::approximate;
use super::linear::first_largest;
use super::product::{Product, multiply};
use super::scores::{Second, Transform, logistic};
use super::trees::labelled;
use crate::labels::Labels;
use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::real::reals;
use crate::onnx::site::{Built, Site};
use crate::onnx::tensor::{ElementType, Tensor, Values};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kernel {
    Linear,
    Polynomial { gamma: f32, coef0: f32, degree: f32 },
    Rbf { gamma: f32 },
    Sigmoid { gamma: f32, coef0: f32 },
}

/// A kernel with the vectors that it is applied to.
#[derive(Debug)]
struct Vectors {
    kernel: Kernel,
    values: Vec<f32>,
    count: usize,
    features: usize,
}

#[derive(Debug)]
struct Regressor {
    vectors: Vectors,
    /// Of the vectors; none where the vectors are the coefficients themselves.
    coefficients: Option<Vec<f32>>,
    rho: f32,
    one_class: bool,
}

#[derive(Debug)]
struct Classifier {
    vectors: Vectors,
    machine: Option<Machine>,
    rho: Vec<f32>,
    labels: Labels,
    transform: Transform,
    positive: bool,
}

/// One class against one.
#[derive(Debug)]
struct Machine {
    /// The first vector of each class, and the number of its vectors.
    parts: Vec<(usize, usize)>,
    coefficients: Vec<f32>,
    probabilities: Option<(Vec<f32>, Vec<f32>)>,
}

const NUMBERS: [ElementType; 4] = [
    ElementType::Float,
    ElementType::Double,
    ElementType::Int64,
    ElementType::Int32,
];

/// Classes of a machine: pairs of them are many.
const CLASSES: usize = 1 << 12;

fn kernel(site: &Site<'_, '_>) -> Result<Kernel, String> {
    let (gamma, coef0, degree) = match site.floats("kernel_params")? {
        [gamma, coef0, degree, ..] => (*gamma, *coef0, *degree),
        [] => (0.0, 0.0, 0.0),
        _ => return Err("expected three values in `kernel_params`".to_owned()),
    };
    Ok(match site.text("kernel_type")?.unwrap_or("LINEAR") {
        "LINEAR" => Kernel::Linear,
        "POLY" => Kernel::Polynomial {
            gamma,
            coef0,
            degree,
        },
        "RBF" => Kernel::Rbf { gamma },
        "SIGMOID" => Kernel::Sigmoid { gamma, coef0 },
        _ => return Err("the `kernel_type` is none that there is".to_owned()),
    })
}

impl Vectors {
    fn new(kernel: Kernel, values: &[f32], count: usize) -> Result<Self, String> {
        let features = values.len().checked_div(count).unwrap_or(0);
        if features == 0 || features.checked_mul(count) != Some(values.len()) {
            return Err("expected support vectors of one length".to_owned());
        }
        Ok(Self {
            kernel,
            values: values.to_vec(),
            count,
            features,
        })
    }

    /// The kernel of each row with each vector, and the number of rows.
    fn apply(&self, input: &Tensor, work: &mut Work) -> Result<(Vec<f32>, usize), String> {
        let (rows, columns) = input.table()?;
        if columns != self.features {
            return Err(format!(
                "expected {} columns, found {columns}",
                self.features
            ));
        }
        let values = reals::<f32>(input.values())?;
        work.room(ElementType::Float, &[rows, self.count])?;
        if let Kernel::Rbf { gamma } = self.kernel {
            work.steps(&[rows, self.count, columns])?;
            let mut out = Vec::with_capacity(rows.saturating_mul(self.count));
            for row in values.chunks_exact(columns) {
                out.extend(self.values.chunks_exact(columns).map(|vector| {
                    let square = |sum: f32, (x, y): (&f32, &f32)| sum + (x - y) * (x - y);
                    let distance = row.iter().zip(vector).fold(0.0, square);
                    (-gamma * distance).exp()
                }));
            }
            return Ok((out, rows));
        }
        let product = Product {
            rows,
            columns: self.count,
            inner: columns,
            turned: true,
        };
        let mut out = multiply(product, &values, &self.values, work)?;
        match self.kernel {
            Kernel::Linear | Kernel::Rbf { .. } => {}
            Kernel::Polynomial {
                gamma,
                coef0,
                degree,
            } => {
                for value in &mut out {
                    let base = value.mul_add(gamma, coef0);
                    *value = if degree == 2.0 {
                        base * base
                    } else if degree == 3.0 {
                        base * base * base
                    } else {
                        base.powf(degree)
                    };
                }
            }
            Kernel::Sigmoid { gamma, coef0 } => {
                for value in &mut out {
                    *value = approximate::tanh(value.mul_add(gamma, coef0));
                }
            }
        }
        Ok((out, rows))
    }
}

pub(super) fn regressor(site: &Site<'_, '_>) -> Result<Built, String> {
    site.of(0, &[ElementType::Float])?;
    let coefficients = site.floats("coefficients")?;
    let rho = site.floats("rho")?.first().copied();
    let count = site.int("n_supports")?.unwrap_or(0);
    let count = usize::try_from(count).map_err(|_| "expected a number of vectors")?;
    let (vectors, coefficients) = if count > 0 {
        let vectors = Vectors::new(kernel(site)?, site.floats("support_vectors")?, count)?;
        if coefficients.len() != count {
            return Err("expected a coefficient for each support vector".to_owned());
        }
        (vectors, Some(coefficients.to_vec()))
    } else {
        (Vectors::new(Kernel::Linear, coefficients, 1)?, None)
    };
    let regressor = Regressor {
        vectors,
        coefficients,
        rho: rho.ok_or("expected a value in `rho`")?,
        one_class: site.int("one_class")?.unwrap_or(0) != 0,
    };
    Ok(Built::new(regressor, &[ElementType::Float]))
}

impl Operator for Regressor {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (kernels, rows) = self.vectors.apply(inputs.get(0)?, work)?;
        let mut out = match &self.coefficients {
            Some(coefficients) => {
                let product = Product {
                    rows,
                    columns: 1,
                    inner: self.vectors.count,
                    turned: false,
                };
                multiply(product, &kernels, coefficients, work)?
            }
            None => kernels,
        };
        for value in &mut out {
            *value += self.rho;
            if self.one_class {
                *value = if *value > 0.0 { 1.0 } else { -1.0 };
            }
        }
        Ok(vec![made(vec![rows, 1], Values::Float(out))?])
    }
}

pub(super) fn classifier(site: &Site<'_, '_>) -> Result<Built, String> {
    site.of(0, &NUMBERS)?;
    let labels = site.labels("classlabels_strings", "classlabels_ints")?;
    let classes = labels.len();
    if !(1..=CLASSES).contains(&classes) {
        return Err(format!("expected at most {CLASSES} classes"));
    }
    let coefficients = site.floats("coefficients")?;
    let rho = site.floats("rho")?.to_vec();
    let counts = site.ints("vectors_per_class")?;
    let mut parts = Vec::new();
    let mut total = 0_usize;
    for count in counts {
        let count = usize::try_from(*count).map_err(|_| "a class has no number of vectors")?;
        parts.push((total, count));
        total = total.checked_add(count).ok_or("too many vectors")?;
    }
    let (vectors, machine) = if total > 0 {
        let pairs = classes * (classes - 1) / 2;
        let vectors = Vectors::new(kernel(site)?, site.floats("support_vectors")?, total)?;
        let (a, b) = (site.floats("prob_a")?, site.floats("prob_b")?);
        let fits = classes >= 2
            && parts.len() == classes
            && total.checked_mul(classes - 1) == Some(coefficients.len())
            && rho.len() >= pairs
            && a.len() == b.len()
            && (a.is_empty() || a.len() == pairs);
        if !fits {
            return Err("the coefficients do not fit the vectors and classes".to_owned());
        }
        let machine = Machine {
            parts,
            coefficients: coefficients.to_vec(),
            probabilities: (!a.is_empty()).then(|| (a.to_vec(), b.to_vec())),
        };
        (vectors, Some(machine))
    } else {
        (Vectors::new(Kernel::Linear, coefficients, classes)?, None)
    };
    if rho.is_empty() {
        return Err("expected a value in `rho`".to_owned());
    }
    let label = match labels {
        Labels::Strings(_) => ElementType::Text,
        _ => ElementType::Int64,
    };
    let classifier = Classifier {
        vectors,
        machine,
        rho,
        labels,
        transform: Transform::read(site)?,
        positive: coefficients.iter().all(|value| *value >= 0.0),
    };
    Ok(Built::new(classifier, &[label, ElementType::Float]))
}

impl Machine {
    /// The score of each pair of classes, and the votes for each class.
    fn scores(&self, kernels: &[f32], rho: &[f32]) -> (Vec<f32>, Vec<f64>) {
        let total = kernels.len();
        let classes = self.parts.len();
        let mut scores = Vec::new();
        let mut votes = vec![0.0; classes];
        let mut rho = rho.iter();
        for (i, (first, count)) in self.parts.iter().enumerate() {
            for (j, (second, other)) in self.parts.iter().enumerate().skip(i + 1) {
                let add = |sum: f64, row: usize, start: usize, count: usize| {
                    let coefficients = self.coefficients.iter().skip(row * total + start);
                    let kernels = kernels.iter().skip(start);
                    let pairs = coefficients.zip(kernels).take(count);
                    // Products are of single precision, their sum is not.
                    pairs.fold(sum, |sum, (c, k)| sum + f64::from(c * k))
                };
                let sum = add(0.0, j - 1, *first, *count);
                let sum = add(sum, i, *second, *other);
                let sum = sum + f64::from(rho.next().copied().unwrap_or(0.0));
                scores.push(sum as f32);
                if let Some(votes) = votes.get_mut(if sum > 0.0 { i } else { j }) {
                    *votes += 1.0;
                }
            }
        }
        (scores, votes)
    }
}

impl Classifier {
    /// The class of a row and its scores.
    fn decide(&self, kernels: &[f32]) -> (usize, Vec<f32>) {
        let classes = self.labels.len();
        let Some(machine) = &self.machine else {
            let rho = self.rho.first().copied().unwrap_or(0.0);
            let mut scores: Vec<f32> = kernels.iter().map(|score| score + rho).collect();
            let best = first_largest(&scores);
            let weight = scores.get(best).copied().unwrap_or(0.0);
            let class = if classes == 2 {
                let over = if self.positive {
                    weight >= 0.5
                } else {
                    weight > 0.0
                };
                if over { 1 } else { best }
            } else {
                best
            };
            self.transform.apply_batch(&mut scores);
            return (class, scores);
        };
        let (mut scores, votes) = machine.scores(kernels, &self.rho);
        let class = first_largest(&votes);
        if let Some((a, b)) = &machine.probabilities {
            let mut r = vec![0.0_f32; classes * classes];
            let mut pairs = scores.iter().zip(a).zip(b);
            for i in 0..classes {
                for j in i + 1..classes {
                    let Some(((score, a), b)) = pairs.next() else {
                        break;
                    };
                    let value = 1.0 - logistic(score * a + b);
                    let value = value.clamp(1e-7, 1.0 - 1e-7);
                    if let Some(cell) = r.get_mut(i * classes + j) {
                        *cell = value;
                    }
                    if let Some(cell) = r.get_mut(j * classes + i) {
                        *cell = 1.0 - value;
                    }
                }
            }
            scores = couple(&r, classes);
        }
        if let [score] = scores.as_slice() {
            let second = if self.transform == Transform::None {
                Second::Negative
            } else {
                Second::Rest
            };
            let score = *score;
            self.transform.write(&mut scores, second);
            if self.transform == Transform::Probit {
                scores = vec![scores.first().copied().unwrap_or(score), 0.0];
            }
        } else {
            self.transform.apply_batch(&mut scores);
        }
        (class, scores)
    }
}

impl Operator for Classifier {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (kernels, rows) = self.vectors.apply(inputs.get(0)?, work)?;
        let classes = self.labels.len();
        let width = match &self.machine {
            Some(machine) if machine.probabilities.is_none() && classes > 2 => {
                classes * (classes - 1) / 2
            }
            Some(_) => classes.max(2),
            None => classes,
        };
        work.room(ElementType::Text, &[rows])?;
        work.steps(&[rows, self.vectors.count, classes])?;
        work.steps(&[rows, classes, classes, classes])?;
        let count = work.room(ElementType::Float, &[rows, width])?;
        let mut out = Vec::with_capacity(count);
        let mut chosen = Vec::with_capacity(rows);
        for row in kernels.chunks_exact(self.vectors.count) {
            let (class, scores) = self.decide(row);
            chosen.push(class);
            out.extend(scores);
            out.resize(chosen.len() * width, 0.0);
        }
        Ok(vec![
            labelled(&self.labels, &chosen)?,
            made(vec![rows, width], Values::Float(out))?,
        ])
    }
}

/// libsvm's coupling of pairwise probabilities, in single precision.
fn couple(r: &[f32], k: usize) -> Vec<f32> {
    let at = |values: &[f32], row: usize, column: usize| {
        values.get(row * k + column).copied().unwrap_or(0.0)
    };
    let mut q = vec![0.0_f32; k * k];
    for i in 0..k {
        for j in 0..k {
            let value = if i == j {
                (0..k)
                    .filter(|other| *other != i)
                    .fold(0.0, |sum, j| sum + at(r, j, i) * at(r, j, i))
            } else if j < i {
                at(&q, j, i)
            } else {
                -at(r, j, i) * at(r, i, j)
            };
            if let Some(cell) = q.get_mut(i * k + j) {
                *cell = value;
            }
        }
    }
    let mut p = vec![1.0 / k as f32; k];
    let bound = 0.005 / k as f32;
    for _ in 0..100 {
        let mut qp: Vec<f32> = q
            .chunks_exact(k)
            .map(|row| row.iter().zip(&p).fold(0.0, |sum, (q, p)| sum + q * p))
            .collect();
        let mut pqp = p.iter().zip(&qp).fold(0.0, |sum, (p, qp)| sum + p * qp);
        let error = qp
            .iter()
            .map(|value| (value - pqp).abs())
            .fold(0.0, f32::max);
        if error < bound {
            break;
        }
        for (i, row) in q.chunks_exact(k).enumerate() {
            let (Some(diagonal), Some(value)) = (row.get(i), qp.get(i).copied()) else {
                continue;
            };
            let step = (-value + pqp) / diagonal;
            if let Some(p) = p.get_mut(i) {
                *p += step;
            }
            pqp = (pqp + step * (step * diagonal + 2.0 * value)) / (1.0 + step) / (1.0 + step);
            for ((qp, q), p) in qp.iter_mut().zip(row).zip(&mut p) {
                *qp = (*qp + step * q) / (1.0 + step);
                *p /= 1.0 + step;
            }
        }
    }
    p
}
