//! Operators that move values without changing them.

use super::broadcast::{Places, around, axis, broadcast, strides};
use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::site::{Built, Site, Source};
use crate::onnx::tensor::{ElementType, Tensor, Values, alike, volume};

/// The values of a tensor in another shape.
fn reshaped(tensor: &Tensor, shape: Vec<usize>) -> Result<Vec<Tensor>, String> {
    if volume(&shape) != Some(tensor.values().len()) {
        return Err(format!(
            "cannot give {:?} the shape {shape:?}",
            tensor.shape()
        ));
    }
    let mut tensor = tensor.clone();
    tensor.shape = shape;
    Ok(vec![tensor])
}

/// A tensor of the values at these places.
fn picked(
    tensor: &Tensor,
    shape: Vec<usize>,
    places: impl Iterator<Item = usize>,
) -> Result<Tensor, String> {
    let values = tensor.values().pick(places);
    made(shape, values.ok_or("a value does not exist")?)
}

#[derive(Debug)]
struct Identity;

pub(super) fn identity(site: &Site<'_, '_>) -> Result<Built, String> {
    if site.node.operator == "Dropout" && site.node.outputs.len() > 1 {
        return Err("the mask of `Dropout` is not supported".to_owned());
    }
    Ok(Built::new(Identity, &[site.element(0)?]))
}

impl Operator for Identity {
    fn run(&self, inputs: &Inputs<'_>, _: &mut Work) -> Result<Vec<Tensor>, String> {
        Ok(vec![inputs.get(0)?.clone()])
    }
}

#[derive(Debug)]
struct Reshape {
    shape: Source,
    zero: bool,
}

pub(super) fn reshape(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.element(0)?;
    let reshape = Reshape {
        shape: site.axes(1, "shape", 5)?,
        zero: site.int("allowzero")?.unwrap_or(0) != 0,
    };
    Ok(Built::new(reshape, &[element]))
}

impl Operator for Reshape {
    fn run(&self, inputs: &Inputs<'_>, _: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let wanted = inputs.ints(&self.shape)?.ok_or("expected a shape")?;
        let mut shape = Vec::with_capacity(wanted.len());
        let mut open = None;
        for (index, size) in wanted.iter().enumerate() {
            shape.push(match *size {
                0 if !self.zero => {
                    let size = input.shape().get(index).copied();
                    size.ok_or("a size to copy does not exist")?
                }
                -1 if open.is_none() => {
                    open = Some(index);
                    1
                }
                size => usize::try_from(size).map_err(|_| "expected a shape")?,
            });
        }
        if let Some(open) = open {
            let known = volume(&shape).filter(|known| *known > 0);
            let known = known.ok_or("the open size cannot be told")?;
            if let Some(size) = shape.get_mut(open) {
                *size = input.values().len() / known;
            }
        }
        reshaped(input, shape)
    }
}

#[derive(Debug)]
struct Flatten(i64);

pub(super) fn flatten(site: &Site<'_, '_>) -> Result<Built, String> {
    let flatten = Flatten(site.int("axis")?.unwrap_or(1));
    Ok(Built::new(flatten, &[site.element(0)?]))
}

impl Operator for Flatten {
    fn run(&self, inputs: &Inputs<'_>, _: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let rank = input.shape().len();
        let at = axis(self.0, rank + 1).map_or(rank, |at| at);
        let at = if self.0 < 0 { at.saturating_sub(1) } else { at };
        let (before, after) = input
            .shape()
            .split_at_checked(at)
            .ok_or("no such dimension")?;
        let sizes = volume(before).zip(volume(after));
        let (rows, columns) = sizes.ok_or("a shape larger than memory")?;
        reshaped(input, vec![rows, columns])
    }
}

#[derive(Debug)]
struct Squeeze(Source);

pub(super) fn squeeze(site: &Site<'_, '_>) -> Result<Built, String> {
    let axes = site.axes(1, "axes", 13)?;
    Ok(Built::new(Squeeze(axes), &[site.element(0)?]))
}

