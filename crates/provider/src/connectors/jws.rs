//! Signatures of other providers' ID tokens (RFC 7515), by the keys that they publish (RFC 7517).

use aws_lc_rs::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Most keys of a set, and the longest token.
const MAX_KEYS: usize = 64;
const MAX_TOKEN: usize = 64 * 1024;
/// What a provider signs with that does not say so (OpenID Connect Discovery 1.0 section 3).
const DEFAULT: &str = "RS256";

/// The keys of a provider.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The only algorithm that the key is for, where its owner says so.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why a token is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsigned {
    #[error("the ID token is no JWT")]
    Malformed,
    #[error("the ID token is signed with `{0}`, which is not expected")]
    Algorithm(String),
    /// Perhaps a key that was published since.
    #[error("the ID token is signed with a key that is not published")]
    UnknownKey,
    #[error("the signature of the ID token is wrong")]
    Wrong,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: String,
    n: String,
    e: String,
    x: String,
    y: String,
}

impl KeySet {
    /// Reads a JWK set. Keys of other kinds are passed over.
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        let set: Jwks = serde_json::from_slice(json).ok()?;
        let keys = set.keys.into_iter().take(MAX_KEYS).filter_map(|key| {
            let key: Jwk = serde_json::from_value(key).ok()?;
            if key.usage.as_deref().is_some_and(|usage| usage != "sig") {
                return None;
            }
            Some(Key {
                material: Material::of(&key)?,
                id: key.kid,
                algorithm: key.alg,
            })
        });
        Some(Self {
            keys: keys.collect(),
        })
    }

    /// The claims of a token that one of the keys signed with one of the `expected` algorithms.
    pub(super) fn verify(
        &self,
        token: &str,
        expected: &[String],
    ) -> Result<Map<String, Value>, Unsigned> {
        if token.len() > MAX_TOKEN {
            return Err(Unsigned::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Unsigned::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Unsigned::Malformed)?;
        let decode = |part: &str| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| Unsigned::Malformed)
        };
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| Unsigned::Malformed)?;
        if header.crit.is_some() {
            return Err(Unsigned::Malformed);
        }
        let offered = match expected {
            [] => header.alg == DEFAULT,
            some => some.contains(&header.alg),
        };
        let known = ALGORITHMS.contains(&header.alg.as_str());
        if !offered || !known {
            let shown = header.alg.chars().filter(|c| !c.is_control()).take(20);
            return Err(Unsigned::Algorithm(shown.collect()));
        }
        let signature = decode(signature)?;
        let mut fitting = self.keys.iter().filter(|key| {
            key.material.fits(&header.alg)
                && key.algorithm.as_ref().is_none_or(|alg| *alg == header.alg)
        });
        let verified = match &header.kid {
            Some(id) => {
                let mut named = fitting.filter(|key| key.id.as_ref() == Some(id)).peekable();
                if named.peek().is_none() {
                    return Err(Unsigned::UnknownKey);
                }
                named.any(|key| key.material.verifies(&header.alg, message, &signature))
            }
            // Without a name there has to be one key only that it can be.
            None => match (fitting.next(), fitting.next()) {
                (Some(key), None) => key.material.verifies(&header.alg, message, &signature),
                _ => return Err(Unsigned::UnknownKey),
            },
        };
        if !verified {
            return Err(Unsigned::Wrong);
        }
        serde_json::from_slice(&decode(claims)?).map_err(|_| Unsigned::Malformed)
    }
}

/// Signatures with a public key: no `none`, and nothing with a shared secret.
const ALGORITHMS: [&str; 9] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
];

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

impl Material {
    fn of(key: &Jwk) -> Option<Self> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let point = |length: usize| {
            let (x, y) = (decode(&key.x)?, decode(&key.y)?);
            (x.len() == length && y.len() == length).then(|| [&[4], &x[..], &y[..]].concat())
        };
        match (key.kty.as_str(), key.crv.as_str()) {
            ("RSA", _) => Some(Self::Rsa {
                n: decode(&key.n).filter(|n| n.len() <= 1024)?,
                e: decode(&key.e).filter(|e| e.len() <= 8)?,
            }),
            ("EC", "P-256") => Some(Self::P256(point(32)?)),
            ("EC", "P-384") => Some(Self::P384(point(48)?)),
            ("OKP", "Ed25519") => Some(Self::Ed25519(decode(&key.x).filter(|x| x.len() == 32)?)),
            _ => None,
        }
    }

    fn fits(&self, algorithm: &str) -> bool {
        match self {
            Self::Rsa { .. } => rsa(algorithm).is_some(),
            Self::P256(_) => algorithm == "ES256",
            Self::P384(_) => algorithm == "ES384",
            Self::Ed25519(_) => algorithm == "EdDSA",
        }
    }

    fn verifies(&self, algorithm: &str, message: &str, signature: &[u8]) -> bool {
        let message = message.as_bytes();
        match self {
            Self::Rsa { n, e } => rsa(algorithm).is_some_and(|parameters| {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(parameters, message, signature).is_ok()
            }),
            Self::P256(point) => {
                let key = UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
                key.verify(message, signature).is_ok()
            }
            Self::P384(point) => {
                let key = UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point);
                key.verify(message, signature).is_ok()
            }
            Self::Ed25519(point) => {
                let key = UnparsedPublicKey::new(&signature::ED25519, point);
                key.verify(message, signature).is_ok()
            }
        }
    }
}
