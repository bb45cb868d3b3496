//! People of connectors: how strong their logins are, and who is let in no more.

use http::StatusCode;

use super::bed::{Browser, SKIP_APPROVAL, encode, location, param, request, request_but};
use super::connectors::{Pair, refresh, text_of, tokens};
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
