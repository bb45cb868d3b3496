//! Tensors in: from nested lists or bytes to a table.

use super::request::Input;
use crate::Model;
use crate::json::{Json, JsonError, Kind};
use crate::records::{self, Asked};
use crate::rows::{number_in, short};
use models::{Cell, Matrix, Precision, Table};

/// Lists inside each other.
const DEPTH: usize = 8;

/// Nested lists, flattened as they are read. What is wrong with them is told only if they are used.
#[derive(Debug, Default)]
pub(super) struct Flat<'t> {
    numbers: Vec<f64>,
    /// Integers whose floats do not tell whether 64 bits hold them: their places, and themselves.
    wide: Vec<(usize, i128)>,
    refusal: Option<String>,
    /// The lists themselves, which are read again if their datatype is that of text.
    source: &'t str,
}

/// From where on neighbouring integers of 64 bits have one float.
const WIDE: f64 = 9_007_199_254_740_992.0;

impl<'t> Flat<'t> {
    pub(super) fn read(json: &mut Json<'t>) -> Result<Self, JsonError> {
        let start = json.clone();
        let mut flat = Self::default();
        let (numbers, wide) = (&mut flat.numbers, &mut flat.wide);
        let read = Lists::default().level(json, 0, &mut |json, kind| {
            let value = match kind {
                Kind::Number => {
                    let before = json.clone();
                    let value = json.number()?;
                    if value.abs() >= WIDE
                        && let Ok(whole) = json.since(&before).parse()
                    {
                        wide.push((numbers.len(), whole));
                    }
                    value
                }
                Kind::String => {
                    let text = json.string()?;
                    match number_in(&text) {
                        Some(value) => value,
                        None => {
                            return Ok(Err(format!(
                                "could not convert string to float: '{}'",
                                short(&text)
                            )));
                        }
                    }
                }
                Kind::Boolean => f64::from(u8::from(json.boolean()?)),
                _ => {
                    json.literal("null")?;
                    f64::NAN
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
    fn cells(&self) -> Result<Vec<Cell>, String> {
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
    Numbers(Vec<f64>),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Datatype {
    Bool,
    Signed(u32),
    Unsigned(u32),
    Fp16,
    Fp32,
    Fp64,
    Bytes,
}

impl Datatype {
    fn find(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "BOOL" => Self::Bool,
            "INT8" => Self::Signed(8),
            "INT16" => Self::Signed(16),
            "INT32" => Self::Signed(32),
            "INT64" => Self::Signed(64),
            "UINT8" => Self::Unsigned(8),
            "UINT16" => Self::Unsigned(16),
            "UINT32" => Self::Unsigned(32),
            "UINT64" => Self::Unsigned(64),
            "FP16" => Self::Fp16,
            "FP32" => Self::Fp32,
            "FP64" => Self::Fp64,
            "BYTES" => Self::Bytes,
            _ => return None,
        })
    }

    fn size(self) -> usize {
        match self {
            Self::Bool | Self::Signed(8) | Self::Unsigned(8) => 1,
            Self::Signed(16) | Self::Unsigned(16) | Self::Fp16 => 2,
            Self::Signed(32) | Self::Unsigned(32) | Self::Fp32 => 4,
            _ => 8,
        }
    }

    /// A number of a JSON list in this type, as `numpy.array(data, dtype)` makes it.
    fn convert(self, value: f64) -> Option<f64> {
        let within = |low: f64, high: f64| {
            let whole = value.trunc();
            (whole >= low && whole < high).then_some(whole)
        };
        match self {
            Self::Bool => Some(f64::from(u8::from(value != 0.0))),
            Self::Signed(bits) => within(
                -(2_f64.powi(bits.cast_signed() - 1)),
                2_f64.powi(bits.cast_signed() - 1),
            ),
            Self::Unsigned(bits) => within(0.0, 2_f64.powi(bits.cast_signed())),
            Self::Fp32 => Some(f64::from(value as f32)),
            Self::Fp16 | Self::Fp64 | Self::Bytes => Some(value),
        }
    }

    /// Whether an integer of this type can be that one.
    fn holds(self, whole: i128) -> bool {
        match self {
            Self::Signed(bits) => whole >= -(1 << (bits - 1)) && whole < 1 << (bits - 1),
            Self::Unsigned(bits) => whole >= 0 && whole < 1 << bits,
            _ => true,
        }
    }

    /// A little-endian number of this type.
    fn decode(self, bytes: &[u8]) -> f64 {
        let bits = bytes
            .iter()
            .rev()
            .fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
        let low = u32::try_from(bits & 0xffff_ffff).unwrap_or(0);
        match self {
            Self::Bool => f64::from(u8::from(bits != 0)),
            // The estimators compute in double precision.
            Self::Signed(width) => (((bits << (64 - width)).cast_signed()) >> (64 - width)) as f64,
            Self::Unsigned(_) | Self::Bytes => bits as f64,
            Self::Fp16 => half(low),
            Self::Fp32 => f64::from(f32::from_bits(low)),
            Self::Fp64 => f64::from_bits(bits),
        }
    }
}

/// IEEE 754 binary16.
fn half(bits: u32) -> f64 {
    let (exponent, fraction) = ((bits >> 10) & 0x1f, f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent.cast_signed() - 25),
    };
    if bits & 0x8000 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// Where values of a type are in a message of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Bool,
    Int,
    Int64,
    Uint,
    Uint64,
    Fp32,
    Fp64,
    Bytes,
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
    let field = match datatype {
        Datatype::Bool => Field::Bool,
        Datatype::Signed(64) => Field::Int64,
        Datatype::Signed(_) => Field::Int,
        Datatype::Unsigned(64) => Field::Uint64,
        Datatype::Unsigned(_) => Field::Uint,
        Datatype::Fp32 => Field::Fp32,
        Datatype::Fp64 => Field::Fp64,
        Datatype::Fp16 => {
            return Err(format!(
                "the input {name} is of datatype FP16, which has no contents: use raw_input_contents"
            ));
        }
        Datatype::Bytes => Field::Bytes,
    };
    let values = match (values(field)?, field) {
        // Contents of 64 bits hold nothing else; as floats the largest would be one too many.
        (Values::Numbers(values), Field::Bool | Field::Int | Field::Uint) => {
            let values = values.into_iter().map(|value| datatype.convert(value));
            Values::Numbers(values.collect::<Option<_>>().ok_or_else(|| beyond(&name))?)
        }
        (values, _) => values,
    };
    Tensor::new(values, shape, datatype)
}

fn known(datatype: &str, name: &str) -> Result<Datatype, String> {
    Datatype::find(datatype).ok_or_else(|| {
        format!(
            "invalid datatype '{}' in the input {name}: expected BOOL, INT8 to INT64, UINT8 to UINT64, FP16, FP32, FP64 or BYTES",
            short(datatype)
        )
    })
}

fn from_bytes(bytes: &[u8], datatype: Datatype, name: &str) -> Result<Values, String> {
    if datatype == Datatype::Bytes {
        return Values::texts(texts(bytes, name)?.into_iter(), name);
    }
    let chunks = bytes.chunks_exact(datatype.size());
    if !chunks.remainder().is_empty() {
        return Err(format!(
            "the {} bytes of the input {name} are no multiple of {}",
            bytes.len(),
            datatype.size()
        ));
    }
    Ok(Values::Numbers(
        chunks.map(|chunk| datatype.decode(chunk)).collect(),
    ))
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
    let mut wide = flat.wide.iter().peekable();
    let convert = |(at, value): (usize, &f64)| match wide.next_if(|(place, _)| *place == at) {
        Some((_, whole)) if datatype.holds(*whole) => match datatype {
            Datatype::Signed(_) | Datatype::Unsigned(_) => Some(*value),
            _ => datatype.convert(*value),
        },
        Some(_) => None,
        None => datatype.convert(*value),
    };
    let converted: Option<Vec<f64>> = flat.numbers.iter().enumerate().map(convert).collect();
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
            Values::Numbers(values) => Matrix::new(values, rows, columns, self.precision)
                .map(Asked::Matrix)
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
        Cell::None | Cell::Number(_) => {
            Err("expected a text for each row, found something else among them".to_owned())
        }
    };
    let texts: Result<Vec<String>, String> = cells.into_iter().map(text).collect();
    texts.map(|texts| Asked::Table(Table::of_texts(texts)))
}
