//! Hygiene findings: what gateway and policy objects say that their author
//! did not mean. Syntactic: no request is tried, that is `verify`'s part.
//!
//! Pure: resources in, findings out. Each lint is one small function.

mod context;
mod destinations;
mod filters;
mod finding;
mod hosts;
mod paths;
mod policies;
mod ports;
mod providers;
mod routes;
mod sarif;
mod secrets;
mod sources;
mod tokens;

pub use finding::{Finding, Severity, Witness};
pub use sarif::{sarif, sarif_of_failure};

use context::Context;
use policy::Snapshot;
use resources::Cluster;

/// All findings, the gravest first, then in the order of files and lines.
pub fn lint(cluster: &Cluster, snapshot: &Snapshot) -> Vec<Finding> {
    let context = Context::new(cluster, snapshot);
    let mut found = Vec::new();
    for lints in [
        filters::lints,
        policies::lints,
        providers::lints,
        paths::lints,
        hosts::lints,
        ports::lints,
        sources::lints,
        tokens::lints,
        routes::lints,
        destinations::lints,
        secrets::lints,
    ] {
        lints(&context, &mut found);
    }
    // Nobody asks a login service any more whose place access levels take.
    found.retain(|finding| !context.taken_over.contains(&finding.object));
    // Nobody can change what a controller writes.
    found.retain(|finding| finding.source.generated_from.is_none());
    found.sort_by(|a, b| {
        let place = |f: &Finding| (f.severity, f.source.file.clone(), f.source.line);
        place(a)
            .cmp(&place(b))
            .then_with(|| (&a.id, &a.field).cmp(&(&b.id, &b.field)))
    });
    found
}

#[cfg(test)]
mod tests;
