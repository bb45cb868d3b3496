//! Logins by another OpenID provider, which is a second one of ours: whole ways there and back.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::json;

use super::bed::{
    Bed, Browser, PASSWORD, SKIP_APPROVAL, config, encode, form, location, param, request,
    request_but, text,
};
use super::sessions::{SESSIONS, claims, id_token};
use crate::{Outgoing, Roots};

pub(super) const UPSTREAM: &str = "http://up.example";

/// The network between two providers: what is asked, and what comes of it.
#[derive(Clone, Default)]
pub(super) struct Net {
    pub(super) upstream: Arc<Mutex<Option<crate::Provider>>>,
    pub(super) asked: Arc<Mutex<Vec<String>>>,
}

impl Outgoing for Net {
    fn send(
        &self,
        request: Request<Bytes>,
        _: Roots,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>> {
        let uri = request.uri().to_string();
        self.asked.lock().unwrap().push(uri.clone());
        let upstream = self.upstream.lock().unwrap().clone();
        Box::pin(async move {
            match upstream {
                Some(upstream) if uri.starts_with(UPSTREAM) => Ok(upstream.handle(request).await),
                _ => Err("not reached".to_owned()),
            }
        })
    }
}

fn upstream_config() -> String {
    config(SKIP_APPROVAL)
        .replace(
            "issuer: http://dex.auth.svc.cluster.local:5556/dex",
            "issuer: http://up.example/dex",
        )
        .replace(
            "id: platform,",
            "id: down, secret: of the other, name: Down, redirectURIs: ['http://dex.auth.svc.cluster.local:5556/dex/callback']}\n- {id: platform,",
        )
}

/// The configuration of the one below, with other keys in the connector's `config`.
pub(super) fn below(base: &str, more: &str) -> String {
    let connector = format!(
        "connectors:\n- type: oidc\n  id: up\n  name: Up & away\n  config:\n    issuer: {UPSTREAM}/dex\n    \
         clientID: down\n    clientSecret: $UP_SECRET\n    \
         redirectURI: http://dex.auth.svc.cluster.local:5556/dex/callback\n    \
         scopes: [profile, email, groups, offline_access]\n    insecureEnableGroups: true\n{more}"
    );
    format!("{}\n{connector}\n", config(base))
}

pub(super) struct Pair {
    pub(super) bed: Bed,
    above: Bed,
    net: Net,
}

impl Pair {
    pub(super) fn new(base: &str, more: &str) -> Self {
        let above = Bed::with(&upstream_config());
        let net = Net::default();
        *net.upstream.lock().unwrap() = Some(above.provider.clone());
        let bed = Bed::with_outgoing(&below(base, more), Arc::new(net.clone()));
        Self { bed, above, net }
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.bed.pass(seconds);
        self.above.pass(seconds);
    }

    /// The provider above starts again with another configuration.
    fn change_above(self, yaml: &str) -> Self {
        let Self { bed, above, net } = self;
        net.upstream.lock().unwrap().take();
        let above = above.restart(yaml);
        *net.upstream.lock().unwrap() = Some(above.provider.clone());
        Self { bed, above, net }
    }

    /// From `/auth` of the one below to its callback; the address that the browser comes back to.
    pub(super) async fn away(&self, browser: &mut Browser, path: &str, email: &str) -> String {
        let reply = browser.visit(&self.bed, path).await;
        assert_eq!(reply.status(), StatusCode::FOUND, "{}", text(&reply));
        let out = location(&reply);
        let inside = out.strip_prefix(UPSTREAM).expect("the other provider");
        let mut there = Browser::default();
        let reply = there.visit(&self.above, inside).await;
        let page = location(&reply);
        let mut reply = there.log_in(&self.above, &page, email, PASSWORD).await;
        let to = location(&reply);
        if to.starts_with("/dex/approval?") {
            // `prompt=consent`, with `offline_access`.
            let allow = form(&to, &[("approval", "approve")]);
            reply = there.send(&self.above, allow).await;
        }
        let back = location(&reply);
        let back = back.strip_prefix("http://dex.auth.svc.cluster.local:5556");
        back.unwrap_or_else(|| panic!("{}", location(&reply)))
            .to_owned()
    }

