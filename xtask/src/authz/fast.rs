//! The fast path: people with a pass, while nobody answers checks.

use anyhow::{Context as _, Result};

use super::rows::{DASHBOARD, Gate, OUTSIDE, Rows};

impl Rows {
    /// People with a pass are let through unasked, to the platform alone.
    pub(super) fn fast_path(&mut self) -> Result<()> {
        let jar = self.mesh.folder.path().join("jar-of-passes");
        let jar = jar.to_string_lossy().into_owned();
        self.log_in(&jar)?;
        let host = self.mesh.external.to_string();
        let with = ["-b", &jar, "-c", &jar];
        self.through("a session", Gate::External, &host, "/", &with)?;
        let kept = std::fs::read_to_string(&jar)?;
        let pass = kept
            .lines()
            .find_map(|line| line.split_once("sidegate_pass\t"));
        let pass = pass.context("no pass was given")?.1.to_owned();
        let pass = format!("cookie: sidegate_pass={pass}");
        self.mesh.stop()?;
        let forged = [
            "-H",
            &pass,
            "-H",
            "kubeflow-userid: victim@example.com",
            "-H",
            "Kubeflow_Userid: victim@example.com",
            "-H",
            "kubeflow-groups: victim",
            "-H",
            "X-Auth_Request-Email: victim",
        ];
        let seen = self.through("a pass alone", Gate::External, &host, "/pipeline", &forged)?;
        let headers = seen.arrived.iter().flat_map(|arrived| &arrived.headers);
        let forged = headers
            .filter(|(_, value)| value.contains("victim"))
            .count();
        let right = seen.header("kubeflow-userid").as_deref() == Some("user@example.com");
        let groups = seen
            .header("kubeflow-groups")
            .is_none_or(|groups| groups.is_empty());
        self.expect("says who it is", right && groups && forged == 0, &seen);
        let with = ["-H", pass.as_str()];
        let model = "/v1/models/sklearn-iris:predict";
        self.stopped("no pass", 403, Gate::External, &host, "/", &[])?;
        self.stopped(
            "a model with one",
            403,
            Gate::External,
            OUTSIDE,
            model,
            &with,
        )?;
        self.stopped("another host", 403, Gate::External, DASHBOARD, "/", &with)?;
        let (signed, signature) = pass.rsplit_once('.').context("a pass is a token")?;
        let changed = format!("{signed}.{}", signature.chars().rev().collect::<String>());
        self.stopped(
            "a changed one",
            403,
            Gate::External,
            &host,
            "/",
            &["-H", &changed],
        )?;
        self.stopped(
            "its logout",
            403,
            Gate::External,
            &host,
            "/authservice/logout",
            &with,
        )?;
        // Three seconds of the pass, and five that clocks may be apart.
        std::thread::sleep(std::time::Duration::from_secs(9));
        self.stopped("an old one", 403, Gate::External, &host, "/", &with)?;
        self.authorized_again(model)?;
        let out = ["-b", &*jar, "-X", "POST", "-d", ""];
        let seen = self.ask(Gate::External, &host, "/authservice/logout", &out)?;
        let cookies = seen
            .answer
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie");
        let forgotten = cookies
            .filter(|(_, v)| v.starts_with("sidegate_pass=;"))
            .count()
            == 1;
        self.expect(
            "logout takes the pass",
            seen.answer.status == 201 && forgotten,
            &seen,
        );
        Ok(())
    }
}
