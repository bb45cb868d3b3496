//! Two logins, each for hosts of its own, at two embedded providers.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use ::provider::{DexConfig, Options, Outgoing, Provider, Roots, Storage};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use identity::{
    AuthserviceConfig, Hosts, Identity, IdentityClaims, Logins, Oauth2ProxyConfig, Parts,
    RedirectUri, RelyingParty, RpConfig, Secret, SecureCookies, SessionConfig, Sessions,
    system_clock,
};
use policy::{Caller, Reply, TokenHolder, Tokens};
use tempfile::TempDir;

use crate::browser::{Browser, InProcess, location};

const A: &str = "a.example";
const B: &str = "b.example:8443";

/// What a provider posts to applications.
#[derive(Clone, Default)]
struct Posts(Arc<Mutex<Vec<Request<Bytes>>>>);

impl Outgoing for Posts {
    fn send(
        &self,
        request: Request<Bytes>,
        _: Roots,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>> {
        self.0.lock().unwrap().push(request);
        Box::pin(async { Ok(Response::new(Bytes::new())) })
    }
}

/// A provider, what its browsers keep, and what it posts.
struct At {
    provider: Provider,
    posts: Posts,
    _folder: TempDir,
}

impl At {
    fn new(issuer: &str, host: &str) -> Self {
        let config = format!(
            "
issuer: {issuer}
enablePasswordDB: true
oauth2: {{skipApprovalScreen: true}}
sessions: {{absoluteLifetime: 8h}}
staticPasswords:
- email: user@example.com
  hash: $2y$12$4K/VkmDd1q1Orb3xAt82zu8gk7Ad6ReFR4LCP9UeYE90NLiN9Df72
  username: user
  userID: '1'
staticClients:
- id: gate
  redirectURIs: ['http://{host}/oauth2/callback']
  postLogoutRedirectURIs: ['http://{host}/']
  backchannelLogoutURI: http://{host}/oauth2/backchannel-logout
  name: Gate
  secret: the-secret-of-the-gate
"
        );
        let (config, _) = DexConfig::parse(&config, &|_| None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(folder.path()).unwrap();
        let posts = Posts::default();
        let options = Options {
            outgoing: Some(Arc::new(posts.clone())),
            ..Options::default()
        };
        Self {
            provider: Provider::open(config, storage, options).unwrap(),
            posts,
            _folder: folder,
        }
    }

    fn login(
        &self,
        issuer: &str,
        client: &str,
        sessions: &Sessions,
        data: &TempDir,
    ) -> RelyingParty {
        let settings = RpConfig {
            issuer: issuer.to_owned(),
            auth_url: None,
            client_id: client.to_owned(),
            client_secret: Secret::new("the-secret-of-the-gate"),
            redirect_uri: RedirectUri::OnRequestHost("/oauth2/callback".to_owned()),
            scopes: ["email", "groups"].map(str::to_owned).to_vec(),
            claims: IdentityClaims::default(),
            bearer_audiences: vec![],
            after_logout_url: "/".to_owned(),
            logout_at_provider: true,
            takes_unnamed_sessions: false,
            logout_paths: vec!["/oauth2/sign_out".to_owned()],
            secure_cookies: SecureCookies::WhenHttps,
            session_cookie: identity::SESSION_COOKIE.to_owned(),
        };
        let http = Arc::new(InProcess(self.provider.clone()));
        let clock = system_clock();
        RelyingParty::new(settings, http, sessions.clone(), data.path(), clock).unwrap()
    }
}

const ISSUER_A: &str = "https://login.a.example/dex";
const ISSUER_B: &str = "https://login.b.example/dex";

/// Two providers, and what asks them.
struct World {
    a: At,
    b: At,
    logins: Logins,
    identity: Identity,
    sessions: Sessions,
    _data: TempDir,
}

impl World {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(data.path(), SessionConfig::default(), system_clock());
        let sessions = sessions.unwrap();
        let (a, b) = (At::new(ISSUER_A, A), At::new(ISSUER_B, B));
        let of_a = a.login(ISSUER_A, "gate", &sessions, &data);
        let of_b = b.login(ISSUER_B, "gate", &sessions, &data);
        // The same provider as another client's.
        let other = a.login(ISSUER_A, "another-gate", &sessions, &data);
        let hosts = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Hosts::new(&names).unwrap()
        };
        let logins = Logins::default()
            .with(hosts(&[A, "*.a.example"]), Arc::new(of_a))
            .with(hosts(&["b.example"]), Arc::new(of_b))
            .with(hosts(&["strict.a.example"]), Arc::new(other));
        let identity = Identity::new(Parts {
            sessions: sessions.clone(),
            logins: logins.clone(),
            cluster_issuer: None,
            cluster_api: None,
            issuers: None,
            api_keys: None,
            authservice: AuthserviceConfig::default(),
            oauth2_proxy: Oauth2ProxyConfig::default(),
            clock: system_clock(),
        });
        Self {
            a,
            b,
            logins,
            identity,
            sessions,
            _data: data,
        }
    }

