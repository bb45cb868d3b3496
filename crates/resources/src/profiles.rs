//! What Kubeflow's profile controller makes of a Profile, and its access
//! management of a contributor, for YAML that does not hold it
//! (`profile_controller.go`, `kfam/bindings.go`; Kubeflow 1.3 to 1.10, from then
//! on the dashboard's 2.0).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::core::{Namespace, Profile};
use crate::istio::{AuthorizationPolicy, Condition, From, Operation, Rule, SourceMatch, To};
use crate::meta::{Metadata, Object, Source};
use crate::releases::{self, Release};

/// From here on labels come from a file, and Knative's probes are let in.
const LABELS_FROM_FILE: Release = Release::new(1, 4);
const PROBES: Release = Release::new(1, 4);
/// From here on notebooks are asked by their controller, and Katib's label has
/// its present name.
const NOTEBOOK_CONTROLLER: Release = Release::new(1, 5);
const KATIB_RENAMED: Release = Release::new(1, 5);
/// From here on the owner's header only counts from the gateway and Pipelines.
const KNOWN_SENDERS: Release = Release::new(1, 8);

/// Labels of the namespaces, as the releases come.
const LABELS_BEFORE: [(&str, &str); 4] = [
    ("app.kubernetes.io/part-of", "kubeflow-profile"),
    ("katib-metricscollector-injection", "enabled"),
    ("pipelines.kubeflow.org/enabled", "true"),
    ("serving.kubeflow.org/inferenceservice", "enabled"),
];
const LABELS: [(&str, &str); 4] = [
    ("app.kubernetes.io/part-of", "kubeflow-profile"),
    ("katib.kubeflow.org/metrics-collector-injection", "enabled"),
    ("pipelines.kubeflow.org/enabled", "true"),
    ("serving.kubeflow.org/inferenceservice", "enabled"),
];

/// Key of the ConfigMap that the labels come from.
const LABELS_FILE: &str = "namespace-labels.yaml";

/// Adds what is missing for every Profile and contributor.
pub(crate) fn generate(cluster: &mut Cluster) {
    let controller = Controller::of(cluster);
    for profile in std::mem::take(&mut cluster.profiles) {
        if controller.namespace(cluster, &profile) {
            let policy = controller.owner(&profile);
            add(cluster, policy);
        }
        cluster.profiles.push(profile);
    }
    for contributor in std::mem::take(&mut cluster.contributors) {
        let policy = controller.contributor(&contributor);
        add(cluster, policy);
        cluster.contributors.push(contributor);
    }
}

fn add(cluster: &mut Cluster, policy: Object<AuthorizationPolicy>) {
    let there = cluster.authorization_policies.iter().any(|other| {
        other.meta.name == policy.meta.name && other.meta.namespace == policy.meta.namespace
    });
    if !there {
        cluster.authorization_policies.push(policy);
    }
}

/// How the controllers are set up.
struct Controller {
    release: Release,
    labels: BTreeMap<String, String>,
    user_header: String,
    user_prefix: String,
    gateway: String,
    pipelines: String,
    notebooks: String,
}

impl Controller {
    fn of(cluster: &Cluster) -> Self {
        let release = releases::kubeflow(cluster);
        // Its environment comes from a ConfigMap; an empty principal is none.
        let setting = |name: &str, otherwise: &str| {
            let mut maps = cluster.config_maps.iter().map(|map| &map.spec.data);
            let set = maps.find(|data| data.contains_key("USERID_HEADER"));
            let value = set.and_then(|data| data.get(name));
            let value = value.filter(|value| !value.is_empty());
            value.map_or_else(|| otherwise.to_owned(), Clone::clone)
        };
        let principal = |name: &str, otherwise: &str| {
            if release < KNOWN_SENDERS {
                return otherwise.to_owned();
            }
            setting(name, otherwise)
        };
        Self {
            release,
            labels: labels(cluster, release),
            user_header: setting("USERID_HEADER", "kubeflow-userid"),
            user_prefix: setting("USERID_PREFIX", ""),
            gateway: principal(
                "ISTIO_INGRESS_GATEWAY_PRINCIPAL",
                "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account",
            ),
            pipelines: principal(
                "KFP_UI_PRINCIPAL",
                "cluster.local/ns/kubeflow/sa/ml-pipeline-ui",
            ),
            notebooks: principal(
                "NOTEBOOK_CONTROLLER_PRINCIPAL",
                "cluster.local/ns/kubeflow/sa/notebook-controller-service-account",
            ),
        }
    }

    /// Creates or labels the namespace of a Profile. False where it is
    /// somebody else's: then the controller stops.
    fn namespace(&self, cluster: &mut Cluster, profile: &Object<Profile>) -> bool {
        let owner = &profile.spec.owner.name;
        let name = &profile.meta.name;
        let mut namespaces = cluster.namespaces.iter_mut();
        if let Some(there) = namespaces.find(|namespace| namespace.meta.name == *name) {
            if there.meta.annotations.get("owner") != Some(owner) {
                return false;
            }
            self.label(&mut there.meta.labels);
            return true;
        }
        let mut labels = BTreeMap::from([("istio-injection".to_owned(), "enabled".to_owned())]);
        self.label(&mut labels);
        cluster.namespaces.push(Object {
            kind: Arc::from("Namespace"),
            meta: Metadata {
                name: name.clone(),
                labels,
                annotations: BTreeMap::from([("owner".to_owned(), owner.clone())]),
                creation_timestamp: profile.meta.creation_timestamp.clone(),
                ..Metadata::default()
            },
            spec: Namespace::default(),
            source: made_for(profile),
        });
        true
    }

