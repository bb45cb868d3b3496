//! The header that says to upstreams who is calling: what the configuration says
//! of it, and the keys that sign it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use http::{HeaderName, HeaderValue};
use identity::{IDENTITY_HEADER, IdentitySigner, Terms};
use policy::{Audience, Caller};
use resources::Cluster;
use resources::sidegate::SignedIdentity;

use crate::output::{self, BadInput, Style};

/// One counts no longer than this: it cannot be taken back.
const LONGEST: u64 = 600;

#[derive(Debug, Args, Clone, Default)]
pub(crate) struct IdentityKeysArgs {
    /// Keys that sign x-sidegate-identity, P-256 in PKCS #8 and PEM; the first signs, all are published
    /// [default: made in the data folder]
    #[arg(long, value_name = "FILE")]
    identity_keys: Option<PathBuf>,
}

impl IdentityKeysArgs {
    /// What signs, with the keys that are named or those of the data folder.
    pub(crate) fn open(&self, data: &Path) -> anyhow::Result<Arc<IdentitySigner>> {
        let signer = match &self.identity_keys {
            Some(file) => IdentitySigner::of_file(file.clone())
                .map_err(|error| BadInput(vec![error.to_string()]))?,
            None => IdentitySigner::open(data)?,
        };
        Ok(Arc::new(signer))
    }
}

/// Reads the keys again, after a change.
pub(crate) fn read_again(signer: &IdentitySigner) {
    if let Err(error) = signer.read_again() {
        output::error(&error.into());
        output::note(&Style::Warning, "the keys of before stay in use");
    }
}

/// What the configuration wants to be said.
pub(crate) fn of(cluster: &Cluster) -> anyhow::Result<Option<SignedIdentity>> {
    let Some(object) = &cluster.sidegate else {
        return Ok(None);
    };
    let Some(wanted) = &object.spec.signed_identity else {
        return Ok(None);
    };
    let bad = |why: &str| {
        let (source, reference) = (&object.source, object.reference());
        BadInput(vec![format!(
            "{source}: {reference}: spec.signedIdentity.{why}"
        )])
    };
    if !(1..=LONGEST).contains(&wanted.seconds) {
        let why = format!("seconds: `{}`, expected 1 to {LONGEST}", wanted.seconds);
        return Err(bad(&why).into());
    }
    if wanted.issuer.is_empty() {
        return Err(bad("issuer: is empty, expected what verifiers compare with `iss`").into());
    }
    Ok(Some(wanted.clone()))
}

/// The header for a caller.
pub(crate) fn header(
    wanted: Option<&SignedIdentity>,
    signer: &IdentitySigner,
    audience: &Audience,
    caller: &Caller,
) -> Option<(HeaderName, HeaderValue)> {
    let wanted = wanted?;
    let terms = Terms {
        issuer: &wanted.issuer,
        audience,
        seconds: wanted.seconds,
    };
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let value = signer.header(&terms, caller, since.ok()?.as_secs())?;
    Some((IDENTITY_HEADER, value))
}
