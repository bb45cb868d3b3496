//! What KServe's and Knative's controllers make of an InferenceService or an
//! InferenceGraph, for YAML that does not hold it (KServe `ingress_reconciler.go`,
//! 0.7 to 0.20). What Ingresses and routes of the Gateway API become is added last.

mod knative;
mod standard;

use crate::cluster::{Cluster, PredictorService};
use crate::core::{PortRef, Service, ServicePort};
use crate::error::LoadError;
use crate::istio::{
    Destination, HeaderOperations, Headers, HttpMatch, HttpRoute, PortSelector, RegexRewrite,
    Rewrite, RouteDestination, StringMatch, VirtualService,
};
use crate::kserve::{InferenceService, IngressConfig};
use crate::meta::{Metadata, Object, ServiceName};
use crate::releases::{self, Release};
use crate::urls::{ModelUrls, is_cluster_local, urls};

use self::knative::{Knative, Parent, external};

/// Adds what is missing for every InferenceService and InferenceGraph.
pub(crate) fn generate(cluster: &mut Cluster, errors: &mut Vec<LoadError>) {
    crate::profiles::generate(cluster);
    crate::rbac::generate(cluster);
    let release = releases::kserve(cluster);
    for service in cluster.inference_services.clone() {
        let urls = match urls(&cluster.ingress, &service) {
            Ok(urls) => urls,
            Err(message) => {
                errors.push(LoadError::new(
                    &service.source,
                    Some(&service.reference()),
                    message,
                ));
                continue;
            }
        };
        let generator = Generator {
            config: cluster.ingress.clone(),
            service: &service,
            parent: Parent::of(&service),
            urls,
            release,
            raw: is_raw(&service.meta, cluster),
            suffix: suffix(&service, cluster, release),
        };
        if generator.raw {
            if let Err(message) = generator.standard(cluster) {
                let reference = service.reference();
                errors.push(LoadError::new(&service.source, Some(&reference), message));
            }
        } else {
            generator.services(cluster);
            if !cluster.ingress.disable_istio_virtual_host {
                let route = generator.kserve_route();
                generator.parent.route_unless_there(cluster, route);
            }
            for component in generator.components() {
                generator.knative(component).route(cluster);
            }
        }
        generator.predictors(cluster);
    }
    for graph in cluster.inference_graphs.clone() {
        graph_of(&graph, release, cluster);
    }
    crate::ingress::ingresses(cluster);
    let parents = crate::attach::gateways(cluster);
    crate::kuberoutes::routes(cluster, &parents);
}

/// What calls the models of a graph: one Knative Service, called as the graph, or
/// a plain Service (`inferencegraph/controller.go`, from 0.9).
fn graph_of(graph: &Object<()>, release: Release, cluster: &mut Cluster) {
    let parent = Parent::of(graph);
    let name = graph.meta.name.clone();
    if is_raw(&graph.meta, cluster) {
        let spec = Service {
            kind: Some("ClusterIP".into()),
            selector: [("app".to_owned(), format!("isvc.{name}"))].into(),
            ports: vec![http_port(Some(8080))],
            ..Service::default()
        };
        return parent.service_unless_there(cluster, name, spec);
    }
    let config = cluster.ingress.clone();
    let knative = Knative {
        local_gateway_service: local_gateway_service(&config, release),
        config: &config,
        parent: &parent,
        name,
        cluster_local: is_cluster_local(&graph.meta),
    };
    knative.services(cluster);
    knative.route(cluster);
}

/// The Service that Knative's own names lead to.
fn local_gateway_service(config: &IngressConfig, release: Release) -> &str {
    let knative = &config.knative_local_gateway_service;
    if knative.is_empty() || release < MESH {
        &config.local_gateway_service
    } else {
        knative
    }
}

/// Without Knative: `serving.kserve.io/deploymentMode` or the mode of those that
/// name none, both of its spellings.
fn is_raw(meta: &Metadata, cluster: &Cluster) -> bool {
    let own = meta.annotations.get("serving.kserve.io/deploymentMode");
    let mode = own.or(cluster.deploy.default_deployment_mode.as_ref());
    mode.is_some_and(|mode| mode == "RawDeployment" || mode == "Standard")
}

/// What the names of components end with: always `-default` at first, later
/// where it is there already.
fn suffix(service: &Object<InferenceService>, cluster: &Cluster, release: Release) -> &'static str {
    let old = format!("{}-predictor-default", service.meta.name);
    let mut services = cluster.services.iter();
    let there = services
        .any(|other| other.meta.name == old && other.meta.namespace == service.meta.namespace);
    if release < PLAIN_NAMES || (there && release < NEVER_DEFAULT) {
        "-default"
    } else {
        ""
    }
}

/// From here on components are called `<name>-predictor`.
const PLAIN_NAMES: Release = Release::new(0, 11);
/// From here on there are routes by path.
const PATHS: Release = Release::new(0, 11);
/// From here on there may be more than one outside domain.
const DOMAINS: Release = Release::new(0, 13);
/// From here on the mesh is routed too, models are named in headers, explainers
/// are reached by path, and Knative's local gateway may be another one.
const MESH: Release = Release::new(0, 14);
/// From here on an old name is not kept.
const NEVER_DEFAULT: Release = Release::new(0, 16);
/// From here on a predictor may have a name.
const NAMED_PREDICTORS: Release = Release::new(0, 20);

