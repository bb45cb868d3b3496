//! Who owns a route, and which access level it gets from that.

use std::collections::BTreeMap;
use std::sync::Arc;

use resources::istio::{Gateway, VirtualService};
use resources::{Cluster, Object, ServiceName};

use crate::access::{AccessLevel, Limits, Owner, RouteAccess};
use crate::settings::Problem;
use crate::workloads::selects;

/// What belongs to whom, read once per configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owners {
    platform_gateways: Vec<String>,
    platform_namespaces: Vec<String>,
    login_services: Vec<ServiceName>,
}

/// The gateway of Kubeflow's manifests, and the namespaces they put routes of
/// the platform in.
const KUBEFLOW_GATEWAY: &str = "kubeflow/kubeflow-gateway";
const KUBEFLOW_NAMESPACES: [&str; 4] = ["kubeflow", "auth", "oauth2-proxy", "istio-system"];

const ACCESS: &str = "sidegate.dev/access";
const PROFILE_LABEL: (&str, &str) = ("app.kubernetes.io/part-of", "kubeflow-profile");

/// Labels that KServe and Knative put on what they generate.
const MODEL_LABELS: [&str; 4] = [
    "serving.kserve.io/inferenceservice",
    "serving.kserve.io/inferencegraph",
    "serving.knative.dev/route",
    "networking.internal.knative.dev/ingress",
];

/// Whether a Service is one of the login services that Kubeflow ships: their
/// place is taken by the embedded login.
pub fn is_login_service(service: &ServiceName) -> bool {
    matches!(
        &*service.name,
        "authservice" | "oidc-authservice" | "oauth2-proxy" | "oauth2-proxy-kubeflow"
    )
}

impl Owners {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let platform = cluster.sidegate.as_ref().map(|s| &s.spec.platform);
        let login_services = cluster
            .services
            .iter()
            .map(|s| ServiceName {
                namespace: s.meta.namespace.as_str().into(),
                name: s.meta.name.as_str().into(),
            })
            .filter(|name| is_login_service(name) || &*name.name == "dex")
            .collect();
        let kubeflow = || {
            let mut gateways = cluster.gateways.iter();
            gateways.any(|g| format!("{}/{}", g.meta.namespace, g.meta.name) == KUBEFLOW_GATEWAY)
        };
        let (platform_gateways, platform_namespaces) = match platform {
            Some(platform) => (platform.gateways.clone(), platform.namespaces.clone()),
            // Nobody says what the platform is: Kubeflow's manifests do, where
            // they are installed. Enforcing needs the object that says it.
            None if kubeflow() => (
                vec![KUBEFLOW_GATEWAY.to_owned()],
                KUBEFLOW_NAMESPACES.map(str::to_owned).to_vec(),
            ),
            None => (Vec::new(), Vec::new()),
        };
        Self {
            platform_gateways,
            platform_namespaces,
            login_services,
        }
    }

    /// Owner and levels of the routes of one VirtualService on one Gateway.
    pub(crate) fn access(
        &self,
        cluster: &Cluster,
        service: &Object<VirtualService>,
        gateway: &Object<Gateway>,
        problems: &mut Vec<Problem>,
    ) -> RouteAccess {
        if self.reaches_into_platform(cluster, service) {
            // Whoever writes such a route does not decide who gets in.
            return RouteAccess {
                owner: Owner::Platform,
                external: AccessLevel::Login,
                local: AccessLevel::Login,
                limits: Limits::default(),
            };
        }
        let owner = self.owner(cluster, service, gateway);
        let (external, local) = match owner {
            Owner::Platform => (AccessLevel::Login, AccessLevel::Login),
            Owner::Model => (AccessLevel::Token, AccessLevel::Cluster),
            Owner::LoginMachinery => (AccessLevel::Public, AccessLevel::Login),
            Owner::Foreign => (AccessLevel::AsWritten, AccessLevel::AsWritten),
        };
        let mut access = RouteAccess {
            owner,
            external,
            local,
            limits: Limits::default(),
        };
        for annotations in nearest_first(cluster, service) {
            if let Some(value) = annotations.get(ACCESS) {
                apply_level(&mut access, value, service, problems);
                break;
            }
        }
        for (key, pick) in LIMITS {
            let found = nearest_first(cluster, service)
                .into_iter()
                .find_map(|a| a.get(key));
            if let Some(value) = found {
                *pick(&mut access.limits) = value
                    .split(',')
                    .map(str::trim)
                    .filter(|v| !v.is_empty())
                    .map(Arc::from)
                    .collect();
            }
        }
        access
    }

    fn owner(
        &self,
        cluster: &Cluster,
        service: &Object<VirtualService>,
        gateway: &Object<Gateway>,
    ) -> Owner {
        let namespace = service.meta.namespace.as_str();
        if model_of(cluster, service).is_some()
            || MODEL_LABELS
                .iter()
                .any(|label| service.meta.labels.contains_key(*label))
        {
            return Owner::Model;
        }
        let in_platform = self.platform_namespaces.iter().any(|n| n == namespace);
        if in_platform && self.sends_only_to_login(service) {
            return Owner::LoginMachinery;
        }
        let gateway = format!("{}/{}", gateway.meta.namespace, gateway.meta.name);
        let profile = cluster.namespaces.iter().any(|n| {
            n.meta.name == namespace
                && n.meta
                    .labels
                    .get(PROFILE_LABEL.0)
                    .is_some_and(|v| v == PROFILE_LABEL.1)
        });
        // A platform namespace stays the platform's on any gateway: a route
        // that moves to another gateway must not lose its login on the way.
        if in_platform || (profile && self.platform_gateways.contains(&gateway)) {
            return Owner::Platform;
        }
        Owner::Foreign
    }

    /// Whether an object outside the platform's namespaces sends to a Service
    /// inside, other than the gateway's own (where the next crossing decides).
    fn reaches_into_platform(&self, cluster: &Cluster, service: &Object<VirtualService>) -> bool {
        let inside = |namespace: &str| self.platform_namespaces.iter().any(|n| n == namespace);
        if inside(&service.meta.namespace) {
            return false;
        }
        let mut routes = service.spec.http.iter().flat_map(|http| &http.route);
        routes.any(|route| {
            let name = ServiceName::from_host(&route.destination.host, &service.meta.namespace);
            name.is_some_and(|name| inside(&name.namespace) && !is_gateway(cluster, &name))
        })
    }

    fn sends_only_to_login(&self, service: &Object<VirtualService>) -> bool {
        let mut destinations = service
            .spec
            .http
            .iter()
            .flat_map(|http| &http.route)
            .peekable();
        destinations.peek().is_some()
            && destinations.all(|route| {
                ServiceName::from_host(&route.destination.host, &service.meta.namespace)
                    .is_some_and(|name| self.login_services.contains(&name))
            })
    }
}

