//! All requests of a configuration: which go where, and which do not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use policy::{
    Attribute, Condition, Destination, Entrance, HostView, Owner, RewriteView, RouteStep,
    RouteView, RuleAction, Snapshot, TestValue,
};
use rustc_hash::FxHashMap;

use crate::classes::authorities;
use crate::engine::Engine;
use crate::language::holds_for;
use crate::listener::ListenerPart;
use crate::mdd::{Dim, Set};
use crate::paths::{Cell, Strings};
use crate::scope::Scope;
use crate::terms::{Context, Term, terms};
use crate::universe::{AUTHORITY, IDENTITY, tests_of};
use crate::walk::Walk;

/// What becomes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'s> {
    /// They reach this destination.
    Reaches(&'s Destination),
    /// The route, or the login machinery, answers by itself.
    Answered,
    /// A login is asked for.
    Login,
    /// A token is asked for.
    Token,
    /// Another authorizer decides; what it says is not known.
    Authorizer,
    /// Denied: 401 or 403.
    Denied,
    /// No route: 404.
    NoRoute,
    /// Not known: a path is rewritten by a regular expression.
    Unknown,
}

/// Requests that are treated alike.
#[derive(Clone, Debug)]
pub(crate) struct Flow<'s> {
    pub(crate) authorities: Rc<[String]>,
    pub(crate) trail: Vec<RouteView<'s>>,
    pub(crate) outcome: Outcome<'s>,
    pub(crate) set: Set,
    /// No identity header of the client's is left on the request.
    pub(crate) cleaned: bool,
    /// Equal for flows that the same rules decide.
    pub(crate) cause: u64,
}

/// One configuration.
pub(crate) struct Analysis<'s> {
    pub(crate) snapshot: &'s Snapshot,
    pub(crate) listeners: Vec<ListenerPart<'s>>,
    parts: RefCell<FxHashMap<PartKey, Rc<HostPart<'s>>>>,
}

/// Listener, virtual host, authorities, and how many crossings came before.
type PartKey = (usize, String, Rc<[String]>, usize);

/// A virtual host, for some authorities.
pub(crate) struct HostPart<'s> {
    pub(crate) authorities: Rc<[String]>,
    /// What divides them.
    authority_tests: Vec<TestValue>,
    pub(crate) scope: RefCell<Scope>,
    pub(crate) routes: Vec<RoutePart<'s>>,
    pub(crate) strings: Strings,
    pub(crate) requires_tls: bool,
}

pub(crate) struct RoutePart<'s> {
    pub(crate) view: RouteView<'s>,
    pub(crate) terms: Vec<Term>,
    pub(crate) ways: Vec<WayPart<'s>>,
    /// What EnvoyFilters change here, by step of the listener.
    pub(crate) changes: Vec<(usize, Change)>,
}

/// What a route changes about a step.
pub(crate) enum Change {
    Off,
    On,
    Refused,
    /// Requests that match are denied, or those that do not.
    Rules {
        denies: bool,
        terms: Vec<Term>,
    },
}

pub(crate) struct WayPart<'s> {
    pub(crate) destination: Option<&'s Destination>,
    /// Where it goes on, by classes of the authority.
    pub(crate) next: Vec<(Set, Option<Rc<HostPart<'s>>>)>,
    pub(crate) next_listener: Option<usize>,
    pub(crate) headers: Vec<(Dim, Vec<u16>)>,
    /// It puts a value of its own into the identity header.
    pub(crate) sets_identity: bool,
}

/// Path that Knative probes.
pub(crate) const PROBED: &str = "/healthz";

/// Crossings of the gateway that are followed, as many as the decision follows.
pub(crate) const MAX_HOPS: usize = 6;

impl<'s> Analysis<'s> {
    pub(crate) fn new(engine: &mut Engine, snapshot: &'s Snapshot) -> Self {
        let listeners = snapshot
            .listeners()
            .map(|view| ListenerPart::new(engine, snapshot, view))
            .collect();
        Self {
            snapshot,
            listeners,
            parts: RefCell::default(),
        }
    }

