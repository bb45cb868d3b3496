//! Which credentials count.

use policy::{Caller, TokenError, TokenHolder, Tokens};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

#[tokio::test]
async fn credentials_count_as_the_route_says() {
    let world = World::new();
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    let cookie = format!("{SESSION_COOKIE}={}", browser.session().unwrap());
    let token = format!("bearer {}", provider::sign(0, &world.provider.claims()));
    let bad = "Bearer e30.e30.AA";
    let cases: [(&[(&str, &str)], Tokens, &str); 16] = [
        (&[], Tokens::SessionOrBearer, "anonymous"),
        (&[("cookie", &cookie)], Tokens::SessionOrBearer, "session"),
        (&[("cookie", &cookie)], Tokens::BearerOnly, "anonymous"),
        (
            &[("authorization", &token)],
            Tokens::SessionOrBearer,
            "token",
        ),
        (&[("authorization", &token)], Tokens::BearerOnly, "token"),
        (
            &[("authorization", &token), ("cookie", &cookie)],
            Tokens::BearerOnly,
            "token",
        ),
        (
            &[("authorization", bad), ("cookie", &cookie)],
            Tokens::SessionOrBearer,
            "session",
        ),
        (
            &[("authorization", bad), ("cookie", &cookie)],
            Tokens::BearerOnly,
            "bad",
        ),
        (&[("authorization", bad)], Tokens::SessionOrBearer, "bad"),
        (
            &[("authorization", &token), ("authorization", &token)],
            Tokens::BearerOnly,
            "bad",
        ),
        (
            &[
                ("authorization", bad),
                ("authorization", bad),
                ("cookie", &cookie),
            ],
            Tokens::SessionOrBearer,
            "bad",
        ),
        (
            &[("authorization", "Basic eA==")],
            Tokens::BearerOnly,
            "bad",
        ),
        (
            &[("authorization", "token abc")],
            Tokens::SessionOrBearer,
            "anonymous",
        ),
        (&[("authorization", "")], Tokens::BearerOnly, "anonymous"),
        (
            &[("cookie", "authservice_session=AAAA")],
            Tokens::SessionOrBearer,
            "anonymous",
        ),
        (
            &[("cookie", &format!("a=b; {cookie}; {cookie}"))],
            Tokens::SessionOrBearer,
            "session",
        ),
    ];
    for (headers, tokens, expected) in cases {
        let head = request(Method::GET, "/", headers);
        let found = match world.identity.caller(&head, tokens).await {
            Caller::Anonymous => "anonymous",
            Caller::Session(_) => "session",
            Caller::Token(TokenHolder::Person(_)) => "token",
            Caller::Token(TokenHolder::ServiceAccount(_)) => "account",
            Caller::Token(TokenHolder::Service(_)) => "service",
            Caller::Key(_) => "key",
            Caller::BadToken(TokenError(text)) => {
                assert!(!text.contains("e30"), "{text}");
                "bad"
            }
        };
        assert_eq!(found, expected, "{headers:?} {tokens:?}");
    }
}

#[tokio::test]
async fn api_keys_are_bearer_tokens_that_end_at_once() {
    let mut world = World::new();
    let head = |token: &str| {
        let value = format!("Bearer {token}");
        request(Method::GET, "/", &[("authorization", &value)])
    };
    let keys = ApiKeys::open(world.folder.path(), system_clock()).unwrap();
    let owner = KeyOwner::Service("job".into());
    let new = NewKey {
        owner,
        label: "x".to_owned(),
        scope: policy::KeyScope::default(),
        life: Duration::from_secs(3600),
    };
    let (info, secret) = keys.create(new).await.unwrap();
    let caller = |world: &World, text: &str| {
        let head = head(text);
        let identity = &world.identity;
        futures_util::FutureExt::now_or_never(identity.caller(&head, Tokens::BearerOnly)).unwrap()
    };
    let refused = |caller: Caller, expected: &str| {
        let Caller::BadToken(TokenError(text)) = caller else {
            panic!("{caller:?}");
        };
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("sgk_"), "{text}");
    };
    refused(caller(&world, secret.expose()), "not accepted here");
    world.identity.parts.api_keys = Some(keys.clone());
    let found = caller(&world, secret.expose());
    let Caller::Key(key) = &found else {
        panic!("{found:?}");
    };
    assert_eq!(key.id, info.id);
    assert_eq!(found.person(), None);
    refused(
        caller(&world, secret.expose().get(..20).unwrap()),
        "mistyped",
    );
    keys.revoke(&info.id, None).await.unwrap();
    refused(caller(&world, secret.expose()), "revoked");
}

#[tokio::test]
async fn two_peoples_cookies_at_once_are_nobodys() {
    let world = World::new();
    let mut victim = Browser::default();
    world.log_in(&mut victim, "/").await;
    world.provider.state.lock().unwrap().lie = Some(Box::new(|claims| {
        claims["email"] = "attacker@example.com".into()
    }));
    let mut attacker = Browser::default();
    world.log_in(&mut attacker, "/").await;
    let both = format!(
        "{SESSION_COOKIE}={}; {SESSION_COOKIE}={}",
        attacker.session().unwrap(),
        victim.session().unwrap()
    );
    let head = request(Method::GET, "/", &[("cookie", &both)]);
    let caller = world.identity.caller(&head, Tokens::SessionOrBearer).await;
    assert_eq!(caller, Caller::Anonymous);
}

#[tokio::test]
async fn every_changed_session_cookie_is_nobodys() {
    let world = World::new();
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    let value = browser.session().unwrap().to_owned();
    for at in 0..value.len() {
        let mut changed = value.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(
            world.identity.sessions().find(&changed).is_none(),
            "byte {at}"
        );
    }
    for changed in [
        format!("{value}A"),
        format!("{value}="),
        value.get(1..).unwrap().to_owned(),
        String::new(),
    ] {
        assert!(world.identity.sessions().find(&changed).is_none());
    }
    assert!(world.identity.sessions().find(&value).is_some());
}

#[test]
fn debug_output_has_no_secrets() {
    let world = World::new();
    let text = format!("{:?}", world.identity);
    assert!(!text.contains(SECRET), "{text}");
}

#[test]
fn no_request_makes_it_stumble() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let world = World::new();
    let anything = ("[ -~]{0,80}", "[ -~]{0,80}", "[ -~]{0,80}");
    let check = |(cookie, authorization, query): (String, String, String)| {
        let cookie = format!("authservice_session={cookie}; sidegate_login_0={cookie}");
        let headers = [
            ("cookie", cookie.as_str()),
            ("authorization", authorization.as_str()),
        ];
        let head = request(Method::GET, &format!("/login/oidc?{query}"), &headers);
        for tokens in [Tokens::SessionOrBearer, Tokens::BearerOnly] {
            let caller = runtime.block_on(world.identity.caller(&head, tokens));
            prop_assert!(matches!(caller, Caller::Anonymous | Caller::BadToken(_)));
        }
        let reply = runtime.block_on(world.login().callback(&head));
        prop_assert_eq!(reply.status, 400);
        Ok(())
    };
    TestRunner::default().run(&anything, check).unwrap();
}
