//! The figures as people read them.

use std::fmt::Write as _;

use super::Line;
use super::kernels::Case;
use super::servers::Servers;
use crate::bench::CONNECTIONS;
use crate::bench::report::{Machine, mebibytes, time};

/// The tables with their circumstances, in Markdown.
pub(super) fn table(
    cases: &[Case],
    servers: &Servers,
    binary: &Line,
    (before, large): (&Line, &[Line]),
    machine: &Machine,
) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "Models asked in process, one thread, microseconds: one row (another one each time) and 1,000 rows. The shortest of up to 500 runs of \
         at least 0.3 ms counts; ours and theirs in turn. LightGBM and XGBoost are asked through their C interfaces, Treelite through the function of C that tl2cgen makes of \
         trees (gcc -O1) and ONNX Runtime through a session, less what such a call takes that computes nothing; scikit-learn as people call it. *Off* is by how much our answers differ at most.\n\n\
         | model | beside | one row: ours | theirs | | 1,000 rows: ours | theirs | | off | wanted |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---|"
    );
    for case in cases {
        let checks: Vec<String> = case
            .wanted
            .iter()
            .map(|wanted| match wanted.check(case) {
                (what, true) => format!("{what} ✓"),
                (what, false) => format!("{what} ✗"),
            })
            .collect();
        for (number, peer) in case.peers.iter().enumerate() {
            let first = number == 0;
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                if first { case.title } else { "" },
                peer.text("peer"),
                microseconds(case.ours.get("one")),
                microseconds(peer.get("one")),
                times(peer.get("one") / case.ours.get("one")),
                microseconds(case.ours.get("many")),
                microseconds(peer.get("many")),
                times(peer.get("many") / case.ours.get("many")),
                if first { off(case) } else { String::new() },
                if first {
                    checks.join(", ")
                } else {
                    String::new()
                },
            );
        }
    }
    let _ = writeln!(
        out,
        "\n![one row](kernels.svg)\n\n\
         `sidegate runtime` beside other servers, each with one process: {CONNECTIONS} connections that each wait for their answer, every \
         answer checked; server and load share the machine.\n\n\
         | request | server | requests/s | p50 | p99 | |\n\
         |---|---|---:|---:|---:|---|"
    );
    for pair in &servers.pairs {
        let ratio = pair.ours.per_second / pair.theirs.per_second;
        let mark = |holds: bool| if holds { '✓' } else { '✗' };
        let wanted = pair.times.map_or(String::new(), |wanted| {
            format!(" (wanted: {wanted}) {}", mark(ratio >= wanted))
        });
        let p50 = pair.p50.map_or(String::new(), |wanted| {
            let holds = pair.ours.p50 < wanted;
            format!(", p50 wanted: {} {}", time(wanted), mark(holds))
        });
        for (name, load, note) in [
            (
                "Sidegate",
                &pair.ours,
                format!("{ratio:.1} times{wanted}{p50}"),
            ),
            (pair.peer, &pair.theirs, String::new()),
        ] {
            let _ = writeln!(
                out,
                "| {} | {name} | {:.0} | {} | {} | {note} |",
                pair.title,
                load.per_second,
                time(load.p50),
                time(load.p99),
            );
        }
    }
    let _ = writeln!(
        out,
        "\n| server with the iris model | start to first answer | resident then |\n|---|---:|---:|"
    );
    for start in &servers.starts {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            start.name,
            time(start.first_answer),
            mebibytes(start.resident_kib),
        );
    }
    let all = |name: &str| -> Vec<f64> { large.iter().map(|line| line.get(name)).collect() };
    let least = |name: &str| all(name).into_iter().fold(f64::INFINITY, f64::min);
    let most = |name: &str| all(name).into_iter().fold(0.0, f64::max);
    let megabytes = |name: &str| most(name) / 1e6;
    let _ = writeln!(
        out,
        "\nWanted of Sidegate: at most 20 ms and 15 MiB.\n\n\
         A request of V2 with 1,000 × 100 numbers of single precision, binary, in process: {} µs, of which the model computes {} µs; the \
         rest reads {:.2} GB/s (wanted: 1).\n\n\
         A forest of {:.0} MB, by {} processes one after the other: read in {:.0} to {:.0} ms (wanted: 1,000), in {:.0} ms by one before them that is \
         not counted, at most {:.0} MB of memory while reading it, the file among them (wanted: \
         twice its size), {:.0} MB after.\n",
        microseconds(binary.get("all")),
        microseconds(binary.get("computing")),
        binary.get("bytes") / (binary.get("all") - binary.get("computing")) / 1e3,
        megabytes("file"),
        large.len(),
        least("milliseconds"),
        most("milliseconds"),
        before.get("milliseconds"),
        megabytes("peak"),
        megabytes("resident"),
    );
    let _ = write!(
        out,
        "Machine: {}, {} cores, {}. Versions: {}.",
        machine.cpu, machine.cores, machine.kernel, machine.versions
    );
    out
}

fn microseconds(value: f64) -> String {
    match value {
        value if value >= 1e3 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= 10.0 => format!("{ratio:.0} ×"),
        ratio => format!("{ratio:.1} ×"),
    }
}

fn off(case: &Case) -> String {
    match case.ours.get("difference") {
        0.0 => "0".to_owned(),
        difference => format!("{difference:.0e}"),
    }
}
