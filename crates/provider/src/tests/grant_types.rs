//! Ways to tokens that a client does not need and does not have (ASVS 10.4.4).

use http::StatusCode;
use serde_json::Value;

use super::bed::{Bed, Browser, config, form, json, location, param, request, text};
use crate::{AdminError, DexConfig, GrantType, NewClient};

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ALL: [&str; 5] = [
    "authorization_code",
    "refresh_token",
    "client_credentials",
    DEVICE,
    EXCHANGE,
];

/// All grants are offered, and the platform has these.
fn with(listed: &str) -> String {
    let offered = "oauth2: {skipApprovalScreen: true, grantTypes: [client_credentials, \
         'urn:ietf:params:oauth:grant-type:device_code', \
         'urn:ietf:params:oauth:grant-type:token-exchange']}\n";
    config(offered).replace(
        "id: platform,",
        &format!("id: platform, grantTypes: [{listed}],"),
    )
}

/// Whether the token endpoint says that the platform may not use a grant.
async fn is_refused(bed: &Bed, grant: &str) -> bool {
    let (status, answer) = bed.token(&[("grant_type", grant)]).await;
    let refused = answer["error"] == "unauthorized_client";
    assert!(refused || status != StatusCode::UNAUTHORIZED, "{answer}");
    refused
}

async fn device(bed: &Bed, id: &str, secret: &str) -> Value {
    let params = [
        ("client_id", id),
        ("client_secret", secret),
        ("scope", "openid offline_access"),
    ];
    json(&bed.send(form("/dex/device/code", &params)).await)
}

#[tokio::test]
async fn a_client_uses_the_grants_that_it_lists_and_no_others() {
    for listed in ALL {
        let bed = Bed::with(&with(listed));
        for grant in ALL {
            let refused = is_refused(&bed, grant).await;
            assert_eq!(refused, grant != listed, "{grant} where {listed} is listed");
        }
        let reply = Browser::default().ask(&bed, &request()).await;
        let error = param(&location(&reply), "error");
        let expected = (listed != "authorization_code").then_some("unauthorized_client");
        assert_eq!(error.as_deref(), expected, "{listed}");
        let answer = device(&bed, "platform", super::bed::SECRET).await;
        let refused = answer["error"] == "unauthorized_client";
        assert_eq!(refused, listed != DEVICE, "{listed}: {answer}");
    }
    // None is listed: all that are offered.
    let bed = Bed::with(&with(""));
    for grant in ALL {
        assert!(!is_refused(&bed, grant).await, "{grant}");
    }
}

#[tokio::test]
async fn a_client_without_refresh_tokens_gets_none() {
    let bed = Bed::with(&with("authorization_code"));
    let (status, tokens) = bed.redeem(&bed.code(&request()).await).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(tokens["refresh_token"], Value::Null);
    // Passed over, as OpenID Connect Core 1.0 section 11 says, and the answer tells.
    assert_eq!(tokens["scope"], "openid profile email groups");
    // One that had them before the configuration changed does not go on.
    let bed = Bed::with(&with("authorization_code, refresh_token"));
    let code = bed.code(&request()).await;
    let unused = bed.code(&request()).await;
    let (_, tokens) = bed.redeem(&code).await;
    let token = tokens["refresh_token"].as_str().unwrap().to_owned();
    let bed = bed.restart(&with("authorization_code"));
    let params = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
    let (_, answer) = bed.token(&params).await;
    assert_eq!(answer["error"], "unauthorized_client");
    let (_, tokens) = bed.redeem(&unused).await;
    assert_eq!(tokens["refresh_token"], Value::Null);
}

#[tokio::test]
async fn a_client_of_the_database_has_the_grants_that_it_was_added_with() {
    let bed = Bed::with(&with(""));
    let admin = bed.provider.admin();
    let program = |id: &str| NewClient {
        id: id.to_owned(),
        grant_types: vec![GrantType::ClientCredentials],
        ..NewClient::default()
    };
    // It needs no place to send codes to.
    let (_, secret) = admin.add_client(program("nightly")).await.unwrap();
    let secret = secret.unwrap().expose().to_owned();
    let ask = async |bed: &Bed, grant: &str| {
        let params = [
            ("client_id", "nightly"),
            ("client_secret", &*secret),
            ("grant_type", grant),
            ("scope", "openid"),
        ];
        json(&bed.send(form("/dex/token", &params)).await)
    };
    assert!(ask(&bed, "client_credentials").await["access_token"].is_string());
    for grant in ["authorization_code", "refresh_token", DEVICE, EXCHANGE] {
        assert_eq!(ask(&bed, grant).await["error"], "unauthorized_client");
    }
    drop(admin);
    let bed = bed.restart(&with(""));
    assert_eq!(ask(&bed, EXCHANGE).await["error"], "unauthorized_client");
    let page = bed.get("/dex/auth?client_id=nightly&redirect_uri=/x").await;
    assert_eq!(page.status(), StatusCode::BAD_REQUEST, "{}", text(&page));
    let mut codes = program("codes");
    codes.grant_types.push(GrantType::AuthorizationCode);
    let refused = bed.provider.admin().add_client(codes).await;
    assert!(matches!(refused, Err(AdminError::NoRedirectUri)));
}

#[test]
fn grants_that_are_none_or_not_offered_are_mistakes() {
    let parse = |yaml: &str| DexConfig::parse(yaml, &|_| None).map(|_| ());
    for (listed, expected) in [
        ("implicit", "one that `oauth2.grantTypes` offers"),
        ("password", "one that `oauth2.grantTypes` offers"),
        ("magic", "a grant type such as `authorization_code`"),
    ] {
        let error = parse(&with(listed)).unwrap_err().to_string();
        assert!(
            error.contains("staticClients[0].grantTypes[0]") && error.contains(expected),
            "{error}"
        );
    }
    let without = config("").replace(
        "id: platform,",
        "id: platform, grantTypes: [client_credentials],",
    );
    let error = parse(&without).unwrap_err().to_string();
    assert!(
        error.contains("one that `oauth2.grantTypes` offers"),
        "{error}"
    );
    let machine = with("client_credentials").replace(
        r#"redirectURIs: ["/oauth2/callback", "https://app.example/cb?x=1"], "#,
        "",
    );
    assert!(parse(&machine).is_ok());
}
