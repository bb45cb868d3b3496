//! The HTTP filters of a listener, walked in their order.

use std::borrow::Cow;

use crate::answers::{CheckId, Question};
use crate::authorization::{Authorization, Custom};
use crate::caller::Caller;
use crate::chain::{Filter, FilterStep, Override};
use crate::decide::{Decision, Granted, Stop, object, of};
use crate::denial::Refusal;
use crate::permit::{Destination, HeaderChange, Permit};
use crate::providers::{self, Authorizer, AuthorizerKind, Outcome};
use crate::request::RequestHead;
use crate::routes::Route;
use crate::rules::Facts;
use crate::sidecars::Sender;
use crate::snapshot::Listener;
use crate::tokens::Verified;
use crate::trace::{Stage, Step, Trace};
use crate::vhosts::VirtualHost;

/// Where a request is: one crossing of a gateway.
#[derive(Clone, Copy)]
pub(crate) struct Crossing<'a> {
    pub(crate) hop: u8,
    pub(crate) listener: &'a Listener,
    pub(crate) vhost: Option<&'a VirtualHost>,
    pub(crate) route: Option<&'a Route>,
    /// Whom a sidecar takes the gateway for that sent the request on.
    pub(crate) sender: Option<Sender<'a>>,
}

/// How a request leaves the filters of a listener.
pub(crate) enum Through<'a> {
    /// One of them answers it.
    Answered(Box<Permit>),
    /// With this route.
    Route(Option<&'a Route>),
}

