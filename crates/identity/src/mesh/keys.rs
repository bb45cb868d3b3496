//! Key sets as Envoy reads them: every algorithm, keys that make no sense left out.

use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use serde_json::{Map, Value};

use super::{LENIENT, Parts};
use crate::jose;

/// More keys than this are not looked at.
const MAX_KEYS: usize = 100;

/// Public keys of an issuer, or secrets shared with it.
#[derive(Debug, Default)]
pub struct Jwks {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    kid: String,
    algorithm: String,
    material: Material,
}

/// Does not print itself: one kind is a secret.
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec { curve: Curve, point: Vec<u8> },
    Ed25519(Vec<u8>),
    Secret(Vec<u8>),
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rsa { .. } => "Rsa",
            Self::Ec { .. } => "Ec",
            Self::Ed25519(_) => "Ed25519",
            Self::Secret(_) => "Secret",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

const ALGORITHMS: [&str; 13] = [
    "ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256",
    "PS384", "PS512", "EdDSA",
];

pub(super) fn is_algorithm(name: &str) -> bool {
    ALGORITHMS.contains(&name)
}

impl Jwks {
    /// Reads a JSON Web Key Set; without a usable key it is empty and
    /// verifies nothing.
    pub fn parse(json: &[u8]) -> Self {
        let document = jose::Claims::parse(json).map(jose::Claims::into_object);
        let list = document
            .as_ref()
            .and_then(|document| document.get("keys")?.as_array());
        let keys = list.into_iter().flatten().take(MAX_KEYS);
        Self {
            keys: keys
                .filter_map(|key| Key::parse(key.as_object()?))
                .collect(),
        }
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Why none of the keys signed a token.
    pub(super) fn fault(&self, token: &Parts<'_>) -> Option<&'static str> {
        let fits = |key: &&Key| {
            let kid = token.kid.is_empty() || key.kid.is_empty() || key.kid == token.kid;
            kid && (key.algorithm.is_empty() || key.algorithm == token.algorithm)
        };
        let mut candidates = self.keys.iter().filter(fits).peekable();
        if self.keys.is_empty() {
            return Some("there is no usable key for it");
        }
        if candidates.peek().is_none() {
            return Some("no key of its issuer has its key id and algorithm");
        }
        let signed = candidates.any(|key| key.signed(token));
        (!signed).then_some("its signature is wrong")
    }
}

impl Key {
    fn parse(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let algorithm = text("alg").unwrap_or_default();
        let bytes = |name: &str| LENIENT.decode(text(name)?).ok();
        let of = |family: &[&str]| {
            algorithm.is_empty() || family.iter().any(|f| algorithm.starts_with(f))
        };
        let material = match text("kty")? {
            "RSA" if of(&["RS", "PS"]) => Material::Rsa {
                n: unsigned(bytes("n")?),
                e: unsigned(bytes("e")?),
            },
            "EC" if of(&["ES"]) => {
                let curve = Curve::of(algorithm, text("crv").unwrap_or_default())?;
                let mut point = vec![4];
                for part in ["x", "y"] {
                    point.extend(padded(unsigned(bytes(part)?), curve.size())?);
                }
                Material::Ec { curve, point }
            }
            "OKP" if matches!(algorithm, "" | "EdDSA") && text("crv")? == "Ed25519" => {
                Material::Ed25519(bytes("x").filter(|key| key.len() == 32)?)
            }
            "oct" if matches!(algorithm, "" | "HS256" | "HS384" | "HS512") => {
                Material::Secret(bytes("k").filter(|key| !key.is_empty())?)
            }
            _ => return None,
        };
        Some(Self {
            kid: text("kid").unwrap_or_default().to_owned(),
            algorithm: algorithm.to_owned(),
            material,
        })
    }

    fn signed(&self, token: &Parts<'_>) -> bool {
        let (data, signature) = (token.signed.as_bytes(), token.signature.as_slice());
        let algorithm = token.algorithm.as_str();
        match &self.material {
            Material::Rsa { n, e } => {
                let Some(parameters) = rsa(algorithm) else {
                    return false;
                };
                let key = RsaPublicKeyComponents { n, e };
                key.verify(parameters, data, signature).is_ok()
            }
            Material::Ec { curve, point } => {
                let by: &'static dyn signature::VerificationAlgorithm = match (curve, algorithm) {
                    (Curve::P256, "ES256") => &ECDSA_P256_SHA256_FIXED,
                    (Curve::P384, "ES384") => &ECDSA_P384_SHA384_FIXED,
                    (Curve::P521, "ES512") => &ECDSA_P521_SHA512_FIXED,
                    _ => return false,
                };
                UnparsedPublicKey::new(by, point)
                    .verify(data, signature)
                    .is_ok()
            }
            Material::Ed25519(key) => {
                let key = UnparsedPublicKey::new(&ED25519, key);
                algorithm == "EdDSA" && key.verify(data, signature).is_ok()
            }
            Material::Secret(secret) => {
                let by = match algorithm {
                    "HS256" => hmac::HMAC_SHA256,
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => return false,
                };
                let made = hmac::sign(&hmac::Key::new(by, secret), data);
                constant_time::verify_slices_are_equal(made.as_ref(), signature).is_ok()
            }
        }
    }
}

impl Curve {
    fn of(algorithm: &str, name: &str) -> Option<Self> {
        let by_algorithm = match algorithm {
            "ES256" => Some(Self::P256),
            "ES384" => Some(Self::P384),
            "ES512" => Some(Self::P521),
            "" => None,
            _ => return None,
        };
        let by_name = match name {
            "P-256" => Some(Self::P256),
            "P-384" => Some(Self::P384),
            "P-521" => Some(Self::P521),
            "" => None,
            _ => return None,
        };
        match (by_algorithm, by_name) {
            (Some(a), Some(b)) => (a == b).then_some(a),
            (one, other) => Some(one.or(other).unwrap_or(Self::P256)),
        }
    }

    fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn unsigned(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn padded(bytes: Vec<u8>, size: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; size.checked_sub(bytes.len())?];
    out.extend(bytes);
    Some(out)
}
