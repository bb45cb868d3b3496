//! What works.

use axum::body::Body;
use bytes::Bytes;
use http::{Request, StatusCode};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::bed::{
    Bed, Browser, PASSWORD, SKIP_APPROVAL, START, config, encode, form, json, location, param,
    request, request_but, text,
};

/// Reads a token as any relying party does: with the published keys and another library.
pub(super) fn verified(bed: &Bed, token: &str, audience: &str) -> Value {
    let keys: JwkSet = serde_json::from_slice(&bed.provider.jwks()).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = keys
        .find(header.kid.as_deref().unwrap())
        .expect("a published key");
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&[audience]);
    rules.set_issuer(&["http://dex.auth.svc.cluster.local:5556/dex"]);
    let key = DecodingKey::from_jwk(key).unwrap();
    jsonwebtoken::decode::<Value>(token, &key, &rules)
        .unwrap()
        .claims
}

#[tokio::test]
async fn a_whole_login_ends_with_dex_claims() {
    let bed = Bed::new();
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;
    let form_page = browser
        .send(&bed, Request::get(&page).body(Bytes::new()).unwrap())
        .await;
    let html = text(&form_page);
    assert!(html.contains("Platform &#60;b&#62;"), "{html}");
    assert!(html.contains("a &#60;hint&#62;"), "{html}");
    assert!(
        html.contains(r#"name="login""#) && html.contains(r#"name="password""#),
        "{html}"
    );
    let policy = form_page.headers()["content-security-policy"]
        .to_str()
        .unwrap();
    let style = html
        .split_once("<style>")
        .unwrap()
        .1
        .split_once("</style>")
        .unwrap()
        .0;
    assert!(policy.contains(&style_source(style)), "{policy}");

    let reply = browser
        .log_in(&bed, &page, " USER@example.com ", PASSWORD)
        .await;
    let back = location(&reply);
    assert!(back.starts_with("/oauth2/callback?code="), "{back}");
    assert_eq!(param(&back, "state").unwrap(), "st&te");
    assert_eq!(
        param(&back, "iss").unwrap(),
        "http://dex.auth.svc.cluster.local:5556/dex"
    );

    let (status, tokens) = bed.redeem(&param(&back, "code").unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 86_400);
    let access_token = tokens["access_token"].as_str().unwrap();
    let mut claims = verified(&bed, tokens["id_token"].as_str().unwrap(), "platform");
    assert!(claims.as_object_mut().unwrap().remove("jti").is_some());
    assert_eq!(
        claims,
        json!({
            "iss": "http://dex.auth.svc.cluster.local:5556/dex",
            "sub": "Cg4xNTg0MTE4NTY0MTc4NBIFbG9jYWw",
            "aud": "platform",
            "exp": START + 86_400,
            "iat": START,
            "auth_time": START,
            "amr": ["pwd"],
            "acr": "1",
            "nonce": "n-1",
            "at_hash": crate::token::access_token_hash(crate::Algorithm::Rs256, access_token),
            "email": "User@example.com",
            "email_verified": true,
            "groups": ["admins", "staff"],
            "name": "user",
        })
    );
    let access = verified(&bed, access_token, "platform");
    assert_eq!(access["nonce"], Value::Null);
    let header = jsonwebtoken::decode_header(access_token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));

    let info = bed.userinfo(access_token).await;
    assert_eq!(info.status(), StatusCode::OK);
    assert_eq!(json(&info)["email"], "User@example.com");
    let id_token = tokens["id_token"].as_str().unwrap();
    assert_eq!(
        bed.userinfo(id_token).await.status(),
        StatusCode::UNAUTHORIZED
    );
    bed.pass(86_400);
    assert_eq!(
        bed.userinfo(access_token).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

fn style_source(style: &str) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(style.as_bytes());
    format!(
        "'sha256-{}'",
        base64::engine::general_purpose::STANDARD.encode(digest)
    )
}

#[tokio::test]
async fn scopes_choose_the_claims() {
    let bed = Bed::new();
    let code = bed.code(&request_but("scope", "openid federated:id")).await;
    let (_, tokens) = bed.redeem(&code).await;
    assert_eq!(tokens["refresh_token"], Value::Null);
    let claims = verified(&bed, tokens["id_token"].as_str().unwrap(), "platform");
    assert_eq!(
        (&claims["email"], &claims["groups"], &claims["name"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(
        claims["federated_claims"],
        json!({"connector_id": "local", "user_id": "15841185641784"})
    );

    let code = bed
        .code(&request_but(
            "scope",
            "openid audience:server:client_id:peer",
        ))
        .await;
    let (_, tokens) = bed.redeem(&code).await;
    let claims = verified(&bed, tokens["id_token"].as_str().unwrap(), "peer");
    assert_eq!(claims["aud"], json!(["peer", "platform"]));
    assert_eq!(claims["azp"], "platform");
}

#[tokio::test]
async fn an_absolute_redirect_keeps_its_own_query() {
    let bed = Bed::new();
    let mut browser = Browser::default();
    let page = browser
        .start(
            &bed,
            &request_but("redirect_uri", "https://app.example/cb?x=1"),
        )
        .await;
    let reply = browser
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    assert!(location(&reply).starts_with("https://app.example/cb?x=1&code="));
}

#[tokio::test]
async fn a_public_client_uses_loopback_and_pkce_without_secret() {
    let bed = Bed::new();
    let mut params = request_but("redirect_uri", "http://127.0.0.1:8123/cb");
    params.retain(|(name, _)| *name != "client_id");
    params.push(("client_id", "cli"));
    let code = bed.code(&params).await;
    let reply = bed
        .send(form(
            "/dex/token",
            &[
                ("grant_type", "authorization_code"),
                ("client_id", "cli"),
                ("code", &code),
                ("redirect_uri", "http://127.0.0.1:8123/cb"),
                ("code_verifier", super::bed::VERIFIER),
            ],
        ))
        .await;
    assert_eq!(reply.status(), StatusCode::OK, "{}", text(&reply));
    assert_eq!(reply.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn the_secret_may_stand_in_the_form() {
    let bed = Bed::new();
    let code = bed.code(&request()).await;
    let mut params = vec![
        ("client_id", "platform"),
        ("client_secret", super::bed::SECRET),
    ];
    params.extend([
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", "/oauth2/callback"),
        ("code_verifier", super::bed::VERIFIER),
    ]);
    assert_eq!(
        bed.send(form("/dex/token", &params)).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn approval_is_asked_for_unless_skipped() {
    let bed = Bed::with(&config(""));
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;
    let approval = location(
        &browser
            .log_in(&bed, &page, "user@example.com", PASSWORD)
            .await,
    );
    assert!(approval.starts_with("/dex/approval?req="), "{approval}");
    let shown = browser
        .send(&bed, Request::get(&approval).body(Bytes::new()).unwrap())
        .await;
    assert!(
        text(&shown).contains("the groups you belong to"),
        "{}",
        text(&shown)
    );

    let denied = browser
        .send(&bed, form(&approval, &[("approval", "rejected")]))
        .await;
    assert_eq!(param(&location(&denied), "error").unwrap(), "access_denied");
    let approved = browser
        .send(&bed, form(&approval, &[("approval", "approve")]))
        .await;
    let code = param(&location(&approved), "code").unwrap();
    assert_eq!(bed.redeem(&code).await.0, StatusCode::OK);

    let req = param(&page, "req").unwrap();
    let skipped = format!("/dex/approval?{}", encode(&[("req", &req)]));
    let refused = browser
        .send(&bed, form(&skipped, &[("approval", "approve")]))
        .await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn refresh_tokens_rotate_and_reuse_revokes() {
    let bed = Bed::new();
    let (_, first) = bed.redeem(&bed.code(&request()).await).await;
    let refresh = async |token: &Value| {
        let params = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.as_str().unwrap()),
        ];
        bed.token(&params).await
    };
    bed.pass(60);
    let (status, second) = refresh(&first["refresh_token"]).await;
    assert_eq!(status, StatusCode::OK, "{second}");
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    let claims = verified(&bed, second["id_token"].as_str().unwrap(), "platform");
    assert_eq!(
        (&claims["auth_time"], &claims["iat"]),
        (&json!(START), &json!(START + 60))
    );
    // The answer was lost: within three seconds the old one gets the same successor.
    bed.pass(3);
    let (_, again) = refresh(&first["refresh_token"]).await;
    assert_eq!(again["refresh_token"], second["refresh_token"]);

    bed.pass(1);
    let (status, error) = refresh(&first["refresh_token"]).await;
    assert_eq!(
        (status, &error["error"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_grant"))
    );
    let (_, error) = refresh(&second["refresh_token"]).await;
    assert_eq!(error["error"], "invalid_grant");
    let info = bed.userinfo(second["access_token"].as_str().unwrap()).await;
    assert_eq!(info.status(), StatusCode::UNAUTHORIZED);
}

/// Dex refuses it at once; ours once gave the successor for a second.
#[tokio::test]
async fn without_a_reuse_interval_the_former_refresh_token_is_refused_at_once() {
    let extra = "expiry: {refreshTokens: {reuseInterval: 0s}}\n";
    let bed = Bed::with(&config(&format!("{SKIP_APPROVAL}{extra}")));
    let (_, first) = bed.redeem(&bed.code(&request()).await).await;
    let token = first["refresh_token"].as_str().unwrap();
    let params = [("grant_type", "refresh_token"), ("refresh_token", token)];
    assert_eq!(bed.token(&params).await.0, StatusCode::OK);
    assert_eq!(bed.token(&params).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn refresh_tokens_end_when_idle_or_too_wide() {
    let bed = Bed::new();
    let (_, tokens) = bed.redeem(&bed.code(&request()).await).await;
    let token = tokens["refresh_token"].as_str().unwrap();
    let mut params = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
    params.push(("scope", "openid federated:id"));
    assert_eq!(bed.token(&params).await.1["error"], "invalid_scope");
    params.pop();
    bed.pass(90 * 86_400);
    assert_eq!(bed.token(&params).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn a_restart_keeps_keys_logins_and_refresh_tokens() {
    let bed = Bed::new();
    let keys = bed.provider.jwks();
    let (_, tokens) = bed.redeem(&bed.code(&request()).await).await;
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;

    let bed = bed.restart(&config(SKIP_APPROVAL));
    assert_eq!(bed.provider.jwks(), keys);
    let reply = browser
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    assert_eq!(reply.status(), StatusCode::SEE_OTHER);
    let token = tokens["refresh_token"].as_str().unwrap();
    let params = [("grant_type", "refresh_token"), ("refresh_token", token)];
    assert_eq!(bed.token(&params).await.0, StatusCode::OK);

    // Another process must not have the same file.
    assert!(crate::Storage::open(bed.folder.path()).is_err());
    // A user who left the configuration gets nothing any more.
    let bed = bed.restart(&config(SKIP_APPROVAL).replace("15841185641784", "3"));
    assert_eq!(bed.token(&params).await.1["error"], "invalid_grant");
    let _ = &bed.storage;
}

#[cfg(unix)]
#[test]
fn the_file_of_keys_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let bed = Bed::new();
    let file = std::fs::metadata(bed.folder.path().join("provider.redb")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn discovery_keys_and_health() {
    let bed = Bed::new();
    let reply = bed.get("/dex/.well-known/openid-configuration").await;
    let document = json(&reply);
    for (field, path) in [
        ("authorization_endpoint", "/auth"),
        ("token_endpoint", "/token"),
        ("jwks_uri", "/keys"),
        ("userinfo_endpoint", "/userinfo"),
    ] {
        let url = format!("http://dex.auth.svc.cluster.local:5556/dex{path}");
        assert_eq!(document[field], url, "{field}");
    }
    let keys = bed.get("/dex/keys").await;
    assert_eq!(*keys.body(), bed.provider.jwks());
    assert_eq!(bed.get("/dex/healthz").await.status(), StatusCode::OK);
    assert_eq!(
        bed.get("/dex/nothing").await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        bed.get("/dexter/keys").await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(bed.get("/other").await.status(), StatusCode::NOT_FOUND);
    let reply = bed.get("/dex/token").await;
    assert_eq!(reply.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(reply.headers()["allow"], "POST");
}

#[tokio::test]
async fn the_router_answers_the_same_and_bounds_bodies() {
    let bed = Bed::new();
    let send = async |request: Request<Body>| bed.provider.router().oneshot(request).await.unwrap();
    let reply = send(Request::get("/dex/healthz").body(Body::empty()).unwrap()).await;
    assert_eq!(reply.status(), StatusCode::OK);
    let large = Request::post("/dex/token")
        .body(Body::from(vec![b'a'; 64 * 1024 + 1]))
        .unwrap();
    assert_eq!(send(large).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_connector_in_the_path_starts_a_login_as_in_dex() {
    let bed = Bed::new();
    let reply = bed
        .get(&format!("/dex/auth/local?{}", encode(&request())))
        .await;
    assert!(location(&reply).starts_with("/dex/auth/local?req="));
    let reply = bed.send(form("/dex/auth", &request())).await;
    assert!(location(&reply).starts_with("/dex/auth/local?req="));
}
