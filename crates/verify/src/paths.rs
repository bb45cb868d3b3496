//! The set of paths, divided by the exact paths and prefixes that rules and
//! routes name.

use std::ops::Bound;

use std::collections::BTreeSet;

/// One condition on the head of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Head {
    /// This path.
    Exact(String),
    /// Paths that begin so, this string included.
    Prefix(String),
}

impl Head {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Prefix(text) => text,
        }
    }

    /// Whether it holds on the whole of a cell. A cell of a partition that
    /// knows this head's string is never cut by it.
    pub(crate) fn covers(&self, cell: Cell<'_>) -> bool {
        match self {
            Self::Exact(text) => !cell.region && cell.text == text,
            Self::Prefix(prefix) => cell.text.starts_with(prefix.as_str()),
        }
    }

    /// Paths in both.
    pub(crate) fn meet(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => (a == b).then(|| self.clone()),
            (Self::Exact(a), Self::Prefix(p)) => a.starts_with(p.as_str()).then(|| self.clone()),
            (Self::Prefix(p), Self::Exact(a)) => a.starts_with(p.as_str()).then(|| other.clone()),
            (Self::Prefix(a), Self::Prefix(b)) => {
                if a.starts_with(b.as_str()) {
                    Some(self.clone())
                } else if b.starts_with(a.as_str()) {
                    Some(other.clone())
                } else {
                    None
                }
            }
        }
    }
}

/// A cell of the partition: one listed string, or the longer strings below it
/// that are below no longer listed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Cell<'a> {
    pub(crate) text: &'a str,
    pub(crate) region: bool,
}

/// Listed strings, sorted; `/` is always among them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strings(BTreeSet<String>);

impl Strings {
    pub(crate) fn add(&mut self, text: &str) {
        // Paths begin with a slash; what names none of them divides nothing.
        if text.starts_with('/') && !self.0.contains(text) {
            self.0.insert(text.to_owned());
        }
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        for text in &other.0 {
            self.add(text);
        }
    }

    /// All, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The cell that a path is in.
    pub(crate) fn cell_of<'a>(&'a self, path: &'a str) -> Option<Cell<'a>> {
        if self.0.contains(path) {
            return Some(Cell {
                text: path,
                region: false,
            });
        }
        let mut shorter = path;
        while let Some((rest, _)) = shorter.split_at_checked(shorter.len().checked_sub(1)?) {
            if let Some(text) = self.0.get(rest) {
                return Some(Cell { text, region: true });
            }
            shorter = rest;
        }
        None
    }

    /// Listed strings properly below a string.
    pub(crate) fn below<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .range::<str, _>((Bound::Excluded(text), Bound::Unbounded))
            .map(String::as_str)
            .take_while(move |longer| longer.starts_with(text))
    }
}

impl FromIterator<String> for Strings {
    fn from_iter<I: IntoIterator<Item = String>>(strings: I) -> Self {
        let mut all = Self::default();
        all.add("/");
        for text in strings {
            all.add(&text);
        }
        all
    }
}
