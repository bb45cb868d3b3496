//! Operators that pick values by index.

use super::broadcast::{Places, around, axis, strides};
use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::site::{Built, Site, Source};
use crate::onnx::tensor::{ElementType, Tensor, Values, alike, volume};

fn picked(
    tensor: &Tensor,
    shape: Vec<usize>,
    places: impl Iterator<Item = usize>,
) -> Result<Vec<Tensor>, String> {
    let values = tensor.values().pick(places);
    Ok(vec![made(shape, values.ok_or("an index does not exist")?)?])
}

/// Indices that count from the end if they are negative.
fn indices(tensor: &Tensor, size: usize) -> Result<Vec<usize>, String> {
    let found = tensor.ints()?.into_iter();
    found.map(|index| axis(index, size)).collect()
}

#[derive(Debug)]
struct Extractor;

/// `ArrayFeatureExtractor`: columns by their numbers.
pub(super) fn extractor(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.element(0)?;
    site.of(1, &[ElementType::Int64])?;
    Ok(Built::new(Extractor, &[element]))
}

impl Operator for Extractor {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (input, which) = (inputs.get(0)?, inputs.get(1)?);
        let (rest, columns) = match input.shape() {
            [rest @ .., columns] => (rest, *columns),
            [] => return Err("expected at least one dimension".to_owned()),
        };
        // Negative ones stand for neighbours that there are not; what they pick is masked behind.
        let which = indices(which, columns)?;
        let mut shape = if rest.is_empty() {
            vec![1]
        } else {
            rest.to_vec()
        };
        let rows = volume(&shape).ok_or("a shape larger than memory")?;
        shape.push(which.len());
        work.room(input.element(), &shape)?;
        let places =
            (0..rows).flat_map(|row| which.iter().map(move |column| row * columns + column));
        picked(input, shape, places)
    }
}

#[derive(Debug)]
struct Gather(i64);

pub(super) fn gather(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.element(0)?;
    site.of(1, &[ElementType::Int64, ElementType::Int32])?;
    Ok(Built::new(
        Gather(site.int("axis")?.unwrap_or(0)),
        &[element],
    ))
}

impl Operator for Gather {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (input, which) = (inputs.get(0)?, inputs.get(1)?);
        let at = axis(self.0, input.shape().len())?;
        let (before, size, after) = around(input.shape(), at)?;
        let chosen = indices(which, size)?;
        let mut shape = input.shape().to_vec();
        shape.splice(at..=at, which.shape().iter().copied());
        work.room(input.element(), &shape)?;
        let places = (0..before).flat_map(|outer| {
            let chosen = chosen.iter();
            chosen.flat_map(move |index| {
                let start = (outer * size + index) * after;
                start..start + after
            })
        });
        picked(input, shape, places)
    }
}

#[derive(Debug)]
struct Elements(i64);

pub(super) fn elements(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.element(0)?;
    site.of(1, &[ElementType::Int64, ElementType::Int32])?;
    Ok(Built::new(
        Elements(site.int("axis")?.unwrap_or(0)),
        &[element],
    ))
}

impl Operator for Elements {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (input, which) = (inputs.get(0)?, inputs.get(1)?);
        let at = axis(self.0, input.shape().len())?;
        let (_, size, after) = around(input.shape(), at)?;
        let smaller = which.shape().iter().zip(input.shape()).enumerate();
        let fits = which.shape().len() == input.shape().len() && { smaller }
            .all(|(index, (found, of))| index == at || found <= of);
        if !fits {
            return Err("expected indices of a shape that fits".to_owned());
        }
        let chosen = indices(which, size)?;
        work.room(input.element(), which.shape())?;
        // Where the rest of the index leads, with the dimension itself left out.
        let mut steps = strides(input.shape());
        if let Some(step) = steps.get_mut(at) {
            *step = 0;
        }
        let rest = Places::walk(which.shape(), steps);
        let places = rest.zip(&chosen).map(|(rest, index)| rest + index * after);
        picked(input, which.shape().to_vec(), places)
    }
}

#[derive(Debug)]
struct Nd;

pub(super) fn nd(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.element(0)?;
    site.of(1, &[ElementType::Int64])?;
    if site.int("batch_dims")?.unwrap_or(0) != 0 {
        return Err("`batch_dims` is not supported".to_owned());
    }
    Ok(Built::new(Nd, &[element]))
}

