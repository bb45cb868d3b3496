//! Proofs of what holds: written to a file, and checked.

use std::path::Path;
use std::process::ExitCode;

use ::verify::{Asked, Claim, Report, Verdict};
use anyhow::Context as _;
use certificate::{Certificate, check as check_proofs};
use policy::Snapshot;

use crate::output::{self, BadInput, Style};

/// Larger files are no certificates.
const MAX_BYTES: u64 = 256 << 20;

pub(crate) fn write(file: &Path, snapshot: &Snapshot, report: &Report) -> anyhow::Result<()> {
    let certificate = ::verify::certify(snapshot, report);
    let proved = |id: &str| certificate.claims.iter().any(|proof| proof.claim == id);
    let held = report.claims.iter();
    let held = held.filter(|claim| report.verdict(claim) == Verdict::Holds);
    let without: Vec<&str> = held.map(Claim::id).filter(|id| !proved(id)).collect();
    if !without.is_empty() {
        let names = without.join(", ");
        output::note(&Style::Plain, &format!("no proof is written of: {names}"));
    }
    let text = serde_json::to_string_pretty(&certificate)?;
    std::fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))
}

/// 0 accepted, 1 rejected.
pub(crate) fn check(file: &Path, snapshot: &Snapshot, own: &Asked) -> anyhow::Result<ExitCode> {
    let unusable = |why: String| BadInput(vec![format!("{}: {why}", file.display())]);
    let length = std::fs::metadata(file)
        .map_err(|error| unusable(error.to_string()))?
        .len();
    if length > MAX_BYTES {
        return Err(unusable(format!("{length} bytes: expected at most {MAX_BYTES}")).into());
    }
    let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    let certificate: Certificate =
        serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    let statements: Vec<_> = own
        .intents
        .iter()
        .map(|own| (own.id().to_owned(), own.written().clone()))
        .collect();
    match check_proofs(&certificate, snapshot, &statements) {
        Ok(proved) => {
            for claim in &proved {
                output::data(&format!("✓ {claim}"))?;
            }
            output::data(&format!("{} proofs accepted.", proved.len()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(rejected) => {
            output::data(&format!("✗ {rejected}\nThe certificate is rejected."))?;
            Ok(ExitCode::from(1))
        }
    }
}
