//! Checks and replies as a gateway writes and reads them, by their fields alone.

use bytes::Bytes;
use http::Request;
use wire::{Decode, Encoder, Malformed, Value};

/// What a check is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) port: u64,
    pub(super) method: String,
    pub(super) host: String,
    /// Path and query.
    pub(super) path: String,
    pub(super) headers: Vec<(String, Bytes)>,
    /// The context extension that names the place.
    pub(super) place: Option<String>,
}

const PLACE: &str = "sidegate-place";

impl Asked {
    pub(super) fn of(port: u64, method: &str, host: &str, path: &str) -> Self {
        Self {
            port,
            method: method.to_owned(),
            host: host.to_owned(),
            path: path.to_owned(),
            ..Self::default()
        }
    }

    /// `CheckRequest`, its headers as a map (3) or as a list with raw values (13).
    pub(super) fn message(&self, headers: u32) -> Vec<u8> {
        let entry = |name: &str, number: u32, value: &[u8]| {
            Encoder::default()
                .bytes(1, name.as_bytes())
                .bytes(number, value)
                .finish()
        };
        let mut http = Encoder::default()
            .bytes(2, self.method.as_bytes())
            .bytes(4, self.path.as_bytes())
            .bytes(5, self.host.as_bytes());
        match headers {
            13 => {
                let all = self.headers.iter();
                let list = all.fold(Encoder::default(), |list, (name, value)| {
                    list.always(1, &entry(name, 3, value))
                });
                http = http.always(13, &list.finish());
            }
            _ => {
                for (name, value) in &self.headers {
                    http = http.always(3, &entry(name, 2, value));
                }
            }
        }
        let request = Encoder::default().always(2, &http.finish()).finish();
        let socket = Encoder::default().number(3, self.port).finish();
        let address = Encoder::default().always(1, &socket).finish();
        let peer = Encoder::default().always(1, &address).finish();
        let mut attributes = Encoder::default().always(2, &peer).always(4, &request);
        if let Some(place) = &self.place {
            attributes = attributes.always(10, &entry(PLACE, 2, place.as_bytes()));
        }
        Encoder::default().always(1, &attributes.finish()).finish()
    }

    /// What a message is about, if it is a check.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let mut asked = Self::default();
        for (_, attributes) in fields(message)?.iter().filter(|(number, _)| *number == 1) {
            // Of a field that is there again the last one counts.
            asked = Self::default();
            for (number, value) in fields(attributes)? {
                match number {
                    2 => asked.port = port(&value)?,
                    4 => asked.http(&value)?,
                    10 => {
                        let (name, place) = pair(&value)?;
                        if name == PLACE.as_bytes() {
                            asked.place = Some(String::from_utf8(place.to_vec()).ok()?);
                        }
                    }
                    _ => {}
                }
            }
        }
        Some(asked)
    }

    fn http(&mut self, request: &[u8]) -> Option<()> {
        (self.method, self.host, self.path) = Default::default();
        self.headers.clear();
        for (_, http) in fields(request)?.iter().filter(|(number, _)| *number == 2) {
            (self.method, self.host, self.path) = Default::default();
            self.headers.clear();
            for (number, value) in fields(http)? {
                let text = || String::from_utf8(value.to_vec()).ok();
                match number {
                    2 => self.method = text()?,
                    4 => self.path = text()?,
                    5 => self.host = text()?,
                    3 => self.add(&value)?,
                    13 => {
                        for (_, entry) in fields(&value)?.iter().filter(|(n, _)| *n == 1) {
                            self.add(entry)?;
                        }
                    }
                    _ => {}
                }
            }
        }
        Some(())
    }

    fn add(&mut self, entry: &[u8]) -> Option<()> {
        let (name, value) = pair(entry)?;
        if name.first() != Some(&b':') {
            let name = String::from_utf8(name.to_vec()).ok()?;
            self.headers.push((name, value));
        }
        Some(())
    }

    /// A check over HTTP whose path begins with that, if HTTP can carry it.
    pub(super) fn head(&self, form: &str) -> Option<Request<()>> {
        let place = match (&self.place, self.port) {
            (Some(place), _) => place.as_str(),
            (None, 8080) => "external",
            (None, 8081) => "local",
            (None, _) => "x",
        };
        let forwarded = form == "/forwarded";
        let uri = match forwarded {
            true => format!("{form}/{place}"),
            false => format!("{form}/{place}{}", self.path),
        };
        let method = if forwarded {
            "GET"
        } else {
            self.method.as_str()
        };
        let mut request = Request::builder().method(method).uri(uri);
        let host = if forwarded {
            "sidegate"
        } else {
            self.host.as_str()
        };
        request = request.header("host", host);
        let said = [
            ("x-forwarded-method", &self.method),
            ("x-forwarded-host", &self.host),
            ("x-forwarded-uri", &self.path),
        ];
        for (name, value) in said.iter().filter(|_| forwarded) {
            request = request.header(*name, value.as_str());
        }
        for (name, value) in &self.headers {
            // Gateways write these anew.
            let is_written = name == "host" || forwarded && said.iter().any(|(n, _)| n == name);
            if !is_written {
                request = request.header(name, value.as_ref());
            }
        }
        request.body(()).ok()
    }
}

