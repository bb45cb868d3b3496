//! Second factors and the account page, as a person with a browser meets them.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use super::bed::{
    Bed, Browser, PASSWORD, config, form, location, param, request, request_but, text,
};
use super::flow::verified;
use super::sessions::SESSIONS;
use crate::{NewUser, Source};

const USER: &str = "user@example.com";

/// RFC 2104 and RFC 4226 written anew: what an app shows for a secret at a time.
pub(super) fn app(secret: &str, seconds: u64) -> String {
    let mut key = Vec::new();
    let mut bits = String::new();
    for letter in secret.chars().filter(|c| *c != ' ') {
        let value = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(letter).unwrap();
        bits.push_str(&format!("{value:05b}"));
    }
    for byte in bits.as_bytes().chunks_exact(8) {
        key.push(u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap());
    }
    key.resize(64, 0);
    let sha1 = |pad: u8, message: &[u8]| {
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(&key.iter().map(|byte| byte ^ pad).collect::<Vec<_>>());
        context.update(message);
        context.finish().as_ref().to_vec()
    };
    let tag = sha1(0x5c, &sha1(0x36, &(seconds / 30).to_be_bytes()));
    let at = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

pub(super) fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = page
        .split_once(before)
        .unwrap_or_else(|| panic!("{before}: {page}"));
    rest.split_once(after).unwrap().0
}

pub(super) fn token(page: &str) -> String {
    between(page, "name=\"token\" value=\"", "\"").to_owned()
}

/// Opens the account page with the password alone; the page.
pub(super) async fn enter(bed: &Bed, browser: &mut Browser, email: &str, password: &str) -> String {
    let reply = browser.visit(bed, "/dex/account").await;
    assert_eq!(reply.status(), StatusCode::FOUND, "{}", text(&reply));
    let reply = browser
        .log_in(bed, &location(&reply), email, password)
        .await;
    assert_eq!(location(&reply), "/dex/account", "{}", text(&reply));
    let reply = browser.visit(bed, "/dex/account").await;
    assert_eq!(reply.status(), StatusCode::OK);
    text(&reply)
}

pub(super) struct App {
    secret: String,
    codes: Vec<String>,
}

/// Adds an app; its secret and the codes on paper.
pub(super) async fn add_app(bed: &Bed, browser: &mut Browser) -> App {
    let page = text(&browser.visit(bed, "/dex/account/app").await);
    let secret = between(&page, "class=\"secret\"><code>", "<").to_owned();
    let sealed = between(&page, "name=\"secret\" value=\"", "\"").to_owned();
    assert!(page.contains("<svg viewBox=\"0 0 "), "{page}");
    let token = token(&page);
    let post = |code: &str| {
        let fields = [
            ("secret", sealed.as_str()),
            ("token", &token),
            ("code", code),
        ];
        form("/dex/account/app", &fields)
    };
    let wrong = browser.send(bed, post("000000")).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        between(&text(&wrong), "class=\"secret\"><code>", "<"),
        secret
    );
    let code = app(&secret, bed.now());
    let shown = text(&browser.send(bed, post(&code)).await);
    let codes = shown.split("<li><code>").skip(1);
    let codes = codes.map(|rest| rest.split('<').next().unwrap().to_owned());
    App {
        secret,
        codes: codes.collect(),
    }
}

/// The password; the page that asks for more.
pub(super) async fn halfway(bed: &Bed, browser: &mut Browser, email: &str) -> String {
    let page = browser.start(bed, &request_but("prompt", "login")).await;
    let reply = browser.log_in(bed, &page, email, PASSWORD).await;
    let second = location(&reply);
    assert!(second.starts_with("/dex/auth/second?req="), "{second}");
    second
}

async fn answer(
    bed: &Bed,
    browser: &mut Browser,
    page: &str,
    name: &str,
    value: &str,
) -> Response<Bytes> {
    browser.send(bed, form(page, &[(name, value)])).await
}

pub(super) async fn claims(bed: &Bed, reply: &Response<Bytes>) -> Value {
    let code = param(&location(reply), "code").expect("a code");
    let (_, tokens) = bed.redeem(&code).await;
    verified(bed, tokens["id_token"].as_str().unwrap(), "platform")
}

