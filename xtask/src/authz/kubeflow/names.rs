//! A model by each of its names: nothing but a workload, or a token, gets to any of them.

use anyhow::Result;

use super::Version;
use crate::authz::rows::{Gate, Rows};

pub(super) const OBJECTS: &str = include_str!("../../../kubeflow/names.yaml");

/// Where models are from outside, beside the domain of all.
pub(super) const MORE: &str = "models.example.org";

const EXPLAIN: &str = "/v1/models/why:explain";
const PREDICT: &str = "/v1/models/why:predict";
const POST: [&str; 2] = ["-d", "{}"];

impl Rows {
    pub(super) fn names_of(&mut self, version: Version) -> Result<()> {
        let own = format!("authorization: Bearer {}", self.mesh.token("team-a")?);
        let theirs = format!("authorization: Bearer {}", self.mesh.token("shop")?);
        self.explained(&own, &theirs)?;
        let (own, theirs) = (
            ["-d", "{}", "-H", &own],
            ["-d", "{}", "-H", "authorization: Bearer a.b.c"],
        );
        let model = "/v1/models/iris:predict";
        for host in [
            "latest-iris-predictor.team-a.svc.cluster.local",
            "latest-iris-predictor.team-a.svc",
            "latest-iris-predictor.team-a",
            "prev-iris-predictor.team-a.svc.cluster.local",
        ] {
            self.through(host, Gate::Local, host, model, &POST)?;
        }
        let mut outside = vec![
            "latest-iris-predictor.team-a.example.com".to_owned(),
            "prev-iris-predictor.team-a.example.com".to_owned(),
            "why-explainer.team-a.example.com".to_owned(),
        ];
        if version == Version::Current {
            outside.push(format!("iris-team-a.{MORE}"));
        }
        for host in &outside {
            self.stopped(host, 401, Gate::External, host, model, &POST)?;
            let what = format!("{host} with a wrong token");
            self.stopped(&what, 401, Gate::External, host, model, &theirs)?;
            let what = format!("{host} with a token");
            self.through(&what, Gate::External, host, model, &own)?;
            // No path is open on any of them.
            for path in ["/dex/auth", "/healthz", "/metrics", "/oauth2/start"] {
                let what = format!("{host}{path}");
                self.stopped(&what, 401, Gate::External, host, path, &[])?;
            }
        }
        Ok(())
    }

    /// A workload asks for an explanation, and the explainer for predictions.
    fn explained(&mut self, own: &str, theirs: &str) -> Result<()> {
        let arrived = |seen: &crate::authz::rows::Seen, part: &str| {
            let at = seen.arrived.as_ref().map(|arrived| arrived.at.as_str());
            at.is_some_and(|at| at.starts_with(part))
        };
        for (what, host, path, part) in [
            (
                "an explanation",
                "why.team-a.svc.cluster.local",
                EXPLAIN,
                "why-explainer",
            ),
            (
                "a prediction",
                "why.team-a.svc.cluster.local",
                PREDICT,
                "why-predictor",
            ),
            (
                "the explainer itself",
                "why-explainer.team-a.svc.cluster.local",
                EXPLAIN,
                "why-explainer",
            ),
            (
                "explainer to predictor",
                "why-predictor.team-a.svc.cluster.local",
                PREDICT,
                "why-predictor",
            ),
            (
                "the same by a short name",
                "why-predictor.team-a",
                PREDICT,
                "why-predictor",
            ),
        ] {
            let seen = self.through(what, Gate::Local, host, path, &POST)?;
            self.expect(
                &format!("{what} arrives there"),
                arrived(&seen, part),
                &seen,
            );
        }
        // With limits the explainer calls with its own token, or not at all.
        let host = "why-limited-predictor.team-a.svc.cluster.local";
        let path = "/v1/models/why-limited:predict";
        self.stopped(
            "an explainer without its token",
            401,
            Gate::Local,
            host,
            path,
            &POST,
        )?;
        let with = ["-d", "{}", "-H", own];
        self.through("an explainer with its own", Gate::Local, host, path, &with)?;
        let with = ["-d", "{}", "-H", theirs];
        self.stopped(
            "somebody else's explainer",
            403,
            Gate::Local,
            host,
            path,
            &with,
        )?;
        Ok(())
    }
}
