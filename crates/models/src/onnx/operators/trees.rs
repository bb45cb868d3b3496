//! Ensembles of trees, in all the forms that ONNX has for them.

use super::forest::{Aggregate, Forest};
use super::scores::{Second, Transform};
use crate::kernels::BranchWork;
use crate::labels::Labels;
use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::real::Real;
use crate::onnx::site::{Built, Site};
use crate::onnx::tensor::{ElementType, Tensor, Values};

#[derive(Debug)]
struct Regressor<T>(Forest<T>, ElementType);

#[derive(Debug)]
struct Classifier<T> {
    forest: Forest<T>,
    labels: Labels,
    /// Two classes, of which only one has weights.
    single: bool,
    positive: bool,
}

/// Outputs of a forest.
const OUTPUTS: usize = 1 << 16;

pub(super) fn regressor(site: &Site<'_, '_>) -> Result<Built, String> {
    let aggregate = match site.text("aggregate_function")?.unwrap_or("SUM") {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        _ => return Err("the `aggregate_function` is none that there is".to_owned()),
    };
    let outputs = outputs(site)?;
    let transform = Transform::read(site)?;
    let settings = (outputs, aggregate, transform);
    Ok(match input(site)? {
        ElementType::Double => {
            let forest = Forest::<f64>::of_columns(site, "target", settings)?;
            Built::new(Regressor(forest, ElementType::Float), &[ElementType::Float])
        }
        _ => {
            let forest = Forest::<f32>::of_columns(site, "target", settings)?;
            Built::new(Regressor(forest, ElementType::Float), &[ElementType::Float])
        }
    })
}

pub(super) fn classifier(site: &Site<'_, '_>) -> Result<Built, String> {
    let labels = site.labels("classlabels_strings", "classlabels_int64s")?;
    let label = match labels {
        Labels::Strings(_) => ElementType::Text,
        _ => ElementType::Int64,
    };
    let outputs = [label, ElementType::Float];
    Ok(match input(site)? {
        ElementType::Double => Built::new(Classifier::<f64>::new(site, labels)?, &outputs),
        _ => Built::new(Classifier::<f32>::new(site, labels)?, &outputs),
    })
}

/// The form of version 5: two lists, of inner nodes and of leaves.
pub(super) fn ensemble(site: &Site<'_, '_>) -> Result<Built, String> {
    let aggregate = match site.int("aggregate_function")?.unwrap_or(1) {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        _ => return Err("the `aggregate_function` is none that there is".to_owned()),
    };
    let transform = Transform::numbered(site.int("post_transform")?.unwrap_or(0))?;
    let settings = (outputs(site)?, aggregate, transform);
    Ok(match input(site)? {
        ElementType::Double => {
            let forest = Forest::<f64>::of_lists(site, settings)?;
            Built::new(
                Regressor(forest, ElementType::Double),
                &[ElementType::Double],
            )
        }
        ElementType::Float => {
            let forest = Forest::<f32>::of_lists(site, settings)?;
            Built::new(Regressor(forest, ElementType::Float), &[ElementType::Float])
        }
        _ => return Err("expected an input of float or double".to_owned()),
    })
}

fn input(site: &Site<'_, '_>) -> Result<ElementType, String> {
    use ElementType::{Double, Float, Int32, Int64};
    site.of(0, &[Float, Double, Int64, Int32])
}

fn outputs(site: &Site<'_, '_>) -> Result<usize, String> {
    let count = site.int("n_targets")?.unwrap_or(1);
    let count = usize::try_from(count)
        .ok()
        .filter(|count| (1..=OUTPUTS).contains(count));
    count.ok_or_else(|| format!("expected 1 to {OUTPUTS} targets"))
}

impl<T: Real> Operator for Regressor<T> {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let (rows, columns) = input.table()?;
        let forest = &self.0;
        let values = forest.rows(input.values(), (rows, columns), work)?;
        let count = work.room(self.1, &[rows, forest.outputs])?;
        let mut out = Vec::with_capacity(count);
        let (mut scores, mut there) = (Vec::new(), Vec::new());
        let mut walks = BranchWork::default();
        for row in 0..rows {
            let row = values
                .get(row * columns..(row + 1) * columns)
                .unwrap_or_default();
            forest.gather(row, &mut walks, &mut scores, &mut there);
            forest.finish(&mut scores);
            out.extend_from_slice(&scores);
        }
        let values = match self.1 {
            ElementType::Double => {
                Values::Double(out.iter().map(|score| score.to_double()).collect())
            }
            _ => single(out),
        };
        Ok(vec![made(vec![rows, forest.outputs], values)?])
    }
}

fn single<T: Real>(scores: Vec<T>) -> Values {
    match T::values(scores) {
        Values::Double(values) => {
            Values::Float(values.into_iter().map(|value| value as f32).collect())
        }
        values => values,
    }
}

