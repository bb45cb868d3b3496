//! What depends on the connection: servers that terminate TLS, certificates of
//! clients, proxies in front of the gateway.

use serde_json::{Value, json};

use super::routes::alone;
use super::words::{BLOCKS, HOST_PATTERNS, HOSTS, SERVICES};
use super::{Dice, Features, Maker};
use crate::oracle::world::Tls;

/// What VirtualServices may be bound to.
pub(super) const SECURE: &str = "istio-system/secure";

/// URIs in certificates of clients.
pub(super) const IDENTITIES: &[&str] = &[
    "spiffe://cluster.local/ns/foo/sa/bar",
    "spiffe://td2/ns/foo/sa/bar",
    "spiffe://cluster.local/ns/ns1/sa/sa",
    "spiffe://evil/ns/foo/extra/x/sa/bar/y",
    "spiffe://old-td/ns/fo/sa/ba",
    "https://client.example.com/ns/foo/sa/bar",
];

impl Maker<'_> {
    /// Gateways with servers that terminate TLS, on one port mostly.
    pub(super) fn secure(&mut self) {
        if self.dice.percent(25) {
            return;
        }
        let count = self.dice.up_to(3);
        let servers: Vec<Value> = (0..count)
            .map(|number| self.secure_server(number))
            .collect();
        let metadata = self.metadata("secure", "istio-system");
        let selector = json!({"istio": "ingressgateway"});
        self.objects.push(
            json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": metadata,
                "spec": {"selector": selector, "servers": servers}}),
        );
    }

    fn secure_server(&mut self, number: usize) -> Value {
        let mut hosts = self.dice.some(HOST_PATTERNS, 2);
        hosts.sort();
        hosts.dedup();
        for host in &mut hosts {
            match self.dice.below(10) {
                0 => *host = format!("ns1/{host}"),
                1 => *host = format!("*/{host}"),
                2 => *host = format!("./{host}"),
                _ => {}
            }
        }
        alone(&mut hosts);
        let mut tls = match self.dice.below(8) {
            0..=2 => json!({"mode": "SIMPLE", "credentialName": "cert"}),
            3 => json!({"mode": "MUTUAL", "credentialName": "cert"}),
            4 | 5 => json!({"mode": "OPTIONAL_MUTUAL", "credentialName": "cert"}),
            _ => json!({"mode": "ISTIO_MUTUAL"}),
        };
        if self.dice.percent(12) {
            tls["subjectAltNames"] = json!(self.dice.some(IDENTITIES, 2));
        }
        let tcp = self.features.on("tcp");
        let (port, protocol) = match self.dice.below(20) {
            0 => (443, "HTTP"),
            1 => (80, "HTTPS"),
            2..=4 if tcp => (9000, "TCP"),
            5..=8 if tcp => (443, "TLS"),
            _ => (443, "HTTPS"),
        };
        if tcp && self.dice.percent(if protocol == "TLS" { 75 } else { 8 }) {
            tls = json!({"mode": "PASSTHROUGH"});
        }
        let mut server = json!({"port": {"number": port, "name": format!("s{number}"), "protocol": protocol}, "hosts": hosts});
        if matches!(protocol, "HTTPS" | "TLS") {
            server["tls"] = tls;
        }
        server
    }

    /// Routes of connections that are not read, for a VirtualService.
    pub(super) fn connection_routes(&mut self) -> Value {
        let routes: Vec<Value> = (0..self.dice.up_to(2))
            .map(|_| {
                let (host, port) = SERVICES[self.dice.below(SERVICES.len())];
                let destination = json!({"host": host, "port": {"number": port}});
                let mut route = json!({"route": [{"destination": destination}]});
                match self.dice.below(4) {
                    0 => route["match"] = json!([{"port": self.dice.number(&[9000, 443])}]),
                    1 => route["match"] = json!([{"gateways": [SECURE]}]),
                    _ => {}
                }
                route
            })
            .collect();
        json!(routes)
    }

    /// Routes of TLS connections by the server name, for a VirtualService.
    pub(super) fn server_name_routes(&mut self) -> Value {
        let routes: Vec<Value> = (0..self.dice.up_to(2))
            .map(|_| {
                let (host, port) = SERVICES[self.dice.below(SERVICES.len())];
                let matches: Vec<Value> = (0..self.dice.up_to(2))
                    .map(|_| {
                        let mut names = self.dice.some(HOST_PATTERNS, 2);
                        alone(&mut names);
                        let mut one = json!({"sniHosts": names});
                        match self.dice.below(6) {
                            0 => one["port"] = json!(self.dice.number(&[9000, 443])),
                            1 => one["gateways"] = json!([SECURE]),
                            _ => {}
                        }
                        one
                    })
                    .collect();
                let destination = json!({"host": host, "port": {"number": port}});
                json!({"match": matches, "route": [{"destination": destination}]})
            })
            .collect();
        json!(routes)
    }

    /// Proxies before the gateway, and what of connections they settle.
    pub(super) fn proxy(&mut self) -> Value {
        let mut proxy = json!({});
        if self.features.on("proxies") && self.dice.percent(60) {
            proxy["gatewayTopology"] = json!({"numTrustedProxies": self.dice.up_to(2)});
        }
        if self.features.on("settings") && self.dice.percent(30) {
            let mut settings = json!({});
            if self.dice.percent(50) {
                settings["profile"] = json!(self.dice.pick(&["EDGE", "SIDECAR"]));
            }
            if self.dice.percent(30) {
                settings["httpMergeSlashes"] = json!(self.dice.percent(50));
            }
            if self.dice.percent(40) {
                settings["httpPathWithEscapedSlashesAction"] = json!(self.dice.pick(&[
                    "KEEP_UNCHANGED",
                    "REJECT_REQUEST",
                    "UNESCAPE_AND_REDIRECT",
                    "UNESCAPE_AND_FORWARD",
                ]));
            }
            if self.dice.percent(30) {
                settings["httpHeadersWithUnderscoresAction"] = json!(self.dice.pick(&[
                    "HEADERS_WITH_UNDERSCORES_ALLOW",
                    "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
                    "HEADERS_WITH_UNDERSCORES_DROP_HEADER",
                ]));
            }
            proxy["connectionSettings"] = settings;
        }
        proxy
    }

    /// Trust domains of the mesh.
    pub(super) fn trust(&mut self, mesh: &mut Value) {
        match self.dice.below(6) {
            0 => mesh["trustDomainAliases"] = json!(["td2"]),
            1 => mesh["trustDomainAliases"] = json!(["td2", "old-td"]),
            2 => {
                mesh["trustDomain"] = json!("td2");
                mesh["trustDomainAliases"] = json!(["old-td"]);
            }
            _ => {}
        }
    }

    /// A field of a `source` about who the client is.
    pub(super) fn client(&mut self) -> Value {
        let (field, values): (&str, &[&str]) = match self.dice.below(8) {
            0..=3 => ("principals", PRINCIPALS),
            4 | 5 => ("namespaces", CLIENT_NAMESPACES),
            6 => ("serviceAccounts", ACCOUNTS),
            _ => ("trustDomains", DOMAINS),
        };
        let values = self.dice.some(values, 2);
        let field = self.negated(field);
        json!({field: values})
    }

    /// A key and values of a condition about the connection.
    pub(super) fn connection(&mut self) -> (String, Vec<String>) {
        let (key, values): (&str, &[&str]) = match self.dice.below(8) {
            0 | 1 => ("connection.sni", SERVER_NAMES),
            2 | 3 => ("source.principal", PRINCIPALS),
            4 => ("source.namespace", CLIENT_NAMESPACES),
            5 => ("source.serviceAccount", ACCOUNTS),
            6 => ("source.trustDomain", DOMAINS),
            _ => ("remote.ip", BLOCKS),
        };
        (key.to_owned(), self.dice.some(values, 2))
    }
}

