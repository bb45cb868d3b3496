//! Checks of nginx, Traefik and Caddy, which read answers otherwise than Envoy does.

use http::{HeaderMap, Request, Response};
use policy::is_identity_header;

use super::*;
use crate::handed;

const DASHBOARD: &str = "dash.example.com";

/// A check over HTTP as it arrives.
fn sent(uri: &str, method: &str, host: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    run(authorizer("").check_head(parts, peer()))
}

fn status(uri: &str, method: &str, host: &str, headers: &[(&str, &str)]) -> u16 {
    sent(uri, method, host, headers).status().as_u16()
}

fn told<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn a_verdict_is_200_or_401_and_the_answer_says_the_rest() {
    let predict = "/v1/models/sklearn-iris:predict";
    let preflight = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "POST"),
    ];
    for (side, method, host, path, headers, verdict, answer) in [
        ("local", "POST", MODEL, predict, &[][..], 200, 403),
        ("external", "POST", OUTSIDE, predict, &[], 401, 401),
        (
            "external", "OPTIONS", OUTSIDE, predict, &preflight, 401, 204,
        ),
        ("external", "GET", DASHBOARD, "/", &[BROWSER], 401, 302),
        ("external", "GET", DASHBOARD, "/", &[], 401, 401),
        // A page of the login: for nginx 200 is leave, and so would be 203.
        ("external", "GET", DASHBOARD, "/login/oidc", &[], 401, 200),
        (
            "external",
            "GET",
            DASHBOARD,
            "/a/../dex/auth",
            &[],
            401,
            400,
        ),
        (
            "external",
            "GET",
            "shop.example.com",
            "/cart",
            &[],
            200,
            403,
        ),
        ("local", "GET", "nobody.example.com", "/", &[], 401, 403),
        ("local-1", "POST", MODEL, predict, &[], 401, 403),
    ] {
        let asked = |form: &str| status(&format!("/{form}/{side}{path}"), method, host, headers);
        assert_eq!(asked("verdict"), verdict, "{side} {host}{path}");
        assert_eq!(asked("answer"), answer, "{side} {host}{path}");
    }
    let refused = sent("/verdict/external/", "GET", DASHBOARD, &[BROWSER]);
    assert!(refused.headers().is_empty(), "{refused:?}");
    let answer = sent("/answer/external/", "GET", DASHBOARD, &[BROWSER]);
    assert_eq!(told(answer.headers(), "location"), Some("/dex/auth"));
    // Nothing that opens a door leaves by an answer.
    let answer = sent(
        "/answer/local/v1/models/sklearn-iris:predict",
        "POST",
        MODEL,
        &[],
    );
    assert_eq!(told(answer.headers(), MARK), None);
}

#[test]
fn an_allow_has_every_header_that_goes_on() {
    let sent = |headers: &[(&str, &str)]| sent("/verdict/external/", "GET", DASHBOARD, headers);
    let forged = [
        ("cookie", "session=ada"),
        ("cookie", "a=1"),
        ("kubeflow-userid", "victim"),
        ("remote-user", "victim"),
    ];
    let allowed = sent(&forged);
    assert_eq!(allowed.status(), 200);
    assert_eq!(
        told(allowed.headers(), "kubeflow-userid"),
        Some("ada@example.com")
    );
    assert_eq!(told(allowed.headers(), "kubeflow-groups"), Some("ml"));
    assert_eq!(told(allowed.headers(), "cookie"), Some("session=ada; a=1"));
    assert_eq!(told(allowed.headers(), "remote-user"), None);
    let said: Vec<&str> = allowed.headers().keys().map(HeaderName::as_str).collect();
    assert!(
        said.iter().all(|name| handed().any(|known| known == *name)),
        "{said:?}"
    );
    // What the gateway would not take out is no reason to let it through.
    for name in [
        "kubeflow_userid",
        "x-auth-request-other",
        "x-sidegate-other",
        "X_Sidegate_Mark",
    ] {
        assert!(!handed().any(|known| known == name));
        assert!(is_identity_header(
            &HeaderName::from_bytes(name.as_bytes()).unwrap()
        ));
        assert_eq!(
            sent(&[("cookie", "session=ada"), (name, "x")]).status(),
            401,
            "{name}"
        );
    }
}

