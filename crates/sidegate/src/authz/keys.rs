//! Keys of marks, in a file that replicas share or made for this program alone, and of passes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ext_authz::{BadPassKey, KeyRing, Passes};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::folder;
use crate::output::BadInput;
use crate::state::MARK_KEYS;

/// A ring has no more text.
const MAX_BYTES: u64 = 64 * 1024;

/// Where the keys are.
pub(crate) struct MarkKeys(PathBuf);

impl MarkKeys {
    /// Those of a file, or of the data folder, where a key is made if there is none.
    pub(crate) fn open(file: Option<PathBuf>, data: &Path) -> anyhow::Result<Self> {
        if let Some(file) = file {
            return Ok(Self(file));
        }
        let path = data.join(MARK_KEYS);
        if !path.exists() {
            let mut key = [0; 32];
            aws_lc_rs::rand::fill(&mut key)
                .map_err(|_| anyhow::anyhow!("no random bytes for a key"))?;
            folder::write_atomically(&path, format!("{}\n", STANDARD.encode(key)).as_bytes())?;
        }
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.0
    }

    /// The keys as they are in the file now.
    pub(crate) fn read(&self) -> anyhow::Result<KeyRing> {
        let place = self.0.display();
        let size = std::fs::metadata(&self.0).with_context(|| format!("`{place}`"))?;
        if size.len() > MAX_BYTES {
            return Err(BadInput(vec![format!("`{place}`: too long for a ring of keys")]).into());
        }
        let text = std::fs::read_to_string(&self.0).with_context(|| format!("`{place}`"))?;
        KeyRing::parse(&text).map_err(|error| BadInput(vec![format!("`{place}`: {error}")]).into())
    }
}

/// What signs passes with keys of a file.
pub(crate) fn passes(path: &Path, seconds: u64) -> anyhow::Result<Passes> {
    Passes::new(&of_passes(path)?, seconds).map_err(|error| unusable(path, &error))
}

/// Takes the keys that are in the file now.
pub(crate) fn passes_again(path: &Path, passes: &Passes) -> anyhow::Result<()> {
    let keys = of_passes(path)?;
    passes
        .use_keys(&keys)
        .map_err(|error| unusable(path, &error))
}

fn of_passes(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let of = || format!("`{}`", path.display());
    let keys = PrivatePkcs8KeyDer::pem_file_iter(path).with_context(of)?;
    let keys = keys.map(|key| key.map(|key| key.secret_pkcs8_der().to_vec()));
    keys.collect::<Result<_, _>>().with_context(of)
}

fn unusable(path: &Path, error: &BadPassKey) -> anyhow::Error {
    BadInput(vec![format!("`{}`: {error}", path.display())]).into()
}
