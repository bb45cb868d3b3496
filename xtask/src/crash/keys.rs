//! What the key sets that were answered say about each other and about the tokens that were given.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// How long a key is published in one life of the program before it signs, in seconds: what docs/provider.md promises.
const AHEAD: u64 = 2400;

/// What was seen of the keys.
#[derive(Default)]
pub(crate) struct Published {
    keys: BTreeMap<String, Known>,
    /// Of each algorithm the key that signs and the next.
    order: BTreeMap<String, [String; 2]>,
    /// When the last look was sent.
    looked: Option<u64>,
    /// When the program began that runs now.
    born: u64,
    pub(crate) rotations: u64,
    pub(crate) forgotten: u64,
    pub(crate) tokens: u64,
}

/// A key that was published.
struct Known {
    jwk: Value,
    /// It was there from the beginning: something has to sign.
    first: bool,
    /// Since when it is published without a break, at the earliest.
    since: u64,
    /// Since when it was in a life that is over, where that was for long enough.
    before: Option<u64>,
    /// When the last token ends that it signed.
    owed: u64,
    /// It is not published any more.
    gone: bool,
}

/// A key set that was answered.
pub(crate) struct Look<'a> {
    /// Not later than the answer was made, by the clock of the program.
    pub(crate) sent: u64,
    /// Not earlier.
    pub(crate) received: u64,
    pub(crate) set: &'a Value,
    /// What was given before it was sent.
    pub(crate) tokens: Vec<String>,
}

impl Published {
    /// The program was killed, not later than at `died`, and begins again, not earlier than at `born`.
    pub(crate) fn killed(&mut self, died: u64, born: u64) {
        for known in self.keys.values_mut() {
            if died >= known.since + AHEAD {
                known.before.get_or_insert(known.since);
            }
            known.since = born;
        }
        self.born = born;
    }

    /// Takes another look into account. An error if it cannot be, after those before.
    pub(crate) fn add(&mut self, look: Look<'_>) -> Result<()> {
        let keys = look.set.get("keys").and_then(Value::as_array);
        let keys = keys.context("a key set without `keys`")?;
        let mut order: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut there = BTreeSet::new();
        for jwk in keys {
            let (id, algorithm) = (text(jwk, "kid")?, text(jwk, "alg")?);
            ensure!(there.insert(id.to_owned()), "two keys are called {id}");
            let of_algorithm = order.entry(algorithm.to_owned()).or_default();
            of_algorithm.push(id.to_owned());
            self.published(id, jwk)?;
        }
        for (id, known) in &mut self.keys {
            if there.contains(id) || known.gone {
                continue;
            }
            ensure!(
                known.owed <= look.received,
                "key {id} is gone {} s before a token that it signed ends",
                known.owed - look.received
            );
            known.gone = true;
            self.forgotten += 1;
        }
        for (algorithm, ids) in order {
            let [current, next, ..] = ids.as_slice() else {
                bail!("{algorithm}: {ids:?}: expected a key that signs and the next");
            };
            self.handed_over(algorithm, [current.clone(), next.clone()])?;
        }
        for token in look.tokens {
            self.verify(&token, look.received)?;
        }
        self.looked = Some(look.sent);
        Ok(())
    }

    fn published(&mut self, id: &str, jwk: &Value) -> Result<()> {
        match self.keys.entry(id.to_owned()) {
            Entry::Occupied(known) => {
                ensure!(
                    known.get().jwk == *jwk,
                    "two different keys are called {id}"
                );
                ensure!(!known.get().gone, "key {id} was gone and is back");
            }
            Entry::Vacant(place) => {
                place.insert(Known {
                    jwk: jwk.clone(),
                    first: self.looked.is_none(),
                    since: self.looked.unwrap_or_default().max(self.born),
                    before: None,
                    owed: 0,
                    gone: false,
                });
            }
        }
        Ok(())
    }

