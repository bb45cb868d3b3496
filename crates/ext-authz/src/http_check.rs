//! Checks over HTTP: Envoy sends the head of the request, with the provider's
//! prefix before its path. Exactly 200 allows.

use std::net::SocketAddr;

use edge::names;
use http::{HeaderName, Response, header};
use policy::Scheme;

use crate::asked::{Asked, place_of};
use crate::body::Body;
use crate::check::unfit;
use crate::host::Host;
use crate::service::Authorizer;

impl<H: Host> Authorizer<H> {
    pub(crate) async fn over_http(
        &self,
        parts: http::request::Parts,
        peer: SocketAddr,
    ) -> Response<Body> {
        let reply = match asked(parts, peer) {
            Ok(asked) => self.check(asked).await,
            Err(why) => {
                tracing::warn!(target: "ext_authz::access", %peer, why, "a check cannot be read and is denied");
                unfit(why)
            }
        };
        reply.into_response().map(Body::full)
    }
}

fn asked(parts: http::request::Parts, peer: SocketAddr) -> Result<Asked, &'static str> {
    let authority = edge::authority::of(parts.version, &parts.uri, &parts.headers)
        .map_err(|ambiguous| ambiguous.0)?;
    let target = parts
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    let (place, target) = place_of(target)
        .ok_or("the path of the check begins with no listener: expected `pathPrefix: /external` or `/local`")?;
    let target = target.to_owned();
    let mut headers = parts.headers;
    // Of the check and not of the request.
    let own: Vec<HeaderName> = headers
        .keys()
        .filter(|name| names::is_hop_by_hop(name) && **name != header::UPGRADE)
        .chain([&header::CONTENT_LENGTH])
        .cloned()
        .collect();
    for name in own {
        headers.remove(name);
    }
    let https = headers
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    Ok(Asked {
        place,
        method: parts.method.as_str().to_owned(),
        authority,
        target,
        scheme: if https { Scheme::Https } else { Scheme::Http },
        headers,
        peer,
        // A check over HTTP does not say it.
        principal: None,
    })
}
