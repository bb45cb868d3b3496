//! `cargo xtask bench verify`: how long all questions take, by size.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use policy::{Settings, Snapshot};
use testkit::Synthetic;

use crate::shell;

/// What is whose: the claims are about owners.
const PLATFORM: &str = "
---
apiVersion: sidegate.dev/v1alpha1
kind: Sidegate
metadata: {name: sidegate, namespace: istio-system}
spec:
  mode: as-written
  entrances: {external: istio-system/outside, local: istio-system/inside}
  platform: {namespaces: [team0, team1], gateways: [istio-system/outside]}
";

/// Runs the measurement in a release build of this tool.
pub(crate) fn run() -> Result<()> {
    shell::run(shell::cargo().args([
        "run",
        "--release",
        "--package",
        "xtask",
        "--",
        "bench",
        "verify",
        "--measure",
    ]))
}

/// Sizes, by number of routes.
const SIZES: [usize; 6] = [100, 300, 1_000, 3_000, 10_000, 50_000];

/// Prints a table, a line per size.
pub(crate) fn measure() -> Result<()> {
    println!(
        "| routes | hosts | policies | objects parsed | Snapshot | all questions | cells | one policy changed: diff |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for routes in SIZES {
        let size = Synthetic::of_size(routes);
        let text = format!("{}{PLATFORM}", size.yaml());
        let (cluster, parse) =
            time(|| resources::parse_layers(&[vec![("synthetic.yaml".into(), text.clone())]]));
        let cluster = cluster.map_err(|errors| anyhow!("{errors}"))?;
        let compiled = || Snapshot::compile(&cluster, &Settings::default());
        let (snapshot, compile) = time(compiled);
        let snapshot = snapshot.map_err(|problems| anyhow!("{problems:?}"))?;
        let (report, verify) = time(|| verify::verify(&snapshot));
        let mut changed = cluster.clone();
        changed.authorization_policies.pop();
        let changed = Snapshot::compile(&changed, &Settings::default())
            .map_err(|problems| anyhow!("{problems:?}"))?;
        let (_, diff) = time(|| verify::diff(&snapshot, &changed));
        println!(
            "| {routes} | {} | {} | {} in {} | {} | {} | {} | {} |",
            size.hosts,
            size.policies,
            cluster.object_count(),
            ms(parse),
            ms(compile),
            ms(verify),
            report.cells,
            ms(diff),
        );
    }
    Ok(())
}

fn time<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
}
