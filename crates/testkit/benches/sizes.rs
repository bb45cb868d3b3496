//! What `cargo xtask bench verify` measures: one size in one process, as a line
//! of JSON.
#![expect(clippy::print_stdout, reason = "a tool that is read by another one")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use policy::{Answers, Entrance, NoTrace, RequestHead, Scheme, Settings, Snapshot, Verdict};
use resources::Cluster;
use serde_json::json;
use testkit::Synthetic;
use verify::{Asked, Verifier};

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

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--size", routes] => one_size(routes.parse()?),
        ["--explosion", policies] => explosion(policies.parse()?),
        _ => Err(anyhow!(
            "expected `--size ROUTES` or `--explosion POLICIES`"
        )),
    }
}

fn one_size(routes: usize) -> Result<()> {
    let size = Synthetic::of_size(routes);
    let text = format!("{}{PLATFORM}", size.yaml());
    let files = [vec![("synthetic.yaml".into(), text)]];
    let (cluster, parse) = time(|| resources::parse_layers(&files));
    let cluster = cluster.map_err(|errors| anyhow!("{errors}"))?;
    let (snapshot, compile) = time(|| compiled(&cluster));
    let snapshot = snapshot?;
    let start = Instant::now();
    let report = verify::verify(&snapshot);
    let questions = start.elapsed().as_secs_f64() * 1e3;
    let mebibytes = peak()?;
    let changed = Arc::new(compiled(&two_hosts_changed(&cluster))?);
    let asked = Asked::default();
    let mut verifier = Verifier::new();
    let snapshot = Arc::new(snapshot);
    verifier.verify(&snapshot, &asked);
    let (kept, again) = time(|| verifier.verify(&changed, &asked));
    let looked_at = verifier.looked_at();
    let anew = verify::verify(&changed);
    ensure!(
        kept.findings.len() == anew.findings.len() && kept.cells == anew.cells,
        "what was kept is not what is found anew"
    );
    let (difference, diff) = time(|| verify::diff(&snapshot, &changed));
    ensure!(
        difference.undecided.is_empty(),
        "{:?}",
        difference.undecided
    );
    let (p50, p99) = decisions(&snapshot, &size)?;
    let row = json!({
        "routes": size.routes,
        "hosts": size.hosts,
        "policies": size.policies,
        "cells": report.cells,
        "findings": report.findings.len(),
        "parse": parse,
        "compile": compile,
        "questions": questions,
        "again": again,
        "lookedAt": looked_at,
        "diff": diff,
        "decideP50": p50,
        "decideP99": p99,
        "mebibytes": mebibytes,
    });
    println!("{row}");
    Ok(())
}

fn compiled(cluster: &Cluster) -> Result<Snapshot> {
    Snapshot::compile(cluster, &Settings::default()).map_err(|problems| anyhow!("{problems:?}"))
}

/// The same cluster with one route less at two hosts.
fn two_hosts_changed(cluster: &Cluster) -> Cluster {
    let mut changed = cluster.clone();
    for service in changed.virtual_services.iter_mut().take(2) {
        service.spec.http.pop();
    }
    changed
}

/// Median and 99th percentile of one decision, in microseconds.
fn decisions(snapshot: &Snapshot, size: &Synthetic) -> Result<(f64, f64)> {
    let mut times = Vec::new();
    let mut permitted = 0;
    let words = ["api", "v1", "v2", "models", "static", "hub"]
        .iter()
        .cycle();
    let letters = ["p", "q"].iter().cycle();
    for ((number, word), letter) in (0..20_000).zip(words).zip(letters) {
        let head = RequestHead {
            entrance: Entrance::External,
            method: http::Method::GET,
            scheme: Scheme::Http,
            authority: size.host(number / 120 % size.hosts).replace('*', "x"),
            path: format!("/{word}/{letter}{}/x", number / 12 % 10),
            query: None,
            headers: http::HeaderMap::new(),
            peer: SocketAddr::from(([203, 0, 113, 7], 50_000)),
            connection: policy::Connection::default(),
            workload: None,
        };
        let start = Instant::now();
        let verdict = policy::decide(snapshot, &head, &Answers::new(), &mut NoTrace);
        times.push(start.elapsed());
        permitted += usize::from(matches!(verdict, Verdict::Permit(_)));
    }
    ensure!(permitted > 0, "nothing was permitted");
    times.sort_unstable();
    let at = |part: usize| -> f64 {
        let found = times.get(times.len() * part / 100);
        found.map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    Ok((at(50), at(99)))
}

/// A configuration made to have as many classes as can be.
fn explosion(policies: usize) -> Result<()> {
    let files = [vec![(
        "explosion.yaml".into(),
        testkit::explosion(policies),
    )]];
    let cluster = resources::parse_layers(&files).map_err(|errors| anyhow!("{errors}"))?;
    let snapshot = compiled(&cluster)?;
    let (report, took) = time(|| verify::verify(&snapshot));
    ensure!(
        report.overall() != verify::Verdict::Holds,
        "what nobody can decide was said to hold"
    );
    println!("{}", json!({ "milliseconds": took, "mebibytes": peak()? }));
    Ok(())
}

/// Most memory that this process had, in MiB.
fn peak() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: f64 = kib.context("/proc/self/status says no VmHWM")?.parse()?;
    Ok(kib / 1_024.0)
}

/// Processor time in milliseconds: what else the machine does counts less.
fn time<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = processor();
    let value = work();
    (value, processor() - before)
}

fn processor() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text
        .split_whitespace()
        .next()
        .and_then(|n| n.parse::<f64>().ok());
    nanoseconds.unwrap_or_default() / 1e6
}
