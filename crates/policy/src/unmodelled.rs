//! What Gateways and the settings of their proxies do to connections that is
//! not decided here, and objects in versions that are not read.

use resources::istio::{Gateway, Server};
use resources::{Cluster, Object};

use crate::opaque::{NotUnderstood, Scope};
use crate::tls::unknown_certificates;
use crate::workloads::GatewayPods;

/// The parts that may change answers on every listener of the pods.
pub(crate) fn unmodelled(gateways: &[&Object<Gateway>], pods: &GatewayPods) -> Vec<NotUnderstood> {
    let note = |gateway: &Object<Gateway>, place: String, why: &str| NotUnderstood {
        object: gateway.reference(),
        source: gateway.source.clone(),
        place,
        why: why.to_owned(),
        scope: Scope::Listener,
    };
    let mut found = Vec::new();
    for gateway in gateways {
        let attached = gateway.spec.attached.as_ref();
        if let Some(place) = attached.and_then(|attached| attached.client_certificates.clone()) {
            let why = "how clients are asked for certificates";
            found.push(note(gateway, place, why));
        }
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let tls = server.tls.as_ref();
            if tls.and_then(|tls| tls.mode.as_deref()) == Some("AUTO_PASSTHROUGH") {
                let place = format!("spec.servers[{index}].tls.mode");
                let why = "AUTO_PASSTHROUGH, which leads to any Service by its server name,";
                found.push(note(gateway, place, why));
            }
        }
    }
    if let Some(first) = gateways.first()
        && pods.proxy.gateway_topology.proxy_protocol.is_some()
    {
        let place = "gatewayTopology.proxyProtocol of its pods".to_owned();
        found.push(note(first, place, "a client's address in a PROXY header"));
    }
    found
}

/// The parts of servers that may change answers of their own listener.
pub(crate) fn of_servers(servers: &[(&Object<Gateway>, &Server)]) -> Vec<NotUnderstood> {
    let found = servers.iter().filter_map(|(gateway, server)| {
        let (field, why) = unknown_certificates(server)?;
        let mut all = gateway.spec.servers.iter();
        let index = all.position(|own| std::ptr::eq(own, *server))?;
        Some(NotUnderstood {
            object: gateway.reference(),
            source: gateway.source.clone(),
            place: format!("spec.servers[{index}].tls.{field}"),
            why: why.to_owned(),
            scope: Scope::Listener,
        })
    });
    found.collect()
}

