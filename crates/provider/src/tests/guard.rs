//! The login form against other sites, other browsers and guessing.

use http::StatusCode;

use super::bed::{Bed, Browser, PASSWORD, form, request, text};
use crate::Source;

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
