//! `Cast`: to another type, as C++ converts.

use crate::onnx::operator::{Inputs, Operator, Work, made};
use crate::onnx::real::reals;
use crate::onnx::site::{Built, Site};
use crate::onnx::tensor::{ElementType, Tensor, Values};

#[derive(Debug)]
struct Cast(ElementType);

pub(super) fn cast(site: &Site<'_, '_>) -> Result<Built, String> {
    site.element(0)?;
    let to = site.int("to")?.ok_or("expected the attribute `to`")?;
    let to = ElementType::of_number(to)?;
    Ok(Built::new(Cast(to), &[to]))
}

impl Operator for Cast {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String> {
        let input = inputs.get(0)?;
        if input.element() == self.0 {
            return Ok(vec![input.clone()]);
        }
        work.room(self.0, input.shape())?;
        let values = match self.0 {
            ElementType::Text => Values::Text(texts(input.values())),
            to => match input.values() {
                Values::Text(texts) => read(texts, to)?,
                other => convert(other, to)?,
            },
        };
        Ok(vec![made(input.shape().to_vec(), values)?])
    }
}

/// A float as a whole number: what does not fit becomes the smallest, as processors have it.
fn whole(value: f64) -> i64 {
    let bound = -(i64::MIN as f64);
    if value >= -bound && value < bound {
        value as i64
    } else {
        i64::MIN
    }
}

fn convert(values: &Values, to: ElementType) -> Result<Values, String> {
    Ok(match to {
        ElementType::Float => Values::Float(reals::<f32>(values)?.into_owned()),
        ElementType::Double => Values::Double(reals::<f64>(values)?.into_owned()),
        ElementType::Int64 => Values::Int64(match values {
            Values::Int32(values) => values.iter().map(|value| i64::from(*value)).collect(),
            Values::Bool(values) => values.iter().map(|value| i64::from(*value)).collect(),
            other => reals::<f64>(other)?
                .iter()
                .map(|value| whole(*value))
                .collect(),
        }),
        ElementType::Int32 => Values::Int32(match values {
            // The lower half, as in C++.
            Values::Int64(values) => values.iter().map(|value| *value as i32).collect(),
            Values::Bool(values) => values.iter().map(|value| i32::from(*value)).collect(),
            other => {
                let narrow = |value: &f64| i32::try_from(whole(*value)).unwrap_or(i32::MIN);
                reals::<f64>(other)?.iter().map(narrow).collect()
            }
        }),
        ElementType::Bool => Values::Bool(match values {
            Values::Int64(values) => values.iter().map(|value| *value != 0).collect(),
            other => reals::<f64>(other)?
                .iter()
                .map(|value| *value != 0.0)
                .collect(),
        }),
        ElementType::Text => return Err("expected a type of numbers".to_owned()),
    })
}

fn texts(values: &Values) -> Vec<String> {
    match values {
        Values::Float(values) => values
            .iter()
            .map(|value| general(f64::from(*value), 8))
            .collect(),
        Values::Double(values) => values.iter().map(|value| general(*value, 8)).collect(),
        Values::Int64(values) => values.iter().map(ToString::to_string).collect(),
        Values::Int32(values) => values.iter().map(ToString::to_string).collect(),
        Values::Bool(values) => values
            .iter()
            .map(|value| if *value { "1" } else { "0" }.to_owned())
            .collect(),
        Values::Text(values) => values.clone(),
    }
}

/// C's `%.{digits}g`.
fn general(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "INF" } else { "-INF" }.to_owned();
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let shorten = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let precision = i32::try_from(digits).unwrap_or(17);
    if exponent < -4 || exponent >= precision {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", shorten(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(precision - 1 - exponent).unwrap_or(0);
    shorten(&format!("{value:.decimals$}"))
}

fn read(texts: &[String], to: ElementType) -> Result<Values, String> {
    fn each<T: std::str::FromStr>(texts: &[String]) -> Result<Vec<T>, String> {
        texts
            .iter()
            .map(|text| {
                let text = text.trim();
                let shown: String = text.chars().take(64).collect();
                text.parse()
                    .map_err(|_| format!("`{shown}` is no number of the type that is needed"))
            })
            .collect()
    }
    Ok(match to {
        ElementType::Float => Values::Float(each(texts)?),
        ElementType::Double => Values::Double(each(texts)?),
        ElementType::Int64 => Values::Int64(each(texts)?),
        ElementType::Int32 => Values::Int32(each(texts)?),
        ElementType::Bool => {
            let values: Vec<i64> = each(texts)?;
            Values::Bool(values.into_iter().map(|value| value != 0).collect())
        }
        ElementType::Text => return Err("expected a type of numbers".to_owned()),
    })
}
