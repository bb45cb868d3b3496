//! What KServe's and Knative's controllers make of an InferenceService, for
//! YAML that does not hold it (KServe `ingress_reconciler.go`, net-istio
//! `virtual_service.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::{Cluster, PredictorService};
use crate::core::{Namespace, PortRef, Service, ServicePort};
use crate::error::LoadError;
use crate::istio::{
    Destination, HeaderOperations, Headers, HttpMatch, HttpRoute, PortSelector, Rewrite,
    RouteDestination, StringMatch, VirtualService,
};
use crate::kserve::{InferenceService, IngressConfig};
use crate::meta::{Metadata, Object, ServiceName, Source};
use crate::urls::{ModelUrls, urls};

/// Adds what is missing for every InferenceService.
pub(crate) fn generate(cluster: &mut Cluster, errors: &mut Vec<LoadError>) {
    profile_namespaces(cluster);
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
            urls,
        };
        if is_raw(&service) {
            generator.raw_services(cluster);
        } else {
            generator.services(cluster);
            generator.add(cluster, generator.kserve_route());
            for component in generator.components() {
                generator.add(cluster, generator.knative_route(component, cluster));
            }
        }
        generator.predictors(cluster);
    }
    let parents = crate::attach::gateways(cluster);
    crate::kuberoutes::routes(cluster, &parents);
}

/// The namespace that Kubeflow's profile controller makes of each Profile
/// (`profile_controller.go`, `Reconcile`). Its policies are for sidecars.
fn profile_namespaces(cluster: &mut Cluster) {
    for profile in cluster.profiles.clone() {
        let name = &profile.meta.name;
        if cluster.namespaces.iter().any(|n| n.meta.name == *name) {
            continue;
        }
        let labels = [
            ("app.kubernetes.io/part-of", "kubeflow-profile"),
            ("istio-injection", "enabled"),
        ];
        cluster.namespaces.push(Object {
            kind: Arc::from("Namespace"),
            meta: Metadata {
                name: name.clone(),
                labels: labels
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
                creation_timestamp: profile.meta.creation_timestamp.clone(),
                ..Metadata::default()
            },
            spec: Namespace::default(),
            source: Source {
                generated_from: Some(profile.reference()),
                ..profile.source.clone()
            },
        });
    }
}

/// Without Knative: `serving.kserve.io/deploymentMode`, both of its spellings.
fn is_raw(service: &Object<InferenceService>) -> bool {
    service
        .meta
        .annotations
        .get("serving.kserve.io/deploymentMode")
        .is_some_and(|mode| mode == "RawDeployment" || mode == "Standard")
}

struct Generator<'a> {
    config: IngressConfig,
    service: &'a Object<InferenceService>,
    urls: ModelUrls,
}

