//! Mutual TLS inside the mesh: what pods with a sidecar take (istio
//! `security/authn/policy_applier.go` ComposePeerAuthentication), and what
//! gateways speak to them (`networking/core/cluster_tls.go`,
//! `xds/endpoints/mtls_checker.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use resources::istio::{MutualTls, MutualTlsMode as Mode, PeerAuthentication};
use resources::subsets::{DestinationRule, Subset};
use resources::{Cluster, Object, ServiceName};

use crate::traffic::full_host;
use crate::workloads::selects;

type Labels = BTreeMap<String, String>;

/// The PeerAuthentications of a configuration.
pub(crate) struct PeerModes<'c> {
    cluster: &'c Cluster,
    root: &'c str,
}

impl<'c> PeerModes<'c> {
    pub(crate) fn new(cluster: &'c Cluster, root: &'c str) -> Self {
        Self { cluster, root }
    }

    /// What a port of pods takes: the narrowest scope that says something, of
    /// several objects in a scope the oldest.
    pub(crate) fn of_port(&self, namespace: &str, labels: &Labels, port: u16) -> Mode {
        let workload = self.oldest(|object| {
            let selector = selector(object);
            object.meta.namespace == namespace
                && namespace != self.root
                && !selector.is_empty()
                && selects(selector, labels)
        });
        let wider = self.of_namespace(namespace);
        let Some(spec) = workload.map(|object| &object.spec) else {
            return wider;
        };
        let of_workload = set(spec.mtls).unwrap_or(wider);
        match spec.port_level_mtls.get(&port) {
            Some(of_port) => set(Some(*of_port)).unwrap_or(of_workload),
            None => of_workload,
        }
    }

    /// What the namespace and the mesh say, which is all that clients look at.
    fn of_namespace(&self, namespace: &str) -> Mode {
        let wide = |namespace: &str| {
            let object =
                self.oldest(|o| o.meta.namespace == namespace && selector(o).is_empty())?;
            set(object.spec.mtls)
        };
        wide(namespace)
            .or_else(|| wide(self.root))
            .unwrap_or(Mode::Permissive)
    }

    fn oldest(
        &self,
        holds: impl Fn(&Object<PeerAuthentication>) -> bool,
    ) -> Option<&'c Object<PeerAuthentication>> {
        let all = self.cluster.peer_authentications.iter();
        all.filter(|object| holds(object))
            .min_by(|a, b| a.age_order().cmp(&b.age_order()))
    }
}

fn selector(object: &Object<PeerAuthentication>) -> &Labels {
    static NOTHING: Labels = Labels::new();
    let selector = object.spec.selector.as_ref();
    selector.map_or(&NOTHING, |selector| &selector.match_labels)
}

fn set(mtls: Option<MutualTls>) -> Option<Mode> {
    mtls.map(|mtls| mtls.mode)
        .filter(|mode| *mode != Mode::Unset)
}

/// What a gateway speaks to pods with a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Mutual TLS, with the gateway's certificate of the mesh, asking for this
    /// server name.
    Mutual(Arc<str>),
    Plain,
    /// TLS that is not the mesh's.
    Foreign,
}

/// Pods behind a port of a Service, as a client sees them.
pub(crate) struct Target<'a> {
    pub(crate) service: &'a ServiceName,
    pub(crate) port: u16,
    pub(crate) labels: &'a Labels,
    /// What their own port takes.
    pub(crate) mode: Mode,
}

impl Target<'_> {
    /// What clients of the mesh ask for, where no subset is named (istio
    /// `model.BuildDNSSrvSubsetKey`).
    fn server_name(&self) -> String {
        format!("outbound_.{}_._.{}", self.port, self.service.host())
    }
}

