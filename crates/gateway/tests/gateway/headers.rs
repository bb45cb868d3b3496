//! What happens to headers between client and upstream.

use crate::client::Client;
use crate::world::World;

const HOSTS: &str = "Host: shop.example\r\n";

#[tokio::test]
async fn no_folding_of_an_identity_header_gets_through_where_sidegate_enforces() {
    let world = World::start().await;
    for name in policy::IDENTITY_HEADERS {
        for spelling in [
            name.to_owned(),
            name.to_ascii_uppercase(),
            name.replace('-', "_"),
            name.replacen('-', "_", 1),
        ] {
            for address in [world.external, world.local] {
                let mut client = Client::connect(address).await;
                client
                    .send(format!(
                        "GET / HTTP/1.1\r\n{HOSTS}{spelling}: admin\r\n\r\n"
                    ))
                    .await;
                assert_eq!(
                    client.answer().await.expect("an answer").status,
                    200,
                    "{spelling}"
                );
                let seen = world.upstream.last();
                assert!(!seen.head.contains("admin"), "{spelling}: {}", seen.head);
            }
        }
    }
}

#[tokio::test]
async fn what_knative_writes_for_itself_no_client_sends() {
    let world = World::start().await;
    let clients =
        "Knative-Serving-Tag: blue\r\nK-Network-Probe: probe\r\nK-Network-Hash: override\r\n";
    for name in policy::KNATIVE_HEADERS {
        for spelling in [
            name.to_owned(),
            name.to_ascii_uppercase(),
            name.replace('-', "_"),
        ] {
            for address in [world.external, world.local] {
                let mut client = Client::connect(address).await;
                client
                    .send(format!(
                        "GET / HTTP/1.1\r\n{HOSTS}{clients}{spelling}: other\r\n\r\n"
                    ))
                    .await;
                assert_eq!(
                    client.answer().await.expect("an answer").status,
                    200,
                    "{spelling}"
                );
                let seen = world.upstream.last();
                assert!(!seen.head.contains("other"), "{spelling}: {}", seen.head);
                for (kept, value) in [
                    ("knative-serving-tag", "blue"),
                    ("k-network-probe", "probe"),
                ] {
                    assert_eq!(seen.header(kept), [value], "{spelling}");
                }
            }
        }
    }
    let world = World::as_written().await;
    world
        .external("GET / HTTP/1.1\r\nHost: kubeflow.example\r\nK-Original-Host: other\r\n\r\n")
        .await;
    assert_eq!(world.upstream.last().header("k-original-host"), ["other"]);
}

#[tokio::test]
async fn identity_headers_stay_as_in_the_cluster_where_sidegate_adds_nothing() {
    let world = World::as_written().await;
    world
        .external("GET / HTTP/1.1\r\nHost: kubeflow.example\r\nkubeflow-userid: a@b\r\n\r\n")
        .await;
    assert_eq!(world.upstream.last().header("kubeflow-userid"), ["a@b"]);
}

#[tokio::test]
async fn the_platform_sees_exactly_the_identity_that_was_decided_on() {
    let world = World::start().await;
    let request = "GET / HTTP/1.1\r\nHost: kubeflow.example\r\nCookie: session=ada\r\n\
                   kubeflow-userid: root\r\nkubeflow_groups: root\r\nX-Forwarded-User: root\r\n\r\n";
    assert_eq!(world.external(request).await.status, 200);
    let seen = world.upstream.last();
    assert_eq!(seen.header("kubeflow-userid"), ["ada@example.com"]);
    assert_eq!(seen.header("kubeflow-groups"), ["staff"]);
    assert!(!seen.head.contains("root"), "{}", seen.head);
}

#[tokio::test]
async fn an_api_key_goes_no_further_than_here() {
    let world = World::start().await;
    let key = format!("sgk_{}", "a".repeat(60));
    for (host, name, sent, arrives) in [
        ("kubeflow.example", "x-api-key", &*key, false),
        ("kubeflow.example", "X_API_Key", &*key, false),
        ("kubeflow.example", "x-api-key", "another", true),
        ("shop.example", "x-api-key", &*key, true),
    ] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nCookie: session=ada\r\n{name}: {sent}\r\n\r\n"
        );
        assert_eq!(world.external(request).await.status, 200);
        let last = world.upstream.last();
        assert_eq!(last.head.contains(sent), arrives, "{host} {name}");
    }
}

