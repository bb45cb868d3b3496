//! What ends a server.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals with which containers and terminals end a program.
pub(crate) struct Signals([Signal; 3]);

impl Signals {
    /// From here on they do not end the program by themselves.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::quit())?,
        ]))
    }

    /// Returns when one of them comes.
    pub(crate) async fn received(&mut self) {
        let [interrupt, terminate, quit] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = quit.recv() => {}
        }
    }
}