#[test]
fn no_session_goes_on_to_a_model() {
    let with = |cookie| {
        let uri = "/verdict/local/v1/models/sklearn-iris";
        let headers = [("cookie", cookie), ("authorization", "Bearer pod")];
        let allowed = sent(uri, "GET", MODEL, &headers);
        assert_eq!(allowed.status(), 200);
        assert_eq!(told(allowed.headers(), "authorization"), Some("Bearer pod"));
        assert!(allowed.headers().contains_key(MARK));
        told(allowed.headers(), "cookie").map(str::to_owned)
    };
    assert_eq!(with("a=1; session=ada").as_deref(), Some("a=1"));
    assert_eq!(with("session=ada"), None);
    assert_eq!(with("a=1").as_deref(), Some("a=1"));
}

/// A request as Traefik and Caddy describe it.
fn forwarded(side: &str, line: [&str; 3], more: &[(&str, &str)]) -> Response<Bytes> {
    let [method, host, uri] = line;
    let mut headers = vec![
        ("x-forwarded-method", method),
        ("x-forwarded-host", host),
        ("x-forwarded-uri", uri),
    ];
    headers.extend(more);
    // The check itself is a request to the authorizer.
    sent(
        &format!("/forwarded/{side}"),
        "GET",
        "sidegate-authz:9000",
        &headers,
    )
}

#[test]
fn forwarded_headers_say_what_was_asked_for_where_the_gateway_writes_them() {
    let predict = "/v1/models/sklearn-iris:predict";
    let status = |side, line, more: &[_]| forwarded(side, line, more).status().as_u16();
    assert_eq!(status("local", ["POST", MODEL, predict], &[]), 200);
    assert_eq!(status("external", ["POST", OUTSIDE, predict], &[]), 401);
    let token = [("authorization", "Bearer pod")];
    assert_eq!(status("external", ["POST", OUTSIDE, predict], &token), 200);
    let dashboard = |path| ["GET", DASHBOARD, path];
    assert_eq!(
        status("external", dashboard("/v1anything"), &[BROWSER]),
        302
    );
    assert_eq!(status("external", dashboard("/a/%2e%2e/b"), &[]), 400);
    assert_eq!(status("external", dashboard("dex/auth"), &[]), 400);
    assert_eq!(status("external", ["GET", "a,b", "/"], &[]), 400);
    assert_eq!(status("external", ["G T", DASHBOARD, "/"], &[]), 400);
    // For these gateways 204, and a page with 200, would be leave.
    let preflight = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "POST"),
    ];
    assert_eq!(
        status("external", ["OPTIONS", OUTSIDE, predict], &preflight),
        403
    );
    assert_eq!(
        status("external", dashboard("/login/oidc?code=x"), &[]),
        403
    );
    let allowed = forwarded("external", dashboard("/"), &[("cookie", "session=ada")]);
    assert_eq!(allowed.status(), 200);
    assert_eq!(
        told(allowed.headers(), "kubeflow-userid"),
        Some("ada@example.com")
    );
}

#[test]
fn a_forwarded_request_is_described_once_and_whole() {
    let whole = [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-host", "shop.example.com"),
        ("x-forwarded-uri", "/cart"),
    ];
    assert_eq!(status("/forwarded/external", "GET", "s", &whole), 200);
    for at in 0..whole.len() {
        let missing: Vec<_> = whole.iter().enumerate().filter(|(n, _)| *n != at).collect();
        let missing: Vec<_> = missing.into_iter().map(|(_, header)| *header).collect();
        assert_eq!(
            status("/forwarded/external", "GET", "s", &missing),
            400,
            "{at}"
        );
        // The client's beside the gateway's.
        let twice = [&whole[..], &whole[at..=at]].concat();
        assert_eq!(
            status("/forwarded/external", "GET", "s", &twice),
            400,
            "{at}"
        );
    }
}