/// Fields that have a length, in their order; nothing if it is no message.
fn fields(message: &[u8]) -> Option<Vec<(u32, Bytes)>> {
    #[derive(Default)]
    struct All(Vec<(u32, Bytes)>);
    impl Decode for All {
        fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
            if let Value::Bytes(bytes) = value {
                self.0.push((number, bytes));
            }
            Ok(())
        }
    }
    All::decode(Bytes::copy_from_slice(message))
        .ok()
        .map(|all| all.0)
}

/// The last number that a message has in a field, 0 without one.
fn number(message: &[u8], wanted: u32) -> Option<u64> {
    #[derive(Default)]
    struct All(Vec<(u32, u64)>);
    impl Decode for All {
        fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
            if let Value::Varint(value) = value {
                self.0.push((number, value));
            }
            Ok(())
        }
    }
    let all = All::decode(Bytes::copy_from_slice(message)).ok()?;
    let mut found = all.0.iter().filter(|(number, _)| *number == wanted);
    Some(found.next_back().map_or(0, |(_, value)| *value))
}

/// `Peer.address.socket_address.port_value`.
fn port(peer: &[u8]) -> Option<u64> {
    let inside = |message: &[u8]| {
        let all = fields(message)?;
        let mut found = all.into_iter().filter(|(number, _)| *number == 1);
        Some(
            found
                .next_back()
                .map(|(_, bytes)| bytes)
                .unwrap_or_default(),
        )
    };
    number(&inside(&inside(peer)?)?, 3)
}

/// Name and value of an entry.
fn pair(entry: &[u8]) -> Option<(Bytes, Bytes)> {
    let (mut name, mut content) = (Bytes::new(), Bytes::new());
    for (number, value) in fields(entry)? {
        match number {
            1 => name = value,
            2 | 3 => content = value,
            _ => {}
        }
    }
    Some((name, content))
}

/// `CheckResponse`.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// `google.rpc.Code`.
    code: u64,
    /// Whether a gateway reads leave.
    pub(super) ok: bool,
    denied: bool,
    /// Of a denial.
    status: u64,
    /// Headers of the request that are set, or of a denial.
    pub(super) set: Vec<(String, String)>,
}

impl Decode for Said {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        let bytes = value.bytes()?;
        let all = fields(&bytes).ok_or(Malformed)?;
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).map_err(|_| Malformed);
        match number {
            1 => self.code = self::number(&bytes, 1).ok_or(Malformed)?,
            2 | 3 => {
                (self.denied, self.ok) = (number == 2, number == 3);
                for (number, bytes) in &all {
                    match number {
                        1 if self.denied => {
                            self.status = self::number(bytes, 1).ok_or(Malformed)?;
                        }
                        2 => {
                            let option = fields(bytes).ok_or(Malformed)?;
                            let header = option.iter().find(|(number, _)| *number == 1);
                            let (_, header) = header.ok_or(Malformed)?;
                            let (name, value) = pair(header).ok_or(Malformed)?;
                            self.set.push((text(&name)?, text(&value)?));
                        }
                        _ => {}
                    }
                }
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }
}

impl Said {
    /// Whether it is one of the two replies there are.
    pub(super) fn judged(&self) -> Result<(), String> {
        let names = self.set.iter().all(|(name, value)| {
            http::HeaderName::from_bytes(name.as_bytes()).is_ok()
                && http::HeaderValue::from_str(value).is_ok()
        });
        let allows = self.code == 0 && self.ok && !self.denied;
        let denies = self.code != 0
            && self.denied
            && !self.ok
            && (200..600).contains(&self.status)
            && !matches!(self.status, 404 | 503);
        match names && (allows || denies) {
            true => Ok(()),
            false => Err(format!("neither leave nor a denial: {self:?}")),
        }
    }
}
