//! A provider with a clock that tests move, a browser with cookies, and a relying party.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::form_urlencoded::{Serializer, parse};

use super::log;
use crate::{
    Clock, DexConfig, Options, Outgoing, Provider, Roots, SignOuts, Source, Storage, Subject,
    SubjectTokens,
};

pub(super) const PASSWORD: &str = "correct horse";
pub(super) const SECRET: &str = "client secret/+%";
pub(super) const VERIFIER: &str = "0123456789-0123456789-0123456789-0123456789";
pub(super) const START: u64 = 1_800_000_000;

static HASH: LazyLock<String> = LazyLock::new(|| bcrypt::hash(PASSWORD, 10).unwrap());

pub(super) fn config(extra: &str) -> String {
    format!(
        r#"
issuer: http://dex.auth.svc.cluster.local:5556/dex
enablePasswordDB: true
staticPasswords:
- {{email: User@example.com, hash: "{hash}", username: user, userID: "15841185641784", groups: [admins, staff]}}
- {{email: other@example.com, hash: "{hash}", username: other, userID: "2"}}
staticClients:
- {{id: platform, secret: "{SECRET}", redirectURIs: ["/oauth2/callback", "https://app.example/cb?x=1"], name: 'Platform <b>'}}
- {{id: peer, secret: other, redirectURIs: ["https://peer.example/cb"], name: Peer, trustedPeers: [platform]}}
- {{id: cli, public: true, name: Command line}}
{extra}"#,
        hash = *HASH
    )
}

pub(super) const SKIP_APPROVAL: &str = "oauth2: {skipApprovalScreen: true}\n";

pub(super) struct Bed {
    pub(super) provider: Provider,
    pub(super) storage: Storage,
    pub(super) folder: tempfile::TempDir,
    /// What was posted to applications.
    pub(super) posts: Posts,
    time: Arc<AtomicU64>,
}

/// Answers every post with 200 and remembers it.
#[derive(Clone, Default)]
pub(super) struct Posts(pub(super) Arc<Mutex<Vec<(String, String)>>>);

/// A cluster whose tokens are `token of NAMESPACE:NAME` and end 600 seconds after the start.
struct Accounts;

impl SubjectTokens for Accounts {
    fn verify(
        &self,
        token: String,
    ) -> std::pin::Pin<Box<dyn Future<Output = Option<Subject>> + Send + '_>> {
        let subject = token.strip_prefix("token of ").map(|name| Subject {
            name: format!("system:serviceaccount:{name}"),
            expires_at: Some(START + 600),
        });
        Box::pin(async move { subject })
    }
}

impl Outgoing for Posts {
    fn send(
        &self,
        request: Request<Bytes>,
        _: Roots,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>> {
        let form = String::from_utf8(request.body().to_vec()).unwrap();
        self.0
            .lock()
            .unwrap()
            .push((request.uri().to_string(), form));
        Box::pin(async { Ok(Response::new(Bytes::new())) })
    }
}

impl Bed {
    pub(super) fn new() -> Self {
        Self::with(&config(SKIP_APPROVAL))
    }

    /// Told of people who are signed out.
    pub(super) fn with_sign_outs(yaml: &str, sign_outs: Arc<dyn SignOuts>) -> Self {
        let mut bed = Self::with(yaml);
        bed.reload(yaml, sign_outs);
        bed
    }

    /// Another configuration on the same storage.
    pub(super) fn reload(&mut self, yaml: &str, sign_outs: Arc<dyn SignOuts>) {
        let options = Options {
            sign_outs: Some(sign_outs),
            ..options(&self.time, &self.posts)
        };
        let (config, _) = DexConfig::parse(yaml, &|_| None).unwrap();
        self.provider = Provider::open(config, self.storage.clone(), options).unwrap();
    }

