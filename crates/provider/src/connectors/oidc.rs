//! Another OpenID provider: where it is, what it is asked, and whether its answers hold (OpenID
//! Connect Core 1.0 section 3.1.3.7, RFC 9207).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use url::form_urlencoded::Serializer;

use super::claims;
use super::jws::{KeySet, Unsigned};
use super::{Again, Identity, Trouble};
use crate::backchannel::{Outgoing, Roots};
use crate::clock::is_recent;
use crate::config::OidcConnector;

/// How long discovery counts, in seconds.
const METADATA_SECONDS: u64 = 3600;
/// How long to leave a provider alone that has just failed.
const PAUSE: u64 = 5;
/// How often keys are looked for anew when a token names one that is not there. Providers publish
/// keys well before they sign with them, and whoever sends tokens must not make us ask more often.
const KEYS_AGAIN: u64 = 10;
/// How long keys count at most: one that was withdrawn ends then.
const KEYS_SECONDS: u64 = 3600;
/// How far clocks may be apart.
const LEEWAY: u64 = 60;
const MAX_CODE: usize = 4096;

/// Another OpenID provider.
pub(crate) struct Oidc {
    config: OidcConnector,
    roots: Roots,
    outgoing: Arc<dyn Outgoing>,
    metadata: Mutex<Kept<Metadata>>,
    keys: Mutex<Kept<KeySet>>,
}

/// What was fetched, when, and when that last failed.
struct Kept<T> {
    value: Option<(u64, Arc<T>)>,
    failed: Option<(u64, String)>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            value: None,
            failed: None,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    id_token_signing_alg_values_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
    access_token: Option<String>,
    refresh_token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenError {
    error: String,
}

/// What a login is sent to the other provider with.
pub(super) struct Asking<'a> {
    pub(super) state: &'a str,
    pub(super) nonce: &'a str,
    pub(super) verifier: &'a str,
    pub(super) offline: bool,
    /// The application wants the person to log in anew.
    pub(super) login: bool,
}

impl Oidc {
    pub(super) fn new(config: OidcConnector, outgoing: Arc<dyn Outgoing>) -> Result<Self, String> {
        let mut pem = Vec::new();
        for root in &config.root_cas {
            let read = std::fs::read(root);
            let read = read.or_else(|error| STANDARD.decode(root).map_err(|_| error));
            pem.extend(read.map_err(|error| format!("`rootCAs`: `{root}`: {error}"))?);
            pem.push(b'\n');
        }
        Ok(Self {
            config,
            roots: Roots(Arc::new(pem)),
            outgoing,
            metadata: Mutex::default(),
            keys: Mutex::default(),
        })
    }

    /// Where a browser is sent.
    pub(super) async fn location(&self, asking: &Asking<'_>, now: u64) -> Result<String, Trouble> {
        let metadata = self.metadata(now).await?;
        let config = &self.config;
        let scope = ["openid"]
            .into_iter()
            .chain(config.scopes.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ");
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(asking.verifier.as_bytes()));
        let mut query = Serializer::new(String::new());
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &config.client_id)
            .append_pair("redirect_uri", &config.redirect_uri)
            .append_pair("scope", &scope)
            .append_pair("state", asking.state)
            .append_pair("nonce", asking.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if !config.acr_values.is_empty() {
            query.append_pair("acr_values", &config.acr_values.join(" "));
        }
        let mut prompt = Vec::new();
        if asking.offline {
            query.append_pair("access_type", "offline");
            prompt.extend(Some(config.prompt_type.as_str()).filter(|prompt| !prompt.is_empty()));
        }
        if asking.login && !prompt.contains(&"login") {
            prompt.push("login");
        }
        if !prompt.is_empty() {
            query.append_pair("prompt", &prompt.join(" "));
        }
        let endpoint = &metadata.authorization_endpoint;
        let separator = if endpoint.contains('?') { '&' } else { '?' };
        Ok(format!("{endpoint}{separator}{}", query.finish()))
    }

    /// Whether a response to a browser is of this provider, by its `iss`.
    pub(super) async fn is_answer(&self, iss: Option<&str>, now: u64) -> Result<bool, Trouble> {
        match iss {
            Some(iss) => Ok(iss == self.config.expected_issuer),
            None => {
                let metadata = self.metadata(now).await?;
                Ok(!metadata.authorization_response_iss_parameter_supported)
            }
        }
    }

