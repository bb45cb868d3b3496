//! Whose certificates count.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Whose certificates count, and our own.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// PEM of the authorities; without any, those of the system.
    pub roots: Vec<u8>,
    /// PEM of our certificate and its key.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
}

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No authority.
    #[error("there is no certificate in it")]
    NoRoots,
    /// The system has no authorities.
    #[error("the system has no certificates of authorities")]
    NoSystem,
    /// A certificate or key of ours that is none.
    #[error("the client's certificate or key cannot be read")]
    Own,
    /// They do not fit.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

impl Trust {
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let mut roots = RootCertStore::empty();
        if self.roots.is_empty() {
            let found = rustls_native_certs::load_native_certs().certs;
            if roots.add_parsable_certificates(found).0 == 0 {
                return Err(TrustError::NoSystem);
            }
        } else {
            for certificate in CertificateDer::pem_slice_iter(&self.roots) {
                roots.add(certificate.map_err(|_| TrustError::NoRoots)?)?;
            }
            if roots.is_empty() {
                return Err(TrustError::NoRoots);
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain: Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(certificate).collect();
                let chain = chain.map_err(|_| TrustError::Own)?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TrustError::Own)?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        Ok(Arc::new(config))
    }
}
