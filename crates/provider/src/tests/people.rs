//! People of connectors: how strong their logins are, and who is let in no more.

use http::StatusCode;

use super::bed::{
    Browser, PASSWORD, SKIP_APPROVAL, encode, form, location, param, request, request_but, text,
};
use super::connectors::{Pair, refresh, text_of, tokens};
use super::factors::{between, token};
use super::sessions::SESSIONS;

/// How strong a login at another provider was is not known here.
#[tokio::test]
async fn an_essential_acr_is_no_login_by_another_provider() {
    let pair = Pair::new(&format!("{SKIP_APPROVAL}secondFactor: required\n"), "");
    let mut browser = Browser::default();
    let reply = pair.log_in(&mut browser, "user@example.com").await;
    assert!(
        param(&location(&reply), "code").is_some(),
        "the configuration speaks of users here"
    );
    let mut asked = request();
    asked.push((
        "claims",
        r#"{"id_token": {"acr": {"essential": true, "values": ["1", "2"]}}}"#,
    ));
    let path = format!("/dex/auth/up?{}", encode(&asked));
    let back = pair.away(&mut browser, &path, "user@example.com").await;
    let reply = browser.visit(&pair.bed, &back).await;
    let error = param(&location(&reply), "error");
    assert_eq!(error.as_deref(), Some("unmet_authentication_requirements"));
}

#[tokio::test]
async fn who_is_disabled_is_let_in_by_no_connector_until_enabled_again() {
    let pair = Pair::new(SESSIONS, "");
    let mut browser = Browser::default();
    let tokens = tokens(&pair, &mut browser).await;
    let admin = pair.bed.provider.admin();
    let unknown = admin
        .set_person_enabled("up", "nobody@example.com", false)
        .await;
    assert!(matches!(
        unknown,
        Err(crate::AdminError::UnknownAtConnector { .. })
    ));
    let elsewhere = admin
        .set_person_enabled("other", "user@example.com", false)
        .await;
    assert!(elsewhere.is_err());
    let changed = admin
        .set_person_enabled("up", "USER@example.com", false)
        .await
        .unwrap();
    assert_eq!(changed.len(), 1);
    assert_eq!(admin.people_of("up").unwrap(), changed);
    assert_eq!(changed[0].state, crate::UserState::Disabled);
    let access = text_of(&tokens, "access_token");
    assert_eq!(
        pair.bed.userinfo(access).await.status(),
        StatusCode::UNAUTHORIZED
    );
    let (status, answer) = refresh(&pair, text_of(&tokens, "refresh_token")).await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::BAD_REQUEST, &"invalid_grant".into())
    );
    let asked = browser.ask(&pair.bed, &request_but("prompt", "none")).await;
    assert_eq!(
        param(&location(&asked), "error").as_deref(),
        Some("login_required")
    );
    let reply = pair
        .log_in(&mut Browser::default(), "user@example.com")
        .await;
    assert_eq!(reply.status(), StatusCode::FORBIDDEN);
    // However long ago that was.
    pair.pass(400 * 86_400);
    pair.log_in(&mut Browser::default(), "other@example.com")
        .await;
    let reply = pair
        .log_in(&mut Browser::default(), "user@example.com")
        .await;
    assert_eq!(reply.status(), StatusCode::FORBIDDEN);
    let id = &changed[0].user_id;
    admin.set_person_enabled("up", id, true).await.unwrap();
    let reply = pair
        .log_in(&mut Browser::default(), "user@example.com")
        .await;
    assert!(param(&location(&reply), "code").is_some());
}

