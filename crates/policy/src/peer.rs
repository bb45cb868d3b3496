//! Who is at the other end of a connection, as rules see it, and what rules
//! compare with it: names of the client's certificate, trust domains, addresses,
//! server names (istio `authz/model/generator.go`, `trustdomain/bundle.go`,
//! envoy `rbac/matchers.cc`).

use std::net::IpAddr;

use ipnet::IpNet;
use resources::istio::{Gateway, Server, SourceMatch};
use resources::mesh::MeshConfig;
use resources::{Cluster, Object};

use crate::connection::Certificate;
use crate::matcher::Matcher;
use crate::re2::full_match;
use crate::request::RequestHead;
use crate::rules::{Attribute, BadValue, Constraint, Value, both};
use crate::settings::IstioVersion;
use crate::tls::TlsServer;

/// The other end of one crossing's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer<'a> {
    /// Server name asked for; empty without TLS.
    pub(crate) sni: &'a str,
    /// The certificate that the server asked for and took.
    pub(crate) certificate: Option<&'a Certificate>,
    /// Of the TCP connection.
    pub(crate) direct: IpAddr,
    /// After trusted proxies.
    pub(crate) remote: IpAddr,
    /// The address on this side.
    pub(crate) local: Option<IpAddr>,
}

impl<'a> Peer<'a> {
    /// Whom a request comes from at the first gateway, by the server there;
    /// `proxies` is how many proxies before it add to `x-forwarded-for` and are
    /// trusted (`numTrustedProxies`).
    pub(crate) fn of(head: &'a RequestHead, server: Option<&TlsServer>, proxies: u32) -> Self {
        let tls = head.connection.tls.as_ref().filter(|_| server.is_some());
        let asks = server.is_some_and(TlsServer::asks);
        Self {
            sni: tls.and_then(|tls| tls.sni.as_deref()).unwrap_or_default(),
            certificate: tls
                .and_then(|tls| tls.certificate.as_ref())
                .filter(|_| asks),
            ..Self::behind(head, 0, proxies)
        }
    }

    /// Whom a request comes from at a gateway that others sent it on to, in
    /// plain text: each of them is a proxy before this one. The pods' own
    /// addresses are not known, the client's stands for them.
    pub(crate) fn behind(head: &'a RequestHead, hop: u8, proxies: u32) -> Self {
        let proxies = proxies.saturating_sub(u32::from(hop));
        let direct = head.peer.ip().to_canonical();
        Self {
            sni: "",
            certificate: None,
            direct,
            remote: remote(head, proxies).unwrap_or(direct),
            local: head.connection.local,
        }
    }

    /// The same at a sidecar behind a gateway, whose own address it is that
    /// connects, where that is known.
    pub(crate) fn inside(self, head: &RequestHead, opaque: bool) -> Self {
        let direct = head
            .connection
            .local
            .map_or(self.direct, |ip| ip.to_canonical());
        let peer = Self {
            direct,
            remote: direct,
            local: None,
            ..self
        };
        match opaque {
            true => peer,
            false => peer.told_by(head),
        }
    }

    /// The same as a sidecar sees it, which takes what came before it at its
    /// word (envoy without `use_remote_address`).
    pub(crate) fn told_by(self, head: &RequestHead) -> Self {
        Self {
            remote: forwarded(head, 0).unwrap_or(self.direct),
            ..self
        }
    }

    /// Whether any name of the certificate matches: every URI, every DNS name
    /// and the subject are tried (envoy `AuthenticatedMatcher`).
    pub(crate) fn is_called(&self, matcher: &Matcher) -> bool {
        self.names().any(|name| matcher.matches(name))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.certificate.into_iter().flat_map(Certificate::names)
    }
}

/// The client's address as the nearest trusted proxies tell it: the entry of
/// `x-forwarded-for` before those that they and this gateway added (envoy
/// `getLastAddressFromXFF`). The header ends with the peer of the connection.
fn remote(head: &RequestHead, proxies: u32) -> Option<IpAddr> {
    if proxies == 0 {
        return None;
    }
    forwarded(head, usize::try_from(proxies).ok()?)
}

