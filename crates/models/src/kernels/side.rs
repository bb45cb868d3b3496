//! Vectors side by side: one instruction serves several, and each sum is still made in turn.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _mm256_add_pd, _mm256_fmadd_pd, _mm256_loadu_pd, _mm256_mul_pd, _mm256_set1_pd,
    _mm256_setzero_pd, _mm256_storeu_pd, _mm256_sub_pd,
};

use super::dot::Rounding;

/// Vectors of one length, in groups. The first values of a group's vectors lie together, then the second, ….
#[derive(Debug, Clone)]
pub(crate) struct SideBySide {
    groups: Vec<[f64; LANES]>,
    length: usize,
    count: usize,
}

const LANES: usize = 16;

/// Values in a register of AVX.
#[cfg(target_arch = "x86_64")]
const WIDTH: usize = 4;

impl SideBySide {
    /// Vectors of that length, above zero, one after the other.
    pub(crate) fn new(values: &[f64], length: usize) -> Self {
        let length = length.max(1);
        let mut groups = Vec::with_capacity((values.len() / LANES).saturating_add(length));
        for group in values.chunks(length.saturating_mul(LANES)) {
            for column in 0..length {
                let mut lanes = [0.0; LANES];
                for (lane, vector) in lanes.iter_mut().zip(group.chunks_exact(length)) {
                    *lane = vector.get(column).copied().unwrap_or(0.0);
                }
                groups.push(lanes);
            }
        }
        Self {
            groups,
            length,
            count: values.len() / length,
        }
    }

    /// The number of vectors.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Values in each vector.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Writes the product of `row` with each vector to `out`.
    pub(crate) fn products(&self, row: &[f64], rounding: Rounding, out: &mut Vec<f64>) {
        self.each::<false>(row, rounding, out);
    }

    /// Writes the square of the distance of `row` from each vector to `out`.
    pub(crate) fn square_distances(&self, row: &[f64], rounding: Rounding, out: &mut Vec<f64>) {
        self.each::<true>(row, rounding, out);
    }

    fn each<const DISTANCE: bool>(&self, row: &[f64], rounding: Rounding, out: &mut Vec<f64>) {
        out.clear();
        out.reserve(self.count.saturating_add(LANES));
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("fma") {
            #[expect(unsafe_code, reason = "a call of code for a processor feature")]
            // SAFETY: the feature, which has AVX with it, was detected on this processor on the line above.
            unsafe {
                match rounding {
                    Rounding::EachStep => self.wide::<DISTANCE, false>(row, out),
                    Rounding::Once => self.wide::<DISTANCE, true>(row, out),
                }
            }
            out.truncate(self.count);
            return;
        }
        // The same results, slower without the instructions.
        match rounding {
            Rounding::EachStep => self.fold::<DISTANCE>(row, out, |sum, x, y| sum + x * y),
            Rounding::Once => self.fold::<DISTANCE>(row, out, |sum, x, y| x.mul_add(y, sum)),
        }
        out.truncate(self.count);
    }

    /// [`fold`](Self::fold) in instructions: a compiler that makes small programs leaves loops as they are.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "fma")]
    fn wide<const DISTANCE: bool, const ONCE: bool>(&self, row: &[f64], out: &mut Vec<f64>) {
        for group in self.groups.chunks_exact(self.length) {
            let mut sums = [_mm256_setzero_pd(); LANES / WIDTH];
            for (x, lanes) in row.iter().zip(group) {
                let x = _mm256_set1_pd(*x);
                let (parts, _) = lanes.as_chunks::<WIDTH>();
                for (sum, y) in sums.iter_mut().zip(parts) {
                    #[expect(unsafe_code, reason = "an instruction that reads memory")]
                    // SAFETY: as many values as it reads are there, at any place.
                    let y = unsafe { _mm256_loadu_pd(y.as_ptr()) };
                    let difference = _mm256_sub_pd(x, y);
                    let (x, y) = match DISTANCE {
                        true => (difference, difference),
                        false => (x, y),
                    };
                    *sum = match ONCE {
                        true => _mm256_fmadd_pd(x, y, *sum),
                        false => _mm256_add_pd(*sum, _mm256_mul_pd(x, y)),
                    };
                }
            }
            for sum in sums {
                let mut lanes = [0.0; WIDTH];
                #[expect(unsafe_code, reason = "an instruction that writes memory")]
                // SAFETY: there is room for as many values as it writes.
                unsafe {
                    _mm256_storeu_pd(lanes.as_mut_ptr(), sum);
                }
                out.extend_from_slice(&lanes);
            }
        }
    }

    #[inline(always)]
    fn fold<const DISTANCE: bool>(
        &self,
        row: &[f64],
        out: &mut Vec<f64>,
        add: impl Fn(f64, f64, f64) -> f64,
    ) {
        for group in self.groups.chunks_exact(self.length) {
            let mut sums = [0.0; LANES];
            for (x, lanes) in row.iter().zip(group) {
                for (sum, y) in sums.iter_mut().zip(lanes) {
                    *sum = if DISTANCE {
                        add(*sum, x - y, x - y)
                    } else {
                        add(*sum, *x, *y)
                    };
                }
            }
            out.extend_from_slice(&sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_one_vector_after_the_other() {
        for (count, length) in [(1, 1), (15, 3), (16, 4), (17, 20), (50, 7)] {
            // Values that need all bits, so that rounding once and twice differ.
            let value = |n: usize| ((n * 37 % 101) as f64 - 50.0) / 7.0;
            let values: Vec<f64> = (0..count * length).map(value).collect();
            let row: Vec<f64> = (0..length).map(|n| value(n + 5)).collect();
            let side = SideBySide::new(&values, length);
            assert_eq!((side.count(), side.length()), (count, length));
            let (mut products, mut distances, mut fused) = (Vec::new(), Vec::new(), Vec::new());
            side.products(&row, Rounding::EachStep, &mut products);
            side.products(&row, Rounding::Once, &mut fused);
            side.square_distances(&row, Rounding::EachStep, &mut distances);
            let mut fused_distances = Vec::new();
            side.square_distances(&row, Rounding::Once, &mut fused_distances);
            let expected = |add: fn(f64, f64, f64) -> f64| -> Vec<f64> {
                let vectors = values.chunks_exact(length);
                vectors
                    .map(|v| row.iter().zip(v).fold(0.0, |sum, (x, y)| add(sum, *x, *y)))
                    .collect()
            };
            assert_eq!(products, expected(|sum, x, y| sum + x * y));
            assert_eq!(fused, expected(|sum, x, y| x.mul_add(y, sum)));
            assert_eq!(distances, expected(|sum, x, y| sum + (x - y) * (x - y)));
            let fused_distance = |sum: f64, x: f64, y: f64| (x - y).mul_add(x - y, sum);
            assert_eq!(fused_distances, expected(fused_distance));
            assert!(products != fused || count < 15);
        }
    }
}