/// Whether a Service stands in front of gateway pods.
fn is_gateway(cluster: &Cluster, name: &ServiceName) -> bool {
    cluster.service(name).is_some_and(|service| {
        let mut gateways = cluster.gateways.iter();
        gateways.any(|g| {
            !g.spec.selector.is_empty() && selects(&g.spec.selector, &service.spec.selector)
        })
    })
}

type Pick = fn(&mut Limits) -> &mut Vec<Arc<str>>;

const LIMITS: [(&str, Pick); 4] = [
    ("sidegate.dev/allow-namespaces", |l| &mut l.namespaces),
    ("sidegate.dev/allow-service-accounts", |l| {
        &mut l.service_accounts
    }),
    ("sidegate.dev/allow-users", |l| &mut l.users),
    ("sidegate.dev/allow-groups", |l| &mut l.groups),
];

fn apply_level(
    access: &mut RouteAccess,
    value: &str,
    service: &Object<VirtualService>,
    problems: &mut Vec<Problem>,
) {
    match AccessLevel::from_name(value) {
        // Only in-cluster callers: from outside, a token is still needed to
        // be anybody, and nobody outside is a workload of the cluster.
        Some(AccessLevel::Cluster) if access.owner == Owner::Model => {
            access.local = AccessLevel::Cluster
        }
        Some(AccessLevel::Cluster) | None => problems.push(Problem::of(
            service,
            format!(
                "annotation {ACCESS}: expected `login`, `token`, `public` or `as-written` \
                 (or `cluster` on a model), found `{value}`"
            ),
        )),
        Some(level) => {
            access.external = level;
            access.local = level;
        }
    }
}

/// The InferenceService that a VirtualService was generated for.
fn model_of<'c>(
    cluster: &'c Cluster,
    service: &Object<VirtualService>,
) -> Option<&'c Object<resources::kserve::InferenceService>> {
    let from = service.source.generated_from.as_ref();
    cluster.inference_services.iter().find(|isvc| {
        let same_namespace = isvc.meta.namespace == service.meta.namespace;
        let generated = from
            .is_some_and(|r| *r.name == *isvc.meta.name && *r.namespace == *isvc.meta.namespace);
        let labelled = service
            .meta
            .labels
            .get("serving.knative.dev/route")
            .is_some_and(|route| *route == format!("{}-predictor", isvc.meta.name));
        generated || same_namespace && (service.meta.name == isvc.meta.name || labelled)
    })
}

fn nearest_first<'c>(
    cluster: &'c Cluster,
    service: &'c Object<VirtualService>,
) -> Vec<&'c BTreeMap<String, String>> {
    let mut all = vec![&service.meta.annotations];
    all.extend(model_of(cluster, service).map(|isvc| &isvc.meta.annotations));
    let namespace = cluster
        .namespaces
        .iter()
        .find(|n| n.meta.name == service.meta.namespace);
    all.extend(namespace.map(|n| &n.meta.annotations));
    all
}
