//! `cargo xtask bench verify`: how long all questions take and how much memory,
//! by size, with the limits that are set for them.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{growth, report};
use crate::shell;

/// Sizes, by number of routes.
const SIZES: [usize; 7] = [100, 300, 1_000, 3_000, 10_000, 30_000, 50_000];

/// Policies of the configuration that is made to explode.
const EXPLOSION: usize = 300;

/// What was measured at one size; times in milliseconds.
#[derive(Debug)]
pub(super) struct Row(Value);

impl Row {
    pub(super) fn get(&self, name: &str) -> f64 {
        self.0.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }
}

/// Measures each size in a process of its own, and writes docs/benchmarks.md
/// and the picture of growth.
pub(crate) fn run() -> Result<()> {
    let mut rows = Vec::new();
    for routes in SIZES {
        eprintln!("measuring: {routes} routes");
        rows.push(measured(&["--size", &routes.to_string()])?);
    }
    eprintln!("measuring: a configuration made to explode");
    let explosion = measured(&["--explosion", &EXPLOSION.to_string()])?;
    let table = table(&rows, &explosion);
    println!("{table}");
    let docs = shell::root().join("docs");
    std::fs::write(docs.join("growth.svg"), growth::picture(&rows))?;
    report::write_section(&docs.join("benchmarks.md"), "verify", &table)
}

fn measured(args: &[&str]) -> Result<Row> {
    let mut command = shell::cargo();
    command.args([
        "bench",
        "--quiet",
        "--package",
        "testkit",
        "--bench",
        "sizes",
        "--",
    ]);
    command.args(args);
    let output = command.output().context("starting cargo bench")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let row = serde_json::from_str(text.trim()).with_context(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("reading `{text}`, {errors}")
    })?;
    Ok(Row(row))
}

fn table(rows: &[Row], explosion: &Row) -> String {
    let mut out = String::from(
        "Synthetic gateways (`crates/testkit/src/synthetic.rs`): a tenth as many hosts and policies as routes, \
         5 % of the policies without a host. Milliseconds of processor time of one thread, but for all questions, which \
         several threads answer: there it is time that passed; decisions in microseconds; one run each; memory is the most that the process had after that, parsing included. The change takes a \
         route from two hosts: verified again by a `Verifier` that has verified what was before, and compared with \
         `diff`. Compiling it is not in these two.\n\n",
    );
    out.push_str(
        "| routes × hosts × policies | parse | compile | all questions | two hosts changed: again | `diff` | decide p50 | decide p99 | memory | cells | findings |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| {} × {} × {} | {:.0} | {:.0} | {:.1} | {:.1} | {:.1} | {:.2} | {:.2} | {:.0} MiB | {} | {} |",
            row.get("routes"),
            row.get("hosts"),
            row.get("policies"),
            row.get("parse"),
            row.get("compile"),
            row.get("questions"),
            row.get("again"),
            row.get("diff"),
            row.get("decideP50"),
            row.get("decideP99"),
            row.get("mebibytes"),
            row.get("cells"),
            row.get("findings"),
        );
    }
    out.push_str(
        "| *wanted at 10000* | *< 1000* | *< 300* | *< 300* | *< 10* | | | *< 5* | *< 200 MiB* | | |\n\
         | *wanted at 50000* | | | *< 1500* | | | | | | | |\n",
    );
    let _ = write!(
        out,
        "\n{EXPLOSION} policies of overlapping regular expressions, templates, suffixes and named headers: \
         answered after {:.1} s (wanted: < 10 s) and with {:.0} MiB, as *not decided*, with rules named.\n\n\
         ![growth](growth.svg)",
        explosion.get("milliseconds") / 1_000.0,
        explosion.get("mebibytes"),
    );
    out
}
