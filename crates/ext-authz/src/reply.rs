//! Replies to checks: a type that allows or denies and cannot do both.
//!
//! Envoy looks at `CheckResponse.status.code` alone over gRPC: a
//! `denied_response` with status `OK` is an allow. Over HTTP exactly 200 is one;
//! for other gateways every status from 200 to 299.

use bytes::Bytes;
use edge::names;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use policy::{HeaderChange, IDENTITY_HEADERS, Permit, Reply};
use wire::Encoder;

use crate::mark::MARK;
use crate::place::Form;

/// Lists headers for Envoy to remove from the request, in an HTTP allow.
const REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// The answer to a check.
#[derive(Debug)]
#[must_use]
pub struct CheckReply(Kind);

#[derive(Debug)]
enum Kind {
    Allow(Mutations),
    Deny(Reply),
}

/// What changes of a request that goes on.
#[derive(Debug, Default)]
pub struct Mutations {
    /// Headers of the request, replaced.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Headers of the request, removed. What is set too stays: Envoy removes last.
    pub remove: Vec<HeaderName>,
    /// Headers of the response, replaced.
    pub response: Vec<(HeaderName, HeaderValue)>,
}

impl CheckReply {
    /// The request goes on, with what the permit and others change. The only
    /// way to say so, and it takes a permit.
    pub fn allow(permit: Permit, mut more: Mutations) -> Self {
        for change in permit.request_headers().iter() {
            match change {
                HeaderChange::Set(name, value)
                | HeaderChange::Add(name, value)
                | HeaderChange::SetIfPresent(name, value) => {
                    more.set.retain(|(known, _)| known != name);
                    more.set.push((name.clone(), value.clone()));
                }
                HeaderChange::AddIfAbsent(name, values) => {
                    let first = values.first().cloned();
                    more.set.extend(first.map(|value| (name.clone(), value)));
                }
                HeaderChange::Remove(name) => more.remove.push(name.clone()),
            }
        }
        if let Some(cors) = permit.cors() {
            let origin = (
                header::ACCESS_CONTROL_ALLOW_ORIGIN,
                cors.allow_origin.clone(),
            );
            more.response.push(origin);
        }
        let set = &more.set;
        more.remove
            .retain(|name| set.iter().all(|(known, _)| known != name));
        Self(Kind::Allow(more))
    }

    /// The client gets this answer, and the request goes nowhere.
    pub fn deny(mut reply: Reply) -> Self {
        if reply.status.is_informational() {
            // It would end no exchange.
            reply.status = StatusCode::FORBIDDEN;
        }
        Self(Kind::Deny(reply))
    }

    /// Whether the request goes on.
    pub fn allows(&self) -> bool {
        matches!(self.0, Kind::Allow(_))
    }

    /// What the client gets in place of an upstream's answer.
    pub fn denial(&self) -> Option<&Reply> {
        match &self.0 {
            Kind::Allow(_) => None,
            Kind::Deny(reply) => Some(reply),
        }
    }

    /// `envoy.service.auth.v3.CheckResponse`.
    pub fn to_message(&self) -> Vec<u8> {
        // Most replies fit, so that they are written into one piece.
        let message = Encoder::with_capacity(512);
        let message = match &self.0 {
            Kind::Allow(changes) => {
                // `google.rpc.Status` with the default code, which is OK.
                message.always(1, &[]).message(3, |mut ok| {
                    for (name, value) in &changes.set {
                        ok = option(ok, 2, name, value);
                    }
                    for name in &changes.remove {
                        ok = ok.always(5, name.as_str().as_bytes());
                    }
                    for (name, value) in &changes.response {
                        ok = option(ok, 6, name, value);
                    }
                    ok
                })
            }
            Kind::Deny(reply) => message
                .message(1, |status| status.number(1, code(reply.status)))
                .message(2, |denied| {
                    let status = u64::from(reply.status.as_u16());
                    let mut denied = denied.message(1, |code| code.number(1, status));
                    for (name, value) in passed(reply) {
                        denied = option(denied, 2, name, value);
                    }
                    denied.bytes(3, &reply.body)
                }),
        };
        message.finish()
    }

