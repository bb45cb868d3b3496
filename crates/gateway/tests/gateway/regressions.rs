//! Published bypasses of this class of program, as bytes on a socket. The
//! judge is the upstream's log.

use policy::normalise;
use resources::mesh::Normalization;

use crate::client::Client;
use crate::world::World;

/// Paths that reached `/admin` behind some gateway without its permission.
/// (CVE or weakness, target)
const PATHS: &[(&str, &str)] = &[
    ("CVE-2021-31920", "//admin"),
    ("CVE-2021-29492", "/x%2f..%2fadmin"),
    ("CVE-2021-29492", "/x/..%2fadmin"),
    ("CVE-2021-29492", "/%2fadmin"),
    ("CVE-2021-29492", "/admin%2fx"),
    ("CVE-2021-29492", "/x%5c..%5cadmin"),
    ("CVE-2021-29492", "/x\\..\\admin"),
    ("CVE-2019-9901", "/x/../admin"),
    ("CVE-2019-9901", "/x/%2e%2e/admin"),
    ("CVE-2019-9901", "/x/.%2e/admin"),
    ("CVE-2026-73551", "/user/..;foo=bar/admin"),
    ("CVE-2021-32779", "/admin#section1"),
    ("CVE-2021-32779", "/admin#/public"),
    ("CVE-2025-54576", "/admin?x=/public/"),
    ("CVE-2026-26205", "//admin/people"),
    ("CVE-2026-33494", "/public/../admin/secrets"),
    ("CVE-2025-46821", "/tpl/a*b"),
    ("CVE-2023-27487", "/admin/"),
    ("absolute form", "http://shop.example/admin"),
    ("absolute form", "HTTP://SHOP.EXAMPLE:80/x/../admin"),
];

/// Paths that no normalisation makes one with `/admin`; only a level on the
/// whole owner holds them (CVE-2026-73511, CVE-2026-41059, CWE-174, CWE-178).
const OTHER_PATHS: &[(&str, &str)] = &[
    ("CVE-2026-73511", "/admin;x=1/users"),
    ("CVE-2026-73553", "/admin;x"),
    ("encoded semicolon", "/x/..%3b/admin"),
    ("CWE-174", "/x/..%252fadmin"),
    ("CVE-2026-41059", "/foo/secret%23/bar"),
    ("CWE-178", "/Admin"),
    ("CWE-178", "/admin."),
    ("CWE-178", "/admin%20"),
    ("kubeflow/manifests#2575", "/v1"),
    ("kubeflow/manifests#2575", "/v1anything"),
    ("suffix exemption", "/v1/models/iris:predict/ready"),
    ("login exemption", "/dex/predict"),
];

/// A target and its mechanical variants: other case of hex digits, one more
/// slash, one dot encoded.
fn variants(target: &str) -> Vec<String> {
    let mut all = vec![target.to_owned()];
    let mut other_case = String::new();
    let mut hex = 0;
    for c in target.chars() {
        other_case.push(if hex > 0 { c.to_ascii_uppercase() } else { c });
        hex = if c == '%' {
            2
        } else {
            usize::saturating_sub(hex, 1)
        };
    }
    all.push(other_case);
    if let Some(at) = target.rfind('/') {
        all.push(format!("{}/{}", &target[..at], &target[at..]));
    }
    if let Some(at) = target.rfind('.') {
        all.push(format!("{}%2e{}", &target[..at], &target[at + 1..]));
    }
    all
}

#[tokio::test]
async fn denied_paths_stay_denied_in_every_spelling() {
    let world = World::start().await;
    for (id, target) in PATHS {
        for (number, target) in variants(target).into_iter().enumerate() {
            let request = format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
            let answer = world.external(request).await;
            if answer.status == 200 && number > 0 {
                // One more slash can make it another path (RFC 3986 resolves
                // `/x//../a` to `/x/a`). Then it is forwarded resolved, so
                // that no upstream can find the denied one in it.
                let seen = world.upstream.last().target().to_ascii_lowercase();
                assert!(
                    !seen.starts_with("/admin") && !seen.contains("..") && !seen.contains('%'),
                    "{id} {target}: {seen}"
                );
                world.upstream.forget();
                continue;
            }
            assert!(
                [400, 403].contains(&answer.status),
                "{id} {target}: {}",
                answer.status
            );
            assert!(
                world.upstream.seen().is_empty(),
                "{id} {target}: {:?}",
                world.upstream.seen()
            );
        }
    }
}

#[tokio::test]
async fn no_path_of_the_platform_is_open() {
    let world = World::start().await;
    for (id, target) in PATHS.iter().chain(OTHER_PATHS) {
        let target = target
            .replace("shop.example", "kubeflow.example")
            .replace("SHOP", "KUBEFLOW");
        for target in variants(&target) {
            for method in ["GET", "POST", "OPTIONS", "FOO"] {
                let request = format!(
                    "{method} {target} HTTP/1.1\r\nHost: kubeflow.example\r\nkubeflow-userid: admin\r\n\
                     User-Agent: GoogleHC/1.0\r\nX-Forwarded-Uri: /public/\r\n\
                     X-Envoy-Original-Path: /public\r\nX-Original-URL: /public\r\nContent-Length: 0\r\n\r\n"
                );
                let request = request.replace(":80/", "/");
                let answer = world.external(request).await;
                assert!(
                    [400, 401, 403].contains(&answer.status),
                    "{id} {method} {target}: {}",
                    answer.status
                );
                assert!(world.upstream.seen().is_empty(), "{id} {target}");
            }
        }
    }
}

