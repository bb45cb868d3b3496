//! What KServe's and Knative's controllers make of an InferenceService, for
//! YAML that does not hold it (KServe `ingress_reconciler.go`, net-istio
//! `virtual_service.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::{Cluster, PredictorService};
use crate::core::{Service, ServicePort};
use crate::error::LoadError;
use crate::istio::{
    Destination, HeaderOperations, Headers, HttpMatch, HttpRoute, PortSelector, Rewrite,
    RouteDestination, StringMatch, VirtualService,
};
use crate::kserve::{InferenceService, IngressConfig};
use crate::meta::{Metadata, Object, ServiceName, Source};

const VISIBILITY: &str = "networking.knative.dev/visibility";

/// Where an InferenceService answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelUrls {
    /// Hosts for callers from outside; empty when it is cluster-local.
    pub external_hosts: Vec<String>,
    /// `host/path` for callers from outside, with path-based routing.
    pub external_path: Option<(String, String)>,
    /// Host for workloads.
    pub local_host: String,
}

/// Where an InferenceService answers.
///
/// # Errors
/// The template that cannot be evaluated.
pub fn urls(
    config: &IngressConfig,
    service: &Object<InferenceService>,
) -> Result<ModelUrls, String> {
    let (name, namespace) = (&service.meta.name, &service.meta.namespace);
    let mut urls = ModelUrls {
        local_host: format!("{name}.{namespace}.svc.cluster.local"),
        ..ModelUrls::default()
    };
    if is_cluster_local(service) {
        return Ok(urls);
    }
    let domains = std::iter::once(&config.ingress_domain).chain(&config.additional_ingress_domains);
    for domain in domains {
        urls.external_hosts
            .push(evaluate(&config.domain_template, name, namespace, domain)?);
    }
    if !config.path_template.is_empty() {
        let path = evaluate(
            &config.path_template,
            name,
            namespace,
            &config.ingress_domain,
        )?;
        urls.external_path = Some((config.ingress_domain.clone(), path));
    }
    Ok(urls)
}

fn is_cluster_local(service: &Object<InferenceService>) -> bool {
    service
        .meta
        .labels
        .get(VISIBILITY)
        .is_some_and(|v| v == "cluster-local")
}

/// The Go templates of `inferenceservice-config`: three fields, no functions.
fn evaluate(template: &str, name: &str, namespace: &str, domain: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((action, after)) = after.split_once("}}") else {
            return Err(format!(
                "template `{template}`: expected `}}}}` after `{{{{`"
            ));
        };
        out.push_str(match action.trim().trim_matches('-').trim() {
            ".Name" => name,
            ".Namespace" => namespace,
            ".IngressDomain" => domain,
            other => {
                return Err(format!(
                    "template `{template}`: expected .Name, .Namespace or .IngressDomain, found `{other}`"
                ));
            }
        });
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Adds what is missing for every InferenceService.
pub(crate) fn generate(cluster: &mut Cluster, errors: &mut Vec<LoadError>) {
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
        generator.services(cluster);
        generator.add(cluster, generator.kserve_route());
        generator.add(cluster, generator.knative_route());
        generator.predictors(cluster);
    }
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

    fn predictor_host(&self) -> String {
        format!(
            "{}-predictor.{}.svc.cluster.local",
            self.name(),
            self.namespace()
        )
    }

    fn revision(&self) -> String {
        format!("{}-predictor-00001", self.name())
    }

    fn services(&self, cluster: &mut Cluster) {
        let external = |target: &str| Service {
            kind: Some("ExternalName".into()),
            external_name: Some(target.to_owned()),
            ..Service::default()
        };
        let port = ServicePort {
            name: Some("http".into()),
            port: 80,
            target_port: None,
        };
        let revision = Service {
            ports: vec![port],
            ..Service::default()
        };
        for (name, spec) in [
            (
                self.name().to_owned(),
                external(&self.config.local_gateway_service),
            ),
            (
                format!("{}-predictor", self.name()),
                external(self.local_gateway_service()),
            ),
            (self.revision(), revision),
        ] {
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
    /// cluster-local gateway under the predictor's host.
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
        let mut http = vec![self.to_local_gateway(matches, None)];
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
            http.push(self.to_local_gateway(vec![at(below), at(exact)], Some("/")));
        }
        let spec = VirtualService {
            hosts,
            gateways,
            http,
            export_to: Vec::new(),
        };
        self.object("VirtualService", self.name().to_owned(), &[], spec)
    }

    fn to_local_gateway(&self, matches: Vec<HttpMatch>, rewrite: Option<&str>) -> HttpRoute {
        HttpRoute {
            matches,
            headers: Some(set([
                ("Host", self.predictor_host()),
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

    /// Knative's VirtualService of the predictor's Route.
    fn knative_route(&self) -> Object<VirtualService> {
        let route = format!("{}-predictor", self.name());
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
        hosts.extend([format!("{short}.svc"), self.predictor_host()]);
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
                    &format!("{}.{}.svc.cluster.local", self.revision(), self.namespace()),
                    Some(set([
                        ("Knative-Serving-Namespace", self.namespace().to_owned()),
                        ("Knative-Serving-Revision", self.revision()),
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
        };
        self.object("VirtualService", format!("{route}-ingress"), &labels, spec)
    }

    /// Every Service that stands for the predictor, generated or written:
    /// `<name>-predictor-<revision>`, its `-private` twin, and `<name>-predictor`.
    fn predictors(&self, cluster: &mut Cluster) {
        let prefix = format!("{}-predictor", self.name());
        for service in &cluster.services {
            let meta = &service.meta;
            let revision = meta.name.strip_prefix(&prefix).is_some_and(|rest| {
                let rest = rest.strip_suffix("-private").unwrap_or(rest);
                rest.is_empty()
                    || rest.strip_prefix('-').is_some_and(|n| {
                        n == "default" || n.len() == 5 && n.bytes().all(|b| b.is_ascii_digit())
                    })
            });
            if meta.namespace == self.namespace() && revision {
                cluster.predictors.push(PredictorService {
                    service: ServiceName {
                        namespace: meta.namespace.as_str().into(),
                        name: meta.name.as_str().into(),
                    },
                    model: self.service.reference(),
                });
            }
        }
    }
}

/// KServe's `HostRegExp`: the host, with or without a port.
fn host_regex(host: &str) -> StringMatch {
    let escaped = host.replace('.', r"\.");
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
