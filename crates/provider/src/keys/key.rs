//! One signing key: made, kept in PKCS #8, published as a JWK.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::der::public_numbers;

/// How a client's tokens are signed (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSA, 2048 bits: the one that every relying party knows.
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256: a fifteenth of the work of RS256 to sign, three times to verify.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// The `alg` of a token.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A private key of an algorithm.
pub(super) enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed(Box<Ed25519KeyPair>),
}

pub(crate) struct SigningKey {
    pub(super) algorithm: Algorithm,
    pub(super) kid: String,
    pub(super) jwk: Value,
    pair: Pair,
}

/// A new private key in PKCS #8; `None` when the system cannot make one. RSA takes about 0.1 s.
pub(super) fn generate(algorithm: Algorithm) -> Option<Vec<u8>> {
    Some(match algorithm {
        Algorithm::Rs256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
            let der: Pkcs8V1Der<'_> = pair.as_der().ok()?;
            der.as_ref().to_vec()
        }
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
            pair.to_pkcs8v1().ok()?.as_ref().to_vec()
        }
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::generate().ok()?;
            pair.to_pkcs8v1().ok()?.as_ref().to_vec()
        }
    })
}

impl SigningKey {
    /// Reads a key that [`generate`] made.
    pub(super) fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Option<Self> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (pair, mut jwk) = match algorithm {
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(der).ok()?;
                let (modulus, exponent) = public_numbers(pair.public_key().as_ref())?;
                let jwk = json!({"e": encode(exponent), "kty": "RSA", "n": encode(modulus)});
                (Pair::Rsa(Box::new(pair)), jwk)
            }
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok()?;
                // An uncompressed point: 4, then both coordinates (SEC 1 section 2.3.3).
                let (_, point) = pair.public_key().as_ref().split_first()?;
                let (x, y) = point.split_at_checked(32)?;
                let jwk = json!({"crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y)});
                (Pair::Ec(Box::new(pair)), jwk)
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(der).ok()?;
                let x = encode(pair.public_key().as_ref());
                let jwk = json!({"crv": "Ed25519", "kty": "OKP", "x": x});
                (Pair::Ed(Box::new(pair)), jwk)
            }
        };
        // RFC 7638: the required members, in lexical order.
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(jwk.to_string().as_bytes()));
        let members = jwk.as_object_mut()?;
        members.insert("use".to_owned(), "sig".into());
        members.insert("kid".to_owned(), kid.as_str().into());
        members.insert("alg".to_owned(), algorithm.name().into());
        Some(Self {
            algorithm,
            kid,
            jwk,
            pair,
        })
    }

    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let random = SystemRandom::new();
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .ok()?;
                Some(signature)
            }
            Pair::Ec(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).ok()?;
                Some(signature.as_ref().to_vec())
            }
            Pair::Ed(pair) => Some(pair.try_sign(message).ok()?.as_ref().to_vec()),
        }
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let (algorithm, key): (&dyn VerificationAlgorithm, &[u8]) = match &self.pair {
            Pair::Rsa(pair) => (&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref()),
            Pair::Ec(pair) => (&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref()),
            Pair::Ed(pair) => (&ED25519, pair.public_key().as_ref()),
        };
        algorithm.verify_sig(key, message, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprints_are_those_of_the_specification() {
        // The key of RFC 7638 section 3.1, public half only.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let jwk = json!({"e": "AQAB", "kty": "RSA", "n": n});
        assert_eq!(
            URL_SAFE_NO_PAD.encode(Sha256::digest(jwk.to_string().as_bytes())),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn every_algorithm_signs_and_tells_a_change() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
            let der = generate(algorithm).unwrap();
            let key = SigningKey::from_pkcs8(algorithm, &der).unwrap();
            let mut signature = key.sign(b"message").unwrap();
            assert!(key.verifies(b"message", &signature), "{algorithm:?}");
            assert!(!key.verifies(b"massage", &signature), "{algorithm:?}");
            signature[7] ^= 1;
            assert!(!key.verifies(b"message", &signature), "{algorithm:?}");
            assert!(!key.verifies(b"message", &[0; 64]), "{algorithm:?}");
        }
    }
}
