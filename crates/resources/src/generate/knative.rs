//! What Knative makes of one of its Services (net-istio `virtual_service.go`,
//! the same since 0.26), and what all that is made here has in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{destination, http_port, is_revision, set};
use crate::cluster::Cluster;
use crate::core::Service;
use crate::istio::{HttpMatch, HttpRoute, StringMatch, VirtualService};
use crate::kserve::IngressConfig;
use crate::meta::{Metadata, Object, ObjectRef, Source};

/// The object that others are made for.
pub(super) struct Parent<'a> {
    meta: &'a Metadata,
    source: &'a Source,
    reference: ObjectRef,
}

impl<'a> Parent<'a> {
    pub(super) fn of<T>(object: &'a Object<T>) -> Self {
        Self {
            meta: &object.meta,
            source: &object.source,
            reference: object.reference(),
        }
    }

    pub(super) fn object<T>(
        &self,
        kind: &str,
        name: String,
        labels: &[(&str, String)],
        spec: T,
    ) -> Object<T> {
        Object {
            kind: Arc::from(kind),
            meta: Metadata {
                name,
                namespace: self.meta.namespace.clone(),
                labels: labels
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), v.clone()))
                    .collect(),
                annotations: BTreeMap::new(),
                creation_timestamp: self.meta.creation_timestamp.clone(),
            },
            spec,
            source: Source {
                generated_from: Some(self.reference.clone()),
                ..self.source.clone()
            },
        }
    }

    fn is_called(&self, meta: &Metadata, name: &str) -> bool {
        meta.name == name && meta.namespace == self.meta.namespace
    }

    pub(super) fn service_unless_there(&self, cluster: &mut Cluster, name: String, spec: Service) {
        let mut services = cluster.services.iter();
        if !services.any(|service| self.is_called(&service.meta, &name)) {
            let made = self.object("Service", name, &[], spec);
            cluster.services.push(made);
        }
    }

    pub(super) fn route_unless_there(&self, cluster: &mut Cluster, route: Object<VirtualService>) {
        let mut routes = cluster.virtual_services.iter();
        if !routes.any(|other| self.is_called(&other.meta, &route.meta.name)) {
            cluster.virtual_services.push(route);
        }
    }
}

/// A Knative Service.
pub(super) struct Knative<'a> {
    pub(super) config: &'a IngressConfig,
    pub(super) parent: &'a Parent<'a>,
    pub(super) name: String,
    /// The Service that leads to the cluster-local gateway.
    pub(super) local_gateway_service: &'a str,
    pub(super) cluster_local: bool,
}

impl Knative<'_> {
    fn namespace(&self) -> &str {
        &self.parent.meta.namespace
    }

    /// The newest revision that the YAML holds a Service of, or the first.
    fn revision(&self, cluster: &Cluster) -> String {
        let route = &self.name;
        let services = cluster.services.iter();
        services
            .filter(|s| s.meta.namespace == self.namespace())
            .map(|s| s.meta.name.as_str())
            .filter(|name| {
                name.strip_prefix(route)
                    .and_then(|rest| rest.strip_prefix('-'))
                    .is_some_and(is_revision)
            })
            .max()
            .map_or_else(|| format!("{route}-00001"), str::to_owned)
    }

    /// Its name, which leads to the cluster-local gateway, and its revision.
    pub(super) fn services(&self, cluster: &mut Cluster) {
        let route = external(self.local_gateway_service);
        let parent = self.parent;
        parent.service_unless_there(cluster, self.name.clone(), route);
        let revision = Service {
            ports: vec![http_port(None)],
            ..Service::default()
        };
        let name = self.revision(cluster);
        parent.service_unless_there(cluster, name, revision);
    }

    /// The VirtualService of its Route. Its further routes for the prober
    /// (`K-Network-Hash: override`) go to the same place.
    pub(super) fn route(&self, cluster: &mut Cluster) {
        let (route, namespace) = (&self.name, self.namespace());
        let revision = self.revision(cluster);
        let short = format!("{route}.{namespace}");
        let mut hosts = vec![short.clone()];
        let mut gateways = vec![self.config.local_gateway.clone()];
        let mut entries = vec![(short.clone(), self.config.local_gateway.clone())];
        if !self.cluster_local {
            let outside = format!("{short}.{}", self.config.ingress_domain);
            hosts.push(outside.clone());
            gateways.push(self.config.ingress_gateway.clone());
            entries.push((outside, self.config.ingress_gateway.clone()));
        }
        hosts.extend([format!("{short}.svc"), format!("{short}.svc.cluster.local")]);
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
                    &format!("{revision}.{namespace}.svc.cluster.local"),
                    Some(set([
                        ("Knative-Serving-Namespace", namespace.to_owned()),
                        ("Knative-Serving-Revision", revision.clone()),
                    ])),
                )],
                ..HttpRoute::default()
            })
            .collect();
        let labels = [
            ("networking.internal.knative.dev/ingress", route.clone()),
            ("serving.knative.dev/route", route.clone()),
            ("serving.knative.dev/routeNamespace", namespace.to_owned()),
        ];
        let spec = VirtualService {
            hosts,
            gateways,
            http,
            ..VirtualService::default()
        };
        let name = format!("{route}-ingress");
        let made = self.parent.object("VirtualService", name, &labels, spec);
        self.parent.route_unless_there(cluster, made);
    }
}

/// A name for another host.
pub(super) fn external(target: &str) -> Service {
    Service {
        kind: Some("ExternalName".into()),
        external_name: Some(target.to_owned()),
        ..Service::default()
    }
}
