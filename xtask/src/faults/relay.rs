//! Between the authorizer and somebody that it asks: passes on, or does not.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How somebody behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As whoever is behind it.
    Answers,
    /// Connections are cut.
    Away,
    /// Connections are taken and nothing is ever said.
    Silent,
    /// Answers come byte by byte.
    Drips,
}

/// How long each byte takes: no single one is late, and no answer is whole within any limit.
const DROP: Duration = Duration::from_millis(250);

/// How often a connection looks at the mode.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    /// What is counted in what is asked.
    counted: &'static str,
    mode: AtomicU8,
    count: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Relay {
    /// To that address, counting requests with that in them.
    pub(crate) fn start(to: &str, counted: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("opening a port")?;
        let shared = Arc::new(Shared {
            to: to.parse()?,
            counted,
            mode: AtomicU8::new(0),
            count: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let relay = Self {
            address: listener.local_addr()?,
            shared: Arc::clone(&shared),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
                    shared.most.fetch_max(open, Ordering::SeqCst);
                    // A connection that breaks is what this is for.
                    drop(shared.serve(&stream));
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(relay)
    }

    pub(crate) fn behave(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Requests so far that were counted.
    pub(crate) fn count(&self) -> usize {
        self.shared.count.load(Ordering::SeqCst)
    }

    /// Most connections at a time since this was last asked.
    pub(crate) fn most(&self) -> usize {
        let open = self.shared.open.load(Ordering::SeqCst);
        self.shared.most.swap(open, Ordering::SeqCst)
    }
}

impl Shared {
    fn mode(&self) -> Mode {
        match self.mode.load(Ordering::SeqCst) {
            0 => Mode::Answers,
            1 => Mode::Away,
            2 => Mode::Silent,
            _ => Mode::Drips,
        }
    }

    fn serve(self: &Arc<Self>, near: &TcpStream) -> std::io::Result<()> {
        near.set_nodelay(true)?;
        near.set_read_timeout(Some(LOOK))?;
        let mut far = None;
        let mut buffer = [0; 16 << 10];
        loop {
            let read = (&mut &*near).read(&mut buffer);
            if self.mode() == Mode::Away {
                break;
            }
            match read {
                Ok(0) => break,
                Ok(_) if self.mode() == Mode::Silent => {}
                Ok(count) => {
                    let asked = buffer.get(..count).unwrap_or_default();
                    let text = String::from_utf8_lossy(asked);
                    let found = text.matches(self.counted).count();
                    self.count.fetch_add(found, Ordering::SeqCst);
                    let mut to = match far.take() {
                        Some(far) => far,
                        None => self.reach(near)?,
                    };
                    to.write_all(asked)?;
                    far = Some(to);
                }
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(far) = far {
            far.shutdown(Shutdown::Both)?;
        }
        near.shutdown(Shutdown::Both)
    }

    /// Connects to whoever is behind, whose answers go back as long as there are any to give.
    fn reach(self: &Arc<Self>, near: &TcpStream) -> std::io::Result<TcpStream> {
        let far = TcpStream::connect(self.to)?;
        far.set_nodelay(true)?;
        let (mut from, mut back) = (far.try_clone()?, near.try_clone()?);
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            drop(shared.pass_back(&mut from, &mut back));
            drop(back.shutdown(Shutdown::Both));
            drop(from.shutdown(Shutdown::Both));
        });
        Ok(far)
    }

    fn pass_back(&self, from: &mut TcpStream, back: &mut TcpStream) -> std::io::Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            let count = from.read(&mut buffer)?;
            let said = buffer.get(..count).unwrap_or_default();
            if said.is_empty() {
                return Ok(());
            }
            let mut rest = said.iter();
            while self.mode() == Mode::Drips
                && let Some(byte) = rest.next()
            {
                back.write_all(&[*byte])?;
                std::thread::sleep(DROP);
            }
            back.write_all(rest.as_slice())?;
        }
    }
}

fn is_pause(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
