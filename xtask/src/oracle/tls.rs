//! Both ends of TLS: of clients, whom it does not matter who the server is, and
//! of upstreams.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, SignatureScheme,
    StreamOwned,
};

use super::world::Tls;

/// Certificates of clients, as the translator wrote them.
pub(crate) struct Clients {
    folder: std::path::PathBuf,
    identities: Vec<String>,
    /// They speak as proxies of the mesh do.
    in_mesh: bool,
}

/// What proxies of the mesh offer for HTTP, by which sidecars know them.
const MESH: [&str; 3] = ["istio-http/1.1", "istio", "http/1.1"];

impl Clients {
    pub(crate) fn new(folder: &Path, identities: Vec<String>) -> Self {
        Self {
            folder: folder.to_owned(),
            identities,
            in_mesh: false,
        }
    }

    /// From now on they are proxies of the mesh, or are not.
    pub(crate) fn in_mesh(&mut self, in_mesh: bool) {
        self.in_mesh = in_mesh;
    }

    pub(crate) fn connect(
        &self,
        stream: TcpStream,
        tls: &Tls,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
        let mut config = match &tls.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let number = self.identities.iter().position(|known| known == identity);
                let file = format!(
                    "client-{}",
                    number.context("an identity without a certificate")?
                );
                let certificate =
                    CertificateDer::from_pem_file(self.folder.join(&file).with_extension("pem"));
                let key =
                    PrivateKeyDer::from_pem_file(self.folder.join(&file).with_extension("key"));
                let unreadable = |error| anyhow::anyhow!("the client's certificate: {error}");
                builder.with_client_auth_cert(
                    vec![certificate.map_err(unreadable)?],
                    key.map_err(unreadable)?,
                )?
            }
        };
        // Others of the mesh show a certificate; who shows none is of no mesh.
        if self.in_mesh && tls.identity.is_some() {
            config.alpn_protocols = MESH.map(Vec::from).to_vec();
        }
        config.enable_sni = tls.sni.is_some();
        let name = ServerName::try_from(tls.sni.clone().unwrap_or_else(|| "gateway".into()))?;
        let connection = ClientConnection::new(Arc::new(config), name)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

/// What upstreams show that speak TLS, as the translator wrote it.
pub(crate) fn server(folder: &Path) -> Result<Arc<ServerConfig>> {
    let unreadable = |error| anyhow::anyhow!("the certificate of upstreams: {error}");
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem"));
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key"));
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth();
    let chain = vec![certificate.map_err(unreadable)?];
    let config = builder.with_single_cert(chain, key.map_err(unreadable)?)?;
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
