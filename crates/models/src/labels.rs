//! The classes of a classifier.

use std::collections::HashMap;
use std::hash::Hash;

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

    /// The classes of several outputs, each once, and where those of each output are among them; `None` if they are of
    /// different types.
    pub(crate) fn together(each: &[Self]) -> Option<(Self, Vec<Vec<u32>>)> {
        Some(match each.first()? {
            Self::Integers(_, first) => {
                let lists = each.iter().map(|labels| match labels {
                    Self::Integers(values, kind) if kind == first => Some(values.as_slice()),
                    _ => None,
                });
                let (all, places) = gather(lists, |value| *value)?;
                (Self::Integers(all, *first), places)
            }
            Self::Floats(_) => {
                let lists = each.iter().map(|labels| match labels {
                    Self::Floats(values) => Some(values.as_slice()),
                    _ => None,
                });
                let (all, places) = gather(lists, |value| value.to_bits())?;
                (Self::Floats(all), places)
            }
            Self::Strings(_) => {
                let lists = each.iter().map(|labels| match labels {
                    Self::Strings(values) => Some(values.as_slice()),
                    _ => None,
                });
                let (all, places) = gather(lists, String::clone)?;
                (Self::Strings(all), places)
            }
            Self::Booleans(_) => {
                let lists = each.iter().map(|labels| match labels {
                    Self::Booleans(values) => Some(values.as_slice()),
                    _ => None,
                });
                let (all, places) = gather(lists, |value| *value)?;
                (Self::Booleans(all), places)
            }
        })
    }

    /// The classes as numbers, unless they are text.
    pub(crate) fn numbers(&self) -> Option<Vec<f64>> {
        (0..self.len()).map(|index| self.number(index)).collect()
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

/// All different values of lists, and where those of each are among them.
fn gather<'l, T: Clone + 'l, K: Hash + Eq>(
    lists: impl Iterator<Item = Option<&'l [T]>>,
    key: impl Fn(&T) -> K,
) -> Option<(Vec<T>, Vec<Vec<u32>>)> {
    let (mut all, mut known, mut places) = (Vec::new(), HashMap::new(), Vec::new());
    for list in lists {
        let place = |value: &T| {
            let next = u32::try_from(all.len()).ok()?;
            let place = *known.entry(key(value)).or_insert(next);
            if place == next {
                all.push(value.clone());
            }
            Some(place)
        };
        places.push(list?.iter().map(place).collect::<Option<_>>()?);
    }
    Some((all, places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_several_outputs_are_each_once() {
        let texts = |texts: &[&str]| Labels::Strings(texts.iter().map(|t| (*t).into()).collect());
        let (all, places) =
            Labels::together(&[texts(&["a", "b"]), texts(&["b", "c", "a"])]).unwrap();
        assert_eq!(all, texts(&["a", "b", "c"]));
        assert_eq!(places, [vec![0, 1], vec![1, 2, 0]]);
        let numbers = |kind| Labels::Integers(vec![0, 1], kind);
        let (int, small) = (numbers(IntegerType::Int64), numbers(IntegerType::Int8));
        assert!(Labels::together(&[int.clone(), texts(&["0"])]).is_none());
        assert!(Labels::together(&[int, small]).is_none());
        assert!(Labels::together(&[]).is_none());
    }
}
