//! The relying party against the embedded provider, in one process: what
//! `sidegate up` wires.

use std::sync::Arc;

use ::provider::{DexConfig, Options, Provider, Storage};
use http::HeaderMap;
use identity::{
    AuthserviceConfig, Identity, IdentityClaims, Logins, Oauth2ProxyConfig, Parts, RedirectUri,
    RelyingParty, RpConfig, Secret, SecureCookies, SessionConfig, Sessions, system_clock,
};
use policy::{Caller, TokenHolder, Tokens};

use crate::browser::{Browser, InProcess, location};

const HOST: &str = "localhost:8080";

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
    let begin = login.begin_login(&browser.head(HOST, &wanted));
    let headers: HeaderMap = begin.headers.into_iter().collect();
    browser.take(headers.get_all("set-cookie").iter());
    let back = browser.log_in_at(&provider, location(&headers)).await;
    let done = login.callback(&browser.head(HOST, &back)).await;
    let headers: HeaderMap = done.headers.into_iter().collect();
    assert_eq!(location(&headers), wanted);
    browser.take(headers.get_all("set-cookie").iter());

    let caller = identity
        .caller(&browser.head(HOST, "/"), Tokens::SessionOrBearer)
        .await;
    let Caller::Session(person) = caller else {
        panic!("{caller:?}");
    };
    assert_eq!(&*person.email, "user@example.com");
    let session = browser.0.get(identity::SESSION_COOKIE).unwrap();
    let session = sessions.find(session).unwrap();
    let id_token = sessions.id_token(&session).unwrap();
    let mut head = Browser::default().head(HOST, "/");
    let bearer = format!("Bearer {}", id_token.expose());
    head.headers
        .insert("authorization", bearer.parse().unwrap());
    let caller = identity.caller(&head, Tokens::BearerOnly).await;
    assert_eq!(caller, Caller::Token(TokenHolder::Person(person)));
}
