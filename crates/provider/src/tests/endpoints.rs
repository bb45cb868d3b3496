//! Userinfo, introspection and revocation, and what each endpoint says to bad input.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::Value;

use super::bed::{Bed, SECRET, START, config, form, json, request, text};
use super::log;
use super::sessions::SESSIONS;

async fn tokens(bed: &Bed) -> Value {
    bed.redeem(&bed.code(&request()).await).await.1
}

async fn as_client(
    bed: &Bed,
    path: &str,
    client: &str,
    secret: &str,
    token: &str,
) -> Response<Bytes> {
    let mut params = vec![("client_id", client), ("token", token)];
    if !secret.is_empty() {
        params.push(("client_secret", secret));
    }
    bed.send(form(path, &params)).await
}

async fn introspect(bed: &Bed, client: &str, secret: &str, token: &Value) -> Value {
    let token = token.as_str().unwrap();
    json(&as_client(bed, "/dex/token/introspect", client, secret, token).await)
}

#[tokio::test]
async fn userinfo_takes_the_token_in_a_header_or_a_form() {
    let bed = Bed::new();
    let tokens = tokens(&bed).await;
    let access = tokens["access_token"].as_str().unwrap();
    let bearer = format!("Bearer {access}");
    let ask = async |method: Method, header: bool, body: &[(&str, &str)]| {
        let mut request = form("/dex/userinfo", body);
        *request.method_mut() = method;
        if header {
            let value = bearer.parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        bed.send(request).await
    };
    let token = [("access_token", access)];
    for (reply, status) in [
        (ask(Method::GET, true, &[]).await, StatusCode::OK),
        (ask(Method::POST, true, &[]).await, StatusCode::OK),
        (ask(Method::POST, false, &token).await, StatusCode::OK),
        (
            ask(Method::POST, true, &token).await,
            StatusCode::BAD_REQUEST,
        ),
        (
            ask(Method::POST, false, &[token[0], token[0]]).await,
            StatusCode::BAD_REQUEST,
        ),
        (
            ask(Method::POST, false, &[]).await,
            StatusCode::UNAUTHORIZED,
        ),
        // A body of a GET, and the query, are no place for it.
        (
            ask(Method::GET, false, &token).await,
            StatusCode::UNAUTHORIZED,
        ),
        (
            bed.get(&format!("/dex/userinfo?access_token={access}"))
                .await,
            StatusCode::UNAUTHORIZED,
        ),
    ] {
        assert_eq!(reply.status(), status, "{}", text(&reply));
        if status == StatusCode::OK {
            assert_eq!(json(&reply)["email"], "User@example.com");
        }
    }
}

#[tokio::test]
async fn introspection_tells_the_audience_and_nobody_else() {
    let bed = Bed::new();
    let tokens = tokens(&bed).await;
    let about = introspect(&bed, "platform", SECRET, &tokens["access_token"]).await;
    assert_eq!(about["active"], true, "{about}");
    assert_eq!(about["scope"], "openid profile email groups offline_access");
    assert_eq!(
        (&about["client_id"], &about["username"]),
        (&"platform".into(), &"User@example.com".into())
    );
    assert_eq!(
        (&about["exp"], &about["token_type"]),
        (&(START + 86_400).into(), &"Bearer".into())
    );
    let about = introspect(&bed, "platform", SECRET, &tokens["refresh_token"]).await;
    assert_eq!(
        (&about["active"], &about["token_use"]),
        (&true.into(), &"refresh_token".into())
    );
    for kind in ["access_token", "refresh_token"] {
        let about = introspect(&bed, "peer", "other", &tokens[kind]).await;
        assert_eq!(about, serde_json::json!({"active": false}), "{kind}");
    }
    for token in [&tokens["id_token"], &"x".into()] {
        let about = introspect(&bed, "platform", SECRET, token).await;
        assert_eq!(about, serde_json::json!({"active": false}));
    }
    for (client, secret) in [
        ("cli", ""),
        ("platform", ""),
        ("platform", "wrong"),
        ("nobody", "x"),
    ] {
        let token = tokens["access_token"].as_str().unwrap();
        let reply = as_client(&bed, "/dex/token/introspect", client, secret, token).await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED, "{client}");
    }
    bed.pass(86_400);
    let about = introspect(&bed, "platform", SECRET, &tokens["access_token"]).await;
    assert_eq!(about, serde_json::json!({"active": false}));
}

