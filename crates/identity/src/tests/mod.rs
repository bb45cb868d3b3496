//! The crate as the program uses it, against a provider in memory.

#![expect(clippy::type_complexity, reason = "tables of cases")]

mod authservice;
mod backchannel;
mod caller;
mod certification;
mod flow;
mod id_token;
mod log;
mod logout;
mod provider;
mod refresh;
mod stand_in;
mod tokens;
mod userinfo;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use policy::{Check, CheckId, Entrance, Reply, RequestHead, Scheme};
use tempfile::TempDir;

use crate::*;
use provider::{CLIENT, FakeProvider, ISSUER, SECRET};

const START: u64 = 1_800_000_000;

/// One installation.
struct World {
    folder: TempDir,
    provider: FakeProvider,
    identity: Identity,
}

fn rp_config() -> RpConfig {
    RpConfig {
        issuer: ISSUER.to_owned(),
        auth_url: Some("/dex/auth".to_owned()),
        client_id: CLIENT.to_owned(),
        client_secret: Secret::new(SECRET),
        redirect_uri: RedirectUri::Exactly("/login/oidc".to_owned()),
        scopes: ["profile", "email", "groups"].map(str::to_owned).to_vec(),
        claims: IdentityClaims::default(),
        bearer_audiences: vec!["kserve".to_owned()],
        after_logout_url: "/".to_owned(),
        logout_at_provider: false,
        takes_unnamed_sessions: true,
        logout_paths: vec![
            "/authservice/logout".to_owned(),
            "/oauth2/sign_out".to_owned(),
        ],
        secure_cookies: SecureCookies::WhenHttps,
        session_cookie: SESSION_COOKIE.to_owned(),
    }
}

impl World {
    fn new() -> Self {
        Self::with(rp_config())
    }

    fn with(config: RpConfig) -> Self {
        let provider = FakeProvider::default();
        provider.now.store(START, Ordering::SeqCst);
        provider.state.lock().unwrap().published = vec![0];
        let folder = tempfile::tempdir().unwrap();
        let identity = open(&folder, &provider, config);
        Self {
            folder,
            provider,
            identity,
        }
    }

    /// The program ends without a word and starts again.
    fn restarted(self) -> Self {
        let Self {
            folder,
            provider,
            identity,
        } = self;
        drop(identity);
        let identity = open(&folder, &provider, rp_config());
        Self {
            folder,
            provider,
            identity,
        }
    }

    fn advance(&self, seconds: u64) {
        self.provider.now.fetch_add(seconds, Ordering::SeqCst);
    }

    async fn bearer(&self, token: &str) -> Result<policy::TokenHolder, policy::TokenError> {
        let login = self.identity.parts.logins.rest();
        self.identity.bearer(token, login).await
    }

    fn login(&self) -> &RelyingParty {
        self.identity.relying_party().unwrap()
    }

    /// A whole login that begins at `path`; the last answer.
    async fn log_in(&self, browser: &mut Browser, path: &str) -> Reply {
        let reply = self.login().begin_login(&browser.get(path));
        browser.take(&reply);
        let back = self.provider.log_in(location(&reply));
        let reply = self.login().callback(&browser.get(&back)).await;
        browser.take(&reply);
        reply
    }
}

fn open(folder: &TempDir, provider: &FakeProvider, config: RpConfig) -> Identity {
    let now = Arc::clone(&provider.now);
    let clock: Clock =
        Arc::new(move || UNIX_EPOCH + Duration::from_secs(now.load(Ordering::SeqCst)));
    let folder = folder.path();
    let sessions = Sessions::open(folder, SessionConfig::default(), Arc::clone(&clock)).unwrap();
    let login = RelyingParty::new(
        config,
        Arc::new(provider.clone()),
        sessions.clone(),
        folder,
        Arc::clone(&clock),
    )
    .unwrap();
    let config = ClusterIssuerConfig {
        key: ClusterKey::Es256,
        ..Default::default()
    };
    Identity::new(Parts {
        sessions,
        logins: Logins::one(Some(Arc::new(login))),
        cluster_issuer: Some(Arc::new(ClusterIssuer::open(folder, config).unwrap())),
        cluster_api: None,
        issuers: None,
        api_keys: None,
        authservice: AuthserviceConfig::default(),
        oauth2_proxy: Oauth2ProxyConfig::default(),
        clock,
    })
}

/// A browser with its cookies.
#[derive(Clone, Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
    https: bool,
}

impl Browser {
    fn get(&self, target: &str) -> RequestHead {
        let mut head = request(Method::GET, target, &[]);
        if self.https {
            head.scheme = Scheme::Https;
        }
        if !self.cookies.is_empty() {
            head.headers.insert("cookie", self.header());
        }
        head
    }

    fn header(&self) -> HeaderValue {
        let pairs = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ").parse().unwrap()
    }

    /// Keeps the cookies of an answer, as RFC 6265 says.
    fn take(&mut self, reply: &Reply) {
        for cookie in set_cookies(reply) {
            let (pair, attributes) = cookie.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    fn session(&self) -> Option<&str> {
        self.cookies.get(SESSION_COOKIE).map(String::as_str)
    }
}

fn request(method: Method, target: &str, headers: &[(&str, &str)]) -> RequestHead {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    RequestHead {
        entrance: Entrance::External,
        method,
        scheme: Scheme::Http,
        authority: "kubeflow.example:8080".to_owned(),
        path: path.to_owned(),
        query,
        headers: header_map(headers),
        peer: "192.0.2.1:4000".parse().unwrap(),
        connection: policy::Connection::default(),
        workload: None,
    }
}

fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

fn check(method: Method, target: &str, headers: &[(&str, &str)]) -> Check {
    Check {
        grpc: false,
        id: CheckId {
            hop: 0,
            provider: 0,
        },
        provider: "authservice".into(),
        settings: Arc::default(),
        method,
        authority: "sklearn-iris.kserve-test.svc.cluster.local".to_owned(),
        path_and_query: target.to_owned(),
        headers: header_map(headers),
    }
}

fn location(reply: &Reply) -> &str {
    header(&reply.headers, "location").unwrap_or_default()
}

fn header<'a>(headers: &'a [(HeaderName, HeaderValue)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.to_str().unwrap())
}

fn set_cookies(reply: &Reply) -> Vec<&str> {
    reply
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .map(|(_, value)| value.to_str().unwrap())
        .collect()
}
