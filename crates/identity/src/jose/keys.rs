//! Public keys of an issuer (RFC 7517), each with its one algorithm.

use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RsaParameters, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Algorithm, JwtError};

/// More keys than this are not looked at.
const MAX_KEYS: usize = 64;

/// The keys of one issuer.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<PublicKey>,
}

#[derive(Debug)]
struct PublicKey {
    kid: Option<String>,
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a JWKS document; keys of other kinds and uses are left out.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        let document: Document = serde_json::from_slice(json).ok()?;
        let keys = document
            .keys
            .into_iter()
            .take(MAX_KEYS)
            .filter_map(|key| PublicKey::parse(serde_json::from_value(key).ok()?))
            .collect();
        Some(Self { keys })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn verify(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), JwtError> {
        let key = self.find(kid)?;
        if key.algorithm != algorithm {
            return Err(JwtError::Algorithm);
        }
        key.key
            .verify_sig(signed, signature)
            .map_err(|_| JwtError::Signature)
    }

    /// The one key of that id. Two keys of the same id are none: which of them
    /// is meant would depend on the order. Without an id there has to be only
    /// one key (OpenID Connect Core §10.1).
    fn find(&self, kid: Option<&str>) -> Result<&PublicKey, JwtError> {
        let mut candidates = self
            .keys
            .iter()
            .filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        match (candidates.next(), candidates.next()) {
            (Some(key), None) => Ok(key),
            _ => Err(JwtError::UnknownKey),
        }
    }
}

impl PublicKey {
    fn parse(jwk: Jwk) -> Option<Self> {
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let named = match &jwk.alg {
            Some(name) => Some(Algorithm::from_name(name)?),
            None => None,
        };
        let curve = jwk.crv.as_deref();
        let (algorithm, key) = match jwk.kty.as_str() {
            "RSA" => {
                let algorithm = named.unwrap_or(Algorithm::Rs256);
                let key = RsaPublicKeyComponents {
                    n: unsigned(&jwk.n?)?,
                    e: unsigned(&jwk.e?)?,
                };
                let key = key.to_parsed_public_key(rsa(algorithm)?).ok()?;
                (algorithm, key)
            }
            "EC" => {
                let (algorithm, size) = match curve? {
                    "P-256" => (Algorithm::Es256, 32),
                    "P-384" => (Algorithm::Es384, 48),
                    _ => return None,
                };
                let mut point = vec![4];
                for part in [jwk.x?, jwk.y?] {
                    let coordinate = URL_SAFE_NO_PAD.decode(part).ok()?;
                    if coordinate.len() != size {
                        return None;
                    }
                    point.extend(coordinate);
                }
                let by = match algorithm {
                    Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED,
                    _ => &ECDSA_P256_SHA256_FIXED,
                };
                (algorithm, ParsedPublicKey::new(by, &point).ok()?)
            }
            "OKP" if curve == Some("Ed25519") => {
                let key = URL_SAFE_NO_PAD.decode(jwk.x?).ok()?;
                if key.len() != 32 {
                    return None;
                }
                (Algorithm::EdDsa, ParsedPublicKey::new(&ED25519, &key).ok()?)
            }
            _ => return None,
        };
        if named.is_some_and(|named| named != algorithm) {
            return None;
        }
        Some(Self {
            kid: jwk.kid,
            algorithm,
            key,
        })
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
    })
}

/// A Base64urlUInt; some issuers pad with zero bytes.
fn unsigned(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    (bytes.len() <= 1024 + 1).then(|| bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// A JWK of an RSA key.
pub(crate) fn public_rsa(kid: &str, n: &[u8], e: &[u8]) -> Value {
    json!({
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
        "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e),
    })
}

/// A JWK of a P-256 key, from its uncompressed point.
pub(crate) fn public_ec(kid: &str, point: &[u8]) -> Option<Value> {
    let (x, y) = point.strip_prefix(&[4])?.split_at_checked(32)?;
    Some(json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    }))
}
