//! Verification that is kept: after a change only those virtual hosts are
//! looked at again that it can concern.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::{Attribute, HostView, ListenerView, RuleView, Snapshot, StepView};

use crate::alike::{Alike, Tried};
use crate::analysis::{Analysis, Leads};
use crate::byhost::ByHost;
use crate::callers::Callers;
use crate::engine::Engine;
use crate::looks::tests_of;
use crate::questions::{Asked, HostAnswers, given_up, report};
use crate::report::Report;
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
    /// What all do, but for conditions on paths that one virtual host has for
    /// itself.
    tests: Gathered,
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

impl Found {
    fn is_whole(&self) -> bool {
        self.answers.is_some() && self.tried.is_some()
    }
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
    listeners: Vec<Vec<HostWork<'s>>>,
    looked_at: usize,
}

struct HostWork<'s> {
    view: HostView<'s>,
    asks: Gathered,
    leads: Leads,
    found: Found,
}

/// Whose conditions on paths divide requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Those of virtual hosts that there is something to do for.
    ToDo,
    All,
}

/// Why a pass has to be made once more.
enum Again {
    /// Something has to be tried at a virtual host of which all seemed known.
    WithAll,
    /// What is known does not count.
    FromNothing,
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
            listeners: Vec::new(),
            looked_at: 0,
        };
        match before {
            None => work.start(),
            Some(kept) => work.take_up(kept),
        }
        work
    }

    fn start(&mut self) {
        self.gather_rules();
        for listener in self.snapshot.listeners() {
            let hosts = in_order(listener).into_iter();
            let hosts = hosts.map(|host| self.host(listener, host, None));
            self.listeners.push(hosts.collect());
        }
        self.gather();
    }

    fn take_up(&mut self, kept: Kept) {
        let old = Arc::clone(&kept.snapshot);
        let pairs: Vec<_> = old.listeners().zip(self.snapshot.listeners()).collect();
        let same_rules = |(was, is): &(ListenerView<'_>, ListenerView<'_>)| is.has_rules_of(was);
        let sidecars: Vec<_> = old.sidecars().zip(self.snapshot.sidecars()).collect();
        let others: BTreeSet<usize> = sidecars
            .iter()
            .filter(|pair| !same_rules(pair) || !has_like_hosts(pair))
            .map(|(_, is)| is.index())
            .collect();
        let mut changed = !pairs.iter().all(same_rules) || !others.is_empty();
        match changed {
            false => self.rules = kept.rules.clone(),
            true => self.gather_rules(),
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
        for (((was, is), hosts), renamed) in pairs.iter().zip(&mut listeners).zip(renamed) {
            let rules = match is.has_rules_of(was) {
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

    fn gather_rules(&mut self) {
        self.rules = Gathered::default();
        for listener in self.snapshot.listeners() {
            self.rules.rules(&listener);
        }
        for listener in self.snapshot.sidecars() {
            self.rules.rules(&listener);
            for host in listener.hosts() {
                self.rules.host(host, listener.step_count());
            }
        }
    }

    /// All tests but those of paths that a virtual host has for itself.
    fn gather(&mut self) {
        let mut tests = Gathered::default();
        tests.add(&self.rules, false);
        for host in self.listeners.iter().flatten() {
            tests.add(&host.asks, false);
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
        let mut scope = match self.listeners.iter().flatten().any(|h| h.found.is_whole()) {
            true => Scope::ToDo,
            false => Scope::All,
        };
        loop {
            match self.pass(asked, scope) {
                Ok(found) => return found,
                Err(Again::WithAll) => scope = Scope::All,
                Err(Again::FromNothing) => {
                    scope = Scope::All;
                    for host in self.listeners.iter_mut().flatten() {
                        host.found = Found::default();
                    }
                }
            }
        }
    }

    fn pass(&mut self, asked: &Asked, scope: Scope) -> Result<(Report, bool), Again> {
        let mut hosts = self.listeners.iter().flatten();
        let from_nothing = hosts.all(|host| host.found.answers.is_none());
        let mut engine = self.engine(scope);
        let analysis = Analysis::asked(&mut engine, self.snapshot, &asked.intents);
        let claims = asked.claims();
        let mut all_alike = Vec::new();
        for (listener, hosts) in analysis.listeners.iter().zip(&mut self.listeners) {
            let mut alike = Alike::new(&analysis, &asked.readings, listener);
            for HostWork { view, found, .. } in hosts {
                if engine.sets.exhausted() {
                    break;
                }
                if found.answers.is_none() {
                    self.looked_at += 1;
                    let answers = HostAnswers::of(&mut engine, &analysis, &claims, listener, *view);
                    found.answers = Some(answers.unwrap_or_default());
                }
                if let Some(tried) = &mut found.tried {
                    if alike.again(*view, tried) {
                        continue;
                    }
                    if scope == Scope::ToDo {
                        return Err(Again::WithAll);
                    }
                }
                found.tried = Some(alike.host(&mut engine, *view));
            }
            all_alike.push(alike.answers());
        }
        let is_whole = engine.given_up.is_empty() && !engine.sets.exhausted();
        if !is_whole && !from_nothing {
            // What was given up may concern those that are known, too.
            return Err(Again::FromNothing);
        }
        let given_up = given_up(&engine, self.snapshot);
        let hosts = self.listeners.iter().zip(&all_alike);
        let all = hosts.flat_map(|(hosts, alike)| {
            let answers = hosts.iter().filter_map(|host| host.found.answers.as_ref());
            answers.chain([alike])
        });
        Ok((report(claims, all, &given_up), is_whole))
    }

    fn engine(&self, scope: Scope) -> Engine {
        let mut gathered = self.tests.clone();
        gathered.add(&self.rules, true);
        let hosts = || self.listeners.iter().flatten();
        let further = hosts().any(|host| !host.found.is_whole() && host.leads.to_gateways);
        for host in hosts() {
            if scope == Scope::All || further || !host.found.is_whole() {
                gathered.add(&host.asks, true);
            }
        }
        Engine::over(Universe::of_tests(
            gathered,
            &[self.snapshot],
            self.callers.clone(),
        ))
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