    pub(super) async fn log_in(&self, browser: &mut Browser, email: &str) -> Response<Bytes> {
        let path = format!("/dex/auth/up?{}", encode(&request()));
        let back = self.away(browser, &path, email).await;
        browser.visit(&self.bed, &back).await
    }
}

#[tokio::test]
async fn a_login_by_another_provider_has_the_claims_of_dex() {
    let pair = Pair::new(SKIP_APPROVAL, "");
    let mut browser = Browser::default();
    let reply = pair.log_in(&mut browser, "user@example.com").await;
    let token = id_token(&pair.bed, &reply).await;
    let claims = claims(&token);
    assert_eq!(claims["email"], "User@example.com");
    assert_eq!(claims["name"], "user");
    assert_eq!(claims["groups"], json!(["admins", "staff"]));
    // base64url of `{1: sub of the other provider, 2: "up"}`.
    let above = "Cg4xNTg0MTE4NTY0MTc4NBIFbG9jYWw";
    let expected = crate::token::subject_of(above, "up");
    assert_eq!(claims["sub"], expected.as_str());
    // The same address among the users here is another user.
    let mut local = Browser::default();
    let page = format!("/dex/auth/local?{}", encode(&request()));
    let page = location(&local.visit(&pair.bed, &page).await);
    let reply = local
        .log_in(&pair.bed, &page, "user@example.com", PASSWORD)
        .await;
    let token = id_token(&pair.bed, &reply).await;
    assert_ne!(super::sessions::claims(&token)["sub"], expected.as_str());
}

#[tokio::test]
async fn federated_claims_name_the_connector() {
    let pair = Pair::new(SKIP_APPROVAL, "");
    let mut browser = Browser::default();
    let asked = request_but("scope", "openid federated:id");
    let path = format!("/dex/auth/up?{}", encode(&asked));
    let back = pair.away(&mut browser, &path, "other@example.com").await;
    let reply = browser.visit(&pair.bed, &back).await;
    let claims = claims(&id_token(&pair.bed, &reply).await);
    assert_eq!(claims["federated_claims"]["connector_id"], "up");
    assert_eq!(claims["federated_claims"]["user_id"], "CgEyEgVsb2NhbA");
}

#[tokio::test]
async fn the_person_chooses_where_there_are_several_ways() {
    let pair = Pair::new(SKIP_APPROVAL, "");
    let mut browser = Browser::default();
    let reply = browser.ask(&pair.bed, &request()).await;
    assert_eq!(reply.status(), StatusCode::OK);
    let html = text(&reply);
    assert!(
        html.contains("Up &#38; away") && html.contains("E-mail and password"),
        "{html}"
    );
    let links: Vec<String> = html
        .split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&"))
        .filter(|link| link.contains("?req="))
        .collect();
    assert_eq!(links.len(), 2, "{links:?}");
    let up = browser.visit(&pair.bed, &links[0]).await;
    assert!(location(&up).starts_with("http://up.example/dex/auth?"));
    let local = browser.visit(&pair.bed, &links[1]).await;
    // A link of the page is the form itself.
    let page = match local.status() {
        StatusCode::OK => links[1].clone(),
        _ => location(&local),
    };
    assert!(page.starts_with("/dex/auth/local?req="), "{page}");
    let shown = text(&browser.visit(&pair.bed, &page).await);
    assert!(shown.contains("Log in another way"), "{shown}");
    let reply = browser
        .log_in(&pair.bed, &page, "user@example.com", PASSWORD)
        .await;
    assert!(param(&location(&reply), "code").is_some());
    // Another browser cannot use the link.
    let stolen = Browser::default().visit(&pair.bed, &links[0]).await;
    assert_eq!(stolen.status(), StatusCode::BAD_REQUEST);
    // `connector_id` goes straight there.
    let mut asked = request();
    asked.push(("connector_id", "up"));
    let reply = Browser::default().ask(&pair.bed, &asked).await;
    assert!(location(&reply).starts_with(UPSTREAM));
    asked.pop();
    asked.push(("connector_id", "gone"));
    let reply = Browser::default().ask(&pair.bed, &asked).await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
    let gone = pair.bed.get("/dex/auth/gone").await;
    assert_eq!(gone.status(), StatusCode::BAD_REQUEST);
    let gone = pair.bed.get("/dex/callback/gone").await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_client_lists_the_connectors_that_it_lets_in() {
    let yaml = |allowed: &str| {
        below(SKIP_APPROVAL, "").replace(
            "id: platform,",
            &format!("id: platform, allowedConnectors: [{allowed}],"),
        )
    };
    let pair = Pair::new(SKIP_APPROVAL, "");
    let net: Arc<dyn Outgoing> = Arc::new(pair.net.clone());
    let bed = Bed::with_outgoing(&yaml("local"), net.clone());
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;
    assert!(page.starts_with("/dex/auth/local"), "the only way");
    let reply = browser
        .visit(&bed, &format!("/dex/auth/up?{}", encode(&request())))
        .await;
    assert_eq!(reply.status(), StatusCode::FORBIDDEN);
    let bed = Bed::with_outgoing(&yaml("up"), net);
    let reply = browser.ask(&bed, &request()).await;
    assert!(location(&reply).starts_with(UPSTREAM));
    let reply = browser
        .visit(&bed, &format!("/dex/auth/local?{}", encode(&request())))
        .await;
    assert_eq!(reply.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_goes_up_is_what_the_standards_ask_for() {
    let pair = Pair::new(
        SKIP_APPROVAL,
        "    acrValues: [gold, silver]\n    promptType: ''\n",
    );
    let mut asked = request();
    asked.push(("prompt", "login"));
    let path = format!("/dex/auth/up?{}", encode(&asked));
    let out = location(&Browser::default().visit(&pair.bed, &path).await);
    for (name, expected) in [
        ("response_type", "code"),
        ("client_id", "down"),
        (
            "redirect_uri",
            "http://dex.auth.svc.cluster.local:5556/dex/callback",
        ),
        ("scope", "openid profile email groups offline_access"),
        ("code_challenge_method", "S256"),
        ("acr_values", "gold silver"),
        ("access_type", "offline"),
        ("prompt", "login"),
    ] {
        assert_eq!(param(&out, name).as_deref(), Some(expected), "{name}");
    }
    let again = location(&Browser::default().visit(&pair.bed, &path).await);
    for unlike in ["state", "nonce", "code_challenge"] {
        let (a, b) = (param(&out, unlike).unwrap(), param(&again, unlike).unwrap());
        assert!(a != b && a.len() >= 22, "{unlike}");
    }
    let state = param(&out, "state").unwrap();
    assert!(!state.contains("platform"), "sealed: {state}");
}

/// The other provider takes `acr_values` for the wish that they are.
#[tokio::test]
async fn a_login_that_is_weaker_than_it_has_to_be_is_none() {
    for (wanted, lets_in) in [
        ("[gold]", false),
        ("['2']", false),
        ("['1']", true),
        ("[gold, '1']", true),
    ] {
        let pair = Pair::new(SKIP_APPROVAL, &format!("    acrValues: {wanted}\n"));
        let mut browser = Browser::default();
        let reply = pair.log_in(&mut browser, "user@example.com").await;
        if lets_in {
            let code = param(&location(&reply), "code").expect("a code");
            let (status, tokens) = pair.bed.redeem(&code).await;
            assert_eq!(status, StatusCode::OK, "{wanted}: {tokens}");
            pair.pass(10);
            let (status, tokens) = refresh(&pair, text_of(&tokens, "refresh_token")).await;
            assert_eq!(status, StatusCode::OK, "{wanted}: {tokens}");
        } else {
            assert_eq!(reply.status(), StatusCode::FORBIDDEN, "{wanted}");
            let page = text(&reply);
            assert!(page.contains("Your login was not strong enough"), "{page}");
            assert!(!page.contains("acr"), "{page}");
        }
    }
}

/// Forged, stolen and late answers.
#[tokio::test]
async fn an_answer_counts_in_the_browser_that_asked_for_it() {
    let pair = Pair::new(SKIP_APPROVAL, "");
    let path = format!("/dex/auth/up?{}", encode(&request()));
    let mut browser = Browser::default();
    let back = pair.away(&mut browser, &path, "user@example.com").await;
    let stolen = Browser::default().visit(&pair.bed, &back).await;
    assert_eq!(stolen.status(), StatusCode::BAD_REQUEST);
    let code = param(&back, "code").unwrap();
    let state = param(&back, "state").unwrap();
    let iss = "http://up.example/dex";
    for (params, expected) in [
        (
            vec![("code", &*code), ("iss", iss)],
            StatusCode::BAD_REQUEST,
        ),
        (
            vec![("code", &*code), ("state", "forged"), ("iss", iss)],
            StatusCode::BAD_REQUEST,
        ),
        // A mix-up (RFC 9207).
        (
            vec![
                ("code", &*code),
                ("state", &*state),
                ("iss", "http://evil.example"),
            ],
            StatusCode::BAD_GATEWAY,
        ),
        (
            vec![("code", &*code), ("state", &*state)],
            StatusCode::BAD_GATEWAY,
        ),
        (
            vec![("state", &*state), ("iss", iss)],
            StatusCode::BAD_GATEWAY,
        ),
        (
            vec![("error", "server_error"), ("state", &*state), ("iss", iss)],
            StatusCode::FORBIDDEN,
        ),
        (
            vec![("code", "wrong"), ("state", &*state), ("iss", iss)],
            StatusCode::FORBIDDEN,
        ),
    ] {
        let uri = format!("/dex/callback?{}", encode(&params));
        let reply = browser.visit(&pair.bed, &uri).await;
        assert_eq!(reply.status(), expected, "{params:?}");
    }
    let denied = encode(&[("error", "access_denied"), ("state", &state), ("iss", iss)]);
    let reply = browser
        .visit(&pair.bed, &format!("/dex/callback?{denied}"))
        .await;
    assert_eq!(param(&location(&reply), "error").unwrap(), "access_denied");
    let other = back.replace("/callback?", "/callback/other?");
    assert_eq!(
        browser.visit(&pair.bed, &other).await.status(),
        StatusCode::NOT_FOUND
    );
    let own = back.replace("/callback?", "/callback/up?");
    let reply = browser.visit(&pair.bed, &own).await;
    assert!(
        param(&location(&reply), "code").is_some(),
        "{}",
        text(&reply)
    );
    // The code is used up.
    let twice = browser.visit(&pair.bed, &back).await;
    assert_eq!(twice.status(), StatusCode::FORBIDDEN);
    let back = pair.away(&mut browser, &path, "user@example.com").await;
    pair.bed.pass(3600);
    let late = browser.visit(&pair.bed, &back).await;
    assert_eq!(late.status(), StatusCode::BAD_REQUEST);
}

pub(super) async fn tokens(pair: &Pair, browser: &mut Browser) -> serde_json::Value {
    let reply = pair.log_in(browser, "user@example.com").await;
    let code = param(&location(&reply), "code").unwrap_or_else(|| panic!("{}", text(&reply)));
    pair.bed.redeem(&code).await.1
}

pub(super) async fn refresh(pair: &Pair, token: &str) -> (StatusCode, serde_json::Value) {
    let params = [("grant_type", "refresh_token"), ("refresh_token", token)];
    pair.bed.token(&params).await
}

pub(super) fn text_of<'a>(tokens: &'a serde_json::Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap_or_else(|| panic!("{tokens}"))
}

#[tokio::test]
async fn a_refresh_asks_the_other_provider_and_brings_what_changed() {
    let pair = Pair::new(SKIP_APPROVAL, "");
    let first = tokens(&pair, &mut Browser::default()).await;
    let changed = upstream_config().replace("groups: [admins, staff]", "groups: [staff]");
    let pair = pair.change_above(&changed);
    pair.pass(10);
    let (status, second) = refresh(&pair, text_of(&first, "refresh_token")).await;
    assert_eq!(status, StatusCode::OK, "{second}");
    let groups = &claims(text_of(&second, "id_token"))["groups"];
    assert_eq!(*groups, json!(["staff"]));
    // Another use at the same moment is served by the same answer.
    let asked = pair.net.asked.lock().unwrap().len();
    let (status, third) = refresh(&pair, text_of(&second, "refresh_token")).await;
    assert_eq!(status, StatusCode::OK, "{third}");
    assert_eq!(pair.net.asked.lock().unwrap().len(), asked);
    pair.pass(10);
    let (status, fourth) = refresh(&pair, text_of(&third, "refresh_token")).await;
    assert_eq!(status, StatusCode::OK, "{fourth}");
    assert!(pair.net.asked.lock().unwrap().len() > asked);
    // After a restart, too: what it takes is on the disk, sealed.
    let file = std::fs::read(pair.bed.folder.path().join("provider.redb")).unwrap();
    assert!(!file.windows(14).any(|part| part == b"refresh_token\""));
}

#[tokio::test]
async fn who_is_removed_at_the_other_provider_loses_access() {
    let pair = Pair::new(SESSIONS, "");
    let mut browser = Browser::default();
    let first = tokens(&pair, &mut browser).await;
    let removed = upstream_config().replace("User@example.com", "another@example.com");
    let removed = removed.replace("15841185641784", "3");
    let pair = pair.change_above(&removed);
    pair.pass(10);
    let (status, refused) = refresh(&pair, text_of(&first, "refresh_token")).await;
    assert_eq!(
        (status, &refused["error"]),
        (StatusCode::BAD_REQUEST, &"invalid_grant".into())
    );
    // The tokens of that login are over, whatever comes after.
    let pair = pair.change_above(&upstream_config());
    pair.pass(10);
    let (status, _) = refresh(&pair, text_of(&first, "refresh_token")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let userinfo = pair.bed.userinfo(text_of(&first, "access_token")).await;
    assert_eq!(userinfo.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_refresh_waits_for_a_provider_that_does_not_answer() {
    let pair = Pair::new(SKIP_APPROVAL, "");
    let first = tokens(&pair, &mut Browser::default()).await;
    let above = pair.net.upstream.lock().unwrap().take();
    pair.pass(10);
    let (status, refused) = refresh(&pair, text_of(&first, "refresh_token")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{refused}");
    let path = format!("/dex/auth/up?{}", encode(&request()));
    pair.pass(3600);
    let down = Browser::default().visit(&pair.bed, &path).await;
    assert_eq!(
        down.status(),
        StatusCode::FOUND,
        "discovery of before counts"
    );
    *pair.net.upstream.lock().unwrap() = above;
    pair.pass(10);
    let (status, second) = refresh(&pair, text_of(&first, "refresh_token")).await;
    assert_eq!(status, StatusCode::OK, "the token is as it was: {second}");
}

/// Parallel refreshes of one token ask once: the other provider's token works once, too.
#[tokio::test]
async fn parallel_refreshes_ask_once() {
    let pair = Pair::new(SKIP_APPROVAL, "");
    let first = tokens(&pair, &mut Browser::default()).await;
    pair.pass(10);
    let asked = || {
        let asked = pair.net.asked.lock().unwrap();
        asked.iter().filter(|uri| uri.ends_with("/token")).count()
    };
    let before = asked();
    let token = text_of(&first, "refresh_token");
    let (a, b, c) = tokio::join!(
        refresh(&pair, token),
        refresh(&pair, token),
        refresh(&pair, token)
    );
    for (status, answer) in [a, b, c] {
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    assert_eq!(asked(), before + 1);
}

#[tokio::test]
async fn a_session_serves_who_logged_in_by_a_connector() {
    let pair = Pair::new(SESSIONS, "");
    let mut browser = Browser::default();
    tokens(&pair, &mut browser).await;
    let reply = browser.ask(&pair.bed, &request()).await;
    assert!(param(&location(&reply), "code").is_some());
    // Another connector is asked for: the session is not of that one.
    let mut asked = request();
    asked.push(("connector_id", "local"));
    let reply = browser.ask(&pair.bed, &asked).await;
    assert!(location(&reply).starts_with("/dex/auth/local?req="));
    // Without the connector nobody of it is known.
    let Pair { bed, net, above } = pair;
    drop((net, above));
    let bed = bed.restart(&config(SESSIONS));
    let reply = browser.ask(&bed, &request()).await;
    assert!(location(&reply).starts_with("/dex/auth/local?req="));
}

/// What the other provider's own client gets from it, with an ID token for us.
async fn given_above(pair: &Pair) -> serde_json::Value {
    let mut there = Browser::default();
    let mut asked = request();
    asked.retain(|(name, _)| !matches!(*name, "client_id" | "redirect_uri"));
    let back = "http://dex.auth.svc.cluster.local:5556/dex/callback";
    asked.extend([("client_id", "down"), ("redirect_uri", back)]);
    let page = there.start(&pair.above, &asked).await;
    let reply = there
        .log_in(&pair.above, &page, "user@example.com", PASSWORD)
        .await;
    let code = param(&location(&reply), "code").unwrap();
    let redeem = form(
        "/dex/token",
        &[
            ("grant_type", "authorization_code"),
            ("client_id", "down"),
            ("client_secret", "of the other"),
            ("redirect_uri", back),
            ("code", &code),
            ("code_verifier", super::bed::VERIFIER),
        ],
    );
    super::bed::json(&pair.above.send(redeem).await)
}

async fn exchange(
    pair: &Pair,
    token: &str,
    kind: &str,
    connector: &str,
) -> (StatusCode, serde_json::Value) {
    let grant = "urn:ietf:params:oauth:grant-type:token-exchange";
    let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
    pair.bed
        .token(&[
            ("grant_type", grant),
            ("subject_token", token),
            ("subject_token_type", &kind),
            ("connector_id", connector),
        ])
        .await
}

#[tokio::test]
async fn an_id_token_of_the_other_provider_is_exchanged() {
    let pair = Pair::new(SKIP_APPROVAL, "");
    let tokens = given_above(&pair).await;
    let mine = text_of(&tokens, "id_token");
    let (status, exchanged) = exchange(&pair, mine, "id_token", "up").await;
    assert_eq!(status, StatusCode::OK, "{exchanged}");
    let about = claims(text_of(&exchanged, "access_token"));
    let expected = crate::token::subject_of("Cg4xNTg0MTE4NTY0MTc4NBIFbG9jYWw", "up");
    assert_eq!(about["sub"], expected.as_str());
    assert_eq!(about["email"], "User@example.com");
    assert!(exchanged["expires_in"].as_u64().unwrap() <= 3600);
    // A token for another client of that provider, and others that are none for us.
    let foreign = pair.above.code(&request()).await;
    let (_, foreign) = pair.above.redeem(&foreign).await;
    for (token, kind, connector) in [
        (text_of(&foreign, "id_token"), "id_token", "up"),
        (text_of(&tokens, "access_token"), "access_token", "up"),
        (mine, "id_token", "gone"),
        (mine, "id_token", "local"),
        ("x", "jwt", "up"),
    ] {
        let (status, refused) = exchange(&pair, token, kind, connector).await;
        assert_eq!(
            status,
            StatusCode::BAD_REQUEST,
            "{kind} {connector}: {refused}"
        );
    }
    // One that does not say how strong the login was.
    let pair = Pair::new(SKIP_APPROVAL, "    acrValues: [gold]\n");
    let tokens = given_above(&pair).await;
    let (status, refused) = exchange(&pair, text_of(&tokens, "id_token"), "id_token", "up").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
}