    pub(crate) fn listener(&self, index: usize) -> Option<&ListenerPart<'s>> {
        self.listeners.get(index)
    }

    /// The virtual host with the classes of its authorities.
    pub(crate) fn host(
        &self,
        engine: &mut Engine,
        listener: usize,
        host: HostView<'s>,
    ) -> Option<Rc<HostPart<'s>>> {
        let part = self.listener(listener)?;
        let next = self.next_listeners(host);
        let tests = self.authority_tests(listener, host, &next);
        let borrowed: Vec<&TestValue> = tests.iter().collect();
        let belongs = |authority: &str| {
            part.select(authority)
                .is_some_and(|found| found.name() == host.name())
                && is_authority(authority)
        };
        let mut named = part.examples(host.name());
        named.extend(tests.iter().filter_map(literal));
        // Where a route goes on to another listener under the same authority,
        // that listener's virtual hosts divide authorities too.
        for listener in next.iter().filter_map(|i| self.listener(*i)) {
            for other in listener.hosts() {
                named.extend(listener.examples(other.name()));
            }
        }
        let port = part.view.port();
        let with_port = named
            .iter()
            .map(|n| format!("{n}:{port}"))
            .collect::<Vec<_>>();
        let named = named.into_iter().chain(with_port);
        let classes = match authorities(&borrowed, named, belongs, |a| self.selected(&next, a)) {
            Ok(classes) => classes,
            Err(_) => {
                engine.give_up(format!(
                    "conditions on the authority of `{}` are too complex together",
                    host.name()
                ));
                part.examples(host.name())
            }
        };
        self.part(engine, listener, Some(host), classes.into(), &tests, 0)
    }

    /// What divides the authorities of a virtual host, there and at the
    /// listeners where they are looked at again.
    fn authority_tests(
        &self,
        listener: usize,
        host: HostView<'s>,
        next: &[usize],
    ) -> Vec<TestValue> {
        let mut conditions: Vec<Condition> = host.routes().map(|r| r.condition()).collect();
        let further = next.iter().filter_map(|i| self.listener(*i));
        for route in further
            .clone()
            .flat_map(|l| l.hosts())
            .flat_map(|h| h.routes())
        {
            conditions.push(route.condition());
        }
        let mut tests = Vec::new();
        for condition in &conditions {
            tests_of(condition, &Attribute::Authority, &mut tests);
        }
        let here = self
            .listener(listener)
            .into_iter()
            .flat_map(|l| l.rules_for(host.name()));
        for rule in here.chain(further.flat_map(|l| &l.rules)) {
            tests_of(&rule.condition, &Attribute::Authority, &mut tests);
        }
        let distinct: BTreeMap<String, &TestValue> = tests
            .into_iter()
            .map(|t| (crate::language::key(t), t))
            .collect();
        distinct.into_values().cloned().collect()
    }

    /// The listener of an entrance.
    pub(crate) fn entrance(&self, entrance: Entrance) -> Option<usize> {
        let mut listeners = self.listeners.iter();
        let found = listeners.find(|l| l.view.entrance() == Some(entrance))?;
        Some(found.view.index())
    }

    /// What divides the authorities of a virtual host.
    pub(crate) fn tests(&self, listener: usize, host: HostView<'s>) -> Vec<TestValue> {
        self.authority_tests(listener, host, &self.next_listeners(host))
    }

    /// A virtual host, or none, for given classes of authorities.
    pub(crate) fn part_of(
        &self,
        engine: &mut Engine,
        listener: usize,
        host: Option<HostView<'s>>,
        classes: &Rc<[String]>,
        tests: &[TestValue],
    ) -> Option<Rc<HostPart<'s>>> {
        self.part(engine, listener, host, classes.clone(), tests, 0)
    }

    /// Listeners that routes of a host lead to with the authority unchanged,
    /// and those that these lead to.
    pub(crate) fn next_listeners(&self, host: HostView<'s>) -> Vec<usize> {
        let leads_on = host.routes().any(|route| {
            let ways = route.ways();
            ways.into_iter().any(|way| {
                way.authority.is_none()
                    && way
                        .destination
                        .is_some_and(|d| self.snapshot.next_listener(d).is_some())
            })
        });
        if leads_on {
            (0..self.listeners.len()).collect()
        } else {
            Vec::new()
        }
    }

    pub(crate) fn selected(&self, listeners: &[usize], authority: &str) -> Vec<Option<&'s str>> {
        let selected = listeners
            .iter()
            .map(|i| self.listener(*i)?.select(authority).map(|h| h.name()));
        selected.collect()
    }

    /// The class of an authority among those of a virtual host.
    pub(crate) fn class_of(
        &self,
        part: &HostPart<'s>,
        host: HostView<'s>,
        authority: &str,
    ) -> Option<u16> {
        let next = self.next_listeners(host);
        let class = |text: &str| -> (Vec<bool>, Vec<Option<&'s str>>) {
            let tests = part.authority_tests.iter();
            (
                tests.map(|t| holds_for(t, text)).collect(),
                self.selected(&next, text),
            )
        };
        let wanted = class(authority);
        let found = part.authorities.iter().position(|a| class(a) == wanted);
        found.and_then(|i| u16::try_from(i).ok())
    }

    fn part(
        &self,
        engine: &mut Engine,
        listener: usize,
        host: Option<HostView<'s>>,
        authorities: Rc<[String]>,
        tests: &[TestValue],
        depth: usize,
    ) -> Option<Rc<HostPart<'s>>> {
        let name = host.map_or("", |host| host.name());
        let key = (listener, name.to_owned(), authorities.clone(), depth);
        if let Some(known) = self.parts.borrow().get(&key) {
            return Some(known.clone());
        }
        let part = self.listener(listener)?;
        let mut scope = Scope::default();
        let port = part.view.port();
        let rules = match host {
            Some(host) => part.rules_for(host.name()),
            // Without a virtual host there is no route, and rules still deny.
            None => part.rules.iter().filter(|r| r.is_local).collect(),
        };
        for rule in &rules {
            let compiled = compile(engine, port, &authorities, &rule.condition);
            match compiled {
                Some(terms) => terms.into_iter().for_each(|t| scope.add(rule.step, t)),
                None => engine.give_up("a rule has too many combinations".to_owned()),
            }
        }
        let mut strings: Strings = std::iter::empty().collect();
        strings.extend(&part.global_strings);
        scope.strings(&mut strings);
        let mut routes = Vec::new();
        for view in host.iter().flat_map(|host| host.routes()) {
            let Some(terms) = compile(engine, port, &authorities, &view.condition()) else {
                engine.give_up(format!(
                    "{} {} has too many combinations",
                    view.object(),
                    view.place()
                ));
                continue;
            };
            for text in terms.iter().flat_map(|t| t.strings()) {
                strings.add(text);
            }
            if view.access().owner == Owner::Model {
                strings.add(PROBED);
            }
            if matches!(view.access().owner, Owner::Platform | Owner::LoginMachinery) {
                for path in self.snapshot.open_paths() {
                    strings.add(path);
                }
            }
            let ways = self.ways(engine, view, &authorities, depth, &mut strings);
            let changes = changes(engine, part, port, &authorities, view, &mut strings);
            routes.push(RoutePart {
                view,
                terms,
                ways,
                changes,
            });
        }
        let made = Rc::new(HostPart {
            authorities,
            authority_tests: tests.to_vec(),
            scope: RefCell::new(scope),
            routes,
            strings,
            requires_tls: host.is_some_and(|host| host.requires_tls()),
        });
        self.parts.borrow_mut().insert(key, made.clone());
        Some(made)
    }

    fn ways(
        &self,
        engine: &mut Engine,
        view: RouteView<'s>,
        authorities: &Rc<[String]>,
        depth: usize,
        strings: &mut Strings,
    ) -> Vec<WayPart<'s>> {
        let mut out = Vec::new();
        for way in view.ways() {
            // A Service that is not there is answered with an error.
            let destination = way.destination.filter(|_| !way.missing);
            let next_listener = destination.and_then(|d| self.snapshot.next_listener(d));
            let mut next: Vec<(Set, Option<Rc<HostPart<'s>>>)> = Vec::new();
            if let Some(listener) = next_listener
                && depth + 1 < MAX_HOPS
            {
                next = self.next_parts(engine, listener, way.authority, authorities, depth);
                for (_, part) in &next {
                    if let Some(part) = part {
                        map_back(&part.strings, view.rewrite(), strings);
                    }
                }
            }
            let headers = way.headers.iter();
            let headers = headers
                .filter_map(|h| engine.universe.header_map(h))
                .collect();
            let sets_identity = way.headers.iter().any(|change| {
                let (policy::HeaderChange::Set(name, _) | policy::HeaderChange::Remove(name)) =
                    change
                else {
                    return false;
                };
                name == IDENTITY
            });
            out.push(WayPart {
                sets_identity,
                destination,
                next,
                next_listener,
                headers,
            });
        }
        out
    }

    /// Where requests go on at another listener, by classes of the authority.
    fn next_parts(
        &self,
        engine: &mut Engine,
        listener: usize,
        authority: Option<&str>,
        authorities: &Rc<[String]>,
        depth: usize,
    ) -> Vec<(Set, Option<Rc<HostPart<'s>>>)> {
        let Some(part) = self.listener(listener) else {
            return Vec::new();
        };
        if let Some(authority) = authority {
            let fixed: Rc<[String]> = vec![authority.to_owned()].into();
            let host = part.select(authority);
            let next = self.part(engine, listener, host, fixed, &[], depth + 1);
            return vec![(Set::ALL, next)];
        }
        let mut groups: BTreeMap<Option<&str>, (Option<HostView<'s>>, Vec<bool>)> = BTreeMap::new();
        for (index, authority) in authorities.iter().enumerate() {
            let host = part.select(authority);
            let (_, members) = groups
                .entry(host.map(|h| h.name()))
                .or_insert_with(|| (host, vec![false; authorities.len()]));
            if let Some(slot) = members.get_mut(index) {
                *slot = true;
            }
        }
        let mut out = Vec::new();
        for (host, members) in groups.into_values() {
            let set = engine.sets.classes(AUTHORITY, members);
            let next = self.part(engine, listener, host, authorities.clone(), &[], depth + 1);
            out.push((set, next));
        }
        out
    }

    /// What becomes of the requests of a cell: disjoint sets that together are
    /// all requests the listener can see.
    pub(crate) fn flows(
        &self,
        engine: &mut Engine,
        listener: usize,
        part: &HostPart<'s>,
        cell: Cell<'_>,
    ) -> Vec<Flow<'s>> {
        let mut out = Vec::new();
        let Some(at) = self.listener(listener) else {
            return out;
        };
        let mut walk = Walk {
            analysis: self,
            engine,
            entrance: at.view.entrance(),
            authorities: part.authorities.clone(),
            cleaned: self.snapshot.enforces(),
            out: &mut out,
        };
        walk.crossing(at, part, cell, at.domain, &mut Vec::new(), 0);
        // What is not known overlaps what is.
        out.sort_by_key(|flow| flow.outcome == Outcome::Unknown);
        out
    }
}

