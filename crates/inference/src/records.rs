//! Rows with names for their columns, as pandas reads them from JSON.
//!
//! KServe makes a data frame of each element of the list: of `{"a": [1, 2], "b": [3, 4]}`, of `{"a": {"0": 1}}`, or of a
//! list of records `[{"a": 1, "b": 2}]`, and puts them below each other.

use crate::numbers::{Number, Numbers};
use crate::rows::short;
use models::{Cell, Column, Input, Matrix, Precision, Table};
use serde_json::Value;

/// Columns in the order of the first frame, each with its values.
pub(crate) type Columns = Vec<(String, Vec<Cell>)>;

/// What a model is asked about.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Rows of numbers.
    Matrix(Matrix),
    /// Columns of which some hold text, or a text for each row.
    Table(Table),
}

impl Asked {
    pub(crate) fn input(&self) -> Input<'_> {
        match self {
            Self::Matrix(matrix) => Input::Matrix(matrix),
            Self::Table(table) => Input::Table(table),
        }
    }

    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.rows(),
            Self::Table(table) => table.rows(),
        }
    }
}

/// The table in a list of frames, its columns in the order of `names` if the model knows its columns by name; with `spare`,
/// columns of other names are left out.
///
/// # Errors
/// A message for the client.
pub(crate) fn read(text: &str, names: Option<&[String]>, spare: bool) -> Result<Asked, String> {
    // Keys sort in serde_json's map; the order of the text matters, so objects are read in order here.
    let frames: Vec<Frame> = serde_json::from_str(text)
        .map_err(|error| format!("rows with column names are not readable: {error}"))?;
    let mut table: Columns = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let columns = frame.columns()?;
        if index == 0 {
            table = columns;
            continue;
        }
        if columns.len() != table.len() {
            return Err(format!(
                "row {index} has {} columns, row 0 has {}",
                columns.len(),
                table.len()
            ));
        }
        for (name, values) in columns {
            let column = table.iter_mut().find(|(known, _)| *known == name);
            let Some((_, column)) = column else {
                return Err(format!(
                    "row {index} has the column `{}`, row 0 has not",
                    short(&name)
                ));
            };
            column.extend(values);
        }
    }
    if let (Some(names), true) = (names, spare) {
        table.retain(|(name, _)| names.contains(name));
    }
    beside(table, names)
}

/// Puts columns without names side by side, as numpy has them in an array of objects.
pub(crate) fn unnamed(columns: Vec<Vec<Cell>>) -> Result<Asked, String> {
    let columns = columns
        .into_iter()
        .map(|cells| (None, Column::Cells(cells)));
    Table::new(columns.collect())
        .map(Asked::Table)
        .ok_or_else(|| "the columns are no table".to_owned())
}

/// Puts columns side by side: floats as a matrix, others as a table.
pub(crate) fn beside(columns: Columns, names: Option<&[String]>) -> Result<Asked, String> {
    let text = |cell: &Cell| matches!(cell, Cell::Text(_));
    let number = |cell: &Cell| match cell {
        Cell::Number(value) => Number::Float(*value),
        Cell::Integer(value) => Number::Integer(*value),
        Cell::None | Cell::Text(_) => Number::Float(f64::NAN),
    };
    let float = |cell: &Cell| matches!(cell, Cell::None | Cell::Number(_));
    if columns.iter().all(|(_, cells)| cells.iter().all(float)) {
        let floats = |cells: Vec<Cell>| cells.iter().map(|cell| number(cell).float()).collect();
        let numbers = |(name, cells): (String, Vec<Cell>)| (name, floats(cells));
        let numbers = columns.into_iter().map(numbers).collect();
        return matrix(numbers, names, Precision::Double).map(Asked::Matrix);
    }
    let ordered = match names {
        Some(names) => order(columns, names)?,
        None => columns,
    };
    let column = |(name, cells): (String, Vec<Cell>)| {
        let column = if cells.iter().any(text) {
            Column::Cells(cells)
        } else {
            let numbers: Numbers = cells.iter().map(number).collect();
            numbers.column(Precision::Double)
        };
        (Some(name), column)
    };
    Table::new(ordered.into_iter().map(column).collect())
        .map(Asked::Table)
        .ok_or_else(|| "All arrays must be of the same length".to_owned())
}

