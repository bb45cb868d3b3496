//! Universal Binary JSON (draft 12, ubjson.org), big-endian, with the typed lists that XGBoost writes.

use crate::document::{self, DEPTH, Growing, Source, Value};

/// # Errors
/// Bytes that are no UBJSON, or more of it than allowed.
pub(crate) fn read(source: &mut Source<'_>) -> Result<Value, String> {
    let tag = source.byte()?;
    let value = value(source, tag, DEPTH)?;
    match source.left() {
        0 => Ok(value),
        _ => Err("expected the end of the file".to_owned()),
    }
}

fn value(source: &mut Source<'_>, tag: u8, depth: usize) -> Result<Value, String> {
    let deeper = depth.checked_sub(1).ok_or("too deeply nested")?;
    match tag {
        b'{' => object(source, deeper),
        b'[' => list(source, deeper),
        b'S' => {
            source.pay()?;
            text(source).map(Value::Text)
        }
        b'C' => Ok(Value::Text(char::from(source.byte()?).to_string())),
        b'Z' => Ok(Value::Null),
        b'T' => Ok(Value::Number(1.0)),
        b'F' => Ok(Value::Number(0.0)),
        tag => number(source, tag).map(Value::Number),
    }
}

fn number(source: &mut Source<'_>, tag: u8) -> Result<f64, String> {
    Ok(match tag {
        b'i' => f64::from(i8::from_be_bytes(source.array()?)),
        b'U' => f64::from(source.byte()?),
        b'I' => f64::from(i16::from_be_bytes(source.array()?)),
        b'l' => f64::from(i32::from_be_bytes(source.array()?)),
        b'L' => i64::from_be_bytes(source.array()?) as f64,
        b'd' => f64::from(f32::from_be_bytes(source.array()?)),
        b'D' => f64::from_be_bytes(source.array()?),
        other => return Err(format!("an unknown type {other:#04x}")),
    })
}

fn length(source: &mut Source<'_>) -> Result<usize, String> {
    let tag = source.byte()?;
    if matches!(tag, b'd' | b'D') {
        return Err("expected a length".to_owned());
    }
    document::whole(number(source, tag)?).ok_or_else(|| "expected a length".to_owned())
}

fn text(source: &mut Source<'_>) -> Result<String, String> {
    let length = length(source)?;
    let bytes = source.take(length)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| "text is not UTF-8".to_owned())
}

fn object(source: &mut Source<'_>, depth: usize) -> Result<Value, String> {
    source.pay()?;
    let mut entries = Vec::new();
    if matches!(source.peek(), Some(b'$' | b'#')) {
        return Err("an object with a length, which XGBoost does not write".to_owned());
    }
    while source.peek() != Some(b'}') {
        source.pay()?;
        let key = text(source)?;
        let tag = source.byte()?;
        entries.push((key, value(source, tag, depth)?));
    }
    source.byte()?;
    Ok(Value::Object(entries))
}

fn list(source: &mut Source<'_>, depth: usize) -> Result<Value, String> {
    source.pay()?;
    let tag = match source.peek() {
        Some(b'$') => {
            source.byte()?;
            Some(source.byte()?)
        }
        _ => None,
    };
    let count = match source.peek() {
        Some(b'#') => {
            source.byte()?;
            Some(length(source)?)
        }
        _ if tag.is_some() => return Err("expected a length".to_owned()),
        _ => None,
    };
    let mut values = Growing::default();
    match (tag, count) {
        (Some(tag), Some(count)) => {
            // Types without bytes would let a few bytes stand for any number of values.
            if !matches!(tag, b'i' | b'U' | b'I' | b'l' | b'L' | b'd' | b'D')
                || count > source.left()
            {
                return Err("a list that is longer than the file".to_owned());
            }
            for _ in 0..count {
                let number = number(source, tag)?;
                values.push(Value::Number(number), source)?;
            }
        }
        (_, Some(count)) => {
            for _ in 0..count {
                let tag = source.byte()?;
                let value = value(source, tag, depth)?;
                values.push(value, source)?;
            }
        }
        (_, None) => loop {
            match source.byte()? {
                b']' => break,
                tag => {
                    let value = value(source, tag, depth)?;
                    values.push(value, source)?;
                }
            }
        },
    }
    Ok(values.finish())
}
