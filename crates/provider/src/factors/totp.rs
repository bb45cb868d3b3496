//! Codes of authenticator apps (RFC 6238): SHA-1, six digits, thirty seconds, as all of them expect.

use aws_lc_rs::hmac;

/// Bytes of a secret: as many as a block of SHA-1 gives (RFC 4226 section 4).
const SECRET_LENGTH: usize = 20;
const STEP_SECONDS: u64 = 30;
/// Steps before and after the current one that count: clocks of phones differ.
const WINDOW: u64 = 1;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A secret, in the base 32 that people type.
pub(super) fn new_secret() -> Option<String> {
    let mut bytes = [0_u8; SECRET_LENGTH];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(base32(&bytes))
}

/// The step of a code that fits now and was not used: one after `used`.
pub(super) fn step_of(secret: &str, code: &str, now: u64, used: u64) -> Option<u64> {
    let typed: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    if typed.len() != 6 || !typed.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let key = from_base32(secret)?;
    let current = now / STEP_SECONDS;
    let mut found = None;
    // All of them, so that the time does not tell which.
    for step in current.saturating_sub(WINDOW)..=current.saturating_add(WINDOW) {
        let fits = subtle::ConstantTimeEq::ct_eq(at(&key, step).as_bytes(), typed.as_bytes());
        if bool::from(fits) && step > used {
            found = Some(step);
        }
    }
    found
}

/// The code of a step (RFC 4226 section 5.3).
fn at(key: &[u8], step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag.last().copied().unwrap_or_default() & 0x0f);
    let word = tag
        .iter()
        .skip(offset)
        .take(4)
        .fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
    format!("{:06}", (word & 0x7fff_ffff) % 1_000_000)
}

/// What the picture for the app holds (Google Authenticator's key URI format).
pub(super) fn uri(issuer: &str, account: &str, secret: &str) -> String {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let (issuer, account) = (encode(issuer), encode(account));
    format!(
        "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period=30"
    )
}

/// RFC 4648 section 6, without padding.
pub(super) fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            let letter = usize::try_from(bits >> count & 31).unwrap_or_default();
            text.extend(ALPHABET.get(letter).copied().map(char::from));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        let letter = usize::try_from(bits << (5 - count) & 31).unwrap_or_default();
        text.extend(ALPHABET.get(letter).copied().map(char::from));
    }
    text
}

fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        bits = bits << 5 | u32::try_from(value).ok()?;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238 appendix B.
    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfc() {
        // Appendix B has eight digits; an app shows the last six.
        for (seconds, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(at(SECRET, seconds / 30), code.split_at(2).1, "{seconds}");
        }
    }

    #[test]
    fn base_32_is_that_of_the_rfc() {
        for (plain, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(plain.as_bytes()), text);
            assert_eq!(from_base32(text).unwrap(), plain.as_bytes());
        }
        assert_eq!(from_base32("m1"), None);
    }

    #[test]
    fn a_code_counts_once_and_a_step_early_or_late() {
        let secret = base32(SECRET);
        let now = 1_800_000_015_u64;
        let step = now / 30;
        for (offset, fits) in [
            (-2_i64, false),
            (-1, true),
            (0, true),
            (1, true),
            (2, false),
        ] {
            let code = at(SECRET, step.checked_add_signed(offset).unwrap());
            let found = step_of(&secret, &code, now, 0);
            assert_eq!(found.is_some(), fits, "{offset}");
        }
        let code = at(SECRET, step);
        let (first, rest) = code.split_at(3);
        let spaced = format!(" {first} {rest}");
        assert_eq!(step_of(&secret, &spaced, now, step - 1), Some(step));
        assert_eq!(step_of(&secret, &code, now, step), None, "used");
        for wrong in ["", "12345", "1234567", "12345a", "１２３４５６"] {
            assert_eq!(step_of(&secret, wrong, now, 0), None, "{wrong}");
        }
    }

    #[test]
    fn the_address_names_issuer_and_account() {
        assert_eq!(
            uri("Acme & Co", "a:b@c", "ABC"),
            "otpauth://totp/Acme%20%26%20Co:a%3Ab%40c?secret=ABC&issuer=Acme%20%26%20Co&algorithm=SHA1&digits=6&period=30"
        );
    }
}
