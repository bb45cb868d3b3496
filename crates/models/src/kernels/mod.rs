//! Compiled estimators. Everything was validated when they were made, so that predicting cannot fail.

mod dot;
mod logistic;
mod scaler;
mod svc;
mod trees;

pub(crate) use dot::Rounding;
pub(crate) use logistic::{Link, Logistic};
pub(crate) use scaler::Scaler;
pub(crate) use svc::{Kernel, Platt, Svc, SvcParts};
pub(crate) use trees::{RawTree, Trees, TreesKind};

use crate::Matrix;

/// The estimator at the end of a pipeline.
#[derive(Debug, Clone)]
pub(crate) enum Model {
    Svc(Svc),
    Logistic(Logistic),
    Trees(Trees),
}

/// Which values an estimator takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Domain {
    pub(crate) missing: bool,
    /// Whether the estimator rounds its input to single precision.
    pub(crate) single: bool,
}

impl Model {
    pub(crate) fn domain(&self) -> Domain {
        match self {
            Self::Svc(_) | Self::Logistic(_) => Domain {
                missing: false,
                single: false,
            },
            Self::Trees(trees) => Domain {
                missing: trees.takes_missing(),
                single: true,
            },
        }
    }

    /// The index of the class of each row; empty for a regressor.
    pub(crate) fn classify(&self, rows: &Matrix) -> Vec<u32> {
        match self {
            Self::Svc(svc) => svc.classify(rows),
            Self::Logistic(logistic) => logistic.classify(rows),
            Self::Trees(trees) => trees.classify(rows),
        }
    }

    /// The value of each row; empty for a classifier.
    pub(crate) fn regress(&self, rows: &Matrix) -> Vec<f64> {
        match self {
            Self::Svc(_) | Self::Logistic(_) => Vec::new(),
            Self::Trees(trees) => trees.regress(rows),
        }
    }

    pub(crate) fn has_probabilities(&self) -> bool {
        match self {
            Self::Svc(svc) => svc.has_probabilities(),
            Self::Logistic(_) => true,
            Self::Trees(trees) => trees.is_classifier(),
        }
    }

    /// One probability for each class, row by row.
    pub(crate) fn probabilities(&self, rows: &Matrix) -> Vec<f64> {
        match self {
            Self::Svc(svc) => svc.probabilities(rows),
            Self::Logistic(logistic) => logistic.probabilities(rows),
            Self::Trees(trees) => trees.probabilities(rows),
        }
    }

    /// The decision function and its columns; `None` where scikit-learn has none.
    pub(crate) fn decisions(&self, rows: &Matrix) -> Option<(Vec<f64>, usize)> {
        match self {
            Self::Svc(svc) => Some(svc.decision_function(rows)),
            Self::Logistic(logistic) => Some(logistic.decision_function(rows)),
            Self::Trees(_) => None,
        }
    }
}

/// The index of the first largest value, as numpy's `argmax` on values without NaN.
pub(crate) fn argmax(values: impl IntoIterator<Item = f64>) -> u32 {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, value) in (0_u32..).zip(values) {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

/// `ndarray.sum` of a short row: in turn below 8 values, else in 8 running sums (numpy's pairwise sum up to 128).
pub(crate) fn sum(values: &[f64]) -> f64 {
    let (lanes, rest) = values.as_chunks::<8>();
    let Some((first, others)) = lanes.split_first() else {
        return values.iter().sum();
    };
    let mut sums = *first;
    for lane in others {
        for (sum, value) in sums.iter_mut().zip(lane) {
            *sum += value;
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    rest.iter()
        .fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, value| {
            sum + value
        })
}
