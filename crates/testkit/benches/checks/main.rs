//! What `cargo xtask bench authz` asks with, at so little cost that the server shows: checks over gRPC as Envoy sends them,
//! several at a time on a connection, and requests over HTTP. Also makes what a store is full of. Says what it found as a line
//! of JSON.
#![expect(clippy::print_stdout, reason = "a tool that is read by another one")]

mod asking;
mod fill;
mod floor;
mod grpc;
mod http1;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use crate::asking::{Asking, Protocol};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--sessions", folder, count, ids] => {
            fill::sessions(Path::new(folder), count.parse()?, Path::new(ids))
        }
        ["--keys", folder, count, secrets] => {
            fill::keys(Path::new(folder), count.parse()?, Path::new(secrets))
        }
        ["--load", asking] => load(&Asking::read(&std::fs::read_to_string(asking)?)?),
        ["--floor", address] => floor::serve(address),
        _ => bail!(
            "expected `--sessions FOLDER COUNT FILE`, `--keys …`, `--load FILE` or `--floor ADDRESS`"
        ),
    }
}

fn load(asking: &Asking) -> Result<()> {
    let (mut times, took) = match asking.protocol {
        Protocol::Grpc => grpc::run(asking)?,
        Protocol::Http => http1::run(asking)?,
    };
    times.sort_unstable();
    let at = |permille: usize| {
        let index = (times.len() * permille / 1000).min(times.len().saturating_sub(1));
        let time = times.get(index).copied().unwrap_or(Duration::ZERO);
        time.as_secs_f64() * 1e6
    };
    let found = json!({
        "answers": times.len(),
        "seconds": took.as_secs_f64(),
        "p50": at(500),
        "p99": at(990),
    });
    println!("{found}");
    Ok(())
}
