//! What the authorizer knows of: the seed's cluster, sessions, keys and issuers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Bench, ISSUERS, KEYS, KNOWN, SESSIONS};
use crate::bench::Length;
use crate::shell;

/// How full stores are.
pub(super) struct Full {
    sessions: usize,
    keys: usize,
    issuers: usize,
}

impl Full {
    pub(super) fn no() -> Self {
        Self {
            sessions: KNOWN,
            keys: KNOWN,
            issuers: 1,
        }
    }

    pub(super) fn yes(length: Length) -> Self {
        Self {
            sessions: match length {
                Length::Full => SESSIONS,
                Length::Quick => SESSIONS / 20,
            },
            keys: KEYS,
            issuers: ISSUERS,
        }
    }
}

/// Folders of one authorizer.
pub(super) struct World {
    pub(super) files: PathBuf,
    pub(super) data: PathBuf,
    /// What browsers hold, and API keys, a line each.
    pub(super) sessions: PathBuf,
    /// Of those, some that are used again and again.
    pub(super) used: PathBuf,
    pub(super) keys: PathBuf,
    key: KeyPair,
    issuers: usize,
    folder: PathBuf,
}

impl World {
    pub(super) fn make(bench: &Bench<'_>, full: &Full) -> Result<Self> {
        let folder = bench.folder.join(format!("with-{}", full.sessions));
        let files = folder.join("files");
        std::fs::create_dir_all(&files)?;
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("no key"))?;
        let world = Self {
            data: folder.join("data"),
            sessions: folder.join("sessions"),
            used: folder.join("used-sessions"),
            keys: folder.join("keys"),
            key,
            issuers: full.issuers,
            files,
            folder,
        };
        let seed = shell::root().join("examples/seed");
        std::fs::copy(seed.join("cluster.yaml"), world.files.join("cluster.yaml"))?;
        let object = std::fs::read_to_string(seed.join("sidegate.yaml"))?;
        let object = object + &world.trusted();
        std::fs::write(world.files.join("sidegate.yaml"), object)?;
        std::fs::create_dir_all(&world.data)?;
        let fill = |what: &str, count: usize, told: &Path| -> Result<()> {
            let mut command = Command::new(bench.load);
            command.arg(what).arg(&world.data).arg(count.to_string());
            shell::run(command.arg(told))
        };
        fill("--sessions", full.sessions, &world.sessions)?;
        let all = std::fs::read_to_string(&world.sessions)?;
        let used = all.split_inclusive('\n').take(KNOWN);
        std::fs::write(&world.used, used.collect::<String>())?;
        fill("--keys", full.keys, &world.keys)?;
        Ok(world)
    }

    /// The issuers of the Sidegate object. All have the same key, each in a set of its own.
    fn trusted(&self) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = self.key.public_key();
        let (n, e) = (public.modulus(), public.exponent());
        let n = encode(n.big_endian_without_leading_zero());
        let e = encode(e.big_endian_without_leading_zero());
        let set = json!({"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": n, "e": e}]});
        let issuers = (0..self.issuers).map(|number| {
            json!({
                "issuer": issuer(number), "audiences": ["models"], "jwks": set.to_string(),
                "user": {"claim": "email", "groups": "groups"},
            })
        });
        // JSON is YAML.
        format!(
            "  tokens: {}\n",
            json!({"issuers": issuers.collect::<Value>()})
        )
    }
}

fn issuer(number: usize) -> String {
    format!("https://issuer{number:04}.example.com")
}

/// Tokens by RS256, of all issuers in turn.
pub(super) struct Tokens {
    /// Some that are sent again and again.
    pub(super) known: PathBuf,
    /// And some that are sent once.
    pub(super) fresh: PathBuf,
}

impl Tokens {
    pub(super) fn sign(world: &World, known: usize, fresh: usize) -> Result<Self> {
        let write = |name: &str, begin: usize, count: usize| -> Result<PathBuf> {
            let path = world.folder.join(name);
            let mut text = String::new();
            for number in begin..begin + count {
                text += &world.token(number)?;
                text.push('\n');
            }
            std::fs::write(&path, text)?;
            Ok(path)
        };
        Ok(Self {
            known: write("known", 0, known)?,
            fresh: write("fresh", known, fresh)?,
        })
    }
}

impl World {
    fn token(&self, number: usize) -> Result<String> {
        let now = std::time::UNIX_EPOCH.elapsed()?.as_secs();
        let claims = json!({
            "iss": issuer(number % self.issuers), "aud": "models", "sub": format!("person-{number:06}"),
            "email": format!("person{number:06}@example.com"), "groups": ["data-science", "team-fraud"],
            "iat": now, "exp": now + 3600, "jti": format!("{number:032}"),
        });
        let header = json!({"alg": "RS256", "kid": "1", "typ": "JWT"});
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &random,
                signed.as_bytes(),
                &mut signature,
            )
            .ok()
            .context("a token cannot be signed")?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
