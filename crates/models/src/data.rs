//! What flows between the steps of a pipeline, and what a step makes of it before it computes.

use crate::sparse::Sparse;
use crate::table::{CellRef, Column, Table};
use crate::{InputError, Matrix, Precision};
use std::borrow::Cow;

/// What a model can be asked about.
#[derive(Debug, Clone, Copy)]
pub enum Input<'i> {
    /// Rows of numbers.
    Matrix(&'i Matrix),
    /// Columns with names and types of their own, or text.
    Table(&'i Table),
}

impl<'i> From<&'i Matrix> for Input<'i> {
    fn from(matrix: &'i Matrix) -> Self {
        Self::Matrix(matrix)
    }
}

impl<'i> From<&'i Table> for Input<'i> {
    fn from(table: &'i Table) -> Self {
        Self::Table(table)
    }
}

/// What a step takes and gives.
#[derive(Debug, Clone)]
pub(crate) enum Data<'d> {
    Rows(Rows<'d>),
    Table(Cow<'d, Table>),
}

/// Rows of numbers.
#[derive(Debug, Clone)]
pub(crate) enum Rows<'d> {
    Dense(Cow<'d, Matrix>),
    Sparse(Cow<'d, Sparse>),
}

impl<'i> From<Input<'i>> for Data<'i> {
    fn from(input: Input<'i>) -> Self {
        match input {
            Input::Matrix(matrix) => Self::Rows(Rows::Dense(Cow::Borrowed(matrix))),
            Input::Table(table) => Self::Table(Cow::Borrowed(table)),
        }
    }
}

impl From<Matrix> for Data<'_> {
    fn from(matrix: Matrix) -> Self {
        Self::Rows(Rows::Dense(Cow::Owned(matrix)))
    }
}

impl From<Sparse> for Data<'_> {
    fn from(sparse: Sparse) -> Self {
        Self::Rows(Rows::Sparse(Cow::Owned(sparse)))
    }
}

impl Data<'_> {
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.count(),
            Self::Table(table) => table.rows(),
        }
    }

    pub(crate) fn columns(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.columns(),
            Self::Table(table) => table.columns().len(),
        }
    }

    /// The same data, borrowed.
    pub(crate) fn by_ref(&self) -> Data<'_> {
        match self {
            Self::Rows(Rows::Dense(matrix)) => Data::Rows(Rows::Dense(Cow::Borrowed(matrix))),
            Self::Rows(Rows::Sparse(sparse)) => Data::Rows(Rows::Sparse(Cow::Borrowed(sparse))),
            Self::Table(table) => Data::Table(Cow::Borrowed(table)),
        }
    }
}

