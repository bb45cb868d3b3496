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
    /// Writes the product of `row` with each vector to `out`. Only sums are rounded.
    pub(crate) fn products(self, row: &[f64], out: &mut Vec<f64>) {
        out.clear();
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("fma") {
            #[expect(unsafe_code, reason = "a call of code for a processor feature")]
            // SAFETY: the feature was detected on this processor on the line above.
            unsafe {
                self.fused(row, out);
            }
            return;
        }
        // The same results, slower without the instruction.
        self.fold(row, out);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "fma")]
    fn fused(self, row: &[f64], out: &mut Vec<f64>) {
        self.fold(row, out);
    }

    #[inline(always)]
    fn fold(self, row: &[f64], out: &mut Vec<f64>) {
        out.extend(self.values.chunks_exact(self.length).map(|vector| {
            let pairs = row.iter().zip(vector);
            pairs.fold(0.0, |sum, (x, y)| x.mul_add(*y, sum))
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
    fn sums_are_rounded_once_on_any_processor() {
        let mut differ = 0;
        for length in [1, 2, 3, 4, 7, 8, 31] {
            let row = values(length);
            let length = row.len();
            let all = values(u32::try_from(5 * length).unwrap());
            let vectors = Vectors {
                values: &all,
                length,
            };
            let mut once = Vec::new();
            vectors.products(&row, &mut once);
            assert_eq!(once.len(), 5);
            for (index, vector) in all.chunks(length).enumerate() {
                let pairs = || row.iter().zip(vector);
                let fused = pairs().fold(0.0, |sum: f64, (x, y)| x.mul_add(*y, sum));
                let plain = pairs().fold(0.0, |sum, (x, y)| sum + x * y);
                assert_eq!(once[index].to_bits(), fused.to_bits());
                differ += usize::from(fused != plain);
            }
        }
        assert!(differ > 0);
    }
}
