//! gRPC and HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use gateway::Limits;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use crate::client::PATIENCE;
use crate::world::{CLUSTER, World};

type Frames =
    StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

fn frames(body: &'static str, trailer: Option<(&'static str, String)>) -> Frames {
    let mut all = vec![Ok(Frame::data(Bytes::from_static(body.as_bytes())))];
    if let Some((name, value)) = trailer {
        let mut trailers = HeaderMap::new();
        trailers.insert(name, HeaderValue::try_from(value).expect("a value"));
        trailers.insert("kubeflow-userid", HeaderValue::from_static("forged"));
        all.push(Ok(Frame::trailers(trailers)));
    }
    StreamBody::new(futures_util::stream::iter(all))
}

/// Answers with what it got as `grpc-message` trailer.
async fn grpc_upstream() -> SocketAddr {
    async fn answer(request: Request<Incoming>) -> Result<Response<Frames>, Infallible> {
        let (parts, body) = request.into_parts();
        let collected = body.collect().await.expect("a body");
        let trailers = collected.trailers().map_or(0, HeaderMap::len);
        let said = format!(
            "{} te={:?} trailers={trailers} body={}",
            parts.uri,
            parts.headers.get("te"),
            collected.to_bytes().len()
        );
        let mut response = Response::new(frames("reply", Some(("grpc-message", said))));
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("application/grpc"));
        Ok(response)
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(serving);
        }
    });
    address
}

async fn connect<B>(address: SocketAddr) -> SendRequest<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.expect("connect");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("handshake");
    tokio::spawn(connection);
    sender
}

fn call(host: &str, path: &str) -> Request<Frames> {
    let mut request = Request::new(frames("call", Some(("x-after", "1".to_owned()))));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = format!("http://{host}{path}").parse().expect("a URI");
    let headers = request.headers_mut();
    headers.insert(
        "content-type",
        HeaderValue::from_static("application/grpc+proto"),
    );
    headers.insert("te", HeaderValue::from_static("trailers"));
    request
}

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

#[tokio::test]
async fn calls_and_trailers_pass_both_ways() {
    let upstream = grpc_upstream().await;
    let world = World::with(CLUSTER.to_owned(), Limits::default(), Some(upstream)).await;
    let mut sender = connect(world.local).await;
    for _ in 0..2 {
        let response = sender
            .send_request(call("shop.example", INFER))
            .await
            .expect("a response");
        assert_eq!(response.status(), 200);
        let collected = response.into_body().collect().await.expect("a body");
        let trailers = collected.trailers().expect("trailers");
        assert_eq!(
            trailers.get("grpc-message").expect("a message"),
            &format!("http://shop.example{INFER} te=Some(\"trailers\") trailers=1 body=4")
        );
        assert_eq!(trailers.len(), 1);
        assert_eq!(collected.to_bytes(), "reply");
    }
}

#[tokio::test]
async fn refusals_are_trailers_only() {
    let world = World::start().await;
    let mut sender = connect(world.external).await;
    for (host, path, status, message) in [
        (
            "kubeflow.example",
            "/a.B/C",
            "16",
            Some("authentication required"),
        ),
        (
            "shop.example",
            "/admin.Service/Delete",
            "7",
            Some("RBAC: access denied"),
        ),
        (
            "nowhere.example",
            "/a.B/C",
            "16",
            Some("authentication required"),
        ),
        (
            "shop.example",
            INFER,
            "14",
            Some("nothing serves this: no gRPC upstream"),
        ),
        (
            "shop.example",
            "/a%00",
            "13",
            Some("bad request: path or query has no single reading"),
        ),
    ] {
        let response = sender
            .send_request(call(host, path))
            .await
            .expect("a response");
        assert_eq!(response.status(), 200, "{host}{path}");
        let headers = response.headers();
        assert_eq!(headers["content-type"], "application/grpc", "{host}{path}");
        assert_eq!(headers["grpc-status"], status, "{host}{path}");
        assert_eq!(
            headers
                .get("grpc-message")
                .map(|v| v.to_str().expect("text")),
            message,
            "{host}{path}"
        );
        assert!(
            response
                .into_body()
                .collect()
                .await
                .expect("a body")
                .to_bytes()
                .is_empty()
        );
    }
    let mut sender = connect(world.local).await;
    let nowhere = sender
        .send_request(call("nowhere.example", "/a.B/C"))
        .await
        .expect("a response");
    assert_eq!(nowhere.headers()["grpc-status"], "12");
    assert!(world.upstream.seen().is_empty());
}

fn get(uri: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = uri.parse().expect("a URI");
    request
}

#[tokio::test]
async fn http2_has_one_authority_and_one_cookie() {
    let world = World::start().await;
    let mut sender = connect(world.external).await;
    for (host, status) in [
        ("shop.example", 200),
        ("SHOP.example", 200),
        ("kubeflow.example", 400),
        ("a,b", 400),
    ] {
        let mut request = get("http://shop.example/a");
        request
            .headers_mut()
            .insert("host", HeaderValue::from_static(host));
        let response = sender.send_request(request).await.expect("a response");
        assert_eq!(response.status(), status, "{host}");
    }
    let mut request = get("http://shop.example/b");
    request
        .headers_mut()
        .append("cookie", HeaderValue::from_static("a=1"));
    request
        .headers_mut()
        .append("cookie", HeaderValue::from_static("b=2"));
    assert_eq!(
        sender
            .send_request(request)
            .await
            .expect("a response")
            .status(),
        200
    );
    assert_eq!(world.upstream.last().header("cookie"), ["a=1; b=2"]);
    assert_eq!(world.upstream.last().header("host"), ["shop.example"]);
    let mut many = get("http://shop.example/c");
    for i in 0..120 {
        let name = http::HeaderName::try_from(format!("x-{i}")).expect("a name");
        many.headers_mut()
            .insert(name, HeaderValue::from_static("1"));
    }
    assert_eq!(
        sender
            .send_request(many)
            .await
            .expect("a response")
            .status(),
        431
    );
}

#[tokio::test]
async fn draining_lets_streams_complete() {
    let world = World::start().await;
    let mut sender = connect(world.external).await;
    let flying = tokio::spawn(sender.send_request(get("http://shop.example/slow")));
    world.upstream.wait_for(1).await;
    let drain = tokio::spawn(world.running.drain(PATIENCE));
    // After GOAWAY the client knows.
    while !sender.is_closed() && sender.is_ready() {
        let refused = sender.send_request(get("http://shop.example/more"));
        if tokio::time::timeout(PATIENCE, refused)
            .await
            .expect("in time")
            .is_err()
        {
            break;
        }
    }
    world.upstream.gate.add_permits(1);
    let response = flying.await.expect("joined").expect("a response");
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    assert_eq!(body, "slow");
    assert_eq!(drain.await.expect("drained").cut, 0);
}

#[tokio::test]
async fn a_client_that_aborts_most_of_its_streams_is_cut() {
    // CVE-2023-44487, drop by drop.
    let world = World::limited(Limits {
        http2_aborted: 10,
        ..Limits::default()
    })
    .await;
    let mut sender = connect(world.external).await;
    let mut sent = 0;
    while sender.ready().await.is_ok() && sent < 1000 {
        sent += 1;
        let flying = tokio::spawn(sender.send_request(get("http://shop.example/slow")));
        let arrived = async { world.upstream.wait_for(sent).await };
        tokio::select! {
            () = arrived => {}
            () = async { while !sender.is_closed() { tokio::task::yield_now().await } } => break,
        }
        flying.abort();
    }
    assert!(sent < 50, "{sent}");
}
