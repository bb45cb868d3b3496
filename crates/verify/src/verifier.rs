//! Verification that is kept: after a change only those virtual hosts are
//! looked at again that it can concern.

mod compared;
mod matched;
mod shared;

use std::sync::Arc;

use policy::{Digest, HostView, Limits, ListenerView, Snapshot};

use crate::alike::{Alike, PathRules, Tried};
use crate::analysis::{Analysis, Leads};
use crate::callers::{Callers, limits_of};
use crate::engine::Engine;
use crate::questions::{Asked, given_up};
use crate::report::Report;
use crate::ruleset::RuleSet;
use crate::tally::{Answers, Place, Tally, Whose};
use crate::universe::{Counted, Gathered, Universe};

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
    known: Known,
    listeners: Vec<ListenerKnown<HostKnown>>,
}

/// What is known of a whole configuration.
#[derive(Debug, Default)]
struct Known {
    callers: Callers,
    /// What rules compare requests with.
    rules: Gathered,
    /// What rules and routes do.
    tests: Counted,
    sets: Vec<Arc<RuleSet>>,
    by_path: Vec<Arc<PathRules>>,
    tally: Tally,
}

/// What is known of a listener.
#[derive(Debug)]
struct ListenerKnown<H> {
    /// By name.
    hosts: Vec<H>,
    /// What was said of its rules.
    told: Option<Arc<Answers>>,
    /// It has the virtual hosts and the rules that it had.
    is_as_before: bool,
}

/// What is known of a virtual host.
#[derive(Debug)]
struct HostKnown {
    name: Arc<str>,
    digest: Option<Digest>,
    asks: Gathered,
    limits: Vec<Limits>,
    leads: Leads,
    /// `None` is to do.
    answers: Option<Arc<Answers>>,
    /// Those that are in the tally.
    told: Option<Arc<Answers>>,
    /// What was tried, now or, where answers are to do, before.
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
    known: Known,
    listeners: Vec<ListenerKnown<HostWork<'s>>>,
    looked_at: usize,
}

struct HostWork<'s> {
    view: HostView<'s>,
    known: HostKnown,
}

impl<'s> Work<'s> {
    /// Everything, but for what is known from `before`, a configuration with
    /// the same frame that was asked the same.
    pub(crate) fn new(snapshot: &'s Snapshot, asked: &Asked, before: Option<Kept>) -> Self {
        let mut work = Self {
            snapshot,
            known: Known::default(),
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
            let mut hosts: Vec<_> = listener.hosts().collect();
            hosts.sort_by_key(|host| host.name());
            let hosts = hosts.into_iter().map(|view| self.host(listener, view));
            let hosts = hosts.collect();
            self.listeners.push(ListenerKnown {
                hosts,
                told: None,
                is_as_before: false,
            });
        }
        self.known.callers = self.callers(asked);
    }

    /// The rules, and what they compare requests with.
    fn gather_rules(&mut self, asked: &Asked) {
        let mut rules = Gathered::default();
        let mut by_path: Vec<Arc<PathRules>> = Vec::new();
        self.known.sets = RuleSet::all(self.snapshot);
        let mut before: Option<&Arc<RuleSet>> = None;
        let gateways = self.snapshot.listeners().count();
        let all = self.snapshot.listeners().chain(self.snapshot.sidecars());
        for (listener, set) in all.zip(&self.known.sets) {
            let same = before.is_some_and(|before| Arc::ptr_eq(before, set));
            rules.known_rules(&listener, set);
            if listener.index() < gateways {
                let known = by_path.last().filter(|_| same).cloned();
                by_path.push(known.unwrap_or_else(|| {
                    Arc::new(PathRules::of(self.snapshot, &asked.readings, listener))
                }));
            } else {
                for host in listener.hosts() {
                    rules.host(host, listener.step_count());
                }
            }
            before = Some(set);
        }
        self.known.by_path = by_path;
        self.known.tests.remove(&self.known.rules);
        self.known.tests.add(&rules);
        self.known.rules = rules;
    }

