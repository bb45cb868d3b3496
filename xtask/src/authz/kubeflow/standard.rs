//! Models without Knative (KServe's mode `Standard`): routes of an Ingress or of the Gateway API lead from the gateway to plain
//! Services, and so do VirtualServices that teams write themselves. Calls that go to a Service itself cross no gateway.

use anyhow::Result;

use super::Version;
use crate::authz::mesh::{Asked, Form};
use crate::authz::rows::{BROWSER, Gate, Rows, judge};

const OBJECTS: &str = include_str!("../../../kubeflow/standard.yaml");

/// What KServe makes for callers from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::authz) enum Routes {
    Ingress,
    GatewayApi,
}

const VERSION: Version = Version::Current;
const IRIS: &str = "/v1/models/iris:predict";
const LIMITED: &str = "/v1/models/limited:predict";
const POST: [&str; 2] = ["-d", "{\"instances\": [[6.8, 2.8, 4.8, 1.4]]}"];
const GRPC: [&str; 7] = [
    "--http2-prior-knowledge",
    "-H",
    "content-type: application/grpc",
    "-H",
    "te: trailers",
    "-X",
    "POST",
];
const CALL: &str = "/inference.GRPCInferenceService/ModelInfer";

/// The cluster with models of that kind, and what callers meet.
pub(in crate::authz) fn run(routes: Routes, form: Form) -> Result<()> {
    let more = &[];
    let mut plan = VERSION.plan(false, Asked::Sidegate { form, more })?;
    let how = match routes {
        Routes::Ingress => "\"ingressClassName\": \"istio\"",
        Routes::GatewayApi => {
            "\"enableGatewayApi\": true,\n      \"kserveIngressGateway\": \"istio-system/kserve-ingress-gateway\""
        }
    };
    for (_, text) in &mut plan.files {
        *text = text.replace(
            "  ingress: |-\n    {\n",
            &format!(
                "  deploy: '{{\"defaultDeploymentMode\": \"Standard\"}}'\n  ingress: |-\n    {{\n      {how},\n"
            ),
        );
    }
    plan.files.push(("standard.yaml", OBJECTS.to_owned()));
    judge(plan, |rows| {
        rows.outside_of_standard(routes)?;
        rows.limits_of_standard()?;
        rows.inside_of_standard()?;
        rows.people_of(VERSION)?;
        rows.others_of(VERSION)
    })
}

/// Hosts that KServe's template makes of the names of a model and its parts.
fn outside(name: &str) -> String {
    format!("{name}-team-a.example.com")
}

impl Rows {
    /// From outside a model wants a token, by each of its names.
    fn outside_of_standard(&mut self, routes: Routes) -> Result<()> {
        let own = format!("authorization: Bearer {}", self.mesh.token("team-a")?);
        let theirs = format!("authorization: Bearer {}", self.mesh.token("shop")?);
        let elsewhere = self.mesh.token_with("team-a", &["--audience", "vault"])?;
        let elsewhere = format!("authorization: Bearer {elsewhere}");
        let mut names = vec![
            (outside("iris"), "iris-transformer"),
            (outside("iris-predictor"), "iris-predictor"),
            (outside("both"), "both-predictor"),
            (outside("both-predictor"), "both-predictor"),
            ("own.team-a.example.com".to_owned(), "iris-predictor"),
        ];
        if routes == Routes::GatewayApi {
            names.push((outside("iris-transformer"), "iris-transformer"));
            names.push((
                format!("iris-team-a.{}", super::names::MORE),
                "iris-transformer",
            ));
        }
        for (host, service) in &names {
            self.stopped(host, 401, Gate::External, host, IRIS, &POST)?;
            self.stopped(host, 401, Gate::External, host, IRIS, &BROWSER)?;
            for (what, path) in [("V1", IRIS), ("V2", "/v2/models/iris/infer")] {
                for (whose, token) in [("its own", &own), ("another's", &theirs)] {
                    let with = ["-d", "{}", "-H", token.as_str()];
                    let what = format!("{what} of {host} with {whose} token");
                    let seen = self.through(&what, Gate::External, host, path, &with)?;
                    let there = seen
                        .arrived
                        .as_ref()
                        .is_some_and(|a| a.at.starts_with(service));
                    self.expect(&format!("{what} arrives at {service}"), there, &seen);
                }
            }
            for (what, token) in [
                ("for vault", &*elsewhere),
                ("of nobody", "authorization: Bearer a.b.c"),
            ] {
                let with = ["-d", "{}", "-H", token];
                let what = format!("{host} with a token {what}");
                self.stopped(&what, 401, Gate::External, host, IRIS, &with)?;
            }
            let seen = self.ask(Gate::External, host, CALL, &GRPC)?;
            let told = seen.answer.header("grpc-status") == Some("16") && seen.arrived.is_none();
            self.expect(&format!("gRPC of {host}"), told, &seen);
            let with = [&GRPC[..], &["-H", &own]].concat();
            let seen = self.through(
                &format!("gRPC of {host} with a token"),
                Gate::External,
                host,
                CALL,
                &with,
            )?;
            let there = seen
                .arrived
                .as_ref()
                .is_some_and(|a| a.at.starts_with(service));
            self.expect(
                &format!("gRPC of {host} arrives at {service}"),
                there,
                &seen,
            );
            self.forged_of_standard(host, &own)?;
            for path in [
                "/dex/auth",
                "/healthz",
                "/metrics",
                "/oauth2/start",
                "/v1anything",
            ] {
                self.stopped(
                    &format!("{host}{path}"),
                    401,
                    Gate::External,
                    host,
                    path,
                    &[],
                )?;
            }
            let preflight = [
                "-X",
                "OPTIONS",
                "-H",
                "origin: https://page.example.com",
                "-H",
                "access-control-request-method: POST",
            ];
            self.stopped(
                &format!("preflight of {host}"),
                204,
                Gate::External,
                host,
                IRIS,
                &preflight,
            )?;
        }
        if routes == Routes::GatewayApi {
            let path = "/serving/team-a/iris/v1/models/iris:predict";
            self.stopped("by path", 401, Gate::External, "example.com", path, &POST)?;
            let with = ["-d", "{}", "-H", &own];
            self.through(
                "by path with a token",
                Gate::External,
                "example.com",
                path,
                &with,
            )?;
        }
        // Nobody routes what is only for the inside, or a graph: the platform answers.
        for name in ["inside", "inside-predictor", "pair"] {
            let host = outside(name);
            let with = ["-d", "{}", "-H", &own];
            let seen = self.ask(Gate::External, &host, IRIS, &with)?;
            let shut = seen.answer.status == 403 && seen.arrived.is_none();
            self.expect(&format!("{host} from outside"), shut, &seen);
        }
        Ok(())
    }

