//! The end: no request in flight is cut.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::mpsc;

use testkit::Socket;

use super::example;

const CONNECTIONS: usize = 64;

#[test]
fn requests_in_flight_complete() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let (arrived, arrivals) = mpsc::channel();
    let server = std::thread::spawn(move || {
        // Holds every request until all have arrived and the end has begun.
        let held: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (mut connection, _) = upstream.accept().unwrap();
                let mut head = [0; 2048];
                let read = std::io::Read::read(&mut connection, &mut head).unwrap();
                assert!(read > 0);
                connection
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
                    .unwrap();
                arrived.send(()).unwrap();
                connection
            })
            .collect();
        (held, upstream)
    });
    let mut program = example("seed")
        .arg("--backend")
        .arg(format!("shop/storefront:80={address}"))
        .start()
        .unwrap();
    let external = program
        .external()
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
    let mut sockets: Vec<Socket> = (0..CONNECTIONS)
        .map(|_| {
            let mut socket = Socket::connect(&external).unwrap();
            socket
                .send("GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n")
                .unwrap();
            socket
        })
        .collect();
    for _ in 0..CONNECTIONS {
        arrivals.recv().unwrap();
    }
    program.signal_term().unwrap();
    program
        .wait_for_stderr("requests in flight complete first")
        .unwrap();
    let (held, upstream) = server.join().unwrap();
    for mut connection in held {
        connection.write_all(b"--end").unwrap();
    }
    drop(upstream);
    for socket in &mut sockets {
        let response = socket.response().unwrap().unwrap();
        assert_eq!(
            (response.status(), response.text().as_str()),
            (Some(200), "first--end")
        );
    }
    drop(sockets);
    assert!(program.wait().unwrap().success());
}
