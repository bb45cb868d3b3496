//! What access levels make of requests.

use crate::analysis::Outcome;
use crate::callers::{HELD_BAD, HELD_GOOD};
use crate::mdd::Set;
use crate::steps::{Access, Course, Sent};

impl Course<'_, '_> {
    pub(crate) fn access(&mut self, access: Access) {
        let (preflights, sent) = match access {
            Access::None => return,
            Access::Answered => return self.end(Outcome::Answered, self.left),
            Access::Levels { preflights, sent } => (preflights, sent),
        };
        if preflights {
            let preflight = self.preflight(self.left);
            self.end(Outcome::Answered, preflight);
        }
        match sent {
            None => {}
            Some(Sent::Token) => self.end(Outcome::Token, self.left),
            Some(Sent::Login { within }) => self.persons(within),
            Some(Sent::Accounts {
                within,
                is_limited,
                asks,
            }) => self.accounts(within, is_limited, asks),
        }
    }

    /// Leaves who calls as a ServiceAccount that may.
    fn accounts(&mut self, within: Set, is_limited: bool, asks: bool) {
        let (universe, sets) = (&self.engine.universe, &mut self.engine.sets);
        let known = universe.accounts(sets, |account| account.is_some());
        let valid = universe.held(sets, HELD_GOOD);
        // Of another scheme too.
        let invalid = universe.with_header(sets, "authorization");
        let invalid = sets.minus(invalid, valid);
        let unknown = sets.minus(self.left, known);
        let by_token = sets.and(unknown, valid);
        let bad = sets.and(unknown, invalid);
        let others = sets.minus(unknown, valid);
        let others = sets.minus(others, invalid);
        let outside = sets.minus(known, within);
        let mut refused = sets.and(self.left, outside);
        if is_limited {
            refused = sets.or(refused, by_token);
        }
        self.end(Outcome::Denied, refused);
        self.end(Outcome::Token, bad);
        let told = if asks {
            Outcome::Token
        } else {
            Outcome::Denied
        };
        self.end(told, others);
    }

    /// Leaves people who are logged in and may.
    fn persons(&mut self, within: Set) {
        let (universe, sets) = (&self.engine.universe, &mut self.engine.sets);
        let logged_in = universe.persons(sets, |person| person.is_some());
        let valid = universe.held(sets, HELD_GOOD);
        let invalid = universe.held(sets, HELD_BAD);
        // A machine is no person.
        let known = sets.or(logged_in, valid);
        let refused = sets.and(self.left, known);
        let refused = sets.minus(refused, within);
        let bad = sets.and(self.left, invalid);
        let others = sets.minus(self.left, known);
        let others = sets.minus(others, invalid);
        self.end(Outcome::Denied, refused);
        self.end(Outcome::Token, bad);
        self.end(Outcome::Login, others);
    }
}
