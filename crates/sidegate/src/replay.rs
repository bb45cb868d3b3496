//! `verify --replay`: the found requests, sent to a real gateway.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use ::verify::{Claim, Finding, Witness};
use resources::intents::Expect;

use crate::verify::Bases;

/// Time for one answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Sends every witness; a line for each.
pub(crate) fn all(findings: &[Arc<Finding>], bases: &Bases) -> Vec<String> {
    let lines = findings.iter().map(|finding| {
        let witness = &finding.witness;
        let curl = witness.curl(bases.of(witness));
        if let Some(caller) = witness.caller() {
            return format!("not sent ({caller}): {curl}");
        }
        match send(witness, bases.of(witness)) {
            Ok(status) if reproduces(&finding.claim, status) => {
                format!("reproduced ({status}): {curl}")
            }
            Ok(status) => format!("NOT reproduced ({status}): {curl}"),
            Err(error) => format!("not sent ({error}): {curl}"),
        }
    });
    lines.collect()
}

/// Whether a status is what breaks the claim.
fn reproduces(claim: &Claim, status: u16) -> bool {
    let sent_away = matches!(status, 302 | 303 | 307 | 401 | 403);
    match claim {
        Claim::PlatformNeedsLogin
        | Claim::NoForgedIdentity
        | Claim::ModelsClosedOutside
        | Claim::OneReading => !sent_away,
        Claim::ModelsAnswerWorkloads | Claim::ForeignUntouched | Claim::LoginReachable => sent_away,
        Claim::ProbesAnswered => matches!(status, 404 | 503),
        Claim::Intent(intent) => match intent.expect() {
            Expect::Allow => sent_away || status == 404,
            Expect::Deny => !sent_away && status != 404,
            Expect::Login => !matches!(status, 302 | 303 | 307),
            Expect::Token => status != 401,
        },
    }
}

/// The status that a gateway answers with, over plain HTTP/1.1.
fn send(witness: &Witness, base: &str) -> anyhow::Result<u16> {
    if witness.head.connection.listener.is_some() {
        anyhow::bail!("it arrives at another listener than the two entrances");
    }
    let address = base
        .strip_prefix("http://")
        .ok_or_else(|| anyhow::anyhow!("`{base}`: expected http://HOST:PORT"))?;
    let address = if address.contains(':') {
        address.to_owned()
    } else {
        format!("{address}:80")
    };
    let address = address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| anyhow::anyhow!("`{base}` has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let head = &witness.head;
    let mut request = format!(
        "{} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
        head.method,
        head.path_and_query(),
        head.authority
    )
    .into_bytes();
    for (name, value) in witness.sent_headers() {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"content-length: 0\r\n\r\n");
    stream.write_all(&request)?;
    let mut answer = Vec::new();
    stream.take(4_096).read_to_end(&mut answer)?;
    let status = answer
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok());
    status.ok_or_else(|| anyhow::anyhow!("no HTTP answer"))
}
