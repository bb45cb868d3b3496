//! A request in its one normal form.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, Method};
use resources::mesh::Normalization;

use crate::caller::Workload;
use crate::connection::Connection;
use crate::path::{BadPath, normalise, normalise_with};
use crate::snapshot::Snapshot;
use crate::view::ListenerView;

/// Which side of the cluster a request comes from: whose access levels count.
/// Each has a listener that requests arrive at unless their
/// [`Connection`](crate::Connection) names another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entrance {
    /// From outside the cluster.
    External,
    /// From workloads of the cluster.
    Local,
}

/// URI scheme as the client used it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Scheme {
    Http,
    Https,
}

/// The head of a request, in the one form that is matched, authorised and
/// forwarded. Hop-by-hop and connection-nominated headers are gone, there is
/// exactly one authority, and `host` is not among the headers.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Where it comes from.
    pub entrance: Entrance,
    /// Method.
    pub method: Method,
    /// Scheme.
    pub scheme: Scheme,
    /// Authority as sent, with port, case kept (routing ignores both).
    pub authority: String,
    /// Normalised path, begins with `/` (or is `*`), without query.
    pub path: String,
    /// Query without `?`.
    pub query: Option<String>,
    /// Headers.
    pub headers: HeaderMap,
    /// TCP peer.
    pub peer: SocketAddr,
    /// What else is known of the connection: listener, TLS, certificate.
    pub connection: Connection,
    /// The workload, when the channel proves it.
    pub workload: Option<Workload>,
}

impl Snapshot {
    /// Splits and normalises a request target as the gateways of this
    /// configuration do, with its mode and by its Istio version.
    ///
    /// # Errors
    /// [`BadPath`] for targets that have no single reading; the client gets 400.
    pub fn split_target(&self, target: &str) -> Result<(String, Option<String>), BadPath> {
        let (path, query) = split(target);
        let dots = self.istio_version().dots_with_parameters();
        Ok((normalise_with(path, self.normalization(), dots)?, query))
    }
}

/// Scheme, authority, and the rest of a target in absolute form.
pub(crate) fn absolute(target: &str) -> Option<(Scheme, &str, Cow<'_, str>)> {
    let (scheme, rest) = target.split_once("://")?;
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        _ => return None,
    };
    let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(at)?;
    let path = match path.starts_with('/') {
        true => Cow::Borrowed(path),
        false => Cow::Owned(format!("/{path}")),
    };
    Some((scheme, authority, path))
}

/// Path and query, without the fragment.
pub(crate) fn split(target: &str) -> (&str, Option<String>) {
    let target = target.split_once('#').map_or(target, |(before, _)| before);
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    }
}

impl RequestHead {
    /// Lets the request arrive at a listener other than its entrance's, with
    /// the access levels that count there.
    pub fn arrive_at(&mut self, listener: &ListenerView<'_>) {
        self.entrance = listener.side();
        self.connection.listener = Some(listener.id().clone());
    }

    /// Splits and normalises a request target in origin form (`/path?query`).
    ///
    /// # Errors
    /// [`BadPath`] for targets that have no single reading; the client gets 400.
    pub fn split_target(
        target: &str,
        mode: Normalization,
    ) -> Result<(String, Option<String>), BadPath> {
        let (path, query) = split(target);
        Ok((normalise(path, mode)?, query))
    }

    /// Path and query as they are forwarded.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// Authority without port, lower case: what virtual hosts are found by.
    /// A trailing dot stays, and a port need not be a number, as in Envoy
    /// (`HeaderUtility::getPortStart`).
    pub fn host(&self) -> String {
        self.host_name().into_owned()
    }

