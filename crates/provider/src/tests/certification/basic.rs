//! `oidcc-basic-certification-test-plan`.

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::Value;

use super::super::bed::{form, json};
use super::party::{Auth, CALLBACK, Module, Params, SECOND, Tokens, described, value};

/// The happy flow with one parameter more, which must not hinder it.
async fn flow_with(name: &'static str, parameter: &'static str, text: &str) {
    let mut module = Module::begin(name).await;
    let mut params = module.request("openid");
    params.push((parameter, text.to_owned()));
    module.flow(&params).await;
    module.end();
}

/// Whether claims of ID tokens are only those that were asked for.
fn only_requested(claims: &Value, more: &[&str]) -> bool {
    let known = [
        "iss",
        "sub",
        "aud",
        "exp",
        "iat",
        "auth_time",
        "nonce",
        "acr",
        "amr",
        "azp",
        "at_hash",
        "c_hash",
        "nbf",
        "jti",
        "sid",
        "s_hash",
    ];
    let names = claims.as_object().unwrap().keys();
    names
        .map(String::as_str)
        .all(|name| known.contains(&name) || more.contains(&name))
}

#[tokio::test]
async fn oidcc_server() {
    let mut module = Module::begin("oidcc-server").await;
    let params = module.request("openid");
    let tokens = module.flow(&params).await;
    // `EnsureIdTokenDoesNotContainName` and `…NonRequestedClaims`.
    module.warn_unless(only_requested(&tokens.claims, &[]));
    module.end();
}

#[tokio::test]
async fn oidcc_response_type_missing() {
    let mut module = Module::begin("oidcc-response-type-missing").await;
    let mut params = module.request("openid");
    params.retain(|(name, _)| *name != "response_type");
    let reply = module.send(&params).await;
    module.error(
        &reply,
        &params,
        &["invalid_request", "unsupported_response_type"],
    );
    module.end();
}

#[tokio::test]
async fn oidcc_idtoken_signature() {
    let mut module = Module::begin("oidcc-idtoken-signature").await;
    let params = module.request("openid");
    let tokens = module.flow(&params).await;
    let header = jsonwebtoken::decode_header(tokens.text("id_token")).unwrap();
    assert!(header.kid.is_some());
    assert_eq!(header.alg, jsonwebtoken::Algorithm::RS256);
    module.end();
}

#[tokio::test]
async fn oidcc_idtoken_unsigned() {
    let mut module = Module::begin("oidcc-idtoken-unsigned").await;
    let offered = module.metadata().await["id_token_signing_alg_values_supported"].clone();
    assert!(!offered.as_array().unwrap().contains(&"none".into()));
    module.skip();
    module.end();
}

/// A login, and userinfo asked in that way.
async fn userinfo(name: &'static str, request: impl FnOnce(&Tokens) -> Option<Request<Bytes>>) {
    let mut module = Module::begin(name).await;
    let params = module.request("openid");
    let tokens = module.flow(&params).await;
    module.userinfo(&tokens, request(&tokens)).await;
    module.end();
}

#[tokio::test]
async fn oidcc_userinfo_get() {
    userinfo("oidcc-userinfo-get", |_| None).await;
}

#[tokio::test]
async fn oidcc_userinfo_post_header() {
    let post = |tokens: &Tokens| {
        let header = format!("Bearer {}", tokens.text("access_token"));
        let request = Request::post("/dex/userinfo").header("authorization", header);
        Some(request.body(Bytes::new()).unwrap())
    };
    userinfo("oidcc-userinfo-post-header", post).await;
}

#[tokio::test]
async fn oidcc_userinfo_post_body() {
    let post = |tokens: &Tokens| {
        let token = tokens.text("access_token");
        Some(form("/dex/userinfo", &[("access_token", token)]))
    };
    userinfo("oidcc-userinfo-post-body", post).await;
}

