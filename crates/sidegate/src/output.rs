//! What people see on the terminal: errors, notes, exit codes.

use std::fmt;
use std::io::{IsTerminal, Write};

use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::cli::VerifyOutput;
use crate::log_lines::{self, Ending, Requests};

/// Input that cannot be used: exit code 3.
#[derive(Debug)]
pub(crate) struct BadInput(pub(crate) Vec<String>);

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, line) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            f.write_str(line)?;
        }
        Ok(())
    }
}

impl std::error::Error for BadInput {}

/// The exit code for an error.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<BadInput>().is_some() {
        3
    } else {
        1
    }
}

/// Prints an error to standard error, one line per problem.
pub(crate) fn error(error: &anyhow::Error) {
    /// Errors that are shown; who mends these sees the others next.
    const SHOWN: usize = 40;
    let text = format!("{error:#}");
    let lines: Vec<&str> = text.lines().collect();
    let (shown, rest) = lines.split_at(lines.len().min(SHOWN));
    for line in shown {
        note(&Style::Error, line);
    }
    if let [between @ .., last] = rest {
        if !between.is_empty() {
            note(&Style::Plain, &format!("… {} more errors", between.len()));
        }
        note(&Style::Error, last);
    }
}

/// Says the same on standard output to programs that wait for a document there.
pub(crate) fn refused(error: &anyhow::Error, form: VerifyOutput) {
    let text = format!("{error:#}");
    let lines: Vec<&str> = text.lines().collect();
    let value = match form {
        VerifyOutput::Text => return,
        VerifyOutput::Json => json!({ "errors": lines }),
        VerifyOutput::Sarif => lint::sarif_of_failure(&lines),
    };
    // Nobody is left to tell when standard output is gone.
    drop(data(&format!("{value:#}")));
}

/// Tone of a line on standard error.
pub(crate) enum Style {
    Error,
    Warning,
    Plain,
}

/// Prints a line to standard error; colours only on a terminal.
pub(crate) fn note(style: &Style, line: &str) {
    let (label, color) = match style {
        Style::Error => ("error: ", "\x1b[1;31m"),
        Style::Warning => ("warning: ", "\x1b[1;33m"),
        Style::Plain => ("", ""),
    };
    let mut stderr = std::io::stderr().lock();
    let colored =
        stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none() && !label.is_empty();
    let written = if colored {
        writeln!(stderr, "{color}{label}\x1b[0m{line}")
    } else {
        writeln!(stderr, "{label}{line}")
    };
    // Nobody is left to tell when standard error is gone.
    drop(written);
}

/// Says on a terminal that many routes take a moment.
pub(crate) fn progress(routes: usize) {
    const MANY: usize = 2_000;
    if routes >= MANY && std::io::stderr().is_terminal() {
        note(
            &Style::Plain,
            &format!("looking at all requests of {routes} routes …"),
        );
    }
}

/// Prints data to standard output; a reader that has gone away ends quietly.
pub(crate) fn data(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Starts the log on standard error; `RUST_LOG` says how much of it.
pub(crate) fn start_log() {
    // The references on the provider's pages are in its lines.
    start_log_with("warn,sidegate=info,provider=info");
}

/// Starts the log on standard error; without `RUST_LOG` it tells what `otherwise` says.
pub(crate) fn start_log_with(otherwise: &str) {
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter(otherwise))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    debug_assert!(started.is_ok());
}

/// The same for a program with a line for each request: those of a few milliseconds are written together, the last of them
/// before what is returned is dropped.
pub(crate) fn start_busy_log(otherwise: &str) -> std::io::Result<Ending> {
    let (lines, ending) = log_lines::collected(std::io::stderr())?;
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter(otherwise))
        .with_ansi(std::io::stderr().is_terminal())
        .event_format(Requests::default())
        .with_writer(lines)
        .try_init();
    debug_assert!(started.is_ok());
    Ok(ending)
}

fn filter(otherwise: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(otherwise))
}
