//! Checks over HTTP: Envoy sends the head of the request, with the provider's
//! prefix before its path; other gateways likewise, or in headers.

use std::net::SocketAddr;

use bytes::Bytes;
use edge::{Ambiguous, authority, names};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use policy::Scheme;

use crate::asked::Asked;
use crate::check::unfit;
use crate::host::Host;
use crate::place::{Form, place_of};
use crate::service::Authorizer;

/// The request of a client in headers that only the gateway writes; those of
/// clients are nothing (CVE-2026-40575).
const METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

impl<H: Host> Authorizer<H> {
    /// The answer to a check over HTTP, which need not be one.
    pub async fn check_head(
        &self,
        parts: http::request::Parts,
        peer: SocketAddr,
    ) -> Response<Bytes> {
        match asked(parts, peer) {
            Ok((form, asked)) => {
                let own = match form.hands_over() {
                    true => own(&asked.headers),
                    false => Vec::new(),
                };
                self.check(asked, form).await.into_response(form, own)
            }
            Err((form, why)) => {
                tracing::warn!(target: "ext_authz::access", %peer, why, "a check cannot be read and is denied");
                unfit(why).into_response(form, Vec::new())
            }
        }
    }
}

fn asked(
    parts: http::request::Parts,
    peer: SocketAddr,
) -> Result<(Form, Asked), (Form, &'static str)> {
    let target = parts
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    let (form, place, target) = place_of(target).ok_or((
        Form::Exact,
        "the path of the check begins with no listener: expected `pathPrefix: /external` or `/local`",
    ))?;
    let wrong = |Ambiguous(why)| (form, why);
    let mut target = target.to_owned();
    let mut method = parts.method.as_str().to_owned();
    let mut headers = parts.headers;
    let authority = if form == Form::Forwarded {
        method = said(&mut headers, &METHOD).map_err(wrong)?;
        target = said(&mut headers, &URI).map_err(wrong)?;
        let host = said(&mut headers, &HOST).map_err(wrong)?;
        authority::parse(&host).map_err(wrong)?.into_owned()
    } else {
        authority::of(parts.version, &parts.uri, &headers).map_err(wrong)?
    };
    // Of the check and not of the request.
    headers.remove(header::CONTENT_LENGTH);
    let own: Vec<HeaderName> = headers
        .keys()
        .filter(|name| names::is_hop_by_hop(name) && **name != header::UPGRADE)
        .cloned()
        .collect();
    for name in own {
        headers.remove(name);
    }
    let https = headers
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let asked = Asked {
        place,
        method,
        authority,
        target,
        scheme: if https { Scheme::Https } else { Scheme::Http },
        headers,
        peer,
        // A check over HTTP does not say it.
        principal: None,
        listed: form == Form::Exact,
    };
    Ok((form, asked))
}

/// What the gateway says in a header, once.
fn said(headers: &mut HeaderMap, name: &HeaderName) -> Result<String, Ambiguous> {
    const BAD: Ambiguous = Ambiguous(
        "expected `x-forwarded-method`, `-uri` and `-host`, each once, as the gateway writes them",
    );
    let mut lines = headers.get_all(name).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(BAD);
    };
    let text = line.to_str().map_err(|_| BAD)?.to_owned();
    headers.remove(name);
    Ok(text)
}

/// What of a request stays as it is where an allow says nothing else.
fn own(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let joined = |(name, joint): (HeaderName, &[u8])| {
        let lines: Vec<&[u8]> = headers
            .get_all(&name)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        // Of two lines a client's second would be a second reading.
        if lines.len() > 1 && joint.is_empty() {
            return None;
        }
        let mut value = HeaderValue::from_bytes(&lines.join(joint)).ok()?;
        value.set_sensitive(true);
        (!lines.is_empty()).then_some((name, value))
    };
    [
        (header::COOKIE, &b"; "[..]),
        (header::AUTHORIZATION, &b""[..]),
    ]
    .into_iter()
    .filter_map(joined)
    .collect()
}
