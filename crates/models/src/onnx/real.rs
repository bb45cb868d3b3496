//! Arithmetic in single or double precision.

use super::tensor::{ElementType, Values};
use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub};

/// A float of either precision.
pub(super) trait Real:
    Copy
    + Debug
    + Default
    + PartialOrd
    + crate::kernels::Factor
    + crate::kernels::Threshold
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + DivAssign
    + MulAssign
    + 'static
{
    const ONE: Self;
    const ELEMENT: ElementType;
    const LOWEST: Self;
    fn of(value: f64) -> Self;
    fn of_single(value: f32) -> Self;
    fn to_double(self) -> f64;
    fn to_single(self) -> f32;
    fn nan(self) -> bool;
    fn exponential(self) -> Self;
    fn logarithm(self) -> Self;
    fn root(self) -> Self;
    fn magnitude(self) -> Self;
    fn power(self, exponent: Self) -> Self;
    fn values(all: Vec<Self>) -> Values;
    /// The values, if they are of this precision.
    fn find(values: &Values) -> Option<&[Self]>;
}

macro_rules! real {
    ($kind:ty, $variant:ident) => {
        impl Real for $kind {
            const ONE: Self = 1.0;
            const ELEMENT: ElementType = ElementType::$variant;
            const LOWEST: Self = <$kind>::MIN;

            fn of(value: f64) -> Self {
                value as Self
            }

            fn of_single(value: f32) -> Self {
                value as Self
            }

            fn to_double(self) -> f64 {
                self as f64
            }

            fn to_single(self) -> f32 {
                self as f32
            }

            fn nan(self) -> bool {
                self.is_nan()
            }

            fn exponential(self) -> Self {
                self.exp()
            }

            fn logarithm(self) -> Self {
                self.ln()
            }

            fn root(self) -> Self {
                self.sqrt()
            }

            fn magnitude(self) -> Self {
                self.abs()
            }

            fn power(self, exponent: Self) -> Self {
                self.powf(exponent)
            }

            fn values(all: Vec<Self>) -> Values {
                Values::$variant(all)
            }

            fn find(values: &Values) -> Option<&[Self]> {
                match values {
                    Values::$variant(values) => Some(values),
                    _ => None,
                }
            }
        }
    };
}

real!(f32, Float);
real!(f64, Double);

/// The values as floats of a precision, rounded where they are of another type. Text is an error.
pub(super) fn reals<T: Real>(values: &Values) -> Result<std::borrow::Cow<'_, [T]>, String> {
    use std::borrow::Cow;
    if let Some(values) = T::find(values) {
        return Ok(Cow::Borrowed(values));
    }
    Ok(Cow::Owned(match values {
        Values::Float(values) => values.iter().map(|value| T::of_single(*value)).collect(),
        Values::Double(values) => values.iter().map(|value| T::of(*value)).collect(),
        // Doubles hold fewer digits, and rounding twice would differ from the runtime.
        Values::Int64(values) if T::ELEMENT == ElementType::Float => values
            .iter()
            .map(|value| T::of_single(*value as f32))
            .collect(),
        Values::Int64(values) => values.iter().map(|value| T::of(*value as f64)).collect(),
        Values::Int32(values) => values
            .iter()
            .map(|value| T::of(f64::from(*value)))
            .collect(),
        Values::Bool(values) => values
            .iter()
            .map(|value| T::of(f64::from(u8::from(*value))))
            .collect(),
        Values::Text(_) => return Err("expected numbers, found text".to_owned()),
    }))
}
