//! What KServe makes without Knative: plain Services, around every gateway, and
//! an Ingress (`kube_ingress_reconciler.go`) or HTTPRoutes
//! (`httproute_reconciler.go`, from 0.15). Components count as ready.

use super::{EXPLAIN, EXPLAIN_BELOW, Generator, http_port};
use crate::cluster::Cluster;
use crate::core::{Service, ServicePort};
use crate::gateway_api::{
    BackendRef, Header, HeaderModifier, NamedMatch, ParentRef, Route, RouteFilter, RouteMatch,
    RouteRule, Timeouts, TypedValue,
};
use crate::ingress::{
    BackendPort, Ingress, IngressBackend, IngressPath, IngressPaths, IngressRule, IngressService,
    PathType,
};
use crate::meta::{Metadata, Object};
use crate::releases::Release;
use crate::urls::evaluate;

/// From here on hosts follow the template.
const TEMPLATES: Release = Release::new(0, 9);
/// From here on an Ingress confuses hosts of transformer, predictor and explainer.
const CONFUSED: Release = Release::new(0, 11);
/// From here on models may be for the inside alone.
const INTERNAL: Release = Release::new(0, 11);
/// From here on nothing may be made.
const SWITCH: Release = Release::new(0, 12);
/// From here on there are HTTPRoutes.
const ROUTES: Release = Release::new(0, 15);
/// From here on a model may be stopped.
const STOP: Release = Release::new(0, 16);
/// From here on gRPC has a route of its own.
const GRPC: Release = Release::new(0, 18);

/// KServe's `NetworkVisibility`.
const VISIBILITY: &str = "networking.kserve.io/visibility";

/// KServe's `FallbackPrefix`.
const ALL: &str = "^/.*$";

