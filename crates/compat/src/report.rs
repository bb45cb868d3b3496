//! What becomes of each key of another program's configuration.

use std::fmt;

/// What becomes of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It does what it does there.
    Supported,
    /// It has no effect here.
    Ignored,
    /// With it the configuration is not taken.
    Refused,
}

impl Standing {
    /// As it is written for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
        }
    }
}

/// A key of the file, or one that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Line of the file, 1-based; of the object around it where the key is missing; 0 for what is in no file.
    pub line: u32,
    /// `staticClients[0].secret`; empty for the file as a whole.
    pub key: String,
    /// What becomes of it.
    pub standing: Standing,
    /// Why it is not supported, and what to do; never the value of a secret.
    pub note: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.key.is_empty() {
            "(file)"
        } else {
            &self.key
        };
        write!(f, "{:>9}  {name}", self.standing.name())?;
        if !self.note.is_empty() {
            write!(f, ": {}", self.note)?;
        }
        Ok(())
    }
}

/// What becomes of every key of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Keys in the order of their lines.
    pub entries: Vec<Entry>,
}

impl Report {
    /// How many keys stand so.
    #[must_use]
    pub fn count(&self, standing: Standing) -> usize {
        let entries = self.entries.iter();
        entries.filter(|entry| entry.standing == standing).count()
    }

    /// Those that are not simply supported.
    pub fn remarks(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.iter();
        entries.filter(|entry| entry.standing != Standing::Supported)
    }
}
