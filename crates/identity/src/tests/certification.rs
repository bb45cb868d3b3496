//! The OpenID Foundation's plan for relying parties
//! (`oidcc-client-basic-certification-test-plan`), module by module under its
//! names, as far as a module is about what a relying party must refuse, or do
//! beyond the login.

use serde_json::{Value, json};

use super::provider::{CLIENT, keys};
use super::*;

/// Whether a login comes to a session when the provider lies so.
async fn logs_in(world: &World, lie: fn(&mut Value)) -> bool {
    world.provider.state.lock().unwrap().lie = Some(Box::new(lie));
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    browser.session().is_some()
}

async fn refuses(lie: fn(&mut Value)) {
    let world = World::new();
    assert!(!logs_in(&world, lie).await);
    assert!(logs_in(&world, |_| {}).await, "the same without the lie");
}

fn without(claims: &mut Value, name: &str) {
    claims.as_object_mut().unwrap().remove(name);
}

#[tokio::test]
async fn oidcc_client_test() {
    assert!(logs_in(&World::new(), |_| {}).await);
}

#[tokio::test]
async fn oidcc_client_test_invalid_iss() {
    refuses(|claims| claims["iss"] = json!(format!("{ISSUER}1"))).await;
    refuses(|claims| claims["iss"] = json!(format!("{ISSUER}/"))).await;
}

#[tokio::test]
async fn oidcc_client_test_missing_sub() {
    refuses(|claims| without(claims, "sub")).await;
}

#[tokio::test]
async fn oidcc_client_test_missing_aud() {
    refuses(|claims| without(claims, "aud")).await;
}

#[tokio::test]
async fn oidcc_client_test_invalid_aud() {
    refuses(|claims| claims["aud"] = json!(format!("{CLIENT}1"))).await;
    refuses(|claims| claims["aud"] = json!(["other"])).await;
    // Another party that the token is for has to be accounted for.
    refuses(|claims| claims["aud"] = json!([CLIENT, "other"])).await;
}

#[tokio::test]
async fn oidcc_client_test_missing_iat() {
    refuses(|claims| without(claims, "iat")).await;
}

#[tokio::test]
async fn oidcc_client_test_nonce_invalid() {
    refuses(|claims| claims["nonce"] = json!(format!("{}1", claims["nonce"].as_str().unwrap())))
        .await;
    refuses(|claims| without(claims, "nonce")).await;
}

#[tokio::test]
async fn oidcc_client_test_invalid_sig_rs256() {
    let world = World::new();
    world.provider.state.lock().unwrap().mangle = Some(|token| {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { "B" } else { "A" };
        format!("{signed}.{other}{}", signature.get(1..).unwrap())
    });
    assert!(!logs_in(&world, |_| {}).await);
}

#[tokio::test]
async fn oidcc_client_test_idtoken_sig_none() {
    let world = World::new();
    world.provider.state.lock().unwrap().mangle = Some(|token| {
        let payload = token.split('.').nth(1).unwrap();
        // {"alg":"none"}
        format!("eyJhbGciOiJub25lIn0.{payload}.")
    });
    assert!(!logs_in(&world, |_| {}).await);
}

/// Without `kid`: the one key is meant, and of several none.
#[tokio::test]
async fn oidcc_client_test_kid_absent_single_jwks_and_multiple_jwks() {
    fn unnamed(token: String) -> String {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;

        let payload = token.split('.').nth(1).unwrap();
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        let signed = format!("{header}.{payload}");
        let signature = provider::signature(0, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
    for (published, expected) in [(vec![0], true), (vec![0, 1], false)] {
        let world = World::new();
        {
            let mut state = world.provider.state.lock().unwrap();
            state.mangle = Some(unnamed);
            state.published = published;
        }
        assert_eq!(logs_in(&world, |_| {}).await, expected);
    }
    assert_eq!(keys().len(), 2);
}

#[tokio::test]
async fn oidcc_client_test_discovery_issuer_mismatch() {
    let world = World::new();
    world.provider.state.lock().unwrap().other_issuer = Some("https://other.example".to_owned());
    assert!(!logs_in(&world, |_| {}).await);
}

/// The key is another one after a login, and it is published just before.
#[tokio::test]
async fn oidcc_client_test_signing_key_rotation_just_before_signing() {
    let world = World::new();
    assert!(logs_in(&world, |_| {}).await);
    world.advance(10);
    {
        let mut state = world.provider.state.lock().unwrap();
        state.published = vec![1];
        state.signing = 1;
    }
    assert!(logs_in(&world, |_| {}).await);
}
