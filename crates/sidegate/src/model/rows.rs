//! Rows and answers from files: CSV, or numpy's npy.

use std::path::Path;

use models::{Cell, Column, Input, Limits, Matrix, Npy, Precision, Table};

use super::{Model, bad, read};

/// What a file holds.
#[derive(Debug)]
pub(super) enum Rows {
    Matrix(Matrix),
    Table(Table),
}

impl Rows {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.rows(),
            Self::Table(table) => table.rows(),
        }
    }

    pub(super) fn input(&self) -> Input<'_> {
        match self {
            Self::Matrix(matrix) => matrix.into(),
            Self::Table(table) => table.into(),
        }
    }

    /// The first `count` rows, begun anew at the end.
    pub(super) fn repeated(&self, count: usize) -> Option<Self> {
        let places = (0..self.count()).cycle().take(count);
        match self {
            Self::Matrix(matrix) => {
                let rows: Vec<&[f64]> = matrix.iter().collect();
                let values = places.filter_map(|place| rows.get(place)).copied();
                let values: Vec<f64> = values.flatten().copied().collect();
                Matrix::new(values, count, matrix.columns(), matrix.precision()).map(Self::Matrix)
            }
            Self::Table(table) => {
                let columns = table.columns().iter().map(|(name, column)| {
                    let column = match column {
                        Column::Numbers(values, precision) => Column::Numbers(
                            places
                                .clone()
                                .filter_map(|place| values.get(place).copied())
                                .collect(),
                            *precision,
                        ),
                        Column::Integers(values) => Column::Integers(
                            places
                                .clone()
                                .filter_map(|place| values.get(place).copied())
                                .collect(),
                        ),
                        Column::Cells(cells) => Column::Cells(
                            places
                                .clone()
                                .filter_map(|place| cells.get(place).cloned())
                                .collect(),
                        ),
                    };
                    (name.clone(), column)
                });
                Table::new(columns.collect()).map(Self::Table)
            }
        }
    }
}

/// The rows of a file, for this model: columns in the order in which it knows them, if all of its names are there.
pub(super) fn of(path: &Path, header: bool, model: &Model) -> anyhow::Result<Rows> {
    let rows = match parse(path, header)? {
        Values::Npy(Npy::Numbers(matrix)) => return Ok(Rows::Matrix(matrix)),
        Values::Npy(Npy::Texts { values, columns }) => {
            let cells = |column: usize| {
                let cells = values.iter().skip(column).step_by(columns.max(1));
                let cells = cells.cloned().map(Cell::Text).collect();
                (None, Column::Cells(cells))
            };
            (0..columns).map(cells).collect()
        }
        Values::Csv(csv) => csv.columns(),
    };
    let mut columns: Vec<(Option<String>, Column)> = rows;
    let names = model.names();
    if let Some(names) = &names {
        let order: Option<Vec<usize>> = names
            .iter()
            .map(|name| {
                let mut known = columns.iter();
                known.position(|(known, _)| known.as_ref() == Some(name))
            })
            .collect();
        if let Some(order) = order {
            columns = order
                .into_iter()
                .filter_map(|place| columns.get(place).cloned())
                .collect();
        }
    }
    let table = Table::new(columns).ok_or_else(|| bad(path, &"rows of different lengths"))?;
    if table.rows() == 0 {
        return Err(bad(path, &"no rows").into());
    }
    // What has no names, and what the model does not know by name, are plain numbers.
    let named = names.is_some();
    Ok(match matrix(&table) {
        Some(matrix) if !named => Rows::Matrix(matrix),
        _ => Rows::Table(table),
    })
}

fn matrix(table: &Table) -> Option<Matrix> {
    let columns: Vec<&[f64]> = table
        .columns()
        .iter()
        .map(|(_, column)| match column {
            Column::Numbers(values, Precision::Double) => Some(values.as_slice()),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let row = |row: usize| {
        let cells = columns.iter();
        cells.filter_map(move |values| values.get(row)).copied()
    };
    let values: Vec<f64> = (0..table.rows()).flat_map(row).collect();
    Matrix::new(values, table.rows(), columns.len(), Precision::Double)
}

/// Recorded answers: as they are written, row by row.
#[derive(Debug)]
pub(super) enum Expected {
    Numbers(Matrix),
    Texts { values: Vec<String>, columns: usize },
}

/// The recorded answers of a file.
pub(super) fn expected(path: &Path, header: bool) -> anyhow::Result<Expected> {
    Ok(match parse(path, header)? {
        Values::Npy(Npy::Numbers(matrix)) => Expected::Numbers(matrix),
        Values::Npy(Npy::Texts { values, columns }) => Expected::Texts { values, columns },
        Values::Csv(csv) => Expected::Texts {
            columns: csv.width,
            values: csv.cells,
        },
    })
}

enum Values {
    Npy(Npy),
    Csv(Csv),
}

fn parse(path: &Path, header: bool) -> anyhow::Result<Values> {
    let bytes = read(path)?;
    if path.extension().is_some_and(|ending| ending == "npy") {
        let npy =
            models::read_npy(&bytes, &Limits::default()).map_err(|error| bad(path, &error))?;
        return Ok(Values::Npy(npy));
    }
    let csv = Csv::parse(&bytes, header).map_err(|error| bad(path, &error))?;
    Ok(Values::Csv(csv))
}

/// Lines of comma-separated cells.
struct Csv {
    names: Option<Vec<String>>,
    width: usize,
    /// Line by line, without the names.
    cells: Vec<String>,
}

impl Csv {
    /// The first line holds names unless one of its cells is a number.
    fn parse(bytes: &[u8], header: bool) -> Result<Self, csv::Error> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .trim(csv::Trim::All)
            .from_reader(bytes);
        let (mut names, mut width, mut cells) = (None, 0, Vec::new());
        for (number, record) in reader.records().enumerate() {
            let record = record?;
            width = record.len();
            let are_names =
                number == 0 && header && record.iter().all(|cell| number_in(cell).is_none());
            let texts = record.iter().map(str::to_owned);
            match are_names {
                true => names = Some(texts.collect()),
                false => cells.extend(texts),
            }
        }
        Ok(Self {
            names,
            width,
            cells,
        })
    }

    /// The columns: of numbers where every cell is one or empty.
    fn columns(&self) -> Vec<(Option<String>, Column)> {
        let column = |place: usize| {
            let cells = || self.cells.iter().skip(place).step_by(self.width.max(1));
            let numbers: Option<Vec<f64>> = cells().map(|cell| number_in(cell)).collect();
            let name = self.names.as_ref().and_then(|names| names.get(place));
            let column = match numbers {
                Some(values) => Column::Numbers(values, Precision::Double),
                None => Column::Cells(cells().map(|cell| text_or_none(cell)).collect()),
            };
            (name.cloned(), column)
        };
        (0..self.width).map(column).collect()
    }
}

/// An empty cell is a missing number.
fn number_in(cell: &str) -> Option<f64> {
    match cell {
        "" => Some(f64::NAN),
        "True" | "true" => Some(1.0),
        "False" | "false" => Some(0.0),
        _ => cell.parse().ok(),
    }
}

fn text_or_none(cell: &str) -> Cell {
    match cell {
        "" => Cell::None,
        _ => Cell::Text(cell.to_owned()),
    }
}
