//! In the place of oidc-authservice and oauth2-proxy.

use http::StatusCode;
use policy::ServiceAccount;
use serde_json::json;

use super::*;

const PREDICT: &str = "/v1/models/sklearn-iris:predict";

#[tokio::test]
async fn a_program_without_credentials_is_sent_to_the_login_page() {
    let world = World::new();
    for method in [Method::GET, Method::POST, Method::OPTIONS] {
        let answer = world
            .identity
            .authservice_check(&check(method, PREDICT, &[]))
            .await;
        assert_eq!(answer.status, StatusCode::FOUND);
        let location = header(&answer.headers, "location").unwrap();
        assert!(
            location.starts_with("/dex/auth?client_id=kubeflow-oidc-authservice&"),
            "{location}"
        );
        assert!(
            location.contains("&redirect_uri=%2Flogin%2Foidc&response_type=code&scope="),
            "{location}"
        );
        assert!(header(&answer.headers, "set-cookie").is_some());
        assert!(answer.body.starts_with(b"<a href=\"/dex/auth?client_id="));
    }
}

#[tokio::test]
async fn exempt_paths_end_at_a_segment_and_have_one_reading() {
    let world = World::new();
    for (path, exempt) in [
        ("/dex", true),
        ("/dex/", true),
        ("/dex/auth?x=..", true),
        ("/dex/static/a%20b.css", true),
        ("/dexter", false),
        ("/DEX/auth", false),
        ("/dex/..%2f..%2fpipeline", false),
        ("/dex/%2e%2e/pipeline", false),
        ("/dex/../pipeline", false),
        ("/dex/..;/pipeline", false),
        ("/dex/%5c..%5cpipeline", false),
        ("/dex/%252e%252e/pipeline", false),
        ("/dex//evil", false),
        ("/dex%2fauth", false),
        ("/x/dex/auth", false),
    ] {
        let answer = world
            .identity
            .authservice_check(&check(Method::GET, path, &[]))
            .await;
        let expected = if exempt {
            StatusCode::OK
        } else {
            StatusCode::FOUND
        };
        assert_eq!(answer.status, expected, "{path}");
    }
}

#[tokio::test]
async fn sessions_and_tokens_are_allowed_with_their_names() {
    let world = World::new();
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    let id = browser.session().unwrap();
    let account = TokenRequest {
        service_account: ServiceAccount {
            namespace: "team-a".into(),
            name: "default-editor".into(),
        },
        uid: None,
        audiences: vec![],
        duration: Duration::from_secs(600),
        pod: None,
    };
    let now = UNIX_EPOCH + Duration::from_secs(START);
    let account = world
        .identity
        .cluster_issuer()
        .unwrap()
        .issue(&account, now)
        .unwrap();
    let id_token = provider::sign(0, &world.provider.claims());
    let user = ("user@example.com", "team-a,team-b");
    let robot = (
        "system:serviceaccount:team-a:default-editor",
        "system:serviceaccounts,system:serviceaccounts:team-a,system:authenticated",
    );
    for (name, value, (user_id, groups), method) in [
        ("cookie", format!("{SESSION_COOKIE}={id}"), user, "cookie"),
        ("x-auth-token", format!("Bearer {id}"), user, "header"),
        ("authorization", format!("Bearer {id}"), user, "header"),
        (
            "authorization",
            format!("Bearer {id_token}"),
            user,
            "header",
        ),
        (
            "authorization",
            format!("Bearer {}", account.expose()),
            robot,
            "header",
        ),
    ] {
        let check = check(Method::POST, PREDICT, &[(name, &value)]);
        let answer = world.identity.authservice_check(&check).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        assert_eq!(header(&answer.headers, "kubeflow-userid"), Some(user_id));
        assert_eq!(header(&answer.headers, "kubeflow-groups"), Some(groups));
        assert_eq!(header(&answer.headers, "auth-method"), Some(method));
    }
    // As the real one: a wrong token is no token.
    let wrong = check(Method::POST, PREDICT, &[("authorization", "Bearer a.b.c")]);
    assert_eq!(
        world.identity.authservice_check(&wrong).await.status,
        StatusCode::FOUND
    );
}