/// Below a part of a host that is open, what an upstream decodes may be another part.
#[tokio::test]
async fn no_spelling_leads_out_of_what_is_open() {
    let world = World::start().await;
    let ask = async |target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: open.example\r\n\r\n");
        let before = world.upstream.seen().len();
        let status = world.external(request).await.status;
        (status, world.upstream.seen().len() - before)
    };
    for target in [
        "/open/..%2fadmin",
        "/open/%2e%2e%2fadmin",
        "/open/..%5cadmin",
        "/open/..%252fadmin",
        "/open/%252e%252e%252fadmin",
        "/open/..;/admin",
        "/open/..%3b/admin",
        "/open/a/..;x=1/..;y=2/admin",
    ] {
        let (status, arrived) = ask(target).await;
        assert!([400, 401].contains(&status), "{target}: {status}");
        assert_eq!(arrived, 0, "{target}");
    }
    for target in [
        "/open/a%20b;v=1",
        "/open/a/..%3b/b",
        "/open/a%252fb",
        "/open/",
    ] {
        assert_eq!(ask(target).await, (200, 1), "{target}");
    }
    assert_eq!(ask("/admin").await, (401, 0));
}

#[tokio::test]
async fn what_is_forwarded_is_what_was_decided_on() {
    let world = World::start().await;
    let all = PATHS
        .iter()
        .chain(OTHER_PATHS)
        .map(|(_, target)| target.replace("admin", "open").replace("tpl", "open"));
    let mut forwarded = 0;
    for target in all.flat_map(|target| variants(&target)) {
        let target = target
            .strip_prefix("http://shop.example")
            .unwrap_or(&target)
            .to_owned();
        let answer = world
            .external(format!(
                "GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n"
            ))
            .await;
        if answer.status == 400 {
            assert!(world.upstream.seen().is_empty(), "{target}");
            continue;
        }
        forwarded += 1;
        let seen = world.upstream.last();
        let path = seen.target().split('?').next().expect("a path");
        let again = normalise(path, Normalization::DecodeAndMergeSlashes);
        assert_eq!(again.as_deref(), Ok(path), "{target}");
        world.upstream.forget();
    }
    assert!(forwarded > 60, "{forwarded}");
}

