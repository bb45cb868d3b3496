//! Random choices that are the same for the same seed everywhere.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The dice of one cluster of a run.
    pub(crate) fn new(seed: u64, cluster: u64) -> Self {
        let mut dice = Self(seed ^ cluster.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// From one to `most`.
    pub(crate) fn up_to(&mut self, most: usize) -> usize {
        self.below(most) + 1
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of them.
    pub(crate) fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        let index = self.below(list.len());
        list.get(index).copied().unwrap_or_default()
    }

    /// One of them.
    pub(crate) fn number(&mut self, list: &[u16]) -> u16 {
        let index = self.below(list.len());
        list.get(index).copied().unwrap_or_default()
    }

    /// One to `most` of them; the same may come twice.
    pub(crate) fn some(&mut self, list: &[&str], most: usize) -> Vec<String> {
        let count = self.up_to(most);
        (0..count).map(|_| self.pick(list).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence() {
        let mut dice = Dice::new(7, 3);
        let rolled: Vec<usize> = (0..8).map(|_| dice.below(100)).collect();
        let mut again = Dice::new(7, 3);
        let same: Vec<usize> = (0..8).map(|_| again.below(100)).collect();
        assert_eq!(rolled, same);
        let mut other = Dice::new(7, 4);
        let differs: Vec<usize> = (0..8).map(|_| other.below(100)).collect();
        assert_ne!(rolled, differs);
        assert!(rolled.iter().all(|n| *n < 100));
    }
}