#[tokio::test]
async fn a_login_asks_for_the_code_of_the_app_and_says_so() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;
    let reply = browser.log_in(&bed, &page, USER, PASSWORD).await;
    let before = claims(&bed, &reply).await;
    assert_eq!(
        (&before["amr"], &before["acr"]),
        (&["pwd"].as_slice().into(), &"1".into())
    );
    enter(&bed, &mut browser, USER, PASSWORD).await;
    let app_now = add_app(&bed, &mut browser).await;
    assert_eq!(app_now.codes.len(), 10);

    let mut other = Browser::default();
    let second = halfway(&bed, &mut other, USER).await;
    let shown = text(&other.visit(&bed, &second).await);
    assert!(
        shown.contains("autocomplete=\"one-time-code\"") && !shown.contains("<script"),
        "{shown}"
    );
    // The code that the app was added with has been used.
    let used = app(&app_now.secret, bed.now());
    let reply = answer(&bed, &mut other, &second, "code", &used).await;
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
    assert!(text(&reply).contains("was used already"));
    bed.pass(30);
    let code = app(&app_now.secret, bed.now());
    let reply = answer(&bed, &mut other, &second, "code", &code).await;
    let after = claims(&bed, &reply).await;
    assert_eq!(after["amr"], serde_json::json!(["pwd", "otp", "mfa"]));
    assert_eq!(
        (&after["acr"], &after["auth_time"]),
        (&"2".into(), &bed.now().into())
    );
    // The same page and code once more.
    let reply = answer(&bed, &mut other, &second, "code", &code).await;
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
    // Single sign-on says what the login was; a fresh one is asked for all of it.
    let reply = other.ask(&bed, &request()).await;
    assert_eq!(claims(&bed, &reply).await["acr"], "2");
    bed.pass(60);
    let reply = other.ask(&bed, &request_but("max_age", "30")).await;
    let reply = other.log_in(&bed, &location(&reply), USER, PASSWORD).await;
    assert!(location(&reply).starts_with("/dex/auth/second?"));
    // Others are not asked.
    let code = Browser::default();
    let mut nobody = code.clone();
    let page = nobody.start(&bed, &request()).await;
    let reply = nobody
        .log_in(&bed, &page, "other@example.com", PASSWORD)
        .await;
    assert_eq!(claims(&bed, &reply).await["acr"], "1");
}

#[tokio::test]
async fn the_second_page_is_of_one_browser_person_and_moment() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    enter(&bed, &mut browser, USER, PASSWORD).await;
    let first = add_app(&bed, &mut browser).await;
    bed.pass(30);
    let second = halfway(&bed, &mut browser, USER).await;
    let code = app(&first.secret, bed.now());
    let mut other = Browser::default();
    other.start(&bed, &request()).await;
    let reply = answer(&bed, &mut other, &second, "code", &code).await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
    let mut crossed = form(&second, &[("code", &code)]);
    let site = "cross-site".parse().unwrap();
    crossed.headers_mut().insert("sec-fetch-site", site);
    assert_eq!(
        browser.send(&bed, crossed).await.status(),
        StatusCode::FORBIDDEN
    );
    // A state for another page does not open this one, nor this one's another.
    let login = browser.start(&bed, &request_but("prompt", "login")).await;
    for (from, to) in [
        (&login, "auth/second"),
        (&second, "approval"),
        (&second, "auth/local"),
    ] {
        let req = param(from, "req").unwrap();
        let crafted = format!("/dex/{to}?req={req}");
        let reply = answer(&bed, &mut browser, &crafted, "code", &code).await;
        assert_eq!(reply.status(), StatusCode::BAD_REQUEST, "{to}");
    }
    bed.pass(600);
    let late = app(&first.secret, bed.now());
    let reply = answer(&bed, &mut browser, &second, "code", &late).await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
    assert!(text(&reply).contains("start again"));
}

#[tokio::test]
async fn codes_on_paper_work_once_and_new_ones_end_them() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    enter(&bed, &mut browser, USER, PASSWORD).await;
    let app_now = add_app(&bed, &mut browser).await;
    let mut other = Browser::default();
    let typed = app_now.codes[3].to_uppercase().replace('-', " ");
    for (code, status) in [(typed.as_str(), 303), (&typed, 401), ("aaaaa-aaaaa", 401)] {
        let second = halfway(&bed, &mut other, USER).await;
        let reply = answer(&bed, &mut other, &second, "recovery", code).await;
        assert_eq!(reply.status().as_u16(), status, "{code}");
    }
    let page = text(&browser.visit(&bed, "/dex/account").await);
    assert!(page.contains("9 left"), "{page}");
    let fields = [("do", "new-codes"), ("token", &*token(&page))];
    let shown = text(&browser.send(&bed, form("/dex/account", &fields)).await);
    assert_eq!(shown.matches("<li><code>").count(), 10);
    let second = halfway(&bed, &mut other, USER).await;
    let reply = answer(&bed, &mut other, &second, "recovery", &app_now.codes[4]).await;
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
    // They are in the database as digests only, and so is the secret.
    let kept = std::fs::read(bed.folder.path().join("provider.redb")).unwrap();
    for secret in app_now
        .codes
        .iter()
        .chain([&app_now.secret.replace(' ', "")])
    {
        let found = kept
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}