impl Generator<'_> {
    pub(super) fn standard(&self, cluster: &mut Cluster) -> Result<(), String> {
        self.standard_services(cluster);
        let off = self.config.disable_ingress_creation && self.release >= SWITCH;
        if self.is_internal() || off || self.is_stopped() {
            return Ok(());
        }
        if self.config.enable_gateway_api && self.release >= ROUTES {
            return self.http_routes(cluster);
        }
        let spec = self.ingress()?;
        let mut there = cluster.ingresses.iter();
        if !there.any(|other| self.is_called(&other.meta, self.name())) {
            let mut made = self.object("Ingress", self.name().to_owned(), &[], spec);
            made.meta.annotations = self.service.meta.annotations.clone();
            cluster.ingresses.push(made);
        }
        Ok(())
    }

    fn is_called(&self, meta: &Metadata, name: &str) -> bool {
        meta.name == name && meta.namespace == self.namespace()
    }

    /// Only for the inside: by a label of KServe's, for Knative's says nothing here.
    fn is_internal(&self) -> bool {
        let visibility = self.service.meta.labels.get(VISIBILITY);
        self.release >= INTERNAL
            && (visibility.is_some_and(|visibility| visibility == "cluster-local")
                || self.config.ingress_domain == "svc.cluster.local")
    }

    fn is_stopped(&self) -> bool {
        let stop = self.service.meta.annotations.get("serving.kserve.io/stop");
        self.release >= STOP && stop.is_some_and(|stop| stop.eq_ignore_ascii_case("true"))
    }

    fn standard_services(&self, cluster: &mut Cluster) {
        let mut names = vec![(self.name().to_owned(), self.front())];
        names.extend(
            self.components()
                .map(|component| (self.component(component), component)),
        );
        for (name, component) in names {
            let app = format!("isvc.{}", self.component(component));
            let spec = Service {
                kind: Some("ClusterIP".into()),
                selector: [("app".to_owned(), app)].into(),
                ports: vec![http_port(Some(8080))],
                ..Service::default()
            };
            self.service_unless_there(cluster, name, spec);
        }
    }

    /// Host for callers from outside.
    fn outside(&self, name: &str) -> Result<String, String> {
        let (namespace, domain) = (self.namespace(), self.config.ingress_domain.as_str());
        match self.release < TEMPLATES {
            true => Ok(format!("{name}-{namespace}.{domain}")),
            false => evaluate(&self.config.domain_template, name, namespace, domain),
        }
    }

    fn ingress(&self) -> Result<Ingress, String> {
        let mut rules = Vec::new();
        let mut rule = |host: String, component: &str| rules.push(self.rule(host, component));
        let named = |component: &str| self.outside(&self.component(component));
        let spec = &self.service.spec;
        let confused = self.release >= CONFUSED;
        if spec.transformer.is_some() {
            let transformer = named("transformer")?;
            if spec.explainer.is_some() {
                match confused {
                    true => rule(transformer.clone(), "explainer"),
                    false => rule(named("explainer")?, "explainer"),
                }
            }
            rule(self.outside(self.name())?, "transformer");
            let to = if confused { "predictor" } else { "transformer" };
            rule(transformer, to);
        } else {
            rule(self.outside(self.name())?, "predictor");
            if spec.explainer.is_some() {
                rule(named("explainer")?, "explainer");
            }
        }
        rule(named("predictor")?, "predictor");
        let class = self.config.ingress_class_name.clone();
        Ok(Ingress {
            ingress_class_name: class.filter(|_| self.release >= TEMPLATES),
            rules,
            ..Ingress::default()
        })
    }

    fn rule(&self, host: String, component: &str) -> IngressRule {
        let service = IngressService {
            name: self.component(component),
            port: BackendPort {
                number: 80,
                ..BackendPort::default()
            },
        };
        let path = IngressPath {
            path: "/".to_owned(),
            path_type: Some(PathType::Prefix),
            backend: IngressBackend {
                service: Some(service),
                resource: None,
            },
        };
        IngressRule {
            host,
            http: Some(IngressPaths { paths: vec![path] }),
        }
    }

    /// One for each component, and one for the model.
    fn http_routes(&self, cluster: &mut Cluster) -> Result<(), String> {
        let Some((namespace, name)) = self.config.kserve_ingress_gateway.split_once('/') else {
            return Err(format!(
                "ConfigMap inferenceservice-config: kserveIngressGateway: expected `namespace/name`, found `{}`",
                self.config.kserve_ingress_gateway
            ));
        };
        let parent = ParentRef {
            group: Some("gateway.networking.k8s.io".to_owned()),
            kind: Some("Gateway".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
            ..ParentRef::default()
        };
        let mut made = Vec::new();
        for component in self.components() {
            let service = self.component(component);
            // An old suffix stays in hosts alone.
            let name = service.strip_suffix(self.suffix).unwrap_or(&service);
            let hosts = vec![self.outside(&service)?];
            made.push((name.to_owned(), hosts, self.all_to(component, cluster)));
        }
        let (hosts, rules) = self.front_route(cluster)?;
        made.push((self.name().to_owned(), hosts, rules));
        for (name, hostnames, rules) in made {
            let mut there = cluster.http_routes.iter();
            if there.any(|other| self.is_called(&other.meta, &name)) {
                continue;
            }
            let spec = Route {
                parent_refs: vec![parent.clone()],
                hostnames,
                rules: Some(rules),
            };
            let mut route: Object<Route> = self.object("HTTPRoute", name, &[], spec);
            route.meta.labels = self.service.meta.labels.clone();
            route.meta.annotations = self.service.meta.annotations.clone();
            cluster.http_routes.push(route);
        }
        Ok(())
    }

    /// Hosts and rules of the model's own route.
    fn front_route(&self, cluster: &Cluster) -> Result<(Vec<String>, Vec<RouteRule>), String> {
        let mut hosts = vec![self.outside(self.name())?];
        let domain = self.config.ingress_domain.as_str();
        let own = hosts.first().and_then(|host| host.strip_suffix(domain));
        let own = own.filter(|start| !start.is_empty()).map(str::to_owned);
        for more in &self.config.additional_ingress_domains {
            let host = own.as_ref().map(|start| format!("{start}{more}"));
            if let Some(host) = host.filter(|host| !hosts.contains(host)) {
                hosts.push(host);
            }
        }
        let explainer = self.service.spec.explainer.is_some();
        let mut rules = Vec::new();
        if explainer {
            rules.push(self.to("explainer", by_path(EXPLAIN.to_owned()), 80));
        }
        rules.extend(self.all_to(self.front(), cluster));
        if !self.config.path_template.is_empty() {
            let template = &self.config.path_template;
            let path = evaluate(template, self.name(), self.namespace(), domain)?;
            let path = path.strip_suffix('/').unwrap_or(&path);
            hosts.push(domain.to_owned());
            if explainer {
                let below = by_path(format!("{path}{EXPLAIN_BELOW}"));
                rules.push(self.to("explainer", below, 80));
            }
            rules.push(self.to(self.front(), by_path(format!("{path}/")), 80));
        }
        Ok((hosts, rules))
    }

    /// Everything to one component; gRPC first, where its Service has a port for it.
    fn all_to(&self, component: &str, cluster: &Cluster) -> Vec<RouteRule> {
        let name = self.component(component);
        let mut services = cluster.services.iter();
        let service = services.find(|service| self.is_called(&service.meta, &name));
        let ports = service.map_or(&[][..], |service| &service.spec.ports);
        let port = |grpc: bool| ports.iter().find(|port| is_grpc(port) == grpc);
        if self.release >= GRPC
            && let (Some(grpc), Some(rest)) = (port(true), port(false))
        {
            let mut calls = by_path(r"^/inference\.GRPCInferenceService/.*$".to_owned());
            calls.headers.push(NamedMatch {
                kind: Some("RegularExpression".to_owned()),
                name: "content-type".to_owned(),
                value: "^application/grpc.*".to_owned(),
            });
            return vec![
                self.to(component, calls, grpc.port),
                self.to(component, by_path(ALL.to_owned()), rest.port),
            ];
        }
        vec![self.to(component, by_path(ALL.to_owned()), 80)]
    }

    fn to(&self, component: &str, one: RouteMatch, port: u16) -> RouteRule {
        let header = |name: &str, value: &str| Header {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let set = vec![
            header("KServe-Isvc-Name", self.name()),
            header("KServe-Isvc-Namespace", self.namespace()),
        ];
        RouteRule {
            matches: vec![one],
            filters: vec![RouteFilter {
                kind: "RequestHeaderModifier".to_owned(),
                request_header_modifier: Some(HeaderModifier {
                    set,
                    ..HeaderModifier::default()
                }),
                ..RouteFilter::default()
            }],
            backend_refs: vec![BackendRef {
                kind: Some("Service".to_owned()),
                namespace: Some(self.namespace().to_owned()),
                name: self.component(component),
                port: Some(port),
                ..BackendRef::default()
            }],
            timeouts: Timeouts {
                request: self.limit(component),
                ..Timeouts::default()
            },
            ..RouteRule::default()
        }
    }

    /// Time limit of requests to a component.
    fn limit(&self, component: &str) -> Option<String> {
        let spec = &self.service.spec;
        let written = |part: &Option<serde_json::Value>| {
            part.as_ref().and_then(|part| part.get("timeout")?.as_i64())
        };
        let seconds = match component {
            "transformer" => written(&spec.transformer),
            "explainer" => written(&spec.explainer),
            _ => spec.predictor.timeout,
        };
        let limited = !self.config.disable_http_route_timeout;
        limited.then(|| format!("{}s", seconds.unwrap_or(60)))
    }
}

fn by_path(pattern: String) -> RouteMatch {
    RouteMatch {
        path: Some(TypedValue {
            kind: Some("RegularExpression".to_owned()),
            value: Some(pattern),
        }),
        ..RouteMatch::default()
    }
}

/// KServe's `detectServiceProtocolPorts`.
fn is_grpc(port: &ServicePort) -> bool {
    let name = port.name.as_deref().unwrap_or_default().to_lowercase();
    port.app_protocol.as_deref() == Some("kubernetes.io/h2c")
        || name.contains("grpc")
        || name.contains("h2c")
}