#[tokio::test]
async fn oidcc_ensure_request_without_nonce_succeeds_for_code_flow() {
    let name = "oidcc-ensure-request-without-nonce-succeeds-for-code-flow";
    let mut module = Module::begin(name).await;
    let mut params = module.request("openid");
    params.retain(|(name, _)| *name != "nonce");
    let callback = module.authorize(&params).await;
    let reply = module.redeem(&callback).await;
    module.checked(&reply, None).await;
    module.end();
}

/// `AbstractOIDCCReturnedClaimsServerTest`: skipped unless the scopes are offered; otherwise userinfo
/// should have all of their claims.
async fn scope(name: &'static str, scope: &str, claims: &[&str]) {
    let mut module = Module::begin(name).await;
    let offered = module.metadata().await["scopes_supported"].clone();
    let offers = |scope: &str| offered.as_array().unwrap().contains(&scope.into());
    if scope.split(' ').all(offers) {
        let params = module.request(scope);
        let tokens = module.flow(&params).await;
        let about = module.userinfo(&tokens, None).await;
        module.warn_unless(claims.iter().all(|claim| about.get(claim).is_some()));
    } else {
        // What is not offered is refused, and not passed over.
        let params = module.request(scope);
        let reply = module.send(&params).await;
        module.error(&reply, &params, &["invalid_scope"]);
        module.skip();
    }
    module.end();
}

const PROFILE: [&str; 14] = [
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "updated_at",
    "preferred_username",
];

#[tokio::test]
async fn oidcc_scope_profile() {
    scope("oidcc-scope-profile", "openid profile", &PROFILE).await;
}

#[tokio::test]
async fn oidcc_scope_email() {
    let claims = ["email", "email_verified"];
    scope("oidcc-scope-email", "openid email", &claims).await;
}

#[tokio::test]
async fn oidcc_scope_address() {
    scope("oidcc-scope-address", "openid address", &["address"]).await;
}

#[tokio::test]
async fn oidcc_scope_phone() {
    let claims = ["phone_number", "phone_number_verified"];
    scope("oidcc-scope-phone", "openid phone", &claims).await;
}

#[tokio::test]
async fn oidcc_scope_all() {
    let scopes = "openid email phone address profile";
    scope("oidcc-scope-all", scopes, &PROFILE).await;
}

#[tokio::test]
async fn oidcc_alternate_happy_flow() {
    let mut module = Module::begin("oidcc-alternate-happy-flow").await;
    let mut params = module.request("email openid");
    params.sort_by(|(a, _), (b, _)| b.cmp(a));
    let tokens = module.flow(&params).await;
    let about = module.userinfo(&tokens, None).await;
    assert!(about["email"].is_string() && about["email_verified"].is_boolean());
    module.end();
}

#[tokio::test]
async fn oidcc_display_page() {
    flow_with("oidcc-display-page", "display", "page").await;
}

#[tokio::test]
async fn oidcc_display_popup() {
    flow_with("oidcc-display-popup", "display", "popup").await;
}

fn auth_time(tokens: &Tokens) -> u64 {
    tokens.claims["auth_time"].as_u64().expect("auth_time")
}

/// A second login that asks for the password again, with a later time in its ID token.
async fn again(name: &'static str, wait: u64, more: (&'static str, &str)) {
    let mut module = Module::begin(name).await;
    let params = module.request("openid");
    let first = module.flow(&params).await;
    module.bed.pass(wait);
    let mut params = module.request("openid");
    params.push((more.0, more.1.to_owned()));
    let to = module.browser.clone();
    let second = module.flow(&params).await;
    assert_eq!(module.logins, 2);
    assert!(auth_time(&second) > auth_time(&first));
    assert_eq!(auth_time(&second), module.bed.now());
    // The page of which the person makes the screenshot.
    let mut browser = to;
    let page = browser.start(&module.bed, &borrowed(&params)).await;
    let page = browser.visit(&module.bed, &page).await;
    module.review(&page, "name=\"password\"");
    module.end();
}

fn borrowed(params: &Params) -> Vec<(&str, &str)> {
    params.iter().map(|(name, text)| (*name, &**text)).collect()
}

