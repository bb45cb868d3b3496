//! Keys made at run time, and tokens signed by them.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Keys by name, made when first asked for.
#[derive(Default)]
pub(crate) struct Keys {
    keys: BTreeMap<String, EcdsaKeyPair>,
}

impl Keys {
    fn key(&mut self, name: &str) -> Result<&EcdsaKeyPair> {
        if !self.keys.contains_key(name) {
            let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .map_err(|_| anyhow!("cannot make a key"))?;
            self.keys.insert(name.to_owned(), made);
        }
        self.keys
            .get(name)
            .ok_or_else(|| anyhow!("no key `{name}`"))
    }

    /// The public key as a JSON Web Key Set.
    pub(crate) fn jwks(&mut self, name: &str) -> Result<String> {
        let key = self.key(name)?;
        // An uncompressed point: 4, x, y.
        let point = key.public_key().as_ref();
        let part = |from: usize, to: usize| {
            URL_SAFE_NO_PAD.encode(point.get(from..to).unwrap_or_default())
        };
        let jwk = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": name,
            "x": part(1, 33), "y": part(33, 65)});
        Ok(json!({"keys": [jwk]}).to_string())
    }

    /// A token with those claims; `exp` is in an hour unless given.
    pub(crate) fn token(&mut self, name: &str, claims: &Value) -> Result<String> {
        let mut claims = claims.clone();
        if let Some(claims) = claims.as_object_mut() {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
            claims
                .entry("exp")
                .or_insert_with(|| (now.as_secs() + 86_400).into());
        }
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": name});
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self
            .key(name)?
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| anyhow!("cannot sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Puts key sets in the place of `JWKS:name`.
    pub(crate) fn fill(&mut self, value: &mut Value) -> Result<()> {
        match value {
            Value::String(text) => {
                if let Some(name) = text.strip_prefix("JWKS:").map(str::to_owned) {
                    *text = self.jwks(&name)?;
                }
            }
            Value::Array(list) => {
                for value in list {
                    self.fill(value)?;
                }
            }
            Value::Object(map) => {
                for value in map.values_mut() {
                    self.fill(value)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
