//! Tensors in: from nested lists, bytes or contents of messages to a table.

use super::datatype::{Datatype, Field, known};
use super::lists::Flat;
use super::request::Input;
use crate::Model;
use crate::numbers::Numbers;
use crate::records::{self, Asked};
use crate::rows::short;
use models::{Cell, Precision, Table};

/// Values with a shape.
#[derive(Debug)]
pub(crate) struct Tensor {
    values: Values,
    shape: Vec<usize>,
    pub(crate) precision: Precision,
}

/// The values of a tensor in the order of their places.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    /// Of every datatype but BYTES.
    Numbers(Numbers),
    /// Of BYTES: text, and what JSON has among it.
    Cells(Vec<Cell>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Cells(cells) => cells.len(),
        }
    }

    /// The texts that an input of BYTES holds.
    pub(crate) fn texts<'b>(
        texts: impl Iterator<Item = &'b [u8]>,
        name: &str,
    ) -> Result<Self, String> {
        let cell = |bytes| {
            std::str::from_utf8(bytes)
                .map(|text| Cell::Text(text.to_owned()))
                .map_err(|_| format!("the input {} holds text that is not UTF-8", short(name)))
        };
        texts.map(cell).collect::<Result<_, _>>().map(Self::Cells)
    }
}

/// Why an input cannot be sent as it is, whatever it holds.
pub(super) fn unsendable(input: &Input<'_>) -> Option<String> {
    let half = Datatype::find(&input.datatype) == Some(Datatype::Fp16);
    (half && input.data.is_some()).then(|| {
        format!(
            "Sending FP16 data via JSON is not supported. Please use the binary data format for input {}",
            short(&input.name)
        )
    })
}

/// Makes a tensor of an input, whose values may be the next of `raw`.
pub(crate) fn decode(input: &Input<'_>, raw: Option<&mut &[u8]>) -> Result<Tensor, String> {
    let name = short(&input.name);
    let datatype = known(&input.datatype, &name)?;
    let values = match (&input.data, raw, input.binary_size) {
        (Some(flat), ..) => from_lists(flat, datatype, &name)?,
        (None, Some(left), Some(size)) => {
            let Some((bytes, rest)) = left.split_at_checked(size) else {
                return Err(format!(
                    "the input {name} takes {size} bytes, {} are left in the body",
                    left.len()
                ));
            };
            *left = rest;
            from_bytes(bytes, datatype, &name)?
        }
        _ => {
            return Err(format!(
                "the input {name} has neither \"data\" nor the parameter `binary_data_size`"
            ));
        }
    };
    Tensor::new(values, &input.shape, datatype)
}

/// Makes a tensor of little-endian values.
pub(crate) fn raw(
    name: &str,
    datatype: &str,
    shape: &[i64],
    bytes: &[u8],
) -> Result<Tensor, String> {
    let name = short(name);
    let datatype = known(datatype, &name)?;
    Tensor::new(from_bytes(bytes, datatype, &name)?, shape, datatype)
}

/// Makes a tensor of values that are found by the kind of their type.
pub(crate) fn typed(
    name: &str,
    datatype: &str,
    shape: &[i64],
    values: impl FnOnce(Field) -> Result<Values, String>,
) -> Result<Tensor, String> {
    let name = short(name);
    let datatype = known(datatype, &name)?;
    let field = datatype.field().ok_or_else(|| {
        format!(
            "the input {name} is of datatype FP16, which has no contents: use raw_input_contents"
        )
    })?;
    let values = match (values(field)?, field) {
        // Contents of 64 bits hold nothing else.
        (Values::Numbers(values), Field::Bool | Field::Int | Field::Uint) => {
            let values = values.iter().map(|value| datatype.convert(value));
            Values::Numbers(values.collect::<Option<_>>().ok_or_else(|| beyond(&name))?)
        }
        (values, _) => values,
    };
    Tensor::new(values, shape, datatype)
}

fn from_bytes(bytes: &[u8], datatype: Datatype, name: &str) -> Result<Values, String> {
    if datatype == Datatype::Bytes {
        return Values::texts(texts(bytes, name)?.into_iter(), name);
    }
    if !bytes.len().is_multiple_of(datatype.size()) {
        return Err(format!(
            "the {} bytes of the input {name} are no multiple of {}",
            bytes.len(),
            datatype.size()
        ));
    }
    Ok(Values::Numbers(datatype.decode(bytes)))
}

/// Texts, each after its length in four bytes.
fn texts<'b>(mut bytes: &'b [u8], name: &str) -> Result<Vec<&'b [u8]>, String> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes
            .split_first_chunk()
            .ok_or_else(|| format!("the input {name} ends within the length of a text"))?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (text, rest) = rest.split_at_checked(length).ok_or_else(|| {
            format!(
                "a text of the input {name} takes {length} bytes, {} are left",
                rest.len()
            )
        })?;
        found.push(text);
        bytes = rest;
    }
    Ok(found)
}

