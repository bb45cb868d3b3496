//! What does not work, and how it says so.

use bytes::Bytes;
use http::{Request, StatusCode};

use super::bed::{
    Bed, Browser, PASSWORD, VERIFIER, encode, form, json, location, param, request, request_but,
    text,
};
use crate::Source;

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
        ("prompt", "none", "login_required"),
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
async fn pkce_is_enforced_once_it_was_sent() {
    let bed = Bed::new();
    for verifier in ["", "wrong-wrong-wrong-wrong-wrong-wrong-wrong-wrong"] {
        let code = bed.code(&request()).await;
        let mut params = vec![
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", "/oauth2/callback"),
        ];
        params.push(("code_verifier", verifier));
        assert_eq!(
            bed.token(&params).await.1["error"],
            "invalid_grant",
            "{verifier}"
        );
        // The code is gone with the failed attempt.
        assert_eq!(
            bed.redeem(&code).await.1["error"],
            "invalid_grant",
            "{verifier}"
        );
    }
    let mut without = request_but("code_challenge", "");
    without.retain(|(name, _)| *name != "code_challenge_method");
    let code = bed.code(&without).await;
    assert_eq!(
        bed.redeem(&code).await.1["error"],
        "invalid_grant",
        "a verifier out of nothing"
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
async fn a_code_works_once_and_its_replay_revokes() {
    let bed = Bed::new();
    let code = bed.code(&request()).await;
    let (status, tokens) = bed.redeem(&code).await;
    assert_eq!(status, StatusCode::OK);
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(bed.userinfo(access).await.status(), StatusCode::OK);

    assert_eq!(bed.redeem(&code).await.1["error"], "invalid_grant");
    let reply = bed.userinfo(access).await;
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
    assert!(
        reply.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .contains("invalid_token")
    );
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let params = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    assert_eq!(bed.token(&params).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn of_two_redemptions_at_once_one_wins() {
    let bed = Bed::new();
    let code = bed.code(&request()).await;
    let (a, b) = tokio::join!(bed.redeem(&code), bed.redeem(&code));
    let won = [a.0, b.0]
        .iter()
        .filter(|status| **status == StatusCode::OK)
        .count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_code_ends_after_a_minute() {
    let bed = Bed::new();
    let code = bed.code(&request()).await;
    bed.pass(60);
    assert_eq!(bed.redeem(&code).await.1["error"], "invalid_grant");
    let code = bed.code(&request()).await;
    bed.pass(59);
    assert_eq!(bed.redeem(&code).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_code_is_for_its_client_and_address() {
    let bed = Bed::new();
    let code = bed.code(&request()).await;
    let mut params = vec![
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "/oauth2/callback"),
        ("code_verifier", VERIFIER),
    ];
    let mut foreign = params.clone();
    foreign.extend([("client_id", "peer"), ("client_secret", "other")]);
    let reply = bed.send(form("/dex/token", &foreign)).await;
    assert_eq!(json(&reply)["error"], "invalid_grant");
    params[2].1 = "https://app.example/cb?x=1";
    assert_eq!(bed.token(&params).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn a_client_has_to_prove_itself() {
    let bed = Bed::new();
    let code = bed.code(&request()).await;
    for (id, secret, status, error) in [
        (
            "platform",
            "wrong",
            StatusCode::UNAUTHORIZED,
            "invalid_client",
        ),
        ("platform", "", StatusCode::UNAUTHORIZED, "invalid_client"),
        ("nobody", "x", StatusCode::UNAUTHORIZED, "invalid_client"),
        ("cli", "x", StatusCode::UNAUTHORIZED, "invalid_client"),
        ("", "x", StatusCode::UNAUTHORIZED, "invalid_client"),
    ] {
        let params = [
            ("client_id", id),
            ("client_secret", secret),
            ("grant_type", "authorization_code"),
            ("code", &code),
        ];
        let reply = bed.send(form("/dex/token", &params)).await;
        assert_eq!(
            (reply.status(), &json(&reply)["error"]),
            (status, &error.into()),
            "{id}"
        );
        assert!(reply.headers().contains_key("www-authenticate"), "{id}");
    }
    for header in [
        "Basic",
        "Basic !!",
        "Basic Og==",
        "Bearer abc",
        "Basic cGxhdGZvcm0=",
    ] {
        let mut request = form("/dex/token", &[("grant_type", "authorization_code")]);
        request
            .headers_mut()
            .insert("authorization", header.parse().unwrap());
        assert_eq!(
            bed.send(request).await.status(),
            StatusCode::UNAUTHORIZED,
            "{header}"
        );
    }
    // None of that used the code up.
    assert_eq!(bed.redeem(&code).await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_token_endpoint_refuses_other_requests() {
    let bed = Bed::new();
    for (params, error) in [
        (vec![], "invalid_request"),
        (vec![("grant_type", "password")], "unsupported_grant_type"),
        (
            vec![("grant_type", "authorization_code")],
            "invalid_request",
        ),
        (
            vec![("grant_type", "authorization_code"), ("code", "x.y")],
            "invalid_grant",
        ),
        (
            vec![("grant_type", "refresh_token"), ("refresh_token", "a.1.b")],
            "invalid_grant",
        ),
        (
            vec![("grant_type", "a"), ("grant_type", "b")],
            "invalid_request",
        ),
        (
            vec![("grant_type", "refresh_token"), ("client_secret", "x")],
            "invalid_request",
        ),
        (
            vec![("grant_type", "refresh_token"), ("client_id", "peer")],
            "invalid_request",
        ),
    ] {
        let (status, body) = bed.token(&params).await;
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::BAD_REQUEST, &error.into()),
            "{params:?}"
        );
    }
    let request = Request::post("/dex/token").body(Bytes::from("{}")).unwrap();
    assert_eq!(json(&bed.send(request).await)["error"], "invalid_request");
}

#[tokio::test]
async fn a_login_is_bound_to_its_browser_and_time() {
    let bed = Bed::new();
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;

    let mut other = Browser::default();
    other.start(&bed, &request()).await;
    let reply = other
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
    assert!(
        text(&reply).contains("/dex/auth?response_type=code"),
        "{}",
        text(&reply)
    );
    let reply = Browser::default()
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);

    let mut crossed = form(
        &page,
        &[("login", "user@example.com"), ("password", PASSWORD)],
    );
    crossed
        .headers_mut()
        .insert("sec-fetch-site", "cross-site".parse().unwrap());
    assert_eq!(
        browser.send(&bed, crossed).await.status(),
        StatusCode::FORBIDDEN
    );

    let last = page.chars().last().unwrap();
    let mut tampered = page.clone();
    tampered.pop();
    tampered.push(if last == 'A' { 'B' } else { 'A' });
    for path in [
        tampered.as_str(),
        "/dex/auth/local?req=AAAA",
        "/dex/approval?req=AAAA",
        "/dex/approval",
    ] {
        let reply = browser
            .log_in(&bed, path, "user@example.com", PASSWORD)
            .await;
        assert_eq!(reply.status(), StatusCode::BAD_REQUEST, "{path}");
    }
    assert_eq!(bed.provider.password_checks(), 0);

    // A second tab keeps the cookie, so the first still works.
    browser.start(&bed, &request()).await;
    let reply = browser
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    assert_eq!(reply.status(), StatusCode::SEE_OTHER);
    bed.pass(86_400);
    let reply = browser
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn unknown_accounts_cost_the_same_and_read_the_same() {
    let bed = Bed::new();
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;
    let mut pages = Vec::new();
    for (login, password, checks) in [
        ("user@example.com", "wrong", 1),
        ("nobody@example.com", "wrong", 2),
        ("nobody@example.com", PASSWORD, 3),
    ] {
        let reply = browser.log_in(&bed, &page, login, password).await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(bed.provider.password_checks(), checks, "{login}");
        pages.push(text(&reply).replace(login, ""));
    }
    pages.dedup();
    assert_eq!(pages.len(), 1);
    let reply = browser.log_in(&bed, &page, "\"><script>", "x").await;
    assert!(!text(&reply).contains("<script>"));
    let empty = browser.log_in(&bed, &page, "user@example.com", "").await;
    assert_eq!(empty.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(bed.provider.password_checks(), 4);
}

#[tokio::test]
async fn guessing_is_slowed_down_before_the_password_is_looked_at() {
    let bed = Bed::new();
    let source = |last| Some(Source([10, 0, 0, last].into()));
    let mut browser = Browser {
        source: source(1),
        ..Browser::default()
    };
    let page = browser.start(&bed, &request()).await;
    for _ in 0..10 {
        let reply = browser
            .log_in(&bed, &page, "nobody@example.com", "wrong")
            .await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
    }
    let reply = browser
        .log_in(&bed, &page, "Nobody@example.com", "wrong")
        .await;
    assert_eq!(reply.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(reply.headers()["retry-after"], "6");
    assert_eq!(bed.provider.password_checks(), 10);
    let mut elsewhere = Browser {
        source: source(2),
        ..browser.clone()
    };
    let reply = elsewhere
        .log_in(&bed, &page, "nobody@example.com", "wrong")
        .await;
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
    bed.pass(6);
    let reply = browser
        .log_in(&bed, &page, "nobody@example.com", "wrong")
        .await;
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn userinfo_wants_a_token_of_ours() {
    let bed = Bed::new();
    let (_, tokens) = bed.redeem(&bed.code(&request()).await).await;
    let access = tokens["access_token"].as_str().unwrap();
    let (signed, _) = access.rsplit_once('.').unwrap();
    let none = signed.split_once('.').unwrap().1;
    for token in [
        String::new(),
        "a.b.c".to_owned(),
        format!("{signed}."),
        format!("{access}A"),
        format!("eyJhbGciOiJub25lIn0.{none}."),
        "x".repeat(100_000),
    ] {
        let reply = bed.userinfo(&token).await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED, "{token:.40}");
        assert!(reply.headers().contains_key("www-authenticate"));
    }
    let reply = bed.get("/dex/userinfo").await;
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
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
