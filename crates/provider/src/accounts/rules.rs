//! Which passwords may be set (NIST SP 800-63B-4 section 3.1.1, OWASP ASVS 5.0 section 6.2): long
//! ones that nobody tries first, of whatever letters.

use std::sync::LazyLock;

use secret::Secret;

use crate::clients::StoredClient;
use crate::config::DexConfig;

/// Letters that a password has at least.
pub(crate) const MIN_LETTERS: usize = 12;
/// Bytes that it has at most.
pub(crate) const MAX_BYTES: usize = 1024;
/// How many letters have to be left of a password when what everybody tries is taken away.
const OWN_LETTERS: usize = 8;

/// What people choose most, whatever they put behind it: the top of published lists, without
/// those that the other rules find.
const COMMON: &str = include_str!("common.txt");
/// Passwords of breaches, in order: the 4,000 most frequent ones of twelve letters and more of a
/// published list, and the 8,000 most frequent ones of eight to eleven.
const BREACHED: &str = include_str!("breached.txt");
/// The same, line by line.
static BREACHED_LINES: LazyLock<Vec<&str>> = LazyLock::new(|| BREACHED.lines().collect());
/// What this is and what it is for.
const PRODUCT: [&str; 2] = ["sidegate", "kubeflow"];
/// Shorter names are parts of too many words.
const LEAST_NAME: usize = 4;
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
    /// Names of the installation with a little more.
    #[error("the password is little more than names that everybody here knows")]
    Place,
}

