//! Rows with names for their columns, as pandas reads them from JSON.
//!
//! KServe makes a data frame of each element of the list: of `{"a": [1, 2], "b": [3, 4]}`, of `{"a": {"0": 1}}`, or of a
//! list of records `[{"a": 1, "b": 2}]`, and puts them below each other.

use crate::json::{Json, JsonError, Kind};
use crate::numbers::{Number, Numbers};
use crate::rows::short;
use models::{Cell, Column, Input, Matrix, Precision, Table};
use std::collections::{BTreeMap, HashMap};

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
    let mut json = Json::new(text);
    let mut table = Frame::default();
    let mut frames = 0;
    let read = json.array(|json| {
        let frame = Frame::read(json)?;
        let row = frames;
        frames += 1;
        Ok(match frame {
            Ok(frame) if row == 0 => {
                table = frame;
                Ok(())
            }
            Ok(frame) => table.append(row, frame),
            Err(refused) => Err(refused),
        })
    });
    let unreadable = |error: JsonError| {
        let shown = error.show(text);
        format!("rows with column names are not readable: {shown}")
    };
    read.map_err(unreadable)??;
    let mut table = table.columns;
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

/// Columns from which on names are looked up in a table and not one by one.
const MANY: usize = 16;

/// One frame: its columns, of equal names the last.
#[derive(Debug, Default)]
struct Frame {
    columns: Columns,
    /// Where names are, if there are [`MANY`].
    places: HashMap<String, usize>,
}

/// What cannot be in a frame, in words for the client; the JSON around it may be read on.
type Refused = Result<(), String>;

impl Frame {
    /// Reads the element of the list that follows.
    fn read(json: &mut Json<'_>) -> Result<Result<Self, String>, JsonError> {
        let mut frame = Self::default();
        let refused = match json.kind()? {
            Kind::Object => frame.columns(json)?,
            Kind::Array => frame.records(json)?,
            _ => {
                json.skip()?;
                Err("rows with column names are not readable: expected objects, or lists of objects".to_owned())
            }
        };
        Ok(refused.map(|()| frame))
    }

    /// Where the column of that name is; most come in the order of those before.
    fn place(&self, name: &str, near: usize) -> Option<usize> {
        let is_near = self
            .columns
            .get(near)
            .is_some_and(|(known, _)| known == name);
        if is_near {
            return Some(near);
        }
        if self.places.is_empty() {
            return self.columns.iter().position(|(known, _)| known == name);
        }
        self.places.get(name).copied()
    }

    fn add(&mut self, name: String, cells: Vec<Cell>) {
        self.columns.push((name, cells));
        let from = match self.columns.len() {
            few if few < MANY => return,
            MANY => 0,
            many => many - 1,
        };
        let added = self.columns.iter().enumerate().skip(from);
        self.places
            .extend(added.map(|(place, (name, _))| (name.clone(), place)));
    }

    /// `{"a": [1, 2], "b": {"0": 3, "1": 4}}`
    fn columns(&mut self, json: &mut Json<'_>) -> Result<Refused, JsonError> {
        let mut refused = Ok(());
        json.object(|json, name| {
            let column = column(json, &name)?;
            let place = self.place(&name, self.columns.len());
            match (column, place.and_then(|place| self.columns.get_mut(place))) {
                (Err(message), _) if refused.is_ok() => refused = Err(message),
                (Err(_), _) => {}
                (Ok(cells), Some((_, known))) => *known = cells,
                (Ok(cells), None) => self.add(name.into_owned(), cells),
            }
            Ok(())
        })?;
        Ok(refused)
    }

    /// `[{"a": 1, "b": 3}, {"a": 2, "b": 4}]`
    fn records(&mut self, json: &mut Json<'_>) -> Result<Refused, JsonError> {
        let mut row = 0;
        json.array(|json| {
            if json.kind()? != Kind::Object {
                json.skip()?;
                return Ok(Err(
                    "rows with column names are not readable: expected an object for each row"
                        .to_owned(),
                ));
            }
            let refused = self.record(json, row)?;
            row += 1;
            Ok(refused)
        })
    }

