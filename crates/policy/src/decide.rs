//! The decision: hop by hop, as the gateway pods would take it.

use std::borrow::Cow;
use std::sync::Arc;

use resources::{ObjectRef, Source};

use crate::access::Owner;
use crate::answers::{Answers, Question};
use crate::caller::Caller;
use crate::claims::Claims;
use crate::connection::ClientTls;
use crate::denial::{Denial, Refusal};
use crate::enforce::{self, Access, Need};
use crate::forward;
use crate::inline;
use crate::intake;
use crate::opaque::Scope;
use crate::permit::{Cors, Destination, HeaderChange, Permit};
use crate::providers::Authorizer;
use crate::redirect;
use crate::request::{Entrance, RequestHead, Scheme};
use crate::routes::Route;
use crate::rules::{Action, Facts, Policy};
use crate::snapshot::{Listener, Snapshot};
use crate::trace::{Stage, Step, Trace};
use crate::vhosts::VirtualHost;
use crate::walk::{Crossing, Through};

/// The outcome of one call of [`decide`].
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a permit is what most requests get, and costs no allocation"
)]
pub enum Verdict {
    /// May be forwarded.
    Permit(Permit),
    /// May not.
    Denial(Box<Denial>),
    /// Not decided yet: this has to be found out first.
    Ask(Question),
}

pub(crate) const NOT_ALLOWED: &str = "there are ALLOW policies and none of their rules matches";

/// A route that sends to our own listeners more often than this goes in a circle.
const MAX_HOPS: u8 = 6;

/// Why a decision ends before its end.
pub(crate) enum Stop {
    Denied(Denial),
    Ask(Question),
}

impl Stop {
    pub(crate) fn deny(refusal: Refusal, reason: impl Into<String>) -> Self {
        Self::Denied(Denial {
            refusal,
            reason: reason.into(),
        })
    }
}

/// Decides one request: what would the gateway pods of the cluster answer, or,
/// where Sidegate enforces, what do the access levels say.
///
/// Steps go to `trace` in the order they are taken; with
/// [`NoTrace`](crate::NoTrace) they cost nothing.
pub fn decide(
    snapshot: &Snapshot,
    head: &RequestHead,
    answers: &Answers,
    trace: &mut impl Trace,
) -> Verdict {
    let mut decision = Decision {
        snapshot,
        answers,
        client: head.connection.tls.as_ref(),
        is_read: false,
        trace,
        changes: forward::Changes::default(),
    };
    let mut outcome = decision.run(head);
    if snapshot.is_opaque(head) && !decision.is_read {
        outcome = unread(outcome);
    }
    match outcome {
        Ok(permit) => Verdict::Permit(permit),
        Err(Stop::Denied(denial)) => {
            let last = || Step::new(0, Stage::Answer, denial.reason.clone(), None);
            decision.trace.step(last);
            Verdict::Denial(Box::new(denial))
        }
        Err(Stop::Ask(question)) => Verdict::Ask(question),
    }
}

/// A connection that is not read is forwarded or closed, never answered.
fn unread(outcome: Result<Permit, Stop>) -> Result<Permit, Stop> {
    match outcome {
        Ok(permit) => match permit.destination() {
            Destination::Service { .. } | Destination::Host { .. } => Ok(permit),
            Destination::Login | Destination::Reply(_) => Err(Stop::deny(
                Refusal::Closed,
                "nobody answers this connection",
            )),
        },
        Err(Stop::Denied(denial)) => Err(Stop::deny(Refusal::Closed, denial.reason)),
        Err(Stop::Ask(question)) => Err(Stop::Ask(question)),
    }
}

pub(crate) struct Decision<'a, T> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) answers: &'a Answers,
    /// TLS of the client, at the first gateway.
    pub(crate) client: Option<&'a ClientTls>,
    /// A sidecar reads what the gateway passed on unread.
    pub(crate) is_read: bool,
    trace: &'a mut T,
    pub(crate) changes: forward::Changes,
}