impl<'d> Rows<'d> {
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Dense(matrix) => matrix.rows(),
            Self::Sparse(sparse) => sparse.rows(),
        }
    }

    pub(crate) fn columns(&self) -> usize {
        match self {
            Self::Dense(matrix) => matrix.columns(),
            Self::Sparse(sparse) => sparse.columns(),
        }
    }

    pub(crate) fn precision(&self) -> Precision {
        match self {
            Self::Dense(matrix) => matrix.precision(),
            Self::Sparse(sparse) => sparse.precision(),
        }
    }

    /// Calls `each` with the values of every row, in order. Sparse rows are spread out one at a time.
    pub(crate) fn each(&self, each: impl FnMut(&[f64])) {
        self.each_over(0.0, each);
    }

    /// The same, where what a sparse row has not is `absent`.
    fn each_over(&self, absent: f64, mut each: impl FnMut(&[f64])) {
        match self {
            Self::Dense(matrix) if matrix.columns() > 0 => matrix.iter().for_each(each),
            Self::Dense(matrix) => (0..matrix.rows()).for_each(|_| each(&[])),
            Self::Sparse(sparse) => {
                let mut row = vec![absent; sparse.columns()];
                let place = |column: u32| usize::try_from(column).unwrap_or(usize::MAX);
                for entries in sparse.iter() {
                    for (column, value) in entries {
                        if let Some(cell) = row.get_mut(place(*column)) {
                            *cell = if absent.is_nan() && cell.is_nan() {
                                *value
                            } else {
                                *cell + value
                            };
                        }
                    }
                    each(&row);
                    for (column, _) in entries {
                        if let Some(cell) = row.get_mut(place(*column)) {
                            *cell = absent;
                        }
                    }
                }
            }
        }
    }

    /// Makes one row of `columns` values of each row.
    pub(crate) fn map(
        &self,
        columns: usize,
        precision: Precision,
        each: impl FnMut(&[f64], &mut Vec<f64>),
    ) -> Result<Matrix, InputError> {
        self.map_over(0.0, columns, precision, each)
    }

    /// The same, where what a sparse row has not is `absent`.
    pub(crate) fn map_over(
        &self,
        absent: f64,
        columns: usize,
        precision: Precision,
        mut each: impl FnMut(&[f64], &mut Vec<f64>),
    ) -> Result<Matrix, InputError> {
        let count = self.count().saturating_mul(columns);
        if count > DENSE_LIMIT {
            return Err(InputError::TooLarge);
        }
        let mut out = Vec::with_capacity(count);
        let mut length = 0_usize;
        self.each_over(absent, |row| {
            each(row, &mut out);
            // A kernel that makes too few or too many would shift every row after it.
            length = length.saturating_add(columns);
            out.resize(length, f64::NAN);
        });
        Matrix::new(out, self.count(), columns, precision).ok_or(InputError::TooLarge)
    }

    /// The rows with these columns alone.
    pub(crate) fn select(&self, columns: &[usize]) -> Result<Rows<'static>, InputError> {
        match self {
            Self::Dense(_) => self
                .map(columns.len(), self.precision(), |row, out| {
                    let value = |column: &usize| row.get(*column).copied().unwrap_or(f64::NAN);
                    out.extend(columns.iter().map(value));
                })
                .map(|matrix| Rows::Dense(Cow::Owned(matrix))),
            Self::Sparse(sparse) => {
                let mut places = std::collections::HashMap::new();
                for (place, column) in (0_u32..).zip(columns) {
                    places.entry(*column).or_insert_with(Vec::new).push(place);
                }
                let mut out = Sparse::new(columns.len(), sparse.precision());
                for row in sparse.iter() {
                    let mut entries: Vec<(u32, f64)> = Vec::new();
                    for (column, value) in row {
                        let places = usize::try_from(*column).ok().and_then(|c| places.get(&c));
                        entries.extend(places.into_iter().flatten().map(|place| (*place, *value)));
                    }
                    entries.sort_by_key(|(column, _)| *column);
                    out.push(entries);
                }
                Ok(Rows::Sparse(Cow::Owned(out)))
            }
        }
    }

    /// All rows spread out, if they are not too many.
    pub(crate) fn dense(self) -> Result<Cow<'d, Matrix>, InputError> {
        match self {
            Self::Dense(matrix) => Ok(matrix),
            Self::Sparse(_) => self
                .map(self.columns(), self.precision(), |row, out| {
                    out.extend_from_slice(row);
                })
                .map(Cow::Owned),
        }
    }
}

/// Values that a step may make of the rows of a request: half a gibibyte.
pub(crate) const DENSE_LIMIT: usize = 1 << 26;

/// What an estimator checks of its input: `check_array` and `_check_n_features` in scikit-learn.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    /// Short class name for messages.
    pub(crate) estimator: String,
    /// `None` for the few that take any number of columns.
    pub(crate) features: Option<usize>,
    /// Whether values may be missing.
    pub(crate) missing: bool,
    /// Whether values may be infinite.
    pub(crate) infinite: bool,
    /// Whether the estimator rounds its input to single precision.
    pub(crate) single: bool,
}

