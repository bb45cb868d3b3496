//! Walks down trees: sixteen at once, so that steps that wait for memory wait together.
//!
//! A node says how far behind it its children are. A leaf looks at a column behind those of the row, which is below every
//! threshold, and its first child is itself: walks that have ended stay where they are until all have.
//!
//! Values and thresholds are keys: whole numbers in the same order, which are compared and added in fewer steps than floats.
//! Nothing is below the key of what is missing.

use super::walk::Walk;

/// Where a tree begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root {
    pub(super) place: u32,
    /// Steps to the leaf that is farthest down.
    pub(super) depth: u32,
}

/// Walks that go on in turn.
const LANES: usize = 16;
/// Trees up to this depth are walked without looking whether all walks have ended.
const SHALLOW: u32 = 8;

/// Nothing is missing, and nothing is asked but thresholds.
pub(super) const PLAIN: u8 = 0;
/// Values are missing.
pub(super) const MISSING: u8 = 1;
/// Anything is asked.
pub(super) const GENERAL: u8 = 2;

/// The key of a missing value, and of the column of leaves.
const NOTHING: u8 = 0;

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

    fn column(self) -> usize;

    fn distance(self) -> usize;

    fn number(self) -> u32;

    fn goes_second<const MODE: u8>(self, key: Self::Key, trees: &Walk) -> bool;
}

/// A node of single precision in 8 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Small {
    /// The key of the threshold, or the number of the leaf.
    threshold: u32,
    /// The column in 8 bits, where missing values go in one, the distance of the first child in 23.
    rest: u32,
}

impl Small {
    /// Columns, that of leaves among them.
    pub(super) const COLUMNS: usize = 1 << 8;
    pub(super) const FARTHEST: u32 = 1 << 23;
    const MISSING_SECOND: u32 = 1 << 8;

    /// What was checked to fit.
    pub(super) fn of(node: Large, columns: usize) -> Self {
        let leaf = node.column as usize == columns;
        let threshold = match leaf {
            true => node.threshold as u32,
            false => key32(number64(node.threshold) as f32),
        };
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
    fn column(self) -> usize {
        (self.rest & 0xff) as usize
    }

    #[inline(always)]
    fn distance(self) -> usize {
        (self.rest >> 9) as usize
    }

    fn number(self) -> u32 {
        self.threshold
    }

    #[inline(always)]
    fn goes_second<const MODE: u8>(self, key: u32, _: &Walk) -> bool {
        let above = self.threshold < key;
        match MODE {
            PLAIN => above,
            _ => above | ((key == u32::from(NOTHING)) & (self.rest & Self::MISSING_SECOND != 0)),
        }
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
}

impl Node for Large {
    type Key = u64;

    #[inline(always)]
    fn column(self) -> usize {
        (self.column & Self::COLUMNS) as usize
    }

    #[inline(always)]
    fn distance(self) -> usize {
        self.distance as usize
    }

    fn number(self) -> u32 {
        self.threshold as u32
    }

    #[inline(always)]
    fn goes_second<const MODE: u8>(self, key: u64, trees: &Walk) -> bool {
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

/// Walks all trees, [`LANES`] at once. The row has a value behind its columns.
pub(super) fn walk<N: Node, const MODE: u8>(
    trees: &Walk,
    nodes: &[N],
    row: &[N::Key],
    each: &mut dyn FnMut(usize, &[u32]),
) {
    if row.len() <= trees.columns {
        return;
    }
    let mut before = 0;
    for group in trees.roots.chunks(LANES) {
        match group.len() {
            1 => each(before, &lanes::<N, MODE, 1>(trees, nodes, group, row)),
            2..=8 => {
                for (number, few) in group.chunks(4).enumerate() {
                    let numbers = lanes::<N, MODE, 4>(trees, nodes, few, row);
                    each(
                        before + 4 * number,
                        numbers.get(..few.len()).unwrap_or_default(),
                    );
                }
            }
            count => {
                let numbers = lanes::<N, MODE, LANES>(trees, nodes, group, row);
                each(before, numbers.get(..count).unwrap_or_default());
            }
        }
        before += group.len();
    }
}

/// The numbers of the leaves of so many trees; where there are fewer, the first one's again.
#[inline(always)]
fn lanes<N: Node, const MODE: u8, const COUNT: usize>(
    trees: &Walk,
    nodes: &[N],
    roots: &[Root],
    row: &[N::Key],
) -> [u32; COUNT] {
    let first = roots.first().map_or(0, |root| root.place as usize);
    let mut places = [first; COUNT];
    let mut depth = 0;
    for (place, root) in places.iter_mut().zip(roots) {
        *place = root.place as usize;
        depth = depth.max(root.depth);
    }
    #[expect(unsafe_code, reason = "two checks less for each of thousands of steps")]
    let step = |place: usize| {
        // SAFETY: roots and children are nodes, and columns, that of leaves among them, are below the length of the row:
        // `add` places no other nodes, and `walk` looks at the length.
        let (node, key) = unsafe {
            let node = *nodes.get_unchecked(place);
            (node, *row.get_unchecked(node.column()))
        };
        let second = usize::from(node.goes_second::<MODE>(key, trees));
        place.wrapping_add(node.distance()).wrapping_add(second)
    };
    if depth <= SHALLOW {
        for _ in 0..depth {
            for place in &mut places {
                *place = step(*place);
            }
        }
    } else {
        loop {
            for place in &mut places {
                *place = step(*place);
            }
            let mut moved = 0;
            for place in &mut places {
                let next = step(*place);
                moved |= next ^ *place;
                *place = next;
            }
            if moved == 0 {
                break;
            }
        }
    }
    places.map(|place| nodes.get(place).map_or(0, |node| node.number()))
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
