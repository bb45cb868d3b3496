//! Back-channel logout. The negative cases are the modules of the OpenID
//! Foundation's plan `oidcc-client-backchannel-logout-rp`, under their names.

use bytes::Bytes;
use policy::Reply;
use serde_json::{Value, json};

use super::provider::{sign, sign_as};
use super::*;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const SUBJECT: &str = "Cg0wLTM4NS0yODA4OS0wEgRtb2Nr";

/// Two browsers of one person, each with a session of its own at the provider.
struct LoggedIn {
    world: World,
    browsers: [Browser; 2],
}

impl LoggedIn {
    async fn new() -> Self {
        let world = World::new();
        let mut browsers = [Browser::default(), Browser::default()];
        for (at, browser) in browsers.iter_mut().enumerate() {
            let lie = move |claims: &mut Value| claims["sid"] = json!(format!("sid-{at}"));
            world.provider.state.lock().unwrap().lie = Some(Box::new(lie));
            world.log_in(browser, "/").await;
            assert!(browser.session().is_some());
        }
        Self { world, browsers }
    }

    fn claims(&self) -> Value {
        let now = self.world.provider.now.load(Ordering::SeqCst);
        json!({
            "iss": ISSUER, "sub": SUBJECT, "aud": CLIENT, "sid": "sid-0", "iat": now,
            "exp": now + 120, "jti": "once", "events": {EVENT: {}},
        })
    }

    async fn post(&self, token: &str) -> Reply {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("logout_token", token)
            .finish();
        self.post_form(&form).await
    }

    async fn post_form(&self, form: &str) -> Reply {
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        let head = request(Method::POST, BACKCHANNEL_LOGOUT_PATH, &kind);
        self.world
            .login()
            .backchannel_logout(&head, form.as_bytes())
            .await
    }

    fn alive(&self) -> [bool; 2] {
        let found = |browser: &Browser| {
            let id = browser.session().unwrap();
            self.world.identity.sessions().find(id).is_some()
        };
        self.browsers.each_ref().map(found)
    }

    /// Refused, and nobody is logged out.
    async fn refuses(&self, token: &str) {
        let reply = self.post(token).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        assert_eq!(header(&reply.headers, "cache-control"), Some("no-store"));
        assert_eq!(self.alive(), [true; 2]);
        // The same session ends by a proper one.
        assert_eq!(self.post(&sign(0, &self.claims())).await.status, 200);
        assert_eq!(self.alive(), [false, true]);
    }

    async fn refuses_claims(change: impl FnOnce(&mut Value)) {
        let all = Self::new().await;
        let mut claims = all.claims();
        claims["jti"] = json!("wrong");
        change(&mut claims);
        all.refuses(&sign(0, &claims)).await;
    }
}

#[tokio::test]
async fn oidcc_client_test_backchannel_logout() {
    let all = LoggedIn::new().await;
    let token = sign_as(0, "logout+jwt", &all.claims());
    let reply = all.post(&token).await;
    assert_eq!(reply.status, 200);
    assert_eq!(header(&reply.headers, "cache-control"), Some("no-store"));
    assert_eq!(reply.body, Bytes::new());
    assert_eq!(all.alive(), [false, true]);
}

#[tokio::test]
async fn all_sessions_of_a_person_end_where_no_session_is_named() {
    let all = LoggedIn::new().await;
    let mut claims = all.claims();
    claims.as_object_mut().unwrap().remove("sid");
    assert_eq!(all.post(&sign(0, &claims)).await.status, 200);
    assert_eq!(all.alive(), [false, false]);
}

#[tokio::test]
async fn a_session_ends_by_its_name_alone_and_not_for_another_person() {
    let all = LoggedIn::new().await;
    let mut claims = all.claims();
    claims["sub"] = json!("somebody else");
    assert_eq!(all.post(&sign(0, &claims)).await.status, 200);
    assert_eq!(all.alive(), [true, true]);
    claims["jti"] = json!("another");
    claims.as_object_mut().unwrap().remove("sub");
    assert_eq!(all.post(&sign(0, &claims)).await.status, 200);
    assert_eq!(all.alive(), [false, true]);
}

#[tokio::test]
async fn oidcc_client_test_backchannel_logout_alg_none() {
    let all = LoggedIn::new().await;
    let token = sign(0, &all.claims());
    let (_, rest) = token.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    // {"alg":"none","typ":"logout+jwt"}
    let header = "eyJhbGciOiJub25lIiwidHlwIjoibG9nb3V0K2p3dCJ9";
    let with_signature = format!("{header}.{payload}.{signature}");
    assert_eq!(all.post(&with_signature).await.status, 400);
    all.refuses(&format!("{header}.{payload}.")).await;
}

#[tokio::test]
async fn oidcc_client_test_backchannel_logout_no_event() {
    LoggedIn::refuses_claims(|claims| drop(claims.as_object_mut().unwrap().remove("events"))).await;
    LoggedIn::refuses_claims(|claims| claims["events"] = json!({})).await;
    LoggedIn::refuses_claims(|claims| claims["events"] = json!([EVENT])).await;
    LoggedIn::refuses_claims(|claims| claims["events"] = json!({EVENT: true})).await;
}

#[tokio::test]
async fn oidcc_client_test_backchannel_logout_wrong_event() {
    LoggedIn::refuses_claims(|claims| {
        claims["events"] = json!({"http://schemas.openid.net/event/frontchannel-logout": {}});
    })
    .await;
}

