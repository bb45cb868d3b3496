//! `cargo xtask test`: everything that can be tested, and one line about it.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

use crate::{
    authz, bench, browser, clients, crash, dex, directory, faults, flood, graphs, oracle, redis,
    relying, shell,
};

/// Tests over all binaries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl Count {
    /// Adds what one test binary says at its end:
    /// `test result: ok. 20 passed; 0 failed; 0 ignored; …`.
    fn add_line(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|l| l.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else {
                continue;
            };
            let number: u64 = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// Says what a check came to; its name, if it failed.
    fn add(&mut self, name: &'static str, (result, seconds): Outcome) -> Option<&'static str> {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("test oracle: {name} ... ok ({seconds} s)");
                None
            }
            Err(error) => {
                self.failed += 1;
                println!("test oracle: {name} ... FAILED ({error:#})");
                Some(name)
            }
        }
    }
}

/// What a check comes to, and after how many seconds.
type Outcome = (Result<()>, u64);

fn timed(check: impl FnOnce() -> Result<()>) -> Outcome {
    let began = Instant::now();
    (check(), began.elapsed().as_secs())
}

/// Builds the program, runs the tests and the comparisons with Istio, Envoy,
/// clients of KServe, relying parties, ONNX Runtime, a browser and solvers, prints the sum as the last line.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    shell::run(shell::cargo().args(["build", "--package", "sidegate"]))?;
    let mut command = shell::cargo();
    command.args(["test", "--no-fail-fast"]);
    if args.is_empty() {
        command.arg("--workspace");
    }
    let mut child = command
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo test")?;
    let mut count = Count::default();
    let mut stdout = std::io::stdout();
    if let Some(pipe) = child.stdout.take() {
        for line in BufReader::new(pipe).split(b'\n') {
            let line = line?;
            count.add_line(&String::from_utf8_lossy(&line));
            stdout.write_all(&line)?;
            stdout.write_all(b"\n")?;
        }
    }
    let status = child.wait()?;
    if !status.success() && count.failed == 0 {
        // A binary that does not compile or is killed counts no test.
        count.failed = 1;
    }
    let mut failed = Vec::new();
    if args.is_empty() {
        let (waiting, waits) = authz::BESIDE;
        let waits = std::thread::spawn(move || timed(waits));
        let solvers: oracle::Check = (
            "z3 and cvc5 on small clusters",
            Box::new(|| bench::solvers::run(bench::Length::Quick)),
        );
        for (name, check) in oracle::suite()
            .into_iter()
            .chain(clients::suite())
            .chain(dex::suite())
            .chain(crash::suite())
            .chain(flood::suite())
            .chain(graphs::suite())
            .chain(authz::suite())
            .chain(faults::suite())
            .chain(relying::suite())
            .chain(directory::suite())
            .chain(redis::suite())
            .chain(browser::suite())
            .chain([solvers])
        {
            let outcome = timed(check);
            failed.extend(count.add(name, outcome));
        }
        let ended = waits.join();
        let outcome = ended.unwrap_or_else(|_| (Err(anyhow!("it panicked")), 0));
        failed.extend(count.add(waiting, outcome));
    }
    println!("{count}");
    if count.ignored > 0 {
        bail!("{} tests are ignored: expected none", count.ignored);
    }
    if count.passed == 0 && args.is_empty() {
        bail!("no test ran");
    }
    if !status.success() {
        bail!("cargo test ended with {status}");
    }
    if !failed.is_empty() {
        bail!("held against others: {}", failed.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_test_binaries_are_summed() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 1 passed; 4 failed; 0 ignored; 0 measured; 9 filtered out; finished in 1.00s",
            "test x ... ok",
            "test result: nonsense",
        ] {
            count.add_line(line);
        }
        assert_eq!(
            count,
            Count {
                passed: 3,
                failed: 4,
                ignored: 1
            }
        );
        assert_eq!(count.to_string(), "3 passed, 4 failed");
    }
}
