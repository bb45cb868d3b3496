//! Whether a path rule is escaped by a path that a backend reads otherwise than
//! the gateway: asked rule by rule, shown once per rule.

use std::sync::Arc;

use policy::{
    Attribute, Condition, Destination, HostView, ListenerView, RuleAction, Snapshot, Test,
};
use resources::intents::Reading;
use resources::{ObjectRef, Source};
use rustc_hash::FxHashMap;

use crate::analysis::{Analysis, Flow, Outcome, compile};
use crate::cells::{Partition, Side};
use crate::claims::Claim;
use crate::decided::decision_as;
use crate::engine::Engine;
use crate::language::holds_for;
use crate::listener::ListenerPart;
use crate::mdd::Set;
use crate::parts::HostPart;
use crate::paths::Cell;
use crate::reading::{Escape, Readings, behind, disguises_of, exemptions_of, read};
use crate::report::Finding;
use crate::tally::{Answers, Told};
use crate::terms::{Here, Term, hosts_of};
use crate::universe::{AUTHORITY, tests_of};
use crate::witness::{self, Witness};

/// A rule that decides by path.
#[derive(Debug)]
struct PathRule {
    object: ObjectRef,
    source: Source,
    index: usize,
    action: RuleAction,
    condition: Condition,
    disguises: Vec<Escape>,
}

/// All rules of a listener that decide by path.
#[derive(Debug)]
pub(crate) struct PathRules {
    all: Vec<PathRule>,
    /// Rules by the hosts that they name, and those that name none.
    by_host: FxHashMap<String, Vec<usize>>,
    anywhere: Vec<usize>,
}

/// A request that escapes a rule, where to, and what it would get otherwise.
type Escaped = (Arc<Witness>, Destination, Contrast);

/// What a backend makes of a request that a rule lets through.
#[derive(Clone, Debug)]
pub struct Contrast {
    /// What the backend does that the gateway does not.
    pub reading: Reading,
    /// Nobody says how the backend reads paths.
    pub assumed: bool,
    /// The path as the backend reads it.
    pub path: String,
    /// What a request for that path gets.
    pub answer: String,
}

/// Requests that are looked at for this question: more take too long.
const BUDGET: usize = 6_000;

/// What was tried at one virtual host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tried {
    /// Rules that nothing had escaped before.
    open: Vec<usize>,
    /// How much of the budget it took.
    spent: usize,
    /// What escaped them here.
    escaped: Vec<(usize, Escaped)>,
}

impl Tried {
    /// The same where rules have other numbers; `None` where one is no more.
    pub(crate) fn renumbered(self, numbers: &[Option<usize>]) -> Option<Self> {
        let number = |old: usize| numbers.get(old).copied().flatten();
        let open = self.open.into_iter().map(number);
        let escaped = self.escaped.into_iter();
        let escaped = escaped.map(|(old, escaped)| Some((number(old)?, escaped)));
        Some(Self {
            open: open.collect::<Option<_>>()?,
            spent: self.spent,
            escaped: escaped.collect::<Option<_>>()?,
        })
    }

    /// Whether whatever is tried after it is the same.
    fn is_like(&self, other: &Self) -> bool {
        let numbers = |tried: &Self| -> Vec<usize> {
            tried.escaped.iter().map(|(number, _)| *number).collect()
        };
        self.open == other.open && self.spent == other.spent && numbers(self) == numbers(other)
    }
}

/// What escapes the rules of a listener that decide by path.
pub(crate) struct Alike<'a, 's> {
    analysis: &'a Analysis<'s>,
    readings: &'a Readings,
    listener: &'a ListenerPart<'s>,
    rules: &'a PathRules,
    /// By rule.
    escaped: Vec<Option<Escaped>>,
    budget: usize,
    /// The same virtual hosts were looked at before, for the same rules, and up
    /// to here with the same outcome.
    is_as_before: bool,
}

