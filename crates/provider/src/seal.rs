//! State that travels through the browser: sealed, purpose-bound, never stored.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;

/// Length of the secret that the keys are derived from.
pub(crate) const SECRET_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 12;
/// Longest text that is opened at all.
pub(crate) const MAX_SEALED: usize = 12 * 1024;

/// One AEAD key and one MAC key.
pub(crate) struct Sealer {
    aead: RandomizedNonceKey,
    mac: hmac::Key,
}

impl Sealer {
    /// Derives the keys from a stored secret; `None` when it is no such secret.
    pub(crate) fn new(secret: &[u8]) -> Option<Self> {
        if secret.len() != SECRET_LENGTH {
            return None;
        }
        let base = hkdf::Salt::new(hkdf::HKDF_SHA256, b"sidegate provider").extract(secret);
        let derive = |purpose: &[u8]| {
            let mut key = [0_u8; 32];
            base.expand(&[purpose], hkdf::HKDF_SHA256)
                .ok()?
                .fill(&mut key)
                .ok()?;
            Some(key)
        };
        Some(Self {
            aead: RandomizedNonceKey::new(&AES_256_GCM, &derive(b"seal")?).ok()?,
            mac: hmac::Key::new(hmac::HMAC_SHA256, &derive(b"mac")?),
        })
    }

    /// Seals `value` for `purpose`; the result is safe in a URL.
    pub(crate) fn seal<T: Serialize>(&self, purpose: &str, value: &T) -> Option<String> {
        let mut data = serde_json::to_vec(value).ok()?;
        let nonce = self
            .aead
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut data)
            .ok()?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&data);
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what [`Self::seal`] made for the same purpose; `None` for anything else.
    pub(crate) fn open<T: DeserializeOwned>(&self, purpose: &str, sealed: &str) -> Option<T> {
        if sealed.len() > MAX_SEALED {
            return None;
        }
        let mut data = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, data) = data.split_at_mut_checked(NONCE_LENGTH)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self
            .aead
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), data)
            .ok()?;
        serde_json::from_slice(plain).ok()
    }

    /// A keyed digest of `text` for `purpose`, in base64url.
    pub(crate) fn mac(&self, purpose: &str, text: &str) -> String {
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        context.update(text.as_bytes());
        URL_SAFE_NO_PAD.encode(context.sign())
    }

    /// Compares without telling where the texts differ.
    #[expect(
        clippy::unused_self,
        reason = "reads as a question to the owner of the key"
    )]
    pub(crate) fn same(&self, ours: &str, theirs: &str) -> bool {
        ours.as_bytes().ct_eq(theirs.as_bytes()).into()
    }
}

/// `N` random bytes in base64url; `None` when the system has none.
pub(crate) fn random_token<const N: usize>() -> Option<String> {
    let mut bytes = [0_u8; N];
    rand::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// A random number below `limit`, which is at most 256, all equally likely.
pub(crate) fn random_below(limit: usize) -> Option<usize> {
    let even = 256 - 256_usize.checked_rem(limit)?;
    loop {
        let mut bytes = [0_u8; 1];
        rand::fill(&mut bytes).ok()?;
        let [byte] = bytes;
        if usize::from(byte) < even {
            return usize::from(byte).checked_rem(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_values_open_for_their_purpose_only() {
        let sealer = Sealer::new(&[7; SECRET_LENGTH]).unwrap();
        let sealed = sealer.seal("login", &vec!["a", "b"]).unwrap();
        let open = |purpose, text: &str| sealer.open::<Vec<String>>(purpose, text);
        assert_eq!(open("login", &sealed).unwrap(), ["a", "b"]);
        assert!(open("approval", &sealed).is_none());
        for position in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(open("login", &changed).is_none(), "position {position}");
        }
        for text in ["", "AAAA", "not base64!", &"A".repeat(MAX_SEALED + 1)] {
            assert!(open("login", text).is_none(), "{text}");
        }
        let other = Sealer::new(&[8; SECRET_LENGTH]).unwrap();
        assert!(other.open::<Vec<String>>("login", &sealed).is_none());
        assert!(Sealer::new(&[1, 2, 3]).is_none());
    }
}
