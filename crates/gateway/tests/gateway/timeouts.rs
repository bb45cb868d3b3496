//! Nobody holds the gateway up.

use std::time::Duration;

use gateway::Limits;

use crate::client::{Client, PATIENCE};
use crate::world::World;

fn impatient() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(150),
        idle_timeout: Duration::from_millis(150),
        stall_timeout: Duration::from_millis(150),
        ..Limits::default()
    }
}

#[tokio::test]
async fn silent_and_slow_clients_are_let_go() {
    let world = World::limited(impatient()).await;
    let mut silent = Client::connect(world.external).await;
    assert!(silent.closed().await);
    for slow in ["G", "GET / HTTP/1.1\r\nHost: shop", "PRI * HTT"] {
        let mut client = Client::connect(world.external).await;
        client.send(slow).await;
        match client.answer().await {
            Some(answer) => assert_eq!(answer.status, 408, "{slow}"),
            // Not clear yet which protocol it would have been.
            None => assert!(slow.starts_with("PRI"), "{slow}"),
        }
    }
    let mut idle = Client::connect(world.external).await;
    idle.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    assert_eq!(idle.answer().await.expect("an answer").status, 200);
    assert!(idle.closed().await);
}

#[tokio::test]
async fn stalled_bodies_are_given_up() {
    let world = World::limited(impatient()).await;
    for path in ["/a", "/embedded"] {
        let mut client = Client::connect(world.external).await;
        client
            .send(format!(
                "POST {path} HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\r\nabc"
            ))
            .await;
        let answer = client.answer().await.expect("an answer");
        assert_eq!(answer.status, 408, "{path}");
        assert_eq!(
            answer.body,
            r#"{"error":"request timeout","reason":"the request body did not arrive"}"#
        );
        assert!(client.closed().await, "{path}");
    }
}

#[tokio::test]
async fn routes_have_time_limits() {
    let world = World::start().await;
    let slow = world
        .external("GET /limited/slow HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    assert_eq!(slow.status, 504);
    assert_eq!(
        slow.body,
        r#"{"error":"upstream timeout","reason":"the upstream did not answer within the time of the route"}"#
    );
    // The limit holds to the end of the body.
    let mut client = Client::connect(world.external).await;
    client
        .send("GET /limited/half HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    assert!(client.answer().await.is_none());
}

#[tokio::test]
async fn connections_are_counted() {
    let world = World::limited(Limits {
        connections: 2,
        ..Limits::default()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(world.external).await;
        client
            .send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            .await;
        assert_eq!(client.answer().await.expect("an answer").status, 200);
        held.push(client);
    }
    let mut third = Client::connect(world.local).await;
    assert!(third.closed().await);
    assert_eq!(world.running.connections(), 2);
}

#[tokio::test]
async fn clients_that_do_not_read_are_let_go() {
    let world = World::limited(impatient()).await;
    let mut client = Client::connect(world.external).await;
    client
        .send("GET /big HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    world.upstream.wait_for(1).await;
    let gone = async {
        while world.running.connections() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("gone in time");
    // What arrived is not the whole.
    assert!(client.answer().await.is_none());
}
