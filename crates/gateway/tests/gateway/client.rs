//! A client that sends exactly the bytes it is given.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        values(&self.head, name).into_iter().next()
    }
}

/// All values of a header in a head.
pub(crate) fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connect");
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The gateway may have refused and closed before all is written.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// The next response; `None` when the connection ends without one.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        timeout(PATIENCE, self.read_answer(false))
            .await
            .expect("an answer in time")
    }

    pub(crate) async fn answer_to_head(&mut self) -> Option<Answer> {
        timeout(PATIENCE, self.read_answer(true))
            .await
            .expect("an answer in time")
    }

    /// Whether the gateway has closed the connection, waiting for it.
    pub(crate) async fn closed(&mut self) -> bool {
        timeout(PATIENCE, self.more()).await.is_ok_and(|more| !more) && self.read.is_empty()
    }

    /// The next bytes, whatever they are.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(
                timeout(PATIENCE, self.more()).await.expect("bytes in time"),
                "closed early"
            );
        }
        self.read.drain(..count).collect()
    }

    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.read).await, Ok(1..))
    }

    async fn read_answer(&mut self, bodiless: bool) -> Option<Answer> {
        let end = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end);
        let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
        let length = values(&head, "content-length")
            .first()
            .and_then(|v| v.parse::<usize>().ok());
        let body = if bodiless || status == 101 || status == 204 || status == 304 {
            Vec::new()
        } else if values(&head, "transfer-encoding").contains(&"chunked") {
            self.chunks().await?
        } else if let Some(length) = length {
            while self.read.len() < length {
                if !self.more().await {
                    return None;
                }
            }
            self.read.drain(..length).collect()
        } else {
            while self.more().await {}
            std::mem::take(&mut self.read)
        };
        Some(Answer {
            status,
            head,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(at) = find(&self.read, b"\r\n") {
                    break at;
                }
                if !self.more().await {
                    return None;
                }
            };
            let size =
                usize::from_str_radix(std::str::from_utf8(&self.read[..line]).ok()?, 16).ok()?;
            while self.read.len() < line + 2 + size + 2 {
                if !self.more().await {
                    return None;
                }
            }
            body.extend_from_slice(&self.read[line + 2..line + 2 + size]);
            self.read.drain(..line + 2 + size + 2);
            if size == 0 {
                return Some(body);
            }
        }
    }
}

pub(crate) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len())
        .position(|window| window == needle)
}
