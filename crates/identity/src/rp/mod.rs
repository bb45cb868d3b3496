//! The OpenID Connect relying party: code flow with PKCE, state and nonce
//! (OpenID Connect Core §3.1, RFC 7636, RFC 9700).

mod backchannel;
mod callback;
mod local_path;
mod login;
mod logins;
mod logout;
mod provider;
mod refresh;
pub(crate) mod reply;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use policy::{Person, Reply, RequestHead};

use crate::clock::{Clock, now};
use crate::cookie::{Attributes, SecureCookies};
use crate::http_client::HttpClient;
use crate::jose::Unverified;
use crate::keyfile::{self, KeyFileError};
use crate::keys::ApiKeys;
use crate::person::IdentityClaims;
use crate::seal::Sealer;
use crate::seen::Seen;
use crate::session::{Session, Sessions};
pub use backchannel::BACKCHANNEL_LOGOUT_PATH;
use backchannel::Used;
pub use login::LOGIN_COOKIES;
pub use logins::{Hosts, Logins};
pub(crate) use logout::header_sessions;
pub use provider::authorization_endpoint;
use provider::{Provider, ProviderError};
use secret::Secret;

/// Where the provider sends the browser back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectUri {
    /// Sent to the provider as it stands; Kubeflow registers a path alone
    /// (`/login/oidc`, `/oauth2/callback`), which Dex resolves for the browser.
    Exactly(String),
    /// This path on the host that the request was for: one client on several
    /// hosts, all registered.
    OnRequestHost(String),
}

/// Settings of the relying party.
#[derive(Clone, Debug)]
pub struct RpConfig {
    /// `iss`, and where discovery starts.
    pub issuer: String,
    /// Authorization endpoint as the *browser* reaches it; may be relative
    /// (`/dex/auth`), since the issuer's host is often known inside only. That
    /// of the provider's discovery document if absent.
    pub auth_url: Option<String>,
    /// Client id.
    pub client_id: String,
    /// Client secret; empty for a public client.
    pub client_secret: Secret,
    /// Redirect URI.
    pub redirect_uri: RedirectUri,
    /// Scopes; `openid` is added where missing.
    pub scopes: Vec<String>,
    /// Claims that say who somebody is.
    pub claims: IdentityClaims,
    /// Audiences of bearer tokens that are accepted besides the client id.
    pub bearer_audiences: Vec<String>,
    /// Where a browser goes after logout.
    pub after_logout_url: String,
    /// A logout goes on at the provider, which ends its session too and sends the
    /// browser there (OpenID Connect RP-Initiated Logout 1.0), if it can.
    pub logout_at_provider: bool,
    /// Sessions that do not say whose they are are this one's: those of a
    /// program that knew one login only.
    pub takes_unnamed_sessions: bool,
    /// Paths that end a session.
    pub logout_paths: Vec<String>,
    /// Whether cookies are `Secure`.
    pub secure_cookies: SecureCookies,
    /// Name of the session cookie, [`SESSION_COOKIE`](crate::SESSION_COOKIE) unless another program's is taken over.
    pub session_cookie: String,
}

/// Logs people in.
pub struct RelyingParty {
    config: RpConfig,
    callback_path: String,
    fingerprint: String,
    provider: Provider,
    sessions: Sessions,
    sealer: Sealer,
    api_keys: Option<ApiKeys>,
    /// Logout tokens that were used.
    logouts: Used,
    clock: Clock,
}

/// The relying party cannot work as configured.
#[derive(Debug, thiserror::Error)]
pub enum RpError {
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A setting.
    #[error("login provider: `{field}` is `{value}`, expected {expected}")]
    Setting {
        /// Which.
        field: &'static str,
        /// As given.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// Cryptography refused to work.
    #[error(transparent)]
    Crypto(#[from] crate::random::NoRandomness),
}

impl fmt::Debug for RelyingParty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelyingParty")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl RelyingParty {
    /// A relying party whose key is in `folder`. Talks to nobody yet.
    ///
    /// # Errors
    /// When a setting makes no sense or the key file is not usable.
    pub fn new(
        config: RpConfig,
        http: Arc<dyn HttpClient>,
        sessions: Sessions,
        folder: &Path,
        clock: Clock,
    ) -> Result<Self, RpError> {
        let callback_path = callback_path(&config.redirect_uri)?;
        let auth_url = config.auth_url.iter().map(|url| ("auth_url", url));
        let all = auth_url.chain([("after_logout_url", &config.after_logout_url)]);
        for (field, value) in all {
            let absolute = value.starts_with("https://") || value.starts_with("http://");
            let usable = value.bytes().all(|byte| byte.is_ascii_graphic());
            if !usable || !(absolute || local_path::LocalPath::parse(value).is_some()) {
                return Err(RpError::Setting {
                    field,
                    value: value.clone(),
                    expected: "a path or an http(s) URL",
                });
            }
        }
        let key = keyfile::symmetric(&folder.join("login.key"))?;
        // What is sealed for one provider is worth nothing at another.
        let purpose = format!("relying party {} at {}", config.client_id, config.issuer);
        Ok(Self {
            provider: Provider::new(config.issuer.clone(), http, Arc::clone(&clock)),
            callback_path,
            fingerprint: format!(
                "{}\n{}\n{:?}\n{:?}\n",
                config.issuer, config.client_id, config.bearer_audiences, config.claims
            ),
            config,
            sessions,
            sealer: Sealer::new(&key, &purpose)?,
            api_keys: None,
            logouts: Used::default(),
            clock,
        })
    }

    /// Tells API keys of the groups that their people have at each login.
    #[must_use]
    pub fn with_api_keys(self, keys: ApiKeys) -> Self {
        Self {
            api_keys: Some(keys),
            ..self
        }
    }

    /// `iss` of the provider.
    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }

