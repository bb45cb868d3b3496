//! Who owns a route, and which access level it gets from that.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use resources::core::Namespace;
use resources::istio::{HttpRoute, Origin};
use resources::{Cluster, Metadata, Object, ObjectRef, ServiceName, Source};

use crate::access::{AccessLevel, Limits, Owner, RouteAccess, RouteTarget};
use crate::models::{Model, Models};
use crate::rbac::Rbac;
use crate::settings::Problem;
use crate::traffic::Bound;
use crate::ways::Ways;
use resources::sidegate::Rbac as Mode;

/// What belongs to whom, read once per configuration.
pub(crate) struct Owners<'c> {
    platform_gateways: Vec<String>,
    platform_namespaces: Vec<String>,
    login_services: HashSet<ServiceName>,
    namespaces: HashMap<&'c str, &'c Object<Namespace>>,
    models: Models<'c>,
    ways: Ways<'c>,
    rbac: Rbac<'c>,
    /// Unless annotations say otherwise.
    rbac_unless_annotated: Mode,
}

/// The gateway of Kubeflow's manifests, and the namespaces they put routes of
/// the platform in.
const KUBEFLOW_GATEWAY: &str = "kubeflow/kubeflow-gateway";
const KUBEFLOW_NAMESPACES: [&str; 4] = ["kubeflow", "auth", "oauth2-proxy", "istio-system"];

const ACCESS: &str = "sidegate.dev/access";
const RBAC: &str = "sidegate.dev/rbac";
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

impl<'c> Owners<'c> {
    pub(crate) fn new(cluster: &'c Cluster) -> Self {
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
        let namespaces = cluster.namespaces.iter();
        Self {
            ways: Ways::new(cluster, &platform_namespaces),
            rbac: Rbac::of(cluster),
            rbac_unless_annotated: cluster
                .sidegate
                .as_ref()
                .map_or(Mode::Off, |sidegate| sidegate.spec.rbac),
            platform_gateways,
            platform_namespaces,
            login_services,
            namespaces: namespaces.map(|n| (n.meta.name.as_str(), n)).collect(),
            models: Models::of(cluster),
        }
    }

