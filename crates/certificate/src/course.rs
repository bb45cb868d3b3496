//! The way of a request through the listeners, as far as it is known.

use std::collections::BTreeSet;

use http::HeaderName;
use policy::{
    Attribute, AuthorizerView, Carrier, Condition, Entrance, HostView, IstioVersion, ListenerView,
    Matcher, RouteStep, RouteView, RuleAction, RuleView, Snapshot, StepView, TestValue,
    TokenRuleView,
};

use crate::document::{authorizer_name, route_name, rule_name};
use crate::inside::Sent;
use crate::logic::{Truth, holds};
use crate::onward::Onward;
use crate::point::{Assumed, Atom, Change, Point, Who};
use crate::statement::Target;

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
#[derive(Clone, Copy)]
pub(crate) struct Possible<'s> {
    pub(crate) end: End,
    /// The last route on the way.
    pub(crate) route: Option<RouteView<'s>>,
    /// No identity header of the client is left.
    pub(crate) cleaned: bool,
    /// It may be on its way to what the claim speaks of.
    pub(crate) leads: bool,
}

/// Crossings that are followed, as many as the decision follows.
pub(crate) const MAX_HOPS: usize = 6;

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
    /// Where requests go that the claim speaks of, if it says.
    pub(crate) target: Option<&'c Target>,
}

/// A crossing of a listener.
#[derive(Clone, Copy)]
pub(crate) struct Here<'s> {
    pub(crate) at: ListenerView<'s>,
    pub(crate) host: Option<HostView<'s>>,
    /// The last route on the way here.
    pub(crate) last: Option<RouteView<'s>>,
    pub(crate) hop: usize,
    /// At a sidecar: what it was sent on for.
    pub(crate) sent: Option<Sent<'s>>,
}

impl Here<'_> {
    /// A redirect to HTTPS stands in for every route.
    fn requires_tls(&self) -> bool {
        self.host.is_some_and(|host| host.requires_tls()) && self.at.tls().is_none()
    }
}

/// A request at a step.
#[derive(Clone)]
pub(crate) struct State<'c> {
    pub(crate) point: Point<'c>,
    /// No identity header of the client is left.
    pub(crate) cleaned: bool,
    /// Providers, and whether their rules match.
    gates: Vec<(usize, Truth)>,
}

impl<'c> State<'c> {
    /// Before the first step of a listener.
    pub(crate) fn of(point: Point<'c>, cleaned: bool) -> Self {
        Self {
            point,
            cleaned,
            gates: Vec::new(),
        }
    }
}

/// What a request may bring to rules for tokens.
struct Brings {
    none: bool,
    bad: bool,
    good: bool,
}

impl Brings {
    fn of(here: Here<'_>, state: &State<'_>, rules: &[TokenRuleView<'_>]) -> Self {
        let (bad, good, none) = match state.point.who {
            Who::Anybody | Who::Session => (true, true, true),
            Who::Stranger | Who::Tokenless | Who::Person => {
                let mut carriers = rules.iter().flat_map(|rule| rule.carriers());
                let put = carriers.any(|carrier| match carrier {
                    Carrier::Header { name, .. } => state.point.is_put(name.as_str()),
                    Carrier::Cookie(_) => state.point.is_put("cookie"),
                    Carrier::Parameter(_) => false,
                });
                (put, put, true)
            }
            Who::Token { seen } if here.hop == 0 => (false, true, !seen),
            Who::Bearer if here.hop == 0 => (false, true, true),
            Who::Token { .. } | Who::Bearer => (true, true, true),
        };
        Self { none, bad, good }
    }
}

impl<'c, 's: 'c> Course<'c, 's> {
    pub(crate) fn may(
        &mut self,
        here: Here<'s>,
        state: &State<'c>,
        end: End,
        route: Option<RouteView<'s>>,
    ) {
        if self.broken {
            return;
        }
        if let Some(sent) = here.sent {
            self.ends_there(sent.possible(here, end, state.cleaned));
            return;
        }
        let leads = self.target.is_none_or(|target| match end {
            End::NoRoute => target.is_nothing_of(route),
            _ => self.aims(here, &state.point, route, target),
        });
        self.ends_there(Possible {
            end,
            route,
            cleaned: state.cleaned,
            leads,
        });
    }

    fn ends_there(&mut self, mut possible: Possible<'s>) {
        possible.end = match possible.end {
            End::Reaches | End::Unknown => possible.end,
            _ if self.opaque => End::Denied,
            _ => possible.end,
        };
        self.broken |= possible.end == End::Unknown || (self.breaks)(&possible);
    }

