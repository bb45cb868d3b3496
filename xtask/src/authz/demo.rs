//! `cargo xtask authz --demo`: what changes for the original report's cluster, shown on Istio and Envoy.

use std::io::BufRead as _;

use anyhow::{Result, bail};

use super::mesh::{Form, Mesh};
use super::rows::{BROWSER, DASHBOARD, Gate, MODEL, OUTSIDE, Rows, Seen};
use super::seed::{self, Topology};

const PREDICT: &str = "/v1/models/sklearn-iris:predict";
const IRIS: &str = "{\"instances\": [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]}";
const FORGED: &str = "kubeflow-userid: victim@example.com";
const GRPC: [&str; 7] = [
    "--http2-prior-knowledge",
    "-H",
    "content-type: application/grpc",
    "-H",
    "te: trailers",
    "-X",
    "POST",
];

/// A request, and what is to be seen of its answer.
struct Shown<'a> {
    what: &'static str,
    gate: Gate,
    host: &'a str,
    target: &'static str,
    more: Vec<String>,
}

/// What is shown of the cluster as it is.
const SHOWN: [&str; 11] = [
    "200 of sklearn-iris-predictor-00001",
    "200 of sklearn-iris-predictor-00001",
    "200 of sklearn-iris-predictor-00001",
    "401",
    "200 of sklearn-iris-predictor-00001",
    "302 to the login",
    "302 to the login",
    "401",
    "200 of centraldashboard, as user@example.com",
    "200 of centraldashboard, as user@example.com",
    "200 of storefront",
];

/// Whether what is shown is as described.
pub(super) fn check() -> Result<()> {
    let before = told(&Rows::of(Mesh::start(seed::before()?)?))?;
    if let Some((what, was)) = before
        .iter()
        .take(8)
        .find(|(_, was)| was.starts_with("200"))
    {
        bail!("as it was, {what}: {was}");
    }
    let after = told(&Rows::of(Mesh::start(seed::plan(
        Topology::Shared,
        Form::Grpc,
    )?)?))?;
    let is: Vec<&str> = after.iter().map(|(_, is)| is.as_str()).collect();
    if is != SHOWN {
        bail!("{after:?}");
    }
    Ok(())
}

/// Shows the cluster as it was and as it is with the authorizer, which runs until a line is read.
pub(super) fn run() -> Result<()> {
    println!("The original cluster, translated by Istio's control plane and served by Envoy.\n");
    let before = told(&Rows::of(Mesh::start(seed::before()?)?))?;
    let rows = Rows::of(Mesh::start(seed::plan(Topology::Shared, Form::Grpc)?)?);
    let after = told(&rows)?;
    let names = ("", "authservice, as it was", "sidegate authz");
    let told = before.iter().zip(&after);
    let told = told.map(|((what, was), (_, is))| (*what, was.as_str(), is.as_str()));
    for (what, was, is) in std::iter::once(names).chain(told) {
        println!("{what:<46}  {was:<44}  {is}");
    }
    let (external, local) = (rows.mesh.external, rows.mesh.local);
    println!(
        "\nThe gateways go on until you press Enter. The outside is http://{external}/ (user@example.com,"
    );
    println!("password 12341234); upstreams answer with what arrived. A workload's call:\n");
    println!("  curl -i -d '{IRIS}' -H 'host: {MODEL}' http://{local}{PREDICT}");
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

/// Each request with its answer in words.
fn told(rows: &Rows) -> Result<Vec<(&'static str, String)>> {
    // What stands in authservice's place makes no tokens.
    let token = rows.mesh.token("kserve-test");
    let token = token.unwrap_or_else(|_| "a.b.c".to_owned());
    let token = format!("authorization: Bearer {token}");
    let jar = rows.mesh.folder.path().join("jar-of-demo");
    let jar = jar.to_string_lossy();
    rows.log_in(&jar)?;
    let mut told = Vec::new();
    // Cookies are of the host that the login was at.
    let here = rows.mesh.external.to_string();
    for shown in requests(&token, &jar, &here) {
        let more: Vec<&str> = shown.more.iter().map(String::as_str).collect();
        let seen = rows.ask(shown.gate, shown.host, shown.target, &more)?;
        told.push((shown.what, words(&seen)));
    }
    Ok(told)
}

fn requests<'a>(token: &str, jar: &str, here: &'a str) -> Vec<Shown<'a>> {
    let asked = |what, gate, host, target, more: &[&str]| Shown {
        what,
        gate,
        host,
        target,
        more: more.iter().map(|word| (*word).to_owned()).collect(),
    };
    let (inside, outside) = (Gate::Local, Gate::External);
    let v2 = "/v2/models/sklearn-iris/infer";
    let call = "/inference.GRPCInferenceService/ModelInfer";
    let post = ["-d", IRIS];
    vec![
        asked(
            "a workload calls the model, V1",
            inside,
            MODEL,
            PREDICT,
            &post,
        ),
        asked("a workload calls the model, V2", inside, MODEL, v2, &post),
        asked(
            "a workload calls the model, gRPC",
            inside,
            MODEL,
            call,
            &GRPC,
        ),
        asked(
            "the outside calls the model",
            outside,
            OUTSIDE,
            PREDICT,
            &post,
        ),
        asked(
            "the outside calls the model with a token",
            outside,
            OUTSIDE,
            PREDICT,
            &["-d", IRIS, "-H", token],
        ),
        asked(
            "a browser opens the dashboard",
            outside,
            DASHBOARD,
            "/",
            &BROWSER,
        ),
        asked(
            "a browser opens /v1anything, and forges a name",
            outside,
            DASHBOARD,
            "/v1anything",
            &["-H", "accept: text/html", "-H", FORGED],
        ),
        asked(
            "a script of a page whose session has ended",
            outside,
            DASHBOARD,
            "/api",
            &["-H", "accept: */*", "-H", "sec-fetch-mode: cors"],
        ),
        asked("somebody logged in", outside, here, "/", &["-b", jar]),
        asked(
            "the same, and forges a name",
            outside,
            here,
            "/",
            &["-b", jar, "-H", FORGED, "-H", "kubeflow_userid: victim"],
        ),
        asked(
            "another team's application, without a login",
            outside,
            "shop.example.com",
            "/cart",
            &["-H", "authorization: Basic eDp5"],
        ),
    ]
}

/// An answer in few words.
fn words(seen: &Seen) -> String {
    let status = seen.answer.status;
    if let Some(arrived) = &seen.arrived {
        let at = arrived.at.split(['.', ':']).next().unwrap_or_default();
        let victim = arrived.headers.iter().any(|(_, v)| v.contains("victim"));
        return match seen.header("kubeflow-userid") {
            _ if victim => format!("{status} of {at}, as the victim"),
            Some(name) => format!("{status} of {at}, as {name}"),
            None => format!("{status} of {at}"),
        };
    }
    match (
        seen.answer.header("grpc-status"),
        seen.answer.header("location"),
    ) {
        (Some(grpc), _) => format!("grpc-status {grpc}"),
        (None, Some(to)) if to.contains("/dex/auth") => format!("{status} to the login"),
        _ => status.to_string(),
    }
}
