//! Nodes of trees as they lie in memory, and the keys that they compare.
//!
//! A node says how far behind it its children are. A leaf looks at a column behind those of the row, which is below every
//! threshold, and its first child is itself: walks that have ended stay where they are.
//!
//! Values and thresholds are keys: whole numbers in the same order, which are compared and added in fewer steps than floats.
//! Nothing is below the key of what is missing.

use super::lanes::{Open, Walker};
use super::walk::Walk;

/// Nothing is missing, and nothing is asked but thresholds.
pub(super) const PLAIN: u8 = 0;
/// Values are missing.
pub(super) const MISSING: u8 = 1;
/// Anything is asked.
pub(super) const GENERAL: u8 = 2;

/// The key of a missing value, and of the column of leaves.
pub(super) const NOTHING: u8 = 0;

/// The key of a number of single precision. Both zeros have one.
pub(super) fn key32(value: f32) -> u32 {
    if value.is_nan() {
        return NOTHING.into();
    }
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | (1 << 31)
    }
}

/// The key of a number of double precision. Both zeros have one.
pub(super) fn key64(value: f64) -> u64 {
    if value.is_nan() {
        return NOTHING.into();
    }
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | (1 << 63)
    }
}

/// The number that has a key.
fn number64(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 {
        key ^ (1 << 63)
    } else {
        !key
    })
}

fn number32(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 {
        key ^ (1 << 31)
    } else {
        !key
    })
}

/// A node that can be walked.
pub(super) trait Node: Copy {
    type Key: Copy;

    fn column(&self) -> usize;

    fn distance(&self) -> u32;

    fn number(self) -> u32;

    fn goes_second<const MODE: u8>(&self, key: Self::Key, trees: &Walk) -> bool;

    /// Whether this processor walks many trees at once faster than step by step.
    fn at_once<const MODE: u8>(_: &Walker<'_, Self, MODE>) -> bool {
        false
    }

    /// Lets all walks go on for some steps, if there is a faster way than step by step.
    fn advance<const MODE: u8>(_: &Walker<'_, Self, MODE>, _: &mut Open, _: u32) -> bool {
        false
    }
}

/// A node of single precision, or of ranks, in 8 bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Small {
    /// The key of the threshold or its rank, or the number of the leaf.
    threshold: u32,
    /// The column in 8 bits, where missing values go in one, the distance of the first child in 23.
    rest: u32,
}

impl Small {
    /// Columns, that of leaves among them.
    pub(super) const COLUMNS: usize = 1 << 8;
    pub(super) const FARTHEST: u32 = 1 << 23;
    pub(super) const MISSING_SECOND: u32 = 1 << 8;

    /// What was checked to fit.
    pub(super) fn of(node: Large, columns: usize) -> Self {
        let threshold = match node.is_leaf(columns) {
            true => node.threshold as u32,
            false => key32(number64(node.threshold) as f32),
        };
        Self::with(threshold, node)
    }

    /// The same with another threshold.
    pub(super) fn with(threshold: u32, node: Large) -> Self {
        let missing = match node.column & Large::MISSING_SECOND {
            0 => 0,
            _ => Self::MISSING_SECOND,
        };
        Self {
            threshold,
            rest: (node.column & 0xff) | missing | (node.distance << 9),
        }
    }

    pub(super) fn widened(self, columns: usize) -> Large {
        let leaf = self.column() == columns;
        let missing = match self.rest & Self::MISSING_SECOND {
            0 => 0,
            _ => Large::MISSING_SECOND,
        };
        Large {
            threshold: match leaf {
                true => u64::from(self.threshold),
                false => key64(number32(self.threshold).into()),
            },
            column: (self.rest & 0xff) | missing,
            distance: self.rest >> 9,
        }
    }
}

impl Node for Small {
    type Key = u32;

    #[inline(always)]
    fn column(&self) -> usize {
        (self.rest & 0xff) as usize
    }

