//! The rows of a V1 request.

use crate::json::{Json, JsonError, Kind};
use crate::numbers::{Number, Numbers};
use crate::records::Asked;
use models::Precision;

/// What the value of `instances` or `inputs` is.
#[derive(Debug)]
pub(crate) enum Rows<'t> {
    /// Lists of numbers.
    Numbers(Asked),
    /// A list of texts.
    Texts(Vec<String>),
    /// Rows with names for their columns; the text of the whole list.
    Named(&'t str),
    /// No list at all.
    NoList,
    /// A list that is no table, and why.
    Refused(String),
}

/// Why reading ended early.
enum Stop {
    Named,
    Texts,
    Refused(String),
}

/// Reads the value that follows. Only text that is no JSON is an error here: a later key may replace this one.
pub(crate) fn read<'t>(json: &mut Json<'t>, estimator: &str) -> Result<Rows<'t>, JsonError> {
    if json.kind()? != Kind::Array {
        json.skip()?;
        return Ok(Rows::NoList);
    }
    let start = json.clone();
    let mut table = Table::default();
    let stop = match json.array(|json| table.row(json))? {
        Ok(()) => match table.finish(estimator) {
            Ok(rows) => return Ok(Rows::Numbers(rows)),
            Err(refusal) => return Ok(Rows::Refused(refusal)),
        },
        Err(stop) => stop,
    };
    *json = start;
    let text = json.skip()?;
    Ok(match stop {
        Stop::Named => Rows::Named(text),
        Stop::Texts => serde_json::from_str(text).map_or_else(
            |_| {
                Rows::Refused(
                    "expected a text for each row, found something else among them".to_owned(),
                )
            },
            Rows::Texts,
        ),
        Stop::Refused(message) => Rows::Refused(message),
    })
}

#[derive(Default)]
struct Table {
    values: Numbers,
    rows: usize,
    columns: usize,
}

impl Table {
    fn row(&mut self, json: &mut Json<'_>) -> Result<Result<(), Stop>, JsonError> {
        match json.kind()? {
            Kind::Array => {}
            Kind::Object if self.rows == 0 => return Ok(Err(Stop::Named)),
            Kind::String => return Ok(Err(Stop::Texts)),
            _ => {
                return Ok(Err(refuse(
                    "Expected 2D array, got 1D array instead: expected a list of rows, found a list of values; write [[…]] for one row",
                )));
            }
        }
        let start = self.values.len();
        let first_row = self.rows == 0;
        let values = &mut self.values;
        let result = json.array(|json| {
            values.push(match json.kind()? {
                Kind::Number => Number::next(json)?,
                Kind::Boolean => Number::Float(f64::from(u8::from(json.boolean()?))),
                Kind::Null => {
                    json.literal("null")?;
                    Number::Float(f64::NAN)
                }
                Kind::String => {
                    let text = json.string()?;
                    match number_in(&text) {
                        Some(value) => Number::Float(value),
                        None => return Ok(Err(refuse(format!("could not convert string to float: '{}'", short(&text))))),
                    }
                }
                Kind::Object if first_row && values.len() == start => return Ok(Err(Stop::Named)),
                Kind::Array | Kind::Object => {
                    return Ok(Err(refuse("Found array with dim 3. Expected <= 2: a row holds numbers, not lists or objects")));
                }
            });
            Ok(Ok(()))
        })?;
        if let Err(stop) = result {
            return Ok(Err(stop));
        }
        let length = self.values.len() - start;
        if first_row {
            self.columns = length;
        } else if length != self.columns {
            return Ok(Err(refuse(format!(
                "setting an array element with a sequence: row {} has {length} values, row 0 has {}",
                self.rows, self.columns
            ))));
        }
        self.rows += 1;
        Ok(Ok(()))
    }

    fn finish(self, estimator: &str) -> Result<Asked, String> {
        if self.rows == 0 {
            return Err(format!(
                "Found array with 0 sample(s) while a minimum of 1 is required by {estimator}."
            ));
        }
        if self.columns == 0 {
            return Err(format!(
                "Found array with 0 feature(s) (shape=({}, 0)) while a minimum of 1 is required by {estimator}.",
                self.rows
            ));
        }
        self.values
            .rows(self.rows, self.columns, Precision::Double)
            .ok_or_else(|| "the rows are no table".to_owned())
    }
}

fn refuse(message: impl Into<String>) -> Stop {
    Stop::Refused(message.into())
}

/// A number in a string, as Python's `float` reads it.
pub(crate) fn number_in(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

pub(crate) fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
