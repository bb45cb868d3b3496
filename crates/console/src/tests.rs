use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use super::*;

fn model(name: &str, state: ModelState) -> ModelView {
    ModelView {
        namespace: "kserve-test".to_owned(),
        name: name.to_owned(),
        state,
        detail: ModelDetail {
            class: Some("sklearn.svm.SVC".to_owned()),
            version: Some("scikit-learn 1.5.2".to_owned()),
            features: Some(4),
        },
        external_url: Some(format!("http://{name}.kserve-test.example.com")),
        local_url: Some(format!("http://{name}.kserve-test.svc.cluster.local")),
        access_external: Access::Token,
        access_local: Access::Cluster,
        example_input: Some("{\"instances\": [[6.8, 2.8, 4.8, 1.4]]}".to_owned()),
    }
}

fn view() -> PageView {
    PageView {
        user: Some(UserView {
            email: "user@example.com".to_owned(),
            groups: vec!["admins".to_owned()],
        }),
        models: vec![
            model("sklearn-iris", ModelState::Ready),
            model("credit-risk", ModelState::Loading),
            model(
                "broken",
                ModelState::Failed("`model.joblib` ends early at byte 91".to_owned()),
            ),
        ],
        mode: Mode::Enforce,
        listeners: vec![
            ListenerView {
                name: "external".to_owned(),
                address: "0.0.0.0:8080".to_owned(),
            },
            ListenerView {
                name: "cluster-local".to_owned(),
                address: "0.0.0.0:8081".to_owned(),
            },
        ],
        config: ConfigView {
            loaded_at: "today, 14:03:21".to_owned(),
            objects: 42,
            errors: Vec::new(),
            warnings: vec!["VirtualService `default/old` names no known gateway".to_owned()],
        },
        logout_path: "/oauth2/sign_out".to_owned(),
        form_token: Some(FormToken::new("t0ken")),
    }
}

fn send(method: Method, path: &str, body: &str, view: &PageView) -> Action {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap();
    Console.handle(&request, view)
}

#[track_caller]
fn reply(action: Action) -> Response<Bytes> {
    match action {
        Action::Reply(reply) => reply,
        Action::Try { .. } | Action::Keys(_) => panic!("expected a reply"),
    }
}

fn text(reply: &Response<Bytes>) -> String {
    String::from_utf8(reply.body().to_vec()).unwrap()
}

fn home(view: &PageView) -> String {
    text(&reply(send(Method::GET, "/", "", view)))
}

#[test]
fn the_page_shows_models_and_how_to_call_them() {
    let html = home(&view());
    for part in [
        "user@example.com",
        "1 ready · 1 loading · 1 failed",
        "sklearn.svm.SVC",
        "`model.joblib` ends early at byte 91",
        "action=\"/try/kserve-test/sklearn-iris\"",
        "curl http://sklearn-iris.kserve-test.svc.cluster.local/v1/models/sklearn-iris:predict",
        "Authorization: Bearer $TOKEN",
        "0.0.0.0:8081",
        "href=\"/oauth2/sign_out\"",
        "names no known gateway",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("/try/kserve-test/broken"));
    assert!(!html.contains("role=\"alert\""));
}

#[test]
fn a_refused_configuration_and_no_models_are_said() {
    let mut view = view();
    view.models.clear();
    view.config
        .errors
        .push("Gateway `a/b`: field `servers`".to_owned());
    view.mode = Mode::AsWritten;
    let html = home(&view);
    for part in [
        "role=\"alert\"",
        "Gateway `a/b`",
        "No models yet",
        "As written",
    ] {
        assert!(html.contains(part), "{part}");
    }
}

#[test]
fn everything_is_escaped() {
    let evil = "\"><script>alert(1)</script>'";
    let mut view = view();
    view.user = Some(UserView {
        email: evil.to_owned(),
        groups: vec![evil.to_owned()],
    });
    view.logout_path = evil.to_owned();
    view.config.warnings = vec![evil.to_owned()];
    view.config.errors = vec![evil.to_owned()];
    view.config.loaded_at = evil.to_owned();
    view.listeners[0].name = evil.to_owned();
    view.form_token = Some(FormToken::new(evil));
    let mut bad = model(evil, ModelState::Ready);
    bad.namespace = evil.to_owned();
    bad.example_input = Some(format!("</textarea>{evil}"));
    bad.detail.class = Some(evil.to_owned());
    view.models = vec![
        bad.clone(),
        model(evil, ModelState::Failed(evil.to_owned())),
    ];
    let result = Console.try_result(
        &view,
        evil,
        evil,
        "</textarea><script>",
        StatusCode::OK,
        b"</code></pre><script>\xff",
        Duration::from_micros(512),
    );
    for html in [home(&view), text(&result)] {
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains("</textarea><"), "{html}");
    }
    assert!(text(&result).contains("0.51 ms"));
}

