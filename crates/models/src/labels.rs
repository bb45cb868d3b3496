//! The classes of a classifier.

/// The width of integer labels, as numpy and the V2 protocol name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntegerType {
    /// `int8`
    Int8,
    /// `int16`
    Int16,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `uint8`
    Uint8,
    /// `uint16`
    Uint16,
    /// `uint32`
    Uint32,
    /// `uint64`
    Uint64,
}

/// The classes of a classifier in the order of `classes_`.
#[derive(Debug, Clone, PartialEq)]
pub enum Labels {
    /// Integers. Unsigned values above `i64::MAX` are refused at load.
    Integers(Vec<i64>, IntegerType),
    /// Floats.
    Floats(Vec<f64>),
    /// Strings.
    Strings(Vec<String>),
    /// Truth values.
    Booleans(Vec<bool>),
}

impl Labels {
    /// The number of classes.
    pub fn len(&self) -> usize {
        match self {
            Self::Integers(values, _) => values.len(),
            Self::Floats(values) => values.len(),
            Self::Strings(values) => values.len(),
            Self::Booleans(values) => values.len(),
        }
    }

    /// Whether there is no class. Never so for a loaded model.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The class at `index`, for people.
    pub fn show(&self, index: usize) -> Option<String> {
        match self {
            Self::Integers(values, _) => values.get(index).map(ToString::to_string),
            Self::Floats(values) => values.get(index).map(|value| format!("{value:?}")),
            Self::Strings(values) => values.get(index).cloned(),
            Self::Booleans(values) => values.get(index).map(ToString::to_string),
        }
    }
}

impl Labels {
    /// Where the class at `index` of `other` is among these.
    pub(crate) fn position(&self, other: &Self, index: usize) -> Option<usize> {
        match (self, other) {
            (Self::Strings(these), Self::Strings(those)) => {
                let wanted = those.get(index)?;
                these.iter().position(|label| label == wanted)
            }
            _ => {
                let wanted = other.number(index)?;
                (0..self.len()).find(|place| self.number(*place) == Some(wanted))
            }
        }
    }

    fn number(&self, index: usize) -> Option<f64> {
        match self {
            Self::Integers(values, _) => values.get(index).map(|value| *value as f64),
            Self::Floats(values) => values.get(index).copied(),
            Self::Booleans(values) => values.get(index).map(|truth| f64::from(u8::from(*truth))),
            Self::Strings(_) => None,
        }
    }
}
