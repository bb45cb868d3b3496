//! What a gateway knows of the connection that a request came on.

use std::net::IpAddr;
use std::sync::Arc;

/// The connection of a request, as far as policies can tell connections apart.
///
/// The default is a plain-text connection to the listener of the request's
/// entrance, which is all that `sidegate up` opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The listener it arrived at; `None` is the one that
    /// [`RequestHead::entrance`](crate::RequestHead::entrance) names. Both are
    /// set by [`RequestHead::arrive_at`](crate::RequestHead::arrive_at).
    pub listener: Option<ListenerId>,
    /// What the client said in its TLS handshake; `None` is plain text.
    pub tls: Option<ClientTls>,
    /// The address it was sent to, which on a gateway is the pod's
    /// (`destination.ip`); `None` is not known.
    pub local: Option<IpAddr>,
}

/// Names a listener of a gateway deployment in every configuration that has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId {
    /// Namespace and name of the gateway's workload.
    pub gateway: Arc<str>,
    /// Port that the pods open, not the Service's.
    pub port: u16,
    /// The one address it is opened on; empty for all.
    pub bind: Arc<str>,
}

/// The client's side of a TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientTls {
    /// The server name it asked for (SNI), lower case.
    pub sni: Option<Arc<str>>,
    /// The certificate it can show. It is shown where the server asks for one,
    /// and taken to be signed by an authority that the server trusts.
    pub certificate: Option<Certificate>,
}

/// A client's certificate, by what policies and servers look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// URIs among its alternative names; of a workload of the mesh its SPIFFE ID.
    pub uris: Vec<Arc<str>>,
    /// DNS names among its alternative names.
    pub dns_names: Vec<Arc<str>>,
    /// Subject, as RFC 2253 writes it.
    pub subject: Arc<str>,
}

impl ClientTls {
    /// A client that asks for a server name and shows no certificate.
    pub fn asking_for(sni: &str) -> Self {
        Self {
            sni: Some(sni.to_ascii_lowercase().into()),
            certificate: None,
        }
    }
}

impl Certificate {
    /// A certificate with one alternative name: a URI (`spiffe://…`) or a DNS name.
    pub fn of(name: &str) -> Self {
        let mut certificate = Self::default();
        if name.contains("://") {
            certificate.uris.push(name.into());
        } else {
            certificate.dns_names.push(name.into());
        }
        certificate
    }

    /// Everything that it calls its holder.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.uris.iter().chain(&self.dns_names);
        names
            .map(|name| &**name)
            .chain(std::iter::once(&*self.subject))
    }
}
