//! Rows of columns with names and types of their own.

use crate::Precision;

/// One value of a column of mixed values.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Python's `None`.
    None,
    /// A number or truth value; NaN is a missing one.
    Number(f64),
    /// A whole number that double precision does not hold; others are a [`Cell::Number`].
    Integer(i128),
    /// Text.
    Text(String),
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Numbers, with NaN for missing ones.
    Numbers(Vec<f64>, Precision),
    /// Whole numbers, of which double precision need not hold all.
    Integers(Vec<i128>),
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
            Self::Integers(values) => values.len(),
            Self::Cells(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the values are of one numeric type.
    pub(crate) fn is_numeric(&self) -> bool {
        matches!(self, Self::Numbers(..) | Self::Integers(_))
    }

    /// The value of a row.
    pub(crate) fn cell(&self, row: usize) -> CellRef<'_> {
        match self {
            Self::Numbers(values, _) => values
                .get(row)
                .map_or(CellRef::None, |v| CellRef::Number(*v)),
            Self::Integers(values) => values
                .get(row)
                .map_or(CellRef::None, |v| CellRef::integer(*v)),
            Self::Cells(values) => values.get(row).map_or(CellRef::None, Cell::borrow),
        }
    }
}

/// A borrowed [`Cell`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum CellRef<'c> {
    None,
    Number(f64),
    Integer(i128),
    Text(&'c str),
}

/// The whole number in double precision, if that holds it.
fn exact(value: i128) -> Option<f64> {
    let float = value as f64;
    // The float next to the largest integers is beyond them; converting back saturates.
    (float as i128 == value && value != i128::MAX).then_some(float)
}

impl Cell {
    /// A whole number.
    pub fn integer(value: i128) -> Self {
        exact(value).map_or(Self::Integer(value), Self::Number)
    }

    pub(crate) fn borrow(&self) -> CellRef<'_> {
        match self {
            Self::None => CellRef::None,
            Self::Number(value) => CellRef::Number(*value),
            Self::Integer(value) => CellRef::Integer(*value),
            Self::Text(text) => CellRef::Text(text),
        }
    }
}

impl CellRef<'_> {
    fn integer(value: i128) -> Self {
        exact(value).map_or(Self::Integer(value), Self::Number)
    }

    pub(crate) fn to_cell(self) -> Cell {
        match self {
            Self::None => Cell::None,
            Self::Number(value) => Cell::Number(value),
            Self::Integer(value) => Cell::Integer(value),
            Self::Text(text) => Cell::Text(text.to_owned()),
        }
    }
}
