//! From what a client sent to the one normal form that is matched, authorised
//! and forwarded.
#![doc = concat!("\n", include_str!("hygiene.md"))]

use std::net::SocketAddr;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use policy::{Entrance, RequestHead, Scheme, Snapshot, Workload};

use crate::config::Limits;
use crate::draw;
use crate::host::Host;
use edge::names;
use edge::{Ambiguous, authority};

/// A request in normal form, and what its first hop said about itself.
pub(crate) struct Admitted {
    pub(crate) head: RequestHead,
    /// Wants a WebSocket, and nothing stands against it.
    pub(crate) websocket: bool,
    /// Sent any `upgrade` at all: its connection is not used for another request.
    pub(crate) upgrade_sent: bool,
    /// Takes trailers.
    pub(crate) trailers: bool,
    /// Waits for `100 Continue` before it sends the body.
    pub(crate) expects: bool,
}

/// A request that has no single reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// 400.
    Bad(&'static str),
    /// 405.
    Connect,
    /// 407.
    Workload,
    /// 417.
    Expectation,
    /// 431.
    TooManyHeaders,
}

impl From<Ambiguous> for Unfit {
    fn from(Ambiguous(why): Ambiguous) -> Self {
        Self::Bad(why)
    }
}

/// What the connection tells about its requests.
pub(crate) struct Origin<'a> {
    pub(crate) entrance: Entrance,
    pub(crate) peer: SocketAddr,
    pub(crate) peer_text: &'a HeaderValue,
}

/// Brings a request into normal form.
pub(crate) fn admit(
    parts: Parts,
    origin: &Origin<'_>,
    snapshot: &Snapshot,
    host: &dyn Host,
    limits: &Limits,
    has_body: bool,
) -> Result<Admitted, Unfit> {
    let Parts {
        method,
        uri,
        version,
        mut headers,
        ..
    } = parts;
    if method == Method::CONNECT {
        return Err(Unfit::Connect);
    }
    if headers.len() > limits.headers || head_bytes(&uri, &headers) > limits.header_bytes as usize {
        return Err(Unfit::TooManyHeaders);
    }
    single_lines(&headers)?;
    let authority = authority::of(version, &uri, &headers)?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let (path, query) = edge::target::read(&method, target, snapshot)?;
    framing(&headers, has_body)?;
    let expects = expectation(&headers)?;
    let workload = match origin.entrance {
        Entrance::Local => workload(&headers, host)?,
        Entrance::External => None,
    };
    let trailers = version == Version::HTTP_2 && headers.contains_key(header::TE)
        || has_token(&headers, &header::TE, "trailers");
    let upgrade_sent = headers.contains_key(header::UPGRADE);
    let websocket = upgrade_sent && wants_websocket(&method, version, &headers, has_body)?;
    let nominated = nominated(&headers)?;
    let strip = Strip {
        nominated: &nominated,
        enforce: snapshot.enforces(),
        external: origin.entrance == Entrance::External,
    };
    strip.apply(&mut headers);
    join_cookies(version, &mut headers)?;
    if websocket {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    add_context(&mut headers, origin);
    Ok(Admitted {
        head: RequestHead {
            entrance: origin.entrance,
            method,
            scheme: Scheme::Http,
            authority,
            path,
            query,
            headers,
            peer: origin.peer,
            connection: policy::Connection::default(),
            workload,
        },
        websocket,
        upgrade_sent,
        trailers,
        expects,
    })
}

/// About what the head took on the wire: target, names, values, separators.
fn head_bytes(uri: &Uri, headers: &HeaderMap) -> usize {
    let target = uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let lines = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    target + lines.sum::<usize>()
}

fn single_lines(headers: &HeaderMap) -> Result<(), Unfit> {
    let repeated = headers.keys_len() != headers.len()
        && headers
            .keys()
            .any(|name| names::is_single(name) && headers.get_all(name).iter().nth(1).is_some());
    match repeated {
        true => Err(Unfit::Bad(
            "a header that may appear once appears more often",
        )),
        false => Ok(()),
    }
}

fn framing(headers: &HeaderMap, has_body: bool) -> Result<(), Unfit> {
    if let Some(coding) = headers.get(header::TRANSFER_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
    {
        return Err(Unfit::Bad(
            "expected transfer coding `chunked` and no other",
        ));
    }
    let Some(length) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(());
    };
    let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    let none = length.as_bytes().iter().all(|b| *b == b'0');
    if !digits || (!none && !has_body) {
        return Err(Unfit::Bad("content length and body disagree"));
    }
    Ok(())
}

fn expectation(headers: &HeaderMap) -> Result<bool, Unfit> {
    match headers.get(header::EXPECT) {
        None => Ok(false),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(Unfit::Expectation),
    }
}

fn workload(headers: &HeaderMap, host: &dyn Host) -> Result<Option<Workload>, Unfit> {
    headers
        .get(header::PROXY_AUTHORIZATION)
        .map(|credentials| host.workload(credentials))
        .transpose()
        .map_err(|_| Unfit::Workload)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// WebSocket is the only upgrade there is; others are answered as if not asked for.
fn wants_websocket(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    has_body: bool,
) -> Result<bool, Unfit> {
    let asked = version == Version::HTTP_11
        && *method == Method::GET
        && has_token(headers, &header::CONNECTION, "upgrade")
        && headers
            .get(header::UPGRADE)
            .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if asked && has_body {
        return Err(Unfit::Bad("an upgrade cannot have a body"));
    }
    Ok(asked)
}

fn nominated(headers: &HeaderMap) -> Result<Vec<HeaderName>, Unfit> {
    let mut found = Vec::new();
    for line in headers.get_all(header::CONNECTION) {
        for token in line.as_bytes().split(|b| *b == b',') {
            let token = token.trim_ascii();
            if token.is_empty() {
                continue;
            }
            let name = HeaderName::from_bytes(token)
                .map_err(|_| Unfit::Bad("`connection` is not a list of names"))?;
            if names::is_hop_by_hop(&name) || name == "close" {
                continue;
            }
            if !names::may_be_nominated(&name) {
                return Err(Unfit::Bad(
                    "`connection` names a header that is not about the connection",
                ));
            }
            found.push(name);
        }
    }
    Ok(found)
}

/// Removes what may not go on.
struct Strip<'a> {
    nominated: &'a [HeaderName],
    enforce: bool,
    external: bool,
}

impl Strip<'_> {
    fn apply(&self, headers: &mut HeaderMap) {
        // One pass, and no hashing of names that are not there.
        let gone: Vec<HeaderName> = headers
            .keys()
            .filter(|name| self.takes(name))
            .cloned()
            .collect();
        for name in gone {
            headers.remove(name);
        }
    }

    fn takes(&self, name: &HeaderName) -> bool {
        name == header::HOST
            || name == header::CONTENT_LENGTH
            || name == header::EXPECT
            || names::is_hop_by_hop(name)
            || self.nominated.contains(name)
            || names::is_alias_of_ours(name)
            || self.external && names::is_envoys(name)
            || self.enforce
                && (policy::is_identity_header(name)
                    || policy::is_knative_header(name)
                    || names::is_context_claim(name))
    }
}

