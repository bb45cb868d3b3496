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
