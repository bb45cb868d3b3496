//! All requests of a configuration: which go where, and which do not.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use policy::{
    Attribute, Condition, Destination, Entrance, HostView, Matcher, RouteView, Snapshot, TestValue,
    Way, host_name,
};
use rustc_hash::FxHashMap;

use crate::cells::{Partition, Piece, Placed, Side, Wanted, pieces};
use crate::classes::authorities;
use crate::engine::Engine;
use crate::intents::Intent;
use crate::language::{TooComplex, authorities_of, holds_for};
use crate::listener::{ListenerPart, puts_identity};
use crate::looks::tests_of;
use crate::mdd::Set;
use crate::parts::HostPart;
use crate::paths::Cell;
use crate::roaming::{Kindred, Likeness};
use crate::ruleset::RuleSet;
use crate::steps::{Steps, StepsKey};
use crate::terms::{Context, Here, Term, terms};
use crate::walk::{Seen, Walk};

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
    /// Not known: it depends on something about a sidecar.
    Inside(Doubt),
}

/// What is not known about a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Whether there is one.
    Injection,
    /// Who sends requests on to it, as its policies see that.
    Sender,
    /// What something that is not understood does there.
    NotUnderstood,
}

impl Outcome<'_> {
    /// Whether it is not known.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Unknown | Self::Inside(_))
    }
}

/// Requests that are treated alike.
#[derive(Clone, Debug)]
pub(crate) struct Flow<'s> {
    pub(crate) authorities: Rc<[String]>,
    pub(crate) trail: Vec<RouteView<'s>>,
    pub(crate) outcome: Outcome<'s>,
    pub(crate) set: Set,
    /// Everybody has a session.
    pub(crate) session: bool,
    /// The client's own identity header has to arrive.
    pub(crate) forges: bool,
    /// Equal for flows that the same rules decide.
    pub(crate) cause: u64,
}

/// One configuration.
pub(crate) struct Analysis<'s> {
    pub(crate) snapshot: &'s Snapshot,
    pub(crate) listeners: Vec<ListenerPart<'s>>,
    /// Their indexes follow.
    sidecars: Vec<ListenerPart<'s>>,
    /// A login passes the client's own identity header on, unless something
    /// else takes it off.
    pub(crate) keeps_identity: bool,
    /// What intents name: hosts and paths that divide the others.
    pub(crate) intents: Vec<Intent>,
    pub(crate) parts: RefCell<FxHashMap<PartKey, Rc<HostPart<'s>>>>,
    /// The virtual host that was looked at last.
    last: RefCell<Option<(usize, String, Rc<HostPart<'s>>)>>,
    /// What virtual hosts share that are alike.
    kindred: RefCell<FxHashMap<Likeness, Rc<Kindred>>>,
    /// What the steps of a listener make of all requests.
    pub(crate) steps: RefCell<FxHashMap<StepsKey, Rc<Steps>>>,
}

/// Listener, virtual host, authorities, and how many crossings came before.
pub(crate) type PartKey = (usize, String, Rc<[String]>, usize);

/// Path that Knative probes.
pub(crate) const PROBED: &str = "/healthz";

/// Kinds of virtual hosts that share: for each there are cells to find.
const MAX_KINDRED: usize = 64;
/// Hosts that authorities are told apart by where regular expressions look at them.
const MAX_HOSTS: usize = 64;

/// Crossings of the gateway that are followed, as many as the decision follows.
pub(crate) const MAX_HOPS: usize = 6;

impl<'s> Analysis<'s> {
    pub(crate) fn new(engine: &mut Engine, snapshot: &'s Snapshot) -> Self {
        Self::asked(engine, snapshot, &[])
    }

    /// With the hosts and paths that intents tell apart.
    pub(crate) fn asked(engine: &mut Engine, snapshot: &'s Snapshot, intents: &[Intent]) -> Self {
        Self::with(engine, snapshot, intents, &RuleSet::all(snapshot))
    }

    /// With the rules of each listener, those of sidecars last, which are known.
    pub(crate) fn with(
        engine: &mut Engine,
        snapshot: &'s Snapshot,
        intents: &[Intent],
        rules: &[Arc<RuleSet>],
    ) -> Self {
        let all = snapshot.listeners().chain(snapshot.sidecars()).zip(rules);
        let mut listeners: Vec<_> = all
            .map(|(view, rules)| ListenerPart::new(engine, snapshot, view, Arc::clone(rules)))
            .collect();
        let sidecars = listeners.split_off(snapshot.listeners().count().min(listeners.len()));
        let views = snapshot.listeners().chain(snapshot.sidecars());
        let authorizers = views.flat_map(|view| view.bare_authorizers());
        let mut logins = authorizers.filter(|authorizer| authorizer.is_login());
        Self {
            snapshot,
            keeps_identity: !snapshot.enforces() && logins.any(|login| !puts_identity(&login)),
            listeners,
            sidecars,
            intents: intents.to_vec(),
            parts: RefCell::default(),
            last: RefCell::default(),
            kindred: RefCell::default(),
            steps: RefCell::default(),
        }
    }

