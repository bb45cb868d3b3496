//! The authorization endpoint: `/auth` (RFC 6749 section 4.1.1, RFC 7636 section 4.3, OpenID
//! Connect Core 1.0 section 3.1.2.1).

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::config::{Client, DexConfig, GrantType, Pkce, PromptNone};
use crate::factors::Strength;
use crate::pages::problem;
use crate::params::{Params, Repeated};
use crate::provider::Inner;
use crate::reply::{Reply, description_text, redirect, redirect_fragment, refused};
use crate::requested::{ClaimsParameter, Requested};
use crate::response_type::ResponseType;
use crate::token::check_scopes;
use crate::words::{Language, Pick};

/// A checked authorization request, as it travels sealed through the login.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuthRequest {
    pub(crate) client_id: String,
    /// What the answer has.
    #[serde(default)]
    pub(crate) response: ResponseType,
    pub(crate) redirect_uri: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) state: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) code_challenge: Option<String>,
    #[serde(default)]
    pub(crate) prompt: Prompt,
    /// How old, in seconds, the last password may be.
    #[serde(default)]
    pub(crate) max_age: Option<u64>,
    #[serde(default)]
    pub(crate) login_hint: Option<String>,
    /// The claims that `claims` names.
    #[serde(default)]
    pub(crate) requested: Requested,
    /// `sub` that `claims` or the ID token of `id_token_hint` has: nobody else may log in.
    #[serde(default)]
    pub(crate) subject: Option<String>,
    /// What `claims` says that the login has to be.
    #[serde(default)]
    pub(crate) strength: Option<Strength>,
    /// `connector_id`: the only way to log in that is wanted.
    #[serde(default)]
    pub(crate) connector: Option<String>,
    /// The code on the screen of the device that this is for; it has no redirect URI.
    #[serde(default)]
    pub(crate) device: Option<String>,
    /// The person goes to the page of their account; there is no client.
    #[serde(default)]
    pub(crate) account: bool,
    /// The first of `ui_locales` that is spoken here.
    #[serde(default)]
    pub(crate) language: Option<Language>,
}

/// `prompt`: what the person is asked whatever is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prompt {
    pub(crate) none: bool,
    pub(crate) login: bool,
    pub(crate) consent: bool,
    pub(crate) select_account: bool,
}

/// The login is not what was asked for (OpenID Connect Core Error Code
/// unmet_authentication_requirements 1.0).
pub(crate) const UNMET: &str = "unmet_authentication_requirements";

/// Longest values of parameters that travel on; together they fit into one `Location`.
const MAX_STATE: usize = 4096;
const MAX_NONCE: usize = 512;
const MAX_SCOPE: usize = 1024;
const MAX_REDIRECT: usize = 2048;
const MAX_HINT: usize = 254;
const MAX_CONNECTOR: usize = 100;

impl AuthRequest {
    /// Checks a request; the error is the answer. Nothing is ever sent to a URI that the client
    /// has not registered.
    pub(crate) fn parse(
        inner: &Inner,
        query: &[u8],
        connector: Option<&str>,
    ) -> Result<Self, Reply> {
        let params = Params::parse(query)
            .map_err(|error| refuse(|w| &w.refused_unreadable, &error.to_string()))?;
        let (client, redirect_uri) = identify(inner, &params)?;
        let state = match params.get("state") {
            Ok(state) if state.is_none_or(|state| state.len() <= MAX_STATE) => state,
            _ => {
                return Err(refuse(
                    |w| &w.refused_invalid,
                    "`state` is repeated or too long",
                ));
            }
        };
        let asked = params.get("response_type").ok().flatten();
        let response = asked
            .and_then(|text| ResponseType::asked(text, inner.config.response_types))
            .unwrap_or_default();
        let back = Back {
            redirect_uri,
            state,
            response,
        };
        let mut auth = check(inner, &client, &params, &back)
            .map_err(|(error, description)| back.error(&inner.config, error, &description))?;
        match (connector, &auth.connector) {
            (Some(id), Some(asked)) if id != asked => {
                let text = "`connector_id` is another one than the address names";
                return Err(refuse(|w| &w.refused_invalid, text));
            }
            (Some(id), _) => auth.connector = Some(id.to_owned()),
            (None, _) => {}
        }
        Ok(auth)
    }