impl<T: Real> Classifier<T> {
    fn new(site: &Site<'_, '_>, labels: Labels) -> Result<Self, String> {
        if labels.len() > OUTPUTS {
            return Err(format!("expected at most {OUTPUTS} labels"));
        }
        let settings = (labels.len(), Aggregate::Sum, Transform::read(site)?);
        let forest = Forest::<T>::of_columns(site, "class", settings)?;
        let zero = T::default();
        let positive = forest.weights.iter().all(|(_, weight)| *weight >= zero);
        let mut classes: Vec<u32> = forest.weights.iter().map(|(class, _)| *class).collect();
        classes.sort_unstable();
        classes.dedup();
        let single = labels.len() == 2 && classes.len() == 1;
        // The runtime's labels, whatever the file's are, where both classes have weights.
        let labels = match labels {
            Labels::Integers(found, kind) if found.len() <= 2 && !single => {
                drop(found);
                Labels::Integers(vec![0, 1], kind)
            }
            other => other,
        };
        Ok(Self {
            single,
            positive,
            forest,
            labels,
        })
    }

    /// The class of a row of which the scores are gathered, and what becomes of these.
    fn decide(&self, scores: &mut Vec<T>, there: &mut [bool]) -> usize {
        let base = &self.forest.base;
        let zero = T::default();
        if self.labels.len() > 2 {
            for ((score, there), base) in scores.iter_mut().zip(there.iter_mut()).zip(base) {
                *score = if std::mem::replace(there, true) {
                    *score + *base
                } else {
                    *base
                };
            }
            let mut best = None;
            for (class, (score, there)) in scores.iter().zip(there.iter()).enumerate() {
                if *there && best.is_none_or(|(_, largest)| *score > largest) {
                    best = Some((class, *score));
                }
            }
            self.forest.transform.write(scores, Second::Absent);
            return best.map_or(0, |(class, _)| class);
        }
        let (Some(first), second) = (scores.first().copied(), scores.get(1).copied()) else {
            return 0;
        };
        let second = second.unwrap_or(zero);
        let (has_first, has_second) = (there.first() == Some(&true), there.get(1) == Some(&true));
        let mut writing = Second::Absent;
        // What there is of the two scores: the second counts if it is there.
        let (weight, pair) = match base.as_slice() {
            [_, base] if has_second => {
                let weight = *base + first;
                (weight, Some((zero - weight, weight)))
            }
            [low, _] => {
                let first = first + *low;
                (if has_first { first } else { zero }, Some((first, zero)))
            }
            [base] => {
                let first = first + *base;
                let pair = has_second.then_some((first, second));
                (if has_second { second } else { first }, pair)
            }
            _ => {
                writing = Second::Negative;
                let pair = has_second.then_some((first, second));
                (
                    if has_second {
                        second
                    } else if has_first {
                        first
                    } else {
                        zero
                    },
                    pair,
                )
            }
        };
        let class = if self.single && self.positive {
            writing = Second::Rest;
            usize::from(weight > T::of(0.5))
        } else {
            let class = usize::from(weight > zero);
            if self.single {
                writing = Second::Negative;
            }
            class
        };
        match pair {
            Some((low, high)) => *scores = vec![low, high],
            None => {
                *scores = vec![match base.as_slice() {
                    [base] => first + *base,
                    _ => first,
                }]
            }
        }
        self.forest.transform.write(scores, writing);
        class
    }
}

impl<T: Real> Operator for Classifier<T> {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let (rows, columns) = input.table()?;
        let values = self.forest.rows(input.values(), (rows, columns), work)?;
        let width = self.labels.len();
        let count = work.room(ElementType::Float, &[rows, width])?;
        work.room(ElementType::Text, &[rows])?;
        let mut out: Vec<f32> = Vec::with_capacity(count);
        let mut classes = Vec::with_capacity(rows);
        let (mut scores, mut there) = (Vec::new(), Vec::new());
        let mut walks = BranchWork::default();
        for row in 0..rows {
            let given = values
                .get(row * columns..(row + 1) * columns)
                .unwrap_or_default();
            self.forest
                .gather(given, &mut walks, &mut scores, &mut there);
            classes.push(self.decide(&mut scores, &mut there));
            out.extend(scores.iter().map(|score| score.to_single()));
            out.resize((row + 1) * width, 0.0);
        }
        Ok(vec![
            labelled(&self.labels, &classes)?,
            made(vec![rows, width], Values::Float(out))?,
        ])
    }
}

/// The labels of classes.
pub(super) fn labelled(labels: &Labels, classes: &[usize]) -> Result<Tensor, String> {
    fn pick<T: Clone>(labels: &[T], classes: &[usize]) -> Option<Vec<T>> {
        classes
            .iter()
            .map(|class| labels.get(*class).cloned())
            .collect()
    }
    let values = match labels {
        Labels::Strings(labels) => pick(labels, classes).map(Values::Text),
        Labels::Integers(labels, _) => pick(labels, classes).map(Values::Int64),
        _ => None,
    };
    made(vec![classes.len()], values.ok_or("a class has no label")?)
}
