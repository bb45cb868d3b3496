//! Messages of RFC 4511 section 4.

use crate::Error;
use crate::ber::{self, Reader};

/// What a search finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The distinguished name.
    pub dn: String,
    /// Attributes with their values, as far as these are UTF-8.
    pub attributes: Vec<(String, Vec<String>)>,
}

impl Entry {
    /// The values of an attribute, whose name is compared without case. `dn` is the name of the
    /// entry, unless there is an attribute of that name.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        let mut found = self
            .attributes
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .flat_map(|(_, values)| values.iter().map(String::as_str))
            .peekable();
        if found.peek().is_none() && name.eq_ignore_ascii_case("dn") {
            return vec![&self.dn];
        }
        found.collect()
    }

    /// The first value of an attribute that is not empty.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name)
            .into_iter()
            .find(|value| !value.is_empty())
    }
}

/// What a server answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Bound(Done),
    Entry(Entry),
    /// Where else something may be, which is not followed.
    Reference,
    Searched(Done),
    Extended(Done),
    /// The server ends the connection (section 4.4.1).
    Disconnected(Done),
    Other,
}

/// `LDAPResult`.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: u32,
    pub(crate) message: String,
}

impl Done {
    pub(crate) fn success(self) -> Result<(), Error> {
        match self.code {
            0 => Ok(()),
            code => Err(Error::Refused {
                code,
                message: self.message,
            }),
        }
    }
}

/// A whole `LDAPMessage`: its id and what it says.
pub(crate) fn read(bytes: &[u8]) -> Result<(u32, Answer), Error> {
    let mut outer = Reader::new(bytes);
    let mut message = Reader::new(outer.expect(ber::SEQUENCE)?);
    let id = message.number(ber::INTEGER)?;
    let (tag, content) = message.next()?;
    let answer = match tag {
        0x61 => Answer::Bound(done(content)?),
        0x64 => Answer::Entry(entry(content)?),
        0x65 => Answer::Searched(done(content)?),
        0x73 => Answer::Reference,
        0x78 if id == 0 => Answer::Disconnected(done(content)?),
        0x78 => Answer::Extended(done(content)?),
        _ => Answer::Other,
    };
    Ok((id, answer))
}

fn done(content: &[u8]) -> Result<Done, Error> {
    let mut reader = Reader::new(content);
    let code = reader.number(ber::ENUMERATED)?;
    reader.expect(ber::OCTETS)?;
    let message = reader.expect(ber::OCTETS)?;
    let printable = String::from_utf8_lossy(message)
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    Ok(Done {
        code,
        message: printable,
    })
}

fn entry(content: &[u8]) -> Result<Entry, Error> {
    let mut reader = Reader::new(content);
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec());
        text.map_err(|_| Error::Malformed("a name that is not UTF-8"))
    };
    let dn = text(reader.expect(ber::OCTETS)?)?;
    let mut list = Reader::new(reader.expect(ber::SEQUENCE)?);
    let mut attributes = Vec::new();
    while !list.is_empty() {
        let mut attribute = Reader::new(list.expect(ber::SEQUENCE)?);
        let name = text(attribute.expect(ber::OCTETS)?)?;
        let mut set = Reader::new(attribute.expect(ber::SET)?);
        let mut values = Vec::new();
        while !set.is_empty() {
            // Pictures and the like are no text, and nothing here asks for them.
            if let Ok(value) = String::from_utf8(set.expect(ber::OCTETS)?.to_vec()) {
                values.push(value);
            }
        }
        attributes.push((name, values));
    }
    Ok(Entry { dn, attributes })
}
