//! The mark that a request carries from one of our listeners to the next.
//!
//! A call of a model in the cluster crosses the gateway twice: KServe's route
//! leads back to it. What the first check found out (where the request first
//! arrived, who is calling) is written down, signed, and bound to the routes
//! that the request may have next and to a few seconds. The second check goes by it
//! instead of asking again, and has it removed.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use policy::{
    Caller, Earlier, Entrance, Key, KeyScope, Person, Service, ServiceAccount, TokenHolder,
    Workload,
};
use std::sync::Arc;

/// The header that carries it: one of those that nobody outside may send.
pub const MARK: &str = "x-sidegate-mark";

/// How long a mark counts: from one check to the next there is a hop on a network.
const LIFE: u64 = 10;

/// How far clocks of replicas may be apart.
const SKEW: u64 = 5;

/// A longer one is not looked at.
const MAX_BYTES: usize = 48 * 1024;

/// Bytes of a signature.
const TAG: usize = 32;

/// More keys than this are a mistake.
const MAX_KEYS: usize = 16;

/// Keys of marks: the first signs, all verify.
pub struct KeyRing(Vec<SigningKey>);

struct SigningKey {
    id: [u8; 4],
    hmac: hmac::Key,
}

/// A text that is no ring of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// A line is no key.
    #[error("line {0}: expected 32 bytes in base64")]
    Line(usize),
    /// None, or too many.
    #[error("{0} keys, expected between 1 and 16")]
    Count(usize),
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing({} keys)", self.0.len())
    }
}

impl KeyRing {
    /// Reads a ring: a key in base64 on each line, the first of which signs.
    /// Empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// A line that is no key, or no key at all. The text is not repeated.
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = STANDARD.decode(line).ok();
            let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
            let bytes = bytes.ok_or(BadKeys::Line(index + 1))?;
            keys.push(SigningKey::new(&bytes));
        }
        match keys.len() {
            1..=MAX_KEYS => Ok(Self(keys)),
            count => Err(BadKeys::Count(count)),
        }
    }

    /// A mark for a request that may have one of these routes next.
    pub(crate) fn seal(&self, earlier: &Earlier, routes: &[Arc<str>], now: u64) -> Option<String> {
        let key = self.0.first()?;
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&key.id);
        bytes.extend_from_slice(&[0; TAG]);
        bytes.extend_from_slice(&now.saturating_add(LIFE).to_be_bytes());
        bytes.push(u8::try_from(routes.len()).ok()?);
        for route in routes {
            put(&mut bytes, route)?;
        }
        write(&mut bytes, earlier)?;
        let (tag, body) = bytes
            .get_mut(key.id.len()..)?
            .split_first_chunk_mut::<TAG>()?;
        tag.copy_from_slice(hmac::sign(&key.hmac, body).as_ref());
        let mark = URL_SAFE_NO_PAD.encode(bytes);
        (mark.len() <= MAX_BYTES).then_some(mark)
    }

    /// What a mark says, if it was made here lately for a request that has this
    /// route now.
    pub(crate) fn open(&self, mark: &[u8], route: &str, now: u64) -> Option<Earlier> {
        if mark.len() > MAX_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(mark).ok()?;
        let (id, rest) = bytes.split_first_chunk::<4>()?;
        let (tag, body) = rest.split_first_chunk::<TAG>()?;
        let key = self.0.iter().find(|key| key.id == *id)?;
        hmac::verify(&key.hmac, body, tag).ok()?;
        let mut reader = Reader(body);
        let expires = u64::from_be_bytes(*reader.take::<8>()?);
        if now >= expires || expires > now.saturating_add(LIFE + SKEW) {
            return None;
        }
        let [count] = *reader.take::<1>()?;
        let mut is_meant = false;
        for _ in 0..count {
            is_meant |= reader.text()? == route;
        }
        reader.earlier().filter(|_| is_meant)
    }
}

impl SigningKey {
    fn new(bytes: &[u8; 32]) -> Self {
        let of = |purpose: &[u8]| {
            let master = hmac::Key::new(hmac::HMAC_SHA256, bytes);
            hmac::sign(&master, purpose)
        };
        let mut id = [0; 4];
        for (to, from) in id.iter_mut().zip(of(b"ext-authz mark id").as_ref()) {
            *to = *from;
        }
        Self {
            id,
            hmac: hmac::Key::new(hmac::HMAC_SHA256, of(b"ext-authz mark").as_ref()),
        }
    }
}

