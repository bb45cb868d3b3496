//! Single sign-on, and what an application can ask about it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use super::bed::{
    Bed, Browser, PASSWORD, START, VERIFIER, config, form, json, location, param, request,
    request_but, text,
};

pub(super) const SESSIONS: &str = "oauth2: {skipApprovalScreen: true}\n\
    sessions: {ssoSharedWithDefault: all}\n";

/// Logs in with the form; the answer to the application.
pub(super) async fn log_in(bed: &Bed, browser: &mut Browser, email: &str) -> Response<Bytes> {
    let page = browser.start(bed, &request_but("prompt", "login")).await;
    browser.log_in(bed, &page, email, PASSWORD).await
}

/// The ID token for the code in `reply`.
pub(super) async fn id_token(bed: &Bed, reply: &Response<Bytes>) -> String {
    let back = location(reply);
    let code = param(&back, "code").unwrap_or_else(|| panic!("no code in {back}"));
    let (status, tokens) = bed.redeem(&code).await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    tokens["id_token"].as_str().unwrap().to_owned()
}

pub(super) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn peer() -> Vec<(&'static str, &'static str)> {
    let mut params = request_but("client_id", "peer");
    params.retain(|(name, _)| *name != "redirect_uri");
    params.push(("redirect_uri", "https://peer.example/cb"));
    params
}

fn with<'a>(
    mut params: Vec<(&'a str, &'a str)>,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    params.extend(more);
    params
}

/// What an application gets, in a word.
fn outcome(reply: &Response<Bytes>) -> String {
    let Some(to) = reply.headers().get("location") else {
        return format!("page {}", reply.status());
    };
    let to = to.to_str().unwrap();
    match (param(to, "code"), param(to, "error")) {
        (Some(_), _) => "code".to_owned(),
        (_, Some(error)) => error,
        _ if to.starts_with("/dex/auth/local?") => "form".to_owned(),
        _ if to.starts_with("/dex/approval?") => "approval".to_owned(),
        _ => panic!("{to}"),
    }
}

#[tokio::test]
async fn a_second_application_needs_no_password() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    let first =
        claims(&id_token(&bed, &log_in(&bed, &mut browser, "user@example.com").await).await);
    bed.pass(60);
    let reply = browser.ask(&bed, &peer()).await;
    assert_eq!(outcome(&reply), "code");
    let code = param(&location(&reply), "code").unwrap();
    let params = [
        ("client_id", "peer"),
        ("client_secret", "other"),
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", "https://peer.example/cb"),
        ("code_verifier", VERIFIER),
    ];
    let tokens = json(&bed.send(form("/dex/token", &params)).await);
    let second = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(
        (&first["sid"], &first["sub"]),
        (&second["sid"], &second["sub"])
    );
    assert_eq!(first["sid"].as_str().unwrap().len(), 22);
    assert_eq!(
        (&second["auth_time"], &second["iat"]),
        (&START.into(), &(START + 60).into())
    );
    // Another browser, and a cookie that was not given out, know nothing.
    let mut other = Browser::default();
    assert_eq!(outcome(&other.ask(&bed, &peer()).await), "form");
    let held = &browser.cookies["sidegate_session"];
    for forged in [
        held.replace(held.get(20..24).unwrap(), "AAAA"),
        first["sid"].to_string(),
    ] {
        other.cookies.insert("sidegate_session".to_owned(), forged);
        assert_eq!(outcome(&other.ask(&bed, &peer()).await), "form");
    }
    let bed = bed.restart(&config(SESSIONS));
    assert_eq!(outcome(&browser.ask(&bed, &peer()).await), "code");
}

#[tokio::test]
async fn a_login_is_shared_as_the_clients_say() {
    for (rules, client, expected) in [
        ("sessions: {}", "", "form"),
        (
            "sessions: {ssoSharedWithDefault: none}",
            "ssoSharedWith: [peer],",
            "code",
        ),
        (
            "sessions: {ssoSharedWithDefault: none}",
            "ssoSharedWith: ['*'],",
            "code",
        ),
        (
            "sessions: {ssoSharedWithDefault: none}",
            "ssoSharedWith: [cli],",
            "form",
        ),
        (
            "sessions: {ssoSharedWithDefault: all}",
            "ssoSharedWith: [],",
            "form",
        ),
    ] {
        let yaml = config(&format!("oauth2: {{skipApprovalScreen: true}}\n{rules}\n"))
            .replace("{id: platform,", &format!("{{id: platform, {client}"));
        let bed = Bed::with(&yaml);
        let mut browser = Browser::default();
        log_in(&bed, &mut browser, "user@example.com").await;
        assert_eq!(
            outcome(&browser.ask(&bed, &peer()).await),
            expected,
            "{rules} {client}"
        );
        assert_eq!(outcome(&browser.ask(&bed, &request()).await), "code");
    }
}

