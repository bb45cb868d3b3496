//! Commands about users, clients, API keys, sessions and backups on a data folder, whether a program runs on it or
//! not.
//!
//! The database has one owner. Where that is a running program, a command asks it over a socket in
//! the data folder, and what it did counts for the next request; else the command opens the
//! database itself. Both do the same ([`carry_out`]).

mod client;
mod keys;
mod order;
mod server;
mod sessions;

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

pub(crate) use client::ask;
pub(crate) use keys::{ApiKey, KeyOrder, KeysOrder};
pub(crate) use order::{Client, ClientOrder, Done, LoginsOrder, Order, User, document};
pub(crate) use server::{Control, Desk};
pub(crate) use sessions::{OpenSession, SessionsOrder};

/// The socket's name in the data folder.
const SOCKET: &str = "control.sock";
/// Longest path that a socket can have on every system (`sockaddr_un`).
const MAX_PATH: usize = 100;
/// Where the last program on the folder was reached, for commands while none runs.
const BASE: &str = "provider-url";
/// Longest line of an order. A password and five hundred groups fit.
const MAX_ORDER: u64 = 256 * 1024;
/// Longest line of an answer, which lists all users.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// The socket of a folder, by a path that a socket can have. What comes with it has to live as long
/// as the path is used.
fn socket_in(folder: &Path) -> std::io::Result<(PathBuf, Option<File>)> {
    let path = folder.join(SOCKET);
    if path.as_os_str().len() <= MAX_PATH {
        return Ok((path, None));
    }
    let open = File::open(folder)?;
    let short = format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd());
    Ok((short.into(), Some(open)))
}
