//! A closed loop: each connection asks, waits for the answer, and asks again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What is asked, and the right answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) body: &'a str,
    pub(super) answer: &'a str,
}

/// What a load came to.
#[derive(Debug, PartialEq)]
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Request<'_> {
    pub(super) fn wire(&self) -> Vec<u8> {
        format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
            self.path,
            self.host,
            self.body.len(),
            self.body
        )
        .into_bytes()
    }

    pub(super) fn is_right(&self, answer: &[u8]) -> bool {
        answer == self.answer.as_bytes()
    }
}

/// A kept connection.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

impl Connection {
    pub(super) fn open(port: u16) -> Result<Self> {
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
    pub(super) fn ask(&mut self, wire: &[u8]) -> Result<Vec<u8>> {
        self.exchange(wire)?;
        Ok(self.body.clone())
    }

    fn exchange(&mut self, wire: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(wire)?;
        let mut length = 0;
        loop {
            self.line.clear();
            if self.stream.read_line(&mut self.line)? == 0 {
                bail!("the connection was closed");
            }
            let line = self.line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().context("content-length")?;
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body)?;
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
    let begin = Instant::now();
    let end = begin + time;
    let mut latencies = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..connections)
            .map(|_| scope.spawn(move || ask_until(port, request, end)))
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
                request.answer
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
            body: "{}",
            answer: "ok",
        };
        let load = run(port, &request, 2, Duration::from_millis(20)).unwrap();
        assert!(load.per_second > 0.0);
        let wrong = Request {
            answer: "no",
            ..request
        };
        let error = run(port, &wrong, 1, Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.to_string(), "the answer is ok, expected no");
    }
}