    fn handed_over(&mut self, algorithm: String, now: [String; 2]) -> Result<()> {
        if let Some(before) = self.order.get(&algorithm)
            && *before != now
        {
            let [_, next] = before;
            let [current, after] = &now;
            ensure!(
                current == next && !before.contains(after),
                "{algorithm}: after {before:?} comes {now:?}"
            );
            self.rotations += 1;
        }
        self.order.insert(algorithm, now);
        Ok(())
    }

    /// Whether a token is of a key that is published, and was for long enough when it signed.
    fn verify(&mut self, token: &str, now: u64) -> Result<()> {
        let part = |index: usize| -> Result<Value> {
            let part = token.split('.').nth(index).context("a token in parts")?;
            Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
        };
        let (header, claims) = (part(0)?, part(1)?);
        let time = |name: &str| claims.get(name).and_then(Value::as_u64);
        let (from, until) = time("iat").zip(time("exp")).context("a token with times")?;
        if until <= now {
            return Ok(());
        }
        let id = text(&header, "kid")?;
        let known = self.keys.get_mut(id).filter(|known| !known.gone);
        let known =
            known.with_context(|| format!("a token of key {id}, which is not published"))?;
        ensure!(
            verifies(&known.jwk, token)?,
            "a token that key {id} has not signed"
        );
        let long = |since: u64| from >= since + AHEAD;
        ensure!(
            known.first || long(known.since) || known.before.is_some_and(long),
            "key {id} signs at {from}, and is published since {}",
            known.since
        );
        known.owed = known.owed.max(until);
        self.tokens += 1;
        Ok(())
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    let found = value.get(name).and_then(Value::as_str);
    found.with_context(|| format!("no `{name}` in {value}"))
}

fn verifies(jwk: &Value, token: &str) -> Result<bool> {
    let (signed, signature) = token.rsplit_once('.').context("a token in parts")?;
    let signature = URL_SAFE_NO_PAD.decode(signature)?;
    let number = |name: &str| -> Result<Vec<u8>> { Ok(URL_SAFE_NO_PAD.decode(text(jwk, name)?)?) };
    let verified = match text(jwk, "alg")? {
        "RS256" => RsaPublicKeyComponents {
            n: number("n")?,
            e: number("e")?,
        }
        .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature),
        "ES256" => {
            let point = [vec![4], number("x")?, number("y")?].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(signed.as_bytes(), &signature)
        }
        other => bail!("a key for {other}: expected RS256 or ES256"),
    };
    Ok(verified.is_ok())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    struct Key(EcdsaKeyPair, &'static str);

    impl Key {
        fn new(id: &'static str) -> Self {
            Self(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
                id,
            )
        }

        fn jwk(&self) -> Value {
            let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
            let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
            json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.1, "x": x, "y": y})
        }

        fn token(&self, from: u64) -> String {
            let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let header = encode(json!({"alg": "ES256", "kid": self.1}));
            let claims = encode(json!({"iat": from, "exp": from + 3600}));
            let signed = format!("{header}.{claims}");
            let random = SystemRandom::new();
            let signature = self.0.sign(&random, signed.as_bytes()).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
    }

    fn look(
        seen: &mut Published,
        at: u64,
        keys: &[&Key],
        tokens: Vec<String>,
    ) -> Result<(), String> {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        let look = Look {
            sent: at,
            received: at,
            set: &json!({ "keys": keys }),
            tokens,
        };
        seen.add(look).map_err(|error| error.to_string())
    }

