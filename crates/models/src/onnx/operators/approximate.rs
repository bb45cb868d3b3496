//! Functions of single precision that the runtime computes as quotients of polynomials, which are Eigen's: their last
//! digits are not those of the system's functions.

/// The polynomial of a square with these coefficients, the highest power first; each step is rounded once.
fn polynomial(square: f32, coefficients: &[f32]) -> f32 {
    let mut rest = coefficients.iter();
    let first = rest.next().copied().unwrap_or(0.0);
    rest.fold(first, |sum, next| sum.mul_add(square, *next))
}

/// 1 / (1 + e^-x).
pub(super) fn logistic(value: f32) -> f32 {
    let value = if value < -18.0 { -18.0 } else { value };
    let value = if value > 18.0 { 18.0 } else { value };
    let square = value * value;
    let above = polynomial(
        square,
        &[
            4.370_31e-11,
            1.156_273_2e-7,
            6.085_749e-5,
            8.513_771e-3,
            2.482_879_5e-1,
        ],
    );
    let below = polynomial(
        square,
        &[
            6.102_473_7e-13,
            5.761_021_4e-9,
            6.291_068e-6,
            1.701_988_2e-3,
            1.168_176_5e-1,
            9.931_519e-1,
        ],
    );
    let value = above * value / below + 0.5;
    if value.is_nan() {
        value
    } else {
        value.clamp(0.0, 1.0)
    }
}

/// The hyperbolic tangent.
pub(super) fn tanh(value: f32) -> f32 {
    let value = if value < -9.0 { -9.0 } else { value };
    let value = if value > 9.0 { 9.0 } else { value };
    let square = value * value;
    let above = polynomial(
        square,
        &[
            -2.760_768_4e-16,
            2.000_188e-13,
            -8.604_672e-11,
            5.122_297_3e-8,
            1.485_722_35e-5,
            6.372_619_5e-4,
            4.893_524_6e-3,
        ],
    );
    let below = polynomial(
        square,
        &[1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_7e-3, 4.893_525e-3],
    );
    above * value / below
}