impl Operator for Squeeze {
    fn run(&self, inputs: &Inputs<'_>, _: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let rank = input.shape().len();
        let gone: Vec<usize> = match inputs.ints(&self.0)? {
            Some(axes) => axes
                .iter()
                .map(|place| axis(*place, rank))
                .collect::<Result<_, _>>()?,
            None => (0..rank)
                .filter(|index| input.shape().get(*index) == Some(&1))
                .collect(),
        };
        let kept = input.shape().iter().enumerate();
        let kept = kept.filter(|(index, _)| !gone.contains(index));
        reshaped(input, kept.map(|(_, size)| *size).collect())
    }
}

#[derive(Debug)]
struct Unsqueeze(Source);

pub(super) fn unsqueeze(site: &Site<'_, '_>) -> Result<Built, String> {
    let axes = site.axes(1, "axes", 13)?;
    Ok(Built::new(Unsqueeze(axes), &[site.element(0)?]))
}

impl Operator for Unsqueeze {
    fn run(&self, inputs: &Inputs<'_>, _: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let axes = inputs.ints(&self.0)?.ok_or("expected dimensions")?;
        let rank = input.shape().len().saturating_add(axes.len());
        let new: Vec<usize> = axes
            .iter()
            .map(|place| axis(*place, rank))
            .collect::<Result<_, _>>()?;
        let mut old = input.shape().iter();
        let sizes = (0..rank).map(|index| {
            if new.contains(&index) {
                1
            } else {
                old.next().copied().unwrap_or(1)
            }
        });
        reshaped(input, sizes.collect())
    }
}

#[derive(Debug)]
struct Shape {
    start: i64,
    end: i64,
}

pub(super) fn shape(site: &Site<'_, '_>) -> Result<Built, String> {
    site.element(0)?;
    let shape = Shape {
        start: site.int("start")?.unwrap_or(0),
        end: site.int("end")?.unwrap_or(i64::MAX),
    };
    Ok(Built::new(shape, &[ElementType::Int64]))
}

impl Operator for Shape {
    fn run(&self, inputs: &Inputs<'_>, _: &mut Work) -> Result<Vec<Tensor>, String> {
        let shape = inputs.get(0)?.shape();
        let rank = i64::try_from(shape.len()).unwrap_or(i64::MAX);
        let place = |at: i64| {
            let at = if at < 0 { at.saturating_add(rank) } else { at };
            usize::try_from(at.clamp(0, rank)).unwrap_or(0)
        };
        let sizes = shape
            .get(place(self.start)..place(self.end))
            .unwrap_or_default();
        let sizes: Vec<i64> = sizes
            .iter()
            .map(|size| i64::try_from(*size).unwrap_or(i64::MAX))
            .collect();
        Ok(vec![made(vec![sizes.len()], Values::Int64(sizes))?])
    }
}

#[derive(Debug)]
struct Size;

pub(super) fn size(site: &Site<'_, '_>) -> Result<Built, String> {
    site.element(0)?;
    Ok(Built::new(Size, &[ElementType::Int64]))
}

impl Operator for Size {
    fn run(&self, inputs: &Inputs<'_>, _: &mut Work) -> Result<Vec<Tensor>, String> {
        let size = inputs.get(0)?.values().len();
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        Ok(vec![made(Vec::new(), Values::Int64(vec![size]))?])
    }
}

#[derive(Debug)]
struct Transpose(Option<Vec<usize>>);

pub(super) fn transpose(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.element(0)?;
    let order = match site.ints("perm")? {
        [] => None,
        order => {
            let order: Option<Vec<usize>> = order
                .iter()
                .map(|place| usize::try_from(*place).ok())
                .collect();
            let order = order.ok_or("expected dimensions in `perm`")?;
            let mut sorted = order.clone();
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..order.len()) {
                return Err("expected each dimension once in `perm`".to_owned());
            }
            Some(order)
        }
    };
    Ok(Built::new(Transpose(order), &[element]))
}

impl Operator for Transpose {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let rank = input.shape().len();
        let order = match &self.0 {
            Some(order) => order.clone(),
            None => (0..rank).rev().collect(),
        };
        if order.len() != rank {
            return Err(format!("expected {} dimensions", order.len()));
        }
        let steps = strides(input.shape());
        let of = |values: &[usize]| -> Vec<usize> {
            let value = |place: &usize| values.get(*place).copied().unwrap_or(0);
            order.iter().map(value).collect()
        };
        let shape = of(input.shape());
        work.room(input.element(), &shape)?;
        let places = Places::walk(&shape, of(&steps));
        Ok(vec![picked(input, shape, places)?])
    }
}

