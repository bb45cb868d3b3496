//! The OpenID Foundation's plan for relying parties
//! (`oidcc-client-basic-certification-test-plan`, `-config-`, and that of refresh tokens), module by module under its
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

/// A key that is another one some time after a login, with both published for a while.
#[tokio::test]
async fn oidcc_client_test_signing_key_rotation() {
    let world = World::new();
    assert!(logs_in(&world, |_| {}).await);
    for (published, signing, expected) in [
        (vec![0, 1], 0, true),
        (vec![0, 1], 1, true),
        (vec![1], 1, true),
        // What is no longer published signs nothing.
        (vec![1], 0, false),
    ] {
        world.advance(20 * 60);
        {
            let mut state = world.provider.state.lock().unwrap();
            (state.published, state.signing) = (published.clone(), signing);
        }
        assert_eq!(logs_in(&world, |_| {}).await, expected, "{published:?}");
    }
}

/// How often a document was asked for.
fn asked(world: &World, path: &str) -> usize {
    let state = world.provider.state.lock().unwrap();
    state.asked.iter().filter(|asked| *asked == path).count()
}

/// Where the endpoints are is read, not guessed.
#[tokio::test]
async fn oidcc_client_test_discovery_openid_config() {
    let world = World::new();
    assert!(logs_in(&world, |_| {}).await);
    assert_eq!(asked(&world, "/dex/.well-known/openid-configuration"), 1);
    assert_eq!(asked(&world, "/dex/token"), 1);
}

/// Keys are those of `jwks_uri`.
#[tokio::test]
async fn oidcc_client_test_discovery_jwks_uri_keys() {
    let world = World::new();
    assert!(logs_in(&world, |_| {}).await);
    assert_eq!(asked(&world, "/dex/keys"), 1);
    let world = World::new();
    world.provider.state.lock().unwrap().published = vec![1];
    assert!(!logs_in(&world, |_| {}).await, "signed by another key");
    assert_eq!(asked(&world, "/dex/keys"), 1);
}

/// Whether a session lives on when the provider lies at its renewal.
async fn lives_on(lie: fn(&mut Value)) -> bool {
    let world = World::new();
    world.provider.state.lock().unwrap().refresh = Some("first".to_owned());
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    assert!(browser.session().is_some());
    world.provider.state.lock().unwrap().lie = Some(Box::new(lie));
    world.advance(600);
    let head = browser.get("/");
    let caller = world
        .identity
        .caller(&head, policy::Tokens::SessionOrBearer);
    let lives = matches!(caller.await, policy::Caller::Session(_));
    assert_eq!(world.provider.state.lock().unwrap().refreshes, 1);
    // Not for a moment only.
    let caller = world
        .identity
        .caller(&head, policy::Tokens::SessionOrBearer);
    assert_eq!(matches!(caller.await, policy::Caller::Session(_)), lives);
    lives
}

/// `oidcc-client-refreshtoken-test-plan`.
#[tokio::test]
async fn oidcc_client_test_refresh_token() {
    assert!(lives_on(|_| {}).await);
    // OpenID Connect Core §12.2: it need not have a nonce.
    assert!(lives_on(|claims| without(claims, "nonce")).await);
}

#[tokio::test]
async fn oidcc_client_test_refresh_token_invalid_issuer() {
    assert!(!lives_on(|claims| claims["iss"] = json!("https://other.example")).await);
    assert!(!lives_on(|claims| claims["iss"] = json!(format!("{ISSUER}/"))).await);
    assert!(!lives_on(|claims| without(claims, "iss")).await);
}

#[tokio::test]
async fn oidcc_client_test_refresh_token_invalid_sub() {
    assert!(!lives_on(|claims| claims["sub"] = json!("somebody else")).await);
    assert!(!lives_on(|claims| without(claims, "sub")).await);
}

/// The claims that name a client and a time count at a renewal, too.
#[tokio::test]
async fn a_renewal_is_verified_like_a_login() {
    assert!(!lives_on(|claims| claims["aud"] = json!("other")).await);
    assert!(!lives_on(|claims| without(claims, "iat")).await);
    assert!(!lives_on(|claims| claims["exp"] = json!(1)).await);
}