impl<'a, T: Trace> Decision<'a, T> {
    fn run(&mut self, head: &RequestHead) -> Result<Permit, Stop> {
        let mut listener = match self.snapshot.arrival(head) {
            Some(Ok(listener)) => listener,
            Some(Err(why)) => return Err(Stop::deny(Refusal::Closed, why)),
            None => {
                return Err(Stop::deny(
                    Refusal::NoRoute,
                    "no Gateway in the configuration opens this listener",
                ));
            }
        };
        let mut head = Cow::Borrowed(head);
        if inline::repeats(&head.headers) {
            inline::join(&mut head.to_mut().headers);
        }
        let mut caller = Caller::Anonymous;
        for hop in 0..MAX_HOPS {
            self.say(hop, Stage::Listener, || {
                (listener.describe().to_string(), listener.object())
            });
            for note in &listener.not_understood {
                if note.scope == Scope::Listener {
                    self.say(hop, Stage::Listener, || {
                        let text = format!(
                            "{}: {} is not understood and may change the answer",
                            note.place, note.why
                        );
                        (text, Some((note.object.clone(), note.source.clone())))
                    });
                }
            }
            let vhost = self.find_host(hop, listener, &head);
            let route = self.find_route(hop, vhost, &head, None);
            let at = Crossing {
                hop,
                listener,
                vhost,
                route,
                sender: None,
            };
            let route = match self.filters(at, &mut head, &mut caller)? {
                Through::Answered(permit) => return Ok(*permit),
                Through::Route(route) => route,
            };
            if vhost.is_some_and(|vhost| vhost.require_tls) && !head.came_by_https() {
                return Ok(Permit::reply(
                    redirect::to_https(&head),
                    std::mem::take(&mut self.changes.response),
                    listener.describe(),
                ));
            }
            let Some(route) = route else {
                let why = format!(
                    "no route for `{}` on {}",
                    head.authority,
                    listener.describe()
                );
                return Err(self.no_route(hop, &head, why));
            };
            let draw = self.answers.draw();
            let (destination, next) = self.changes.follow(self.snapshot, route, &mut head, draw);
            if let Destination::Service { service, port } = &destination
                && listener.sidecar.is_none()
                && let Some(next) = next
            {
                if self.client.is_some() && !listener.ends_tls() {
                    return Err(Stop::deny(
                        Refusal::Unreachable,
                        format!(
                            "the client's TLS is passed on to {}, which speaks plain text",
                            next.describe()
                        ),
                    ));
                }
                self.say(hop, Stage::Forward, || {
                    (
                        format!(
                            "to {service}:{port}, which is {}: followed in process",
                            next.describe()
                        ),
                        of(route),
                    )
                });
                // What a route writes is read anew.
                if let Some(permit) = self.path_inside(next, &mut head)? {
                    return Ok(*permit);
                }
                listener = next;
                // The next gateway is asked in plain text, and says so unless it
                // trusts this one.
                if head.scheme == Scheme::Https || head.came_by_https() {
                    intake::sent_on(head.to_mut(), next.intake.proxies);
                }
                continue;
            }
            self.trace.step(|| {
                let text = self.changes.describe(&destination, &head);
                Step::new(hop, Stage::Forward, text, of(route))
            });
            let answered = self.inside(hop + 1, listener, &destination, &mut head, &mut caller)?;
            if let Some(permit) = answered {
                return Ok(*permit);
            }
            let cors = self.cors(route, &head);
            let mut permit = self.changes.permit(destination, caller, route);
            permit.cors = cors;
            match self.snapshot.enforce {
                true => permit.open = enforce::is_open(&route.access, &head),
                false => permit.audience = None,
            }
            return Ok(permit);
        }
        Err(Stop::deny(
            Refusal::Loop,
            format!("the routes lead in a circle: more than {MAX_HOPS} gateway crossings"),
        ))
    }

    pub(crate) fn say(
        &mut self,
        hop: u8,
        stage: Stage,
        what: impl FnOnce() -> (String, Option<(ObjectRef, Source)>),
    ) {
        self.trace.step(|| {
            let (text, object) = what();
            Step::new(hop, stage, text, object)
        });
    }

    pub(crate) fn step(&mut self, step: impl FnOnce() -> Step) {
        self.trace.step(step);
    }

    /// A step that traces which look at everything take, with what was compared.
    pub(crate) fn say_looked(&mut self, step: impl FnOnce() -> Step) {
        if T::LOOKED {
            self.trace.step(step);
        }
    }

