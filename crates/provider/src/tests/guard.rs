//! The login form against other sites, other browsers and guessing.

use http::StatusCode;

use super::bed::{Bed, Browser, PASSWORD, SKIP_APPROVAL, config, form, request, text};
use crate::Source;
use crate::storage::Kind;

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

fn from(n: u8) -> Option<Source> {
    Some(Source([203, 0, 113, n].into()))
}

/// So many wrong passwords for an account, each from elsewhere; the last answer.
async fn guess(bed: &Bed, email: &str, times: std::ops::Range<u8>) -> StatusCode {
    let mut browser = Browser::default();
    let page = browser.start(bed, &request()).await;
    let mut last = StatusCode::OK;
    for n in times {
        browser.source = from(n);
        last = browser.log_in(bed, &page, email, "wrong").await.status();
    }
    last
}

#[tokio::test]
async fn what_was_guessed_at_an_account_survives_a_restart_and_strangers_write_nothing() {
    let bed = Bed::new();
    let kept = |bed: &Bed| bed.storage.count(Kind::Spent).unwrap();
    guess(&bed, "nobody@example.com", 0..25).await;
    guess(&bed, "user@example.com", 0..19).await;
    tokio::task::yield_now().await;
    assert_eq!(
        kept(&bed),
        0,
        "an address that nobody has, and a few mistakes"
    );
    guess(&bed, "user@example.com", 19..24).await;
    while kept(&bed) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(kept(&bed), 1, "once in a while");
    let bed = bed.restart(&config(SKIP_APPROVAL));
    assert_eq!(
        guess(&bed, "user@example.com", 100..120).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        guess(&bed, "user@example.com", 120..121).await,
        StatusCode::TOO_MANY_REQUESTS
    );
    let other = guess(&bed, "other@example.com", 121..122).await;
    assert_eq!(other, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn behind_a_trusted_proxy_limits_are_of_whom_it_names() {
    let yaml = config(
        "web: {clientRemoteIP: {header: X-Forwarded-For, trustedProxies: [10.0.0.0/8]}}\n\
         oauth2: {skipApprovalScreen: true}\n",
    );
    let bed = Bed::with(&yaml);
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;
    let mut attempt = async |peer: [u8; 4], says: &str| {
        browser.source = Some(Source(peer.into()));
        let fields = [("login", "user@example.com"), ("password", "wrong")];
        let mut request = form(&page, &fields);
        let value = says.parse().unwrap();
        request.headers_mut().insert("x-forwarded-for", value);
        browser.send(&bed, request).await.status()
    };
    for _ in 0..10 {
        let status = attempt([10, 0, 0, 1], "203.0.113.7").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let limited = StatusCode::TOO_MANY_REQUESTS;
    assert_eq!(
        attempt([10, 0, 0, 1], "198.51.100.1, 203.0.113.7").await,
        limited
    );
    assert_eq!(attempt([203, 0, 113, 7], "198.51.100.1").await, limited);
    let other = attempt([10, 0, 0, 1], "203.0.113.8").await;
    assert_eq!(other, StatusCode::UNAUTHORIZED);
}
