//! Authorization requests that do not start a login.

use http::StatusCode;

use super::bed::{Bed, encode, location, param, request, request_but, text};

#[tokio::test]
async fn nothing_goes_to_an_address_that_is_not_registered() {
    let bed = Bed::new();
    for uri in [
        "https://evil.example/cb",
        "https://evil.example/oauth2/callback",
        "http://dex.auth.svc.cluster.local:5556/oauth2/callback",
        "//evil.example/oauth2/callback",
        "/oauth2/callback/",
        "/oauth2/callback?x=1",
        "/oauth2/callback/../../evil",
        "https://app.example/cb?x=1&y=2",
        "https://peer.example/cb",
        "http://127.0.0.1/cb",
        "javascript:alert(1)",
    ] {
        for (name, value) in [("state", "s"), ("response_type", "bad"), ("scope", "bad")] {
            let mut params = request_but("redirect_uri", uri);
            params.retain(|(key, _)| *key != name);
            params.push((name, value));
            let reply = bed.get(&format!("/dex/auth?{}", encode(&params))).await;
            assert_eq!(reply.status(), StatusCode::BAD_REQUEST, "{uri}");
            assert!(reply.headers().get("location").is_none(), "{uri}");
            assert!(reply.headers().get("set-cookie").is_none(), "{uri}");
            assert!(text(&reply).contains("redirect_uri"), "{uri}");
        }
    }
    for (name, value) in [
        ("client_id", ""),
        ("client_id", "nobody"),
        ("redirect_uri", ""),
    ] {
        let reply = bed
            .get(&format!("/dex/auth?{}", encode(&request_but(name, value))))
            .await;
        assert_eq!(reply.status(), StatusCode::BAD_REQUEST, "{name}={value}");
        assert!(reply.headers().get("location").is_none(), "{name}={value}");
    }
    let mut twice = request();
    twice.push(("redirect_uri", "https://evil.example/"));
    let reply = bed.get(&format!("/dex/auth?{}", encode(&twice))).await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn loopback_redirects_are_only_those() {
    let bed = Bed::new();
    for (uri, allowed) in [
        ("http://localhost:1234/cb", true),
        ("http://127.0.0.1/cb", true),
        ("http://[::1]:9/cb", true),
        ("https://localhost/cb", false),
        ("http://127.1/cb", false),
        ("http://2130706433/cb", false),
        ("HTTP://localhost/cb", false),
        ("http://local\thost/cb", false),
        ("http://localhost.evil.example/cb", false),
        ("http://localhost@evil.example/cb", false),
        ("http://127.0.0.1/cb#x", false),
        ("http://10.0.0.1/cb", false),
    ] {
        let mut params = request_but("redirect_uri", uri);
        params.retain(|(name, _)| *name != "client_id");
        params.push(("client_id", "cli"));
        let reply = bed.get(&format!("/dex/auth?{}", encode(&params))).await;
        assert_eq!(reply.status() == StatusCode::FOUND, allowed, "{uri}");
    }
}

#[tokio::test]
async fn errors_of_a_known_client_go_back_to_it() {
    let bed = Bed::new();
    let plain = "0123456789-0123456789-0123456789-0123456789";
    for (name, value, error) in [
        ("response_type", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        (
            "response_type",
            "code id_token",
            "unsupported_response_type",
        ),
        ("response_mode", "form_post", "invalid_request"),
        ("scope", "", "invalid_scope"),
        ("scope", "email", "invalid_scope"),
        ("scope", "openid bogus", "invalid_scope"),
        (
            "scope",
            "openid audience:server:client_id:cli",
            "invalid_scope",
        ),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("prompt", "none login", "invalid_request"),
        ("prompt", "create", "invalid_request"),
        ("max_age", "-1", "invalid_request"),
        ("request", "abc", "request_not_supported"),
        ("request_uri", "https://x/", "request_uri_not_supported"),
    ] {
        let reply = bed
            .get(&format!("/dex/auth?{}", encode(&request_but(name, value))))
            .await;
        let back = location(&reply);
        assert!(
            back.starts_with("/oauth2/callback?error="),
            "{name}={value}: {back}"
        );
        assert_eq!(
            param(&back, "error").as_deref(),
            Some(error),
            "{name}={value}"
        );
        assert_eq!(
            param(&back, "state").as_deref(),
            Some("st&te"),
            "{name}={value}"
        );
    }
    let mut params = request_but("code_challenge_method", "");
    params.retain(|(name, _)| *name != "code_challenge");
    params.push(("code_challenge", plain));
    let reply = bed.get(&format!("/dex/auth?{}", encode(&params))).await;
    assert_eq!(
        param(&location(&reply), "error").unwrap(),
        "invalid_request"
    );
}

#[tokio::test]
async fn pkce_can_be_demanded() {
    let bed = Bed::with(&super::bed::config("oauth2: {pkce: {enforce: true}}\n"));
    let mut params = request_but("code_challenge", "");
    params.retain(|(name, _)| *name != "code_challenge_method");
    let reply = bed.get(&format!("/dex/auth?{}", encode(&params))).await;
    assert_eq!(
        param(&location(&reply), "error").unwrap(),
        "invalid_request"
    );
}

#[tokio::test]
async fn oversized_requests_are_refused() {
    let bed = Bed::new();
    let long = "x".repeat(5000);
    for (name, size) in [
        ("state", 4097),
        ("nonce", 513),
        ("scope", 1025),
        ("redirect_uri", 2049),
    ] {
        let mut params = request();
        params.retain(|(key, _)| *key != name);
        let value = long.get(..size).unwrap();
        params.push((name, value));
        let reply = bed.get(&format!("/dex/auth?{}", encode(&params))).await;
        let refused = reply.status() == StatusCode::BAD_REQUEST
            || param(&location(&reply), "error").is_some();
        assert!(refused, "{name}");
    }
    let reply = bed
        .get(&format!("/dex/auth?x={}", "x".repeat(20_000)))
        .await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
}
