//! Sidecars: what stands before pods behind Services, as one more crossing with
//! policies of its own (istio `listener_inbound.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use resources::Cluster;
use resources::core::ServicePort;

use crate::connection::{Certificate, ClientTls};
use crate::mutual::Link;
use crate::peer::TrustDomains;
use crate::permit::Destination;
use crate::snapshot::{Listener, Snapshot};
use crate::workloads::GatewayPods;

/// What makes a listener that of a sidecar.
#[derive(Debug)]
pub(crate) struct Sidecar {
    /// Why it is not known what stands before the pods: then nothing is assumed.
    pub(crate) uncertain: Option<String>,
    /// Plain text is taken too.
    pub(crate) takes_plain: bool,
    /// What names of clients of the mesh begin with.
    pub(crate) domains: Vec<String>,
    /// Why it is not known who sends requests on to here.
    pub(crate) sender_unclear: Option<String>,
    /// What becomes of connections that no HTTP is found in, on a port of which
    /// nothing is said.
    pub(crate) raw: Option<Box<Listener>>,
}

/// The same but for what follows from the listener itself.
impl PartialEq for Sidecar {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            uncertain,
            takes_plain,
            domains,
            sender_unclear,
            raw,
        } = self;
        *uncertain == other.uncertain
            && *takes_plain == other.takes_plain
            && *domains == other.domains
            && *sender_unclear == other.sender_unclear
            && raw.is_some() == other.raw.is_some()
    }
}

impl Sidecar {
    /// Why a handshake fails, if it does: the client is of no trust domain of
    /// the mesh (istio `TrustDomainsForValidation`).
    pub(crate) fn refuses(&self, client: &ClientTls) -> Option<&'static str> {
        let mut uris = client.certificate.iter().flat_map(|shown| &shown.uris);
        let known = uris.any(|uri| self.domains.iter().any(|own| uri.starts_with(own)));
        (client.certificate.is_some() && !known)
            .then_some("the client certificate is of no trust domain of the mesh")
    }
}

/// What a port of pods speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http,
    /// What is found out by looking.
    Unsaid,
    /// Connections are not looked into.
    Anything,
}

/// A port of a Service whose pods have a sidecar.
#[derive(Debug, PartialEq)]
pub(crate) struct SidecarWay {
    /// Its listener.
    pub(crate) listener: usize,
    /// What gateways speak to it, by their namespace.
    pub(crate) links: BTreeMap<Arc<str>, Link>,
}

/// Whom a sidecar takes a gateway for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Account {
    pub(crate) certificate: Certificate,
    /// Why it is a guess.
    pub(crate) guessed: Option<String>,
}

/// The ServiceAccount that Istio's installation gives its ingress gateway.
const INGRESS: &str = "istio-ingressgateway-service-account";

impl Account {
    /// Of the pods of a gateway.
    pub(crate) fn of(cluster: &Cluster, pods: &GatewayPods) -> Self {
        let mut names: Vec<&str> = cluster
            .workloads
            .iter()
            .filter(|w| *w.meta.namespace == *pods.namespace && w.spec.labels == pods.labels)
            .map(|w| w.spec.pod.service_account_name.as_deref())
            .map(|name| name.unwrap_or("default"))
            .collect();
        names.sort_unstable();
        names.dedup();
        let guessed = match names.len() {
            0 => Some(format!(
                "the YAML has no workload of gateway {}, its ServiceAccount is taken to be `{INGRESS}`",
                pods.name
            )),
            1 => None,
            _ => Some(format!(
                "workloads of gateway {} have several ServiceAccounts",
                pods.name
            )),
        };
        let name = names.first().copied().unwrap_or(INGRESS);
        let identity = TrustDomains::of(&cluster.mesh).identity(&pods.namespace, name);
        Self {
            certificate: Certificate::of(&identity),
            guessed,
        }
    }
}

/// A client at the other end of TLS, as a sidecar knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender<'a> {
    /// None where the connection is not the sidecar's to end.
    pub(crate) certificate: Option<&'a Certificate>,
    /// The server name that it asks for.
    pub(crate) sni: &'a str,
}

