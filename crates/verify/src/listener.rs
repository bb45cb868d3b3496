//! One listener: its rules by step, its virtual hosts by name.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use policy::{
    AuthorizerView, HeaderChange, HostView, ListenerView, RuleAction, Snapshot, StepView, host_name,
};

use crate::analysis::compile;
use crate::callers::HELD_GOOD;
use crate::engine::Engine;
use crate::ground::Ground;
use crate::mdd::{Dim, Set};
use crate::ruleset::RuleSet;
use crate::scope::Scope;
use crate::terms::Here;
use crate::tokens::Judged;
use crate::universe::{IDENTITY, Kind, looks_at_remote};

/// A listener.
pub(crate) struct ListenerPart<'s> {
    pub(crate) view: ListenerView<'s>,
    pub(crate) rules: Arc<RuleSet>,
    /// The rules that name no host.
    pub(crate) ground: Rc<Ground>,
    pub(crate) steps: Vec<StepPart>,
    /// Requests that there can be.
    pub(crate) domain: Set,
    /// What its rules for tokens say.
    pub(crate) tokens: Judged,
    /// The step at which they do.
    pub(crate) tokens_at: usize,
    /// Requests whose claims are known.
    pub(crate) known: Set,
    /// Headers that routes may see otherwise once tokens were looked at: those
    /// that tokens are in, and those that filters change.
    pub(crate) changing: Vec<String>,
    /// A step has the route chosen anew.
    pub(crate) chooses_again: bool,
    verified: OnceCell<Verified>,
}

/// Requests with a token that verifies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verified {
    /// Where somebody looks at it, and it says whom it is about.
    pub(crate) seen: Set,
    pub(crate) all: Set,
}

/// A step that a request meets.
#[derive(Debug, PartialEq)]
pub(crate) struct StepPart {
    pub(crate) kind: StepKind,
    /// Only routes that say so have it.
    pub(crate) disabled: bool,
}

impl StepPart {
    /// A login service that is asked.
    fn login(&self) -> Option<&Login> {
        match &self.kind {
            StepKind::Custom { login, .. } | StepKind::Asked { login } => login.as_ref(),
            _ => None,
        }
    }

    /// What it changes of a request.
    fn changes(&self) -> impl Iterator<Item = Dim> {
        let maps = self.header_maps().iter().map(|(dim, _)| *dim);
        let puts = self.login().into_iter().flat_map(|login| &login.puts);
        maps.chain(puts.copied())
    }

    /// How it changes headers.
    pub(crate) fn header_maps(&self) -> &[(Dim, Vec<u16>)] {
        match &self.kind {
            StepKind::Headers { maps, .. } => maps,
            _ => &[],
        }
    }
}

/// A login service: who has a session goes on, with headers from it.
#[derive(Debug, PartialEq)]
pub(crate) struct Login {
    /// What it puts there is not known to rules that come later.
    pub(crate) puts: Vec<Dim>,
    /// Its own identity header takes the place of the client's.
    pub(crate) cleans: bool,
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
            puts.extend(engine.universe.tokens.put_by(&name));
        }
        Some(Self {
            puts,
            cleans: puts_identity(authorizer),
        })
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
    /// Requests of routes with a fault are answered.
    Fault,
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
        HeaderChange::Set(name, _)
        | HeaderChange::SetIfPresent(name, _)
        | HeaderChange::Remove(name) => name == IDENTITY,
        HeaderChange::Add(..) | HeaderChange::AddIfAbsent(..) => false,
    }
}

