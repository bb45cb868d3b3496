//! Verification that is kept: after a change only those virtual hosts are
//! looked at again that it can concern.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::{Attribute, HostView, ListenerView, RuleView, Snapshot, StepView};

use crate::alike::{Alike, PathRules, Tried};
use crate::analysis::{Analysis, Leads};
use crate::byhost::ByHost;
use crate::callers::Callers;
use crate::engine::Engine;
use crate::looks::tests_of;
use crate::questions::{Asked, HostAnswers, given_up, report};
use crate::report::Report;
use crate::ruleset::RuleSet;
use crate::universe::{Gathered, IDENTITY, PREFLIGHT, Universe};

/// Answers the questions again and again, as the configuration changes: the
/// answers are those of [`verify_with`](crate::verify_with).
#[derive(Debug, Default)]
pub struct Verifier {
    kept: Option<Kept>,
    looked_at: usize,
}

/// What was found out about one configuration.
#[derive(Debug)]
pub(crate) struct Kept {
    snapshot: Arc<Snapshot>,
    asked: String,
    callers: Callers,
    /// What rules compare requests with.
    rules: Gathered,
    /// What rules and routes do.
    tests: Gathered,
    sets: Vec<Arc<RuleSet>>,
    by_path: Vec<Arc<PathRules>>,
    listeners: Vec<BTreeMap<String, HostKept>>,
}

#[derive(Debug)]
struct HostKept {
    asks: Gathered,
    leads: Leads,
    found: Found,
}

/// What was found out about a virtual host; `None` is to do.
#[derive(Debug, Default)]
struct Found {
    answers: Option<HostAnswers>,
    tried: Option<Tried>,
}

impl Verifier {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The answers for a configuration.
    pub fn verify(&mut self, snapshot: &Arc<Snapshot>, asked: &Asked) -> Report {
        let text = format!("{asked:?}");
        let before = self.kept.take();
        let before =
            before.filter(|kept| kept.asked == text && kept.snapshot.is_framed_like(snapshot));
        let mut work = Work::new(snapshot, asked, before);
        let (report, is_whole) = work.answers(asked);
        self.looked_at = work.looked_at;
        self.kept = is_whole.then(|| work.kept(snapshot, text));
        report
    }

    /// How many virtual hosts the last answers made it look at.
    pub fn looked_at(&self) -> usize {
        self.looked_at
    }
}

/// What there is to do for one configuration.
pub(crate) struct Work<'s> {
    snapshot: &'s Snapshot,
    callers: Callers,
    rules: Gathered,
    tests: Gathered,
    sets: Vec<Arc<RuleSet>>,
    by_path: Vec<Arc<PathRules>>,
    listeners: Vec<Vec<HostWork<'s>>>,
    looked_at: usize,
}

struct HostWork<'s> {
    view: HostView<'s>,
    asks: Gathered,
    leads: Leads,
    found: Found,
}

impl<'s> Work<'s> {
    /// Everything, but for what is known from `before`, a configuration with
    /// the same frame that was asked the same.
    pub(crate) fn new(snapshot: &'s Snapshot, asked: &Asked, before: Option<Kept>) -> Self {
        let callers = Callers::of(&[snapshot], &asked.intents);
        let before = before.filter(|kept| kept.callers == callers);
        let mut work = Self {
            snapshot,
            callers,
            rules: Gathered::default(),
            tests: Gathered::default(),
            sets: Vec::new(),
            by_path: Vec::new(),
            listeners: Vec::new(),
            looked_at: 0,
        };
        match before {
            None => work.start(asked),
            Some(kept) => work.take_up(kept, asked),
        }
        work
    }

    fn start(&mut self, asked: &Asked) {
        self.gather_rules(asked);
        for listener in self.snapshot.listeners() {
            let hosts = in_order(listener).into_iter();
            let hosts = hosts.map(|host| self.host(listener, host, None));
            self.listeners.push(hosts.collect());
        }
        self.gather();
    }

