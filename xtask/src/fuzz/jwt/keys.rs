//! Keys of issuers, and of a stranger.

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A key pair with what is published of it.
pub(super) struct Key {
    pub(super) kid: &'static str,
    pub(super) algorithm: &'static str,
    pair: Pair,
    pub(super) jwk: Value,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Key {
    pub(super) fn all() -> Result<Vec<Self>> {
        let failed = |_| anyhow!("no key");
        let ec = |kid| -> Result<Self> {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
            let point = pair.public_key().as_ref();
            let (x, y) = point
                .get(1..)
                .and_then(|p| p.split_at_checked(32))
                .context("a point")?;
            let jwk = json!({"kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256",
                "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
            Ok(Self {
                kid,
                algorithm: "ES256",
                pair: Pair::Ec(pair),
                jwk,
            })
        };
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        let public = rsa.public_key();
        let rsa_jwk = json!({"kty": "RSA", "kid": "rsa", "alg": "RS256",
            "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero())});
        let ed = Ed25519KeyPair::generate().map_err(failed)?;
        let ed_jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA",
            "x": URL_SAFE_NO_PAD.encode(ed.public_key())});
        Ok(vec![
            ec("ec")?,
            Self {
                kid: "rsa",
                algorithm: "RS256",
                pair: Pair::Rsa(Box::new(rsa)),
                jwk: rsa_jwk,
            },
            Self {
                kid: "ed",
                algorithm: "EdDSA",
                pair: Pair::Ed(ed),
                jwk: ed_jwk,
            },
            ec("stranger")?,
        ])
    }

    pub(super) fn sign(&self, random: &SystemRandom, data: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, random, data, &mut signature);
                signed.map_or(Vec::new(), |()| signature)
            }
            Pair::Ec(pair) => {
                let signature = pair.sign(random, data);
                signature.map_or(Vec::new(), |signature| signature.as_ref().to_vec())
            }
            Pair::Ed(pair) => pair.sign(data).as_ref().to_vec(),
        }
    }

    /// What verifiers have of it, in the forms that people sign with by mistake.
    pub(super) fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let der = pair.public_key().as_der();
                der.map_or(Vec::new(), |der| der.as_ref().to_vec())
            }
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    pub(super) fn verifies(&self, data: &[u8], signature: &[u8]) -> bool {
        let by: (&dyn VerificationAlgorithm, Vec<u8>) = match &self.pair {
            Pair::Rsa(pair) => (
                &RSA_PKCS1_2048_8192_SHA256,
                pair.public_key().as_ref().to_vec(),
            ),
            Pair::Ec(_) => (&ECDSA_P256_SHA256_FIXED, self.public()),
            Pair::Ed(_) => (&ED25519, self.public()),
        };
        UnparsedPublicKey::new(by.0, by.1)
            .verify(data, signature)
            .is_ok()
    }
}
