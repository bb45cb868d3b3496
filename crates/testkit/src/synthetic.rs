//! Clusters of any size, made from a seed: what measurements of growth run on.

use std::fmt::Write as _;

/// What a synthetic cluster holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Synthetic {
    /// Virtual hosts.
    pub hosts: usize,
    /// Routes, spread evenly over the hosts.
    pub routes: usize,
    /// AuthorizationPolicies on the gateway.
    pub policies: usize,
    /// How many of a hundred policies name no host, and so concern every one.
    pub percent_without_host: u8,
    /// How many of a hundred hosts are wildcards (`*.team7.example.com`).
    pub percent_wildcard: u8,
    /// Everything that varies follows from it.
    pub seed: u64,
}

impl Default for Synthetic {
    /// The size that limits are stated for.
    fn default() -> Self {
        Self {
            hosts: 1_000,
            routes: 10_000,
            policies: 1_000,
            percent_without_host: 5,
            percent_wildcard: 2,
            seed: 1,
        }
    }
}

impl Synthetic {
    /// The same mix with `routes` routes: a tenth as many hosts and policies.
    #[must_use]
    pub fn of_size(routes: usize) -> Self {
        Self {
            hosts: (routes / 10).max(1),
            routes,
            policies: (routes / 10).max(1),
            ..Self::default()
        }
    }

    /// The host with that number, as a VirtualService writes it.
    pub fn host(&self, index: usize) -> String {
        if index * 100 / self.hosts.max(1) >= 100 - usize::from(self.percent_wildcard.min(100)) {
            format!("*.team{index}.example.com")
        } else {
            format!("app{index}.example.com")
        }
    }

    /// The cluster as one YAML text: two Gateways on one pod, a namespace for
    /// every ten hosts, one VirtualService and one Service for each host.
    pub fn yaml(&self) -> String {
        let mut draw = Draw(self.seed);
        let mut out = String::from(FRAME);
        let namespaces = self.hosts.div_ceil(10);
        for namespace in 0..namespaces {
            let _ = write!(
                out,
                "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: team{namespace}}}\n"
            );
        }
        let per_host = self.routes / self.hosts.max(1);
        let more = self.routes % self.hosts.max(1);
        for host in 0..self.hosts {
            let count = per_host + usize::from(host < more);
            self.virtual_service(&mut out, host, count, &mut draw);
        }
        for policy in 0..self.policies {
            self.policy(&mut out, policy, &mut draw);
        }
        out
    }

    fn virtual_service(&self, out: &mut String, host: usize, routes: usize, draw: &mut Draw) {
        let namespace = host / 10;
        let _ = write!(
            out,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: app{host}, namespace: team{namespace}}}\n\
             spec: {{selector: {{app: app{host}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n\
             ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
             metadata: {{name: app{host}, namespace: team{namespace}}}\n\
             spec:\n  hosts: [\"{}\"]\n  gateways: [istio-system/outside]\n  http:\n",
            self.host(host)
        );
        for route in 0..routes {
            let path = draw.path(route);
            let (kind, value) = match draw.below(10) {
                0 => ("exact", path),
                1 => ("regex", format!("{path}/[a-z0-9]+(/.*)?")),
                _ => ("prefix", path),
            };
            let method = match draw.below(6) {
                0 => ", method: {exact: POST}",
                1 => ", method: {exact: GET}",
                _ => "",
            };
            let header = match draw.below(8) {
                0 => format!(
                    ", headers: {{x-tenant: {{exact: tenant{}}}}}",
                    draw.below(5)
                ),
                _ => String::new(),
            };
            let _ = write!(
                out,
                "  - name: r{route}\n    match: [{{uri: {{{kind}: \"{value}\"}}{method}{header}}}]\n    \
                 route: [{{destination: {{host: app{host}, port: {{number: 80}}}}}}]\n"
            );
        }
    }

    fn policy(&self, out: &mut String, policy: usize, draw: &mut Draw) {
        let action = match draw.below(10) {
            0 => "DENY",
            1 | 2 => "CUSTOM",
            _ => "ALLOW",
        };
        let provider = match action {
            "CUSTOM" => ", provider: {name: login}",
            _ => "",
        };
        let host = draw.below(self.hosts.max(1));
        let mut operation = Vec::new();
        let names_host = draw.below(100) >= usize::from(self.percent_without_host);
        if names_host {
            operation.push(format!("hosts: [\"{}\"]", self.host(host)));
        }
        let path = draw.path(host);
        // A few that refuse all but a path would leave nothing to ask about.
        let narrow = !names_host && action != "ALLOW";
        match draw.below(4) {
            _ if narrow => operation.push(format!("paths: [\"{path}\", \"{path}/*\"]")),
            0 => operation.push(format!("notPaths: [\"{path}*\"]")),
            1 => operation.push(format!("paths: [\"{path}\", \"{path}/*\"]")),
            2 if action == "ALLOW" => operation.push(format!("paths: [\"{path}/{{*}}\"]")),
            _ => operation.push("methods: [GET, POST]".to_owned()),
        }
        let _ = write!(
            out,
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: p{policy}, namespace: istio-system}}\n\
             spec: {{selector: {{matchLabels: {{istio: ingressgateway}}}}, action: {action}{provider}, \
             rules: [{{to: [{{operation: {{{}}}}}]}}]}}\n",
            operation.join(", ")
        );
    }
}

const FRAME: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: login
      envoyExtAuthzHttp: {service: authservice.istio-system.svc.cluster.local, port: 80}
---
apiVersion: v1
kind: Service
metadata: {name: authservice, namespace: istio-system}
spec: {selector: {app: authservice}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: ingress, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, ports: [{name: http, port: 80, targetPort: 8080}, {name: local, port: 81, targetPort: 8081}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: outside, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: inside, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 81, name: http, protocol: HTTP}, hosts: [\"*\"]}]}
";

/// A small generator of numbers (SplitMix64), the same everywhere.
#[derive(Debug)]
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// A path that shares prefixes with others; `number` keeps it apart.
    fn path(&mut self, number: usize) -> String {
        const WORDS: [&str; 6] = ["api", "v1", "v2", "models", "static", "hub"];
        let word = WORDS.get(self.below(WORDS.len())).unwrap_or(&"api");
        format!(
            "/{word}/{}{number}",
            if self.below(2) == 0 { "p" } else { "q" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_seed_decide_everything() {
        let size = Synthetic {
            hosts: 7,
            routes: 45,
            policies: 9,
            percent_wildcard: 20,
            ..Synthetic::default()
        };
        let yaml = size.yaml();
        let count = |what: &str| yaml.matches(what).count();
        assert_eq!(count("kind: VirtualService"), 7);
        assert_eq!(count("  - name: r"), 45);
        assert_eq!(count("kind: AuthorizationPolicy"), 9);
        assert_eq!(count("hosts: [\"*.team"), 1 + count("{hosts: [\"*.team"));
        assert_eq!(yaml, size.yaml());
        assert_ne!(yaml, Synthetic { seed: 2, ..size }.yaml());
    }
}
