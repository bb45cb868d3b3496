//! Somebody at the dashboard behind `sidegate authz`, whose gateway asks over HTTP.

use anyhow::{Context as _, Result, ensure};

use crate::http::Answer;
use crate::visitor::{Browser, form};

/// Where the dashboard is.
pub(crate) const DASHBOARD: &str = "kubeflow.example.com";

/// Who logs in, in the configurations of the suites.
pub(crate) const USER: &str = "user@example.com";
pub(crate) const PASSWORD: &str = "correct horse";
/// bcrypt of cost 10.
pub(crate) const HASH: &str = "$2y$10$HrHuUMn6Ksdd7m/UfAyJU.ctYa5C/L9XuStdyiUqMTYuXoIEp/Ksq";

/// A browser, as the gateway and the provider see it.
#[derive(Default)]
pub(crate) struct Person {
    here: Browser,
    there: Browser,
}

impl Person {
    /// Asks for a page of the platform; the check's answer.
    pub(crate) fn ask(&mut self, authz: &str, method: &str, target: &str) -> Result<Answer> {
        let headers = [("accept", "text/html"), ("sec-fetch-site", "same-origin")];
        let target = format!("/external{target}");
        self.here
            .send_to(authz, DASHBOARD, method, &target, &headers, "")
    }

    /// Whether the dashboard opens.
    pub(crate) fn is_inside(&mut self, authz: &str) -> Result<bool> {
        Ok(self.ask(authz, "GET", "/")?.status == 200)
    }

    /// Logs in with the password; one authorizer begins it, another may end it.
    pub(crate) fn log_in(&mut self, begin: &str, end: &str, provider: &str) -> Result<()> {
        let begun = self.ask(begin, "GET", "/")?;
        let mut target = begun
            .header("location")
            .with_context(|| format!("no login: {begun:?}"))?
            .to_owned();
        let mut answer = self.there.get(provider, &target)?;
        while let (302 | 303, Some(next)) = (answer.status, answer.header("location")) {
            if next.starts_with("/login/oidc") {
                break;
            }
            next.clone_into(&mut target);
            answer = self.there.get(provider, &target)?;
        }
        if answer.status == 200 {
            let fields = form(&[("login", USER), ("password", PASSWORD)]);
            answer = self.there.send(provider, "POST", &target, &fields)?;
        }
        let back = answer
            .header("location")
            .with_context(|| format!("no way back: {answer:?}"))?;
        let ended = self.ask(end, "GET", back)?;
        ensure!(ended.status == 302, "the login ends with {ended:?}");
        ensure!(self.is_inside(end)?, "a login that leads nowhere");
        Ok(())
    }

    /// Logs out at the platform.
    pub(crate) fn log_out(&mut self, authz: &str) -> Result<()> {
        let out = self.ask(authz, "POST", "/authservice/logout")?;
        ensure!(out.status == 201, "a logout is {out:?}");
        Ok(())
    }

    /// Logs out at the provider.
    pub(crate) fn log_out_there(&mut self, provider: &str) -> Result<()> {
        let page = self.there.get(provider, "/dex/logout")?.text();
        let action = page
            .split("action=\"")
            .filter_map(|part| part.split('"').next())
            .find(|action| action.starts_with("/dex/logout?"));
        let action = action.with_context(|| format!("no question: {page}"))?;
        let action = action.replace("&amp;", "&").replace("&#38;", "&");
        let answer = self.there.send(provider, "POST", &action, "logout=yes")?;
        ensure!(answer.status < 400, "a logout there: {answer:?}");
        Ok(())
    }

    /// Headers of a request that is asked about from elsewhere.
    pub(crate) fn cookies(&self) -> String {
        self.here.cookies()
    }
}