    /// Redeems a code: who logged in there.
    pub(super) async fn redeem(
        &self,
        code: &str,
        verifier: &str,
        nonce: &str,
        now: u64,
    ) -> Result<Identity, Trouble> {
        if code.len() > MAX_CODE {
            return Err(Trouble::Unusable("the code is too long".into()));
        }
        let params = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.config.redirect_uri),
            ("code_verifier", verifier),
        ];
        let tokens = self.tokens(&params, now).await?;
        let Some(id_token) = &tokens.id_token else {
            return Err(Trouble::Unusable("there is no ID token".into()));
        };
        let claims = self.verified(id_token, now).await?;
        if claims.get("nonce").and_then(Value::as_str) != Some(nonce) {
            return Err(Trouble::Unusable("the ID token has another `nonce`".into()));
        }
        self.is_strong(claims.get("acr"))?;
        self.identity(claims, &tokens, now).await
    }

    /// Asks again, with a refresh token.
    pub(super) async fn refresh(&self, token: &str, now: u64) -> Result<Identity, Trouble> {
        let params = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let tokens = self.tokens(&params, now).await?;
        let claims = match &tokens.id_token {
            Some(id_token) => {
                let claims = self.verified(id_token, now).await?;
                // How strong the login was is known from then, and need not be said again.
                if let Some(acr) = claims.get("acr") {
                    self.is_strong(Some(acr))?;
                }
                claims
            }
            // None is due here (section 12.2).
            None if self.config.get_user_info => Map::new(),
            None => {
                let text = "there is no ID token for a refresh token: set `getUserInfo`";
                return Err(Trouble::Unusable(text.into()));
            }
        };
        let mut identity = self.identity(claims, &tokens, now).await?;
        // One that is not replaced stays.
        identity.again.get_or_insert(Again::Token(token.to_owned()));
        Ok(identity)
    }

    /// Whose an ID token is that somebody brings, and when it ends.
    pub(crate) async fn subject_token(
        &self,
        token: &str,
        now: u64,
    ) -> Result<(Identity, u64), Trouble> {
        let claims = self.verified(token, now).await?;
        self.is_strong(claims.get("acr"))?;
        let end = claims.get("exp").and_then(Value::as_u64).unwrap_or(now);
        Ok((claims::identity(&self.config, &claims)?, end))
    }

    /// Whether a login was as strong as `acrValues` say. They are a wish, and a provider may do less (section 3.1.2.1).
    fn is_strong(&self, acr: Option<&Value>) -> Result<(), Trouble> {
        let wanted = &self.config.acr_values;
        let found = acr.and_then(Value::as_str);
        if wanted.is_empty() || found.is_some_and(|acr| wanted.iter().any(|one| one == acr)) {
            return Ok(());
        }
        let found = match found {
            None => "has no `acr`".to_owned(),
            Some(acr) => {
                let shown = acr.chars().filter(char::is_ascii_graphic).take(50);
                format!("has `acr` `{}`", shown.collect::<String>())
            }
        };
        let wanted = wanted.join("`, `");
        Err(Trouble::Weak(format!(
            "the ID token {found}: expected one of `acrValues`, `{wanted}`"
        )))
    }

    async fn identity(
        &self,
        mut claims: Map<String, Value>,
        tokens: &Tokens,
        now: u64,
    ) -> Result<Identity, Trouble> {
        if self.config.get_user_info {
            let more = self.user_info(tokens, now).await?;
            // Section 5.3.2: they are about the same person, or worth nothing.
            if claims.contains_key("sub") && claims.get("sub") != more.get("sub") {
                let text = "userinfo is about another person than the ID token";
                return Err(Trouble::Unusable(text.into()));
            }
            claims.extend(more);
        }
        let mut identity = claims::identity(&self.config, &claims)?;
        identity.again = tokens.refresh_token.clone().map(Again::Token);
        Ok(identity)
    }

    async fn user_info(&self, tokens: &Tokens, now: u64) -> Result<Map<String, Value>, Trouble> {
        let metadata = self.metadata(now).await?;
        let (Some(endpoint), Some(token)) = (&metadata.userinfo_endpoint, &tokens.access_token)
        else {
            let text = "`getUserInfo` is set, and there is no userinfo endpoint or access token";
            return Err(Trouble::Unusable(text.into()));
        };
        let request = Request::get(endpoint)
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, format!("Bearer {token}"));
        let reply = self.send(request, Bytes::new()).await?;
        match reply.status() {
            StatusCode::OK => json(&reply, "userinfo"),
            status => Err(Trouble::Refused(format!("userinfo answers {status}"))),
        }
    }

    async fn tokens(&self, params: &[(&str, &str)], now: u64) -> Result<Tokens, Trouble> {
        let metadata = self.metadata(now).await?;
        let config = &self.config;
        let secret = config.client_secret.expose();
        let mut params = params.to_vec();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&metadata.token_endpoint)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if config.secret_in_form || secret.is_empty() {
            params.push(("client_id", &config.client_id));
            if !secret.is_empty() {
                params.push(("client_secret", secret));
            }
        } else {
            // RFC 6749 section 2.3.1: both are encoded as in a form.
            let encode = |text: &str| {
                url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
            };
            let pair = format!("{}:{}", encode(&config.client_id), encode(secret));
            request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
        }
        let form = Serializer::new(String::new()).extend_pairs(params).finish();
        let reply = self.send(request, form.into()).await?;
        if reply.status() == StatusCode::OK {
            return json(&reply, "the token endpoint");
        }
        let error: TokenError = serde_json::from_slice(reply.body()).unwrap_or_default();
        let said: String = error
            .error
            .chars()
            .filter(|c| c.is_ascii_graphic())
            .take(50)
            .collect();
        let text = format!("the token endpoint answers {}: `{said}`", reply.status());
        if reply.status().is_server_error() || reply.status() == StatusCode::TOO_MANY_REQUESTS {
            Err(Trouble::Unreachable(text))
        } else {
            Err(Trouble::Refused(text))
        }
    }

    /// The claims of an ID token that is of this provider, for us, and valid now.
    async fn verified(&self, token: &str, now: u64) -> Result<Map<String, Value>, Trouble> {
        let metadata = self.metadata(now).await?;
        let algorithms = &metadata.id_token_signing_alg_values_supported;
        let keys = self.keys(&metadata, now, false).await?;
        let claims = match keys.verify(token, algorithms) {
            Err(Unsigned::UnknownKey) => {
                let keys = self.keys(&metadata, now, true).await?;
                keys.verify(token, algorithms)
            }
            other => other,
        };
        let claims = claims.map_err(|error| Trouble::Unusable(error.to_string()))?;
        self.check(&claims, now)
            .map_err(|what| Trouble::Unusable(format!("the ID token does not hold: {what}")))?;
        Ok(claims)
    }

    fn check(&self, claims: &Map<String, Value>, now: u64) -> Result<(), &'static str> {
        let config = &self.config;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        // Numbers may have a fraction (RFC 7519 section 2).
        let time = |name: &str| claims.get(name).and_then(Value::as_f64);
        if text("iss") != Some(&config.expected_issuer) {
            return Err("`iss` is of another provider");
        }
        let audiences: Vec<&str> = match claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if !audiences.contains(&config.client_id.as_str()) {
            return Err("`aud` is of another client");
        }
        if text("azp").is_some_and(|azp| azp != config.client_id) {
            return Err("`azp` is of another client");
        }
        let now = now as f64;
        let leeway = LEEWAY as f64;
        if time("exp").is_none_or(|exp| exp + leeway <= now) {
            return Err("`exp` is over");
        }
        if time("iat").is_none_or(|iat| iat > now + leeway) {
            return Err("`iat` is missing or to come");
        }
        if time("nbf").is_some_and(|nbf| nbf > now + leeway) {
            return Err("`nbf` is to come");
        }
        if text("sub").is_none_or(str::is_empty) {
            return Err("`sub` is missing");
        }
        Ok(())
    }

    /// What discovery says; what it said before, while it fails.
    async fn metadata(&self, now: u64) -> Result<Arc<Metadata>, Trouble> {
        let mut kept = self.metadata.lock().await;
        if let Some((at, value)) = &kept.value
            && is_recent(*at, METADATA_SECONDS, now)
        {
            return Ok(Arc::clone(value));
        }
        if let Some((at, error)) = &kept.failed
            && is_recent(*at, PAUSE, now)
        {
            return match &kept.value {
                Some((_, value)) => Ok(Arc::clone(value)),
                None => Err(Trouble::Unreachable(error.clone())),
            };
        }
        match self.discover().await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                kept.failed = None;
                kept.value = Some((now, Arc::clone(&metadata)));
                Ok(metadata)
            }
            Err(error) => {
                tracing::warn!(issuer = self.config.issuer, %error, "discovery failed");
                kept.failed = Some((now, error.to_string()));
                match &kept.value {
                    Some((_, value)) => Ok(Arc::clone(value)),
                    None => Err(error),
                }
            }
        }
    }

    async fn discover(&self) -> Result<Metadata, Trouble> {
        let config = &self.config;
        let issuer = config.issuer.trim_end_matches('/');
        let uri = format!("{issuer}/.well-known/openid-configuration");
        let request = Request::get(uri).header(ACCEPT, "application/json");
        let reply = self.send(request, Bytes::new()).await?;
        if reply.status() != StatusCode::OK {
            let text = format!("discovery answers {}", reply.status());
            return Err(Trouble::Unreachable(text));
        }
        let mut metadata: Metadata = json(&reply, "discovery")?;
        if metadata.issuer != config.expected_issuer {
            let text = format!(
                "discovery says `issuer` `{}`: expected `{}`",
                metadata.issuer, config.expected_issuer
            );
            return Err(Trouble::Unusable(text));
        }
        let overrides = &config.overrides;
        for (ours, theirs) in [
            (
                &overrides.authorization,
                &mut metadata.authorization_endpoint,
            ),
            (&overrides.token, &mut metadata.token_endpoint),
            (&overrides.jwks, &mut metadata.jwks_uri),
        ] {
            if !ours.is_empty() {
                theirs.clone_from(ours);
            }
        }
        if !overrides.user_info.is_empty() {
            metadata.userinfo_endpoint = Some(overrides.user_info.clone());
        }
        let secure = config.issuer.starts_with("https:");
        let endpoints = [
            &metadata.authorization_endpoint,
            &metadata.token_endpoint,
            &metadata.jwks_uri,
        ];
        for endpoint in endpoints.into_iter().chain(&metadata.userinfo_endpoint) {
            let url = url::Url::parse(endpoint);
            let sound = url.is_ok_and(|url| {
                url.fragment().is_none()
                    && (url.scheme() == "https" || !secure && url.scheme() == "http")
            });
            if !sound || !endpoint.bytes().all(|byte| byte.is_ascii_graphic()) {
                let text = format!("discovery says `{endpoint}`: expected an https URL");
                return Err(Trouble::Unusable(text));
            }
        }
        Ok(metadata)
    }

    /// The provider's keys; with `again` those of this moment, unless they were just fetched.
    async fn keys(
        &self,
        metadata: &Metadata,
        now: u64,
        again: bool,
    ) -> Result<Arc<KeySet>, Trouble> {
        let mut kept = self.keys.lock().await;
        let counts = if again { KEYS_AGAIN } else { KEYS_SECONDS };
        if let Some((at, keys)) = &kept.value
            && is_recent(*at, counts, now)
        {
            return Ok(Arc::clone(keys));
        }
        if let Some((at, error)) = &kept.failed
            && is_recent(*at, PAUSE, now)
        {
            return Err(Trouble::Unreachable(error.clone()));
        }
        let fetched = async {
            let request = Request::get(&metadata.jwks_uri).header(ACCEPT, "application/json");
            let reply = self.send(request, Bytes::new()).await?;
            match (reply.status(), KeySet::parse(reply.body())) {
                (StatusCode::OK, Some(keys)) => Ok(Arc::new(keys)),
                (status, _) => Err(Trouble::Unreachable(format!(
                    "the keys are not there: the answer is {status}"
                ))),
            }
        };
        match fetched.await {
            Ok(keys) => {
                kept.failed = None;
                kept.value = Some((now, Arc::clone(&keys)));
                Ok(keys)
            }
            Err(error) => {
                kept.failed = Some((now, error.to_string()));
                Err(error)
            }
        }
    }

    async fn send(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Response<Bytes>, Trouble> {
        let unreachable = |error: String| Trouble::Unreachable(error);
        let request = request
            .body(body)
            .map_err(|error| unreachable(error.to_string()))?;
        let sent = self.outgoing.send(request, self.roots.clone()).await;
        sent.map_err(unreachable)
    }
}

fn json<T: DeserializeOwned>(reply: &Response<Bytes>, what: &str) -> Result<T, Trouble> {
    serde_json::from_slice(reply.body())
        .map_err(|_| Trouble::Unusable(format!("{what} answers something else than expected")))
}
