//! What the threads about Kubeflow ask for, row by row.

use anyhow::{Result, bail};

use super::Version;
use crate::authz::rows::{BROWSER, Gate, Rows, Seen};

const DASHBOARD: &str = "kubeflow.example.com";
const SHOP: &str = "shop.example.com";

impl Rows {
    /// Workloads call models by any of their names, the outside needs a token for each.
    pub(super) fn models_of(&mut self, version: Version) -> Result<()> {
        let v1 = "/v1/models/iris:predict";
        let post = ["-d", "{\"instances\": [[6.8, 2.8, 4.8, 1.4]]}"];
        let grpc = [
            "--http2-prior-knowledge",
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
            "-X",
            "POST",
        ];
        let call = "/inference.GRPCInferenceService/ModelInfer";
        // The model, what transforms for it, and what it is sent on to.
        for host in [
            "iris.team-a.svc.cluster.local",
            "iris-predictor.team-a.svc.cluster.local",
            "iris-predictor.team-a.svc",
            "iris-predictor.team-a",
            "iris-transformer.team-a.svc.cluster.local",
        ] {
            self.through(&format!("V1 of {host}"), Gate::Local, host, v1, &post)?;
            let v2 = "/v2/models/iris/infer";
            self.through(&format!("V2 of {host}"), Gate::Local, host, v2, &post)?;
            self.through(&format!("gRPC of {host}"), Gate::Local, host, call, &grpc)?;
        }
        let own = format!("authorization: Bearer {}", self.mesh.token("team-a")?);
        let theirs = format!("authorization: Bearer {}", self.mesh.token("shop")?);
        let elsewhere = ["--audience", "vault"];
        let elsewhere = self.mesh.token_with("team-a", &elsewhere)?;
        let elsewhere = format!("authorization: Bearer {elsewhere}");
        for name in ["iris", "iris-predictor", "iris-transformer"] {
            let host = version.outside(name);
            self.stopped(&host, 401, Gate::External, &host, v1, &post)?;
            self.stopped(&host, 401, Gate::External, &host, v1, &BROWSER)?;
            let with = ["-d", "{}", "-H", &own];
            self.through(
                &format!("{host} with a token"),
                Gate::External,
                &host,
                v1,
                &with,
            )?;
            let with = ["-d", "{}", "-H", &elsewhere];
            self.stopped(
                &format!("{host} with a token for somebody else"),
                401,
                Gate::External,
                &host,
                v1,
                &with,
            )?;
            let seen = self.ask(Gate::External, &host, call, &grpc)?;
            let told = seen.answer.header("grpc-status") == Some("16") && seen.arrived.is_none();
            self.expect(&format!("gRPC of {host} from outside"), told, &seen);
        }
        if version == Version::Current {
            let path = "/serving/team-a/iris/v1/models/iris:predict";
            self.stopped("by path", 401, Gate::External, "example.com", path, &post)?;
            let with = ["-d", "{}", "-H", &own];
            self.through(
                "by path with a token",
                Gate::External,
                "example.com",
                path,
                &with,
            )?;
        }
        for host in [
            "limited.team-a.svc.cluster.local",
            "limited-predictor.team-a",
        ] {
            let ask = "/v1/models/limited:predict";
            self.stopped(host, 401, Gate::Local, host, ask, &post)?;
            let with = ["-d", "{}", "-H", &theirs];
            self.stopped(
                &format!("{host} of another"),
                403,
                Gate::Local,
                host,
                ask,
                &with,
            )?;
            let with = ["-d", "{}", "-H", &elsewhere];
            self.stopped(
                &format!("{host} for vault"),
                401,
                Gate::Local,
                host,
                ask,
                &with,
            )?;
            let with = ["-d", "{}", "-H", &own];
            self.through(&format!("{host} of its own"), Gate::Local, host, ask, &with)?;
        }
        let forged = [
            "-d",
            "{}",
            "-H",
            "kubeflow-userid: victim@example.com",
            "-H",
            "Kubeflow_Groups: victim",
            "-H",
            "KServe-Isvc-Name: victim",
            "-H",
            "KServe-Isvc-Namespace: victim",
            "-H",
            "Knative-Serving-Namespace: victim",
            "-H",
            "Knative-Serving-Revision: victim",
        ];
        let local = "iris.team-a.svc.cluster.local";
        let seen = self.through("forged by a pod", Gate::Local, local, v1, &forged)?;
        self.unforged("a pod forges nothing", &seen);
        let mut with = forged.to_vec();
        with.extend(["-H", &own]);
        let host = version.outside("iris");
        let seen = self.through("forged from outside", Gate::External, &host, v1, &with)?;
        self.unforged("the outside forges nothing", &seen);
        for path in ["/dex/predict", "/oauth2/predict", "/dex/ready"] {
            self.stopped(path, 401, Gate::External, &host, path, &forged)?;
        }
        let preflight = [
            "-X",
            "OPTIONS",
            "-H",
            "origin: https://page.example.com",
            "-H",
            "access-control-request-method: POST",
        ];
        self.stopped("preflight", 204, Gate::External, &host, v1, &preflight)?;
        Ok(())
    }