#[derive(Debug)]
struct Concat(i64);

pub(super) fn concat(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.same()?;
    let axis = site.int("axis")?.unwrap_or(1);
    Ok(Built::new(Concat(axis), &[element]))
}

impl Operator for Concat {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let first = inputs.get(0)?;
        let at = axis(self.0, first.shape().len())?;
        let (before, _, after) = around(first.shape(), at)?;
        let mut shape = first.shape().to_vec();
        let mut total = 0_usize;
        let mut blocks = Vec::new();
        for tensor in inputs.all() {
            let (outer, size, inner) = around(tensor.shape(), at)?;
            if outer != before || inner != after || tensor.shape().len() != shape.len() {
                return Err("expected shapes that differ in one dimension alone".to_owned());
            }
            total = total.checked_add(size).ok_or("too many values")?;
            blocks.push(size.saturating_mul(after));
        }
        if let Some(size) = shape.get_mut(at) {
            *size = total;
        }
        work.room(first.element(), &shape)?;
        let mut values = alike!(first.values(), _values => Vec::new());
        for outer in 0..before {
            for (tensor, block) in inputs.all().zip(&blocks) {
                append(&mut values, tensor.values(), outer * block, *block)?;
            }
        }
        Ok(vec![made(shape, values)?])
    }
}

/// Appends `count` values from `start` on.
fn append(to: &mut Values, from: &Values, start: usize, count: usize) -> Result<(), String> {
    fn add<T: Clone>(to: &mut Vec<T>, from: &[T], start: usize, count: usize) -> Option<()> {
        to.extend_from_slice(from.get(start..start.checked_add(count)?)?);
        Some(())
    }
    let added = match (to, from) {
        (Values::Float(to), Values::Float(from)) => add(to, from, start, count),
        (Values::Double(to), Values::Double(from)) => add(to, from, start, count),
        (Values::Int64(to), Values::Int64(from)) => add(to, from, start, count),
        (Values::Int32(to), Values::Int32(from)) => add(to, from, start, count),
        (Values::Bool(to), Values::Bool(from)) => add(to, from, start, count),
        (Values::Text(to), Values::Text(from)) => add(to, from, start, count),
        _ => None,
    };
    added.ok_or_else(|| "expected inputs of one type".to_owned())
}

#[derive(Debug)]
struct Split {
    axis: i64,
    sizes: Source,
    outputs: usize,
}

pub(super) fn split(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.element(0)?;
    let outputs = site.node.outputs.len();
    let split = Split {
        axis: site.int("axis")?.unwrap_or(0),
        sizes: site.axes(1, "split", 13)?,
        outputs,
    };
    Ok(Built::new(split, &vec![element; outputs]))
}

impl Operator for Split {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let at = axis(self.axis, input.shape().len())?;
        let (before, size, after) = around(input.shape(), at)?;
        let sizes: Vec<usize> = match inputs.ints(&self.sizes)? {
            Some(sizes) => sizes
                .iter()
                .map(|size| usize::try_from(*size))
                .collect::<Result<_, _>>()
                .map_err(|_| "expected sizes")?,
            None => {
                let part = size.div_ceil(self.outputs.max(1));
                let parts =
                    (0..self.outputs).map(|index| part.min(size.saturating_sub(index * part)));
                parts.collect()
            }
        };
        let total = sizes
            .iter()
            .try_fold(0_usize, |sum, size| sum.checked_add(*size));
        if sizes.len() != self.outputs || total != Some(size) {
            return Err(format!("expected {} sizes that make {size}", self.outputs));
        }
        let mut out = Vec::with_capacity(sizes.len());
        let mut start = 0;
        for part in sizes {
            let mut shape = input.shape().to_vec();
            if let Some(size) = shape.get_mut(at) {
                *size = part;
            }
            work.room(input.element(), &shape)?;
            let mut values = alike!(input.values(), _values => Vec::new());
            for outer in 0..before {
                let from = (outer * size + start) * after;
                append(&mut values, input.values(), from, part * after)?;
            }
            out.push(made(shape, values)?);
            start += part;
        }
        Ok(out)
    }
}

