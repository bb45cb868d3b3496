//! What becomes of each key of another program's configuration, told to people and programs.

use std::process::ExitCode;

use compat::{Report, Standing};
use serde_json::json;

use crate::cli::Output;
use crate::output::{self, BadInput, Style};

/// Prints the whole report; `from` is the file, or what else it was read from.
pub(crate) fn print(from: &str, report: &Report, form: Output) -> anyhow::Result<()> {
    match form {
        Output::Json => {
            let entries: Vec<_> = report
                .entries
                .iter()
                .map(|entry| {
                    json!({
                        "line": entry.line,
                        "key": entry.key,
                        "standing": entry.standing.name(),
                        "note": entry.note,
                    })
                })
                .collect();
            let value = json!({ "file": from, "keys": entries });
            output::data(&serde_json::to_string_pretty(&value)?)
        }
        Output::Text => {
            let mut lines: Vec<String> = report
                .entries
                .iter()
                .map(|entry| match entry.line {
                    0 => format!("{:>5}  {entry}", ""),
                    line => format!("{line:>5}  {entry}"),
                })
                .collect();
            lines.push(format!(
                "{from}: {} keys supported, {} ignored, {} refused",
                report.count(Standing::Supported),
                report.count(Standing::Ignored),
                report.count(Standing::Refused)
            ));
            output::data(&lines.join("\n"))
        }
    }
}

/// 3 if something is refused.
pub(crate) fn exit_code(report: &Report) -> ExitCode {
    let refused = report.count(Standing::Refused) > 0;
    ExitCode::from(if refused { 3 } else { 0 })
}

/// An error for each key with which the configuration is not taken.
pub(crate) fn refuse(from: &str, report: &Report) -> Result<(), BadInput> {
    let refused = report.remarks().filter(|e| e.standing == Standing::Refused);
    let lines: Vec<String> = refused
        .map(|entry| match entry.line {
            0 => format!("`{}`: {}", entry.key, entry.note),
            line => format!("{from}:{line}: {}", entry.note),
        })
        .collect();
    if lines.is_empty() {
        Ok(())
    } else {
        Err(BadInput(lines))
    }
}

/// A warning for each key that has no effect.
pub(crate) fn tell(from: &str, report: &Report) {
    for entry in report.remarks() {
        let at = match entry.line {
            0 => String::new(),
            line => format!("{from}:{line}: "),
        };
        let said = match entry.standing {
            Standing::Ignored => " is ignored",
            Standing::Supported | Standing::Refused => "",
        };
        let line = format!("{at}`{}`{said}: {}", entry.key, entry.note);
        output::note(&Style::Warning, &line);
    }
}
