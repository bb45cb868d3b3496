//! The part of BER that LDAP uses (RFC 4511 section 5.1): definite lengths, tags of one byte.

use crate::Error;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Writes one element around what `content` writes.
pub(crate) fn element(out: &mut Vec<u8>, tag: u8, content: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    content(&mut inner);
    out.push(tag);
    length(out, inner.len());
    out.append(&mut inner);
}

pub(crate) fn octets(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// A number that is not negative.
pub(crate) fn number(out: &mut Vec<u8>, tag: u8, number: u32) {
    let bytes = number.to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(3);
    let mut digits = bytes.get(first..).unwrap_or_default().to_vec();
    if digits.first().is_some_and(|byte| *byte >= 0x80) {
        digits.insert(0, 0);
    }
    octets(out, tag, &digits);
}

fn length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = (length as u64).to_be_bytes();
            let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(7);
            let digits = bytes.get(first..).unwrap_or_default();
            out.push(0x80 | digits.len() as u8);
            out.extend_from_slice(digits);
        }
    }
}

/// Elements that follow each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

const SHORT: Error = Error::Malformed("an element ends early");

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is.
    pub(crate) fn next(&mut self) -> Result<(u8, &'a [u8]), Error> {
        let (head, length) = header(self.rest)?.ok_or(SHORT)?;
        let tag = self.rest.first().copied().ok_or(SHORT)?;
        let (_, body) = self.rest.split_at_checked(head).ok_or(SHORT)?;
        let (content, rest) = body.split_at_checked(length).ok_or(SHORT)?;
        self.rest = rest;
        Ok((tag, content))
    }

    /// The content of the next element, which has to have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<&'a [u8], Error> {
        match self.next()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Error::Malformed("an element of another kind")),
        }
    }

    pub(crate) fn number(&mut self, tag: u8) -> Result<u32, Error> {
        let content = self.expect(tag)?;
        if content.is_empty() || content.len() > 5 || content.first().is_some_and(|b| *b >= 0x80) {
            return Err(Error::Malformed("a number out of range"));
        }
        let value = content
            .iter()
            .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        u32::try_from(value).map_err(|_| Error::Malformed("a number out of range"))
    }
}

/// Lengths of the header and of the content of the element that begins here; `None` when there is
/// too little of it to say.
pub(crate) fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>, Error> {
    let (Some(tag), Some(first)) = (bytes.first(), bytes.get(1)) else {
        return Ok(None);
    };
    if tag & 0x1f == 0x1f {
        return Err(Error::Malformed("a tag of several bytes"));
    }
    if *first < 0x80 {
        return Ok(Some((2, usize::from(*first))));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return Err(Error::Malformed("a length of another form"));
    }
    let Some(digits) = bytes.get(2..2 + count) else {
        return Ok(None);
    };
    let length = digits
        .iter()
        .fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
    Ok(Some((2 + count, length)))
}
