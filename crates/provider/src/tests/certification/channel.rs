//! `oidcc-backchannel-rp-initiated-logout-certification-test-plan`.

use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};

use super::super::bed::{location, param};
use super::logout::{end_session, has_ended};
use super::party::{BYE, CHANNEL, ISSUER, Module};

#[tokio::test]
async fn oidcc_backchannel_logout_discovery_endpoint_verification() {
    let name = "oidcc-backchannel-logout-discovery-endpoint-verification";
    let module = Module::begin(name).await;
    let metadata = module.metadata().await;
    for name in [
        "backchannel_logout_supported",
        "backchannel_logout_session_supported",
    ] {
        assert_eq!(metadata[name], true, "{name}");
    }
    let endpoint = metadata["end_session_endpoint"].as_str().unwrap();
    assert!(endpoint.starts_with("https://"), "{endpoint}");
    module.end();
}

#[tokio::test]
async fn oidcc_backchannel_rp_initiated_logout() {
    let mut module = Module::begin("oidcc-backchannel-rp-initiated-logout").await;
    let params = module.request("openid");
    let tokens = module.flow(&params).await;
    let state = module.random(128);
    let params = vec![
        ("id_token_hint", tokens.text("id_token").to_owned()),
        ("post_logout_redirect_uri", BYE.to_owned()),
        ("state", state.clone()),
    ];
    let reply = end_session(&mut module, &params).await;
    let to = location(&reply);
    assert_eq!(param(&to, "state"), Some(state));
    module.warn_unless(!to.contains('&'));
    // The call is made beside the answer.
    let posts = module.bed.posts.clone();
    while posts.0.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let (uri, form) = posts.0.lock().unwrap().first().cloned().unwrap();
    assert_eq!(uri, CHANNEL);
    let token = form.strip_prefix("logout_token=").unwrap();
    module.warn_unless(!token.contains('&'));

    // `ValidateLogoutTokenSignature` and `…Claims`.
    let metadata = module.metadata().await;
    let keys = module.keys(&metadata).await;
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = keys.find(&header.kid.unwrap()).expect("a published key");
    let mut rules = Validation::new(header.alg);
    rules.validate_exp = false;
    rules.set_audience(&[module.client.0]);
    rules.set_issuer(&[ISSUER]);
    let key = DecodingKey::from_jwk(key).unwrap();
    let claims = jsonwebtoken::decode::<Value>(token, &key, &rules)
        .unwrap()
        .claims;
    let iat = claims["iat"].as_u64().unwrap();
    assert!(iat <= module.bed.now() && module.bed.now() - iat < 86_400);
    assert!(claims["jti"].as_str().is_some_and(|jti| !jti.is_empty()));
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    assert_eq!(claims["events"], event);
    assert_eq!(claims["sub"], tokens.claims["sub"]);
    assert!(claims["sid"].is_string());
    assert_eq!(claims["sid"], tokens.claims["sid"]);
    assert_eq!(claims.get("nonce"), None);
    assert!(has_ended(&mut module).await);
    module.end();
}
