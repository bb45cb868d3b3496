//! Refusals and faults as responses; refusals are worded in `edge`.

use edge::names;
use edge::refusal;
use http::{HeaderValue, Response, StatusCode, header};
use policy::{Denial, Reply, RequestHead};

use crate::body::{Body, BodyFault};
use crate::host::Host;
use crate::hygiene::Unfit;

/// Something other than a refusal that keeps a request from being answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Unfit(Unfit),
    Body(BodyFault),
    /// Nothing serves the destination.
    Missing(String),
    /// An upstream could not be reached.
    Unreachable(&'static str),
    /// An upstream broke off, or answered in a way that cannot be passed on.
    Broken(&'static str),
    /// The route's time is over.
    Timeout,
    /// A question of the decision was not answered.
    Undecided,
}

impl Fault {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unfit(unfit) => match unfit {
                Unfit::Bad(_) => StatusCode::BAD_REQUEST,
                Unfit::Connect => StatusCode::METHOD_NOT_ALLOWED,
                Unfit::Workload => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                Unfit::Expectation => StatusCode::EXPECTATION_FAILED,
                Unfit::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            },
            Self::Body(BodyFault::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyFault::Stalled) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyFault::Broken) => StatusCode::BAD_REQUEST,
            Self::Missing(_) | Self::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken(_) => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Undecided => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn texts(&self) -> (&'static str, &str) {
        match self {
            Self::Unfit(Unfit::Bad(reason)) => ("bad request", reason),
            Self::Unfit(Unfit::Connect) => (
                "method not allowed",
                "this is not a forward proxy: CONNECT is refused",
            ),
            Self::Unfit(Unfit::Workload) => (
                "proxy authentication required",
                "the proxy credentials belong to no workload",
            ),
            Self::Unfit(Unfit::Expectation) => {
                ("expectation failed", "only `100-continue` can be expected")
            }
            Self::Unfit(Unfit::TooManyHeaders) => {
                ("request header fields too large", "too many headers")
            }
            Self::Body(BodyFault::TooLarge) => (
                "payload too large",
                "the request body is longer than the limit",
            ),
            Self::Body(BodyFault::Stalled) => {
                ("request timeout", "the request body did not arrive")
            }
            Self::Body(BodyFault::Broken) => ("bad request", "the request body broke off"),
            Self::Missing(reason) => ("nothing serves this", reason),
            Self::Unreachable(reason) => ("upstream unavailable", reason),
            Self::Broken(reason) => ("bad gateway", reason),
            Self::Timeout => (
                "upstream timeout",
                "the upstream did not answer within the time of the route",
            ),
            Self::Undecided => ("internal error", "the decision could not be completed"),
        }
    }
}

/// Answers a fault. `head` is absent when the request never had one.
pub(crate) fn fault(fault: &Fault, grpc: bool) -> Response<Body> {
    let (error, reason) = fault.texts();
    if grpc {
        let status = refusal::from_http(fault.status());
        return reply(refusal::grpc_status(status, &format!("{error}: {reason}")));
    }
    let mut response = reply(refusal::json(fault.status(), error, Some(reason)));
    let more = match fault {
        Fault::Unfit(Unfit::Workload) => {
            Some((header::PROXY_AUTHENTICATE, "Basic realm=\"sidegate\""))
        }
        Fault::Unfit(Unfit::Connect) => Some((
            header::ALLOW,
            "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
        )),
        _ => None,
    };
    if let Some((name, value)) = more {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// Answers a denial.
pub(crate) fn denial(
    denial: &Denial,
    head: &RequestHead,
    enforces: bool,
    host: &dyn Host,
) -> Response<Body> {
    reply(refusal::denial(denial, head, enforces, || host.login(head)))
}

/// An answer made elsewhere. Its framing is ours.
pub(crate) fn reply(reply: Reply) -> Response<Body> {
    // 101 and other interim answers are not for replies to give.
    let status = match reply.status.is_informational() {
        true => StatusCode::BAD_GATEWAY,
        false => reply.status,
    };
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = status;
    for (name, value) in reply.headers {
        if !names::is_hop_by_hop(&name) && name != header::CONTENT_LENGTH {
            response.headers_mut().append(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests;