impl Intake {
    /// Checks the size of the input.
    pub(crate) fn size(&self, data: &Data<'_>) -> Result<(), InputError> {
        if data.rows() == 0 {
            return Err(InputError::Empty {
                columns: data.columns(),
                estimator: self.estimator.clone(),
            });
        }
        match self.features {
            Some(expected) if expected != data.columns() => Err(InputError::Features {
                found: data.columns(),
                expected,
                estimator: self.estimator.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// The input as rows of numbers that the estimator takes.
    ///
    /// # Errors
    /// Another number of columns, text that is no number, missing or infinite values.
    pub(crate) fn numbers<'d>(&self, data: Data<'d>) -> Result<Rows<'d>, InputError> {
        self.size(&data)?;
        let rows = rows_of(data)?;
        self.check(&rows)?;
        Ok(rows)
    }

    fn check(&self, rows: &Rows<'_>) -> Result<(), InputError> {
        let single = self.single || rows.precision() == Precision::Single;
        let finite = |value: f64| {
            if single {
                (value as f32).is_finite()
            } else {
                value.is_finite()
            }
        };
        let bad = |row: usize, column: usize, value: f64| {
            if finite(value) {
                None
            } else if value.is_nan() {
                (!self.missing).then(|| InputError::Missing {
                    row,
                    column,
                    estimator: self.estimator.clone(),
                })
            } else if self.infinite {
                None
            } else {
                Some(InputError::Infinite {
                    row,
                    column,
                    dtype: if single { "float32" } else { "float64" },
                })
            }
        };
        let error = match rows {
            Rows::Dense(matrix) => {
                // Piece by piece, so that a piece is looked at without a branch for each value.
                let mut pieces = matrix.values().chunks(64);
                if pieces.all(|piece| piece.iter().fold(true, |all, value| all & finite(*value))) {
                    return Ok(());
                }
                matrix.iter().enumerate().find_map(|(row, values)| {
                    let mut cells = values.iter().enumerate();
                    cells.find_map(|(column, value)| bad(row, column, *value))
                })
            }
            Rows::Sparse(sparse) => sparse.iter().enumerate().find_map(|(row, entries)| {
                entries.iter().find_map(|(column, value)| {
                    bad(row, usize::try_from(*column).unwrap_or(0), *value)
                })
            }),
        };
        error.map_or(Ok(()), Err)
    }
}

/// The data as rows of numbers, whatever these are.
///
/// # Errors
/// Text that is no number.
pub(crate) fn rows_of(data: Data<'_>) -> Result<Rows<'_>, InputError> {
    Ok(match data {
        Data::Rows(rows) => rows,
        Data::Table(table) => Rows::Dense(Cow::Owned(numbers_of(&table)?)),
    })
}

/// `numpy.asarray(frame, dtype=float)`: one precision for all columns, text read as numbers.
fn numbers_of(table: &Table) -> Result<Matrix, InputError> {
    let single = !table.columns().is_empty()
        && table
            .columns()
            .iter()
            .all(|(_, column)| matches!(column, Column::Numbers(_, Precision::Single)));
    let mut values = Vec::with_capacity(table.rows() * table.columns().len());
    for row in 0..table.rows() {
        for (_, column) in table.columns() {
            values.push(match column.cell(row) {
                CellRef::None => f64::NAN,
                CellRef::Number(value) => value,
                CellRef::Integer(value) => value as f64,
                CellRef::Text(text) => match number_in(text) {
                    Some(value) => value,
                    None => {
                        return Err(InputError::Text {
                            text: text.chars().take(64).collect(),
                        });
                    }
                },
            });
        }
    }
    let precision = if single {
        Precision::Single
    } else {
        Precision::Double
    };
    Matrix::new(values, table.rows(), table.columns().len(), precision).ok_or(InputError::TooLarge)
}

/// Python's `float(text)` for what people send.
fn number_in(text: &str) -> Option<f64> {
    let text = text.trim();
    text.parse().ok()
}
