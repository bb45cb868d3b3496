//! Requests that no client sends, as bytes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

const TIMEOUT: Duration = Duration::from_secs(20);

/// What came back of a request over HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// A head; whether its status is 200.
    Head { ok: bool },
    /// The stream or the connection ended.
    Nothing,
}

/// Sends these headers as one request over HTTP/2 that ends with them.
pub(super) fn http2(to: SocketAddr, headers: &[(Vec<u8>, Vec<u8>)]) -> Result<Came> {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut block = Vec::new();
    for (name, value) in headers {
        // A literal that is not indexed, with a name of its own (RFC 7541 §6.2.2).
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend(text);
        }
    }
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(SETTINGS, 0, 0, &[])?);
    // The end of the headers and of the stream.
    sent.extend(frame(HEADERS, 0x5, 1, &block)?);
    stream.write_all(&sent)?;
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return Ok(Came::Nothing);
        }
        let [a, b, c, kind, flags, ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut body = vec![0; usize::try_from(length)?];
        if stream.read_exact(&mut body).is_err() {
            return Ok(Came::Nothing);
        }
        match kind {
            // `:status: 200` of the static table.
            HEADERS => {
                return Ok(Came::Head {
                    ok: body.first() == Some(&0x88),
                });
            }
            SETTINGS if flags & 1 == 0 => stream.write_all(&frame(SETTINGS, 1, 0, &[])?)?,
            // RST_STREAM and GOAWAY.
            3 | 7 => return Ok(Came::Nothing),
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(body.len())?.to_be_bytes();
    if body.len() > 16_384 {
        bail!("a frame of {} bytes", body.len());
    }
    let mut frame = length.get(1..).unwrap_or_default().to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(body);
    Ok(frame)
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1); no string here is Huffman's.
fn length(mut number: usize, into: &mut Vec<u8>) {
    const MOST: usize = 0x7f;
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    if number < MOST {
        into.push(byte(number));
        return;
    }
    into.push(0x7f);
    number -= MOST;
    while number > MOST {
        into.push(byte(number & MOST) | 0x80);
        number >>= 7;
    }
    into.push(byte(number));
}

/// The bytes of a text of the table: CRLF at the end of lines, `\xNN` for a byte, an empty line before a body.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let lines = |text: &str| text.trim_end_matches('\n').replace('\n', "\r\n");
    let mut whole = lines(head) + "\r\n\r\n" + &lines(body);
    if body.contains("HTTP/1.1") {
        whole.push_str("\r\n\r\n");
    }
    unescaped(&whole)
}

/// With `\xNN` as bytes.
pub(super) fn unescaped(text: &str) -> Result<Vec<u8>> {
    let mut parts = text.split("\\x");
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(byte.with_context(|| format!("`\\x{part}`: expected two digits"))?);
        out.extend(part.as_bytes().iter().skip(2));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_bytes() {
        let plain = bytes("GET / HTTP/1.1\nHost: a\n").unwrap();
        assert_eq!(plain, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let body = bytes("POST / HTTP/1.1\nx: \\xff\\x20\n\n{}\n").unwrap();
        assert_eq!(body, b"POST / HTTP/1.1\r\nx: \xff \r\n\r\n{}");
        let second = bytes("A\n\n0\n\nGET / HTTP/1.1\nHost: b\n").unwrap();
        assert_eq!(
            second,
            b"A\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n"
        );
        assert!(bytes("\\xzz").is_err());
    }

    #[test]
    fn lengths_are_those_of_hpack() {
        for (number, expected) in [
            (10, &[10][..]),
            (126, &[126]),
            (127, &[127, 0]),
            (255, &[127, 128, 1]),
            // RFC 7541 §C.1.2, with a longer prefix.
            (1337, &[127, 186, 9]),
        ] {
            let mut out = Vec::new();
            length(number, &mut out);
            assert_eq!(out, expected, "{number}");
        }
    }
}