/// What a sidecar makes of the connection of a gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meeting<'a> {
    /// It knows the gateway by this; by nothing over plain text.
    Takes(Option<Sender<'a>>),
    /// The connection comes to nothing.
    Refuses(&'static str),
}

impl SidecarWay {
    /// How a gateway and the sidecar meet.
    pub(crate) fn meet<'a>(&'a self, gateway: &'a Listener, sidecar: &Listener) -> Meeting<'a> {
        let Some(own) = &sidecar.sidecar else {
            return Meeting::Takes(None);
        };
        match self.link(gateway) {
            Some(Link::Mutual(_)) if sidecar.tls.is_none() => Meeting::Refuses(
                "the gateway speaks mutual TLS, and the sidecar plain text (PeerAuthentication DISABLE)",
            ),
            Some(Link::Mutual(sni)) => Meeting::Takes(Some(Sender {
                certificate: Some(&gateway.account.certificate),
                sni,
            })),
            Some(Link::Plain) if !own.takes_plain => Meeting::Refuses(
                "the gateway speaks plain text, and the sidecar mutual TLS only (PeerAuthentication STRICT)",
            ),
            Some(Link::Plain | Link::Foreign) | None => Meeting::Takes(None),
        }
    }

    /// How the sidecar meets a connection that a gateway passes on unread, and
    /// the part of it that takes the connection.
    pub(crate) fn meet_unread<'a>(
        &'a self,
        gateway: &'a Listener,
        sidecar: &'a Listener,
        client: Option<&'a ClientTls>,
    ) -> (Meeting<'a>, &'a Listener) {
        let own = sidecar.sidecar.as_ref();
        let raw = own.and_then(|own| own.raw.as_deref()).unwrap_or(sidecar);
        let Some(client) = client.filter(|_| !gateway.ends_tls()) else {
            // Over mutual TLS gateways say of connections that they are no HTTP.
            return match self.meet(gateway, sidecar) {
                Meeting::Takes(Some(sender)) => (Meeting::Takes(Some(sender)), raw),
                other => (other, sidecar),
            };
        };
        let mutual = matches!(self.link(gateway), Some(Link::Mutual(_)));
        let ends_here = own.is_some_and(|own| !own.takes_plain) && !mutual;
        let meeting = match (&client.certificate, own) {
            // The sidecar ends the client's own TLS.
            (None, _) if ends_here => Meeting::Refuses(
                "the client's TLS is passed on to a sidecar, which takes no connection without a client certificate",
            ),
            (Some(certificate), Some(own)) if ends_here => match own.refuses(client) {
                Some(why) => Meeting::Refuses(why),
                None => Meeting::Takes(Some(Sender {
                    certificate: Some(certificate),
                    sni: client.sni.as_deref().unwrap_or_default(),
                })),
            },
            _ if !raw.opaque => Meeting::Refuses(
                "the client's TLS is passed on to a port of pods that is read as HTTP",
            ),
            _ if mutual => self.meet(gateway, sidecar),
            // Server names are looked for where TLS is expected.
            _ => Meeting::Takes(sidecar.tls.as_ref().map(|_| Sender {
                certificate: None,
                sni: client.sni.as_deref().unwrap_or_default(),
            })),
        };
        (meeting, raw)
    }

    fn link(&self, gateway: &Listener) -> Option<&Link> {
        self.links.get(gateway.account.namespace()?)
    }

    /// Why what the sidecar makes of requests of a gateway is not known.
    pub(crate) fn unclear(&self, gateway: &Listener) -> Option<&'static str> {
        matches!(self.link(gateway), Some(Link::Foreign) | None).then_some(
            "a DestinationRule makes the gateway speak TLS that is not the mesh's, which is not followed",
        )
    }
}

impl Account {
    pub(crate) fn namespace(&self) -> Option<&str> {
        let uri = self.certificate.uris.first()?;
        uri.split('/').skip_while(|part| *part != "ns").nth(1)
    }
}

impl Listener {
    /// Whether TLS of clients ends here, where they speak it.
    pub(crate) fn ends_tls(&self) -> bool {
        !self.opaque || self.tls.as_ref().is_some_and(|tls| tls.terminates)
    }

    /// The part of a sidecar that passes on a connection of TLS that is not the
    /// mesh's, unread; clients without a certificate are taken to speak such
    /// (istio `inboundPermissiveFilterChainMatchWithMxcOptions`).
    pub(crate) fn passes(&self, tls: Option<&ClientTls>) -> Option<&Self> {
        let (sidecar, client) = (self.sidecar.as_ref()?, tls?);
        let foreign = client.certificate.is_none() && sidecar.takes_plain;
        if self.tls.is_some() && !foreign {
            return None;
        }
        match self.opaque {
            true => Some(self),
            false => sidecar.raw.as_deref(),
        }
    }
}

impl Snapshot {
    /// The sidecar that a destination is behind, and the way there.
    pub(crate) fn sidecar_of(&self, destination: &Destination) -> Option<(&SidecarWay, &Listener)> {
        let way = self.sidecars.get(&destination.service_port()?)?;
        Some((way, self.listeners.get(way.listener)?))
    }
}

impl Spoken {
    /// Of a port of a Service (istio `kube.ConvertProtocol`).
    pub(crate) fn of(port: &ServicePort) -> Self {
        let named = match &port.app_protocol {
            Some(protocol) => protocol.as_str(),
            None => {
                let name = port.name.as_deref().unwrap_or_default();
                name.split('-').next().unwrap_or_default()
            }
        };
        match named.to_ascii_lowercase().as_str() {
            "http" | "http2" | "http_proxy" | "grpc" | "kubernetes.io/h2c" | "kubernetes.io/ws" => {
                Self::Http
            }
            "tcp" | "tls" | "https" | "mongo" | "mysql" | "redis" | "udp" | "kubernetes.io/wss" => {
                Self::Anything
            }
            _ if NOT_LOOKED_AT.contains(&port.port) => Self::Anything,
            _ => Self::Unsaid,
        }
    }
}

/// Ports of a Service where it is not found out by looking: SMTP, DNS, MySQL,
/// MongoDB.
const NOT_LOOKED_AT: [u16; 4] = [25, 53, 3306, 27017];
