//! A place in the log.

use aws_lc_rs::rand;

use crate::Error;

/// A transaction of the log: its number, and a name that only its author could give it. After Redis
/// has lost the end of the log, another transaction may have the same number.
///
/// All of one state have the same birth: a Redis that was emptied and filled anew has another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Position {
    pub(crate) schema: u64,
    pub(crate) number: u64,
    birth: u128,
    name: u128,
}

impl Position {
    /// Before the first transaction.
    pub(crate) fn start(schema: u64) -> Self {
        Self {
            schema,
            number: 0,
            birth: 0,
            name: 0,
        }
    }

    /// The one after this, written by a version with this schema.
    pub(crate) fn next(&self, schema: u64) -> Result<Self, Error> {
        Ok(Self {
            schema,
            number: self.number.saturating_add(1),
            birth: if self.is_start() {
                random()?
            } else {
                self.birth
            },
            name: random()?,
        })
    }

    /// Whether both can be of one state.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        self.is_start() || other.is_start() || self.birth == other.birth
    }

    pub(crate) fn is_start(&self) -> bool {
        self.number == 0
    }

    /// As it stands in Redis; nothing before the first transaction.
    pub(crate) fn text(&self) -> String {
        if self.is_start() {
            return String::new();
        }
        let Self {
            schema,
            number,
            birth,
            name,
        } = self;
        format!("{schema}.{number}.{birth:032x}.{name:032x}")
    }

    /// `None` for what no version of this program wrote.
    pub(crate) fn parse(text: &[u8], schema: u64) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::start(schema));
        }
        let mut parts = std::str::from_utf8(text).ok()?.split('.');
        let position = Self {
            schema: parts.next()?.parse().ok()?,
            number: parts.next()?.parse().ok()?,
            birth: u128::from_str_radix(parts.next()?, 16).ok()?,
            name: u128::from_str_radix(parts.next()?, 16).ok()?,
        };
        (parts.next().is_none() && !position.is_start()).then_some(position)
    }
}

fn random() -> Result<u128, Error> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes)
        .map_err(|_| Error::Mirror("the system gives no random bytes".to_owned()))?;
    Ok(u128::from_be_bytes(bytes))
}