    fn take_up(&mut self, kept: Kept, asked: &Asked) {
        let old = Arc::clone(&kept.snapshot);
        let pairs: Vec<_> = old.listeners().zip(self.snapshot.listeners()).collect();
        let same_rules = |(was, is): &(ListenerView<'_>, ListenerView<'_>)| is.has_rules_of(was);
        let have_same = same_rules_of(&pairs);
        let sidecars: Vec<_> = old.sidecars().zip(self.snapshot.sidecars()).collect();
        let others: BTreeSet<usize> = sidecars
            .iter()
            .filter(|pair| !same_rules(pair) || !has_like_hosts(pair))
            .map(|(_, is)| is.index())
            .collect();
        let mut changed = !have_same.iter().all(|same| *same) || !others.is_empty();
        match changed {
            false => {
                self.rules = kept.rules.clone();
                self.sets = kept.sets.clone();
                self.by_path = kept.by_path.clone();
            }
            true => self.gather_rules(asked),
        }
        let mut renamed = Vec::new();
        for ((was, is), mut hosts) in pairs.iter().zip(kept.listeners) {
            let mut new_names = false;
            let mut all = Vec::new();
            for host in in_order(*is) {
                let known = hosts.remove(host.name());
                new_names |= known.is_none();
                let same = was.named(host.name()).is_some_and(|was| was.is_like(host));
                let known = known.filter(|_| same);
                changed |= known.is_none();
                all.push(self.host(*is, host, known));
            }
            changed |= !hosts.is_empty();
            renamed.push(new_names || !hosts.is_empty());
            self.listeners.push(all);
        }
        self.gather();
        let differing = self.tests.differing(&kept.tests);
        let by_rules = |attribute: &Attribute| {
            let mut both = [&self.rules, &kept.rules].into_iter();
            both.any(|rules| rules.tests.contains_key(attribute))
        };
        let tokens = pairs
            .iter()
            .any(|(_, is)| is.token_rules().next().is_some());
        let everywhere = !differing.is_empty() && tokens
            || differing
                .iter()
                .any(|attribute| concerns_all(attribute) || by_rules(attribute));
        let mut listeners = std::mem::take(&mut self.listeners);
        let states = renamed.into_iter().zip(have_same);
        for (((was, is), hosts), (renamed, same)) in pairs.iter().zip(&mut listeners).zip(states) {
            let rules = match same {
                true => None,
                false => Some([Rules::of(*was), Rules::of(*is)]),
            };
            for host in hosts {
                let name = host.view.name();
                let again = everywhere
                    || changed && host.leads.to_gateways
                    || host.leads.to_sidecars.iter().any(|sidecar| others.contains(sidecar))
                    // Which authorities are its own depends on the others.
                    || renamed && name.starts_with('*')
                    || rules.as_ref().is_some_and(|[was, is]| !was.is_like(is, name))
                    || differing.iter().any(|a| host.asks.tests.contains_key(a));
                if again {
                    host.found = Found::default();
                }
            }
        }
        self.listeners = listeners;
    }

    fn gather_rules(&mut self, asked: &Asked) {
        self.sets = RuleSet::all(self.snapshot);
        let mut before: Option<Arc<RuleSet>> = None;
        let gateways = self.snapshot.listeners().count();
        let all = self.snapshot.listeners().chain(self.snapshot.sidecars());
        for (listener, set) in all.zip(&self.sets) {
            let same = before.is_some_and(|before| Arc::ptr_eq(&before, set));
            self.rules.known_rules(&listener, set);
            if listener.index() < gateways {
                let known = self.by_path.last().filter(|_| same).cloned();
                self.by_path.push(known.unwrap_or_else(|| {
                    Arc::new(PathRules::of(self.snapshot, &asked.readings, listener))
                }));
            } else {
                for host in listener.hosts() {
                    self.rules.host(host, listener.step_count());
                }
            }
            before = Some(Arc::clone(set));
        }
    }

    /// What rules and routes compare requests with.
    fn gather(&mut self) {
        let mut tests = self.rules.clone();
        for host in self.listeners.iter().flatten() {
            tests.add(&host.asks);
        }
        self.tests = tests;
    }

    fn host(
        &self,
        listener: ListenerView<'s>,
        view: HostView<'s>,
        known: Option<HostKept>,
    ) -> HostWork<'s> {
        let known = known.unwrap_or_else(|| {
            let mut asks = Gathered::default();
            asks.host(view, listener.step_count());
            HostKept {
                asks,
                leads: Leads::of(self.snapshot, view, |_| true),
                found: Found::default(),
            }
        });
        HostWork {
            view,
            asks: known.asks,
            leads: known.leads,
            found: known.found,
        }
    }

    /// The answers, and whether nothing had to be given up.
    pub(crate) fn answers(&mut self, asked: &Asked) -> (Report, bool) {
        let mut hosts = self.listeners.iter().flatten();
        let is_new = hosts.all(|host| host.found.answers.is_none());
        let found = self.pass(asked);
        if found.1 || is_new {
            return found;
        }
        // What was given up may concern those that are known, too.
        for host in self.listeners.iter_mut().flatten() {
            host.found = Found::default();
        }
        self.pass(asked)
    }

    fn pass(&mut self, asked: &Asked) -> (Report, bool) {
        let mut engine = Engine::over(Universe::of_tests(
            self.tests.clone(),
            &[self.snapshot],
            self.callers.clone(),
        ));
        let analysis = Analysis::with(&mut engine, self.snapshot, &asked.intents, &self.sets);
        let claims = asked.claims();
        let mut all_alike = Vec::new();
        let listeners = analysis.listeners.iter().zip(&self.by_path);
        for ((listener, by_path), hosts) in listeners.zip(&mut self.listeners) {
            let mut alike = Alike::new(&analysis, &asked.readings, listener, by_path);
            for HostWork { view, found, .. } in hosts {
                if engine.sets.exhausted() {
                    break;
                }
                if found.answers.is_none() {
                    self.looked_at += 1;
                    let answers = HostAnswers::of(&mut engine, &analysis, &claims, listener, *view);
                    found.answers = Some(answers.unwrap_or_default());
                }
                let mut tried = found.tried.take();
                tried = tried.filter(|tried| alike.again(*view, tried));
                found.tried = Some(match tried {
                    Some(tried) => tried,
                    None => alike.host(&mut engine, *view),
                });
                analysis.done_with_last();
            }
            all_alike.push(alike.answers());
        }
        let is_whole = engine.given_up.is_empty() && !engine.sets.exhausted();
        let given_up = given_up(&engine, self.snapshot);
        let hosts = self.listeners.iter().zip(&all_alike);
        let all = hosts.flat_map(|(hosts, alike)| {
            let answers = hosts.iter().filter_map(|host| host.found.answers.as_ref());
            answers.chain([alike])
        });
        (report(claims, all, &given_up), is_whole)
    }

    fn kept(self, snapshot: &Arc<Snapshot>, asked: String) -> Kept {
        let host = |host: HostWork<'_>| {
            let name = host.view.name().to_owned();
            let kept = HostKept {
                asks: host.asks,
                leads: host.leads,
                found: host.found,
            };
            (name, kept)
        };
        let listeners = self.listeners.into_iter();
        Kept {
            snapshot: Arc::clone(snapshot),
            asked,
            callers: self.callers,
            rules: self.rules,
            tests: self.tests,
            sets: self.sets,
            by_path: self.by_path,
            listeners: listeners
                .map(|hosts| hosts.into_iter().map(host).collect())
                .collect(),
        }
    }
}