    fn find_host<'l>(
        &mut self,
        hop: u8,
        listener: &'l Listener,
        head: &RequestHead,
    ) -> Option<&'l VirtualHost> {
        let vhost = listener.hosts.select(&head.host_name());
        match vhost {
            Some(vhost) => self.trace.step(|| vhost.found(hop, &head.authority)),
            None => self.say(hop, Stage::VirtualHost, || {
                (format!("no virtual host for `{}`", head.authority), None)
            }),
        }
        vhost
    }

    pub(crate) fn find_route<'l>(
        &mut self,
        hop: u8,
        vhost: Option<&'l VirtualHost>,
        head: &RequestHead,
        claims: Option<&Claims>,
    ) -> Option<&'l Route> {
        let vhost = vhost?;
        let mut looked = Vec::new();
        let route = vhost.route::<T>(head, claims, &mut looked);
        match route {
            Some(route) => self.trace.step(|| Step {
                looked,
                ..Step::new(
                    hop,
                    Stage::Route,
                    format!(
                        "{} matches, owner: {}",
                        route.place,
                        route.access.owner.name()
                    ),
                    of(route),
                )
            }),
            None => self.say_looked(|| {
                let text = match vhost.routes.len() {
                    0 => "it has no routes".to_owned(),
                    1 => "its one route does not match".to_owned(),
                    all => format!("none of its {all} routes matches"),
                };
                Step {
                    looked,
                    ..Step::new(hop, Stage::Route, text, None)
                }
            }),
        }
        route
    }

    fn no_route(&self, hop: u8, head: &RequestHead, why: String) -> Stop {
        // On the external listener hosts nobody routes are the platform's to
        // answer for: who is not logged in does not learn which hosts exist.
        let hidden = hop == 0 && self.snapshot.enforce && head.entrance == Entrance::External;
        match self.answers.caller() {
            None if hidden => Stop::Ask(Question::Caller(crate::Tokens::SessionOrBearer)),
            Some(Caller::Anonymous) if hidden => Stop::deny(Refusal::Login, why),
            _ => Stop::deny(Refusal::NoRoute, why),
        }
    }

    /// The policies of one action by index, where nobody wants to know which
    /// ones did not match; whether there is one.
    pub(crate) fn indexed(
        &mut self,
        hop: u8,
        listener: &Listener,
        action: Action,
        facts: Facts<'_>,
    ) -> Result<bool, Stop> {
        let Some(index) = listener.indexes.of(action) else {
            return Ok(false);
        };
        let first = index.first(&listener.authorization.policies, facts);
        if !T::KEPT && action == Action::Allow && first.is_some() {
            return Ok(true);
        }
        // These decide, and are told with their steps: all that allow, the
        // first that denies, or, where none allows, all that do not.
        let deciding = match (action, first) {
            (Action::Allow, Some(_)) => index.all(&listener.authorization.policies, facts),
            (Action::Allow, None) if T::KEPT => {
                let all = listener.authorization.policies.iter();
                all.filter(|policy| policy.action == action).collect()
            }
            (Action::Allow, None) => return Err(Stop::deny(Refusal::Rbac, NOT_ALLOWED)),
            (Action::Deny, Some((policy, _))) => vec![policy],
            (Action::Deny, None) => return Ok(true),
            _ => return Ok(false),
        };
        self.policies(hop, deciding.into_iter(), facts)?;
        Ok(true)
    }

    /// What policies would have decided that are only tried.
    pub(crate) fn tried<'p>(
        &mut self,
        hop: u8,
        policies: impl Iterator<Item = &'p Policy>,
        facts: Facts<'_>,
    ) {
        if !T::LOOKED {
            return;
        }
        for policy in policies {
            let mut looked = Vec::new();
            let rule = policy.matching_rule::<T>(facts, &mut looked);
            let verb = match policy.action {
                Action::Allow => "ALLOW",
                Action::Deny => "DENY",
                Action::Audit => "AUDIT",
                Action::Custom => "CUSTOM",
            };
            let text = match rule {
                Some(rule) => format!("{verb} rule {rule} would match: a dry run decides nothing"),
                None => format!("no {verb} rule would match: a dry run decides nothing"),
            };
            self.trace.step(|| Step {
                looked,
                decides: false,
                ..Step::new(
                    hop,
                    Stage::Policy,
                    text,
                    Some((policy.object.clone(), policy.source.clone())),
                )
            });
        }
    }

    /// The policies of one action.
    pub(crate) fn policies<'p>(
        &mut self,
        hop: u8,
        policies: impl Iterator<Item = &'p Policy>,
        facts: Facts<'_>,
    ) -> Result<(), Stop> {
        let mut allow = None;
        // Whether one of these decides is known when all have been looked at.
        let mut of_allow = Vec::new();
        for policy in policies {
            let mut looked = Vec::new();
            let rule = policy.matching_rule::<T>(facts, &mut looked);
            let step = |text: String| Step {
                looked,
                ..Step::new(
                    hop,
                    Stage::Policy,
                    text,
                    Some((policy.object.clone(), policy.source.clone())),
                )
            };
            match (policy.action, rule) {
                (Action::Deny, Some(rule)) => {
                    self.trace
                        .step(|| step(format!("DENY rule {rule} matches")));
                    return Err(Stop::deny(
                        Refusal::Rbac,
                        format!("{} denies by rule {rule}", policy.object),
                    ));
                }
                (Action::Allow, Some(rule)) => {
                    if T::KEPT {
                        of_allow.push(step(format!("ALLOW rule {rule} matches")));
                    }
                    allow = Some(true);
                }
                (Action::Allow, None) => {
                    if T::KEPT {
                        of_allow.push(Step {
                            decides: false,
                            ..step("no ALLOW rule matches".into())
                        });
                    }
                    allow = allow.or(Some(false));
                }
                (Action::Deny, None) => self.say_looked(|| Step {
                    decides: false,
                    ..step("no DENY rule matches".into())
                }),
                (Action::Audit | Action::Custom, rule) => self.say_looked(|| {
                    let text = match rule {
                        Some(rule) => format!("AUDIT rule {rule} matches: decides nothing"),
                        None => "no AUDIT rule matches: decides nothing".to_owned(),
                    };
                    Step {
                        decides: false,
                        ..step(text)
                    }
                }),
            }
        }
        for mut step in of_allow {
            step.decides |= allow == Some(false);
            if step.decides || T::LOOKED {
                self.trace.step(|| step);
            }
        }
        if allow == Some(false) {
            return Err(Stop::deny(Refusal::Rbac, NOT_ALLOWED));
        }
        Ok(())
    }

    /// The access level of the route, at every crossing and by the listener the
    /// request first arrived on: a foreign route that sends on to the platform
    /// or to a model opens neither.
    pub(crate) fn access(
        &mut self,
        hop: u8,
        route: &Route,
        head: &RequestHead,
    ) -> Result<Granted, Stop> {
        let access = &*route.access;
        let level = match enforce::need(&self.snapshot.settings, route, head, hop > 0) {
            Need::Login => {
                self.say(hop, Stage::Access, || {
                    (
                        format!("`{}` is the login's own: open", head.path),
                        of(route),
                    )
                });
                return Ok(Granted::Login(Caller::Anonymous));
            }
            Need::Preflight => {
                self.say(hop, Stage::Access, || {
                    (
                        "CORS preflight: answered here, carries no credentials".into(),
                        of(route),
                    )
                });
                let reply = Destination::Reply(forward::preflight(head));
                let permit = self.changes.permit(reply, Caller::Anonymous, route);
                return Ok(Granted::Preflight(Box::new(permit)));
            }
            Need::Level(level) => level,
        };
        let owner = access.owner.name();
        match enforce::check(access, level, head, self.answers) {
            Access::Granted(caller) => {
                self.say(hop, Stage::Access, || {
                    let mut text = format!("level `{}` of the {owner} holds", level.name());
                    if let Some(binding) = enforce::bound_by(access, &caller) {
                        text.push_str(&format!(", by {binding}"));
                    }
                    (text, of(route))
                });
                Ok(Granted::Go(caller))
            }
            Access::Denied(denial) => {
                self.say(hop, Stage::Access, || {
                    (
                        format!("level `{}` of the {owner} is not met", level.name()),
                        of(route),
                    )
                });
                Err(Stop::Denied(denial))
            }
            Access::Ask(question) => Err(Stop::Ask(question)),
        }
    }

    fn cors(&self, route: &Route, head: &RequestHead) -> Option<Cors> {
        if let Some(policy) = &route.cors {
            return policy
                .allowed_origin(head)
                .map(|allow_origin| Cors { allow_origin });
        }
        default_cors(self.snapshot, route, head)
    }

    pub(crate) fn apply(&mut self, head: &mut Cow<'_, RequestHead>, changes: &Arc<[HeaderChange]>) {
        for change in changes.iter() {
            change.apply(&mut head.to_mut().headers);
        }
        self.changes.request.extend(changes);
    }
}

/// A model's answer may be read by pages of any origin where it took a token to
/// get it: nothing a browser sends by itself opens it.
pub(crate) fn default_cors(snapshot: &Snapshot, route: &Route, head: &RequestHead) -> Option<Cors> {
    let model = snapshot.enforce && route.access.owner == Owner::Model && route.cors.is_none();
    let from_page = head.headers.contains_key(http::header::ORIGIN);
    (model && head.entrance == Entrance::External && from_page).then(|| Cors {
        allow_origin: http::HeaderValue::from_static("*"),
    })
}

pub(crate) enum Granted {
    Go(Caller),
    Login(Caller),
    Preflight(Box<Permit>),
}

pub(crate) fn of(route: &Route) -> Option<(ObjectRef, Source)> {
    Some((route.object.clone(), route.source.clone()))
}

pub(crate) fn object(authorizer: &Authorizer) -> Option<(ObjectRef, Source)> {
    Some((authorizer.object.clone(), authorizer.source.clone()))
}
