//! Passes: a person's session as a short-lived signed token in a cookie, which
//! Envoy's `jwt_authn` verifies by itself, without asking.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue, header};
use policy::{Person, Reply};

/// The cookie.
pub const PASS_COOKIE: &str = "sidegate_pass";
/// `iss` of a pass.
pub const PASS_ISSUER: &str = "sidegate.dev/pass";
/// `scope` of a pass: what a session opens on the platform.
pub const PASS_SCOPE: &str = "platform";

/// What signs passes, and how long they count.
pub struct Passes {
    /// The first signs.
    keys: ArcSwap<Vec<Signing>>,
    seconds: u64,
}

/// A key, and what it is called.
struct Signing {
    pair: EcdsaKeyPair,
    kid: String,
}

/// No keys for passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected private keys of P-256 in PKCS #8")]
pub struct BadPassKey;

impl std::fmt::Debug for Passes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Passes({} s)", self.seconds)
    }
}

impl Passes {
    /// Signs with the first of some keys, each as PKCS #8, for so many seconds.
    ///
    /// # Errors
    /// There is none, or one is no such key.
    pub fn new<K: AsRef<[u8]>>(keys: &[K], seconds: u64) -> Result<Self, BadPassKey> {
        Ok(Self {
            keys: ArcSwap::from_pointee(signing(keys)?),
            seconds,
        })
    }

    /// Has other keys from now on.
    ///
    /// # Errors
    /// As for [`Self::new`]; those of before stay.
    pub fn use_keys<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<(), BadPassKey> {
        self.keys.store(Arc::new(signing(keys)?));
        Ok(())
    }

    /// The key set that verifies passes of any of them (RFC 7517).
    ///
    /// # Errors
    /// A key has no public half.
    pub fn key_set(&self) -> Result<String, BadPassKey> {
        let keys = self.keys.load();
        let keys: Result<Vec<String>, BadPassKey> = keys.iter().map(Signing::public).collect();
        Ok(format!(r#"{{"keys":[{}]}}"#, keys?.join(",")))
    }

    /// The cookie of a person's pass.
    pub(crate) fn cookie(
        &self,
        person: &Person,
        now: u64,
        secure: bool,
    ) -> Option<(HeaderName, HeaderValue)> {
        let quoted = |text: &str| {
            let text: String = text
                .chars()
                .flat_map(|c| match c {
                    '"' | '\\' => vec!['\\', c],
                    c => vec![c],
                })
                .collect();
            format!("\"{text}\"")
        };
        let claims = format!(
            r#"{{"iss":"{PASS_ISSUER}","scope":"{PASS_SCOPE}","sub":{},"groups":{},"iat":{now},"exp":{}}}"#,
            quoted(&person.email),
            quoted(&person.groups.join(",")),
            now.saturating_add(self.seconds)
        );
        let keys = self.keys.load();
        let key = keys.first()?;
        let head = format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{}"}}"#, key.kid);
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(head),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = key
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .ok()?;
        let value = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        cookie(&value, self.seconds, secure)
    }
}

impl Signing {
    fn of(pkcs8: &[u8]) -> Result<Self, BadPassKey> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
            .map_err(|_| BadPassKey)?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, point(&pair));
        let kid = digest.as_ref().first_chunk::<9>().ok_or(BadPassKey)?;
        let kid = URL_SAFE_NO_PAD.encode(kid);
        Ok(Self { pair, kid })
    }

    fn public(&self) -> Result<String, BadPassKey> {
        // SEC 1 §2.3.3, uncompressed.
        let (x, y) = match point(&self.pair) {
            [4, rest @ ..] => rest.split_at_checked(32).ok_or(BadPassKey)?,
            _ => return Err(BadPassKey),
        };
        let text = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        Ok(format!(
            r#"{{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"{}","x":"{}","y":"{}"}}"#,
            self.kid,
            text(x),
            text(y)
        ))
    }
}