    /// What decides whether a token is good, for keys of caches.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The path that the provider sends browsers back to.
    pub fn callback_path(&self) -> &str {
        &self.callback_path
    }

    /// Sends the browser to the provider; it comes back to what it asked for.
    /// Stores nothing.
    pub fn begin_login(&self, head: &RequestHead) -> Reply {
        let seen = Seen::from(head);
        self.begin(&seen, &seen.path_and_query())
    }

    /// Sends the browser to the provider; it comes back to `return_to`, or to
    /// `/` if that is not a path of this site.
    pub fn begin_login_to(&self, head: &RequestHead, return_to: &str) -> Reply {
        self.begin(&Seen::from(head), return_to)
    }

    /// The provider sent the browser back: a session, or a page that says why not.
    pub async fn callback(&self, head: &RequestHead) -> Reply {
        self.called_back(&Seen::from(head)).await
    }

    /// Ends the session. POST answers as oidc-authservice does (201 and
    /// `{"afterLogoutURL": …}`), GET redirects; a request that another site
    /// may have caused gets a page that asks first, or 403.
    pub async fn logout(&self, head: &RequestHead) -> Reply {
        self.log_out(&Seen::from(head)).await
    }

    /// Takes a logout token (OpenID Connect Back-Channel Logout 1.0) that the
    /// provider posts to [`BACKCHANNEL_LOGOUT_PATH`]. `body` is the form.
    pub async fn backchannel_logout(&self, head: &RequestHead, body: &[u8]) -> Reply {
        self.told_of_logout(&Seen::from(head), body).await
    }

    /// Answers the paths of the login machinery: callback, logout,
    /// `/oauth2/start`, `/oauth2/sign_in`, `/oauth2/auth`, `/oauth2/userinfo`.
    /// `None` for every other path.
    pub async fn handle(&self, head: &RequestHead) -> Option<Reply> {
        self.serve(&Seen::from(head)).await
    }

    /// Whose token this is, and when it expires.
    pub(crate) async fn bearer(
        &self,
        token: &Unverified<'_>,
    ) -> Result<(Person, u64), ProviderError> {
        let claims = self.provider.verify(token).await?;
        let expires = claims.check(&self.config.issuer, now(&self.clock))?;
        let accepted = || {
            std::iter::once(&self.config.client_id)
                .chain(&self.config.bearer_audiences)
                .map(String::as_str)
        };
        claims.check_audience(accepted())?;
        Ok((self.config.claims.person(&claims)?, expires))
    }

    /// Whether a session is one of this login, and no other provider's or client's.
    pub(crate) fn made(&self, session: &Session) -> bool {
        match (&session.issuer, &session.client) {
            (Some(issuer), Some(client)) => {
                **issuer == self.config.issuer && **client == self.config.client_id
            }
            (issuer, _) => {
                self.config.takes_unnamed_sessions
                    && issuer
                        .as_deref()
                        .is_none_or(|issuer| issuer == self.config.issuer)
            }
        }
    }

    pub(crate) fn secure(&self, seen: &Seen<'_>) -> bool {
        seen.https || self.config.secure_cookies == SecureCookies::Always
    }

    fn session_cookie(&self, seen: &Seen<'_>) -> Attributes<'_> {
        Attributes {
            name: &self.config.session_cookie,
            path: "/",
            secure: self.secure(seen),
        }
    }
}

fn callback_path(uri: &RedirectUri) -> Result<String, RpError> {
    let wrong = |value: &str| RpError::Setting {
        field: "redirect_uri",
        value: value.to_owned(),
        expected: "a path or an http(s) URL without query",
    };
    let path = match uri {
        RedirectUri::OnRequestHost(path) => path.clone(),
        RedirectUri::Exactly(uri) if uri.starts_with('/') => uri.clone(),
        RedirectUri::Exactly(uri) => url::Url::parse(uri)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none())
            .ok_or_else(|| wrong(uri))?
            .path()
            .to_owned(),
    };
    match local_path::LocalPath::parse(&path) {
        Some(_) if !path.contains('?') => Ok(path),
        _ => Err(wrong(&path)),
    }
}