#[tokio::test]
async fn prompts_and_ages_decide_what_is_asked() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    for (more, expected) in [
        (&[("prompt", "none")][..], "login_required"),
        (&[("prompt", "select_account")], "form"),
    ] {
        let reply = browser.ask(&bed, &with(request(), more)).await;
        assert_eq!(outcome(&reply), expected, "without a session: {more:?}");
    }
    log_in(&bed, &mut browser, "user@example.com").await;
    bed.pass(10);
    for (more, expected) in [
        (&[][..], "code"),
        (&[("prompt", "none")], "code"),
        (&[("prompt", "login")], "form"),
        (&[("prompt", "consent")], "approval"),
        (&[("prompt", "login consent")], "form"),
        (&[("max_age", "0")], "form"),
        (&[("max_age", "1")], "form"),
        (&[("max_age", "10000")], "code"),
        (&[("prompt", "none"), ("max_age", "1")], "login_required"),
        (
            &[
                ("login_hint", "other@example.com"),
                ("ui_locales", "ko"),
                ("acr_values", "1"),
                ("display", "popup"),
            ],
            "code",
        ),
    ] {
        let reply = browser.ask(&bed, &with(request(), more)).await;
        assert_eq!(outcome(&reply), expected, "{more:?}");
    }
}

#[tokio::test]
async fn a_new_password_gives_a_new_time_and_a_new_cookie() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    let first =
        claims(&id_token(&bed, &log_in(&bed, &mut browser, "user@example.com").await).await);
    let mut stolen = browser.clone();
    bed.pass(50);
    let page = location(
        &browser
            .ask(&bed, &with(request(), &[("max_age", "20")]))
            .await,
    );
    let reply = browser
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    let second = claims(&id_token(&bed, &reply).await);
    assert_eq!(second["auth_time"], START + 50);
    assert_eq!(second["sid"], first["sid"], "the session goes on");
    assert_eq!(outcome(&stolen.ask(&bed, &request()).await), "form");
    assert_eq!(outcome(&browser.ask(&bed, &request()).await), "code");
}

#[tokio::test]
async fn sessions_end_when_idle_and_at_last() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    log_in(&bed, &mut browser, "user@example.com").await;
    for _ in 0..23 {
        bed.pass(3599);
        assert_eq!(outcome(&browser.ask(&bed, &request()).await), "code");
    }
    let idle = browser.clone();
    bed.pass(3600);
    assert_eq!(
        outcome(&browser.ask(&bed, &request()).await),
        "form",
        "idle for an hour"
    );
    let mut browser = Browser::default();
    log_in(&bed, &mut browser, "user@example.com").await;
    for _ in 0..24 {
        bed.pass(3590);
        browser.ask(&bed, &request()).await;
    }
    bed.pass(240);
    assert_eq!(
        outcome(&browser.ask(&bed, &request()).await),
        "form",
        "after a day"
    );
    drop(idle);
}

