//! Compiled estimators. Everything was validated when they were made, so that predicting cannot fail.

mod branches;
mod distance;
mod dot;
mod lanes;
mod linear;
mod node;
mod product;
mod ranks;
mod scattered;
mod side;
mod svc;
mod trees;
mod walk;
mod wide;

pub(crate) use branches::{BranchTrees, BranchWork, Branching, Test as BranchTest, Threshold};
pub(crate) use distance::{Metric, Points};
pub(crate) use dot::Rounding;
pub(crate) use linear::Linear;
pub(crate) use product::{Factor, add_products};
pub(crate) use scattered::{AnyVectors, Scattered};
pub(crate) use side::SideBySide;
pub(crate) use svc::{Confidence, Kernel, KernelFunction, Platt, Svc, SvcParts};
pub(crate) use trees::{RawTree, Trees};
pub(crate) use walk::{Cut, Fork, Question, Walk, Work};

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

/// `ndarray.sum` of a row: in turn below 8 values, in 8 running sums up to 128, else the sum of two halves (numpy's
/// `pairwise_sum`).
pub(crate) fn sum(values: &[f64]) -> f64 {
    if values.len() > 128 {
        let half = values.len() / 2;
        let (low, high) = values.split_at(half - half % 8);
        return sum(low) + sum(high);
    }
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

/// `scipy.special.logsumexp` of a row.
pub(crate) fn log_sum_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = values.iter().map(|value| (value - largest).exp()).collect();
    sum(&exponentials).ln() + largest
}

/// `scipy.special.expit`.
pub(crate) fn expit(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

/// `sklearn.utils.extmath.softmax` of one row.
pub(crate) fn softmax(values: &mut [f64]) {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values
        .iter_mut()
        .for_each(|value| *value = (*value - largest).exp());
    let total = sum(values);
    values.iter_mut().for_each(|value| *value /= total);
}

/// Divides the values of a row by their sum.
pub(crate) fn normalise(values: &mut [f64]) {
    let total = sum(values);
    values.iter_mut().for_each(|value| *value /= total);
}

/// `numpy.interp` at one value, over growing `x`.
pub(crate) fn interpolate(value: f64, x: &[f64], y: &[f64]) -> f64 {
    if value.is_nan() {
        return value;
    }
    let above = x.partition_point(|x| *x <= value);
    let at = |values: &[f64], index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let Some(below) = above.checked_sub(1) else {
        return at(y, 0);
    };
    let (x0, y0) = (at(x, below), at(y, below));
    if above >= x.len() || x0 == value {
        return y0;
    }
    let slope = (at(y, above) - y0) / (at(x, above) - x0);
    let result = slope * (value - x0) + y0;
    if result.is_nan() {
        slope * (value - at(x, above)) + at(y, above)
    } else {
        result
    }
}
