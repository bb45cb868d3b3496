//! What analyses share: the classes of requests, and sets of them.

use policy::{HeaderChange, ListenerView, Snapshot};
use rustc_hash::FxHashMap;

use crate::callers::{Callers, HELD_GOOD, HELD_NONE};
use crate::fronts::Fronts;
use crate::intents::Intent;
use crate::language::{Patterns, as_set, holds_for};
use crate::mdd::{Dim, Set, Sets};
use crate::paths::Cell;
use crate::tokens::Judged;
use crate::universe::Universe;

/// Sets and classes, shared by the configurations that are compared.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) universe: Universe,
    pub(crate) sets: Sets,
    path_tests: FxHashMap<Dim, Option<Patterns>>,
    /// Dimensions about paths that a set depends on.
    about_paths: FxHashMap<Set, std::rc::Rc<[Dim]>>,
    reached: FxHashMap<(Dim, usize), (bool, bool)>,
    /// What rules match.
    pub(crate) fronts: Fronts,
    /// Bytes of automata of path conditions.
    automata: usize,
    /// What had to be given up, for people.
    pub(crate) given_up: Vec<String>,
}

/// Beyond this a path condition may hold or not wherever it is not plain.
const MAX_AUTOMATA: usize = 32 << 20;

impl Engine {
    pub(crate) fn new(snapshots: &[&Snapshot]) -> Self {
        Self::asked(snapshots, &[])
    }

    /// With the classes that intents tell apart.
    pub(crate) fn asked(snapshots: &[&Snapshot], intents: &[Intent]) -> Self {
        Self::over(Universe::of(snapshots, Callers::of(snapshots, intents)))
    }

    /// With these classes.
    pub(crate) fn over(universe: Universe) -> Self {
        let too_many = universe.too_many.iter();
        let given_up = too_many
            .map(|name| format!("rules and routes tell too many values of header `{name}` apart"))
            .chain(universe.problems.iter().cloned())
            .collect();
        Self {
            universe,
            sets: Sets::default(),
            path_tests: FxHashMap::default(),
            about_paths: FxHashMap::default(),
            reached: FxHashMap::default(),
            fronts: Fronts::default(),
            automata: 0,
            given_up,
        }
    }

    /// The requests that there can be.
    pub(crate) fn domain(&mut self) -> Set {
        self.universe.tokens.domain(&self.universe, &mut self.sets)
    }

    /// Requests of somebody without a session and without a good token.
    pub(crate) fn strangers(&mut self) -> Set {
        let (universe, sets) = (&self.universe, &mut self.sets);
        let nobody = universe.persons(sets, |person| person.is_none());
        let good = universe.tokens.good(sets);
        let held = universe.held(sets, HELD_GOOD);
        let good = sets.or(good, held);
        sets.minus(nobody, good)
    }

    /// The same without anything that is taken for a token.
    pub(crate) fn tokenless(&mut self) -> Set {
        let (universe, sets) = (&self.universe, &mut self.sets);
        let nobody = universe.persons(sets, |person| person.is_none());
        let without = universe.tokenless(sets);
        sets.and(nobody, without)
    }

    /// Requests of callers whom enforcement knows by credentials that it
    /// checks itself.
    pub(crate) fn vouched(&mut self) -> Set {
        let (universe, sets) = (&self.universe, &mut self.sets);
        let people = universe.persons(sets, |person| person.is_some());
        let held = universe.held(sets, HELD_GOOD);
        sets.or(people, held)
    }

    /// Requests of callers who bring it neither a session nor a bearer token.
    pub(crate) fn anonymous(&mut self) -> Set {
        let (universe, sets) = (&self.universe, &mut self.sets);
        let nobody = universe.persons(sets, |person| person.is_none());
        let held = universe.held(sets, HELD_NONE);
        sets.and(nobody, held)
    }

    /// Whether a set depends on claims.
    pub(crate) fn looks_at_claims(&self, set: Set) -> bool {
        use crate::universe::Kind;
        self.sets.support(set).iter().any(|dim| {
            let kind = self.universe.dimension(*dim).map(|d| &d.kind);
            matches!(kind, Some(Kind::Claim(_) | Kind::Known))
        })
    }

    /// How a change of a header maps the classes of requests.
    pub(crate) fn header_maps(&mut self, change: &HeaderChange) -> Vec<(Dim, Vec<u16>)> {
        if let HeaderChange::AddIfAbsent(name, _) | HeaderChange::SetIfPresent(name, _) = change
            && self.universe.tokens.are_in(name)
        {
            self.give_up(format!(
                "a change of header `{name}` that depends on whether it is there, which tokens are looked for in"
            ));
        }
        if let HeaderChange::Add(name, _) = change
            && self.universe.joined.contains(name.as_str())
        {
            self.give_up(format!(
                "a line that is added to header `{name}`, whose lines are joined before rules look at them"
            ));
        }
        self.universe.header_maps(change)
    }

