//! The way of a request through the listeners, as far as it is known.

use std::collections::BTreeSet;

use http::HeaderName;
use policy::{
    AccessLevel, Attribute, AuthorizerView, Carrier, Condition, Entrance, HostView, IstioVersion,
    ListenerView, Matcher, Owner, RewriteView, RouteStep, RouteView, RuleAction, RuleView,
    Snapshot, StepView, TestValue, host_name,
};

use crate::document::{authorizer_name, route_name, rule_name};
use crate::logic::{Truth, holds};
use crate::point::{Assumed, Atom, Authority, Change, Paths, Point, Who};

/// What may become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Reaches,
    Answered,
    Login,
    Token,
    Denied,
    NoRoute,
    /// Somebody else decides, or it is not known what the next hop sees.
    Unknown,
}

/// Something that may happen.
pub(crate) struct Possible<'s> {
    pub(crate) end: End,
    /// The last route on the way.
    pub(crate) route: Option<RouteView<'s>>,
    /// No identity header of the client is left.
    pub(crate) cleaned: bool,
}

/// Crossings that are followed, as many as the decision follows.
const MAX_HOPS: usize = 6;

/// The header that speaks of who is logged in.
pub(crate) const IDENTITY: &str = "kubeflow-userid";

/// One look at what may become of a request.
pub(crate) struct Course<'c, 's> {
    pub(crate) snapshot: &'s Snapshot,
    pub(crate) entrance: Entrance,
    /// Connections arrive that are not read: forwarded or closed.
    pub(crate) opaque: bool,
    /// Rules and routes whose conditions may be told apart.
    pub(crate) named: &'c BTreeSet<&'c str>,
    pub(crate) assumed: &'c Assumed,
    /// Tests of named conditions that would tell more.
    pub(crate) wanted: Vec<Atom>,
    /// Says whether what is possible breaks the claim.
    pub(crate) breaks: &'c dyn Fn(&Possible<'s>) -> bool,
    pub(crate) broken: bool,
}

/// A crossing of a listener.
#[derive(Clone, Copy)]
pub(crate) struct Here<'s> {
    pub(crate) at: ListenerView<'s>,
    pub(crate) host: Option<HostView<'s>>,
    /// The last route on the way here.
    pub(crate) last: Option<RouteView<'s>>,
    pub(crate) hop: usize,
}

impl Here<'_> {
    /// A redirect to HTTPS stands in for every route.
    fn requires_tls(&self) -> bool {
        self.host.is_some_and(|host| host.requires_tls()) && self.at.tls().is_none()
    }
}

/// A request at a step.
#[derive(Clone)]
struct State<'c> {
    point: Point<'c>,
    /// No identity header of the client is left.
    cleaned: bool,
    /// Providers, and whether their rules match.
    gates: Vec<(usize, Truth)>,
}

