//! How long requests took, in the text form of Prometheus.
//!
//! KServe's four histograms begin at 5 ms, which is longer than most answers here: the same times are also told in finer
//! steps, under names of our own. MLServer's counters stand beside them where it is spoken.

use crate::cost::{Cost, Writing};
use crate::{Compat, Manner, Repository};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Upper ends in seconds; the second value says whether KServe has it too.
const STEPS: [(f64, bool); 23] = [
    (0.000_005, false),
    (0.000_01, false),
    (0.000_025, false),
    (0.000_05, false),
    (0.000_1, false),
    (0.000_25, false),
    (0.000_5, false),
    (0.001, false),
    (0.002_5, false),
    (0.005, true),
    (0.01, true),
    (0.025, true),
    (0.05, true),
    (0.075, true),
    (0.1, true),
    (0.25, true),
    (0.5, true),
    (0.75, true),
    (1.0, true),
    (2.5, true),
    (5.0, true),
    (7.5, true),
    (10.0, true),
];

/// What a request goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// From bytes to a table.
    Preprocess,
    /// The model itself.
    Predict,
    /// From values to bytes.
    Postprocess,
}

const PHASES: [(&str, Option<Phase>); 4] = [
    ("preprocess", Some(Phase::Preprocess)),
    ("postprocess", Some(Phase::Postprocess)),
    ("predict", Some(Phase::Predict)),
    // No model here explains; dashboards that ask for the series find it empty.
    ("explain", None),
];

#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// One for each step, and one for what is beyond.
    counts: [AtomicU64; STEPS.len() + 1],
    nanoseconds: AtomicU64,
}

/// The times of one model since it was loaded.
#[derive(Debug)]
pub(crate) struct Durations {
    cost: Cost,
    preprocess: Histogram,
    predict: Histogram,
    postprocess: Histogram,
    unversioned: Tally,
    called: Tally,
    versioned: Tally,
}

/// Requests as MLServer counts them.
#[derive(Debug, Default)]
struct Tally {
    successes: AtomicU64,
    failures: AtomicU64,
    nanoseconds: AtomicU64,
}

/// Times the phases of one request, which succeeded if the last of them was timed.
pub(crate) struct Stopwatch<'m> {
    durations: &'m Durations,
    tally: &'m Tally,
    /// Of the body.
    size: (Writing, usize),
    began: Instant,
    since: Instant,
    succeeded: bool,
}

impl Default for Durations {
    fn default() -> Self {
        Self::of_rows(None, 1)
    }
}

impl Durations {
    /// Of a model whose row of so many columns took so many nanoseconds.
    pub(crate) fn of_rows(row: Option<u64>, columns: usize) -> Self {
        Self {
            cost: Cost::new(row, columns),
            preprocess: Histogram::default(),
            predict: Histogram::default(),
            postprocess: Histogram::default(),
            unversioned: Tally::default(),
            called: Tally::default(),
            versioned: Tally::default(),
        }
    }

    pub(crate) fn cost(&self) -> &Cost {
        &self.cost
    }

    /// For a request with a body of so many bytes.
    pub(crate) fn start(&self, writing: Writing, bytes: usize) -> Stopwatch<'_> {
        self.begin(&self.unversioned, (writing, bytes))
    }

    /// The same for a call of gRPC.
    pub(crate) fn start_call(&self, bytes: usize) -> Stopwatch<'_> {
        self.begin(&self.called, (Writing::Binary, bytes))
    }

    /// The same for a request or call that names a version.
    pub(crate) fn start_versioned(&self, writing: Writing, bytes: usize) -> Stopwatch<'_> {
        self.begin(&self.versioned, (writing, bytes))
    }

    fn begin<'m>(&'m self, tally: &'m Tally, size: (Writing, usize)) -> Stopwatch<'m> {
        let now = Instant::now();
        Stopwatch {
            durations: self,
            tally,
            size,
            began: now,
            since: now,
            succeeded: false,
        }
    }

    fn of(&self, phase: Phase) -> &Histogram {
        match phase {
            Phase::Preprocess => &self.preprocess,
            Phase::Predict => &self.predict,
            Phase::Postprocess => &self.postprocess,
        }
    }
}