    /// A label that is there stays as it is, one without a value goes.
    fn label(&self, labels: &mut BTreeMap<String, String>) {
        for (name, value) in &self.labels {
            if value.is_empty() {
                labels.remove(name);
            } else {
                labels.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }

    /// `ns-owner-access-istio`, for every pod of the namespace.
    fn owner(&self, profile: &Object<Profile>) -> Object<AuthorizationPolicy> {
        let mut rules = vec![
            self.user(&profile.spec.owner.name),
            Rule {
                when: vec![condition("source.namespace", &profile.meta.name)],
                ..Rule::default()
            },
        ];
        if self.release >= PROBES {
            rules.push(Rule {
                to: vec![operation(&[], &["/healthz", "/metrics", "/wait-for-drain"])],
                ..Rule::default()
            });
        }
        if self.release >= NOTEBOOK_CONTROLLER {
            rules.push(Rule {
                from: vec![principals(&[&self.notebooks])],
                to: vec![operation(&["GET"], &["*/api/kernels"])],
                ..Rule::default()
            });
        }
        let annotations = [
            ("user", profile.spec.owner.name.as_str()),
            ("role", "admin"),
        ];
        Object {
            kind: Arc::from("AuthorizationPolicy"),
            meta: Metadata {
                name: "ns-owner-access-istio".to_owned(),
                namespace: profile.meta.name.clone(),
                annotations: texts(&annotations),
                creation_timestamp: profile.meta.creation_timestamp.clone(),
                ..Metadata::default()
            },
            spec: AuthorizationPolicy {
                action: Some("ALLOW".to_owned()),
                rules: Some(rules.into_iter().map(Some).collect()),
                ..AuthorizationPolicy::default()
            },
            source: made_for(profile),
        }
    }

    /// The policy that comes with the RoleBinding of a contributor.
    fn contributor(&self, binding: &Object<()>) -> Object<AuthorizationPolicy> {
        let user = binding.meta.annotations.get(USER);
        let user = user.map_or("", String::as_str);
        Object {
            kind: Arc::from("AuthorizationPolicy"),
            meta: binding.meta.clone(),
            spec: AuthorizationPolicy {
                rules: Some(vec![Some(self.user(user))]),
                ..AuthorizationPolicy::default()
            },
            source: made_for(binding),
        }
    }

    /// Requests that say they are a user's.
    fn user(&self, name: &str) -> Rule {
        let header = format!("request.headers[{}]", self.user_header);
        let senders = match self.release >= KNOWN_SENDERS {
            true => vec![principals(&[&self.gateway, &self.pipelines])],
            false => Vec::new(),
        };
        Rule {
            from: senders,
            when: vec![condition(&header, &format!("{}{name}", self.user_prefix))],
            ..Rule::default()
        }
    }
}

const USER: &str = "user";
const ROLE: &str = "role";

/// Whether a RoleBinding was made for a contributor: access management names it
/// after the kind of user, the controller's own is called otherwise.
pub(crate) fn is_contributor(meta: &Metadata) -> bool {
    let made = ["user-", "group-", "serviceaccount-"];
    [USER, ROLE]
        .iter()
        .all(|name| meta.annotations.contains_key(*name))
        && made.iter().any(|start| meta.name.starts_with(start))
}

/// Those of the ConfigMap, or of the release.
fn labels(cluster: &Cluster, release: Release) -> BTreeMap<String, String> {
    let own = match release < KATIB_RENAMED {
        true => texts(&LABELS_BEFORE),
        false => texts(&LABELS),
    };
    if release < LABELS_FROM_FILE {
        return own;
    }
    let mut maps = cluster.config_maps.iter();
    let file = maps.find_map(|map| map.spec.data.get(LABELS_FILE));
    file.and_then(|text| serde_saphyr::from_str(text).ok())
        .unwrap_or(own)
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn made_for<T>(object: &Object<T>) -> Source {
    Source {
        generated_from: Some(object.reference()),
        ..object.source.clone()
    }
}

fn condition(key: &str, value: &str) -> Condition {
    Condition {
        key: key.to_owned(),
        values: vec![value.to_owned()],
        ..Condition::default()
    }
}

fn principals(names: &[&str]) -> From {
    From {
        source: Some(SourceMatch {
            principals: names.iter().map(|name| (*name).to_owned()).collect(),
            ..SourceMatch::default()
        }),
    }
}

fn operation(methods: &[&str], paths: &[&str]) -> To {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    To {
        operation: Some(Operation {
            methods: list(methods),
            paths: list(paths),
            ..Operation::default()
        }),
    }
}