/// The address that came before so many others in `x-forwarded-for`.
fn forwarded(head: &RequestHead, before: usize) -> Option<IpAddr> {
    let lines = head.headers.get_all("x-forwarded-for").iter();
    let lines: Vec<String> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned())
        .collect();
    let all = lines.join(",");
    let entry = all.rsplit(',').nth(before)?;
    entry.trim_matches([' ', '\t']).parse().ok()
}

/// The trust domain of a mesh and its aliases.
pub fn trust_domains(mesh: &MeshConfig) -> Vec<String> {
    TrustDomains::of(mesh).0
}

/// Trust domains whose certificates say which workload a client of these servers
/// is: where the Sidegate object names their Gateways, and the mesh's authority has
/// signed whatever they take.
pub(crate) fn trusted(cluster: &Cluster, servers: &[(&Object<Gateway>, &Server)]) -> Vec<String> {
    let sidegate = cluster.sidegate.iter();
    let named = sidegate.flat_map(|s| &s.spec.workloads.principals);
    let named: Vec<&str> = named.map(String::as_str).collect();
    let is_trusted = |(gateway, server): &(&Object<Gateway>, &Server)| {
        let tls = server.tls.as_ref();
        let tls = tls.filter(|tls| tls.insecure_skip_verify != Some(true));
        let mode = tls.and_then(|tls| tls.mode.as_deref());
        let name = format!("{}/{}", gateway.meta.namespace, gateway.meta.name);
        mode == Some("ISTIO_MUTUAL") && named.contains(&name.as_str())
    };
    match !servers.is_empty() && servers.iter().all(is_trusted) {
        true => trust_domains(&cluster.mesh),
        false => Vec::new(),
    }
}

/// The trust domain of the mesh and its aliases.
#[derive(Clone, Debug)]
pub(crate) struct TrustDomains(Vec<String>);

impl TrustDomains {
    pub(crate) fn of(mesh: &MeshConfig) -> Self {
        let own = mesh.trust_domain.as_deref().filter(|own| !own.is_empty());
        let mut all = vec![own.unwrap_or("cluster.local").to_owned()];
        all.extend(mesh.trust_domain_aliases.iter().cloned());
        Self(all)
    }

    /// What a ServiceAccount is called in certificates of the mesh.
    pub(crate) fn identity(&self, namespace: &str, account: &str) -> String {
        let own = self.0.first().map_or("cluster.local", String::as_str);
        format!("spiffe://{own}/ns/{namespace}/sa/{account}")
    }

    /// What identities of the mesh begin with.
    pub(crate) fn prefixes(&self) -> Vec<String> {
        let all = self.0.iter();
        all.map(|domain| format!("spiffe://{domain}/")).collect()
    }

    /// A principal of one of the domains, or of `cluster.local`, means all of
    /// them; one without a trust domain stays as it is.
    fn principals(&self, value: &str) -> Vec<String> {
        let parts: Vec<&str> = value.split('/').collect();
        let [domain, rest @ ..] = parts.as_slice() else {
            return vec![value.to_owned()];
        };
        if rest.len() != 4 || *domain == "*" || !self.includes(domain) {
            return vec![value.to_owned()];
        }
        let mut all = Vec::new();
        for own in &self.0 {
            let principal = if ends_as(own, domain) {
                value.to_owned()
            } else {
                format!("{own}/{}", rest.join("/"))
            };
            if !all.contains(&principal) {
                all.push(principal);
            }
        }
        all
    }

    fn includes(&self, domain: &str) -> bool {
        let alike = |own: &String| {
            domain == own
                || own == "*"
                || begins_as(domain, own)
                || begins_as(own, domain)
                || ends_as(domain, own)
                || ends_as(own, domain)
        };
        domain == "cluster.local" || self.0.iter().any(alike)
    }

    /// A value of `trustDomains` that is one of the domains means all of them.
    fn domains(&self, value: &str) -> Vec<String> {
        if self.0.iter().any(|own| own == value) {
            self.0.clone()
        } else {
            vec![value.to_owned()]
        }
    }
}