impl PathRules {
    pub(crate) fn of(snapshot: &Snapshot, readings: &Readings, view: ListenerView<'_>) -> Self {
        let mut out = Self {
            all: Vec::new(),
            by_host: FxHashMap::default(),
            anywhere: Vec::new(),
        };
        let enforces = snapshot.enforces();
        let authorizers = view.authorizers();
        let asked = authorizers
            .into_iter()
            .filter(|a| !(a.denies_all || enforces && a.is_login()))
            .flat_map(|a| a.rules.unwrap_or_default());
        // An ALLOW rule lists what is open: only a declared backend makes
        // something else of it.
        let listed = view
            .rules()
            .into_iter()
            .filter(|r| r.action == RuleAction::Deny || !readings.is_empty());
        for rule in asked.chain(listed) {
            let mut tests = Vec::new();
            tests_of(&rule.condition, &Attribute::Path, &mut tests);
            if tests.is_empty() {
                continue;
            }
            let refuses = rule.action != RuleAction::Allow;
            let mut disguises = disguises_of(snapshot, &rule.condition);
            disguises.retain(|e| may_escape(&rule.condition, e, refuses));
            let number = out.all.len();
            match hosts_of(&rule.condition) {
                Some(hosts) => {
                    for host in hosts {
                        out.by_host.entry(host).or_default().push(number);
                    }
                }
                None => out.anywhere.push(number),
            }
            out.all.push(PathRule {
                object: rule.object.clone(),
                source: rule.source.clone(),
                index: rule.index,
                action: rule.action,
                disguises,
                condition: rule.condition,
            });
        }
        out
    }

    /// The numbers that rules have here, by their numbers there, where they are
    /// the same.
    pub(crate) fn numbers(&self, there: &Self) -> Vec<Option<usize>> {
        let name = |rule: &PathRule| (rule.object.clone(), rule.index);
        let named = self.all.iter().enumerate();
        let named: FxHashMap<_, _> = named.map(|(number, rule)| (name(rule), number)).collect();
        let there = there.all.iter().map(|was| {
            let number = *named.get(&name(was))?;
            let is = self.all.get(number)?;
            (is.condition == was.condition && is.source == was.source).then_some(number)
        });
        there.collect()
    }

