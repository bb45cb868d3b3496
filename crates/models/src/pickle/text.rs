//! The textual arguments of protocol 0.

use super::Node;
use std::borrow::Cow;

/// The argument of `INT`, where `00` and `01` are the truth values, and of `LONG`, which may end in `L`.
pub(super) fn integer<'a>(line: &str) -> Option<Node<'a>> {
    match line {
        "00" => return Some(Node::Bool(false)),
        "01" => return Some(Node::Bool(true)),
        _ => {}
    }
    let digits = line.strip_suffix('L').unwrap_or(line);
    if let Ok(value) = digits.parse() {
        return Some(Node::Int(value));
    }
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    (!unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()))
        .then_some(Node::BigInt)
}

/// The argument of `FLOAT`.
pub(super) fn float(line: &str) -> Option<f64> {
    line.trim().parse().ok()
}

/// The argument of `STRING`: a quoted Python literal.
pub(super) fn quoted(line: &[u8]) -> Option<Vec<u8>> {
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return None,
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'x' => out.push(u8::try_from(hex(&mut bytes, 2)?).ok()?),
            other => out.push(other),
        }
    }
    Some(out)
}

/// The argument of `UNICODE`: Python's raw-unicode-escape, where only `\u` and `\U` escape and bytes are Latin-1.
pub(super) fn raw_unicode<'a>(line: &[u8]) -> Option<Cow<'a, str>> {
    let mut out = String::with_capacity(line.len());
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let width = match (byte, ahead.next()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                out.push(char::from(byte));
                continue;
            }
        };
        out.push(char::from_u32(hex(&mut ahead, width)?)?);
        bytes = ahead;
    }
    Some(Cow::Owned(out))
}

fn hex(bytes: &mut impl Iterator<Item = u8>, width: usize) -> Option<u32> {
    let mut value = 0_u32;
    for _ in 0..width {
        value = (value << 4) | char::from(bytes.next()?).to_digit(16)?;
    }
    Some(value)
}
