//! All requests of a configuration: which go where, and which do not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use policy::{
    AccessLevel, Attribute, Condition, Destination, Entrance, HostView, ListenerView, Owner,
    RewriteView, RouteView, RuleAction, Snapshot, TestValue,
};
use rustc_hash::FxHashMap;

use crate::language::{Patterns, as_set, holds_for};
use crate::mdd::{Dim, Set, Sets};
use crate::paths::{Cell, Strings};
use crate::scope::{Effect, Front, Scope};
use crate::terms::{Context, Term, host_part, hosts_of, terms};
use crate::universe::{AUTHORITY, TOKEN_INVALID, Universe, authorities, tests_of};

/// Sets and classes, shared by the configurations that are compared.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) universe: Universe,
    pub(crate) sets: Sets,
    path_tests: FxHashMap<Dim, Option<Patterns>>,
    reached: FxHashMap<(Dim, usize), (bool, bool)>,
    /// What had to be given up, for people.
    pub(crate) given_up: Vec<String>,
}

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

pub(crate) struct ListenerPart<'s> {
    pub(crate) view: ListenerView<'s>,
    rules: Vec<RulePart>,
    global: RefCell<Scope>,
    global_strings: Strings,
    by_host: FxHashMap<String, Vec<usize>>,
    /// Rules about hosts that could be any.
    roaming: Vec<usize>,
    exact: FxHashMap<&'s str, HostView<'s>>,
    /// `*.x` as `.x`, longest first, then `*`.
    wild: Vec<(&'s str, HostView<'s>)>,
    domain: Set,
    denies_by_default: bool,
}

struct RulePart {
    effect: Effect,
    condition: Condition,
    /// It looks at the authority.
    is_local: bool,
}

impl RulePart {
    fn new(effect: Effect, condition: Condition) -> Self {
        let mut tests = Vec::new();
        tests_of(&condition, &Attribute::Authority, &mut tests);
        Self {
            effect,
            is_local: !tests.is_empty(),
            condition,
        }
    }
}

/// A virtual host, for some authorities.
pub(crate) struct HostPart<'s> {
    pub(crate) authorities: Rc<[String]>,
    /// What divides them.
    authority_tests: Vec<TestValue>,
    scope: RefCell<Scope>,
    routes: Vec<RoutePart<'s>>,
    pub(crate) strings: Strings,
    requires_tls: bool,
}

struct RoutePart<'s> {
    view: RouteView<'s>,
    terms: Vec<Term>,
    ways: Vec<WayPart<'s>>,
}

struct WayPart<'s> {
    destination: Option<&'s Destination>,
    /// Where it goes on, by classes of the authority.
    next: Vec<(Set, Option<Rc<HostPart<'s>>>)>,
    next_listener: Option<usize>,
    headers: Vec<(Dim, Vec<u16>)>,
}

/// Path that Knative probes.
pub(crate) const PROBED: &str = "/healthz";

/// Crossings of the gateway that are followed, as many as the decision follows.
const MAX_HOPS: usize = 6;

impl Engine {
    pub(crate) fn new(snapshots: &[&Snapshot]) -> Self {
        Self {
            universe: Universe::of(snapshots),
            sets: Sets::default(),
            path_tests: FxHashMap::default(),
            reached: FxHashMap::default(),
            given_up: Vec::new(),
        }
    }