impl<'s> ListenerPart<'s> {
    pub(crate) fn new(
        engine: &mut Engine,
        snapshot: &Snapshot,
        view: ListenerView<'s>,
        rules: Arc<RuleSet>,
    ) -> Self {
        let tokens = engine.judge(snapshot, &view);
        let bare = view.bare_steps();
        let tokens_at = bare
            .iter()
            .position(|step| matches!(step, StepView::Tokens))
            .unwrap_or(usize::MAX);
        let chooses_again = |step: &StepView<'_>| match step {
            StepView::Headers { chooses_again, .. } => *chooses_again,
            _ => false,
        };
        let chooses_again = bare.iter().any(chooses_again);
        let known = engine.universe.tokens.known(&mut engine.sets);
        let mut steps = Vec::new();
        for (index, step) in bare.into_iter().enumerate() {
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
                StepView::Rules { action, .. } => match action {
                    RuleAction::Deny => StepKind::Deny,
                    RuleAction::Allow => StepKind::Allow,
                    RuleAction::Custom => StepKind::Other,
                },
                StepView::Headers { changes, .. } => StepKind::Headers {
                    maps: changes.iter().flat_map(|c| engine.header_maps(c)).collect(),
                    cleans: changes.iter().any(cleans),
                },
                StepView::Fault => StepKind::Fault,
                StepView::Cors => StepKind::Cors,
                StepView::Other => StepKind::Other,
            };
            steps.push(StepPart {
                kind,
                disabled: view.is_disabled(index),
            });
        }
        if view.trusted_proxies() > 0
            && is_sent_to(snapshot, view)
            && rules
                .all
                .iter()
                .any(|rule| looks_at_remote(&rule.condition))
        {
            engine.give_up(format!(
                "rules on {} look at the client's address, which another gateway before it and trusted proxies tell",
                view.describe()
            ));
        }
        let mut global = Scope::default();
        for rule in rules.anywhere() {
            let here = if rule.step > tokens_at {
                known
            } else {
                Set::NONE
            };
            match compile(engine, Here::of(&view), &[], &rule.condition, here) {
                Some(terms) => terms.into_iter().for_each(|t| global.add(rule.step, t)),
                None => engine.give_up("a rule has too many combinations".to_owned()),
            }
        }
        let ground = Rc::new(Ground::new(steps.len(), global));
        let arriving = engine.universe.arriving(&mut engine.sets, snapshot, &view);
        let domain = engine.domain();
        let (universe, sets) = (&engine.universe, &mut engine.sets);
        let domain = universe.of_possible_callers(sets, domain, view.side());
        let domain = sets.and(domain, arriving);
        let mut changing = engine.universe.tokens.headers();
        let changed = steps.iter().flat_map(StepPart::changes);
        changing.extend(
            changed.filter_map(|dim| match &engine.universe.dimension(dim)?.kind {
                Kind::Header(name) => Some(name.to_string()),
                _ => None,
            }),
        );
        Self {
            view,
            rules,
            ground,
            domain,
            tokens,
            tokens_at,
            known,
            changing,
            steps,
            chooses_again,
            verified: OnceCell::new(),
        }
    }

    /// Requests with a token that verifies here, and is refused by nobody.
    pub(crate) fn verified(&self, engine: &mut Engine, enforces: bool) -> Verified {
        let known = self
            .verified
            .get_or_init(|| self.verifying(engine, enforces));
        *known
    }

    fn verifying(&self, engine: &mut Engine, enforces: bool) -> Verified {
        let (universe, sets) = (&engine.universe, &mut engine.sets);
        let refused = sets.or(self.tokens.refused, self.tokens.forbidden);
        if enforces && universe.callers.tokens {
            let held = universe.held(sets, HELD_GOOD);
            let consistent = universe.tokens.not_bad_in(sets, AUTHORIZATION.as_str());
            let all = sets.and(held, consistent);
            let all = sets.minus(all, refused);
            return Verified { seen: all, all };
        }
        let mut seen = Set::NONE;
        for branch in self.tokens.branches.iter().filter(|branch| branch.again) {
            seen = sets.or(seen, branch.set);
        }
        let subject = universe.tokens.with_subject(universe, sets);
        let all = match seen.is_none() {
            true => Set::NONE,
            false => universe.tokens.good(sets),
        };
        Verified {
            seen: sets.and(seen, subject),
            all: sets.minus(all, refused),
        }
    }

    /// What logins put on requests here and rules or routes look at.
    pub(crate) fn puts(&self) -> Vec<Dim> {
        let logins = self.steps.iter().filter_map(StepPart::login);
        let mut all: Vec<Dim> = logins.flat_map(|login| &login.puts).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether a good token is something here.
    pub(crate) fn has_good_tokens(&self) -> bool {
        self.tokens.branches.iter().any(|branch| branch.again)
    }

    /// Requests whose claims are known at a step.
    pub(crate) fn known_at(&self, step: usize) -> Set {
        if step > self.tokens_at {
            self.known
        } else {
            Set::NONE
        }
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
}

/// Whether an authorizer puts its own identity header on requests.
pub(crate) fn puts_identity(authorizer: &AuthorizerView<'_>) -> bool {
    let mut names = authorizer.headers_to_upstream().iter();
    names.any(|name| name.eq_ignore_ascii_case(IDENTITY))
}