fn signing<K: AsRef<[u8]>>(keys: &[K]) -> Result<Vec<Signing>, BadPassKey> {
    if keys.is_empty() {
        return Err(BadPassKey);
    }
    keys.iter().map(|key| Signing::of(key.as_ref())).collect()
}

/// Has browsers forget a pass: with an answer of the login's that ends the session.
pub(crate) fn forget(reply: &mut Reply, secure: bool) {
    reply.headers.extend(cookie("", 0, secure));
}

fn cookie(value: &str, seconds: u64, secure: bool) -> Option<(HeaderName, HeaderValue)> {
    let secure = if secure { "; Secure" } else { "" };
    let text =
        format!("{PASS_COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    // Browsers keep no longer ones.
    let value = HeaderValue::try_from(text).ok().filter(|v| v.len() <= 4096);
    Some((header::SET_COOKIE, value?))
}

fn point(pair: &EcdsaKeyPair) -> &[u8] {
    pair.public_key().as_ref()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    fn made() -> Vec<u8> {
        let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        made.to_pkcs8v1().unwrap().as_ref().to_vec()
    }

    fn passes() -> Passes {
        Passes::new(&[made()], 60).unwrap()
    }

    fn person(email: &str) -> Person {
        Person {
            email: email.into(),
            subject: "1".into(),
            groups: ["a".into(), "b".into()].into(),
        }
    }

    #[test]
    fn a_pass_is_a_token_that_its_key_set_verifies() {
        let passes = passes();
        let (name, value) = passes.cookie(&person("a\"b\\@c"), 100, true).unwrap();
        assert_eq!(name, header::SET_COOKIE);
        let text = value.to_str().unwrap();
        assert!(text.ends_with("; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"));
        let token = text.strip_prefix("sidegate_pass=").unwrap();
        let token = token.split(';').next().unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let claims = signed.split('.').nth(1).unwrap();
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(
            claims,
            r#"{"iss":"sidegate.dev/pass","scope":"platform","sub":"a\"b\\@c","groups":"a,b","iat":100,"exp":160}"#
        );
        let keys = passes.keys.load();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(&keys[0].pair));
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        key.verify(signed.as_bytes(), &signature).unwrap();
        assert!(passes.key_set().unwrap().contains(&keys[0].kid));
    }

    #[test]
    fn the_first_key_signs_and_all_are_published() {
        let (old, new) = (made(), made());
        let passes = Passes::new(&[old.clone(), new.clone()], 60).unwrap();
        let signed_by = || {
            let (_, value) = passes.cookie(&person("a@b.c"), 100, true).unwrap();
            let head = value.to_str().unwrap().split(['=', '.']).nth(1).unwrap();
            let head = String::from_utf8(URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
            let (_, kid) = head.split_once("\"kid\":\"").unwrap();
            kid.trim_end_matches("\"}").to_owned()
        };
        let before = signed_by();
        let published = passes.key_set().unwrap();
        assert_eq!(published.matches("\"kid\"").count(), 2);
        assert_eq!(passes.use_keys::<&[u8]>(&[]), Err(BadPassKey));
        assert_eq!(passes.use_keys(&[b"no key"]), Err(BadPassKey));
        assert_eq!(signed_by(), before, "those of before stay");
        passes.use_keys(&[new, old]).unwrap();
        let after = signed_by();
        assert_ne!(after, before);
        assert!(published.contains(&after) && published.contains(&before));
    }

    #[test]
    fn a_pass_that_browsers_would_not_keep_is_not_given() {
        let long = Person {
            groups: (0..500).map(|n| format!("group-{n}").into()).collect(),
            ..person("a@b.c")
        };
        assert!(passes().cookie(&long, 1, false).is_none());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(Passes::new(&[b""], 1).err(), Some(BadPassKey));
        assert_eq!(Passes::new(&[[7; 100]], 1).err(), Some(BadPassKey));
        assert_eq!(Passes::new::<&[u8]>(&[], 1).err(), Some(BadPassKey));
    }
}
