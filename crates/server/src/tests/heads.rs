//! Requests that are answered where they are read, beside hyper alone.

use http_body_util::BodyExt as _;
use proptest::prelude::*;

use super::*;

/// Says what it was asked.
struct Echo;

fn told(parts: &Parts, body: usize) -> Response<Full<Bytes>> {
    let (method, uri, headers) = (&parts.method, &parts.uri, &parts.headers);
    let text = format!("{method} {uri} {:?} {headers:?} {body}", parts.version);
    let mut response = Response::new(Full::new(text.into()));
    response
        .headers_mut()
        .insert("x-echo", "yes".parse().unwrap());
    response
}

impl Service for Echo {
    type Body = Full<Bytes>;

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        _: SocketAddr,
    ) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_or(0, |all| all.to_bytes().len());
        told(&parts, body)
    }

    async fn answer_head(
        self: Arc<Self>,
        parts: Parts,
        _: SocketAddr,
    ) -> Option<Response<Full<Bytes>>> {
        Some(told(&parts, 0))
    }
}

/// What comes for these bytes, in two pieces, until the connection ends; without the time.
fn answers(address: SocketAddr, sent: &[u8], cut: usize) -> String {
    let mut stream = connect(address);
    stream.set_nodelay(true).unwrap();
    let (first, second) = sent.split_at(cut.min(sent.len()));
    // It may have said no and gone before all is written.
    let _ = stream
        .write_all(first)
        .and_then(|()| stream.write_all(second));
    let (text, _) = rest(&mut stream);
    let lines = text
        .split("\r\n")
        .filter(|line| !line.starts_with("date: "));
    lines.collect::<Vec<_>>().join("\r\n")
}

const LINES: [&str; 24] = [
    "host: a",
    "Host: b.example:80",
    "content-length: 0",
    "content-length: 00",
    "content-length: 3\r\n\r\nabc",
    "content-length: +0",
    "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0",
    "transfer-encoding: identity",
    "connection: keep-alive",
    "Connection: close",
    "connection: upgrade\r\nupgrade: websocket",
    "expect: 100-continue",
    "X-Upper: Case",
    "x_under: score",
    "x: \t padded \t ",
    "x:",
    "x: a\r\n folded: b",
    "x : space before",
    ": no name",
    "no colon",
    "x: \u{e9}",
    "x: \u{1}",
    "x: bare\nlf: yes",
    "te: trailers\r\ntrailer: x",
];

const STARTS: [&str; 17] = [
    "GET / HTTP/1.1",
    "POST /external/v1/models/m:predict?x=1 HTTP/1.1",
    "HEAD /h HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "CONNECT a:80 HTTP/1.1",
    "GET http://a/absolute HTTP/1.1",
    "GET //double HTTP/1.1",
    "GET /a#fragment HTTP/1.1",
    "GET /a b HTTP/1.1",
    "GET /%zz\u{e9} HTTP/1.1",
    "get /lower HTTP/1.1",
    "GET / HTTP/1.0",
    "GET /",
    "G\u{e9}T / HTTP/1.1",
    "\r\nGET /after HTTP/1.1",
    "GET  / HTTP/1.1",
    "PRI * HTTP/2.0",
];

fn one() -> impl Strategy<Value = String> {
    // Most are whole, so that what stands behind one that is odd is looked at as well.
    let starts = prop_oneof![3 => 0..3usize, 1 => 0..STARTS.len()];
    let lines = prop_oneof![3 => 0..3usize, 1 => 0..LINES.len()];
    (starts, proptest::collection::vec(lines, 0..5)).prop_map(|(start, lines)| {
        let lines: String = lines
            .iter()
            .map(|at| format!("{}\r\n", LINES[*at]))
            .collect();
        format!("{}\r\n{lines}\r\n", STARTS[start])
    })
}

proptest! {
    #[test]
    fn it_reads_what_hyper_reads(requests in proptest::collection::vec(one(), 1..4), cut in 0..200usize) {
        thread_local! {
            static STARTED: [(tokio::runtime::Runtime, SocketAddr); 2] =
                BOTH.map(|how| started_with(Arc::new(Echo), how));
        }
        let mut sent = requests.concat().into_bytes();
        sent.extend(b"GET /last HTTP/1.1\r\nhost: z\r\nconnection: close\r\n\r\n");
        let [ours, hypers] = STARTED.with(|both| [&both[0], &both[1]].map(|one| answers(one.1, &sent, cut)));
        prop_assert_eq!(ours, hypers, "{}", String::from_utf8_lossy(&sent));
    }
}

#[test]
fn heads_of_any_size_are_read() {
    let both = BOTH.map(|how| started_with(Arc::new(Echo), how));
    for (count, size) in [
        (1, 15_000),
        (1, 17_000),
        (1, 60_000),
        (99, 10),
        (100, 10),
        (101, 10),
        (20, 5_000),
    ] {
        let line = format!("{}\r\n", "v".repeat(size));
        let lines: String = (0..count).map(|at| format!("x-{at}: {line}")).collect();
        let head = format!("GET / HTTP/1.1\r\n{lines}\r\n");
        let sent = format!("{head}{head}GET /last HTTP/1.1\r\nconnection: close\r\n\r\n");
        let [ours, hypers] = [&both[0], &both[1]].map(|one| answers(one.1, sent.as_bytes(), 9));
        assert!(
            ours == hypers,
            "{count} × {size}: {} and {}",
            ours.len(),
            hypers.len()
        );
    }
}

#[test]
fn what_is_under_way_is_answered_before_it_leaves() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let server = Server::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
    let address = server.addresses()[0];
    let (leave, leaving) = tokio::sync::oneshot::channel::<()>();
    let until = async { drop(leaving.await) };
    let running = server.answering_in_place().run(
        Arc::new(Answers),
        ConnectionLimits::default(),
        until,
        LIMIT * 20,
    );
    let running = runtime.spawn(running);
    let [mut idle, mut used, mut busy] = [(); 3].map(|()| connect(address));
    used.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let mut bytes = [0; 512];
    assert!(used.read(&mut bytes).unwrap() > 0);
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    std::thread::sleep(LIMIT / 2);
    leave.send(()).unwrap();
    for stream in [&mut idle, &mut used] {
        let (text, took) = rest(stream);
        assert!(text.is_empty() && took < LIMIT * 2, "{text}, {took:?}");
    }
    let (text, _) = rest(&mut busy);
    assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
    assert!(text.ends_with("late"), "{text}");
    assert!(runtime.block_on(running).unwrap());
}