    /// A virtual host of which nothing is known.
    fn host(&mut self, listener: ListenerView<'s>, view: HostView<'s>) -> HostWork<'s> {
        let mut asks = Gathered::default();
        asks.host(view, listener.step_count());
        self.known.tests.add(&asks);
        let known = HostKnown {
            name: view.name().into(),
            digest: view.digest(),
            asks,
            limits: limits_of(view).collect(),
            leads: Leads::of(self.snapshot, view, |_| true),
            answers: None,
            told: None,
            tried: None,
        };
        HostWork { view, known }
    }

    /// The callers that are told apart.
    fn callers(&self, asked: &Asked) -> Callers {
        let hosts = self.listeners.iter().flat_map(|listener| &listener.hosts);
        Callers::within(
            hosts.flat_map(|host| host.known.limits.iter().cloned()),
            &asked.intents,
        )
    }

    /// The answers, and whether nothing had to be given up.
    pub(crate) fn answers(&mut self, asked: &Asked) -> (Report, bool) {
        let is_new = self.hosts().all(|host| host.known.answers.is_none());
        let found = self.pass(asked);
        if found.1 || is_new {
            return found;
        }
        // What was given up may concern those that are known, too.
        for host in self.hosts() {
            host.known.answers = None;
        }
        for listener in &mut self.listeners {
            listener.is_as_before = false;
        }
        self.pass(asked)
    }

    fn hosts(&mut self) -> impl Iterator<Item = &mut HostWork<'s>> {
        let listeners = self.listeners.iter_mut();
        listeners.flat_map(|listener| &mut listener.hosts)
    }

    fn pass(&mut self, asked: &Asked) -> (Report, bool) {
        let claims = asked.claims();
        let classes = Universe::of_tests(
            self.known.tests.all(),
            &[self.snapshot],
            self.known.callers.clone(),
        );
        let mut further = self.share(self.threads(), asked, &claims, &classes);
        let mut engine = Engine::over(classes);
        let sets = &self.known.sets;
        let analysis = Analysis::with(&mut engine, self.snapshot, &asked.intents, sets);
        let listeners = analysis.listeners.iter().zip(&self.known.by_path);
        for ((listener, by_path), known) in listeners.zip(&mut self.listeners) {
            let before = known.is_as_before;
            let mut alike = Alike::new(&analysis, &asked.readings, listener, by_path, before);
            let index = listener.view.index();
            for (number, HostWork { view, known }) in known.hosts.iter_mut().enumerate() {
                if engine.sets.exhausted() || further.is_exhausted {
                    break;
                }
                let is_known = known.answers.is_some();
                if !is_known {
                    self.looked_at += 1;
                    let answers = further.answers.remove(&(index, number));
                    let answers = answers.unwrap_or_else(|| {
                        Answers::of(&mut engine, &analysis, &claims, listener, *view)
                    });
                    known.answers = Some(Arc::new(answers.unwrap_or_default()));
                }
                let before = known.tried.take();
                known.tried = Some(match before {
                    Some(before) if is_known && alike.again(*view, &before) => before,
                    before => {
                        let tried = alike.host(&mut engine, *view);
                        alike.was(before.as_ref(), &tried);
                        tried
                    }
                });
                analysis.done_with_last();
            }
            let rules = Arc::new(alike.answers(known.told.as_deref()));
            for HostWork { known, .. } in &mut known.hosts {
                self.known.tally.tell(index, known);
            }
            let (was, is) = (known.told.as_deref(), Some(&*rules));
            self.known.tally.exchange(&(index, Whose::Rules), was, is);
            known.told = Some(rules);
        }
        further
            .given_up
            .drain(..)
            .for_each(|why| engine.give_up(why));
        let is_exhausted = engine.sets.exhausted() || further.is_exhausted;
        let is_whole = engine.given_up.is_empty() && !is_exhausted;
        let given_up = given_up(&engine, self.snapshot, is_exhausted);
        (self.known.tally.report(claims, &given_up), is_whole)
    }

    fn kept(self, snapshot: &Arc<Snapshot>, asked: String) -> Kept {
        let listeners = self.listeners.into_iter().map(|listener| {
            let hosts = listener.hosts.into_iter().map(|host| host.known);
            ListenerKnown {
                hosts: hosts.collect(),
                told: listener.told,
                is_as_before: false,
            }
        });
        Kept {
            snapshot: Arc::clone(snapshot),
            asked,
            known: self.known,
            listeners: listeners.collect(),
        }
    }
}

impl Tally {
    /// Counts what there is to say of a virtual host now.
    fn tell(&mut self, listener: usize, host: &mut HostKnown) {
        let same = match (&host.told, &host.answers) {
            (Some(was), Some(is)) => Arc::ptr_eq(was, is),
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        let place: Place = (listener, Whose::Host(Arc::clone(&host.name)));
        self.exchange(&place, host.told.as_deref(), host.answers.as_deref());
        host.told.clone_from(&host.answers);
    }
}
