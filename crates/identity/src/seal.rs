//! Authenticated encryption of what travels through browsers, and values
//! derived from it.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::random::NoRandomness;

const NONCE_LEN: usize = 12;

/// Seals with AES-256-GCM-SIV (strangers cause seals without end, random
/// 96-bit nonces of plain GCM would run out) and derives with HMAC-SHA256, under keys of one
/// master key and one purpose.
#[derive(Debug)]
pub(crate) struct Sealer {
    aead: RandomizedNonceKey,
    derive: hmac::Key,
}

impl Sealer {
    pub(crate) fn new(master: &[u8; 32], purpose: &str) -> Result<Self, NoRandomness> {
        let master = hmac::Key::new(hmac::HMAC_SHA256, master);
        let subkey = |label: &str| {
            let mut context = hmac::Context::with_key(&master);
            context.update(label.as_bytes());
            context.update(&[0]);
            context.update(purpose.as_bytes());
            context.sign()
        };
        let aead = RandomizedNonceKey::new(&AES_256_GCM_SIV, subkey("seal").as_ref())
            .map_err(|_| NoRandomness)?;
        let derive = hmac::Key::new(hmac::HMAC_SHA256, subkey("derive").as_ref());
        Ok(Self { aead, derive })
    }

    /// base64url of nonce, ciphertext and tag.
    pub(crate) fn seal(&self, what: &str, plain: &[u8]) -> Result<String, NoRandomness> {
        let mut sealed = plain.to_vec();
        let nonce = self
            .aead
            .seal_in_place_append_tag(Aad::from(what.as_bytes()), &mut sealed)
            .map_err(|_| NoRandomness)?;
        let mut bytes = Vec::with_capacity(NONCE_LEN + sealed.len());
        bytes.extend_from_slice(nonce.as_ref());
        bytes.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What was sealed, if it was sealed here, for this use, and not changed.
    pub(crate) fn open(&self, what: &str, text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .aead
            .open_in_place(nonce, Aad::from(what.as_bytes()), &mut sealed)
            .ok()?;
        Some(plain.to_vec())
    }

    /// A value that only the holder of the key can compute from `parts`.
    pub(crate) fn derive(&self, what: &str, parts: [&[u8]; 2]) -> String {
        let mut context = hmac::Context::with_key(&self.derive);
        context.update(what.as_bytes());
        for part in parts {
            context.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            context.update(part);
        }
        URL_SAFE_NO_PAD.encode(context.sign())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_use_and_text_open() {
        let sealer = Sealer::new(&[7; 32], "login").unwrap();
        let text = sealer.seal("state", b"/pipeline").unwrap();
        assert_eq!(sealer.open("state", &text).unwrap(), b"/pipeline");
        assert_eq!(sealer.open("other", &text), None);
        let other = Sealer::new(&[8; 32], "login").unwrap();
        assert_eq!(other.open("state", &text), None);
        let other = Sealer::new(&[7; 32], "elsewhere").unwrap();
        assert_eq!(other.open("state", &text), None);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(sealer.open("state", &changed), None, "byte {at}");
        }
        for short in ["", "A", "AAAA"] {
            assert_eq!(sealer.open("state", short), None);
        }
    }
}
