//! Trees that compare double precision values, and categories by sets.

/// A set of category numbers below 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Categories([u32; 8]);

impl Categories {
    pub(crate) fn from_words(words: &[u32]) -> Option<Self> {
        words.try_into().ok().map(Self)
    }

    pub(crate) fn insert(&mut self, category: u8) {
        if let Some(word) = self.0.get_mut(usize::from(category >> 5)) {
            *word |= 1 << (category & 31);
        }
    }

    fn contains(&self, category: u8) -> bool {
        self.0
            .get(usize::from(category >> 5))
            .is_some_and(|word| word >> (category & 31) & 1 == 1)
    }
}

/// How a node parts the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Test {
    /// Values at most as large go left.
    Threshold(f64),
    /// Values in the set with that number go left.
    Categories(u32),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum HistogramNode {
    Leaf(f64),
    Inner {
        test: Test,
        feature: u32,
        missing_left: bool,
        left: u32,
        right: u32,
    },
}

/// One tree.
#[derive(Debug, Clone)]
pub(crate) struct HistogramTree {
    nodes: Vec<HistogramNode>,
    sets: Vec<Categories>,
}

impl HistogramTree {
    /// Checks that every child comes after its parent, and every feature and set exists.
    pub(crate) fn new(
        nodes: Vec<HistogramNode>,
        sets: Vec<Categories>,
        features: usize,
    ) -> Result<Self, String> {
        if nodes.is_empty() {
            return Err("expected a tree with at least one node".to_owned());
        }
        for (index, node) in nodes.iter().enumerate() {
            let HistogramNode::Inner {
                test,
                feature,
                left,
                right,
                ..
            } = node
            else {
                continue;
            };
            let after = |child: u32| {
                usize::try_from(child).is_ok_and(|child| child > index && child < nodes.len())
            };
            if !after(*left) || !after(*right) {
                return Err(format!("node {index} has a child that is not after it"));
            }
            if usize::try_from(*feature).is_ok_and(|feature| feature >= features) {
                return Err(format!(
                    "node {index} looks at a feature that does not exist"
                ));
            }
            if let Test::Categories(set) = test
                && usize::try_from(*set).is_ok_and(|set| set >= sets.len())
            {
                return Err(format!("node {index} has categories that do not exist"));
            }
        }
        Ok(Self { nodes, sets })
    }

    /// The value of the leaf of a row. `known` has for each feature the categories that fitting saw.
    pub(crate) fn value(&self, row: &[f64], known: &[Categories]) -> f64 {
        let mut at = 0;
        loop {
            match self.nodes.get(at) {
                None => return f64::NAN,
                Some(HistogramNode::Leaf(value)) => return *value,
                Some(HistogramNode::Inner {
                    test,
                    feature,
                    missing_left,
                    left,
                    right,
                }) => {
                    let feature = usize::try_from(*feature).unwrap_or(usize::MAX);
                    let value = row.get(feature).copied().unwrap_or(f64::NAN);
                    let goes_left = match test {
                        _ if value.is_nan() => *missing_left,
                        Test::Threshold(threshold) => value <= *threshold,
                        Test::Categories(_) if value < 0.0 => *missing_left,
                        Test::Categories(set) => {
                            // What C makes of a double that becomes a byte.
                            let category = (value as i32) as u8;
                            let left = usize::try_from(*set).ok().and_then(|s| self.sets.get(s));
                            if left.is_some_and(|set| set.contains(category)) {
                                true
                            } else if known.get(feature).is_some_and(|set| set.contains(category)) {
                                false
                            } else {
                                *missing_left
                            }
                        }
                    };
                    let next = if goes_left { *left } else { *right };
                    at = usize::try_from(next).unwrap_or(usize::MAX);
                }
            }
        }
    }
}