    /// Refuses on behalf of the user or the provider.
    pub(crate) fn error(&self, config: &DexConfig, error: &str, description: &str) -> Reply {
        if self.device.is_some() {
            return problem(
                StatusCode::BAD_REQUEST,
                |w| &w.device_refused,
                |w| &w.device_refused_text,
                description,
            );
        }
        if self.account {
            let (title, text): (Pick, Pick) = (|w| &w.login_invalid, |w| &w.login_invalid_text);
            return problem(StatusCode::BAD_REQUEST, title, text, description);
        }
        self.back().error(config, error, description)
    }

    /// Sends what was asked for to the client.
    pub(crate) fn success(&self, config: &DexConfig, params: Vec<(&str, &str)>) -> Reply {
        self.back().send(config, params)
    }

    fn back(&self) -> Back<'_> {
        Back {
            redirect_uri: &self.redirect_uri,
            state: self.state.as_deref(),
            response: self.response,
        }
    }

    /// The query that makes the same request again.
    pub(crate) fn query(&self) -> String {
        let scope = self.scopes.join(" ");
        let response_type = self.response.to_string();
        let prompt = self.prompt.to_string();
        let max_age = self.max_age.map(|seconds| seconds.to_string());
        let claims = self.requested.parameter(self.strength);
        let mut params = vec![
            ("response_type", &*response_type),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("scope", &scope),
        ];
        let optional = [
            ("state", self.state.as_deref()),
            ("nonce", self.nonce.as_deref()),
            ("code_challenge", self.code_challenge.as_deref()),
            (
                "code_challenge_method",
                self.code_challenge.as_deref().map(|_| "S256"),
            ),
            ("prompt", Some(&*prompt).filter(|text| !text.is_empty())),
            ("max_age", max_age.as_deref()),
            ("login_hint", self.login_hint.as_deref()),
            ("connector_id", self.connector.as_deref()),
            ("ui_locales", self.language.map(Language::tag)),
            ("claims", claims.as_deref()),
        ];
        params.extend(
            optional
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(params)
            .finish()
    }
}

impl Prompt {
    fn parse(text: &str) -> Result<Self, OauthError> {
        let mut prompt = Self::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            match word {
                "none" => prompt.none = true,
                "login" => prompt.login = true,
                "consent" => prompt.consent = true,
                "select_account" => prompt.select_account = true,
                _ => {
                    let text = "expected `prompt` of none, login, consent and select_account";
                    return Err(("invalid_request", text.to_owned()));
                }
            }
        }
        if prompt.none && (prompt.login || prompt.consent || prompt.select_account) {
            let text = "`prompt` is `none` and something else".to_owned();
            return Err(("invalid_request", text));
        }
        Ok(prompt)
    }
}

impl std::fmt::Display for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<&str> = [
            (self.none, "none"),
            (self.login, "login"),
            (self.consent, "consent"),
            (self.select_account, "select_account"),
        ]
        .into_iter()
        .filter_map(|(set, word)| set.then_some(word))
        .collect();
        f.write_str(&words.join(" "))
    }
}