/// Whole requests that are refused, with the status.
const REFUSED: &[(&str, &str, u16)] = &[
    ("RFC 9112 3.2: no host", "GET / HTTP/1.1\r\n\r\n", 400),
    (
        "RFC 9112 3.2: no host on 1.0",
        "GET / HTTP/1.0\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 3.2: two hosts",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nHost: kubeflow.example\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 3.2: the same host twice",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nHost: shop.example\r\n\r\n",
        400,
    ),
    ("empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    (
        "comma in host",
        "GET / HTTP/1.1\r\nHost: shop.example,kubeflow.example\r\n\r\n",
        400,
    ),
    (
        "userinfo in host",
        "GET / HTTP/1.1\r\nHost: u@shop.example\r\n\r\n",
        400,
    ),
    (
        "space in host",
        "GET / HTTP/1.1\r\nHost: shop.example kubeflow.example\r\n\r\n",
        400,
    ),
    (
        "percent in host",
        "GET / HTTP/1.1\r\nHost: shop%2eexample\r\n\r\n",
        400,
    ),
    (
        "two final dots",
        "GET / HTTP/1.1\r\nHost: shop.example..\r\n\r\n",
        400,
    ),
    (
        "bad port",
        "GET / HTTP/1.1\r\nHost: shop.example:80a\r\n\r\n",
        400,
    ),
    (
        "obs-text in host",
        "GET / HTTP/1.1\r\nHost: shop\u{e9}.example\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 3.2.2: target and host",
        "GET http://kubeflow.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 3.2.2: userinfo in target",
        "GET http://u@shop.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        400,
    ),
    (
        "absolute form without host",
        "GET http://shop.example/ HTTP/1.1\r\n\r\n",
        400,
    ),
    (
        "CVE-2026-33186",
        "GET admin HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        400,
    ),
    (
        "CVE-2026-33186",
        "POST admin.Service/Delete HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n",
        400,
    ),
    (
        "asterisk",
        "GET * HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        400,
    ),
    (
        "encoded NUL",
        "GET /a%00b HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        400,
    ),
    (
        "obs-text in path",
        "GET /\u{e9} HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        400,
    ),
    (
        "obs-text in query",
        "GET /?\u{e9} HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        400,
    ),
    (
        "CVE-2021-29492, changes when normalised twice",
        "GET /x/%2e%2e;/admin HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        400,
    ),
    (
        "CVE-2021-32777",
        "GET / HTTP/1.1\r\nHost: checked.example\r\nAuthorization: Bearer good\r\nAuthorization: Bearer evil\r\n\r\n",
        400,
    ),
    (
        "CVE-2021-32777 cookie",
        "GET / HTTP/1.1\r\nHost: kubeflow.example\r\nCookie: session=ada\r\nCookie: session=bob\r\n\r\n",
        400,
    ),
    (
        "CVE-2020-25017 identity",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nkubeflow-userid: a\r\nkubeflow-userid: b\r\n\r\n",
        400,
    ),
    (
        "CVE-2026-26308",
        "GET /role HTTP/1.1\r\nHost: shop.example\r\nx-role: user\r\nx-role: admin\r\n\r\n",
        403,
    ),
    (
        "CVE-2024-45410",
        "GET / HTTP/1.1\r\nHost: kubeflow.example\r\nCookie: session=ada\r\nConnection: close, kubeflow-userid\r\n\r\n",
        400,
    ),
    (
        "CVE-2024-45410 folded",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: X_Forwarded_User\r\n\r\n",
        400,
    ),
    (
        "CVE-2026-105299",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: authorization\r\n\r\n",
        400,
    ),
    (
        "CVE-2026-105299 host",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: host\r\n\r\n",
        400,
    ),
    (
        "nominated context",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: X-Forwarded-For\r\n\r\n",
        400,
    ),
    (
        "nominated nonsense",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: a b\r\n\r\n",
        400,
    ),
    (
        "CVE-2021-39155",
        "GET /admin HTTP/1.1\r\nHost: Shop.Example\r\n\r\n",
        403,
    ),
    (
        "ISTIO-SECURITY-2021-008, empty port",
        "GET /admin HTTP/1.1\r\nHost: shop.example:\r\n\r\n",
        403,
    ),
    (
        "CVE-2026-25748",
        "GET / HTTP/1.1\r\nHost: kubeflow.example\r\nCookie: session=%%%\r\n\r\n",
        401,
    ),
    (
        "CVE-2026-34457",
        "GET /pipeline/ HTTP/1.1\r\nHost: kubeflow.example\r\nUser-Agent: GoogleHC/1.0\r\n\r\n",
        401,
    ),
    (
        "empty credential",
        "GET / HTTP/1.1\r\nHost: kubeflow.example\r\nAuthorization:\r\n\r\n",
        401,
    ),
    (
        "two session spellings",
        "GET / HTTP/1.1\r\nHost: KUBEFLOW.example:1\r\nkubeflow_userid: admin\r\n\r\n",
        401,
    ),
];

#[tokio::test]
async fn requests_with_two_readings_are_refused() {
    let world = World::start().await;
    for (id, request, status) in REFUSED {
        let mut client = Client::connect(world.external).await;
        client.send(request).await;
        let answer = client
            .answer()
            .await
            .unwrap_or_else(|| panic!("no answer: {id}"));
        assert_eq!(answer.status, *status, "{id}");
        assert!(
            world.upstream.seen().is_empty(),
            "{id}: {:?}",
            world.upstream.seen()
        );
        if *status == 400 {
            assert!(client.closed().await, "{id}");
        }
    }
}

#[tokio::test]
async fn bytes_outside_ascii_are_no_way_round_a_rule() {
    // CVE-2026-73552: one such byte must not make a value unmatchable for the upstream's eyes only.
    let world = World::start().await;
    world
        .external(b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-Other: admin\xff\r\n\r\n")
        .await;
    assert_eq!(world.upstream.seen().len(), 1);
    let refused = world
        .external(b"GET /\xff HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    assert_eq!(refused.status, 400);
    assert_eq!(world.upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_proxy_style_target_is_the_authority() {
    let world = World::start().await;
    for target in ["http://shop.example/a?b=c", "http://shop.example:80/a?b=c"] {
        let host = target
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next())
            .expect("a host");
        let answer = world
            .local(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(answer.status, 200);
        let seen = world.upstream.last();
        assert_eq!((seen.target(), seen.header("host")), ("/a?b=c", vec![host]));
    }
}

#[tokio::test]
async fn nothing_passes_before_an_upgrade_is_agreed_on() {
    // CVE-2026-2833, CVE-2026-73548
    let world = World::start().await;
    for upgrade in ["foo", "h2c", "websocket"] {
        let mut client = Client::connect(world.external).await;
        client.send(format!(
            "GET /no-upgrade HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n\
             GET /admin HTTP/1.1\r\nHost: shop.example\r\n\r\n"
        )).await;
        assert_eq!(
            client.answer().await.expect("an answer").status,
            200,
            "{upgrade}"
        );
        assert!(client.closed().await, "{upgrade}");
        let seen = world.upstream.last();
        assert_eq!(seen.target(), "/no-upgrade");
        assert!(seen.body.is_empty());
    }
    assert_eq!(world.upstream.seen().len(), 3);
}
