//! The provider as the program holds it.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, HeaderValue, ORIGIN};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::accounts::Account;
use crate::admin::Admin;
use crate::backchannel::Outgoing;
use crate::clock::{Clock, system_clock, unix_seconds};
use crate::config::{ClientIp, DexConfig};
use crate::connectors::{ConnectorPath, Connectors};
use crate::device::Polls;
use crate::discovery;
use crate::forms::is_form;
use crate::guesses::{self, Guesses};
use crate::keys::{Algorithm, Keys, Rotation};
use crate::limit::LoginLimits;
use crate::machines::SubjectTokens;
use crate::pages::problem;
use crate::params::Params;
use crate::password::Passwords;
use crate::reply::{Reply, cached, not_yet, oauth_error, reply};
use crate::seal::{SECRET_LENGTH, Sealer};
use crate::storage::{Batch, Storage, StorageError};
use crate::theme::{Look, Theme};
use crate::user::LOCAL;

/// The discovery document, below the issuer's path.
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// The key set, below the issuer's path.
const KEYS: &str = "/keys";
/// Longest body that [`Provider::router`] reads.
const MAX_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(20);

/// The embedded OpenID provider. Clones share everything.
///
/// A changed configuration is a new provider over the same [`Storage`]: keys, logins under way and
/// refresh tokens go on.
#[derive(Clone)]
pub struct Provider {
    inner: Arc<Inner>,
}

/// What the program decides, not Dex's configuration.
#[derive(Clone)]
pub struct Options {
    /// Where the time comes from.
    pub clock: Clock,
    /// The account of an example, shown on the login page as `Example account`.
    pub login_hint: Option<String>,
    /// Who posts logout tokens to applications; without it, there is no back-channel logout.
    pub outgoing: Option<Arc<dyn Outgoing>>,
    /// Who knows the tokens that may be exchanged; without it, none may.
    pub subjects: Option<Arc<dyn SubjectTokens>>,
    /// Who is told of people whose logins ended before their time.
    pub sign_outs: Option<Arc<dyn SignOuts>>,
    /// How the pages look, beside what the configuration says.
    pub theme: Theme,
}

/// Somebody who keeps sessions of their own for people that logged in here.
pub trait SignOuts: Send + Sync {
    /// The person with this e-mail address is logged out everywhere, from now on.
    fn signed_out<'a>(&'a self, email: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: system_clock(),
            login_hint: None,
            outgoing: None,
            subjects: None,
            theme: Theme::default(),
            sign_outs: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("login_hint", &self.login_hint)
            .finish_non_exhaustive()
    }
}

/// Where a request comes from, for the login limits. The program puts it into the extensions of
/// the request, as it knows which proxies to believe; requests without share one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source(pub IpAddr);

/// Why a provider does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A key in the database is damaged.
    #[error("the provider's `{name}` key in the database is damaged")]
    Key {
        /// Which key.
        name: &'static str,
    },
    /// A connector cannot be used.
    #[error("connector `{id}`: {message}")]
    Connector {
        /// Its id.
        id: String,
        /// What is wrong.
        message: String,
    },
    /// A key could not be made.
    #[error("no `{name}` key can be made on this system")]
    Generate {
        /// Which key.
        name: &'static str,
    },
    /// The pages cannot be made of the theme.
    #[error("the theme cannot be shown")]
    Theme,
}

/// What the endpoints share.
pub(crate) struct Inner {
    pub(crate) config: DexConfig,
    pub(crate) connectors: Connectors,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) keys: Keys,
    discovery: Reply,
    pub(crate) limits: LoginLimits,
    pub(crate) passwords: Passwords,
    pub(crate) look: Look,
    pub(crate) login_hint: Option<String>,
    pub(crate) outgoing: Option<Arc<dyn Outgoing>>,
    pub(crate) subjects: Option<Arc<dyn SubjectTokens>>,
    pub(crate) sign_outs: Option<Arc<dyn SignOuts>>,
    pub(crate) device_limits: LoginLimits,
    pub(crate) second_limits: LoginLimits,
    pub(crate) guesses: Guesses,
    pub(crate) polls: Polls,
    storage: Storage,
    pub(crate) clock: Clock,
}

