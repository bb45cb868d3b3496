//! People in a real browser.

use std::process::Command;

use anyhow::Result;

use super::mesh::{Asked, Form, Plan};
use super::rows::{Rows, judge};
use super::seed::{self, Topology};
use crate::{cache, shell};

/// The same where gateways ask over HTTP, and the cluster-local one has pods of its own.
pub(super) fn apart() -> Result<()> {
    let (topology, form) = (Topology::Separate, Form::Http);
    let plan = Plan {
        verified: false,
        files: seed::cluster(topology, form)?,
        ..seed::plan(topology, form)?
    };
    judge(plan, |rows| rows.in_chromium(None))
}

/// Logins, tabs, what scripts get without a session, forms, logouts, and the fast path while nobody answers checks.
pub(super) fn run() -> Result<()> {
    let plan = Plan {
        asked: Asked::Sidegate {
            form: Form::Fast,
            more: &["--pass-seconds", "600"],
        },
        // Who logs out is asked for the password again: no sessions at the provider.
        verified: false,
        files: seed::cluster(Topology::Shared, Form::Fast)?,
        ..seed::plan(Topology::Shared, Form::Fast)?
    };
    judge(plan, |rows| {
        rows.in_chromium(None)?;
        rows.mesh.stop()?;
        rows.in_chromium(Some("passes"))
    })
}

impl Rows {
    fn in_chromium(&mut self, step: Option<&str>) -> Result<()> {
        let peers = shell::root().join("xtask/peers");
        let modules = cache::node_modules("relying-parties", &peers.join("relying"))?;
        let mut script = Command::new("node");
        script
            .arg(peers.join("browser/authz.mjs"))
            .arg(modules.join("playwright-core"))
            .arg(cache::chromium()?)
            .arg(self.mesh.external.to_string())
            .arg(self.mesh.folder.path().join("state.json"))
            .args(step);
        let ran = shell::run(&mut script);
        self.count(ran.err().map(|error| format!("{error:#}")));
        Ok(())
    }
}