    /// What a client says about who it is, or which model it means, does not arrive.
    fn forged_of_standard(&mut self, host: &str, own: &str) -> Result<()> {
        let forged = [
            "-d",
            "{}",
            "-H",
            own,
            "-H",
            "kubeflow-userid: victim@example.com",
            "-H",
            "Kubeflow_Groups: victim",
            "-H",
            "x-auth-request-email: victim@example.com",
            "-H",
            "x-forwarded-user: victim",
            "-H",
            "x-sidegate-identity: victim",
            "-H",
            "Knative-Serving-Namespace: victim",
            "-H",
            "Knative-Serving-Revision: victim",
            "-H",
            "K-Original-Host: victim",
        ];
        let seen = self.through(
            &format!("{host} forged"),
            Gate::External,
            host,
            IRIS,
            &forged,
        )?;
        self.unforged(&format!("nothing is forged at {host}"), &seen);
        Ok(())
    }

    /// A model with limits answers its own namespace, at its gateways' names and at those that others give it.
    fn limits_of_standard(&mut self) -> Result<()> {
        let own = format!("authorization: Bearer {}", self.mesh.token("team-a")?);
        let theirs = format!("authorization: Bearer {}", self.mesh.token("shop")?);
        for host in [
            outside("limited"),
            outside("limited-predictor"),
            "borrowed.example.com".to_owned(),
        ] {
            for path in [LIMITED, "/v2/models/limited/infer", "/"] {
                self.stopped(
                    &format!("{host}{path}"),
                    401,
                    Gate::External,
                    &host,
                    path,
                    &POST,
                )?;
                let with = ["-d", "{}", "-H", &theirs];
                self.stopped(
                    &format!("{host}{path} of another"),
                    403,
                    Gate::External,
                    &host,
                    path,
                    &with,
                )?;
                let with = ["-d", "{}", "-H", &own];
                self.through(
                    &format!("{host}{path} of its own"),
                    Gate::External,
                    &host,
                    path,
                    &with,
                )?;
            }
            let with = [&GRPC[..], &["-H", &theirs]].concat();
            let seen = self.ask(Gate::External, &host, CALL, &with)?;
            let told = seen.answer.header("grpc-status") == Some("7") && seen.arrived.is_none();
            self.expect(&format!("gRPC of {host} of another"), told, &seen);
        }
        Ok(())
    }

    /// Workloads that go by the gateway call models without anything, but for those with limits.
    fn inside_of_standard(&mut self) -> Result<()> {
        let own = format!("authorization: Bearer {}", self.mesh.token("team-a")?);
        let theirs = format!("authorization: Bearer {}", self.mesh.token("shop")?);
        for host in [
            "iris-predictor.team-a.svc.cluster.local",
            "iris-predictor.team-a",
        ] {
            self.through(&format!("V1 of {host}"), Gate::Local, host, IRIS, &POST)?;
            let v2 = "/v2/models/iris/infer";
            self.through(&format!("V2 of {host}"), Gate::Local, host, v2, &POST)?;
            self.through(&format!("gRPC of {host}"), Gate::Local, host, CALL, &GRPC)?;
            let forged = [
                "-d",
                "{}",
                "-H",
                "kubeflow-userid: victim@example.com",
                "-H",
                "Knative-Serving-Revision: victim",
                "-H",
                "k-kubelet-probe: victim",
            ];
            let seen = self.through(
                &format!("{host} forged by a pod"),
                Gate::Local,
                host,
                IRIS,
                &forged,
            )?;
            self.unforged("a pod forges nothing", &seen);
        }
        let host = "limited-predictor.team-a.svc.cluster.local";
        self.stopped(host, 401, Gate::Local, host, LIMITED, &POST)?;
        let with = ["-d", "{}", "-H", &theirs];
        self.stopped(
            &format!("{host} of another"),
            403,
            Gate::Local,
            host,
            LIMITED,
            &with,
        )?;
        let with = ["-d", "{}", "-H", &own];
        self.through(
            &format!("{host} of its own"),
            Gate::Local,
            host,
            LIMITED,
            &with,
        )?;
        Ok(())
    }
}
