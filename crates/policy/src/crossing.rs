//! One crossing of a gateway that asks about it: routing and the policies as
//! written are its own, the access level is answered here.

use std::borrow::Cow;
use std::sync::Arc;

use crate::access::{AccessLevel, Owner, RouteAccess};
use crate::answers::{Answers, Question, Tokens};
use crate::caller::{Caller, Workload};
use crate::chain::FilterStep;
use crate::decide::default_cors;
use crate::denial::{Denial, Refusal};
use crate::enforce::{self, Access, Need};
use crate::forward;
use crate::permit::{Permit, Reply};
use crate::request::{Entrance, RequestHead};
use crate::routes::{Route, RouteAction};
use crate::snapshot::{Listener, Snapshot};
use crate::trace::NoTrace;
use crate::vhosts::VirtualHost;

/// What a gateway says about the listener that a request arrived at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At<'a> {
    /// Its port on the pods; where several deployments open it, the side tells
    /// them apart.
    Port {
        /// Port of the socket.
        port: u16,
        /// Which side, where the gateway says that too.
        side: Option<Entrance>,
        /// The server name of the client's TLS handshake, where it says it.
        sni: Option<&'a str>,
    },
    /// Which side it is of, and its port where there are several.
    Side {
        /// The side.
        side: Entrance,
        /// Port of the socket.
        port: Option<u16>,
    },
}

impl At<'_> {
    fn means(&self, listener: &Listener) -> bool {
        let (port, side) = match self {
            Self::Port { port, side, .. } => (Some(*port), *side),
            Self::Side { side, port } => (*port, Some(*side)),
        };
        port.is_none_or(|port| port == listener.port)
            && side.is_none_or(|side| side == listener.side)
    }
}

/// What an earlier crossing of the same request found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Where the request first arrived: whose access levels count.
    pub entrance: Entrance,
    /// Who is calling, if that was asked.
    pub caller: Option<Caller>,
    /// The workload, when the channel proved it.
    pub workload: Option<Workload>,
}

/// A request at one listener.
#[derive(Clone, Copy, Debug)]
pub struct Crossing<'s> {
    snapshot: &'s Snapshot,
    listener: &'s Listener,
    vhost: Option<&'s VirtualHost>,
    route: Option<&'s Route>,
    /// The gateway may choose another route after it has asked, which needs
    /// something else.
    unsettled: bool,
}

/// What the access level says about one crossing.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a permit is what most requests get, and costs no allocation"
)]
pub enum Passage {
    /// The gateway may send it where its route leads.
    Permit(Permit),
    /// It is for the login itself, which answers it.
    Login,
    /// Answered so, without asking who is calling.
    Reply(Reply),
    /// It may not pass.
    Denial(Box<Denial>),
    /// Not decided yet: this has to be found out first.
    Ask(Question),
}

impl Snapshot {
    /// Finds the listener, virtual host and route of a request, as the gateway
    /// does before its filters.
    ///
    /// # Errors
    /// A listener that is not in this configuration, or several that want
    /// different things.
    pub fn crossing(&self, at: At<'_>, head: &RequestHead) -> Result<Crossing<'_>, Box<Denial>> {
        let host = head.host_name();
        let listeners = self.listeners.iter().take(self.gateway_listeners);
        let sni = match at {
            At::Port { sni, .. } => sni,
            At::Side { .. } => None,
        };
        let mut found: Option<Crossing<'_>> = None;
        for listener in listeners.filter(|l| !l.opaque && at.means(l)) {
            if let (Some(sni), Some(_)) = (sni, &listener.tls)
                && self
                    .listener_for(&listener.id, sni)
                    .is_none_or(|view| !std::ptr::eq(view.listener, listener))
            {
                continue;
            }
            let vhost = listener.hosts.select(&host);
            let route = vhost.and_then(|vhost| vhost.route::<NoTrace>(head, None, &mut Vec::new()));
            let here = Crossing {
                snapshot: self,
                listener,
                vhost,
                route,
                unsettled: listener.may_choose_again(vhost, route),
            };
            found = Some(match found {
                None => here,
                Some(before) => before.or(here)?,
            });
        }
        found.ok_or_else(|| refused(format!("no Gateway in the configuration opens {at}")))
    }
}

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (port, side) = match self {
            Self::Port { port, side, .. } => (Some(port), side.as_ref()),
            Self::Side { side, port } => (port.as_ref(), Some(side)),
        };
        match side {
            Some(Entrance::External) => f.write_str("an external listener")?,
            Some(Entrance::Local) => f.write_str("a cluster-local listener")?,
            None => f.write_str("a listener")?,
        }
        port.map_or(Ok(()), |port| write!(f, " on port {port}"))
    }
}

