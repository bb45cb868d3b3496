//! Checks over gRPC as Envoy sends them: each connection has so many streams under way, and what of the head was sent before is
//! a number in the next (RFC 7541 §6.1).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use wire::Encoder;

use crate::asking::{Asking, Order, Template};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Bytes that the server may send before it is told that they were read.
const WINDOW: u32 = 1 << 30;

/// Times of streams that are under way: more than there ever are.
const SLOTS: usize = 1024;

/// What a `CheckResponse` that allows begins with: a status without a code.
const ALLOWS: &[u8] = &[0x0a, 0x00];

/// How long each answer took, and all of them.
pub(crate) fn run(asking: &Asking) -> Result<(Vec<Duration>, Duration)> {
    ensure!(asking.streams * 4 <= SLOTS, "too many streams");
    let template = asking.template(|secret| message(asking, secret))?;
    let begin = Instant::now();
    let times = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..asking.connections)
            .map(|number| {
                let template = &template;
                scope.spawn(move || {
                    Connection::open(asking)?.run(asking, template, asking.order(number, begin))
                })
            })
            .collect();
        let mut times = Vec::new();
        for worker in workers {
            let worker = worker.join();
            times.extend(worker.map_err(|_| anyhow::anyhow!("a connection panicked"))??);
        }
        anyhow::Ok(times)
    })?;
    Ok((times, begin.elapsed()))
}

/// A `CheckRequest` behind its prefix, with what Envoy 1.40 says of a request from outside.
fn message(asking: &Asking, secret: &str) -> Vec<u8> {
    let address = |ip: &str, port| {
        let socket = Encoder::default().bytes(2, ip.as_bytes()).number(3, port);
        let address = Encoder::default().always(1, &socket.finish());
        Encoder::default().always(1, &address.finish()).finish()
    };
    let mut http = Encoder::default()
        .bytes(1, b"7219873429834792834")
        .bytes(2, asking.method.as_bytes());
    let pseudo = [
        (":authority", &asking.host),
        (":method", &asking.method),
        (":path", &asking.path),
    ];
    let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.clone()));
    for (name, value) in pseudo.into_iter().chain(asking.headers_with(secret)) {
        let entry = Encoder::default()
            .bytes(1, name.as_bytes())
            .bytes(2, value.as_bytes());
        http = http.always(3, &entry.finish());
    }
    let http = http
        .bytes(4, asking.path.as_bytes())
        .bytes(5, asking.host.as_bytes())
        .bytes(6, b"http")
        .bytes(10, b"HTTP/1.1");
    let time = Encoder::default()
        .number(1, 1_790_000_000)
        .number(2, 123_456_000);
    let request = Encoder::default()
        .always(1, &time.finish())
        .always(2, &http.finish());
    let attributes = Encoder::default()
        .always(1, &address("10.244.0.7", 41_234))
        .always(2, &address("10.244.0.9", asking.port))
        .always(4, &request.finish());
    let check = Encoder::default().always(1, &attributes.finish()).finish();
    wire::framing::frame(&check).to_vec()
}

/// The head of a call; the first time in full, then by numbers.
fn head(first: bool) -> Vec<u8> {
    let mut head = vec![0x83, 0x86];
    if !first {
        // The last that was added is 62.
        head.extend((62..70).rev().map(|index: u8| 0x80 | index));
        return head;
    }
    let mut literal = |known: u8, name: &str, value: &str| {
        head.push(0x40 | known);
        for text in [name, value].into_iter().skip(usize::from(known > 0)) {
            head.push(u8::try_from(text.len()).unwrap_or(0));
            head.extend(text.bytes());
        }
    };
    literal(4, "", "/envoy.service.auth.v3.Authorization/Check");
    literal(1, "", "sidegate-authz.sidegate.svc.cluster.local");
    literal(0, "te", "trailers");
    literal(31, "", "application/grpc");
    literal(0, "grpc-timeout", "2000m");
    literal(0, "x-envoy-internal", "true");
    literal(0, "x-forwarded-for", "10.244.0.9");
    literal(0, "x-envoy-expected-rq-timeout-ms", "2000");
    head
}

struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    /// The next stream.
    id: u32,
    asked: Vec<Instant>,
    allowed: Vec<bool>,
    unread: u32,
}

