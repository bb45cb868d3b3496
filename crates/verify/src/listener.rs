//! One listener: its rules by step, its virtual hosts by name.

use std::cell::RefCell;

use policy::{
    Attribute, AuthorizerView, Carrier, Condition, HeaderChange, HostView, ListenerView,
    RuleAction, Snapshot, StepView, host_name,
};
use rustc_hash::FxHashMap;

use crate::analysis::compile;
use crate::engine::Engine;
use crate::fronts::FrontId;
use crate::mdd::{Dim, Set};
use crate::paths::{Cell, Strings};
use crate::scope::Scope;
use crate::terms::{Here, hosts_of, looks_at_headers};
use crate::universe::{AUTHORIZATION, IDENTITY, looks_at_remote, tests_of};

/// A listener.
pub(crate) struct ListenerPart<'s> {
    pub(crate) view: ListenerView<'s>,
    pub(crate) rules: Vec<RulePart>,
    pub(crate) global: RefCell<Scope>,
    pub(crate) global_strings: Strings,
    pub(crate) steps: Vec<StepPart>,
    by_host: FxHashMap<String, Vec<usize>>,
    /// Rules about hosts that could be any.
    roaming: Vec<usize>,
    pub(crate) domain: Set,
    /// Nobody passes a login here with an identity header of their own.
    pub(crate) overwrites_identity: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) struct RulePart {
    pub(crate) step: usize,
    pub(crate) condition: Condition,
    /// It looks at the authority.
    pub(crate) is_local: bool,
}

impl RulePart {
    fn new(step: usize, condition: Condition) -> Self {
        let mut tests = Vec::new();
        tests_of(&condition, &Attribute::Authority, &mut tests);
        Self {
            step,
            is_local: !tests.is_empty(),
            condition,
        }
    }
}

/// A step that a request meets.
#[derive(Debug, PartialEq)]
pub(crate) struct StepPart {
    pub(crate) kind: StepKind,
    /// Only routes that say so have it.
    pub(crate) disabled: bool,
}

/// A login service: who has a session goes on, with headers from it.
#[derive(Debug, PartialEq)]
pub(crate) struct Login {
    /// What it puts there is not known to rules that come later.
    pub(crate) puts: Vec<Dim>,
}

impl Login {
    fn of(engine: &Engine, authorizer: &AuthorizerView<'_>) -> Option<Self> {
        if !authorizer.is_login() {
            return None;
        }
        let names = authorizer.headers_to_upstream().iter();
        let names = names.map(|name| name.to_ascii_lowercase());
        let mut puts = Vec::new();
        for name in names {
            puts.extend(engine.universe.header_dim(&name));
            if name == AUTHORIZATION {
                puts.extend(engine.universe.token_dims());
            }
        }
        Some(Self { puts })
    }
}

/// What a step does.
#[derive(Debug, PartialEq)]
pub(crate) enum StepKind {
    /// Access levels.
    Access,
    /// Requests that match ask the provider, or are denied when it is broken.
    Gate { provider: usize, broken: bool },
    /// The provider is asked, where its gate is open.
    Custom {
        provider: usize,
        login: Option<Login>,
    },
    /// An authorizer is asked about everything.
    Asked { login: Option<Login> },
    /// An authorizer that cannot be asked refuses everything.
    Broken,
    /// Bad tokens are refused.
    Tokens,
    /// What matches is denied.
    Deny,
    /// What does not match is denied.
    Allow,
    /// Request headers change.
    Headers {
        maps: Vec<(Dim, Vec<u16>)>,
        /// The identity header of the client is gone after it.
        cleans: bool,
    },
    /// CORS preflights are answered.
    Cors,
    /// Nothing that concerns an answer.
    Other,
}

/// Whether a route leads to the listener.
fn is_sent_to(snapshot: &Snapshot, view: ListenerView<'_>) -> bool {
    let routes = snapshot
        .listeners()
        .flat_map(|l| l.hosts())
        .flat_map(|host| host.routes());
    let mut ways = routes.flat_map(|route| route.ways());
    ways.any(|way| {
        let next = way.destination.and_then(|to| snapshot.next_listener(to));
        next == Some(view.index())
    })
}

fn cleans(change: &HeaderChange) -> bool {
    match change {
        HeaderChange::Set(name, _) | HeaderChange::Remove(name) => name == IDENTITY,
        HeaderChange::Add(..) => false,
    }
}