    pub(crate) fn listener(&self, index: usize) -> Option<&ListenerPart<'s>> {
        match index.checked_sub(self.listeners.len()) {
            None => self.listeners.get(index),
            Some(index) => self.sidecars.get(index),
        }
    }

    /// The virtual host with the classes of its authorities.
    pub(crate) fn host(
        &self,
        engine: &mut Engine,
        listener: usize,
        host: HostView<'s>,
    ) -> Option<Rc<HostPart<'s>>> {
        if let Some((index, name, part)) = &*self.last.borrow()
            && (*index, name.as_str()) == (listener, host.name())
        {
            return Some(Rc::clone(part));
        }
        let part = self.divided(engine, listener, host)?;
        let last = (listener, host.name().to_owned(), Rc::clone(&part));
        self.last.replace(Some(last));
        Some(part)
    }

    /// Forgets the virtual host that was looked at last, to which nobody else
    /// leads.
    pub(crate) fn done_with_last(&self) {
        if let Some((listener, name, part)) = self.last.take() {
            let key = (listener, name, Rc::clone(&part.authorities), 0);
            self.parts.borrow_mut().remove(&key);
        }
    }

    fn divided(
        &self,
        engine: &mut Engine,
        listener: usize,
        host: HostView<'s>,
    ) -> Option<Rc<HostPart<'s>>> {
        let part = self.listener(listener)?;
        let next = self.next_listeners(host);
        let likeness = match next.is_empty() {
            true => Likeness::of(part, host),
            false => None,
        };
        let known = likeness.as_ref();
        let known = known.and_then(|likeness| self.kindred.borrow().get(likeness).cloned());
        if let Some(known) = known {
            let authorities = known.authorities(host.name());
            let ground = Some(Rc::clone(&known.ground));
            return self.part(engine, listener, Some(host), authorities, ground, 0);
        }
        let tests = self.authority_tests(listener, host, &next);
        let borrowed: Vec<&TestValue> = tests.iter().map(|test| &**test).collect();
        let belongs = |authority: &str| {
            let is_own = match host.name().starts_with('*') {
                true => part
                    .select(authority)
                    .is_some_and(|found| found.name() == host.name()),
                // Nothing is narrower.
                false => host_name(authority) == host.name(),
            };
            is_own && is_authority(authority)
        };
        let mut named = part.examples(host.name());
        named.extend(tests.iter().filter_map(|test| literal(test)));
        // Where a route goes on to another listener under the same authority,
        // that listener's virtual hosts divide authorities too.
        for listener in next.iter().filter_map(|i| self.listener(*i)) {
            for other in listener.hosts() {
                named.extend(listener.examples(other.name()));
            }
        }
        let asked = self.intents.iter().filter_map(|i| i.host.as_deref());
        named.extend(asked.flat_map(|host| part.examples(host)));
        let port = part.view.port();
        let with_port = named
            .iter()
            .map(|n| format!("{n}:{port}"))
            .collect::<Vec<_>>();
        let named = named.into_iter().chain(with_port);
        let mut likeness = likeness.filter(|_| self.kindred.borrow().len() < MAX_KINDRED);
        let within = self.told_apart(&borrowed, part, host.name(), &next);
        let signature = |authority: &str| self.signature(&next, authority);
        let found =
            within.and_then(|within| authorities(&borrowed, &within, named, belongs, signature));
        let classes = match found {
            Ok(classes) => {
                if !classes.complete {
                    engine.give_up(ODD_PORTS.to_owned());
                }
                classes.examples
            }
            Err(_) => {
                engine.give_up(format!(
                    "conditions on the authority of `{}` are too complex together",
                    host.name()
                ));
                likeness = None;
                part.examples(host.name())
            }
        };
        let mut ground = None;
        if let Some(likeness) = likeness
            && let Some(made) = Kindred::new(engine, part, host.name(), &classes)
        {
            ground = Some(Rc::clone(&made.ground));
            self.kindred.borrow_mut().insert(likeness, Rc::new(made));
        }
        self.part(engine, listener, Some(host), classes.into(), ground, 0)
    }

    /// Hosts that authorities of a virtual host are told apart by, there and
    /// where they are looked up again, where regular expressions ask for it.
    pub(crate) fn told_apart(
        &self,
        tests: &[&TestValue],
        part: &ListenerPart<'s>,
        name: &str,
        next: &[usize],
    ) -> Result<Vec<String>, TooComplex> {
        let regular = |test: &&TestValue| matches!(test, TestValue::Text(Matcher::Regex(_)));
        if !tests.iter().any(regular) {
            return Ok(Vec::new());
        }
        let mut names = vec![name];
        if let Some(own) = name.strip_prefix('*') {
            let further = next.iter().filter_map(|i| self.listener(*i));
            let hosts = further.flat_map(|l| l.hosts()).chain(part.hosts());
            let meets = |name: &&str| {
                let other = name.trim_start_matches('*');
                other.ends_with(own) || own.ends_with(other) && name.starts_with('*')
            };
            names.extend(hosts.map(|host| host.name()).filter(meets));
            names.sort_unstable();
            names.dedup();
        }
        let patterns: Vec<String> = names.into_iter().filter_map(authorities_of).collect();
        match patterns.len() > MAX_HOSTS {
            true => Err(TooComplex),
            false => Ok(patterns),
        }
    }

    /// What divides the authorities of a virtual host, there and at the
    /// listeners where they are looked at again.
    fn authority_tests(
        &self,
        listener: usize,
        host: HostView<'s>,
        next: &[usize],
    ) -> Vec<Arc<TestValue>> {
        let further = || next.iter().filter_map(|i| self.listener(*i));
        let hosts = further().flat_map(|l| l.hosts()).chain([host]);
        let mut distinct: BTreeMap<Arc<str>, Arc<TestValue>> = BTreeMap::new();
        for route in hosts.flat_map(|host| host.routes()) {
            let condition = route.condition();
            let mut tests = Vec::new();
            tests_of(&condition, &Attribute::Authority, &mut tests);
            for test in tests {
                let key = crate::language::key(test).into();
                distinct
                    .entry(key)
                    .or_insert_with(|| Arc::new(test.clone()));
            }
        }
        let here = self.listener(listener).into_iter();
        let here = here.flat_map(|l| l.rules.of_host(host.name()));
        for rule in here.chain(further().flat_map(|l| &l.rules.all)) {
            for (key, test) in &rule.authority {
                distinct
                    .entry(Arc::clone(key))
                    .or_insert_with(|| Arc::clone(test));
            }
        }
        distinct.into_values().collect()
    }

    /// The listener of an entrance.
    pub(crate) fn entrance(&self, entrance: Entrance) -> Option<usize> {
        let mut listeners = self.listeners.iter();
        let found = listeners.find(|l| l.view.entrance() == Some(entrance))?;
        Some(found.view.index())
    }

    /// What divides the authorities of a virtual host.
    pub(crate) fn tests(&self, listener: usize, host: HostView<'s>) -> Vec<Arc<TestValue>> {
        self.authority_tests(listener, host, &self.next_listeners(host))
    }

    /// A virtual host, or none, for given classes of authorities.
    pub(crate) fn part_of(
        &self,
        engine: &mut Engine,
        listener: usize,
        host: Option<HostView<'s>>,
        classes: &Rc<[String]>,
    ) -> Option<Rc<HostPart<'s>>> {
        self.part(engine, listener, host, classes.clone(), None, 0)
    }

    /// Listeners that routes of a host lead to with the authority unchanged,
    /// and those that these lead to.
    pub(crate) fn next_listeners(&self, host: HostView<'s>) -> Vec<usize> {
        let leads = Leads::of(self.snapshot, host, |way| way.authority.is_none());
        if leads.to_gateways {
            (0..self.listeners.len() + self.sidecars.len()).collect()
        } else {
            leads.to_sidecars.into_iter().collect()
        }
    }

    /// Whether a route of a host leads to another listener, or to a sidecar.
    pub(crate) fn leads_on(&self, host: HostView<'s>) -> bool {
        let ways = host.routes().flat_map(|route| route.ways());
        let mut destinations = ways.filter_map(|way| way.destination);
        destinations.any(|to| {
            self.snapshot.next_listener(to).is_some() || self.snapshot.next_sidecar(to).is_some()
        })
    }

    pub(crate) fn selected(&self, listeners: &[usize], authority: &str) -> Vec<Option<&'s str>> {
        let selected = listeners
            .iter()
            .map(|i| self.listener(*i)?.select(authority).map(|h| h.name()));
        selected.collect()
    }

    /// What tells authorities apart beside conditions: where they lead at
    /// other listeners, and which intents name them.
    fn signature(&self, next: &[usize], authority: &str) -> (Vec<Option<&'s str>>, Vec<bool>) {
        let host = host_name(authority);
        let asked = self.intents.iter().filter(|i| i.host.is_some());
        let asked = asked.map(|i| i.is_about(&host)).collect();
        (self.selected(next, authority), asked)
    }

    /// The class of an authority among those of a virtual host.
    pub(crate) fn class_of(
        &self,
        (at, part): Placed<'_, 's>,
        host: HostView<'s>,
        authority: &str,
    ) -> Option<u16> {
        let next = self.next_listeners(host);
        let tests = self.authority_tests(at.view.index(), host, &next);
        let class = |text: &str| -> (Vec<bool>, Vec<Option<&'s str>>) {
            (
                tests.iter().map(|t| holds_for(t, text)).collect(),
                self.selected(&next, text),
            )
        };
        let wanted = class(authority);
        let found = part.authorities.iter().position(|a| class(a) == wanted);
        found.and_then(|i| u16::try_from(i).ok())
    }

    /// The cells of a virtual host that differ in something.
    pub(crate) fn pieces<'p>(
        &self,
        engine: &mut Engine,
        (listener, part): Placed<'_, 's>,
        partition: Partition<'p>,
        wanted: Wanted,
    ) -> Vec<Piece<'p>> {
        pieces(engine, partition, [(listener, part); 2], wanted)
    }

    /// What becomes of the requests of a cell: disjoint sets that together are
    /// all requests the listener can see.
    pub(crate) fn walk(
        &self,
        engine: &mut Engine,
        placed: Placed<'_, 's>,
        cell: Cell<'_>,
        side: &Side,
        seen: &mut dyn FnMut(&mut Engine, Seen<'_, 's>),
    ) {
        self.walk_as(engine, placed, cell, side, false, seen);
    }

    /// The same where every login lets everybody through, if so wanted. What it
    /// puts on requests is not known then, and sets overlap: no way is missing.
    pub(crate) fn walk_as(
        &self,
        engine: &mut Engine,
        (at, part): Placed<'_, 's>,
        cell: Cell<'_>,
        side: &Side,
        session: bool,
        seen: &mut dyn FnMut(&mut Engine, Seen<'_, 's>),
    ) {
        let mut walk = Walk {
            analysis: self,
            engine,
            entrance: Some(at.view.side()),
            opaque: at.view.is_opaque(),
            cleaned: self.snapshot.enforces(),
            routes_only: false,
            session,
            cause: 0,
            inside: None,
            seen,
        };
        walk.crossing(at, part, cell, side, at.domain, &mut Vec::new(), 0);
    }

    /// Where the routes alone lead the requests of a cell, whatever filters say.
    pub(crate) fn aims(
        &self,
        engine: &mut Engine,
        (at, part): Placed<'_, 's>,
        cell: Cell<'_>,
        side: &Side,
    ) -> Vec<Flow<'s>> {
        let mut out = Vec::new();
        let mut walk = Walk {
            analysis: self,
            engine,
            entrance: at.view.entrance(),
            cleaned: false,
            routes_only: true,
            session: false,
            opaque: false,
            cause: 0,
            inside: None,
            seen: &mut |_, seen| out.push(seen.flow(&part.authorities)),
        };
        walk.crossing(at, part, cell, side, at.domain, &mut Vec::new(), 0);
        out
    }

    /// The same, gathered.
    pub(crate) fn flows(
        &self,
        engine: &mut Engine,
        placed: Placed<'_, 's>,
        cell: Cell<'_>,
        side: &Side,
    ) -> Vec<Flow<'s>> {
        let mut out = Vec::new();
        self.walk(engine, placed, cell, side, &mut |_, seen| {
            out.push(seen.flow(&placed.1.authorities));
        });
        // What is not known overlaps what is.
        out.sort_by_key(|flow| flow.outcome.is_open());
        out
    }
}