/// The account page of somebody who logged in by the connector; its text.
async fn enter(pair: &Pair, browser: &mut Browser) -> String {
    let reply = browser.visit(&pair.bed, "/dex/account").await;
    assert_eq!(reply.status(), StatusCode::OK, "a choice, with two ways");
    let choice = text(&reply);
    assert!(choice.contains("to get to your account"), "{choice}");
    let way = between(&choice, "href=\"/dex/auth/up?", "\"");
    let way = format!("/dex/auth/up?{}", way.replace("&#38;", "&"));
    let back = pair.away(browser, &way, "user@example.com").await;
    let reply = browser.visit(&pair.bed, &back).await;
    assert_eq!(location(&reply), "/dex/account", "{}", text(&reply));
    text(&browser.visit(&pair.bed, "/dex/account").await)
}

#[tokio::test]
async fn people_of_connectors_see_and_end_what_they_have_here() {
    let pair = Pair::new("sessions: {ssoSharedWithDefault: all}\n", "");
    let mut away = Browser::default();
    let reply = pair.log_in(&mut away, "user@example.com").await;
    let approval = location(&reply);
    assert!(approval.starts_with("/dex/approval?"), "{approval}");
    let allow = form(&approval, &[("approval", "approve")]);
    let code = param(&location(&away.send(&pair.bed, allow).await), "code").unwrap();
    let (_, held) = pair.bed.redeem(&code).await;
    // A user here of the same address has another account.
    let mut local = Browser::default();
    let choice = text(&local.visit(&pair.bed, "/dex/account").await);
    let form_at = between(&choice, "href=\"/dex/auth/local?", "\"").replace("&#38;", "&");
    let form_at = format!("/dex/auth/local?{form_at}");
    let reply = local
        .log_in(&pair.bed, &form_at, "user@example.com", PASSWORD)
        .await;
    assert_eq!(location(&reply), "/dex/account");
    let page = text(&local.visit(&pair.bed, "/dex/account").await);
    assert!(!page.contains("end-application"), "{page}");

    let mut browser = Browser::default();
    let page = enter(&pair, &mut browser).await;
    assert_eq!(page.matches("value=\"end-session\"").count(), 2, "{page}");
    assert!(
        page.contains("kept at <strong>Up &#38; away</strong>")
            && !page.contains("second-title")
            && !page.contains("/account/app"),
        "{page}"
    );
    let (_, lines) = page.split_once("applications-title").unwrap();
    assert!(
        lines.contains("access while you are away") && lines.contains("the groups you belong to"),
        "{lines}"
    );
    let token = token(&page);
    let post = |fields: &[(&str, &str)]| {
        let mut all = vec![("token", &*token)];
        all.extend(fields);
        form("/dex/account", &all)
    };
    let end = post(&[("do", "end-application"), ("application", "platform")]);
    let reply = browser.send(&pair.bed, end).await;
    assert_eq!(location(&reply), "/dex/account?done=application");
    let (status, _) = refresh(&pair, text_of(&held, "refresh_token")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    browser.send(&pair.bed, post(&[("do", "end-others")])).await;
    let reply = away.ask(&pair.bed, &request_but("prompt", "none")).await;
    let error = param(&location(&reply), "error");
    assert_eq!(error.as_deref(), Some("login_required"));
    // Passwords and second factors of others are not kept here, whatever is posted.
    for path in ["password", "app", "passkey"] {
        let path = format!("/dex/account/{path}");
        let reply = browser.visit(&pair.bed, &path).await;
        assert_eq!(location(&reply), "/dex/account?done=", "{path}");
        let fields = [("token", &*token), ("old", "x"), ("password", "y")];
        let reply = browser.send(&pair.bed, form(&path, &fields)).await;
        assert_eq!(location(&reply), "/dex/account?done=", "{path}");
    }
    let reply = browser.send(&pair.bed, post(&[("do", "new-codes")])).await;
    assert_eq!(location(&reply), "/dex/account?done=");
    // Who is disabled has no account any more.
    let admin = pair.bed.provider.admin();
    let disabled = admin.set_person_enabled("up", "user@example.com", false);
    disabled.await.unwrap();
    let reply = browser.visit(&pair.bed, "/dex/account").await;
    assert!(text(&reply).contains("How do you log in?"));
}
