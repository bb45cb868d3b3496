//! Which pods have a sidecar (istio `pkg/kube/inject/inject.go` injectRequired,
//! and the selectors of its `mutatingwebhook.yaml`).

use std::collections::BTreeMap;

use resources::Metadata;
use resources::core::{Container, Pod};

type Labels = BTreeMap<String, String>;

/// Whether pods have a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Injected {
    Yes,
    No,
    /// No, and other proxies stand before them: ztunnel, which reads connections,
    /// and maybe a waypoint.
    Ambient,
    /// The YAML does not say it; why.
    Unknown(String),
}

/// What the injector looks at.
pub(crate) struct Injection<'a> {
    /// The pods' namespace.
    pub(crate) namespace: &'a str,
    /// The namespace itself, where the YAML has it.
    pub(crate) object: Option<&'a Metadata>,
    pub(crate) labels: &'a Labels,
    pub(crate) annotations: &'a Labels,
    pub(crate) pod: Option<&'a Pod>,
}

const INJECT: &str = "sidecar.istio.io/inject";
const REVISION: &str = "istio.io/rev";
/// Where nothing is ever injected.
const SYSTEM: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];
/// What the sidecar's container is called.
const PROXY: &str = "istio-proxy";

/// How ambient mode is asked for, of pods and of namespaces.
const DATAPLANE: &str = "istio.io/dataplane-mode";

impl Injection<'_> {
    /// Whether they have one. Ambient mode puts other proxies before pods that
    /// have none.
    pub(crate) fn decide(&self) -> Injected {
        match self.sidecar() {
            Injected::No if self.is_ambient() => Injected::Ambient,
            other => other,
        }
    }

    fn is_ambient(&self) -> bool {
        if self.pod.is_some_and(|pod| pod.host_network) {
            return false;
        }
        let of_namespace = self.object.and_then(|n| n.labels.get(DATAPLANE));
        let mode = self.labels.get(DATAPLANE).or(of_namespace);
        mode.is_some_and(|mode| mode == "ambient")
    }

    fn sidecar(&self) -> Injected {
        if self.pod.is_some_and(|pod| pod.host_network) || SYSTEM.contains(&self.namespace) {
            return Injected::No;
        }
        if self.pod.is_some_and(has_proxy) {
            return Injected::Yes;
        }
        let label = self.labels.get(INJECT).map(String::as_str);
        // The webhook is not asked about pods with this label; an annotation
        // is looked at by the injector, and the label goes before it.
        if label == Some("false") {
            return Injected::No;
        }
        let annotation = self.annotations.get(INJECT).map(String::as_str);
        let refused = label != Some("true") && annotation == Some("false");
        if refused {
            return Injected::No;
        }
        let of_pod = label == Some("true") || self.labels.contains_key(REVISION);
        let Some(namespace) = self.object else {
            return match of_pod {
                true => Injected::Yes,
                false => Injected::Unknown(format!(
                    "the YAML has no Namespace `{}`, whose labels say it",
                    self.namespace
                )),
            };
        };
        match namespace.labels.get("istio-injection").map(String::as_str) {
            Some("enabled") => Injected::Yes,
            Some(_) => Injected::No,
            None if namespace.labels.contains_key(REVISION) || of_pod => Injected::Yes,
            None => Injected::No,
        }
    }
}

/// The YAML of a running pod, which has it already; as a container or, where
/// Kubernetes has those, as one that starts before the others and stays.
fn has_proxy(pod: &Pod) -> bool {
    let is_proxy = |container: &Container| container.name == PROXY;
    pod.containers.iter().any(is_proxy) || pod.init_containers.iter().any(is_proxy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        let pairs = text.split_whitespace().filter_map(|p| p.split_once('='));
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn labels_of_namespaces_and_pods() {
        let yes = &Injected::Yes;
        let no = &Injected::No;
        for (namespace, pod, annotations, expected) in [
            ("", "", "", no),
            ("istio-injection=enabled", "", "", yes),
            (
                "istio-injection=disabled",
                "sidecar.istio.io/inject=true",
                "",
                no,
            ),
            (
                "istio-injection=enabled",
                "sidecar.istio.io/inject=false",
                "",
                no,
            ),
            (
                "istio-injection=enabled",
                "",
                "sidecar.istio.io/inject=false",
                no,
            ),
            (
                "istio-injection=enabled",
                "sidecar.istio.io/inject=true",
                "sidecar.istio.io/inject=false",
                yes,
            ),
            ("istio.io/rev=1-24", "", "", yes),
            ("istio.io/rev=1-24", "sidecar.istio.io/inject=false", "", no),
            ("istio.io/rev=1-24 istio-injection=disabled", "", "", no),
            ("", "sidecar.istio.io/inject=true", "", yes),
            ("", "istio.io/rev=1-24", "", yes),
            ("", "", "sidecar.istio.io/inject=true", no),
        ] {
            let object = Metadata {
                labels: labels(namespace),
                ..Metadata::default()
            };
            let (labels, annotations) = (labels(pod), labels(annotations));
            let injection = Injection {
                namespace: "team",
                object: Some(&object),
                labels: &labels,
                annotations: &annotations,
                pod: None,
            };
            let found = injection.decide();
            assert_eq!(found, *expected, "{namespace} / {pod} / {annotations:?}");
            let unknown = Injection {
                object: None,
                labels: &Labels::new(),
                annotations: &Labels::new(),
                ..injection
            };
            assert!(matches!(unknown.decide(), Injected::Unknown(_)));
        }
    }

    #[test]
    fn ambient_mode_is_other_proxies() {
        for (namespace, pod, ambient) in [
            ("istio.io/dataplane-mode=ambient", "", true),
            (
                "istio.io/dataplane-mode=ambient",
                "istio.io/dataplane-mode=none",
                false,
            ),
            ("", "istio.io/dataplane-mode=ambient", true),
            ("istio.io/dataplane-mode=none", "", false),
            // A sidecar goes before it.
            (
                "istio.io/dataplane-mode=ambient istio-injection=enabled",
                "",
                false,
            ),
        ] {
            let object = Metadata {
                labels: labels(namespace),
                ..Metadata::default()
            };
            let injection = Injection {
                namespace: "team",
                object: Some(&object),
                labels: &labels(pod),
                annotations: &Labels::new(),
                pod: None,
            };
            let found = injection.decide();
            let is_ambient = found == Injected::Ambient;
            assert_eq!(is_ambient, ambient, "{namespace} / {pod}: {found:?}");
        }
    }

    #[test]
    fn pods_that_show_it_themselves() {
        let nothing = Labels::new();
        let decide = |pod: Pod| {
            let injection = Injection {
                namespace: "team",
                object: None,
                labels: &nothing,
                annotations: &nothing,
                pod: Some(&pod),
            };
            injection.decide()
        };
        let proxy = vec![Container {
            name: PROXY.to_owned(),
            ..Container::default()
        }];
        let native = Pod {
            init_containers: proxy.clone(),
            ..Pod::default()
        };
        assert_eq!(decide(native), Injected::Yes);
        let on_the_node = Pod {
            host_network: true,
            containers: proxy,
            ..Pod::default()
        };
        assert_eq!(decide(on_the_node), Injected::No);
    }
}
