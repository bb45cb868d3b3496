//! Distances of a row from fitted vectors.

use super::dot::Rounding;
use super::scattered::{Scattered, square as square_of};
use super::side::SideBySide;

/// How far two vectors are from each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Metric {
    Euclidean,
    /// Euclidean, by the squares of both vectors and their product, as scikit-learn does it for many rows.
    EuclideanByProduct,
    Manhattan,
    Chebyshev,
    Minkowski(f64),
    Cosine,
}

impl Metric {
    /// The metric of that name, with `p` for those that have one.
    pub(crate) fn find(name: &str, p: Option<f64>) -> Option<Self> {
        Some(match (name, p) {
            ("euclidean" | "l2", _) => Self::Euclidean,
            ("manhattan" | "cityblock" | "l1", _) => Self::Manhattan,
            ("chebyshev" | "infinity", _) => Self::Chebyshev,
            ("cosine", _) => Self::Cosine,
            ("minkowski" | "p", Some(1.0)) => Self::Manhattan,
            ("minkowski" | "p", Some(2.0) | None) => Self::Euclidean,
            ("minkowski" | "p", Some(p)) if p == f64::INFINITY => Self::Chebyshev,
            ("minkowski" | "p", Some(p)) if p > 0.0 => Self::Minkowski(p),
            _ => return None,
        })
    }

    pub(crate) fn between(self, a: &[f64], b: &[f64]) -> f64 {
        let pairs = a.iter().zip(b);
        let product = || a.iter().zip(b).fold(0.0, |sum, (x, y)| x.mul_add(*y, sum));
        match self {
            Self::Euclidean => pairs
                .fold(0.0, |sum, (x, y)| sum + (x - y) * (x - y))
                .sqrt(),
            Self::EuclideanByProduct => {
                let squared = square(a) - 2.0 * product() + square(b);
                squared.max(0.0).sqrt()
            }
            Self::Manhattan => pairs.fold(0.0, |sum, (x, y)| sum + (x - y).abs()),
            Self::Chebyshev => pairs.fold(0.0, |largest, (x, y)| (x - y).abs().max(largest)),
            Self::Minkowski(p) => pairs
                .fold(0.0, |sum, (x, y)| sum + (x - y).abs().powf(p))
                .powf(1.0 / p),
            Self::Cosine => {
                let norm = |values: &[f64]| match square(values).sqrt() {
                    0.0 => 1.0,
                    norm => norm,
                };
                let (left, right) = (norm(a), norm(b));
                let product = a.iter().zip(b);
                let cosine = product.fold(0.0, |sum, (x, y)| (x / left).mul_add(y / right, sum));
                (1.0 - cosine).clamp(0.0, 2.0)
            }
        }
    }
}

fn square(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |sum, value| sum + value * value)
}

/// Vectors whose distances from rows are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Points {
    metric: Metric,
    /// One after the other, for metrics that are asked one by one.
    values: Vec<f64>,
    side: SideBySide,
    /// In place of both where they are mostly zeros; of length one for `Cosine`.
    scattered: Option<Scattered>,
    /// The square of each vector, where the metric asks for it.
    squares: Vec<f64>,
}

impl Points {
    /// Vectors of that length, above zero, one after the other.
    pub(crate) fn new(values: Vec<f64>, length: usize, metric: Metric) -> Self {
        let vectors = values.chunks_exact(length.max(1));
        let squares = match metric {
            Metric::EuclideanByProduct => vectors.map(square).collect(),
            _ => Vec::new(),
        };
        let (side, values) = match metric {
            Metric::Euclidean | Metric::EuclideanByProduct => {
                (SideBySide::new(&values, length), Vec::new())
            }
            _ => (SideBySide::new(&[], length), values),
        };
        Self {
            metric,
            values,
            side,
            scattered: None,
            squares,
        }
    }

    /// Vectors that are mostly zeros.
    pub(crate) fn scattered(vectors: Scattered, metric: Metric) -> Self {
        let squares = match metric {
            Metric::EuclideanByProduct => vectors.iter().map(square_of).collect(),
            _ => Vec::new(),
        };
        Self {
            metric,
            values: Vec::new(),
            side: SideBySide::new(&[], 1),
            squares,
            scattered: Some(match metric {
                Metric::Cosine => vectors.normalised(),
                _ => vectors,
            }),
        }
    }

    /// The number of vectors.
    pub(crate) fn count(&self) -> usize {
        if let Some(vectors) = &self.scattered {
            return vectors.count();
        }
        match self.metric {
            Metric::Euclidean | Metric::EuclideanByProduct => self.side.count(),
            _ => self.values.len() / self.length(),
        }
    }

    /// Values in each vector.
    pub(crate) fn length(&self) -> usize {
        match &self.scattered {
            Some(vectors) => vectors.length(),
            None => self.side.length(),
        }
    }

    /// Writes the distance of `row` from each vector to `out`.
    pub(crate) fn distances(&self, row: &[f64], out: &mut Vec<f64>) {
        if let Some(vectors) = &self.scattered {
            return self.between_scattered(vectors, row, out);
        }
        match self.metric {
            Metric::Euclidean => {
                self.side.square_distances(row, Rounding::EachStep, out);
                out.iter_mut()
                    .for_each(|distance| *distance = distance.sqrt());
            }
            Metric::EuclideanByProduct => {
                self.side.products(row, Rounding::Once, out);
                let own = square(row);
                for (distance, square) in out.iter_mut().zip(&self.squares) {
                    *distance = (own - 2.0 * *distance + square).max(0.0).sqrt();
                }
            }
            metric => {
                out.clear();
                let vectors = self.values.chunks_exact(self.length());
                out.extend(vectors.map(|vector| metric.between(row, vector)));
            }
        }
    }

    /// As scipy and the sparse code of scikit-learn add: in the order of the columns, each product rounded.
    fn between_scattered(&self, vectors: &Scattered, row: &[f64], out: &mut Vec<f64>) {
        match self.metric {
            Metric::EuclideanByProduct => {
                vectors.products(row, out);
                let own = square(row);
                for (distance, square) in out.iter_mut().zip(&self.squares) {
                    *distance = (own - 2.0 * *distance + square).max(0.0).sqrt();
                }
            }
            Metric::Cosine => {
                let norm = match square(row).sqrt() {
                    0.0 => 1.0,
                    norm => norm,
                };
                let row: Vec<f64> = row.iter().map(|value| value / norm).collect();
                vectors.products(&row, out);
                out.iter_mut()
                    .for_each(|cosine| *cosine = (1.0 - *cosine).clamp(0.0, 2.0));
            }
            Metric::Euclidean => {
                vectors.fold_pairs(row, out, |sum, x, y| sum + (x - y) * (x - y));
                out.iter_mut().for_each(|sum| *sum = sum.sqrt());
            }
            Metric::Manhattan => {
                vectors.fold_pairs(row, out, |sum, x, y| sum + (x - y).abs());
            }
            Metric::Chebyshev => {
                vectors.fold_pairs(row, out, |largest, x, y| (x - y).abs().max(largest));
            }
            Metric::Minkowski(p) => {
                vectors.fold_pairs(row, out, |sum, x, y| sum + (x - y).abs().powf(p));
                out.iter_mut().for_each(|sum| *sum = sum.powf(1.0 / p));
            }
        }
    }
}
