//! The pods behind a Service, as far as the YAML tells.

use std::collections::{BTreeMap, HashMap};

use resources::core::{PortRef, Service, ServicePort, Workload};
use resources::istio::Selector;
use resources::kserve::InferenceService;
use resources::{Cluster, Metadata, Object, ObjectRef, ServiceName, Source};

use crate::injection::{Injected, Injection};
use crate::opaque::{NotUnderstood, Scope};
use crate::workloads::{GatewayPods, selects};

type Labels = BTreeMap<String, String>;

/// Pods behind a Service.
pub(crate) struct Backing {
    pub(crate) pods: GatewayPods,
    pub(crate) injected: Injected,
    /// The YAML has the pods, with all their labels.
    complete: bool,
    /// Port of the pods where nothing says it.
    port: Option<u16>,
    /// Why requests may come from somebody else than the gateway.
    pub(crate) sender_unclear: Option<String>,
    /// A waypoint stands before them, with policies and routes of its own.
    pub(crate) waypoint: bool,
}

/// Port of Knative's queue proxy, which is in front of every model.
const QUEUE_PROXY: u16 = 8012;
const WAYPOINT: &str = "istio.io/use-waypoint";
const REVISION: &str = "serving.knative.dev/revision";

/// Pods by namespace, and what policies select them by.
pub(crate) struct Backings<'c> {
    cluster: &'c Cluster,
    root: &'c str,
    namespaces: HashMap<&'c str, &'c Metadata>,
    workloads: HashMap<&'c str, Vec<&'c Object<Workload>>>,
    models: HashMap<ServiceName, &'c Object<InferenceService>>,
    selections: HashMap<&'c str, Vec<Selection<'c>>>,
}

/// How a policy selects pods.
struct Selection<'c> {
    object: ObjectRef,
    source: &'c Source,
    selector: Option<&'c Selector>,
}

/// Pods before it is known what becomes of them.
struct Found<'c> {
    workload: Option<&'c Object<Workload>>,
    labels: Labels,
    injected: Injected,
}

impl<'c> Backings<'c> {
    pub(crate) fn new(cluster: &'c Cluster, root: &'c str) -> Self {
        let mut workloads: HashMap<&str, Vec<&Object<Workload>>> = HashMap::new();
        for workload in &cluster.workloads {
            let of_namespace = workloads.entry(&workload.meta.namespace).or_default();
            of_namespace.push(workload);
        }
        let mut selections: HashMap<&str, Vec<Selection<'_>>> = HashMap::new();
        let gateways = GatewayPods::all(cluster);
        let mut add = |meta: &'c Metadata, object, source, selector: Option<&'c Selector>| {
            // What names gateways by their labels is for those: it is not taken
            // to mean pods that the YAML does not have.
            let wanted = selector.map(|s| &s.match_labels).filter(|w| !w.is_empty());
            let of_gateway =
                |wanted: &Labels| gateways.iter().any(|pods| selects(wanted, &pods.labels));
            if wanted.is_some_and(of_gateway) {
                return;
            }
            let list = selections.entry(meta.namespace.as_str()).or_default();
            list.push(Selection {
                object,
                source,
                selector,
            });
        };
        for policy in &cluster.authorization_policies {
            let spec = &policy.spec;
            if spec.target_refs.is_empty() && spec.target_ref.is_none() {
                let selector = spec.selector.as_ref();
                add(&policy.meta, policy.reference(), &policy.source, selector);
            }
        }
        for policy in &cluster.request_authentications {
            let spec = &policy.spec;
            if spec.target_refs.is_empty() && spec.target_ref.is_none() {
                let selector = spec.selector.as_ref();
                add(&policy.meta, policy.reference(), &policy.source, selector);
            }
        }
        for policy in &cluster.peer_authentications {
            // One with a selector is for pods of its own namespace.
            let selector = policy.spec.selector.as_ref();
            add(&policy.meta, policy.reference(), &policy.source, selector);
        }
        let models: HashMap<_, _> = cluster
            .inference_services
            .iter()
            .map(|model| (model.reference(), model))
            .collect();
        let predictors = cluster.predictors.iter();
        let namespaces = cluster.namespaces.iter();
        Self {
            cluster,
            root,
            namespaces: namespaces
                .map(|n| (n.meta.name.as_str(), &n.meta))
                .collect(),
            workloads,
            models: predictors
                .filter_map(|p| Some((p.service.clone(), *models.get(&p.model)?)))
                .collect(),
            selections,
        }
    }

