//! Operators along a dimension: sums and their relatives, softmax, cumulative sums, norms.

use super::broadcast::{around, axis};
use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::real::{Real, reals};
use crate::onnx::site::{Built, Site, Source};
use crate::onnx::tensor::{ElementType, Tensor, Values};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Sum,
    Mean,
    Max,
    Min,
    Product,
    Magnitudes,
    Norm,
    Squares,
    LogSum,
    LogSumExp,
}

#[derive(Debug)]
struct Reduce {
    how: How,
    axes: Source,
    keep: bool,
    /// Whether no dimensions mean none, and not all.
    none: bool,
}

pub(super) fn reduce(site: &Site<'_, '_>) -> Result<Option<Built>, String> {
    use ElementType::{Double, Float, Int32, Int64};
    let how = match site.node.operator {
        "ReduceSum" => How::Sum,
        "ReduceMean" => How::Mean,
        "ReduceMax" => How::Max,
        "ReduceMin" => How::Min,
        "ReduceProd" => How::Product,
        "ReduceL1" => How::Magnitudes,
        "ReduceL2" => How::Norm,
        "ReduceSumSquare" => How::Squares,
        "ReduceLogSum" => How::LogSum,
        "ReduceLogSumExp" => How::LogSumExp,
        _ => return Ok(None),
    };
    let element = site.of(0, &[Float, Double, Int64, Int32])?;
    let plain = matches!(
        how,
        How::Sum | How::Max | How::Min | How::Product | How::Magnitudes | How::Squares
    );
    if !element.is_float() && !plain {
        return Err(format!("expected floats, found {}", element.name()));
    }
    let before = if how == How::Sum { 13 } else { 18 };
    let reduce = Reduce {
        how,
        axes: site.axes(1, "axes", before)?,
        keep: site.int("keepdims")?.unwrap_or(1) != 0,
        none: site.int("noop_with_empty_axes")?.unwrap_or(0) != 0,
    };
    Ok(Some(Built::new(reduce, &[element])))
}

impl How {
    fn apply<T: Real>(self, values: impl Iterator<Item = T> + Clone, count: usize) -> T {
        let zero = T::default();
        match self {
            Self::Sum => values.fold(zero, |sum, value| sum + value),
            Self::Mean => values.fold(zero, |sum, value| sum + value) / T::of(count as f64),
            Self::Product => values.fold(T::ONE, |sum, value| sum * value),
            Self::Magnitudes => values.fold(zero, |sum, value| sum + value.magnitude()),
            Self::Squares => values.fold(zero, |sum, value| sum + value * value),
            Self::Norm => values.fold(zero, |sum, value| sum + value * value).root(),
            Self::LogSum => values.fold(zero, |sum, value| sum + value).logarithm(),
            Self::Max | Self::Min => {
                let mut values = values;
                let first = values.next().unwrap_or(zero);
                values.fold(first, |best, value| {
                    let better = if self == Self::Max {
                        value > best
                    } else {
                        value < best
                    };
                    if value.nan() || better { value } else { best }
                })
            }
            Self::LogSumExp => {
                let largest = Self::Max.apply(values.clone(), count);
                let shift = if largest.to_double().is_finite() {
                    largest
                } else {
                    zero
                };
                let sum = values.fold(zero, |sum, value| sum + (value - shift).exponential());
                sum.logarithm() + shift
            }
        }
    }
}

impl Operator for Reduce {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let rank = input.shape().len();
        let mut axes: Vec<usize> = match inputs.ints(&self.axes)? {
            Some(axes) if !axes.is_empty() => axes
                .iter()
                .map(|place| axis(*place, rank))
                .collect::<Result<_, _>>()?,
            _ if self.none => return Ok(vec![input.clone()]),
            _ => (0..rank).collect(),
        };
        axes.sort_unstable();
        axes.dedup();
        let mut shape = Vec::new();
        for (index, size) in input.shape().iter().enumerate() {
            let gone = axes.binary_search(&index).is_ok();
            if !gone {
                shape.push(*size);
            } else if self.keep {
                shape.push(1);
            }
        }
        work.room(input.element(), &shape)?;
        work.room(input.element(), input.shape())?;
        let values = match input.values() {
            Values::Float(values) => Values::Float(self.groups(values, input.shape(), &axes)?),
            Values::Double(values) => Values::Double(self.groups(values, input.shape(), &axes)?),
            other => {
                // Sums of whole numbers are exact in double precision as far as they fit.
                let values = reals::<f64>(other)?;
                let reduced = self.groups(&values, input.shape(), &axes)?;
                match other {
                    Values::Int32(_) => {
                        Values::Int32(reduced.iter().map(|value| *value as i32).collect())
                    }
                    _ => Values::Int64(reduced.iter().map(|value| *value as i64).collect()),
                }
            }
        };
        Ok(vec![made(shape, values)?])
    }
}