#[tokio::test]
async fn an_account_can_be_chosen() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    log_in(&bed, &mut browser, "user@example.com").await;
    let select = with(request(), &[("prompt", "select_account")]);
    let page = location(&browser.ask(&bed, &select).await);
    let shown = text(&browser.visit(&bed, &page).await);
    assert!(
        shown.contains("User@example.com") && !shown.contains("password"),
        "{shown}"
    );
    let reply = browser
        .send(&bed, form(&page, &[("account", "continue")]))
        .await;
    assert_eq!(outcome(&reply), "code");
    let reply = browser
        .send(&bed, form(&page, &[("account", "other")]))
        .await;
    assert_eq!(
        (reply.status(), outcome(&reply)),
        (StatusCode::SEE_OTHER, "form".to_owned())
    );
    let page = location(&reply);
    assert!(text(&browser.visit(&bed, &page).await).contains("password"));
    let reply = browser
        .log_in(&bed, &page, "other@example.com", PASSWORD)
        .await;
    assert_eq!(
        claims(&id_token(&bed, &reply).await)["email"],
        "other@example.com"
    );
    // Without `select_account` the choice is no way past the password.
    let mut stranger = Browser::default();
    let page = stranger.start(&bed, &request()).await;
    let reply = stranger
        .send(&bed, form(&page, &[("account", "continue")]))
        .await;
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_hint_names_the_only_person_who_may_log_in() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    let user = id_token(&bed, &log_in(&bed, &mut browser, "user@example.com").await).await;
    let other = id_token(
        &bed,
        &log_in(&bed, &mut Browser::default(), "other@example.com").await,
    )
    .await;
    // An expired one is as good.
    bed.pass(1000);
    for (hint, prompt, expected) in [
        (user.as_str(), "none", "code"),
        (&other, "none", "login_required"),
        (&other, "", "form"),
        ("a.b.c", "none", "code"),
    ] {
        let params = with(request(), &[("id_token_hint", hint), ("prompt", prompt)]);
        assert_eq!(
            outcome(&browser.ask(&bed, &params).await),
            expected,
            "{hint:.20} {prompt}"
        );
    }
    let params = with(request(), &[("id_token_hint", other.as_str())]);
    let page = location(&browser.ask(&bed, &params).await);
    let reply = browser
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    assert_eq!(outcome(&reply), "login_required");
    let reply = browser
        .log_in(&bed, &page, "other@example.com", PASSWORD)
        .await;
    assert_eq!(outcome(&reply), "code");
}

#[tokio::test]
async fn approval_is_remembered_for_what_was_allowed() {
    let bed = Bed::with(&config("sessions: {ssoSharedWithDefault: all}\n"));
    let mut browser = Browser::default();
    let narrow = request_but("scope", "openid email");
    let page = browser.start(&bed, &narrow).await;
    let approval = location(
        &browser
            .log_in(&bed, &page, "user@example.com", PASSWORD)
            .await,
    );
    let none = with(narrow.clone(), &[("prompt", "none")]);
    let reply = browser
        .send(&bed, form(&approval, &[("approval", "rejected")]))
        .await;
    assert_eq!(outcome(&reply), "access_denied");
    assert_eq!(
        outcome(&browser.ask(&bed, &none).await),
        "login_required",
        "no part in the session"
    );
    let reply = browser
        .send(&bed, form(&approval, &[("approval", "approve")]))
        .await;
    assert_eq!(outcome(&reply), "code");
    assert_eq!(outcome(&browser.ask(&bed, &none).await), "code");
    let wide = with(request(), &[("prompt", "none")]);
    assert_eq!(outcome(&browser.ask(&bed, &wide).await), "consent_required");
    assert_eq!(outcome(&browser.ask(&bed, &request()).await), "approval");
}

#[tokio::test]
async fn without_sessions_everything_is_as_in_dex() {
    let bed = Bed::new();
    let mut browser = Browser::default();
    let reply = log_in(&bed, &mut browser, "user@example.com").await;
    assert_eq!(claims(&id_token(&bed, &reply).await)["sid"], Value::Null);
    assert!(!browser.cookies.contains_key("sidegate_session"));
    // Kubeflow's oauth2-proxy sends `prompt=none` and expects the login page.
    for prompt in ["none", "login", ""] {
        let reply = browser.ask(&bed, &request_but("prompt", prompt)).await;
        assert_eq!(outcome(&reply), "form", "{prompt}");
    }
    assert_eq!(bed.get("/dex/logout").await.status(), StatusCode::NOT_FOUND);
    let document = json(&bed.get("/dex/.well-known/openid-configuration").await);
    assert_eq!(document["end_session_endpoint"], Value::Null);
    let yaml = config(SESSIONS).replace("{id: platform,", "{id: platform, promptNone: ignore,");
    let bed = Bed::with(&yaml);
    let reply = browser.ask(&bed, &request_but("prompt", "none")).await;
    assert_eq!(
        outcome(&reply),
        "form",
        "a client may say so where there are sessions"
    );
}

#[tokio::test]
async fn requests_that_do_not_log_in_leave_nothing() {
    let bed = Bed::with(&config(SESSIONS));
    let size = || std::fs::metadata(bed.folder.path().join("provider.redb")).unwrap();
    let before = (size().len(), size().modified().unwrap());
    for _ in 0..200 {
        Browser::default().start(&bed, &request()).await;
        bed.get("/dex/logout").await;
        bed.get("/dex/keys").await;
    }
    assert_eq!((size().len(), size().modified().unwrap()), before);
}
