//! A connection whose every byte the test decides.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::{Error, Message, Protocol};

const DEADLINE: Duration = Duration::from_secs(20);

/// A raw connection.
#[derive(Debug)]
pub struct Socket {
    stream: BufReader<TcpStream>,
}

impl Socket {
    /// Connects to `127.0.0.1:port` or `http://127.0.0.1:port`.
    ///
    /// # Errors
    /// The connection is refused.
    pub fn connect(address: &str) -> Result<Self, Error> {
        let address = address
            .strip_prefix("http://")
            .unwrap_or(address)
            .trim_end_matches('/');
        let connected = TcpStream::connect(address).and_then(|stream| {
            stream.set_read_timeout(Some(DEADLINE))?;
            stream.set_write_timeout(Some(DEADLINE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        let stream = connected.map_err(Error::io(format!("connecting to {address}")))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The other side does not take them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<&mut Self, Error> {
        self.stream
            .get_mut()
            .write_all(bytes.as_ref())
            .map_err(Error::io("sending"))?;
        Ok(self)
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn finish(&mut self) -> Result<&mut Self, Error> {
        self.stream
            .get_ref()
            .shutdown(Shutdown::Write)
            .map_err(Error::io("finishing"))?;
        Ok(self)
    }

    /// The next response; `None` if the other side closed instead.
    ///
    /// # Errors
    /// No HTTP/1.1 response arrives in time.
    pub fn response(&mut self) -> Result<Option<Message>, Error> {
        Message::read(&mut self.stream, Protocol::Response { head: false })
    }

    /// The next response to a HEAD request.
    ///
    /// # Errors
    /// No HTTP/1.1 response arrives in time.
    pub fn response_to_head(&mut self) -> Result<Option<Message>, Error> {
        Message::read(&mut self.stream, Protocol::Response { head: true })
    }

    /// Exactly so many bytes, for what follows an upgrade.
    ///
    /// # Errors
    /// They do not arrive in time.
    pub fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; count];
        self.stream
            .read_exact(&mut bytes)
            .map_err(Error::io("receiving"))?;
        Ok(bytes)
    }

    /// Everything until the other side closes.
    ///
    /// # Errors
    /// It does not close in time.
    pub fn rest(&mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.stream
            .read_to_end(&mut bytes)
            .map_err(Error::io("receiving"))?;
        Ok(bytes)
    }
}
