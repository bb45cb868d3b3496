//! Numbers as they came: in double precision, and beside them the whole ones that it does not hold.

use crate::json::{Json, JsonError};
use crate::records::Asked;
use models::{Cell, Column, Matrix, Precision, Table};

/// One number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Float(f64),
    /// A whole number that double precision does not hold.
    Integer(i128),
}

impl Number {
    /// A whole number.
    pub(crate) fn whole(value: i128) -> Self {
        match Cell::integer(value) {
            Cell::Number(value) => Self::Float(value),
            _ => Self::Integer(value),
        }
    }

    /// A number whose text is known.
    pub(crate) fn read(value: f64, text: &str) -> Self {
        /// From where on neighbouring integers of 64 bits have one float.
        const WIDE: f64 = 9_007_199_254_740_992.0;
        if value.abs() < WIDE {
            return Self::Float(value);
        }
        text.parse().map_or(Self::Float(value), Self::whole)
    }

    /// The number that follows.
    pub(crate) fn next(json: &mut Json<'_>) -> Result<Self, JsonError> {
        let before = json.clone();
        let value = json.number()?;
        Ok(Self::read(value, json.since(&before)))
    }

    /// The nearest float.
    pub(crate) fn float(self) -> f64 {
        match self {
            Self::Float(value) => value,
            Self::Integer(value) => value as f64,
        }
    }

    /// The number as a whole one; `None` if it is none.
    pub(crate) fn integer(self) -> Option<i128> {
        match self {
            Self::Float(value) if value.fract() == 0.0 && value.abs() < 1e38 => Some(value as i128),
            Self::Float(_) => None,
            Self::Integer(value) => Some(value),
        }
    }

    pub(crate) fn cell(self) -> Cell {
        match self {
            Self::Float(value) => Cell::Number(value),
            Self::Integer(value) => Cell::Integer(value),
        }
    }
}

/// Numbers in their order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Numbers {
    floats: Vec<f64>,
    /// Those that their floats do not tell, by their places, which ascend.
    wide: Vec<(usize, i128)>,
}

impl From<Vec<f64>> for Numbers {
    fn from(floats: Vec<f64>) -> Self {
        Self {
            floats,
            wide: Vec::new(),
        }
    }
}

impl FromIterator<Number> for Numbers {
    fn from_iter<I: IntoIterator<Item = Number>>(numbers: I) -> Self {
        let mut all = Self::default();
        numbers.into_iter().for_each(|number| all.push(number));
        all
    }
}

impl Numbers {
    pub(crate) fn push(&mut self, number: Number) {
        if let Number::Integer(value) = number {
            self.wide.push((self.floats.len(), value));
        }
        self.floats.push(number.float());
    }

    pub(crate) fn len(&self) -> usize {
        self.floats.len()
    }

    /// Whether double precision holds them all.
    pub(crate) fn are_floats(&self) -> bool {
        self.wide.is_empty()
    }

    /// The nearest floats.
    pub(crate) fn floats(self) -> Vec<f64> {
        self.floats
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Number> {
        let mut wide = self.wide.iter().peekable();
        let number = move |(at, value): (usize, &f64)| match wide.next_if(|(place, _)| *place == at)
        {
            Some((_, whole)) => Number::Integer(*whole),
            None => Number::Float(*value),
        };
        self.floats.iter().enumerate().map(number)
    }

    pub(crate) fn cells(&self) -> Vec<Cell> {
        self.iter().map(Number::cell).collect()
    }

    /// Rows and columns; `None` if there is another number of values.
    pub(crate) fn rows(self, rows: usize, columns: usize, precision: Precision) -> Option<Asked> {
        if self.are_floats() {
            return Matrix::new(self.floats, rows, columns, precision).map(Asked::Matrix);
        }
        let mut sorted = vec![Self::default(); columns];
        for (at, number) in self.iter().enumerate() {
            sorted.get_mut(at.checked_rem(columns)?)?.push(number);
        }
        let columns = sorted
            .into_iter()
            .map(|column| (None, column.column(precision)));
        Table::new(columns.collect())
            .filter(|table| table.rows() == rows)
            .map(Asked::Table)
    }

    /// A column: of whole numbers where floats would lose digits and each of them is whole, as numpy has it.
    pub(crate) fn column(self, precision: Precision) -> Column {
        if self.are_floats() {
            return Column::Numbers(self.floats, precision);
        }
        match self.iter().map(Number::integer).collect() {
            Some(integers) => Column::Integers(integers),
            None => Column::Numbers(self.floats, Precision::Double),
        }
    }
}
