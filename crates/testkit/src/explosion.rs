//! A configuration made to have as many different sets of requests as can be:
//! what bounds on memory and time are tried on.

use std::fmt::Write as _;

/// A gateway with that many policies: overlapping regular expressions,
/// templates, suffixes and prefixes, each together with two of many headers.
pub fn explosion(policies: usize) -> String {
    let mut out = String::from(FRAME);
    out.push_str(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {name: app, namespace: team0}\n\
         spec:\n  hosts: [\"*\"]\n  gateways: [istio-system/outside]\n  http:\n",
    );
    for number in 0..policies {
        let (a, b, c) = (number % 7, number % 11, number % 13);
        let _ = write!(
            out,
            "  - match: [{{uri: {{regex: \"/(a|b|ab)*{a}.*[a-f]{{{b},}}(x|y{number})+.*\"}}, headers: {{x-r{number}: {{regex: \".*{c}.*{b}\"}}}}}}]\n    \
             route: [{{destination: {{host: app, port: {{number: 80}}}}}}]\n"
        );
    }
    out.push_str("  - route: [{destination: {host: app, port: {number: 80}}}]\n");
    for number in 0..policies {
        let far = (number + policies / 2) % policies.max(1);
        let path = match number % 4 {
            0 => format!("/a/{{*}}/b{number}/{{**}}"),
            1 => format!("*/s{number}"),
            2 => format!("/p{}*", number / 8),
            _ => format!("/{{*}}/c{number}"),
        };
        let action = if number % 3 == 0 { "ALLOW" } else { "DENY" };
        let _ = write!(
            out,
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: p{number}, namespace: istio-system}}\n\
             spec:\n  action: {action}\n  rules:\n  - to: [{{operation: {{paths: [\"{path}\"]}}}}]\n    \
             when:\n    - {{key: \"request.headers[x-h{number}]\", values: [\"v*\", \"*w{number}\"]}}\n    \
             - {{key: \"request.headers[x-h{far}]\", notValues: [\"v1*\", \"*w\"]}}\n    \
             - {{key: \"request.headers[x-many]\", values: [\"p{number}*\", \"*s{number}\"]}}\n"
        );
    }
    out
}

const FRAME: &str = "\
apiVersion: v1
kind: Service
metadata: {name: ingress, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: team0}
spec: {selector: {app: app}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: outside, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}]}
---
apiVersion: sidegate.dev/v1alpha1
kind: Sidegate
metadata: {name: sidegate, namespace: istio-system}
spec:
  mode: as-written
  entrances: {external: istio-system/outside}
  platform: {namespaces: [team0], gateways: [istio-system/outside]}
";
