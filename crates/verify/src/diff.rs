//! Which requests two configurations answer differently.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use policy::{Entrance, HostView, RequestHead, RouteView, Snapshot, TestValue};
use rustc_hash::FxHashMap;

use crate::analysis::{Analysis, Flow, ODD_PORTS, Outcome, literal};
use crate::callers::Asker;
use crate::cells::{Partition, Wanted, pieces};
use crate::classes::authorities;
use crate::decided::decision;
use crate::engine::Engine;
use crate::globals::Globals;
use crate::listener::ListenerPart;
use crate::mdd::Set;
use crate::parts::HostPart;
use crate::paths::{Cell, Strings};
use crate::questions::{not_followed, not_understood};
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

type Key<'s> = (Kind, usize, Trail<'s>, Trail<'s>, u64, u64);
type Trail<'s> = Vec<(&'s resources::ObjectRef, &'s str)>;

/// What is gathered for one cause: the easiest request.
type Group = (Option<RequestHead>, usize);

/// Compares two configurations over all requests.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Difference {
    let mut engine = Engine::new(&[old, new]);
    let before = Analysis::new(&mut engine, old);
    let after = Analysis::new(&mut engine, new);
    let mut comparison = Comparison {
        before: &before,
        after: &after,
        groups: FxHashMap::default(),
        undecided: Vec::new(),
    };
    for [a, b] in listeners(&before, &after, &mut comparison.undecided) {
        if let (Some(a), Some(b)) = (before.listener(a), after.listener(b)) {
            comparison.listener(&mut engine, [a, b]);
        }
    }
    let mut out = comparison.difference();
    for snapshot in [old, new] {
        out.undecided.extend(not_understood(snapshot));
    }
    out.undecided.extend(engine.given_up.iter().cloned());
    if engine.sets.exhausted() {
        out.undecided
            .push("too many different sets of requests: a bound was hit".to_owned());
    }
    out.undecided.sort();
    out.undecided.dedup();
    out
}

/// The listeners of two configurations that take the place of each other: of
/// each entrance, and of each name; servers that terminate TLS as far as they
/// share server names, which the sets of requests say.
fn listeners(
    before: &Analysis<'_>,
    after: &Analysis<'_>,
    undecided: &mut Vec<String>,
) -> Vec<[usize; 2]> {
    let mut all = Vec::new();
    for entrance in [Entrance::External, Entrance::Local] {
        match (before.entrance(entrance), after.entrance(entrance)) {
            (Some(old), Some(new)) => all.push([old, new]),
            (None, None) => {}
            _ => undecided.push(format!(
                "the {} listener exists in one of the two only",
                match entrance {
                    Entrance::External => "external",
                    Entrance::Local => "cluster-local",
                }
            )),
        }
    }
    let others = |analysis: &Analysis<'_>| {
        let views = analysis.listeners.iter().map(|part| part.view);
        let others = views.filter(|view| view.entrance().is_none());
        let others = others.map(|view| (view.id().clone(), view.index(), view.describe()));
        others.collect::<Vec<_>>()
    };
    let (olds, news) = (others(before), others(after));
    for (id, new, name) in &news {
        let same = olds.iter().filter(|(known, ..)| known == id);
        let pairs: Vec<[usize; 2]> = same.map(|(_, old, _)| [*old, *new]).collect();
        if pairs.is_empty() {
            undecided.push(format!("{name} is new"));
        }
        all.extend(pairs);
    }
    for (id, _, name) in &olds {
        if news.iter().all(|(known, ..)| known != id) {
            undecided.push(format!("{name} is gone"));
        }
    }
    all
}

struct Comparison<'a, 's> {
    before: &'a Analysis<'s>,
    after: &'a Analysis<'s>,
    groups: FxHashMap<Key<'s>, Group>,
    undecided: Vec<String>,
}