    pub(super) fn unforged(&mut self, what: &str, seen: &Seen) {
        let headers = seen.arrived.iter().flat_map(|arrived| &arrived.headers);
        let forged = headers.filter(|(_, v)| v.contains("victim")).count();
        self.expect(what, forged == 0, seen);
    }

    /// People log in, are who they are, and are nobody after a logout.
    pub(super) fn people_of(&mut self, version: Version) -> Result<()> {
        for path in ["/", "/pipeline/", "/v1anything", "/oauth2/x", "/dex/x"] {
            let seen = self.stopped(path, 302, Gate::External, DASHBOARD, path, &BROWSER)?;
            let to = seen.answer.header("location").unwrap_or_default();
            self.expect("to the login", to.starts_with("/dex/auth?"), &seen);
            let program = ["-H", "accept: application/json"];
            self.stopped(path, 401, Gate::External, DASHBOARD, path, &program)?;
            let forged = ["-H", "kubeflow-userid: victim@example.com"];
            self.stopped(path, 401, Gate::External, DASHBOARD, path, &forged)?;
        }
        self.inside(version)?;
        let jar = self.jar();
        let host = self.mesh.external.to_string();
        let forged = [
            "-b",
            &jar,
            "-H",
            "kubeflow_userid: victim@example.com",
            "-H",
            "Kubeflow-Groups: victim",
            "-H",
            "x-auth-request-email: victim@example.com",
        ];
        let seen = self.through("forged otherwise", Gate::External, &host, "/", &forged)?;
        self.unforged("people forge nothing", &seen);
        // Dashboards of today go there, dashboards of before post.
        let out = [
            "-b",
            &jar,
            "-c",
            &jar,
            "-H",
            "accept: text/html",
            "-H",
            "sec-fetch-site: same-origin",
        ];
        let before = self.session_of(&jar)?;
        let seen = self.ask(Gate::External, &host, "/oauth2/sign_out", &out)?;
        let ended = seen.answer.status == 302 && seen.arrived.is_none();
        self.expect("sign_out by GET", ended, &seen);
        let with = ["-H", &before];
        self.stopped("after it", 401, Gate::External, &host, "/", &with)?;
        self.log_in(&jar)?;
        let before = self.session_of(&jar)?;
        let post = ["-b", &jar, "-X", "POST", "-d", ""];
        let seen = self.ask(Gate::External, &host, "/authservice/logout", &post)?;
        let ended = seen.answer.status == 201 && seen.answer.body.contains("afterLogoutURL");
        self.expect("logout by POST", ended, &seen);
        let with = ["-H", &before];
        self.stopped("after that", 401, Gate::External, &host, "/", &with)?;
        Ok(())
    }

    pub(super) fn jar(&self) -> String {
        let jar = self.mesh.folder.path().join("jar-of-kubeflow");
        jar.to_string_lossy().into_owned()
    }

