//! `LinearRegressor` and `LinearClassifier`.

use super::product::{Product, multiply};
use super::scores::{Second, Transform};
use super::trees::labelled;
use crate::labels::{IntegerType, Labels};
use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::real::reals;
use crate::onnx::site::{Built, Site};
use crate::onnx::tensor::{ElementType, Tensor, Values};

/// One row of coefficients for each score.
#[derive(Debug)]
struct Linear {
    coefficients: Vec<f32>,
    intercepts: Vec<f32>,
    features: usize,
    transform: Transform,
}

#[derive(Debug)]
struct Classifier {
    linear: Linear,
    labels: Labels,
}

const NUMBERS: [ElementType; 4] = [
    ElementType::Float,
    ElementType::Double,
    ElementType::Int64,
    ElementType::Int32,
];

pub(super) fn regressor(site: &Site<'_, '_>) -> Result<Built, String> {
    site.of(0, &[ElementType::Float])?;
    let targets = site.int("targets")?.unwrap_or(1);
    let targets = usize::try_from(targets).map_err(|_| "expected at least one target")?;
    let intercepts = match site.floats("intercepts")? {
        [] => None,
        intercepts => Some(intercepts),
    };
    let linear = Linear::new(site, targets, intercepts)?;
    Ok(Built::new(linear, &[ElementType::Float]))
}

pub(super) fn classifier(site: &Site<'_, '_>) -> Result<Built, String> {
    site.of(0, &NUMBERS)?;
    let intercepts = site.floats("intercepts")?;
    let linear = Linear::new(site, intercepts.len(), Some(intercepts))?;
    let mut labels = site
        .labels("classlabels_strings", "classlabels_ints")
        .unwrap_or(Labels::Integers(Vec::new(), IntegerType::Int64));
    match intercepts.len() {
        1 if labels.len() != 2 => {
            labels = match labels {
                Labels::Strings(_) => Labels::Strings(vec!["0".to_owned(), "1".to_owned()]),
                _ => Labels::Integers(vec![0, 1], IntegerType::Int64),
            };
        }
        1 => {}
        scores if labels.len() < scores => {
            return Err("expected a label for each row of coefficients".to_owned());
        }
        _ => {}
    }
    let label = match labels {
        Labels::Strings(_) => ElementType::Text,
        _ => ElementType::Int64,
    };
    Ok(Built::new(
        Classifier { linear, labels },
        &[label, ElementType::Float],
    ))
}

impl Linear {
    fn new(site: &Site<'_, '_>, scores: usize, intercepts: Option<&[f32]>) -> Result<Self, String> {
        let coefficients = site.floats("coefficients")?.to_vec();
        let features = coefficients.len().checked_div(scores).unwrap_or(0);
        let known = intercepts.is_none_or(|intercepts| intercepts.len() == scores);
        if features == 0 || features * scores != coefficients.len() || !known {
            return Err(
                "expected a row of coefficients and an intercept for each score".to_owned(),
            );
        }
        Ok(Self {
            features,
            intercepts: intercepts.map_or_else(|| vec![0.0; scores], <[f32]>::to_vec),
            coefficients,
            transform: Transform::read(site)?,
        })
    }

    fn scores(&self, input: &Tensor, work: &mut Work) -> Result<(Vec<f32>, usize), String> {
        let (rows, columns) = input.table()?;
        if columns != self.features {
            return Err(format!(
                "expected {} columns, found {columns}",
                self.features
            ));
        }
        let values = reals::<f32>(input.values())?;
        let scores = self.intercepts.len();
        work.room(ElementType::Float, &[rows, scores])?;
        let mut out = multiply(
            Product {
                rows,
                columns: scores,
                inner: columns,
                turned: true,
            },
            &values,
            &self.coefficients,
            work,
        )?;
        for row in out.chunks_exact_mut(scores) {
            for (score, intercept) in row.iter_mut().zip(&self.intercepts) {
                *score += intercept;
            }
        }
        Ok((out, rows))
    }
}

impl Operator for Linear {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (mut scores, rows) = self.scores(inputs.get(0)?, work)?;
        let width = self.intercepts.len();
        match (width, self.transform) {
            (1, Transform::Probit) | (2.., _) => {
                for row in scores.chunks_exact_mut(width) {
                    self.transform.apply_batch(row);
                }
            }
            _ => {}
        }
        Ok(vec![made(vec![rows, width], Values::Float(scores))?])
    }
}

impl Operator for Classifier {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (mut scores, rows) = self.linear.scores(inputs.get(0)?, work)?;
        work.room(ElementType::Text, &[rows])?;
        let width = self.linear.intercepts.len();
        let transform = self.linear.transform;
        let mut classes = Vec::with_capacity(rows);
        for row in scores.chunks_exact(width) {
            classes.push(match row {
                [score] => usize::from(*score > 0.0),
                row => first_largest(row),
            });
        }
        if width == 1 {
            let mut both = Vec::with_capacity(rows.saturating_mul(2));
            for score in &scores {
                let mut pair = vec![*score];
                transform.write(&mut pair, Second::Rest);
                pair.resize(2, 0.0);
                both.extend(pair);
            }
            scores = both;
        } else {
            for row in scores.chunks_exact_mut(width) {
                transform.apply_batch(row);
            }
        }
        Ok(vec![
            labelled(&self.labels, &classes)?,
            made(vec![rows, width.max(2)], Values::Float(scores))?,
        ])
    }
}

/// The first of the largest values.
pub(super) fn first_largest<T: PartialOrd + Copy>(values: &[T]) -> usize {
    let mut best = 0;
    let mut largest = values.first().copied();
    for (index, value) in values.iter().enumerate().skip(1) {
        if largest.is_none_or(|largest| *value > largest) {
            largest = Some(*value);
            best = index;
        }
    }
    best
}
