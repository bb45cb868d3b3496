//! What can go wrong in a test before the thing tested.

use std::path::PathBuf;

use thiserror::Error;

/// What went wrong.
#[derive(Debug, Error)]
#[expect(
    missing_docs,
    reason = "each variant's message says what its fields are"
)]
#[non_exhaustive]
pub enum Error {
    #[error("`{}` cannot be run: {source}", .program.display())]
    Run {
        program: PathBuf,
        source: std::io::Error,
    },
    #[error("the tests need `curl`, which is not installed (Debian: apt-get install curl)")]
    NoCurl,
    #[error("curl ended with {status}: {stderr}")]
    Curl {
        status: std::process::ExitStatus,
        stderr: String,
    },
    #[error("sidegate ended with {status} before it was ready:\n{stderr}")]
    Ended {
        status: std::process::ExitStatus,
        stderr: String,
    },
    #[error("{what} did not happen within {seconds} seconds:\n{seen}")]
    Deadline {
        what: String,
        seconds: u64,
        seen: String,
    },
    #[error("{what}: {source}")]
    Io {
        what: String,
        source: std::io::Error,
    },
    #[error("not an HTTP message: {what}")]
    Message { what: String },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
