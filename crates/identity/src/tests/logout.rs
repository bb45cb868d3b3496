//! Logging out, in both dialects.

use http::StatusCode;
use policy::{Caller, Tokens};

use super::*;

async fn logged_in() -> (World, Browser) {
    let world = World::new();
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    (world, browser)
}

async fn is_logged_in(world: &World, browser: &Browser) -> bool {
    let caller = world
        .identity
        .caller(&browser.get("/"), Tokens::SessionOrBearer)
        .await;
    matches!(caller, Caller::Session(_))
}

/// Logs in, then sends a logout with more headers: the answer's status, and
/// whether the session lives on.
async fn log_out(
    world: &World,
    method: &Method,
    target: &str,
    headers: &[(&str, &str)],
) -> (u16, bool) {
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    let mut head = browser.get(target);
    head.method = method.clone();
    head.headers.extend(header_map(headers));
    let reply = world.login().handle(&head).await.unwrap();
    (reply.status.as_u16(), is_logged_in(world, &browser).await)
}

#[tokio::test]
async fn only_this_site_ends_a_session() {
    let world = World::new();
    let same = "http://kubeflow.example:8080";
    let cases: [(Method, &[(&str, &str)], (u16, bool)); 17] = [
        (Method::POST, &[], (201, false)),
        (
            Method::POST,
            &[("sec-fetch-site", "same-origin")],
            (201, false),
        ),
        (
            Method::POST,
            &[("sec-fetch-site", "cross-site")],
            (403, true),
        ),
        (
            Method::POST,
            &[("sec-fetch-site", "same-site")],
            (403, true),
        ),
        (Method::POST, &[("origin", same)], (201, false)),
        (
            Method::POST,
            &[("origin", "https://kubeflow.example:8080")],
            (201, false),
        ),
        (
            Method::POST,
            &[("origin", "https://kubeflow.example")],
            (403, true),
        ),
        (
            Method::POST,
            &[("origin", "http://evil.example")],
            (403, true),
        ),
        (
            Method::POST,
            &[("origin", "http://kubeflow.example:8080.evil.example")],
            (403, true),
        ),
        (Method::POST, &[("origin", "null")], (403, true)),
        (
            Method::GET,
            &[("sec-fetch-site", "same-origin")],
            (302, false),
        ),
        (Method::GET, &[("sec-fetch-site", "none")], (302, false)),
        (
            Method::GET,
            &[("referer", "http://kubeflow.example:8080/_/")],
            (302, false),
        ),
        (
            Method::GET,
            &[("referer", "http://evil.example/kubeflow.example:8080")],
            (200, true),
        ),
        (
            Method::GET,
            &[("sec-fetch-site", "cross-site")],
            (200, true),
        ),
        (Method::GET, &[], (200, true)),
        (Method::PUT, &[], (405, true)),
    ];
    for (method, headers, expected) in cases {
        for path in ["/authservice/logout", "/oauth2/sign_out"] {
            let found = log_out(&world, &method, path, headers).await;
            assert_eq!(found, expected, "{method} {path} {headers:?}");
        }
    }
}

#[tokio::test]
async fn old_dashboards_get_json_and_new_ones_a_redirect() {
    let (world, browser) = logged_in().await;
    let mut head = browser.get("/authservice/logout");
    head.method = Method::POST;
    let reply = world.login().logout(&head).await;
    assert_eq!(reply.body, r#"{"afterLogoutURL":"/"}"#);
    assert_eq!(
        header(&reply.headers, "content-type"),
        Some("application/json")
    );
    assert!(set_cookies(&reply)[0].starts_with("authservice_session=; Path=/; Max-Age=0"));
    assert!(!is_logged_in(&world, &browser).await);

    let mut head = browser.get("/oauth2/sign_out?rd=/goodbye");
    head.headers
        .insert("sec-fetch-site", "same-origin".parse().unwrap());
    let reply = world.login().logout(&head).await;
    assert_eq!(
        (reply.status, location(&reply)),
        (StatusCode::FOUND, "/goodbye")
    );

    let mut head = browser.get("/oauth2/sign_out?rd=//evil.example");
    head.headers
        .insert("sec-fetch-site", "same-origin".parse().unwrap());
    assert_eq!(location(&world.login().logout(&head).await), "/");

    let mut head = browser.get("/oauth2/sign_out?confirmed=1");
    head.method = Method::POST;
    let reply = world.login().logout(&head).await;
    assert_eq!(
        (reply.status, location(&reply)),
        (StatusCode::SEE_OTHER, "/")
    );
}

#[tokio::test]
async fn a_session_id_in_a_header_logs_out_too() {
    for name in ["authorization", "x-auth-token"] {
        let (world, browser) = logged_in().await;
        let value = format!("Bearer {}", browser.session().unwrap());
        let head = request(Method::POST, "/authservice/logout", &[(name, &value)]);
        assert_eq!(
            world.login().logout(&head).await.status,
            StatusCode::CREATED
        );
        assert!(!is_logged_in(&world, &browser).await, "{name}");
    }
}

#[tokio::test]
async fn a_logout_stays_one_after_a_restart() {
    let (world, browser) = logged_in().await;
    let mut head = browser.get("/authservice/logout");
    head.method = Method::POST;
    world.login().logout(&head).await;
    let world = world.restarted();
    assert!(!is_logged_in(&world, &browser).await);
}

#[tokio::test]
async fn the_endpoints_beside_it_tell_who_is_logged_in() {
    let (world, browser) = logged_in().await;
    for (path, known, unknown) in [("/oauth2/auth", 202, 401), ("/oauth2/userinfo", 200, 401)] {
        let reply = world.login().handle(&browser.get(path)).await.unwrap();
        assert_eq!(reply.status, known, "{path}");
        let reply = world
            .login()
            .handle(&Browser::default().get(path))
            .await
            .unwrap();
        assert_eq!(reply.status, unknown, "{path}");
    }
    let reply = world
        .login()
        .handle(&browser.get("/oauth2/userinfo"))
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&reply.body).contains(r#""email":"user@example.com""#));
    let reply = world
        .login()
        .handle(&Browser::default().get("/oauth2/start?rd=/x"))
        .await
        .unwrap();
    assert!(location(&reply).starts_with("/dex/auth?"));
    for path in [
        "/",
        "/oauth2",
        "/oauth2/callback",
        "/login/oidc/",
        "/login/oidcx",
    ] {
        assert!(
            world.login().handle(&browser.get(path)).await.is_none(),
            "{path}"
        );
    }
}