#[test]
fn a_command_is_one_shell_word_per_value() {
    let mut model = model("m", ModelState::Ready);
    model.example_input = Some("{\"a\": \"it's $HOME\"}".to_owned());
    assert_eq!(
        model.local_command().unwrap(),
        "curl http://m.kserve-test.svc.cluster.local/v1/models/m:predict \\\n  \
         -H 'Content-Type: application/json' \\\n  -d '{\"a\": \"it'\\''s $HOME\"}'"
    );
    model.local_url = None;
    assert_eq!(model.local_command(), None);
}

#[test]
fn pages_carry_a_policy_that_fits_their_style() {
    use base64::Engine as _;
    use sha2::Digest as _;
    let reply = reply(send(Method::GET, "/", "", &view()));
    let policy = reply.headers()["content-security-policy"].to_str().unwrap();
    let html = text(&reply);
    let style = html
        .split_once("<style>")
        .unwrap()
        .1
        .split_once("</style>")
        .unwrap()
        .0;
    let digest = sha2::Sha256::digest(style.as_bytes());
    let hash = base64::engine::general_purpose::STANDARD.encode(digest);
    assert!(
        policy.contains(&format!("style-src 'sha256-{hash}'")),
        "{policy}"
    );
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!html.contains(" style="));
    assert_eq!(reply.headers()["cache-control"], "no-store");
}

#[test]
fn a_try_needs_the_token_of_the_user() {
    let view = view();
    let path = "/try/kserve-test/sklearn-iris";
    let Action::Try {
        namespace,
        name,
        body,
    } = send(
        Method::POST,
        path,
        "token=t0ken&body=%7B%22instances%22%3A+%5B%5D%7D",
        &view,
    )
    else {
        panic!("expected a try")
    };
    assert_eq!(
        (namespace.as_str(), name.as_str()),
        ("kserve-test", "sklearn-iris")
    );
    assert_eq!(body, "{\"instances\": []}");

    let mut without = view.clone();
    without.form_token = None;
    assert!(!home(&without).contains("<form"));
    let large = format!("token=t0ken&body={}", "x".repeat(1024 * 1024));
    for (view, path, body, status) in [
        (&view, path, "token=wrong&body=1", StatusCode::FORBIDDEN),
        (&view, path, "body=1", StatusCode::FORBIDDEN),
        (&view, path, "", StatusCode::FORBIDDEN),
        (&without, path, "token=&body=1", StatusCode::FORBIDDEN),
        (&view, path, "token=t0ken", StatusCode::BAD_REQUEST),
        (
            &view,
            "/try/kserve-test/nothing",
            "token=t0ken&body=1",
            StatusCode::NOT_FOUND,
        ),
        (
            &view,
            "/try/kserve-test",
            "token=t0ken&body=1",
            StatusCode::NOT_FOUND,
        ),
        (&view, path, &large, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let reply = reply(send(Method::POST, path, body, view));
        assert_eq!(reply.status(), status, "{path} {body:.30}");
    }
    let crossed = Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "cross-site")
        .body(Bytes::from("token=t0ken&body=1"))
        .unwrap();
    assert_eq!(
        reply(Console.handle(&crossed, &view)).status(),
        StatusCode::FORBIDDEN
    );
    let json = Request::post(path)
        .body(Bytes::from("token=t0ken&body=1"))
        .unwrap();
    assert_eq!(
        reply(Console.handle(&json, &view)).status(),
        StatusCode::FORBIDDEN
    );
}

#[test]
fn other_methods_and_paths_are_pages_too() {
    for (method, path, status, allow) in [
        (
            Method::POST,
            "/",
            StatusCode::METHOD_NOT_ALLOWED,
            Some("GET, HEAD"),
        ),
        (
            Method::GET,
            "/try/a/b",
            StatusCode::METHOD_NOT_ALLOWED,
            Some("POST"),
        ),
        (Method::GET, "/favicon.ico", StatusCode::NOT_FOUND, None),
        (Method::DELETE, "/nothing", StatusCode::NOT_FOUND, None),
    ] {
        let reply = reply(send(method, path, "", &view()));
        assert_eq!(reply.status(), status, "{path}");
        assert_eq!(
            reply.headers().get("allow").map(|v| v.to_str().unwrap()),
            allow,
            "{path}"
        );
        assert!(text(&reply).contains("<h1>"), "{path}");
    }
    let anywhere = reply(send(Method::GET, "/some/where", "", &view()));
    assert_eq!(
        anywhere.status(),
        StatusCode::OK,
        "one page under every path"
    );
    let head = reply(send(Method::HEAD, "/", "", &view()));
    assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
}

