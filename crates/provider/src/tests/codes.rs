//! What the token and userinfo endpoints refuse.

use bytes::Bytes;
use http::{Request, StatusCode};

use super::bed::{Bed, VERIFIER, form, json, request, request_but};

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
async fn a_changed_token_is_no_token() {
    let bed = Bed::new();
    let (_, tokens) = bed.redeem(&bed.code(&request()).await).await;
    let access = tokens["access_token"].as_str().unwrap();
    for position in (0..access.len()).step_by(5).chain([access.len() - 1]) {
        let mut bytes = access.as_bytes().to_vec();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        let status = bed.userinfo(&changed).await.status();
        assert_eq!(status, StatusCode::UNAUTHORIZED, "position {position}");
    }
}
