//! `oidcc-rp-initiated-logout-certification-test-plan`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Response;

use super::super::bed::{form, location, param, text};
use super::party::{BYE, Module, Params, Tokens, pairs};

/// Logs in; the request that ends it with everything in it.
async fn logged_in(module: &mut Module) -> (Tokens, Params) {
    let params = module.request("openid");
    let tokens = module.flow(&params).await;
    let params = vec![
        ("id_token_hint", tokens.text("id_token").to_owned()),
        ("post_logout_redirect_uri", BYE.to_owned()),
        ("state", module.random(128)),
    ];
    (tokens, params)
}

pub(super) async fn end_session(module: &mut Module, params: &Params) -> Response<Bytes> {
    let uri = format!("/dex/logout?{}", pairs(params));
    module.browser.visit(&module.bed, &uri).await
}

/// The second authorization, with `prompt=none`: whether the session has ended.
pub(super) async fn has_ended(module: &mut Module) -> bool {
    let mut params = module.request("openid");
    params.push(("prompt", "none".to_owned()));
    let reply = module.send(&params).await;
    let callback = module.callback(&reply, &params);
    match callback.get("error") {
        "" => false,
        _ => {
            module.error(&reply, &params, &["login_required"]);
            true
        }
    }
}

fn without(params: &mut Params, names: &[&str]) {
    params.retain(|(name, _)| !names.contains(name));
}

/// A request that is refused with a page, and ends nothing.
async fn refused(name: &'static str, says: &str, change: impl FnOnce(&Tokens, &mut Params)) {
    let mut module = Module::begin(name).await;
    let (tokens, mut params) = logged_in(&mut module).await;
    change(&tokens, &mut params);
    let page = end_session(&mut module, &params).await;
    module.review(&page, says);
    assert!(!has_ended(&mut module).await);
    module.end();
}

/// A request that asks the person, and then ends the session without going anywhere.
async fn asked(name: &'static str, left_out: &[&str]) {
    let mut module = Module::begin(name).await;
    let (_, mut params) = logged_in(&mut module).await;
    without(&mut params, left_out);
    let mut page = end_session(&mut module, &params).await;
    if text(&page).contains("name=\"logout\"") {
        let shown = text(&page);
        let action = shown
            .split_once("action=\"")
            .unwrap()
            .1
            .split_once('"')
            .unwrap()
            .0;
        let yes = form(action, &[("logout", "yes")]);
        page = module.browser.send(&module.bed, yes).await;
    }
    module.review(&page, "You are logged out");
    assert!(has_ended(&mut module).await);
    module.end();
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_discovery_endpoint_verification() {
    let name = "oidcc-rp-initiated-logout-discovery-endpoint-verification";
    let module = Module::begin(name).await;
    let metadata = module.metadata().await;
    let endpoint = metadata["end_session_endpoint"].as_str().unwrap();
    assert!(endpoint.starts_with("https://"), "{endpoint}");
    module.end();
}

/// A request that leads to the registered address with these parameters and nothing else.
async fn led_back(name: &'static str, left_out: &[&str]) {
    let mut module = Module::begin(name).await;
    let (_, mut params) = logged_in(&mut module).await;
    without(&mut params, left_out);
    let reply = end_session(&mut module, &params).await;
    let to = location(&reply);
    let state = params.iter().find(|(name, _)| *name == "state");
    match state {
        Some((_, state)) => {
            assert_eq!(param(&to, "state").as_ref(), Some(state));
            assert_eq!(to.split('?').next(), Some(BYE));
        }
        None => assert_eq!(to, BYE),
    }
    module.warn_unless(!to.contains('&'));
    assert!(has_ended(&mut module).await);
    module.end();
}

#[tokio::test]
async fn oidcc_rp_initiated_logout() {
    led_back("oidcc-rp-initiated-logout", &[]).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_bad_post_logout_redirect_uri() {
    let name = "oidcc-rp-initiated-logout-bad-post-logout-redirect-uri";
    refused(name, "post_logout_redirect_uri", |_, params| {
        without(params, &["post_logout_redirect_uri"]);
        params.push(("post_logout_redirect_uri", format!("{BYE}/not-registered")));
    })
    .await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_modified_id_token_hint() {
    let name = "oidcc-rp-initiated-logout-modified-id-token-hint";
    refused(name, "id_token_hint", |tokens, params| {
        without(params, &["id_token_hint"]);
        let payload = tokens.text("id_token").split('.').nth(1).unwrap();
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        params.push(("id_token_hint", format!("{header}.{payload}.")));
    })
    .await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_no_id_token_hint() {
    let name = "oidcc-rp-initiated-logout-no-id-token-hint";
    refused(name, "post_logout_redirect_uri", |_, params| {
        without(params, &["id_token_hint"]);
    })
    .await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_no_params() {
    let all = ["id_token_hint", "post_logout_redirect_uri", "state"];
    asked("oidcc-rp-initiated-logout-no-params", &all).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_no_post_logout_redirect_uri() {
    let name = "oidcc-rp-initiated-logout-no-post-logout-redirect-uri";
    asked(name, &["post_logout_redirect_uri"]).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_no_state() {
    led_back("oidcc-rp-initiated-logout-no-state", &["state"]).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_only_state() {
    let left_out = ["id_token_hint", "post_logout_redirect_uri"];
    asked("oidcc-rp-initiated-logout-only-state", &left_out).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri() {
    let name = "oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri";
    refused(name, "post_logout_redirect_uri", |_, params| {
        without(params, &["post_logout_redirect_uri"]);
        params.push(("post_logout_redirect_uri", format!("{BYE}?foo=bar")));
    })
    .await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_bad_id_token_hint() {
    let name = "oidcc-rp-initiated-logout-bad-id-token-hint";
    refused(name, "id_token_hint", |tokens, params| {
        without(params, &["id_token_hint"]);
        // The same claims, signed with the secret of the client.
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        let key = jsonwebtoken::EncodingKey::from_secret(b"secret of the first");
        let token = jsonwebtoken::encode(&header, &tokens.claims, &key).unwrap();
        params.push(("id_token_hint", token));
    })
    .await;
}
