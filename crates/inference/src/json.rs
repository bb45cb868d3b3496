//! A pull parser for JSON, strict as RFC 8259, that builds nothing on the way.
//!
//! Requests are read straight into the numbers that a model wants. Messages and positions are those of orjson, the parser
//! of KServe's Python server.

use std::borrow::Cow;

/// Arrays and objects inside each other.
const DEPTH: usize = 128;

/// Where and why a text is no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JsonError {
    pub(crate) message: &'static str,
    /// Byte offset.
    pub(crate) at: usize,
}

impl JsonError {
    /// The message with its place, counted in characters.
    pub(crate) fn show(self, text: &str) -> String {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        format!(
            "{}: line {line} column {column} (char {})",
            self.message,
            before.chars().count()
        )
    }
}

/// A place in a text.
#[derive(Debug, Clone)]
pub(crate) struct Json<'t> {
    text: &'t str,
    at: usize,
    /// Whether numbers are those of Python's `json`: what is beyond a float is infinite, and three have names.
    python: bool,
}

/// Numbers of Python that JSON has not.
const NAMED: [(&str, f64); 3] = [
    ("NaN", f64::NAN),
    ("Infinity", f64::INFINITY),
    ("-Infinity", f64::NEG_INFINITY),
];

/// The kind of the next value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl<'t> Json<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            python: false,
        }
    }

    /// Reads what Python's `json` reads, with which KServe's server reads V2.
    pub(crate) fn python(text: &'t str) -> Self {
        Self {
            python: true,
            ..Self::new(text)
        }
    }

    /// Consumes nothing but white space; fails if no value follows.
    pub(crate) fn kind(&mut self) -> Result<Kind, JsonError> {
        self.space();
        match self.peek() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'n') => Ok(Kind::Null),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'N' | b'I') if self.named().is_some() => Ok(Kind::Number),
            Some(_) => Err(self.error("unexpected character, expected a JSON value")),
            None => Err(self.error("unexpected end of data")),
        }
    }

    /// Reads the elements of an array; `element` must consume one value each time.
    pub(crate) fn array<E>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<Result<(), E>, JsonError>,
    ) -> Result<Result<(), E>, JsonError> {
        self.open(b'[')?;
        if self.close(b']') {
            return Ok(Ok(()));
        }
        loop {
            self.kind()?;
            if let Err(error) = element(self)? {
                return Ok(Err(error));
            }
            if !self.another(b']', "unexpected character, expected ',' or ']'")? {
                return Ok(Ok(()));
            }
        }
    }

    /// Reads the members of an object; `member` must consume one value each time.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'t, str>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.open(b'{')?;
        if self.close(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            match self.peek() {
                Some(b'"') => {}
                Some(_) => return Err(self.error("unexpected character, expected a string key")),
                None => return Err(self.error("unexpected end of data")),
            }
            let key = self.string()?;
            self.space();
            match self.peek() {
                Some(b':') => self.at += 1,
                Some(_) => return Err(self.error("unexpected character, expected ':' after key")),
                None => return Err(self.error("unexpected end of data")),
            }
            self.kind()?;
            member(self, key)?;
            if !self.another(b'}', "unexpected character, expected ',' or '}'")? {
                return Ok(());
            }
        }
    }

    /// Consumes a value and returns its text.
    pub(crate) fn skip(&mut self) -> Result<&'t str, JsonError> {
        self.kind()?;
        let start = self.at;
        self.skip_within(DEPTH)?;
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn skip_within(&mut self, depth: usize) -> Result<(), JsonError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.error("Recursion limit reached"));
        };
        match self.kind()? {
            Kind::Null => self.literal("null"),
            Kind::Boolean => self.boolean().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::String => self.string().map(drop),
            Kind::Array => self
                .array(|json| json.skip_within(depth).map(Ok::<(), ()>))
                .map(drop),
            Kind::Object => self.object(|json, _| json.skip_within(depth)),
        }
    }

    /// The text between an earlier place and this one, without white space around it.
    pub(crate) fn since(&self, start: &Self) -> &'t str {
        self.text.get(start.at..self.at).unwrap_or_default().trim()
    }

    /// Fails if anything but white space is left.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(self.error("unexpected content after document"))
        }
    }

    pub(crate) fn literal(&mut self, word: &str) -> Result<(), JsonError> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        let short = word.as_bytes().starts_with(self.rest());
        Err(self.error(if short {
            "unexpected end of data"
        } else {
            "invalid literal"
        }))
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, JsonError> {
        let value = self.peek() == Some(b't');
        self.literal(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// Reads a number as the nearest float.
    pub(crate) fn number(&mut self) -> Result<f64, JsonError> {
        let start = self.at;
        if let Some((name, value)) = self.named() {
            self.at += name.len();
            return Ok(value);
        }
        let negative = self.take(b'-');
        let mut mantissa = 0_u64;
        let mut digits = 0_usize;
        let zero = self.peek() == Some(b'0');
        self.digits(&mut mantissa, &mut digits, "no digit after sign")?;
        if zero && digits > 1 {
            return Err(JsonError {
                message: "number with leading zero is not allowed",
                at: start,
            });
        }
        let mut fraction = 0_usize;
        if self.take(b'.') {
            self.digits(&mut mantissa, &mut fraction, "no digit after decimal point")?;
        }
        let exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            let _ = self.take(b'-') || self.take(b'+');
            self.digits(&mut 0, &mut 0, "no digit after exponent sign")?;
        }
        // Both are exact in double precision, so their quotient is rounded once (Clinger's fast path).
        if let (false, true, Some(power)) =
            (exponent, digits + fraction <= 15, POWERS.get(fraction))
        {
            let value = mantissa as f64 / power;
            return Ok(if negative { -value } else { value });
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() || self.python => Ok(value),
            _ => Err(JsonError {
                message: "number is infinity when parsed as double",
                at: start,
            }),
        }
    }

    fn named(&self) -> Option<(&'static str, f64)> {
        let here = |(name, _): &(&str, f64)| self.rest().starts_with(name.as_bytes());
        NAMED.into_iter().filter(|_| self.python).find(here)
    }

    fn digits(
        &mut self,
        mantissa: &mut u64,
        count: &mut usize,
        without: &'static str,
    ) -> Result<(), JsonError> {
        let before = *count;
        for byte in self.rest().iter().take_while(|byte| byte.is_ascii_digit()) {
            *mantissa = mantissa
                .wrapping_mul(10)
                .wrapping_add(u64::from(byte - b'0'));
            *count += 1;
        }
        self.at += *count - before;
        match self.peek() {
            _ if *count > before => Ok(()),
            None => Err(self.error("unexpected end of data")),
            Some(_) => Err(self.error(without)),
        }
    }

    /// Reads a string, borrowed unless it has escapes.
    pub(crate) fn string(&mut self) -> Result<Cow<'t, str>, JsonError> {
        self.at += 1;
        let start = self.at;
        let length = self
            .rest()
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
        self.at = length.map_or(self.text.len(), |length| start + length);
        match self.peek() {
            Some(b'"') => {
                let inner = self.text.get(start..self.at).unwrap_or_default();
                self.at += 1;
                Ok(Cow::Borrowed(inner))
            }
            Some(b'\\') => self.escaped(start),
            Some(_) => Err(self.error("unexpected control character in string")),
            None => Err(self.error("unexpected end of data")),
        }
    }

    /// A string with escapes, which are rare, is left to serde_json.
    fn escaped(&mut self, start: usize) -> Result<Cow<'t, str>, JsonError> {
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => {
                    self.at = self.text.len();
                    return Err(self.error("unexpected end of data"));
                }
            }
        }
        self.at += 1;
        let quoted = self
            .text
            .get(start.saturating_sub(1)..self.at)
            .unwrap_or_default();
        match serde_json::from_str::<String>(quoted) {
            Ok(text) => Ok(Cow::Owned(text)),
            Err(_) => Err(JsonError {
                message: "invalid escaped sequence in string",
                at: start,
            }),
        }
    }

    fn open(&mut self, bracket: u8) -> Result<(), JsonError> {
        if self.take(bracket) {
            Ok(())
        } else {
            Err(self.error("unexpected character, expected a JSON value"))
        }
    }

    fn close(&mut self, bracket: u8) -> bool {
        self.space();
        self.take(bracket)
    }

    /// Whether a comma follows, and not the closing bracket.
    fn another(&mut self, bracket: u8, message: &'static str) -> Result<bool, JsonError> {
        self.space();
        if self.take(b',') {
            self.space();
            if self.peek() == Some(bracket) {
                return Err(self.error("trailing comma is not allowed"));
            }
            return Ok(true);
        }
        match self.peek() {
            Some(byte) if byte == bracket => {
                self.at += 1;
                Ok(false)
            }
            Some(_) => Err(self.error(message)),
            None => Err(self.error("unexpected end of data")),
        }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn error(&self, message: &'static str) -> JsonError {
        JsonError {
            message,
            at: self.at.min(self.text.len()),
        }
    }
}