impl Operator for Nd {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (input, which) = (inputs.get(0)?, inputs.get(1)?);
        let [outer @ .., depth] = which.shape() else {
            return Err("expected indices".to_owned());
        };
        let split = input
            .shape()
            .split_at_checked(*depth)
            .filter(|_| *depth > 0);
        let (indexed, rest) = split.ok_or("the indices are longer than the shape")?;
        let block = volume(rest).ok_or("a shape larger than memory")?;
        let mut shape = outer.to_vec();
        shape.extend_from_slice(rest);
        work.room(input.element(), &shape)?;
        let steps = strides(indexed);
        let numbers = which.ints()?;
        let mut starts = Vec::new();
        for index in numbers.chunks_exact(*depth) {
            let mut start = 0;
            for ((index, size), step) in index.iter().zip(indexed).zip(&steps) {
                start += axis(*index, *size)? * step;
            }
            starts.push(start * block);
        }
        picked(
            input,
            shape,
            starts.into_iter().flat_map(|start| start..start + block),
        )
    }
}

#[derive(Debug)]
struct Slice {
    starts: Source,
    ends: Source,
    axes: Source,
    steps: Source,
}

pub(super) fn slice(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.element(0)?;
    let slice = Slice {
        starts: site.axes(1, "starts", 10)?,
        ends: site.axes(2, "ends", 10)?,
        axes: site.axes(3, "axes", 10)?,
        steps: site.axes(4, "steps", 10)?,
    };
    Ok(Built::new(slice, &[element]))
}

impl Operator for Slice {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let rank = input.shape().len();
        let starts = inputs.ints(&self.starts)?.ok_or("expected starts")?;
        let ends = inputs.ints(&self.ends)?.ok_or("expected ends")?;
        let count = i64::try_from(starts.len()).unwrap_or(0);
        let axes = inputs
            .ints(&self.axes)?
            .unwrap_or_else(|| (0..count).collect());
        let steps = inputs
            .ints(&self.steps)?
            .unwrap_or_else(|| vec![1; starts.len()]);
        if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
            return Err("expected as many ends as starts".to_owned());
        }
        let mut ranges: Vec<Vec<usize>> = input
            .shape()
            .iter()
            .map(|size| (0..*size).collect())
            .collect();
        for (((start, end), at), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let at = axis(*at, rank)?;
            let size = input.shape().get(at).copied().unwrap_or(0);
            if let Some(range) = ranges.get_mut(at) {
                *range = chosen(size, *start, *end, *step)?;
            }
        }
        let shape: Vec<usize> = ranges.iter().map(Vec::len).collect();
        work.room(input.element(), &shape)?;
        let strides = strides(input.shape());
        let mut places = vec![0_usize];
        for (range, stride) in ranges.iter().zip(&strides) {
            let range = || range.iter().map(|index| index * stride);
            places = places
                .iter()
                .flat_map(|place| range().map(move |step| place + step))
                .collect();
        }
        picked(input, shape, places.into_iter())
    }
}

/// The indices of a slice, as in numpy.
fn chosen(size: usize, start: i64, end: i64, step: i64) -> Result<Vec<usize>, String> {
    let length = i64::try_from(size).unwrap_or(i64::MAX);
    let from_end = |at: i64| {
        if at < 0 {
            at.saturating_add(length)
        } else {
            at
        }
    };
    let (start, end) = (from_end(start), from_end(end));
    let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
    let range = |low: i64, high: i64| {
        let low = usize::try_from(low).unwrap_or(0);
        let high = usize::try_from(high).unwrap_or(0);
        low..high.max(low)
    };
    match step {
        0 => Err("expected a step that is not zero".to_owned()),
        1.. => Ok(range(start.clamp(0, length), end.clamp(0, length))
            .step_by(stride)
            .collect()),
        _ => {
            let start = start.clamp(-1, length - 1);
            let end = end.clamp(-1, length - 1);
            Ok(range(end + 1, start + 1).rev().step_by(stride).collect())
        }
    }
}

#[derive(Debug)]
struct Compress(Option<i64>);

pub(super) fn compress(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.element(0)?;
    site.of(1, &[ElementType::Bool])?;
    Ok(Built::new(Compress(site.int("axis")?), &[element]))
}

