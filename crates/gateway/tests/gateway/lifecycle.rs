//! Binding and draining.

use std::net::TcpListener;
use std::time::Duration;

use gateway::{Config, Drained, Gateway, Limits, Listen};
use policy::Entrance;

use crate::client::{Client, PATIENCE};
use crate::world::World;

#[test]
fn a_taken_address_is_named_with_its_option() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = holder.local_addr().expect("address");
    let config = |option: &str| Config {
        listeners: vec![Listen {
            entrance: Entrance::External,
            address,
            option: option.to_owned(),
        }],
        limits: Limits::default(),
        threads: None,
    };
    let error = Gateway::bind(config("--external")).expect_err("the address is taken");
    let text = error.to_string();
    assert!(
        text.starts_with(&format!(
            "cannot listen on `{address}` (option `--external`): "
        )),
        "{text}"
    );
    drop(holder);
    // Ports are shared by the threads of one gateway, not by two gateways.
    let first = Gateway::bind(config("--external")).expect("free again");
    assert_eq!(first.addresses(), [address]);
    Gateway::bind(config("--local")).expect_err("the first gateway has it");
}

#[tokio::test]
async fn draining_cuts_no_request_in_flight() {
    const BUSY: usize = 64;
    let world = World::threaded(2).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(world.external).await;
        client
            .send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            .await;
        assert_eq!(client.answer().await.expect("an answer").status, 200);
        idle.push(client);
        idle.push(Client::connect(world.local).await);
    }
    let mut busy = Vec::new();
    for i in 0..BUSY {
        let mut client = Client::connect(if i % 2 == 0 {
            world.external
        } else {
            world.local
        })
        .await;
        client
            .send("POST /slow HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc")
            .await;
        busy.push(client);
    }
    world.upstream.wait_for(8 + BUSY).await;
    let drain = tokio::spawn(world.running.drain(PATIENCE));
    for client in &mut idle {
        assert!(client.closed().await);
    }
    // The listeners are gone.
    while let Ok(stream) = tokio::net::TcpStream::connect(world.external).await {
        drop(stream);
        tokio::task::yield_now().await;
    }
    world.upstream.gate.add_permits(BUSY);
    for client in &mut busy {
        let answer = client.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (200, "slow"));
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.closed().await);
    }
    assert_eq!(drain.await.expect("drained"), Drained { cut: 0 });
}

#[tokio::test]
async fn a_deadline_ends_what_does_not_end() {
    let world = World::start().await;
    let mut tunnel = Client::connect(world.external).await;
    tunnel.send("GET /ws HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(tunnel.answer().await.expect("an answer").status, 101);
    assert_eq!(tunnel.bytes(5).await, b"hello");
    let mut stuck = Client::connect(world.external).await;
    stuck
        .send("GET /slow HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    world.upstream.wait_for(2).await;
    let drained = world.running.drain(Duration::from_millis(100)).await;
    assert_eq!(drained, Drained { cut: 2 });
    assert!(stuck.closed().await);
    assert!(tunnel.closed().await);
}

#[tokio::test]
async fn quiet_connections_are_parked_and_wake_up() {
    let world = World::limited(Limits {
        park_after: Duration::from_millis(10),
        ..Limits::default()
    })
    .await;
    let parked = async |count| {
        let counted = async {
            while world.running.parked() != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, counted)
            .await
            .expect("parked in time");
    };
    let mut client = Client::connect(world.external).await;
    // A request that takes its time is not quiet, nor is half a head.
    client
        .send("GET /slow HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    let mut half = Client::connect(world.external).await;
    half.send("GET /a HTTP/1.1\r\n").await;
    world.upstream.wait_for(1).await;
    let mut other = Client::connect(world.external).await;
    for round in 0..3 {
        other
            .send("POST /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc")
            .await;
        assert_eq!(
            other.answer().await.expect("an answer").status,
            200,
            "{round}"
        );
        parked(1).await;
    }
    world.upstream.gate.add_permits(1);
    assert_eq!(client.answer().await.expect("an answer").body, "slow");
    parked(2).await;
    half.send("Host: shop.example\r\n\r\n").await;
    assert_eq!(half.answer().await.expect("an answer").status, 200);
    drop(other);
    parked(1).await;
    let drained = world.running.drain(PATIENCE).await;
    assert_eq!(drained, Drained { cut: 0 });
    assert!(client.closed().await);
}
