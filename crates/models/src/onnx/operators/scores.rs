//! What the operators for classifiers and regressors make of scores (`ml_common.h` of ONNX Runtime).

use super::approximate;
use crate::onnx::real::Real;
use crate::onnx::site::Site;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transform {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
    Probit,
}

/// What a single score of two classes becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Second {
    /// It stays one.
    Absent,
    /// One minus it comes first.
    Rest,
    /// Its negative comes first.
    Negative,
}

impl Transform {
    pub(super) fn read(site: &Site<'_, '_>) -> Result<Self, String> {
        Ok(match site.text("post_transform")?.unwrap_or("NONE") {
            "NONE" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            _ => return Err("the `post_transform` is none that there is".to_owned()),
        })
    }

    pub(super) fn numbered(number: i64) -> Result<Self, String> {
        Ok(match number {
            0 => Self::None,
            1 => Self::Softmax,
            2 => Self::Logistic,
            3 => Self::SoftmaxZero,
            4 => Self::Probit,
            _ => return Err("the `post_transform` is none that there is".to_owned()),
        })
    }

    /// Transforms the scores of a row, two of more.
    pub(super) fn apply<T: Real>(self, scores: &mut [T]) {
        match self {
            Self::None => {}
            Self::Logistic => scores
                .iter_mut()
                .for_each(|score| *score = logistic(*score)),
            Self::Softmax => softmax(scores),
            Self::SoftmaxZero => softmax_zero(scores),
            Self::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
        }
    }

    /// Transforms the scores of a row as the operators do that compute all rows at once.
    pub(super) fn apply_batch(self, scores: &mut [f32]) {
        match self {
            Self::Logistic => scores
                .iter_mut()
                .for_each(|score| *score = approximate::logistic(*score)),
            other => other.apply(scores),
        }
    }

    /// Writes the scores of a row; a single one becomes two as `second` says.
    pub(super) fn write<T: Real>(self, scores: &mut Vec<T>, second: Second) {
        let [score] = scores.as_slice() else {
            return self.apply(scores);
        };
        let score = *score;
        let zero = T::default();
        if self == Self::Probit {
            *scores = vec![probit(score)];
            return;
        }
        *scores = match (second, self) {
            (Second::Absent, _) => vec![score],
            (Second::Rest, _) => vec![T::ONE - score, score],
            (_, Self::Logistic) => vec![logistic(-score), logistic(score)],
            (Second::Negative, _) => vec![zero - score, score],
        };
    }
}

/// In single precision, as the runtime computes it for doubles as well.
pub(super) fn logistic<T: Real>(score: T) -> T {
    let score = score.to_single();
    let value = 1.0 / (1.0 + (-score.abs()).exp());
    T::of_single(if score < 0.0 { 1.0 - value } else { value })
}

fn softmax<T: Real>(scores: &mut [T]) {
    let largest = largest(scores);
    let mut sum = T::default();
    for score in scores.iter_mut() {
        *score = (*score - largest).exponential();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// Leaves scores that are zero.
fn softmax_zero<T: Real>(scores: &mut [T]) {
    let largest = largest(scores);
    let zero = (-largest).exponential();
    let mut sum = T::default();
    let bound = T::of_single(0.000_000_1);
    for score in scores.iter_mut() {
        if *score > bound || *score < -bound {
            *score = (*score - largest).exponential();
            sum += *score;
        } else {
            *score *= zero;
        }
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

fn largest<T: Real>(scores: &[T]) -> T {
    let mut largest = T::LOWEST;
    for score in scores {
        if *score > largest {
            largest = *score;
        }
    }
    largest
}

/// The inverse of the normal distribution, by Winitzki's approximation in single precision.
fn probit<T: Real>(score: T) -> T {
    let x = 2.0 * score.to_single() - 1.0;
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let logarithm = ((1.0 - x) * (1.0 + x)).ln();
    let a = 4.330_750_5_f32 + 0.5 * logarithm;
    let b = 1.0 / 0.147_f32 * logarithm;
    let c = -a + (a * a - b).sqrt();
    T::of_single(std::f32::consts::SQRT_2 * (sign * c.sqrt()))
}
