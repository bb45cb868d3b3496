//! Products of rows with a matrix of coefficients.

use super::dot::Vectors;
use crate::Precision;
use crate::data::Rows;

/// `outputs` linear functions of `features` columns.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// One row of coefficients for each output.
    coefficients: Vec<f64>,
    intercepts: Vec<f64>,
    features: usize,
    /// Single where the estimator was fitted on single precision, and computes in it on such rows.
    precision: Precision,
}

impl Linear {
    /// `None` if the sizes do not fit or there is nothing.
    pub(crate) fn new(
        coefficients: Vec<f64>,
        intercepts: Vec<f64>,
        features: usize,
        precision: Precision,
    ) -> Option<Self> {
        let fits =
            features > 0 && intercepts.len().checked_mul(features) == Some(coefficients.len());
        (fits && !intercepts.is_empty()).then_some(Self {
            coefficients,
            intercepts,
            features,
            precision,
        })
    }

    pub(crate) fn outputs(&self) -> usize {
        self.intercepts.len()
    }

    pub(crate) fn features(&self) -> usize {
        self.features
    }

    /// The precision that the result has on such rows.
    pub(crate) fn precision(&self, rows: &Rows<'_>) -> Precision {
        match (self.precision, rows.precision()) {
            (Precision::Single, Precision::Single) => Precision::Single,
            _ => Precision::Double,
        }
    }

    /// The outputs of each row, row by row.
    pub(crate) fn decide(&self, rows: &Rows<'_>) -> Vec<f64> {
        let mut out = Vec::with_capacity(rows.count().saturating_mul(self.outputs()));
        match rows {
            Rows::Dense(_) if self.precision(rows) == Precision::Single => {
                rows.each(|row| self.decide_single(row, &mut out));
            }
            Rows::Dense(_) => {
                let mut products = Vec::new();
                rows.each(|row| {
                    self.products(row, &mut products);
                    let sums = products.iter().zip(&self.intercepts);
                    out.extend(sums.map(|(product, intercept)| product + intercept));
                });
            }
            Rows::Sparse(sparse) => {
                for entries in sparse.iter() {
                    out.extend(
                        self.lines()
                            .zip(&self.intercepts)
                            .map(|(line, intercept)| sparse_product(entries, line) + intercept),
                    );
                }
            }
        }
        out
    }

    /// The product of a row with each line of coefficients, without intercepts.
    pub(crate) fn products(&self, row: &[f64], out: &mut Vec<f64>) {
        let lines = Vectors {
            values: &self.coefficients,
            length: self.features,
        };
        lines.products(row, out);
    }

    /// The outputs for one row of double precision.
    pub(crate) fn outputs_of(&self, row: &[f64], out: &mut Vec<f64>) {
        self.products(row, out);
        out.iter_mut()
            .zip(&self.intercepts)
            .for_each(|(product, intercept)| *product += intercept);
    }

    fn lines(&self) -> impl Iterator<Item = &[f64]> {
        self.coefficients.chunks_exact(self.features)
    }

    fn decide_single(&self, row: &[f64], out: &mut Vec<f64>) {
        for (line, intercept) in self.lines().zip(&self.intercepts) {
            let sum = row
                .iter()
                .zip(line)
                .fold(0.0_f32, |sum, (x, y)| (*x as f32).mul_add(*y as f32, sum));
            out.push(f64::from(sum + *intercept as f32));
        }
    }
}

/// A product with a sparse row, as scipy adds it up: in the order of the entries, rounding twice for each.
fn sparse_product(entries: &[(u32, f64)], line: &[f64]) -> f64 {
    entries.iter().fold(0.0, |sum, (column, value)| {
        let coefficient = usize::try_from(*column)
            .ok()
            .and_then(|column| line.get(column));
        sum + value * coefficient.copied().unwrap_or(0.0)
    })
}
