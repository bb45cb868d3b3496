//! Support vector classification, one class against one, as libsvm's `svm_predict_values` and
//! `svm_predict_probability` in scikit-learn's copy compute it.

use super::argmax;
use super::dot::Rounding;
use super::scattered::AnyVectors;
use crate::data::Rows;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kernel {
    Linear,
    Polynomial { gamma: f64, coef0: f64, degree: u32 },
    Rbf { gamma: f64 },
    Sigmoid { gamma: f64, coef0: f64 },
}

/// A kernel with the vectors that it is applied to.
#[derive(Debug, Clone)]
pub(crate) struct KernelFunction {
    pub(crate) kernel: Kernel,
    pub(crate) vectors: AnyVectors,
    pub(crate) rounding: Rounding,
}

impl KernelFunction {
    /// Writes the kernel of `row` with each vector to `out`.
    pub(crate) fn apply(&self, row: &[f64], out: &mut Vec<f64>) {
        let vectors = &self.vectors;
        match self.kernel {
            Kernel::Rbf { gamma } => {
                vectors.square_distances(row, self.rounding, out);
                out.iter_mut()
                    .for_each(|value| *value = (-gamma * *value).exp());
            }
            Kernel::Linear => vectors.products(row, self.rounding, out),
            Kernel::Polynomial {
                gamma,
                coef0,
                degree,
            } => {
                vectors.products(row, self.rounding, out);
                out.iter_mut()
                    .for_each(|value| *value = power(gamma * *value + coef0, degree));
            }
            Kernel::Sigmoid { gamma, coef0 } => {
                vectors.products(row, self.rounding, out);
                out.iter_mut()
                    .for_each(|value| *value = (gamma * *value + coef0).tanh());
            }
        }
    }
}

/// The sigmoids that turn decisions into probabilities, one for each pair of classes.
#[derive(Debug, Clone)]
pub(crate) struct Platt {
    pub(crate) a: Vec<f64>,
    pub(crate) b: Vec<f64>,
}

/// What an [`Svc`] is made of.
#[derive(Debug, Clone)]
pub(crate) struct SvcParts {
    /// With the support vectors, those of one class together.
    pub(crate) kernel: KernelFunction,
    pub(crate) classes: usize,
    /// Support vectors of each class.
    pub(crate) counts: Vec<usize>,
    /// `classes - 1` rows of one value for each support vector, in libsvm's signs.
    pub(crate) coefficients: Vec<f64>,
    /// One for each pair of classes, in libsvm's signs.
    pub(crate) intercepts: Vec<f64>,
    pub(crate) platt: Option<Platt>,
    pub(crate) break_ties: bool,
    pub(crate) one_vs_rest: bool,
    pub(crate) confidence: Confidence,
}

/// How sums of confidences decide between classes of as many votes (scikit-learn's `_ovr_decision_function`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confidence {
    /// Each for itself.
    Alone,
    /// By the largest of all that is asked about at once, as in 0.20.
    Together,
}

impl Confidence {
    pub(crate) fn of_version(version: (u32, u32)) -> Self {
        match version < (0, 21) {
            true => Self::Together,
            false => Self::Alone,
        }
    }