    /// With another network than the one that takes every post.
    pub(super) fn with_outgoing(yaml: &str, outgoing: Arc<dyn Outgoing>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicU64::new(START));
        let storage = Storage::open(folder.path()).unwrap();
        let posts = Posts::default();
        let options = Options {
            outgoing: Some(outgoing),
            ..options(&time, &posts)
        };
        let provider = Provider::open(parse_config(yaml), storage.clone(), options).unwrap();
        drop(provider.jwks());
        Self {
            provider,
            storage,
            folder,
            posts,
            time,
        }
    }

    pub(super) fn with(yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicU64::new(START));
        let storage = Storage::open(folder.path()).unwrap();
        let posts = Posts::default();
        let provider = open(yaml, &storage, &time, &posts);
        Self {
            provider,
            storage,
            folder,
            posts,
            time,
        }
    }

    /// The same folder and clock after a restart.
    pub(super) fn restart(self, yaml: &str) -> Self {
        let Self {
            provider,
            storage,
            folder,
            posts,
            time,
        } = self;
        drop((provider, storage));
        let storage = open_again(folder.path());
        let provider = open(yaml, &storage, &time, &posts);
        Self {
            provider,
            storage,
            folder,
            posts,
            time,
        }
    }

    /// The time of the clock, in Unix seconds.
    pub(super) fn now(&self) -> u64 {
        self.time.load(Ordering::Relaxed)
    }

    /// Puts the clock to a time.
    pub(super) fn set(&self, seconds: u64) {
        self.time.store(seconds, Ordering::Relaxed);
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.time.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(super) async fn get(&self, path: &str) -> Response<Bytes> {
        self.send(Request::get(path).body(Bytes::new()).unwrap())
            .await
    }

    pub(super) async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        log::sent(&request);
        let reply = self.provider.handle(request).await;
        log::received(&reply);
        reply
    }

    /// A whole login; the code.
    pub(super) async fn code(&self, request: &[(&str, &str)]) -> String {
        let mut browser = Browser::default();
        let page = browser.start(self, request).await;
        let reply = browser
            .log_in(self, &page, "user@example.com", PASSWORD)
            .await;
        assert_eq!(reply.status(), StatusCode::SEE_OTHER, "{}", text(&reply));
        param(&location(&reply), "code").expect("a code")
    }

    pub(super) async fn token(&self, params: &[(&str, &str)]) -> (StatusCode, Value) {
        let basic = STANDARD.encode("platform:client+secret%2F%2B%25");
        let request = form("/dex/token", params);
        let (mut parts, body) = request.into_parts();
        parts
            .headers
            .insert("authorization", format!("Basic {basic}").parse().unwrap());
        let reply = self.send(Request::from_parts(parts, body)).await;
        (reply.status(), json(&reply))
    }

    pub(super) async fn redeem(&self, code: &str) -> (StatusCode, Value) {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", "/oauth2/callback"),
            ("code_verifier", VERIFIER),
        ])
        .await
    }

    pub(super) async fn userinfo(&self, token: &str) -> Response<Bytes> {
        let request =
            Request::get("/dex/userinfo").header("authorization", format!("Bearer {token}"));
        self.send(request.body(Bytes::new()).unwrap()).await
    }
}

