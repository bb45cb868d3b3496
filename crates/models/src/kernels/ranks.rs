//! Ranks in place of thresholds: where few thresholds serve many nodes, as in libraries that put values in bins before they
//! train, a node of double precision fits in 8 bytes, and rows are looked up once.

use super::node::{Large, NOTHING};

/// The keys of the thresholds of each column, in order, each once.
#[derive(Debug, Clone)]
pub(super) struct Ranks {
    keys: Vec<u64>,
    /// Where the keys of each column end.
    ends: Vec<usize>,
}

impl Ranks {
    /// Of nodes that look at so many columns and ask for thresholds.
    pub(super) fn of(nodes: &[Large], columns: usize) -> Self {
        let mut asked: Vec<(u32, u64)> = nodes
            .iter()
            .filter(|node| !node.is_leaf(columns))
            .map(|node| (node.column & Large::COLUMNS, node.threshold))
            .collect();
        asked.sort_unstable();
        asked.dedup();
        let end = |column| asked.partition_point(|(asked, _)| (*asked as usize) <= column);
        Self {
            ends: (0..columns).map(end).collect(),
            keys: asked.into_iter().map(|(_, key)| key).collect(),
        }
    }

    /// Comparisons that a row costs.
    pub(super) fn steps(&self) -> u32 {
        let columns = self.columns();
        columns
            .map(|keys| keys.len().checked_ilog2().map_or(0, |log| log + 1))
            .sum()
    }

    /// The keys of each column.
    pub(super) fn columns(&self) -> impl Iterator<Item = &[u64]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let columns = starts.zip(&self.ends);
        columns.map(|(start, end)| self.keys.get(start..*end).unwrap_or_default())
    }

    /// The rank that a node has in place of its threshold.
    pub(super) fn threshold(&self, node: Large) -> u32 {
        let column = (node.column & Large::COLUMNS) as usize;
        let end = self.ends.get(column).copied().unwrap_or(0);
        let start = column
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        let start = start.copied().unwrap_or(0);
        rank(
            self.keys.get(start..end).unwrap_or_default(),
            node.threshold,
        )
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        let ends = self.ends.len().saturating_mul(size_of::<usize>());
        self.keys
            .len()
            .saturating_mul(size_of::<u64>())
            .saturating_add(ends)
    }
}

/// Above the number of keys that are below, so that a value is above a threshold where its rank is. What is missing has the key
/// of that.
pub(super) fn rank(keys: &[u64], key: u64) -> u32 {
    match key == u64::from(NOTHING) {
        true => NOTHING.into(),
        false => 1 + keys.partition_point(|below| *below < key) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::key64;
    use super::*;

    #[test]
    fn ranks_are_in_the_order_of_keys() {
        let node = |column, threshold: f64| Large {
            threshold: key64(threshold),
            column: column | Large::MISSING_SECOND,
            distance: 1,
        };
        let nodes = [
            node(2, 0.5),
            node(0, 7.0),
            node(0, -1.0),
            node(0, 7.0),
            Large::leaf(9, 3),
        ];
        let ranks = Ranks::of(&nodes, 3);
        let columns: Vec<usize> = ranks.columns().map(<[u64]>::len).collect();
        assert_eq!((columns, ranks.steps()), (vec![2, 0, 1], 3));
        assert_eq!(nodes.map(|node| ranks.threshold(node))[..4], [1, 2, 1, 2]);
        let keys = ranks.columns().next().unwrap();
        let values = [f64::NAN, -2.0, -1.0, 0.0, 7.0, 7.1];
        assert_eq!(
            values.map(|value| rank(keys, key64(value))),
            [0, 1, 1, 2, 2, 3]
        );
    }
}
