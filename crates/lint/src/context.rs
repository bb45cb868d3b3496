//! What lints look up: pods, the policies that reach them, lists of rules.

use std::collections::{BTreeMap, BTreeSet};

use policy::{ExposedPort, GatewayPods, IstioVersion, Snapshot, selects};
use resources::istio::{AuthorizationPolicy, Gateway, Selector};
use resources::mesh::Normalization;
use resources::{Cluster, Object, ObjectRef};

pub(crate) type Labels = BTreeMap<String, String>;

pub(crate) struct Context<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) snapshot: &'c Snapshot,
    pub(crate) root: &'c str,
    pub(crate) version: IstioVersion,
    pub(crate) normalization: Normalization,
    pub(crate) pods: Vec<Pods<'c>>,
    /// What installs a login service whose place access levels take.
    pub(crate) taken_over: BTreeSet<ObjectRef>,
}

/// Pods with the same labels.
pub(crate) struct Pods<'c> {
    pub(crate) namespace: String,
    pub(crate) labels: Labels,
    /// Gateways that select them, and none for other pods.
    pub(crate) gateways: Vec<&'c Object<Gateway>>,
    ports: GatewayPods,
}

impl<'c> Context<'c> {
    pub(crate) fn new(cluster: &'c Cluster, snapshot: &'c Snapshot) -> Self {
        let mut sets: Vec<(String, Labels)> = cluster
            .workloads
            .iter()
            .map(|w| (w.meta.namespace.clone(), w.spec.labels.clone()))
            .collect();
        for service in &cluster.services {
            let selector = &service.spec.selector;
            let known = sets
                .iter()
                .any(|(ns, labels)| *ns == service.meta.namespace && selects(selector, labels));
            if !selector.is_empty() && !known {
                sets.push((service.meta.namespace.clone(), selector.clone()));
            }
        }
        let pods = sets
            .into_iter()
            .map(|(ns, labels)| Pods::new(cluster, ns, labels))
            .collect();
        Self {
            cluster,
            snapshot,
            root: cluster
                .mesh
                .root_namespace
                .as_deref()
                .unwrap_or("istio-system"),
            version: snapshot.istio_version(),
            normalization: snapshot.normalization(),
            pods,
            taken_over: taken_over(snapshot),
        }
    }

    /// The pods that a policy of `namespace` with this selector reaches.
    pub(crate) fn reached(
        &self,
        namespace: &str,
        selector: Option<&Selector>,
    ) -> impl Iterator<Item = &Pods<'c>> {
        let everywhere = namespace == self.root;
        self.pods.iter().filter(move |pods| {
            (everywhere || pods.namespace == namespace)
                && selector.is_none_or(|s| selects(&s.match_labels, &pods.labels))
        })
    }

    /// The pods that an AuthorizationPolicy reaches by its selector.
    pub(crate) fn pods_of(&self, policy: &Object<AuthorizationPolicy>) -> Vec<&Pods<'c>> {
        if targets(&policy.spec) {
            return Vec::new();
        }
        self.reached(&policy.meta.namespace, policy.spec.selector.as_ref())
            .collect()
    }

    /// Whether a policy reaches a gateway, and nothing known that is not one.
    pub(crate) fn on_gateways(&self, policy: &Object<AuthorizationPolicy>) -> bool {
        let pods = self.pods_of(policy);
        !pods.is_empty() && pods.iter().all(|p| p.is_gateway())
    }
}

fn taken_over(snapshot: &Snapshot) -> BTreeSet<ObjectRef> {
    if !snapshot.enforces() {
        return BTreeSet::new();
    }
    let listeners = snapshot.listeners();
    let authorizers = listeners.flat_map(|l| l.authorizers());
    let logins = authorizers.filter(|a| a.is_login());
    logins
        .flat_map(|a| {
            let rules = a.rules.iter().flatten().map(|rule| rule.object.clone());
            rules.chain([a.object().0.clone()]).collect::<Vec<_>>()
        })
        .collect()
}

/// Whether a policy is attached to Gateway API objects instead of pods.
pub(crate) fn targets(spec: &AuthorizationPolicy) -> bool {
    !spec.target_refs.is_empty() || spec.target_ref.is_some()
}

impl<'c> Pods<'c> {
    fn new(cluster: &'c Cluster, namespace: String, labels: Labels) -> Self {
        let ports = GatewayPods::with_labels(cluster, &namespace, labels.clone());
        let gateways = ports.gateways(cluster).into_iter();
        Self {
            gateways: gateways
                .filter(|g| g.spec.attached.is_some() || !g.spec.selector.is_empty())
                .collect(),
            namespace,
            labels,
            ports,
        }
    }

    pub(crate) fn is_gateway(&self) -> bool {
        !self.gateways.is_empty()
    }

