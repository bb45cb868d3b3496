//! Rows of numbers.

/// Whether the numbers are of double precision or were rounded to single precision on the way in.
///
/// scikit-learn's scalers keep single precision arrays as they are, so their arithmetic depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 64-bit floats.
    #[default]
    Double,
    /// 32-bit floats, held as their exact 64-bit equals.
    Single,
}

/// A row-major matrix. Missing values are NaN.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matrix {
    data: Vec<f64>,
    rows: usize,
    columns: usize,
    precision: Precision,
}

impl Matrix {
    /// A matrix of `rows` × `columns` from its values in row-major order; `None` if their number is another.
    pub fn new(data: Vec<f64>, rows: usize, columns: usize, precision: Precision) -> Option<Self> {
        (rows.checked_mul(columns)? == data.len()).then_some(Self {
            data,
            rows,
            columns,
            precision,
        })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The precision of the values.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The values in row-major order.
    pub fn values(&self) -> &[f64] {
        &self.data
    }

    pub(crate) fn into_values(self) -> Vec<f64> {
        self.data
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f64] {
        &mut self.data
    }

    /// The rows, in order. A matrix without columns yields none.
    pub fn iter(&self) -> impl Iterator<Item = &[f64]> {
        self.data.chunks_exact(self.columns.max(1))
    }
}

/// A value as an array of this precision stores it.
pub(crate) fn round(value: f64, precision: Precision) -> f64 {
    match precision {
        Precision::Double => value,
        Precision::Single => f64::from(value as f32),
    }
}
