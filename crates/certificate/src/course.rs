//! The way of a request through the listeners, as far as it is known.

use std::collections::BTreeSet;

use policy::{
    AccessLevel, Condition, Entrance, HostView, ListenerView, Owner, RewriteView, RouteStep,
    RouteView, RuleAction, RuleView, Snapshot, StepView, host_name,
};

use crate::document::{authorizer_name, route_name, rule_name};
use crate::logic::{Truth, holds};
use crate::point::{Assumed, Atom, Authority, Paths, Point};

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
    pub(crate) fn crossing(
        &mut self,
        at: &ListenerView<'s>,
        host: Option<HostView<'s>>,
        point: &Point<'c>,
        last: Option<RouteView<'s>>,
        cleaned: bool,
        hop: usize,
    ) {
        let requires_tls = host.is_some_and(|host| host.requires_tls()) && at.tls().is_none();
        if host.is_some_and(|host| at.may_choose_another(host)) {
            // Which route it is in the end is not followed.
            self.may(End::Unknown, last, cleaned);
            return;
        }
        for route in host.iter().flat_map(HostView::routes) {
            if self.broken {
                return;
            }
            let matches = self.condition(at, point, &route_name(route), &route.condition());
            if matches == Truth::No {
                continue;
            }
            let mut point = point.clone();
            let mut cleaned = cleaned;
            if self.steps(at, Some(route), requires_tls, &mut point, &mut cleaned, hop) {
                if requires_tls {
                    self.may(End::Answered, Some(route), cleaned);
                } else {
                    self.ways(at, route, &point, cleaned, hop);
                }
            }
            if matches == Truth::Yes {
                return;
            }
        }
        let mut point = point.clone();
        let mut cleaned = cleaned;
        if self.steps(at, None, requires_tls, &mut point, &mut cleaned, hop) {
            let hidden =
                self.snapshot.enforces() && hop == 0 && self.entrance == Entrance::External;
            let end = if hidden { End::Login } else { End::NoRoute };
            self.may(end, last, cleaned);
        }
    }

    /// The steps of a listener; whether somebody may go on.
    fn steps(
        &mut self,
        at: &ListenerView<'s>,
        route: Option<RouteView<'s>>,
        requires_tls: bool,
        point: &mut Point<'c>,
        cleaned: &mut bool,
        hop: usize,
    ) -> bool {
        let settled = route.filter(|_| !requires_tls);
        let mut gates: Vec<(usize, Truth)> = Vec::new();
        for (index, step) in at.steps().into_iter().enumerate() {
            match settled.map(|route| route.step(index)) {
                Some(RouteStep::Off) => continue,
                None | Some(RouteStep::AsListener) if at.is_disabled(index) => continue,
                Some(RouteStep::Refused(_)) => {
                    self.may(End::Denied, route, *cleaned);
                    return false;
                }
                Some(RouteStep::Rules { action, rules }) => {
                    let matched = self.rules(at, point, &rules);
                    let refused = match action {
                        RuleAction::Deny => matched,
                        RuleAction::Allow | RuleAction::Custom => matched.not(),
                    };
                    if !self.ends(refused, End::Denied, route, *cleaned) {
                        return false;
                    }
                    continue;
                }
                _ => {}
            }
            let goes_on = match step {
                StepView::Access => route.is_none_or(|r| self.access(r, point, *cleaned, hop)),
                StepView::Gate {
                    provider,
                    authorizer,
                } => {
                    // A dry run that denies is not followed.
                    if !authorizer.denying.is_empty() {
                        self.may(End::Unknown, route, *cleaned);
                    }
                    if self.snapshot.enforces() && authorizer.is_login() {
                        continue;
                    }
                    let open = match &authorizer.rules {
                        Some(rules) if !authorizer.denies_all => self.rules(at, point, rules),
                        _ => Truth::Yes,
                    };
                    if authorizer.broken().is_some() {
                        self.ends(open, End::Denied, route, *cleaned)
                    } else {
                        gates.push((provider, open));
                        true
                    }
                }
                StepView::Custom {
                    provider,
                    authorizer,
                } => {
                    let open = gates.iter().find(|(number, _)| *number == provider);
                    let asked = open
                        .filter(|_| route.is_some())
                        .map_or(Truth::No, |(_, t)| *t);
                    self.asked(asked, authorizer.is_login(), route, *cleaned)
                }
                StepView::Authorizer(authorizer) => {
                    let taken = self.snapshot.enforces() && authorizer.is_login();
                    if taken || route.is_none() {
                        true
                    } else {
                        let named = self.named.contains(&*authorizer_name(&authorizer));
                        let asked = if named { Truth::Yes } else { Truth::Maybe };
                        if authorizer.broken().is_some() {
                            self.ends(asked, End::Denied, route, *cleaned)
                        } else {
                            self.asked(asked, authorizer.is_login(), route, *cleaned)
                        }
                    }
                }
                StepView::Tokens => {
                    if !point.stranger && at.token_rules().next().is_some() {
                        self.may(End::Denied, route, *cleaned);
                    }
                    true
                }
                StepView::Rules { action, rules } => {
                    let matched = match action {
                        RuleAction::Custom => Truth::No,
                        _ => self.rules(at, point, &rules),
                    };
                    let refused = match action {
                        RuleAction::Allow => matched.not(),
                        RuleAction::Deny | RuleAction::Custom => matched,
                    };
                    self.ends(refused, End::Denied, route, *cleaned)
                }
                StepView::Headers { changes, .. } => {
                    point.changes.extend(changes);
                    *cleaned |= changes.iter().any(cleans);
                    true
                }
                StepView::Fault if settled.is_some_and(|route| route.aborts()) => {
                    self.may(End::Answered, route, *cleaned);
                    false
                }
                StepView::Fault => true,
                StepView::Cors => {
                    if settled.is_some_and(|route| route.answers_preflights()) {
                        self.may(End::Answered, route, *cleaned);
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

    /// Something may end the way; whether somebody may go on.
    fn ends(&mut self, ends: Truth, end: End, route: Option<RouteView<'s>>, cleaned: bool) -> bool {
        if ends != Truth::No {
            self.may(end, route, cleaned);
        }
        ends != Truth::Yes
    }

    fn asked(
        &mut self,
        asked: Truth,
        login: bool,
        route: Option<RouteView<'s>>,
        cleaned: bool,
    ) -> bool {
        let end = if login { End::Login } else { End::Unknown };
        self.ends(asked, end, route, cleaned)
    }

    /// Access levels; whether somebody may go on.
    fn access(
        &mut self,
        route: RouteView<'s>,
        point: &Point<'c>,
        cleaned: bool,
        hop: usize,
    ) -> bool {
        if !self.snapshot.enforces() {
            return true;
        }
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
        false
    }

    fn ways(
        &mut self,
        at: &ListenerView<'s>,
        route: RouteView<'s>,
        point: &Point<'c>,
        cleaned: bool,
        hop: usize,
    ) {
        for way in route.ways() {
            let cleaned = cleaned || way.headers.iter().any(|change| cleans(change));
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
            if hop + 1 == MAX_HOPS {
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
                ..point.clone()
            };
            there.changes.extend(way.headers);
            for host in hosts {
                self.crossing(&next, host, &there, Some(route), cleaned, hop + 1);
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
