//! What is asked: one request at one listener.

use std::net::SocketAddr;

use edge::{Ambiguous, authority, names, target};
use http::{HeaderMap, HeaderName, Method, header};
use policy::{At, Connection, Entrance, RequestHead, Scheme, Snapshot, is_identity_header};

use crate::question::CheckRequest;

/// A check, from either protocol.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) place: Place,
    pub(crate) method: String,
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) scheme: Scheme,
    pub(crate) headers: HeaderMap,
    pub(crate) peer: SocketAddr,
    /// Who the client is by its certificate, as the gateway says it; never what a
    /// header says.
    pub(crate) principal: Option<String>,
}

/// Where the request arrived, as the gateway says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Port {
        port: u16,
        side: Option<Entrance>,
        sni: Option<String>,
    },
    Side {
        side: Entrance,
        port: Option<u16>,
    },
}

impl Place {
    pub(crate) fn at(&self) -> At<'_> {
        match self {
            Self::Port { port, side, sni } => At::Port {
                port: *port,
                side: *side,
                sni: sni.as_deref(),
            },
            Self::Side { side, port } => At::Side {
                side: *side,
                port: *port,
            },
        }
    }
}

/// A request in its one form, and the headers of it that a client may not send.
pub(crate) struct Admitted {
    pub(crate) head: RequestHead,
    pub(crate) claimed: Vec<HeaderName>,
    /// All marks that it carries.
    pub(crate) marks: Vec<http::HeaderValue>,
}

impl Asked {
    /// What a gRPC check asks; `authority` is that of the call, which the
    /// provider's configuration sets.
    pub(crate) fn over_grpc(
        CheckRequest(check): CheckRequest,
        authority: Option<&str>,
        peer: SocketAddr,
    ) -> Self {
        let source = check.source.address.parse();
        let https = check.http.scheme.eq_ignore_ascii_case("https");
        Self {
            place: Place::Port {
                port: check.destination.port,
                side: authority.and_then(side_of),
                sni: check.sni,
            },
            method: check.http.method,
            authority: check.http.host,
            target: check.http.path,
            scheme: if https { Scheme::Https } else { Scheme::Http },
            headers: check.http.headers,
            peer: source.map_or(peer, |ip| SocketAddr::new(ip, check.source.port)),
            principal: check.source.principal,
        }
    }

    /// Brings the request into the form that is decided on.
    pub(crate) fn admit(self, snapshot: &Snapshot) -> Result<Admitted, Ambiguous> {
        let method = Method::from_bytes(self.method.as_bytes())
            .map_err(|_| Ambiguous("the method is none"))?;
        // Whole, as the gateway compares it: only whether it is one host.
        let authority = match authority::parse(&self.authority)? {
            same if same == self.authority => same,
            _ => return Err(Ambiguous("the authority is not in its normal form")),
        };
        let (path, query) = target::read_again(&method, &self.target, snapshot)?;
        let mut headers = self.headers;
        let claimed: Vec<HeaderName> = headers
            .keys()
            .filter(|name| is_identity_header(name) || names::is_alias_of_ours(name))
            .cloned()
            .collect();
        let marks = headers.get_all(crate::MARK).iter().cloned().collect();
        for name in claimed.iter().chain([&header::HOST]) {
            headers.remove(name);
        }
        Ok(Admitted {
            head: RequestHead {
                entrance: Entrance::External,
                method,
                scheme: self.scheme,
                authority,
                path,
                query,
                headers,
                peer: self.peer,
                connection: Connection::default(),
                workload: None,
            },
            claimed,
            marks,
        })
    }
}

/// The side that a Service's name says, by its ending: `sidegate-authz-local.…`
/// may be asked by one deployment of gateways, `sidegate-authz-external.…` by
/// another. Envoy writes the name of its cluster where nothing else is set,
/// `outbound|9000||sidegate-authz-local.…`.
fn side_of(authority: &str) -> Option<Entrance> {
    let host = authority.rsplit('|').next()?;
    let name = host.split(['.', ':']).next()?;
    match name.rsplit_once('-')?.1 {
        "local" => Some(Entrance::Local),
        "external" => Some(Entrance::External),
        _ => None,
    }
}

/// The place that the first segment of a path names, and the path behind it:
/// `/external`, `/local`, or with a port, `/external-8443`. The provider's
/// `pathPrefix` puts it there, before whatever the client asked for.
pub(crate) fn place_of(path: &str) -> Option<(Place, &str)> {
    let rest = path.strip_prefix('/')?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (segment, target) = rest.split_at_checked(end)?;
    let (side, port) = match segment.split_once('-') {
        Some((side, port)) => (side, Some(port.parse().ok()?)),
        None => (segment, None),
    };
    let side = match side {
        "external" => Entrance::External,
        "local" => Entrance::Local,
        _ => return None,
    };
    target
        .starts_with('/')
        .then_some((Place::Side { side, port }, target))
}
