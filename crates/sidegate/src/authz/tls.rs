//! TLS of the port for checks, whose files are read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use server::Tls;

use super::AuthzArgs;
use crate::output::{self, Style};
use crate::watch;

/// Certificate chain and key, and authorities whose certificates clients have to show.
pub(super) struct TlsFiles<'a> {
    pub(super) certificate: &'a Path,
    pub(super) key: &'a Path,
    pub(super) client_ca: Option<&'a Path>,
}

impl<'a> TlsFiles<'a> {
    /// Those of the command line, if there are any.
    pub(super) fn of(args: &'a AuthzArgs) -> Option<Self> {
        Some(Self {
            certificate: args.tls_cert.as_deref()?,
            key: args.tls_key.as_deref()?,
            client_ca: args.client_ca.as_deref(),
        })
    }

    /// What they say now.
    pub(super) fn read(&self) -> anyhow::Result<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = certificates(self.certificate)?;
        let private = PrivateKeyDer::from_pem_file(self.key)
            .with_context(|| format!("`{}`", self.key.display()))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
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
    pub(super) async fn follow(&self, tls: &Tls) -> anyhow::Result<()> {
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