    /// What the rules of a listener say about tokens.
    pub(crate) fn judge(&mut self, snapshot: &Snapshot, view: &ListenerView<'_>) -> Judged {
        let (universe, version) = (&self.universe, snapshot.istio_version());
        let judged = universe
            .tokens
            .judge(universe, &mut self.sets, view, version);
        judged.unwrap_or_else(|why| {
            self.give_up(why);
            Judged::nothing()
        })
    }

    pub(crate) fn give_up(&mut self, why: String) {
        if !self.given_up.contains(&why) {
            self.given_up.push(why);
        }
    }

    /// Conditions that are not modelled and that membership depends on.
    pub(crate) fn not_modelled(&self, set: Set) -> Vec<String> {
        use crate::universe::Kind;
        let dims = self.sets.support(set);
        let names = dims
            .into_iter()
            .filter_map(|dim| match &self.universe.dimension(dim)?.kind {
                Kind::Opaque(name) => Some(name.clone()),
                _ => None,
            });
        names.collect()
    }

    pub(crate) fn looks_at_path(&mut self, set: Set) -> bool {
        !self.about_paths(set).is_empty()
    }

    fn about_paths(&mut self, set: Set) -> std::rc::Rc<[Dim]> {
        use crate::universe::Kind;
        if let Some(known) = self.about_paths.get(&set) {
            return known.clone();
        }
        let dims = self.sets.support(set).into_iter().filter(|dim| {
            let kind = self.universe.dimension(*dim).map(|d| &d.kind);
            matches!(kind, Some(Kind::Tail | Kind::Path(_)))
        });
        let dims: std::rc::Rc<[Dim]> = dims.collect();
        self.about_paths.insert(set, dims.clone());
        dims
    }

    /// Fixes what a path says about suffixes and path patterns.
    pub(crate) fn at_path(&mut self, set: Set, path: &str) -> Set {
        self.settle(
            set,
            Cell {
                text: path,
                region: false,
            },
        )
    }

    /// The requests that are in the set, or would be with another value of some
    /// of these dimensions.
    pub(crate) fn whatever(&mut self, set: Set, dims: &[Dim]) -> Set {
        let mut out = set;
        for dim in self.sets.support(set) {
            if !dims.contains(&dim) {
                continue;
            }
            let width = self.universe.width(dim);
            let mut any = Set::NONE;
            for class in (0..width).filter_map(|class| u16::try_from(class).ok()) {
                let one = self.sets.remap(out, dim, &vec![class; width]);
                any = self.sets.or(any, one);
            }
            out = any;
        }
        out
    }

    /// Fixes what the cell already says about suffixes and path patterns.
    pub(crate) fn settle(&mut self, set: Set, cell: Cell<'_>) -> Set {
        if set == Set::NONE || set == Set::ALL {
            return set;
        }
        let mut set = set;
        for dim in self.about_paths(set).iter().copied() {
            if dim == self.universe.tail_dim() {
                if !cell.region {
                    let class = self.universe.tail_class(cell.text);
                    let width = self.universe.width(dim);
                    set = self.sets.remap(set, dim, &vec![class; width]);
                }
                continue;
            }
            let Some((can_fail, can_hold)) = self.path_test(dim, cell) else {
                continue;
            };
            match (can_fail, can_hold) {
                (true, false) => set = self.sets.remap(set, dim, &[0, 0]),
                (false, true) => set = self.sets.remap(set, dim, &[1, 1]),
                _ => {}
            }
        }
        set
    }

    /// Whether a path condition can fail and can hold in a cell; `None` for
    /// dimensions that are no path conditions.
    fn path_test(&mut self, dim: Dim, cell: Cell<'_>) -> Option<(bool, bool)> {
        use crate::universe::Kind;
        let Kind::Path(test) = &self.universe.dimension(dim)?.kind else {
            return None;
        };
        if !cell.region {
            let holds = holds_for(&test.value, cell.text);
            return Some((!holds, holds));
        }
        let beginning = self.universe.beginning_of(dim).unwrap_or_default();
        if !cell.text.starts_with(beginning) && !beginning.starts_with(cell.text) {
            return Some((true, false));
        }
        let patterns = self.path_tests.entry(dim).or_insert_with(|| {
            let room = self.automata < MAX_AUTOMATA;
            let pattern = as_set(&test.value).filter(|_| room)?;
            let made = Patterns::new(&[pattern]).ok()?;
            self.automata += made.bytes();
            Some(made)
        });
        let Some(patterns) = patterns else {
            return Some((true, true));
        };
        let mut state = patterns.start().ok()?;
        for byte in cell.text.bytes() {
            state = patterns.next(state, byte);
        }
        let key = (dim, state.as_usize());
        if let Some(known) = self.reached.get(&key) {
            return Some(*known);
        }
        let found = patterns.continuations(state).unwrap_or((true, true));
        self.reached.insert(key, found);
        Some(found)
    }
}