/// Objects in versions that are not read: a cluster that knows the version has a
/// policy or a route more, for any listener.
pub(crate) fn unread(cluster: &Cluster) -> Vec<NotUnderstood> {
    let all = cluster.unread.iter().map(|unread| NotUnderstood {
        object: unread.object.clone(),
        source: unread.source.clone(),
        place: "apiVersion".to_owned(),
        why: format!("`{}`", unread.version),
        scope: Scope::Listener,
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use crate::{Settings, Snapshot};

    /// What is not read proves nothing, whichever pods it is for.
    #[test]
    fn versions_that_are_not_read() {
        for (version, kind) in [
            ("security.istio.io/v1alpha1", "AuthorizationPolicy"),
            ("gateway.networking.k8s.io/v1alpha2", "HTTPRoute"),
            ("networking.k8s.io/v1beta1", "Ingress"),
            ("extensions/v1beta1", "Ingress"),
        ] {
            let yaml = format!(
                "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: g, namespace: a}}\n\
                 spec: {{selector: {{istio: ingressgateway}}, servers: [{{port: {{number: 80, protocol: HTTP, name: http}}, hosts: ['*']}}]}}\n---\n\
                 apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x, namespace: b}}\n"
            );
            let cluster = resources::parse(&[("g.yaml".into(), yaml)]).unwrap();
            let snapshot = Snapshot::compile(&cluster, &Settings::default()).unwrap();
            let found: Vec<String> = snapshot
                .not_understood()
                .map(|(_, found)| found.to_string())
                .collect();
            let start = format!("g.yaml:6: {kind} b/x: apiVersion: `{version}`");
            assert!(!found.is_empty(), "{kind}");
            assert!(found.iter().all(|one| one.starts_with(&start)), "{found:?}");
        }
    }

    /// A gateway that leads to any Service by its server name proves nothing.
    #[test]
    fn any_service_by_its_server_name() {
        let yaml = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: a}\n\
                    spec: {selector: {istio: eastwestgateway}, servers: [{port: {number: 15443, protocol: TLS, name: tls}, hosts: ['*.local'], tls: {mode: AUTO_PASSTHROUGH}}]}\n";
        let cluster = resources::parse(&[("g.yaml".into(), yaml.to_owned())]).unwrap();
        let snapshot = Snapshot::compile(&cluster, &Settings::default()).unwrap();
        let found: Vec<_> = snapshot
            .not_understood()
            .map(|(_, found)| &*found.place)
            .collect();
        assert_eq!(found, ["spec.servers[0].tls.mode"]);
        let names = snapshot
            .listeners()
            .map(|listener| listener.tls().unwrap().names.clone());
        assert_eq!(names.collect::<Vec<_>>(), [["*.local"]]);
    }

    /// Certificates that are known by more than their names prove nothing, at
    /// their own port.
    #[test]
    fn certificates_that_are_not_known_by_their_names() {
        let hash = "0".repeat(64);
        let key = format!("{}=", "A".repeat(43));
        let found = |tls: &str| {
            let yaml = format!(
                "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: g, namespace: a}}\n\
                 spec: {{selector: {{istio: ingressgateway}}, servers: [{{port: {{number: 80, protocol: HTTP, name: http}}, hosts: ['*']}}, \
                 {{port: {{number: 443, protocol: HTTPS, name: https}}, hosts: ['*'], tls: {{{tls}}}}}]}}\n"
            );
            let cluster = resources::parse(&[("g.yaml".into(), yaml)]).unwrap();
            let snapshot = Snapshot::compile(&cluster, &Settings::default()).unwrap();
            let found = snapshot.not_understood();
            let port = |index: usize| snapshot.view(index).unwrap().port();
            found
                .map(|(index, found)| (port(index), found.place.clone()))
                .collect::<Vec<_>>()
        };
        let at = |field: &str| vec![(443, format!("spec.servers[1].tls.{field}"))];
        for (tls, expected) in [
            (
                format!("mode: MUTUAL, credentialName: c, verifyCertificateHash: ['{hash}']"),
                at("verifyCertificateHash"),
            ),
            (
                format!(
                    "mode: OPTIONAL_MUTUAL, credentialName: c, verifyCertificateSpki: ['{key}']"
                ),
                at("verifyCertificateSpki"),
            ),
            (
                "mode: ISTIO_MUTUAL, caCrl: /revoked.pem".to_owned(),
                at("caCrl"),
            ),
            // Istio passes these on nowhere.
            (
                format!("mode: SIMPLE, credentialName: c, verifyCertificateHash: ['{hash}']"),
                Vec::new(),
            ),
            (
                format!("mode: ISTIO_MUTUAL, verifyCertificateHash: ['{hash}']"),
                Vec::new(),
            ),
            (
                "mode: MUTUAL, credentialName: c, caCrl: /revoked.pem".to_owned(),
                Vec::new(),
            ),
            // Whoever is not checked may have any.
            (
                format!(
                    "mode: MUTUAL, credentialName: c, insecureSkipVerify: true, verifyCertificateHash: ['{hash}']"
                ),
                Vec::new(),
            ),
        ] {
            assert_eq!(found(&tls), expected, "{tls}");
        }
    }

    /// A Kubernetes Gateway that asks clients for certificates proves nothing.
    #[test]
    fn certificates_of_clients_of_a_kubernetes_gateway() {
        let gateway = |tls: &str, all: &str| {
            let yaml = format!(
                "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: g, namespace: infra}}\n\
                 spec:\n  gatewayClassName: istio\n  listeners:\n  - name: https\n    port: 443\n    protocol: HTTPS\n    tls: {{certificateRefs: [{{name: c}}]{tls}}}\n{all}"
            );
            let cluster = resources::parse(&[("g.yaml".into(), yaml)]).unwrap();
            let snapshot = Snapshot::compile(&cluster, &Settings::default()).unwrap();
            let found = snapshot.not_understood();
            found
                .map(|(_, found)| found.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(gateway("", ""), [""; 0]);
        for (tls, all, place) in [
            (
                ", options: {gateway.istio.io/tls-terminate-mode: MUTUAL}",
                "",
                "spec.listeners[0].tls.options: ",
            ),
            ("", "  tls: {frontend: {default: {}}}\n", "spec.tls: "),
        ] {
            let found = gateway(tls, all);
            assert!(found.len() == 1 && found[0].contains(place), "{found:?}");
        }
    }
}
