//! Claims that are asked for one by one.

use http::StatusCode;
use serde_json::Value;

use super::bed::{
    Bed, Browser, PASSWORD, SKIP_APPROVAL, config, form, json, location, param, request_but, text,
};

const CLAIMS: &str = r#"{"userinfo": {"name": {"essential": true}, "picture": null}, "id_token": {"email": null, "groups": null}}"#;

fn asking(claims: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut params = request_but("scope", "openid offline_access");
    params.push(("claims", claims));
    params
}

fn payload(token: &Value) -> Value {
    use base64::Engine as _;
    let part = token.as_str().unwrap().split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(part)
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn each_claim_arrives_where_it_was_asked_for_and_nowhere_else() {
    let bed = Bed::new();
    let (_, mut tokens) = bed.redeem(&bed.code(&asking(CLAIMS)).await).await;
    for round in ["code", "refresh"] {
        let id_token = payload(&tokens["id_token"]);
        assert_eq!(id_token["email"], "User@example.com", "{round}");
        assert_eq!(id_token["groups"][0], "admins", "{round}");
        assert_eq!(id_token.get("name"), None, "{round}");
        let told = json(&bed.userinfo(tokens["access_token"].as_str().unwrap()).await);
        assert_eq!(told["name"], "user", "{round}");
        assert_eq!(
            (told.get("email"), told.get("groups")),
            (None, None),
            "{round}"
        );
        let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
        let params = [
            ("grant_type", "refresh_token"),
            ("refresh_token", &*refresh),
        ];
        tokens = bed.token(&params).await.1;
    }
}

#[tokio::test]
async fn a_claim_is_allowed_as_its_scope_is() {
    let bed = Bed::with(&config("sessions: {ssoSharedWithDefault: all}\n"));
    let mut browser = Browser::default();
    let mut params = asking(CLAIMS);
    let page = browser.start(&bed, &params).await;
    let reply = browser
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    let approval = location(&reply);
    let page = text(&browser.visit(&bed, &approval).await);
    for ask in [
        "your e-mail address",
        "your name",
        "the groups you belong to",
    ] {
        assert_eq!(page.matches(ask).count(), 1, "{ask}");
    }
    let reply = browser
        .send(&bed, form(&approval, &[("approval", "approve")]))
        .await;
    assert!(param(&location(&reply), "code").is_some());
    // It is remembered for these claims, and for the scopes that tell the same.
    let again = browser.ask(&bed, &params).await;
    assert!(param(&location(&again), "code").is_some());
    params.retain(|(name, _)| !matches!(*name, "claims" | "scope"));
    params.push(("scope", "openid email groups profile"));
    let again = browser.ask(&bed, &params).await;
    assert!(param(&location(&again), "code").is_some());
    // Nothing was allowed for others.
    let mut other = Browser::default();
    let mut plain = asking("{}");
    let page = other.start(&bed, &plain).await;
    let reply = other
        .log_in(&bed, &page, "other@example.com", PASSWORD)
        .await;
    let approval = location(&reply);
    other
        .send(&bed, form(&approval, &[("approval", "approve")]))
        .await;
    let reply = other.ask(&bed, &plain).await;
    assert!(param(&location(&reply), "code").is_some());
    plain = asking(CLAIMS);
    let reply = other.ask(&bed, &plain).await;
    assert!(
        location(&reply).starts_with("/dex/approval?"),
        "{}",
        location(&reply)
    );
}

#[tokio::test]
async fn what_cannot_be_promised_is_an_error() {
    let bed = Bed::new();
    for (claims, error) in [
        ("{", "invalid_request"),
        ("[]", "invalid_request"),
        (
            r#"{"id_token": {"acr": {"essential": true, "value": "mfa"}}}"#,
            "unmet_authentication_requirements",
        ),
    ] {
        let mut browser = Browser::default();
        let reply = browser.ask(&bed, &asking(claims)).await;
        assert_eq!(
            param(&location(&reply), "error").as_deref(),
            Some(error),
            "{claims}"
        );
    }
}

#[tokio::test]
async fn a_person_who_is_named_is_the_only_one_who_logs_in() {
    let bed = Bed::with(&config(SKIP_APPROVAL));
    // `sub` of user 2.
    let claims = r#"{"id_token": {"sub": {"value": "CgEyEgVsb2NhbA"}}}"#;
    for (login, allowed) in [("user@example.com", false), ("other@example.com", true)] {
        let mut browser = Browser::default();
        let page = browser.start(&bed, &asking(claims)).await;
        let reply = browser.log_in(&bed, &page, login, PASSWORD).await;
        assert_eq!(reply.status(), StatusCode::SEE_OTHER);
        let back = location(&reply);
        assert_eq!(param(&back, "code").is_some(), allowed, "{back}");
    }
}