fn from_lists(flat: &Flat<'_>, datatype: Datatype, name: &str) -> Result<Values, String> {
    if datatype == Datatype::Bytes {
        return flat.cells().map(Values::Cells);
    }
    if let Some(refusal) = &flat.refusal {
        return Err(refusal.clone());
    }
    let numbers = flat.numbers.iter().map(|number| datatype.convert(number));
    let converted: Option<Numbers> = numbers.collect();
    converted.map(Values::Numbers).ok_or_else(|| beyond(name))
}

fn beyond(name: &str) -> String {
    format!("the input {name} has a value that its datatype cannot hold")
}

/// The sizes of a shape in which one may be −1, for whatever is left.
fn shape(sizes: &[i64], count: usize) -> Result<Vec<usize>, String> {
    let bad = || {
        let sizes: Vec<String> = sizes.iter().take(16).map(ToString::to_string).collect();
        let comma = if sizes.len() == 1 { "," } else { "" };
        format!(
            "cannot reshape array of size {count} into shape ({}{comma})",
            sizes.join(",")
        )
    };
    let known = sizes.iter().filter(|size| **size != -1);
    let known: Option<Vec<usize>> = known.map(|size| usize::try_from(*size).ok()).collect();
    let known = known.and_then(|known| {
        known
            .iter()
            .try_fold(1_usize, |product, size| product.checked_mul(*size))
    });
    let known = known.ok_or_else(bad)?;
    let open = match sizes.iter().filter(|size| **size == -1).count() {
        0 if known == count => 0,
        1 if known > 0 && count.is_multiple_of(known) => count / known,
        _ => return Err(bad()),
    };
    Ok(sizes
        .iter()
        .map(|size| usize::try_from(*size).unwrap_or(open))
        .collect())
}

impl Tensor {
    /// The shape and the values.
    pub(crate) fn parts(self) -> (Vec<usize>, Values) {
        (self.shape, self.values)
    }

    fn new(values: Values, sizes: &[i64], datatype: Datatype) -> Result<Self, String> {
        let shape = shape(sizes, values.len())?;
        let precision = if datatype == Datatype::Fp32 {
            Precision::Single
        } else {
            Precision::Double
        };
        Ok(Self {
            values,
            shape,
            precision,
        })
    }

    /// The tensor with every text changed.
    ///
    /// # Errors
    /// A text that `change` does not take.
    pub(crate) fn map_texts(
        mut self,
        change: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        if let Values::Cells(cells) = &mut self.values {
            for cell in cells {
                if let Cell::Text(text) = cell {
                    *text = change(text).ok_or_else(|| "expected text in base64".to_owned())?;
                }
            }
        }
        Ok(self)
    }

    /// Rows and columns, or a text for each row.
    pub(crate) fn asked(self, model: &Model) -> Result<Asked, String> {
        let estimator = model.estimator();
        let texts = model.takes_texts() && matches!(self.values, Values::Cells(_));
        let (rows, columns) = match self.shape.as_slice() {
            [rows] | [rows, 1] if texts => (*rows, 1),
            [rows, 0] => {
                return Err(format!(
                    "Found array with 0 feature(s) (shape=({rows}, 0)) while a minimum of 1 is required by {estimator}."
                ));
            }
            [rows, columns] => (*rows, *columns),
            shape => {
                return Err(format!(
                    "Expected 2D array, got {}D array instead: expected a shape of rows and columns, such as [1,4]",
                    shape.len()
                ));
            }
        };
        match self.values {
            Values::Numbers(values) => values
                .rows(rows, columns, self.precision)
                .ok_or_else(|| "the tensor is no table".to_owned()),
            Values::Cells(cells) if texts => texts_of(cells),
            Values::Cells(cells) => {
                let mut sorted = vec![Vec::with_capacity(rows); columns];
                for (at, cell) in cells.into_iter().enumerate() {
                    if let Some(column) = sorted.get_mut(at % columns) {
                        column.push(cell);
                    }
                }
                records::unnamed(sorted)
            }
        }
    }

    /// The values of one column, of the shape `[n]` or `[n,1]`.
    pub(crate) fn column(self, name: &str) -> Result<Values, String> {
        match self.shape.as_slice() {
            [_] | [_, 1] => Ok(self.values),
            _ => Err(format!(
                "expected the shape [n] or [n,1] of the column `{}`",
                short(name)
            )),
        }
    }
}

/// A text for each row.
pub(crate) fn texts_of(cells: Vec<Cell>) -> Result<Asked, String> {
    let text = |cell| match cell {
        Cell::Text(text) => Ok(text),
        Cell::None | Cell::Number(_) | Cell::Integer(_) => {
            Err("expected a text for each row, found something else among them".to_owned())
        }
    };
    let texts: Result<Vec<String>, String> = cells.into_iter().map(text).collect();
    texts.map(|texts| Asked::Table(Table::of_texts(texts)))
}
