//! The signing key: RSA 2048, made once and kept, published as a JWK set.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, VerificationAlgorithm as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// Longest token that is looked at.
const MAX_TOKEN: usize = 16 * 1024;

/// What a token is for, in its `typ` header, so that one kind is never taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Id,
    /// RFC 9068 section 2.1.
    Access,
}

impl TokenKind {
    fn typ(self) -> &'static str {
        match self {
            Self::Id => "JWT",
            Self::Access => "at+jwt",
        }
    }
}

pub(crate) struct SigningKey {
    pair: KeyPair,
    kid: String,
    jwks: String,
}

impl SigningKey {
    /// A new private key in PKCS #8.
    pub(crate) fn generate() -> Option<Vec<u8>> {
        let pair = KeyPair::generate(KeySize::Rsa2048).ok()?;
        let der: Pkcs8V1Der<'_> = pair.as_der().ok()?;
        Some(der.as_ref().to_vec())
    }

    pub(crate) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let pair = KeyPair::from_pkcs8(der).ok()?;
        let (modulus, exponent) = public_numbers(pair.public_key().as_ref())?;
        let (n, e) = (
            URL_SAFE_NO_PAD.encode(modulus),
            URL_SAFE_NO_PAD.encode(exponent),
        );
        // RFC 7638: the required members in lexical order.
        let thumbprint = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(thumbprint.as_bytes()));
        let jwks = serde_json::json!({
            "keys": [{"use": "sig", "kty": "RSA", "kid": kid, "alg": "RS256", "n": n, "e": e}]
        })
        .to_string();
        Some(Self { pair, kid, jwks })
    }

    /// The JWK set (RFC 7517 section 5).
    pub(crate) fn jwks(&self) -> &str {
        &self.jwks
    }

    /// A JWT of `claims`; `None` when signing fails.
    pub(crate) fn sign<T: Serialize>(&self, kind: TokenKind, claims: &T) -> Option<String> {
        let header = serde_json::json!({"alg": "RS256", "kid": self.kid, "typ": kind.typ()});
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).ok()?));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                token.as_bytes(),
                &mut signature,
            )
            .ok()?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Some(token)
    }

    /// The claims of a token that this key signed as `kind`. Times are not looked at.
    pub(crate) fn verify<T: DeserializeOwned>(&self, kind: TokenKind, token: &str) -> Option<T> {
        #[derive(serde::Deserialize)]
        struct Header {
            alg: String,
            kid: String,
            typ: String,
        }
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        RSA_PKCS1_2048_8192_SHA256
            .verify_sig(
                self.pair.public_key().as_ref(),
                signed.as_bytes(),
                &signature,
            )
            .ok()?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header.alg != "RS256" || header.kid != self.kid || header.typ != kind.typ() {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

/// Modulus and exponent, big-endian without leading zeros, of an `RSAPublicKey` in DER
/// (RFC 8017 appendix A.1.1).
fn public_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = element(der, 0x30)?;
    let (modulus, rest) = element(sequence, 0x02)?;
    let (exponent, _) = element(rest, 0x02)?;
    let trim = |number: &'_ [u8]| number.iter().take_while(|byte| **byte == 0).count();
    Some((
        modulus.get(trim(modulus)..)?,
        exponent.get(trim(exponent)..)?,
    ))
}

/// The content of the DER element with `tag` at the start, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        let length = digits
            .iter()
            .fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        (length, rest)
    };
    if found != tag {
        return None;
    }
    rest.split_at_checked(length)
}
