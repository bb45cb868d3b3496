//! Public keys of authenticators (RFC 9052, RFC 9053, RFC 8230) and signatures by them.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use super::cbor::{self, Item};

/// Algorithms that are offered, the preferred first: ES256, EdDSA, RS256.
pub(super) const ALGORITHMS: [i64; 3] = [ES256, EDDSA, RS256];
const ES256: i64 = -7;
const EDDSA: i64 = -8;
const RS256: i64 = -257;

// Labels of RFC 9052 section 7.1 and RFC 9053 section 7.
const KEY_TYPE: i64 = 1;
const ALGORITHM: i64 = 3;
const CURVE: i64 = -1;
const X: i64 = -2;
const Y: i64 = -3;
// RFC 8230 section 4.
const MODULUS: i64 = -1;
const EXPONENT: i64 = -2;

const OKP: i64 = 1;
const EC2: i64 = 2;
const RSA: i64 = 3;
const P256: i64 = 1;
const ED25519_CURVE: i64 = 6;

/// A key of a kind that is offered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PublicKey<'b> {
    Es256 { x: &'b [u8], y: &'b [u8] },
    EdDsa { x: &'b [u8] },
    Rs256 { n: &'b [u8], e: &'b [u8] },
}

impl<'b> PublicKey<'b> {
    /// Reads a COSE key, and what is behind it.
    pub(super) fn read(bytes: &'b [u8]) -> Option<(Self, &'b [u8])> {
        let (map, rest) = cbor::read(bytes)?;
        Some((Self::of(&map)?, rest))
    }

    fn of(map: &Item<'b>) -> Option<Self> {
        let int = |label| map.at(label).and_then(Item::int);
        let bytes = |label| map.at(label).and_then(Item::bytes);
        match (int(KEY_TYPE)?, int(ALGORITHM)?) {
            (EC2, ES256) if int(CURVE) == Some(P256) => {
                let (x, y) = (bytes(X)?, bytes(Y)?);
                (x.len() == 32 && y.len() == 32).then_some(Self::Es256 { x, y })
            }
            (OKP, EDDSA) if int(CURVE) == Some(ED25519_CURVE) => {
                let x = bytes(X)?;
                (x.len() == 32).then_some(Self::EdDsa { x })
            }
            (RSA, RS256) => {
                let (n, e) = (bytes(MODULUS)?, bytes(EXPONENT)?);
                let fits = (256..=1024).contains(&n.len()) && (1..=8).contains(&e.len());
                fits.then_some(Self::Rs256 { n, e })
            }
            _ => None,
        }
    }

    /// Whether `signature` over `message` is by this key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Es256 { x, y } => {
                // The uncompressed point (SEC 1 section 2.3.3).
                let point = [&[4], *x, *y].concat();
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
                key.verify(message, signature).is_ok()
            }
            Self::EdDsa { x } => {
                let key = UnparsedPublicKey::new(&ED25519, x);
                key.verify(message, signature).is_ok()
            }
            Self::Rs256 { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
        }
    }
}
