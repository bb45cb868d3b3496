//! The exponential that CatBoost computes with where it has many at once: powers of two from a table, and a polynomial
//! (herumi's fmath, `expd`). It differs from the system's in the last place.

use std::sync::LazyLock;

const BITS: u32 = 11;
const SIZE: u32 = 1 << BITS;

struct Constants {
    scale: f64,
    inverse: f64,
    /// The fractions of the powers of two between 1 and 2.
    powers: Vec<u64>,
}

static CONSTANTS: LazyLock<Constants> = LazyLock::new(|| {
    let size = f64::from(SIZE);
    let scale = size / 2.0_f64.ln();
    let power = |index: u32| 2.0_f64.powf(f64::from(index) * (1.0 / size)).to_bits();
    Constants {
        scale,
        inverse: 1.0 / scale,
        powers: (0..SIZE)
            .map(|index| power(index) & ((1 << 52) - 1))
            .collect(),
    }
});

pub(super) fn exp(value: f64) -> f64 {
    if value.is_nan() {
        return value;
    }
    let value = value.clamp(-708.396_418_532_264_1, 709.782_725_693_384);
    // Rounds to a whole number, which is then found in the lowest bits.
    let magic = (3_u64 << 51) as f64;
    let rounded = value * CONSTANTS.scale + magic;
    let bits = rounded.to_bits();
    let index = usize::try_from(bits & u64::from(SIZE - 1)).unwrap_or(0);
    let power = CONSTANTS.powers.get(index).copied().unwrap_or(0);
    let rest = (rounded - magic) * CONSTANTS.inverse - value;
    let bias = (1_u64 << (BITS + 10)) - (1 << BITS);
    let exponent = (bits.wrapping_add(bias) >> BITS) << 52;
    let near =
        (3.000_000_002_795_539_4 - rest) * (rest * rest) * 0.166_666_666_852_278_35 - rest + 1.0;
    near * f64::from_bits(exponent | power)
}