/// What is done beside requests may hold the database a moment longer.
fn open_again(folder: &std::path::Path) -> Storage {
    for _ in 0..5000 {
        if let Ok(storage) = Storage::open(folder) {
            return storage;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Storage::open(folder).unwrap()
}

/// A provider that has its keys.
fn open(yaml: &str, storage: &Storage, time: &Arc<AtomicU64>, posts: &Posts) -> Provider {
    let options = options(time, posts);
    let provider = Provider::open(parse_config(yaml), storage.clone(), options).unwrap();
    drop(provider.jwks());
    provider
}

fn parse_config(yaml: &str) -> DexConfig {
    let env = |name: &str| (name == "UP_SECRET").then(|| "of the other".to_owned());
    let (config, warnings) = DexConfig::parse(yaml, &env).unwrap();
    assert_eq!(warnings, []);
    config
}

fn options(time: &Arc<AtomicU64>, posts: &Posts) -> Options {
    log::watch();
    log::hold(PASSWORD);
    let time = Arc::clone(time);
    let clock: Clock =
        Arc::new(move || UNIX_EPOCH + Duration::from_secs(time.load(Ordering::Relaxed)));
    Options {
        clock,
        login_hint: Some("a <hint>".to_owned()),
        outgoing: Some(Arc::new(posts.clone())),
        subjects: Some(Arc::new(Accounts)),
        ..Options::default()
    }
}

/// Keeps cookies.
#[derive(Default, Clone)]
pub(super) struct Browser {
    pub(super) cookies: BTreeMap<String, String>,
    pub(super) source: Option<Source>,
}

impl Browser {
    pub(super) async fn send(&mut self, bed: &Bed, request: Request<Bytes>) -> Response<Bytes> {
        let (mut parts, body) = request.into_parts();
        let mut cookies = "a=b".to_owned();
        for (name, value) in &self.cookies {
            cookies.push_str(&format!("; {name}={value}"));
        }
        parts.headers.insert("cookie", cookies.parse().unwrap());
        parts.extensions.extend(
            self.source
                .map(|source| {
                    let mut extensions = http::Extensions::new();
                    extensions.insert(source);
                    extensions
                })
                .unwrap_or_default(),
        );
        let reply = bed.send(Request::from_parts(parts, body)).await;
        for cookie in reply.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }

    /// `/auth`, wherever it leads.
    pub(super) async fn ask(&mut self, bed: &Bed, request: &[(&str, &str)]) -> Response<Bytes> {
        self.visit(bed, &format!("/dex/auth?{}", encode(request)))
            .await
    }

    pub(super) async fn visit(&mut self, bed: &Bed, uri: &str) -> Response<Bytes> {
        self.send(bed, Request::get(uri).body(Bytes::new()).unwrap())
            .await
    }

    /// `/auth`; the address of the login page.
    pub(super) async fn start(&mut self, bed: &Bed, request: &[(&str, &str)]) -> String {
        let reply = self.ask(bed, request).await;
        assert_eq!(reply.status(), StatusCode::FOUND, "{}", text(&reply));
        let page = location(&reply);
        assert!(page.starts_with("/dex/auth/local?req="), "{page}");
        page
    }

    pub(super) async fn log_in(
        &mut self,
        bed: &Bed,
        page: &str,
        login: &str,
        password: &str,
    ) -> Response<Bytes> {
        self.send(bed, form(page, &[("login", login), ("password", password)]))
            .await
    }
}

/// The usual authorization request of the platform, with PKCE.
pub(super) fn request() -> Vec<(&'static str, &'static str)> {
    static CHALLENGE: LazyLock<String> =
        LazyLock::new(|| URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER)));
    vec![
        ("client_id", "platform"),
        ("redirect_uri", "/oauth2/callback"),
        ("response_type", "code"),
        ("scope", "openid profile email groups offline_access"),
        ("state", "st&te"),
        ("nonce", "n-1"),
        ("code_challenge", &CHALLENGE),
        ("code_challenge_method", "S256"),
    ]
}

/// The usual request with `name` set to `value`, or without it.
pub(super) fn request_but(
    name: &'static str,
    value: &'static str,
) -> Vec<(&'static str, &'static str)> {
    let mut params = request();
    params.retain(|(key, _)| *key != name);
    if !value.is_empty() {
        params.push((name, value));
    }
    params
}

pub(super) fn form(path: &str, params: &[(&str, &str)]) -> Request<Bytes> {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .body(encode(params).into())
        .unwrap()
}

pub(super) fn encode(params: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(params).finish()
}

pub(super) fn location(reply: &Response<Bytes>) -> String {
    reply.headers()["location"].to_str().unwrap().to_owned()
}

pub(super) fn param(location: &str, name: &str) -> Option<String> {
    let (_, query) = location.split_once('?')?;
    parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

pub(super) fn text(reply: &Response<Bytes>) -> String {
    String::from_utf8(reply.body().to_vec()).unwrap()
}

pub(super) fn json(reply: &Response<Bytes>) -> Value {
    serde_json::from_slice(reply.body()).unwrap()
}
