//! A call over HTTP/2 that is sent in pieces, when the test wants them to be.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::Error;

const DEADLINE: Duration = Duration::from_secs(30);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// One stream of one connection.
#[derive(Debug)]
pub struct Call(TcpStream);

impl Call {
    /// Opens a connection and sends the head of a call, by `name: value` with the pseudo-headers first.
    ///
    /// # Errors
    /// The connection is refused.
    pub fn begin(address: &str, headers: &[(&str, &str)]) -> Result<Self, Error> {
        let connected = TcpStream::connect(address).and_then(|stream| {
            stream.set_read_timeout(Some(DEADLINE))?;
            stream.set_write_timeout(Some(DEADLINE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        let mut call = Self(connected.map_err(Error::io(format!("connecting to {address}")))?);
        let mut block = Vec::new();
        for (name, value) in headers {
            // A literal that is not indexed, with a name of its own (RFC 7541 §6.2.2).
            block.push(0);
            for text in [name, value] {
                // Longer strings would take more than the one byte of the prefix.
                let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
                let length = length.ok_or_else(|| Error::Message {
                    what: format!("`{text}` is too long for a test"),
                })?;
                block.push(length);
                block.extend(text.as_bytes());
            }
        }
        call.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        call.frame(SETTINGS, 0, 0, &[])?;
        call.frame(HEADERS, END_HEADERS, 1, &block)?;
        Ok(call)
    }

    /// The same call, to send pieces of while its answer is waited for.
    ///
    /// # Errors
    /// There are no more files.
    pub fn another(&self) -> Result<Self, Error> {
        let stream = self.0.try_clone();
        stream.map(Self).map_err(Error::io("a second handle"))
    }

    /// Sends a piece of the body.
    ///
    /// # Errors
    /// The other side does not take it.
    pub fn data(&mut self, bytes: &[u8], last: bool) -> Result<(), Error> {
        self.frame(DATA, if last { END_STREAM } else { 0 }, 1, bytes)
    }

    /// The body of the answer, whole; `None` if the stream or the connection ended without one.
    ///
    /// # Errors
    /// It does not arrive in time.
    pub fn answer(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut body = Vec::new();
        loop {
            let mut head = [0; 9];
            match self.0.read_exact(&mut head) {
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
                read => read.map_err(Error::io("receiving"))?,
            }
            let [a, b, c, kind, flags, ..] = head;
            let length = u32::from_be_bytes([0, a, b, c]);
            let mut content = vec![0; usize::try_from(length).unwrap_or(0)];
            let read = self.0.read_exact(&mut content);
            read.map_err(Error::io("receiving"))?;
            match kind {
                DATA => body.extend(content),
                SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[])?,
                PING if flags & ACK == 0 => self.frame(PING, ACK, 0, &content)?,
                RST_STREAM => return Ok(None),
                _ => {}
            }
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                return Ok(Some(body));
            }
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, content: &[u8]) -> Result<(), Error> {
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let [_, a, b, c] = length.to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(content);
        self.send(&frame)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.0.write_all(bytes).map_err(Error::io("sending"))
    }
}
