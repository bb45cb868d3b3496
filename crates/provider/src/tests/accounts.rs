//! Users that are kept in the database: how they come, and what ends with their logins.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, StatusCode};
use secret::Secret;

use super::bed::{
    Bed, Browser, PASSWORD, SKIP_APPROVAL, config, encode, form, location, param, request,
    request_but, text,
};
use super::sessions::{SESSIONS, claims, id_token};
use crate::{Admin, AdminError, DexConfig, NewUser, SetupLink, SignOuts, UserState, WeakPassword};

pub(super) const OWN: &str = "nobody thinks of this";
const OTHER: &str = "nor of this other one";
pub(super) const NEW: &str = "New.Person@example.com";

pub(super) fn new(email: &str) -> NewUser {
    NewUser {
        email: email.to_owned(),
        name: "New Person".to_owned(),
        groups: vec!["staff".to_owned()],
    }
}

/// The path of a link.
fn path(link: &SetupLink) -> String {
    link.at("/dex").expose().to_owned()
}

async fn invited(bed: &Bed) -> String {
    let (_, link) = bed.provider.admin().add_user(new(NEW), None).await.unwrap();
    path(&link.expect("a link"))
}

async fn set(bed: &Bed, link: &str, password: &str) -> http::Response<Bytes> {
    bed.send(form(link, &[("password", password), ("again", password)]))
        .await
}

async fn status(bed: &Bed, email: &str, password: &str) -> StatusCode {
    let mut browser = Browser::default();
    let page = browser.start(bed, &request()).await;
    browser.log_in(bed, &page, email, password).await.status()
}

async fn refresh(bed: &Bed, token: &str) -> StatusCode {
    let params = [("grant_type", "refresh_token"), ("refresh_token", token)];
    bed.token(&params).await.0
}

#[tokio::test]
async fn an_invited_person_sets_a_password_and_logs_in() {
    let bed = Bed::new();
    let link = invited(&bed).await;
    assert_eq!(status(&bed, NEW, OWN).await, StatusCode::UNAUTHORIZED);
    let page = text(&bed.get(&link).await);
    assert!(
        page.contains(NEW) && page.contains(r#"autocomplete="new-password""#),
        "{page}"
    );
    let short = set(&bed, &link, "short").await;
    assert_eq!(short.status(), StatusCode::BAD_REQUEST);
    assert!(text(&short).contains("at least 12 characters"));
    let named = set(&bed, &link, "new.person2026").await;
    assert!(text(&named).contains("little more than your name"));
    let two = form(&link, &[("password", OWN), ("again", OTHER)]);
    assert!(text(&bed.send(two).await).contains("two passwords"));
    assert_eq!(set(&bed, &link, OWN).await.status(), StatusCode::OK);
    // Once.
    assert_eq!(bed.get(&link).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        set(&bed, &link, OTHER).await.status(),
        StatusCode::NOT_FOUND
    );

    assert_eq!(status(&bed, NEW, OTHER).await, StatusCode::UNAUTHORIZED);
    let bed = bed.restart(&config(SKIP_APPROVAL));
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;
    let reply = browser
        .log_in(&bed, &page, " new.person@EXAMPLE.com", OWN)
        .await;
    let token = id_token(&bed, &reply).await;
    let claims = claims(&token);
    assert_eq!(claims["email"], NEW);
    assert_eq!(claims["name"], "New Person");
    assert_eq!(claims["groups"], serde_json::json!(["staff"]));
    assert_eq!(claims["email_verified"], true);
    assert!(
        claims["sub"].as_str().unwrap().ends_with("EgVsb2NhbA"),
        "of the connector `local`"
    );
}

#[tokio::test]
async fn a_link_is_the_newest_of_its_user_and_lasts_a_day() {
    let bed = Bed::new();
    let first = invited(&bed).await;
    let (info, second) = bed.provider.admin().reset_user(NEW).await.unwrap();
    assert_eq!(info.state, UserState::Invited);
    assert_eq!(bed.get(&first).await.status(), StatusCode::NOT_FOUND);
    let second = path(&second);
    bed.pass(24 * 3600 - 1);
    assert_eq!(bed.get(&second).await.status(), StatusCode::OK);
    bed.pass(1);
    assert_eq!(
        set(&bed, &second, OWN).await.status(),
        StatusCode::NOT_FOUND
    );
    for forged in [
        "",
        "?ticket=",
        "?ticket=x",
        "?ticket=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        let reply = bed.get(&format!("/dex/setup{forged}")).await;
        assert_eq!(reply.status(), StatusCode::NOT_FOUND, "{forged}");
    }
    let foreign = Request::post(&second)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "cross-site")
        .body(Bytes::from(encode(&[("password", OWN), ("again", OWN)])))
        .unwrap();
    let (_, third) = bed.provider.admin().reset_user(NEW).await.unwrap();
    let (mut parts, body) = foreign.into_parts();
    parts.uri = path(&third).parse().unwrap();
    let reply = bed.send(Request::from_parts(parts, body)).await;
    assert_eq!(reply.status(), StatusCode::FORBIDDEN);
}

