//! What people are promised about their passwords and about applications (docs/asvs.md).

use http::StatusCode;

use super::bed::{
    Bed, Browser, PASSWORD, config, form, location, param, request, request_but, text,
};
use super::factors::{add_app, between, enter, token};
use super::sessions::SESSIONS;
use crate::NewUser;

const USER: &str = "user@example.com";
const ASKING: &str = "sessions: {ssoSharedWithDefault: all}\n";

/// Logs in and allows what is asked; the code for the application.
async fn allow(bed: &Bed, browser: &mut Browser, scope: &'static str) -> String {
    let wanted = request_but("scope", scope);
    let page = browser.start(bed, &wanted).await;
    let reply = browser.log_in(bed, &page, USER, PASSWORD).await;
    let approval = location(&reply);
    assert!(approval.starts_with("/dex/approval?"), "{approval}");
    let reply = browser
        .send(bed, form(&approval, &[("approval", "approve")]))
        .await;
    param(&location(&reply), "code").expect("a code")
}

async fn refresh(bed: &Bed, token: &str) -> (StatusCode, serde_json::Value) {
    let params = [("grant_type", "refresh_token"), ("refresh_token", token)];
    bed.token(&params).await
}

#[tokio::test]
async fn a_person_takes_back_what_an_application_may() {
    let bed = Bed::with(&config(ASKING));
    let mut browser = Browser::default();
    let code = allow(&bed, &mut browser, "openid email offline_access").await;
    let (_, tokens) = bed.redeem(&code).await;
    let access = tokens["access_token"].as_str().unwrap();
    let (status, tokens) = refresh(&bed, tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(bed.userinfo(access).await.status(), StatusCode::OK);
    // Another's page has none of it.
    let other = enter(&bed, &mut Browser::default(), "other@example.com", PASSWORD).await;
    assert!(!other.contains("applications-title"), "{other}");

    let page = enter(&bed, &mut browser, USER, PASSWORD).await;
    let (_, lines) = page.split_once("applications-title").unwrap();
    assert_eq!(lines.matches("end-application").count(), 1, "{lines}");
    assert!(
        lines.contains("Platform &#60;b&#62;") && lines.contains("access while you are away"),
        "{lines}"
    );
    let id = between(lines, "name=\"application\" value=\"", "\"");
    let end = |token: &str| {
        let fields = [
            ("do", "end-application"),
            ("application", id),
            ("token", token),
        ];
        form("/dex/account", &fields)
    };
    let refused = browser.send(&bed, end("of another browser")).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let reply = browser.send(&bed, end(&token(&page))).await;
    assert_eq!(location(&reply), "/dex/account?done=application");
    let page = text(&browser.visit(&bed, &location(&reply)).await);
    assert!(
        page.contains("has no access any more") && !page.contains("end-application"),
        "{page}"
    );
    let (status, answer) = refresh(&bed, tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(
        bed.userinfo(access).await.status(),
        StatusCode::UNAUTHORIZED
    );
    // It has to ask again, and then is on the page without access of its own.
    allow(&bed, &mut Browser::default(), "openid email").await;
    let page = text(&browser.visit(&bed, "/dex/account").await);
    assert!(
        page.contains("asks no more") && !page.contains("access while you are away"),
        "{page}"
    );
}

#[tokio::test]
async fn consent_says_for_how_long() {
    for (extra, scope, expected) in [
        (
            ASKING,
            "openid email",
            "It has access for 24 hours. You are not asked again for 365 days.",
        ),
        (
            ASKING,
            "openid offline_access",
            "It has access for 165 days at most, until you take that back in your account. You are \
             not asked again for 365 days.",
        ),
        (
            "expiry: {idTokens: 90m}\n",
            "openid",
            "It has access for 90 minutes. You are asked again at the next login.",
        ),
        (
            "expiry: {refreshTokens: {absoluteLifetime: 72h}}\n",
            "openid offline_access",
            "It has access for 3 days at most, until you take that back in your account. You are \
             asked again at the next login.",
        ),
    ] {
        let bed = Bed::with(&config(extra));
        let mut browser = Browser::default();
        let page = browser.start(&bed, &request_but("scope", scope)).await;
        let reply = browser.log_in(&bed, &page, USER, PASSWORD).await;
        let shown = text(&browser.visit(&bed, &location(&reply)).await);
        assert!(shown.contains(expected), "{scope}: {shown}");
    }
}

#[tokio::test]
async fn a_password_by_a_link_does_not_pass_over_the_second_factor() {
    const KEPT: &str = "kept@example.com";
    const OLD: &str = "an old one nobody has";
    const NEW: &str = "a new one nobody has";
    let bed = Bed::with(&config(SESSIONS));
    let admin = bed.provider.admin();
    let user = NewUser {
        email: KEPT.to_owned(),
        ..NewUser::default()
    };
    admin
        .add_user(user, Some(crate::Secret::new(OLD)))
        .await
        .unwrap();
    let mut browser = Browser::default();
    enter(&bed, &mut browser, KEPT, OLD).await;
    add_app(&bed, &mut browser).await;
    let (_, link) = admin.reset_user(KEPT).await.unwrap();
    let link = link.at("/dex").expose().to_owned();
    let fields = [("password", NEW), ("again", NEW)];
    let reply = browser.send(&bed, form(&link, &fields)).await;
    assert_eq!(reply.status(), StatusCode::OK, "{}", text(&reply));
    let mut other = Browser::default();
    let page = other.start(&bed, &request()).await;
    let reply = other.log_in(&bed, &page, KEPT, NEW).await;
    assert!(
        location(&reply).starts_with("/dex/auth/second?"),
        "{}",
        location(&reply)
    );
}

#[tokio::test]
async fn password_fields_hide_what_is_typed_and_take_what_is_pasted() {
    const KEPT: &str = "kept@example.com";
    const OLD: &str = "an old one nobody has";
    let bed = Bed::with(&config(SESSIONS));
    let admin = bed.provider.admin();
    let new = |email: &str| NewUser {
        email: email.to_owned(),
        ..NewUser::default()
    };
    let password = Some(crate::Secret::new(OLD));
    admin.add_user(new(KEPT), password).await.unwrap();
    let (_, link) = admin.add_user(new("new@example.com"), None).await.unwrap();
    let mut browser = Browser::default();
    let login = browser.start(&bed, &request()).await;
    let login = text(&browser.visit(&bed, &login).await);
    let setup = link.unwrap().at("/dex").expose().to_owned();
    let setup = text(&browser.visit(&bed, &setup).await);
    enter(&bed, &mut browser, KEPT, OLD).await;
    let change = text(&browser.visit(&bed, "/dex/account/password").await);
    for (page, kinds) in [
        (login, &["current-password"][..]),
        (setup, &["new-password", "new-password"]),
        (
            change,
            &["current-password", "new-password", "new-password"],
        ),
    ] {
        let fields: Vec<&str> = page
            .split("<input ")
            .skip(1)
            .filter_map(|rest| rest.split('>').next())
            .filter(|field| field.contains("-password\""))
            .collect();
        assert_eq!(fields.len(), kinds.len(), "{page}");
        for (field, kind) in fields.iter().zip(kinds) {
            let kind = format!("autocomplete=\"{kind}\"");
            assert!(
                field.contains("type=\"password\"") && field.contains(&kind),
                "{field}"
            );
        }
        assert_eq!(page.matches("type=\"password\"").count(), kinds.len());
        // Nothing runs that could refuse to paste.
        assert!(
            !page.contains("<script") && !page.contains(" onpaste"),
            "{page}"
        );
    }
}