#[test]
fn long_answers_are_cut() {
    let body = vec![b'x'; 70_000];
    let elapsed = Duration::from_millis(1234);
    let reply = Console.try_result(
        &view(),
        "kserve-test",
        "sklearn-iris",
        "{}",
        StatusCode::BAD_REQUEST,
        &body,
        elapsed,
    );
    let html = text(&reply);
    assert!(
        html.contains("400 Bad Request") && html.contains("1234 ms"),
        "{html:.200}"
    );
    assert!(html.contains("the rest is not shown"));
    assert!(html.len() < 80_000);
}

fn keys_view() -> KeysView {
    let key = |id: &str, label: &str, scope: &[&str]| KeyView {
        id: id.to_owned(),
        label: label.to_owned(),
        scope: scope.iter().map(|part| (*part).to_owned()).collect(),
        created: "29 Nov 2026".to_owned(),
        expires: "27 Feb 2027".to_owned(),
        used: None,
    };
    KeysView {
        keys: vec![
            key("k1", "laptop", &[]),
            key("k2", "<b>nightly</b>", &["team-a", "team-b/iris"]),
        ],
        ..KeysView::default()
    }
}

#[track_caller]
fn change(action: Action) -> KeyChange {
    match action {
        Action::Keys(change) => change,
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_are_made_and_revoked_by_forms_of_the_page_alone() {
    let view = view();
    assert_eq!(
        change(send(Method::GET, "/keys", "", &view)),
        KeyChange::Show
    );
    let made = change(send(
        Method::POST,
        "/keys",
        "token=t0ken&label=+laptop+&scope=team-a%0D%0A%0D%0Ateam-b%2Firis&days=30",
        &view,
    ));
    let expected = KeyChange::Make {
        label: "laptop".to_owned(),
        scope: vec!["team-a".to_owned(), "team-b/iris".to_owned()],
        days: 30,
    };
    assert_eq!(made, expected);
    let revoked = send(Method::POST, "/keys/revoke", "token=t0ken&id=k1", &view);
    assert_eq!(
        change(revoked),
        KeyChange::Revoke {
            id: "k1".to_owned()
        }
    );
    for (path, body) in [
        ("/keys", "label=laptop"),
        ("/keys", "token=other&label=laptop"),
        ("/keys/revoke", "id=k1"),
        ("/keys/revoke", "token=&id=k1"),
    ] {
        assert_eq!(
            reply(send(Method::POST, path, body, &view)).status(),
            403,
            "{path} {body}"
        );
    }
    for (method, path) in [(Method::GET, "/keys/revoke"), (Method::DELETE, "/keys")] {
        assert_eq!(reply(send(method, path, "", &view)).status(), 405);
    }
}

#[test]
fn keys_are_for_people_where_levels_are_enforced() {
    let nobody = PageView {
        user: None,
        form_token: None,
        ..view()
    };
    let as_written = PageView {
        mode: Mode::AsWritten,
        ..view()
    };
    for view in [nobody, as_written] {
        assert_eq!(reply(send(Method::GET, "/keys", "", &view)).status(), 404);
        let body = "token=t0ken&label=x&days=1";
        assert_eq!(
            reply(send(Method::POST, "/keys", body, &view)).status(),
            404
        );
        let home = text(&reply(send(Method::GET, "/", "", &view)));
        assert!(!home.contains("/keys"));
    }
    assert!(text(&reply(send(Method::GET, "/", "", &view()))).contains("href=\"/keys\""));
}

#[test]
fn the_page_of_keys_escapes_and_shows_a_secret_once() {
    let view = view();
    let page = Console.keys(&view, StatusCode::OK, &keys_view());
    assert_eq!(page.headers()["cache-control"], "no-store");
    let html = text(&page);
    assert!(
        html.contains("laptop") && html.contains("team-b/iris"),
        "{html}"
    );
    assert!(
        !html.contains("<b>nightly") && !html.contains("sgk_"),
        "{html}"
    );
    let keys = KeysView {
        made: Some(MadeKey::new("sgk_secret")),
        ..keys_view()
    };
    assert!(!format!("{keys:?}").contains("sgk_secret"));
    let html = text(&Console.keys(&view, StatusCode::OK, &keys));
    assert!(html.contains("sgk_secret"), "{html}");
}