    pub(crate) fn condition(
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
            self.broken = true;
            return;
        }
        self.routes(here, &State::of(point, cleaned), 0);
    }

    /// The routes that may be found, and the steps from one on.
    fn routes(&mut self, here: Here<'s>, state: &State<'c>, from: usize) {
        if here.sent.is_some() {
            self.behind_gateway(here, state, from);
            return;
        }
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
                    self.may(here, &state, End::Answered, Some(route));
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
            let who = state.point.who;
            if hidden && who != Who::Person {
                self.may(here, &state, End::Login, here.last);
            }
            if !hidden || !who.brings_nothing() {
                self.may(here, &state, End::NoRoute, here.last);
            }
        }
    }

    /// The steps of a listener from one on; whether somebody may go on.
    pub(crate) fn steps(
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
                    self.may(here, state, End::Denied, route);
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
                    if !self.ends(here, state, refused, End::Denied, route) {
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
                        self.may(here, state, End::Unknown, route);
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
                        self.ends(here, state, open, End::Denied, route)
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
                    self.asked(here, asked, &authorizer, route, state)
                }
                StepView::Authorizer(authorizer) => {
                    let taken = self.snapshot.enforces() && authorizer.is_login();
                    if taken || route.is_none() {
                        true
                    } else {
                        let named = self.named.contains(&*authorizer_name(&authorizer));
                        let asked = if named { Truth::Yes } else { Truth::Maybe };
                        if authorizer.broken().is_some() {
                            self.ends(here, state, asked, End::Denied, route)
                        } else {
                            self.asked(here, asked, &authorizer, route, state)
                        }
                    }
                }
                StepView::Tokens => self.tokens(here, route, state, index),
                StepView::Rules { action, rules } => {
                    let matched = match action {
                        RuleAction::Custom => Truth::No,
                        _ => self.rules(at, &state.point, &rules),
                    };
                    let refused = match action {
                        RuleAction::Allow => matched.not(),
                        RuleAction::Deny | RuleAction::Custom => matched,
                    };
                    self.ends(here, state, refused, End::Denied, route)
                }
                StepView::Headers { changes, .. } => {
                    let known = changes.iter().map(Change::Known);
                    state.point.changes.extend(known);
                    state.cleaned |= changes.iter().any(cleans);
                    true
                }
                StepView::Fault if settled.is_some_and(|route| route.aborts()) => {
                    self.may(here, state, End::Answered, route);
                    false
                }
                StepView::Fault => true,
                StepView::Cors => {
                    if settled.is_some_and(|route| route.answers_preflights()) {
                        self.may(here, state, End::Answered, route);
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
    /// end, and the state is left as it is without one; whether there may be
    /// none.
    fn tokens(
        &mut self,
        here: Here<'s>,
        route: Option<RouteView<'s>>,
        state: &mut State<'c>,
        index: usize,
    ) -> bool {
        let rules: Vec<_> = here.at.token_rules().collect();
        let Some(first) = rules.first() else {
            return true;
        };
        let brings = Brings::of(here, state, &rules);
        let version = self.snapshot.istio_version();
        // What a rule sets is taken off every request first, or where the rule
        // has its turn: of a good token that is sure of the first alone.
        let first_alone = !version.outputs_sanitized();
        let outputs: Vec<&HeaderName> = rules.iter().flat_map(|rule| rule.outputs()).collect();
        let is_identity = |name: &HeaderName| name == IDENTITY;
        let cleans = outputs.iter().any(|name| is_identity(name));
        let unknown = |name: &str| Change::Unknown(name.into());
        if brings.bad {
            self.may(here, state, End::Denied, route);
        }
        if brings.good {
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
        }
        if !brings.none {
            return false;
        }
        // Of callers whom enforcement knows something is known, too.
        state.point.claimed = self.snapshot.enforces() && !state.point.who.brings_nothing();
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
        true
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
    fn ends(
        &mut self,
        here: Here<'s>,
        state: &State<'c>,
        ends: Truth,
        end: End,
        route: Option<RouteView<'s>>,
    ) -> bool {
        if ends != Truth::No {
            self.may(here, state, end, route);
        }
        ends != Truth::Yes
    }

    /// An authorizer is asked; whether somebody may go on.
    fn asked(
        &mut self,
        here: Here<'s>,
        asked: Truth,
        authorizer: &AuthorizerView<'_>,
        route: Option<RouteView<'s>>,
        state: &mut State<'c>,
    ) -> bool {
        if !authorizer.is_login() {
            return self.ends(here, state, asked, End::Unknown, route);
        }
        if !matches!(state.point.who, Who::Session | Who::Person) {
            return self.ends(here, state, asked, End::Login, route);
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

    fn ways(&mut self, here: Here<'s>, route: RouteView<'s>, state: &State<'c>) {
        for way in route.ways() {
            let cleaned = state.cleaned || way.headers.iter().any(|change| cleans(change));
            match self.onward(here, route, &way, &state.point) {
                Onward::Ends(end) => {
                    let leads = self.target.is_none_or(|target| match end {
                        End::Reaches => target.is(route, way.destination),
                        _ => target.is_nothing_of(Some(route)),
                    });
                    let reached = way.destination.filter(|_| end == End::Reaches);
                    if let Some(inside) = reached.and_then(|to| here.at.inside(to)) {
                        let state = State {
                            cleaned,
                            ..state.clone()
                        };
                        self.sidecar(here, (route, &way), &inside, &state, leads);
                        continue;
                    }
                    self.ends_there(Possible {
                        end,
                        route: Some(route),
                        cleaned,
                        leads,
                    });
                }
                Onward::Goes(next, point) => {
                    for next in next {
                        self.crossing(next, point.clone(), cleaned);
                    }
                }
            }
        }
    }
}

fn cleans(change: &policy::HeaderChange) -> bool {
    match change {
        policy::HeaderChange::Set(name, _)
        | policy::HeaderChange::SetIfPresent(name, _)
        | policy::HeaderChange::Remove(name) => name == IDENTITY,
        policy::HeaderChange::Add(..) | policy::HeaderChange::AddIfAbsent(..) => false,
    }
}