fn put(out: &mut Vec<u8>, text: &str) -> Option<()> {
    let length = u16::try_from(text.len()).ok()?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Some(())
}

fn write(out: &mut Vec<u8>, earlier: &Earlier) -> Option<()> {
    out.push(match earlier.entrance {
        Entrance::External => 0,
        Entrance::Local => 1,
    });
    match &earlier.workload {
        None => out.push(0),
        Some(workload) => {
            out.push(1);
            put(out, &workload.pod)?;
            account(out, &workload.service_account)?;
        }
    }
    match &earlier.caller {
        // A bad token does not pass where somebody asks.
        None | Some(Caller::BadToken(_)) => out.push(0),
        Some(Caller::Anonymous) => out.push(1),
        Some(Caller::Session(person)) => {
            out.push(2);
            self::person(out, person)?;
        }
        Some(Caller::Token(holder)) => {
            out.push(3);
            self::holder(out, holder)?;
        }
        Some(Caller::Key(key)) => {
            out.push(4);
            put(out, &key.id)?;
            holder(out, &key.holder)?;
            list(out, &key.scope.namespaces)?;
            list(out, &key.scope.models)?;
        }
    }
    Some(())
}

fn holder(out: &mut Vec<u8>, holder: &TokenHolder) -> Option<()> {
    match holder {
        TokenHolder::Person(of) => {
            out.push(0);
            person(out, of)
        }
        TokenHolder::ServiceAccount(of) => {
            out.push(1);
            account(out, of)
        }
        TokenHolder::Service(of) => {
            out.push(2);
            put(out, &of.name)?;
            list(out, &of.groups)
        }
    }
}

fn list(out: &mut Vec<u8>, all: &[Arc<str>]) -> Option<()> {
    out.extend_from_slice(&u16::try_from(all.len()).ok()?.to_be_bytes());
    all.iter().try_for_each(|text| put(out, text))
}

fn account(out: &mut Vec<u8>, account: &ServiceAccount) -> Option<()> {
    put(out, &account.namespace)?;
    put(out, &account.name)
}