impl Reduce {
    fn groups<T: Real>(
        &self,
        values: &[T],
        shape: &[usize],
        axes: &[usize],
    ) -> Result<Vec<T>, String> {
        // Dimensions that follow each other are one.
        let together = axes
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a + 1 == *b));
        let (Some(first), Some(last), true) = (axes.first(), axes.last(), together) else {
            if axes.is_empty() {
                let one = |value: &T| self.how.apply(std::iter::once(*value), 1);
                return Ok(values.iter().map(one).collect());
            }
            return Err("dimensions that do not follow each other are not supported".to_owned());
        };
        let size = |range: Option<&[usize]>| {
            range
                .and_then(crate::onnx::tensor::volume)
                .ok_or("a shape larger than memory")
        };
        let before = size(shape.get(..*first))?;
        let count = size(shape.get(*first..=*last))?;
        let after = size(shape.get(last + 1..))?;
        if count == 0 && matches!(self.how, How::Max | How::Min) {
            return Err("there is no largest of no values".to_owned());
        }
        let mut out = Vec::with_capacity(before.saturating_mul(after));
        for outer in 0..before {
            let block = values.get(outer * count * after..).unwrap_or_default();
            for inner in 0..after {
                let rest = block.get(inner..).unwrap_or_default();
                let group = rest.iter().step_by(after).take(count).copied();
                out.push(self.how.apply(group, count));
            }
        }
        Ok(out)
    }
}

#[derive(Debug)]
struct Softmax {
    axis: i64,
    /// Before version 13 all dimensions behind the first are one.
    flat: bool,
    log: bool,
}

pub(super) fn softmax(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.of(0, &[ElementType::Float, ElementType::Double])?;
    let flat = site.version < 13;
    let softmax = Softmax {
        axis: site.int("axis")?.unwrap_or(if flat { 1 } else { -1 }),
        flat,
        log: site.node.operator == "LogSoftmax",
    };
    Ok(Built::new(softmax, &[element]))
}

/// Calls `each` with the values of every line along a dimension, and puts back what it makes of them.
fn lines<T: Real>(
    values: &[T],
    (before, size, after): (usize, usize, usize),
    mut each: impl FnMut(&mut [T]),
) -> Vec<T> {
    let mut out = values.to_vec();
    if after == 1 {
        out.chunks_exact_mut(size.max(1)).for_each(each);
        return out;
    }
    let mut line = Vec::with_capacity(size);
    for outer in 0..before {
        for inner in 0..after {
            let start = outer * size * after + inner;
            line.clear();
            let rest = values.get(start..).unwrap_or_default();
            line.extend(rest.iter().step_by(after.max(1)).take(size));
            each(&mut line);
            let rest = out.get_mut(start..).unwrap_or_default();
            for (cell, value) in rest.iter_mut().step_by(after.max(1)).zip(&line) {
                *cell = *value;
            }
        }
    }
    out
}

impl Softmax {
    fn line<T: Real>(&self, line: &mut [T]) {
        let largest = line.iter().fold(
            T::LOWEST,
            |best, value| if *value > best { *value } else { best },
        );
        let sum = line.iter().fold(T::default(), |sum, value| {
            sum + (*value - largest).exponential()
        });
        if self.log {
            let logarithm = sum.logarithm();
            line.iter_mut()
                .for_each(|value| *value = *value - largest - logarithm);
        } else if T::ELEMENT == ElementType::Float {
            // The runtime multiplies by the reciprocal in single precision.
            let scale = T::ONE / sum;
            line.iter_mut()
                .for_each(|value| *value = (*value - largest).exponential() * scale);
        } else {
            line.iter_mut()
                .for_each(|value| *value = (*value - largest).exponential() / sum);
        }
    }
}