    /// The pods behind a Service that may have a sidecar, those that have one
    /// first; of pods without one only what stands beside others.
    pub(crate) fn of(&self, service: &Object<Service>) -> Vec<Backing> {
        let name = ServiceName {
            namespace: service.meta.namespace.as_str().into(),
            name: service.meta.name.as_str().into(),
        };
        let mut found = self.found(service, &name);
        let matters = |one: &Found<'_>| match &one.injected {
            Injected::Yes => true,
            Injected::No => false,
            Injected::Unknown(_) => self.is_selected(&name.namespace, &one.labels),
            Injected::Ambient => {
                self.is_selected(&name.namespace, &one.labels) || self.has_waypoint(service, one)
            }
        };
        if !found.iter().any(matters) {
            return Vec::new();
        }
        found.sort_by_key(|one| match one.injected {
            Injected::Yes => 0,
            Injected::Unknown(_) | Injected::Ambient => 1,
            Injected::No => 2,
        });
        let backing = |one: Found<'_>| {
            let knative = one.labels.contains_key(REVISION);
            let namespace = &name.namespace;
            let waypoint = self.has_waypoint(service, &one);
            Backing {
                waypoint,
                pods: match one.workload {
                    Some(workload) => GatewayPods::of(self.cluster, workload, false),
                    None => GatewayPods::unnamed(self.cluster, namespace, one.labels, false),
                },
                injected: one.injected,
                complete: one.workload.is_some(),
                port: knative.then_some(QUEUE_PROXY),
                sender_unclear: knative.then(|| {
                    "requests may come through Knative's activator instead of straight from the gateway"
                        .to_owned()
                }),
            }
        };
        found.into_iter().map(backing).collect()
    }

    /// Whether a waypoint stands before pods of ambient mode.
    fn has_waypoint(&self, service: &Object<Service>, pods: &Found<'_>) -> bool {
        let namespace = self.namespaces.get(service.meta.namespace.as_str());
        let of_namespace = namespace.and_then(|n| n.labels.get(WAYPOINT));
        let own = service.meta.labels.get(WAYPOINT);
        let named = own.or_else(|| pods.labels.get(WAYPOINT)).or(of_namespace);
        pods.injected == Injected::Ambient && named.is_some_and(|name| name != "none")
    }

    /// Whether pods of a workload have a sidecar.
    pub(crate) fn of_workload(&self, workload: &Object<Workload>) -> Injected {
        let spec = &workload.spec;
        let namespace = &workload.meta.namespace;
        self.injected(namespace, &spec.labels, &spec.annotations, Some(&spec.pod))
    }

    fn found(&self, service: &Object<Service>, name: &ServiceName) -> Vec<Found<'c>> {
        let namespace = service.meta.namespace.as_str();
        let selector = &service.spec.selector;
        if service.spec.kind.as_deref() == Some("ExternalName") {
            return Vec::new();
        }
        let model = self.models.get(name).copied();
        if selector.is_empty() && model.is_none() {
            return Vec::new();
        }
        let all = self.workloads.get(namespace).into_iter().flatten();
        let behind = all.filter(|w| !selector.is_empty() && selects(selector, &w.spec.labels));
        let found: Vec<Found<'c>> = behind
            .map(|workload| Found {
                workload: Some(workload),
                labels: workload.spec.labels.clone(),
                injected: self.of_workload(workload),
            })
            .collect();
        if !found.is_empty() {
            return found;
        }
        let mut labels = selector.clone();
        let mut annotations = Labels::new();
        if let Some(model) = model {
            // Labels and annotations of the model are passed on to its pods.
            labels.extend(model.meta.labels.clone());
            let mut given = vec![
                ("serving.kserve.io/inferenceservice", &*model.meta.name),
                ("component", "predictor"),
            ];
            if selector.is_empty() {
                // What Knative puts on the pods of a revision.
                given.extend([("app", &*name.name), (REVISION, &*name.name)]);
            }
            let given = given.into_iter();
            labels.extend(given.map(|(key, value)| (key.to_owned(), value.to_owned())));
            annotations.clone_from(&model.meta.annotations);
        }
        let injected = self.injected(namespace, &labels, &annotations, None);
        vec![Found {
            workload: None,
            labels,
            injected,
        }]
    }

    fn injected(
        &self,
        namespace: &str,
        labels: &Labels,
        annotations: &Labels,
        pod: Option<&resources::core::Pod>,
    ) -> Injected {
        let injection = Injection {
            namespace,
            object: self.namespaces.get(namespace).copied(),
            labels,
            annotations,
            pod,
        };
        injection.decide()
    }

    fn selections<'s>(&'s self, namespace: &'s str) -> impl Iterator<Item = &'s Selection<'c>> {
        let root = (namespace != self.root).then_some(self.root);
        let names = std::iter::once(namespace).chain(root);
        names.flat_map(|name| self.selections.get(name).into_iter().flatten())
    }

    /// Whether some policy reaches pods, or may do so.
    fn is_selected(&self, namespace: &str, labels: &Labels) -> bool {
        self.selections(namespace).any(|selection| {
            let selector = selection.selector.map(|s| &s.match_labels);
            selector.is_none_or(|wanted| may_select(wanted, labels))
        })
    }

    /// Policies of which it is not known whether they select pods that the YAML
    /// does not have.
    pub(crate) fn undetermined(&self, backing: &Backing) -> Vec<NotUnderstood> {
        if backing.complete {
            return Vec::new();
        }
        let pods = &backing.pods;
        let open = self.selections(&pods.namespace).filter(|selection| {
            let wanted = selection.selector.map(|s| &s.match_labels);
            wanted.is_some_and(|wanted| {
                may_select(wanted, &pods.labels) && !selects(wanted, &pods.labels)
            })
        });
        open.map(|selection| NotUnderstood {
            object: selection.object.clone(),
            source: selection.source.clone(),
            place: "spec.selector".to_owned(),
            why: format!(
                "whether it selects pods of {}, whose labels are not in the YAML,",
                pods.name
            ),
            scope: Scope::Listener,
        })
        .collect()
    }
}

/// Whether pods that have these labels, and may have others, can be selected.
fn may_select(wanted: &Labels, known: &Labels) -> bool {
    let mut all = wanted.iter();
    all.all(|(key, value)| known.get(key).is_none_or(|has| has == value))
}

impl Backing {
    /// The port of the pods behind a port of the Service.
    pub(crate) fn port(&self, service: &ServiceName, port: &ServicePort) -> u16 {
        let mut exposed = self.pods.exposed().iter();
        let through = exposed.find(|e| e.service == *service && e.port == port.port);
        match (through, &port.target_port) {
            (Some(exposed), _) => exposed.listener,
            (None, Some(PortRef::Number(number))) => *number,
            (None, _) => self.port.unwrap_or(port.port),
        }
    }
}