#[tokio::test]
async fn a_login_and_a_logout_work_through_checks() {
    let world = World::new();
    let begin = world
        .identity
        .authservice_check(&check(Method::GET, "/pipeline/", &[]))
        .await;
    let binding = header(&begin.headers, "set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let back = world
        .provider
        .log_in(header(&begin.headers, "location").unwrap());
    let done = check(Method::GET, &back, &[("cookie", &binding)]);
    let done = world.identity.authservice_check(&done).await;
    assert_eq!(done.status, StatusCode::FOUND);
    assert_eq!(header(&done.headers, "location"), Some("/pipeline/"));
    let session = header(&done.headers, "set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let allowed = |path: &'static str| check(Method::GET, path, &[("cookie", &session)]);
    assert_eq!(
        world.identity.authservice_check(&allowed("/")).await.status,
        StatusCode::OK
    );

    // A page for the client must not read as leave.
    let asked = world
        .identity
        .authservice_check(&allowed("/authservice/logout"))
        .await;
    assert_eq!(asked.status, StatusCode::NON_AUTHORITATIVE_INFORMATION);
    let logout = check(Method::POST, "/authservice/logout", &[("cookie", &session)]);
    let logout = world.identity.authservice_check(&logout).await;
    assert_eq!(logout.status, StatusCode::CREATED);
    assert_eq!(logout.body, r#"{"afterLogoutURL":"/"}"#);
    assert_eq!(
        world.identity.authservice_check(&allowed("/")).await.status,
        StatusCode::FOUND
    );
}

#[tokio::test]
async fn a_prefix_goes_before_the_user_and_a_name_cannot_forge_a_header() {
    let mut world = World::new();
    world.identity.parts.authservice.userid_prefix = "accounts:".to_owned();
    let ask = async |world: &World, email: &str| {
        let mut claims = world.provider.claims();
        claims["email"] = json!(email);
        let token = format!("Bearer {}", provider::sign(0, &claims));
        world
            .identity
            .authservice_check(&check(Method::GET, "/", &[("authorization", &token)]))
            .await
    };
    let answer = ask(&world, "a@b.c").await;
    assert_eq!(
        header(&answer.headers, "kubeflow-userid"),
        Some("accounts:a@b.c")
    );
    let answer = ask(&world, "a@b.c\r\nkubeflow-userid: root@b.c").await;
    assert_eq!(answer.status, StatusCode::FOUND);
}

#[tokio::test]
async fn oauth2_proxy_answers_by_path_and_client() {
    let world = World::new();
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    let cookie = format!("{SESSION_COOKIE}={}", browser.session().unwrap());
    let cases: [(&str, &[(&str, &str)], u16); 12] = [
        ("/", &[], 302),
        ("/", &[("accept", "text/html")], 302),
        ("/", &[("accept", "application/json")], 401),
        ("/pipeline/apis/v1beta1/runs", &[], 401),
        ("/jupyter/api/namespaces", &[], 401),
        ("/ml_metadata.MetadataStoreService/x", &[], 401),
        ("/page?from=/api/", &[], 302),
        ("/dex/auth", &[], 200),
        ("/oauth2/auth", &[], 401),
        ("/oauth2/start?rd=/x", &[], 302),
        ("/", &[("cookie", &cookie)], 200),
        ("/pipeline/apis/v1beta1/runs", &[("cookie", &cookie)], 200),
    ];
    for (path, headers, expected) in cases {
        let answer = world
            .identity
            .oauth2_proxy_check(&check(Method::GET, path, headers))
            .await;
        assert_eq!(answer.status, expected, "{path} {headers:?}");
    }
    let answer = world
        .identity
        .oauth2_proxy_check(&check(Method::GET, "/", &[("cookie", &cookie)]))
        .await;
    assert_eq!(
        header(&answer.headers, "x-auth-request-email"),
        Some("user@example.com")
    );
    assert_eq!(
        header(&answer.headers, "x-auth-request-groups"),
        Some("team-a,team-b")
    );
    let id_token = header(&answer.headers, "authorization")
        .unwrap()
        .strip_prefix("Bearer ")
        .unwrap();
    assert!(world.bearer(id_token).await.is_ok());
}

#[tokio::test]
async fn oauth2_proxy_asks_for_a_new_login_once_the_id_token_is_old() {
    let world = World::new();
    world.provider.state.lock().unwrap().lie =
        Some(Box::new(|claims| claims["exp"] = json!(START + 600)));
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    let cookie = format!("{SESSION_COOKIE}={}", browser.session().unwrap());
    let ask = async || {
        let check = check(Method::GET, "/", &[("cookie", &cookie)]);
        world.identity.oauth2_proxy_check(&check).await.status
    };
    assert_eq!(ask().await, StatusCode::OK);
    world.advance(600);
    assert_eq!(ask().await, StatusCode::FOUND);
}
