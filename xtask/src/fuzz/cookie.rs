//! Cookies of sessions, logins and passes: what is changed is nobody's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use bytes::Bytes;
use ext_authz::{Authorizer, Host, KeyRing, PASS_COOKIE, Passes, Settings};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use identity::{
    Clock, HttpClient, HttpError, Identity, IdentityClaims, Jwks, NewSession, Parts, RedirectUri,
    RelyingParty, RpConfig, SESSION_COOKIE, SecureCookies, SessionConfig, Sessions, read_token,
};
use policy::{
    AccessAnswer, AccessCheck, Audience, Caller, Connection, Entrance, Person, Reply, RequestHead,
    Scheme, Snapshot, TokenAnswer, Tokens,
};

use super::Target;
use super::bytes::mutated;
use super::random::Random;
use crate::http::{decoded, encoded};
use crate::shell;

const NOW: u64 = 1_700_000_000;
const ISSUER: &str = "http://dex.example/dex";
const CALLBACK: &str = "/oauth2/callback";

pub(super) struct CookieJars {
    runtime: tokio::runtime::Runtime,
    identity: Identity,
    login: Arc<RelyingParty>,
    provider: Arc<Asked>,
    /// Session ids, with whose they are.
    sessions: Vec<(String, String)>,
    /// `state` of logins that began, each with the cookie of its browser.
    logins: Vec<(String, String)>,
    pass: String,
    pass_keys: Jwks,
    // Its files are there as long as the sessions.
    _folder: tempfile::TempDir,
}

/// The provider: it counts how often somebody comes with a code, and knows none.
#[derive(Default)]
struct Asked(AtomicUsize);

impl HttpClient for Asked {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        let (status, body) = match request.uri().path() {
            "/dex/token" => {
                self.0.fetch_add(1, Ordering::Relaxed);
                (StatusCode::BAD_REQUEST, r#"{"error":"invalid_grant"}"#.to_owned())
            }
            "/dex/keys" => (
                StatusCode::OK,
                r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#.to_owned(),
            ),
            _ => (
                StatusCode::OK,
                serde_json::json!({
                    "issuer": ISSUER,
                    "authorization_endpoint": format!("{ISSUER}/auth"),
                    "token_endpoint": format!("{ISSUER}/token"),
                    "jwks_uri": format!("{ISSUER}/keys"),
                })
                .to_string(),
            ),
        };
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        std::future::ready(Ok(response)).boxed()
    }
}

/// What gives a pass to one person.
struct Giver(Arc<Snapshot>);

fn person(email: &str) -> Person {
    Person {
        email: email.into(),
        subject: "1".into(),
        groups: ["ml".into()].into(),
    }
}

impl Host for Giver {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0)
    }

    fn caller<'a>(&'a self, _: &'a RequestHead, _: Tokens) -> BoxFuture<'a, Caller> {
        std::future::ready(Caller::Session(person("ada@example.com"))).boxed()
    }

    fn login(&self, _: &RequestHead) -> Reply {
        Reply {
            status: StatusCode::FOUND,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    fn login_page<'a>(&'a self, _: &'a RequestHead) -> BoxFuture<'a, Option<Reply>> {
        std::future::ready(None).boxed()
    }

    fn identity_headers(&self, _: &RequestHead, _: &Caller) -> Vec<(HeaderName, HeaderValue)> {
        Vec::new()
    }

    fn access<'a>(&'a self, _: &'a AccessCheck) -> BoxFuture<'a, AccessAnswer> {
        Box::pin(std::future::ready(AccessAnswer::NoServer))
    }

    fn signed_identity(&self, _: &Audience, _: &Caller) -> Option<(HeaderName, HeaderValue)> {
        None
    }

    fn now(&self) -> u64 {
        NOW
    }
}

/// A pass, and the keys that verify it.
fn pass() -> Result<(String, Jwks)> {
    let seed = shell::root().join("examples/seed");
    let read = |name: &str| -> Result<Vec<(Arc<str>, String)>> {
        let text = std::fs::read_to_string(seed.join(name)).with_context(|| name.to_owned())?;
        Ok(vec![(name.into(), text)])
    };
    let layers = [read("cluster.yaml")?, read("sidegate.yaml")?];
    let cluster = resources::parse_layers(&layers).map_err(|errors| anyhow!("{errors}"))?;
    let snapshot = Snapshot::compile(&cluster, &policy::Settings::default());
    let snapshot = snapshot.map_err(|problems| anyhow!("{problems:?}"))?;
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let key = key.and_then(|pair| pair.to_pkcs8v1());
    let key = key.map_err(|_| anyhow!("no key for passes"))?;
    let passes = Passes::new(&[key], 60)?;
    let keys = Jwks::parse(passes.key_set()?.as_bytes());
    let settings = Settings {
        cookies: Vec::new(),
        passes: Some(Arc::new(passes)),
    };
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| anyhow!("no random bytes"))?;
    let ring = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, secret);
    let authorizer = Authorizer::new(
        Arc::new(Giver(Arc::new(snapshot))),
        settings,
        KeyRing::parse(&ring)?,
    );
    let (parts, ()) = Request::get("/external/")
        .header("host", "dash.example.com")
        .body(())?
        .into_parts();
    let answer = authorizer.check_head(parts, ([127, 0, 0, 1], 1).into());
    let answer = answer.now_or_never().context("it waits")?;
    let cookie = answer
        .headers()
        .get(header::SET_COOKIE)
        .context("no pass")?;
    let cookie = cookie.to_str()?.split(';').next().unwrap_or_default();
    let pass = cookie
        .strip_prefix(PASS_COOKIE)
        .and_then(|rest| rest.strip_prefix('='));
    Ok((pass.context("no pass")?.to_owned(), keys))
}

