//! The program as its users meet it: started, asked with curl, ended.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod api_keys;
mod as_written;
mod authz;
mod authz_bad_input;
mod authz_changes;
mod authz_drain;
mod authz_secrets;
mod bad_input;
mod bodies;
#[path = "../../../inference/tests/inference/capture.rs"]
#[allow(dead_code, reason = "without sockets more of it is used")]
mod capture;
mod clients;
mod commands;
mod crash;
mod deploy;
mod dex_lines;
mod docs;
mod drain;
mod enforced;
mod explain;
mod hygiene;
mod login;
mod login_providers;
mod machines;
mod migrate;
mod migrate_login;
mod model;
mod other_gateways;
mod other_schemas;
mod prove;
mod provider;
mod provider_admin;
mod provider_alone;
mod reload;
mod report;
#[path = "../../../inference/tests/inference/requests.rs"]
#[allow(dead_code, reason = "without sockets more of it is used")]
mod requests;
mod roles;
mod runtime;
mod runtime_edges;
mod runtime_fair;
mod runtime_flags;
mod runtime_frameworks;
mod runtime_probes;
mod sessions;
mod sign_out;
mod signed_identity;

use std::process::{Command, Output};

use testkit::{Answer, Sidegate, Start, curl};

/// The binary under test.
pub(crate) const SIDEGATE: &str = env!("CARGO_BIN_EXE_sidegate");

/// The predict body of the original walk-through.
pub(crate) const IRIS: &str = r#"{"instances": [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]}"#;

pub(crate) const LOCAL_HOST: &str = "sklearn-iris.kserve-test.svc.cluster.local";
pub(crate) const OUTSIDE_HOST: &str = "sklearn-iris.kserve-test.example.com";
pub(crate) const PREDICT: &str = "/v1/models/sklearn-iris:predict";

pub(crate) fn example(name: &str) -> Start {
    Start::new(SIDEGATE).arg("--example").arg(name)
}

/// Runs the binary to its end.
pub(crate) fn sidegate(args: &[&str]) -> Output {
    Command::new(SIDEGATE).args(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asks the external listener under a host name.
pub(crate) fn outside(program: &Sidegate, host: &str, path: &str, args: &[&str]) -> Answer {
    let url = format!("{}{path}", program.external());
    let host = format!("Host: {host}");
    curl([&["--path-as-is", "-H", &host, &url][..], args].concat()).unwrap()
}

/// Asks the cluster-local listener as a pod does: through its proxy.
pub(crate) fn inside(program: &Sidegate, host: &str, path: &str, args: &[&str]) -> Answer {
    let url = format!("http://{host}{path}");
    curl(
        [
            &[
                "--path-as-is",
                "--noproxy",
                "",
                "--proxy",
                program.local(),
                &url,
            ][..],
            args,
        ]
        .concat(),
    )
    .unwrap()
}

/// A ServiceAccount token of the running program.
pub(crate) fn token(program: &Sidegate, namespace: &str) -> String {
    let data = program.data().display().to_string();
    let output = sidegate(&[
        "token", "create", "default", "-n", namespace, "--data", &data,
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).trim().to_owned()
}

/// Logs a browser in and returns the path of its cookie jar.
pub(crate) fn log_in(program: &Sidegate, jar: &std::path::Path, password: &str) -> Answer {
    log_in_as(program, jar, "user@example.com", password)
}

/// As [`log_in`], as somebody else.
pub(crate) fn log_in_as(
    program: &Sidegate,
    jar: &std::path::Path,
    email: &str,
    password: &str,
) -> Answer {
    let jar = jar.display().to_string();
    let browser = [
        "-c",
        &jar,
        "-b",
        &jar,
        "-H",
        "accept: text/html",
        "--location",
    ];
    let home = format!("{}/", program.external());
    let written = tempfile::NamedTempFile::new().unwrap();
    let page = written.path().display().to_string();
    let form = curl(
        [
            &browser[..],
            &["--output", &page, "--write-out", "%{url_effective}", &home],
        ]
        .concat(),
    )
    .unwrap();
    assert_eq!(form.status, 200);
    let html = std::fs::read_to_string(written.path()).unwrap();
    assert!(
        html.contains(r#"name="login""#) && html.contains(r#"name="password""#),
        "{html}"
    );
    let (login, password) = (format!("login={email}"), format!("password={password}"));
    let fields = ["--data-urlencode", &login, "--data-urlencode", &password];
    curl([&browser[..], &fields, &[&form.body]].concat()).unwrap()
}