impl Operator for Compress {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (input, which) = (inputs.get(0)?, inputs.get(1)?);
        let Values::Bool(which) = which.values() else {
            return Err("expected truth values".to_owned());
        };
        let flat = [input.values().len()];
        let (shape, at) = match self.0 {
            Some(at) => (input.shape(), axis(at, input.shape().len())?),
            None => (flat.as_slice(), 0),
        };
        let (before, size, after) = around(shape, at)?;
        let kept: Vec<usize> = (0..size)
            .filter(|index| which.get(*index) == Some(&true))
            .collect();
        let mut shape = shape.to_vec();
        if let Some(size) = shape.get_mut(at) {
            *size = kept.len();
        }
        work.room(input.element(), &shape)?;
        let places = (0..before).flat_map(|outer| {
            kept.iter().flat_map(move |index| {
                let start = (outer * size + index) * after;
                start..start + after
            })
        });
        picked(input, shape, places)
    }
}

#[derive(Debug)]
struct Pad {
    pads: Source,
    value: f32,
}

pub(super) fn pad(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.element(0)?;
    if site.text("mode")?.unwrap_or("constant") != "constant" || site.has(3) {
        return Err("only padding by a constant on all dimensions is supported".to_owned());
    }
    let pad = Pad {
        pads: site.axes(1, "pads", 11)?,
        value: site.float("value")?.unwrap_or(0.0),
    };
    Ok(Built::new(pad, &[element]))
}

impl Operator for Pad {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let pads = inputs.ints(&self.pads)?.ok_or("expected widths")?;
        let rank = input.shape().len();
        if pads.len() != rank * 2 {
            return Err("expected two widths for each dimension".to_owned());
        }
        let (before, after) = pads.split_at(rank);
        let mut shape = Vec::new();
        for ((size, before), after) in input.shape().iter().zip(before).zip(after) {
            let widths = usize::try_from(*before)
                .ok()
                .zip(usize::try_from(*after).ok());
            let (before, after) = widths.ok_or("expected widths of zero or more")?;
            let size = size
                .checked_add(before)
                .and_then(|size| size.checked_add(after));
            shape.push(size.ok_or("too many values")?);
        }
        work.room(input.element(), &shape)?;
        // The value stands behind those of the tensor.
        let values = match inputs.optional(2) {
            Some(value) if value.values().len() == 1 && value.element() == input.element() => {
                joined(input.values(), value.values())?
            }
            Some(_) => return Err("expected one value of the type of the input".to_owned()),
            None => joined(input.values(), &zero(input.element(), self.value))?,
        };
        let other = input.values().len();
        let steps = strides(input.shape());
        let count = volume(&shape).unwrap_or(0);
        let outer = strides(&shape);
        let places = (0..count).map(|at| {
            let mut place = 0;
            let dimensions = outer
                .iter()
                .zip(&shape)
                .zip(before)
                .zip(input.shape().iter().zip(&steps));
            for (((stride, size), before), (inner, step)) in dimensions {
                let index = (at / stride) % size;
                let before = usize::try_from(*before).unwrap_or(0);
                match index.checked_sub(before).filter(|index| index < inner) {
                    Some(index) => place += index * step,
                    None => return other,
                }
            }
            place
        });
        let values = values.pick(places).ok_or("a value does not exist")?;
        Ok(vec![made(shape, values)?])
    }
}

fn zero(element: ElementType, value: f32) -> Values {
    match element {
        ElementType::Float => Values::Float(vec![value]),
        ElementType::Double => Values::Double(vec![f64::from(value)]),
        ElementType::Int64 => Values::Int64(vec![value as i64]),
        ElementType::Int32 => Values::Int32(vec![value as i32]),
        ElementType::Bool => Values::Bool(vec![value != 0.0]),
        ElementType::Text => Values::Text(vec![String::new()]),
    }
}

fn joined(values: &Values, last: &Values) -> Result<Values, String> {
    let mut joined = alike!(values, values => values.clone());
    match (&mut joined, last) {
        (Values::Float(all), Values::Float(last)) => all.extend_from_slice(last),
        (Values::Double(all), Values::Double(last)) => all.extend_from_slice(last),
        (Values::Int64(all), Values::Int64(last)) => all.extend_from_slice(last),
        (Values::Int32(all), Values::Int32(last)) => all.extend_from_slice(last),
        (Values::Bool(all), Values::Bool(last)) => all.extend_from_slice(last),
        (Values::Text(all), Values::Text(last)) => all.extend_from_slice(last),
        _ => return Err("expected values of one type".to_owned()),
    }
    Ok(joined)
}
