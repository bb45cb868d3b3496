//! Processes that suites start beside themselves.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often somebody asks whether a process is ready.
const PAUSE: Duration = Duration::from_millis(20);

/// A running process. Dropping it kills it, with signal 9, and waits for its end.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Running {
    /// Starts it, without an input.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let started = command.stdin(Stdio::null()).spawn();
        let child = started.with_context(|| format!("cannot run {command:?}"))?;
        Ok(Self(child))
    }

    /// Starts it and reads what it says on standard error until `found` makes something of a line. What it says
    /// later is read by a thread, so that it never waits for a reader.
    pub(crate) fn until_it_says<R>(
        command: &mut Command,
        mut found: impl FnMut(&str) -> Option<R>,
    ) -> Result<(Self, R)> {
        let mut running = Self::start(command.stderr(Stdio::piped()))?;
        let lines = running.0.stderr.take().context("no standard error")?;
        let mut lines = BufReader::new(lines).lines();
        let mut told = String::new();
        loop {
            let Some(line) = lines.next().transpose()? else {
                bail!("{command:?} ended early: {told}");
            };
            if let Some(found) = found(&line) {
                std::thread::spawn(move || lines.for_each(drop));
                return Ok((running, found));
            }
            told.push_str(&line);
            told.push('\n');
        }
    }

    /// Ends it now.
    pub(crate) fn end(&mut self) {
        // It may have ended already; then there is nothing left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has not ended by itself.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Asks `ready` until it says yes; an error when the process ends before that, or `time` is over.
    pub(crate) fn until(&mut self, time: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let began = Instant::now();
        while !ready() {
            if !self.is_alive() {
                bail!("it ended before it was ready");
            }
            if began.elapsed() > time {
                bail!("it is not ready after {time:?}");
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// So many lines of the end of a log.
pub(crate) fn last_words(log: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut last: Vec<&str> = text.lines().rev().take(lines).collect();
    last.reverse();
    last.join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_process_is_ready_when_it_says_so_and_ends_with_its_owner() {
        let mut command = shell("echo early >&2; echo on 7 >&2; sleep 100");
        let (mut running, port) = Running::until_it_says(&mut command, |line| {
            line.strip_prefix("on ").map(str::to_owned)
        })
        .unwrap();
        assert_eq!(port, "7");
        assert!(running.is_alive());
        let folder = std::path::PathBuf::from(format!("/proc/{}", running.id()));
        drop(running);
        assert!(!folder.exists(), "it was waited for");
    }

    #[test]
    fn one_that_ends_or_is_late_is_an_error_with_what_it_said() {
        let error = Running::until_it_says(&mut shell("echo no such file >&2"), |line| {
            line.strip_prefix("on ").map(drop)
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("no such file"), "{error}");
        let mut ended = Running::start(&mut shell("true")).unwrap();
        assert!(ended.until(Duration::from_secs(60), || false).is_err());
        let mut late = Running::start(&mut shell("sleep 100")).unwrap();
        assert!(late.until(Duration::ZERO, || false).is_err());
        let mut asked = 0;
        let ready = || {
            asked += 1;
            asked == 2
        };
        late.until(Duration::from_secs(60), ready).unwrap();
    }
}
