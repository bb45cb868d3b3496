//! Nested lists of JSON, flattened as they are read.

use crate::json::{Json, JsonError, Kind};
use crate::numbers::{Number, Numbers};
use crate::rows::{number_in, short};
use models::Cell;

/// Lists inside each other.
const DEPTH: usize = 8;

/// Nested lists, flattened as they are read. What is wrong with them is told only if they are used.
#[derive(Debug, Default)]
pub(super) struct Flat<'t> {
    pub(super) numbers: Numbers,
    pub(super) refusal: Option<String>,
    /// The lists themselves, which are read again if their datatype is that of text.
    source: &'t str,
}

impl<'t> Flat<'t> {
    pub(super) fn read(json: &mut Json<'t>) -> Result<Self, JsonError> {
        let start = json.clone();
        let mut flat = Self::default();
        let numbers = &mut flat.numbers;
        let read = Lists::default().level(json, 0, &mut |json, kind| {
            let value = match kind {
                Kind::Number => Number::next(json)?,
                Kind::String => {
                    let text = json.string()?;
                    match number_in(&text) {
                        Some(value) => Number::read(value, text.trim()),
                        None => {
                            return Ok(Err(format!(
                                "could not convert string to float: '{}'",
                                short(&text)
                            )));
                        }
                    }
                }
                Kind::Boolean => Number::Float(f64::from(u8::from(json.boolean()?))),
                _ => {
                    json.literal("null")?;
                    Number::Float(f64::NAN)
                }
            };
            numbers.push(value);
            Ok(Ok(()))
        })?;
        if let Err(refusal) = read {
            *json = start.clone();
            json.skip()?;
            flat.refusal = Some(refusal);
        }
        flat.source = json.since(&start);
        Ok(flat)
    }

    /// The values as numpy has them in an array of objects.
    pub(super) fn cells(&self) -> Result<Vec<Cell>, String> {
        let mut cells = Vec::new();
        let mut json = Json::python(self.source);
        let read = Lists::default().level(&mut json, 0, &mut |json, kind| {
            cells.push(match kind {
                Kind::Number => Cell::Number(json.number()?),
                Kind::String => Cell::Text(json.string()?.into_owned()),
                Kind::Boolean => Cell::Number(f64::from(u8::from(json.boolean()?))),
                _ => {
                    json.literal("null")?;
                    Cell::None
                }
            });
            Ok(Ok(()))
        });
        read.map_err(|error| error.show(self.source))??;
        Ok(cells)
    }
}

/// Lists inside each other that must be of one shape.
#[derive(Debug, Default)]
struct Lists {
    /// The length of the lists at each depth.
    lengths: Vec<Option<usize>>,
    /// The depth at which values are.
    leaves: Option<usize>,
}

type Read = Result<Result<(), String>, JsonError>;

impl Lists {
    fn level<'t>(
        &mut self,
        json: &mut Json<'t>,
        depth: usize,
        leaf: &mut dyn FnMut(&mut Json<'t>, Kind) -> Read,
    ) -> Read {
        let ragged = || {
            Ok(Err("setting an array element with a sequence: the lists in \"data\" are of different lengths".to_owned()))
        };
        let mut count = 0_usize;
        let read = json.array(|json| {
            count += 1;
            let kind = match json.kind()? {
                Kind::Array if self.leaves.is_some_and(|leaves| leaves <= depth) => {
                    return ragged();
                }
                Kind::Array if depth >= DEPTH => {
                    return Ok(Err(format!(
                        "expected at most {DEPTH} dimensions in \"data\""
                    )));
                }
                Kind::Array => return self.level(json, depth + 1, leaf),
                Kind::Object => {
                    json.skip()?;
                    return Ok(Err(
                        "expected numbers in \"data\", found an object".to_owned()
                    ));
                }
                kind => kind,
            };
            if *self.leaves.get_or_insert(depth) != depth {
                return ragged();
            }
            leaf(json, kind)
        })?;
        if let Err(refusal) = read {
            return Ok(Err(refusal));
        }
        if self.lengths.len() <= depth {
            self.lengths.resize(depth + 1, None);
        }
        match self
            .lengths
            .get_mut(depth)
            .map(|length| *length.get_or_insert(count))
        {
            Some(length) if length == count => Ok(Ok(())),
            _ => ragged(),
        }
    }
}