#[tokio::test]
async fn revoked_tokens_are_over_also_after_a_restart() {
    let bed = Bed::new();
    let (first, second) = (tokens(&bed).await, tokens(&bed).await);
    let text_of = |value: &Value| value.as_str().unwrap().to_owned();
    let revoke = async |bed: &Bed, client: &str, secret: &str, token: &Value| {
        as_client(bed, "/dex/token/revoke", client, secret, &text_of(token))
            .await
            .status()
    };
    for kind in ["access_token", "refresh_token"] {
        let status = revoke(&bed, "peer", "other", &first[kind]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{kind} of another client");
    }
    assert_eq!(
        revoke(&bed, "platform", "wrong", &first["access_token"]).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        bed.userinfo(&text_of(&first["access_token"]))
            .await
            .status(),
        StatusCode::OK
    );
    // An access token by itself.
    for _ in 0..2 {
        assert_eq!(
            revoke(&bed, "platform", SECRET, &first["access_token"]).await,
            StatusCode::OK
        );
    }
    // A refresh token with everything.
    assert_eq!(
        revoke(&bed, "platform", SECRET, &second["refresh_token"]).await,
        StatusCode::OK
    );
    assert_eq!(
        revoke(&bed, "platform", SECRET, &"unknown".into()).await,
        StatusCode::OK
    );
    let bed = bed.restart(&config(super::bed::SKIP_APPROVAL));
    for tokens in [&first, &second] {
        let status = bed
            .userinfo(&text_of(&tokens["access_token"]))
            .await
            .status();
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let refresh = async |tokens: &Value| {
        let token = text_of(&tokens["refresh_token"]);
        bed.token(&[("grant_type", "refresh_token"), ("refresh_token", &token)])
            .await
            .0
    };
    assert_eq!(refresh(&first).await, StatusCode::OK);
    assert_eq!(refresh(&second).await, StatusCode::BAD_REQUEST);
}

/// Each endpoint with what it cannot use: never a 500, never a redirect, an `error` for programs
/// and a page with a reference for people.
#[tokio::test]
async fn every_endpoint_answers_bad_input() {
    let bed = Bed::with(&config(SESSIONS));
    let form_type = "application/x-www-form-urlencoded";
    let long = "x".repeat(20_000);
    let bodies: [(&str, Vec<u8>); 6] = [
        ("application/json", b"{}".to_vec()),
        ("", b"client_id=platform".to_vec()),
        (form_type, b"client_id=%ff".to_vec()),
        (form_type, b"client_id=a&client_id=b&user_code=%00".to_vec()),
        (
            form_type,
            format!("client_id={long}&user_code={long}").into_bytes(),
        ),
        (form_type, vec![0xff; 50]),
    ];
    for (path, programs) in [
        ("/dex/token", true),
        ("/dex/token/introspect", true),
        ("/dex/token/revoke", true),
        ("/dex/device/code", true),
        ("/dex/device/token", true),
        ("/dex/userinfo", true),
        ("/dex/auth", false),
        ("/dex/auth/local", false),
        ("/dex/auth/local?req=AAAA", false),
        ("/dex/auth/second?req=%ff", false),
        ("/dex/approval?req=a&req=b", false),
        ("/dex/setup?ticket=AAAA", false),
        ("/dex/device/auth/verify_code", false),
        ("/dex/logout", false),
    ] {
        for (content_type, body) in &bodies {
            let mut builder = Request::post(path);
            if !content_type.is_empty() {
                builder = builder.header("content-type", *content_type);
            }
            let reply = bed.send(builder.body(body.clone().into()).unwrap()).await;
            let about = format!(
                "{path} {content_type} {:.30}",
                String::from_utf8_lossy(body)
            );
            if path == "/dex/logout" && reply.status() == StatusCode::OK {
                continue; // Nothing asked, nobody logged in.
            }
            assert!(
                reply.status().is_client_error(),
                "{about}: {}",
                reply.status()
            );
            if programs {
                assert!(json(&reply)["error"].is_string(), "{about}");
                assert_eq!(reply.headers()["cache-control"], "no-store");
                let reference = reply.headers()["x-request-id"].to_str().unwrap();
                assert!(log::tells(reference), "{about}: {reference}");
            } else {
                let page = text(&reply);
                assert!(page.contains("<h1>"), "{about}");
                let referenced = page.contains("In the log under") || page.contains("user_code");
                assert!(referenced, "{about}: {page}");
                if page.contains("In the log under") {
                    let (_, rest) = page.split_once("In the log under <code>").unwrap();
                    let reference = rest.split('<').next().unwrap();
                    assert!(log::tells(reference), "{about}: {reference}");
                }
            }
        }
        for method in [Method::PUT, Method::DELETE, Method::OPTIONS] {
            let request = Request::builder().method(method).uri(path);
            let reply = bed.send(request.body(Bytes::new()).unwrap()).await;
            assert_eq!(reply.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
            assert!(reply.headers().contains_key("allow"), "{path}");
            assert_eq!(
                reply.headers()["content-type"] == "application/json",
                programs,
                "{path}"
            );
        }
    }
}