    async fn handle(&self, browser: &mut Browser, host: &str, target: &str) -> Reply {
        let login = self.logins.of(host).unwrap();
        let reply = login.handle(&browser.head(host, target)).await.unwrap();
        browser.take(headers(&reply).get_all("set-cookie").iter());
        reply
    }

    /// Begins at a path, and goes to the provider.
    async fn begin(&self, browser: &mut Browser, host: &str, path: &str) -> String {
        let login = self.logins.of(host).unwrap();
        let reply = login.begin_login(&browser.head(host, path));
        browser.take(headers(&reply).get_all("set-cookie").iter());
        let to = location(&headers(&reply)).to_owned();
        match to.starts_with("/oauth2/start?") {
            // Where the provider has not been asked yet.
            true => location(&headers(&self.handle(browser, host, &to).await)).to_owned(),
            false => to,
        }
    }

    /// Who a browser is at a host.
    async fn who(&self, browser: &Browser, host: &str) -> Caller {
        let head = browser.head(host, "/");
        self.identity.caller(&head, Tokens::SessionOrBearer).await
    }

    /// Logs in, and comes back.
    async fn log_in(&self, browser: &mut Browser, host: &str) -> Browser {
        let mut at_provider = Browser::default();
        let to = self.begin(browser, host, "/wanted").await;
        let at = if host == A { &self.a } else { &self.b };
        let back = at_provider.log_in_at(&at.provider, path_of(&to)).await;
        let back = back
            .strip_prefix(&format!("http://{host}"))
            .unwrap()
            .to_owned();
        let reply = self.handle(browser, host, &back).await;
        assert_eq!(location(&headers(&reply)), "/wanted");
        at_provider
    }
}

fn headers(reply: &Reply) -> HeaderMap {
    reply.headers.iter().cloned().collect()
}

/// What the provider sees of an address of its own.
fn path_of(address: &str) -> &str {
    let (_, rest) = address.split_once("://").unwrap();
    rest.split_at(rest.find('/').unwrap()).1
}

fn is_known(caller: &Caller) -> bool {
    matches!(caller, Caller::Session(person) if &*person.email == "user@example.com")
}

#[tokio::test]
async fn a_session_counts_at_the_hosts_of_its_login_alone() {
    let world = World::new();
    let mut browser = Browser::default();
    world.log_in(&mut browser, A).await;
    for (host, counts) in [
        (A, true),
        ("a.example:8080", true),
        ("x.a.example", true),
        ("A.EXAMPLE", true),
        (B, false),
        ("strict.a.example", false),
        ("c.example", false),
    ] {
        let caller = world.who(&browser, host).await;
        assert_eq!(is_known(&caller), counts, "{host}: {caller:?}");
    }
    // Its ID token neither, wherever it is sent.
    let session = browser.0[identity::SESSION_COOKIE].clone();
    let session = world.sessions.find(&session).unwrap();
    let token = world.sessions.id_token(&session).unwrap();
    let bearer = format!("Bearer {}", token.expose());
    for (host, counts) in [
        (A, true),
        (B, false),
        (A, true),
        ("strict.a.example", false),
    ] {
        let mut head = Browser::default().head(host, "/");
        head.headers
            .insert("authorization", bearer.parse().unwrap());
        let caller = world.identity.caller(&head, Tokens::BearerOnly).await;
        let known = matches!(&caller, Caller::Token(TokenHolder::Person(_)));
        assert_eq!(known, counts, "{host}: {caller:?}");
    }
    // And it is still one of the first.
    assert!(is_known(&world.who(&browser, A).await));
}

