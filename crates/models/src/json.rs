//! JSON as XGBoost and Python write it: with `NaN` and `Infinity`.

use crate::document::{Growing, Source, Value};

/// # Errors
/// Text that is no JSON, or more of it than allowed.
pub(crate) fn read(source: &mut Source<'_>) -> Result<Value, String> {
    let value = value(source, source.depth())?;
    skip(source);
    match source.peek() {
        None => Ok(value),
        Some(_) => Err("expected the end of the file".to_owned()),
    }
}

fn skip(source: &mut Source<'_>) {
    while matches!(source.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        let _ = source.byte();
    }
}

fn value(source: &mut Source<'_>, depth: usize) -> Result<Value, String> {
    let deeper = depth.checked_sub(1).ok_or("too deeply nested")?;
    skip(source);
    match source.peek() {
        Some(b'{') => object(source, deeper),
        Some(b'[') => list(source, deeper),
        Some(b'"') => {
            source.pay()?;
            text(source).map(Value::Text)
        }
        Some(_) => word(source),
        None => Err("the file ends early".to_owned()),
    }
}

fn object(source: &mut Source<'_>, depth: usize) -> Result<Value, String> {
    source.pay()?;
    source.byte()?;
    let mut entries = Vec::new();
    skip(source);
    if source.peek() == Some(b'}') {
        source.byte()?;
        return Ok(Value::Object(entries));
    }
    loop {
        skip(source);
        if source.peek() != Some(b'"') {
            return Err("expected a name".to_owned());
        }
        source.pay()?;
        let key = text(source)?;
        skip(source);
        if source.byte()? != b':' {
            return Err("expected `:`".to_owned());
        }
        entries.push((key, value(source, depth)?));
        skip(source);
        match source.byte()? {
            b',' => {}
            b'}' => return Ok(Value::Object(entries)),
            _ => return Err("expected `,` or `}`".to_owned()),
        }
    }
}

fn list(source: &mut Source<'_>, depth: usize) -> Result<Value, String> {
    source.pay()?;
    source.byte()?;
    let mut values = Growing::default();
    skip(source);
    if source.peek() == Some(b']') {
        source.byte()?;
        return Ok(values.finish());
    }
    loop {
        let value = value(source, depth)?;
        values.push(value, source)?;
        skip(source);
        match source.byte()? {
            b',' => {}
            b']' => return Ok(values.finish()),
            _ => return Err("expected `,` or `]`".to_owned()),
        }
    }
}

fn word(source: &mut Source<'_>) -> Result<Value, String> {
    let mut word = String::new();
    while let Some(byte) = source.peek() {
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')) || word.len() > 64
        {
            break;
        }
        word.push(char::from(byte));
        source.byte()?;
    }
    let number = match word.as_str() {
        "null" => return Ok(Value::Null),
        "true" => 1.0,
        "false" => 0.0,
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        word if word.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            word.parse().map_err(|_| "expected a number")?
        }
        _ => return Err("expected a value".to_owned()),
    };
    Ok(Value::Number(number))
}

fn text(source: &mut Source<'_>) -> Result<String, String> {
    source.byte()?;
    let mut bytes = Vec::new();
    loop {
        match source.byte()? {
            b'"' => return String::from_utf8(bytes).map_err(|_| "text is not UTF-8".to_owned()),
            b'\\' => {
                let escaped = match source.byte()? {
                    b'n' => '\n',
                    b't' => '\t',
                    b'r' => '\r',
                    b'b' => '\u{8}',
                    b'f' => '\u{c}',
                    b'u' => unicode(source)?,
                    other @ (b'"' | b'\\' | b'/') => char::from(other),
                    _ => return Err("an unknown escape".to_owned()),
                };
                let mut buffer = [0; 4];
                bytes.extend_from_slice(escaped.encode_utf8(&mut buffer).as_bytes());
            }
            byte => bytes.push(byte),
        }
    }
}

fn unicode(source: &mut Source<'_>) -> Result<char, String> {
    let first = code(source)?;
    // Python writes what is beyond 16 bits as a pair.
    let point = if (0xd800..0xdc00).contains(&first) {
        if source.take(2)? != b"\\u" {
            return Err("half of a character".to_owned());
        }
        let second = code(source)?.wrapping_sub(0xdc00);
        0x1_0000 + ((first - 0xd800) << 10) + (second & 0x3ff)
    } else {
        first
    };
    Ok(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn code(source: &mut Source<'_>) -> Result<u32, String> {
    let digits: [u8; 4] = source.array()?;
    let digits = std::str::from_utf8(&digits).map_err(|_| "an unknown escape")?;
    u32::from_str_radix(digits, 16).map_err(|_| "an unknown escape".to_owned())
}
