//! Who asks at the endpoints for programs (RFC 6749 section 2.3), and what they are told when
//! something is wrong (section 5.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use secret::Secret;

use crate::config::Client;
use crate::forms::is_form;
use crate::params::{Params, Repeated};
use crate::provider::Inner;
use crate::reply::{Reply, challenge, oauth_error};

impl Inner {
    /// Who asks, by `client_secret_basic`, `client_secret_post` or, for public clients, by name.
    pub(crate) fn client(
        &self,
        request: &Request<Bytes>,
        params: &Params,
    ) -> Result<Client, Reply> {
        let form_id = get(params, "client_id")?;
        let form_secret = params.secret("client_secret").map_err(repeated)?;
        let mut headers = request.headers().get_all(AUTHORIZATION).iter();
        let (id, secret) = match (headers.next(), headers.next()) {
            (None, _) => (form_id.map(str::to_owned), form_secret),
            (Some(_), Some(_)) => {
                return Err(invalid(
                    "invalid_request",
                    "the Authorization header is there twice",
                ));
            }
            (Some(_), None) if form_secret.is_some() => {
                let text = "the client authenticates twice: expected a header or client_secret";
                return Err(invalid("invalid_request", text));
            }
            (Some(header), None) => {
                let (id, secret) = basic(header.as_bytes()).ok_or_else(unknown_client)?;
                if form_id.is_some_and(|form_id| form_id != id) {
                    return Err(invalid(
                        "invalid_request",
                        "client_id is not the one in the header",
                    ));
                }
                (Some(id), Some(secret))
            }
        };
        let client = id
            .and_then(|id| self.known_client(&id))
            .ok_or_else(unknown_client)?;
        let known = match (&client.secret, &secret) {
            (Some(ours), Some(theirs)) => ours.matches(theirs.expose()),
            (_, None) => client.public,
            (None, Some(theirs)) => client.public && theirs.expose().is_empty(),
        };
        if known {
            Ok(client)
        } else {
            Err(unknown_client())
        }
    }

    /// As [`Self::client`], but a name alone is not enough.
    pub(crate) fn confidential_client(
        &self,
        request: &Request<Bytes>,
        params: &Params,
    ) -> Result<Client, Reply> {
        let client = self.client(request, params)?;
        if client.public || client.secret.is_none() {
            return Err(unknown_client());
        }
        Ok(client)
    }
}

/// The client that a request says it is of, proved or not.
pub(crate) fn claimed(request: &Request<Bytes>) -> Option<String> {
    let header = request.headers().get(AUTHORIZATION);
    if let Some((id, _)) = header.and_then(|header| basic(header.as_bytes())) {
        return Some(id);
    }
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let parameters = [request.body().as_ref(), query].into_iter();
    let mut named = parameters.filter_map(|text| {
        let params = Params::parse(text).ok()?;
        params.get("client_id").ok()?.map(str::to_owned)
    });
    named.next()
}

/// The parameters of a form that a program posts.
pub(crate) fn posted(request: &Request<Bytes>) -> Result<Params, Reply> {
    if !is_form(request) {
        let text = "expected application/x-www-form-urlencoded";
        return Err(invalid("invalid_request", text));
    }
    Params::parse(request.body()).map_err(|error| invalid("invalid_request", &error.to_string()))
}

fn unknown_client() -> Reply {
    let text = "unknown client, or a secret that is not its own";
    challenge(
        "invalid_client",
        text,
        r#"Basic realm="sidegate", charset="UTF-8""#,
    )
}

/// Id and secret of an `Authorization: Basic`, both form-encoded inside (RFC 6749 section 2.3.1).
fn basic(header: &[u8]) -> Option<(String, Secret)> {
    let (scheme, rest) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest.trim_ascii()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((form_decode(id)?, Secret::new(form_decode(secret)?)))
}

fn form_decode(text: &str) -> Option<String> {
    // As a name without value: `=` and `&` are encoded, or the pair would be another.
    if text.contains(['=', '&']) {
        return Some(text.to_owned());
    }
    let mut pairs = url::form_urlencoded::parse(text.as_bytes());
    Some(
        pairs
            .next()
            .map(|(name, _)| name.into_owned())
            .unwrap_or_default(),
    )
}

pub(crate) fn get<'a>(params: &'a Params, name: &'static str) -> Result<Option<&'a str>, Reply> {
    params.get(name).map_err(repeated)
}

/// A parameter that has to be there.
pub(crate) fn need<'a>(params: &'a Params, name: &'static str) -> Result<&'a str, Reply> {
    get(params, name)?.ok_or_else(|| invalid("invalid_request", &format!("{name} is missing")))
}

pub(crate) fn repeated(error: Repeated) -> Reply {
    invalid("invalid_request", &error.to_string())
}

pub(crate) fn invalid(error: &str, text: &str) -> Reply {
    oauth_error(StatusCode::BAD_REQUEST, error, text)
}