const POWERS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// The body as text, checked as orjson checks it.
pub(crate) fn text(body: &[u8]) -> Result<&str, String> {
    if body.is_empty() {
        return Err("Input is a zero-length, empty document: line 1 column 1 (char 0)".to_owned());
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(
            "UTF-8 byte order mark (BOM) is not supported: line 1 column 1 (char 0)".to_owned(),
        );
    }
    std::str::from_utf8(body).map_err(|_| {
        "str is not valid UTF-8: surrogates not allowed: line 1 column 1 (char 0)".to_owned()
    })
}

/// The text of a JSON value without the white space between its tokens, and with `null` for numbers that are not
/// finite: requests may hold `NaN` and `1e999`, answers are for readers of strict JSON.
pub(crate) fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => string_length(rest),
            ' ' | '\n' | '\r' | '\t' => {
                rest = rest.trim_start_matches([' ', '\n', '\r', '\t']);
                continue;
            }
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ => {
                let ends = |c: char| "{}[],:\" \n\r\t".contains(c);
                rest.find(ends).unwrap_or(rest.len())
            }
        };
        let (token, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        out.push_str(match token.parse::<f64>() {
            Ok(number) if !number.is_finite() => "null",
            _ => token,
        });
        rest = after;
    }
    out
}

/// Bytes of the string that a text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn what_is_echoed_is_strict_json() {
        for (text, expected) in [
            (
                r#" { "a b" : [ 1 , NaN, -Infinity,1e999 ] } "#,
                r#"{"a b":[1,null,null,null]}"#,
            ),
            (
                r#"["NaN", "\" ,", "\\", true]"#,
                r#"["NaN","\" ,","\\",true]"#,
            ),
            ("1e999", "null"),
            ("-1.5e-3", "-1.5e-3"),
            ("\"open", "\"open"),
        ] {
            assert_eq!(compact(text), expected);
        }
    }
}