impl Provider {
    /// Opens a provider; the first time it begins to make its keys, for which requests that need one wait.
    ///
    /// # Errors
    /// When the database fails or holds keys that are damaged.
    pub fn open(config: DexConfig, storage: Storage, options: Options) -> Result<Self, OpenError> {
        let now = unix_seconds(&options.clock);
        for (_, account) in storage.all::<Account>()? {
            if account.is_shadowed(&config) {
                tracing::warn!(
                    user = account.email,
                    "a user of this address or id is in `staticPasswords`: the one in the \
                     database does not count"
                );
            }
        }
        let (limits, second_limits) = (LoginLimits::new(), LoginLimits::of_second_factors());
        guesses::restore(&storage, &limits, &second_limits, now)?;
        let inner = Inner {
            connectors: Connectors::open(&config, options.outgoing.as_ref())?,
            sealer: Arc::new(open_sealer(&storage)?),
            keys: Keys::open(&storage, rotation(&config), Arc::clone(&options.clock))?,
            discovery: cached(
                "application/json",
                discovery::document(&config, options.outgoing.is_some()),
            ),
            limits,
            passwords: Passwords::new(),
            look: Look::new(&config.frontend, &options.theme).ok_or(OpenError::Theme)?,
            login_hint: options.login_hint,
            outgoing: options.outgoing,
            subjects: options.subjects,
            sign_outs: options.sign_outs,
            device_limits: LoginLimits::new(),
            second_limits,
            guesses: Guesses::default(),
            polls: Polls::default(),
            clock: options.clock,
            config,
            storage,
        };
        let inner = Arc::new(inner);
        if !inner.keys.is_settled() {
            Keys::make_first(&inner, |inner| (&inner.keys, &inner.storage))
                .map_err(|_| OpenError::Generate { name: "signing" })?;
        }
        Ok(Self { inner })
    }

    /// The configuration it was opened with.
    #[must_use]
    pub fn config(&self) -> &DexConfig {
        &self.inner.config
    }