impl<'s> ListenerPart<'s> {
    pub(crate) fn new(engine: &mut Engine, snapshot: &Snapshot, view: ListenerView<'s>) -> Self {
        let mut rules = Vec::new();
        let mut steps = Vec::new();
        for (index, step) in view.steps().into_iter().enumerate() {
            let mut add = |list: Vec<policy::RuleView<'_>>| {
                rules.extend(list.into_iter().map(|r| RulePart::new(index, r.condition)));
            };
            let kind = match step {
                StepView::Access => StepKind::Access,
                StepView::Gate { authorizer, .. }
                    if snapshot.enforces() && authorizer.is_login() =>
                {
                    StepKind::Other
                }
                StepView::Gate {
                    provider,
                    authorizer,
                } => {
                    let broken = authorizer.broken().is_some();
                    for rule in &authorizer.denying {
                        engine.give_up(format!(
                            "{} rule {}: a dry run of a CUSTOM policy, which denies what it matches",
                            rule.object, rule.index
                        ));
                    }
                    match authorizer.rules {
                        Some(list) if !authorizer.denies_all => add(list),
                        _ => rules.push(RulePart::new(index, Condition::always())),
                    }
                    StepKind::Gate { provider, broken }
                }
                StepView::Custom {
                    provider,
                    authorizer,
                } => StepKind::Custom {
                    provider,
                    login: Login::of(engine, &authorizer),
                },
                StepView::Authorizer(authorizer)
                    if snapshot.enforces() && authorizer.is_login() =>
                {
                    StepKind::Other
                }
                StepView::Authorizer(authorizer) => match authorizer.broken() {
                    Some(_) => StepKind::Broken,
                    None => StepKind::Asked {
                        login: Login::of(engine, &authorizer),
                    },
                },
                StepView::Tokens => StepKind::Tokens,
                StepView::Rules { action, rules } => {
                    add(rules);
                    match action {
                        RuleAction::Deny => StepKind::Deny,
                        RuleAction::Allow => StepKind::Allow,
                        RuleAction::Custom => StepKind::Other,
                    }
                }
                StepView::Headers(changes) => StepKind::Headers {
                    maps: changes
                        .iter()
                        .filter_map(|c| engine.universe.header_map(c))
                        .collect(),
                    cleans: changes.iter().any(cleans),
                },
                StepView::Cors => StepKind::Cors,
                StepView::Other => StepKind::Other,
            };
            steps.push(StepPart {
                kind,
                disabled: view.is_disabled(index),
            });
        }
        if !snapshot.istio_version().headers_individually()
            && rules.iter().any(|rule| looks_at_headers(&rule.condition))
        {
            engine.give_up(format!(
                "Istio {} joins the lines of a repeated header before rules look at it, and rules on {} look at headers",
                snapshot.istio_version(),
                view.describe()
            ));
        }
        if view.trusted_proxies() > 0
            && is_sent_to(snapshot, view)
            && rules.iter().any(|rule| looks_at_remote(&rule.condition))
        {
            engine.give_up(format!(
                "rules on {} look at the client's address, which another gateway before it and trusted proxies tell",
                view.describe()
            ));
        }
        let mut global = Scope::default();
        let mut by_host: FxHashMap<String, Vec<usize>> = FxHashMap::default();
        let mut roaming = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            if !rule.is_local {
                match compile(engine, Here::of(&view), &[], &rule.condition) {
                    Some(terms) => terms.into_iter().for_each(|t| global.add(rule.step, t)),
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
        if let Some(why) = tokens_beyond(snapshot, &view) {
            engine.give_up(why);
        }
        let issuers: Vec<String> = view
            .token_rules()
            .map(|r| r.keys().issuer.clone())
            .collect();
        let arriving = engine.universe.arriving(&mut engine.sets, snapshot, &view);
        let (universe, sets) = (&engine.universe, &mut engine.sets);
        let domain = universe.domain(sets, &issuers, snapshot.enforces());
        let domain = universe.of_possible_callers(sets, domain, view.side());
        let domain = sets.and(domain, arriving);
        Self {
            view,
            rules,
            global: RefCell::new(global),
            global_strings,
            by_host,
            roaming,
            domain,
            steps,
            overwrites_identity: snapshot.enforces() || overwrites_identity(view),
        }
    }

    /// What rules without a host do on a cell of a partition that knows all
    /// their strings.
    pub(crate) fn ground(&self, engine: &mut Engine, cell: Cell<'_>) -> FrontId {
        let steps = self.steps.len();
        self.global.borrow_mut().front(engine, steps, cell)
    }

    /// The virtual host of an authority, as the decision finds it.
    pub(crate) fn select(&self, authority: &str) -> Option<HostView<'s>> {
        self.view.host(&host_name(authority))
    }

