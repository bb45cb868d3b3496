//! An authorizer that is asked over gRPC
//! (`envoy.service.auth.v3.Authorization/Check`): just enough of HTTP/2 and
//! protocol buffers to read a question and to write an answer.

use std::convert::Infallible;
use std::net::TcpStream;

use bytes::Bytes;
use futures_util::stream::{Iter, iter};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::world::{Arrived, Reply, is_transport_header};

/// Serves one connection; `ask` keeps what arrived and says what to answer.
pub(crate) fn serve(
    stream: TcpStream,
    ask: impl Fn(Arrived) -> Reply + Clone + Send + 'static,
) -> Option<()> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().ok()?;
    stream.set_nonblocking(true).ok()?;
    runtime.block_on(async {
        let io = TokioIo::new(tokio::net::TcpStream::from_std(stream).ok()?);
        let service = hyper::service::service_fn(move |request| answer(request, ask.clone()));
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server.serve_connection(io, service).await.ok()
    })
}

type Frames = Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>;

async fn answer(
    request: Request<Incoming>,
    ask: impl Fn(Arrived) -> Reply,
) -> Result<Response<StreamBody<Frames>>, Infallible> {
    let body = request.into_body().collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let reply = body.get(5..).and_then(question).map(ask);
    let mut frames = Vec::new();
    let status = match reply.filter(|reply| reply.status < 500) {
        Some(reply) => {
            frames.push(Ok(Frame::data(framed(&written(&reply)))));
            "0"
        }
        None => "14",
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    frames.push(Ok(Frame::trailers(trailers)));
    let mut response = Response::new(StreamBody::new(iter(frames)));
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    Ok(response)
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(0);
    let mut all = vec![0];
    all.extend(length.to_be_bytes());
    all.extend(message);
    all.into()
}

/// `CheckRequest.attributes.request.http`; about connections that are not read
/// there is nothing in it.
fn question(message: &[u8]) -> Option<Arrived> {
    let part = |message, field| {
        fields(message).find_map(|(number, data)| (number == field).then_some(data))
    };
    let request = part(part(message, 1)?, 4);
    let http = request
        .and_then(|request| part(request, 2))
        .unwrap_or_default();
    let text = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
    let mut arrived = Arrived {
        at: String::new(),
        method: String::new(),
        target: String::new(),
        host: String::new(),
        headers: Vec::new(),
    };
    for (number, data) in fields(http) {
        match number {
            2 => arrived.method = text(data),
            4 => arrived.target = text(data),
            5 => arrived.host = text(data),
            3 => {
                let of = |wanted| fields(data).find_map(|(n, d)| (n == wanted).then(|| text(d)));
                let (name, value) = (of(1).unwrap_or_default(), of(2).unwrap_or_default());
                if !name.starts_with(':') && !is_transport_header(&name) {
                    arrived.headers.push((name, value));
                }
            }
            _ => {}
        }
    }
    arrived.headers.sort();
    Some(arrived)
}

/// The fields of a message that have a length; numbers are passed over.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let key = varint(&mut message)?;
            match key & 7 {
                0 => {
                    varint(&mut message)?;
                }
                1 => message = message.get(8..)?,
                5 => message = message.get(4..)?,
                _ => {
                    let length = usize::try_from(varint(&mut message)?).ok()?;
                    let (data, rest) = message.split_at_checked(length)?;
                    message = rest;
                    return Some((key >> 3, data));
                }
            }
        }
    })
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A `CheckResponse`.
fn written(reply: &Reply) -> Vec<u8> {
    const REMOVE: &str = "x-envoy-auth-headers-to-remove";
    let allows = reply.status == 200;
    let mut inner = Vec::new();
    if !allows {
        put(&mut inner, 1, &number(1, u64::from(reply.status)));
    }
    for (name, value) in &reply.headers {
        if name == REMOVE && allows {
            for name in value.split(',') {
                put(&mut inner, 5, name.trim().as_bytes());
            }
            continue;
        }
        let mut header = Vec::new();
        put(&mut header, 1, name.as_bytes());
        put(&mut header, 2, value.as_bytes());
        let mut option = Vec::new();
        put(&mut option, 1, &header);
        // `append: false`.
        put(&mut option, 2, &[]);
        put(&mut inner, 2, &option);
    }
    let mut all = Vec::new();
    // PERMISSION_DENIED.
    let code = if allows { Vec::new() } else { number(1, 7) };
    put(&mut all, 1, &code);
    put(&mut all, if allows { 3 } else { 2 }, &inner);
    all
}

fn put(message: &mut Vec<u8>, field: u64, data: &[u8]) {
    message.extend(encoded(field << 3 | 2));
    message.extend(encoded(u64::try_from(data.len()).unwrap_or(0)));
    message.extend(data);
}

fn number(field: u64, value: u64) -> Vec<u8> {
    let mut message = encoded(field << 3);
    message.extend(encoded(value));
    message
}

fn encoded(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read() {
        let mut header = Vec::new();
        put(&mut header, 1, b"x-a");
        put(&mut header, 2, b"1");
        let mut http = Vec::new();
        put(&mut http, 2, b"GET");
        put(&mut http, 3, &header);
        put(&mut http, 4, b"/a?b");
        put(&mut http, 5, b"a.example.com");
        http.extend(number(9, 300));
        let mut request = Vec::new();
        put(&mut request, 2, &http);
        let mut attributes = Vec::new();
        put(&mut attributes, 4, &request);
        let mut message = Vec::new();
        put(&mut message, 1, &attributes);
        let arrived = question(&message).unwrap();
        assert_eq!(arrived.method, "GET");
        assert_eq!(arrived.target, "/a?b");
        assert_eq!(arrived.host, "a.example.com");
        assert_eq!(arrived.headers, [("x-a".to_owned(), "1".to_owned())]);
    }
}
