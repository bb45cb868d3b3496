//! How long the requests of a model take, by the size of their bodies. It says where the next one is best answered.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a body is written: numbers in decimal take longer to read than those that are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// JSON alone.
    Text,
    /// With tensors of bytes.
    Binary,
}

/// Classes of sizes, each of twice the size before.
const CLASSES: usize = 33;
/// Nanoseconds to read one byte of JSON, until it is known better.
const READING: u64 = 3;
/// Bytes of a number in JSON, until it is known better.
const NUMBER: u64 = 4;
/// By how much one time may exceed what was expected and still count in full: threads that were interrupted say nothing of
/// the model.
const OUTLIER: u64 = 8;

/// What requests of a model took, in nanoseconds. Times are gathered without a lock; of two at once, one may be lost.
#[derive(Debug)]
pub struct Cost {
    id: u64,
    /// Of one row, as it was measured when the model was loaded; 0 if it was not.
    row: u64,
    columns: u64,
    text: [AtomicU64; CLASSES],
    binary: [AtomicU64; CLASSES],
}

impl Cost {
    /// Of a model whose row of so many columns took so many nanoseconds.
    pub(crate) fn new(row: Option<u64>, columns: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            row: row.map_or(0, |row| row.max(1)),
            columns: u64::try_from(columns).unwrap_or(u64::MAX).max(1),
            text: [const { AtomicU64::new(0) }; CLASSES],
            binary: [const { AtomicU64::new(0) }; CLASSES],
        }
    }

    /// A number that no other model of this process has. It is never 0.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How long a request with a body of so many bytes will take, in nanoseconds: as those of its size did, as those of the
    /// next smaller size did in proportion, or as one row did when the model was loaded. `None` if nothing is known.
    pub fn of(&self, writing: Writing, bytes: usize) -> Option<u64> {
        let class = class(bytes);
        let known = self.times(writing).get(..=class)?.iter().enumerate().rev();
        let mut known = known.map(|(at, time)| (at, time.load(Ordering::Relaxed)));
        if let Some((at, time)) = known.find(|(_, time)| *time > 0) {
            let times = 1_u64.checked_shl(u32::try_from(class - at).ok()?)?;
            return Some(time.saturating_mul(times));
        }
        let bytes = u64::try_from(bytes).ok()?;
        let rows = 1 + bytes / self.columns.saturating_mul(NUMBER);
        let guess = self.row.checked_mul(rows)?;
        (self.row > 0).then(|| guess.saturating_add(bytes.saturating_mul(READING)))
    }

    /// Counts a request that was answered.
    pub(crate) fn took(&self, writing: Writing, bytes: usize, nanoseconds: u64) {
        let Some(time) = self.times(writing).get(class(bytes)) else {
            return;
        };
        let before = time.load(Ordering::Relaxed);
        let after = match before {
            0 => nanoseconds,
            _ => {
                let now = nanoseconds.min(before.saturating_mul(OUTLIER));
                before - before / 8 + now / 8
            }
        };
        time.store(after.max(8), Ordering::Relaxed);
    }

    fn times(&self, writing: Writing) -> &[AtomicU64; CLASSES] {
        match writing {
            Writing::Text => &self.text,
            Writing::Binary => &self.binary,
        }
    }
}

/// The number of binary digits of a size.
fn class(bytes: usize) -> usize {
    let digits = usize::BITS - bytes.leading_zeros();
    usize::try_from(digits).map_or(CLASSES - 1, |digits| digits.min(CLASSES - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_first_guess_and_requests_correct_it() {
        let cost = Cost::new(Some(1_000_000), 4);
        assert!(cost.of(Writing::Text, 60).unwrap() >= 1_000_000);
        for _ in 0..50 {
            cost.took(Writing::Text, 60, 2000);
        }
        let settled = cost.of(Writing::Text, 50).unwrap();
        assert!((1900..=2100).contains(&settled), "{settled}");
        // Larger ones are expected in proportion, binary ones as before.
        assert_eq!(cost.of(Writing::Text, 200), Some(4 * settled));
        assert!(cost.of(Writing::Binary, 60).unwrap() >= 1_000_000);
        // What is not known is not guessed.
        assert_eq!(Cost::new(None, 4).of(Writing::Text, 60), None);
    }

    #[test]
    fn an_interruption_moves_little_and_a_change_is_followed() {
        let cost = Cost::new(None, 1);
        for _ in 0..20 {
            cost.took(Writing::Binary, 10, 4000);
        }
        cost.took(Writing::Binary, 10, 50_000_000);
        assert!(cost.of(Writing::Binary, 10).unwrap() < 8000);
        for _ in 0..10 {
            cost.took(Writing::Binary, 10, 1_000_000);
        }
        assert!(cost.of(Writing::Binary, 10).unwrap() > 500_000);
    }

    #[test]
    fn every_size_has_a_class() {
        let cost = Cost::new(Some(u64::MAX), usize::MAX);
        for bytes in [0, 1, 2, 1 << 31, 1 << 40, usize::MAX] {
            cost.took(Writing::Text, bytes, u64::MAX);
            assert!(cost.of(Writing::Text, bytes).is_some());
        }
    }
}
