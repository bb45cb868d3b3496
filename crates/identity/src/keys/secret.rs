//! What an API key looks like: `sgk_`, 256 random bits and a checksum, in
//! lower-case base32 (RFC 4648 §6), so that it is one word for a double click,
//! scanners for leaked secrets know it by its form, and a mistyped one costs no
//! look-up.

use secret::Secret;
use sha2::{Digest as _, Sha256};

use crate::random::{NoRandomness, random};

/// What every key begins with.
pub(crate) const PREFIX: &str = policy::KEY_PREFIX;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// 256 bits.
const BODY: usize = 52;

/// 40 bits.
const CHECKSUM: usize = 8;

/// SHA-256 of a key: what is stored.
pub(super) type Digest = [u8; 32];

/// A new key.
pub(super) fn new() -> Result<Secret, NoRandomness> {
    let mut text = PREFIX.to_owned();
    base32(&random::<32>()?, &mut text);
    let checksum = checksum(&text);
    text.push_str(&checksum);
    Ok(Secret::new(text))
}

/// The digest of what may be a key; `None` for what is none.
pub(super) fn digest(text: &str) -> Option<Digest> {
    if text.len() != PREFIX.len() + BODY + CHECKSUM || !text.starts_with(PREFIX) {
        return None;
    }
    let (body, sum) = text.split_at_checked(PREFIX.len() + BODY)?;
    (checksum(body) == sum).then(|| Sha256::digest(text).into())
}

fn checksum(body: &str) -> String {
    let digest = Sha256::digest(body);
    let mut text = String::with_capacity(CHECKSUM);
    base32(digest.get(..5).unwrap_or_default(), &mut text);
    text
}

/// Without padding; the last character has zeros at its end where bits are missing.
pub(super) fn base32(bytes: &[u8], text: &mut String) {
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(held >> bits, text);
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        push(held << (5 - bits), text);
    }
}

fn push(value: u32, text: &mut String) {
    let at = usize::try_from(value & 31).unwrap_or_default();
    if let Some(letter) = ALPHABET.get(at) {
        text.push(char::from(*letter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_rfc_4648_says() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("foob", "mzxw6yq"),
            ("fooba", "mzxw6ytb"),
            ("foobar", "mzxw6ytboi"),
        ] {
            let mut text = String::new();
            base32(bytes.as_bytes(), &mut text);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_mistyped_key_is_none() {
        let key = new().unwrap();
        let key = key.expose();
        assert_eq!(key.len(), 64);
        assert!(digest(key).is_some());
        assert_ne!(new().unwrap().expose(), key);
        for at in 0..key.len() {
            let mut changed = key.as_bytes().to_vec();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(digest(&changed), None, "{at}");
        }
        for other in [
            "",
            "sgk_",
            key.get(1..).unwrap(),
            key.get(..63).unwrap(),
            &format!("{key}a"),
            &key.to_uppercase(),
        ] {
            assert_eq!(digest(other), None, "{other}");
        }
    }
}
