//! The device flow, from the device and from the person's browser.

use http::StatusCode;
use serde_json::Value;

use super::bed::{Bed, Browser, PASSWORD, SKIP_APPROVAL, config, form, json, location, text};
use super::sessions::{SESSIONS, claims};
use crate::Source;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

async fn ask(bed: &Bed, more: &[(&str, &str)]) -> Value {
    let mut params = vec![
        ("client_id", "cli"),
        ("scope", "openid email offline_access"),
    ];
    params.extend(more);
    let reply = bed.send(form("/dex/device/code", &params)).await;
    assert_eq!(reply.status(), StatusCode::OK, "{}", text(&reply));
    json(&reply)
}

async fn poll(bed: &Bed, codes: &Value, client: &str) -> Value {
    let params = [
        ("grant_type", GRANT),
        ("client_id", client),
        ("device_code", codes["device_code"].as_str().unwrap()),
    ];
    json(&bed.send(form("/dex/token", &params)).await)
}

/// What the page for the code holds beside it.
async fn form_token(bed: &Bed, browser: &mut Browser) -> String {
    let page = text(&browser.visit(bed, "/dex/device").await);
    let (_, token) = page.split_once("name=\"token\" value=\"").unwrap();
    token.split_once('"').unwrap().0.to_owned()
}

/// Types the code; where that leads.
async fn enter(bed: &Bed, browser: &mut Browser, code: &str) -> String {
    let token = form_token(bed, browser).await;
    let params = [("user_code", code), ("token", &token)];
    let reply = browser
        .send(bed, form("/dex/device/auth/verify_code", &params))
        .await;
    assert_eq!(reply.status(), StatusCode::SEE_OTHER, "{}", text(&reply));
    location(&reply)
}

/// Types the code and the password; the page that asks for approval.
async fn approval(bed: &Bed, browser: &mut Browser, codes: &Value) -> String {
    let page = enter(bed, browser, codes["user_code"].as_str().unwrap()).await;
    assert!(page.starts_with("/dex/auth/local?req="), "{page}");
    let reply = browser
        .log_in(bed, &page, "user@example.com", PASSWORD)
        .await;
    let page = location(&reply);
    assert!(
        page.starts_with("/dex/approval?req="),
        "always asked: {page}"
    );
    page
}

#[tokio::test]
async fn a_device_gets_tokens_once_its_person_allows_it() {
    let bed = Bed::with(&config(SKIP_APPROVAL));
    let codes = ask(&bed, &[]).await;
    let user_code = codes["user_code"].as_str().unwrap();
    let uri = "http://dex.auth.svc.cluster.local:5556/dex/device";
    assert_eq!(codes["verification_uri"], uri);
    assert_eq!(
        codes["verification_uri_complete"],
        format!("{uri}?user_code={user_code}")
    );
    assert_eq!(
        (&codes["expires_in"], &codes["interval"]),
        (&300.into(), &5.into())
    );
    assert_eq!(
        poll(&bed, &codes, "cli").await["error"],
        "authorization_pending"
    );
    assert_eq!(poll(&bed, &codes, "cli").await["error"], "slow_down");

    let mut browser = Browser::default();
    let shown = browser
        .visit(&bed, &format!("/dex/device?user_code={user_code}"))
        .await;
    assert!(text(&shown).contains(&format!("value=\"{user_code}\"")));
    let typed = user_code.to_lowercase().replace('-', " ");
    let page = enter(&bed, &mut browser, &typed).await;
    let reply = browser
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    let page = location(&reply);
    let shown = text(&browser.visit(&bed, &page).await);
    assert!(
        shown.contains(user_code) && shown.contains("Command line"),
        "{shown}"
    );
    bed.pass(10);
    assert_eq!(
        poll(&bed, &codes, "cli").await["error"],
        "authorization_pending"
    );
    let reply = browser
        .send(&bed, form(&page, &[("approval", "approve")]))
        .await;
    assert!(
        text(&reply).contains("The device is connected"),
        "{}",
        text(&reply)
    );

    bed.pass(10);
    let (first, second) = tokio::join!(poll(&bed, &codes, "cli"), poll(&bed, &codes, "cli"));
    let won = [&first, &second]
        .iter()
        .filter(|t| t["id_token"].is_string())
        .count();
    assert_eq!(won, 1, "{first} {second}");
    let tokens = if first["id_token"].is_string() {
        first
    } else {
        second
    };
    let id = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(
        (&id["aud"], &id["email"]),
        (&"cli".into(), &"User@example.com".into())
    );
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
    ];
    let reply = bed.send(form("/dex/token", &refresh)).await;
    assert_eq!(reply.status(), StatusCode::OK);
    bed.pass(20);
    assert_eq!(poll(&bed, &codes, "cli").await["error"], "expired_token");
    let reply = browser
        .send(&bed, form(&page, &[("approval", "approve")]))
        .await;
    assert_eq!(
        reply.status(),
        StatusCode::BAD_REQUEST,
        "nobody waits any more"
    );
}