    /// Adds less than half a vote for each sum.
    pub(crate) fn add_to(self, votes: &mut [f64], sums: &[f64]) {
        let (lowest, highest) = sums
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), sum| {
                (sum.min(low), sum.max(high))
            });
        if self == Self::Together && lowest == highest {
            return;
        }
        let scale = (0.5 - f64::EPSILON) / lowest.abs().max(highest.abs());
        for (vote, sum) in votes.iter_mut().zip(sums) {
            *vote += match self {
                Self::Alone => sum / (3.0 * (sum.abs() + 1.0)),
                Self::Together => sum * scale,
            };
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Svc {
    parts: SvcParts,
    pairs: Vec<Pair>,
}

/// The decision between two classes: the support vectors of both, each with its coefficients.
#[derive(Debug, Clone)]
struct Pair {
    first: usize,
    second: usize,
    first_start: usize,
    second_start: usize,
    first_coefficients: Vec<f64>,
    second_coefficients: Vec<f64>,
    intercept: f64,
}

impl Svc {
    pub(crate) fn new(parts: SvcParts) -> Option<Self> {
        let vectors = parts
            .counts
            .iter()
            .try_fold(0_usize, |sum, count| sum.checked_add(*count))?;
        let pairs = parts.classes.checked_mul(parts.classes.checked_sub(1)?)? / 2;
        let fits = parts.classes >= 2
            && parts.counts.len() == parts.classes
            && vectors == parts.kernel.vectors.count()
            && vectors.checked_mul(parts.classes - 1) == Some(parts.coefficients.len())
            && parts.intercepts.len() == pairs
            && parts
                .platt
                .as_ref()
                .is_none_or(|platt| platt.a.len() == pairs && platt.b.len() == pairs);
        if !fits {
            return None;
        }
        let starts: Vec<usize> = parts
            .counts
            .iter()
            .scan(0, |next, count| {
                Some(std::mem::replace(next, *next + count))
            })
            .collect();
        let of = |row: usize, class: usize| {
            let start = row.checked_mul(vectors)?.checked_add(*starts.get(class)?)?;
            parts
                .coefficients
                .get(start..)?
                .get(..*parts.counts.get(class)?)
                .map(<[f64]>::to_vec)
        };
        let mut made = Vec::new();
        let both = (0..parts.classes)
            .flat_map(|first| (first + 1..parts.classes).map(move |second| (first, second)));
        for ((first, second), intercept) in both.zip(&parts.intercepts) {
            made.push(Pair {
                first,
                second,
                first_start: *starts.get(first)?,
                second_start: *starts.get(second)?,
                first_coefficients: of(second - 1, first)?,
                second_coefficients: of(first, second)?,
                intercept: *intercept,
            });
        }
        Some(Self { pairs: made, parts })
    }

    pub(crate) fn classes(&self) -> usize {
        self.parts.classes
    }

    pub(crate) fn has_probabilities(&self) -> bool {
        self.parts.platt.is_some()
    }

    pub(crate) fn classify(&self, rows: &Rows<'_>) -> Vec<u32> {
        let mut work = Work::default();
        let mut class = |row: &[f64]| {
            self.decide(row, &mut work);
            if self.parts.break_ties {
                let (mut votes, mut sums) = (Vec::new(), Vec::new());
                self.against_rest(&work.decisions, &mut votes, &mut sums);
                self.parts.confidence.add_to(&mut votes, &sums);
                argmax(votes)
            } else {
                work.votes.clear();
                work.votes.resize(self.parts.classes, 0.0);
                for (pair, decision) in self.pairs.iter().zip(&work.decisions) {
                    let winner = if *decision > 0.0 {
                        pair.first
                    } else {
                        pair.second
                    };
                    if let Some(votes) = work.votes.get_mut(winner) {
                        *votes += 1.0;
                    }
                }
                argmax(work.votes.iter().copied())
            }
        };
        let mut out = Vec::with_capacity(rows.count());
        rows.each(|row| out.push(class(row)));
        out
    }

    /// scikit-learn's `decision_function`: one column for two classes, else by `decision_function_shape`.
    pub(crate) fn decision_function(&self, rows: &Rows<'_>) -> (Vec<f64>, usize) {
        let mut work = Work::default();
        let (mut out, mut sums) = (Vec::new(), Vec::new());
        rows.each(|row| {
            self.decide(row, &mut work);
            match work.decisions.as_slice() {
                [decision] => out.push(-decision),
                decisions if self.parts.one_vs_rest => {
                    self.against_rest(decisions, &mut out, &mut sums);
                }
                decisions => out.extend_from_slice(decisions),
            }
        });
        if !sums.is_empty() {
            self.parts.confidence.add_to(&mut out, &sums);
        }
        let columns = match self.pairs.len() {
            1 => 1,
            _ if self.parts.one_vs_rest => self.parts.classes,
            pairs => pairs,
        };
        (out, columns)
    }

    pub(crate) fn probabilities(&self, rows: &Rows<'_>) -> Vec<f64> {
        let Some(platt) = &self.parts.platt else {
            return Vec::new();
        };
        let k = self.parts.classes;
        let mut work = Work::default();
        let mut out = Vec::with_capacity(rows.count() * k);
        rows.each(|row| {
            self.decide(row, &mut work);
            let mut pairwise = vec![0.0; k * k];
            for (((pair, decision), a), b) in self
                .pairs
                .iter()
                .zip(&work.decisions)
                .zip(&platt.a)
                .zip(&platt.b)
            {
                let probability = sigmoid(*decision, *a, *b).clamp(1e-7, 1.0 - 1e-7);
                if let Some(cell) = pairwise.get_mut(pair.first * k + pair.second) {
                    *cell = probability;
                }
                if let Some(cell) = pairwise.get_mut(pair.second * k + pair.first) {
                    *cell = 1.0 - probability;
                }
            }
            out.extend(couple(&pairwise, k));
        });
        out
    }

    /// The decision of each pair, above zero for the first class.
    fn decide(&self, row: &[f64], work: &mut Work) {
        self.parts.kernel.apply(row, &mut work.kernel);
        work.decisions.clear();
        for pair in &self.pairs {
            let mut sum = 0.0;
            let first = work.kernel.get(pair.first_start..).unwrap_or_default();
            for (coefficient, value) in pair.first_coefficients.iter().zip(first) {
                sum += coefficient * value;
            }
            let second = work.kernel.get(pair.second_start..).unwrap_or_default();
            for (coefficient, value) in pair.second_coefficients.iter().zip(second) {
                sum += coefficient * value;
            }
            work.decisions.push(sum + pair.intercept);
        }
    }

    /// Adds the votes of a row for each class, and the sums of confidences.
    fn against_rest(&self, decisions: &[f64], votes: &mut Vec<f64>, sums: &mut Vec<f64>) {
        let start = votes.len();
        votes.resize(start + self.parts.classes, 0.0);
        sums.resize(start + self.parts.classes, 0.0);
        let votes = votes.get_mut(start..).unwrap_or_default();
        let sums = sums.get_mut(start..).unwrap_or_default();
        for (pair, decision) in self.pairs.iter().zip(decisions) {
            let winner = if *decision < 0.0 {
                pair.second
            } else {
                pair.first
            };
            add(votes, winner, 1.0);
            add(sums, pair.first, *decision);
            add(sums, pair.second, -*decision);
        }
    }
}

fn add(values: &mut [f64], index: usize, value: f64) {
    if let Some(cell) = values.get_mut(index) {
        *cell += value;
    }
}

/// Buffers that rows share.
#[derive(Debug, Default)]
struct Work {
    kernel: Vec<f64>,
    decisions: Vec<f64>,
    votes: Vec<f64>,
}

/// libsvm's `powi`.
fn power(base: f64, mut times: u32) -> f64 {
    let (mut square, mut result) = (base, 1.0);
    while times > 0 {
        if times % 2 == 1 {
            result *= square;
        }
        square *= square;
        times /= 2;
    }
    result
}

/// libsvm's `sigmoid_predict`.
fn sigmoid(decision: f64, a: f64, b: f64) -> f64 {
    let exponent = decision * a + b;
    if exponent >= 0.0 {
        (-exponent).exp() / (1.0 + (-exponent).exp())
    } else {
        1.0 / (1.0 + exponent.exp())
    }
}

/// libsvm's `multiclass_probability`: Wu, Lin and Weng's second method of pairwise coupling.
fn couple(pairwise: &[f64], k: usize) -> Vec<f64> {
    let r = |row: usize, column: usize| pairwise.get(row * k + column).copied().unwrap_or(0.0);
    let mut q = vec![0.0; k * k];
    for t in 0..k {
        let square: f64 = (0..k)
            .filter(|j| *j != t)
            .fold(0.0, |sum, j| sum + r(j, t) * r(j, t));
        for j in 0..k {
            let value = if j == t { square } else { -r(j, t) * r(t, j) };
            if let Some(cell) = q.get_mut(t * k + j) {
                *cell = value;
            }
        }
    }
    let mut p = vec![1.0 / (k as f64); k];
    let bound = 0.005 / (k as f64);
    for _ in 0..k.max(100) {
        let mut qp: Vec<f64> = q
            .chunks_exact(k)
            .map(|row| row.iter().zip(&p).fold(0.0, |sum, (q, p)| sum + q * p))
            .collect();
        let mut pqp = p.iter().zip(&qp).fold(0.0, |sum, (p, qp)| sum + p * qp);
        if qp.iter().all(|value| (value - pqp).abs() < bound) {
            break;
        }
        for (t, row) in q.chunks_exact(k).enumerate() {
            let (Some(diagonal), Some(value)) = (row.get(t), qp.get(t).copied()) else {
                continue;
            };
            let step = (pqp - value) / diagonal;
            add(&mut p, t, step);
            pqp = (pqp + step * (step * diagonal + 2.0 * value)) / (1.0 + step) / (1.0 + step);
            for ((qp, q), p) in qp.iter_mut().zip(row).zip(&mut p) {
                *qp = (*qp + step * q) / (1.0 + step);
                *p /= 1.0 + step;
            }
        }
    }
    p
}
