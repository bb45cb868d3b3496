//! TLS of a port of ours, whose files are read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use server::Tls;

use crate::output::{self, Style};
use crate::watch;

/// Certificate chain and key, and authorities whose certificates clients have to show.
pub(crate) struct TlsFiles<'a> {
    pub(crate) certificate: &'a Path,
    pub(crate) key: &'a Path,
    pub(crate) client_ca: Option<&'a Path>,
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
}

impl<'a> TlsFiles<'a> {
    /// Of a certificate and its key, where both are named.
    pub(crate) fn of(
        certificate: Option<&'a Path>,
        key: Option<&'a Path>,
        client_ca: Option<&'a Path>,
    ) -> Option<Self> {
        Some(Self {
            certificate: certificate?,
            key: key?,
            client_ca,
            versions: rustls::DEFAULT_VERSIONS,
        })
    }

    /// What they say now.
    pub(crate) fn read(&self) -> anyhow::Result<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = certificates(self.certificate)?;
        let private = PrivateKeyDer::from_pem_file(self.key)
            .with_context(|| format!("`{}`", self.key.display()))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)?;
        let builder = match self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let place = || format!("`{}`", path.display());
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority).with_context(place)?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.with_context(place)?)
            }
        };
        builder
            .with_single_cert(chain, private)
            .with_context(|| format!("`{}`", self.certificate.display()))
    }

    /// Takes what they say, again whenever they change. What cannot be used leaves what was there.
    pub(crate) async fn follow(&self, tls: &Tls) -> anyhow::Result<()> {
        let files = [Some(self.certificate), Some(self.key), self.client_ca];
        let files: Vec<PathBuf> = files.into_iter().flatten().map(Path::to_owned).collect();
        watch::until_cancelled(&files, || match self.read() {
            Ok(config) => {
                tls.replace(config);
                tracing::info!("the certificate was read again");
            }
            Err(error) => {
                output::error(&error);
                output::note(&Style::Warning, "the certificate of before stays in use");
            }
        })
        .await
    }
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
