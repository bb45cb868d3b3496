//! Tokens by way of the browser, where `oauth2.responseTypes` has them.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::Value;
use url::form_urlencoded::parse;

use super::bed::{
    Bed, Browser, PASSWORD, SKIP_APPROVAL, config, json, location, param, request_but,
};
use super::sessions::claims;
use crate::keys::Algorithm;
use crate::token::access_token_hash;

const OFFERED: &str =
    "oauth2: {skipApprovalScreen: true, responseTypes: [code, token, id_token]}\n";

/// What is behind the `#` of an address that has nothing behind a `?`.
fn fragment(to: &str) -> BTreeMap<String, String> {
    let (path, fragment) = to.split_once('#').unwrap_or_else(|| panic!("{to}"));
    assert_eq!(path, "/oauth2/callback");
    parse(fragment.as_bytes()).into_owned().collect()
}

async fn answer(bed: &Bed, kind: &'static str) -> BTreeMap<String, String> {
    let mut browser = Browser::default();
    let page = browser
        .start(bed, &request_but("response_type", kind))
        .await;
    let reply = browser
        .log_in(bed, &page, "user@example.com", PASSWORD)
        .await;
    assert_eq!(reply.status(), StatusCode::SEE_OTHER);
    fragment(&location(&reply))
}

#[tokio::test]
async fn tokens_go_by_the_browser_where_they_are_offered() {
    let bed = Bed::with(&config(OFFERED));
    for kind in [
        "id_token",
        "token id_token",
        "code id_token",
        "code token",
        "code id_token token",
    ] {
        let got = answer(&bed, kind).await;
        assert_eq!(
            (got["state"].as_str(), got.contains_key("iss")),
            ("st&te", true)
        );
        let has = |word: &str| kind.split(' ').any(|asked| asked == word);
        for (name, there) in [
            ("code", has("code")),
            ("id_token", has("id_token")),
            ("access_token", has("token")),
            ("refresh_token", false),
        ] {
            assert_eq!(got.contains_key(name), there, "{kind}: {name}");
        }
        if let Some(token) = got.get("access_token") {
            assert_eq!(
                (got["token_type"].as_str(), got["expires_in"].as_str()),
                ("Bearer", "86400")
            );
            assert_eq!(got["scope"], "openid profile email groups");
            let told = json(&bed.userinfo(token).await);
            assert_eq!(told["email"], "User@example.com", "{kind}");
        }
        if let Some(token) = got.get("id_token") {
            let said = claims(token);
            assert_eq!(
                (&said["nonce"], &said["aud"]),
                (&"n-1".into(), &"platform".into())
            );
            let hash = |name: &str| match got.get(name) {
                Some(value) => access_token_hash(Algorithm::Rs256, value).into(),
                None => Value::Null,
            };
            assert_eq!(said["at_hash"], hash("access_token"), "{kind}");
            assert_eq!(said["c_hash"], hash("code"), "{kind}");
        }
        if let Some(code) = got.get("code") {
            let (status, tokens) = bed.redeem(code).await;
            assert_eq!(status, StatusCode::OK, "{kind}: {tokens}");
            // The tokens of the browser are others and end by themselves.
            bed.redeem(code).await;
            let first = tokens["access_token"].as_str().unwrap();
            assert_eq!(bed.userinfo(first).await.status(), StatusCode::UNAUTHORIZED);
            if let Some(token) = got.get("access_token") {
                assert_eq!(bed.userinfo(token).await.status(), StatusCode::OK);
            }
        }
    }
    let found = json(&bed.get("/dex/.well-known/openid-configuration").await);
    let types = found["response_types_supported"].as_array().unwrap();
    assert_eq!(types.len(), 6);
    assert_eq!(
        found["response_modes_supported"],
        serde_json::json!(["query", "fragment"])
    );
    let grants = found["grant_types_supported"].as_array().unwrap();
    assert!(grants.contains(&"implicit".into()), "{grants:?}");
}

#[tokio::test]
async fn tokens_by_the_browser_are_off_unless_configured() {
    let ask = async |bed: &Bed, params: &[(&str, &str)]| {
        location(&Browser::default().ask(bed, params).await)
    };
    let bed = Bed::with(&config(SKIP_APPROVAL));
    for kind in [
        "token",
        "id_token",
        "id_token token",
        "code token",
        "code id_token",
    ] {
        let to = ask(&bed, &request_but("response_type", kind)).await;
        assert_eq!(
            param(&to, "error").as_deref(),
            Some("unsupported_response_type"),
            "{kind}"
        );
    }
    let found = json(&bed.get("/dex/.well-known/openid-configuration").await);
    assert_eq!(
        found["response_types_supported"],
        serde_json::json!(["code"])
    );

    let bed = Bed::with(&config(OFFERED));
    let tokens = |name: &'static str, value: &'static str| {
        let mut params = request_but(name, value);
        params.retain(|(name, _)| *name != "response_type");
        params.push(("response_type", "id_token token"));
        params
    };
    for (params, why) in [
        (tokens("nonce", ""), "nonce"),
        (tokens("response_mode", "query"), "response_mode"),
        (tokens("prompt", "sometimes"), "prompt"),
    ] {
        let got = fragment(&ask(&bed, &params).await);
        assert_eq!(got["error"], "invalid_request");
        assert!(got["error_description"].contains(why), "{got:?}");
        assert_eq!(got["state"], "st&te");
    }
    // An access token by itself is for nobody.
    let to = ask(&bed, &request_but("response_type", "token")).await;
    assert_eq!(
        param(&to, "error").as_deref(),
        Some("unsupported_response_type")
    );
    // With a code, PKCE is what it is without tokens.
    let mut public = request_but("response_type", "code id_token");
    public.retain(|(name, _)| !name.starts_with("code_challenge") && *name != "client_id");
    public.retain(|(name, _)| *name != "redirect_uri");
    public.extend([
        ("client_id", "cli"),
        ("redirect_uri", "http://localhost/cb"),
    ]);
    let to = ask(&bed, &public).await;
    assert!(to.contains("#error=invalid_request"), "{to}");

    let less = config(OFFERED).replace(
        "{id: platform,",
        "{id: platform, grantTypes: [authorization_code],",
    );
    let bed = Bed::with(&less);
    let got = fragment(&ask(&bed, &request_but("response_type", "id_token")).await);
    assert_eq!(got["error"], "unauthorized_client");
    let to = ask(&bed, &request_but("response_type", "code")).await;
    assert!(to.starts_with("/dex/auth/local"), "{to}");
}
