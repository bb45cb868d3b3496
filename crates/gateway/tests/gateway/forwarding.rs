//! Forwarding: answers, refusals, faults, tunnels, authorizers, reuse.

use gateway::Limits;

use crate::client::Client;
use crate::upstream::Seen;
use crate::world::{CLUSTER, World};

#[tokio::test]
async fn refusals_know_their_client() {
    let world = World::start().await;
    let get = |more: &str| format!("GET /a HTTP/1.1\r\nHost: kubeflow.example\r\n{more}\r\n");
    let navigation = world
        .external(get("Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n"))
        .await;
    assert_eq!(navigation.status, 302);
    assert_eq!(
        navigation.header("location"),
        Some("http://login.example/?for=/a")
    );
    assert_eq!(navigation.header("set-cookie"), Some("transaction=1"));
    assert_eq!(navigation.header("cache-control"), Some("no-store"));
    for program in [
        "",
        "Accept: application/json\r\n",
        "Accept: text/html\r\nX-Requested-With: XMLHttpRequest\r\n",
    ] {
        let answer = world.external(get(program)).await;
        assert_eq!(answer.status, 401, "{program}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert_eq!(answer.body, r#"{"error":"authentication required"}"#);
    }
    let bad = world.external(get("Authorization: Bearer x\r\n")).await;
    assert_eq!(bad.status, 401);
    assert_eq!(
        bad.header("www-authenticate"),
        Some(r#"Bearer error="invalid_token", error_description="it is 'expired'""#)
    );
    let rbac = world
        .external("GET /admin HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    assert_eq!(
        (rbac.status, rbac.body.as_str()),
        (403, "RBAC: access denied")
    );
    let nowhere = world
        .local("GET / HTTP/1.1\r\nHost: nowhere.example\r\n\r\n")
        .await;
    assert_eq!(nowhere.status, 404);
    assert!(nowhere.body.contains("no route"), "{}", nowhere.body);
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn no_route_is_as_envoys_where_sidegate_adds_nothing() {
    let world = World::as_written().await;
    let nowhere = world
        .external("GET / HTTP/1.1\r\nHost: nowhere.example\r\n\r\n")
        .await;
    assert_eq!((nowhere.status, nowhere.body.as_str()), (404, ""));
}

#[tokio::test]
async fn faults_say_what_is_wrong() {
    let world = World::start().await;
    for (path, status, body) in [
        (
            "/missing",
            503,
            r#"{"error":"nothing serves this","reason":"Service shop/missing has no address here"}"#,
        ),
        (
            "/refused",
            503,
            r#"{"error":"upstream unavailable","reason":"connection refused"}"#,
        ),
    ] {
        let answer = world
            .external(format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n"))
            .await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (status, body),
            "{path}"
        );
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn embedded_services_get_a_clean_request() {
    let world = World::start().await;
    let answer = world.external(
        "POST /embedded/x?y=z HTTP/1.1\r\nHost: shop.example:8080\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ).await;
    assert_eq!(
        answer.body,
        r#"POST /embedded/x?y=z host=Some("shop.example:8080") authority=shop.example:8080 entrance=External workload=None body=Ok(3)"#
    );
}

#[tokio::test]
async fn bodies_are_bounded_with_and_without_a_length() {
    let world = World::limited(Limits {
        body_bytes: 10,
        ..Limits::default()
    })
    .await;
    for path in ["/a", "/embedded"] {
        for (body, status) in [
            ("Content-Length: 10\r\n\r\n0123456789", 200),
            ("Content-Length: 11\r\n\r\n0123456789a", 413),
            (
                "Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n6\r\n678901\r\n0\r\n\r\n",
                413,
            ),
        ] {
            let answer = world
                .external(format!(
                    "POST {path} HTTP/1.1\r\nHost: shop.example\r\n{body}"
                ))
                .await;
            assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn heads_are_bounded() {
    let world = World::start().await;
    let many: String = (0..120).map(|i| format!("x-{i}: 1\r\n")).collect();
    let long = "a".repeat(70_000);
    for (what, request) in [
        (
            "many",
            format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{many}\r\n"),
        ),
        (
            "long",
            format!("GET / HTTP/1.1\r\nHost: shop.example\r\nX: {long}\r\n\r\n"),
        ),
        (
            "target",
            format!("GET /{long} HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
        ),
    ] {
        let mut client = Client::connect(world.external).await;
        client.send(request).await;
        let status = client.answer().await.map(|answer| answer.status);
        assert!(
            [Some(431), Some(414)].contains(&status),
            "{what}: {status:?}"
        );
    }
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn authorizers_are_asked_as_envoy_asks_them() {
    let world = World::start().await;
    let ask = |path: &str| {
        format!(
            "POST {path}?q=1 HTTP/1.1\r\nHost: checked.example\r\nX-Token: t\r\nX-User: forged\r\nCookie: c=1\r\nContent-Length: 3\r\n\r\nabc"
        )
    };
    let allowed = world.external(ask("/allow")).await;
    assert_eq!(
        allowed.status,
        200,
        "{allowed:?} {:?}",
        world.upstream.seen()
    );
    let seen = world.upstream.seen();
    let check = &seen[0];
    assert!(
        check.head.starts_with("POST /check/allow?q=1 HTTP/1.1\r\n"),
        "{}",
        check.head
    );
    assert_eq!(check.header("host"), ["checked.example"]);
    assert_eq!(check.header("x-token"), ["t"]);
    assert_eq!(check.header("content-length"), ["0"]);
    assert!(check.header("cookie").is_empty() && check.body.is_empty());
    assert_eq!(seen[1].header("x-user"), ["ada"]);
    assert_eq!(seen[1].body, b"abc");
    world.upstream.forget();

    let denied = world.external(ask("/deny")).await;
    assert_eq!((denied.status, denied.body.as_str()), (302, "login"));
    assert_eq!(denied.header("location"), Some("http://login.example/"));
    for broken in ["/error", "/huge"] {
        let failed = world.external(ask(broken)).await;
        assert_eq!((failed.status, failed.body.as_str()), (403, ""), "{broken}");
    }
    let only_checks = |seen: &Seen| seen.target().starts_with("/check/");
    assert!(world.upstream.seen().iter().all(only_checks));
}

#[tokio::test]
async fn authorizers_have_a_time_limit() {
    let yaml = CLUSTER
        .replace("timeout: 5s", "timeout: 0.1s")
        .replace("pathPrefix: /check", "pathPrefix: /slow");
    let world = World::with(yaml, Limits::default(), None).await;
    let slow = world
        .external("GET / HTTP/1.1\r\nHost: checked.example\r\n\r\n")
        .await;
    assert_eq!((slow.status, slow.body.as_str()), (403, ""));
    assert_eq!(world.upstream.seen().len(), 1);
}

#[tokio::test]
async fn tunnels_carry_bytes_both_ways() {
    let world = World::start().await;
    let mut client = Client::connect(world.external).await;
    client.send(
        "GET /ws HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\nearly",
    ).await;
    let answer = client.answer().await.expect("an answer");
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("x"));
    let seen = world.upstream.last();
    assert_eq!(seen.header("connection"), ["upgrade"]);
    assert_eq!(seen.header("upgrade"), ["websocket"]);
    assert_eq!(seen.header("sec-websocket-key"), ["k"]);
    assert_eq!(client.bytes(10).await, b"helloearly");
    client.send("more").await;
    assert_eq!(client.bytes(4).await, b"more");
}

#[tokio::test]
async fn tunnels_need_a_permit() {
    let world = World::start().await;
    let answer = world.external(
        "GET /ws HTTP/1.1\r\nHost: kubeflow.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAccept: text/html\r\n\r\n",
    ).await;
    assert_eq!(answer.status, 401);
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_connection_that_died_idle_costs_no_request() {
    let world = World::start().await;
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        assert_eq!(
            world
                .external("GET /last HTTP/1.1\r\nHost: shop.example\r\n\r\n")
                .await
                .body,
            "last"
        );
        let mut client = Client::connect(world.external).await;
        client
            .send(format!(
                "{method} /again HTTP/1.1\r\nHost: shop.example\r\n\r\n"
            ))
            .await;
        let answer = match method {
            "HEAD" => client.answer_to_head().await,
            _ => client.answer().await,
        };
        assert_eq!(answer.expect("an answer").status, 200, "{method}");
    }
    // What may have had an effect is not repeated.
    world
        .external("GET /last HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    let post = world
        .external("POST /again HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert_eq!(post.status, 502);
}

#[tokio::test]
async fn an_early_answer_ends_the_upload() {
    let world = World::start().await;
    let mut client = Client::connect(world.external).await;
    client
        .send("POST /early HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1000000\r\n\r\nabc")
        .await;
    let answer = client.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (403, "no!"));
    // The upstream connection still owes a body and is not used again.
    assert_eq!(
        world
            .external("GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            .await
            .body,
        "echo"
    );
}

#[tokio::test]
async fn refused_uploads_get_their_answer() {
    let world = World::start().await;
    let mut client = Client::connect(world.external).await;
    client
        .send("POST /a HTTP/1.1\r\nHost: kubeflow.example\r\nContent-Length: 100000\r\n\r\n")
        .await;
    client.send("a".repeat(100_000)).await;
    assert_eq!(client.answer().await.expect("an answer").status, 401);
    // With 100-continue the body is never asked for.
    let mut client = Client::connect(world.external).await;
    client.send("POST /a HTTP/1.1\r\nHost: kubeflow.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    assert_eq!(client.answer().await.expect("an answer").status, 401);
    let mut client = Client::connect(world.external).await;
    client.send("POST /a HTTP/1.1\r\nHost: shop.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    assert_eq!(client.bytes(25).await, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abcde").await;
    assert_eq!(client.answer().await.expect("an answer").status, 200);
    assert_eq!(world.upstream.last().body, b"abcde");
}