    /// Owner and levels of the routes that one object gives to a VirtualService
    /// on a gateway.
    pub(crate) fn access(
        &self,
        bound: &Bound<'_>,
        origin: Option<&Origin>,
        gateway: &str,
        problems: &mut Vec<Problem>,
    ) -> RouteAccess {
        let writer = Writer::of(bound, origin, gateway);
        let model = self.model_of(&writer);
        let target = RouteTarget {
            namespace: writer.meta.namespace.as_str().into(),
            kind: model.map(|model| model.kind).unwrap_or_default(),
            model: model.map(|model| model.meta.name.as_str().into()),
        };
        if self.reaches_into_platform(&writer) {
            // Whoever writes such a route does not decide who gets in.
            return RouteAccess {
                owner: Owner::Platform,
                external: AccessLevel::Login,
                local: AccessLevel::Login,
                limits: Limits::default(),
                target,
                bindings: None,
            };
        }
        let owner = self.owner(&writer);
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
            target,
            bindings: None,
        };
        let nearest_first = self.nearest_first(&writer);
        self.annotated(&mut access, &nearest_first, &writer, problems);
        access
    }

    /// Models that a route of an object leads to, where the object is not one that was made for them, without another crossing.
    pub(crate) fn led_to(
        &self,
        (bound, origin, gateway): (&Bound<'_>, Option<&Origin>, &str),
        http: &HttpRoute,
        access: &RouteAccess,
    ) -> Vec<Model<'c>> {
        let writer = Writer::of(bound, origin, gateway);
        let theirs = match access.owner {
            Owner::Foreign => true,
            // Of a team, on the platform's gateway.
            Owner::Platform => !self.in_platform(&writer) && !self.reaches_into_platform(&writer),
            Owner::Model | Owner::LoginMachinery => false,
        };
        let mut found: Vec<Model<'c>> = Vec::new();
        for way in http.route.iter().filter(|_| theirs) {
            let host = &way.destination.host;
            let behind = self.ways.service_behind(host, &writer.meta.namespace, 0);
            let model = behind.and_then(|(name, service)| self.models.behind(&name, service));
            let new = model.filter(|model| found.iter().all(|known| known.key() != model.key()));
            found.extend(new);
        }
        found
    }

    /// Owner and levels of a route that leads to models. Whoever writes one to a model of another namespace does not decide who
    /// gets to it; where one leads to models that want different things, nobody gets to any.
    pub(crate) fn access_of_models(
        &self,
        (bound, origin, gateway): (&Bound<'_>, Option<&Origin>, &str),
        models: &[Model<'c>],
    ) -> RouteAccess {
        let writer = Writer::of(bound, origin, gateway);
        let of = |model: &Model<'c>| {
            let mut access = RouteAccess {
                owner: Owner::Model,
                external: AccessLevel::Token,
                local: AccessLevel::Cluster,
                limits: Limits::default(),
                target: RouteTarget {
                    namespace: model.meta.namespace.as_str().into(),
                    kind: model.kind,
                    model: Some(model.meta.name.as_str().into()),
                },
                bindings: None,
            };
            let own = model.meta.namespace == writer.meta.namespace;
            let mut nearest_first: Vec<_> = own
                .then_some(&writer.meta.annotations)
                .into_iter()
                .collect();
            nearest_first.push(&model.meta.annotations);
            let namespace = self.namespaces.get(model.meta.namespace.as_str());
            nearest_first.extend(namespace.map(|n| &n.meta.annotations));
            // What is wrong with annotations is told where they are.
            self.annotated(&mut access, &nearest_first, &writer, &mut Vec::new());
            access
        };
        let mut all = models.iter().map(of);
        let mut access = all.next().unwrap_or_else(|| RouteAccess {
            owner: Owner::Model,
            external: AccessLevel::Token,
            local: AccessLevel::Token,
            limits: Limits::default(),
            target: RouteTarget {
                namespace: writer.meta.namespace.as_str().into(),
                kind: Default::default(),
                model: None,
            },
            bindings: Some(Arc::default()),
        });
        for other in all {
            // Which of them it will be is not known.
            access.target.model = None;
            let same = access.external == other.external
                && access.local == other.local
                && access.limits == other.limits
                && access.bindings == other.bindings
                && access.target.namespace == other.target.namespace;
            if !same {
                (access.external, access.local) = (AccessLevel::Token, AccessLevel::Token);
                access.bindings = Some(Arc::default());
            }
        }
        access
    }

    /// What annotations say about a route, the nearest first.
    fn annotated(
        &self,
        access: &mut RouteAccess,
        nearest_first: &[&BTreeMap<String, String>],
        writer: &Writer<'_>,
        problems: &mut Vec<Problem>,
    ) {
        if let Some(value) = nearest_first.iter().find_map(|a| a.get(ACCESS)) {
            apply_level(access, value, writer, problems);
        }
        for (key, pick) in LIMITS {
            if let Some(value) = nearest_first.iter().find_map(|a| a.get(key)) {
                *pick(&mut access.limits) = value
                    .split(',')
                    .map(str::trim)
                    .filter(|v| !v.is_empty())
                    .map(Arc::from)
                    .collect();
            }
        }
        let said = nearest_first.iter().find_map(|a| a.get(RBAC));
        let mode = match said.map(String::as_str) {
            None => self.rbac_unless_annotated,
            Some("enforce") => Mode::Enforce,
            Some("review") => Mode::Review,
            Some("off") => Mode::Off,
            Some(other) => {
                problems.push(writer.problem(format!(
                    "annotation {RBAC}: expected `enforce`, `review` or `off`, found `{other}`"
                )));
                Mode::Enforce
            }
        };
        if access.owner == Owner::Model && mode != Mode::Off {
            let reviewed = mode == Mode::Review;
            let target = &access.target;
            // A model that cannot be told is nobody's to see.
            access.bindings = Some(match &target.model {
                Some(_) => self.rbac.bindings(target, reviewed),
                None => Arc::default(),
            });
        }
    }

    fn owner(&self, writer: &Writer<'_>) -> Owner {
        let namespace = writer.meta.namespace.as_str();
        if self.model_of(writer).is_some()
            || MODEL_LABELS
                .iter()
                .any(|label| writer.meta.labels.contains_key(*label))
        {
            return Owner::Model;
        }
        let in_platform = self.in_platform(writer);
        if in_platform && self.sends_only_to_login(writer) {
            return Owner::LoginMachinery;
        }
        let profile = self.namespaces.get(namespace).is_some_and(|n| {
            let label = n.meta.labels.get(PROFILE_LABEL.0);
            label.is_some_and(|v| v == PROFILE_LABEL.1)
        });
        let on_platform = self.platform_gateways.iter().any(|g| g == writer.gateway);
        // A platform namespace stays the platform's on any gateway: a route
        // that moves to another gateway must not lose its login on the way.
        if in_platform || (profile && on_platform) {
            return Owner::Platform;
        }
        Owner::Foreign
    }

    fn in_platform(&self, writer: &Writer<'_>) -> bool {
        let inside = |namespace: &str| self.platform_namespaces.iter().any(|n| n == namespace);
        inside(&writer.meta.namespace) || writer.root.is_some_and(inside)
    }

    /// Whether an object outside the platform's namespaces sends to a Service
    /// inside, other than the gateway's own (where the next crossing decides).
    fn reaches_into_platform(&self, writer: &Writer<'_>) -> bool {
        let namespace = &writer.meta.namespace;
        !self.platform_namespaces.is_empty()
            && !self.platform_namespaces.contains(namespace)
            && writer
                .destinations()
                .any(|host| self.ways.lead_inside(host, namespace, 0))
    }

    fn sends_only_to_login(&self, writer: &Writer<'_>) -> bool {
        let mut destinations = writer.destinations().peekable();
        destinations.peek().is_some()
            && destinations.all(|host| {
                ServiceName::from_host(host, &writer.meta.namespace)
                    .is_some_and(|name| self.login_services.contains(&name))
            })
    }

    fn model_of(&self, writer: &Writer<'_>) -> Option<Model<'c>> {
        self.models.made(writer.meta, writer.source)
    }

    fn nearest_first<'w>(&self, writer: &Writer<'w>) -> Vec<&'w BTreeMap<String, String>>
    where
        'c: 'w,
    {
        let mut all = vec![&writer.meta.annotations];
        all.extend(self.model_of(writer).map(|model| &model.meta.annotations));
        let namespace = self.namespaces.get(writer.meta.namespace.as_str());
        all.extend(namespace.map(|n| &n.meta.annotations));
        all
    }
}

