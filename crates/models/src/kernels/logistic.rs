//! Logistic regression.

use super::dot::{Rounding, Vectors};
use super::{argmax, sum};
use crate::Matrix;

/// How decisions become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// A sigmoid for each class, made to sum to one.
    OneVsRest,
    Softmax,
}

#[derive(Debug, Clone)]
pub(crate) struct Logistic {
    /// One row of coefficients for each intercept.
    coefficients: Vec<f64>,
    intercepts: Vec<f64>,
    features: usize,
    link: Link,
}

impl Logistic {
    pub(crate) fn new(
        coefficients: Vec<f64>,
        intercepts: Vec<f64>,
        features: usize,
        link: Link,
    ) -> Option<Self> {
        let fits =
            features > 0 && intercepts.len().checked_mul(features) == Some(coefficients.len());
        (fits && !intercepts.is_empty()).then_some(Self {
            coefficients,
            intercepts,
            features,
            link,
        })
    }

    fn decide(&self, row: &[f64]) -> Vec<f64> {
        let lines = Vectors {
            values: &self.coefficients,
            length: self.features,
        };
        let mut decisions = Vec::with_capacity(self.intercepts.len());
        lines.products(row, Rounding::Once, &mut decisions);
        decisions
            .iter_mut()
            .zip(&self.intercepts)
            .for_each(|(decision, intercept)| *decision += intercept);
        decisions
    }

    pub(crate) fn classify(&self, rows: &Matrix) -> Vec<u32> {
        let class = |row: &[f64]| match self.decide(row).as_slice() {
            [decision] => u32::from(*decision > 0.0),
            decisions => argmax(decisions.iter().copied()),
        };
        rows.iter().map(class).collect()
    }

    pub(crate) fn decision_function(&self, rows: &Matrix) -> (Vec<f64>, usize) {
        (
            rows.iter().flat_map(|row| self.decide(row)).collect(),
            self.intercepts.len(),
        )
    }

    pub(crate) fn probabilities(&self, rows: &Matrix) -> Vec<f64> {
        let mut out = Vec::with_capacity(rows.rows() * self.intercepts.len().max(2));
        for row in rows.iter() {
            let mut values = self.decide(row);
            match (self.link, values.as_slice()) {
                (Link::OneVsRest, [decision]) => {
                    let positive = expit(*decision);
                    values = vec![1.0 - positive, positive];
                }
                (Link::OneVsRest, _) => {
                    values.iter_mut().for_each(|value| *value = expit(*value));
                    let total = sum(&values);
                    if total == 0.0 {
                        let share = 1.0 / (values.len() as f64);
                        values.fill(share);
                    } else {
                        values.iter_mut().for_each(|value| *value /= total);
                    }
                }
                (Link::Softmax, [decision]) => {
                    values = vec![-decision, *decision];
                    softmax(&mut values);
                }
                (Link::Softmax, _) => softmax(&mut values),
            }
            out.append(&mut values);
        }
        out
    }
}

fn expit(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

fn softmax(values: &mut [f64]) {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values
        .iter_mut()
        .for_each(|value| *value = (*value - largest).exp());
    let total = sum(values);
    values.iter_mut().for_each(|value| *value /= total);
}