#[tokio::test]
async fn guessing_a_second_factor_is_slow() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    enter(&bed, &mut browser, USER, PASSWORD).await;
    add_app(&bed, &mut browser).await;
    let mut statuses = Vec::new();
    for source in 0..4_u8 {
        let mut guesser = Browser {
            source: Some(Source([10, 0, source, 1].into())),
            ..Browser::default()
        };
        let second = halfway(&bed, &mut guesser, USER).await;
        for _ in 0..6 {
            let reply = answer(&bed, &mut guesser, &second, "code", "000000").await;
            statuses.push(reply.status().as_u16());
        }
    }
    let tried = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!((tried, statuses.len()), (10, 24), "{statuses:?}");
    assert!(statuses.iter().all(|status| [401, 429].contains(status)));
    bed.pass(89);
    let second = halfway(&bed, &mut browser, USER).await;
    assert_eq!(
        answer(&bed, &mut browser, &second, "code", "000000")
            .await
            .status(),
        429
    );
    bed.pass(1);
    assert_eq!(
        answer(&bed, &mut browser, &second, "code", "000000")
            .await
            .status(),
        401
    );
}

#[tokio::test]
async fn the_account_wants_a_login_of_its_own_for_a_while() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    super::sessions::log_in(&bed, &mut browser, USER).await;
    for path in [
        "/dex/account",
        "/dex/account/app",
        "/dex/account/password",
        "/dex/account/passkey",
    ] {
        let reply = browser.visit(&bed, path).await;
        assert!(
            location(&reply).starts_with("/dex/auth/local?"),
            "{path}: a session is not enough"
        );
    }
    let page = enter(&bed, &mut browser, USER, PASSWORD).await;
    assert!(
        page.contains("part of the configuration"),
        "a password of the configuration"
    );
    // Not with another browser's cookies, and not with another's token.
    let mut other = Browser::default();
    other.cookies.clone_from(&browser.cookies);
    other.cookies.remove("sidegate_login");
    assert_eq!(
        other.visit(&bed, "/dex/account").await.status(),
        StatusCode::FOUND
    );
    let post = |token: &str| form("/dex/account", &[("do", "end-others"), ("token", token)]);
    assert_eq!(
        browser.send(&bed, post("")).await.status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        browser.send(&bed, post(&token(&page))).await.status(),
        StatusCode::SEE_OTHER
    );
    bed.pass(900);
    assert_eq!(
        browser.visit(&bed, "/dex/account").await.status(),
        StatusCode::FOUND
    );
    // Without `sessions` as well, which then has none to show.
    let bed = Bed::with(&config(""));
    let page = enter(&bed, &mut Browser::default(), USER, PASSWORD).await;
    assert!(!page.contains("sessions-title"), "{page}");
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let bed = Bed::with(&config(SESSIONS));
    let mut away = Browser {
        source: Some(Source([203, 0, 113, 7].into())),
        ..Browser::default()
    };
    super::sessions::log_in(&bed, &mut away, USER).await;
    let mut third = away.clone();
    super::sessions::log_in(&bed, &mut third, USER).await;
    third = Browser::default();
    super::sessions::log_in(&bed, &mut third, USER).await;
    super::sessions::log_in(&bed, &mut Browser::default(), "other@example.com").await;
    let mut browser = Browser::default();
    let page = enter(&bed, &mut browser, USER, PASSWORD).await;
    assert_eq!(page.matches("value=\"end-session\"").count(), 3, "{page}");
    assert_eq!(page.matches("this browser").count(), 1);
    assert!(
        page.contains("203.0.113.*") && !page.contains("203.0.113.7"),
        "{page}"
    );
    let (_, line) = page.split_once("203.0.113.*").unwrap();
    let id = between(line, "name=\"session\" value=\"", "\"");
    let fields = [
        ("do", "end-session"),
        ("session", id),
        ("token", &*token(&page)),
    ];
    let reply = browser.send(&bed, form("/dex/account", &fields)).await;
    assert_eq!(location(&reply), "/dex/account?done=session");
    let page = text(&browser.visit(&bed, &location(&reply)).await);
    assert!(
        page.contains("The session is ended.") && !page.contains("203.0.113"),
        "{page}"
    );
    let fields = [("do", "end-others"), ("token", &*token(&page))];
    browser.send(&bed, form("/dex/account", &fields)).await;
    let reply = third.ask(&bed, &request()).await;
    assert!(location(&reply).starts_with("/dex/auth/local?"));
    let page = text(&browser.visit(&bed, "/dex/account").await);
    assert_eq!(page.matches("value=\"end-session\"").count(), 1);
    // The end of its own session ends the page.
    let id = between(&page, "name=\"session\" value=\"", "\"");
    let fields = [
        ("do", "end-session"),
        ("session", id),
        ("token", &*token(&page)),
    ];
    browser.send(&bed, form("/dex/account", &fields)).await;
    assert_eq!(
        browser.visit(&bed, "/dex/account").await.status(),
        StatusCode::FOUND
    );
}