#[tokio::test]
async fn the_signed_identity_is_the_gateways_own_and_not_for_others() {
    let world = World::start().await;
    for spelling in [
        "x-sidegate-identity",
        "X_Sidegate_Identity",
        "x-sidegate_identity",
    ] {
        for (host, seen) in [
            (
                "kubeflow.example",
                &["ada@example.com for kubeflow/dashboard"][..],
            ),
            ("shop.example", &[]),
        ] {
            let request = format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nCookie: session=ada\r\n{spelling}: root\r\n\r\n"
            );
            assert_eq!(world.external(request).await.status, 200);
            let last = world.upstream.last();
            assert_eq!(last.header("x-sidegate-identity"), seen, "{host}");
            assert!(!last.head.contains("root"), "{}", last.head);
        }
    }
}

/// Sent header lines, then what the upstream sees of a name.
struct Row {
    local: bool,
    sent: &'static str,
    name: &'static str,
    seen: &'static [&'static str],
}

const fn external(sent: &'static str, name: &'static str, seen: &'static [&'static str]) -> Row {
    Row {
        local: false,
        sent,
        name,
        seen,
    }
}

const fn local(sent: &'static str, name: &'static str, seen: &'static [&'static str]) -> Row {
    Row {
        local: true,
        sent,
        name,
        seen,
    }
}

#[tokio::test]
async fn context_headers_are_ours() {
    let world = World::start().await;
    for Row {
        local,
        sent,
        name,
        seen,
    } in [
        external("", "x-forwarded-for", &["127.0.0.1"]),
        external(
            "X-Forwarded-For: 1.2.3.4\r\n",
            "x-forwarded-for",
            &["1.2.3.4,127.0.0.1"],
        ),
        external(
            "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n",
            "x-forwarded-for",
            &["1.2.3.4,5.6.7.8,127.0.0.1"],
        ),
        external("X_Forwarded_For: 1.2.3.4\r\n", "x_forwarded_for", &[]),
        external(
            "X-Forwarded-Proto: https\r\n",
            "x-forwarded-proto",
            &["http"],
        ),
        external("X_Forwarded_Proto: https\r\n", "x_forwarded_proto", &[]),
        external("X-Forwarded-Host: evil\r\n", "x-forwarded-host", &[]),
        external("X-Forwarded-Uri: /public/\r\n", "x-forwarded-uri", &[]),
        external("X-Original-URL: /admin\r\n", "x-original-url", &[]),
        external("Forwarded: for=1.2.3.4\r\n", "forwarded", &[]),
        external(
            "X-Envoy-Original-Path: /public\r\n",
            "x-envoy-original-path",
            &[],
        ),
        external("X_Envoy_Retry-On: 5xx\r\n", "x_envoy_retry-on", &[]),
        local("X-Envoy-Retry-On: 5xx\r\n", "x-envoy-retry-on", &["5xx"]),
        local("X-Request-Id: abc-1\r\n", "x-request-id", &["abc-1"]),
        external("Expect: 100-continue\r\n", "expect", &[]),
        external("TE: gzip\r\n", "te", &[]),
        external("Keep-Alive: timeout=5\r\n", "keep-alive", &[]),
        external("Proxy-Connection: keep-alive\r\n", "proxy-connection", &[]),
        external(
            "Proxy-Authorization: Basic eA==\r\n",
            "proxy-authorization",
            &[],
        ),
        external("HTTP2-Settings: AAMA\r\n", "http2-settings", &[]),
        external(
            "Connection: close, X-Private\r\nX-Private: 1\r\n",
            "x-private",
            &[],
        ),
        external("Connection: close\r\n", "connection", &[]),
        external("Connection: Upgrade\r\nUpgrade: h2c\r\n", "upgrade", &[]),
        external("X-Plain: a\r\nX-Plain: b\r\n", "x-plain", &["a", "b"]),
        external("Cookie: a=1; b=2\r\n", "cookie", &["a=1; b=2"]),
        external(
            "Authorization: Bearer ada\r\n",
            "authorization",
            &["Bearer ada"],
        ),
    ] {
        let request = format!("GET / HTTP/1.1\r\n{HOSTS}{sent}\r\n");
        let answer = if local {
            world.local(&request).await
        } else {
            world.external(&request).await
        };
        assert_eq!(answer.status, 200, "{sent}");
        assert_eq!(world.upstream.last().header(name), seen, "{sent}");
    }
}

