//! Categories to numbers and back: `LabelEncoder`, `CategoryMapper`, both one-hot encoders, `ZipMap`.

use super::broadcast::around;
use crate::labels::Labels;
use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::real::reals;
use crate::onnx::site::{Built, Site};
use crate::onnx::tensor::{ElementType, Tensor, Values};
use std::collections::HashMap;

/// A value as a key: floats by their bits, with one NaN and one zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Number(u64),
    Text(String),
}

fn float_key(value: f64) -> Key {
    Key::Number(if value.is_nan() {
        f64::NAN.to_bits()
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    })
}

fn keys(values: &Values) -> Vec<Key> {
    match values {
        Values::Text(texts) => texts.iter().cloned().map(Key::Text).collect(),
        Values::Float(values) => values
            .iter()
            .map(|value| float_key(f64::from(*value)))
            .collect(),
        Values::Double(values) => values.iter().map(|value| float_key(*value)).collect(),
        Values::Int64(values) => values
            .iter()
            .map(|value| Key::Number(value.cast_unsigned()))
            .collect(),
        Values::Int32(values) => values
            .iter()
            .map(|value| Key::Number(i64::from(*value).cast_unsigned()))
            .collect(),
        Values::Bool(values) => values
            .iter()
            .map(|value| Key::Number(u64::from(*value)))
            .collect(),
    }
}

/// Values by keys, and at the end one for all others.
#[derive(Debug)]
struct Table {
    from: ElementType,
    places: HashMap<Key, usize>,
    values: Values,
}

impl Table {
    /// `missing` says whether NaN is a key like others.
    fn built(
        keys_of: &Values,
        values: Values,
        other: Values,
        missing: bool,
    ) -> Result<Built, String> {
        if keys_of.len() != values.len() {
            return Err(format!(
                "expected as many values as keys, found {} and {}",
                values.len(),
                keys_of.len()
            ));
        }
        let mut places = HashMap::new();
        for (place, key) in keys(keys_of).into_iter().enumerate() {
            // The first of equal keys counts, as in the runtime.
            places.entry(key).or_insert(place);
        }
        if !missing {
            places.remove(&float_key(f64::NAN));
        }
        let values = match (values, other) {
            (Values::Float(values), Values::Float(other)) => {
                Values::Float([values, other].concat())
            }
            (Values::Double(values), Values::Double(other)) => {
                Values::Double([values, other].concat())
            }
            (Values::Int64(values), Values::Int64(other)) => {
                Values::Int64([values, other].concat())
            }
            (Values::Int32(values), Values::Int32(other)) => {
                Values::Int32([values, other].concat())
            }
            (Values::Text(values), Values::Text(other)) => Values::Text([values, other].concat()),
            _ => return Err("expected a default of the type of the values".to_owned()),
        };
        let (from, to) = (keys_of.element(), values.element());
        let table = Self {
            from,
            places,
            values,
        };
        Ok(Built::new(table, &[to]))
    }
}

impl Operator for Table {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        if input.element() != self.from {
            return Err(format!("expected {}", self.from.name()));
        }
        work.room(self.values.element(), input.shape())?;
        let other = self.values.len().saturating_sub(1);
        let found = keys(input.values()).into_iter();
        let places = found.map(|key| self.places.get(&key).copied().unwrap_or(other));
        let values = self.values.pick(places).ok_or("a value does not exist")?;
        Ok(vec![made(input.shape().to_vec(), values)?])
    }
}

pub(super) fn label_encoder(site: &Site<'_, '_>) -> Result<Built, String> {
    let from = site.element(0)?;
    if site.version < 2 {
        let classes = site.texts("classes_strings")?;
        let ints = Values::Int64((0..i64::try_from(classes.len()).unwrap_or(0)).collect());
        return if from == ElementType::Text {
            let other = site.int("default_int64")?.unwrap_or(-1);
            Table::built(
                &Values::Text(classes),
                ints,
                Values::Int64(vec![other]),
                true,
            )
        } else {
            site.of(0, &[ElementType::Int64])?;
            let other = site.text("default_string")?.unwrap_or("_Unused").to_owned();
            Table::built(
                &ints,
                Values::Text(classes),
                Values::Text(vec![other]),
                true,
            )
        };
    }
    let (keys, _) = side(site, "keys")?;
    let (values, to) = side(site, "values")?;
    if keys.element() != from {
        return Err(format!(
            "expected keys of {}, found {}",
            from.name(),
            keys.element().name()
        ));
    }
    let other = match site.tensor("default_tensor")? {
        Some(tensor) => tensor.values().clone(),
        None => match to {
            ElementType::Text => Values::Text(vec![
                site.text("default_string")?.unwrap_or("_Unused").to_owned(),
            ]),
            ElementType::Float => Values::Float(vec![site.float("default_float")?.unwrap_or(-0.0)]),
            ElementType::Double => Values::Double(vec![-0.0]),
            ElementType::Int32 => Values::Int32(vec![-1]),
            _ => Values::Int64(vec![site.int("default_int64")?.unwrap_or(-1)]),
        },
    };
    if other.len() != 1 {
        return Err("expected one default".to_owned());
    }
    // Before version 4 NaN is equal to nothing.
    Table::built(&keys, values, other, site.version >= 4)
}

