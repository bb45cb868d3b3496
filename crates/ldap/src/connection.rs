//! A connection: one operation after another, all of them before one deadline.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::message::{self, Answer, Entry};
use crate::tls::{Trust, TrustError};
use crate::{Error, Filter, ber};

/// Longest message that is read, and most bytes that a search may bring.
const MAX_MESSAGE: usize = 1024 * 1024;
const MAX_SEARCH: usize = 8 * 1024 * 1024;
/// Most messages that a search may bring beside entries, so that references end, too.
const MAX_REFERENCES: usize = 1000;
/// `1.3.6.1.4.1.1466.20037` (RFC 4511 section 4.14).
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// A server, and how it is reached.
#[derive(Clone)]
pub struct Server {
    host: String,
    port: u16,
    security: Security,
    tls: Option<Arc<ClientConfig>>,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all: passwords can be read on the way.
    None,
    /// TLS from the start.
    Tls,
    /// TLS once the server agrees; without its agreement, nothing is sent.
    StartTls,
}

/// How far below its base a search looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One level.
    One,
    /// All levels.
    Sub,
}

/// What is searched for.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// Below which entry.
    pub base: &'a str,
    /// How far.
    pub scope: Scope,
    /// Which entries.
    pub filter: &'a Filter,
    /// Which of their attributes.
    pub attributes: &'a [&'a str],
    /// How many at most: more are an error.
    pub limit: u32,
}

