//! Pages of other origins.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use super::bed::{Bed, SKIP_APPROVAL, config, form, request};
use crate::DexConfig;

const PAGE: &str = "https://app.example";
const ENDPOINTS: [&str; 5] = [
    "/.well-known/openid-configuration",
    "/keys",
    "/token",
    "/token/revoke",
    "/userinfo",
];

fn with(web: &str) -> Bed {
    Bed::with(&config(&format!("{SKIP_APPROVAL}web: {web}\n")))
}

async fn ask(bed: &Bed, method: Method, path: &str, origin: &str) -> Response<Bytes> {
    let mut request = Request::builder()
        .method(&method)
        .uri(format!("/dex{path}"))
        .header("origin", origin);
    if method == Method::OPTIONS {
        request = request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization");
    }
    bed.send(request.body(Bytes::new()).unwrap()).await
}

fn header<'a>(reply: &'a Response<Bytes>, name: &str) -> &'a str {
    let value = reply.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

/// Pages vary by language, too.
fn varies(reply: &Response<Bytes>) -> bool {
    let mut values = reply.headers().get_all("vary").iter();
    values.any(|value| value == "origin")
}

#[tokio::test]
async fn pages_of_listed_origins_may_call_what_programs_call() {
    let bed = with(r#"{allowedOrigins: ["https://app.example", "http://localhost:3000"]}"#);
    for path in ENDPOINTS {
        for (origin, allowed) in [
            (PAGE, true),
            ("http://localhost:3000", true),
            ("http://localhost", false),
            ("https://app.example.evil.example", false),
            ("https://APP.example", false),
            ("http://app.example", false),
            ("null", false),
        ] {
            let named = if allowed { origin } else { "" };
            let asked = ask(&bed, Method::OPTIONS, path, origin).await;
            assert_eq!(
                asked.status() == StatusCode::NO_CONTENT,
                allowed,
                "{path} {origin}"
            );
            assert_eq!(
                header(&asked, "access-control-allow-origin"),
                named,
                "{path}"
            );
            if allowed {
                assert_eq!(header(&asked, "access-control-allow-methods"), "GET, POST");
                assert_eq!(
                    header(&asked, "access-control-allow-headers"),
                    "authorization"
                );
            }
            let answered = ask(&bed, Method::GET, path, origin).await;
            assert_eq!(
                header(&answered, "access-control-allow-origin"),
                named,
                "{path}"
            );
            for reply in [&asked, &answered] {
                assert!(varies(reply), "{path}");
                assert_eq!(
                    header(reply, "access-control-allow-credentials"),
                    "",
                    "{path}"
                );
            }
        }
        // A cache keeps apart what it was answered without an origin.
        let plain = bed.get(&format!("/dex{path}")).await;
        assert!(varies(&plain), "{path}");
    }
    // Pages of people, and what only servers ask.
    for path in [
        "/auth",
        "/auth/local",
        "/approval",
        "/device",
        "/token/introspect",
        "/device/code",
    ] {
        let asked = ask(&bed, Method::OPTIONS, path, PAGE).await;
        assert_eq!(header(&asked, "access-control-allow-origin"), "", "{path}");
    }
}

#[tokio::test]
async fn everybody_is_allowed_without_credentials_only() {
    let bed = with(r#"{allowedOrigins: ["*"], allowedHeaders: [Authorization, X-Trace]}"#);
    let asked = ask(&bed, Method::OPTIONS, "/token", "https://anybody.example").await;
    assert_eq!(header(&asked, "access-control-allow-origin"), "*");
    assert_eq!(
        header(&asked, "access-control-allow-headers"),
        "authorization, x-trace"
    );
    assert_eq!(header(&asked, "access-control-allow-credentials"), "");
    let answered = ask(&bed, Method::GET, "/keys", "https://anybody.example").await;
    assert_eq!(header(&answered, "access-control-allow-origin"), "*");
}

#[tokio::test]
async fn nobody_is_allowed_unless_configured() {
    let bed = Bed::new();
    for path in ENDPOINTS {
        for method in [Method::OPTIONS, Method::GET] {
            let reply = ask(&bed, method, path, PAGE).await;
            let names: Vec<_> = reply.headers().keys().map(|name| name.as_str()).collect();
            assert!(
                !names.iter().any(|name| name.starts_with("access-control")),
                "{names:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_page_redeems_its_code() {
    let bed = with(r#"{allowedOrigins: ["https://app.example"]}"#);
    let code = bed.code(&request()).await;
    let mut post = form(
        "/dex/token",
        &[("grant_type", "authorization_code"), ("code", &code)],
    );
    post.headers_mut().insert("origin", PAGE.parse().unwrap());
    let refused = bed.send(post).await;
    // The page may read why.
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&refused, "access-control-allow-origin"), PAGE);
}

#[test]
fn origins_and_headers_that_browsers_never_send_are_refused() {
    for (web, field) in [
        (
            r#"{allowedOrigins: ["https://app.example/"]}"#,
            "web.allowedOrigins[0]",
        ),
        (
            r#"{allowedOrigins: ["*", "app.example"]}"#,
            "web.allowedOrigins[1]",
        ),
        (
            r#"{allowedOrigins: ["https://app.example:443"]}"#,
            "web.allowedOrigins[0]",
        ),
        (
            r#"{allowedOrigins: ["https://*.example"]}"#,
            "web.allowedOrigins[0]",
        ),
        (r#"{allowedOrigins: ["null"]}"#, "web.allowedOrigins[0]"),
        (r#"{allowedHeaders: ["*"]}"#, "web.allowedHeaders[0]"),
        (r#"{allowedHeaders: ["a b"]}"#, "web.allowedHeaders[0]"),
    ] {
        let error = DexConfig::parse(&config(&format!("web: {web}\n")), &|_| None).unwrap_err();
        assert_eq!(error.field(), Some(field), "{web}");
    }
}
