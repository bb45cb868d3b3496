//! TLS of the port for checks.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// A server with this certificate; with authorities, clients have to show one of theirs.
pub(crate) fn config(
    certificate: &Path,
    key: &Path,
    client_ca: Option<&Path>,
) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates(certificate)?;
    let of_key = || format!("`{}`", key.display());
    let private = PrivateKeyDer::from_pem_file(key).with_context(of_key)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots
                    .add(authority)
                    .with_context(|| format!("`{}`", path.display()))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(
                verifier.with_context(|| format!("`{}`", path.display()))?,
            )
        }
    };
    builder
        .with_single_cert(chain, private)
        .with_context(|| format!("`{}`", certificate.display()))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let place = || format!("`{}`", path.display());
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .with_context(place)?
        .collect();
    let all = all.with_context(place)?;
    anyhow::ensure!(!all.is_empty(), "`{}` holds no certificate", path.display());
    Ok(all)
}
