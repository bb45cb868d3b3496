//! Small clusters that tests put objects on top of.

/// Two applications behind a gateway with both entrances, and a login.
pub(crate) const BASE: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: login
      envoyExtAuthzHttp: {service: authservice.istio-system.svc.cluster.local, port: 8080}
---
apiVersion: v1
kind: Service
metadata: {name: authservice, namespace: istio-system}
spec: {ports: [{port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: apps}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: two, namespace: apps}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: ingress, namespace: istio-system}
spec: {selector: {istio: gw}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: local, namespace: istio-system, labels: {experimental.istio.io/disable-gateway-port-translation: "true"}}
spec: {selector: {istio: gw}, ports: [{port: 80, targetPort: 8081}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: out, namespace: istio-system}
spec: {selector: {istio: gw}, servers: [{hosts: ["*"], port: {number: 80, name: http, protocol: HTTP}}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: in, namespace: istio-system}
spec: {selector: {istio: gw}, servers: [{hosts: ["*"], port: {number: 8081, name: http, protocol: HTTP}}]}
---
apiVersion: sidegate.dev/v1alpha1
kind: Sidegate
metadata: {name: sidegate, namespace: istio-system}
spec: {mode: as-written, entrances: {external: istio-system/out, local: istio-system/in}}
"#;

/// One application behind a gateway with one entrance.
pub(crate) const APP: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: gw, namespace: istio-system}
spec: {selector: {app: gw}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: apps}
spec: {ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gateway, namespace: apps}
spec: {selector: {app: gw}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
"#;

/// [`BASE`] where namespace `platform` is the platform's.
pub(crate) fn with_platform() -> String {
    BASE.replace(
        "mode: as-written",
        "mode: as-written, platform: {namespaces: [platform]}",
    )
}

/// [`BASE`] and what is on top of it, under another version of Istio.
pub(crate) fn at_version(text: &str, version: &str) -> String {
    let name = "metadata: {name: istio, namespace: istio-system";
    text.replacen(
        &format!("{name}}}"),
        &format!("{name}, annotations: {{sidegate.dev/istio-version: \"{version}\"}}}}"),
        1,
    )
}
