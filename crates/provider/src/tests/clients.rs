//! Clients that are kept in the database.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use secret::Secret;
use serde_json::Value;

use super::bed::{
    Bed, Browser, PASSWORD, SKIP_APPROVAL, VERIFIER, config, form, json, location, param, request,
    request_but, text,
};
use crate::clients::StoredClient;
use crate::{AdminError, ClientState, NewClient, Pkce, PromptNone, SecondFactor};

const CALLBACK: &str = "https://app.example/callback";

fn new(id: &str) -> NewClient {
    NewClient {
        id: id.to_owned(),
        redirect_uris: vec![CALLBACK.to_owned()],
        ..NewClient::default()
    }
}

/// The usual request, of another client.
fn asked(id: &str) -> Vec<(&str, &str)> {
    let mut params: Vec<(&str, &str)> = request();
    params.retain(|(name, _)| !matches!(*name, "client_id" | "redirect_uri"));
    params.extend([("client_id", id), ("redirect_uri", CALLBACK)]);
    params
}

async fn token(
    bed: &Bed,
    id: &str,
    secret: &Secret,
    params: &[(&str, &str)],
) -> (StatusCode, Value) {
    let basic = STANDARD.encode(format!("{id}:{}", secret.expose()));
    let (mut parts, body) = form("/dex/token", params).into_parts();
    let value = format!("Basic {basic}").parse().unwrap();
    parts.headers.insert("authorization", value);
    let reply = bed.send(http::Request::from_parts(parts, body)).await;
    (reply.status(), json(&reply))
}

async fn redeem(bed: &Bed, id: &str, secret: &Secret, code: &str) -> (StatusCode, Value) {
    let params = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    token(bed, id, secret, &params).await
}

async fn code(bed: &Bed, id: &str) -> String {
    let mut browser = Browser::default();
    let page = browser.start(bed, &asked(id)).await;
    let reply = browser
        .log_in(bed, &page, "user@example.com", PASSWORD)
        .await;
    param(&location(&reply), "code").unwrap_or_else(|| panic!("{}", text(&reply)))
}

