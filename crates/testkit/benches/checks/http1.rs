//! Requests over HTTP/1.1. A thread has several connections: while one is read, the others are answered.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::asking::{Asking, Template, find};

/// Threads, at most.
const THREADS: usize = 2;

/// How long each answer took, and all of them.
pub(crate) fn run(asking: &Asking) -> Result<(Vec<Duration>, Duration)> {
    let template = asking.template(|secret| {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\n",
            asking.method, asking.path, asking.host
        );
        for (name, value) in asking.headers_with(secret) {
            text += &format!("{name}: {value}\r\n");
        }
        (text + "\r\n").into_bytes()
    })?;
    let threads = match asking.rate {
        Some(_) => asking.connections,
        None => THREADS.min(asking.connections),
    };
    let begin = Instant::now();
    let times = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                let template = &template;
                scope.spawn(move || match asking.rate {
                    Some(rate) => {
                        let every =
                            Duration::from_secs_f64(f64::from(u32::try_from(threads)?) / rate);
                        paced(asking, template, number, begin, every)
                    }
                    None => closed(
                        asking,
                        template,
                        number,
                        asking.connections / threads,
                        begin,
                    ),
                })
            })
            .collect();
        let mut times = Vec::new();
        for worker in workers {
            let worker = worker.join();
            times.extend(worker.map_err(|_| anyhow::anyhow!("a connection panicked"))??);
        }
        anyhow::Ok(times)
    })?;
    Ok((times, begin.elapsed()))
}

/// Each connection asks again when it was answered.
fn closed(
    asking: &Asking,
    template: &Template,
    number: usize,
    connections: usize,
    begin: Instant,
) -> Result<Vec<Duration>> {
    let mut order = asking.order(number, begin);
    let mut all = Vec::new();
    for _ in 0..connections {
        let mut connection = Connection::open(asking)?;
        if let Some(secret) = order.next() {
            connection.ask(template, secret)?;
            all.push(connection);
        }
    }
    let mut times = Vec::new();
    while !all.is_empty() {
        let mut over = false;
        for connection in &mut all {
            connection.answer(asking)?;
            times.push(connection.asked.elapsed());
            match order.next() {
                Some(secret) => connection.ask(template, secret)?,
                None => {
                    connection.idle = true;
                    over = true;
                }
            }
        }
        if over {
            all.retain(|connection| !connection.idle);
        }
    }
    Ok(times)
}

/// One connection asks at times that were set before; what is late counts from then.
fn paced(
    asking: &Asking,
    template: &Template,
    number: usize,
    begin: Instant,
    every: Duration,
) -> Result<Vec<Duration>> {
    let mut order = asking.order(number, begin);
    let mut connection = Connection::open(asking)?;
    let mut times = Vec::new();
    // Connections take turns.
    let share = f64::from(u32::try_from(number)?) / f64::from(u32::try_from(asking.connections)?);
    let mut due = begin + every.mul_f64(share);
    while let Some(secret) = order.next() {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        connection.ask(template, secret)?;
        connection.answer(asking)?;
        times.push(due.elapsed());
        due += every;
    }
    Ok(times)
}

struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    read: Vec<u8>,
    asked: Instant,
    idle: bool,
}

impl Connection {
    fn open(asking: &Asking) -> Result<Self> {
        let stream = TcpStream::connect(&asking.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self {
            stream,
            out: Vec::new(),
            read: Vec::new(),
            asked: Instant::now(),
            idle: false,
        })
    }

    fn ask(&mut self, template: &Template, secret: &[u8]) -> Result<()> {
        self.out.clear();
        template.write(secret, &mut self.out);
        self.asked = Instant::now();
        Ok(self.stream.write_all(&self.out)?)
    }

    /// Reads an answer whole and looks at it.
    fn answer(&mut self, asking: &Asking) -> Result<()> {
        self.read.clear();
        let mut needed = None;
        let mut buffer = [0; 8192];
        while needed.is_none_or(|needed| self.read.len() < needed) {
            let count = self.stream.read(&mut buffer)?;
            ensure!(count > 0, "the connection was closed");
            self.read.extend(buffer.iter().take(count));
            if needed.is_none()
                && let Some(end) = find(&self.read, b"\r\n\r\n")
            {
                needed = Some(end + 4 + self.body(asking, end)?);
            }
        }
        let right = self.read.starts_with(b"HTTP/1.1 200") && asking.is_right(&self.read);
        if !right {
            bail!(
                "the answer is {}, expected 200 with {}",
                String::from_utf8_lossy(&self.read),
                String::from_utf8_lossy(&asking.expected)
            );
        }
        Ok(())
    }

    fn body(&self, asking: &Asking, end: usize) -> Result<usize> {
        if asking.method == "HEAD" {
            return Ok(0);
        }
        let head = std::str::from_utf8(self.read.get(..end).unwrap_or_default())?;
        let length = head.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().ok())?
        });
        length.with_context(|| format!("no length in {head}"))
    }
}