#[tokio::test]
async fn a_person_can_deny_or_wait_too_long() {
    let bed = Bed::with(&config(SKIP_APPROVAL));
    let codes = ask(&bed, &[]).await;
    let mut browser = Browser::default();
    let page = approval(&bed, &mut browser, &codes).await;
    let reply = browser
        .send(&bed, form(&page, &[("approval", "rejected")]))
        .await;
    assert!(text(&reply).contains("not connected"));
    assert_eq!(poll(&bed, &codes, "cli").await["error"], "access_denied");

    let late = ask(&bed, &[]).await;
    let page = approval(&bed, &mut browser, &late).await;
    bed.pass(300);
    assert_eq!(poll(&bed, &late, "cli").await["error"], "expired_token");
    let reply = browser
        .send(&bed, form(&page, &[("approval", "approve")]))
        .await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
    bed.pass(6);
    assert_eq!(poll(&bed, &late, "cli").await["error"], "expired_token");
}

#[tokio::test]
async fn a_device_survives_a_restart_and_uses_a_session() {
    let bed = Bed::with(&config(SESSIONS));
    let codes = ask(&bed, &[]).await;
    let bed = bed.restart(&config(SESSIONS));
    let mut browser = Browser::default();
    super::sessions::log_in(&bed, &mut browser, "user@example.com").await;
    let page = enter(&bed, &mut browser, codes["user_code"].as_str().unwrap()).await;
    assert!(
        page.starts_with("/dex/approval?req="),
        "no password again: {page}"
    );
    browser
        .send(&bed, form(&page, &[("approval", "approve")]))
        .await;
    let tokens = poll(&bed, &codes, "cli").await;
    let id = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(id["sid"].as_str().unwrap().len(), 22);
}

#[tokio::test]
async fn codes_are_for_their_client_and_cannot_be_guessed() {
    let bed = Bed::with(&config(SKIP_APPROVAL));
    for (params, error) in [
        (
            &[("client_id", "cli"), ("scope", "openid bogus")][..],
            "invalid_scope",
        ),
        (&[("client_id", "cli"), ("scope", "email")], "invalid_scope"),
        (&[("client_id", "nobody")], "invalid_client"),
        (&[("client_id", "platform")], "invalid_client"),
        (
            &[
                ("client_id", "cli"),
                ("code_challenge", "x"),
                ("code_challenge_method", "plain"),
            ],
            "invalid_request",
        ),
        (
            &[("client_id", "cli"), ("client_id", "cli")],
            "invalid_request",
        ),
    ] {
        let reply = bed.send(form("/dex/device/code", params)).await;
        assert_eq!(json(&reply)["error"], error, "{params:?}");
    }
    let codes = ask(&bed, &[]).await;
    let other = [
        ("grant_type", GRANT),
        ("device_code", codes["device_code"].as_str().unwrap()),
    ];
    assert_eq!(bed.token(&other).await.1["error"], "invalid_grant");
    let mut forged = codes.clone();
    forged["device_code"] = "AAAA".into();
    assert_eq!(poll(&bed, &forged, "cli").await["error"], "invalid_grant");

    let mut browser = Browser {
        source: Some(Source([10, 0, 0, 1].into())),
        ..Browser::default()
    };
    let mut statuses = Vec::new();
    let token = form_token(&bed, &mut browser).await;
    for _ in 0..11 {
        let params = [("user_code", "BBBB-BBBB"), ("token", &token)];
        let request = form("/dex/device/auth/verify_code", &params);
        statuses.push(browser.send(&bed, request).await.status());
    }
    assert!(statuses[..10].iter().all(|s| *s == StatusCode::BAD_REQUEST));
    assert_eq!(statuses[10], StatusCode::TOO_MANY_REQUESTS);
    let mut elsewhere = Browser {
        source: Some(Source([10, 0, 0, 2].into())),
        ..Browser::default()
    };
    enter(&bed, &mut elsewhere, codes["user_code"].as_str().unwrap()).await;
    let mut crossed = form("/dex/device/auth/verify_code", &[("user_code", "B")]);
    crossed
        .headers_mut()
        .insert("sec-fetch-site", "cross-site".parse().unwrap());
    let reply = elsewhere.send(&bed, crossed).await;
    assert_eq!(reply.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_device_may_prove_itself_with_pkce() {
    let bed = Bed::with(&config(SKIP_APPROVAL));
    let request = super::bed::request();
    let challenge = request
        .iter()
        .find(|(n, _)| *n == "code_challenge")
        .unwrap()
        .1;
    let codes = ask(
        &bed,
        &[
            ("code_challenge", challenge),
            ("code_challenge_method", "S256"),
        ],
    )
    .await;
    let page = approval(&bed, &mut Browser::default(), &codes).await;
    assert!(!page.is_empty());
    assert_eq!(poll(&bed, &codes, "cli").await["error"], "invalid_grant");
    bed.pass(20);
    let params = [
        ("grant_type", GRANT),
        ("client_id", "cli"),
        ("device_code", codes["device_code"].as_str().unwrap()),
        ("code_verifier", super::bed::VERIFIER),
    ];
    let reply = json(&bed.send(form("/dex/token", &params)).await);
    assert_eq!(reply["error"], "authorization_pending");
}