    pub(super) fn session_of(&self, jar: &str) -> Result<String> {
        for line in std::fs::read_to_string(jar)?.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            if let [
                ..,
                name @ ("authservice_session" | "oauth2_proxy_kubeflow"),
                value,
            ] = fields.as_slice()
            {
                return Ok(format!("cookie: {name}={value}"));
            }
        }
        bail!("no session was given")
    }

    /// Logs in, and is inside with one name alone.
    fn inside(&mut self, version: Version) -> Result<()> {
        let jar = self.jar();
        let seen = self.log_in(&jar)?;
        let at = seen.arrived.as_ref().map(|arrived| arrived.at.clone());
        let named = seen.header("kubeflow-userid").as_deref() == Some("user@example.com");
        let there = at.is_some_and(|at| at.starts_with(version.dashboard()));
        self.expect("the login ends at the dashboard", named && there, &seen);
        let host = self.mesh.external.to_string();
        let forged = [
            "-b",
            &jar,
            "-H",
            "kubeflow-userid: victim@example.com",
            "-H",
            "kubeflow_userid: victim@example.com",
            "-H",
            "x-auth-request-email: victim@example.com",
        ];
        let seen = self.through("forged", Gate::External, &host, "/pipeline/", &forged)?;
        let named = seen.header("kubeflow-userid").as_deref() == Some("user@example.com");
        let pipelines = seen
            .arrived
            .as_ref()
            .is_some_and(|a| a.at.starts_with("ml-pipeline-ui"));
        self.expect("the name is the session's", named && pipelines, &seen);
        Ok(())
    }

    /// Groups without end are no cookies without end.
    pub(super) fn groups_of(&mut self, version: Version) -> Result<()> {
        let jar = self.mesh.folder.path().join("jar-of-many-groups");
        let jar = jar.to_string_lossy().into_owned();
        let seen = self.log_in_as(&jar, "many@example.com")?;
        let named = seen.header("kubeflow-userid").as_deref() == Some("many@example.com");
        let groups = seen.header("kubeflow-groups").unwrap_or_default();
        // Envoy writes a list of a token in a form of its own.
        let all =
            groups.len() > 11_000 && (version.verifies_tokens() || groups.contains("team-329"));
        self.expect("twelve kilobytes of groups", named && all, &seen);
        let held = self.session_of(&jar)?;
        self.expect("the cookie is a name", held.len() < 200, &seen);
        Ok(())
    }

    /// Another team's application gets what was sent.
    pub(super) fn others_of(&mut self, version: Version) -> Result<()> {
        let target = "/cart?a=%20b&c=%2F";
        let sent = [
            "-X",
            "PUT",
            "-H",
            "x-a: 1",
            "-H",
            "cookie: cart=1; authservice_session=x",
            "-d",
            "a=1",
        ];
        let seen = self.through("the shop", Gate::External, SHOP, target, &sent)?;
        let kept = seen.header("x-a").as_deref() == Some("1")
            && seen.header("cookie").as_deref() == Some("cart=1; authservice_session=x")
            && seen.arrived.as_ref().is_some_and(|a| a.target == target);
        self.expect("it gets what was sent", kept, &seen);
        if !version.verifies_tokens() {
            let with = ["-H", "authorization: Bearer of-the-shop"];
            let seen = self.through("the shop's token", Gate::External, SHOP, target, &with)?;
            let kept = seen.header("authorization").as_deref() == Some("Bearer of-the-shop");
            self.expect("it is the shop's", kept, &seen);
        }
        Ok(())
    }

    /// What waits for a route to work is told neither 404 nor 503, also while nobody answers checks.
    pub(super) fn probes_of(&mut self, version: Version) -> Result<()> {
        let probe = [
            "-H",
            "user-agent: Knative-Ingress-Probe",
            "-H",
            "k-network-probe: probe",
            "-H",
            "k-network-hash: override",
        ];
        let outside = version.outside("iris-predictor");
        let inside = "iris-predictor.team-a.svc.cluster.local";
        self.through("a probe inside", Gate::Local, inside, "/healthz", &probe)?;
        self.stopped(
            "a probe outside",
            401,
            Gate::External,
            &outside,
            "/healthz",
            &probe,
        )?;
        let limited = "limited-predictor.team-a.svc.cluster.local";
        self.stopped(
            "a probe of a limited one",
            401,
            Gate::Local,
            limited,
            "/healthz",
            &probe,
        )?;
        self.mesh.stop()?;
        self.stopped(
            "with nobody there",
            403,
            Gate::Local,
            inside,
            "/healthz",
            &probe,
        )?;
        self.stopped("outside", 403, Gate::External, &outside, "/healthz", &probe)?;
        self.mesh.authorize()
    }

    /// What the cluster asks is answered as it was.
    pub(super) fn in_place_of(&mut self, version: Version) -> Result<()> {
        let local = "iris.team-a.svc.cluster.local";
        let post = ["-d", "{}"];
        self.through(
            "inside",
            Gate::Local,
            local,
            "/v1/models/iris:predict",
            &post,
        )?;
        let outside = version.outside("iris");
        for (host, path) in [
            (DASHBOARD, "/"),
            (DASHBOARD, "/pipeline/"),
            (&*outside, "/v1/models/iris"),
        ] {
            let forged = [
                "-H",
                "accept: text/html",
                "-H",
                "kubeflow-userid: victim@example.com",
            ];
            let seen = self.stopped(path, 302, Gate::External, host, path, &forged)?;
            let to = seen.answer.header("location").unwrap_or_default();
            self.expect("to the login", to.contains("/dex/auth?"), &seen);
        }
        self.inside(version)?;
        let jar = self.jar();
        let host = self.mesh.external.to_string();
        let before = self.session_of(&jar)?;
        let (path, status) = match version {
            Version::V1_3 => ("/logout", 201),
            Version::V1_8 => ("/authservice/logout", 201),
            Version::V1_10 | Version::Current => ("/oauth2/sign_out", 302),
        };
        let mut out = vec!["-b", &*jar, "-H", "sec-fetch-site: same-origin"];
        if status == 201 {
            out.extend(["-X", "POST", "-d", ""]);
        }
        let seen = self.ask(Gate::External, &host, path, &out)?;
        self.expect(
            path,
            seen.answer.status == status && seen.arrived.is_none(),
            &seen,
        );
        let with = ["-H", "accept: text/html", "-H", &before];
        self.stopped("after it", 302, Gate::External, &host, "/", &with)?;
        Ok(())
    }
}