fn join_cookies(version: Version, headers: &mut HeaderMap) -> Result<(), Unfit> {
    let mut lines = headers.get_all(header::COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return Ok(());
    }
    if version != Version::HTTP_2 {
        return Err(Unfit::Bad("more than one `cookie` header"));
    }
    let crumbs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let joined = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
        .map_err(|_| Unfit::Bad("bad `cookie` header"))?;
    headers.insert(header::COOKIE, joined);
    Ok(())
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

fn add_context(headers: &mut HeaderMap, origin: &Origin<'_>) {
    let before: Vec<&[u8]> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .map(HeaderValue::as_bytes)
        .filter(|line| !line.is_empty())
        .chain([origin.peer_text.as_bytes()])
        .collect();
    let all = match before.len() {
        1 => origin.peer_text.clone(),
        _ => HeaderValue::from_bytes(&before.join(&b","[..]))
            .unwrap_or_else(|_| origin.peer_text.clone()),
    };
    headers.insert(FORWARDED_FOR, all);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    let keep = origin.entrance == Entrance::Local
        && headers.get_all(REQUEST_ID).iter().nth(1).is_none()
        && headers.get(REQUEST_ID).is_some_and(is_request_id);
    if !keep {
        headers.insert(REQUEST_ID, draw::request_id());
    }
}

fn is_request_id(value: &HeaderValue) -> bool {
    (1..=128).contains(&value.len())
        && value
            .as_bytes()
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(b))
}

#[cfg(test)]
mod tests;
