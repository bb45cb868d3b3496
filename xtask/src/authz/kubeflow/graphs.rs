//! InferenceGraphs: their own names, and their routers' calls to models.

use anyhow::Result;

use super::router::Router;
use crate::authz::rows::{BROWSER, Gate, Rows, Seen};

/// What a caller of a graph sends; any path is the graph's.
const ASK: &str = "/v1/models/pair:predict";
const POST: [&str; 2] = ["-d", "{\"instances\": [[6.8, 2.8, 4.8, 1.4]]}"];

impl Rows {
    pub(super) fn graphs_of(&mut self) -> Result<()> {
        self.names_of_graphs()?;
        self.routers()
    }

    /// A graph is called as a model is.
    fn names_of_graphs(&mut self) -> Result<()> {
        let own = format!("authorization: Bearer {}", self.mesh.token("team-a")?);
        let theirs = format!("authorization: Bearer {}", self.mesh.token("shop")?);
        let elsewhere = self.mesh.token_with("team-a", &["--audience", "vault"])?;
        let elsewhere = format!("authorization: Bearer {elsewhere}");
        for host in [
            "pair.team-a",
            "pair.team-a.svc",
            "pair.team-a.svc.cluster.local",
        ] {
            for path in [ASK, "/"] {
                let seen = self.through(host, Gate::Local, host, path, &POST)?;
                let at = seen.arrived.as_ref().map(|arrived| arrived.at.as_str());
                let routers = at == Some("pair-00001.team-a.svc.cluster.local:80");
                self.expect("it is the router's", routers, &seen);
            }
        }
        let outside = "pair.team-a.example.com";
        for more in [&POST[..], &BROWSER, &["-d", "{}", "-H", &elsewhere]] {
            self.stopped("a graph outside", 401, Gate::External, outside, ASK, more)?;
        }
        let with = ["-d", "{}", "-H", &own];
        self.through("a graph with a token", Gate::External, outside, ASK, &with)?;
        let forged = [
            "-d",
            "{}",
            "-H",
            &own,
            "-H",
            "kubeflow-userid: victim@example.com",
            "-H",
            "x-sidegate-mark: victim",
            "-H",
            "Knative-Serving-Revision: victim",
        ];
        let seen = self.through("a graph forged", Gate::External, outside, ASK, &forged)?;
        self.unforged("nothing is forged", &seen);
        let limited = "closed.team-a.svc.cluster.local";
        let outside = "closed.team-a.example.com";
        for (gate, host) in [(Gate::Local, limited), (Gate::External, outside)] {
            self.stopped("a limited graph", 401, gate, host, ASK, &POST)?;
            let with = ["-d", "{}", "-H", &theirs];
            self.stopped("a limited graph of others", 403, gate, host, ASK, &with)?;
            let with = ["-d", "{}", "-H", &own];
            self.through("a limited graph of its own", gate, host, ASK, &with)?;
        }
        Ok(())
    }

    /// What routers call: a model that everybody in the cluster may call, and one with a limit, which wants to know who
    /// called the graph.
    fn routers(&mut self) -> Result<()> {
        let own = format!("authorization: Bearer {}", self.mesh.token("team-a")?);
        let theirs = format!("authorization: Bearer {}", self.mesh.token("shop")?);
        let bad = "authorization: Bearer a.b.c";
        let none: &'static [&'static str] = &[];
        let iris = &["iris"];
        let limited = &["limited"];
        for (headers, models, sent, expected) in [
            (none, iris, None, 200),
            (none, iris, Some(&*own), 200),
            (&["authorization"], iris, Some(&own), 200),
            (&["authorization"], iris, None, 200),
            // Without its caller's token a router is nobody.
            (none, limited, None, 401),
            (none, limited, Some(&own), 401),
            (&["authorization"], limited, Some(&own), 200),
            (&["authorization"], limited, Some(&theirs), 403),
            (&["authorization"], limited, None, 401),
            (&["x-", "authorization"], limited, Some(&own), 200),
        ] {
            let [model] = *models;
            let router = Router::start("team-a", models, headers, self.mesh.local)?;
            let what = format!(
                "a router with {headers:?} calls {model}, token: {}",
                sent.is_some()
            );
            let seen = self.by_router(&router, Gate::Local, "chain.team-a", sent)?;
            self.judged(&what, &seen, model, expected);
            let kept = seen.arrived.is_none()
                || seen.header("authorization").is_some()
                    == (!headers.is_empty() && sent.is_some());
            self.expect(&format!("{what}: as propagated"), kept, &seen);
        }
        // From outside, and to models in a row: the last is called if the first was.
        let all = &["authorization"];
        let router = Router::start("team-a", &["iris", "limited"], all, self.mesh.local)?;
        let host = "chain.team-a.example.com";
        for (sent, expected) in [(&*own, 200), (&theirs, 403), (bad, 401)] {
            let seen = self.by_router(&router, Gate::External, host, Some(sent))?;
            self.judged("a chain from outside", &seen, "limited", expected);
        }
        let seen = self.by_router(&router, Gate::External, host, None)?;
        self.judged("a chain without a token", &seen, "limited", 401);
        Ok(())
    }

    /// Calls the graph that this router is of; what came to the models last.
    fn by_router(
        &self,
        router: &Router,
        gate: Gate,
        host: &str,
        sent: Option<&str>,
    ) -> Result<Seen> {
        self.mesh.peers.lead(ROUTER, router.address);
        let mut with = POST.to_vec();
        with.extend(sent.iter().flat_map(|header| ["-H", header]));
        self.ask(gate, host, ASK, &with)
    }

    /// The router answers what the last model did.
    fn judged(&mut self, what: &str, seen: &Seen, model: &str, expected: u16) {
        let at = seen.arrived.as_ref().map(|arrived| arrived.at.as_str());
        let there = at.is_some_and(|at| at.starts_with(&format!("{model}-")));
        let right = seen.answer.status == expected && there == (expected == 200);
        self.expect(what, right, seen);
        let mark = seen.header("x-sidegate-mark");
        self.expect(&format!("{what}: no mark leaves"), mark.is_none(), seen);
    }
}

/// Where the revision of a graph is asked that has a router; no connection is kept to it.
const ROUTER: &str = "chain-00001.team-a.svc.cluster.local:80";
