//! What `ai.onnx.ml` has to prepare columns: `Scaler`, `Normalizer`, `Imputer`, `Binarizer`, `FeatureVectorizer`.

use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::real::{Real, reals};
use crate::onnx::site::{Built, Site};
use crate::onnx::tensor::{ElementType, Tensor, Values};

const NUMBERS: [ElementType; 4] = [
    ElementType::Float,
    ElementType::Double,
    ElementType::Int64,
    ElementType::Int32,
];

/// The numbers of a row, over and over.
#[derive(Debug)]
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

pub(super) fn scaler(site: &Site<'_, '_>) -> Result<Built, String> {
    site.of(0, &NUMBERS)?;
    let (offset, scale) = (site.floats("offset")?, site.floats("scale")?);
    if offset.is_empty() || offset.len() != scale.len() {
        return Err("expected as many values in `offset` as in `scale`".to_owned());
    }
    let scaler = Scaler {
        offset: offset.to_vec(),
        scale: scale.to_vec(),
    };
    Ok(Built::new(scaler, &[ElementType::Float]))
}

impl Scaler {
    fn scale<T: Real>(&self, values: &[T], columns: usize) -> Result<Vec<f32>, String> {
        let width = self.offset.len();
        if width != 1 && width != columns {
            return Err(format!("expected {width} columns, found {columns}"));
        }
        let pairs: Vec<(T, T)> = self
            .offset
            .iter()
            .zip(&self.scale)
            .map(|(offset, scale)| (T::of_single(*offset), T::of_single(*scale)))
            .collect();
        let scaled = values
            .iter()
            .zip(pairs.iter().cycle())
            .map(|(value, (offset, scale))| ((*value - *offset) * *scale).to_single());
        Ok(scaled.collect())
    }
}

impl Operator for Scaler {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let columns = input.shape().last().copied().unwrap_or(1);
        work.room(ElementType::Float, input.shape())?;
        let scaled = match input.values() {
            Values::Double(values) => self.scale(values, columns)?,
            other => self.scale(&reals::<f32>(other)?, columns)?,
        };
        Ok(vec![made(input.shape().to_vec(), Values::Float(scaled))?])
    }
}

#[derive(Debug, Clone, Copy)]
enum Normalizer {
    Max,
    Sum,
    Square,
}

pub(super) fn normalizer(site: &Site<'_, '_>) -> Result<Built, String> {
    site.of(0, &NUMBERS)?;
    let normalizer = match site.text("norm")?.unwrap_or("MAX") {
        "MAX" => Normalizer::Max,
        "L1" => Normalizer::Sum,
        "L2" => Normalizer::Square,
        _ => return Err("the `norm` is none that there is".to_owned()),
    };
    Ok(Built::new(normalizer, &[ElementType::Float]))
}

impl Normalizer {
    fn row<T: Real>(self, row: &[T], out: &mut Vec<f32>) {
        let single = |value: &T| value.to_single();
        let norm = match self {
            // Of the values themselves, not of their magnitudes.
            Self::Max => row.iter().map(single).fold(f32::MIN, f32::max),
            Self::Sum => row
                .iter()
                .fold(0.0, |sum, value| sum + value.magnitude().to_single()),
            Self::Square => row
                .iter()
                .fold(0.0, |sum, value| sum + (*value * *value).to_single()),
        };
        if norm == 0.0 {
            out.extend(row.iter().map(single));
            return;
        }
        out.extend(row.iter().map(|value| match self {
            Self::Max | Self::Sum => value.to_single() / norm,
            Self::Square => {
                let part = ((*value * *value).to_single() / norm).sqrt();
                if *value < T::default() { -part } else { part }
            }
        }));
    }
}

impl Operator for Normalizer {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let (_, columns) = input.table()?;
        let mut out = Vec::with_capacity(work.room(ElementType::Float, input.shape())?);
        if columns > 0 {
            match input.values() {
                Values::Float(values) => values
                    .chunks_exact(columns)
                    .for_each(|row| self.row(row, &mut out)),
                other => reals::<f64>(other)?
                    .chunks_exact(columns)
                    .for_each(|row| self.row(row, &mut out)),
            }
        }
        Ok(vec![made(input.shape().to_vec(), Values::Float(out))?])
    }
}

/// What takes the place of a value; for all columns, or for each.
#[derive(Debug)]
enum Imputer {
    Floats(Vec<f32>, f32),
    Ints(Vec<i64>, i64),
}

pub(super) fn imputer(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.of(0, &NUMBERS)?;
    let wrong = || "expected a value to put in, of the type of the input".to_owned();
    let imputer = if element.is_float() {
        let replaced = site.float("replaced_value_float")?.unwrap_or(0.0);
        Imputer::Floats(site.floats("imputed_value_floats")?.to_vec(), replaced)
    } else {
        let replaced = site.int("replaced_value_int64")?.unwrap_or(0);
        Imputer::Ints(site.ints("imputed_value_int64s")?.to_vec(), replaced)
    };
    match &imputer {
        Imputer::Floats(values, _) if values.is_empty() => Err(wrong()),
        Imputer::Ints(values, _) if values.is_empty() => Err(wrong()),
        _ => Ok(Built::new(imputer, &[element])),
    }
}

