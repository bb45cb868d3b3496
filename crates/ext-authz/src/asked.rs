//! What is asked: one request at one listener.

use std::net::SocketAddr;

use edge::{Ambiguous, authority, names, target};
use http::{HeaderMap, HeaderName, Method, header};
use policy::{
    Connection, Entrance, RequestHead, Scheme, Snapshot, is_identity_header, is_knative_header,
};

use crate::place::{Place, side_of};
use crate::question::{CheckRequest, Named};

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
    /// Whether the gateway sends those headers alone that are [listed](crate::seen()).
    pub(crate) listed: bool,
}

/// A request in its one form, with the headers by which the gateway has chosen a route, and those of them that a client may not
/// send.
pub(crate) struct Admitted {
    pub(crate) head: RequestHead,
    pub(crate) claimed: Vec<HeaderName>,
    /// Those that Knative writes. A route may have written them at an earlier crossing,
    /// and the gateway has chosen this one with them.
    pub(crate) knative: Vec<HeaderName>,
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
        let named = check.place.map(|Named(place)| place);
        Self {
            place: named.unwrap_or(Place::Port {
                port: check.destination.port,
                side: authority.and_then(side_of),
                sni: check.sni,
            }),
            method: check.http.method,
            authority: check.http.host,
            target: check.http.path,
            scheme: if https { Scheme::Https } else { Scheme::Http },
            headers: check.http.headers,
            peer: source.map_or(peer, |ip| SocketAddr::new(ip, check.source.port)),
            principal: check.source.principal,
            listed: false,
        }
    }

    /// Brings the request into the form that is decided on.
    pub(crate) fn admit(self, snapshot: &Snapshot) -> Result<Admitted, Ambiguous> {
        let method = Method::from_bytes(self.method.as_bytes())
            .map_err(|_| Ambiguous("the method is none"))?;
        // Whole, as the gateway compares it: only whether it is one host.
        if authority::parse(&self.authority)? != self.authority {
            return Err(Ambiguous("the authority is not in its normal form"));
        }
        let (path, query) = target::read_again(&method, &self.target, snapshot)?;
        let mut headers = self.headers;
        headers.remove(header::HOST);
        let claimed: Vec<HeaderName> = headers
            .keys()
            .filter(|name| is_identity_header(name) || names::is_alias_of_ours(name))
            .cloned()
            .collect();
        let knative = headers
            .keys()
            .filter(|name| is_knative_header(name))
            .cloned()
            .collect();
        let marks = headers.get_all(crate::MARK).iter().cloned().collect();
        Ok(Admitted {
            head: RequestHead {
                entrance: Entrance::External,
                method,
                scheme: self.scheme,
                authority: self.authority,
                path,
                query,
                headers,
                peer: self.peer,
                connection: Connection::default(),
                workload: None,
            },
            claimed,
            knative,
            marks,
        })
    }
}