impl<'c, 's: 'c> Course<'c, 's> {
    fn may(&mut self, end: End, route: Option<RouteView<'s>>, cleaned: bool) {
        let end = match end {
            End::Reaches | End::Unknown => end,
            _ if self.opaque => End::Denied,
            _ => end,
        };
        let possible = Possible {
            end,
            route,
            cleaned,
        };
        self.broken |= end == End::Unknown || (self.breaks)(&possible);
    }

    fn condition(
        &mut self,
        at: &ListenerView<'s>,
        point: &Point<'c>,
        name: &str,
        condition: &Condition,
    ) -> Truth {
        let named = self.named.contains(name);
        let mut wanted = Vec::new();
        // What is not named is not told apart by what others assume either.
        let nothing = Assumed::new();
        let assumed = if named { self.assumed } else { &nothing };
        let truth = holds(condition, &mut |attribute, value| {
            point.test(at, attribute, value, assumed, &mut wanted)
        });
        match truth {
            Truth::Maybe if named => self.wanted.append(&mut wanted),
            // What is not named closes nothing.
            Truth::Yes if !named => return Truth::Maybe,
            _ => {}
        }
        truth
    }

    fn rules(&mut self, at: &ListenerView<'s>, point: &Point<'c>, rules: &[RuleView<'s>]) -> Truth {
        let mut out = Truth::No;
        for rule in rules {
            out = out.or(self.condition(at, point, &rule_name(rule), &rule.condition));
            if out == Truth::Yes {
                break;
            }
        }
        out
    }

    /// A crossing of a listener at one of its virtual hosts, or at none.
    pub(crate) fn crossing(&mut self, here: Here<'s>, point: Point<'c>, cleaned: bool) {
        if here
            .host
            .is_some_and(|host| here.at.may_choose_another(host))
        {
            // Which route it is in the end is not followed.
            self.may(End::Unknown, here.last, cleaned);
            return;
        }
        let state = State {
            point,
            cleaned,
            gates: Vec::new(),
        };
        self.routes(here, &state, 0);
    }

    /// The routes that may be found, and the steps from one on.
    fn routes(&mut self, here: Here<'s>, state: &State<'c>, from: usize) {
        for route in here.host.iter().flat_map(HostView::routes) {
            if self.broken {
                return;
            }
            let condition = route.condition();
            let matches = self.condition(&here.at, &state.point, &route_name(route), &condition);
            if matches == Truth::No {
                continue;
            }
            let mut state = state.clone();
            // Found again, it may be another one, whose access levels count.
            let entered = from == 0 || self.access(here, route, &state);
            if entered && self.steps(here, Some(route), &mut state, from) {
                if here.requires_tls() {
                    self.may(End::Answered, Some(route), state.cleaned);
                } else {
                    self.ways(here, route, &state);
                }
            }
            if matches == Truth::Yes {
                return;
            }
        }
        let mut state = state.clone();
        if self.steps(here, None, &mut state, from) {
            let outside = here.hop == 0 && self.entrance == Entrance::External;
            let hidden = self.snapshot.enforces() && outside;
            if hidden {
                self.may(End::Login, here.last, state.cleaned);
            }
            if !hidden || state.point.who != Who::Stranger {
                self.may(End::NoRoute, here.last, state.cleaned);
            }
        }
    }

    /// The steps of a listener from one on; whether somebody may go on.
    fn steps(
        &mut self,
        here: Here<'s>,
        route: Option<RouteView<'s>>,
        state: &mut State<'c>,
        from: usize,
    ) -> bool {
        let at = &here.at;
        let settled = route.filter(|_| !here.requires_tls());
        for (index, step) in at.steps().into_iter().enumerate().skip(from) {
            match settled.map(|route| route.step(index)) {
                Some(RouteStep::Off) => continue,
                None | Some(RouteStep::AsListener) if at.is_disabled(index) => continue,
                Some(RouteStep::Refused(_)) => {
                    self.may(End::Denied, route, state.cleaned);
                    return false;
                }
                Some(RouteStep::Unread) => {
                    let outputs = at.token_rules().flat_map(|rule| rule.outputs());
                    for name in outputs {
                        state.cleaned |= name == IDENTITY;
                        state.point.changes.push(Change::Removed(name.clone()));
                    }
                    continue;
                }
                Some(RouteStep::Rules { action, rules }) => {
                    let matched = self.rules(at, &state.point, &rules);
                    let refused = match action {
                        RuleAction::Deny => matched,
                        RuleAction::Allow | RuleAction::Custom => matched.not(),
                    };
                    if !self.ends(refused, End::Denied, route, state.cleaned) {
                        return false;
                    }
                    continue;
                }
                _ => {}
            }
            let goes_on = match step {
                StepView::Access => route.is_none_or(|r| self.access(here, r, state)),
                StepView::Gate {
                    provider,
                    authorizer,
                } => {
                    // A dry run that denies is not followed.
                    if !authorizer.denying.is_empty() {
                        self.may(End::Unknown, route, state.cleaned);
                    }
                    if self.snapshot.enforces() && authorizer.is_login() {
                        continue;
                    }
                    let open = match &authorizer.rules {
                        Some(rules) if !authorizer.denies_all => {
                            self.rules(at, &state.point, rules)
                        }
                        _ => Truth::Yes,
                    };
                    if authorizer.broken().is_some() {
                        self.ends(open, End::Denied, route, state.cleaned)
                    } else {
                        state.gates.push((provider, open));
                        true
                    }
                }
                StepView::Custom {
                    provider,
                    authorizer,
                } => {
                    let mut open = state.gates.iter().filter(|_| route.is_some());
                    let open = open.find(|(number, _)| *number == provider);
                    let asked = open.map_or(Truth::No, |(_, truth)| *truth);
                    self.asked(asked, &authorizer, route, state)
                }
                StepView::Authorizer(authorizer) => {
                    let taken = self.snapshot.enforces() && authorizer.is_login();
                    if taken || route.is_none() {
                        true
                    } else {
                        let named = self.named.contains(&*authorizer_name(&authorizer));
                        let asked = if named { Truth::Yes } else { Truth::Maybe };
                        if authorizer.broken().is_some() {
                            self.ends(asked, End::Denied, route, state.cleaned)
                        } else {
                            self.asked(asked, &authorizer, route, state)
                        }
                    }
                }
                StepView::Tokens => {
                    self.tokens(here, route, state, index);
                    true
                }
                StepView::Rules { action, rules } => {
                    let matched = match action {
                        RuleAction::Custom => Truth::No,
                        _ => self.rules(at, &state.point, &rules),
                    };
                    let refused = match action {
                        RuleAction::Allow => matched.not(),
                        RuleAction::Deny | RuleAction::Custom => matched,
                    };
                    self.ends(refused, End::Denied, route, state.cleaned)
                }
                StepView::Headers { changes, .. } => {
                    let known = changes.iter().map(Change::Known);
                    state.point.changes.extend(known);
                    state.cleaned |= changes.iter().any(cleans);
                    true
                }
                StepView::Fault if settled.is_some_and(|route| route.aborts()) => {
                    self.may(End::Answered, route, state.cleaned);
                    false
                }
                StepView::Fault => true,
                StepView::Cors => {
                    if settled.is_some_and(|route| route.answers_preflights()) {
                        self.may(End::Answered, route, state.cleaned);
                    }
                    true
                }
                StepView::Other => true,
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    /// Rules for tokens: a bad one is refused, a good one is followed to its
    /// end, and the state is left as it is without one.
    fn tokens(
        &mut self,
        here: Here<'s>,
        route: Option<RouteView<'s>>,
        state: &mut State<'c>,
        index: usize,
    ) {
        let rules: Vec<_> = here.at.token_rules().collect();
        let Some(first) = rules.first() else { return };
        let version = self.snapshot.istio_version();
        // What a rule sets is taken off every request first, or where the rule
        // has its turn: of a good token that is sure of the first alone.
        let first_alone = !version.outputs_sanitized();
        let outputs: Vec<&HeaderName> = rules.iter().flat_map(|rule| rule.outputs()).collect();
        let is_identity = |name: &HeaderName| name == IDENTITY;
        let cleans = outputs.iter().any(|name| is_identity(name));
        let unknown = |name: &str| Change::Unknown(name.into());
        if state.point.who != Who::Stranger {
            self.may(End::Denied, route, state.cleaned);
            let mut good = state.clone();
            good.point.claimed = true;
            good.cleaned |= match first_alone {
                true => first.outputs().any(is_identity),
                false => cleans,
            };
            let changed = outputs.iter().map(|name| unknown(name.as_str()));
            good.point.changes.extend(changed);
            let taken = rules.iter().filter(|rule| !rule.forwards());
            for carrier in taken.flat_map(|rule| rule.carriers()) {
                match carrier {
                    Carrier::Header { name, .. } => good.point.changes.push(unknown(name)),
                    Carrier::Parameter(_) => good.point.queries_change = true,
                    Carrier::Cookie(_) => {}
                }
            }
            self.routes(here, &good, index + 1);
            // Of callers whom enforcement knows something is known, too.
            state.point.claimed = self.snapshot.enforces();
        }
        let passed_over = match first_alone && version >= IstioVersion::PREFLIGHT_WITHOUT_TOKENS {
            true => self.is_options(here, &state.point),
            false => Truth::No,
        };
        let gone = passed_over == Truth::No;
        state.cleaned |= cleans && gone;
        let changed = outputs.into_iter().map(|name| match gone {
            true => Change::Removed(name.clone()),
            false => unknown(name.as_str()),
        });
        state.point.changes.extend(changed);
    }

    /// Whether it may be a CORS preflight.
    fn is_options(&mut self, here: Here<'s>, point: &Point<'c>) -> Truth {
        let value = TestValue::Text(Matcher::Exact("OPTIONS".to_owned()));
        point.test(
            &here.at,
            &Attribute::Method,
            &value,
            self.assumed,
            &mut self.wanted,
        )
    }

    /// Something may end the way; whether somebody may go on.
    fn ends(&mut self, ends: Truth, end: End, route: Option<RouteView<'s>>, cleaned: bool) -> bool {
        if ends != Truth::No {
            self.may(end, route, cleaned);
        }
        ends != Truth::Yes
    }

    /// An authorizer is asked; whether somebody may go on.
    fn asked(
        &mut self,
        asked: Truth,
        authorizer: &AuthorizerView<'_>,
        route: Option<RouteView<'s>>,
        state: &mut State<'c>,
    ) -> bool {
        if !authorizer.is_login() {
            return self.ends(asked, End::Unknown, route, state.cleaned);
        }
        if state.point.who != Who::Session {
            return self.ends(asked, End::Login, route, state.cleaned);
        }
        if asked == Truth::No {
            return true;
        }
        for name in authorizer.headers_to_upstream() {
            let name = name.to_ascii_lowercase();
            state.cleaned |= asked == Truth::Yes && name == IDENTITY;
            state.point.changes.push(Change::Unknown(name.into()));
        }
        true
    }

    /// Access levels; whether somebody may go on.
    fn access(&mut self, here: Here<'s>, route: RouteView<'s>, state: &State<'c>) -> bool {
        if !self.snapshot.enforces() {
            return true;
        }
        let (point, cleaned, hop) = (&state.point, state.cleaned, here.hop);
        let access = route.access();
        let external = self.entrance == Entrance::External;
        let platform = matches!(access.owner, Owner::Platform | Owner::LoginMachinery);
        let is = |list: &[String]| !point.paths.below && list.contains(&point.paths.text);
        if platform && external && hop == 0 && is(self.snapshot.login_paths()) {
            self.may(End::Answered, Some(route), cleaned);
            return false;
        }
        let mut level = if external {
            access.external
        } else {
            access.local
        };
        let closed = access.owner == Owner::LoginMachinery && external;
        if closed && !is(self.snapshot.provider_paths()) {
            level = AccessLevel::Login;
        }
        if access.owner == Owner::Model && !route.answers_preflights() {
            self.may(End::Answered, Some(route), cleaned);
        }
        let end = match level {
            AccessLevel::Public | AccessLevel::AsWritten => return true,
            AccessLevel::Cluster if !external && access.limits.is_empty() => return true,
            AccessLevel::Cluster | AccessLevel::Token => End::Token,
            AccessLevel::Login => End::Login,
        };
        self.may(end, Some(route), cleaned);
        point.who != Who::Stranger
    }

    fn ways(&mut self, here: Here<'s>, route: RouteView<'s>, state: &State<'c>) {
        let (at, point) = (&here.at, &state.point);
        for way in route.ways() {
            let cleaned = state.cleaned || way.headers.iter().any(|change| cleans(change));
            let Some(destination) = way.destination.filter(|_| !way.missing) else {
                self.may(End::Answered, Some(route), cleaned);
                continue;
            };
            let Some(next) = self.snapshot.next_listener(destination) else {
                if let Some(inside) = at.inside(destination) {
                    self.sidecar(&inside.listener, route, cleaned);
                }
                self.may(End::Reaches, Some(route), cleaned);
                continue;
            };
            if here.hop + 1 == MAX_HOPS {
                self.may(End::Denied, Some(route), cleaned);
                continue;
            }
            let Some(next) = self.snapshot.listeners().nth(next) else {
                self.may(End::Unknown, Some(route), cleaned);
                continue;
            };
            let Some(paths) = rewritten(&point.paths, route.rewrite()) else {
                self.may(End::Unknown, Some(route), cleaned);
                continue;
            };
            let authority = match way.authority {
                Some(text) => Authority::One(text.to_owned()),
                None => point.authority.clone(),
            };
            let hosts: Vec<Option<HostView<'s>>> = match &authority {
                Authority::One(text) => vec![next.host(&host_name(text))],
                Authority::OtherPort(host) => vec![next.host(host)],
                Authority::Any { listener, host } if at.index() == *listener => {
                    let exact = Some(host).filter(|host| !host.starts_with('*'));
                    match exact {
                        Some(host) => vec![next.host(host)],
                        None => next.hosts().map(Some).chain([None]).collect(),
                    }
                }
                Authority::Any { .. } => next.hosts().map(Some).chain([None]).collect(),
            };
            let mut there = Point {
                paths,
                authority,
                port: next.port(),
                claimed: false,
                sent_on: true,
                ..point.clone()
            };
            let changes = way.headers.into_iter().map(Change::Known);
            there.changes.extend(changes);
            for host in hosts {
                let next = Here {
                    at: next,
                    host,
                    last: Some(route),
                    hop: here.hop + 1,
                };
                self.crossing(next, there.clone(), cleaned);
            }
        }
    }
}

impl<'s> Course<'_, 's> {
    /// What a sidecar may do, which is not told apart: any request may be
    /// refused there, and where somebody is asked nothing is known.
    fn sidecar(&mut self, at: &ListenerView<'s>, route: RouteView<'s>, cleaned: bool) {
        let asks = |step: &StepView<'_>| {
            matches!(
                step,
                StepView::Gate { .. } | StepView::Custom { .. } | StepView::Authorizer(_)
            )
        };
        self.may(End::Denied, Some(route), cleaned);
        if self.snapshot.enforces() {
            self.may(End::Token, Some(route), cleaned);
        }
        if !at.not_understood().is_empty() || at.steps().iter().any(asks) {
            self.may(End::Unknown, Some(route), cleaned);
        }
    }
}

fn cleans(change: &policy::HeaderChange) -> bool {
    match change {
        policy::HeaderChange::Set(name, _) | policy::HeaderChange::Remove(name) => name == IDENTITY,
        policy::HeaderChange::Add(..) | policy::HeaderChange::AddIfAbsent(..) => false,
    }
}

/// The paths after a rewrite; `None` when that is not known.
fn rewritten(paths: &Paths, rewrite: RewriteView<'_>) -> Option<Paths> {
    match rewrite {
        RewriteView::None => Some(paths.clone()),
        RewriteView::Whole(to) => Some(Paths {
            text: to.to_owned(),
            below: false,
            rewritten: None,
        }),
        RewriteView::Prefix { from, to } => {
            let rest = paths.text.strip_prefix(from)?;
            Some(Paths {
                text: format!("{to}{rest}"),
                below: paths.below,
                rewritten: match (&paths.rewritten, paths.below) {
                    (_, false) => None,
                    (None, true) => Some((from.to_owned(), to.to_owned())),
                    // Rewritten twice.
                    (Some(_), true) => return None,
                },
            })
        }
        RewriteView::Regex => None,
    }
}