#[tokio::test]
async fn oidcc_client_test_backchannel_logout_with_nonce() {
    LoggedIn::refuses_claims(|claims| claims["nonce"] = json!("n")).await;
    LoggedIn::refuses_claims(|claims| claims["nonce"] = json!(null)).await;
}

#[tokio::test]
async fn oidcc_client_test_backchannel_logout_wrong_aud() {
    LoggedIn::refuses_claims(|claims| claims["aud"] = json!("another-client")).await;
    LoggedIn::refuses_claims(|claims| drop(claims.as_object_mut().unwrap().remove("aud"))).await;
    // Good for a bearer token here, and for no logout.
    LoggedIn::refuses_claims(|claims| claims["aud"] = json!("kserve")).await;
}

#[tokio::test]
async fn oidcc_client_test_backchannel_logout_wrong_issuer() {
    LoggedIn::refuses_claims(|claims| claims["iss"] = json!("https://evil.example")).await;
    LoggedIn::refuses_claims(|claims| drop(claims.as_object_mut().unwrap().remove("iss"))).await;
}

#[tokio::test]
async fn oidcc_client_test_backchannel_logout_wrong_alg() {
    let all = LoggedIn::new().await;
    let token = sign(0, &all.claims());
    let (_, rest) = token.split_once('.').unwrap();
    for algorithm in ["HS256", "PS256", "ES256", "RS384"] {
        let wrong = json!({"alg": algorithm, "kid": "key-0", "typ": "logout+jwt"}).to_string();
        let wrong =
            base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, wrong);
        assert_eq!(all.post(&format!("{wrong}.{rest}")).await.status, 400);
    }
    all.refuses(&format!("{}x", token.get(..token.len() - 1).unwrap()))
        .await;
}

#[tokio::test]
async fn a_logout_token_names_a_session_or_a_person() {
    LoggedIn::refuses_claims(|claims| {
        let claims = claims.as_object_mut().unwrap();
        claims.remove("sub");
        claims.remove("sid");
    })
    .await;
    for name in ["sub", "sid"] {
        LoggedIn::refuses_claims(|claims| claims[name] = json!(["sid-0"])).await;
        LoggedIn::refuses_claims(|claims| claims[name] = json!("")).await;
    }
}

#[tokio::test]
async fn a_logout_token_is_of_now_and_has_a_name() {
    for (name, value) in [
        ("exp", json!(START - 1)),
        ("exp", json!(START + 24 * 3600)),
        ("exp", json!(null)),
        ("iat", json!("now")),
        ("iat", json!(START + 3600)),
        ("nbf", json!("0")),
        ("jti", json!(1)),
        ("jti", json!("")),
    ] {
        LoggedIn::refuses_claims(|claims| claims[name] = value).await;
    }
    for name in ["exp", "iat", "jti"] {
        LoggedIn::refuses_claims(|claims| drop(claims.as_object_mut().unwrap().remove(name))).await;
    }
}

#[tokio::test]
async fn a_logout_token_works_once() {
    let all = LoggedIn::new().await;
    let mut claims = all.claims();
    claims.as_object_mut().unwrap().remove("sid");
    let token = sign(0, &claims);
    assert_eq!(all.post(&token).await.status, 200);
    let mut browser = Browser::default();
    all.world.log_in(&mut browser, "/").await;
    let session = browser.session().unwrap();
    assert_eq!(all.post(&token).await.status, 400);
    assert!(all.world.identity.sessions().find(session).is_some());
    // The name is what counts, not the bytes.
    claims["exp"] = json!(START + 60);
    assert_eq!(all.post(&sign(0, &claims)).await.status, 400);
    assert!(all.world.identity.sessions().find(session).is_some());
}

#[tokio::test]
async fn id_tokens_and_other_forms_log_nobody_out() {
    let all = LoggedIn::new().await;
    let id_token = sign(0, &all.world.provider.claims());
    assert_eq!(all.post(&id_token).await.status, 400);
    let token = sign(0, &all.claims());
    for form in [
        String::new(),
        "logout_token=".to_owned(),
        format!("id_token={token}"),
        format!("logout_token={token}&logout_token={token}"),
        format!("logout_token={}", "a".repeat(1 << 20)),
    ] {
        assert_eq!(all.post_form(&form).await.status, 400);
    }
    let json = [("content-type", "application/json")];
    let head = request(Method::POST, BACKCHANNEL_LOGOUT_PATH, &json);
    let form = format!("logout_token={token}");
    let login = all.world.login();
    let reply = login.backchannel_logout(&head, form.as_bytes()).await;
    assert_eq!(reply.status, 400);
    let head = request(Method::GET, BACKCHANNEL_LOGOUT_PATH, &[]);
    let reply = login.backchannel_logout(&head, form.as_bytes()).await;
    assert_eq!(reply.status, 405);
    assert_eq!(all.alive(), [true; 2]);
}

#[tokio::test]
async fn a_logout_is_tried_again_while_the_provider_cannot_be_asked() {
    let all = LoggedIn::new().await;
    let world = all.world.restarted();
    let all = LoggedIn { world, ..all };
    all.world.provider.state.lock().unwrap().down = true;
    let token = sign(0, &all.claims());
    assert_eq!(all.post(&token).await.status, 503);
    all.world.provider.state.lock().unwrap().down = false;
    all.world.advance(10);
    assert_eq!(all.post(&token).await.status, 200);
    assert_eq!(all.alive(), [false, true]);
}
