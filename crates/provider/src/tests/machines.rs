//! Client credentials and token exchange.

use http::StatusCode;
use serde_json::{Value, json};

use super::bed::{Bed, START, config, form};
use super::sessions::claims;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn bed() -> Bed {
    let yaml = config("oauth2: {grantTypes: [authorization_code, client_credentials, 'urn:ietf:params:oauth:grant-type:token-exchange']}\n")
        .replace(
            "{id: platform,",
            "{id: platform, clientCredentialsClaims: {groups: [robots]}, tokenExchange: \
             [{subject: 'system:serviceaccount:team:pipeline', user: user@example.com}, \
             {subject: 'system:serviceaccount:models:*'}, \
             {subject: 'system:serviceaccount:team:gone', user: nobody@example.com}],",
        );
    Bed::with(&yaml)
}

fn exchange<'a>(name: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut params = vec![
        ("grant_type", EXCHANGE),
        ("subject_token", name),
        ("subject_token_type", JWT),
    ];
    params.extend(more);
    params
}

#[tokio::test]
async fn a_client_gets_tokens_about_itself() {
    let bed = bed();
    let (status, tokens) = bed
        .token(&[
            ("grant_type", "client_credentials"),
            (
                "scope",
                "openid groups profile audience:server:client_id:peer",
            ),
        ])
        .await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    assert_eq!(tokens["refresh_token"], Value::Null);
    for kind in ["access_token", "id_token"] {
        let claims = claims(tokens[kind].as_str().unwrap());
        // Dex's subject of a client: the protobuf message {1: "platform"}.
        assert_eq!(claims["sub"], "CghwbGF0Zm9ybQ");
        assert_eq!(claims["aud"], json!(["peer", "platform"]));
        assert_eq!(claims["groups"], json!(["robots"]));
        assert_eq!(claims["auth_time"], Value::Null);
        assert_eq!(claims["exp"], START + 86_400);
    }
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(bed.userinfo(access).await.status(), StatusCode::FORBIDDEN);
    let plain = bed.token(&[("grant_type", "client_credentials")]).await.1;
    assert_eq!(plain["id_token"], Value::Null);
    assert_eq!(
        claims(plain["access_token"].as_str().unwrap())["groups"],
        Value::Null
    );
}

#[tokio::test]
async fn client_credentials_need_a_secret_and_no_person() {
    let bed = bed();
    for (scope, error) in [
        ("openid offline_access", "invalid_scope"),
        ("federated:id", "invalid_scope"),
        ("bogus", "invalid_scope"),
        ("audience:server:client_id:cli", "invalid_scope"),
    ] {
        let params = [("grant_type", "client_credentials"), ("scope", scope)];
        assert_eq!(bed.token(&params).await.1["error"], error, "{scope}");
    }
    let public = [("grant_type", "client_credentials"), ("client_id", "cli")];
    let reply = bed.send(form("/dex/token", &public)).await;
    assert_eq!(super::bed::json(&reply)["error"], "unauthorized_client");
    // Off unless it is listed.
    let params = [("grant_type", "client_credentials")];
    let (status, error) = Bed::new().token(&params).await;
    assert_eq!(
        (status, &error["error"]),
        (StatusCode::BAD_REQUEST, &"unsupported_grant_type".into())
    );
}

#[tokio::test]
async fn an_account_of_the_cluster_becomes_a_user_or_stays_a_service() {
    let bed = bed();
    let (status, tokens) = bed.token(&exchange("token of team:pipeline", &[])).await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    assert_eq!(
        tokens["issued_token_type"],
        "urn:ietf:params:oauth:token-type:access_token"
    );
    assert_eq!(
        (&tokens["token_type"], &tokens["expires_in"]),
        (&"Bearer".into(), &600.into())
    );
    let access = tokens["access_token"].as_str().unwrap();
    let user = claims(access);
    assert_eq!(
        (&user["sub"], &user["email"], &user["groups"], &user["aud"]),
        (
            &"Cg4xNTg0MTE4NTY0MTc4NBIFbG9jYWw".into(),
            &"User@example.com".into(),
            &json!(["admins", "staff"]),
            &"platform".into()
        )
    );
    assert_eq!(bed.userinfo(access).await.status(), StatusCode::OK);

    let params = exchange(
        "token of models:server",
        &[
            ("audience", "peer"),
            ("audience", "platform"),
            ("scope", "groups"),
            (
                "requested_token_type",
                "urn:ietf:params:oauth:token-type:id_token",
            ),
        ],
    );
    let (_, tokens) = bed.token(&params).await;
    assert_eq!(tokens["token_type"], "N_A", "{tokens}");
    let service = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!(service["sub"], "system:serviceaccount:models:server");
    assert_eq!(service["aud"], json!(["peer", "platform"]));
    assert_eq!(service["azp"], "platform");
    assert_eq!(
        service["groups"],
        json!([
            "system:serviceaccounts",
            "system:serviceaccounts:models",
            "system:authenticated"
        ])
    );
    assert_eq!(
        (&service["email"], &service["name"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn exchange_is_for_what_the_client_lists() {
    let bed = bed();
    for (params, error) in [
        (exchange("token of team:other", &[]), "invalid_grant"),
        (exchange("token of team:pipeline2", &[]), "invalid_grant"),
        (exchange("token of team:gone", &[]), "invalid_grant"),
        (exchange("forged", &[]), "invalid_grant"),
        (
            exchange("token of team:pipeline", &[("audience", "cli")]),
            "invalid_target",
        ),
        (
            exchange("token of team:pipeline", &[("audience", "nobody")]),
            "invalid_target",
        ),
        (
            exchange("token of team:pipeline", &[("resource", "https://x/")]),
            "invalid_target",
        ),
        (
            exchange("token of team:pipeline", &[("actor_token", "x")]),
            "invalid_request",
        ),
        (
            exchange("token of team:pipeline", &[("scope", "offline_access")]),
            "invalid_scope",
        ),
        (
            exchange("token of team:pipeline", &[("requested_token_type", "x")]),
            "invalid_request",
        ),
        (
            exchange("token of team:pipeline", &[("subject_token", "x")]),
            "invalid_request",
        ),
        (
            vec![("grant_type", EXCHANGE), ("subject_token_type", JWT)],
            "invalid_request",
        ),
        (
            vec![("grant_type", EXCHANGE), ("subject_token", "x")],
            "invalid_request",
        ),
        (
            vec![
                ("grant_type", EXCHANGE),
                ("subject_token", "token of team:pipeline"),
                (
                    "subject_token_type",
                    "urn:ietf:params:oauth:token-type:saml2",
                ),
            ],
            "invalid_request",
        ),
    ] {
        let (status, body) = bed.token(&params).await;
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::BAD_REQUEST, &error.into()),
            "{params:?}"
        );
    }
    // Another client lists nobody.
    let mut params = exchange("token of team:pipeline", &[]);
    params.extend([("client_id", "peer"), ("client_secret", "other")]);
    let reply = bed.send(form("/dex/token", &params)).await;
    assert_eq!(super::bed::json(&reply)["error"], "invalid_grant");
}
