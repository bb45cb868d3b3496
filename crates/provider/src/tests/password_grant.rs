//! Passwords that applications hand over, where `oauth2.passwordConnector` lets them.

use http::StatusCode;

use super::bed::{Bed, PASSWORD, SKIP_APPROVAL, config, json};
use super::sessions::claims;
use crate::DexConfig;

const TAKEN: &str = "oauth2: {skipApprovalScreen: true, passwordConnector: local}\n";

fn of<'a>(name: &'a str, password: &'a str, scope: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "password"),
        ("username", name),
        ("password", password),
        ("scope", scope),
    ]
}

#[tokio::test]
async fn a_password_gets_tokens_where_that_is_configured() {
    let bed = Bed::with(&config(TAKEN));
    let scope = "openid email groups offline_access";
    let (status, tokens) = bed.token(&of("USER@example.com", PASSWORD, scope)).await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    let said = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(said["sub"], "Cg4xNTg0MTE4NTY0MTc4NBIFbG9jYWw");
    assert_eq!(
        (&said["aud"], &said["amr"][0]),
        (&"platform".into(), &"pwd".into())
    );
    assert_eq!(said["groups"], serde_json::json!(["admins", "staff"]));
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(
        json(&bed.userinfo(access).await)["email"],
        "User@example.com"
    );
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let params = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    assert_eq!(bed.token(&params).await.0, StatusCode::OK);
    let (_, tokens) = bed.token(&of("user@example.com", PASSWORD, "openid")).await;
    assert!(tokens.get("refresh_token").is_none(), "{tokens}");
    let found = json(&bed.get("/dex/.well-known/openid-configuration").await);
    let grants = found["grant_types_supported"].as_array().unwrap();
    assert!(grants.contains(&"password".into()), "{grants:?}");
}

#[tokio::test]
async fn a_password_that_is_wrong_says_nothing_and_is_counted() {
    let bed = Bed::with(&config(TAKEN));
    let (status, wrong) = bed.token(&of("user@example.com", "wrong", "openid")).await;
    assert_eq!(
        (status, &wrong["error"]),
        (StatusCode::BAD_REQUEST, &"invalid_grant".into())
    );
    let nobody = bed
        .token(&of("nobody@example.com", "wrong", "openid"))
        .await;
    assert_eq!(nobody, (status, wrong));
    let (_, refused) = bed.token(&of("user@example.com", PASSWORD, "email")).await;
    assert_eq!(refused["error"], "invalid_scope");
    let (_, refused) = bed.token(&of("user@example.com", "", "openid")).await;
    assert_eq!(refused["error"], "invalid_request");
    let checks = bed.provider.password_checks();
    assert_eq!(checks, 2, "one for each attempt, also at nobody");
    for _ in 0..9 {
        bed.token(&of("user@example.com", "wrong", "openid")).await;
    }
    let (status, refused) = bed.token(&of("user@example.com", PASSWORD, "openid")).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{refused}");
    assert_eq!(bed.provider.password_checks(), checks + 9);
    bed.pass(60);
    let (status, _) = bed.token(&of("user@example.com", PASSWORD, "openid")).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn passwords_of_applications_are_off_unless_configured() {
    let params = of("user@example.com", PASSWORD, "openid");
    let bed = Bed::with(&config(SKIP_APPROVAL));
    let (status, refused) = bed.token(&params).await;
    assert_eq!(
        (status, &refused["error"]),
        (StatusCode::BAD_REQUEST, &"unsupported_grant_type".into())
    );
    assert_eq!(bed.provider.password_checks(), 0);
    // A second factor is not passed over, and a client may have other grants alone.
    let bed = Bed::with(&config(&format!("{TAKEN}secondFactor: required\n")));
    let (_, refused) = bed.token(&params).await;
    assert_eq!(refused["error"], "invalid_grant");
    assert!(
        refused["error_description"]
            .as_str()
            .unwrap()
            .contains("second factor")
    );
    let less = config(TAKEN).replace(
        "{id: platform,",
        "{id: platform, grantTypes: [refresh_token],",
    );
    let (_, refused) = Bed::with(&less).token(&params).await;
    assert_eq!(refused["error"], "unauthorized_client");
    for connector in ["nowhere", "oidc"] {
        let yaml = config(&TAKEN.replace("local", connector));
        let error = DexConfig::parse(&yaml, &|_| None).unwrap_err();
        assert_eq!(error.field(), Some("oauth2.passwordConnector"), "{error}");
    }
}
