//! Commands about users, clients and backups on a data folder, whether a program runs on it or
//! not.
//!
//! The database has one owner. Where that is a running program, a command asks it over a socket in
//! the data folder, and what it did counts for the next request; else the command opens the
//! database itself. Both do the same ([`carry_out`]).

mod client;
mod order;
mod server;

pub(crate) use client::ask;
pub(crate) use order::{Client, ClientOrder, Done, Order, User, document};
pub(crate) use server::{Control, Desk};

/// The socket's name in the data folder.
const SOCKET: &str = "control.sock";
/// Where the last program on the folder was reached, for commands while none runs.
const BASE: &str = "provider-url";
/// Longest line of an order. A password and five hundred groups fit.
const MAX_ORDER: u64 = 256 * 1024;
/// Longest line of an answer, which lists all users.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
