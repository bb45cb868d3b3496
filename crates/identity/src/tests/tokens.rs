//! Bearer tokens of the provider and of the cluster.

use policy::{ServiceAccount, TokenError, TokenHolder};
use serde_json::{Value, json};

use super::*;

fn person(holder: Result<TokenHolder, TokenError>) -> Result<String, String> {
    match holder {
        Ok(TokenHolder::Person(person)) => Ok(person.email.to_string()),
        Ok(holder) => Ok(holder.user_name()),
        Err(TokenError(text)) => Err(text),
    }
}

async fn with(change: fn(&mut Value)) -> Result<String, String> {
    let world = World::new();
    let mut claims = world.provider.claims();
    change(&mut claims);
    let token = provider::sign(0, &claims);
    let found = person(world.bearer(&token).await);
    if let Err(text) = &found {
        assert!(!text.contains(token.get(..20).unwrap()), "{text}");
    }
    found
}

#[tokio::test]
async fn tokens_of_the_provider_are_verified() {
    let user = Ok("user@example.com".to_owned());
    assert_eq!(with(|_| {}).await, user);
    assert_eq!(
        with(|claims| claims["aud"] = json!(["x", "kserve"])).await,
        user
    );
    let refusals: [(fn(&mut Value), &str); 7] = [
        (|claims| claims["aud"] = json!("other"), "another audience"),
        (|claims| claims["exp"] = json!(START - 1), "has expired"),
        (|claims| claims["nbf"] = json!(START + 31), "not valid yet"),
        (
            |claims| claims["iss"] = json!("https://evil.example"),
            "issuer is not accepted",
        ),
        (
            |claims| drop(claims.as_object_mut().unwrap().remove("iss")),
            "has no issuer",
        ),
        (|claims| claims["iss"] = json!(1), "has no issuer"),
        (|claims| claims["groups"] = json!(7), "claim `groups`"),
    ];
    for (change, expected) in refusals {
        let error = with(change).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused_with_a_reason() {
    let world = World::new();
    let good = provider::sign(0, &world.provider.claims());
    let duplicate = {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        format!(
            "{}.{}.AA",
            encode(r#"{"alg":"RS256","alg":"RS256"}"#),
            encode("{}")
        )
    };
    let megabyte = "a".repeat(1 << 20);
    for (token, expected) in [
        ("", "three parts"),
        ("a", "three parts"),
        ("a.b", "three parts"),
        ("a.b.c.d", "three parts"),
        ("a.b.c.d.e", "three parts"),
        ("!.b.c", "header is not base64url"),
        ("e30.e30.", "algorithm is not accepted"),
        ("e30=.e30.AA", "header is not base64url"),
        ("W10.e30.AA", "not one JSON object"),
        (duplicate.as_str(), "not one JSON object"),
        (good.get(..good.len() - 2).unwrap(), "signature is wrong"),
        (megabyte.as_str(), "longer than 8192 bytes"),
    ] {
        let error = person(world.bearer(token).await).unwrap_err();
        assert!(error.contains(expected), "{token:.20}: {error}");
    }
}

#[tokio::test]
async fn a_new_key_of_the_provider_is_found_and_strangers_cannot_hurry_it() {
    let world = World::new();
    let old = provider::sign(0, &world.provider.claims());
    assert!(world.bearer(&old).await.is_ok());
    let fetches = || {
        let state = world.provider.state.lock().unwrap();
        state
            .asked
            .iter()
            .filter(|path| *path == "/dex/keys")
            .count()
    };
    assert_eq!(fetches(), 1);
    let new = provider::sign(1, &world.provider.claims());
    for _ in 0..50 {
        assert!(world.bearer(&new).await.is_err());
    }
    assert_eq!(fetches(), 1, "asked a moment ago");
    world.provider.state.lock().unwrap().published = vec![0, 1];
    world.advance(5);
    assert!(world.bearer(&new).await.is_ok());
    assert_eq!(fetches(), 2);
}

#[tokio::test]
async fn a_withdrawn_key_is_honoured_for_a_quarter_of_an_hour_at_most() {
    let world = World::new();
    let token = provider::sign(0, &world.provider.claims());
    assert!(world.bearer(&token).await.is_ok());
    world.provider.state.lock().unwrap().published = vec![1];
    world.advance(15 * 60);
    let error = person(world.bearer(&token).await).unwrap_err();
    assert!(error.contains("does not publish"), "{error}");
}

#[tokio::test]
async fn known_tokens_pass_while_the_provider_is_down_and_unknown_ones_do_not() {
    let world = World::new();
    let token = provider::sign(0, &world.provider.claims());
    assert!(world.bearer(&token).await.is_ok());
    world.provider.state.lock().unwrap().down = true;
    world.advance(3600);
    assert!(world.bearer(&token).await.is_ok());
    world.advance(23 * 3600 - 1);
    let error = person(world.bearer(&token).await);
    assert!(error.is_ok(), "{error:?}");

    let fresh = World::new();
    fresh.provider.state.lock().unwrap().down = true;
    let error = person(fresh.bearer(&token).await).unwrap_err();
    assert!(error.contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn a_remembered_token_expires_all_the_same() {
    let world = World::new();
    let mut claims = world.provider.claims();
    claims["exp"] = json!(START + 20);
    let token = provider::sign(0, &claims);
    assert!(world.bearer(&token).await.is_ok());
    world.advance(19);
    assert!(world.bearer(&token).await.is_ok());
    world.advance(1);
    let error = person(world.bearer(&token).await).unwrap_err();
    assert!(error.contains("has expired"), "{error}");
}

#[tokio::test]
async fn tokens_of_service_accounts_are_told_from_people() {
    let world = World::new();
    let request = TokenRequest {
        service_account: ServiceAccount {
            namespace: "kserve-test".into(),
            name: "default".into(),
        },
        uid: None,
        audiences: vec![INGRESS_AUDIENCE.to_owned()],
        duration: Duration::from_secs(600),
        pod: None,
    };
    let issuer = world.identity.cluster_issuer().unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(START);
    let token = issuer.issue(&request, now).unwrap();
    let found = person(world.bearer(token.expose()).await).unwrap();
    assert_eq!(found, "system:serviceaccount:kserve-test:default");
    world.advance(600);
    let error = person(world.bearer(token.expose()).await).unwrap_err();
    assert!(error.contains("has expired"), "{error}");

    // The provider's key does not sign for the cluster.
    let forged = provider::sign(
        0,
        &json!({
            "iss": CLUSTER_ISSUER, "sub": "system:serviceaccount:kube-system:admin",
            "aud": CLUSTER_ISSUER, "exp": START + 9000,
        }),
    );
    let error = person(world.bearer(&forged).await).unwrap_err();
    assert!(error.contains("does not publish"), "{error}");
}