impl<'a, T: Trace> Decision<'a, T> {
    /// The HTTP filters of the listener, in their order, and the route that
    /// the request has at their end.
    pub(crate) fn filters(
        &mut self,
        at: Crossing<'a>,
        head: &mut Cow<'_, RequestHead>,
        caller: &mut Caller,
    ) -> Result<Through<'a>, Stop> {
        let Crossing {
            hop,
            listener,
            vhost,
            mut route,
            sender,
        } = at;
        // A redirect to HTTPS stands in for the route, without its settings.
        let redirects = vhost.is_some_and(|vhost| vhost.require_tls) && !head.came_by_https();
        let mut verified = None;
        let mut gates = 0_u64;
        // Whether access levels were asked about the route.
        let mut accessed = false;
        // Whether Envoy has forgotten the route: the next filter that asks for it
        // has it chosen anew.
        let mut forgotten = false;
        for (index, filter) in listener.chain.filters.iter().enumerate() {
            if forgotten && !filter.changes_headers_first() {
                forgotten = false;
                let now = Crossing { route, ..at };
                match self.choose_again(now, head, verified.as_ref(), accessed, caller)? {
                    Through::Answered(permit) => return Ok(Through::Answered(permit)),
                    Through::Route(found) => route = found,
                }
            }
            let settled = route.filter(|_| !redirects);
            let here = settled.and_then(|route| route.overrides.get(index));
            let first = at.route.filter(|_| !redirects);
            let first = first.and_then(|route| route.overrides.get(index));
            self.say_looked(|| listener.step(hop, index, filter, (first, here)));
            if filter.is_off(first, here) {
                self.say_off(hop, filter, settled);
                continue;
            }
            if let Some(Override::Refuse(why)) = here {
                return Err(Stop::deny(Refusal::Rbac, why.to_string()));
            }
            if let Some(Override::Unread) = here {
                self.say_off(hop, filter, settled);
                let outputs = listener.token_rules.iter().flat_map(|rule| rule.outputs());
                let removed = outputs.cloned().map(HeaderChange::Remove);
                self.apply(head, &removed.collect());
                continue;
            }
            let facts = Facts {
                head,
                port: listener.port,
                peer: listener.peer(hop, head, sender),
                verified: verified.as_ref(),
            };
            if let Some(Override::Rules(policy)) = here {
                self.policies(hop, std::iter::once(&**policy), facts)?;
                continue;
            }
            match &filter.step {
                FilterStep::Access => {
                    accessed = true;
                    let Some(route) = route.filter(|_| self.snapshot.enforce) else {
                        continue;
                    };
                    match self.access(hop, route, head)? {
                        Granted::Go(Caller::Anonymous) => {}
                        Granted::Go(granted) => *caller = granted,
                        Granted::Login(granted) => {
                            let login = Destination::Login;
                            let permit = self.changes.permit(login, granted, route);
                            return Ok(Through::Answered(Box::new(permit)));
                        }
                        Granted::Preflight(permit) => return Ok(Through::Answered(permit)),
                    }
                    self.identify(route, head, caller);
                }
                FilterStep::Gate(number) => {
                    let Some(custom) = listener.authorization.custom.get(*number) else {
                        continue;
                    };
                    if self.gate(at, (*number, custom), head)? {
                        gates |= gate_bit(*number);
                    }
                }
                FilterStep::Custom(number) => {
                    // Without a route Envoy's ext_authz does nothing: the 404 comes unasked.
                    let asked = gates & gate_bit(*number) != 0
                        && (route.is_some() || redirects)
                        && !(listener.opaque && route.is_some_and(Route::leads_nowhere));
                    let custom = listener.authorization.custom.get(*number).filter(|_| asked);
                    if let Some(custom) = custom {
                        let number = listener.chain.authorizers.len() + number;
                        self.ask(hop, listener, (number, &custom.authorizer), head)?;
                    }
                }
                FilterStep::Authorizer(number) => {
                    let authorizer = listener.chain.authorizers.get(*number);
                    let authorizer = authorizer.filter(|_| route.is_some() || redirects);
                    if let Some(authorizer) = authorizer
                        && !self.taken_over(hop, authorizer)
                    {
                        self.ask(hop, listener, (*number, authorizer), head)?;
                    }
                }
                FilterStep::Jwt => {
                    let (says, through) = self.tokens(Crossing { route, ..at }, head, caller)?;
                    verified = says;
                    match through {
                        Through::Answered(_) => return Ok(through),
                        Through::Route(found) => route = found,
                    }
                }
                FilterStep::Policies(action) => {
                    let Authorization {
                        policies, dry_runs, ..
                    } = &*listener.authorization;
                    self.tried(hop, dry_runs.iter().filter(|p| p.action == *action), facts);
                    // Where all of them are dry runs nothing is enforced.
                    if !listener.enforces(*action) {
                        continue;
                    }
                    if !T::LOOKED && self.indexed(hop, listener, *action, facts)? {
                        continue;
                    }
                    self.policies(hop, policies.iter().filter(|p| p.action == *action), facts)?;
                }
                FilterStep::Rules(policy) => {
                    self.policies(hop, std::iter::once(&**policy), facts)?;
                }
                FilterStep::Headers {
                    changes,
                    chooses_again,
                } => {
                    self.say(hop, Stage::Policy, || {
                        (format!("filter `{}` changes headers", filter.name), None)
                    });
                    self.apply(head, changes);
                    forgotten |= chooses_again;
                }
                FilterStep::Fault => {
                    if let Some(route) = settled
                        && let Some(status) = route.abort
                    {
                        let draw = self.answers.draw();
                        let reply = self.changes.abort(route, status, draw);
                        let caller = std::mem::replace(caller, Caller::Anonymous);
                        let permit = self.changes.permit(reply, caller, route);
                        return Ok(Through::Answered(Box::new(permit)));
                    }
                }
                FilterStep::Cors => {
                    if let Some(route) = settled
                        && let Some(policy) = &route.cors
                        && let Some(reply) = policy.preflight(head)
                    {
                        let caller = std::mem::replace(caller, Caller::Anonymous);
                        let permit = self.changes.permit(reply, caller, route);
                        return Ok(Through::Answered(Box::new(permit)));
                    }
                }
                FilterStep::Other | FilterStep::Router => {}
            }
        }
        Ok(Through::Route(route))
    }

    /// The route of a request whose headers have changed. With enforcement it is
    /// asked about as the first one was.
    fn choose_again(
        &mut self,
        at: Crossing<'a>,
        head: &mut Cow<'_, RequestHead>,
        verified: Option<&Verified>,
        accessed: bool,
        caller: &mut Caller,
    ) -> Result<Through<'a>, Stop> {
        let found = self.find_route(at.hop, at.vhost, head, verified.map(|v| &v.claims));
        if accessed
            && !same(at.route, found)
            && let Some(answered) = self.entered(at.hop, at.route, found, head, caller)?
        {
            return Ok(answered);
        }
        Ok(Through::Route(found))
    }

    /// Only what would have decided something is worth a word.
    fn say_off(&mut self, hop: u8, filter: &Filter, route: Option<&Route>) {
        if matches!(filter.step, FilterStep::Other | FilterStep::Router) {
            return;
        }
        self.say(hop, Stage::Check, || {
            (
                format!(
                    "an EnvoyFilter switches `{}` off for this route",
                    filter.name
                ),
                route.and_then(of),
            )
        });
    }

    /// Whether a rule of a CUSTOM provider matches; a broken provider denies
    /// what matches.
    fn gate(
        &mut self,
        at: Crossing<'_>,
        (number, custom): (usize, &Custom),
        head: &RequestHead,
    ) -> Result<bool, Stop> {
        let Crossing { hop, listener, .. } = at;
        let authorizer = &custom.authorizer;
        // CUSTOM runs before tokens are checked.
        let facts = Facts {
            head,
            port: listener.port,
            peer: listener.peer(hop, head, at.sender),
            verified: None,
        };
        for policy in &custom.denying {
            let mut looked = Vec::new();
            let Some(rule) = policy.matching_rule::<T>(facts, &mut looked) else {
                continue;
            };
            let why = format!("rule {rule} of a CUSTOM policy that is a dry run denies");
            let text = why.clone();
            self.step(|| Step {
                looked,
                ..Step::new(
                    hop,
                    Stage::Policy,
                    text,
                    Some((policy.object.clone(), policy.source.clone())),
                )
            });
            return Err(Stop::deny(Refusal::Rbac, why));
        }
        if self.taken_over(hop, authorizer) {
            return Ok(false);
        }
        let mut looked = Vec::new();
        let index = listener.indexes.custom(number).filter(|_| !T::LOOKED);
        let matched = match index {
            Some(index) => index.first(&custom.policies, facts),
            None => custom
                .policies
                .iter()
                .find_map(|p| Some((p, p.matching_rule::<T>(facts, &mut looked)?))),
        };
        let step = |text: String, object| Step {
            looked,
            ..Step::new(hop, Stage::Policy, text, object)
        };
        match matched {
            Some((policy, rule)) => self.step(|| {
                step(
                    format!("CUSTOM rule {rule} matches: `{}` decides", authorizer.name),
                    Some((policy.object.clone(), policy.source.clone())),
                )
            }),
            None if custom.denies_all => {}
            None => {
                self.step(|| {
                    step(
                        format!("no CUSTOM rule for `{}` matches", authorizer.name),
                        object(authorizer),
                    )
                });
                return Ok(false);
            }
        }
        match &authorizer.kind {
            AuthorizerKind::Broken(why) => {
                self.say(hop, Stage::Check, || {
                    let whom = if custom.denies_all {
                        "every request"
                    } else {
                        "what its rules match"
                    };
                    (
                        format!(
                            "`{}` cannot be asked, so {whom} is denied (in Envoy: {BAD_CUSTOM})",
                            authorizer.name
                        ),
                        object(authorizer),
                    )
                });
                Err(Stop::deny(Refusal::Rbac, why.clone()))
            }
            AuthorizerKind::Http(_) => Ok(true),
        }
    }

    /// With enforcement, access levels stand in for a login service.
    fn taken_over(&mut self, hop: u8, authorizer: &Authorizer) -> bool {
        let taken = self.snapshot.enforce && authorizer.login;
        if taken {
            self.say(hop, Stage::Check, || {
                (
                    format!("`{}` is taken over by access levels", authorizer.name),
                    object(authorizer),
                )
            });
        }
        taken
    }

    /// Asks an external authorizer; `number` tells it from others of the listener.
    fn ask(
        &mut self,
        hop: u8,
        listener: &Listener,
        (number, authorizer): (usize, &Authorizer),
        head: &mut Cow<'_, RequestHead>,
    ) -> Result<(), Stop> {
        let settings = match &authorizer.kind {
            AuthorizerKind::Broken(why) => return Err(Stop::deny(Refusal::Rbac, why.clone())),
            AuthorizerKind::Http(settings) => settings,
        };
        let id = CheckId {
            hop,
            provider: u16::try_from(number).unwrap_or(u16::MAX),
        };
        let Some(answer) = self.answers.check(id) else {
            let mut check = providers::check(id, &authorizer.name, settings, authorizer.grpc, head);
            if listener.opaque {
                // There is no request to ask about.
                check.path_and_query.clear();
                check.authority.clear();
                check.headers.clear();
            }
            return Err(Stop::Ask(Question::Check(Box::new(check))));
        };
        match providers::interpret(settings, authorizer.grpc, answer) {
            Outcome::Allow { request, response } => {
                self.say(hop, Stage::Check, || {
                    (format!("`{}` allows", authorizer.name), object(authorizer))
                });
                if !listener.opaque {
                    self.changes.response.extend(&response.into());
                    self.apply(head, &request.into());
                }
                Ok(())
            }
            Outcome::Deny(refusal) => {
                let status = refusal.status();
                self.say(hop, Stage::Check, || {
                    (
                        format!("`{}` answers {status}", authorizer.name),
                        object(authorizer),
                    )
                });
                Err(Stop::deny(
                    refusal,
                    format!("`{}` answers {status}", authorizer.name),
                ))
            }
        }
    }
}

/// Whether two routes are one.
pub(crate) fn same(a: Option<&Route>, b: Option<&Route>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => std::ptr::eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// Name of the RBAC policy that Istio generates then (istio
/// `authz/builder/builder.go`), which is what Envoy's logs show.
const BAD_CUSTOM: &str = "`default-deny-all-due-to-bad-CUSTOM-action`";

/// More providers than this are one too many: Istio has one, or denies.
fn gate_bit(number: usize) -> u64 {
    1_u64 << number.min(63)
}
