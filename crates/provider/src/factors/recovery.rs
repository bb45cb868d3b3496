//! Codes on paper, each of which stands in for a second factor once.

use secret::Secret;

use super::totp::base32;
use crate::seal::Sealer;
use crate::user::UserRef;

const CODES: usize = 10;
/// 120 bits, in base 32: from 112 on a digest may be kept as any is, and below only as one of passwords (OWASP ASVS
/// 6.5.2).
const BYTES: usize = 15;
/// How many letters stand together.
const GROUP: usize = 6;
/// More letters than any code has, with what people type in between. Those of before had ten letters, and count.
const MAX_TYPED: usize = 96;

/// As many as a person gets at a time; `None` when the system has no random bytes.
pub(super) fn new_codes() -> Option<Vec<Secret>> {
    (0..CODES)
        .map(|_| {
            let mut bytes = [0_u8; BYTES];
            aws_lc_rs::rand::fill(&mut bytes).ok()?;
            let text = base32(&bytes).to_ascii_lowercase();
            let groups: Vec<&str> = text
                .as_bytes()
                .chunks(GROUP)
                .filter_map(|group| std::str::from_utf8(group).ok())
                .collect();
            Some(Secret::new(groups.join("-")))
        })
        .collect()
}

/// What is kept of a code, as typed in whatever case and with whatever between. The key of the
/// digest is not in it, and the code has too many bits to be tried through.
pub(super) fn digest(sealer: &Sealer, user: &UserRef, code: &str) -> String {
    let plain: String = code
        .chars()
        .take(MAX_TYPED)
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    sealer.mac(
        "recovery",
        &format!("{}\0{}\0{plain}", user.connector, user.user_id),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_many_different_and_typed_in_many_ways() {
        let codes = new_codes().unwrap();
        let mut texts: Vec<&str> = codes.iter().map(Secret::expose).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), CODES);
        let sealer = Sealer::new(&[7; crate::seal::SECRET_LENGTH]).unwrap();
        let user = |id: &str| UserRef {
            user_id: id.to_owned(),
            connector: "local".to_owned(),
            epoch: 0,
        };
        for code in texts {
            let groups: Vec<&str> = code.split('-').collect();
            assert!(
                groups.len() == 4 && groups.iter().all(|group| group.len() == GROUP),
                "{code}"
            );
            let letters = code.chars().filter(char::is_ascii_alphanumeric).count();
            assert!(letters * 5 >= 112, "bits of {code}");
            let typed = format!(" {} ", code.to_uppercase().replace('-', " "));
            let kept = digest(&sealer, &user("1"), code);
            assert_eq!(kept, digest(&sealer, &user("1"), &typed));
            assert_ne!(kept, digest(&sealer, &user("2"), code));
        }
    }
}
