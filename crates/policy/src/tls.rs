//! Servers that terminate TLS: which connections they take (istio
//! `createGatewayHTTPFilterChainOpts`, envoy `FilterChainManagerImpl`).

use resources::istio::{Server, ServerTls};

use crate::connection::{Certificate, ClientTls};

/// A server that terminates TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsServer {
    /// Server names it is for, exact or `*.x`; empty for all that no other
    /// server of the listener is for.
    pub names: Vec<String>,
    /// It terminates TLS; else connections are passed through.
    pub terminates: bool,
    /// What it does about certificates of clients.
    pub clients: ClientCertificates,
    /// Names of which a client's certificate has to have one; any without.
    pub accepted: Vec<String>,
    /// No version of TLS is left between the oldest and the newest one.
    pub speaks_none: bool,
}

/// Why certificates of clients that a server takes are not known by their names,
/// with the field.
pub(crate) fn unknown_certificates(server: &Server) -> Option<(&'static str, &'static str)> {
    let tls = server.tls.as_ref()?;
    if tls.insecure_skip_verify == Some(true) || !asks(tls) {
        return None;
    }
    if is_pinned(tls) {
        let field = match tls.verify_certificate_hash.as_slice() {
            [] => "verifyCertificateSpki",
            _ => "verifyCertificateHash",
        };
        return Some((field, "client certificates that are named by their hashes"));
    }
    let listed = !tls.ca_crl.is_empty() && (!from_secret(tls) || is_mode(tls, "ISTIO_MUTUAL"));
    listed.then_some((
        "caCrl",
        "certificates that are revoked, which a file of the pods names,",
    ))
}

fn is_mode(tls: &ServerTls, mode: &str) -> bool {
    tls.mode.as_deref() == Some(mode)
}

