//! The datatypes of V2, and their values in JSON, in bytes and in messages.

use crate::numbers::{Number, Numbers};
use crate::rows::short;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Datatype {
    Bool,
    Signed(u32),
    Unsigned(u32),
    Fp16,
    Fp32,
    Fp64,
    Bytes,
}

/// Where values of a type are in a message of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Bool,
    Int,
    Int64,
    Uint,
    Uint64,
    Fp32,
    Fp64,
    Bytes,
}

/// The datatype of that name.
///
/// # Errors
/// There is none; `name` is that of the input.
pub(super) fn known(datatype: &str, name: &str) -> Result<Datatype, String> {
    Datatype::find(datatype).ok_or_else(|| {
        format!(
            "invalid datatype '{}' in the input {name}: expected BOOL, INT8 to INT64, UINT8 to UINT64, FP16, FP32, FP64 or BYTES",
            short(datatype)
        )
    })
}

impl Datatype {
    pub(super) fn find(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "BOOL" => Self::Bool,
            "INT8" => Self::Signed(8),
            "INT16" => Self::Signed(16),
            "INT32" => Self::Signed(32),
            "INT64" => Self::Signed(64),
            "UINT8" => Self::Unsigned(8),
            "UINT16" => Self::Unsigned(16),
            "UINT32" => Self::Unsigned(32),
            "UINT64" => Self::Unsigned(64),
            "FP16" => Self::Fp16,
            "FP32" => Self::Fp32,
            "FP64" => Self::Fp64,
            "BYTES" => Self::Bytes,
            _ => return None,
        })
    }

    /// Bytes of a value.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Bool | Self::Signed(8) | Self::Unsigned(8) => 1,
            Self::Signed(16) | Self::Unsigned(16) | Self::Fp16 => 2,
            Self::Signed(32) | Self::Unsigned(32) | Self::Fp32 => 4,
            _ => 8,
        }
    }

    /// The field of its values; `None` if there is none.
    pub(super) fn field(self) -> Option<Field> {
        Some(match self {
            Self::Bool => Field::Bool,
            Self::Signed(64) => Field::Int64,
            Self::Signed(_) => Field::Int,
            Self::Unsigned(64) => Field::Uint64,
            Self::Unsigned(_) => Field::Uint,
            Self::Fp32 => Field::Fp32,
            Self::Fp64 => Field::Fp64,
            Self::Fp16 => return None,
            Self::Bytes => Field::Bytes,
        })
    }

    /// A number of a JSON list in this type, as `numpy.array(data, dtype)` makes it; `None` if the type does not hold it.
    pub(super) fn convert(self, number: Number) -> Option<Number> {
        let value = match (self, number) {
            (Self::Signed(_) | Self::Unsigned(_), Number::Integer(whole)) => {
                return self.holds(whole).then_some(number);
            }
            (_, number) => number.float(),
        };
        let within = |low: f64, high: f64| {
            let whole = value.trunc();
            (whole >= low && whole < high).then_some(whole)
        };
        let converted = match self {
            Self::Bool => Some(f64::from(u8::from(value != 0.0))),
            Self::Signed(bits) => within(
                -(2_f64.powi(bits.cast_signed() - 1)),
                2_f64.powi(bits.cast_signed() - 1),
            ),
            Self::Unsigned(bits) => within(0.0, 2_f64.powi(bits.cast_signed())),
            Self::Fp32 => Some(f64::from(value as f32)),
            Self::Fp16 | Self::Fp64 | Self::Bytes => Some(value),
        };
        converted.map(Number::Float)
    }

    /// Whether an integer of this type can be that one.
    fn holds(self, whole: i128) -> bool {
        match self {
            Self::Signed(bits) => whole >= -(1 << (bits - 1)) && whole < 1 << (bits - 1),
            Self::Unsigned(bits) => whole >= 0 && whole < 1 << bits,
            _ => true,
        }
    }

    /// Little-endian numbers of this type; what is left of the last one does not count.
    pub(super) fn decode(self, bytes: &[u8]) -> Numbers {
        let chunks = bytes.chunks_exact(self.size());
        let bits = |chunk: &[u8]| {
            let bytes = chunk.iter().rev();
            bytes.fold(0_u64, |value, byte| (value << 8) | u64::from(*byte))
        };
        let low = |chunk: &[u8]| u32::try_from(bits(chunk)).unwrap_or(0);
        let all = |value: &dyn Fn(&[u8]) -> f64| {
            Numbers::from(chunks.clone().map(value).collect::<Vec<_>>())
        };
        match self {
            Self::Bool => all(&|chunk| f64::from(u8::from(bits(chunk) != 0))),
            Self::Signed(width) => chunks
                .map(|chunk| (bits(chunk) << (64 - width)).cast_signed() >> (64 - width))
                .map(|value| Number::whole(value.into()))
                .collect(),
            Self::Unsigned(_) | Self::Bytes => chunks
                .map(|chunk| Number::whole(bits(chunk).into()))
                .collect(),
            Self::Fp16 => all(&|chunk| half(low(chunk))),
            // Large requests are of these, many numbers for one instruction.
            Self::Fp32 => {
                let values = bytes.as_chunks().0.iter();
                let values = values.map(|bytes| f64::from(f32::from_le_bytes(*bytes)));
                Numbers::from(values.collect::<Vec<_>>())
            }
            Self::Fp64 => {
                let values = bytes.as_chunks().0.iter();
                let values = values.map(|bytes| f64::from_le_bytes(*bytes));
                Numbers::from(values.collect::<Vec<_>>())
            }
        }
    }
}

/// IEEE 754 binary16.
fn half(bits: u32) -> f64 {
    let (exponent, fraction) = ((bits >> 10) & 0x1f, f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent.cast_signed() - 25),
    };
    if bits & 0x8000 == 0 {
        magnitude
    } else {
        -magnitude
    }
}