struct Generator<'a> {
    config: IngressConfig,
    service: &'a Object<InferenceService>,
    parent: Parent<'a>,
    urls: ModelUrls,
    release: Release,
    /// Without Knative.
    raw: bool,
    suffix: &'static str,
}

impl Generator<'_> {
    fn name(&self) -> &str {
        &self.service.meta.name
    }

    fn namespace(&self) -> &str {
        &self.service.meta.namespace
    }

    fn object<T>(&self, kind: &str, name: String, labels: &[(&str, String)], spec: T) -> Object<T> {
        self.parent.object(kind, name, labels, spec)
    }

    fn local_gateway_service(&self) -> &str {
        local_gateway_service(&self.config, self.release)
    }

    /// The parts that each have a Knative Service of their own.
    fn components(&self) -> impl Iterator<Item = &'static str> + use<> {
        let spec = &self.service.spec;
        [
            ("predictor", true),
            ("transformer", spec.transformer.is_some()),
            ("explainer", spec.explainer.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
    }

    /// What requests go to first.
    fn front(&self) -> &'static str {
        match self.service.spec.transformer {
            Some(_) => "transformer",
            None => "predictor",
        }
    }

    /// Name of a component's Service.
    fn component(&self, component: &str) -> String {
        let own = self.service.spec.predictor.name.as_deref();
        let own = own.filter(|_| component == "predictor" && self.release >= NAMED_PREDICTORS);
        match own.filter(|own| !own.is_empty()) {
            Some(own) => format!("{}-{own}-{component}", self.name()),
            None => format!("{}-{component}{}", self.name(), self.suffix),
        }
    }

    fn host(&self, component: &str) -> String {
        format!(
            "{}.{}.svc.cluster.local",
            self.component(component),
            self.namespace()
        )
    }

    fn service_unless_there(&self, cluster: &mut Cluster, name: String, spec: Service) {
        self.parent.service_unless_there(cluster, name, spec);
    }

    /// The Knative Service of a component.
    fn knative(&self, component: &str) -> Knative<'_> {
        Knative {
            config: &self.config,
            parent: &self.parent,
            name: self.component(component),
            local_gateway_service: self.local_gateway_service(),
            cluster_local: self.urls.external_hosts.is_empty(),
        }
    }

    fn services(&self, cluster: &mut Cluster) {
        if !self.config.disable_istio_virtual_host {
            let front = external(&self.config.local_gateway_service);
            self.service_unless_there(cluster, self.name().to_owned(), front);
        }
        for component in self.components() {
            self.knative(component).services(cluster);
        }
    }

    /// KServe's VirtualService: host and path routes, all sent to the
    /// cluster-local gateway under the component's host.
    fn kserve_route(&self) -> Object<VirtualService> {
        let mut external = self.urls.external_hosts.as_slice();
        if self.release < DOMAINS {
            external = external.get(..1).unwrap_or_default();
        }
        let mut hosts = vec![self.urls.local_host.clone()];
        hosts.extend(external.iter().cloned());
        let mut gateways = vec![self.config.local_gateway.clone()];
        if self.release >= MESH {
            gateways.push("mesh".to_owned());
        }
        let mut matches = vec![HttpMatch {
            authority: Some(self.local_host_regex()),
            gateways: gateways.clone(),
            ..HttpMatch::default()
        }];
        if !external.is_empty() {
            gateways.push(self.config.ingress_gateway.clone());
        }
        matches.extend(external.iter().map(|host| HttpMatch {
            authority: Some(host_regex(host)),
            gateways: vec![self.config.ingress_gateway.clone()],
            ..HttpMatch::default()
        }));
        let mut http = Vec::new();
        if self.service.spec.explainer.is_some() {
            let mut explain = matches.clone();
            for one in &mut explain {
                one.uri = Some(StringMatch {
                    regex: Some(EXPLAIN.to_owned()),
                    ..StringMatch::default()
                });
            }
            http.push(self.to_local_gateway("explainer", explain, None));
        }
        http.push(self.to_local_gateway(self.front(), matches, None));
        let by_path = self.urls.external_path.as_ref();
        if let Some((host, path)) = by_path.filter(|_| self.release >= PATHS) {
            if !hosts.contains(host) {
                hosts.push(host.clone());
            }
            let at = |uri: StringMatch| HttpMatch {
                uri: Some(uri),
                authority: Some(host_regex(host)),
                gateways: vec![self.config.ingress_gateway.clone()],
                ..HttpMatch::default()
            };
            if self.service.spec.explainer.is_some() && self.release >= MESH {
                let pattern = format!("{path}{EXPLAIN_BELOW}");
                let explain = at(StringMatch {
                    regex: Some(pattern.clone()),
                    ..StringMatch::default()
                });
                let mut route = self.to_local_gateway("explainer", vec![explain], None);
                route.rewrite = Some(Rewrite {
                    uri_regex_rewrite: Some(RegexRewrite {
                        pattern,
                        rewrite: r"\1".to_owned(),
                    }),
                    ..Rewrite::default()
                });
                http.push(route);
            }
            let below = StringMatch {
                prefix: Some(format!("{path}/")),
                ..StringMatch::default()
            };
            let exact = StringMatch {
                exact: Some(path.clone()),
                ..StringMatch::default()
            };
            let matches = vec![at(below), at(exact)];
            http.push(self.to_local_gateway(self.front(), matches, Some("/")));
        }
        let spec = VirtualService {
            hosts,
            gateways,
            http,
            export_to: Vec::new(),
            ..VirtualService::default()
        };
        self.object("VirtualService", self.name().to_owned(), &[], spec)
    }

    /// Before the mesh was routed, the short names of the host too.
    fn local_host_regex(&self) -> StringMatch {
        let host = &self.urls.local_host;
        match host.strip_suffix(".svc.cluster.local") {
            Some(short) if self.release < MESH => {
                with_port(&format!(r"{}(\.svc(\.cluster\.local)?)?", escaped(short)))
            }
            _ => host_regex(host),
        }
    }

    fn to_local_gateway(
        &self,
        component: &str,
        matches: Vec<HttpMatch>,
        rewrite: Option<&str>,
    ) -> HttpRoute {
        let host = ("Host", self.host(component));
        let headers = match self.release >= MESH {
            true => set([
                host,
                ("KServe-Isvc-Name", self.name().to_owned()),
                ("KServe-Isvc-Namespace", self.namespace().to_owned()),
            ]),
            false => set([host]),
        };
        HttpRoute {
            matches,
            headers: Some(headers),
            rewrite: rewrite.map(|uri| Rewrite {
                uri: Some(uri.to_owned()),
                ..Rewrite::default()
            }),
            route: vec![destination(self.local_gateway_service(), None)],
            ..HttpRoute::default()
        }
    }

    /// Every Service that stands for the predictor, generated or written.
    fn predictors(&self, cluster: &mut Cluster) {
        let found: Vec<PredictorService> = cluster
            .services
            .iter()
            .filter(|s| s.meta.namespace == self.namespace() && self.is_predictor(&s.meta))
            .map(|s| PredictorService {
                service: ServiceName {
                    namespace: s.meta.namespace.as_str().into(),
                    name: s.meta.name.as_str().into(),
                },
                model: self.service.reference(),
            })
            .collect();
        cluster.predictors.extend(found);
    }

    /// By name (`<name>-predictor`, a revision of it, the revision's `-private`
    /// twin, in raw mode `<name>`) or by KServe's labels.
    fn is_predictor(&self, meta: &Metadata) -> bool {
        if meta.name == self.name() {
            return self.raw && self.front() == "predictor";
        }
        let label = |name: &str| meta.labels.get(name).map(String::as_str);
        if label("serving.kserve.io/inferenceservice") == Some(self.name())
            && label("component").is_none_or(|c| c == "predictor")
        {
            return true;
        }
        let component = self.component("predictor");
        let plain = format!("{}-predictor", self.name());
        let rest = meta.name.strip_prefix(&component);
        let Some(rest) = rest.or_else(|| meta.name.strip_prefix(&plain)) else {
            return false;
        };
        let rest = rest.strip_suffix("-private").unwrap_or(rest);
        rest.is_empty()
            || rest
                .strip_prefix('-')
                .is_some_and(|n| n == "default" || is_revision(n))
    }
}

