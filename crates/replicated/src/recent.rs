//! What the last transactions changed, to give it back to a Redis that lost them.

use std::collections::{BTreeSet, VecDeque};

use crate::position::Position;

/// How many transactions are remembered.
const TRANSACTIONS: usize = 4096;
/// How many names of records are remembered.
const NAMES: usize = 65_536;

#[derive(Default)]
pub(crate) struct Recent {
    transactions: VecDeque<(Position, Vec<String>)>,
    names: usize,
}

impl Recent {
    /// Begins anew at a position.
    pub(crate) fn at(position: Position) -> Self {
        Self {
            transactions: VecDeque::from([(position, Vec::new())]),
            names: 0,
        }
    }

    pub(crate) fn push(&mut self, position: Position, names: Vec<String>) {
        self.names = self.names.saturating_add(names.len());
        self.transactions.push_back((position, names));
        while self.transactions.len() > TRANSACTIONS || self.names > NAMES {
            let Some((_, names)) = self.transactions.pop_front() else {
                return;
            };
            self.names = self.names.saturating_sub(names.len());
        }
    }

    /// The records that changed after `position`; `None` when that is not known.
    pub(crate) fn since(&self, position: &Position) -> Option<BTreeSet<&str>> {
        let index = self
            .transactions
            .iter()
            .position(|(known, _)| known == position)?;
        let after = self.transactions.iter().skip(index.saturating_add(1));
        Some(
            after
                .flat_map(|(_, names)| names.iter().map(String::as_str))
                .collect(),
        )
    }
}