fn in_order(listener: ListenerView<'_>) -> Vec<HostView<'_>> {
    let mut all: Vec<HostView<'_>> = listener.hosts().collect();
    all.sort_by_key(|host| host.name());
    all
}

/// Which listeners have the same rules; those of the same pods are compared once.
fn same_rules_of(pairs: &[(ListenerView<'_>, ListenerView<'_>)]) -> Vec<bool> {
    let mut out: Vec<bool> = Vec::new();
    let mut before: Option<&(ListenerView<'_>, ListenerView<'_>)> = None;
    for pair in pairs {
        let (was, is) = pair;
        let alike = before.filter(|(a, b)| was.has_steps_of(a) && is.has_steps_of(b));
        let known = alike.and_then(|_| out.last().copied());
        out.push(known.unwrap_or_else(|| is.has_rules_of(was)));
        before = Some(pair);
    }
    out
}

/// Whether two listeners have the same virtual hosts.
fn has_like_hosts((was, is): &(ListenerView<'_>, ListenerView<'_>)) -> bool {
    let mut hosts = is.hosts();
    was.hosts().count() == is.hosts().count()
        && hosts.all(|host| was.named(host.name()).is_some_and(|was| was.is_like(host)))
}

/// Whether answers look at an attribute also where no rule and no route does.
fn concerns_all(attribute: &Attribute) -> bool {
    match attribute {
        Attribute::Header(name) => {
            let own = [IDENTITY, "authorization", "cookie"].into_iter();
            let mut own = own.chain(PREFLIGHT);
            own.any(|own| own == &**name) || name.starts_with("x-forwarded-")
        }
        _ => true,
    }
}

/// The rules of a listener, as they are written.
struct Rules<'s> {
    all: Vec<(usize, RuleView<'s>)>,
    by_host: ByHost,
    anywhere: Vec<usize>,
}

impl<'s> Rules<'s> {
    fn of(listener: ListenerView<'s>) -> Self {
        let mut out = Self {
            all: Vec::new(),
            by_host: ByHost::default(),
            anywhere: Vec::new(),
        };
        for (index, step) in listener.steps().into_iter().enumerate() {
            let rules = match step {
                StepView::Rules { rules, .. } => rules,
                StepView::Gate { authorizer, .. } => authorizer.rules.unwrap_or_default(),
                _ => continue,
            };
            for rule in rules {
                let mut tests = Vec::new();
                tests_of(&rule.condition, &Attribute::Authority, &mut tests);
                match tests.is_empty() {
                    true => out.anywhere.push(out.all.len()),
                    false => out.by_host.add(out.all.len(), &rule.condition),
                }
                out.all.push((index, rule));
            }
        }
        out
    }

    /// Whether those are the same that can matter for a virtual host.
    fn is_like(&self, other: &Self, name: &str) -> bool {
        let own = self.numbered(self.by_host.of(name));
        let anywhere = self.numbered(self.anywhere.clone());
        own.eq(other.numbered(other.by_host.of(name)))
            && anywhere.eq(other.numbered(other.anywhere.clone()))
    }

    fn numbered(&self, numbers: Vec<usize>) -> impl Iterator<Item = &(usize, RuleView<'s>)> {
        let numbers = numbers.into_iter();
        numbers.filter_map(|number| self.all.get(number))
    }
}