    #[inline(always)]
    fn distance(&self) -> u32 {
        self.rest >> 9
    }

    fn number(self) -> u32 {
        self.threshold
    }

    #[inline(always)]
    fn goes_second<const MODE: u8>(&self, key: u32, _: &Walk) -> bool {
        let above = self.threshold < key;
        match MODE {
            PLAIN => above,
            _ => above | ((key == u32::from(NOTHING)) & (self.rest & Self::MISSING_SECOND != 0)),
        }
    }

    fn at_once<const MODE: u8>(walker: &Walker<'_, Self, MODE>) -> bool {
        super::wide::suits(walker)
    }

    fn advance<const MODE: u8>(
        walker: &Walker<'_, Self, MODE>,
        open: &mut Open,
        steps: u32,
    ) -> bool {
        super::wide::advance(walker, open, steps)
    }
}

/// A node of double precision, or one that asks for categories.
#[derive(Debug, Clone, Copy)]
pub(super) struct Large {
    /// The key of the threshold, the place of the words and their number for categories, or the number of the leaf.
    pub(super) threshold: u64,
    /// The column, and flags above.
    pub(super) column: u32,
    /// How far behind the first child is.
    pub(super) distance: u32,
}

impl Large {
    pub(super) const COLUMNS: u32 = 0x1fff_ffff;
    pub(super) const MISSING_SECOND: u32 = 1 << 31;
    pub(super) const CATEGORICAL: u32 = 1 << 30;
    pub(super) const ZERO_MISSING: u32 = 1 << 29;

    pub(super) fn leaf(number: u32, columns: usize) -> Self {
        Self {
            threshold: u64::from(number),
            column: columns as u32 & Self::COLUMNS,
            distance: 0,
        }
    }

    pub(super) fn is_leaf(self, columns: usize) -> bool {
        self.column() == columns
    }
}

impl Node for Large {
    type Key = u64;

    #[inline(always)]
    fn column(&self) -> usize {
        (self.column & Self::COLUMNS) as usize
    }

    #[inline(always)]
    fn distance(&self) -> u32 {
        self.distance
    }

    fn number(self) -> u32 {
        self.threshold as u32
    }

    #[inline(always)]
    fn goes_second<const MODE: u8>(&self, key: u64, trees: &Walk) -> bool {
        let above = self.threshold < key;
        let missing = key == u64::from(NOTHING);
        let missing_second = self.column & Self::MISSING_SECOND != 0;
        let asks = |flag: u32| self.column & flag != 0;
        match MODE {
            PLAIN => above,
            MISSING => above | (missing & missing_second),
            _ if missing || (asks(Self::ZERO_MISSING) && number64(key) == 0.0) => missing_second,
            _ if asks(Self::CATEGORICAL) => trees
                .among(self.threshold, number64(key))
                .map_or(missing_second, |among| !among),
            _ => above,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_their_numbers() {
        let numbers = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -f64::from(f32::MIN_POSITIVE),
            -5e-324,
            0.0,
            5e-324,
            f64::from(f32::from_bits(1)),
            1.0,
            1.0 + f64::EPSILON,
            f64::MAX,
            f64::INFINITY,
        ];
        let keys = numbers.map(key64);
        assert!(keys.is_sorted_by(|a, b| a < b) && keys[0] > key64(f64::NAN));
        assert_eq!(keys.map(number64), numbers);
        let singles = [
            f32::NEG_INFINITY,
            -2.0,
            -1e-45,
            0.0,
            1e-45,
            2.0,
            f32::INFINITY,
        ];
        let keys = singles.map(key32);
        assert!(keys.is_sorted_by(|a, b| a < b) && keys[0] > key32(f32::NAN));
        assert_eq!(keys.map(number32), singles);
        assert_eq!((key32(-0.0), key64(-0.0)), (key32(0.0), key64(0.0)));
    }
}
