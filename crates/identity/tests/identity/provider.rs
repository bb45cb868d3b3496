//! The relying party against the embedded provider, in one process: what
//! `sidegate up` wires.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ::provider::{DexConfig, Options, Provider, Storage};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use identity::{
    AuthserviceConfig, HttpClient, HttpError, Identity, IdentityClaims, Oauth2ProxyConfig, Parts,
    Logins, RedirectUri, RelyingParty, RpConfig, Secret, SecureCookies, SessionConfig, Sessions,
    system_clock,
};
use policy::{Caller, Entrance, RequestHead, Scheme, TokenHolder, Tokens};

/// The hash is of `12341234`, as in Kubeflow's manifests.
const CONFIG: &str = r#"
issuer: http://dex.auth.svc.cluster.local:5556/dex
enablePasswordDB: true
oauth2: {skipApprovalScreen: true}
staticPasswords:
- email: user@example.com
  hash: $2y$12$4K/VkmDd1q1Orb3xAt82zu8gk7Ad6ReFR4LCP9UeYE90NLiN9Df72
  username: user
  userID: "15841185641784"
staticClients:
- id: kubeflow-oidc-authservice
  redirectURIs: ["/login/oidc"]
  name: Dex Login Application
  secret: pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok
"#;

struct InProcess(Provider);

impl HttpClient for InProcess {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        Box::pin(async move { Ok(self.0.handle(request).await) })
    }
}

/// Keeps the cookies of one site.
#[derive(Default)]
struct Browser(BTreeMap<String, String>);

impl Browser {
    fn take<'a>(&mut self, cookies: impl Iterator<Item = &'a http::HeaderValue>) {
        for cookie in cookies {
            let cookie = cookie.to_str().unwrap();
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            match rest.contains("Max-Age=0") {
                true => self.0.remove(name),
                false => self.0.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    fn headers(&self) -> HeaderMap {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        let mut headers = HeaderMap::new();
        headers.insert(
            "cookie",
            pairs.collect::<Vec<_>>().join("; ").parse().unwrap(),
        );
        headers
    }

    fn head(&self, target: &str) -> RequestHead {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        RequestHead {
            entrance: Entrance::External,
            method: Method::GET,
            scheme: Scheme::Http,
            authority: "localhost:8080".to_owned(),
            path: path.to_owned(),
            query,
            headers: self.headers(),
            peer: SocketAddr::from(([127, 0, 0, 1], 4000)),
            connection: policy::Connection::default(),
            workload: None,
        }
    }

    async fn ask_provider(
        &mut self,
        provider: &Provider,
        method: Method,
        target: &str,
        body: &'static str,
    ) -> Response<Bytes> {
        let mut request = Request::new(Bytes::from_static(body.as_bytes()));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().unwrap();
        *request.headers_mut() = self.headers();
        let kind = "application/x-www-form-urlencoded".parse().unwrap();
        request.headers_mut().insert("content-type", kind);
        let reply = provider.handle(request).await;
        self.take(reply.headers().get_all("set-cookie").iter());
        reply
    }
}

fn location(headers: &HeaderMap) -> &str {
    headers["location"].to_str().unwrap()
}

#[tokio::test]
async fn a_person_logs_in_through_the_embedded_provider() {
    let folder = tempfile::tempdir().unwrap();
    let (config, _) = DexConfig::parse(CONFIG, &|_| None).unwrap();
    let storage = Storage::open(folder.path()).unwrap();
    let provider = Provider::open(config, storage, Options::default()).unwrap();
    let sessions = Sessions::open(folder.path(), SessionConfig::default(), system_clock()).unwrap();
    let login = RelyingParty::new(
        RpConfig {
            issuer: "http://dex.auth.svc.cluster.local:5556/dex".to_owned(),
            auth_url: Some("/dex/auth".to_owned()),
            client_id: "kubeflow-oidc-authservice".to_owned(),
            client_secret: Secret::new("pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok"),
            redirect_uri: RedirectUri::Exactly("/login/oidc".to_owned()),
            scopes: ["profile", "email", "groups"].map(str::to_owned).to_vec(),
            claims: IdentityClaims::default(),
            bearer_audiences: vec![],
            after_logout_url: "/".to_owned(),
        logout_at_provider: false,
        takes_unnamed_sessions: true,
            logout_paths: vec!["/authservice/logout".to_owned()],
            secure_cookies: SecureCookies::WhenHttps,
            session_cookie: identity::SESSION_COOKIE.to_owned(),
        },
        Arc::new(InProcess(provider.clone())),
        sessions.clone(),
        folder.path(),
        system_clock(),
    )
    .unwrap();
    let identity = Identity::new(Parts {
        sessions: sessions.clone(),
        logins: Logins::one(Some(Arc::new(login))),
        cluster_issuer: None,
        cluster_api: None,
        issuers: None,
        api_keys: None,
        authservice: AuthserviceConfig::default(),
        oauth2_proxy: Oauth2ProxyConfig::default(),
        clock: system_clock(),
    });
    let login = identity.relying_party().unwrap();

    // The longest path that a login comes back to, too.
    let wanted = format!("/pipeline/?q={}", "a".repeat(1480));
    let mut browser = Browser::default();
    let begin = login.begin_login(&browser.head(&wanted));
    let headers: HeaderMap = begin.headers.into_iter().collect();
    browser.take(headers.get_all("set-cookie").iter());
    let page = browser
        .ask_provider(&provider, Method::GET, location(&headers), "")
        .await;
    assert_eq!(page.status(), StatusCode::FOUND);
    let form = location(page.headers()).to_owned();
    let shown = browser
        .ask_provider(&provider, Method::GET, &form, "")
        .await;
    assert_eq!(shown.status(), StatusCode::OK);
    let form = browser
        .ask_provider(
            &provider,
            Method::POST,
            &form,
            "login=user%40example.com&password=12341234",
        )
        .await;
    assert_eq!(form.status(), StatusCode::SEE_OTHER);
    let back = location(form.headers()).to_owned();
    let done = login.callback(&browser.head(&back)).await;
    let headers: HeaderMap = done.headers.into_iter().collect();
    assert_eq!(location(&headers), wanted);
    browser.take(headers.get_all("set-cookie").iter());

    let caller = identity
        .caller(&browser.head("/"), Tokens::SessionOrBearer)
        .await;
    let Caller::Session(person) = caller else {
        panic!("{caller:?}");
    };
    assert_eq!(&*person.email, "user@example.com");
    let session = browser.0.get(identity::SESSION_COOKIE).unwrap();
    let session = sessions.find(session).unwrap();
    let id_token = session.id_token.as_ref().unwrap();
    let holder = identity.bearer(id_token.expose()).await.unwrap();
    assert_eq!(holder, TokenHolder::Person(person));
}
