//! Requests and calls as MLServer counts them, with the names of starlette_exporter and py-grpc-prometheus, the libraries
//! that count there.

use crate::grpc;
use crate::metrics::{Histogram, line};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a server was asked since it began.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: Mutex<Requests>,
    calls: Mutex<Calls>,
}

/// By method, path with names for its parts, and status: how long the answers took.
type Answered = BTreeMap<(&'static str, &'static str, u16), Histogram>;

#[derive(Debug, Default)]
struct Requests {
    answered: Answered,
    /// By method.
    in_progress: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
struct Calls {
    /// By method.
    started: BTreeMap<&'static str, u64>,
    /// By method and the name of the status.
    handled: BTreeMap<(&'static str, &'static str), u64>,
    /// By method, how long the answers took.
    handling: BTreeMap<&'static str, Histogram>,
}

impl Traffic {
    /// Answers a request and counts it.
    pub(super) fn request<A>(
        &self,
        method: &'static str,
        path: &'static str,
        answer: impl FnOnce() -> A,
        status: impl FnOnce(&A) -> u16,
    ) -> A {
        *held(&self.requests).in_progress.entry(method).or_default() += 1;
        let began = Instant::now();
        let answer = answer();
        let key = (method, path, status(&answer));
        let mut requests = held(&self.requests);
        requests.answered.entry(key).or_default().time(began);
        if let Some(count) = requests.in_progress.get_mut(method) {
            *count = count.saturating_sub(1);
        }
        answer
    }

    /// Answers a call and counts it.
    pub(crate) fn call<A>(
        &self,
        method: &'static str,
        answer: impl FnOnce() -> Result<A, grpc::Status>,
    ) -> Result<A, grpc::Status> {
        *held(&self.calls).started.entry(method).or_default() += 1;
        let began = Instant::now();
        let answer = answer();
        let code = answer.as_ref().map_or_else(|s| s.code.name(), |_| "OK");
        let mut calls = held(&self.calls);
        *calls.handled.entry((method, code)).or_default() += 1;
        calls.handling.entry(method).or_default().time(began);
        answer
    }

    /// All series.
    pub(crate) fn write(&self, out: &mut String) {
        held(&self.requests).write(out);
        held(&self.calls).write(out);
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn head(out: &mut String, name: &str, kind: &str, what: &str) {
    line(out, format_args!("# HELP {name} {what}"));
    line(out, format_args!("# TYPE {name} {kind}"));
}

impl Requests {
    fn write(&self, out: &mut String) {
        let labels = |(method, path, status): &(&str, &str, u16)| {
            format!(
                "app_name=\"mlserver\",method=\"{method}\",path=\"{path}\",status_code=\"{status}\""
            )
        };
        let name = "rest_server_requests_total";
        head(out, name, "counter", "Total HTTP requests");
        for (key, times) in &self.answered {
            let (labels, count) = (labels(key), times.count());
            line(out, format_args!("{name}{{{labels}}} {count}.0"));
        }
        let name = "rest_server_request_duration_seconds";
        head(out, name, "histogram", "HTTP request duration, in seconds");
        for (key, times) in &self.answered {
            times.write(name, &labels(key), false, out);
        }
        let name = "rest_server_requests_in_progress";
        let what = "Total HTTP requests currently in progress";
        head(out, name, "gauge", what);
        for (method, count) in &self.in_progress {
            line(
                out,
                format_args!("{name}{{app_name=\"mlserver\",method=\"{method}\"}} {count}.0"),
            );
        }
    }
}

impl Calls {
    fn write(&self, out: &mut String) {
        let labels = |method: &str| {
            let service = grpc::SERVICE;
            format!("grpc_method=\"{method}\",grpc_service=\"{service}\",grpc_type=\"UNARY\"")
        };
        let name = "grpc_server_started_total";
        let what = "Total number of RPCs started on the server.";
        head(out, name, "counter", what);
        for (method, count) in &self.started {
            line(out, format_args!("{name}{{{}}} {count}.0", labels(method)));
        }
        let name = "grpc_server_handled_total";
        let what =
            "Total number of RPCs completed on the server, regardless of success or failure.";
        head(out, name, "counter", what);
        for ((method, code), count) in &self.handled {
            let labels = labels(method);
            line(
                out,
                format_args!("{name}{{grpc_code=\"{code}\",{labels}}} {count}.0"),
            );
        }
        let name = "grpc_server_handling_seconds";
        let what = "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.";
        head(out, name, "histogram", what);
        for (method, times) in &self.handling {
            times.write(name, &labels(method), false, out);
        }
    }
}