impl Tally {
    /// Those that succeeded and those that failed.
    fn counts(&self) -> (u64, u64) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (count(&self.successes), count(&self.failures))
    }
}

impl Stopwatch<'_> {
    /// The time since the last lap was spent on `phase`.
    pub(crate) fn lap(&mut self, phase: Phase) {
        let now = Instant::now();
        let elapsed = now.duration_since(self.since);
        self.since = now;
        self.succeeded = phase == Phase::Postprocess;
        self.durations
            .of(phase)
            .add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        let elapsed = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let Tally {
            successes,
            failures,
            nanoseconds,
        } = self.tally;
        // What is refused early says nothing of the others of its size.
        if self.succeeded {
            let (writing, bytes) = self.size;
            self.durations.cost.took(writing, bytes, elapsed);
        }
        let count = if self.succeeded { successes } else { failures };
        count.fetch_add(1, Ordering::Relaxed);
        nanoseconds.fetch_add(elapsed, Ordering::Relaxed);
    }
}

impl Histogram {
    /// Counts what began then and ends now.
    pub(crate) fn time(&self, began: Instant) {
        self.add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many times were counted.
    pub(crate) fn count(&self) -> u64 {
        let counts = self.counts.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn add(&self, nanoseconds: u64) {
        let seconds = nanoseconds as f64 / 1e9;
        let step = STEPS.partition_point(|(end, _)| *end < seconds);
        if let Some(count) = self.counts.get(step) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// The series of a name, with these labels and the step. Steps below KServe's first, which is the first of Prometheus'
    /// clients too, are left out if not `fine`.
    pub(crate) fn write(&self, name: &str, labels: &str, fine: bool, out: &mut String) {
        let mut total = 0;
        for ((end, coarse), count) in STEPS.iter().zip(&self.counts) {
            total += count.load(Ordering::Relaxed);
            if fine || *coarse {
                line(
                    out,
                    format_args!("{name}_bucket{{le=\"{end:?}\",{labels}}} {total}.0"),
                );
            }
        }
        total = self.count().max(total);
        let sum = self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        line(
            out,
            format_args!("{name}_bucket{{le=\"+Inf\",{labels}}} {total}.0"),
        );
        line(out, format_args!("{name}_count{{{labels}}} {total}.0"));
        line(out, format_args!("{name}_sum{{{labels}}} {sum:?}"));
    }
}

/// All series, as Prometheus asks for them.
pub(crate) fn response(
    models: &dyn Repository,
    manner: &Manner,
    headers: &HeaderMap,
) -> Response<Bytes> {
    let mut text = text(models);
    if manner.compat == Compat::Mlserver {
        tallies(models, &mut text);
        manner.traffic.write(&mut text);
    }
    let kind = if takes_open(headers) {
        text = open(&text);
        OPEN
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    };
    let mut response = Response::new(Bytes::from(text));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// As Prometheus' client for Python says it.
const OPEN: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores";

/// Whether OpenMetrics is asked for, which that client prefers to anything else.
fn takes_open(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter();
    let mut kinds = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    kinds.any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim() == "application/openmetrics-text"
    })
}

/// The same text as OpenMetrics has it: counters are called without the end of their series, and there is an end.
fn open(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for written in text.lines() {
        match written.split(' ').collect::<Vec<_>>().as_slice() {
            ["#", kind, name, rest @ ..] => {
                let name = name.strip_suffix("_total").unwrap_or(name);
                line(&mut out, format_args!("# {kind} {name} {}", rest.join(" ")));
            }
            _ => line(&mut out, format_args!("{written}")),
        }
    }
    line(&mut out, format_args!("# EOF"));
    out
}

/// All series of a repository's models.
fn text(models: &dyn Repository) -> String {
    let entries = models.index();
    let models: Vec<_> = entries
        .iter()
        .filter_map(|entry| models.find(&entry.name))
        .collect();
    let mut out = String::new();
    for (prefix, fine) in [("", false), ("sidegate_", true)] {
        for (phase, what) in PHASES {
            let name = format!("{prefix}request_{phase}_seconds");
            line(
                &mut out,
                format_args!("# HELP {name} {phase} request latency"),
            );
            line(&mut out, format_args!("# TYPE {name} histogram"));
            let Some(what) = what else { continue };
            for model in &models {
                let label = format!("model_name=\"{}\"", escaped(model.name()));
                model
                    .durations()
                    .of(what)
                    .write(&name, &label, fine, &mut out);
            }
        }
    }
    let name = "sidegate_model_ready";
    line(
        &mut out,
        format_args!("# HELP {name} 1 if the model answers"),
    );
    line(&mut out, format_args!("# TYPE {name} gauge"));
    for entry in &entries {
        let label = escaped(&entry.name);
        let ready = u8::from(entry.ready);
        line(
            &mut out,
            format_args!("{name}{{model_name=\"{label}\"}} {ready}"),
        );
    }
    out
}

/// MLServer's counters. Requests that name no version are those of the version `None` there, calls those of one without a
/// name.
fn tallies(models: &dyn Repository, out: &mut String) {
    let entries = models.index().into_iter();
    let models: Vec<_> = entries
        .filter_map(|entry| models.find(&entry.name))
        .collect();
    let mut rows = Vec::new();
    for model in &models {
        let durations = model.durations();
        let version = model.settings().version.as_deref();
        for (tally, version) in [
            (&durations.unversioned, Some("None")),
            (&durations.called, Some("")),
            (&durations.versioned, version),
        ] {
            if let Some(version) = version {
                let (model, version) = (escaped(model.name()), escaped(version));
                rows.push((
                    format!("{{model=\"{model}\",version=\"{version}\"}}"),
                    tally,
                ));
            }
        }
    }
    for what in ["success", "failure"] {
        let name = format!("model_infer_request_{what}_total");
        line(
            out,
            format_args!("# HELP {name} Model infer request {what} count"),
        );
        line(out, format_args!("# TYPE {name} counter"));
        for (labels, tally) in &rows {
            let (successes, failures) = tally.counts();
            let count = if what == "success" {
                successes
            } else {
                failures
            };
            line(out, format_args!("{name}{labels} {count}.0"));
        }
    }
    let name = "model_infer_request_duration";
    line(
        out,
        format_args!("# HELP {name} Model infer request duration"),
    );
    line(out, format_args!("# TYPE {name} summary"));
    for (labels, tally) in &rows {
        let (successes, failures) = tally.counts();
        let count = successes + failures;
        line(out, format_args!("{name}_count{labels} {count}.0"));
        let sum = tally.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        line(out, format_args!("{name}_sum{labels} {sum:?}"));
    }
}

pub(crate) fn line(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(arguments);
    out.push('\n');
}

/// A label's value, as Prometheus quotes it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_its_step_and_all_above() {
        let durations = Durations::default();
        durations.of(Phase::Predict).add(30_000);
        durations.of(Phase::Predict).add(11_000_000_000);
        let mut out = String::new();
        let labels = "model_name=\"a\"";
        durations
            .of(Phase::Predict)
            .write("x", labels, true, &mut out);
        for expected in [
            "x_bucket{le=\"2.5e-5\",model_name=\"a\"} 0.0\n",
            "x_bucket{le=\"5e-5\",model_name=\"a\"} 1.0\n",
            "x_bucket{le=\"10.0\",model_name=\"a\"} 1.0\n",
            "x_bucket{le=\"+Inf\",model_name=\"a\"} 2.0\n",
            "x_count{model_name=\"a\"} 2.0\n",
            "x_sum{model_name=\"a\"} 11.00003\n",
        ] {
            assert!(out.contains(expected), "{expected} in {out}");
        }
        out.clear();
        durations
            .of(Phase::Predict)
            .write("x", labels, false, &mut out);
        assert!(
            out.starts_with("x_bucket{le=\"0.005\",model_name=\"a\"} 1.0\n"),
            "{out}"
        );
    }
}