impl CookieJars {
    pub(super) fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let folder = tempfile::tempdir()?;
        let clock: Clock = Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(NOW));
        let sessions = Sessions::open(folder.path(), SessionConfig::default(), clock.clone())?;
        let provider = Arc::new(Asked::default());
        let config = RpConfig {
            issuer: ISSUER.to_owned(),
            auth_url: Some("/dex/auth".to_owned()),
            client_id: "platform".to_owned(),
            client_secret: identity::Secret::new("of-this-installation".to_owned()),
            redirect_uri: RedirectUri::Exactly(CALLBACK.to_owned()),
            scopes: Vec::new(),
            claims: IdentityClaims::default(),
            bearer_audiences: Vec::new(),
            after_logout_url: "/".to_owned(),
            logout_at_provider: false,
            takes_unnamed_sessions: true,
            logout_paths: vec!["/logout".to_owned()],
            secure_cookies: SecureCookies::default(),
            session_cookie: SESSION_COOKIE.to_owned(),
        };
        let http: Arc<dyn HttpClient> = provider.clone();
        let login =
            RelyingParty::new(config, http, sessions.clone(), folder.path(), clock.clone())?;
        let login = Arc::new(login);
        let identity = Identity::new(Parts {
            sessions: sessions.clone(),
            logins: identity::Logins::one(Some(Arc::clone(&login))),
            cluster_issuer: None,
            cluster_api: None,
            issuers: None,
            api_keys: None,
            authservice: identity::AuthserviceConfig::default(),
            oauth2_proxy: identity::Oauth2ProxyConfig::default(),
            clock,
        });
        let mut ids = Vec::new();
        for email in ["ada@example.com", "bob@example.com"] {
            let new = NewSession::of(person(email));
            let id = runtime.block_on(sessions.create(new))?;
            ids.push((id.expose().to_owned(), email.to_owned()));
        }
        let mut logins = Vec::new();
        for _ in 0..3 {
            let reply = login.begin_login(&head("/pipeline", None, &[]));
            let sent = |wanted: HeaderName| {
                let mut headers = reply.headers.iter();
                let found = headers.find(|(name, _)| *name == wanted);
                found.and_then(|(_, value)| value.to_str().ok())
            };
            let state = sent(header::LOCATION).and_then(|to| {
                to.split(['?', '&'])
                    .find_map(|pair| pair.strip_prefix("state="))
            });
            let cookie = sent(header::SET_COOKIE).and_then(|cookie| cookie.split(';').next());
            let (state, cookie) = state.zip(cookie).context("a login that does not begin")?;
            logins.push((decoded(state), cookie.to_owned()));
        }
        let (pass, pass_keys) = pass()?;
        let jars = Self {
            runtime,
            identity,
            login,
            provider,
            sessions: ids,
            logins,
            pass,
            pass_keys,
            _folder: folder,
        };
        // What is changed has to be right to begin with.
        for (id, email) in &jars.sessions {
            let caller = jars.caller(format!("a=1; {SESSION_COOKIE}={id}").as_bytes());
            ensure!(
                caller == Some(email.clone()),
                "a session is nobody's: {caller:?}"
            );
        }
        for (state, cookie) in &jars.logins {
            ensure!(
                jars.redeems(state, cookie.as_bytes()),
                "a login does not end"
            );
        }
        ensure!(jars.opens(&jars.pass), "a pass opens nothing");
        Ok(jars)
    }

    /// Whose session a cookie is.
    fn caller(&self, cookie: &[u8]) -> Option<String> {
        let head = head("/", None, &[cookie]);
        let caller = self.identity.caller(&head, Tokens::SessionOrBearer);
        match self.runtime.block_on(caller) {
            Caller::Session(person) => Some(person.email.to_string()),
            _ => None,
        }
    }

    /// Whether the provider is asked for tokens.
    fn redeems(&self, state: &str, cookie: &[u8]) -> bool {
        let query = format!("code=x&state={}", encoded(state));
        let head = head(CALLBACK, Some(query), &[cookie]);
        let before = self.provider.0.load(Ordering::Relaxed);
        drop(self.runtime.block_on(self.login.callback(&head)));
        self.provider.0.load(Ordering::Relaxed) > before
    }

    /// Whether a gateway lets somebody through with a pass: only by what was signed.
    fn opens(&self, pass: &str) -> bool {
        match read_token(pass, Ok(&self.pass_keys), NOW) {
            TokenAnswer::Read(content) => content.signature.is_none() && content.time.is_none(),
            TokenAnswer::Malformed(_) => false,
        }
    }

    fn made(&self, random: &mut Random) -> Made {
        let changed = |random: &mut Random, text: String| match random.one_in(8) {
            true => text.into_bytes(),
            false => mutated(random, &[text.into_bytes()]),
        };
        match random.below(4) {
            0 | 1 => {
                let mut pairs = Vec::new();
                for _ in 0..=random.below(3) {
                    let pair = match (random.below(4), random.of(&self.sessions)) {
                        (0, _) => random.word(&["a=1", "b", "=", SESSION_COOKIE]).to_owned(),
                        (1, Some((id, _))) => format!("{SESSION_COOKIE}=\"{id}\""),
                        (_, Some((id, _))) => format!("{SESSION_COOKIE}={id}"),
                        _ => String::new(),
                    };
                    pairs.push(pair);
                }
                let joint = random.word(&["; ", ";", ",", " "]);
                Made::Session(changed(random, pairs.join(joint)))
            }
            2 => {
                let state = random.of(&self.logins).map(|(state, _)| state.clone());
                let cookie = random.of(&self.logins).map(|(_, cookie)| cookie.clone());
                let state = changed(random, state.unwrap_or_default());
                let state = String::from_utf8_lossy(&state).into_owned();
                Made::Login(state, changed(random, cookie.unwrap_or_default()))
            }
            _ => {
                let pass = changed(random, self.pass.clone());
                Made::Pass(String::from_utf8_lossy(&pass).into_owned())
            }
        }
    }
}

