//! Calls that go straight to pods with a sidecar, past every gateway.

use policy::Snapshot;

use crate::analysis::{Analysis, Outcome};
use crate::cells::{Partition, Wanted};
use crate::engine::Engine;
use crate::mdd::Set;

/// How many requests of a caller get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// All that there can be.
    All,
    /// Some, and others not.
    Some,
    /// None.
    None,
    /// Not known.
    NotDecided,
}

/// What a sidecar makes of callers that come straight to it: over mutual TLS
/// under a name, or over plain text (`None`). The sidecar is named by its index.
pub fn straight(snapshot: &Snapshot, sidecar: usize, callers: &[Option<&str>]) -> Vec<Through> {
    let mut engine = Engine::new(&[snapshot]);
    let analysis = Analysis::new(&mut engine, snapshot);
    let undecided = || vec![Through::NotDecided; callers.len()];
    let Some(at) = analysis.listener(sidecar) else {
        return undecided();
    };
    let view = at.view;
    if !view.not_understood().is_empty() || view.is_uncertain() {
        return undecided();
    }
    let mut found: Vec<(Outcome<'_>, Set)> = Vec::new();
    for host in at.hosts() {
        let Some(part) = analysis.host(&mut engine, sidecar, host) else {
            return undecided();
        };
        let globals = part.ground.globals(&mut engine);
        let partition = Partition {
            own: &part.strings,
            globals: &globals,
        };
        for piece in analysis.pieces(&mut engine, (at, &part), partition, Wanted::All) {
            let [side, _] = &piece.sides;
            analysis.walk(
                &mut engine,
                (at, &part),
                piece.cell,
                side,
                &mut |_, seen| {
                    found.push((seen.outcome, seen.set));
                },
            );
        }
    }
    if engine.sets.exhausted() || !engine.given_up.is_empty() {
        return undecided();
    }
    let of_caller = |caller: &Option<&str>| {
        if caller.is_some() && view.passes_unread() {
            return Through::NotDecided;
        }
        if view.refuses(*caller) {
            return Through::None;
        }
        let own = engine.universe.shown_as(&mut engine.sets, *caller);
        let mut meets = |holds: &dyn Fn(Outcome<'_>) -> bool| {
            let mut all = found.iter().filter(|(outcome, _)| holds(*outcome));
            all.any(|(_, set)| !engine.sets.and(*set, own).is_none())
        };
        let unknown = |o: Outcome<'_>| o.is_open() || o == Outcome::Authorizer;
        if meets(&unknown) {
            return Through::NotDecided;
        }
        let reaches = |o: Outcome<'_>| matches!(o, Outcome::Reaches(_));
        match (meets(&reaches), meets(&|o| !reaches(o))) {
            (true, false) => Through::All,
            (true, true) => Through::Some,
            (false, _) => Through::None,
        }
    };
    callers.iter().map(of_caller).collect()
}
