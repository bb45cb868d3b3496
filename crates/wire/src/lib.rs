//! The wire format of protocol buffers: fields with numbers, read and written without generated code.
//!
//! <https://protobuf.dev/programming-guides/encoding>. Fields that nobody knows are skipped, the last of a single field
//! counts, and numbers of a repeated field come packed or one by one.

pub mod framing;

use bytes::{Buf, Bytes};

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// A field's value as it is sent.
#[derive(Debug, Clone)]
pub enum Value {
    /// Whole numbers and truth values.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Four bytes.
    Fixed32(u32),
    /// Text, bytes, messages and packed numbers.
    Bytes(Bytes),
}

/// A type that is read field by field.
pub trait Decode: Default {
    /// Takes one field, or leaves it if its number is unknown.
    ///
    /// # Errors
    /// The field is there but not of its type.
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed>;

    /// Reads a whole message.
    ///
    /// # Errors
    /// It ends early, or a field is not of its type.
    fn decode(message: Bytes) -> Result<Self, Malformed> {
        let mut decoded = Self::default();
        for field in Fields::of(&message) {
            let (number, field) = field?;
            let value = match field {
                Field::Varint(value) => Value::Varint(value),
                Field::Fixed64(bits) => Value::Fixed64(bits),
                Field::Fixed32(bits) => Value::Fixed32(bits),
                Field::Bytes(bytes) => Value::Bytes(message.slice_ref(bytes)),
            };
            decoded.field(number, value)?;
        }
        Ok(decoded)
    }
}

/// A field's value where it lies.
#[derive(Debug, Clone, Copy)]
pub enum Field<'a> {
    /// Whole numbers and truth values.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Four bytes.
    Fixed32(u32),
    /// Text, bytes, messages and packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    /// Bytes as they are, a message for example.
    ///
    /// # Errors
    /// The field is a number.
    pub fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    /// Text.
    ///
    /// # Errors
    /// The field is a number, or the bytes are not UTF-8.
    pub fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    /// A whole number of 64 bits; negative ones in two's complement.
    ///
    /// # Errors
    /// The field is something else.
    pub fn number(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(Malformed),
        }
    }
}

