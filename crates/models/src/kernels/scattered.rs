//! AnyVectors of which most values are zero, and vectors of either kind.
//!
//! Sums are made in the order of the columns, as scipy and the sparse code of libsvm make them: what neither vector has adds
//! zero, so leaving it out changes no sum.

use super::dot::Rounding;
use super::side::SideBySide;

/// AnyVectors of one length, each as the columns and values that are not zero, in the order of the columns.
#[derive(Debug, Clone)]
pub(crate) struct Scattered {
    length: usize,
    /// Where each vector ends in `entries`.
    ends: Vec<usize>,
    entries: Vec<(u32, f64)>,
}

impl Scattered {
    /// AnyVectors of that length, above zero; `None` where a column is outside of it, or columns are not in order.
    pub(crate) fn new(length: usize, ends: Vec<usize>, entries: Vec<(u32, f64)>) -> Option<Self> {
        let mut start = 0;
        for end in &ends {
            let vector = entries.get(start..*end)?;
            let columns = vector.iter().map(|(column, _)| *column);
            let inside = |column: u32| usize::try_from(column).is_ok_and(|at| at < length);
            if !columns.clone().all(inside) || !columns.is_sorted_by(|a, b| a < b) {
                return None;
            }
            start = *end;
        }
        (length > 0 && start == entries.len()).then_some(Self {
            length,
            ends,
            entries,
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The vectors, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[(u32, f64)]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.entries.get(start..*end).unwrap_or_default())
    }

    /// The vectors divided by their length, but those of zeros.
    pub(crate) fn normalised(mut self) -> Self {
        let mut rest = self.entries.as_mut_slice();
        let mut start = 0;
        for end in &self.ends {
            let (vector, after) = rest.split_at_mut_checked(end - start).unwrap_or_default();
            let norm = square(vector).sqrt();
            if norm != 0.0 {
                vector.iter_mut().for_each(|(_, value)| *value /= norm);
            }
            rest = after;
            start = *end;
        }
        self
    }

    /// Writes the product of `row` with each vector to `out`.
    pub(crate) fn products(&self, row: &[f64], out: &mut Vec<f64>) {
        out.clear();
        out.extend(self.iter().map(|vector| {
            vector.iter().fold(0.0, |sum, (column, value)| {
                let x = usize::try_from(*column).ok().and_then(|at| row.get(at));
                sum + x.copied().unwrap_or(0.0) * value
            })
        }));
    }

    /// Folds the pairs of values of `row` and of each vector where one of them is not zero, and writes the results to `out`.
    pub(crate) fn fold_pairs(
        &self,
        row: &[f64],
        out: &mut Vec<f64>,
        fold: impl Fn(f64, f64, f64) -> f64,
    ) {
        let given = entries(row);
        out.clear();
        out.extend(self.iter().map(|vector| {
            let (mut left, mut right) = (given.as_slice(), vector);
            let mut sum = 0.0;
            loop {
                let (x, y) = match (left, right) {
                    ([], []) => break sum,
                    ([(_, x), rest @ ..], []) => {
                        left = rest;
                        (*x, 0.0)
                    }
                    ([], [(_, y), rest @ ..]) => {
                        right = rest;
                        (0.0, *y)
                    }
                    ([(a, x), after @ ..], [(b, y), behind @ ..]) => {
                        let (mine, theirs) = (a <= b, b <= a);
                        left = if mine { after } else { left };
                        right = if theirs { behind } else { right };
                        (if mine { *x } else { 0.0 }, if theirs { *y } else { 0.0 })
                    }
                };
                sum = fold(sum, x, y);
            }
        }));
    }
}

/// The square of the length of a vector.
pub(crate) fn square(vector: &[(u32, f64)]) -> f64 {
    vector
        .iter()
        .fold(0.0, |sum, (_, value)| sum + value * value)
}

/// What is not zero in a row.
pub(crate) fn entries(row: &[f64]) -> Vec<(u32, f64)> {
    let numbered = (0_u32..).zip(row.iter().copied());
    numbered.filter(|(_, value)| *value != 0.0).collect()
}

/// AnyVectors that are kept whole, or without their zeros.
#[derive(Debug, Clone)]
pub(crate) enum AnyVectors {
    Whole(SideBySide),
    Scattered(Scattered),
}

impl AnyVectors {
    /// The number of vectors.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Whole(vectors) => vectors.count(),
            Self::Scattered(vectors) => vectors.count(),
        }
    }

    /// Values in each vector, those that are zero among them.
    pub(crate) fn length(&self) -> usize {
        match self {
            Self::Whole(vectors) => vectors.length(),
            Self::Scattered(vectors) => vectors.length(),
        }
    }

    /// Writes the product of `row` with each vector to `out`. Scattered ones are rounded at each step.
    pub(crate) fn products(&self, row: &[f64], rounding: Rounding, out: &mut Vec<f64>) {
        match self {
            Self::Whole(vectors) => vectors.products(row, rounding, out),
            Self::Scattered(vectors) => vectors.products(row, out),
        }
    }

    /// Writes the square of the distance of `row` from each vector to `out`.
    pub(crate) fn square_distances(&self, row: &[f64], rounding: Rounding, out: &mut Vec<f64>) {
        match self {
            Self::Whole(vectors) => vectors.square_distances(row, rounding, out),
            Self::Scattered(vectors) => {
                vectors.fold_pairs(row, out, |sum, x, y| sum + (x - y) * (x - y));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AnyVectors with gaps, and the same without.
    fn both(count: usize, length: usize) -> (Scattered, Vec<f64>) {
        let value = |n: usize| match n * 7 % 5 {
            0 | 3 => ((n * 37 % 101) as f64 - 50.0) / 7.0,
            _ => 0.0,
        };
        let whole: Vec<f64> = (0..count * length).map(value).collect();
        let (mut ends, mut all) = (Vec::new(), Vec::new());
        for vector in whole.chunks_exact(length) {
            all.extend(entries(vector));
            ends.push(all.len());
        }
        (Scattered::new(length, ends, all).unwrap(), whole)
    }

    #[test]
    fn sums_are_those_of_the_same_vectors_with_their_zeros() {
        for (count, length) in [(1, 1), (3, 9), (20, 33)] {
            let (scattered, whole) = both(count, length);
            let side = SideBySide::new(&whole, length);
            let rows: [Vec<f64>; 3] = [
                whole[whole.len() - length..].to_vec(),
                (0..length).map(|n| n as f64 / 3.0 - 1.0).collect(),
                vec![0.0; length],
            ];
            for row in rows {
                let (mut found, mut expected) = (Vec::new(), Vec::new());
                scattered.products(&row, &mut found);
                side.products(&row, Rounding::EachStep, &mut expected);
                assert_eq!(found, expected);
                let vectors = AnyVectors::Scattered(scattered.clone());
                vectors.square_distances(&row, Rounding::EachStep, &mut found);
                side.square_distances(&row, Rounding::EachStep, &mut expected);
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn columns_outside_of_the_length_and_out_of_order_are_refused() {
        let made = |ends: &[usize], entries: &[(u32, f64)]| {
            Scattered::new(3, ends.to_vec(), entries.to_vec()).is_some()
        };
        assert!(made(&[1, 1, 3], &[(2, 1.0), (0, 1.0), (2, 1.0)]));
        assert!(!made(&[1], &[(3, 1.0)]));
        assert!(!made(&[2], &[(1, 1.0), (1, 1.0)]));
        assert!(!made(&[2], &[(1, 1.0), (0, 1.0)]));
        assert!(!made(&[2, 1], &[(0, 1.0), (1, 1.0)]));
        assert!(!made(&[1], &[(0, 1.0), (1, 1.0)]));
        assert!(!made(&[2], &[(0, 1.0)]));
    }
}