    /// Service ports in front, those of the oldest Service first.
    pub(crate) fn exposed(&self) -> &[ExposedPort] {
        self.ports.exposed()
    }

    /// The listener ports of a Gateway's server port.
    pub(crate) fn listener_ports(&self, gateway: &Object<Gateway>, server: u16) -> Vec<u16> {
        self.ports.listener_ports(gateway, server)
    }

    /// Listener ports that Gateways open on these pods.
    pub(crate) fn listeners(&self) -> Vec<u16> {
        let of = |gateway: &&'c Object<Gateway>| -> Vec<u16> {
            let servers = gateway.spec.servers.iter();
            servers
                .flat_map(|s| self.listener_ports(gateway, s.port.number))
                .collect()
        };
        self.gateways.iter().flat_map(of).collect()
    }
}

/// Fields that exist for HTTP alone, conditions on requests included.
pub(crate) fn is_http_only(name: &str) -> bool {
    matches!(
        name,
        "hosts"
            | "notHosts"
            | "methods"
            | "notMethods"
            | "paths"
            | "notPaths"
            | "requestPrincipals"
            | "notRequestPrincipals"
    ) || name.starts_with("request.")
}

/// One list of values in a rule.
pub(crate) struct List<'p> {
    pub(crate) rule: usize,
    /// Path of the list.
    pub(crate) place: String,
    /// Name as in the YAML: `notPaths`; for conditions the key.
    pub(crate) name: &'p str,
    pub(crate) negated: bool,
    pub(crate) values: &'p [String],
}

impl List<'_> {
    /// The values with their field paths.
    pub(crate) fn items(&self) -> impl Iterator<Item = (String, &str)> {
        let items = self.values.iter().enumerate();
        items.map(|(i, value)| (format!("{}[{i}]", self.place), value.as_str()))
    }
}

/// Every list of every rule that has values.
pub(crate) fn lists(policy: &AuthorizationPolicy) -> Vec<List<'_>> {
    let mut all = Vec::new();
    for (rule, spec) in policy.rules.iter().flatten().enumerate() {
        let Some(spec) = spec else { continue };
        let mut add = |place: String, name, negated, values| {
            all.push(List {
                rule,
                place,
                name,
                negated,
                values,
            })
        };
        for (i, s) in spec.from.iter().enumerate() {
            let Some(s) = &s.source else { continue };
            for (name, negated, values) in [
                ("principals", false, &s.principals),
                ("notPrincipals", true, &s.not_principals),
                ("requestPrincipals", false, &s.request_principals),
                ("notRequestPrincipals", true, &s.not_request_principals),
                ("namespaces", false, &s.namespaces),
                ("notNamespaces", true, &s.not_namespaces),
                ("serviceAccounts", false, &s.service_accounts),
                ("notServiceAccounts", true, &s.not_service_accounts),
                ("ipBlocks", false, &s.ip_blocks),
                ("notIpBlocks", true, &s.not_ip_blocks),
                ("remoteIpBlocks", false, &s.remote_ip_blocks),
                ("notRemoteIpBlocks", true, &s.not_remote_ip_blocks),
            ] {
                add(
                    format!("spec.rules[{rule}].from[{i}].source.{name}"),
                    name,
                    negated,
                    values,
                );
            }
        }
        for (i, o) in spec.to.iter().enumerate() {
            let Some(o) = &o.operation else { continue };
            for (name, negated, values) in [
                ("hosts", false, &o.hosts),
                ("notHosts", true, &o.not_hosts),
                ("ports", false, &o.ports),
                ("notPorts", true, &o.not_ports),
                ("methods", false, &o.methods),
                ("notMethods", true, &o.not_methods),
                ("paths", false, &o.paths),
                ("notPaths", true, &o.not_paths),
            ] {
                add(
                    format!("spec.rules[{rule}].to[{i}].operation.{name}"),
                    name,
                    negated,
                    values,
                );
            }
        }
        for (i, c) in spec.when.iter().enumerate() {
            for (part, negated, values) in [
                ("values", false, &c.values),
                ("notValues", true, &c.not_values),
            ] {
                add(
                    format!("spec.rules[{rule}].when[{i}].{part}"),
                    &c.key,
                    negated,
                    values,
                );
            }
        }
    }
    all.retain(|list| !list.values.is_empty());
    all
}

/// What a policy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    Deny,
    Custom,
    Audit,
}

pub(crate) fn action(policy: &AuthorizationPolicy) -> Action {
    match policy.action.as_deref() {
        Some("DENY") => Action::Deny,
        Some("CUSTOM") => Action::Custom,
        Some("AUDIT") => Action::Audit,
        _ => Action::Allow,
    }
}

/// DENY and CUSTOM: what a rule does not match is let through.
pub(crate) fn guards(policy: &AuthorizationPolicy) -> bool {
    matches!(action(policy), Action::Deny | Action::Custom)
}
