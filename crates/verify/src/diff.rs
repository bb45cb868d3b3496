//! Which requests two configurations answer differently.

use std::collections::BTreeSet;
use std::rc::Rc;

use policy::{Entrance, HostView, RouteView, Snapshot, TestValue};
use rustc_hash::FxHashMap;

use crate::analysis::{Analysis, Flow, Outcome, literal};
use crate::claims::{not_followed, not_understood};
use crate::classes::authorities;
use crate::engine::Engine;
use crate::mdd::Set;
use crate::paths::Strings;
use crate::witness::{self, Witness};

/// How an answer changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Reaches something it did not reach.
    Opened,
    /// Reaches nothing any more.
    Closed,
    /// Is asked to log in, and was not.
    Redirected,
    /// Reaches something else.
    Moved,
    /// Reaches nothing before and after, and is told otherwise.
    Told,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Opened,
        Self::Closed,
        Self::Redirected,
        Self::Moved,
        Self::Told,
    ];

    /// The name used in options and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Redirected => "redirected",
            Self::Moved => "moved",
            Self::Told => "told",
        }
    }

    fn of(old: Outcome<'_>, new: Outcome<'_>) -> Option<Self> {
        match (old, new) {
            (Outcome::Reaches(a), Outcome::Reaches(b)) => (a != b).then_some(Self::Moved),
            (_, Outcome::Reaches(_)) => Some(Self::Opened),
            (Outcome::Login, Outcome::Login) => None,
            (_, Outcome::Login) => Some(Self::Redirected),
            (Outcome::Reaches(_), _) => Some(Self::Closed),
            (a, b) => (a != b).then_some(Self::Told),
        }
    }
}

/// Requests whose answer changes in one way, for one reason.
#[derive(Clone, Debug)]
pub struct Change {
    /// How.
    pub kind: Kind,
    /// A request, with the steps of the new decision.
    pub witness: Witness,
    /// What the old configuration answers.
    pub before: String,
    /// Groups of requests with the same cause.
    pub count: usize,
}

/// All changes.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// Opened first.
    pub changes: Vec<Change>,
    /// What could not be decided.
    pub undecided: Vec<String>,
}

type Key<'s> = (Kind, Entrance, Trail<'s>, Trail<'s>, u64, u64);
type Trail<'s> = Vec<(&'s resources::ObjectRef, &'s str)>;

/// Compares two configurations over all requests.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Difference {
    let mut engine = Engine::new(&[old, new]);
    let before = Analysis::new(&mut engine, old);
    let after = Analysis::new(&mut engine, new);
    let mut groups: FxHashMap<Key<'_>, (Option<(Witness, String)>, usize)> = FxHashMap::default();
    let mut out = Difference::default();
    for entrance in [Entrance::External, Entrance::Local] {
        let (Some(a), Some(b)) = (before.entrance(entrance), after.entrance(entrance)) else {
            if before.entrance(entrance) != after.entrance(entrance) {
                out.undecided.push(format!(
                    "the {} listener exists in one of the two only",
                    match entrance {
                        Entrance::External => "external",
                        Entrance::Local => "cluster-local",
                    }
                ));
            }
            continue;
        };
        for name in names(&before, a, &after, b) {
            let Some(pair) = Pair::new(&mut engine, (&before, a), (&after, b), &name) else {
                continue;
            };
            let mut strings: Strings = std::iter::empty().collect();
            strings.extend(&pair.old.strings);
            strings.extend(&pair.new.strings);
            for cell in strings.cells() {
                let olds = before.flows(&mut engine, a, &pair.old, cell);
                let news = after.flows(&mut engine, b, &pair.new, cell);
                for flow in &news {
                    for was in &olds {
                        if flow.outcome == Outcome::Unknown || was.outcome == Outcome::Unknown {
                            let unknown = [flow, was].into_iter().filter_map(not_followed);
                            out.undecided.extend(unknown);
                            continue;
                        }
                        let Some(kind) = Kind::of(was.outcome, flow.outcome) else {
                            continue;
                        };
                        let set = engine.sets.and(flow.set, was.set);
                        if set == Set::NONE {
                            continue;
                        }
                        let key = (
                            kind,
                            entrance,
                            trail(was),
                            trail(flow),
                            was.cause,
                            flow.cause,
                        );
                        let group = groups.entry(key).or_default();
                        group.1 += 1;
                        if group.1 > MAX_TRIED && group.0.is_some() {
                            continue;
                        }
                        let narrowed = Flow {
                            set,
                            ..flow.clone()
                        };
                        let found =
                            witness::find(&mut engine, new, entrance, &narrowed, cell, &strings);
                        let Some(found) = found else {
                            continue;
                        };
                        let earlier = witness::decision(old, &found.head);
                        let shorter = |known: &(Witness, String)| found.cost() < known.0.cost();
                        if earlier.verdict.is(was.outcome) && group.0.as_ref().is_none_or(shorter) {
                            group.0 = Some((found, earlier.answer));
                        }
                    }
                }
            }
        }
    }
    for ((kind, _, _, after, ..), (found, count)) in groups {
        match found {
            Some((witness, before)) => out.changes.push(Change {
                kind,
                witness,
                before,
                count,
            }),
            None => {
                let place = after
                    .last()
                    .map(|(object, place)| format!("{object} {place}"));
                out.undecided.push(format!(
                    "{}: a request that is {} seems possible, and none was found",
                    place.unwrap_or_default(),
                    kind.name()
                ));
            }
        }
    }
    out.changes
        .sort_by_key(|change| (change.kind, change.witness.cost()));
    merge(&mut out.changes);
    for snapshot in [old, new] {
        out.undecided.extend(not_understood(snapshot));
    }
    out.undecided.extend(engine.given_up.iter().cloned());
    if engine.sets.exhausted() {
        out.undecided
            .push("too many different sets of requests: the bound on memory was hit".to_owned());
    }
    out.undecided.sort();
    out.undecided.dedup();
    out
}