fn begins_as(text: &str, pattern: &str) -> bool {
    pattern
        .strip_suffix('*')
        .is_some_and(|prefix| text.starts_with(prefix))
}

fn ends_as(text: &str, pattern: &str) -> bool {
    pattern
        .strip_prefix('*')
        .is_some_and(|suffix| text.ends_with(suffix))
}

/// How the values of one policy are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) version: IstioVersion,
    pub(crate) domains: &'a TrustDomains,
    /// The policy's namespace.
    pub(crate) namespace: &'a str,
}

/// The field of `when` and of `source` that a value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    Principal,
    Namespace,
    ServiceAccount,
    TrustDomain,
}

impl Identity {
    /// The key of a `when` condition, in versions that have it.
    pub(crate) fn of_key(key: &str, version: IstioVersion) -> Option<Self> {
        match key {
            "source.principal" => Some(Self::Principal),
            "source.namespace" => Some(Self::Namespace),
            "source.serviceAccount" => {
                (version >= IstioVersion::SERVICE_ACCOUNTS).then_some(Self::ServiceAccount)
            }
            "source.trustDomain" => {
                (version >= IstioVersion::TRUST_DOMAINS).then_some(Self::TrustDomain)
            }
            _ => None,
        }
    }

    /// Adds both lists of one field.
    pub(crate) fn both(
        self,
        all: &mut Vec<Constraint>,
        fields: [&str; 2],
        lists: [&[String]; 2],
        reading: Reading<'_>,
        bad: &mut Vec<BadValue>,
    ) {
        let [positive, negative] = lists.map(|list| self.expanded(list, reading.domains));
        let read = |text: &str| self.read(text, reading.namespace).map(Value::Text);
        both(
            all,
            fields,
            &Attribute::Identity,
            &positive,
            &negative,
            bad,
            read,
        );
    }

    fn expanded(self, list: &[String], domains: &TrustDomains) -> Vec<String> {
        let values = list.iter();
        match self {
            Self::Principal => values.flat_map(|v| domains.principals(v)).collect(),
            Self::TrustDomain => values.flat_map(|v| domains.domains(v)).collect(),
            Self::Namespace | Self::ServiceAccount => values.cloned().collect(),
        }
    }

    fn read(self, value: &str, namespace: &str) -> Result<Matcher, String> {
        let quoted = regex::escape;
        match self {
            Self::Principal => match (value.strip_prefix('*'), value.strip_suffix('*')) {
                (Some(""), _) => regular(".+"),
                (Some(suffix), _) => regular(&format!("spiffe://.*{}", quoted(suffix))),
                (_, Some(prefix)) => Ok(Matcher::Prefix(format!("spiffe://{prefix}"))),
                _ => Ok(Matcher::Exact(format!("spiffe://{value}"))),
            },
            Self::Namespace => {
                let parts: Vec<String> = value.split('*').map(quoted).collect();
                regular(&format!(".*/ns/{}/.*", parts.join(".*")))
            }
            Self::ServiceAccount => {
                let (namespace, name) = value.split_once('/').unwrap_or((namespace, value));
                let (namespace, name) = (quoted(namespace), quoted(name));
                regular(&format!("spiffe://.+/ns/{namespace}/(.+/|)sa/{name}(/.+)?"))
            }
            Self::TrustDomain => match value.split_once('*') {
                _ if value == "*" => Ok(Matcher::Prefix("spiffe://".to_owned())),
                None => Ok(Matcher::Prefix(format!("spiffe://{value}/"))),
                Some((before, after)) => regular(&format!(
                    "spiffe://{}[^/]*{}/.*",
                    quoted(before),
                    quoted(after)
                )),
            },
        }
    }
}

fn regular(pattern: &str) -> Result<Matcher, String> {
    full_match(pattern).map(Matcher::Regex)
}

