//! What is asked, and how.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// How a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Envoy's checks, many streams on a connection.
    Grpc,
    /// HTTP/1.1, one request at a time on a connection.
    Http,
}

/// One request that is asked again and again, each time with another secret.
pub(crate) struct Asking {
    pub(crate) protocol: Protocol,
    pub(crate) address: String,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    /// The port where Envoy took the request, for checks over gRPC.
    pub(crate) port: u64,
    pub(crate) headers: Vec<(String, String)>,
    /// What of each answer has to be there.
    pub(crate) expected: Vec<u8>,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    /// Requests in a second, or as many as there can be.
    pub(crate) rate: Option<f64>,
    secrets: Secrets,
    end: End,
}

/// Values of the same length, which take the place of [`PLACE`] in a header.
struct Secrets {
    all: Vec<u8>,
    each: usize,
}

/// Stands for the secret in headers.
const PLACE: &str = "SECRET";

enum End {
    After(Duration),
    /// Each secret once.
    Once(AtomicUsize),
}

impl Asking {
    pub(crate) fn read(json: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(json)?;
        let text = |name: &str| -> Result<String> {
            let value = json.get(name).and_then(Value::as_str);
            Ok(value.with_context(|| format!("no `{name}`"))?.to_owned())
        };
        let number = |name: &str| json.get(name).and_then(Value::as_u64);
        let count = |name: &str| usize::try_from(number(name).unwrap_or(1)).unwrap_or(1);
        let pair = |pair: &Value| {
            let part = |at| Some(pair.get(at)?.as_str()?.to_owned());
            Some((part(0)?, part(1)?))
        };
        let headers = json.get("headers").and_then(Value::as_array);
        let headers = headers
            .context("no `headers`")?
            .iter()
            .map(|header| pair(header).context("a header is two texts"))
            .collect::<Result<_>>()?;
        Ok(Self {
            protocol: match &*text("protocol")? {
                "grpc" => Protocol::Grpc,
                _ => Protocol::Http,
            },
            address: text("address")?,
            method: text("method")?,
            host: text("host")?,
            path: text("path")?,
            port: number("port").unwrap_or(8080),
            headers,
            expected: text("expected")?.into_bytes(),
            connections: count("connections"),
            streams: count("streams"),
            rate: json.get("rate").and_then(Value::as_f64),
            secrets: Secrets::read(&text("secrets")?)?,
            end: match json.get("seconds").and_then(Value::as_f64) {
                Some(seconds) => End::After(Duration::from_secs_f64(seconds)),
                None => End::Once(AtomicUsize::new(0)),
            },
        })
    }

    /// The headers with a secret in its place.
    pub(crate) fn headers_with(&self, secret: &str) -> Vec<(String, String)> {
        let fill = |(name, value): &(String, String)| (name.clone(), value.replace(PLACE, secret));
        self.headers.iter().map(fill).collect()
    }

    /// A request with the first secret, in which others can take its place.
    pub(crate) fn template(&self, write: impl FnOnce(&str) -> Vec<u8>) -> Result<Template> {
        let first = self.secrets.get(0).context("no secret")?;
        let bytes = write(std::str::from_utf8(first)?);
        let at = find(&bytes, first);
        Ok(Template { bytes, at })
    }

    /// Secrets for one connection. Each begins elsewhere.
    pub(crate) fn order(&self, connection: usize, begin: Instant) -> Order<'_> {
        let seed = u64::try_from(connection).unwrap_or(0).wrapping_add(1);
        Order {
            asking: self,
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            begin,
        }
    }

    /// Whether an answer is right.
    pub(crate) fn is_right(&self, answer: &[u8]) -> bool {
        find(answer, &self.expected).is_some()
    }
}

impl Secrets {
    fn read(file: &str) -> Result<Self> {
        let all = std::fs::read(file).with_context(|| format!("reading {file}"))?;
        let each = find(&all, b"\n").context("a secret is a line")?;
        let secrets = Self { all, each };
        let even = secrets.all.len().is_multiple_of(each + 1);
        ensure!(even && each > 0, "secrets are of different lengths");
        Ok(secrets)
    }

    fn len(&self) -> usize {
        self.all.len() / (self.each + 1)
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        let start = index * (self.each + 1);
        self.all.get(start..start + self.each)
    }
}

/// Which secret comes next.
pub(crate) struct Order<'a> {
    asking: &'a Asking,
    state: u64,
    begin: Instant,
}

impl<'a> Order<'a> {
    /// `None` when it is over.
    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        let secrets = &self.asking.secrets;
        match &self.asking.end {
            End::Once(next) => secrets.get(next.fetch_add(1, Ordering::Relaxed)),
            End::After(time) if self.begin.elapsed() < *time => {
                // xorshift64
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                let index = usize::try_from(self.state >> 1).unwrap_or(0) % secrets.len();
                secrets.get(index)
            }
            End::After(_) => None,
        }
    }
}

/// Bytes of a request.
pub(crate) struct Template {
    bytes: Vec<u8>,
    at: Option<usize>,
}

impl Template {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds the request with that secret.
    pub(crate) fn write(&self, secret: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        if let Some(at) = self.at
            && let Some(place) = out.get_mut(start + at..start + at + secret.len())
        {
            place.copy_from_slice(secret);
        }
    }
}

/// Where something is.
pub(crate) fn find(all: &[u8], wanted: &[u8]) -> Option<usize> {
    match wanted.len() {
        0 => Some(0),
        length => all.windows(length).position(|window| window == wanted),
    }
}