/// Who wrote routes, and where they are.
struct Writer<'a> {
    kind: &'a str,
    meta: &'a Metadata,
    source: &'a Source,
    /// Namespace of the VirtualService that delegates to it.
    root: Option<&'a str>,
    /// `namespace/name`.
    gateway: &'a str,
    routes: Vec<&'a HttpRoute>,
}

impl<'a> Writer<'a> {
    fn of(bound: &'a Bound<'_>, origin: Option<&'a Origin>, gateway: &'a str) -> Self {
        let object = bound.object;
        let (kind, meta, source) = match origin {
            Some(origin) => (
                &origin.object.kind,
                &origin.object.meta,
                &origin.object.source,
            ),
            None => (&object.kind, &object.meta, &object.source),
        };
        let is_same = |http: &&HttpRoute| match &http.origin {
            Some(of) => {
                let (a, b) = (&of.object.meta, meta);
                of.object.kind == *kind && a.name == b.name && a.namespace == b.namespace
            }
            None => origin.is_none(),
        };
        let gateway = match gateway.split_once("~istio-autogenerated-k8s-gateway~") {
            Some((gateway, _)) => gateway,
            None => gateway,
        };
        Self {
            kind,
            meta,
            source,
            root: (!bound.gateway_api).then_some(object.meta.namespace.as_str()),
            gateway,
            routes: bound.http.iter().filter(is_same).collect(),
        }
    }

    fn problem(&self, message: String) -> Problem {
        Problem {
            object: Some(ObjectRef::new(
                self.kind,
                &self.meta.namespace,
                &self.meta.name,
            )),
            source: Some(self.source.clone()),
            message,
        }
    }

    fn destinations(&self) -> impl Iterator<Item = &'a str> {
        let routes = self.routes.iter().flat_map(|http| &http.route);
        routes.map(|route| route.destination.host.as_str())
    }
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
    writer: &Writer<'_>,
    problems: &mut Vec<Problem>,
) {
    match AccessLevel::from_name(value) {
        // Only in-cluster callers: from outside, a token is still needed to
        // be anybody, and nobody outside is a workload of the cluster.
        Some(AccessLevel::Cluster) if access.owner == Owner::Model => {
            access.local = AccessLevel::Cluster
        }
        Some(AccessLevel::Cluster) | None => problems.push(writer.problem(format!(
            "annotation {ACCESS}: expected `login`, `token`, `public` or `as-written` \
             (or `cluster` on a model), found `{value}`"
        ))),
        Some(level) => {
            access.external = level;
            access.local = level;
        }
    }
}