/// The client and a redirect URI of its own: before these are known, errors are a page.
fn identify<'a>(inner: &Inner, params: &'a Params) -> Result<(Client, &'a str), Reply> {
    let repeated = |error: Repeated| refuse(|w| &w.refused_invalid, &error.to_string());
    let Some(id) = params.get("client_id").map_err(repeated)? else {
        return Err(refuse(|w| &w.refused_nameless, "`client_id` is missing"));
    };
    let Some(client) = inner.known_client(id) else {
        let detail = format!("`client_id` is `{}`: no such client", excerpt(id));
        return Err(refuse(|w| &w.refused_unknown, &detail));
    };
    let Some(uri) = params.get("redirect_uri").map_err(repeated)? else {
        return Err(refuse(|w| &w.refused_nowhere, "`redirect_uri` is missing"));
    };
    if uri.len() > MAX_REDIRECT || !client.allows_redirect(uri) {
        let detail = format!(
            "`redirect_uri` is `{}`: expected one of the `redirectURIs` of client `{id}`",
            excerpt(uri)
        );
        return Err(refuse(|w| &w.refused_elsewhere, &detail));
    }
    Ok((client, uri))
}

type OauthError = (&'static str, String);

fn check(
    inner: &Inner,
    client: &Client,
    params: &Params,
    back: &Back<'_>,
) -> Result<AuthRequest, OauthError> {
    let get = |name: &'static str| {
        params
            .get(name)
            .map_err(|error| ("invalid_request", error.to_string()))
    };
    for (name, error) in [
        ("request", "request_not_supported"),
        ("request_uri", "request_uri_not_supported"),
        ("registration", "registration_not_supported"),
    ] {
        if get(name)?.is_some() {
            return Err((error, format!("`{name}` is not supported")));
        }
    }
    let offered = inner.config.response_types;
    let response = match get("response_type")? {
        Some(text) => ResponseType::asked(text, offered).ok_or_else(|| {
            let all = offered.combinations().join("`, `");
            ("unsupported_response_type", format!("expected `{all}`"))
        })?,
        None => return Err(("invalid_request", "`response_type` is missing".to_owned())),
    };
    let mode = if response.has_tokens() {
        "fragment"
    } else {
        "query"
    };
    if get("response_mode")?.is_some_and(|asked| asked != mode) {
        let text = format!("expected `response_mode` `{mode}`");
        return Err(("invalid_request", text));
    }
    for (wanted, kind) in [
        (response.code, GrantType::AuthorizationCode),
        (response.has_tokens(), GrantType::Implicit),
    ] {
        if wanted && !client.allows_grant(kind) {
            let text = format!("this client may not use `{}`", kind.name());
            return Err(("unauthorized_client", text));
        }
    }
    let mut scopes = scopes(get("scope")?.unwrap_or_default())?;
    check_scopes(inner, client, &scopes).map_err(|description| ("invalid_scope", description))?;
    drop_offline(client, &mut scopes);
    let nonce = get("nonce")?;
    if nonce.is_some_and(|nonce| nonce.len() > MAX_NONCE) {
        return Err(("invalid_request", "`nonce` is too long".to_owned()));
    }
    // OpenID Connect Core 1.0 sections 3.2.2.1 and 3.3.2.11.
    if nonce.is_none() && response.id_token {
        return Err(("invalid_request", "`nonce` is missing".to_owned()));
    }
    let code_challenge = challenge(get("code_challenge")?, get("code_challenge_method")?)?;
    if code_challenge.is_none() && response.code && client.pkce == Pkce::Required {
        return Err(("invalid_request", "`code_challenge` is missing".to_owned()));
    }
    let mut prompt = Prompt::parse(get("prompt")?.unwrap_or_default())?;
    if client.prompt_none == PromptNone::Ignore {
        prompt.none = false;
    }
    let max_age = match get("max_age")? {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            let text = "expected `max_age` in whole seconds".to_owned();
            ("invalid_request", text)
        })?),
    };
    let claims = match get("claims")? {
        None => ClaimsParameter::default(),
        Some(text) => {
            ClaimsParameter::parse(text).map_err(|text| ("invalid_request", text.to_owned()))?
        }
    };
    let strength = claims.demanded.transpose().map_err(|()| {
        let text = "`acr` is never one of those here: expected `1` or `2`".to_owned();
        (UNMET, text)
    })?;
    // One that cannot be read says nothing, as it may be older than the keys that are kept.
    let hinted = get("id_token_hint")?
        .and_then(|token| inner.hint(token))
        .map(|claims| claims.sub);
    let subject = match (claims.subject, hinted) {
        (Some(one), Some(other)) if one != other => {
            let text = "`claims` and `id_token_hint` name two people".to_owned();
            return Err(("invalid_request", text));
        }
        (one, other) => one.or(other),
    };
    Ok(AuthRequest {
        client_id: client.id.clone(),
        response,
        redirect_uri: back.redirect_uri.to_owned(),
        scopes,
        state: back.state.map(str::to_owned),
        nonce: nonce.map(str::to_owned),
        code_challenge,
        prompt,
        max_age,
        login_hint: get("login_hint")?
            .filter(|hint| hint.len() <= MAX_HINT)
            .map(str::to_owned),
        requested: claims.requested.within(client),
        strength,
        subject,
        connector: get("connector_id")?
            .filter(|id| id.len() <= MAX_CONNECTOR)
            .map(str::to_owned),
        device: None,
        account: false,
        language: get("ui_locales")?.and_then(Language::of_locales),
    })
}