#[derive(Debug)]
struct Expand(Source);

pub(super) fn expand(site: &Site<'_, '_>) -> Result<Built, String> {
    let shape = site.axes(1, "shape", 0)?;
    Ok(Built::new(Expand(shape), &[site.element(0)?]))
}

fn sizes(inputs: &Inputs<'_>, source: &Source) -> Result<Vec<usize>, String> {
    let sizes = inputs.ints(source)?.ok_or("expected sizes")?;
    let sizes = sizes.iter().map(|size| usize::try_from(*size));
    sizes
        .collect::<Result<_, _>>()
        .map_err(|_| "expected sizes of zero or more".to_owned())
}

impl Operator for Expand {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let shape = broadcast(input.shape(), &sizes(inputs, &self.0)?)?;
        work.room(input.element(), &shape)?;
        let places = Places::new(input.shape(), &shape);
        Ok(vec![picked(input, shape, places)?])
    }
}

#[derive(Debug)]
struct Tile(Source);

pub(super) fn tile(site: &Site<'_, '_>) -> Result<Built, String> {
    let times = site.axes(1, "repeats", 6)?;
    Ok(Built::new(Tile(times), &[site.element(0)?]))
}

impl Operator for Tile {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let times = sizes(inputs, &self.0)?;
        if times.len() != input.shape().len() {
            return Err("expected how often for each dimension".to_owned());
        }
        // Each dimension is two: how often, which moves nowhere, and its own.
        let (mut doubled, mut steps, mut shape) = (Vec::new(), Vec::new(), Vec::new());
        let of = input.shape().iter().zip(strides(input.shape()));
        for ((size, step), times) in of.zip(&times) {
            doubled.extend([*times, *size]);
            steps.extend([0, step]);
            shape.push(size.checked_mul(*times).ok_or("too many values")?);
        }
        work.room(input.element(), &shape)?;
        Ok(vec![picked(input, shape, Places::walk(&doubled, steps))?])
    }
}

#[derive(Debug)]
struct ConstantOfShape {
    shape: Source,
    value: Tensor,
}

pub(super) fn constant_of_shape(site: &Site<'_, '_>) -> Result<Built, String> {
    let value = match site.tensor("value")? {
        Some(value) if value.values().len() == 1 => value,
        None => made(vec![1], Values::Float(vec![0.0]))?,
        Some(_) => return Err("expected one value".to_owned()),
    };
    let element = value.element();
    let shape = site.axes(0, "shape", 0)?;
    Ok(Built::new(ConstantOfShape { shape, value }, &[element]))
}

impl Operator for ConstantOfShape {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let shape = sizes(inputs, &self.shape)?;
        let count = work.room(self.value.element(), &shape)?;
        Ok(vec![picked(
            &self.value,
            shape,
            std::iter::repeat_n(0, count),
        )?])
    }
}

#[derive(Debug)]
struct Range;

pub(super) fn range(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.same()?;
    if !element.is_numeric() || !site.has(2) {
        return Err("expected three numbers".to_owned());
    }
    Ok(Built::new(Range, &[element]))
}

impl Operator for Range {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        use crate::onnx::real::reals;
        let number = |index: usize| -> Result<f64, String> {
            let value = reals::<f64>(inputs.get(index)?.values())?.first().copied();
            value.ok_or_else(|| "expected three numbers".to_owned())
        };
        let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
        let count = ((limit - start) / step).ceil();
        if !count.is_finite() || step == 0.0 || count > 1e9 {
            return Err("would make too many numbers".to_owned());
        }
        let count = count.max(0.0) as usize;
        let element = inputs.get(0)?.element();
        work.room(element, &[count])?;
        let values = (0..count).map(|index| start + index as f64 * step);
        let values = match element {
            ElementType::Float => Values::Float(values.map(|value| value as f32).collect()),
            ElementType::Double => Values::Double(values.collect()),
            ElementType::Int32 => Values::Int32(values.map(|value| value as i32).collect()),
            _ => Values::Int64(values.map(|value| value as i64).collect()),
        };
        Ok(vec![made(vec![count], values)?])
    }
}
