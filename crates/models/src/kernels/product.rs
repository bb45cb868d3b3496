//! Products of matrices in single or double precision, in the order and rounding of ONNX Runtime's kernels: each step is rounded
//! once.

use std::ops::Add;

/// Floats that are multiplied.
pub(crate) trait Factor: Copy + Default + Add<Output = Self> {
    /// The product with a factor, plus an addend, rounded once.
    fn fused(self, factor: Self, addend: Self) -> Self;
}

impl Factor for f32 {
    fn fused(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }
}

impl Factor for f64 {
    fn fused(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }
}

/// Inner sizes beyond this are added up in parts, as the runtime does.
const PART: usize = 128;

/// Writes the product of a matrix with rows of `inner` values and one with rows of `columns`, both above zero.
pub(crate) fn add_products<T: Factor>(
    columns: usize,
    inner: usize,
    left: &[T],
    right: &[T],
    out: &mut [T],
) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("fma") {
        #[expect(unsafe_code, reason = "a call of code for a processor feature")]
        // SAFETY: the feature was detected on this processor on the line above.
        unsafe {
            with_fma(columns, inner, left, right, out);
        }
        return;
    }
    // The same results, slower without the instruction.
    add_up(columns, inner, left, right, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma")]
fn with_fma<T: Factor>(columns: usize, inner: usize, left: &[T], right: &[T], out: &mut [T]) {
    add_up(columns, inner, left, right, out);
}

#[inline(always)]
fn add_up<T: Factor>(columns: usize, inner: usize, left: &[T], right: &[T], out: &mut [T]) {
    let mut part = vec![T::default(); columns];
    for (row, sums) in left.chunks_exact(inner).zip(out.chunks_exact_mut(columns)) {
        let parts = row.chunks(PART).zip(right.chunks(PART * columns));
        for (number, (row, right)) in parts.enumerate() {
            part.fill(T::default());
            for (factor, right) in row.iter().zip(right.chunks_exact(columns)) {
                for (sum, value) in part.iter_mut().zip(right) {
                    *sum = factor.fused(*value, *sum);
                }
            }
            for (sum, part) in sums.iter_mut().zip(&part) {
                *sum = if number == 0 { *part } else { *sum + *part };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_added_up_in_parts_on_any_processor() {
        let values = |count: usize| -> Vec<f64> {
            let count = u32::try_from(count).unwrap();
            (1..=count)
                .map(|value| 1.0 / f64::from(value) - 0.3)
                .collect()
        };
        for (rows, inner, columns) in [(1, 1, 1), (2, 3, 5), (3, 128, 2), (2, 129, 3), (1, 300, 4)]
        {
            let (left, right) = (values(rows * inner), values(inner * columns));
            let mut found = vec![f64::NAN; rows * columns];
            add_products(columns, inner, &left, &right, &mut found);
            let (single, narrow): (Vec<f32>, Vec<f32>) = (
                left.iter().map(|value| *value as f32).collect(),
                right.iter().map(|value| *value as f32).collect(),
            );
            let mut singles = vec![f32::NAN; rows * columns];
            add_products(columns, inner, &single, &narrow, &mut singles);
            for (place, found) in found.iter().enumerate() {
                let (row, column) = (place / columns, place % columns);
                let steps: Vec<usize> = (0..inner).collect();
                let part = |steps: &[usize]| {
                    steps
                        .iter()
                        .fold((0.0_f64, 0.0_f32), |(sum, narrow_sum), step| {
                            let (l, r) = (row * inner + step, step * columns + column);
                            let sum = left[l].mul_add(right[r], sum);
                            (sum, single[l].mul_add(narrow[r], narrow_sum))
                        })
                };
                let parts = steps.chunks(PART).map(part);
                let (sum, narrow_sum) = parts
                    .reduce(|(sum, narrow_sum), (part, narrow)| (sum + part, narrow_sum + narrow))
                    .unwrap();
                assert_eq!(found.to_bits(), sum.to_bits());
                assert_eq!(singles[place].to_bits(), narrow_sum.to_bits());
            }
        }
    }
}