impl<'s> Comparison<'_, 's> {
    /// All virtual hosts of a listener; those are passed over for which nothing
    /// changed.
    fn listener(&mut self, engine: &mut Engine, sides: [&ListenerPart<'s>; 2]) {
        let globals = Globals::new(engine, sides.map(|side| &*side.ground));
        let [old, new] = sides;
        let same_steps = old.steps == new.steps
            && old.domain == new.domain
            && old.view.port() == new.view.port()
            && old.view.trusted_proxies() == new.view.trusted_proxies()
            && self.before.snapshot.enforces() == self.after.snapshot.enforces();
        for name in names(sides) {
            let same = same_steps && self.is_same_host(sides, &name);
            if same && globals.is_same() {
                continue;
            }
            let Some(pair) = Pair::new(engine, (self.before, old), (self.after, new), &name) else {
                continue;
            };
            let mut own: Strings = std::iter::empty().collect();
            own.extend(&pair.old.strings);
            own.extend(&pair.new.strings);
            let partition = Partition {
                own: &own,
                globals: &globals,
            };
            let placed = [(old, &*pair.old), (new, &*pair.new)];
            for piece in pieces(engine, partition, placed, Wanted::All) {
                if engine.sets.exhausted() {
                    return;
                }
                let [was, is] = &piece.sides;
                if same && was == is {
                    continue;
                }
                let olds = self.before.flows(engine, placed[0], piece.cell, was);
                let news = self.after.flows(engine, placed[1], piece.cell, is);
                for flow in &news {
                    for was in &olds {
                        self.compare(engine, (sides, piece.cell, partition), was, flow);
                    }
                }
            }
        }
    }

    /// Whether a virtual host has the same routes and rules of its own in both,
    /// and leads to no other listener, under whatever authority, nor to a sidecar.
    fn is_same_host(&self, [old, new]: [&ListenerPart<'s>; 2], name: &str) -> bool {
        let (Some(was), Some(is)) = (old.view.named(name), new.view.named(name)) else {
            return false;
        };
        was.is_like(is)
            && !self.before.leads_on(was)
            && !self.after.leads_on(is)
            && old.rules.of_host(name) == new.rules.of_host(name)
    }

    fn compare(
        &mut self,
        engine: &mut Engine,
        ([old, new], cell, partition): ([&ListenerPart<'s>; 2], Cell<'_>, Partition<'_>),
        was: &Flow<'s>,
        flow: &Flow<'s>,
    ) {
        if flow.outcome.is_open() || was.outcome.is_open() {
            let unknown = [flow, was].into_iter();
            let unknown = unknown.filter_map(|f| not_followed(&f.trail, f.outcome));
            self.undecided.extend(unknown);
            return;
        }
        let Some(kind) = Kind::of(was.outcome, flow.outcome) else {
            return;
        };
        let set = engine.sets.and(flow.set, was.set);
        if set == Set::NONE {
            return;
        }
        let key = (
            kind,
            new.view.index(),
            trail(was),
            trail(flow),
            was.cause,
            flow.cause,
        );
        let (known, count) = self.groups.entry(key).or_default();
        *count += 1;
        if *count > MAX_TRIED && known.is_some() {
            return;
        }
        let narrowed = Flow {
            set,
            ..flow.clone()
        };
        let found = witness::find(
            engine,
            self.after.snapshot,
            new.view,
            &narrowed,
            cell,
            partition,
            known.as_ref(),
        );
        let agrees = |found: &RequestHead| {
            let mut head = found.clone();
            let tls = head.connection.tls.take();
            witness::arrive(&mut head, old.view);
            head.connection.tls = tls;
            let earlier = decision(self.before.snapshot, &head);
            earlier.verdict.is(was.outcome)
        };
        if let Some(found) = found.map(|(head, _)| head).filter(agrees) {
            *known = Some(found);
        }
    }

    fn difference(self) -> Difference {
        let mut out = Difference {
            undecided: self.undecided,
            ..Difference::default()
        };
        for ((kind, _, _, after, ..), (found, count)) in self.groups {
            match found {
                Some(head) => out.changes.push(Change {
                    kind,
                    before: decision(self.before.snapshot, &head).answer,
                    witness: Witness::of(self.after.snapshot, (head, Asker::default())),
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
            .sort_by(|a, b| (a.kind, a.witness.cost()).cmp(&(b.kind, b.witness.cost())));
        merge(&mut out.changes);
        out
    }
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
fn names(listeners: [&ListenerPart<'_>; 2]) -> BTreeSet<String> {
    let hosts = listeners.into_iter().flat_map(ListenerPart::hosts);
    hosts.map(|host| host.name().to_owned()).collect()
}

/// The authorities of one virtual host name, in both configurations.
struct Pair<'s> {
    old: Rc<HostPart<'s>>,
    new: Rc<HostPart<'s>>,
}

impl<'s> Pair<'s> {
    fn new(
        engine: &mut Engine,
        (before, old): (&Analysis<'s>, &ListenerPart<'s>),
        (after, new): (&Analysis<'s>, &ListenerPart<'s>),
        name: &str,
    ) -> Option<Self> {
        let (a, b) = (old.view.index(), new.view.index());
        let belongs = |authority: &str| {
            let names = [old.select(authority), new.select(authority)];
            let names: Vec<&str> = names.iter().flatten().map(HostView::name).collect();
            // The more specific of the two names is the one it is looked at under.
            names.contains(&name) && names.iter().all(|other| !is_more_specific(other, name))
        };
        let example = old.examples(name).into_iter().find(|e| belongs(e))?;
        let (was, is) = (old.select(&example), new.select(&example));
        let mut tests: Vec<Arc<TestValue>> = Vec::new();
        for (analysis, index, host) in [(before, a, was), (after, b, is)] {
            if let Some(host) = host {
                tests.extend(analysis.tests(index, host));
            }
        }
        let classes =
            before.joint_classes(engine, after, [(a, was), (b, is)], name, &tests, belongs);
        let old = before.part_of(engine, a, was, &classes)?;
        let new = after.part_of(engine, b, is, &classes)?;
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
        tests: &[Arc<TestValue>],
        belongs: impl Fn(&str) -> bool,
    ) -> Rc<[String]> {
        let borrowed: Vec<&TestValue> = tests.iter().map(|test| &**test).collect();
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
        named.extend(tests.iter().filter_map(|test| literal(test)));
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
        let mut within = Ok(Vec::new());
        for (side, index, next) in &sides {
            if let Some(listener) = side.listener(*index) {
                let more = side.told_apart(&borrowed, listener, name, next);
                within = within.and_then(|mut all: Vec<String>| {
                    all.extend(more?);
                    Ok(all)
                });
            }
        }
        let named = named.into_iter();
        match within.and_then(|all| authorities(&borrowed, &all, named, belongs, signature)) {
            Ok(classes) => {
                if !classes.complete {
                    engine.give_up(ODD_PORTS.to_owned());
                }
                classes.examples.into()
            }
            Err(_) => {
                engine.give_up(format!(
                    "conditions on the authority of `{name}` are too complex together"
                ));
                Rc::new([])
            }
        }
    }
}
