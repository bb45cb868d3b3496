//! Private keys in PEM (RFC 7468 §10).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::random::NoRandomness;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// A key's PKCS #8 as text.
pub(crate) fn write(der: &[u8]) -> String {
    let mut pem = String::from(BEGIN);
    for (at, character) in STANDARD.encode(der).chars().enumerate() {
        if at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push('\n');
    pem.push_str(END);
    pem.push('\n');
    pem
}

/// A new key of P-256.
pub(crate) fn new_p256() -> Result<Vec<u8>, NoRandomness> {
    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map(|der| write(der.as_ref()).into_bytes())
        .map_err(|_| NoRandomness)
}

/// The PKCS #8 of the only key of a text.
pub(crate) fn one(pem: &[u8]) -> Option<Vec<u8>> {
    match <[_; 1]>::try_from(all(pem)?) {
        Ok([key]) => Some(key),
        Err(_) => None,
    }
}

/// The PKCS #8 of each key of a text that holds nothing else.
pub(crate) fn all(pem: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = std::str::from_utf8(pem).ok()?.trim();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (body, behind) = rest.strip_prefix(BEGIN)?.split_once(END)?;
        let body: String = body.split_ascii_whitespace().collect();
        found.push(STANDARD.decode(body).ok()?);
        rest = behind.trim_start();
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let (first, second) = (write(&[7; 100]), write(&[9; 3]));
        assert_eq!(one(first.as_bytes()), Some(vec![7; 100]));
        let both = format!("\n{first}\n{second}");
        assert_eq!(all(both.as_bytes()), Some(vec![vec![7; 100], vec![9; 3]]));
        assert_eq!(one(both.as_bytes()), None);
        for wrong in ["x", BEGIN, &format!("{first}x"), &first.replace(END, "")] {
            assert_eq!(all(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(one(b""), None);
    }
}
