//! Requests over HTTP/1.1 that have no body, answered where they are read.
//!
//! Only what has a single reading is taken, by rules that are narrower than the standard's. At anything else, HTTP/2 as well, the
//! connection is handed over to hyper with all that was read and not answered.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::waits::{Told, Waits};
use crate::{Service, left};

/// Room for what is read; a head that is longer is hyper's.
const ROOM: usize = 16 << 10;
const MAX_HEADERS: usize = 100;

/// Bodies up to there go out together with their head.
const TOGETHER: usize = 4 << 10;

/// Answers requests until one is not for here: what was read of it and of those behind it. `None` where the connection
/// has ended.
pub(crate) async fn answered<S: Service>(
    service: &Arc<S>,
    stream: &mut Told<impl AsyncRead + AsyncWrite + Unpin>,
    peer: SocketAddr,
    waits: &Waits,
    leaving: &watch::Receiver<bool>,
) -> io::Result<Option<Bytes>> {
    let mut heard = leaving.clone();
    // One for all requests: each would make itself known and forgotten again.
    let mut left = std::pin::pin!(left(&mut heard));
    let mut read = BytesMut::with_capacity(ROOM);
    let mut out = Vec::new();
    loop {
        // Of what was read, how much has been looked at.
        let mut seen = 0;
        let end = loop {
            match end_of_head(&read, seen) {
                End::At(end) => break end,
                End::NotYet if read.len() < ROOM => {}
                End::NotYet | End::Strange => return Ok(Some(read.freeze())),
            }
            seen = read.len();
            read.reserve(ROOM - seen);
            let count = tokio::select! {
                biased;
                count = stream.read_buf(&mut read) => count?,
                // What has begun is answered yet.
                () = &mut left, if seen == 0 => return Ok(None),
            };
            if count == 0 {
                return Ok(None);
            }
        };
        let head = read.split_to(end).freeze();
        let answer = match plain(&head) {
            Some(parts) => {
                waits.end();
                let is_head = parts.method == Method::HEAD;
                let answer = Arc::clone(service).answer_head(parts, peer).await;
                answer.map(|answer| (answer, is_head))
            }
            None => None,
        };
        let Some((answer, is_head)) = answer else {
            let mut all = BytesMut::from(head);
            all.unsplit(read);
            return Ok(Some(all.freeze()));
        };
        drop(head);
        waits.again();
        let last = *leaving.borrow();
        write(stream, &mut out, answer, is_head, last).await?;
        if last {
            stream.shutdown().await?;
            return Ok(None);
        }
    }
}

enum End {
    At(usize),
    NotYet,
    /// It has lines that end otherwise, or an empty one before it.
    Strange,
}

/// Where the first head ends, of which no line ends before `seen`.
fn end_of_head(read: &[u8], seen: usize) -> End {
    let new = read.get(seen..).unwrap_or_default();
    for at in memchr::memchr_iter(b'\n', new) {
        let line = read.get(..=seen + at).unwrap_or_default();
        if line.ends_with(b"\r\n\r\n") {
            return End::At(line.len());
        }
        if !line.ends_with(b"\r\n") || line.len() == 2 {
            return End::Strange;
        }
    }
    End::NotYet
}

/// A request that has a path, no body, and nothing to say about the connection.
fn plain(head: &Bytes) -> Option<Parts> {
    let mut room = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut room);
    let length = request.parse(head).ok()?;
    if length != httparse::Status::Complete(head.len()) || request.version != Some(1) {
        return None;
    }
    let path = request.path.filter(|path| path.starts_with('/'))?;
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for sent in &*request.headers {
        let name = HeaderName::from_bytes(sent.name.as_bytes()).ok()?;
        let allowed = match name {
            header::CONTENT_LENGTH => sent.value == b"0" && !headers.contains_key(&name),
            header::CONNECTION => sent.value.eq_ignore_ascii_case(b"keep-alive"),
            header::TRANSFER_ENCODING | header::EXPECT | header::UPGRADE | header::TRAILER => false,
            _ => true,
        };
        if !allowed {
            return None;
        }
        let value = HeaderValue::from_maybe_shared(head.slice_ref(sent.value)).ok()?;
        headers.append(name, value);
    }
    let mut parts = Request::new(()).into_parts().0;
    parts.method = Method::from_bytes(request.method?.as_bytes()).ok()?;
    parts.uri = Uri::from_maybe_shared(head.slice_ref(path.as_bytes())).ok()?;
    parts.headers = headers;
    Some(parts)
}

async fn write<B>(
    stream: &mut (impl AsyncWrite + Unpin),
    out: &mut Vec<u8>,
    answer: Response<B>,
    is_head: bool,
    last: bool,
) -> io::Result<()>
where
    B: Body<Data = Bytes, Error = std::convert::Infallible> + Unpin,
{
    let (parts, body) = answer.into_parts();
    let body = whole(body).await;
    let length: usize = body.iter().map(Bytes::len).sum();
    out.clear();
    write_head(out, &parts, length, last);
    let none = is_head || has_no_body(parts.status);
    let body = if none { &[][..] } else { &body };
    if length <= TOGETHER {
        body.iter().for_each(|piece| out.extend_from_slice(piece));
        return stream.write_all(out).await;
    }
    stream.write_all(out).await?;
    for piece in body {
        stream.write_all(piece).await?;
    }
    Ok(())
}

/// RFC 9110 §6.4.1.
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status.as_u16(), 204 | 304)
}

fn write_head(out: &mut Vec<u8>, parts: &http::response::Parts, length: usize, last: bool) {
    let reason = parts.status.canonical_reason().unwrap_or("Other");
    put(
        out,
        &[
            b"HTTP/1.1 ",
            parts.status.as_str().as_bytes(),
            b" ",
            reason.as_bytes(),
        ],
    );
    for (name, value) in &parts.headers {
        if matches!(
            *name,
            header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION | header::DATE
        ) {
            continue;
        }
        put(
            out,
            &[b"\r\n", name.as_str().as_bytes(), b": ", value.as_bytes()],
        );
    }
    if !has_no_body(parts.status) {
        let mut number = itoa::Buffer::new();
        let length = number.format(length).as_bytes();
        put(out, &[b"\r\ncontent-length: ", length]);
    }
    if last {
        put(out, &[b"\r\nconnection: close"]);
    }
    put(out, &[b"\r\ndate: "]);
    write_date(out);
    put(out, &[b"\r\n\r\n"]);
}

fn put(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// The time, which is written anew once in a second.
fn write_date(out: &mut Vec<u8>) {
    thread_local! {
        static WRITTEN: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now();
    let second = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    WRITTEN.with_borrow_mut(|(written, text)| {
        if *written != second {
            *written = second;
            *text = httpdate::fmt_http_date(now);
        }
        out.extend_from_slice(text.as_bytes());
    });
}

async fn whole<B>(mut body: B) -> Vec<Bytes>
where
    B: Body<Data = Bytes, Error = std::convert::Infallible> + Unpin,
{
    let mut all = Vec::new();
    while !body.is_end_stream() {
        let next = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let Some(Ok(frame)) = next else { break };
        all.extend(frame.into_data());
    }
    all
}