/// What a `source` says about the peer, without its tokens.
pub(crate) fn of_source(
    source: &SourceMatch,
    reading: Reading<'_>,
    all: &mut Vec<Constraint>,
    bad: &mut Vec<BadValue>,
) {
    // The API server drops fields that the version does not have.
    let known = |since: IstioVersion, list| -> &[String] {
        if reading.version >= since { list } else { &[] }
    };
    let accounts = IstioVersion::SERVICE_ACCOUNTS;
    let domains = IstioVersion::TRUST_DOMAINS;
    Identity::Principal.both(
        all,
        ["principals", "notPrincipals"],
        [&source.principals, &source.not_principals],
        reading,
        bad,
    );
    Identity::Namespace.both(
        all,
        ["namespaces", "notNamespaces"],
        [&source.namespaces, &source.not_namespaces],
        reading,
        bad,
    );
    Identity::ServiceAccount.both(
        all,
        ["serviceAccounts", "notServiceAccounts"],
        [&source.service_accounts, &source.not_service_accounts].map(|l| known(accounts, l)),
        reading,
        bad,
    );
    Identity::TrustDomain.both(
        all,
        ["trustDomains", "notTrustDomains"],
        [&source.trust_domains, &source.not_trust_domains].map(|l| known(domains, l)),
        reading,
        bad,
    );
    both(
        all,
        ["ipBlocks", "notIpBlocks"],
        &Attribute::PeerIp,
        &source.ip_blocks,
        &source.not_ip_blocks,
        bad,
        net,
    );
    both(
        all,
        ["remoteIpBlocks", "notRemoteIpBlocks"],
        &Attribute::RemoteIp,
        &source.remote_ip_blocks,
        &source.not_remote_ip_blocks,
        bad,
        net,
    );
}

/// An address or a network.
pub(crate) fn net(text: &str) -> Result<Value, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map(|net| Value::Net(net.trunc()))
        .map_err(|_| format!("`{text}` is not an IP address or CIDR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(own: &str, aliases: &[&str]) -> TrustDomains {
        TrustDomains::of(&MeshConfig {
            trust_domain: Some(own.to_owned()),
            trust_domain_aliases: aliases.iter().map(|&a| a.to_owned()).collect(),
            ..MeshConfig::default()
        })
    }

    #[test]
    fn identities() {
        use Identity::{Namespace, Principal, ServiceAccount, TrustDomain};
        let id = "spiffe://td/ns/foo/sa/bar";
        for (kind, value, expected) in [
            (Principal, "td/ns/foo/sa/bar", true),
            (Principal, "spiffe://td/ns/foo/sa/bar", false),
            (Principal, "td/ns/foo/*", true),
            (Principal, "*/sa/bar", true),
            (Principal, "*/sa/ba", false),
            (Principal, "*", true),
            (Namespace, "foo", true),
            (Namespace, "f*o", true),
            (Namespace, "fo", false),
            (ServiceAccount, "foo/bar", true),
            (ServiceAccount, "bar", false),
            (TrustDomain, "td", true),
            (TrustDomain, "t*", true),
            (TrustDomain, "*d", true),
            (TrustDomain, "t", false),
        ] {
            let matcher = kind.read(value, "here").unwrap();
            assert_eq!(matcher.matches(id), expected, "{kind:?} {value}");
        }
        let here = ServiceAccount.read("bar", "foo").unwrap();
        assert!(here.matches(id));
    }

    #[test]
    fn a_principal_of_the_mesh_is_one_of_each_of_its_trust_domains() {
        let domains = domains("td1", &["td2"]);
        let all = ["td1/ns/a/sa/b", "td2/ns/a/sa/b"];
        assert_eq!(domains.principals("cluster.local/ns/a/sa/b"), all);
        assert_eq!(domains.principals("td2/ns/a/sa/b"), all);
        assert_eq!(domains.principals("td*/ns/a/sa/b"), all);
        assert_eq!(domains.principals("*1/ns/a/sa/b"), ["*1/ns/a/sa/b", all[1]]);
        for kept in ["other/ns/a/sa/b", "*/ns/a/sa/b", "td1/ns/a", "*"] {
            assert_eq!(domains.principals(kept), [kept]);
        }
        assert_eq!(domains.domains("td2"), ["td1", "td2"]);
        assert_eq!(domains.domains("cluster.local"), ["cluster.local"]);
    }
}