/// A path as it is after a rewrite, and the strings of what comes next as they
/// are before it.
fn map_back(next: &Strings, rewrite: RewriteView<'_>, strings: &mut Strings) {
    for cell in next.cells().filter(|c| !c.region) {
        match rewrite {
            RewriteView::None => strings.add(cell.text),
            RewriteView::Prefix { from, to } => {
                if let Some(rest) = cell.text.strip_prefix(to) {
                    strings.add(&format!("{from}{rest}"));
                }
            }
            RewriteView::Whole(_) | RewriteView::Regex => {}
        }
    }
}

pub(crate) fn compile(
    engine: &mut Engine,
    port: u16,
    authorities: &[String],
    condition: &Condition,
) -> Option<Vec<Term>> {
    let context = Context {
        universe: &engine.universe,
        port,
        authorities,
    };
    terms(&mut engine.sets, &context, condition)
}

pub(crate) fn literal(test: &policy::TestValue) -> Option<String> {
    use policy::{Matcher, TestValue};
    match test {
        TestValue::Text(Matcher::Exact(t)) | TestValue::TextIgnoringCase(Matcher::Exact(t)) => {
            Some(t.clone())
        }
        _ => None,
    }
}

fn is_authority(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+;=[]@%".contains(&b))
}

/// What EnvoyFilters change on a route, compiled.
fn changes(
    engine: &mut Engine,
    part: &ListenerPart<'_>,
    port: u16,
    authorities: &[String],
    view: RouteView<'_>,
    strings: &mut Strings,
) -> Vec<(usize, Change)> {
    let mut out = Vec::new();
    for step in 0..part.steps.len() {
        let change = match view.step(step) {
            RouteStep::AsListener => continue,
            RouteStep::Off => Change::Off,
            RouteStep::On => Change::On,
            RouteStep::Refused(_) => Change::Refused,
            RouteStep::Rules { action, rules } => {
                let mut all = Vec::new();
                for rule in rules {
                    match compile(engine, port, authorities, &rule.condition) {
                        Some(terms) => all.extend(terms),
                        None => engine.give_up("a rule has too many combinations".to_owned()),
                    }
                }
                for text in all.iter().flat_map(Term::strings) {
                    strings.add(text);
                }
                Change::Rules {
                    denies: action == RuleAction::Deny,
                    terms: all,
                }
            }
        };
        out.push((step, change));
    }
    out
}

impl HostPart<'_> {
    /// Whether a model is behind one of its routes.
    pub(crate) fn has_models(&self) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|route| route.view.access().owner == Owner::Model)
    }
}
