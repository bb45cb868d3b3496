//! Strangers before `sidegate authz`: tokens of issuers that nobody knows, key ids and cookies that are others each time. What
//! it keeps does not grow with them, and nothing is written. Logins that are begun and never ended are among them.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{GROWTH_KIB, flood, resident_kib};
use crate::authz::Authz;
use crate::clients::free_port;
use crate::shell;

const OUTSIDE: &str = "sklearn-iris.kserve-test.example.com";
const DASHBOARD: &str = "dashboard.example.com";

/// Resident memory after a tenth of the checks and after all.
pub(super) fn run(program: &std::path::Path, checks: u64) -> Result<(u64, u64)> {
    let folder = tempfile::tempdir()?;
    let files = folder.path().join("files");
    std::fs::create_dir_all(&files)?;
    let seed = shell::root().join("examples/seed");
    std::fs::copy(seed.join("cluster.yaml"), files.join("cluster.yaml"))?;
    // An issuer whose keys are written down, and one that does not answer.
    let issuers = format!(
        "spec:\n  tokens:\n    issuers:\n\
         \x20   - issuer: https://written.example\n      jwks: '{JWKS}'\n      audiences: [models]\n      service: {{name: a}}\n\
         \x20   - issuer: https://silent.example\n      jwksUri: https://127.0.0.1:{}/keys\n      audiences: [models]\n      service: {{name: b}}\n",
        free_port()?
    );
    let ours = std::fs::read_to_string(seed.join("sidegate.yaml"))?;
    ensure!(
        ours.contains("spec:\n"),
        "the seed's Sidegate object has no spec"
    );
    std::fs::write(
        files.join("sidegate.yaml"),
        ours.replacen("spec:\n", &issuers, 1),
    )?;
    let data = folder.path().join("data");
    let authz = Authz::of(program, &files, &data, 0, &[])?;
    let port = authz.checks.port();
    let kept = || -> Result<Vec<Vec<u8>>> {
        let files = ["sessions.redb", "api-keys.redb"].map(|name| data.join(name));
        let read = files.iter().map(|file| {
            std::fs::read(file).with_context(|| format!("reading `{}`", file.display()))
        });
        read.collect()
    };
    let written = kept()?;
    begun_logins(authz.checks)?;
    flood(port, checks / 10, |number| Ok(check(authz.checks, number)))?;
    let before = resident_kib(authz.id())?;
    let rest = checks / 10..checks;
    flood(port, rest.end - rest.start, |number| {
        Ok(check(authz.checks, rest.start + number))
    })?;
    let after = resident_kib(authz.id())?;
    ensure!(kept()? == written, "something was written for strangers");
    let url = format!("http://{}/external/v1/models/a", authz.checks);
    let host = format!("host: {OUTSIDE}");
    let status = testkit::curl(["-H", &host, "-H", "authorization: Bearer a.b.c", &url])?.status;
    ensure!(status == 401, "a stranger is told {status}");
    authz.end()?;
    let told = std::fs::read_to_string(data.with_extension("log")).context("its log")?;
    ensure!(
        told.contains("issuer is not accepted"),
        "the log gives no reason"
    );
    ensure!(!told.contains("c2VjcmV0"), "a token is in the log");
    ensure!(
        after <= before + GROWTH_KIB,
        "memory grew from {before} to {after} KiB"
    );
    Ok((before, after))
}

const JWKS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// What each kind that begins a login is answered, once: the flood looks at no answers.
fn begun_logins(at: SocketAddr) -> Result<()> {
    for (path, expected) in [("/pipeline/", 302), (START, 302), (CALLBACK, 400)] {
        let url = format!("http://{at}/external{path}");
        let host = format!("host: {DASHBOARD}");
        let answer = testkit::curl(["-H", &host, "-H", "accept: text/html", &url])?;
        ensure!(answer.status == expected, "{path}: {answer:?}");
        let sealed = answer.headers.iter().any(|(name, _)| name == "set-cookie");
        ensure!(expected != 302 || sealed, "no login is begun: {answer:?}");
    }
    Ok(())
}

const START: &str = "/oauth2/start?rd=%2Fpipeline%2F";
const CALLBACK: &str = "/login/oidc?code=x&state=y";

/// The check of one stranger.
fn check(at: SocketAddr, number: u64) -> Vec<u8> {
    let token = |kid: String, issuer: String| {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({"alg": "EdDSA", "kid": kid}));
        let claims = part(
            json!({"iss": issuer, "sub": format!("s{number}"), "aud": "models",
            "exp": 4_000_000_000_u64}),
        );
        format!("authorization: Bearer {header}.{claims}.c2VjcmV0LXNpZ25hdHVyZQ")
    };
    let id = URL_SAFE_NO_PAD.encode(format!("{number:032}"));
    let (host, header) = match number % 9 {
        0 => (
            OUTSIDE,
            token("k".into(), format!("https://{number}.example")),
        ),
        1 => (
            OUTSIDE,
            token(format!("k{number}"), "https://written.example".into()),
        ),
        2 => (
            OUTSIDE,
            token(format!("k{number}"), "https://silent.example".into()),
        ),
        3 => (DASHBOARD, format!("cookie: authservice_session={id}")),
        4 => (
            DASHBOARD,
            format!("cookie: sidegate_login_0={id}; a{number}={id}"),
        ),
        5 => (OUTSIDE, format!("x-sidegate-mark: {id}")),
        // Browsers that begin a login and never end it, and ends of logins that never began.
        _ => (DASHBOARD, format!("accept: text/html\r\ncookie: a={id}")),
    };
    let path = match number % 9 {
        6 => format!("/pipeline/{number}"),
        7 => format!("{START}{number}"),
        8 => format!("{CALLBACK}{id}"),
        _ => format!("/v1/models/{number}"),
    };
    format!("GET /external{path} HTTP/1.1\r\nhost: {host}\r\nvia: {at}\r\n{header}\r\n\r\n")
        .into_bytes()
}
