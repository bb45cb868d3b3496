//! The wire format of protocol buffers, read without copying: <https://protobuf.dev/programming-guides/encoding>.

/// A field's value as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'b> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'b [u8]),
}

/// What is left of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'b>(pub(super) &'b [u8]);

impl<'b> Fields<'b> {
    /// The number and value of the next field; `None` at the end.
    ///
    /// # Errors
    /// The message ends early or is none.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'b>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0);
        let number = number.ok_or("expected the number of a field")?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.array()?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| EARLY)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(EARLY)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(self.array()?),
            _ => return Err("expected a field of a known type".to_owned()),
        };
        Ok(Some((number, value)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(EARLY)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(EARLY)?;
            self.0 = rest;
            let part = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("expected a number of at most 64 bits".to_owned())
    }
}

const EARLY: &str = "the file ends early";

impl<'b> Value<'b> {
    pub(super) fn bytes(self) -> Result<&'b [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err("expected bytes, found a number".to_owned()),
        }
    }

    pub(super) fn text(self) -> Result<&'b str, String> {
        str::from_utf8(self.bytes()?).map_err(|_| "expected text in UTF-8".to_owned())
    }

    pub(super) fn number(self) -> Result<i64, String> {
        match self {
            Self::Varint(value) => Ok(value.cast_signed()),
            _ => Err("expected a whole number".to_owned()),
        }
    }

    pub(super) fn float(self) -> Result<f32, String> {
        match self {
            Self::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err("expected a float".to_owned()),
        }
    }

    /// Whole numbers of a repeated field, packed or not, added to `all`.
    pub(super) fn numbers(self, all: &mut Vec<i64>) -> Result<(), String> {
        match self {
            Self::Bytes(packed) => {
                let mut packed = Fields(packed);
                while !packed.0.is_empty() {
                    all.push(packed.varint()?.cast_signed());
                }
            }
            other => all.push(other.number()?),
        }
        Ok(())
    }

    /// Floats of a repeated field, packed or not, added to `all`.
    pub(super) fn floats(self, all: &mut Vec<f32>) -> Result<(), String> {
        match self {
            Self::Bytes(packed) => {
                let (chunks, rest) = packed.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err("expected floats of four bytes".to_owned());
                }
                all.extend(chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            }
            other => all.push(other.float()?),
        }
        Ok(())
    }

    /// Doubles of a repeated field, packed or not, added to `all`.
    pub(super) fn doubles(self, all: &mut Vec<f64>) -> Result<(), String> {
        match self {
            Self::Bytes(packed) => {
                let (chunks, rest) = packed.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err("expected doubles of eight bytes".to_owned());
                }
                all.extend(chunks.iter().map(|bytes| f64::from_le_bytes(*bytes)));
            }
            Self::Fixed64(bytes) => all.push(f64::from_le_bytes(bytes)),
            _ => return Err("expected a double".to_owned()),
        }
        Ok(())
    }
}