/// Values with those that are `missing` exchanged for those of their column.
fn impute<T: Copy>(
    values: &[T],
    columns: usize,
    imputed: &[T],
    missing: impl Fn(T) -> bool,
) -> Result<Vec<T>, String> {
    if imputed.len() != 1 && imputed.len() != columns {
        return Err(format!(
            "expected {} columns, found {columns}",
            imputed.len()
        ));
    }
    let pairs = values.iter().zip(imputed.iter().cycle());
    Ok(pairs
        .map(|(value, imputed)| if missing(*value) { *imputed } else { *value })
        .collect())
}

impl Operator for Imputer {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        work.room(input.element(), input.shape())?;
        let columns = input.shape().last().copied().unwrap_or(1);
        let values = match (self, input.values()) {
            (Self::Floats(imputed, replaced), Values::Float(values)) => {
                let missing =
                    |value: f32| value == *replaced || (value.is_nan() && replaced.is_nan());
                Values::Float(impute(values, columns, imputed, missing)?)
            }
            (Self::Floats(imputed, replaced), Values::Double(values)) => {
                let imputed: Vec<f64> = imputed.iter().map(|value| f64::from(*value)).collect();
                let replaced = f64::from(*replaced);
                let missing =
                    |value: f64| value == replaced || (value.is_nan() && replaced.is_nan());
                Values::Double(impute(values, columns, &imputed, missing)?)
            }
            (Self::Ints(imputed, replaced), Values::Int64(values)) => {
                Values::Int64(impute(values, columns, imputed, |value| {
                    value == *replaced
                })?)
            }
            (Self::Ints(imputed, replaced), Values::Int32(values)) => {
                let narrow = |value: &i64| i32::try_from(*value);
                let imputed = imputed.iter().map(narrow).collect::<Result<Vec<_>, _>>();
                let imputed = imputed.map_err(|_| "a value to put in is too large")?;
                let missing = |value: i32| i64::from(value) == *replaced;
                Values::Int32(impute(values, columns, &imputed, missing)?)
            }
            _ => return Err("expected numbers".to_owned()),
        };
        Ok(vec![made(input.shape().to_vec(), values)?])
    }
}

#[derive(Debug)]
struct Binarizer(f32);

pub(super) fn binarizer(site: &Site<'_, '_>) -> Result<Built, String> {
    site.of(0, &[ElementType::Float])?;
    let threshold = site.float("threshold")?.unwrap_or(0.0);
    Ok(Built::new(Binarizer(threshold), &[ElementType::Float]))
}

impl Operator for Binarizer {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        work.room(ElementType::Float, input.shape())?;
        let values = reals::<f32>(input.values())?;
        let values = values
            .iter()
            .map(|value| if *value > self.0 { 1.0 } else { 0.0 });
        Ok(vec![made(
            input.shape().to_vec(),
            Values::Float(values.collect()),
        )?])
    }
}

/// Inputs side by side, each cut or filled up to its width.
#[derive(Debug)]
struct Vectorizer(Vec<usize>);

pub(super) fn vectorizer(site: &Site<'_, '_>) -> Result<Built, String> {
    site.of(0, &NUMBERS)?;
    site.same()?;
    let widths = site
        .ints("inputdimensions")?
        .iter()
        .map(|width| usize::try_from(*width));
    let widths: Vec<usize> = widths
        .collect::<Result<_, _>>()
        .map_err(|_| "expected a width for each input")?;
    if widths.len() != site.elements.len() {
        return Err("expected a width for each input".to_owned());
    }
    Ok(Built::new(Vectorizer(widths), &[ElementType::Float]))
}

impl Operator for Vectorizer {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (rows, _) = inputs.get(0)?.table()?;
        let width = self
            .0
            .iter()
            .try_fold(0_usize, |sum, width| sum.checked_add(*width));
        let width = width.ok_or("expected widths that fit into memory")?;
        let count = work.room(ElementType::Float, &[rows, width])?;
        let mut sources = Vec::new();
        for (tensor, wanted) in inputs.all().zip(&self.0) {
            let (found, columns) = tensor.table()?;
            if found != rows {
                return Err("expected inputs of as many rows".to_owned());
            }
            sources.push((reals::<f32>(tensor.values())?, columns, *wanted));
        }
        let mut out = Vec::with_capacity(count);
        for row in 0..rows {
            for (values, columns, wanted) in &sources {
                let start = row * columns;
                let taken = values.get(start..start + columns.min(wanted));
                out.extend_from_slice(taken.unwrap_or_default());
                out.resize(out.len() + wanted.saturating_sub(*columns), 0.0);
            }
        }
        Ok(vec![made(vec![rows, width], Values::Float(out))?])
    }
}
