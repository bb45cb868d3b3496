//! Matrices that scipy keeps without their zeros, as `scipy.sparse.csr_matrix` has them.

use super::part::Part;
use crate::LoadError;
use crate::kernels::{AnyVectors, Metric, Points, Scattered, SideBySide};
use crate::pickle::Node;

/// A matrix of either kind.
pub(super) enum AnyMatrix {
    /// Values of all rows, and the columns.
    Whole(Vec<f64>, usize),
    Scattered(Scattered),
}

impl AnyMatrix {
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Whole(values, columns) => values.len() / (*columns).max(1),
            Self::Scattered(rows) => rows.count(),
        }
    }

    /// The rows as vectors whose distances are asked for.
    pub(super) fn into_points(self, metric: Metric) -> Points {
        match self {
            Self::Whole(values, columns) => Points::new(values, columns, metric),
            Self::Scattered(rows) => Points::scattered(rows, metric),
        }
    }

    pub(super) fn columns(&self) -> usize {
        match self {
            Self::Whole(_, columns) => *columns,
            Self::Scattered(rows) => rows.length(),
        }
    }
}

impl From<AnyMatrix> for AnyVectors {
    fn from(matrix: AnyMatrix) -> Self {
        match matrix {
            AnyMatrix::Whole(values, columns) => Self::Whole(SideBySide::new(&values, columns)),
            AnyMatrix::Scattered(rows) => Self::Scattered(rows),
        }
    }
}

impl<'r, 'a> Part<'r, 'a> {
    /// The finite numbers of a matrix that is whole or in compressed rows.
    pub(super) fn any_matrix(&self, name: &str) -> Result<AnyMatrix, LoadError> {
        match self.compressed(name)? {
            None => {
                let (values, columns) = self.matrix(name)?;
                Ok(AnyMatrix::Whole(values, columns))
            }
            Some(rows) => scattered(&rows).map(AnyMatrix::Scattered),
        }
    }

    /// The stored numbers of a matrix of that shape, in C order: all of them, whether zero or not. libsvm's coefficients are
    /// kept so, in compressed rows from which none is left out.
    pub(super) fn full(&self, name: &str, shape: [usize; 2]) -> Result<Vec<f64>, LoadError> {
        let Some(rows) = self.compressed(name)? else {
            return self.floats(name, &shape);
        };
        let count = shape.iter().try_fold(1_usize, |all, n| all.checked_mul(*n));
        let count = count.ok_or_else(|| self.damaged(format!("`{name}` is too large")))?;
        if rows.shape()? != shape {
            return Err(self.damaged(format!("expected the shape {shape:?} of `{name}`")));
        }
        rows.part.vector("data", count)
    }

    /// The numbers of a matrix, with its zeros, and its columns. The zeros are paid for.
    pub(super) fn spread(&self, name: &str) -> Result<Option<(Vec<f64>, usize)>, LoadError> {
        let Some(rows) = self.compressed(name)? else {
            return Ok(None);
        };
        let scattered = scattered(&rows)?;
        let columns = scattered.length();
        let count = scattered.count().saturating_mul(columns);
        self.pay(count)?;
        let mut values = vec![0.0; count];
        for (row, entries) in values.chunks_exact_mut(columns).zip(scattered.iter()) {
            for (column, value) in entries {
                if let Some(cell) = usize::try_from(*column).ok().and_then(|at| row.get_mut(at)) {
                    *cell = *value;
                }
            }
        }
        Ok(Some((values, columns)))
    }

    /// The object at that attribute, if it is a matrix of scipy.
    fn compressed(&self, name: &str) -> Result<Option<Compressed<'r, 'a>>, LoadError> {
        let id = self.required(name)?;
        if !matches!(self.graph().node(id), Node::Object(_)) {
            return Ok(None);
        }
        let part = self.inner(id, name)?;
        match (part.class().starts_with("scipy.sparse."), part.name()) {
            (true, "csr_matrix" | "csr_array") => Ok(Some(Compressed { part })),
            _ => Err(part.unsupported()),
        }
    }
}

/// `csr_matrix`: where each row starts in `indices` and `data`.
struct Compressed<'r, 'a> {
    part: Part<'r, 'a>,
}

impl Compressed<'_, '_> {
    /// Rows and columns: a tuple in pickles, an array in files of skops.
    fn shape(&self) -> Result<[usize; 2], LoadError> {
        let part = &self.part;
        let name = match part.attribute("_shape") {
            Some(_) => "_shape",
            None => "shape",
        };
        let bound = usize::try_from(u32::MAX).unwrap_or(usize::MAX);
        let shape = part.indices_at(part.required(name)?, name, bound)?;
        let shape = <[usize; 2]>::try_from(shape);
        shape.map_err(|_| part.damaged(format!("expected rows and columns in `{name}`")))
    }
}

fn scattered(matrix: &Compressed<'_, '_>) -> Result<Scattered, LoadError> {
    let part = &matrix.part;
    let [rows, columns] = matrix.shape()?;
    let count = part.array("data")?.count();
    let starts = part.indices_at(part.required("indptr")?, "indptr", count.saturating_add(1))?;
    let indices = part.indices_at(part.required("indices")?, "indices", columns)?;
    let values = part.vector("data", count)?;
    let bad = || part.damaged("expected rows in `indptr` that divide `indices` and `data`");
    let Some((0, ends)) = starts.split_first() else {
        return Err(bad());
    };
    if rows == 0 || ends.len() != rows || indices.len() != count {
        return Err(bad());
    }
    part.pay(count.saturating_mul(2))?;
    let columns_of = indices
        .iter()
        .filter_map(|column| u32::try_from(*column).ok());
    let mut entries: Vec<(u32, f64)> = columns_of.zip(values).collect();
    // scipy does not always keep the columns of a row in order.
    let mut start = 0;
    for end in ends {
        let row = entries.get_mut(start..*end).ok_or_else(bad)?;
        row.sort_by_key(|(column, _)| *column);
        start = *end;
    }
    let made = Scattered::new(columns, ends.to_vec(), entries);
    made.ok_or_else(|| part.damaged("expected each column of a row once in `indices`"))
}