/// The words of `scope`, each once.
pub(crate) fn scopes(text: &str) -> Result<Vec<String>, OauthError> {
    if text.len() > MAX_SCOPE {
        return Err(("invalid_scope", "`scope` is too long".to_owned()));
    }
    let mut scopes: Vec<String> = Vec::new();
    for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    Ok(scopes)
}

/// `offline_access` is passed over for clients without refresh tokens (OpenID Connect Core 1.0 section 11).
pub(crate) fn drop_offline(client: &Client, scopes: &mut Vec<String>) {
    if !client.allows_grant(GrantType::RefreshToken) {
        scopes.retain(|scope| scope != "offline_access");
    }
}

/// S256 only: a missing method means `plain` (RFC 7636 section 4.3), which protects nothing once
/// the request is seen.
pub(crate) fn challenge(
    challenge: Option<&str>,
    method: Option<&str>,
) -> Result<Option<String>, OauthError> {
    match (challenge, method) {
        (None, None) => Ok(None),
        (Some(challenge), Some("S256")) => {
            let valid = challenge.len() == 43
                && challenge
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if !valid {
                let text = "`code_challenge` is not the base64url of a SHA-256".to_owned();
                return Err(("invalid_request", text));
            }
            Ok(Some(challenge.to_owned()))
        }
        (None, Some(_)) => Err(("invalid_request", "`code_challenge` is missing".to_owned())),
        (Some(_), _) => Err((
            "invalid_request",
            "transform algorithm not supported: expected `code_challenge_method` `S256`".to_owned(),
        )),
    }
}

/// The way back to an application.
struct Back<'a> {
    redirect_uri: &'a str,
    state: Option<&'a str>,
    response: ResponseType,
}

impl Back<'_> {
    /// With `iss` against mix-ups (RFC 9207).
    fn send<'a>(&'a self, config: &'a DexConfig, mut params: Vec<(&'a str, &'a str)>) -> Reply {
        params.extend(self.state.map(|state| ("state", state)));
        params.push(("iss", config.issuer.url()));
        let send = match self.response.has_tokens() {
            true => redirect_fragment,
            false => redirect,
        };
        send(StatusCode::SEE_OTHER, self.redirect_uri, &params)
    }

    fn error(&self, config: &DexConfig, error: &str, description: &str) -> Reply {
        let description = description_text(description);
        let params = vec![("error", error), ("error_description", &description)];
        refused(self.send(config, params), error, &description)
    }
}

fn refuse(text: Pick, detail: &str) -> Reply {
    problem(StatusCode::BAD_REQUEST, |w| &w.refused, text, detail)
}

pub(crate) fn excerpt(text: &str) -> String {
    let short: String = text.chars().take(120).collect();
    if short.len() < text.len() {
        format!("{short}…")
    } else {
        short
    }
}