    #[test]
    fn rotations_as_they_should_be_are_no_error() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(Key::new);
        let mut seen = Published::default();
        look(&mut seen, 1000, &[&a, &b], vec![a.token(1000)]).unwrap();
        look(&mut seen, 3400, &[&b, &c, &a], vec![b.token(3400)]).unwrap();
        // Only a token that had ended when it was looked at.
        look(
            &mut seen,
            5800,
            &[&c, &d, &b],
            vec![c.token(5800), a.token(2200)],
        )
        .unwrap();
        assert_eq!((seen.rotations, seen.forgotten, seen.tokens), (2, 1, 3));
    }

    #[test]
    fn what_must_not_be_is_an_error() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(Key::new);
        let check = |at: u64, keys: &[&Key], tokens: Vec<String>, expected: &str| {
            let mut seen = Published::default();
            look(&mut seen, 1000, &[&a, &b], vec![a.token(1000)]).unwrap();
            let error = look(&mut seen, at, keys, tokens).unwrap_err();
            assert!(error.contains(expected), "{error}: {expected}");
        };
        check(3400, &[&c, &b, &a], vec![], "comes [\"c\", \"b\"]");
        check(3400, &[&c, &d, &a, &b], vec![], "comes [\"c\", \"d\"]");
        check(3400, &[&b, &a], vec![], "comes [\"b\", \"a\"]");
        check(3400, &[&a, &c], vec![], "comes [\"a\", \"c\"]");
        check(
            3400,
            &[&a],
            vec![],
            "expected a key that signs and the next",
        );
        check(3400, &[&a, &b, &b], vec![], "two keys are called b");
        check(3400, &[&Key::new("a"), &b], vec![], "two different keys");
        check(4500, &[&b, &c], vec![], "key a is gone 100 s before");
        check(3400, &[&b, &c, &a], vec![d.token(3400)], "d, which is not");
        check(
            3400,
            &[&b, &c, &a],
            vec![Key::new("b").token(3400)],
            "b has not signed",
        );
        // The next key was there all along; one that was not signs too early.
        let mut seen = Published::default();
        look(&mut seen, 1000, &[&a, &b], vec![]).unwrap();
        look(&mut seen, 3400, &[&b, &c, &a], vec![b.token(3400)]).unwrap();
        let early = look(&mut seen, 3500, &[&c, &d, &b, &a], vec![c.token(3399)]);
        assert_eq!(
            early.unwrap_err(),
            "key c signs at 3399, and is published since 1000"
        );
    }

    /// What was written down and not answered before a kill is published from the next start on.
    #[test]
    fn a_key_is_published_for_long_enough_in_one_life() {
        let [a, b, c] = ["a", "b", "c"].map(Key::new);
        let begun = || {
            let mut seen = Published::default();
            look(&mut seen, 1000, &[&a, &b], vec![]).unwrap();
            look(&mut seen, 2000, &[&b, &c, &a], vec![]).unwrap();
            seen
        };
        let next = Key::new("d");
        let sign =
            |seen: &mut Published, at: u64| look(seen, at, &[&c, &next, &b, &a], vec![c.token(at)]);
        // Since 1000 at the earliest, and since the start at 3000.
        let mut seen = begun();
        seen.killed(3000, 3000);
        let early = sign(&mut seen, 3500).unwrap_err();
        assert!(early.ends_with("and is published since 3000"), "{early}");
        let mut seen = begun();
        seen.killed(3000, 3000);
        sign(&mut seen, 5400).unwrap();
        let mut seen = begun();
        seen.killed(3400, 3500);
        sign(&mut seen, 3501).unwrap();
        // One that nobody saw before.
        let mut seen = Published::default();
        look(&mut seen, 1000, &[&a, &b], vec![]).unwrap();
        seen.killed(2000, 2100);
        look(&mut seen, 2200, &[&b, &c, &a], vec![]).unwrap();
        let early = sign(&mut seen, 4499).unwrap_err();
        assert!(early.ends_with("and is published since 2100"), "{early}");
    }

    #[test]
    fn a_key_that_is_gone_stays_so() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(Key::new);
        let mut seen = Published::default();
        look(&mut seen, 1000, &[&a, &b], vec![]).unwrap();
        look(&mut seen, 3400, &[&b, &c], vec![]).unwrap();
        let back = look(&mut seen, 5800, &[&c, &d, &a], vec![]);
        assert_eq!(back.unwrap_err(), "key a was gone and is back");
    }
}
