//! Keys made at run time, and tokens signed by them.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// One set of keys and tokens, so that both sides of a comparison see the same.
static KEYS: LazyLock<Mutex<Keys>> = LazyLock::new(Mutex::default);

/// Keys by name and tokens by what they say, made when first asked for.
#[derive(Default)]
struct Keys {
    keys: BTreeMap<String, EcdsaKeyPair>,
    tokens: BTreeMap<(String, String), String>,
}

/// A token with those claims; `exp` is in a day unless given.
pub(super) fn token(key: &str, claims: &Value) -> Result<String> {
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    let name = (key.to_owned(), claims.to_string());
    if let Some(token) = keys.tokens.get(&name) {
        return Ok(token.clone());
    }
    let token = keys.sign(key, claims)?;
    keys.tokens.insert(name, token.clone());
    Ok(token)
}

/// The value with key sets in the place of `JWKS:name`.
pub(super) fn filled(value: &Value) -> Result<Value> {
    let mut value = value.clone();
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    keys.fill(&mut value)?;
    Ok(value)
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
    fn jwks(&mut self, name: &str) -> Result<String> {
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

    fn sign(&mut self, name: &str, claims: &Value) -> Result<String> {
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

    fn fill(&mut self, value: &mut Value) -> Result<()> {
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