fn asks(tls: &ServerTls) -> bool {
    let modes = ["MUTUAL", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"];
    modes.into_iter().any(|mode| is_mode(tls, mode))
}

fn from_secret(tls: &ServerTls) -> bool {
    !tls.credential_name.is_empty() || !tls.credential_names.is_empty()
}

/// Whether a client's certificate is looked for by its hash or its key's, which
/// Istio passes on where certificates come from a Secret.
fn is_pinned(tls: &ServerTls) -> bool {
    let any = !tls.verify_certificate_hash.is_empty() || !tls.verify_certificate_spki.is_empty();
    any && from_secret(tls) && asks(tls) && !is_mode(tls, "ISTIO_MUTUAL")
}

/// Whether the versions that a server is given exclude each other, with those of
/// Envoy where none is given (istio `applyServerTLSSettings`).
fn speaks_none(tls: &ServerTls) -> bool {
    let number = |version: &Option<String>, default: u8| match version.as_deref() {
        Some("TLSV1_0") => 0,
        Some("TLSV1_1") => 1,
        Some("TLSV1_2") => 2,
        Some("TLSV1_3") => 3,
        _ => default,
    };
    let (oldest, newest) = (&tls.min_protocol_version, &tls.max_protocol_version);
    !is_mode(tls, "ISTIO_MUTUAL") && number(oldest, 2) > number(newest, 3)
}

/// Whether it is the hexadecimal form of a SHA-256, with or without colons.
fn is_hash(text: &str) -> bool {
    let plain: String = match text.len() {
        95 => text.split(':').collect(),
        _ => text.to_owned(),
    };
    plain.len() == 64 && plain.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether it is the Base64 form of one.
fn is_key(text: &str) -> bool {
    let body = text.strip_suffix('=').unwrap_or_default();
    body.len() == 43
        && body
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
}

/// What a server does about certificates of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Does not ask for one (`SIMPLE`).
    Ignored,
    /// Asks for one (`OPTIONAL_MUTUAL`).
    Asked,
    /// Takes no connection without (`MUTUAL`, `ISTIO_MUTUAL`).
    Required,
}

impl TlsServer {
    /// The server as one that terminates TLS for HTTP, if it is one.
    pub(crate) fn terminating(server: &Server) -> Option<Self> {
        let tls = server.tls.as_ref()?;
        if !server.port.protocol.eq_ignore_ascii_case("HTTPS") {
            return None;
        }
        // What is not set is the first mode of the API.
        let passes = matches!(
            tls.mode.as_deref(),
            None | Some("PASSTHROUGH" | "AUTO_PASSTHROUGH")
        );
        (!passes).then(|| Self::with(server, tls))
    }

    /// With its settings.
    pub(crate) fn with(server: &Server, tls: &ServerTls) -> Self {
        let clients = match tls.mode.as_deref() {
            Some("MUTUAL" | "ISTIO_MUTUAL") => ClientCertificates::Required,
            // Who wants names wants a certificate (envoy `DefaultCertValidator`).
            Some("OPTIONAL_MUTUAL") if !tls.subject_alt_names.is_empty() || is_pinned(tls) => {
                ClientCertificates::Required
            }
            Some("OPTIONAL_MUTUAL") => ClientCertificates::Asked,
            _ => ClientCertificates::Ignored,
        };
        let hosts = server.hosts.iter();
        let mut names: Vec<String> = hosts
            .map(|host| host.rsplit('/').next().unwrap_or(host).to_owned())
            .collect();
        names.sort();
        names.dedup();
        if names.iter().any(|name| name == "*") {
            names.clear();
        }
        Self {
            names,
            terminates: true,
            clients,
            accepted: match tls.insecure_skip_verify {
                Some(true) if asks(tls) => Vec::new(),
                _ => tls.subject_alt_names.clone(),
            },
            speaks_none: speaks_none(tls),
        }
    }

    /// Why Envoy refuses the listener of a server, if it does: names without an
    /// authority to check them by (istio `ApplyCredentialSDSToServerCommonTLSContext`,
    /// envoy `DefaultCertValidator`).
    pub(crate) fn refused(server: &Server) -> Option<&'static str> {
        let tls = server.tls.as_ref()?;
        if is_mode(tls, "SIMPLE") && from_secret(tls) && !tls.subject_alt_names.is_empty() {
            return Some(
                "`subjectAltNames` with mode SIMPLE are names that no authority is there to check",
            );
        }
        let hashes = tls.verify_certificate_hash.iter();
        let keys = tls.verify_certificate_spki.iter();
        let good = hashes.clone().all(|text| is_hash(text)) && keys.clone().all(|t| is_key(t));
        (is_pinned(tls) && !good).then_some(
            "`verifyCertificateHash` or `verifyCertificateSpki` has a value that is no SHA-256",
        )
    }

    /// How exactly it is for a server name: the length of the name that
    /// matches, the exact one before all; 0 for any.
    pub(crate) fn is_for(&self, sni: &str) -> Option<usize> {
        if self.names.is_empty() {
            return Some(0);
        }
        let rank = |name: &String| match name.strip_prefix('*') {
            None => (name == sni).then_some(usize::MAX),
            Some(suffix) => {
                (sni.len() > suffix.len() && sni.ends_with(suffix)).then_some(name.len())
            }
        };
        self.names.iter().filter_map(rank).max()
    }

    /// Whether it asks clients for a certificate.
    pub fn asks(&self) -> bool {
        self.clients != ClientCertificates::Ignored
    }

    /// Why a handshake fails, if it does.
    pub(crate) fn refuses(&self, client: &ClientTls) -> Option<&'static str> {
        if self.speaks_none {
            return Some("`minProtocolVersion` and `maxProtocolVersion` leave no version of TLS");
        }
        match (self.clients, &client.certificate) {
            (ClientCertificates::Ignored, _) | (ClientCertificates::Asked, None) => None,
            (ClientCertificates::Required, None) => {
                Some("the server takes no connection without a client certificate")
            }
            (_, Some(certificate)) => (!self.accepts(certificate))
                .then_some("the client certificate has none of the names in `subjectAltNames`"),
        }
    }

    fn accepts(&self, certificate: &Certificate) -> bool {
        let mut accepted = self.accepted.iter();
        let named = |name: &String| {
            let mut names = certificate.uris.iter().chain(&certificate.dns_names);
            names.any(|own| **own == **name)
        };
        self.accepted.is_empty() || accepted.any(named)
    }
}

#[cfg(test)]
mod tests {
    use resources::istio::Port;

    use super::*;

    fn server(mode: &str, hosts: &[&str]) -> TlsServer {
        let server = Server {
            port: Port {
                protocol: "HTTPS".into(),
                ..Port::default()
            },
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            tls: Some(ServerTls {
                mode: Some(mode.to_owned()),
                ..ServerTls::default()
            }),
            ..Server::default()
        };
        TlsServer::terminating(&server).unwrap()
    }

    #[test]
    fn server_names() {
        let tls = server("SIMPLE", &["ns/a.example.com", "*.example.com"]);
        assert_eq!(tls.is_for("a.example.com"), Some(usize::MAX));
        assert_eq!(tls.is_for("b.c.example.com"), Some(13));
        assert_eq!(tls.is_for("example.com"), None);
        assert_eq!(tls.is_for(""), None);
        let any = server("SIMPLE", &["a.example.com", "./*"]);
        assert_eq!(any.is_for(""), Some(0));
    }

    #[test]
    fn certificates() {
        let with = ClientTls {
            certificate: Some(Certificate::of("spiffe://td/ns/a/sa/b")),
            ..ClientTls::default()
        };
        let without = ClientTls::default();
        let mut tls = server("ISTIO_MUTUAL", &["*"]);
        assert!(tls.refuses(&without).is_some());
        assert!(tls.refuses(&with).is_none());
        tls.accepted = vec!["spiffe://td/ns/a/sa/c".into()];
        assert!(tls.refuses(&with).is_some());
        assert!(
            server("OPTIONAL_MUTUAL", &["*"])
                .refuses(&without)
                .is_none()
        );
    }
}