impl PeerModes<'_> {
    /// What gateways of a namespace speak to pods with a sidecar.
    pub(crate) fn link(&self, client: &str, target: &Target<'_>) -> Link {
        let rule = self.destination_rule(client, target.service);
        let policy = rule.and_then(|rule| rule.spec.traffic_policy.as_ref());
        let tls = policy.and_then(|policy| policy.tls_of(target.port));
        let mutual = || {
            let written = tls.map(|tls| tls.sni.as_str());
            let written = written.filter(|name| !name.is_empty());
            Link::Mutual(written.map_or_else(|| target.server_name().into(), Arc::from))
        };
        if let Some(tls) = tls {
            return match tls.mode() {
                "DISABLE" => Link::Plain,
                "ISTIO_MUTUAL" => mutual(),
                _ => Link::Foreign,
            };
        }
        let off = target.labels.get("security.istio.io/tlsMode");
        let plain = self.cluster.mesh.enable_auto_mtls == Some(false)
            || off.is_some_and(|mode| mode != "istio")
            || self.of_namespace(&target.service.namespace) == Mode::Disable
            || target.mode == Mode::Disable;
        if plain { Link::Plain } else { mutual() }
    }

    /// The DestinationRule that gives subsets of a Service TLS of their own.
    pub(crate) fn subset_tls(
        &self,
        client: &str,
        service: &ServiceName,
        port: u16,
    ) -> Option<&Object<DestinationRule>> {
        let has_own = |subset: &Subset| {
            let policy = subset.traffic_policy.as_ref();
            policy.is_some_and(|policy| policy.tls_of(port).is_some())
        };
        self.destination_rule(client, service)
            .filter(|rule| rule.spec.subsets.iter().any(has_own))
    }

    /// The DestinationRule that gives a Service subsets: clients ask for others
    /// of their names than of the Service's.
    pub(crate) fn subsets(
        &self,
        client: &str,
        service: &ServiceName,
    ) -> Option<&Object<DestinationRule>> {
        self.destination_rule(client, service)
            .filter(|rule| !rule.spec.subsets.is_empty())
    }

    /// The DestinationRule that clients of a namespace follow: one of their own
    /// namespace, else of the Service's, else of the root (istio
    /// `PushContext.destinationRule`); of several for a host the oldest that
    /// says something. Of the root, clients there follow first only what is for
    /// them alone: the rest is for everybody, behind what Services say.
    fn destination_rule(
        &self,
        client: &str,
        service: &ServiceName,
    ) -> Option<&Object<DestinationRule>> {
        let host = service.host();
        let own = client != self.root;
        let namespaces = [
            (client, own),
            (&*service.namespace, true),
            (self.root, true),
        ];
        namespaces.into_iter().find_map(|(namespace, shared)| {
            let mut found: Vec<(usize, &Object<DestinationRule>)> = self
                .cluster
                .destination_rules
                .iter()
                .filter(|rule| rule.meta.namespace == namespace)
                .filter(|rule| rule.spec.workload_selector.is_none())
                .filter(|rule| is_exported(rule, client))
                .filter(|rule| shared || is_private(rule))
                .filter_map(|rule| {
                    let written = full_host(&rule.spec.host, namespace);
                    let exact = written == host;
                    let below = written.strip_prefix('*').is_some_and(|s| host.ends_with(s));
                    let rank = if exact { usize::MAX } else { written.len() };
                    (exact || below).then_some((rank, rule))
                })
                .collect();
            found
                .sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.age_order().cmp(&y.age_order())));
            let (rank, first) = *found.first()?;
            let mut same = found.iter().take_while(|(other, _)| *other == rank);
            let says = same.find(|(_, rule)| rule.spec.traffic_policy.is_some());
            Some(says.map_or(first, |(_, rule)| rule))
        })
    }
}

/// Whether it is for its own namespace alone.
fn is_private(rule: &Object<DestinationRule>) -> bool {
    match rule.spec.export_to.as_slice() {
        [one] => *one == "." || *one == rule.meta.namespace,
        _ => false,
    }
}

fn is_exported(rule: &Object<DestinationRule>, client: &str) -> bool {
    let own = rule.meta.namespace == client;
    let list = &rule.spec.export_to;
    own || list.is_empty() || list.iter().any(|to| to == "*" || to == client)
}
