//! A closed loop: each connection asks, waits for the answer, and asks again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What is asked, with GET if there is no body, and the right answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    /// Lines of the head beside those about host and length, each with its end.
    pub(super) headers: &'a str,
    pub(super) body: &'a [u8],
    /// What the right answer ends with: heads of binary answers differ between servers.
    pub(super) ending: &'a [u8],
}

/// The header of JSON.
pub(super) const JSON: &str = "content-type: application/json\r\n";

/// What a load came to.
#[derive(Debug, PartialEq)]
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Request<'_> {
    pub(super) fn wire(&self) -> Vec<u8> {
        let head = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\n{}content-length: {}\r\n\r\n",
            if self.body.is_empty() { "GET" } else { "POST" },
            self.path,
            self.host,
            self.headers,
            self.body.len(),
        );
        [head.as_bytes(), self.body].concat()
    }

    pub(super) fn is_right(&self, answer: &[u8]) -> bool {
        answer.ends_with(self.ending)
    }

    /// What was expected, for people.
    pub(super) fn expected(&self) -> String {
        String::from_utf8_lossy(self.ending).into_owned()
    }
}

/// A kept connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self {
            stream: BufReader::new(stream),
            line: String::new(),
            body: Vec::new(),
        })
    }

    /// Sends a request and returns the body of the answer, whatever its status.
    pub(crate) fn ask(&mut self, wire: &[u8]) -> Result<Vec<u8>> {
        self.exchange(wire)?;
        Ok(self.body.clone())
    }

    fn exchange(&mut self, wire: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(wire)?;
        let (mut length, mut chunked) = (0, false);
        while !self.line()?.is_empty() {
            if let Some((name, value)) = self.line.split_once(':') {
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().context("content-length")?;
                } else if name.eq_ignore_ascii_case("transfer-encoding") {
                    chunked = value.trim().eq_ignore_ascii_case("chunked");
                }
            }
        }
        self.body.clear();
        if !chunked {
            return self.read(length);
        }
        loop {
            let length = usize::from_str_radix(self.line()?, 16).context("the size of a chunk")?;
            self.read(length)?;
            self.line()?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    /// The next line without its end.
    fn line(&mut self) -> Result<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            bail!("the connection was closed");
        }
        Ok(self.line.trim_end())
    }

    /// Reads so many bytes behind the body.
    fn read(&mut self, length: usize) -> Result<()> {
        let start = self.body.len();
        self.body.resize(start + length, 0);
        let rest = self.body.get_mut(start..).unwrap_or_default();
        self.stream.read_exact(rest)?;
        Ok(())
    }
}

/// Asks on so many connections for so long. One wrong answer ends it.
pub(super) fn run(
    port: u16,
    request: &Request<'_>,
    connections: usize,
    time: Duration,
) -> Result<Load> {
    let end = Instant::now() + time;
    together(vec![move || ask_until(port, request, end); connections])
}

/// Runs all of them at the same time; each returns how long its answers took.
pub(super) fn together<F>(workers: Vec<F>) -> Result<Load>
where
    F: FnOnce() -> Result<Vec<Duration>> + Send,
{
    let begin = Instant::now();
    let mut latencies = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = workers
            .into_iter()
            .map(|worker| scope.spawn(worker))
            .collect();
        for worker in workers {
            let taken = worker
                .join()
                .map_err(|_| anyhow::anyhow!("a connection panicked"))??;
            latencies.extend(taken);
        }
        Ok(())
    })?;
    Ok(Load::of(latencies, begin.elapsed()))
}

fn ask_until(port: u16, request: &Request<'_>, end: Instant) -> Result<Vec<Duration>> {
    let wire = request.wire();
    let mut connection = Connection::open(port)?;
    let mut latencies = Vec::new();
    let mut now = Instant::now();
    // Once at least: no answer at all would pass for a right one.
    while latencies.is_empty() || now < end {
        connection.exchange(&wire)?;
        if !request.is_right(&connection.body) {
            bail!(
                "the answer is {}, expected {}",
                String::from_utf8_lossy(&connection.body),
                request.expected()
            );
        }
        let then = Instant::now();
        latencies.push(then - now);
        now = then;
    }
    Ok(latencies)
}

impl Load {
    fn of(mut latencies: Vec<Duration>, time: Duration) -> Self {
        latencies.sort_unstable();
        let percentile = |percent: usize| {
            let at = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
            latencies.get(at).copied().unwrap_or_default()
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "a count of requests is far below 2^52"
        )]
        let count = latencies.len() as f64;
        Self {
            per_second: count / time.as_secs_f64(),
            p50: percentile(50),
            p99: percentile(99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let load = Load::of(times, Duration::from_secs(2));
        assert_eq!(
            load,
            Load {
                per_second: 100.0,
                p50: Duration::from_millis(101),
                p99: Duration::from_millis(199),
            }
        );
        let none = Load::of(Vec::new(), Duration::from_secs(1));
        assert_eq!((none.per_second, none.p50), (0.0, Duration::ZERO));
    }

    #[test]
    fn chunks_are_put_together() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut buffer = [0; 1024];
            let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nb\r\n0123456789\n\r\n0\r\n\r\n";
            while let Ok(1..) = connection.read(&mut buffer) {
                connection.write_all(answer).unwrap();
            }
        });
        let mut connection = Connection::open(port).unwrap();
        for _ in 0..2 {
            assert_eq!(connection.ask(b"x").unwrap(), b"ab0123456789\n");
        }
    }

    #[test]
    fn a_wrong_answer_ends_the_load() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut connection in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while let Ok(1..) = connection.read(&mut buffer) {
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                        if connection.write_all(answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let request = Request {
            host: "h",
            path: "/",
            headers: JSON,
            body: b"{}",
            ending: b"ok",
        };
        let load = run(port, &request, 2, Duration::from_millis(20)).unwrap();
        assert!(load.per_second > 0.0);
        let wrong = Request {
            ending: b"no",
            ..request
        };
        let error = run(port, &wrong, 1, Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.to_string(), "the answer is ok, expected no");
    }
}
