//! Rows of columns with names and types of their own.

use crate::Precision;

/// One value of a column of mixed values.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Python's `None`.
    None,
    /// A number or truth value; NaN is a missing one.
    Number(f64),
    /// Text.
    Text(String),
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Numbers, with NaN for missing ones.
    Numbers(Vec<f64>, Precision),
    /// Values of any kind, as a column of objects of numpy or pandas.
    Cells(Vec<Cell>),
}

/// Columns of one length, such as a data frame of pandas or an array of text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    columns: Vec<(Option<String>, Column)>,
    rows: usize,
}

impl Table {
    /// A table of these columns with their names, if they have any; `None` if they differ in length.
    pub fn new(columns: Vec<(Option<String>, Column)>) -> Option<Self> {
        let rows = columns.first().map_or(0, |(_, column)| column.len());
        let even = columns.iter().all(|(_, column)| column.len() == rows);
        even.then_some(Self { columns, rows })
    }

    /// A table of one column of text.
    pub fn of_texts(texts: Vec<String>) -> Self {
        Self {
            rows: texts.len(),
            columns: vec![(
                None,
                Column::Cells(texts.into_iter().map(Cell::Text).collect()),
            )],
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns with their names.
    pub fn columns(&self) -> &[(Option<String>, Column)] {
        &self.columns
    }

    /// Where the column of that name is.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|(known, _)| known.as_deref() == Some(name))
    }
}

impl Column {
    /// The number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(values, _) => values.len(),
            Self::Cells(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the values are of one numeric type.
    pub(crate) fn is_numeric(&self) -> bool {
        matches!(self, Self::Numbers(..))
    }

    /// The value of a row.
    pub(crate) fn cell(&self, row: usize) -> CellRef<'_> {
        match self {
            Self::Numbers(values, _) => values
                .get(row)
                .map_or(CellRef::None, |v| CellRef::Number(*v)),
            Self::Cells(values) => values.get(row).map_or(CellRef::None, Cell::borrow),
        }
    }
}

/// A borrowed [`Cell`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum CellRef<'c> {
    None,
    Number(f64),
    Text(&'c str),
}

impl Cell {
    pub(crate) fn borrow(&self) -> CellRef<'_> {
        match self {
            Self::None => CellRef::None,
            Self::Number(value) => CellRef::Number(*value),
            Self::Text(text) => CellRef::Text(text),
        }
    }
}

impl CellRef<'_> {
    pub(crate) fn to_cell(self) -> Cell {
        match self {
            Self::None => Cell::None,
            Self::Number(value) => Cell::Number(value),
            Self::Text(text) => Cell::Text(text.to_owned()),
        }
    }
}
