//! The categories of a column, and where a value is among them.

use super::part::Part;
use crate::data::Data;
use crate::error::InputError;
use crate::pickle::{Array, Id, Kind, Node};
use crate::table::{Cell, CellRef};
use crate::{LoadError, Precision};
use std::collections::HashMap;

/// The categories of one column by their number.
#[derive(Debug, Default)]
pub(super) struct Categories {
    texts: HashMap<String, u32>,
    /// By the bits of the number; Python holds 1, 1.0 and True for equal.
    numbers: HashMap<u64, u32>,
    /// Those that double precision does not hold.
    integers: HashMap<i128, u32>,
    none: Option<u32>,
    missing: Option<u32>,
    count: usize,
}

impl Categories {
    /// Those in `categories_`, one array for each column.
    pub(super) fn read_all(part: &Part<'_, '_>) -> Result<Vec<Self>, LoadError> {
        let mut all = Vec::new();
        for id in part.list("categories_")? {
            all.push(Self::read(part, *id, "categories_")?);
        }
        if all.is_empty() || part.features().is_some_and(|count| count != all.len()) {
            return Err(part.damaged("expected categories for each feature in `categories_`"));
        }
        Ok(all)
    }

    /// Those of one array.
    pub(super) fn read(part: &Part<'_, '_>, id: Id, name: &str) -> Result<Self, LoadError> {
        let array = part.array_at(id, name)?;
        let mut categories = Self::default();
        for cell in cells(part, array, name)? {
            categories.add(&cell);
        }
        Ok(categories)
    }

    fn add(&mut self, cell: &Cell) {
        let number = u32::try_from(self.count).unwrap_or(u32::MAX);
        match cell {
            Cell::None => self.none = Some(number),
            Cell::Number(value) if value.is_nan() => self.missing = Some(number),
            Cell::Number(value) => {
                self.numbers.insert(key(*value), number);
            }
            Cell::Integer(value) => {
                self.integers.insert(*value, number);
            }
            Cell::Text(text) => {
                self.texts.insert(text.clone(), number);
            }
        }
        self.count += 1;
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The number of a missing value, `None` or NaN.
    pub(super) fn missing(&self) -> Option<u32> {
        self.missing.or(self.none)
    }

    /// The number of a value; `None` if fitting did not see it.
    pub(super) fn find(&self, cell: CellRef<'_>) -> Option<u32> {
        match cell {
            CellRef::None => self.none,
            CellRef::Number(value) if value.is_nan() => self.missing,
            CellRef::Number(value) => self.numbers.get(&key(value)).copied(),
            CellRef::Integer(value) => self.integers.get(&value).copied(),
            CellRef::Text(text) => self.texts.get(text).copied(),
        }
    }
}

fn key(value: f64) -> u64 {
    // Zero has two forms.
    (value + 0.0).to_bits()
}

/// The values of an array of any kind.
pub(super) fn cells(
    part: &Part<'_, '_>,
    array: &Array,
    name: &str,
) -> Result<Vec<Cell>, LoadError> {
    let graph = part.graph();
    let bad = || part.damaged(format!("expected numbers or text in `{name}`"));
    let words = array.dtype.size.div_ceil(8).saturating_add(4);
    part.pay(array.count().saturating_mul(words))?;
    if let Some(elements) = array.elements(graph) {
        let mut cells = Vec::with_capacity(elements.len());
        for id in elements {
            cells.push(cell(part, *id).ok_or_else(bad)?);
        }
        return Ok(cells);
    }
    match array.dtype.kind {
        Kind::Text => {
            let texts = array.strings(graph).map_err(|_| bad())?;
            Ok(texts.into_iter().map(Cell::Text).collect())
        }
        Kind::Signed | Kind::Unsigned => {
            let integers = array.integers(graph, None).map_err(|_| bad())?;
            let integers = integers.into_iter().map(i128::from);
            Ok(integers.map(Cell::integer).collect())
        }
        _ => {
            let numbers = array.floats(graph, None).map_err(|_| bad())?;
            Ok(numbers.into_iter().map(Cell::Number).collect())
        }
    }
}

/// One value; `None` if it is neither number nor text. Text that is shared is copied, and paid for.
pub(super) fn cell(part: &Part<'_, '_>, id: Id) -> Option<Cell> {
    Some(match part.graph().node(id) {
        Node::None => Cell::None,
        Node::Str(text) => {
            part.pay(text.len() / 8 + 1).ok()?;
            Cell::Text(text.clone().into_owned())
        }
        Node::Bool(truth) => Cell::Number(f64::from(u8::from(*truth))),
        Node::Int(value) => Cell::integer(i128::from(*value)),
        Node::Float(value) => Cell::Number(*value),
        // `pandas.NA`, which scikit-learn treats as missing.
        Node::Global(global) if global.name == "NA" => Cell::Number(f64::NAN),
        _ => return None,
    })
}

/// Calls `each` with row, column and value of all data.
pub(super) fn each_cell(
    data: &Data<'_>,
    mut each: impl FnMut(usize, usize, CellRef<'_>) -> Result<(), InputError>,
) -> Result<(), InputError> {
    match data {
        Data::Table(table) => {
            for row in 0..table.rows() {
                for (index, (_, column)) in table.columns().iter().enumerate() {
                    each(row, index, column.cell(row))?;
                }
            }
            Ok(())
        }
        Data::Rows(rows) => {
            let mut result = Ok(());
            let mut row = 0;
            rows.each(|values| {
                for (column, value) in values.iter().enumerate() {
                    if result.is_ok() {
                        result = each(row, column, CellRef::Number(*value));
                    }
                }
                row += 1;
            });
            result
        }
    }
}

/// A value as Python shows it, shortened.
pub(super) fn show(cell: CellRef<'_>) -> String {
    match cell {
        CellRef::None => "None".to_owned(),
        CellRef::Number(value) if value.is_nan() => "nan".to_owned(),
        CellRef::Number(value) => format!("{value:?}"),
        CellRef::Integer(value) => value.to_string(),
        CellRef::Text(text) => format!("'{}'", text.chars().take(64).collect::<String>()),
    }
}

/// The precision that the `dtype` of an encoder names.
pub(super) fn dtype(part: &Part<'_, '_>) -> Result<Precision, LoadError> {
    let name = match part.set("dtype").map(|id| part.graph().node(id)) {
        None => "float64",
        Some(Node::Global(global)) => global.name.as_ref(),
        // A `numpy.dtype`, with its code as the argument.
        Some(Node::Object(object)) => {
            let graph = part.graph();
            let code = graph.sequence(object.arguments).and_then(<[_]>::first);
            match code.and_then(|id| graph.text(*id)) {
                Some("f8") => "float64",
                Some("f4") => "float32",
                _ => return Err(part.unknown("dtype")),
            }
        }
        Some(_) => return Err(part.unknown("dtype")),
    };
    match name {
        "float32" => Ok(Precision::Single),
        // Whole numbers are exact in double precision.
        "float64" | "float" | "int" | "int8" | "int16" | "int32" | "int64" | "uint8" | "bool" => {
            Ok(Precision::Double)
        }
        _ => Err(part.setting(format!("`dtype` = {name}"))),
    }
}