    /// The same, borrowed where the authority is lower case already.
    pub(crate) fn host_name(&self) -> Cow<'_, str> {
        host_name(&self.authority)
    }

    /// The first value of a header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the client spoke TLS, by what `x-forwarded-proto` says: the scheme
    /// of a target in absolute form may be another (envoy `config_impl.cc`
    /// getRouteFromEntries).
    pub(crate) fn came_by_https(&self) -> bool {
        match self.header("x-forwarded-proto") {
            Some(proto) if !proto.is_empty() => proto.eq_ignore_ascii_case("https"),
            _ => self.scheme == Scheme::Https,
        }
    }

    /// Asks for a protocol upgrade (WebSocket).
    pub fn is_upgrade(&self) -> bool {
        self.headers.contains_key(http::header::UPGRADE)
    }

    /// A gRPC call.
    pub fn is_grpc(&self) -> bool {
        self.header("content-type").is_some_and(|value| {
            value
                .strip_prefix("application/grpc")
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
        })
    }

    /// A CORS preflight for Envoy's token filter: its headers have values.
    pub(crate) fn has_preflight_values(&self) -> bool {
        let full = |name| self.header(name).is_some_and(|value| !value.is_empty());
        self.method == Method::OPTIONS && full("origin") && full("access-control-request-method")
    }

    /// A CORS preflight (Fetch standard, §3.3.2).
    pub fn is_preflight(&self) -> bool {
        self.method == Method::OPTIONS
            && self.headers.contains_key(http::header::ORIGIN)
            && self
                .headers
                .contains_key(http::header::ACCESS_CONTROL_REQUEST_METHOD)
    }
}

/// What virtual hosts are found by: the authority up to its last colon, which
/// need not begin a number (envoy `HeaderUtility::getPortStart`), lower case.
pub fn host_name(authority: &str) -> Cow<'_, str> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    };
    // Without a branch for each byte, as all of them are looked at for nearly every request.
    let upper = host
        .bytes()
        .fold(false, |any, b| any | b.is_ascii_uppercase());
    if upper {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// Headers that tell an upstream who the user is. Where Sidegate enforces,
/// clients cannot send them, in any case or with `_` for `-`.
pub const IDENTITY_HEADERS: [&str; 22] = [
    "kubeflow-userid",
    "kubeflow-groups",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-auth-request-access-token",
    "x-auth-token",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
    "remote-user",
    "remote-groups",
    "remote-name",
    "remote-email",
    "x-remote-user",
    "x-remote-group",
    "auth-method",
];

/// Headers that parts of Knative write for each other behind a gateway: the revision that the activator sends to, of any
/// namespace and before the host; the host that the application sees; what is neither limited, counted nor logged
/// (serving `pkg/activator/handler`, `pkg/queue/handler.go`; networking `pkg/http/header`). Where Sidegate enforces, clients cannot
/// send them either. `knative-serving-tag` is for clients, and the prober's `k-network-probe` and `k-network-hash` choose nothing.
pub const KNATIVE_HEADERS: [&str; 8] = [
    "knative-serving-revision",
    "knative-serving-namespace",
    "knative-serving-default-route",
    "k-original-host",
    "k-proxy-request",
    "k-kubelet-probe",
    "k-passthrough-lb",
    "k-ignore-metrics",
];

/// Whether a client-sent header of this name claims an identity.
pub fn is_identity_header(name: &HeaderName) -> bool {
    // Asked for each header of each request, most of which begin otherwise.
    let may_be = |first| matches!(first, b'a' | b'k' | b'r' | b'x');
    if !name.as_str().bytes().next().is_some_and(may_be) {
        return false;
    }
    IDENTITY_HEADERS.iter().any(|known| is(name, known))
        || begins(name, "x-auth-request-")
        || begins(name, "x-sidegate-")
}

/// Whether a client-sent header of this name passes for one that Knative writes.
pub fn is_knative_header(name: &HeaderName) -> bool {
    KNATIVE_HEADERS.iter().any(|known| is(name, known))
}

/// Whether a name is this one, or has `_` in the place of a `-` of it.
fn is(name: &HeaderName, known: &str) -> bool {
    name.as_str().len() == known.len() && begins(name, known)
}

fn begins(name: &HeaderName, with: &str) -> bool {
    let name = name.as_str().as_bytes();
    let folded = name.iter().map(|b| if *b == b'_' { b'-' } else { *b });
    name.len() >= with.len() && with.bytes().zip(folded).all(|(a, b)| a == b)
}
