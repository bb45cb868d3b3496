//! `sidegate report`: everything that is found, as one page.

use std::path::Path;
use std::process::ExitCode;

use ::verify::{Report, Verdict};
use anyhow::Context as _;
use report::{Compared, Input};
use serde_json::json;

use crate::cli::{Output, ReportArgs};
use crate::inputs::Inputs;
use crate::output::{self, Style};
use crate::side::Side;
use crate::verify::word;
use crate::{hygiene, intents};

pub(crate) fn run(args: ReportArgs) -> anyhow::Result<ExitCode> {
    let version = args.cluster.istio_version.as_deref();
    let range = version.and_then(|version| version.split_once(".."));
    let (now, then) = range.map_or((version, version), |(now, then)| (Some(now), Some(then)));
    let inputs = Inputs::new(args.paths, &args.cluster)?;
    let side = Side::of(&inputs, now)?;
    let other = match &args.compare {
        Some(path) => Some(Side::read(path, then)?),
        None if range.is_some() => Some(Side {
            name: format!("Istio {}", then.unwrap_or_default()),
            ..Side::of(&inputs, then)?
        }),
        None => None,
    };
    output::progress(side.snapshot.route_count());
    let statements = intents::read(&args.own)?;
    let asked = |of: &Side| intents::asked_of(&of.cluster, &side.cluster, &statements);
    let found = ::verify::verify_with(&side.snapshot, &asked(&side));
    let lints = hygiene::all(&side.cluster, &side.snapshot);
    let compared = other.as_ref().map(|other| {
        let report = ::verify::verify_with(&other.snapshot, &asked(other));
        let difference = ::verify::diff(&side.snapshot, &other.snapshot);
        (other, report, difference)
    });
    let after = other.as_ref().map(|other| bare(&other.name));
    let page = report::page(&Input {
        name: &bare(&side.name),
        cluster: &side.cluster,
        snapshot: &side.snapshot,
        report: &found,
        lints: &lints,
        external: &args.external,
        local: &args.local,
        compared: compared
            .as_ref()
            .map(|(other, report, difference)| Compared {
                name: after.as_deref().unwrap_or_default(),
                cluster: &other.cluster,
                snapshot: &other.snapshot,
                report,
                difference,
            }),
    })?;
    if args.out.as_os_str() == "-" {
        output::data(page.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    write(&args.out, &page)?;
    let changes = compared.as_ref().map(|(.., d)| d.changes.len());
    match args.output {
        Output::Json => {
            let value = json!({
                "file": args.out,
                "bytes": page.len(),
                "verdict": word(found.overall()),
                "findings": found.findings.len(),
                "hygiene": lints.len(),
                "changes": changes,
            });
            output::data(&serde_json::to_string_pretty(&value)?)?;
        }
        Output::Text => output::note(
            &Style::Plain,
            &format!(
                "{}: {}, {} of hygiene; written to `{}` ({} kB)",
                side.name,
                outcome(&found),
                lints.len(),
                args.out.display(),
                page.len().div_ceil(1000)
            ),
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// A title has no use for the marks of the command line.
fn bare(name: &str) -> String {
    name.replace('`', "")
}

fn outcome(report: &Report) -> String {
    match report.overall() {
        Verdict::Holds => "every claim holds".to_owned(),
        Verdict::Violated => match report.findings.len() {
            1 => "1 way in which a claim is broken".to_owned(),
            count => format!("{count} ways in which claims are broken"),
        },
        Verdict::NotDecided | Verdict::Vacuous => "not everything is decided".to_owned(),
    }
}

/// Whole or not at all: a browser never sees half a page.
fn write(path: &Path, page: &str) -> anyhow::Result<()> {
    use std::io::Write as _;

    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let written = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".report")
            .permissions(readable())
            .tempfile_in(folder)?;
        file.write_all(page.as_bytes())?;
        file.persist(path)?;
        Ok(())
    };
    written().with_context(|| format!("`{}` cannot be written", path.display()))
}

/// A page is for others, too; a temporary file by itself is not.
fn readable() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::Permissions::from_mode(0o644)
}
