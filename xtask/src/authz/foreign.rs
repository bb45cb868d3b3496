//! What another team's application gets is, byte by byte, what it would get if nobody was asked.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use testkit::Socket;

use super::mesh::Mesh;
use super::peers::Arrived;
use super::rows::Rows;
use super::seed;

/// Headers whose values are others each time.
const PASSING: [&str; 3] = ["x-request-id", "date", "x-envoy-upstream-service-time"];

/// Requests, with CRLF at the ends of lines and a body behind an empty one.
const REQUESTS: [&str; 10] = [
    "GET /cart?a=%20b&c=%2F&d HTTP/1.1\nHost: shop.example.com\nCookie: cart=1; authservice_session=x; b=\"2\"\nAuthorization: Basic eDp5\nX-A: 1\nx-a: 2\nX-Empty:\nAccept: text/html\nSec-Fetch-Mode: navigate\n",
    "GET /pipeline/ HTTP/1.1\nHost: shop.example.com\nAuthorization: Bearer of-the-shop\nX-API-Key: of-the-shop\nOrigin: https://page.example.com\n",
    "HEAD / HTTP/1.1\nHost: shop.example.com\n",
    "OPTIONS /cart HTTP/1.1\nHost: shop.example.com\nOrigin: https://page.example.com\nAccess-Control-Request-Method: PUT\n",
    "DELETE /cart/1 HTTP/1.1\nHost: shop.example.com\nX-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: https\n",
    "POST /v1/models/m:predict HTTP/1.1\nHost: shop.example.com\nContent-Type: application/json\nContent-Length: {length}\n\n{body}",
    "PUT /cart HTTP/1.1\nHost: shop.example.com\nTransfer-Encoding: chunked\nContent-Type: application/octet-stream\n\n{chunks}",
    "PATCH /cart HTTP/1.1\nHost: shop.example.com\nX-Bytes: \\xc3\\xbc\\xff\nContent-Length: 0\n",
    "PROPFIND /dex/auth HTTP/1.1\nHost: shop.example.com\nDepth: 0\n",
    "POST /login HTTP/1.1\nHost: shop.example.com\nOrigin: https://shop.example.com\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 7\n\na=1&b=2",
];

/// What arrived, and what came back.
type Told = (Option<Arrived>, String);

/// What is told without an authorizer; asked for once.
static ALONE: Mutex<Option<Vec<Told>>> = Mutex::new(None);

/// Runs the cluster without an authorizer, unless it has run already. Not while another one runs: they are at the same addresses.
pub(super) fn alone() -> Result<()> {
    let mut known = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if known.is_none() {
        let rows = Rows::of(Mesh::start(seed::alone()?)?);
        let told = REQUESTS.iter().map(|text| told(&rows, text));
        *known = Some(
            told.collect::<Result<_>>()
                .context("without an authorizer")?,
        );
    }
    Ok(())
}

impl Rows {
    /// Each request to the shop, beside what it was without an authorizer.
    pub(super) fn foreign(&mut self) -> Result<()> {
        let known = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known
            .as_ref()
            .context("it has not run without an authorizer")?;
        for (text, alone) in REQUESTS.iter().zip(known) {
            let now = told(self, text)?;
            let first = text.lines().next().unwrap_or_default();
            let arrived = alone.0.is_some();
            self.count(
                (!arrived).then(|| format!("{first}: it does not arrive without an authorizer")),
            );
            self.count(
                (now != *alone)
                    .then(|| format!("{first}: {now:?}, and without an authorizer {alone:?}")),
            );
        }
        Ok(())
    }
}

fn told(rows: &Rows, text: &str) -> Result<Told> {
    rows.mesh.peers.arrived();
    let mut socket = Socket::connect(&rows.mesh.external.to_string())?;
    socket.send(bytes(text)?)?;
    let answer = match text.starts_with("HEAD ") {
        true => socket.response_to_head()?,
        false => socket.response()?,
    };
    let answer = answer.context("no answer")?;
    let kept = |name: &str| !PASSING.contains(&&*name.to_ascii_lowercase());
    let headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| kept(name))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let back = format!("{:?} {headers:?}", answer.status());
    let mut arrived = rows.mesh.peers.arrived().pop();
    if let Some(request) = &mut arrived {
        request.headers.retain(|(name, _)| kept(name));
    }
    Ok((arrived, back))
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    const BODY: usize = 100_000;
    let body: Vec<u8> = (0..=255_u8).cycle().take(BODY).collect();
    let (head, rest) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let head = head.replace("{length}", &BODY.to_string());
    let mut sent = super::wire::unescaped(&(head.replace('\n', "\r\n") + "\r\n\r\n"))?;
    match rest {
        "{body}" => sent.extend(body),
        "{chunks}" => {
            for chunk in body.chunks(33_333) {
                sent.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                sent.extend(chunk);
                sent.extend(b"\r\n");
            }
            sent.extend(b"0\r\n\r\n");
        }
        plain => sent.extend(plain.as_bytes()),
    }
    Ok(sent)
}