fn person(out: &mut Vec<u8>, person: &Person) -> Option<()> {
    put(out, &person.email)?;
    put(out, &person.subject)?;
    list(out, &person.groups)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(u16::from_be_bytes(*self.take()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn account(&mut self) -> Option<ServiceAccount> {
        Some(ServiceAccount {
            namespace: self.text()?.into(),
            name: self.text()?.into(),
        })
    }

    fn person(&mut self) -> Option<Person> {
        Some(Person {
            email: self.text()?.into(),
            subject: self.text()?.into(),
            groups: self.list()?.into(),
        })
    }

    fn list(&mut self) -> Option<Vec<Arc<str>>> {
        let count = u16::from_be_bytes(*self.take()?);
        (0..count).map(|_| self.text().map(Arc::from)).collect()
    }

    fn holder(&mut self) -> Option<TokenHolder> {
        Some(match self.take::<1>()? {
            [0] => TokenHolder::Person(self.person()?),
            [1] => TokenHolder::ServiceAccount(self.account()?),
            [2] => TokenHolder::Service(Service {
                name: self.text()?.into(),
                groups: self.list()?.into(),
            }),
            _ => return None,
        })
    }

    fn earlier(&mut self) -> Option<Earlier> {
        let entrance = match self.take::<1>()? {
            [0] => Entrance::External,
            [1] => Entrance::Local,
            _ => return None,
        };
        let workload = match self.take::<1>()? {
            [0] => None,
            [1] => Some(Workload {
                pod: self.text()?.into(),
                service_account: self.account()?,
            }),
            _ => return None,
        };
        let caller = match self.take::<1>()? {
            [0] => None,
            [1] => Some(Caller::Anonymous),
            [2] => Some(Caller::Session(self.person()?)),
            [3] => Some(Caller::Token(self.holder()?)),
            [4] => Some(Caller::Key(Key {
                id: self.text()?.into(),
                holder: self.holder()?,
                scope: Arc::new(KeyScope {
                    namespaces: self.list()?,
                    models: self.list()?,
                }),
            })),
            _ => return None,
        };
        self.0.is_empty().then_some(Earlier {
            entrance,
            caller,
            workload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 2] = [
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
    ];

    fn ring(lines: &[&str]) -> KeyRing {
        KeyRing::parse(&lines.join("\n")).unwrap()
    }

    fn somebody() -> Earlier {
        Earlier {
            entrance: Entrance::External,
            caller: Some(Caller::Token(TokenHolder::Person(Person {
                email: "ada@example.com".into(),
                subject: "1".into(),
                groups: ["ml".into(), "".into()].into(),
            }))),
            workload: Some(Workload {
                pod: "p".into(),
                service_account: ServiceAccount {
                    namespace: "a".into(),
                    name: "b".into(),
                },
            }),
        }
    }

    #[test]
    fn a_mark_counts_for_its_routes_and_a_few_seconds() {
        let ring = ring(&[KEYS[0]]);
        let mark = ring
            .seal(&somebody(), &["x".into(), "y".into()], 100)
            .unwrap();
        let open = |route, now| ring.open(mark.as_bytes(), route, now);
        assert_eq!(open("x", 100), Some(somebody()));
        assert_eq!(open("y", 109), Some(somebody()));
        assert_eq!(open("z", 100), None);
        assert_eq!(open("x", 110), None);
        // Made by a clock that is too far ahead.
        assert_eq!(open("x", 90), None);
    }

    #[test]
    fn whoever_is_calling_is_read_as_written() {
        let ring = ring(&[KEYS[0]]);
        let account = ServiceAccount {
            namespace: "ns".into(),
            name: "sa".into(),
        };
        for caller in [
            None,
            Some(Caller::Anonymous),
            Some(Caller::Token(TokenHolder::ServiceAccount(account))),
            Some(Caller::Key(Key {
                id: "k1".into(),
                holder: TokenHolder::Service(Service {
                    name: "nightly".into(),
                    groups: ["g".into()].into(),
                }),
                scope: Arc::new(KeyScope {
                    namespaces: vec!["a".into()],
                    models: vec!["a/b".into(), "c/d".into()],
                }),
            })),
            Some(Caller::Session(Person {
                email: "ä@b".into(),
                subject: "s".into(),
                groups: [].into(),
            })),
        ] {
            let earlier = Earlier {
                entrance: Entrance::Local,
                caller,
                workload: None,
            };
            let mark = ring.seal(&earlier, &["r".into()], 5).unwrap();
            assert_eq!(ring.open(mark.as_bytes(), "r", 5), Some(earlier));
        }
    }

    #[test]
    fn keys_are_rotated_without_a_gap() {
        let (old, both, new) = (
            ring(&KEYS[..1]),
            ring(&[KEYS[1], KEYS[0]]),
            ring(&KEYS[1..]),
        );
        let before = old.seal(&somebody(), &["r".into()], 1).unwrap();
        assert!(both.open(before.as_bytes(), "r", 1).is_some());
        assert!(new.open(before.as_bytes(), "r", 1).is_none());
        let after = both.seal(&somebody(), &["r".into()], 1).unwrap();
        assert!(new.open(after.as_bytes(), "r", 1).is_some());
    }

    #[test]
    fn a_changed_mark_is_none() {
        let ring = ring(&[KEYS[0]]);
        let mark = ring
            .seal(&somebody(), &["r".into()], 1)
            .unwrap()
            .into_bytes();
        for at in 0..mark.len() {
            let mut changed = mark.clone();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(ring.open(&changed, "r", 1), None, "byte {at}");
            assert_eq!(ring.open(&mark[..at], "r", 1), None, "cut at {at}");
        }
    }

    #[test]
    fn a_ring_is_read_line_by_line() {
        let good = format!("# of January\n{}\n\n  {}\n", KEYS[0], KEYS[1]);
        assert_eq!(KeyRing::parse(&good).unwrap().0.len(), 2);
        let errors = [
            ("", BadKeys::Count(0)),
            ("# none", BadKeys::Count(0)),
            ("\nAAAA", BadKeys::Line(2)),
            ("not base64 at all", BadKeys::Line(1)),
        ];
        for (text, expected) in errors {
            assert_eq!(KeyRing::parse(text).err(), Some(expected), "{text}");
        }
    }
}
