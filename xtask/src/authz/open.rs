//! WebSockets that stay open: notebooks and terminals of Kubeflow were cut after five minutes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use testkit::Socket;

use super::mesh::Form;
use super::peers::ECHO;
use super::rows::{DASHBOARD, Rows, judge};
use super::seed::{self, Topology};
use crate::oracle;

/// What Envoy gives streams on which nothing passes, and the timeout that Kubeflow's notebook controller writes, are five
/// minutes.
const OPEN: Duration = Duration::from_secs(320);
/// How often somebody who works says something.
const WORKS: Duration = Duration::from_secs(10);

/// A notebook's path, as the controller routes it.
const NOTEBOOK: &str = "/notebook/team-a/nb";
const NOTEBOOKS: &str = "
---
apiVersion: v1
kind: Namespace
metadata:
  name: team-a
  labels: {app.kubernetes.io/part-of: kubeflow-profile}
---
apiVersion: v1
kind: Service
metadata: {name: nb, namespace: team-a}
spec:
  selector: {statefulset: nb}
  ports:
  - {name: http-nb, port: 80, targetPort: 8888}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: notebook-team-a-nb, namespace: team-a}
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: ['*']
  http:
  - match:
    - uri: {prefix: /notebook/team-a/nb/}
    rewrite: {uri: /notebook/team-a/nb/}
    route:
    - destination: {host: nb.team-a.svc.cluster.local, port: {number: 80}}
    timeout: 300s
";

/// Beside other suites: it mostly waits.
pub(super) fn run() -> Result<()> {
    oracle::stand_apart();
    let mut plan = seed::plan(Topology::Shared, Form::Grpc)?;
    for (name, text) in &mut plan.files {
        if *name == "cluster.yaml" {
            text.push_str(NOTEBOOKS);
        }
    }
    judge(plan, Rows::open)
}

impl Rows {
    /// Of the platform, of a notebook and of another team, one that says something now and then and one that does not.
    fn open(&mut self) -> Result<()> {
        let cookie = format!("Cookie: {}\r\n", self.session()?);
        let notebook = format!("{NOTEBOOK}{ECHO}");
        let without = self.begin(DASHBOARD, &notebook, "").is_err();
        self.count((!without).then(|| "a notebook without a session".to_owned()));
        let mut all = Vec::new();
        for (what, host, target, more) in [
            ("the platform's", DASHBOARD, ECHO, &*cookie),
            ("a notebook's", DASHBOARD, &*notebook, &*cookie),
            ("another team's", "shop.example.com", ECHO, ""),
        ] {
            for works in [true, false] {
                let how = if works { "working" } else { "silent" };
                let begun = self.begin(host, target, more);
                let socket = begun.with_context(|| format!("{what} {how} socket"))?;
                all.push((format!("{what} {how} socket"), works, Some(socket)));
            }
        }
        let began = Instant::now();
        let mut said = 0_u32;
        while began.elapsed() < OPEN {
            std::thread::sleep(WORKS);
            said += 1;
            for (what, works, socket) in &mut all {
                let passed = match socket {
                    Some(socket) if *works => says(socket, said),
                    _ => continue,
                };
                if let Err(error) = passed {
                    let after = began.elapsed().as_secs();
                    self.count(Some(format!("{what} after {after} s: {error:#}")));
                    *socket = None;
                }
            }
        }
        for (what, _, socket) in &mut all {
            if let Some(socket) = socket {
                let after = began.elapsed().as_secs();
                let passed = says(socket, said + 1);
                let wrong = passed
                    .err()
                    .map(|e| format!("{what} after {after} s: {e:#}"));
                self.count(wrong);
            }
        }
        Ok(())
    }

    fn begin(&self, host: &str, target: &str, more: &str) -> Result<Socket> {
        let mut socket = Socket::connect(&self.mesh.external.to_string())?;
        socket.send(format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        ))?;
        let answer = socket.response()?.context("no answer")?;
        if answer.status() != Some(101) {
            bail!("{} {}", answer.start, answer.text());
        }
        says(&mut socket, 0)?;
        Ok(socket)
    }
}

/// A frame of text, which is said back.
fn says(socket: &mut Socket, number: u32) -> Result<()> {
    let text = format!("{number:05}");
    let frame = [b"\x81\x85\x00\x00\x00\x00", text.as_bytes()].concat();
    socket.send(&frame)?;
    if socket.bytes(frame.len())? != frame {
        bail!("something else is said back");
    }
    Ok(())
}