impl Server {
    /// A server at a host and a port.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn new(
        host: &str,
        port: u16,
        security: Security,
        trust: &Trust,
    ) -> Result<Self, TrustError> {
        let tls = match security {
            Security::None => None,
            Security::Tls | Security::StartTls => Some(trust.config()?),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            security,
            tls,
        })
    }

    #[cfg(test)]
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ({:?})", self.host, self.port, self.security)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to a server.
pub struct Connection {
    stream: Box<dyn Stream>,
    deadline: Instant,
    last: u32,
    buffer: Vec<u8>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    /// Speaks over a stream that is there already, within `time`.
    pub fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        time: Duration,
    ) -> Self {
        Self {
            stream: Box::new(stream),
            deadline: Instant::now() + time,
            last: 0,
            buffer: Vec::new(),
        }
    }

    /// Connects; everything that is done with the connection has to be done within `time`.
    ///
    /// # Errors
    /// The server is not reached, or is not the one that its certificate has to name.
    pub async fn open(server: &Server, time: Duration) -> Result<Self, Error> {
        let deadline = Instant::now() + time;
        let connect = TcpStream::connect((server.host.as_str(), server.port));
        let tcp = timeout_at(deadline, connect)
            .await
            .map_err(|_| Error::Late)?;
        let tcp = tcp.map_err(Error::Connect)?;
        let mut plain = Self {
            stream: Box::new(tcp),
            deadline,
            last: 0,
            buffer: Vec::new(),
        };
        let Some(tls) = &server.tls else {
            return Ok(plain);
        };
        if server.security == Security::StartTls {
            plain.start_tls().await?;
        }
        let name = ServerName::try_from(server.host.clone())
            .map_err(|_| Error::Malformed("the host's name"))?;
        let connector = TlsConnector::from(Arc::clone(tls));
        let handshake = connector.connect(name, plain.stream);
        let stream = timeout_at(deadline, handshake)
            .await
            .map_err(|_| Error::Late)?
            .map_err(Error::Connect)?;
        Ok(Self {
            stream: Box::new(stream),
            deadline,
            last: plain.last,
            buffer: Vec::new(),
        })
    }

    async fn start_tls(&mut self) -> Result<(), Error> {
        let id = self
            .send(|out| ber::element(out, 0x77, |out| ber::octets(out, 0x80, START_TLS)))
            .await?;
        match self.answer(id).await? {
            Answer::Extended(done) => done.success()?,
            _ => return Err(Error::Malformed("an answer to something else")),
        }
        // What came before the handshake was not protected, and counts for nothing after it.
        if self.buffer.is_empty() {
            Ok(())
        } else {
            Err(Error::Malformed("something before the TLS handshake"))
        }
    }

    /// Binds with a name and its password.
    ///
    /// # Errors
    /// [`Error::is_wrong_password`], or whatever else the server says.
    pub async fn bind(&mut self, dn: &str, password: &str) -> Result<(), Error> {
        if password.is_empty() {
            return Err(Error::EmptyPassword);
        }
        self.simple_bind(dn, password).await
    }

    /// Binds without a name (RFC 4513 section 5.1.1).
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn bind_anonymously(&mut self) -> Result<(), Error> {
        self.simple_bind("", "").await
    }

    async fn simple_bind(&mut self, dn: &str, password: &str) -> Result<(), Error> {
        let id = self
            .send(|out| {
                ber::element(out, 0x60, |out| {
                    ber::number(out, ber::INTEGER, 3);
                    ber::octets(out, ber::OCTETS, dn.as_bytes());
                    ber::octets(out, 0x80, password.as_bytes());
                });
            })
            .await?;
        match self.answer(id).await? {
            Answer::Bound(done) => done.success(),
            _ => Err(Error::Malformed("an answer to something else")),
        }
    }

    /// Searches.
    ///
    /// # Errors
    /// What the server says, or [`Error::TooMuch`] where it finds more than is asked for.
    pub async fn search(&mut self, search: Search<'_>) -> Result<Vec<Entry>, Error> {
        let id = self.send(|out| write_search(out, &search)).await?;
        let mut found = Vec::new();
        let (mut bytes, mut references) = (0_usize, 0_usize);
        loop {
            let (length, answer) = self.sized_answer(id).await?;
            bytes = bytes.saturating_add(length);
            if bytes > MAX_SEARCH {
                return Err(Error::TooMuch("8 MiB of entries"));
            }
            match answer {
                Answer::Entry(entry) => {
                    found.push(entry);
                    if found.len() > search.limit as usize {
                        return Err(Error::TooMuch("entries"));
                    }
                }
                Answer::Reference if references < MAX_REFERENCES => references += 1,
                Answer::Reference => return Err(Error::TooMuch("references")),
                // `sizeLimitExceeded`
                Answer::Searched(done) if done.code == 4 => return Err(Error::TooMuch("entries")),
                Answer::Searched(done) => return done.success().map(|()| found),
                _ => return Err(Error::Malformed("an answer to something else")),
            }
        }
    }

    async fn send(&mut self, operation: impl FnOnce(&mut Vec<u8>)) -> Result<u32, Error> {
        self.last += 1;
        let id = self.last;
        let mut out = Vec::new();
        ber::element(&mut out, ber::SEQUENCE, |out| {
            ber::number(out, ber::INTEGER, id);
            operation(out);
        });
        let write = async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        };
        timeout_at(self.deadline, write)
            .await
            .map_err(|_| Error::Late)??;
        Ok(id)
    }

    async fn answer(&mut self, id: u32) -> Result<Answer, Error> {
        Ok(self.sized_answer(id).await?.1)
    }

    /// The next message, which has to be of the operation under way, and its length.
    async fn sized_answer(&mut self, id: u32) -> Result<(usize, Answer), Error> {
        let message = self.message().await?;
        let (of, answer) = message::read(&message)?;
        match answer {
            Answer::Disconnected(done) => Err(Error::Refused {
                code: done.code,
                message: done.message,
            }),
            _ if of != id => Err(Error::Malformed("an answer to something else")),
            answer => Ok((message.len(), answer)),
        }
    }

    /// The bytes of the next message.
    async fn message(&mut self) -> Result<Vec<u8>, Error> {
        loop {
            if self.buffer.first().is_some_and(|tag| *tag != ber::SEQUENCE) {
                return Err(Error::Malformed("an element of another kind"));
            }
            if let Some((head, length)) = ber::header(&self.buffer)? {
                if length > MAX_MESSAGE {
                    return Err(Error::TooMuch("a message above 1 MiB"));
                }
                let whole = head + length;
                if self.buffer.len() >= whole {
                    let rest = self.buffer.split_off(whole);
                    return Ok(std::mem::replace(&mut self.buffer, rest));
                }
            }
            let read = self.stream.read_buf(&mut self.buffer);
            let count = timeout_at(self.deadline, read)
                .await
                .map_err(|_| Error::Late)??;
            if count == 0 {
                return Err(Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

fn write_search(out: &mut Vec<u8>, search: &Search<'_>) {
    ber::element(out, 0x63, |out| {
        ber::octets(out, ber::OCTETS, search.base.as_bytes());
        let scope = match search.scope {
            Scope::One => 1,
            Scope::Sub => 2,
        };
        ber::number(out, ber::ENUMERATED, scope);
        // Aliases are never followed, as in Dex.
        ber::number(out, ber::ENUMERATED, 0);
        ber::number(out, ber::INTEGER, search.limit);
        ber::number(out, ber::INTEGER, 10);
        ber::octets(out, ber::BOOLEAN, &[0]);
        search.filter.write(out);
        ber::element(out, ber::SEQUENCE, |out| {
            for attribute in search.attributes {
                ber::octets(out, ber::OCTETS, attribute.as_bytes());
            }
        });
    });
}
