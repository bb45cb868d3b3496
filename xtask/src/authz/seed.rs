//! The seed's cluster, on shared and on separate gateway pods.

use anyhow::{Context as _, Result};

use super::mesh::{Asked, Form, Plan};
use super::tokens;
use crate::relying::hash;
use crate::shell;

/// Which gateway pods there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    /// Both Gateways select the same pods.
    Shared,
    /// The cluster-local one has pods of its own, on the same port.
    Separate,
}

/// Seconds that a pass counts, beside those that clocks may be apart.
const PASS: &str = "3";

const BACK: &str = "knative-local-gateway.istio-system.svc.cluster.local:80";

const SECRET: &str = "pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok";
const HASH: &str = "$2y$12$4K/VkmDd1q1Orb3xAt82zu8gk7Ad6ReFR4LCP9UeYE90NLiN9Df72";

/// The cluster with `sidegate authz` in the place of its login.
pub(super) fn plan(topology: Topology, form: Form) -> Result<Plan> {
    let (deployments, local): (&[&str], _) = match topology {
        Topology::Shared => (&["ingressgateway"], (0, 8081)),
        Topology::Separate => (&["ingressgateway", "cluster-local-gateway"], (1, 8080)),
    };
    let more: &[&str] = match form {
        Form::Fast => &["--pass-seconds", PASS],
        Form::Grpc | Form::Http | Form::Other(_) => &[],
    };
    let mut files = cluster(topology, form)?;
    for (name, text) in &mut files {
        if *name == "sidegate.yaml" {
            let told = format!("{TOLD}\n{}", tokens::issuers()?);
            *text = text.replace("  mode: enforce", &told);
        } else {
            text.push_str(MUTUAL);
        }
    }
    Ok(Plan {
        verified: true,
        files,
        deployments,
        local,
        back: BACK,
        pod: None,
        asked: Asked::Sidegate { form, more },
    })
}

/// The cluster without a login, where nobody is asked.
pub(super) fn alone() -> Result<Plan> {
    Ok(Plan {
        asked: Asked::Nobody,
        verified: false,
        ..plan(Topology::Shared, Form::Grpc)?
    })
}

/// The seed's cluster with a client secret that nobody publishes, and a hash of another password.
pub(crate) fn own_secrets(cluster: &str, hash: &str) -> String {
    cluster
        .replace(SECRET, "of-this-installation")
        .replace(HASH, hash)
}

/// The cluster as it was: authservice in front of everything, which `sidegate authz` stands for.
pub(super) fn before() -> Result<Plan> {
    let text = std::fs::read_to_string(shell::root().join("examples/seed/cluster.yaml"))?;
    let text = own_secrets(&text, &hash()?)
        // What Istio has called it since 1.19.
        .replace(
            "envoy.http_connection_manager",
            "envoy.filters.network.http_connection_manager",
        );
    Ok(Plan {
        files: vec![("cluster.yaml", text)],
        deployments: &["ingressgateway"],
        local: (0, 8081),
        back: BACK,
        verified: false,
        pod: None,
        asked: Asked::Place {
            whose: "authservice",
            service: "authservice.istio-system.svc.cluster.local:8080",
            config: AUTHSERVICE.to_owned(),
            environment: &[
                ("CLIENT_ID", "kubeflow-oidc-authservice"),
                ("CLIENT_SECRET", "of-this-installation"),
            ],
        },
    })
}

/// What the cluster's ConfigMap says.
const AUTHSERVICE: &str = "OIDC_PROVIDER=http://dex.auth.svc.cluster.local:5556/dex
OIDC_AUTH_URL=/dex/auth
OIDC_SCOPES=profile email groups
REDIRECT_URL=/login/oidc
SKIP_AUTH_URI=/dex
USERID_HEADER=kubeflow-userid
USERID_PREFIX=
USERID_CLAIM=email
";

