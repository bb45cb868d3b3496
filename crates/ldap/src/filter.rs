//! Filters of a search: read from a configuration (RFC 4515), written for a server (RFC 4511
//! section 4.5.1.7).

use std::fmt;

use crate::ber;

/// How deep filters may be nested, and how long their text may be.
const MAX_DEPTH: usize = 16;
const MAX_LENGTH: usize = 16 * 1024;

/// A condition on entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `(&…)`: all of them; of none, everything.
    And(Vec<Filter>),
    /// `(|…)`: any of them; of none, nothing.
    Or(Vec<Filter>),
    /// `(!…)`.
    Not(Box<Filter>),
    /// `(attribute=value)`: the value is what it is, whatever letters it has.
    Equal(String, Vec<u8>),
    /// `(attribute>=value)`.
    AtLeast(String, Vec<u8>),
    /// `(attribute<=value)`.
    AtMost(String, Vec<u8>),
    /// `(attribute~=value)`.
    About(String, Vec<u8>),
    /// `(attribute=*)`.
    Present(String),
    /// `(attribute=first*middle*last)`, each of which may be empty.
    Parts(String, Vec<Vec<u8>>),
    /// `(attribute:dn:rule:=value)`.
    Rule {
        /// The matching rule, such as `1.2.840.113556.1.4.803`.
        rule: Option<String>,
        /// The attribute.
        attribute: Option<String>,
        /// The value.
        value: Vec<u8>,
        /// Whether parts of the name count, too.
        dn: bool,
    },
}

/// Text that is no filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at letter {at}: {problem}")]
pub struct BadFilter {
    /// Where, in bytes.
    pub at: usize,
    /// What is wrong.
    pub problem: &'static str,
}

impl Filter {
    /// An attribute that has this value.
    #[must_use]
    pub fn equal(attribute: &str, value: &str) -> Self {
        Self::Equal(attribute.to_owned(), value.as_bytes().to_vec())
    }

    /// Reads the text of a filter.
    ///
    /// # Errors
    /// Where and why it is none.
    pub fn parse(text: &str) -> Result<Self, BadFilter> {
        let mut parser = Parser { text, at: 0 };
        if text.len() > MAX_LENGTH {
            return Err(parser.bad("expected at most 16 KiB"));
        }
        let filter = parser.filter(0)?;
        if parser.at < text.len() {
            return Err(parser.bad("expected the end"));
        }
        Ok(filter)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::And(all) => ber::element(out, 0xa0, |out| all.iter().for_each(|f| f.write(out))),
            Self::Or(any) => ber::element(out, 0xa1, |out| any.iter().for_each(|f| f.write(out))),
            Self::Not(inner) => ber::element(out, 0xa2, |out| inner.write(out)),
            Self::Equal(attribute, value) => assertion(out, 0xa3, attribute, value),
            Self::Parts(attribute, parts) => ber::element(out, 0xa4, |out| {
                ber::octets(out, ber::OCTETS, attribute.as_bytes());
                ber::element(out, ber::SEQUENCE, |out| {
                    let last = parts.len().saturating_sub(1);
                    for (index, part) in parts.iter().enumerate().filter(|(_, p)| !p.is_empty()) {
                        let tag = match index {
                            0 => 0x80,
                            index if index == last => 0x82,
                            _ => 0x81,
                        };
                        ber::octets(out, tag, part);
                    }
                });
            }),
            Self::AtLeast(attribute, value) => assertion(out, 0xa5, attribute, value),
            Self::AtMost(attribute, value) => assertion(out, 0xa6, attribute, value),
            Self::Present(attribute) => ber::octets(out, 0x87, attribute.as_bytes()),
            Self::About(attribute, value) => assertion(out, 0xa8, attribute, value),
            Self::Rule {
                rule,
                attribute,
                value,
                dn,
            } => ber::element(out, 0xa9, |out| {
                if let Some(rule) = rule {
                    ber::octets(out, 0x81, rule.as_bytes());
                }
                if let Some(attribute) = attribute {
                    ber::octets(out, 0x82, attribute.as_bytes());
                }
                ber::octets(out, 0x83, value);
                if *dn {
                    ber::octets(out, 0x84, &[0xff]);
                }
            }),
        }
    }
}

