//! Which policies reach which pods (istio `policyattachment.go`).

use resources::Cluster;
use resources::istio::{Selector, TargetRef};

use crate::settings::IstioVersion;
use crate::workloads::{GatewayPods, istiod_flag, selects};

/// Whether Istio lets policies without a target select pods of the Gateway API.
pub(crate) fn by_selector(cluster: &Cluster) -> bool {
    istiod_flag(cluster, "ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY").unwrap_or(true)
}

/// Whether a policy reaches these pods: pods of the Gateway API by target or
/// selector, all others by selector alone. Before the versions that brought
/// `targetRef` and `targetRefs` the API server drops those fields: what was
/// meant for one gateway selects by selector alone.
pub(crate) fn attached(
    namespace: &str,
    selector: Option<&Selector>,
    (list, single): (&Vec<TargetRef>, &Option<TargetRef>),
    pods: &GatewayPods,
    root: &str,
    version: IstioVersion,
    by_selector: bool,
) -> bool {
    let here = namespace == &*pods.namespace;
    if !here && namespace != root {
        return false;
    }
    let list = (version >= IstioVersion::TARGET_REFS).then_some(list);
    let single = (version >= IstioVersion::TARGET_REF)
        .then_some(single)
        .into_iter()
        .flatten();
    let gateway = pods.labels.get("gateway.networking.k8s.io/gateway-name");
    let mut targets = list.into_iter().flatten().chain(single).peekable();
    if targets.peek().is_none() {
        return (by_selector || gateway.is_none())
            && selector.is_none_or(|s| selects(&s.match_labels, &pods.labels));
    }
    here && targets.any(|target| {
        target.kind == "Gateway"
            && target.group == "gateway.networking.k8s.io"
            && (target.namespace.is_empty() || target.namespace == namespace)
            && Some(&target.name) == gateway
    })
}
