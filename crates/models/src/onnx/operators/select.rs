//! Operators that look for values: the largest ones, those that are not zero.

use super::broadcast::{around, axis, strides};
use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::real::reals;
use crate::onnx::site::{Built, Site, Source};
use crate::onnx::tensor::{ElementType, Tensor, Values};
use std::cmp::Ordering;

const NUMBERS: [ElementType; 4] = [
    ElementType::Float,
    ElementType::Double,
    ElementType::Int64,
    ElementType::Int32,
];

/// The numbers of a tensor in a form in which they compare as in their own type: whole numbers beyond 2^53 are rare enough
/// in indices and labels to be refused.
fn numbers(tensor: &Tensor) -> Result<Vec<f64>, String> {
    if let Values::Int64(values) = tensor.values()
        && values.iter().any(|value| value.unsigned_abs() > 1 << 53)
    {
        return Err("a whole number is too large".to_owned());
    }
    Ok(reals::<f64>(tensor.values())?.into_owned())
}

#[derive(Debug)]
struct Arg {
    axis: i64,
    keep: bool,
    last: bool,
    largest: bool,
}

pub(super) fn arg(site: &Site<'_, '_>) -> Result<Built, String> {
    site.of(0, &NUMBERS)?;
    let arg = Arg {
        axis: site.int("axis")?.unwrap_or(0),
        keep: site.int("keepdims")?.unwrap_or(1) != 0,
        last: site.int("select_last_index")?.unwrap_or(0) != 0,
        largest: site.node.operator == "ArgMax",
    };
    Ok(Built::new(arg, &[ElementType::Int64]))
}

impl Operator for Arg {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let at = axis(self.axis, input.shape().len())?;
        let (before, size, after) = around(input.shape(), at)?;
        if size == 0 {
            return Err("there is no largest of no values".to_owned());
        }
        let mut shape = input.shape().to_vec();
        if self.keep {
            if let Some(size) = shape.get_mut(at) {
                *size = 1;
            }
        } else {
            shape.remove(at);
        }
        work.room(ElementType::Double, input.shape())?;
        let mut out = Vec::with_capacity(work.room(ElementType::Int64, &shape)?);
        let values = numbers(input)?;
        for outer in 0..before {
            for inner in 0..after {
                let start = outer * size * after + inner;
                let line = values.get(start..).unwrap_or_default();
                let mut best: Option<(i64, f64)> = None;
                for (index, value) in (0_i64..).zip(line.iter().step_by(after).take(size)) {
                    let better = best.is_none_or(|(_, best)| match value.partial_cmp(&best) {
                        Some(Ordering::Equal) => self.last,
                        Some(Ordering::Greater) => self.largest,
                        Some(Ordering::Less) => !self.largest,
                        None => false,
                    });
                    if better {
                        best = Some((index, *value));
                    }
                }
                out.push(best.map_or(0, |(index, _)| index));
            }
        }
        Ok(vec![made(shape, Values::Int64(out))?])
    }
}

#[derive(Debug)]
struct Top {
    axis: i64,
    largest: bool,
    count: Source,
}

pub(super) fn top(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.of(0, &NUMBERS)?;
    let count = if site.version < 10 {
        Source::Known(site.int("k")?.into_iter().collect())
    } else {
        site.axes(1, "k", 10)?
    };
    let top = Top {
        axis: site.int("axis")?.unwrap_or(-1),
        largest: site.int("largest")?.unwrap_or(1) != 0,
        count,
    };
    Ok(Built::new(top, &[element, ElementType::Int64]))
}

impl Operator for Top {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let at = axis(self.axis, input.shape().len())?;
        let (before, size, after) = around(input.shape(), at)?;
        let count = inputs.ints(&self.count)?.unwrap_or_default();
        let count = count.first().and_then(|count| usize::try_from(*count).ok());
        let count = count.filter(|count| *count <= size);
        let count = count.ok_or_else(|| format!("expected a number of values up to {size}"))?;
        let mut shape = input.shape().to_vec();
        if let Some(size) = shape.get_mut(at) {
            *size = count;
        }
        work.room(ElementType::Double, input.shape())?;
        work.steps(&[before, size, after, 16])?;
        let total = work.room(input.element(), &shape)?;
        work.room(ElementType::Int64, &shape)?;
        let values = numbers(input)?;
        let mut places = vec![0_usize; total];
        let mut indices = vec![0_i64; total];
        for outer in 0..before {
            for inner in 0..after {
                let start = outer * size * after + inner;
                let line = values.get(start..).unwrap_or_default();
                let mut line: Vec<(usize, f64)> = line
                    .iter()
                    .step_by(after)
                    .take(size)
                    .copied()
                    .enumerate()
                    .collect();
                // The lower index comes first of equals.
                line.sort_by(|(i, a), (j, b)| {
                    let order = if self.largest {
                        b.total_cmp(a)
                    } else {
                        a.total_cmp(b)
                    };
                    if a == b { i.cmp(j) } else { order }
                });
                for (rank, (index, _)) in line.iter().take(count).enumerate() {
                    let to = (outer * count + rank) * after + inner;
                    if let (Some(place), Some(slot)) = (places.get_mut(to), indices.get_mut(to)) {
                        *place = start + index * after;
                        *slot = i64::try_from(*index).unwrap_or(i64::MAX);
                    }
                }
            }
        }
        let found = input.values().pick(places.into_iter());
        Ok(vec![
            made(shape.clone(), found.ok_or("an index does not exist")?)?,
            made(shape, Values::Int64(indices))?,
        ])
    }
}

#[derive(Debug)]
struct NonZero;

pub(super) fn non_zero(site: &Site<'_, '_>) -> Result<Built, String> {
    site.element(0)?;
    Ok(Built::new(NonZero, &[ElementType::Int64]))
}

impl Operator for NonZero {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let values = reals::<f64>(input.values())?;
        let found = values
            .iter()
            .enumerate()
            .filter(|(_, value)| **value != 0.0);
        let found: Vec<usize> = found.map(|(place, _)| place).collect();
        let rank = input.shape().len();
        work.room(ElementType::Int64, &[rank, found.len()])?;
        let mut out = Vec::new();
        for (stride, size) in strides(input.shape()).iter().zip(input.shape()) {
            let index = |place: &usize| i64::try_from((place / stride) % size).unwrap_or(0);
            out.extend(found.iter().map(index));
        }
        Ok(vec![made(vec![rank, found.len()], Values::Int64(out))?])
    }
}