fn assertion(out: &mut Vec<u8>, tag: u8, attribute: &str, value: &[u8]) {
    ber::element(out, tag, |out| {
        ber::octets(out, ber::OCTETS, attribute.as_bytes());
        ber::octets(out, ber::OCTETS, value);
    });
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn bad(&self, problem: &'static str) -> BadFilter {
        BadFilter {
            at: self.at,
            problem,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8, problem: &'static str) -> Result<(), BadFilter> {
        if self.peek() != Some(byte) {
            return Err(self.bad(problem));
        }
        self.at += 1;
        Ok(())
    }

    fn filter(&mut self, depth: usize) -> Result<Filter, BadFilter> {
        if depth >= MAX_DEPTH {
            return Err(self.bad("nested too deep"));
        }
        self.take(b'(', "expected `(`")?;
        let filter = match self.peek() {
            Some(b'&') => Filter::And(self.list(depth)?),
            Some(b'|') => Filter::Or(self.list(depth)?),
            Some(b'!') => {
                self.at += 1;
                Filter::Not(Box::new(self.filter(depth + 1)?))
            }
            _ => self.item()?,
        };
        self.take(b')', "expected `)`")?;
        Ok(filter)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Filter>, BadFilter> {
        self.at += 1;
        let mut all = Vec::new();
        while self.peek() == Some(b'(') {
            all.push(self.filter(depth + 1)?);
        }
        Ok(all)
    }

    fn item(&mut self) -> Result<Filter, BadFilter> {
        let attribute = self.name()?;
        if attribute.is_empty() && self.peek() != Some(b':') {
            return Err(self.bad("expected an attribute"));
        }
        let wrap: fn(String, Vec<u8>) -> Filter = match self.peek() {
            Some(b'=') => {
                self.at += 1;
                return self.equality(attribute);
            }
            Some(b'>') => Filter::AtLeast,
            Some(b'<') => Filter::AtMost,
            Some(b'~') => Filter::About,
            Some(b':') => return self.rule(attribute),
            _ => return Err(self.bad("expected `=`, `>=`, `<=`, `~=` or `:=`")),
        };
        self.at += 1;
        self.take(b'=', "expected `=`")?;
        let (mut parts, _) = self.value()?;
        match (parts.pop(), parts.is_empty()) {
            (Some(value), true) => Ok(wrap(attribute, value)),
            _ => Err(self.bad("`*` stands for nothing here: write `\\2a`")),
        }
    }

    fn equality(&mut self, attribute: String) -> Result<Filter, BadFilter> {
        let (mut parts, stars) = self.value()?;
        Ok(match stars {
            0 => Filter::Equal(attribute, parts.pop().unwrap_or_default()),
            1 if parts.iter().all(Vec::is_empty) => Filter::Present(attribute),
            _ if parts.iter().all(Vec::is_empty) => {
                return Err(self.bad("expected something between `*`"));
            }
            _ => Filter::Parts(attribute, parts),
        })
    }

    fn rule(&mut self, attribute: String) -> Result<Filter, BadFilter> {
        let mut dn = false;
        let mut rule = None;
        loop {
            self.take(b':', "expected `:=`")?;
            if self.peek() == Some(b'=') {
                self.at += 1;
                break;
            }
            match self.name()? {
                word if word.eq_ignore_ascii_case("dn") && !dn && rule.is_none() => dn = true,
                word if !word.is_empty() && rule.is_none() => rule = Some(word),
                _ => return Err(self.bad("expected a matching rule")),
            }
        }
        if attribute.is_empty() && rule.is_none() {
            return Err(self.bad("expected an attribute or a matching rule"));
        }
        let (mut parts, stars) = self.value()?;
        if stars > 0 {
            return Err(self.bad("`*` stands for nothing here: write `\\2a`"));
        }
        Ok(Filter::Rule {
            rule,
            attribute: (!attribute.is_empty()).then_some(attribute),
            value: parts.pop().unwrap_or_default(),
            dn,
        })
    }

    /// An attribute with its options, or a rule.
    fn name(&mut self) -> Result<String, BadFilter> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b';' | b'_'))
        {
            self.at += 1;
        }
        let name = self.text.get(start..self.at);
        Ok(name.ok_or_else(|| self.bad("expected a name"))?.to_owned())
    }

    /// A value up to `)`: what stands between its `*`, and how many of these there are.
    fn value(&mut self) -> Result<(Vec<Vec<u8>>, usize), BadFilter> {
        let mut parts = vec![Vec::new()];
        loop {
            let byte = self.peek().ok_or_else(|| self.bad("expected `)`"))?;
            match byte {
                b')' => break,
                b'(' | 0 => return Err(self.bad("write `\\28` for `(` in a value")),
                b'*' => {
                    self.at += 1;
                    parts.push(Vec::new());
                    continue;
                }
                _ => {}
            }
            let value = if byte == b'\\' {
                let digits = self.text.get(self.at + 1..self.at + 3);
                // Numbers may have a sign, and digits may not.
                let digits = digits.filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
                let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                self.at = (self.at + 2).min(self.text.len());
                value.ok_or_else(|| self.bad("expected two hexadecimal digits after `\\`"))?
            } else {
                byte
            };
            self.at += 1;
            if let Some(part) = parts.last_mut() {
                part.push(value);
            }
        }
        let stars = parts.len() - 1;
        Ok((parts, stars))
    }
}

/// As it is written in configurations and logs.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, sign: &str, all: &[Self]| {
            write!(f, "({sign}")?;
            all.iter().try_for_each(|filter| write!(f, "{filter}"))?;
            f.write_str(")")
        };
        match self {
            Self::And(all) => list(f, "&", all),
            Self::Or(any) => list(f, "|", any),
            Self::Not(inner) => write!(f, "(!{inner})"),
            Self::Equal(attribute, value) => write!(f, "({attribute}={})", escaped(value)),
            Self::AtLeast(attribute, value) => write!(f, "({attribute}>={})", escaped(value)),
            Self::AtMost(attribute, value) => write!(f, "({attribute}<={})", escaped(value)),
            Self::About(attribute, value) => write!(f, "({attribute}~={})", escaped(value)),
            Self::Present(attribute) => write!(f, "({attribute}=*)"),
            Self::Parts(attribute, parts) => {
                let parts: Vec<String> = parts.iter().map(|part| escaped(part)).collect();
                write!(f, "({attribute}={})", parts.join("*"))
            }
            Self::Rule {
                rule,
                attribute,
                value,
                dn,
            } => {
                write!(f, "({}", attribute.as_deref().unwrap_or_default())?;
                f.write_str(if *dn { ":dn" } else { "" })?;
                if let Some(rule) = rule {
                    write!(f, ":{rule}")?;
                }
                write!(f, ":={})", escaped(value))
            }
        }
    }
}

/// RFC 4515 section 3: what is syntax, or not printable, as two hexadecimal digits.
fn escaped(value: &[u8]) -> String {
    let mut text = String::new();
    for byte in value {
        match byte {
            b'(' | b')' | b'*' | b'\\' => text.push_str(&format!("\\{byte:02x}")),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\{byte:02x}")),
        }
    }
    text
}