    /// Rules that can hold for requests of a virtual host, in their order.
    fn of_host(&self, host: &str) -> Vec<usize> {
        if host.starts_with('*') {
            return (0..self.all.len()).collect();
        }
        let own = self.by_host.get(host).into_iter().flatten();
        let mut all: Vec<usize> = self.anywhere.iter().chain(own).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl<'a, 's> Alike<'a, 's> {
    pub(crate) fn new(
        analysis: &'a Analysis<'s>,
        readings: &'a Readings,
        listener: &'a ListenerPart<'s>,
        rules: &'a PathRules,
        is_as_before: bool,
    ) -> Self {
        Self {
            is_as_before,
            analysis,
            readings,
            listener,
            escaped: vec![None; rules.all.len()],
            rules,
            budget: BUDGET,
        }
    }

    /// Rules of a virtual host that nothing escaped so far.
    fn open(&self, name: &str) -> Vec<usize> {
        let mut open = self.rules.of_host(name);
        open.retain(|number| self.escaped.get(*number).is_some_and(Option::is_none));
        open
    }

    /// What was tried at a virtual host before counts again, if it would be
    /// the same now.
    pub(crate) fn again(&mut self, host: HostView<'s>, tried: &Tried) -> bool {
        if !self.is_as_before {
            let open = self.open(host.name());
            if self.budget == 0 || open.is_empty() {
                return false;
            }
            // What ran out of budget then or would now was not all tried.
            if open != tried.open || tried.spent >= self.budget {
                return false;
            }
        }
        self.budget = self.budget.saturating_sub(tried.spent);
        for (number, escaped) in &tried.escaped {
            if let Some(place) = self.escaped.get_mut(*number) {
                *place = Some(escaped.clone());
            }
        }
        true
    }

    /// A virtual host was looked at again, where this was tried before.
    pub(crate) fn was(&mut self, before: Option<&Tried>, now: &Tried) {
        self.is_as_before &= before.is_some_and(|before| before.is_like(now));
    }

    /// Looks at one virtual host.
    pub(crate) fn host(&mut self, engine: &mut Engine, host: HostView<'s>) -> Tried {
        let name = host.name();
        let open = self.open(name);
        if self.budget == 0 || open.is_empty() {
            return Tried::default();
        }
        let before = self.budget;
        let mut tried = Tried {
            open: open.clone(),
            ..Tried::default()
        };
        let index = self.listener.view.index();
        let Some(part) = self.analysis.host(engine, index, host) else {
            return tried;
        };
        let globals = part.ground.globals(engine);
        let partition = Partition {
            own: &part.strings,
            globals: &globals,
        };
        let mut seen = Seen::default();
        let own = part.strings.iter().map(str::to_owned);
        let mut targets: Vec<String> = own.chain(["/x".to_owned()]).collect();
        targets.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        let rules = self.rules;
        for number in open {
            let Some(rule) = rules.all.get(number) else {
                continue;
            };
            let exempt = exemptions_of(self.analysis.snapshot, &rule.condition, &targets);
            let refuses = rule.action != RuleAction::Allow;
            let exempt = exempt
                .iter()
                .filter(|e| may_escape(&rule.condition, e, refuses));
            let escapes: Vec<&Escape> = rule.disguises.iter().chain(exempt).collect();
            let mut terms = None;
            for escape in escapes {
                if self.budget == 0 {
                    break;
                }
                let terms = terms.get_or_insert_with(|| {
                    let here = Here::of(&self.listener.view);
                    // A request without a token has no claims.
                    compile(engine, here, &part.authorities, &rule.condition, Set::ALL)
                        .unwrap_or_default()
                });
                let here = (&*part, partition);
                let found = self.escaped(engine, here, &mut seen, escape, terms, refuses);
                if let Some(found) = found {
                    tried.escaped.push((number, found.clone()));
                    if let Some(place) = self.escaped.get_mut(number) {
                        *place = Some(found);
                    }
                    break;
                }
            }
        }
        tried.spent = match self.budget {
            0 => usize::MAX,
            left => before - left,
        };
        tried
    }

    fn escaped(
        &mut self,
        engine: &mut Engine,
        (part, partition): (&HostPart<'s>, Partition<'_>),
        seen: &mut Seen<'s>,
        escape: &Escape,
        terms: &[Term],
        refuses: bool,
    ) -> Option<Escaped> {
        let snapshot = self.analysis.snapshot;
        let Escape {
            sent,
            read: target,
            reading,
        } = escape;
        for path in [sent, target] {
            if !seen.0.contains_key(path) {
                self.budget = self.budget.checked_sub(1)?;
                let cell = partition.cell_of(path)?;
                let placed = (self.listener, part);
                let side = Side::of(engine, placed, cell);
                let flows = self.analysis.flows(engine, placed, cell, &side);
                let aims = self.analysis.aims(engine, placed, cell, &side);
                seen.0.insert(path.clone(), (flows, aims));
            }
        }
        let (open, _) = seen.0.get(sent)?;
        let (all, aims) = seen.0.get(target)?;
        for flow in open {
            let Outcome::Reaches(destination) = flow.outcome else {
                continue;
            };
            let declared = self.readings.declared(destination);
            // What is only assumed is said of rules that refuse.
            if !declared.map_or(refuses, |all| all.contains(reading)) {
                continue;
            }
            let mut wanted = Set::NONE;
            for aim in aims.iter().filter(|aim| aim.outcome == flow.outcome) {
                if is_read_alike(*reading, (flow, sent), (aim, target)) {
                    wanted = engine.sets.or(wanted, aim.set);
                }
            }
            let from = engine.at_path(flow.set, sent);
            for refused in all.iter().filter(|f| is_refusal(f.outcome)) {
                let to = engine.sets.and(refused.set, wanted);
                let to = engine.at_path(to, target);
                let set = engine.sets.and(from, to);
                let narrowed = Flow {
                    set,
                    ..flow.clone()
                };
                let found = witness::find_at(engine, snapshot, self.listener.view, &narrowed, sent);
                let Some((found, asker)) = found else {
                    continue;
                };
                let mut head = found.clone();
                let mut by_rule = |path: &str| {
                    head.path = path.to_owned();
                    let class = |dim| match dim {
                        AUTHORITY => position(&part.authorities, &head.authority),
                        dim => engine.universe.class_of(dim, &head),
                    };
                    let at = Cell {
                        text: path,
                        region: false,
                    };
                    let mut all = terms.iter().filter(|t| t.covers(at));
                    all.any(|t| engine.sets.contains(t.rest, class) != Some(false))
                };
                if by_rule(sent) == refuses || by_rule(target) != refuses {
                    continue;
                }
                let otherwise = decision_as(snapshot, &head, &asker);
                if !otherwise.verdict.is(refused.outcome) {
                    continue;
                }
                let contrast = Contrast {
                    reading: *reading,
                    assumed: declared.is_none(),
                    path: target.clone(),
                    answer: otherwise.answer,
                };
                let witness = Witness::of(snapshot, (found, asker));
                return Some((Arc::new(witness), destination.clone(), contrast));
            }
        }
        None
    }

    /// What was found, one for each rule. What was said before is not said anew.
    pub(crate) fn answers(self, before: Option<&Answers>) -> Answers {
        let open = self.escaped.iter().filter(|escaped| escaped.is_none());
        let open = open.count();
        let mut out = Answers::default();
        if self.budget == 0 && open > 0 {
            let listener = self.listener.view.describe();
            let why = format!(
                "{listener}: {open} rules on paths, and too many hosts to try each path under"
            );
            out.undecided.insert(Claim::OneReading, vec![why]);
        }
        let before = before.map_or(&[][..], |before| &before.findings);
        let known = |number: usize, witness: &Arc<Witness>| {
            let at = before.binary_search_by_key(&number, |(number, _)| *number);
            let (_, told) = before.get(at.ok()?)?;
            Arc::ptr_eq(&told.finding.witness, witness).then(|| told.clone())
        };
        for (number, (rule, escaped)) in self.rules.all.iter().zip(&self.escaped).enumerate() {
            let Some(escaped) = escaped else {
                continue;
            };
            let told = known(number, &escaped.0).unwrap_or_else(|| self.told(rule, escaped));
            out.findings.push((number, told));
        }
        out
    }

    fn told(&self, rule: &PathRule, (witness, destination, contrast): &Escaped) -> Told {
        let place = format!("spec.rules[{}]", rule.index);
        let key = format!("{destination:?} {} {place}", rule.object);
        let finding = Finding {
            claim: Claim::OneReading,
            witness: Arc::clone(witness),
            listener: self.listener.view.describe().to_string(),
            destination: Some(destination.clone()),
            route: (rule.object.clone(), rule.source.clone(), place),
            count: 1,
            contrast: Some(contrast.clone()),
        };
        Told::new(finding, key)
    }
}

/// Flows of paths that were looked at in a virtual host, and where the routes
/// alone lead.
#[derive(Default)]
struct Seen<'s>(FxHashMap<String, Both<'s>>);

type Both<'s> = (Vec<Flow<'s>>, Vec<Flow<'s>>);

fn is_refusal(outcome: Outcome<'_>) -> bool {
    matches!(
        outcome,
        Outcome::Denied | Outcome::Login | Outcome::Token | Outcome::Authorizer
    )
}

/// Whether the backend makes the same of two paths that get to it.
fn is_read_alike(reading: Reading, one: (&Flow<'_>, &str), other: (&Flow<'_>, &str)) -> bool {
    let there = |(flow, path): (&Flow<'_>, &str)| {
        let mut path = path.to_owned();
        for route in &flow.trail {
            path = behind(route.rewrite(), &path)?;
        }
        Some(read(reading, &path))
    };
    let one = there(one);
    one.is_some() && one == there(other)
}

fn position(authorities: &[String], authority: &str) -> Option<u16> {
    let found = authorities.iter().position(|a| a == authority)?;
    u16::try_from(found).ok()
}

/// Whether a rule can be for one of the paths and not for the other.
fn may_escape(condition: &Condition, escape: &Escape, refuses: bool) -> bool {
    is_possible(condition, &escape.read, refuses) && is_possible(condition, &escape.sent, !refuses)
}

/// Whether a condition can hold, or fail, for requests of a path.
fn is_possible(condition: &Condition, path: &str, wanted: bool) -> bool {
    let each = |c: &Condition| is_possible(c, path, wanted);
    match (condition, wanted) {
        (Condition::Not(inner), _) => is_possible(inner, path, !wanted),
        (Condition::All(all), true) | (Condition::Any(all), false) => all.iter().all(each),
        (Condition::All(all), false) | (Condition::Any(all), true) => all.iter().any(each),
        (Condition::Test(Test { attribute, value }), _) => {
            *attribute != Attribute::Path || holds_for(value, path) == wanted
        }
    }
}