impl Generator<'_> {
    fn name(&self) -> &str {
        &self.service.meta.name
    }

    fn namespace(&self) -> &str {
        &self.service.meta.namespace
    }

    fn object<T>(&self, kind: &str, name: String, labels: &[(&str, String)], spec: T) -> Object<T> {
        Object {
            kind: Arc::from(kind),
            meta: Metadata {
                name,
                namespace: self.namespace().to_owned(),
                labels: labels
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), v.clone()))
                    .collect(),
                annotations: BTreeMap::new(),
                creation_timestamp: self.service.meta.creation_timestamp.clone(),
            },
            spec,
            source: Source {
                generated_from: Some(self.service.reference()),
                ..self.service.source.clone()
            },
        }
    }

    fn local_gateway_service(&self) -> &str {
        let knative = &self.config.knative_local_gateway_service;
        if knative.is_empty() {
            &self.config.local_gateway_service
        } else {
            knative
        }
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

    fn host(&self, component: &str) -> String {
        format!(
            "{}-{component}.{}.svc.cluster.local",
            self.name(),
            self.namespace()
        )
    }

    /// The newest revision that the YAML holds a Service of, or the first.
    fn revision(&self, component: &str, cluster: &Cluster) -> String {
        let route = format!("{}-{component}", self.name());
        cluster
            .services
            .iter()
            .filter(|s| s.meta.namespace == self.namespace())
            .map(|s| s.meta.name.as_str())
            .filter(|name| {
                name.strip_prefix(&route)
                    .and_then(|rest| rest.strip_prefix('-'))
                    .is_some_and(is_revision)
            })
            .max()
            .map_or_else(|| format!("{route}-00001"), str::to_owned)
    }

    fn service_unless_there(&self, cluster: &mut Cluster, name: String, spec: Service) {
        let there = cluster
            .services
            .iter()
            .any(|s| s.meta.name == name && s.meta.namespace == self.namespace());
        if !there {
            cluster
                .services
                .push(self.object("Service", name, &[], spec));
        }
    }

    fn services(&self, cluster: &mut Cluster) {
        let external = |target: &str| Service {
            kind: Some("ExternalName".into()),
            external_name: Some(target.to_owned()),
            ..Service::default()
        };
        let front = external(&self.config.local_gateway_service);
        self.service_unless_there(cluster, self.name().to_owned(), front);
        for component in self.components() {
            let route = external(self.local_gateway_service());
            let name = format!("{}-{component}", self.name());
            self.service_unless_there(cluster, name, route);
            let revision = Service {
                ports: vec![http_port(None)],
                ..Service::default()
            };
            let name = self.revision(component, cluster);
            self.service_unless_there(cluster, name, revision);
        }
    }

    /// Plain Services, around every gateway.
    fn raw_services(&self, cluster: &mut Cluster) {
        let mut names = vec![(self.name().to_owned(), self.front())];
        names.extend(
            self.components()
                .map(|component| (format!("{}-{component}", self.name()), component)),
        );
        for (name, component) in names {
            let app = format!("isvc.{}-{component}", self.name());
            let spec = Service {
                kind: Some("ClusterIP".into()),
                selector: BTreeMap::from([("app".to_owned(), app)]),
                ports: vec![http_port(Some(8080))],
                ..Service::default()
            };
            self.service_unless_there(cluster, name, spec);
        }
    }

    fn add(&self, cluster: &mut Cluster, object: Object<VirtualService>) {
        let there = cluster.virtual_services.iter().any(|vs| {
            vs.meta.name == object.meta.name && vs.meta.namespace == object.meta.namespace
        });
        if !there {
            cluster.virtual_services.push(object);
        }
    }

    /// KServe's VirtualService: host and path routes, all sent to the
    /// cluster-local gateway under the component's host.
    fn kserve_route(&self) -> Object<VirtualService> {
        let mut hosts = vec![self.urls.local_host.clone()];
        hosts.extend(self.urls.external_hosts.iter().cloned());
        let mut gateways = vec![self.config.local_gateway.clone(), "mesh".to_owned()];
        let mut matches = vec![HttpMatch {
            authority: Some(host_regex(&self.urls.local_host)),
            gateways: gateways.clone(),
            ..HttpMatch::default()
        }];
        if !self.urls.external_hosts.is_empty() {
            gateways.push(self.config.ingress_gateway.clone());
        }
        matches.extend(self.urls.external_hosts.iter().map(|host| HttpMatch {
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
        if let Some((host, path)) = &self.urls.external_path {
            if !hosts.contains(host) {
                hosts.push(host.clone());
            }
            let at = |uri: StringMatch| HttpMatch {
                uri: Some(uri),
                authority: Some(host_regex(host)),
                gateways: vec![self.config.ingress_gateway.clone()],
                ..HttpMatch::default()
            };
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

    fn to_local_gateway(
        &self,
        component: &str,
        matches: Vec<HttpMatch>,
        rewrite: Option<&str>,
    ) -> HttpRoute {
        HttpRoute {
            matches,
            headers: Some(set([
                ("Host", self.host(component)),
                ("KServe-Isvc-Name", self.name().to_owned()),
                ("KServe-Isvc-Namespace", self.namespace().to_owned()),
            ])),
            rewrite: rewrite.map(|uri| Rewrite {
                uri: Some(uri.to_owned()),
                ..Rewrite::default()
            }),
            route: vec![destination(self.local_gateway_service(), None)],
            ..HttpRoute::default()
        }
    }

    /// Knative's VirtualService of a component's Route. Its further routes for
    /// the prober (`K-Network-Hash: override`) go to the same place.
    fn knative_route(&self, component: &str, cluster: &Cluster) -> Object<VirtualService> {
        let route = format!("{}-{component}", self.name());
        let revision = self.revision(component, cluster);
        let short = format!("{route}.{}", self.namespace());
        let outside = format!("{short}.{}", self.config.ingress_domain);
        let cluster_local = self.urls.external_hosts.is_empty();
        let mut hosts = vec![short.clone()];
        let mut gateways = vec![self.config.local_gateway.clone()];
        let mut entries = vec![(short.clone(), self.config.local_gateway.clone())];
        if !cluster_local {
            hosts.push(outside.clone());
            gateways.push(self.config.ingress_gateway.clone());
            entries.push((outside, self.config.ingress_gateway.clone()));
        }
        hosts.extend([format!("{short}.svc"), self.host(component)]);
        let http = entries
            .into_iter()
            .map(|(authority, gateway)| HttpRoute {
                matches: vec![HttpMatch {
                    authority: Some(StringMatch {
                        prefix: Some(authority),
                        ..StringMatch::default()
                    }),
                    gateways: vec![gateway],
                    ..HttpMatch::default()
                }],
                route: vec![destination(
                    &format!("{revision}.{}.svc.cluster.local", self.namespace()),
                    Some(set([
                        ("Knative-Serving-Namespace", self.namespace().to_owned()),
                        ("Knative-Serving-Revision", revision.clone()),
                    ])),
                )],
                ..HttpRoute::default()
            })
            .collect();
        let labels = [
            ("networking.internal.knative.dev/ingress", route.clone()),
            ("serving.knative.dev/route", route.clone()),
            (
                "serving.knative.dev/routeNamespace",
                self.namespace().to_owned(),
            ),
        ];
        let spec = VirtualService {
            hosts,
            gateways,
            http,
            export_to: Vec::new(),
            ..VirtualService::default()
        };
        self.object("VirtualService", format!("{route}-ingress"), &labels, spec)
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
            return is_raw(self.service) && self.front() == "predictor";
        }
        let label = |name: &str| meta.labels.get(name).map(String::as_str);
        if label("serving.kserve.io/inferenceservice") == Some(self.name())
            && label("component").is_none_or(|c| c == "predictor")
        {
            return true;
        }
        let rest = meta
            .name
            .strip_prefix(self.name())
            .and_then(|rest| rest.strip_prefix("-predictor"));
        let Some(rest) = rest else { return false };
        let rest = rest.strip_suffix("-private").unwrap_or(rest);
        rest.is_empty()
            || rest
                .strip_prefix('-')
                .is_some_and(|n| n == "default" || is_revision(n))
    }
}

/// KServe's `ExplainPrefix`.
const EXPLAIN: &str = r"^/v1/models/[\w-]+:explain$";

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
    let mut escaped = String::with_capacity(host.len() + 8);
    for c in host.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    StringMatch {
        regex: Some(format!(r"^{escaped}(?::\d{{1,5}})?$")),
        ..StringMatch::default()
    }
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