impl Connection {
    fn open(asking: &Asking) -> Result<Self> {
        let stream = TcpStream::connect(&asking.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut connection = Self {
            stream,
            out: PREFACE.to_vec(),
            id: 1,
            asked: vec![Instant::now(); SLOTS],
            allowed: vec![false; SLOTS],
            unread: 0,
        };
        connection.frame(SETTINGS, 0, 0, &[]);
        connection.frame(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        Ok(connection)
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.begin(kind, flags, stream, payload.len());
        self.out.extend_from_slice(payload);
    }

    fn begin(&mut self, kind: u8, flags: u8, stream: u32, length: usize) {
        let length = u32::try_from(length).unwrap_or(0).to_be_bytes();
        self.out.extend(length.into_iter().skip(1));
        self.out.extend([kind, flags]);
        self.out.extend(stream.to_be_bytes());
    }

    fn ask(&mut self, template: &Template, secret: &[u8]) {
        let id = self.id;
        self.id += 2;
        let head = head(id == 1);
        self.frame(HEADERS, END_HEADERS, id, &head);
        self.begin(DATA, END_STREAM, id, template.len());
        template.write(secret, &mut self.out);
        let slot = slot(id);
        if let Some(asked) = self.asked.get_mut(slot) {
            *asked = Instant::now();
        }
        if let Some(allowed) = self.allowed.get_mut(slot) {
            *allowed = false;
        }
    }

    fn run(
        mut self,
        asking: &Asking,
        template: &Template,
        mut order: Order<'_>,
    ) -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        let mut under_way = 0;
        while under_way < asking.streams
            && let Some(secret) = order.next()
        {
            self.ask(template, secret);
            under_way += 1;
        }
        let mut read = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        while under_way > 0 {
            if !self.out.is_empty() {
                self.stream.write_all(&self.out)?;
                self.out.clear();
            }
            let count = self.stream.read(&mut buffer)?;
            ensure!(count > 0, "the connection was closed");
            read.extend(buffer.iter().take(count));
            let mut rest = read.as_slice();
            while let Some((frame, after)) = Frame::read(rest) {
                rest = after;
                if self.take(asking, &frame, &mut times)? {
                    match order.next() {
                        Some(secret) => self.ask(template, secret),
                        None => under_way -= 1,
                    }
                }
            }
            let used = read.len() - rest.len();
            read.drain(..used);
        }
        Ok(times)
    }

    /// Whether a check was answered.
    fn take(
        &mut self,
        asking: &Asking,
        frame: &Frame<'_>,
        times: &mut Vec<Duration>,
    ) -> Result<bool> {
        match frame.kind {
            DATA => {
                let message = frame.payload.get(5..).unwrap_or_default();
                ensure!(
                    message.starts_with(ALLOWS) && asking.is_right(message),
                    "a check is answered with {}",
                    String::from_utf8_lossy(message)
                );
                if let Some(allowed) = self.allowed.get_mut(slot(frame.stream)) {
                    *allowed = true;
                }
                self.unread += u32::try_from(frame.payload.len())?;
                if self.unread > WINDOW / 2 {
                    let read = std::mem::take(&mut self.unread);
                    self.frame(WINDOW_UPDATE, 0, 0, &read.to_be_bytes());
                }
            }
            HEADERS if frame.flags & END_STREAM != 0 => {
                let slot = slot(frame.stream);
                let allowed = self.allowed.get(slot).copied().unwrap_or(false);
                ensure!(allowed, "a check ended without an answer");
                let asked = self.asked.get(slot).context("a stream of ours")?;
                times.push(asked.elapsed());
                return Ok(true);
            }
            SETTINGS if frame.flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 => self.frame(PING, ACK, 0, frame.payload),
            RESET | GO_AWAY => bail!("the server ends stream {}", frame.stream),
            _ => {}
        }
        Ok(false)
    }
}

fn slot(stream: u32) -> usize {
    usize::try_from(stream / 2).unwrap_or(0) % SLOTS
}

struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame and what is behind it, if it is whole.
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, rest) = bytes.split_first_chunk::<9>()?;
        let [a, b, c, kind, flags, id @ ..] = *head;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        let (payload, after) = rest.split_at_checked(length)?;
        let stream = u32::from_be_bytes(id) & 0x7fff_ffff;
        Some((
            Self {
                kind,
                flags,
                stream,
                payload,
            },
            after,
        ))
    }
}
