//! The authorizer ends, and comes back.

use anyhow::{Result, bail};
use testkit::curl;

use super::others::Other;
use super::rows::{BROWSER, DASHBOARD, Gate, MODEL, Rows};

impl Rows {
    /// Without the authorizer nothing passes, and afterwards everything does again.
    pub(super) fn gone_and_back(&mut self) -> Result<()> {
        let target = "/v1/models/sklearn-iris:predict";
        let health = format!("http://{}/readyz", self.mesh.authz()?.health);
        let ready = curl([&health])?;
        if ready.status != 200 {
            bail!("it is not ready: {}", ready.status);
        }
        self.mesh.stop()?;
        let away = self
            .mesh
            .other()
            .map_or(403, Other::says_without_an_authorizer);
        self.stopped(
            "while it is away",
            away,
            Gate::Local,
            MODEL,
            target,
            &["-d", "{}"],
        )?;
        self.stopped(
            "the dashboard too",
            away,
            Gate::External,
            DASHBOARD,
            "/",
            &BROWSER,
        )?;
        self.authorized_again(target)?;
        self.through("when it is back", Gate::Local, MODEL, target, &["-d", "{}"])?;
        Ok(())
    }

    /// Starts the authorizer that was ended, and waits until the model answers again.
    pub(super) fn authorized_again(&mut self, target: &str) -> Result<()> {
        self.mesh.authorize()?;
        let began = std::time::Instant::now();
        let asked = ["-d", "{}"];
        while self.ask(Gate::Local, MODEL, target, &asked)?.answer.status != 200 {
            if began.elapsed().as_secs() > 20 {
                bail!("nothing passes although the authorizer is back");
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Ok(())
    }
}