/// Puts columns of numbers side by side.
pub(crate) fn matrix(
    columns: Vec<(String, Vec<f64>)>,
    names: Option<&[String]>,
    precision: Precision,
) -> Result<Matrix, String> {
    let ordered = match names {
        Some(names) => order(columns, names)?,
        None => columns,
    };
    let rows = ordered.first().map_or(0, |(_, values)| values.len());
    if let Some((name, _)) = ordered.iter().find(|(_, values)| values.len() != rows) {
        return Err(format!(
            "All arrays must be of the same length: column `{}` is not",
            short(name)
        ));
    }
    let mut values = Vec::with_capacity(rows.saturating_mul(ordered.len()));
    for row in 0..rows {
        values.extend(ordered.iter().filter_map(|(_, column)| column.get(row)));
    }
    Matrix::new(values, rows, ordered.len(), precision)
        .ok_or_else(|| "the columns are no table".to_owned())
}

fn order<T>(mut columns: Vec<(String, T)>, names: &[String]) -> Result<Vec<(String, T)>, String> {
    let mut ordered = Vec::with_capacity(names.len());
    for name in names {
        let Some(at) = columns.iter().position(|(known, _)| known == name) else {
            return Err(format!(
                "The feature names should match those that were passed during fit: `{}` is missing",
                short(name)
            ));
        };
        ordered.push(columns.swap_remove(at));
    }
    match columns.first() {
        Some((name, _)) => Err(format!(
            "The feature names should match those that were passed during fit: `{}` was unseen at fit time",
            short(name)
        )),
        None => Ok(ordered),
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Frame {
    Records(Vec<Ordered>),
    Columns(Ordered),
}

/// An object with its members in the order of the text. Of equal keys the last counts.
struct Ordered(Vec<(String, Value)>);

impl<'de> serde::Deserialize<'de> for Ordered {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Ordered;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object of columns")
            }

            fn visit_map<M: serde::de::MapAccess<'de>>(
                self,
                mut map: M,
            ) -> Result<Ordered, M::Error> {
                let mut index = std::collections::HashMap::new();
                let mut members: Vec<(String, Value)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    match index.get(&key).and_then(|at: &usize| members.get_mut(*at)) {
                        Some(member) => member.1 = value,
                        None => {
                            index.insert(key.clone(), members.len());
                            members.push((key, value));
                        }
                    }
                }
                Ok(Ordered(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl Frame {
    fn columns(&self) -> Result<Columns, String> {
        match self {
            Self::Records(records) => {
                let Some((first, others)) = records.split_first() else {
                    return Ok(Vec::new());
                };
                let cell = |name: &str, value: &Value| cell(value).ok_or_else(|| no_number(name));
                let mut columns: Columns = Vec::new();
                for (name, value) in &first.0 {
                    columns.push((name.clone(), vec![cell(name, value)?]));
                }
                for record in others {
                    for (name, column) in &mut columns {
                        let value = record.0.iter().find(|(known, _)| known == name);
                        let Some((_, value)) = value else {
                            return Err(format!("a record lacks the column `{}`", short(name)));
                        };
                        column.push(cell(name, value)?);
                    }
                    if record.0.len() != columns.len() {
                        return Err("a record has a column that the first has not".to_owned());
                    }
                }
                Ok(columns)
            }
            Self::Columns(columns) => columns
                .0
                .iter()
                .map(|(name, value)| Ok((name.clone(), column(name, value)?)))
                .collect(),
        }
    }
}

fn column(name: &str, value: &Value) -> Result<Vec<Cell>, String> {
    let cells: Vec<&Value> = match value {
        Value::Array(cells) => cells.iter().collect(),
        Value::Object(cells) => cells.values().collect(),
        _ => {
            return Err(format!(
                "If using all scalar values, you must pass an index: write {{\"{0}\":[…]}} or [{{\"{0}\":…}}] for column `{0}`",
                short(name)
            ));
        }
    };
    cells
        .into_iter()
        .map(|value| cell(value).ok_or_else(|| no_number(name)))
        .collect()
}

fn no_number(name: &str) -> String {
    format!(
        "column `{}` holds something that is neither number nor text",
        short(name)
    )
}

fn cell(value: &Value) -> Option<Cell> {
    match value {
        Value::Null => Some(Cell::None),
        Value::Bool(truth) => Some(Cell::Number(f64::from(u8::from(*truth)))),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Some(Cell::integer(whole.into())),
            (_, Some(whole)) => Some(Cell::integer(whole.into())),
            _ => number.as_f64().map(Cell::Number),
        },
        Value::String(text) => Some(Cell::Text(text.clone())),
        Value::Array(_) | Value::Object(_) => None,
    }
}