    /// The answer to an HTTP check in that form. `own` is what the request had
    /// of the [headers that are handed over](handed) and do not claim an identity.
    pub(crate) fn into_response(
        self,
        form: Form,
        own: Vec<(HeaderName, HeaderValue)>,
    ) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        match self.0 {
            Kind::Allow(changes) if form.hands_over() => {
                let kept = own
                    .into_iter()
                    .filter(|(name, _)| !changes.remove.contains(name));
                let headers = response.headers_mut();
                for (name, value) in kept.chain(changes.set).chain(changes.response) {
                    headers.insert(name, value);
                }
            }
            Kind::Allow(_) if form == Form::Answer => {
                // It may go on, by the gateway alone.
                let why = Some("it may pass now: ask again");
                let reply = edge::refusal::json(StatusCode::FORBIDDEN, "forbidden", why);
                return Self::deny(reply).into_response(form, own);
            }
            Kind::Allow(changes) => {
                let headers = response.headers_mut();
                let names: Vec<&str> = changes.remove.iter().map(HeaderName::as_str).collect();
                if let Ok(names) = HeaderValue::try_from(names.join(","))
                    && !names.is_empty()
                {
                    headers.insert(REMOVE, names);
                }
                for (name, value) in changes.set.into_iter().chain(changes.response) {
                    headers.insert(name, value);
                }
            }
            Kind::Deny(_) if form == Form::Verdict => {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            }
            Kind::Deny(reply) => {
                for (name, value) in passed(&reply) {
                    response.headers_mut().append(name.clone(), value.clone());
                }
                *response.status_mut() = match reply.status {
                    status if status.is_informational() => StatusCode::FORBIDDEN,
                    status if form == Form::Answer => status,
                    status if form == Form::Forwarded && status.is_success() => {
                        StatusCode::FORBIDDEN
                    }
                    // Would be read as leave; browsers show a page with 203 alike.
                    StatusCode::OK => StatusCode::NON_AUTHORITATIVE_INFORMATION,
                    // Would be read as an authorizer in trouble, which `failOpen` makes leave.
                    status if status.is_server_error() => StatusCode::FORBIDDEN,
                    status => status,
                };
                *response.body_mut() = reply.body;
            }
        }
        response
    }
}

/// Headers that a gateway takes from an allow, each in place of the client's,
/// where it cannot be told which to remove. One that is not in the allow is gone.
pub fn handed() -> impl Iterator<Item = &'static str> {
    ["authorization", "cookie", "x-sidegate-identity", MARK]
        .into_iter()
        .chain(IDENTITY_HEADERS)
}

/// Whether it is one of those.
pub(crate) fn is_handed(name: &HeaderName) -> bool {
    handed().any(|known| known == name.as_str())
}

/// Headers of a denial that go to the client; its framing is Envoy's.
fn passed(reply: &Reply) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let headers = reply.headers.iter().map(|(name, value)| (name, value));
    headers.filter(|(name, _)| {
        !names::is_hop_by_hop(name) && *name != header::CONTENT_LENGTH && *name != header::HOST
    })
}

/// A code that is not `OK`, whatever the status (`google.rpc.Code`).
fn code(status: StatusCode) -> u64 {
    const PERMISSION_DENIED: u64 = 7;
    const UNAUTHENTICATED: u64 = 16;
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FOUND => UNAUTHENTICATED,
        _ => PERMISSION_DENIED,
    }
}

/// A `HeaderValueOption` that replaces: `append` is there, and false.
fn option(message: Encoder, number: u32, name: &HeaderName, value: &HeaderValue) -> Encoder {
    let Ok(text) = std::str::from_utf8(value.as_bytes()) else {
        return message;
    };
    message.message(number, |option| {
        let header = |header: Encoder| {
            let header = header.always(1, name.as_str().as_bytes());
            header.bytes(2, text.as_bytes())
        };
        option.message(1, header).always(2, &[])
    })
}