#[tokio::test]
async fn oidcc_prompt_login() {
    again("oidcc-prompt-login", 1, ("prompt", "login")).await;
}

const INTERACTION: [&str; 4] = [
    "interaction_required",
    "login_required",
    "account_selection_required",
    "consent_required",
];

#[tokio::test]
async fn oidcc_prompt_none_not_logged_in() {
    let mut module = Module::begin("oidcc-prompt-none-not-logged-in").await;
    let mut params = module.request("openid");
    params.retain(|(name, _)| *name != "state");
    params.push(("state", module.random(128)));
    params.push(("prompt", "none".to_owned()));
    let reply = module.send(&params).await;
    module.error(&reply, &params, &INTERACTION);
    module.end();
}

/// `AbstractOIDCCSameAuthTwiceServerTest`: a second answer about the same login, without a page.
async fn twice(
    name: &'static str,
    first: &[(&'static str, &str)],
    second: impl FnOnce(&Tokens) -> Vec<(&'static str, String)>,
) {
    let mut module = Module::begin(name).await;
    let mut params = module.request("openid");
    params.extend(first.iter().map(|(name, text)| (*name, (*text).to_owned())));
    let before = module.flow(&params).await;
    module.bed.pass(5);
    let mut params = module.request("openid");
    params.extend(second(&before));
    let after = module.flow(&params).await;
    assert_eq!(module.logins, 1, "no second login page");
    assert_eq!(auth_time(&after), auth_time(&before));
    assert_eq!(after.claims["sub"], before.claims["sub"]);
    module.end();
}

#[tokio::test]
async fn oidcc_prompt_none_logged_in() {
    let none = |_: &Tokens| vec![("prompt", "none".to_owned())];
    twice("oidcc-prompt-none-logged-in", &[], none).await;
}

#[tokio::test]
async fn oidcc_max_age_1() {
    again("oidcc-max-age-1", 2, ("max_age", "1")).await;
}

#[tokio::test]
async fn oidcc_max_age_10000() {
    let second = |_: &Tokens| vec![("max_age", "10000".to_owned())];
    twice("oidcc-max-age-10000", &[("max_age", "15000")], second).await;
}

#[tokio::test]
async fn oidcc_ensure_request_with_unknown_parameter_succeeds() {
    let name = "oidcc-ensure-request-with-unknown-parameter-succeeds";
    flow_with(name, "extra", "foobar").await;
}

#[tokio::test]
async fn oidcc_id_token_hint() {
    let second = |before: &Tokens| {
        let hint = before.text("id_token").to_owned();
        vec![("prompt", "none".to_owned()), ("id_token_hint", hint)]
    };
    twice("oidcc-id-token-hint", &[], second).await;
}

#[tokio::test]
async fn oidcc_login_hint() {
    flow_with("oidcc-login-hint", "login_hint", "buffy@op.example").await;
}

#[tokio::test]
async fn oidcc_ui_locales() {
    flow_with("oidcc-ui-locales", "ui_locales", "se").await;
}

#[tokio::test]
async fn oidcc_claims_locales() {
    flow_with("oidcc-claims-locales", "claims_locales", "se").await;
}

#[tokio::test]
async fn oidcc_ensure_request_with_acr_values_succeeds() {
    let name = "oidcc-ensure-request-with-acr-values-succeeds";
    let mut module = Module::begin(name).await;
    let values = match module.metadata().await.get("acr_values_supported") {
        Some(Value::Array(values)) => {
            let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            values.join(" ")
        }
        _ => "1 2".to_owned(),
    };
    let mut params = module.request("openid");
    params.push(("acr_values", values.clone()));
    let tokens = module.flow(&params).await;
    let acr = tokens.claims["acr"].as_str();
    module.warn_unless(acr.is_some_and(|acr| values.split(' ').any(|value| value == acr)));
    module.end();
}

/// A code a second time: `invalid_grant`.
async fn reuse(name: &'static str, wait: u64) {
    let mut module = Module::begin(name).await;
    let params = module.request("openid");
    let callback = module.authorize(&params).await;
    let tokens = module.tokens(&callback, &params).await;
    module.userinfo(&tokens, None).await;
    module.bed.pass(wait);
    let reply = module.redeem(&callback).await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
    assert_eq!(reply.headers()["content-type"], "application/json");
    assert_eq!(json(&reply)["error"], "invalid_grant");
    described(
        json(&reply)["error_description"]
            .as_str()
            .unwrap_or_default(),
    );
    let status = module
        .bed
        .userinfo(tokens.text("access_token"))
        .await
        .status();
    module.warn_unless(status.is_client_error());
    module.end();
}

#[tokio::test]
async fn oidcc_codereuse() {
    reuse("oidcc-codereuse", 0).await;
}

#[tokio::test]
async fn oidcc_codereuse_30seconds() {
    reuse("oidcc-codereuse-30seconds", 30).await;
}

#[tokio::test]
async fn oidcc_ensure_registered_redirect_uri() {
    let mut module = Module::begin("oidcc-ensure-registered-redirect-uri").await;
    let mut params = module.request("openid");
    let bad = format!("{CALLBACK}{}", module.random(10));
    params.retain(|(name, _)| *name != "redirect_uri");
    params.push(("redirect_uri", bad));
    let page = module.send(&params).await;
    module.review(&page, "redirect_uri");
    module.end();
}

#[tokio::test]
async fn oidcc_ensure_post_request_succeeds() {
    let mut module = Module::begin("oidcc-ensure-post-request-succeeds").await;
    let params = module.request("openid");
    let posted = form("/dex/auth", &borrowed(&params));
    let reply = module.browser.send(&module.bed, posted).await;
    let reply = module.follow(reply).await;
    let callback = module.callback(&reply, &params);
    let tokens = module.tokens(&callback, &params).await;
    module.userinfo(&tokens, None).await;
    module.end();
}

#[tokio::test]
async fn oidcc_server_client_secret_post() {
    let mut module = Module::begin("oidcc-server-client-secret-post").await;
    module.auth = Auth::Post;
    let params = module.request("openid");
    module.flow(&params).await;
    module.end();
}

/// A request object without signature, as `SerializeRequestObjectWithNullAlgorithm` makes it.
fn request_object(params: &Params) -> String {
    use base64::Engine as _;
    let encode = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let claims: serde_json::Map<String, Value> = params
        .iter()
        .map(|(name, text)| ((*name).to_owned(), text.as_str().into()))
        .collect();
    let header = encode(r#"{"alg":"none"}"#.to_owned());
    format!("{header}.{}.", encode(Value::Object(claims).to_string()))
}

/// What has to be a parameter although it is in the object.
fn duplicates(params: &Params) -> Params {
    let required = ["response_type", "client_id", "scope", "redirect_uri"];
    let kept = params.iter().filter(|(name, _)| required.contains(name));
    kept.cloned().collect()
}

/// A request whose parameters are elsewhere: refused with that error, as what is not offered.
async fn elsewhere(name: &'static str, parameter: &'static str, error: &str) {
    let mut module = Module::begin(name).await;
    let params = module.request("openid");
    let mut sent = duplicates(&params);
    sent.push((
        parameter,
        match parameter {
            "request" => request_object(&params),
            _ => "https://suite.example/test/a/sidegate/requesturi/x#1".to_owned(),
        },
    ));
    let reply = module.send(&sent).await;
    let callback = module.callback(&reply, &sent);
    assert_eq!(callback.get("error"), error);
    let supported = format!("{parameter}_parameter_supported");
    assert_eq!(module.metadata().await[supported], false);
    module.skip();
    module.end();
}

#[tokio::test]
async fn oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported() {
    let name = "oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported";
    elsewhere(name, "request_uri", "request_uri_not_supported").await;
}

#[tokio::test]
async fn oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported() {
    let name = "oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported";
    elsewhere(name, "request", "request_not_supported").await;
}

#[tokio::test]
async fn oidcc_claims_essential() {
    let mut module = Module::begin("oidcc-claims-essential").await;
    let mut params = module.request("openid");
    params.push((
        "claims",
        r#"{"userinfo":{"name":{"essential":true}}}"#.to_owned(),
    ));
    let tokens = module.flow(&params).await;
    let about = module.userinfo(&tokens, None).await;
    module.warn_unless(about["name"].as_str().is_some_and(|name| !name.is_empty()));
    module.warn_unless(tokens.claims.get("name").is_none());
    module.end();
}

#[tokio::test]
async fn oidcc_ensure_request_object_with_redirect_uri() {
    let mut module = Module::begin("oidcc-ensure-request-object-with-redirect-uri").await;
    let params = module.request("openid");
    let mut sent = duplicates(&params);
    sent.retain(|(name, _)| *name != "redirect_uri");
    sent.push(("redirect_uri", format!("{CALLBACK}_invalid")));
    sent.push(("request", request_object(&params)));
    let page = module.send(&sent).await;
    module.review(&page, "redirect_uri");
    module.end();
}

/// Of one client: a login with `offline_access`, and its refresh token used; the new one.
async fn refreshed(module: &mut Module, with_scope: bool) -> String {
    let mut params = module.request("openid offline_access");
    params.push(("prompt", "consent".to_owned()));
    let callback = module.authorize(&params).await;
    let first = module.tokens(&callback, &params).await;
    let token = first.text("refresh_token").to_owned();
    assert!(token.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) && token.len() * 8 >= 128);
    module.bed.pass(1);
    let mut asked = vec![("grant_type", "refresh_token"), ("refresh_token", &*token)];
    if with_scope {
        asked.push(("scope", "openid offline_access"));
    }
    let reply = module.post("/dex/token", &asked).await;
    let second = module.checked(&reply, None).await;
    // `CompareIdTokenClaims`.
    for claim in ["iss", "sub", "aud", "auth_time"] {
        assert_eq!(second.claims[claim], first.claims[claim], "{claim}");
    }
    assert_eq!(second.claims.get("azp"), first.claims.get("azp"));
    assert_ne!(second.claims["iat"], first.claims["iat"]);
    assert_ne!(second.text("access_token"), first.text("access_token"));
    module.userinfo(&second, None).await;
    second.text("refresh_token").to_owned()
}

#[tokio::test]
async fn oidcc_refresh_token() {
    let mut module = Module::begin("oidcc-refresh-token").await;
    let metadata = module.metadata().await;
    assert!(
        metadata["grant_types_supported"]
            .to_string()
            .contains("refresh_token")
    );
    refreshed(&mut module, true).await;
    let first = module.client;
    module.client = SECOND;
    let token = refreshed(&mut module, false).await;
    // The token of the second client is none of the first.
    module.client = first;
    let asked = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
    let reply = module.post("/dex/token", &asked).await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
    assert_eq!(reply.headers()["content-type"], "application/json");
    assert_eq!(json(&reply)["error"], "invalid_grant");
    module.end();
}

#[tokio::test]
async fn oidcc_ensure_request_with_valid_pkce_succeeds() {
    use base64::Engine as _;
    use sha2::Digest as _;
    let mut module = Module::begin("oidcc-ensure-request-with-valid-pkce-succeeds").await;
    let verifier = module.random(43);
    let digest = sha2::Sha256::digest(&verifier);
    let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
    let mut params = module.request("openid");
    params.push(("code_challenge", challenge));
    params.push(("code_challenge_method", "S256".to_owned()));
    let callback = module.authorize(&params).await;
    let asked = [
        ("grant_type", "authorization_code"),
        ("code", callback.get("code")),
        ("redirect_uri", CALLBACK),
        ("code_verifier", &verifier),
    ];
    let reply = module.post("/dex/token", &asked).await;
    let tokens = module.checked(&reply, Some(value(&params, "nonce"))).await;
    module.userinfo(&tokens, None).await;
    module.end();
}