const MAX_TRIED: usize = 8;

/// Changes with the same steps before and after are one.
fn merge(changes: &mut Vec<Change>) {
    let mut out: Vec<Change> = Vec::new();
    for change in changes.drain(..) {
        let deciding = |c: &Change| -> BTreeSet<String> {
            let steps = c.witness.steps.iter();
            let objects =
                steps.filter_map(|s| s.object.as_ref().map(|(o, _)| format!("{o} {:?}", s.stage)));
            objects.collect()
        };
        let same = out.iter_mut().find(|known| {
            known.kind == change.kind
                && known.before == change.before
                && known.witness.answer == change.witness.answer
                && deciding(known) == deciding(&change)
        });
        match same {
            Some(known) => known.count += change.count,
            None => out.push(change),
        }
    }
    *changes = out;
}

fn trail<'s>(flow: &Flow<'s>) -> Trail<'s> {
    flow.trail
        .iter()
        .map(|r: &RouteView<'s>| (r.object(), r.place()))
        .collect()
}

/// Names of all virtual hosts of both.
fn names(before: &Analysis<'_>, a: usize, after: &Analysis<'_>, b: usize) -> BTreeSet<String> {
    let of = |analysis: &Analysis<'_>, index: usize| -> Vec<String> {
        let hosts = analysis
            .listener(index)
            .map(|l| l.hosts())
            .unwrap_or_default();
        hosts.iter().map(|h| h.name().to_owned()).collect()
    };
    of(before, a).into_iter().chain(of(after, b)).collect()
}

/// The authorities of one virtual host name, in both configurations.
struct Pair<'s> {
    old: Rc<crate::analysis::HostPart<'s>>,
    new: Rc<crate::analysis::HostPart<'s>>,
}

impl<'s> Pair<'s> {
    fn new(
        engine: &mut Engine,
        (before, a): (&Analysis<'s>, usize),
        (after, b): (&Analysis<'s>, usize),
        name: &str,
    ) -> Option<Self> {
        let (old, new) = (before.listener(a)?, after.listener(b)?);
        let belongs = |authority: &str| {
            let names = [old.select(authority), new.select(authority)];
            let names: Vec<&str> = names.iter().flatten().map(HostView::name).collect();
            // The more specific of the two names is the one it is looked at under.
            names.contains(&name) && names.iter().all(|other| !is_more_specific(other, name))
        };
        let example = old.examples(name).into_iter().find(|e| belongs(e))?;
        let (was, is) = (old.select(&example), new.select(&example));
        let mut tests: Vec<TestValue> = Vec::new();
        for (analysis, index, host) in [(before, a, was), (after, b, is)] {
            if let Some(host) = host {
                tests.extend(analysis.tests(index, host));
            }
        }
        let classes =
            before.joint_classes(engine, after, [(a, was), (b, is)], name, &tests, belongs);
        let old = before.part_of(engine, a, was, &classes, &tests)?;
        let new = after.part_of(engine, b, is, &classes, &tests)?;
        Some(Self { old, new })
    }
}

/// Whether a virtual host name is found before another one.
fn is_more_specific(name: &str, than: &str) -> bool {
    match (name.strip_prefix('*'), than.strip_prefix('*')) {
        (None, Some(_)) => true,
        (Some(a), Some(b)) => a.len() > b.len(),
        (_, None) => false,
    }
}

impl<'s> Analysis<'s> {
    /// Classes of authorities that neither of two configurations divides.
    pub(crate) fn joint_classes(
        &self,
        engine: &mut Engine,
        other: &Self,
        at: [(usize, Option<HostView<'s>>); 2],
        name: &str,
        tests: &[TestValue],
        belongs: impl Fn(&str) -> bool,
    ) -> Rc<[String]> {
        let borrowed: Vec<&TestValue> = tests.iter().collect();
        let [(a, was), (b, is)] = at;
        let next = |side: &Self, host: Option<HostView<'s>>| {
            host.map(|host| side.next_listeners(host))
                .unwrap_or_default()
        };
        let sides = [(self, a, next(self, was)), (other, b, next(other, is))];
        let mut named = sides
            .iter()
            .find_map(|(side, index, _)| Some(side.listener(*index)?.examples(name)))
            .unwrap_or_default();
        named.extend(tests.iter().filter_map(literal));
        for (side, index, next) in &sides {
            let listener = side.listener(*index);
            named.extend(listener.map(|l| l.view.port()).iter().flat_map(|port| {
                let hosts = listener.map(|l| l.examples(name)).unwrap_or_default();
                hosts.into_iter().map(move |h| format!("{h}:{port}"))
            }));
            for further in next.iter().filter_map(|i| side.listener(*i)) {
                let hosts = further.hosts();
                named.extend(hosts.iter().flat_map(|h| further.examples(h.name())));
            }
        }
        let signature = |authority: &str| -> Vec<Option<&'s str>> {
            let all = sides
                .iter()
                .flat_map(|(side, _, next)| side.selected(next, authority));
            all.collect()
        };
        match authorities(&borrowed, named.into_iter(), belongs, signature) {
            Ok(classes) => classes.into(),
            Err(_) => {
                engine.give_up(format!(
                    "conditions on the authority of `{name}` are too complex together"
                ));
                Rc::new([])
            }
        }
    }
}