/// KServe's `ExplainPrefix`.
const EXPLAIN: &str = r"^/v1/models/[\w-]+:explain$";

/// KServe's `PathBasedExplainPrefix`.
const EXPLAIN_BELOW: &str = r"(/v1/models/[\w-]+:explain)$";

fn is_revision(number: &str) -> bool {
    number.len() == 5 && number.bytes().all(|b| b.is_ascii_digit())
}

fn http_port(target: Option<u16>) -> ServicePort {
    ServicePort {
        name: Some("http".into()),
        port: 80,
        target_port: target.map(PortRef::Number),
        ..ServicePort::default()
    }
}

/// KServe's `HostRegExp`: the host, with or without a port.
fn host_regex(host: &str) -> StringMatch {
    with_port(&escaped(host))
}

fn with_port(host: &str) -> StringMatch {
    StringMatch {
        regex: Some(format!(r"^{host}(?::\d{{1,5}})?$")),
        ..StringMatch::default()
    }
}

/// Go's `regexp.QuoteMeta`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn set<const N: usize>(headers: [(&str, String); N]) -> Headers {
    let set = headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Headers {
        request: HeaderOperations {
            set,
            ..HeaderOperations::default()
        },
        ..Headers::default()
    }
}

fn destination(host: &str, headers: Option<Headers>) -> RouteDestination {
    RouteDestination {
        destination: Destination {
            host: host.to_owned(),
            port: Some(PortSelector { number: 80 }),
            subset: String::new(),
        },
        weight: 100,
        headers,
    }
}

#[cfg(test)]
mod tests;