impl Operator for Softmax {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        work.room(input.element(), input.shape())?;
        let at = axis(self.axis, input.shape().len())?;
        let (before, size, after) = around(input.shape(), at)?;
        let sizes = if self.flat {
            (before, size.saturating_mul(after), 1)
        } else {
            (before, size, after)
        };
        let values = match input.values() {
            Values::Float(values) => Values::Float(lines(values, sizes, |line| self.line(line))),
            Values::Double(values) => Values::Double(lines(values, sizes, |line| self.line(line))),
            _ => return Err("expected floats".to_owned()),
        };
        Ok(vec![made(input.shape().to_vec(), values)?])
    }
}

#[derive(Debug)]
struct Cumulative {
    exclusive: bool,
    reverse: bool,
}

pub(super) fn cumulative(site: &Site<'_, '_>) -> Result<Built, String> {
    use ElementType::{Double, Float, Int32, Int64};
    let element = site.of(0, &[Float, Double, Int64, Int32])?;
    site.of(1, &[Int64, Int32])?;
    let cumulative = Cumulative {
        exclusive: site.int("exclusive")?.unwrap_or(0) != 0,
        reverse: site.int("reverse")?.unwrap_or(0) != 0,
    };
    Ok(Built::new(cumulative, &[element]))
}

impl Cumulative {
    fn line<T: Real>(&self, line: &mut [T]) {
        let mut sum = T::default();
        let mut step = |value: &mut T| {
            let before = sum;
            sum += *value;
            *value = if self.exclusive { before } else { sum };
        };
        if self.reverse {
            line.iter_mut().rev().for_each(&mut step);
        } else {
            line.iter_mut().for_each(&mut step);
        }
    }
}

impl Operator for Cumulative {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        work.room(input.element(), input.shape())?;
        let along = inputs.get(1)?.ints()?.first().copied();
        let at = axis(along.ok_or("expected a dimension")?, input.shape().len())?;
        let sizes = around(input.shape(), at)?;
        let values = match input.values() {
            Values::Float(values) => Values::Float(lines(values, sizes, |line| self.line(line))),
            Values::Double(values) => Values::Double(lines(values, sizes, |line| self.line(line))),
            other => {
                let values = lines(&reals::<f64>(other)?, sizes, |line| self.line(line));
                match other {
                    Values::Int32(_) => {
                        Values::Int32(values.iter().map(|value| *value as i32).collect())
                    }
                    _ => Values::Int64(values.iter().map(|value| *value as i64).collect()),
                }
            }
        };
        Ok(vec![made(input.shape().to_vec(), values)?])
    }
}

#[derive(Debug)]
struct Normalization {
    axis: i64,
    squares: bool,
}

pub(super) fn normalization(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.of(0, &[ElementType::Float, ElementType::Double])?;
    let normalization = Normalization {
        axis: site.int("axis")?.unwrap_or(-1),
        squares: match site.int("p")?.unwrap_or(2) {
            1 => false,
            2 => true,
            _ => return Err("expected 1 or 2 in `p`".to_owned()),
        },
    };
    Ok(Built::new(normalization, &[element]))
}

impl Normalization {
    fn line<T: Real>(&self, line: &mut [T]) {
        let how = if self.squares {
            How::Norm
        } else {
            How::Magnitudes
        };
        let norm = how.apply(line.iter().copied(), line.len());
        if norm != T::default() {
            line.iter_mut().for_each(|value| *value /= norm);
        }
    }
}

impl Operator for Normalization {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        work.room(input.element(), input.shape())?;
        let sizes = around(input.shape(), axis(self.axis, input.shape().len())?)?;
        let values = match input.values() {
            Values::Float(values) => Values::Float(lines(values, sizes, |line| self.line(line))),
            Values::Double(values) => Values::Double(lines(values, sizes, |line| self.line(line))),
            _ => return Err("expected floats".to_owned()),
        };
        Ok(vec![made(input.shape().to_vec(), values)?])
    }
}
