//! Rows of which most values are zero.

use crate::Precision;

/// A matrix in compressed rows, as scipy's `csr_matrix`: the columns and values of each row, in the order that
/// scikit-learn adds them up in.
#[derive(Debug, Clone)]
pub(crate) struct Sparse {
    columns: usize,
    precision: Precision,
    /// Where each row ends in `entries`.
    ends: Vec<usize>,
    entries: Vec<(u32, f64)>,
}

impl Sparse {
    pub(crate) fn new(columns: usize, precision: Precision) -> Self {
        Self {
            columns,
            precision,
            ends: Vec::new(),
            entries: Vec::new(),
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// Adds a row. Entries outside of the columns are dropped, so that none ever points outside.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = (u32, f64)>) {
        let columns = self.columns;
        let inside = |(column, _): &(u32, f64)| usize::try_from(*column).is_ok_and(|c| c < columns);
        self.entries.extend(row.into_iter().filter(inside));
        self.ends.push(self.entries.len());
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[(u32, f64)]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.entries.get(start..*end).unwrap_or_default())
    }

    /// The stored values, for changes that keep zeros zero.
    pub(crate) fn entries_mut(&mut self) -> &mut [(u32, f64)] {
        &mut self.entries
    }

    /// The same rows with their entries changed as a whole.
    pub(crate) fn map_rows(&self, change: impl Fn(&mut [(u32, f64)])) -> Self {
        let mut out = self.clone();
        let mut rest = out.entries.as_mut_slice();
        let mut start = 0;
        for end in &out.ends {
            let (row, after) = rest.split_at_mut_checked(end - start).unwrap_or_default();
            change(row);
            rest = after;
            start = *end;
        }
        out
    }
}