/// Two people with the same link at the same moment: one password is set.
#[tokio::test]
async fn of_two_uses_at_once_one_counts() {
    let bed = Bed::new();
    let link = invited(&bed).await;
    let (a, b) = tokio::join!(set(&bed, &link, OWN), set(&bed, &link, OTHER));
    let mut both = [a.status(), b.status()];
    both.sort();
    assert_eq!(both, [StatusCode::OK, StatusCode::NOT_FOUND]);
    let right = if a.status() == StatusCode::OK {
        OWN
    } else {
        OTHER
    };
    assert_eq!(status(&bed, NEW, right).await, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn the_first_user_of_all_chooses_address_and_password() {
    let nobody = config(SKIP_APPROVAL)
        .lines()
        .filter(|line| !line.contains("staticPasswords") && !line.contains("username:"))
        .collect::<Vec<_>>()
        .join("\n");
    let bed = Bed::with(&nobody);
    let admin = bed.provider.admin();
    let older = path(&admin.first_link().await.unwrap().unwrap());
    let link = path(&admin.first_link().await.unwrap().unwrap());
    assert_eq!(bed.get(&older).await.status(), StatusCode::NOT_FOUND);
    assert!(text(&bed.get(&link).await).contains("first account"));
    let first = |email, password| {
        let fields = [
            ("email", email),
            ("password", password),
            ("again", password),
        ];
        form(&link, &fields)
    };
    for (email, password, expected) in [
        ("nobody", OWN, "not an e-mail address"),
        (NEW, "password1234", "tried first"),
    ] {
        let reply = text(&bed.send(first(email, password)).await);
        assert!(reply.contains(expected), "{reply}");
    }
    let set = bed.send(first(NEW, OWN)).await;
    assert_eq!(set.status(), StatusCode::OK, "{}", text(&set));
    assert_eq!(status(&bed, NEW, OWN).await, StatusCode::SEE_OTHER);
    assert!(admin.first_link().await.unwrap().is_none());
    // Links from before end with the first user, wherever that comes from.
    let bed = Bed::with(&nobody);
    let admin = bed.provider.admin();
    let link = path(&admin.first_link().await.unwrap().unwrap());
    admin.add_user(new(NEW), None).await.unwrap();
    assert_eq!(bed.get(&link).await.status(), StatusCode::NOT_FOUND);
    assert!(
        Bed::new()
            .provider
            .admin()
            .first_link()
            .await
            .unwrap()
            .is_none()
    );
}

#[derive(Default)]
pub(super) struct Heard(pub(super) Mutex<Vec<String>>);

impl SignOuts for Heard {
    fn signed_out<'a>(&'a self, email: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.0.lock().unwrap().push(email.to_owned());
        Box::pin(async {})
    }
}

/// A session, a refresh token, an access token, a code that is not redeemed and an approval page
/// that is open: what a person has who is logged in.
pub(super) struct LoggedIn {
    pub(super) browser: Browser,
    refresh: String,
    access: String,
    code: String,
    approval: String,
}

pub(super) async fn logged_in(bed: &Bed, email: &str, password: &str) -> LoggedIn {
    let mut browser = Browser::default();
    let page = browser.start(bed, &request()).await;
    let reply = browser.log_in(bed, &page, email, password).await;
    let code = param(&location(&reply), "code").unwrap();
    let (_, tokens) = bed.redeem(&code).await;
    let reply = browser.ask(bed, &request()).await;
    let code = param(&location(&reply), "code").expect("single sign-on");
    let reply = browser.ask(bed, &request_but("prompt", "consent")).await;
    LoggedIn {
        approval: location(&reply),
        browser,
        refresh: tokens["refresh_token"].as_str().unwrap().to_owned(),
        access: tokens["access_token"].as_str().unwrap().to_owned(),
        code,
    }
}

impl LoggedIn {
    pub(super) async fn ends(mut self, bed: &Bed) {
        let reply = self.browser.ask(bed, &request()).await;
        assert!(
            location(&reply).starts_with("/dex/auth/local?"),
            "the session"
        );
        assert_eq!(refresh(bed, &self.refresh).await, StatusCode::BAD_REQUEST);
        let userinfo = bed.userinfo(&self.access).await;
        assert_eq!(userinfo.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(bed.redeem(&self.code).await.0, StatusCode::BAD_REQUEST);
        let approve = form(&self.approval, &[("approval", "approve")]);
        let reply = self.browser.send(bed, approve).await;
        assert_eq!(reply.status(), StatusCode::BAD_REQUEST, "{}", text(&reply));
    }
}

#[tokio::test]
async fn a_user_who_is_disabled_or_reset_is_logged_out_everywhere_at_once() {
    let yaml = config(SESSIONS).replace(
        "id: platform,",
        "id: platform, backchannelLogoutURI: 'https://app.example/out',",
    );
    let bed = Bed::with(&yaml);
    let link = invited(&bed).await;
    set(&bed, &link, OWN).await;
    let before = logged_in(&bed, NEW, OWN).await;
    let other = bed.code(&request()).await;
    let admin = bed.provider.admin();
    let info = admin
        .set_enabled(" new.person@example.com ", false)
        .await
        .unwrap();
    assert_eq!(info.state, UserState::Disabled);
    before.ends(&bed).await;
    assert_eq!(status(&bed, NEW, OWN).await, StatusCode::UNAUTHORIZED);
    assert_eq!(bed.redeem(&other).await.0, StatusCode::OK, "nobody else is");
    while bed.posts.0.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(bed.posts.0.lock().unwrap()[0].0, "https://app.example/out");
    assert!(matches!(
        admin.reset_user(NEW).await,
        Err(AdminError::Disabled(_))
    ));

    admin.set_enabled(NEW, true).await.unwrap();
    let before = logged_in(&bed, NEW, OWN).await;
    let (_, link) = admin.reset_user(NEW).await.unwrap();
    before.ends(&bed).await;
    assert_eq!(status(&bed, NEW, OWN).await, StatusCode::UNAUTHORIZED);
    let link = path(&link);
    assert_eq!(set(&bed, &link, OTHER).await.status(), StatusCode::OK);
    assert_eq!(status(&bed, NEW, OTHER).await, StatusCode::SEE_OTHER);
    // A link that nobody used ends with the account's being disabled.
    let (_, link) = admin.reset_user(NEW).await.unwrap();
    admin.set_enabled(NEW, false).await.unwrap();
    admin.set_enabled(NEW, true).await.unwrap();
    assert_eq!(bed.get(&path(&link)).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn whoever_keeps_sessions_of_their_own_is_told() {
    let heard = Arc::new(Heard::default());
    let bed = Bed::with_sign_outs(&config(SKIP_APPROVAL), heard.clone());
    let admin = bed.provider.admin();
    let password = Some(Secret::new(OWN));
    admin.add_user(new(NEW), password).await.unwrap();
    assert!(heard.0.lock().unwrap().is_empty());
    let (_, link) = admin.reset_user(NEW).await.unwrap();
    assert_eq!(*heard.0.lock().unwrap(), [NEW]);
    set(&bed, &path(&link), OTHER).await;
    admin.set_enabled(NEW, false).await.unwrap();
    assert_eq!(heard.0.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn the_configuration_wins_over_the_database() {
    let bed = Bed::new();
    let admin = bed.provider.admin();
    for taken in ["USER@example.com", " other@example.com "] {
        let error = admin.add_user(new(taken), None).await.unwrap_err();
        assert!(matches!(error, AdminError::Exists(_)), "{error}");
        let error = admin.set_enabled(taken.trim(), false).await.unwrap_err();
        assert!(matches!(error, AdminError::Configured(_)), "{error}");
    }
    admin
        .add_user(new(NEW), Some(Secret::new(OWN)))
        .await
        .unwrap();
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;
    let reply = browser.log_in(&bed, &page, NEW, OWN).await;
    let (_, tokens) = bed.redeem(&param(&location(&reply), "code").unwrap()).await;
    let token = tokens["refresh_token"].as_str().unwrap().to_owned();
    drop(admin);
    // The address comes into the configuration: the one in the database is as if it were not there.
    let yaml = config(SKIP_APPROVAL).replace("other@example.com", "NEW.person@example.com");
    let bed = bed.restart(&yaml);
    assert_eq!(status(&bed, NEW, OWN).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&bed, NEW, PASSWORD).await, StatusCode::SEE_OTHER);
    assert_eq!(refresh(&bed, &token).await, StatusCode::BAD_REQUEST);
    let states: Vec<_> = bed
        .provider
        .admin()
        .users()
        .unwrap()
        .into_iter()
        .map(|user| (user.email, user.state))
        .collect();
    assert_eq!(
        states,
        [
            ("User@example.com".to_owned(), UserState::Configured),
            ("NEW.person@example.com".to_owned(), UserState::Configured),
            (NEW.to_owned(), UserState::Shadowed),
        ]
    );
}

#[tokio::test]
async fn users_are_added_where_no_provider_runs() {
    let bed = Bed::new();
    let admin = Admin::open(bed.storage.clone(), crate::system_clock()).unwrap();
    for (user, password, expected) in [
        (new("nobody"), None, "`nobody` is not an e-mail address"),
        (new(NEW), Some("password1234"), "tried first"),
        (
            NewUser {
                groups: vec!["a,b".to_owned()],
                ..new(NEW)
            },
            None,
            "`a,b` cannot be a name",
        ),
    ] {
        let error = admin
            .add_user(user, password.map(Secret::new))
            .await
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let (info, link) = admin
        .add_user(new(NEW), Some(Secret::new(OWN)))
        .await
        .unwrap();
    assert_eq!((info.state, link.is_none()), (UserState::Enabled, true));
    let twice = admin.add_user(new("new.PERSON@example.com"), None).await;
    assert!(matches!(twice, Err(AdminError::Exists(_))));
    let gone = admin.set_enabled("gone@example.com", true).await;
    assert!(matches!(gone, Err(AdminError::Unknown(_))));
    assert_eq!(status(&bed, NEW, OWN).await, StatusCode::SEE_OTHER);
    assert_eq!(
        WeakPassword::Short.to_string(),
        "the password is too short: expected at least 12 letters"
    );
}

/// One hash for each attempt, whoever the attempt is about.
#[tokio::test]
async fn every_attempt_computes_one_hash() {
    let bed = Bed::new();
    invited(&bed).await;
    let admin = bed.provider.admin();
    admin
        .add_user(new("set@example.com"), Some(Secret::new(OWN)))
        .await
        .unwrap();
    admin
        .add_user(new("off@example.com"), Some(Secret::new(OWN)))
        .await
        .unwrap();
    admin.set_enabled("off@example.com", false).await.unwrap();
    for email in [
        "user@example.com",
        NEW,
        "set@example.com",
        "off@example.com",
        "no@example.com",
    ] {
        let runs = bed.provider.password_checks();
        let mut browser = Browser::default();
        let page = browser.start(&bed, &request()).await;
        let reply = browser.log_in(&bed, &page, email, "wrong password").await;
        assert_eq!(bed.provider.password_checks(), runs + 1, "{email}");
        assert!(text(&reply).contains("is not right"), "{email}");
    }
}

#[tokio::test]
async fn an_exchange_may_name_a_user_of_the_database() {
    let yaml = config(SKIP_APPROVAL).replace(
        "id: platform,",
        &format!("id: platform, tokenExchange: [{{subject: 'system:serviceaccount:a:b', user: '{NEW}'}}],"),
    );
    let bed = Bed::with(&yaml);
    let params = [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token", "token of a:b"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
    ];
    assert_eq!(bed.token(&params).await.0, StatusCode::BAD_REQUEST);
    let admin = bed.provider.admin();
    admin.add_user(new(NEW), None).await.unwrap();
    let (status, tokens) = bed.token(&params).await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    let about = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!(about["email"], NEW);
    admin.set_enabled(NEW, false).await.unwrap();
    let (status, refused) = bed.token(&params).await;
    assert_eq!(
        (status, &refused["error"]),
        (StatusCode::BAD_REQUEST, &"invalid_grant".into())
    );
}

#[test]
fn a_configuration_without_users_is_one() {
    let yaml = "issuer: http://x/dex\nenablePasswordDB: true\n";
    assert!(
        DexConfig::parse(yaml, &|_| None)
            .unwrap()
            .0
            .users
            .is_empty()
    );
}