/// The seed's files, with secrets that nobody publishes, what clients of the table ask for, a route of another team
/// that sends on to a model, and a part of the platform that is open to everybody.
pub(super) fn cluster(topology: Topology, form: Form) -> Result<Vec<(&'static str, String)>> {
    let seed = shell::root().join("examples/seed");
    let read = |name: &str| {
        let text = std::fs::read_to_string(seed.join(name));
        text.with_context(|| format!("reading {name}"))
    };
    let mut cluster = own_secrets(&read("cluster.yaml")?, &hash()?);
    // The login that the cluster had.
    let filter = cluster
        .split("\n---\n")
        .find(|object| object.contains("name: authn-filter"))
        .context("the seed has no `authn-filter`")?
        .to_owned();
    cluster = cluster.replace(&format!("\n---\n{filter}"), "");
    if topology == Topology::Separate {
        cluster = cluster
            .replace(
                "  - {name: http2, port: 80, targetPort: 8081}",
                "  - {name: http2, port: 80, targetPort: 8080}",
            )
            .replace("      number: 8081", "      number: 80")
            .replace(
                "    experimental.istio.io/disable-gateway-port-translation: \"true\"\nspec:\n  selector: {app: istio-ingressgateway, istio: ingressgateway}",
                "    team: knative\nspec:\n  selector: {istio: cluster-local-gateway}",
            )
            .replace(
                "  name: knative-local-gateway\n  namespace: knative-serving\nspec:\n  selector:\n    istio: ingressgateway",
                "  name: knative-local-gateway\n  namespace: knative-serving\nspec:\n  selector:\n    istio: cluster-local-gateway",
            );
        cluster.push_str(LOCAL_PODS);
    }
    cluster.push_str(MORE);
    cluster.push_str(STRAIGHT);
    if form != Form::Fast {
        // A host of the fast path is one for people with a session.
        cluster.push_str(ASSETS);
    }
    cluster.push_str("\n---\n");
    cluster.push_str(testkit::clients::CLUSTER);
    Ok(vec![
        ("cluster.yaml", cluster),
        ("sidegate.yaml", read("sidegate.yaml")?),
    ])
}

/// Upstreams are told who is calling, and certificates count where only the mesh has them.
const TOLD: &str =
    "  mode: enforce\n  signedIdentity: {}\n  workloads: {principals: [istio-system/mutual]}";

const MUTUAL: &str = "
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: mutual, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https-mutual, protocol: HTTPS}
    hosts: [limited.kserve-test.svc.cluster.local]
    tls: {mode: ISTIO_MUTUAL}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: over-mutual
  namespace: kserve-test
  labels: {serving.knative.dev/route: limited-predictor}
  annotations: {sidegate.dev/access: token, sidegate.dev/allow-namespaces: kserve-test}
spec:
  gateways: [istio-system/mutual]
  hosts: [limited.kserve-test.svc.cluster.local]
  http:
  - route:
    - destination:
        host: limited-predictor.kserve-test.svc.cluster.local
        port: {number: 80}
";

const LOCAL_PODS: &str = "
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: cluster-local-gateway
  namespace: istio-system
spec:
  selector:
    matchLabels: {istio: cluster-local-gateway}
  template:
    metadata:
      labels: {istio: cluster-local-gateway}
    spec:
      serviceAccountName: cluster-local-gateway
      containers:
      - name: istio-proxy
        image: docker.io/istio/proxyv2:1.16.0
";

const MORE: &str = "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: shortcut
  namespace: shop
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: [shortcut.example.com]
  http:
  - rewrite:
      authority: sklearn-iris.kserve-test.svc.cluster.local
    route:
    - destination:
        host: knative-local-gateway.istio-system.svc.cluster.local
        port: {number: 80}
";

/// What another team writes to reach the pods of a model without a second crossing.
const STRAIGHT: &str = "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: straight
  namespace: shop
  annotations: {sidegate.dev/access: public}
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: [straight.example.com]
  http:
  - route:
    - destination:
        host: sklearn-iris-predictor-00001.kserve-test.svc.cluster.local
        port: {number: 80}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: straight-limited, namespace: shop}
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: [straight-limited.example.com]
  http:
  - route:
    - destination:
        host: limited-predictor-00001.kserve-test.svc.cluster.local
        port: {number: 80}
";

const ASSETS: &str = "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: assets
  namespace: kubeflow
  annotations:
    sidegate.dev/access: public
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: [\"*\"]
  http:
  - match:
    - uri: {prefix: /assets/}
    route:
    - destination:
        host: centraldashboard.kubeflow.svc.cluster.local
        port: {number: 80}
";