const PRINCIPALS: &[&str] = &[
    "*",
    "cluster.local/ns/foo/sa/bar",
    "td2/ns/foo/sa/bar",
    "td2/*",
    "cluster.local/ns/foo/*",
    "*/ns/foo/sa/bar",
    "*/sa/bar",
    "*-td/ns/fo/sa/ba",
    "spiffe://cluster.local/ns/foo/sa/bar",
    "cluster.local/ns/ns1/sa/s*",
    "CN=client",
];
const CLIENT_NAMESPACES: &[&str] = &["foo", "f*", "*o", "f*o", "*", "ns1", "fo"];
const ACCOUNTS: &[&str] = &["foo/bar", "bar", "ns1/sa", "sa", "foo/ba"];
const DOMAINS: &[&str] = &["cluster.local", "td2", "*", "*-td", "old*", "evil", "td"];
const SERVER_NAMES: &[&str] = &[
    "*",
    "a.example.com",
    "*.example.com",
    "a.*",
    "A.example.com",
    "b.example.com",
];

/// The client's side of a handshake; mostly for where TLS is spoken.
pub(super) fn tls(dice: &mut Dice, features: &Features, port: u16, authority: &str) -> Option<Tls> {
    let chance = if port == 8443 { 94 } else { 2 };
    if !features.on("tls") || !dice.percent(chance) {
        return None;
    }
    let host = authority.split(':').next().unwrap_or_default();
    let host = host.trim_end_matches('.');
    let plain = !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b));
    let sni = match dice.below(12) {
        0 => None,
        1 | 2 => Some(dice.pick(HOSTS).to_owned()),
        3 => Some(dice.pick(HOSTS).to_uppercase()),
        4 => Some("z.a.example.com".to_owned()),
        _ if plain => Some(host.to_owned()),
        _ => Some(dice.pick(HOSTS).to_owned()),
    };
    let shows = features.on("certificates") && dice.percent(60);
    Some(Tls {
        sni,
        identity: shows.then(|| dice.pick(IDENTITIES).to_owned()),
    })
}

/// What proxies before the gateway say about the client, or what clients make up.
pub(super) fn forwarded(dice: &mut Dice) -> String {
    const ENTRIES: &[&str] = &[
        "127.200.0.5",
        "127.200.1.7",
        "10.1.2.3",
        "192.0.2.1",
        "::1",
        "2001:db8::1",
        "unknown",
        "127.200.0.5:443",
        "",
    ];
    let list = dice.some(ENTRIES, 3);
    list.join(dice.pick(&[",", ", ", " , "]))
}
