//! The SDK of Kubeflow Pipelines, from outside and in the cluster.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::Version;
use crate::authz::mesh::{Asked, Form};
use crate::authz::peers::Arrived;
use crate::authz::rows::{Rows, judge};
use crate::{cache, shell};

const OBJECTS: &str = include_str!("../../../kubeflow/pipelines.yaml");
const PAGE: &str = "docs/kubeflow.md";

/// What ends up at `ml-pipeline` or its pages.
const CALLS: usize = 7;

/// With Kubeflow's login alone, and with its rules for tokens.
pub(in crate::authz) fn run() -> Result<()> {
    for (version, form) in [(Version::V1_8, Form::Http), (Version::Current, Form::Grpc)] {
        let asked = Asked::Sidegate { form, more: &[] };
        let mut plan = version.plan(false, asked)?;
        plan.files.push(("pipelines.yaml", OBJECTS.to_owned()));
        plan.files.push(("programs.yaml", documented()?));
        plan.pod = Some(("kubeflow", "ml-pipeline"));
        judge(plan, |rows| rows.sdk_of(version))?;
    }
    Ok(())
}

/// The route for programs as the page has it.
fn documented() -> Result<String> {
    let text = std::fs::read_to_string(shell::root().join(PAGE))?;
    let begin = text.split_once("```yaml\n").map(|(_, rest)| rest);
    let route = begin.and_then(|rest| rest.split_once("\n```"));
    let (route, _) = route.with_context(|| format!("{PAGE} has no route for programs"))?;
    Ok(route.to_owned())
}

/// How the SDK is told who is calling.
enum Given<'a> {
    Cookie(&'a str),
    Token(&'a str),
    Volume(&'a str),
}

impl Rows {
    fn sdk_of(&mut self, version: Version) -> Result<()> {
        let jar = self.jar();
        self.log_in(&jar)?;
        let session = self.session_of(&jar)?;
        let session = session.trim_start_matches("cookie: ");
        let outside = format!("http://{}/pipeline", self.mesh.external);
        let person = "user@example.com";
        let calls = self.sdk(&outside, &Given::Cookie(session), None)?;
        self.all_have("a person", &calls, "kubeflow-userid", Some(person));
        // A ServiceAccount is nobody who logs in, but its token opens the route for programs.
        let both = ["--audience", "pipelines.kubeflow.org"];
        let gateways = [
            "--audience",
            "istio-ingressgateway.istio-system.svc.cluster.local",
        ];
        let token = self.mesh.token_with("team-a", &[both, gateways].concat())?;
        self.sdk(&outside, &Given::Token(&token), Some(403))?;
        let programs = format!("http://{}/programs/pipeline", self.mesh.external);
        let calls = self.sdk(&programs, &Given::Token(&token), None)?;
        let bearer = format!("Bearer {token}");
        self.all_have("a program", &calls, "authorization", Some(&bearer));
        // Where RequestAuthentications write names they write this one's.
        let written = version.verifies_tokens();
        let written = written.then_some("system:serviceaccount:team-a:default");
        self.all_have("a program", &calls, "kubeflow-userid", written);
        let theirs = self.mesh.token_with("shop", &[both, gateways].concat())?;
        self.sdk(&programs, &Given::Token(&theirs), Some(403))?;
        let pipelines_alone = self.mesh.token_with("team-a", &both)?;
        self.sdk(&programs, &Given::Token(&pipelines_alone), Some(401))?;
        self.sdk(&programs, &Given::Cookie(session), Some(401))?;
        self.in_cluster(&pipelines_alone)
    }

    /// Pods call `ml-pipeline` itself, whose sidecar lets through what has no `kubeflow-userid`. No gateway is on the way,
    /// so nobody is asked and nothing is added.
    fn in_cluster(&mut self, token: &str) -> Result<()> {
        let pod = self.mesh.pod.context("no pod of ml-pipeline")?;
        let pod = SocketAddr::from((pod, 8888));
        let volume = self.mesh.folder.path().join("projected");
        std::fs::write(&volume, token)?;
        let volume = volume.to_string_lossy().into_owned();
        let inside = format!("http://{pod}");
        let bearer = format!("Bearer {token}");
        for running in [true, false] {
            if !running {
                self.mesh.stop()?;
            }
            let calls = self.sdk(&inside, &Given::Volume(&volume), None)?;
            self.all_have("a notebook", &calls, "kubeflow-userid", None);
            self.all_have("a notebook", &calls, "authorization", Some(&bearer));
        }
        self.mesh.authorize()?;
        let url = format!("{inside}/apis/v2beta1/experiments");
        let forged = ["-H", "kubeflow-userid: victim@example.com", &url];
        self.mesh.peers.arrived();
        let answer = testkit::curl(forged)?;
        let arrived = self.mesh.peers.arrived().len();
        let wrong = answer.status != 403 || arrived > 0;
        self.count(wrong.then(|| format!("a name that a pod writes: {answer:?}")));
        Ok(())
    }

    /// What arrived of what the SDK asked; nothing, where it is refused.
    fn sdk(&mut self, host: &str, given: &Given<'_>, refused: Option<u16>) -> Result<Vec<Arrived>> {
        let folder = shell::root().join("xtask/peers/kfp");
        let python = cache::python("kfp", &folder.join("requirements.txt"))?;
        let (how, secret) = match given {
            Given::Cookie(secret) => ("cookie", secret),
            Given::Token(secret) => ("token", secret),
            Given::Volume(file) => ("volume", file),
        };
        self.mesh.peers.arrived();
        let here = self.mesh.folder.path();
        let output = Command::new(python)
            .arg(folder.join("sdk.py"))
            .args([how, host, secret])
            .arg(here)
            // It keeps settings of its user.
            .env("HOME", here)
            .output()
            .context("cannot run the SDK")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("{how} at {host}: {said} {errors}");
        }
        let arrived = self.mesh.peers.arrived();
        let (expected, count) = match refused {
            Some(status) => (format!("refused with {status}:"), 0),
            None => ("works".to_owned(), CALLS),
        };
        let right = said.lines().any(|line| line.starts_with(&expected));
        let right = right && arrived.len() == count;
        let wrong = || {
            let calls: Vec<&str> = arrived.iter().map(|a| a.target.as_str()).collect();
            format!("the SDK with a {how} at {host}: {said}; {calls:?}")
        };
        self.count((!right).then(wrong));
        Ok(arrived)
    }

    fn all_have(&mut self, who: &str, calls: &[Arrived], name: &str, expected: Option<&str>) {
        let other = calls
            .iter()
            .find(|call| call.header(name).as_deref() != expected);
        let wrong = other.map(|call| format!("{who}: `{name}` of {call:?}, not {expected:?}"));
        self.count(wrong);
    }
}
