//! Figures as people read them.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{CONNECTIONS, Figures};
use crate::shell;

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// Where it was measured, and with what.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) kernel: String,
    pub(super) versions: String,
}

impl Machine {
    /// This machine, with the versions of packages of that Python.
    pub(super) fn this(python: &Path, packages: &str) -> Self {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpus
            .lines()
            .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()))
            .unwrap_or("unknown processor");
        let packages = format!(
            "import sys; from importlib.metadata import version as v; \
             print(f'Python {{sys.version.split()[0]}}', *(f'{{p}} {{v(p)}}' for p in '{packages}'.split()), sep=', ')"
        );
        let commit = shell::output(
            Command::new("git")
                .args(["rev-parse", "--short", "HEAD"])
                .current_dir(shell::root()),
        );
        Self {
            cpu: cpu.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: shell::output(Command::new("uname").args(["-s", "-r"])),
            versions: format!(
                "Sidegate at {commit}, {}, {}",
                shell::output(Command::new("rustc").arg("--version")),
                shell::output(Command::new(python).args(["-c", &packages])),
            ),
        }
    }
}

/// The table with its circumstances, in Markdown.
pub(super) fn table(servers: &[Figures], change: &Duration, machine: &Machine) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "Two rows of iris through an SVC (V1 predict), {CONNECTIONS} connections that each wait for \
         their answer, every answer checked; server and load share the machine.\n"
    );
    let _ = writeln!(
        out,
        "| server | requests/s | p50 | p99 | start to first answer | resident idle | resident after load |"
    );
    let _ = writeln!(out, "|---|---:|---:|---:|---:|---:|---:|");
    for server in servers {
        let _ = writeln!(
            out,
            "| {} | {:.0} | {} | {} | {} | {} | {} |",
            server.name,
            server.load.per_second,
            time(server.load.p50),
            time(server.load.p99),
            time(server.start),
            mebibytes(server.idle_kib),
            mebibytes(server.loaded_kib),
        );
    }
    if let [ours, theirs] = servers {
        let _ = writeln!(
            out,
            "\nThat is {:.1} times the requests, {:.1} times as fast a start and {:.0} % of the memory.",
            ours.load.per_second / theirs.load.per_second,
            theirs.start.as_secs_f64() / ours.start.as_secs_f64(),
            100.0 * kib(ours.idle_kib) / kib(theirs.idle_kib),
        );
    }
    let _ = writeln!(
        out,
        "A changed file of the configuration is in effect after {} (median; the seed example).\n",
        time(*change)
    );
    let _ = write!(
        out,
        "Machine: {}, {} cores, {}. Versions: {}.",
        machine.cpu, machine.cores, machine.kernel, machine.versions
    );
    out
}

#[expect(
    clippy::cast_precision_loss,
    reason = "memory in KiB is far below 2^52"
)]
fn kib(kib: u64) -> f64 {
    kib as f64
}

/// Memory in MiB.
pub(super) fn mebibytes(of_kib: u64) -> String {
    format!("{:.1} MiB", kib(of_kib) / 1024.0)
}

/// A time in milliseconds.
pub(super) fn time(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1e3;
    if milliseconds >= 100.0 {
        format!("{milliseconds:.0} ms")
    } else {
        format!("{milliseconds:.2} ms")
    }
}

/// Puts the table between the markers of a file, which is begun if it is not
/// there.
pub(super) fn write(path: &Path, table: &str) -> Result<()> {
    let old = match std::fs::read_to_string(path) {
        Ok(old) => old,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("# Benchmarks\n\n`cargo xtask bench` writes what is below.\n\n{BEGIN}\n{END}\n")
        }
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let new = replace(&old, BEGIN, END, table).with_context(|| format!("in {}", path.display()))?;
    std::fs::write(path, new).with_context(|| format!("writing {}", path.display()))
}

/// Puts a table between the markers of that name.
pub(super) fn write_section(path: &Path, name: &str, table: &str) -> Result<()> {
    let old =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let (begin, end) = (
        format!("<!-- {name}:begin -->"),
        format!("<!-- {name}:end -->"),
    );
    let new =
        replace(&old, &begin, &end, table).with_context(|| format!("in {}", path.display()))?;
    std::fs::write(path, new).with_context(|| format!("writing {}", path.display()))
}

fn replace(old: &str, begin: &str, end: &str, table: &str) -> Result<String> {
    let parts = old
        .split_once(begin)
        .and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    let Some((before, after)) = parts else {
        bail!("expected the lines `{begin}` and `{end}`");
    };
    Ok(format!("{before}{begin}\n{table}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::Load;

    #[test]
    fn the_table_says_how_both_compare() {
        let figures = |name, start, per_second| Figures {
            name,
            start: Duration::from_millis(start),
            idle_kib: start * 1024,
            loaded_kib: 2048,
            load: Load {
                per_second,
                p50: Duration::from_micros(512),
                p99: Duration::from_millis(120),
            },
        };
        let machine = Machine {
            cpu: "C".into(),
            cores: 2,
            kernel: "L".into(),
            versions: "V".into(),
        };
        let servers = [figures("us", 20, 3000.0), figures("them", 2000, 100.0)];
        let table = table(&servers, &Duration::from_millis(7), &machine);
        for expected in [
            "| us | 3000 | 0.51 ms | 120 ms | 20.00 ms | 20.0 MiB | 2.0 MiB |",
            "30.0 times the requests, 100.0 times as fast a start and 1 % of the memory.",
            "after 7.00 ms (median",
            "Machine: C, 2 cores, L. Versions: V.",
        ] {
            assert!(table.contains(expected), "{expected} in {table}");
        }
    }

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let old = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(
            replace(&old, BEGIN, END, "new").unwrap(),
            format!("a\n{BEGIN}\nnew\n{END}\nb\n")
        );
        assert!(replace("no markers", BEGIN, END, "new").is_err());
    }
}
