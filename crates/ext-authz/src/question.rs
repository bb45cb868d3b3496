//! `envoy.service.auth.v3.CheckRequest`, as far as a decision looks at it. Field
//! numbers are those of `attribute_context.proto`.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use wire::{Decode, Malformed, Value};

/// More headers than this are refused: Envoy takes 100 by default.
const MAX_HEADERS: usize = 512;

/// A check.
#[derive(Debug, Default)]
pub(crate) struct CheckRequest(pub(crate) Attributes);

#[derive(Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) source: Peer,
    pub(crate) destination: Peer,
    pub(crate) http: HttpRequest,
    pub(crate) sni: Option<String>,
}

/// One end of the connection.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    pub(crate) address: String,
    pub(crate) port: u16,
    /// Who its certificate says it is, of a connection with TLS.
    pub(crate) principal: Option<String>,
}

/// `AttributeContext.HttpRequest`.
#[derive(Debug, Default)]
pub(crate) struct HttpRequest {
    pub(crate) method: String,
    pub(crate) headers: HeaderMap,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) scheme: String,
}

impl Decode for CheckRequest {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        if number == 1 {
            self.0 = value.message()?;
        }
        Ok(())
    }
}

impl Decode for Attributes {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            1 => self.source = value.message()?,
            2 => self.destination = value.message()?,
            4 => self.http = value.message::<Request>()?.0,
            12 => self.sni = value.message::<TlsSession>()?.0,
            _ => {}
        }
        Ok(())
    }
}

#[derive(Default)]
struct Request(HttpRequest);

impl Decode for Request {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        if number == 2 {
            self.0 = value.message()?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct TlsSession(Option<String>);

impl Decode for TlsSession {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        if number == 1 {
            self.0 = Some(value.text()?).filter(|name| !name.is_empty());
        }
        Ok(())
    }
}

impl Decode for Peer {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            1 => {
                let Address(SocketAddress(address, port)) = value.message()?;
                (self.address, self.port) = (address, port);
            }
            4 => self.principal = Some(value.text()?).filter(|name| !name.is_empty()),
            _ => {}
        }
        Ok(())
    }
}

#[derive(Default)]
struct Address(SocketAddress);

impl Decode for Address {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        if number == 1 {
            self.0 = value.message()?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct SocketAddress(String, u16);

impl Decode for SocketAddress {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            2 => self.0 = value.text()?,
            3 => self.1 = u16::try_from(value.number()?).map_err(|_| Malformed)?,
            _ => {}
        }
        Ok(())
    }
}

impl Decode for HttpRequest {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            2 => self.method = value.text()?,
            3 => {
                let Header(name, content) = value.message()?;
                self.add(&name, content)?;
            }
            4 => self.path = value.text()?,
            5 => self.host = value.text()?,
            6 => self.scheme = value.text()?,
            13 => {
                for (name, content) in value.message::<HeaderList>()?.0 {
                    self.add(&name, content)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl HttpRequest {
    /// Pseudo-headers say what the other fields say.
    fn add(&mut self, name: &[u8], content: Bytes) -> Result<(), Malformed> {
        if name.first() == Some(&b':') {
            return Ok(());
        }
        if self.headers.len() >= MAX_HEADERS {
            return Err(Malformed);
        }
        let name = HeaderName::from_bytes(name).map_err(|_| Malformed)?;
        let value = HeaderValue::from_maybe_shared(content).map_err(|_| Malformed)?;
        self.headers.append(name, value);
        Ok(())
    }
}

/// An entry of a map of headers, or a `HeaderValue`: both have name and value
/// in the same fields, the latter a `raw_value` besides.
#[derive(Default)]
struct Header(Bytes, Bytes);

impl Decode for Header {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            1 => self.0 = value.bytes()?,
            2 | 3 => self.1 = value.bytes()?,
            _ => {}
        }
        Ok(())
    }
}

/// `HeaderMap`, which Envoy sends in place of `headers` with `encode_raw_headers`.
#[derive(Default)]
struct HeaderList(Vec<(Bytes, Bytes)>);

impl Decode for HeaderList {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        if number == 1 {
            let Header(name, content) = value.message()?;
            self.0.push((name, content));
        }
        Ok(())
    }
}