/// Names that everybody who uses an installation knows: the product's, and of its configuration
/// the host of the issuer, what the pages are called, and ids and names of applications, also of those
/// that are kept in the database.
pub(crate) fn names_of(config: Option<&DexConfig>, stored: &[StoredClient]) -> Vec<String> {
    let mut texts: Vec<&str> = PRODUCT.to_vec();
    for client in stored {
        texts.extend([client.id.as_str(), client.name.as_str()]);
    }
    if let Some(config) = config {
        let (_, rest) = config.issuer.url().split_once("://").unwrap_or_default();
        texts.extend(rest.split('/').next());
        texts.extend(config.frontend.name.as_deref());
        for client in &config.clients {
            texts.extend([client.id.as_str(), client.name.as_str()]);
        }
    }
    let mut names: Vec<String> = texts
        .iter()
        .flat_map(|text| text.split(|c: char| !c.is_alphanumeric()))
        .map(str::to_lowercase)
        .filter(|name| name.chars().filter(|c| c.is_alphabetic()).count() >= LEAST_NAME)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether `password` may be set for the user with `email`, in a place with `names`.
pub(crate) fn check(password: &Secret, email: &str, names: &[String]) -> Result<(), WeakPassword> {
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
    let own = local
        .split(['.', '+', '-', '_'])
        .chain(domain.split('.').next())
        .chain([email.as_str(), local, domain]);
    let own: Vec<&str> = own
        .filter(|name| name.chars().count() >= LEAST_NAME)
        .collect();
    if is_little(&without(&lower, own.clone())) {
        return Err(WeakPassword::Account);
    }
    let spellings = [lower.clone(), unleeted(&lower)];
    let all: Vec<&str> = own
        .into_iter()
        .chain(names.iter().map(String::as_str))
        .collect();
    if spellings
        .iter()
        .any(|text| is_little(&without(text, all.clone())))
    {
        return Err(WeakPassword::Place);
    }
    let ordinary = spellings.iter().any(|text| {
        is_breached(text) || is_little(&without(text, COMMON.split_whitespace().collect()))
    });
    if ordinary || is_row(&lower) || is_repetition(&lower) {
        return Err(WeakPassword::Common);
    }
    Ok(())
}

/// What is left of `text` when `words` are taken away, the longest first.
fn without(text: &str, mut words: Vec<&str>) -> String {
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let mut rest = text.to_owned();
    for word in words {
        rest = rest.replace(word, "");
    }
    rest
}

/// Whether it is a password of a breach, also with a few digits and signs before or behind.
fn is_breached(text: &str) -> bool {
    let known = |part: &str| BREACHED_LINES.binary_search(&part).is_ok();
    let plain = |rest: &str| is_little(rest) && !rest.contains(char::is_alphabetic);
    let bare = text.trim_start_matches(|c: char| !c.is_alphabetic());
    let before = text.len().saturating_sub(bare.len());
    let trimmed = plain(text.get(..before).unwrap_or_default()).then_some(bare);
    [Some(text), trimmed].into_iter().flatten().any(|text| {
        let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
        ends.filter_map(|end| text.split_at_checked(end))
            .any(|(part, rest)| plain(rest) && known(part))
    })
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
    use crate::config::SecondFactor;

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
            ("butterfly 2026", Err(WeakPassword::Common)),
            ("!!Butterfly123", Err(WeakPassword::Common)),
            ("Unbelievable", Err(WeakPassword::Common)),
            ("unb3li3vabl3", Err(WeakPassword::Common)),
            ("unbelievable butterfly", Ok(())),
            ("Sidegate2026!", Err(WeakPassword::Place)),
            ("kubeflow-admin-1", Err(WeakPassword::Place)),
        ] {
            let found = check(
                &Secret::new(password),
                "User.Name@example.com",
                &names_of(None, &[]),
            );
            assert_eq!(found, expected, "{password}");
        }
        let most = Secret::new("x1y2".repeat(300));
        assert_eq!(check(&most, "a@b", &[]), Err(WeakPassword::Long));
    }

    #[test]
    fn three_thousand_passwords_of_breaches_are_long_enough_to_be_set() {
        assert!(BREACHED_LINES.is_sorted());
        let letters = |line: &&&str| line.chars().count();
        let whole = BREACHED_LINES
            .iter()
            .filter(|line| letters(line) >= MIN_LETTERS);
        assert_eq!(whole.clone().count(), 4000);
        assert!(
            BREACHED_LINES
                .iter()
                .all(|line| letters(&line) >= OWN_LETTERS)
        );
        assert_eq!(BREACHED_LINES.len(), 12_000);
        for line in whole {
            for password in [(*line).to_owned(), line.to_uppercase(), format!("{line}1!")] {
                let found = check(&Secret::new(password), "a@b", &[]);
                assert_eq!(found, Err(WeakPassword::Common), "{line}");
            }
        }
    }

    #[test]
    fn names_of_the_installation_are_no_passwords() {
        let yaml = "issuer: https://login.acme-works.example/dex\nenablePasswordDB: true\n\
            frontend: {issuer: Rocket Lab}\nstaticPasswords: []\nstaticClients:\n\
            - {id: ml-platform, secret: x, redirectURIs: [/cb], name: Experiment Tracker}\n";
        let (config, _) = DexConfig::parse(yaml, &|_| None).unwrap();
        let stored = StoredClient {
            id: "warehouse".to_owned(),
            name: "Grafana Panels".to_owned(),
            secret_sha256: None,
            redirect_uris: Vec::new(),
            trusted_peers: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            backchannel_logout_uri: None,
            allowed_connectors: Vec::new(),
            allowed_scopes: Vec::new(),
            grant_types: Vec::new(),
            second_factor: SecondFactor::Optional,
            pkce: None,
            prompt_none: None,
            created_at: 0,
        };
        let names = names_of(Some(&config), &[stored]);
        for word in [
            "acme",
            "works",
            "rocket",
            "platform",
            "experiment",
            "tracker",
            "warehouse",
            "grafana",
        ] {
            assert!(names.iter().any(|name| name == word), "{word}: {names:?}");
        }
        for (password, expected) in [
            ("AcmeWorks2026", Err(WeakPassword::Place)),
            ("acme-works.example", Err(WeakPassword::Place)),
            ("Rocket-Platform1", Err(WeakPassword::Place)),
            ("3xperiment Tracker", Err(WeakPassword::Place)),
            ("user-of-sidegate", Err(WeakPassword::Place)),
            ("GrafanaPanels1", Err(WeakPassword::Place)),
            ("a rocket made of old bicycles", Ok(())),
        ] {
            let found = check(&Secret::new(password), "user@mail.example", &names);
            assert_eq!(found, expected, "{password}");
        }
    }
}