/// The fields of a message with their numbers, in the order in which they were sent. Ends with an
/// error where it is none.
#[derive(Debug, Clone)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Those of that message.
    pub fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn next_field(&mut self) -> Result<(u32, Field<'a>), Malformed> {
        let rest = &mut self.0;
        let key = varint(rest)?;
        let number = u32::try_from(key >> 3).map_err(|_| Malformed)?;
        if number == 0 {
            return Err(Malformed);
        }
        let field = match key & 7 {
            0 => Field::Varint(varint(rest)?),
            1 => Field::Fixed64(rest.try_get_u64_le().map_err(|_| Malformed)?),
            2 => {
                let length = usize::try_from(varint(rest)?).map_err(|_| Malformed)?;
                let (bytes, after) = rest.split_at_checked(length).ok_or(Malformed)?;
                *rest = after;
                Field::Bytes(bytes)
            }
            5 => Field::Fixed32(rest.try_get_u32_le().map_err(|_| Malformed)?),
            // Groups are gone since proto3.
            _ => return Err(Malformed),
        };
        Ok((number, field))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.next_field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn varint(bytes: &mut impl Buf) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().map_err(|_| Malformed)?;
        let part = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if shift == 63 && part > 1 {
            return Err(Malformed);
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

impl Value {
    /// Bytes as they are.
    ///
    /// # Errors
    /// The field is a number.
    pub fn bytes(self) -> Result<Bytes, Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    /// Text.
    ///
    /// # Errors
    /// The field is a number, or the bytes are not UTF-8.
    pub fn text(self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Malformed)
    }

    /// A message inside.
    ///
    /// # Errors
    /// The field is a number, or the bytes are no such message.
    pub fn message<M: Decode>(self) -> Result<M, Malformed> {
        M::decode(self.bytes()?)
    }

    /// A whole number of 64 bits; negative ones in two's complement.
    ///
    /// # Errors
    /// The field is something else.
    pub fn number(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(Malformed),
        }
    }

    /// Whole numbers of a repeated field, added to `all`.
    ///
    /// # Errors
    /// The field is something else.
    pub fn numbers<T>(self, all: &mut Vec<T>, from: impl Fn(u64) -> T) -> Result<(), Malformed> {
        match self {
            Self::Varint(value) => all.push(from(value)),
            Self::Bytes(mut packed) => {
                while packed.has_remaining() {
                    all.push(from(varint(&mut packed)?));
                }
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    /// Single precision floats of a repeated field, added to `all`.
    ///
    /// # Errors
    /// The field is something else.
    pub fn floats(self, all: &mut Vec<f32>) -> Result<(), Malformed> {
        match self {
            Self::Fixed32(bits) => all.push(f32::from_bits(bits)),
            Self::Bytes(packed) => {
                let (chunks, rest) = packed.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(Malformed);
                }
                all.extend(chunks.iter().map(|bits| f32::from_le_bytes(*bits)));
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    /// Double precision floats of a repeated field, added to `all`.
    ///
    /// # Errors
    /// The field is something else.
    pub fn doubles(self, all: &mut Vec<f64>) -> Result<(), Malformed> {
        match self {
            Self::Fixed64(bits) => all.push(f64::from_bits(bits)),
            Self::Bytes(packed) => {
                let (chunks, rest) = packed.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(Malformed);
                }
                all.extend(chunks.iter().map(|bits| f64::from_le_bytes(*bits)));
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }
}

/// A message under construction. Values that are the default of their type are left out, as proto3 does.
#[derive(Debug, Default)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// One with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// The message.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, number: u32, kind: u32) {
        self.varint(u64::from(number << 3 | kind));
    }

    /// A field of a message, of repeated text or of a oneof, which is there even if it is empty.
    #[must_use]
    pub fn always(mut self, number: u32, bytes: &[u8]) -> Self {
        self.key(number, 2);
        self.varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(bytes);
        self
    }

    /// A message inside, which is there even if it is empty. `write` adds its fields, in the same buffer.
    #[must_use]
    pub fn message(mut self, number: u32, write: impl FnOnce(Self) -> Self) -> Self {
        self.key(number, 2);
        let at = self.0.len();
        // Most are short, and have their length in one byte.
        self.0.push(0);
        let Self(mut all) = write(self);
        let length = all.len() - at - 1;
        match (u8::try_from(length), all.get_mut(at)) {
            (Ok(length @ 0..0x80), Some(place)) => *place = length,
            _ => {
                let mut prefix = Self::default();
                prefix.varint(u64::try_from(length).unwrap_or(u64::MAX));
                all.splice(at..=at, prefix.0);
            }
        }
        Self(all)
    }

    /// Text, or bytes.
    #[must_use]
    pub fn bytes(self, number: u32, bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            self
        } else {
            self.always(number, bytes)
        }
    }

    /// A whole number or truth value; negative ones in two's complement.
    #[must_use]
    pub fn number(mut self, number: u32, value: u64) -> Self {
        if value != 0 {
            self.key(number, 0);
            self.varint(value);
        }
        self
    }

    /// A number of a oneof, which is there even if it is zero.
    #[must_use]
    pub fn choice(mut self, number: u32, value: u64) -> Self {
        self.key(number, 0);
        self.varint(value);
        self
    }

    /// Packed whole numbers.
    #[must_use]
    pub fn numbers(self, number: u32, values: impl IntoIterator<Item = u64>) -> Self {
        let mut packed = Self::default();
        values.into_iter().for_each(|value| packed.varint(value));
        self.bytes(number, &packed.0)
    }

    /// Packed single precision floats.
    #[must_use]
    pub fn floats(self, number: u32, values: &[f32]) -> Self {
        let mut packed = Vec::with_capacity(values.len() * 4);
        for value in values {
            packed.extend_from_slice(&value.to_le_bytes());
        }
        self.bytes(number, &packed)
    }

    /// Packed double precision floats.
    #[must_use]
    pub fn doubles(self, number: u32, values: &[f64]) -> Self {
        let mut packed = Vec::with_capacity(values.len() * 8);
        for value in values {
            packed.extend_from_slice(&value.to_le_bytes());
        }
        self.bytes(number, &packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Sample {
        numbers: Vec<i64>,
        text: String,
        doubles: Vec<f64>,
    }

    impl Decode for Sample {
        fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
            match number {
                1 => value.numbers(&mut self.numbers, u64::cast_signed)?,
                2 => self.text = value.text()?,
                7 => value.doubles(&mut self.doubles)?,
                _ => {}
            }
            Ok(())
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let message = Encoder::default()
            .numbers(1, [0, 1, 300, (-1_i64).cast_unsigned()])
            .bytes(2, "ä".as_bytes())
            .number(3, 9)
            .doubles(7, &[0.5, -0.0])
            .finish();
        let sample = Sample::decode(message.clone().into()).unwrap();
        assert_eq!(
            sample,
            Sample {
                numbers: vec![0, 1, 300, -1],
                text: "ä".to_owned(),
                doubles: vec![0.5, -0.0],
            }
        );
        // Cut anywhere, it is no message or a shorter one, and nothing worse.
        for length in 0..message.len() {
            let cut = Bytes::copy_from_slice(&message[..length]);
            drop(Sample::decode(cut));
        }
    }

    #[test]
    fn a_message_inside_is_the_same_in_one_buffer() {
        for length in [0, 1, 126, 127, 128, 129, 16_383, 16_384, 70_000] {
            let text = "x".repeat(length);
            let inner = |encoder: Encoder| encoder.number(7, 300).bytes(2, text.as_bytes());
            let inside = inner(Encoder::default()).finish();
            let twice = Encoder::default().always(3, &inside).finish();
            let expected = Encoder::default()
                .number(1, 9)
                .always(4, &twice)
                .number(5, 1);
            let found = Encoder::with_capacity(8)
                .number(1, 9)
                .message(4, |outer| outer.message(3, inner))
                .number(5, 1);
            assert_eq!(found.finish(), expected.finish(), "{length}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [
            &b"\x08"[..],                                     // a number without its value
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",  // a number of 65 bits
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a", // a length beyond everything
            b"\x12\x02a",                                     // a length that lies
            b"\x10\x01",                                      // a number where text belongs
            b"\x12\x01\xff",                                  // text that is not UTF-8
            b"\x3a\x03abc",                                   // packed doubles of three bytes
            b"\x0b",                                          // a group
            b"\x00\x01",                                      // the field 0
        ] {
            assert_eq!(
                Sample::decode(Bytes::from_static(bytes)),
                Err(Malformed),
                "{bytes:?}"
            );
        }
    }
}
