//! Just enough HTTP/1.1 to look at messages as they are on the wire.

use std::io::{self, BufRead, Read};

use crate::Error;

/// A head with more is no test's.
const MAX_HEAD: u64 = 1 << 20;
const MAX_BODY: u64 = 64 << 20;

/// A request or response as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// First line, without its end.
    pub start: String,
    /// Header names and values as written, in order.
    pub headers: Vec<(String, String)>,
    /// Body, chunks joined.
    pub body: Vec<u8>,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Without a length there is no body.
    Request,
    /// Without a length the body ends with the connection, except where the
    /// status has none or the request was HEAD (`head`).
    Response {
        /// Whether the request was HEAD.
        head: bool,
    },
}

impl Message {
    /// Reads one message. `None` if the connection ended before it.
    ///
    /// # Errors
    /// What cannot be read or is no HTTP/1.1 message.
    pub fn read(input: &mut impl BufRead, protocol: Protocol) -> Result<Option<Self>, Error> {
        let Some(mut message) = Self::read_head(input)? else {
            return Ok(None);
        };
        let failed = Error::io("reading a body");
        let chunked = message
            .header("transfer-encoding")
            .is_some_and(|coding| coding.to_ascii_lowercase().ends_with("chunked"));
        if message.has_no_body(protocol) {
        } else if chunked {
            message.body = read_chunks(input)?;
        } else if let Some(length) = message.header("content-length") {
            let length: u64 = length
                .parse()
                .ok()
                .filter(|length| *length <= MAX_BODY)
                .ok_or_else(|| Error::Message {
                    what: format!("content-length `{length}`"),
                })?;
            let read = input
                .take(length)
                .read_to_end(&mut message.body)
                .map_err(failed)?;
            if u64::try_from(read).is_ok_and(|read| read < length) {
                return Err(Error::Message {
                    what: format!("{read} of {length} bytes of a body"),
                });
            }
        } else if matches!(protocol, Protocol::Response { .. }) {
            input
                .take(MAX_BODY)
                .read_to_end(&mut message.body)
                .map_err(failed)?;
        }
        Ok(Some(message))
    }

    fn has_no_body(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Request => false,
            Protocol::Response { head: true } => true,
            Protocol::Response { head: false } => self
                .status()
                .is_some_and(|s| s < 200 || s == 204 || s == 304),
        }
    }

    fn read_head(input: &mut impl BufRead) -> Result<Option<Self>, Error> {
        let mut input = input.take(MAX_HEAD);
        let Some(start) = read_line(&mut input)? else {
            return Ok(None);
        };
        let mut headers = Vec::new();
        loop {
            let line = read_line(&mut input)?.ok_or_else(|| Error::Message {
                what: format!("`{start}` with an unfinished head"),
            })?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| Error::Message {
                what: format!("header line `{line}`"),
            })?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Some(Self {
            start,
            headers,
            body: Vec::new(),
        }))
    }

    /// First value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All values of a header, whatever the case of its name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Status of a response.
    pub fn status(&self) -> Option<u16> {
        self.start
            .strip_prefix("HTTP/")?
            .split(' ')
            .nth(1)?
            .parse()
            .ok()
    }

    /// Method of a request.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// Target of a request, as on the wire.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// Body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn read_line(input: &mut impl BufRead) -> Result<Option<String>, Error> {
    let mut line = Vec::new();
    input
        .read_until(b'\n', &mut line)
        .map_err(Error::io("reading a message"))?;
    if line.is_empty() {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn read_chunks(input: &mut impl BufRead) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    loop {
        let line = read_line(input)?.unwrap_or_default();
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16)
            .ok()
            .filter(|size| *size <= MAX_BODY)
            .ok_or_else(|| Error::Message {
                what: format!("chunk size `{line}`"),
            })?;
        if size == 0 {
            // Trailers, then an empty line.
            while read_line(input)?.is_some_and(|line| !line.is_empty()) {}
            return Ok(body);
        }
        let read = input.take(size).read_to_end(&mut body).and_then(|read| {
            if u64::try_from(read).is_ok_and(|read| read < size) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(read)
        });
        read.map_err(Error::io("reading a chunk"))?;
        read_line(input)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut wire: &[u8], protocol: Protocol, start: &str, body: &str) {
        let message = Message::read(&mut wire, protocol).unwrap().unwrap();
        assert_eq!(
            (message.start.as_str(), message.text().as_str()),
            (start, body)
        );
    }

    #[test]
    fn bodies_end_where_their_head_says() {
        let response = Protocol::Response { head: false };
        check(
            b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nabcd",
            Protocol::Request,
            "POST /x HTTP/1.1",
            "ab",
        );
        check(
            b"GET / HTTP/1.1\r\n\r\nGET /",
            Protocol::Request,
            "GET / HTTP/1.1",
            "",
        );
        check(
            b"HTTP/1.1 200 OK\r\n\r\nrest",
            response,
            "HTTP/1.1 200 OK",
            "rest",
        );
        check(
            b"HTTP/1.1 204 No\r\n\r\nrest",
            response,
            "HTTP/1.1 204 No",
            "",
        );
        check(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\nt: 1\r\n\r\n",
            response,
            "HTTP/1.1 200 OK",
            "abc",
        );
        check(
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
            Protocol::Response { head: true },
            "HTTP/1.1 200 OK",
            "",
        );
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        for mut wire in [
            &b"GET / HTTP/1.1\r\nhost: a\r\n"[..],
            b"GET / HTTP/1.1\r\nnonsense\r\n\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nab",
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
        ] {
            assert!(Message::read(&mut wire, Protocol::Request).is_err());
        }
        assert!(
            Message::read(&mut &b""[..], Protocol::Request)
                .unwrap()
                .is_none()
        );
    }
}
