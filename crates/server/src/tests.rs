use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;

use super::*;

mod heads;
mod together;

/// Answers `/slow` after a while, `/some` with as much as an authorizer says, and `/large` with more than sockets take at once.
struct Answers;

const LIMIT: Duration = Duration::from_millis(400);
const SOME: usize = 400;
const LARGE: usize = 64 << 20;

impl Service for Answers {
    type Body = Full<Bytes>;

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Full<Bytes>> {
        let head = self.answer_head(request.into_parts().0, peer);
        head.await.unwrap()
    }

    async fn answer_head(
        self: Arc<Self>,
        parts: Parts,
        _: SocketAddr,
    ) -> Option<Response<Full<Bytes>>> {
        let body = match parts.uri.path() {
            "/slow" => {
                tokio::time::sleep(LIMIT * 3).await;
                Bytes::from_static(b"late")
            }
            "/some" => Bytes::from(vec![b'x'; SOME]),
            "/large" => Bytes::from(vec![b'x'; LARGE]),
            _ => Bytes::from_static(b"ok"),
        };
        Some(Response::new(Full::new(body)))
    }
}

/// In both ways: answering where requests are read, and with hyper alone.
const BOTH: [fn(Server) -> Server; 2] = [Server::answering_in_place, |server| server];

/// Where it listens, as long as the runtime lives.
fn started_as(how: fn(Server) -> Server) -> (tokio::runtime::Runtime, SocketAddr) {
    started_with(Arc::new(Answers), how)
}

fn started_with(
    service: Arc<impl Service>,
    how: fn(Server) -> Server,
) -> (tokio::runtime::Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let server = Server::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
    let address = server.addresses()[0];
    let server = how(server);
    let limits = ConnectionLimits {
        keep_alive: LIMIT,
        ..ConnectionLimits::default()
    };
    runtime.spawn(server.run(
        service,
        limits,
        std::future::pending::<()>(),
        Duration::ZERO,
    ));
    (runtime, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// A client that may have many requests under way.
async fn over_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> SendRequest<Full<Bytes>> {
    let executor = hyper_util::rt::TokioExecutor::new();
    let shaken = hyper::client::conn::http2::handshake(executor, TokioIo::new(stream));
    let (client, connection) = shaken.await.unwrap();
    tokio::spawn(connection);
    client
}

/// What comes until the connection ends, and when it does.
fn rest(stream: &mut TcpStream) -> (String, Duration) {
    let begun = Instant::now();
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (text, begun.elapsed())
}

#[test]
fn who_says_nothing_or_half_a_head_is_left_after_the_limit() {
    for how in BOTH {
        let (_runtime, address) = started_as(how);
        for (sent, answered) in [
            ("", false),
            // Frames of HTTP/2 are answered, and are no request.
            (
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0",
                false,
            ),
            ("GET / HTTP/1.1\r\nhost: a\r\nx: ", false),
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\n", true),
        ] {
            let mut stream = connect(address);
            stream.write_all(sent.as_bytes()).unwrap();
            let (text, took) = rest(&mut stream);
            assert_eq!(text.ends_with("\r\n\r\nok"), answered, "{sent:?}: {text:?}");
            assert!(took >= LIMIT / 2, "{sent:?}: {took:?}");
            assert!(took < LIMIT * 10, "{sent:?}: {took:?}");
        }
    }
}

#[test]
fn a_connection_that_is_used_stays() {
    for how in BOTH {
        let (_runtime, address) = started_as(how);
        let mut stream = connect(address);
        for _ in 0..6 {
            std::thread::sleep(LIMIT / 2);
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                .unwrap();
            let mut bytes = [0; 512];
            let count = stream.read(&mut bytes).unwrap();
            assert!(bytes[..count].ends_with(b"ok"), "{count}");
        }
    }
}

#[test]
fn an_answer_may_take_longer_than_a_head() {
    for how in BOTH {
        let (_runtime, address) = started_as(how);
        let mut stream = connect(address);
        stream
            .write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
        let (text, took) = rest(&mut stream);
        assert!(text.ends_with("late"), "{text:?}");
        assert!(took >= LIMIT * 3, "{took:?}");
    }
}

#[test]
fn who_takes_an_answer_slowly_gets_all_of_it() {
    for how in BOTH {
        let (_runtime, address) = started_as(how);
        let mut stream = connect(address);
        stream
            .write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
        let (mut read, mut bytes) = (0, vec![0; 8 << 20]);
        while read < LARGE {
            std::thread::sleep(LIMIT / 4);
            let count = stream.read(&mut bytes).unwrap();
            assert!(count > 0, "cut after {read} bytes");
            read += count;
        }
    }
}

#[test]
fn over_http2_one_that_waits_holds_up_nobody() {
    for how in BOTH {
        let (runtime, address) = started_as(how);
        let (order, count) = runtime.block_on(async move {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let client = over_http2(stream).await;
            let (done, mut all) = mpsc::unbounded_channel();
            for number in 0..50 {
                let path = if number == 7 { "/slow" } else { "/" };
                let request = Request::builder().uri(format!("http://a{path}"));
                let request = request.body(Full::<Bytes>::default()).unwrap();
                let (mut client, done) = (client.clone(), done.clone());
                tokio::spawn(async move {
                    let mut response = client.send_request(request).await.unwrap();
                    let mut size = 0;
                    while let Some(frame) = response.frame().await {
                        size += frame.unwrap().data_ref().map_or(0, Bytes::len);
                    }
                    done.send((path, size)).unwrap();
                });
            }
            drop(done);
            let mut order = Vec::new();
            while let Some(one) = all.recv().await {
                order.push(one);
            }
            let count = order.len();
            (order, count)
        });
        assert_eq!(count, 50);
        assert_eq!(order.last(), Some(&("/slow", 4)));
        assert!(order[..49].iter().all(|one| *one == ("/", 2)), "{order:?}");
    }
}