/// CVE-2026-40575: with Envoy and nginx these headers are a client's.
#[test]
fn forwarded_headers_are_nothing_elsewhere() {
    let claims = [
        ("x-forwarded-method", "OPTIONS"),
        ("x-forwarded-host", "shop.example.com"),
        ("x-forwarded-uri", "/cart"),
        ("x-original-uri", "/cart"),
        ("x-original-url", "http://shop.example.com/cart"),
        ("x-original-method", "OPTIONS"),
    ];
    for form in ["", "/verdict", "/answer"] {
        let uri = format!("{form}/external/");
        assert_eq!(status(&uri, "GET", DASHBOARD, &claims), 401, "{uri}");
        // Nor does a path that looks like the form.
        let uri = format!("{form}/external/forwarded/external");
        assert_eq!(status(&uri, "GET", DASHBOARD, &claims), 401, "{uri}");
    }
    check(
        8080,
        "GET dash.example.com/forwarded/external",
        &claims,
        401,
    );
    check(8080, "GET dash.example.com/", &claims, 401);
}

/// nginx decodes a path, Caddy compares it without case: what they route elsewhere is refused.
#[test]
fn a_path_that_others_read_otherwise_is_refused() {
    let asked = |host: &str, path: &str| {
        let verdict = status(&format!("/verdict/external{path}"), "GET", host, &[]);
        let answer = status(&format!("/answer/external{path}"), "GET", host, &[]);
        let exact = status(&format!("/external{path}"), "GET", host, &[]);
        (exact, verdict, answer)
    };
    for (path, expected) in [
        ("/dex/auth", (200, 200, 403)),
        // Open for nobody here, and what is open to the others.
        ("/dex%2Fauth", (401, 401, 400)),
        ("/DEX/auth", (401, 401, 400)),
        ("//dex/auth", (401, 401, 400)),
        ("/%64ex/auth", (400, 401, 400)),
        ("/login/%6fidc", (400, 401, 400)),
        // Read in several ways, and the same in each.
        ("/pipeline/A%20b", (401, 401, 401)),
        ("/notebook/ns/A//b", (401, 401, 401)),
    ] {
        assert_eq!(asked(DASHBOARD, path), expected, "{path}");
    }
    let cart = asked("shop.example.com", "/Cart%2Fa//b");
    assert_eq!(cart, (200, 200, 403));
    assert_eq!(asked("shop.example.com.", "/cart").1, 401);
    let predict = |path: &str| status(&format!("/verdict/local{path}"), "POST", MODEL, &[]);
    assert_eq!(predict("/v1/models/sklearn-iris:predict"), 200);
    assert_eq!(predict("/v1/models/sklearn-iris%3Apredict"), 200);
}

#[test]
fn the_log_has_one_line_for_a_check() {
    let shown = |text: &str| crate::check::shown(&[text]);
    assert_eq!(shown("GET a.example/b'c"), "GET a.example/b'c");
    assert_eq!(
        shown("/a\nb\u{1b}[2J\u{2028}"),
        "/a\\u{a}b\\u{1b}[2J\\u{2028}"
    );
    let long = shown(&"x".repeat(100_000));
    assert_eq!(long.len(), 1_003);
    let quoted = |text: &str| {
        let mut line = String::new();
        crate::check::quote(&mut line, text).unwrap();
        line
    };
    for why in [
        "",
        "a session",
        "a \"name\"",
        "it's `a\\b`",
        "a\nb\u{7f}",
        "유",
    ] {
        assert_eq!(quoted(why), format!("{why:?}"));
    }
    for address in [
        "10.244.0.7:1",
        "255.0.10.100:65535",
        "[::1]:80",
        "[2001:db8::1]:443",
    ] {
        let mut line = String::from("peer=");
        crate::check::push_address(&mut line, address.parse().unwrap());
        assert_eq!(line, format!("peer={address}"));
    }
}