    fn give_up(&mut self, why: String) {
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

    fn looks_at_path(&self, set: Set) -> bool {
        use crate::universe::Kind;
        let dims = self.sets.support(set);
        dims.into_iter().any(|dim| {
            let kind = self.universe.dimension(dim).map(|d| &d.kind);
            matches!(kind, Some(Kind::Tail | Kind::Path(_)))
        })
    }

    /// Fixes what the cell already says about suffixes and path patterns.
    fn settle(&mut self, set: Set, cell: Cell<'_>) -> Set {
        if set == Set::NONE || set == Set::ALL {
            return set;
        }
        let mut set = set;
        for dim in self.sets.support(set) {
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
        let test = match &self.universe.dimension(dim)?.kind {
            Kind::Path(test) => test.clone(),
            _ => return None,
        };
        if !cell.region {
            let holds = holds_for(&test, cell.text);
            return Some((!holds, holds));
        }
        let patterns = self
            .path_tests
            .entry(dim)
            .or_insert_with(|| as_set(&test).and_then(|pattern| Patterns::new(&[pattern]).ok()));
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
            part.select(&host_part(authority))
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

    /// Listeners that routes of a host lead to with the authority unchanged,
    /// and those that these lead to.
    fn next_listeners(&self, host: HostView<'s>) -> Vec<usize> {
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

    fn selected(&self, listeners: &[usize], authority: &str) -> Vec<Option<&'s str>> {
        let host = host_part(authority);
        let selected = listeners
            .iter()
            .map(|i| self.listener(*i)?.select(&host).map(|h| h.name()));
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
                Some(terms) => terms.into_iter().for_each(|t| scope.add(rule.effect, t)),
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
            routes.push(RoutePart { view, terms, ways });
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
            let next_listener = way.destination.and_then(|d| self.snapshot.next_listener(d));
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
            out.push(WayPart {
                destination: way.destination,
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
            let host = part.select(&host_part(authority));
            let next = self.part(engine, listener, host, fixed, &[], depth + 1);
            return vec![(Set::ALL, next)];
        }
        let mut groups: BTreeMap<Option<&str>, Vec<bool>> = BTreeMap::new();
        for (index, authority) in authorities.iter().enumerate() {
            let name = part.select(&host_part(authority)).map(|h| h.name());
            let group = groups
                .entry(name)
                .or_insert_with(|| vec![false; authorities.len()]);
            if let Some(slot) = group.get_mut(index) {
                *slot = true;
            }
        }
        let mut out = Vec::new();
        for (name, members) in groups {
            let set = engine.sets.classes(AUTHORITY, members);
            let host = name.and_then(|n| part.named(n));
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

fn compile(
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

fn literal(test: &policy::TestValue) -> Option<String> {
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

impl HostPart<'_> {
    /// Whether a model is behind one of its routes.
    pub(crate) fn has_models(&self) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|route| route.view.access().owner == Owner::Model)
    }
}

impl<'s> ListenerPart<'s> {
    fn new(engine: &mut Engine, snapshot: &Snapshot, view: ListenerView<'s>) -> Self {
        let mut rules = Vec::new();
        for authorizer in view.authorizers() {
            if snapshot.enforces() && authorizer.is_login() {
                continue;
            }
            let effect = match authorizer.broken() {
                Some(_) => Effect::Broken,
                None if authorizer.is_login() => Effect::Login,
                None => Effect::Asked,
            };
            match authorizer.rules {
                Some(list) if !authorizer.denies_all => {
                    let all = list.into_iter().map(|r| RulePart::new(effect, r.condition));
                    rules.extend(all);
                }
                _ => rules.push(RulePart::new(effect, Condition::always())),
            }
        }
        for rule in view.rules() {
            let effect = match rule.action {
                RuleAction::Deny => Effect::Deny,
                RuleAction::Allow => Effect::Allow,
                RuleAction::Custom => continue,
            };
            rules.push(RulePart::new(effect, rule.condition));
        }
        let mut global = Scope::default();
        let mut by_host: FxHashMap<String, Vec<usize>> = FxHashMap::default();
        let mut roaming = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            if !rule.is_local {
                match compile(engine, view.port(), &[], &rule.condition) {
                    Some(terms) => terms.into_iter().for_each(|t| global.add(rule.effect, t)),
                    None => engine.give_up("a rule has too many combinations".to_owned()),
                }
                continue;
            }
            match hosts_of(&rule.condition) {
                Some(hosts) => {
                    for host in hosts {
                        let list = by_host.entry(host).or_default();
                        if list.last() != Some(&index) {
                            list.push(index);
                        }
                    }
                }
                None => roaming.push(index),
            }
        }
        let mut global_strings: Strings = std::iter::empty().collect();
        global.strings(&mut global_strings);
        let mut exact = FxHashMap::default();
        let mut wild = Vec::new();
        for host in view.hosts() {
            match host.name().strip_prefix('*') {
                Some(suffix) => wild.push((suffix, host)),
                None => {
                    exact.insert(host.name(), host);
                }
            }
        }
        wild.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        let domain = engine
            .universe
            .domain(&mut engine.sets, view.token_issuers());
        Self {
            view,
            rules,
            global: RefCell::new(global),
            global_strings,
            by_host,
            roaming,
            exact,
            wild,
            domain,
            denies_by_default: view.denies_by_default(),
        }
    }

    /// The virtual host of a host, as the decision finds it.
    pub(crate) fn select(&self, host: &str) -> Option<HostView<'s>> {
        if let Some(found) = self.exact.get(host) {
            return Some(*found);
        }
        let mut wild = self.wild.iter();
        let found = wild.find(|(suffix, _)| {
            suffix.is_empty() || host.len() > suffix.len() && host.ends_with(suffix)
        });
        found.map(|(_, host)| *host)
    }

    pub(crate) fn named(&self, name: &str) -> Option<HostView<'s>> {
        let exact = self.exact.get(name).copied();
        exact.or_else(|| self.wild.iter().map(|(_, h)| *h).find(|h| h.name() == name))
    }

    /// All virtual hosts, by name.
    pub(crate) fn hosts(&self) -> Vec<HostView<'s>> {
        let wild = self.wild.iter().map(|(_, host)| host);
        let mut all: Vec<HostView<'s>> = self.exact.values().chain(wild).copied().collect();
        all.sort_by_key(|host| host.name());
        all
    }

    /// Hosts that a virtual host of this name serves, to begin with.
    pub(crate) fn examples(&self, name: &str) -> Vec<String> {
        match name.strip_prefix('*') {
            None => vec![name.to_owned()],
            Some("") => vec!["anything.example".to_owned(), "other.test".to_owned()],
            Some(suffix) => vec![format!("x{suffix}"), format!("q7z.x{suffix}")],
        }
    }

    /// Rules about hosts that can matter for a virtual host.
    fn rules_for(&self, name: &str) -> Vec<&RulePart> {
        let mut indexes: Vec<usize> = self.roaming.clone();
        match name.strip_prefix('*') {
            None => indexes.extend(self.by_host.get(name).into_iter().flatten()),
            Some(suffix) => {
                for (host, list) in &self.by_host {
                    if host.ends_with(suffix) {
                        indexes.extend(list);
                    }
                }
            }
        }
        indexes.sort_unstable();
        indexes.dedup();
        indexes
            .into_iter()
            .filter_map(|i| self.rules.get(i))
            .collect()
    }
}

struct Walk<'a, 's> {
    analysis: &'a Analysis<'s>,
    engine: &'a mut Engine,
    entrance: Option<Entrance>,
    authorities: Rc<[String]>,
    out: &'a mut Vec<Flow<'s>>,
}

impl<'s> Walk<'_, 's> {
    fn emit(&mut self, trail: &[RouteView<'s>], outcome: Outcome<'s>, set: Set, front: &Front) {
        if set.is_none() {
            return;
        }
        use std::hash::{Hash, Hasher};
        let mut hasher = rustc_hash::FxHasher::default();
        front.hash(&mut hasher);
        self.out.push(Flow {
            authorities: self.authorities.clone(),
            trail: trail.to_vec(),
            outcome,
            set,
            cause: hasher.finish(),
        });
    }

    /// One crossing of a listener. The set is given in the classes of the first.
    fn crossing(
        &mut self,
        at: &ListenerPart<'s>,
        part: &HostPart<'s>,
        cell: Cell<'_>,
        points: Set,
        trail: &mut Vec<RouteView<'s>>,
        hop: usize,
    ) {
        let front = self.front(at, part, cell);
        let mut left = points;
        for route in &part.routes {
            if left.is_none() {
                break;
            }
            let mut condition = Set::NONE;
            for term in route.terms.iter().filter(|t| t.covers(cell)) {
                condition = self.engine.sets.or(condition, term.rest);
            }
            let condition = self.engine.settle(condition, cell);
            let hit = self.engine.sets.and(left, condition);
            if hit.is_none() {
                continue;
            }
            left = self.engine.sets.minus(left, condition);
            trail.push(route.view);
            self.served(at, part, route, cell, hit, &front, trail, hop);
            trail.pop();
        }
        // Without a route: rules deny first, nobody is asked.
        let denied = self.denied(at, &front, left);
        self.emit(trail, Outcome::Denied, denied, &front);
        let left = self.engine.sets.minus(left, denied);
        // Who is not logged in does not learn which hosts exist.
        let hidden = self.analysis.snapshot.enforces()
            && hop == 0
            && self.entrance == Some(Entrance::External);
        let outcome = if hidden {
            Outcome::Login
        } else {
            Outcome::NoRoute
        };
        self.emit(trail, outcome, left, &front);
    }

    fn front(&mut self, at: &ListenerPart<'s>, part: &HostPart<'s>, cell: Cell<'_>) -> Front {
        let global = at.global.borrow_mut().at(&mut self.engine.sets, cell);
        let local = part.scope.borrow_mut().at(&mut self.engine.sets, cell);
        let front = global.or(&mut self.engine.sets, local);
        front.each(|set| self.engine.settle(set, cell))
    }

    /// What broken authorizers, bad tokens, DENY and ALLOW rules refuse of a set.
    fn denied(&mut self, at: &ListenerPart<'s>, front: &Front, set: Set) -> Set {
        let sets = &mut self.engine.sets;
        let mut refused = sets.or(front.broken, front.deny);
        if !at.view.token_issuers().is_empty() && !self.analysis.snapshot.enforces() {
            let invalid = self.engine.universe.token(sets, TOKEN_INVALID);
            refused = sets.or(refused, invalid);
        }
        if at.denies_by_default {
            let not_allowed = sets.not(front.allow);
            refused = sets.or(refused, not_allowed);
        }
        sets.and(set, refused)
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one crossing")]
    fn served(
        &mut self,
        at: &ListenerPart<'s>,
        part: &HostPart<'s>,
        route: &RoutePart<'s>,
        cell: Cell<'_>,
        hit: Set,
        front: &Front,
        trail: &mut Vec<RouteView<'s>>,
        hop: usize,
    ) {
        let mut left = hit;
        let broken = self.engine.sets.and(left, front.broken);
        self.emit(trail, Outcome::Denied, broken, front);
        left = self.engine.sets.minus(left, broken);
        let mut asked = Set::NONE;
        if !route.view.unchecked() {
            let login = self.engine.sets.and(left, front.login);
            self.emit(trail, Outcome::Login, login, front);
            left = self.engine.sets.minus(left, login);
            asked = self.engine.sets.and(left, front.asked);
        }
        if self.analysis.snapshot.enforces() {
            left = self.access(route, cell, left, front, trail, hop);
            asked = self.engine.sets.and(asked, left);
        }
        let denied = self.denied(at, front, left);
        self.emit(trail, Outcome::Denied, denied, front);
        left = self.engine.sets.minus(left, denied);
        let asked = self.engine.sets.and(asked, left);
        self.emit(trail, Outcome::Authorizer, asked, front);
        left = self.engine.sets.minus(left, asked);
        if part.requires_tls {
            self.emit(trail, Outcome::Answered, left, front);
            return;
        }
        if route.view.answers_preflights() {
            let preflight = self.preflight(left);
            self.emit(trail, Outcome::Answered, preflight, front);
            left = self.engine.sets.minus(left, preflight);
        }
        for way in &route.ways {
            self.follow(route, way, cell, left, front, trail, hop);
        }
    }

    fn preflight(&mut self, set: Set) -> Set {
        let universe = &self.engine.universe;
        let sets = &mut self.engine.sets;
        let options = universe.with_method(sets, "OPTIONS");
        let origin = universe.with_header(sets, "origin");
        let asked = universe.with_header(sets, "access-control-request-method");
        let all = sets.and(options, origin);
        let all = sets.and(all, asked);
        sets.and(set, all)
    }

    /// Access levels: emits who is sent away, returns who goes on.
    fn access(
        &mut self,
        route: &RoutePart<'s>,
        cell: Cell<'_>,
        set: Set,
        front: &Front,
        trail: &mut Vec<RouteView<'s>>,
        hop: usize,
    ) -> Set {
        let access = route.view.access();
        let external = self.entrance == Some(Entrance::External);
        let platform = matches!(access.owner, Owner::Platform | Owner::LoginMachinery);
        let exact = |paths: &[String]| !cell.region && paths.iter().any(|p| p == cell.text);
        if platform && external && hop == 0 && exact(self.analysis.snapshot.login_paths()) {
            self.emit(trail, Outcome::Answered, set, front);
            return Set::NONE;
        }
        let mut level = if external {
            access.external
        } else {
            access.local
        };
        if access.owner == Owner::LoginMachinery
            && external
            && !exact(self.analysis.snapshot.provider_paths())
        {
            level = AccessLevel::Login;
        }
        let mut set = set;
        if access.owner == Owner::Model && !route.view.answers_preflights() {
            let preflight = self.preflight(set);
            self.emit(trail, Outcome::Answered, preflight, front);
            set = self.engine.sets.minus(set, preflight);
        }
        let outcome = match level {
            AccessLevel::Public | AccessLevel::AsWritten => return set,
            AccessLevel::Cluster if !external && access.limits.is_empty() => return set,
            AccessLevel::Cluster | AccessLevel::Token => Outcome::Token,
            AccessLevel::Login => Outcome::Login,
        };
        self.emit(trail, outcome, set, front);
        Set::NONE
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one crossing")]
    fn follow(
        &mut self,
        route: &RoutePart<'s>,
        way: &WayPart<'s>,
        cell: Cell<'_>,
        set: Set,
        front: &Front,
        trail: &mut Vec<RouteView<'s>>,
        hop: usize,
    ) {
        let Some(destination) = way.destination else {
            self.emit(trail, Outcome::Answered, set, front);
            return;
        };
        let Some(listener) = way.next_listener else {
            self.emit(trail, Outcome::Reaches(destination), set, front);
            return;
        };
        if hop + 1 == MAX_HOPS {
            // The routes lead in a circle.
            self.emit(trail, Outcome::Denied, set, front);
            return;
        }
        let rewritten;
        let next_cell = match route.view.rewrite() {
            RewriteView::None => cell,
            RewriteView::Prefix { from, to } => {
                let Some(rest) = cell.text.strip_prefix(from) else {
                    self.emit(trail, Outcome::Unknown, set, front);
                    return;
                };
                rewritten = format!("{to}{rest}");
                Cell {
                    text: &rewritten,
                    region: cell.region,
                }
            }
            RewriteView::Whole(to) => Cell {
                text: to,
                region: false,
            },
            RewriteView::Regex => {
                self.emit(trail, Outcome::Unknown, set, front);
                return;
            }
        };
        let Some(at) = self.analysis.listener(listener) else {
            return;
        };
        for (group, part) in &way.next {
            let points = self.engine.sets.and(set, *group);
            if points.is_none() {
                continue;
            }
            let Some(part) = part else {
                self.emit(trail, Outcome::NoRoute, points, front);
                continue;
            };
            // The next crossing sees the headers as this route changes them:
            // its sets are mapped back before they are met with ours.
            let mut found = Vec::new();
            {
                let mut walk = Walk {
                    analysis: self.analysis,
                    engine: self.engine,
                    entrance: self.entrance,
                    authorities: self.authorities.clone(),
                    out: &mut found,
                };
                walk.crossing(at, part, next_cell, Set::ALL, trail, hop + 1);
            }
            let moved = cell.region && next_cell.text != cell.text;
            for mut flow in found {
                if moved && self.engine.looks_at_path(flow.set) {
                    // Suffixes and patterns speak of the new path, the classes
                    // of the first crossing of the old one.
                    flow.outcome = Outcome::Unknown;
                    flow.set = Set::ALL;
                }
                for (dim, map) in way.headers.iter().rev() {
                    flow.set = self.engine.sets.remap(flow.set, *dim, map);
                }
                flow.set = self.engine.sets.and(flow.set, points);
                flow.cause ^= front_hash(front);
                if !flow.set.is_none() {
                    self.out.push(flow);
                }
            }
        }
    }
}

fn front_hash(front: &Front) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = rustc_hash::FxHasher::default();
    front.hash(&mut hasher);
    hasher.finish()
}