impl<'s> Crossing<'s> {
    /// Of two listeners that the gateway may mean: they have to want the same.
    fn or(self, other: Self) -> Result<Self, Box<Denial>> {
        let one = |a: &Listener, b: &Listener| a.side == b.side;
        if one(self.listener, other.listener) {
            match (self.route, other.route) {
                (_, None) => return Ok(self),
                (None, _) => return Ok(other),
                (Some(a), Some(b)) if a.access.needs_what(&b.access) => return Ok(self),
                (Some(_), Some(_)) => {}
            }
        }
        Err(refused(format!(
            "{} and {} open the same port, want different things, and the gateway does not say which of them it is",
            self.listener.describe(),
            other.listener.describe()
        )))
    }

    /// Whose access levels count for what first arrives here.
    pub fn side(&self) -> Entrance {
        self.listener.side
    }

    /// The workload that a client is by its verified certificate, where the
    /// configuration trusts what that says.
    pub fn workload(&self, principal: &str) -> Option<Workload> {
        Workload::of_principal(principal, &self.listener.principals)
    }

    /// Who the route belongs to; `None` without one.
    pub fn owner(&self) -> Option<Owner> {
        self.route.map(|route| route.access.owner)
    }

    /// The route, `namespace/name` of its object and its place there.
    pub fn route(&self) -> Option<&'s str> {
        self.route.map(|route| &*route.label)
    }

    /// Whether the gateway may have chosen another route, which needs something else, by a header that is not among those that are
    /// told.
    pub fn may_be_another(&self, told: impl Fn(&str) -> bool) -> bool {
        let (Some(vhost), Some(route)) = (self.vhost, self.route) else {
            return false;
        };
        let looks = |route: &Route| route.condition.headers.iter().any(|(name, ..)| !told(name));
        let by_itself = looks(route);
        let mut others = vhost.routes.iter();
        others.any(|other| (by_itself || looks(other)) && !other.access.needs_what(&route.access))
    }

    /// Whether any person with a session gets through from outside, and nothing
    /// else is asked.
    pub fn opens_to_sessions(&self) -> bool {
        let access = self.route.map(|route| &*route.access);
        access.is_some_and(RouteAccess::opens_to_sessions) && !self.unsettled
    }

    /// What the access level says. `head.entrance` is where the request first
    /// arrived; `earlier` says that it has been at a gateway before.
    ///
    /// Policies as written, rewrites and further crossings are not looked at:
    /// the gateway does that by itself.
    pub fn decide(&self, head: &RequestHead, earlier: bool, answers: &Answers) -> Passage {
        if !self.snapshot.enforce {
            return Passage::Denial(refused(
                "the configuration in force does not enforce".into(),
            ));
        }
        let Some(route) = self.route else {
            return self.no_route(head, earlier, answers);
        };
        if self.unsettled {
            return Passage::Denial(refused(format!(
                "{} is chosen anew by claims or headers after the gateway has asked, and other routes of the host need something else",
                route.label
            )));
        }
        let level = match enforce::need(&self.snapshot.settings, route, head, earlier) {
            Need::Login => return Passage::Login,
            Need::Preflight => return Passage::Reply(forward::preflight(head)),
            Need::Level(level) => level,
        };
        match enforce::check(&route.access, level, head, answers) {
            Access::Granted(caller) => Passage::Permit(self.permit(route, level, head, caller)),
            Access::Denied(denial) => Passage::Denial(Box::new(denial)),
            Access::Ask(question) => Passage::Ask(question),
        }
    }

    fn permit(
        &self,
        route: &Route,
        level: AccessLevel,
        head: &RequestHead,
        caller: Caller,
    ) -> Permit {
        let way = forward::first_way(route);
        let label = Arc::clone(&route.label);
        let mut permit = Permit::reply(way, Default::default(), label);
        if level != AccessLevel::AsWritten {
            permit.cors = default_cors(self.snapshot, route, head);
        }
        if let Some(identity) = enforce::identity_headers(route.access.owner, &caller) {
            permit.request_headers.extend(&identity);
        }
        permit.caller = caller;
        permit.audience = route.audience();
        permit.open = level == AccessLevel::Public;
        permit
    }

    /// The gateway asks only about what it has a route for: its configuration
    /// is another one, and whose the route is cannot be known.
    fn no_route(&self, head: &RequestHead, earlier: bool, answers: &Answers) -> Passage {
        let why = format!(
            "no route for `{}` on {} in this configuration{}",
            head.authority,
            self.listener.describe(),
            match self.vhost {
                Some(vhost) => format!(" (virtual host `{}`)", vhost.name),
                None => String::new(),
            }
        );
        let refusal = match answers.caller() {
            None if !earlier && head.entrance == Entrance::External => {
                return Passage::Ask(Question::Caller(Tokens::SessionOrBearer));
            }
            Some(Caller::Anonymous) if !earlier && head.entrance == Entrance::External => {
                Refusal::Login
            }
            _ => Refusal::Forbidden("nothing that may be reached is known here".into()),
        };
        Passage::Denial(Box::new(Denial {
            refusal,
            reason: why,
        }))
    }

    /// The routes that the request may have at the next of our listeners, where
    /// its route leads back to one: by any of its weights.
    pub fn leads_on_to(&self, head: RequestHead) -> Vec<Arc<str>> {
        let Some(route) = self.route else {
            return Vec::new();
        };
        let RouteAction::Forward(ways) = &route.action else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut draw = 0;
        let mut left = ways.len();
        let mut whole = Some(head);
        for way in ways {
            let back = way.destination.service_port();
            left -= 1;
            if back.is_some_and(|at| self.snapshot.own.contains_key(&at)) {
                // What the route changes of it is for this way alone: the last takes it itself.
                let head = match left {
                    0 => whole.take().map(Cow::Owned),
                    _ => whole.as_ref().map(Cow::Borrowed),
                };
                let Some(mut head) = head else { break };
                let mut changes = forward::Changes::default();
                let (_, next) = changes.follow(self.snapshot, route, &mut head, draw);
                let host = head.host_name();
                let vhost = next.and_then(|next| next.hosts.select(&host));
                let next = vhost.and_then(|v| v.route::<NoTrace>(&head, None, &mut Vec::new()));
                found.extend(next.map(|route| Arc::clone(&route.label)));
            }
            draw += way.weight;
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Listener {
    /// Whether filters behind the question can lead to a route with other access:
    /// claims are known only when tokens have been verified, and a filter may
    /// change headers and have the route forgotten.
    fn may_choose_again(&self, vhost: Option<&VirtualHost>, route: Option<&Route>) -> bool {
        let (Some(vhost), Some(route)) = (vhost, route) else {
            return false;
        };
        let mut filters = self.chain.filters.iter();
        let forgets = filters.any(|filter| {
            matches!(
                filter.step,
                FilterStep::Headers {
                    chooses_again: true,
                    ..
                }
            )
        });
        if !forgets && self.token_rules.is_empty() {
            return false;
        }
        let mut others = vhost.routes.iter();
        others.any(|other| {
            let may_be = forgets || !other.condition.claims.is_empty();
            may_be && !other.access.needs_what(&route.access)
        })
    }
}

fn refused(reason: String) -> Box<Denial> {
    Box::new(Denial {
        refusal: Refusal::Forbidden("nothing that may be reached is known here".into()),
        reason,
    })
}
