//! `envoy.service.auth.v3.CheckRequest`, as far as a decision looks at it. Field
//! numbers are those of `attribute_context.proto`.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use wire::{Fields, Malformed};

use crate::place::Place;

/// More headers than this are refused: Envoy takes 100 by default.
const MAX_HEADERS: usize = 512;

/// Room for these is made at once.
const USUAL_HEADERS: usize = 20;

/// A check.
#[derive(Debug, Default)]
pub(crate) struct CheckRequest(pub(crate) Attributes);

#[derive(Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) source: Peer,
    pub(crate) destination: Peer,
    pub(crate) http: HttpRequest,
    pub(crate) sni: Option<String>,
    pub(crate) place: Option<Named>,
}

/// The place that the gateway's configuration names, for gateways whose ports
/// are not those of the objects: the context extension [`PLACE`], which no
/// client can write.
#[derive(Debug)]
pub(crate) struct Named(pub(crate) Place);

/// The context extension that names the place.
const PLACE: &[u8] = b"sidegate-place";

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

impl CheckRequest {
    /// Reads a message. Values of headers are parts of it; nothing else is kept of it.
    pub(crate) fn read(message: &Bytes) -> Result<Self, Malformed> {
        let mut check = Self::default();
        for field in Fields::of(message) {
            if let (1, attributes) = field? {
                check.0 = Attributes::read(attributes.bytes()?, message)?;
            }
        }
        Ok(check)
    }
}

impl Attributes {
    fn read(attributes: &[u8], whole: &Bytes) -> Result<Self, Malformed> {
        let mut read = Self::default();
        for field in Fields::of(attributes) {
            match field? {
                (1, source) => read.source = Peer::read(source.bytes()?)?,
                (2, destination) => read.destination = Peer::read(destination.bytes()?)?,
                (4, request) => {
                    read.http = HttpRequest::default();
                    for field in Fields::of(request.bytes()?) {
                        if let (2, http) = field? {
                            read.http = HttpRequest::read(http.bytes()?, whole)?;
                        }
                    }
                }
                (10, entry) => {
                    let (name, place) = entry_of(entry.bytes()?)?;
                    if name == PLACE {
                        let place = std::str::from_utf8(place).ok().and_then(Place::parse);
                        read.place = Some(Named(place.ok_or(Malformed)?));
                    }
                }
                (12, session) => {
                    read.sni = None;
                    for field in Fields::of(session.bytes()?) {
                        if let (1, name) = field? {
                            let name = name.text()?;
                            read.sni = (!name.is_empty()).then(|| name.to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

impl Peer {
    fn read(peer: &[u8]) -> Result<Self, Malformed> {
        let mut read = Self::default();
        for field in Fields::of(peer) {
            match field? {
                (1, address) => (read.address, read.port) = address_of(address.bytes()?)?,
                (4, name) => {
                    let name = name.text()?;
                    read.principal = (!name.is_empty()).then(|| name.to_owned());
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

impl HttpRequest {
    fn read(http: &[u8], whole: &Bytes) -> Result<Self, Malformed> {
        let mut read = Self::default();
        for field in Fields::of(http) {
            match field? {
                (2, method) => method.text()?.clone_into(&mut read.method),
                (3, entry) => read.add(entry.bytes()?, whole)?,
                (4, path) => path.text()?.clone_into(&mut read.path),
                (5, host) => host.text()?.clone_into(&mut read.host),
                (6, scheme) => scheme.text()?.clone_into(&mut read.scheme),
                // `HeaderMap`, which Envoy sends in place of `headers` with `encode_raw_headers`.
                (13, list) => {
                    for field in Fields::of(list.bytes()?) {
                        if let (1, entry) = field? {
                            read.add(entry.bytes()?, whole)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(read)
    }

    /// An entry of the headers. Pseudo-headers say what the other fields say.
    fn add(&mut self, entry: &[u8], whole: &Bytes) -> Result<(), Malformed> {
        let (name, content) = entry_of(entry)?;
        if name.first() == Some(&b':') {
            return Ok(());
        }
        if self.headers.len() >= MAX_HEADERS {
            return Err(Malformed);
        }
        if self.headers.is_empty() {
            self.headers.reserve(USUAL_HEADERS);
        }
        let name = HeaderName::from_bytes(name).map_err(|_| Malformed)?;
        let value = HeaderValue::from_maybe_shared(whole.slice_ref(content));
        self.headers.append(name, value.map_err(|_| Malformed)?);
        Ok(())
    }
}

/// Name and value of an entry of a map, or of a `HeaderValue`, whose fields have the same numbers, with a `raw_value`
/// besides.
fn entry_of(entry: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut name, mut content): (&[u8], &[u8]) = (&[], &[]);
    for field in Fields::of(entry) {
        match field? {
            (1, bytes) => name = bytes.bytes()?,
            (2 | 3, bytes) => content = bytes.bytes()?,
            _ => {}
        }
    }
    Ok((name, content))
}

/// Host and port of the `SocketAddress` in an `Address`.
fn address_of(address: &[u8]) -> Result<(String, u16), Malformed> {
    let (mut host, mut port) = (String::new(), 0);
    for field in Fields::of(address) {
        let (1, socket) = field? else { continue };
        (host, port) = (String::new(), 0);
        for field in Fields::of(socket.bytes()?) {
            match field? {
                (2, address) => address.text()?.clone_into(&mut host),
                (3, number) => port = u16::try_from(number.number()?).map_err(|_| Malformed)?,
                _ => {}
            }
        }
    }
    Ok((host, port))
}