#[derive(Debug)]
enum Made {
    Session(Vec<u8>),
    Login(String, Vec<u8>),
    Pass(String),
}

impl Target for CookieJars {
    fn run(&self, random: &mut Random) -> Result<&'static str, String> {
        match self.made(random) {
            Made::Session(cookie) => {
                let Some(email) = self.caller(&cookie) else {
                    return Ok("nobody's session");
                };
                let theirs = self.sessions.iter().any(|(id, owner)| {
                    let named = format!("{SESSION_COOKIE}={id}");
                    let quoted = format!("{SESSION_COOKIE}=\"{id}");
                    *owner == email && (holds(&cookie, &named) || holds(&cookie, &quoted))
                });
                match theirs {
                    true => Ok("a session"),
                    false => Err(format!("a session of {email} without its cookie")),
                }
            }
            Made::Login(state, cookie) => {
                if !self.redeems(&state, &cookie) {
                    return Ok("nobody's login");
                }
                let mut logins = self.logins.iter();
                let value = |own: &str| own.split_once('=').map(|(_, value)| value.to_owned());
                let is_own = |own: &str| value(own).is_some_and(|value| holds(&cookie, &value));
                match logins.any(|(known, own)| *known == state && is_own(own)) {
                    true => Ok("a login"),
                    false => Err("a login goes on in another browser, or another one".to_owned()),
                }
            }
            Made::Pass(pass) => {
                if !self.opens(&pass) {
                    return Ok("no pass");
                }
                let said = |pass: &str| pass.rsplit_once('.').map(|(signed, _)| signed.to_owned());
                match said(&pass) == said(&self.pass) {
                    true => Ok("a pass"),
                    false => Err("a pass opens that was not given".to_owned()),
                }
            }
        }
    }

    fn input(&self, random: &mut Random) -> String {
        match self.made(random) {
            Made::Session(cookie) => format!("session {:?}", String::from_utf8_lossy(&cookie)),
            Made::Login(state, cookie) => {
                format!("login {state:?} {:?}", String::from_utf8_lossy(&cookie))
            }
            Made::Pass(pass) => format!("pass {pass:?}"),
        }
    }
}

fn holds(cookie: &[u8], text: &str) -> bool {
    cookie
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

fn head(path: &str, query: Option<String>, cookies: &[&[u8]]) -> RequestHead {
    let mut headers = HeaderMap::new();
    for cookie in cookies {
        // What no header can carry does not arrive.
        if let Ok(value) = HeaderValue::from_bytes(cookie) {
            headers.append(header::COOKIE, value);
        }
    }
    RequestHead {
        entrance: Entrance::External,
        method: Method::GET,
        scheme: Scheme::Http,
        authority: "dash.example.com".to_owned(),
        path: path.to_owned(),
        query,
        headers,
        peer: ([10, 0, 0, 1], 1).into(),
        connection: Connection::default(),
        workload: None,
    }
}