fn side(site: &Site<'_, '_>, name: &str) -> Result<(Values, ElementType), String> {
    if let Some(tensor) = site.tensor(&format!("{name}_tensor"))? {
        return Ok((tensor.values().clone(), tensor.element()));
    }
    let texts = site.texts(&format!("{name}_strings"))?;
    if !texts.is_empty() {
        return Ok((Values::Text(texts), ElementType::Text));
    }
    let ints = site.ints(&format!("{name}_int64s"))?;
    if !ints.is_empty() {
        return Ok((Values::Int64(ints.to_vec()), ElementType::Int64));
    }
    let floats = site.floats(&format!("{name}_floats"))?;
    if floats.is_empty() {
        return Err(format!("expected `{name}_strings` or one of its relatives"));
    }
    Ok((Values::Float(floats.to_vec()), ElementType::Float))
}

pub(super) fn category_mapper(site: &Site<'_, '_>) -> Result<Built, String> {
    let texts = Values::Text(site.texts("cats_strings")?);
    let ints = Values::Int64(site.ints("cats_int64s")?.to_vec());
    match site.of(0, &[ElementType::Text, ElementType::Int64])? {
        ElementType::Text => {
            let other = site.int("default_int64")?.unwrap_or(-1);
            Table::built(&texts, ints, Values::Int64(vec![other]), true)
        }
        _ => {
            let other = site.text("default_string")?.unwrap_or("_Unused").to_owned();
            Table::built(&ints, texts, Values::Text(vec![other]), true)
        }
    }
}

/// One column for each category.
#[derive(Debug)]
struct OneHot {
    places: HashMap<Key, usize>,
    width: usize,
    zeros: bool,
}

pub(super) fn one_hot(site: &Site<'_, '_>) -> Result<Built, String> {
    use ElementType::{Double, Float, Int32, Int64, Text};
    let element = site.of(0, &[Text, Int64, Int32, Float, Double])?;
    let categories = if element == Text {
        Values::Text(site.texts("cats_strings")?)
    } else {
        Values::Int64(site.ints("cats_int64s")?.to_vec())
    };
    if categories.is_empty() {
        return Err("expected categories of the type of the input".to_owned());
    }
    let width = categories.len();
    let places = keys(&categories).into_iter().zip(0..).collect();
    let encoder = OneHot {
        places,
        width,
        zeros: site.int("zeros")?.unwrap_or(1) != 0,
    };
    Ok(Built::new(encoder, &[Float]))
}

impl Operator for OneHot {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let found = match input.values() {
            values @ (Values::Text(_) | Values::Int64(_) | Values::Int32(_)) => keys(values),
            other => {
                let whole = |value: &f64| Key::Number((*value as i64).cast_unsigned());
                reals::<f64>(other)?.iter().map(whole).collect()
            }
        };
        let mut shape = input.shape().to_vec();
        shape.push(self.width);
        let count = work.room(ElementType::Float, &shape)?;
        let mut out = vec![0.0; count];
        for (key, row) in found.iter().zip(out.chunks_exact_mut(self.width)) {
            match self.places.get(key).and_then(|place| row.get_mut(*place)) {
                Some(cell) => *cell = 1.0,
                None if self.zeros => {}
                None => return Err("found a category that is not known".to_owned()),
            }
        }
        Ok(vec![made(shape, Values::Float(out))?])
    }
}

/// `OneHot` of `ai.onnx`.
#[derive(Debug)]
struct Spread {
    axis: i64,
}

pub(super) fn spread(site: &Site<'_, '_>) -> Result<Built, String> {
    site.element(0)?;
    let element = site.element(2)?;
    let axis = site.int("axis")?.unwrap_or(-1);
    Ok(Built::new(Spread { axis }, &[element]))
}

impl Operator for Spread {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let (indices, depth, pair) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        let depth = reals::<f64>(depth.values())?
            .first()
            .copied()
            .unwrap_or(0.0);
        if !(1.0..1e9).contains(&depth) || pair.values().len() != 2 {
            return Err("expected a depth and two values".to_owned());
        }
        let size = depth as usize;
        let rank = indices.shape().len();
        let axis = super::broadcast::axis(self.axis, rank + 1)?;
        let mut shape = indices.shape().to_vec();
        shape.insert(axis, size);
        let count = work.room(pair.element(), &shape)?;
        let (before, _, after) = around(&shape, axis)?;
        let indices = reals::<f64>(indices.values())?;
        let mut places = Vec::with_capacity(count);
        for outer in 0..before {
            for class in 0..size {
                for inner in 0..after {
                    let index = indices.get(outer * after + inner).copied().unwrap_or(-1.0);
                    let index = if index < 0.0 { index + depth } else { index };
                    places.push(usize::from(index == class as f64));
                }
            }
        }
        let values = pair.values().pick(places.into_iter());
        Ok(vec![made(shape, values.ok_or("a value does not exist")?)?])
    }
}

/// A table as it is; its columns get names.
#[derive(Debug)]
struct ZipMap(usize);

pub(super) fn zip_map(site: &Site<'_, '_>) -> Result<Built, String> {
    let element = site.of(0, &[ElementType::Float])?;
    let keys = site.labels("classlabels_strings", "classlabels_int64s")?;
    let mut built = Built::new(ZipMap(keys.len()), &[element]);
    built.keys = Some(match keys {
        Labels::Strings(names) => Labels::Strings(names),
        other => other,
    });
    Ok(built)
}

impl Operator for ZipMap {
    fn run(&self, inputs: &Inputs<'_>, _: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        let (rows, columns) = input.table()?;
        if columns != self.0 {
            return Err(format!("expected {} columns, found {columns}", self.0));
        }
        let mut table = input.clone();
        table.shape = vec![rows, columns];
        Ok(vec![table])
    }
}
