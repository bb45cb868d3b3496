//! Asking as users do.

use std::io::ErrorKind;
use std::process::Command;

use crate::{Error, Message, Protocol};

/// What curl got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status of the last response.
    pub status: u16,
    /// Headers of the last response.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

impl Answer {
    /// First value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }
}

/// Runs `curl` with these arguments. It is silent, stops after 30 seconds,
/// takes no proxy from the environment and reads no `.curlrc`.
///
/// # Errors
/// curl is not installed, or got no response.
pub fn curl<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Answer, Error> {
    let heads = tempfile::NamedTempFile::new().map_err(Error::io("creating a file for headers"))?;
    let output = Command::new("curl")
        .args([
            "--disable",
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--noproxy",
            "*",
        ])
        .arg("--dump-header")
        .arg(heads.path())
        .args(args)
        .output()
        .map_err(|source| match source.kind() {
            ErrorKind::NotFound => Error::NoCurl,
            _ => Error::Run {
                program: "curl".into(),
                source,
            },
        })?;
    if !output.status.success() {
        return Err(Error::Curl {
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    let heads = std::fs::read(heads.path()).map_err(Error::io("reading the headers of curl"))?;
    let last = last_head(&heads)?;
    Ok(Answer {
        status: last.status().ok_or_else(|| Error::Message {
            what: last.start.clone(),
        })?,
        headers: last.headers,
        body: String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}

/// curl writes the head of every response: redirects, `100 Continue`, …
fn last_head(mut heads: &[u8]) -> Result<Message, Error> {
    let mut last = None;
    while let Some(head) = Message::read(&mut heads, Protocol::Response { head: true })? {
        last = Some(head);
    }
    last.ok_or_else(|| Error::Message {
        what: "curl wrote no headers".into(),
    })
}