    /// All virtual hosts, by name.
    pub(crate) fn hosts(&self) -> Vec<HostView<'s>> {
        let mut all: Vec<HostView<'s>> = self.view.hosts().collect();
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
    pub(crate) fn rules_for(&self, name: &str) -> Vec<&RulePart> {
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

/// Whether the login of a listener puts its own identity header on requests.
fn overwrites_identity(view: ListenerView<'_>) -> bool {
    let all = view.authorizers();
    let mut login = all.iter().filter(|a| a.is_login());
    login.any(|a| {
        a.headers_to_upstream()
            .iter()
            .any(|h| h.eq_ignore_ascii_case(IDENTITY))
    })
}

/// What of tokens is not modelled at a listener.
fn tokens_beyond(snapshot: &Snapshot, view: &ListenerView<'_>) -> Option<String> {
    let mut rules = view.token_rules();
    let elsewhere = |carrier: &Carrier| !matches!(carrier, Carrier::Header { name, .. } if name.eq_ignore_ascii_case("authorization"));
    if let Some(rule) = rules.find(|rule| rule.carriers().iter().any(elsewhere)) {
        let (object, _) = rule.object();
        return Some(format!(
            "{object}: tokens elsewhere than in `authorization`"
        ));
    }
    view.token_rules().next()?;
    if let Some(rule) = view.token_rules().find(|rule| !rule.audiences().is_empty()) {
        let (object, _) = rule.object();
        return Some(format!("{object}: tokens of certain audiences"));
    }
    let looked_at = |header: &str| is_looked_at(snapshot, header);
    for rule in view.token_rules() {
        let (object, _) = rule.object();
        if let Some(name) = rule.outputs().find(|name| looked_at(name.as_str())) {
            return Some(format!(
                "{object}: header `{name}` from tokens, which rules or routes look at"
            ));
        }
        if !rule.forwards() && (looked_at(AUTHORIZATION) || goes_on(snapshot, view)) {
            return Some(format!(
                "{object}: takes `{AUTHORIZATION}` off, which rules or routes look at"
            ));
        }
    }
    let mut routes = view.hosts().flat_map(|host| host.routes());
    if let Some(route) = routes.find(|route| looks_at_claims(&route.condition())) {
        return Some(format!(
            "{} {}: a route by claims",
            route.object(),
            route.place()
        ));
    }
    let authorizers = view.authorizers().into_iter();
    let mut asked = authorizers.flat_map(|a| a.rules.into_iter().flatten());
    let rule = asked.find(|rule| looks_at_claims(&rule.condition))?;
    Some(format!(
        "{} rule {}: a CUSTOM rule on claims",
        rule.object, rule.index
    ))
}

/// Whether rules or routes look at a header.
fn is_looked_at(snapshot: &Snapshot, header: &str) -> bool {
    let attribute = Attribute::Header(header.into());
    let looks = |condition: &Condition| {
        let mut tests = Vec::new();
        tests_of(condition, &attribute, &mut tests);
        !tests.is_empty()
    };
    snapshot.listeners().any(|listener| {
        let mut routes = listener.hosts().flat_map(|host| host.routes());
        let authorizers = listener.authorizers().into_iter();
        let mut asked = authorizers.flat_map(|a| a.rules.into_iter().flatten());
        listener.rules().into_iter().any(|r| looks(&r.condition))
            || asked.any(|rule| looks(&rule.condition))
            || routes.any(|route| looks(&route.condition()))
    })
}

/// Whether a route leads on to a listener that looks at tokens.
fn goes_on(snapshot: &Snapshot, view: &ListenerView<'_>) -> bool {
    let mut ways = view
        .hosts()
        .flat_map(|host| host.routes())
        .flat_map(|route| route.ways());
    ways.any(|way| {
        let next = way.destination.and_then(|to| snapshot.next_listener(to));
        let mut all = snapshot.listeners();
        let next = next.and_then(|index| all.find(|l| l.index() == index));
        next.is_some_and(|l| l.token_rules().next().is_some())
    })
}

fn looks_at_claims(condition: &Condition) -> bool {
    match condition {
        Condition::All(all) | Condition::Any(all) => all.iter().any(looks_at_claims),
        Condition::Not(inner) => looks_at_claims(inner),
        Condition::Test(test) => matches!(test.attribute, Attribute::Claim(_)),
    }
}
