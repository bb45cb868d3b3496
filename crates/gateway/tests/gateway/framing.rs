//! Framing is ours: whatever a client sends, the upstream reads one request.

use crate::client::Client;
use crate::world::World;

/// The end of a request to the shop, and the status it gets.
const REFUSED: &[(&str, &str, u16)] = &[
    (
        "M01 plus sign",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: +5\r\n\r\nabcde",
        400,
    ),
    (
        "M01 list",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3, 3\r\n\r\nabc",
        400,
    ),
    (
        "M01 differing",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        400,
    ),
    (
        "M01 not a number",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0x3\r\n\r\nabc",
        400,
    ),
    (
        "M01 unknown coding",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "M01 coding twice",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "M01 two codings",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "M01 chunked first",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "M01 coding on 1.0",
        "POST / HTTP/1.0\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "space before colon",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length : 3\r\n\r\nabc",
        400,
    ),
    (
        "folded line",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nX-A: a\r\n b\r\n\r\n",
        400,
    ),
    (
        "vertical tab",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "other expectation",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nExpect: 200-ok\r\nContent-Length: 0\r\n\r\n",
        417,
    ),
    (
        "CONNECT",
        "CONNECT shop.example:80 HTTP/1.1\r\nHost: shop.example:80\r\n\r\n",
        405,
    ),
    (
        "upgrade with body",
        "GET /ws HTTP/1.1\r\nHost: shop.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc",
        400,
    ),
    (
        "HTTP/3.7",
        "GET / HTTP/3.7\r\nHost: shop.example\r\n\r\n",
        400,
    ),
];

#[tokio::test]
async fn ambiguous_framing_is_refused_and_closed() {
    let world = World::start().await;
    for (what, request, status) in REFUSED {
        let mut client = Client::connect(world.external).await;
        client.send(request).await;
        client
            .send("GET /smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            .await;
        let answer = client
            .answer()
            .await
            .unwrap_or_else(|| panic!("no answer: {what}"));
        assert_eq!(answer.status, *status, "{what}");
        assert!(client.closed().await, "{what}");
        assert!(
            world.upstream.seen().is_empty(),
            "{what}: {:?}",
            world.upstream.seen()
        );
    }
}

/// What is read one way by us, and forwarded in that way.
const FRAMED_ANEW: &[(&str, &str, &str)] = &[
    (
        "length",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc",
        "abc",
    ),
    (
        "length twice the same",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "abc",
    ),
    (
        "chunks",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n",
        "abc",
    ),
    (
        "chunks with trailers",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\nTrailer: x-a\r\n\r\n3\r\nabc\r\n0\r\nx-a: evil\r\n\r\n",
        "abc",
    ),
    (
        "M01 length then coding",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "abc",
    ),
    (
        "M01 coding then length",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\nContent-Length: 30\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "abc",
    ),
    (
        "no body",
        "POST / HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "",
    ),
    (
        "empty",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n",
        "",
    ),
    (
        "GET with body",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc",
        "abc",
    ),
];

#[tokio::test]
async fn bodies_are_framed_anew() {
    let world = World::start().await;
    for (what, request, body) in FRAMED_ANEW {
        let answer = world.external(request).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "echo"),
            "{what}"
        );
        let seen = world.upstream.last();
        assert_eq!(String::from_utf8_lossy(&seen.body), *body, "{what}");
        assert!(!seen.head.contains("evil"), "{what}");
    }
    assert_eq!(world.upstream.seen().len(), FRAMED_ANEW.len());
}

#[tokio::test]
async fn a_body_behind_two_framings_is_the_last_of_its_connection() {
    let world = World::start().await;
    let mut client = Client::connect(world.external).await;
    client.send(
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    ).await;
    assert_eq!(client.answer().await.expect("an answer").status, 200);
    assert!(client.closed().await);
    assert_eq!(world.upstream.seen().len(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_two_decisions() {
    let world = World::start().await;
    let mut client = Client::connect(world.external).await;
    client.send(
        "GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\nGET /admin HTTP/1.1\r\nHost: shop.example\r\n\r\n\
         GET /b HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    ).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(client.answer().await.expect("an answer").status);
    }
    assert_eq!(statuses, [200, 403, 200]);
    let seen: Vec<_> = world
        .upstream
        .seen()
        .iter()
        .map(|seen| seen.target().to_owned())
        .collect();
    assert_eq!(seen, ["/a", "/b"]);
}

#[tokio::test]
async fn upstream_answers_are_framed_anew() {
    let world = World::start().await;
    for (path, status, body) in [
        ("/cl-te", 200, "abc"),
        ("/interim", 200, "ok"),
        (
            "/garbage",
            502,
            "{\"error\":\"bad gateway\",\"reason\":\"the upstream's response cannot be read\"}",
        ),
        (
            "/switch",
            502,
            "{\"error\":\"bad gateway\",\"reason\":\"switched protocols without being asked\"}",
        ),
        (
            "/huge-head",
            502,
            "{\"error\":\"bad gateway\",\"reason\":\"the upstream's response cannot be read\"}",
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
        let framings = answer.header("content-length").iter().count()
            + answer.header("transfer-encoding").iter().count();
        assert_eq!(framings, 1, "{path}: {}", answer.head);
    }
}

#[tokio::test]
async fn truncated_answers_stay_truncated() {
    let world = World::start().await;
    let mut client = Client::connect(world.external).await;
    client
        .send("GET /half HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    // A complete answer would be a lie.
    assert!(client.answer().await.is_none());
}

#[tokio::test]
async fn heads_have_no_bodies_and_keep_their_length() {
    let world = World::start().await;
    let mut client = Client::connect(world.external).await;
    for (host, length) in [("shop.example", "1234"), ("kubeflow.example", "35")] {
        client
            .send(format!("HEAD / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        let answer = client.answer_to_head().await.expect("an answer");
        assert_eq!(
            answer.header("content-length"),
            Some(length),
            "{}",
            answer.head
        );
    }
    client
        .send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.expect("an answer").body, "echo");
}