#[tokio::test]
async fn request_ids_from_outside_are_replaced() {
    let world = World::start().await;
    for sent in ["", "X-Request-Id: chosen\r\n"] {
        world
            .external(format!("GET / HTTP/1.1\r\n{HOSTS}{sent}\r\n"))
            .await;
        let seen = world.upstream.last();
        let ids = seen.header("x-request-id");
        assert_eq!(ids.len(), 1, "{}", seen.head);
        assert_eq!(ids[0].len(), 36, "{}", ids[0]);
    }
    // Inside, an id that is no id is replaced as well.
    world
        .local(format!(
            "GET / HTTP/1.1\r\n{HOSTS}X-Request-Id: a b\r\n\r\n"
        ))
        .await;
    assert_eq!(world.upstream.last().header("x-request-id")[0].len(), 36);
}

#[tokio::test]
async fn proxy_credentials_prove_a_workload_inside_and_go_no_further() {
    let world = World::start().await;
    let with = |credentials: &str| {
        format!(
            "GET http://shop.example/embedded HTTP/1.1\r\n{HOSTS}Proxy-Authorization: {credentials}\r\n\r\n"
        )
    };
    let known = world.local(with("Basic cG9kOnNlY3JldA==")).await;
    assert!(
        known.body.contains(r#"workload=Some("pod")"#),
        "{}",
        known.body
    );
    for unknown in ["Basic eDp5", "", "Bearer cG9kOnNlY3JldA=="] {
        let refused = world.local(with(unknown)).await;
        assert_eq!(refused.status, 407, "{unknown}");
        assert_eq!(
            refused.header("proxy-authenticate"),
            Some("Basic realm=\"sidegate\"")
        );
        assert!(
            refused.body.contains("proxy authentication required"),
            "{}",
            refused.body
        );
    }
    let outside = world.external(with("Basic cG9kOnNlY3JldA==")).await;
    assert!(outside.body.contains("workload=None"), "{}", outside.body);
}

#[tokio::test]
async fn responses_keep_their_connection_to_themselves() {
    let world = World::start().await;
    let answer = world
        .external(format!("GET /hop HTTP/1.1\r\n{HOSTS}\r\n"))
        .await;
    assert_eq!(answer.header("x-public"), Some("1"));
    for gone in ["x-private", "keep-alive", "connection"] {
        assert_eq!(answer.header(gone), None, "{}", answer.head);
    }
}

#[tokio::test]
async fn routes_change_headers_and_target() {
    let world = World::start().await;
    let request = format!("GET /rewritten/a?b=c HTTP/1.1\r\n{HOSTS}X-Gone: 1\r\n\r\n");
    let answer = world.external(request).await;
    let seen = world.upstream.last();
    assert_eq!(seen.target(), "/a?b=c");
    assert_eq!(seen.header("host"), ["other.example"]);
    assert_eq!(seen.header("x-added"), ["yes"]);
    assert!(seen.header("x-gone").is_empty());
    assert_eq!(answer.header("x-answered"), Some("yes"));
    assert_eq!(answer.header("x-upstream"), None);
}

#[tokio::test]
async fn allowed_origins_may_read_answers() {
    let world = World::start().await;
    for (origin, expected) in [
        ("http://friend.example", Some("http://friend.example")),
        ("http://foe.example", None),
    ] {
        let request = format!("GET /cors HTTP/1.1\r\n{HOSTS}Origin: {origin}\r\n\r\n");
        let answer = world.external(request).await;
        assert_eq!(answer.header("access-control-allow-origin"), expected);
    }
}