#[tokio::test]
async fn what_was_begun_at_one_provider_ends_at_no_other() {
    let world = World::new();
    let mut browser = Browser::default();
    let to = world.begin(&mut browser, A, "/").await;
    assert!(to.starts_with("https://login.a.example/dex/auth?"), "{to}");
    let back = Browser::default()
        .log_in_at(&world.a.provider, path_of(&to))
        .await;
    let (_, query) = back.split_once('?').unwrap();
    let callback = format!("/oauth2/callback?{query}");
    // The answer of A at B's host, with the cookies of the browser that began it.
    let reply = world.handle(&mut browser.clone(), B, &callback).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    // An answer that says it is B's, or does not say whose it is, at A's.
    let a = "iss=https%3A%2F%2Flogin.a.example%2Fdex";
    assert!(callback.contains(a), "{callback}");
    for other in ["iss=https%3A%2F%2Flogin.b.example%2Fdex", "is=x", "iss="] {
        let reply = world
            .handle(&mut browser.clone(), A, &callback.replace(a, other))
            .await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{other}");
        let errors = callback
            .replace(a, other)
            .replace("code=", "error=access_denied&x=");
        let reply = world.handle(&mut browser.clone(), A, &errors).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{other}");
    }
    assert!(!browser.0.contains_key(identity::SESSION_COOKIE));
    // None of them used the code.
    let reply = world.handle(&mut browser, A, &callback).await;
    assert_eq!(reply.status, StatusCode::FOUND);
    assert!(is_known(&world.who(&browser, A).await));
}

#[tokio::test]
async fn a_logout_at_one_provider_ends_sessions_of_its_login_alone() {
    let world = World::new();
    let [mut of_a, mut of_b] = [Browser::default(), Browser::default()];
    let mut at_provider = world.log_in(&mut of_a, A).await;
    world.log_in(&mut of_b, B).await;
    let session = world
        .sessions
        .find(&of_a.0[identity::SESSION_COOKIE])
        .unwrap();
    let hint = world.sessions.id_token(&session).unwrap();
    let hint = hint.expose();
    let ended = at_provider
        .ask_provider(
            &world.a.provider,
            Method::GET,
            &format!("/dex/logout?id_token_hint={hint}"),
            "",
        )
        .await;
    assert!(ended.status().is_success(), "{ended:?}");
    // Posted beside the answer.
    let post = loop {
        let post = world.a.posts.0.lock().unwrap().pop();
        match post {
            Some(post) => break post,
            None => tokio::task::yield_now().await,
        }
    };
    let mut head = Browser::default().head(
        "sidegate-keys.sidegate.svc",
        identity::BACKCHANNEL_LOGOUT_PATH,
    );
    head.method = Method::POST;
    head.headers = post.headers().clone();
    // Sessions of the other provider have the same subject: a token of A for B does nothing.
    let before = (world.who(&of_a, A).await, world.who(&of_b, B).await);
    assert!(is_known(&before.0) && is_known(&before.1));
    let b = world.logins.of(B).unwrap();
    let refused = b.backchannel_logout(&head, post.body()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let reply = world
        .logins
        .backchannel_logout(&head, post.body())
        .await
        .unwrap();
    assert_eq!(reply.status, StatusCode::OK);
    assert!(!is_known(&world.who(&of_a, A).await));
    assert!(is_known(&world.who(&of_b, B).await));
    let reply = world
        .logins
        .backchannel_logout(&head, b"logout_token=x")
        .await;
    assert!(reply.is_none(), "nobody logs in at such a host");
}

#[tokio::test]
async fn a_logout_goes_on_at_the_provider_of_the_host() {
    let world = World::new();
    let mut browser = Browser::default();
    let mut at_provider = world.log_in(&mut browser, B).await;
    let mut head = browser.head(B, "/oauth2/sign_out");
    head.headers
        .insert("sec-fetch-site", "same-origin".parse().unwrap());
    let reply = world.logins.of(B).unwrap().handle(&head).await.unwrap();
    let to = location(&headers(&reply)).to_owned();
    assert!(
        to.starts_with("https://login.b.example/dex/logout?client_id=gate&id_token_hint="),
        "{to}"
    );
    assert!(!is_known(&world.who(&browser, B).await));
    let back = at_provider
        .ask_provider(&world.b.provider, Method::GET, path_of(&to), "")
        .await;
    assert_eq!(location(back.headers()), format!("http://{B}/"));
    // The next login wants a password again.
    let to = world.begin(&mut browser, B, "/").await;
    let asked = at_provider
        .ask_provider(&world.b.provider, Method::GET, path_of(&to), "")
        .await;
    assert!(
        location(asked.headers()).contains("/auth/local"),
        "{asked:?}"
    );
}