const OLD: &str = "an old one nobody has";
const NEW: &str = "a new one nobody has";
const KEPT: &str = "kept@example.com";

#[tokio::test]
async fn a_password_is_changed_by_whoever_knows_the_old_one() {
    let bed = Bed::with(&config(SESSIONS));
    let user = NewUser {
        email: KEPT.to_owned(),
        ..NewUser::default()
    };
    bed.provider
        .admin()
        .add_user(user, Some(crate::Secret::new(OLD)))
        .await
        .unwrap();
    let mut away = Browser::default();
    let page = away.start(&bed, &request()).await;
    away.log_in(&bed, &page, KEPT, OLD).await;
    let mut browser = Browser::default();
    enter(&bed, &mut browser, KEPT, OLD).await;
    let page = text(&browser.visit(&bed, "/dex/account/password").await);
    let token = token(&page);
    let post = |old: &str, new: &str, again: &str| {
        let fields = [
            ("old", old),
            ("password", new),
            ("again", again),
            ("token", &token),
        ];
        form("/dex/account/password", &fields)
    };
    for (old, new, again, why) in [
        ("wrong", NEW, NEW, "current password is not right"),
        (OLD, NEW, OLD, "two passwords"),
        (OLD, "short", "short", "too short"),
        (OLD, "password1234", "password1234", "tried first"),
        (OLD, "", "", "is needed"),
    ] {
        let reply = browser.send(&bed, post(old, new, again)).await;
        assert_eq!(reply.status(), StatusCode::BAD_REQUEST, "{why}");
        assert!(text(&reply).contains(why), "{why}: {}", text(&reply));
    }
    let reply = browser.send(&bed, post(OLD, NEW, NEW)).await;
    assert_eq!(
        location(&reply),
        "/dex/account?done=password",
        "{}",
        text(&reply)
    );
    let page = text(&browser.visit(&bed, &location(&reply)).await);
    assert!(page.contains("The password is changed."), "{page}");
    assert_eq!(page.matches("value=\"end-session\"").count(), 1);
    let reply = away.ask(&bed, &request()).await;
    assert!(
        location(&reply).starts_with("/dex/auth/local?"),
        "others are logged out"
    );
    for (password, status) in [(OLD, 401), (NEW, 303)] {
        let reply = away.log_in(&bed, &location(&reply), KEPT, password).await;
        assert_eq!(reply.status().as_u16(), status);
    }
}

#[tokio::test]
async fn removed_factors_are_not_asked_for() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    enter(&bed, &mut browser, USER, PASSWORD).await;
    add_app(&bed, &mut browser).await;
    let page = text(&browser.visit(&bed, "/dex/account").await);
    let fields = [("do", "remove-app"), ("token", &*token(&page))];
    browser.send(&bed, form("/dex/account", &fields)).await;
    let page = text(&browser.visit(&bed, "/dex/account").await);
    assert!(
        !page.contains("new-codes"),
        "codes stand in for something: {page}"
    );
    enter(&bed, &mut Browser::default(), USER, PASSWORD).await;
    // Somebody who has lost them asks the operator.
    add_app(&bed, &mut browser).await;
    halfway(&bed, &mut browser, USER).await;
    let admin = bed.provider.admin();
    admin.remove_second_factors(USER).await.unwrap();
    assert!(
        admin
            .remove_second_factors("nobody@example.com")
            .await
            .is_err()
    );
    enter(&bed, &mut Browser::default(), USER, PASSWORD).await;
}