#[tokio::test]
async fn a_client_of_the_database_is_as_one_of_the_configuration() {
    let bed = Bed::new();
    let admin = bed.provider.admin();
    let (info, secret) = admin.add_client(new("app")).await.unwrap();
    let secret = secret.expect("a secret");
    assert_eq!(
        (info.name.as_str(), info.state),
        ("app", ClientState::Stored)
    );
    let (status, tokens) = redeem(&bed, "app", &secret, &code(&bed, "app").await).await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    let wrong = Secret::new("client secret/+%");
    let stolen = code(&bed, "app").await;
    let (status, _) = redeem(&bed, "app", &wrong, &stolen).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let mut browser = Browser::default();
    let mut other = asked("app");
    other.retain(|(name, _)| *name != "redirect_uri");
    other.push(("redirect_uri", "https://app.example/callback/"));
    let reply = browser.ask(&bed, &other).await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
    drop(admin);
    let bed = bed.restart(&config(SKIP_APPROVAL));
    let (status, _) = redeem(&bed, "app", &secret, &code(&bed, "app").await).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_of_the_database_is_held_to_what_it_was_added_with() {
    let bed = Bed::new();
    let client = NewClient {
        allowed_scopes: vec!["email".to_owned()],
        second_factor: SecondFactor::Required,
        ..new("app")
    };
    bed.provider.admin().add_client(client).await.unwrap();
    let nobody = NewClient {
        allowed_connectors: vec!["local".to_owned()],
        ..new("local-only")
    };
    bed.provider.admin().add_client(nobody).await.unwrap();
    let bed = bed.restart(&config(SKIP_APPROVAL));
    let error = |reply| param(&location(&reply), "error");
    let mut browser = Browser::default();
    let reply = browser.ask(&bed, &asked("app")).await;
    assert_eq!(error(reply).as_deref(), Some("invalid_scope"));
    let mut less = asked("app");
    less.retain(|(name, _)| *name != "scope");
    less.push(("scope", "openid email"));
    let page = browser.start(&bed, &less).await;
    let reply = browser
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    let next = location(&reply);
    assert!(
        param(&next, "code").is_none() && !next.starts_with(CALLBACK),
        "a second factor first: {next}"
    );
    let granted = code(&bed, "local-only").await;
    assert!(
        !granted.is_empty(),
        "users here are of the connector that it lets in"
    );
}

#[tokio::test]
async fn a_client_that_is_removed_leaves_nothing_to_one_of_its_id() {
    let bed = Bed::new();
    let admin = bed.provider.admin();
    let (_, secret) = admin.add_client(new("app")).await.unwrap();
    let secret = secret.unwrap();
    let (_, tokens) = redeem(&bed, "app", &secret, &code(&bed, "app").await).await;
    let pending = code(&bed, "app").await;
    admin.remove_client("app").await.unwrap();
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(
        bed.userinfo(access).await.status(),
        StatusCode::UNAUTHORIZED
    );
    let (status, _) = redeem(&bed, "app", &secret, &pending).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (_, another) = admin.add_client(new("app")).await.unwrap();
    let another = another.unwrap();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let params = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let (status, refused) = token(&bed, "app", &another, &params).await;
    assert_eq!(
        (status, &refused["error"]),
        (StatusCode::BAD_REQUEST, &"invalid_grant".into())
    );
    assert_eq!(
        redeem(&bed, "app", &another, &pending).await.0,
        StatusCode::BAD_REQUEST
    );
    let (status, _) = token(&bed, "app", &secret, &params).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "the secret of before");
    assert_eq!(
        bed.userinfo(access).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn the_configuration_wins_where_both_have_an_id() {
    let bed = Bed::new();
    let admin = bed.provider.admin();
    let taken = admin.add_client(new("platform")).await;
    assert!(matches!(taken, Err(AdminError::ClientExists(_))));
    let fixed = admin.remove_client("platform").await;
    assert!(matches!(fixed, Err(AdminError::ConfiguredClient(_))));
    let (_, secret) = admin.add_client(new("app")).await.unwrap();
    drop(admin);
    let bed = bed.restart(&config(SKIP_APPROVAL).replace("id: peer", "id: app"));
    let reply = Browser::default().ask(&bed, &asked("app")).await;
    assert_eq!(
        reply.status(),
        StatusCode::BAD_REQUEST,
        "its redirect URI does not count"
    );
    let (status, _) = redeem(&bed, "app", &secret.unwrap(), "x").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let admin = bed.provider.admin();
    let states = admin.clients().unwrap();
    let state = |state| {
        states
            .iter()
            .filter(|c| c.id == "app" && c.state == state)
            .count()
    };
    assert_eq!(
        (state(ClientState::Configured), state(ClientState::Shadowed)),
        (1, 1)
    );
    admin.remove_client("app").await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_a_client_is_refused() {
    let bed = Bed::new();
    let admin = bed.provider.admin();
    for (client, expected) in [
        (new(""), "`` cannot be the id"),
        (new("a b"), "`a b` cannot be the id"),
        (new("é"), "`é` cannot be the id"),
        (
            NewClient {
                redirect_uris: Vec::new(),
                ..new("app")
            },
            "needs a redirect URI",
        ),
        (
            NewClient {
                redirect_uris: vec!["https://app.example/#x".to_owned()],
                ..new("app")
            },
            "`https://app.example/#x` cannot be a redirect URI",
        ),
        (
            NewClient {
                post_logout_redirect_uris: vec!["nowhere".to_owned()],
                ..new("app")
            },
            "`nowhere` cannot be a redirect URI",
        ),
        (
            NewClient {
                backchannel_logout_uri: Some("/logout".to_owned()),
                ..new("app")
            },
            "`/logout` cannot be told of logouts",
        ),
        (
            NewClient {
                allowed_scopes: vec!["email".to_owned(), "emial".to_owned()],
                ..new("app")
            },
            "`emial` is no scope that is offered",
        ),
        (
            NewClient {
                allowed_connectors: vec!["local".to_owned(), "okta".to_owned()],
                ..new("app")
            },
            "there is no connector `okta`",
        ),
        (
            NewClient {
                name: "a\nb".to_owned(),
                ..new("app")
            },
            "cannot be a name",
        ),
    ] {
        let error = admin.add_client(client).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let public = NewClient {
        public: true,
        redirect_uris: Vec::new(),
        ..new("own-cli")
    };
    let (info, secret) = admin.add_client(public).await.unwrap();
    assert!(info.public && secret.is_none());
    // Public clients have to use PKCE.
    let mut params = asked("own-cli");
    params.retain(|(name, _)| {
        !matches!(
            *name,
            "redirect_uri" | "code_challenge" | "code_challenge_method"
        )
    });
    params.push(("redirect_uri", "http://127.0.0.1:7777/cb"));
    let reply = Browser::default().ask(&bed, &params).await;
    assert_eq!(
        param(&location(&reply), "error").unwrap(),
        "invalid_request"
    );
}

#[tokio::test]
async fn a_client_asks_for_no_scope_but_those_it_may_have() {
    let yaml = config(SKIP_APPROVAL).replace(
        "{id: platform,",
        "{id: platform, allowedScopes: [email, offline_access],",
    );
    let bed = Bed::with(&yaml);
    let mut browser = Browser::default();
    let reply = browser.ask(&bed, &request()).await;
    assert_eq!(
        param(&location(&reply), "error").as_deref(),
        Some("invalid_scope")
    );
    // A claim that would tell as much is passed over: asking for one is no error.
    let mut asked = request_but("scope", "openid email offline_access");
    asked.push(("claims", r#"{"id_token": {"groups": null, "email": null}}"#));
    let (_, tokens) = bed.redeem(&bed.code(&asked).await).await;
    let claims = super::sessions::claims(tokens["id_token"].as_str().unwrap());
    assert!(claims.get("groups").is_none(), "{claims}");
    assert_eq!(claims["email"], "User@example.com");
    let device = super::bed::form(
        "/dex/device/code",
        &[("client_id", "platform"), ("scope", "openid groups")],
    );
    let reply = bed.send(device).await;
    assert_ne!(reply.status(), http::StatusCode::OK);
    // What it may have can become less: refreshed tokens have no more than that.
    let bed = bed.restart(&config(SKIP_APPROVAL).replace(
        "{id: platform,",
        "{id: platform, allowedScopes: [offline_access],",
    ));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let (_, tokens) = bed
        .token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)])
        .await;
    assert_eq!(tokens["scope"], "openid offline_access", "{tokens}");
    let claims = super::sessions::claims(tokens["id_token"].as_str().unwrap());
    assert!(claims.get("email").is_none(), "{claims}");
}

#[tokio::test]
async fn a_client_that_is_added_uses_pkce_unless_it_opts_out() {
    let bed = Bed::new();
    let admin = bed.provider.admin();
    admin.add_client(new("app")).await.unwrap();
    let old = NewClient {
        pkce: Pkce::Optional,
        prompt_none: PromptNone::Ignore,
        ..new("old")
    };
    admin.add_client(old).await.unwrap();
    let listed = admin.clients().unwrap();
    let pkce = |id: &str| listed.iter().find(|client| client.id == id).unwrap().pkce;
    // Of `staticClients`, a program without a secret, and as Dex has them one with.
    assert_eq!(
        (pkce("cli"), pkce("platform")),
        (Pkce::Required, Pkce::Optional)
    );
    assert_eq!((pkce("app"), pkce("old")), (Pkce::Required, Pkce::Optional));
    drop(admin);
    let bed = bed.restart(&config(SKIP_APPROVAL));
    let asks = async |id: &'static str, prompt: &'static str| {
        let mut params = asked(id);
        params.retain(|(name, _)| !name.starts_with("code_challenge"));
        params.push(("prompt", prompt));
        let to = location(&Browser::default().ask(&bed, &params).await);
        param(&to, "error").map(|error| (error, param(&to, "error_description").unwrap()))
    };
    let (error, why) = asks("app", "").await.unwrap();
    assert_eq!(error, "invalid_request");
    assert!(why.contains("code_challenge"), "{why}");
    assert_eq!(asks("old", "").await, None);
    assert_eq!(asks("old", "none").await, None, "as to Dex");
    let mut params = asked("app");
    params.push(("prompt", "none"));
    let to = location(&Browser::default().ask(&bed, &params).await);
    assert_eq!(param(&to, "error").as_deref(), Some("login_required"));
}

/// One that was added by a version that did not ask.
#[tokio::test]
async fn a_client_of_before_is_as_the_configuration_says() {
    let bed = Bed::new();
    bed.provider.admin().add_client(new("app")).await.unwrap();
    bed.storage
        .write(|batch| {
            let client = batch.get::<StoredClient>("app")?.unwrap();
            let before = StoredClient {
                pkce: None,
                prompt_none: None,
                ..client
            };
            batch.put("app", &before)
        })
        .await
        .unwrap();
    let mut without = asked("app");
    without.retain(|(name, _)| !name.starts_with("code_challenge"));
    let reply = Browser::default().ask(&bed, &without).await;
    assert!(location(&reply).starts_with("/dex/auth/local"), "{reply:?}");
    let bed = bed.restart(&config("oauth2: {pkce: {enforce: true}}\n"));
    let to = location(&Browser::default().ask(&bed, &without).await);
    assert_eq!(param(&to, "error").as_deref(), Some("invalid_request"));
}
