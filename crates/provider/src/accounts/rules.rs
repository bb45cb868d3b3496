//! Which passwords may be set (NIST SP 800-63B-4 section 3.1.1, OWASP ASVS 5.0 section 6.2): long
//! ones that nobody tries first, of whatever letters.

use secret::Secret;

/// Letters that a password has at least.
pub(crate) const MIN_LETTERS: usize = 12;
/// Bytes that it has at most.
pub(crate) const MAX_BYTES: usize = 1024;
/// How many letters have to be left of a password when what everybody tries is taken away.
const OWN_LETTERS: usize = 8;

/// What people choose most, whatever they put behind it: the top of published lists, without
/// those that the other rules find.
const COMMON: &str = include_str!("common.txt");
/// Rows of keyboards, and what is learnt in order.
const ROWS: [&str; 7] = [
    "1234567890123456789012345678901234567890",
    "0987654321098765432109876543210987654321",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "zyxwvutsrqponmlkjihgfedcbazyxwvutsrqponmlkjihgfedcba",
    "qwertyuiopasdfghjklzxcvbnmqwertyuiop1234567890",
    "qwertzuiopasdfghjklyxcvbnmqwertzuiop1234567890",
    "1q2w3e4r5t6y7u8i9o0p1q2w3e4r5t6y7u8i9o0p1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol",
];

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Below twelve letters.
    #[error("the password is too short: expected at least {MIN_LETTERS} letters")]
    Short,
    /// Above a kibibyte.
    #[error("the password is too long: expected at most {MAX_BYTES} bytes")]
    Long,
    /// One of those that are tried first.
    #[error("the password is one of those that are tried first: expected one that is not common")]
    Common,
    /// The name of the account with a little more.
    #[error("the password is little more than the name of the account")]
    Account,
}

/// Whether `password` may be set for the user with `email`.
pub(crate) fn check(password: &Secret, email: &str) -> Result<(), WeakPassword> {
    let text = password.expose();
    if text.chars().count() < MIN_LETTERS {
        return Err(WeakPassword::Short);
    }
    if text.len() > MAX_BYTES {
        return Err(WeakPassword::Long);
    }
    let lower = text.to_lowercase();
    let email = email.to_lowercase();
    let (local, domain) = email.split_once('@').unwrap_or((&email, ""));
    let names = local
        .split(['.', '+', '-', '_'])
        .chain(domain.split('.').next())
        .chain([email.as_str(), local, domain]);
    let mut names: Vec<&str> = names.filter(|name| name.chars().count() >= 4).collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let without = |words: &[&str]| {
        let mut rest = lower.clone();
        for word in words {
            rest = rest.replace(word, "");
        }
        rest
    };
    if is_little(&without(&names)) {
        return Err(WeakPassword::Account);
    }
    let mut words: Vec<&str> = COMMON.split_whitespace().collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let ordinary = [&lower, &unleeted(&lower)].into_iter().any(|text| {
        let mut rest = text.clone();
        for word in &words {
            rest = rest.replace(word, "");
        }
        is_little(&rest)
    });
    if ordinary || is_row(&lower) || is_repetition(&lower) {
        return Err(WeakPassword::Common);
    }
    Ok(())
}

/// Whether what is left has few letters of its own: digits and signs at the end count little.
fn is_little(rest: &str) -> bool {
    let own = rest.chars().filter(|c| c.is_alphabetic()).count();
    let other = rest.chars().count() - own;
    own + other / 2 < OWN_LETTERS && rest.chars().count() < MIN_LETTERS
}

/// Letters in the place of the digits and signs that are written for them.
fn unleeted(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '0' => 'o',
            '1' | '!' => 'i',
            '3' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            '7' => 't',
            other => other,
        })
        .collect()
}

fn is_row(text: &str) -> bool {
    ROWS.iter().any(|row| {
        let (start, rest) = text.split_at_checked(MIN_LETTERS).unwrap_or((text, ""));
        row.contains(start) && (rest.chars().count() < OWN_LETTERS || row.contains(text))
    })
}

/// Whether a few letters are written again and again.
fn is_repetition(text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    (1..OWN_LETTERS).any(|period| {
        letters
            .iter()
            .zip(letters.iter().skip(period))
            .all(|(a, b)| a == b)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_that_are_tried_first_are_refused() {
        let long = "é".repeat(400) + &"abc def ghi ".repeat(18);
        for (password, expected) in [
            ("correct horse battery", Ok(())),
            ("zwölf Buchstaben", Ok(())),
            ("비밀번호는 열두 글자보다 깁니다", Ok(())),
            ("                         x", Ok(())),
            ("tr0ub4dor and three", Ok(())),
            ("password manager made this", Ok(())),
            (long.as_str(), Ok(())),
            ("short", Err(WeakPassword::Short)),
            ("elevenchars", Err(WeakPassword::Short)),
            ("비밀번호", Err(WeakPassword::Short)),
            ("password1234", Err(WeakPassword::Common)),
            ("P@ssw0rd2026!", Err(WeakPassword::Common)),
            ("passwordpassword", Err(WeakPassword::Common)),
            ("iloveyou1234", Err(WeakPassword::Common)),
            ("Welcome12345!", Err(WeakPassword::Common)),
            ("123456789012", Err(WeakPassword::Common)),
            ("qwertyuiopas", Err(WeakPassword::Common)),
            ("1qaz2wsx3edc", Err(WeakPassword::Common)),
            ("aaaaaaaaaaaaa", Err(WeakPassword::Common)),
            ("abcabcabcabcabc", Err(WeakPassword::Common)),
            ("changeme123!", Err(WeakPassword::Common)),
            ("user.name@example.com", Err(WeakPassword::Account)),
            ("User.Name2026!", Err(WeakPassword::Account)),
            ("example-user-1", Err(WeakPassword::Account)),
        ] {
            let found = check(&Secret::new(password), "User.Name@example.com");
            assert_eq!(found, expected, "{password}");
        }
        let most = Secret::new("x1y2".repeat(300));
        assert_eq!(check(&most, "a@b"), Err(WeakPassword::Long));
    }
}
