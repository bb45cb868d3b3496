//! Sums of products in the order and rounding of scipy's BLAS.
//!
//! libsvm in scikit-learn leaves its dot products to OpenBLAS. Below 32 values that adds in turn, and since it is compiled
//! with fused multiply-add, rounds once for each step; before that twice. Either is reproduced bit for bit.

/// How a product is added to a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// The product is rounded, then the sum.
    EachStep,
    /// Only the sum is rounded.
    Once,
}

/// Vectors of one length, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vectors<'v> {
    pub(crate) values: &'v [f64],
    /// Above zero.
    pub(crate) length: usize,
}

impl Vectors<'_> {
    /// Writes the product of `row` with each vector to `out`.
    pub(crate) fn products(self, row: &[f64], rounding: Rounding, out: &mut Vec<f64>) {
        self.each::<false>(row, rounding, out);
    }

    /// Writes the square of the distance of `row` from each vector to `out`.
    pub(crate) fn square_distances(self, row: &[f64], rounding: Rounding, out: &mut Vec<f64>) {
        self.each::<true>(row, rounding, out);
    }

    fn each<const DISTANCE: bool>(self, row: &[f64], rounding: Rounding, out: &mut Vec<f64>) {
        out.clear();
        match rounding {
            Rounding::EachStep => {
                self.fold::<DISTANCE>(row, out, |sum, x, y| sum + x * y);
            }
            #[cfg(target_arch = "x86_64")]
            Rounding::Once if std::arch::is_x86_feature_detected!("fma") => {
                #[expect(unsafe_code, reason = "a call of code for a processor feature")]
                // SAFETY: the feature was detected on this processor on the line above.
                unsafe {
                    self.fused::<DISTANCE>(row, out);
                }
            }
            // The same results, slower without the instruction.
            Rounding::Once => self.fold::<DISTANCE>(row, out, |sum, x, y| x.mul_add(y, sum)),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "fma")]
    fn fused<const DISTANCE: bool>(self, row: &[f64], out: &mut Vec<f64>) {
        self.fold::<DISTANCE>(row, out, |sum, x, y| x.mul_add(y, sum));
    }

    #[inline(always)]
    fn fold<const DISTANCE: bool>(
        self,
        row: &[f64],
        out: &mut Vec<f64>,
        add: impl Fn(f64, f64, f64) -> f64,
    ) {
        out.extend(self.values.chunks_exact(self.length).map(|vector| {
            row.iter().zip(vector).fold(0.0, |sum, (x, y)| {
                if DISTANCE {
                    add(sum, x - y, x - y)
                } else {
                    add(sum, *x, *y)
                }
            })
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that need all bits, so that rounding once and twice differ.
    fn values(count: u32) -> Vec<f64> {
        (1..=count)
            .map(|value| 1.0 / f64::from(value) - 0.3)
            .collect()
    }

    #[test]
    fn sums_are_rounded_once_or_in_each_step_on_any_processor() {
        let mut differ = 0;
        for length in [1, 2, 3, 4, 7, 8, 31] {
            let row = values(length);
            let length = row.len();
            let all = values(u32::try_from(5 * length).unwrap());
            let vectors = Vectors {
                values: &all,
                length,
            };
            let (mut once, mut twice, mut distances) = (Vec::new(), Vec::new(), Vec::new());
            vectors.products(&row, Rounding::Once, &mut once);
            vectors.products(&row, Rounding::EachStep, &mut twice);
            vectors.square_distances(&row, Rounding::Once, &mut distances);
            assert_eq!([once.len(), twice.len(), distances.len()], [5; 3]);
            for (index, vector) in all.chunks(length).enumerate() {
                let pairs = || row.iter().zip(vector);
                let fused = pairs().fold(0.0, |sum: f64, (x, y)| x.mul_add(*y, sum));
                let plain = pairs().fold(0.0, |sum, (x, y)| sum + x * y);
                let distance = pairs().fold(0.0, |sum, (x, y)| (x - y).mul_add(x - y, sum));
                assert_eq!(once[index].to_bits(), fused.to_bits());
                assert_eq!(twice[index].to_bits(), plain.to_bits());
                assert_eq!(distances[index].to_bits(), distance.to_bits());
                differ += usize::from(fused != plain);
            }
        }
        assert!(differ > 0);
    }
}