    /// What its operator can do with users while it runs.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::of(&self.inner)
    }

    /// The JWK set that `/keys` answers. At the first start it holds the thread until the keys are made: not for
    /// one that answers requests.
    #[must_use]
    pub fn jwks(&self) -> Bytes {
        loop {
            if let Some(published) = self.inner.keys.published() {
                return published.into_body();
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// How many hashes of passwords have been computed.
    #[must_use]
    pub fn password_checks(&self) -> u64 {
        self.inner.passwords.runs()
    }

    /// Answers one request. Paths outside the issuer's are a 404.
    ///
    /// Must run on a tokio runtime: password checks and the database use its blocking threads.
    pub async fn handle(&self, mut request: Request<Bytes>) -> Response<Bytes> {
        let inner = &self.inner;
        if let Some(reply) = inner.prepared(&request) {
            return reply;
        }
        inner.find_source(&mut request);
        let head = request.method() == Method::HEAD;
        let cors = &inner.config.cors;
        let path = request.uri().path().to_owned();
        let path = path
            .strip_prefix(inner.config.issuer.path())
            .unwrap_or_default();
        let origin = request.headers().get(ORIGIN).cloned();
        let mut reply = match cors.preflight(path, &request) {
            Some(reply) => reply,
            // On the heap: what it may have to remember is large, and would be moved with each request, small ones too.
            None => Box::pin(inner.route(request)).await,
        };
        cors.share(path, origin.as_ref(), &mut reply);
        if head {
            *reply.body_mut() = Bytes::new();
        }
        reply
    }

    /// The provider as an axum router over [`Self::handle`]; bodies end at 64 KiB.
    pub fn router(&self) -> axum::Router {
        let provider = self.clone();
        axum::Router::new().fallback(move |request: axum::extract::Request| {
            let provider = provider.clone();
            async move {
                provider
                    .handle_body(request)
                    .await
                    .map(axum::body::Body::from)
            }
        })
    }

    /// [`Self::handle`] for a body that is still to be read: 64 KiB at most, within 20 seconds.
    pub async fn handle_body<B>(&self, request: Request<B>) -> Response<Bytes>
    where
        B: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        if request.body().is_end_stream()
            && let Some(reply) = self.inner.prepared(&request)
        {
            return reply;
        }
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect();
        let (status, detail) = match tokio::time::timeout(BODY_TIME, body).await {
            Ok(Ok(body)) => {
                let request = Request::from_parts(parts, body.to_bytes());
                return self.handle(request).await;
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "expected a body of at most 64 KiB",
            ),
            Ok(Err(_)) => (StatusCode::BAD_REQUEST, "the body did not arrive whole"),
            Err(_) => (StatusCode::REQUEST_TIMEOUT, "the body took too long"),
        };
        let base = self.inner.config.issuer.path();
        let path = parts.uri.path().strip_prefix(base);
        let reply = match path.is_some_and(is_for_programs) {
            true => oauth_error(status, "invalid_request", detail),
            false if status == StatusCode::PAYLOAD_TOO_LARGE => {
                problem(status, |w| &w.too_large, |w| &w.too_large_text, detail)
            }
            false => problem(status, |w| &w.form_bad, |w| &w.form_bad_text, detail),
        };
        self.inner
            .show(&Request::from_parts(parts, Bytes::new()), reply)
    }
}

/// What seals and names whatever leaves the provider: of a key in the database, made the first
/// time.
pub(crate) fn open_sealer(storage: &Storage) -> Result<Sealer, OpenError> {
    let sealing = storage.key_or_insert("sealing", || {
        let mut secret = [0; SECRET_LENGTH];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| StorageError::Random)?;
        Ok::<_, OpenError>(secret.to_vec())
    })?;
    Sealer::new(&sealing).ok_or(OpenError::Key { name: "sealing" })
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("issuer", &self.inner.config.issuer.url())
            .finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn now(&self) -> u64 {
        unix_seconds(&self.clock)
    }

    /// Runs `work` and waits until it is on the disk; `None` when it failed, which is in the log.
    pub(crate) async fn write<R: Send + 'static>(
        &self,
        work: impl Fn(&mut Batch<'_>) -> Result<R, StorageError> + Send + 'static,
    ) -> Option<R> {
        logged(self.storage.write(work).await)
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Looks something up; `None` when that failed, which is in the log.
    pub(crate) fn read<R>(
        &self,
        look: impl FnOnce(&Storage) -> Result<R, StorageError>,
    ) -> Option<R> {
        logged(look(&self.storage))
    }

    /// Hands over to the next signing key when it is time, beside the requests.
    fn tend_keys(self: &Arc<Self>) {
        let behind = self.keys.is_behind(&self.storage);
        if !self.keys.is_due(self.now()) && !behind {
            return;
        }
        let inner = Arc::clone(self);
        tokio::task::spawn_blocking(move || match inner.keys.rotate(&inner.storage) {
            Ok(true) => tracing::info!("the identity provider's signing keys were rotated"),
            Ok(false) => {}
            Err(error) => {
                inner.keys.retry(inner.now());
                tracing::error!(%error, "the signing keys could not be rotated");
            }
        });
    }

    /// The answers that every relying party asks for all the time and that are the same for all: made once, and
    /// copied without looking at anything else of the request.
    fn prepared<B>(self: &Arc<Self>, request: &Request<B>) -> Option<Reply> {
        if request.method() != Method::GET {
            return None;
        }
        let path = request.uri().path();
        let path = path.strip_prefix(self.config.issuer.path())?;
        let mut reply = match path {
            DISCOVERY => self.discovery.clone(),
            KEYS => self.keys.published()?,
            _ => return None,
        };
        self.tend_keys();
        let origin = request.headers().get(ORIGIN);
        self.config.cors.share(path, origin, &mut reply);
        Some(reply)
    }

    /// Whom a request comes from, where proxies say so that are believed.
    fn find_source(&self, request: &mut Request<Bytes>) {
        let found = |rule: &ClientIp| {
            let peer = request.extensions().get::<Source>()?;
            Some(Source(rule.client(peer.0, request.headers())))
        };
        if let Some(source) = self.config.client_ip.as_ref().and_then(found) {
            request.extensions_mut().insert(source);
        }
    }

    /// Endpoints that answer also before there is a signing key.
    fn needs_no_key(&self, path: &str) -> bool {
        let path = path.strip_prefix(self.config.issuer.path());
        matches!(path, Some(DISCOVERY | "/healthz" | "/robots.txt"))
    }

    async fn route(self: &Arc<Self>, request: Request<Bytes>) -> Reply {
        if !self.needs_no_key(request.uri().path()) {
            self.keys.settled().await;
        }
        self.tend_keys();
        let answer = self.answer(&request);
        let reply = self.on_current_state(&request, answer).await;
        self.show(&request, reply)
    }

    async fn answer(self: &Arc<Self>, request: &Request<Bytes>) -> Reply {
        let path = request.uri().path().to_owned();
        let Some(path) = path.strip_prefix(self.config.issuer.path()) else {
            return not_found();
        };
        let query = request
            .uri()
            .query()
            .unwrap_or_default()
            .as_bytes()
            .to_vec();
        let source = request.extensions().get::<Source>().map(|source| source.0);
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        let post = request.method() == Method::POST;
        let sealed = || {
            let params = Params::parse(&query).ok()?;
            params.get("req").ok()?.map(str::to_owned)
        };
        match path {
            DISCOVERY if get => self.discovery.clone(),
            KEYS if get => self.keys.published().unwrap_or_else(not_yet),
            "/healthz" if get => reply(
                StatusCode::OK,
                "text/plain; charset=utf-8",
                "Health check passed",
            ),
            "/robots.txt" if get => reply(
                StatusCode::OK,
                "text/plain; charset=utf-8",
                "User-agent: *\nDisallow: /\n",
            ),
            "/auth" if get => self.start(request, &query, None).await,
            "/auth" if post && is_form(request) => self.start(request, request.body(), None).await,
            "/auth" if post => problem(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                |w| &w.refused,
                |w| &w.refused_method,
                "expected `application/x-www-form-urlencoded`",
            ),
            "/auth/local" | "/auth/local/login" if get || post => match sealed() {
                Some(req) if get => self.login_form(request, &req),
                Some(req) => self.login(request, &req, source).await,
                // Dex starts a login with a chosen connector at `/auth/{connector}`.
                None => self.start(request, &query, Some(LOCAL)).await,
            },
            "/callback" if get => self.callback(request, None).await,
            "/approval" if get => self.approval_form(request, &sealed().unwrap_or_default()),
            "/approval" if post => self.approve(request, &sealed().unwrap_or_default()).await,
            "/setup" if get || post => self.setup(request).await,
            "/auth/second" if get => self.second_form(request, &sealed().unwrap_or_default()),
            "/auth/second" if post => {
                let sealed = sealed().unwrap_or_default();
                self.second(request, &sealed, source).await
            }
            "/auth/enrol" if get => self.enrol_form(request, &sealed().unwrap_or_default()),
            "/auth/enrol" if post => {
                let sealed = sealed().unwrap_or_default();
                self.enrol(request, &sealed, source).await
            }
            "/auth/enrolled" if post => self.enrolled(request, &sealed().unwrap_or_default()).await,
            path if is_account(path) && (get || post) => self.account(request, path, source).await,
            "/logout" if (get || post) && self.config.sessions.is_some() => {
                self.logout(request).await
            }
            "/token" | "/device/token" if post => self.token(request).await,
            "/token/introspect" if post => either(self.introspect(request)),
            "/token/revoke" if post => either(self.revoke(request).await),
            "/device/code" if post => either(self.device_code(request, source).await),
            "/device" if get => self.device_form(request, &query),
            "/device/auth/verify_code" if post => self.device_start(request, source).await,
            "/userinfo" if get || post => self.userinfo(request),
            DISCOVERY | KEYS | "/healthz" => wrong_method("GET, HEAD"),
            "/callback" => wrong_method("GET, HEAD"),
            "/auth" | "/auth/local" | "/auth/local/login" | "/approval" | "/setup" => {
                wrong_method("GET, HEAD, POST")
            }
            "/auth/enrolled" => wrong_method("POST"),
            path if matches!(path, "/auth/second" | "/auth/enrol") || is_account(path) => {
                wrong_method("GET, HEAD, POST")
            }
            "/logout" if self.config.sessions.is_some() => wrong_method("GET, HEAD, POST"),
            "/device" => wrong_method("GET, HEAD"),
            "/device/auth/verify_code" => wrong_method("POST"),
            path if is_for_programs(path) => {
                let (allowed, text) = match path {
                    "/userinfo" => ("GET, HEAD, POST", "expected GET or POST"),
                    _ => ("POST", "expected POST"),
                };
                let status = StatusCode::METHOD_NOT_ALLOWED;
                let mut reply = oauth_error(status, "invalid_request", text);
                let headers = reply.headers_mut();
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
                reply
            }
            path => match ConnectorPath::parse(path) {
                Some(at) => {
                    self.at_connector(request, at, &query, sealed(), source)
                        .await
                }
                None => not_found(),
            },
        }
    }
}

/// What became of a look at the storage, or nothing and a line in the log.
fn logged<R>(result: Result<R, StorageError>) -> Option<R> {
    result
        .inspect_err(|error| tracing::error!(%error, "the identity provider's storage failed"))
        .ok()
}

fn rotation(config: &DexConfig) -> Rotation {
    let mut algorithms = vec![Algorithm::Rs256];
    if !algorithms.contains(&config.signing) {
        algorithms.push(config.signing);
    }
    for client in &config.clients {
        for algorithm in [client.signing, client.access_signing] {
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
    }
    Rotation {
        period: config.expiry.signing_keys,
        lifetime: config.expiry.id_tokens,
        algorithms,
    }
}

fn either(result: Result<Reply, Reply>) -> Reply {
    match result {
        Ok(reply) | Err(reply) => reply,
    }
}

/// Endpoints that nobody looks at: their errors are JSON.
pub(crate) fn is_for_programs(path: &str) -> bool {
    matches!(
        path,
        "/token"
            | "/token/introspect"
            | "/token/revoke"
            | "/userinfo"
            | "/device/code"
            | "/device/token"
    )
}

fn is_account(path: &str) -> bool {
    matches!(
        path,
        "/account" | "/account/password" | "/account/app" | "/account/passkey"
    )
}

pub(crate) fn not_found() -> Reply {
    problem(
        StatusCode::NOT_FOUND,
        |w| &w.missing,
        |w| &w.missing_text,
        "",
    )
}

pub(crate) fn wrong_method(allowed: &'static str) -> Reply {
    let mut reply = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        |w| &w.wrong_method,
        |w| &w.wrong_method_text,
        "",
    );
    reply
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    reply
}