/// Where the routes of a virtual host lead on to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leads {
    /// To a listener of a gateway.
    pub(crate) to_gateways: bool,
    /// To these of sidecars.
    pub(crate) to_sidecars: BTreeSet<usize>,
}

impl Leads {
    /// By those ways that are wanted.
    pub(crate) fn of(
        snapshot: &Snapshot,
        host: HostView<'_>,
        wanted: impl Fn(&Way<'_>) -> bool,
    ) -> Self {
        let mut out = Self::default();
        let ways = host.routes().flat_map(|route| route.ways()).filter(wanted);
        for destination in ways.filter_map(|way| way.destination) {
            out.to_gateways |= snapshot.next_listener(destination).is_some();
            out.to_sidecars.extend(snapshot.next_sidecar(destination));
        }
        out
    }
}

pub(crate) fn compile(
    engine: &mut Engine,
    here: Here,
    authorities: &[String],
    condition: &Condition,
    known: Set,
) -> Option<Vec<Term>> {
    let context = Context {
        universe: &engine.universe,
        here,
        authorities,
        known,
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

/// Said where not all classes of authorities are looked at.
pub(crate) const ODD_PORTS: &str = "rules and routes ask about too many ends of hosts, which what stands in place of a port can satisfy";

fn is_authority(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+;=[]@%".contains(&b))
}