    /// A row, whose columns are those of the first.
    fn record(&mut self, json: &mut Json<'_>, row: usize) -> Result<Refused, JsonError> {
        let (mut near, mut more, mut refused) = (0, false, Ok(()));
        json.object(|json, name| {
            let place = self.place(&name, near);
            near = place.map_or(near, |place| place + 1);
            let Some(cell) = cell(json)? else {
                if refused.is_ok() {
                    refused = Err(no_number(&name));
                }
                return Ok(());
            };
            match place.and_then(|place| self.columns.get_mut(place)) {
                Some((_, cells)) => {
                    cells.truncate(row);
                    cells.push(cell);
                }
                None if row == 0 => self.add(name.into_owned(), vec![cell]),
                None => more = true,
            }
            Ok(())
        })?;
        let lacking = self
            .columns
            .iter()
            .find(|(_, cells)| cells.len() != row + 1);
        Ok(match (refused, lacking) {
            (Err(refused), _) => Err(refused),
            (Ok(()), Some((name, _))) => {
                Err(format!("a record lacks the column `{}`", short(name)))
            }
            (Ok(()), None) if more => {
                Err("a record has a column that the first has not".to_owned())
            }
            (Ok(()), None) => Ok(()),
        })
    }

    /// Puts a frame below.
    fn append(&mut self, row: usize, frame: Self) -> Refused {
        if frame.columns.len() != self.columns.len() {
            return Err(format!(
                "row {row} has {} columns, row 0 has {}",
                frame.columns.len(),
                self.columns.len()
            ));
        }
        for (near, (name, values)) in frame.columns.into_iter().enumerate() {
            let place = self.place(&name, near);
            let Some((_, column)) = place.and_then(|place| self.columns.get_mut(place)) else {
                return Err(format!(
                    "row {row} has the column `{}`, row 0 has not",
                    short(&name)
                ));
            };
            column.extend(values);
        }
        Ok(())
    }
}

/// The values of a column: a list, or an object by the names of rows, in the order of these.
fn column(json: &mut Json<'_>, name: &str) -> Result<Result<Vec<Cell>, String>, JsonError> {
    let mut cells = Vec::new();
    let mut refused = false;
    match json.kind()? {
        Kind::Array => {
            let Ok(()) = json.array(|json| {
                match cell(json)? {
                    Some(cell) => cells.push(cell),
                    None => refused = true,
                }
                Ok(Ok::<(), std::convert::Infallible>(()))
            })?;
        }
        Kind::Object => {
            let mut rows = BTreeMap::new();
            json.object(|json, row| {
                match cell(json)? {
                    Some(cell) => drop(rows.insert(row, cell)),
                    None => refused = true,
                }
                Ok(())
            })?;
            cells.extend(rows.into_values());
        }
        _ => {
            json.skip()?;
            return Ok(Err(format!(
                "If using all scalar values, you must pass an index: write {{\"{0}\":[…]}} or [{{\"{0}\":…}}] for column `{0}`",
                short(name)
            )));
        }
    }
    Ok(if refused {
        Err(no_number(name))
    } else {
        Ok(cells)
    })
}

fn no_number(name: &str) -> String {
    format!(
        "column `{}` holds something that is neither number nor text",
        short(name)
    )
}

/// The value that follows; `None` for one that no cell can hold.
fn cell(json: &mut Json<'_>) -> Result<Option<Cell>, JsonError> {
    Ok(Some(match json.kind()? {
        Kind::Null => {
            json.literal("null")?;
            Cell::None
        }
        Kind::Boolean => Cell::Number(f64::from(u8::from(json.boolean()?))),
        Kind::Number => Number::next(json)?.cell(),
        Kind::String => Cell::Text(json.string()?.into_owned()),
        Kind::Array | Kind::Object => {
            json.skip()?;
            return Ok(None);
        }
    }))
}
