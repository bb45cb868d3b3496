//! What connections differ in: the server name that the client asks for, the
//! certificate it shows, the address that trusted proxies tell.

use policy::{Attribute, ClientCertificates, ListenerView, Matcher, Snapshot, TestValue};

use super::{Dimension, Gathered, Kind, Universe, tests_of};
use crate::classes::{Example, close_under_repetition, peers};
use crate::language::{classes, holds_for};
use crate::mdd::{Set, Sets};

/// An identity as most clients have one, where rules do not say more.
const ORDINARY: &str = "spiffe://cluster.local/ns/any/sa/any";

impl Gathered {
    /// Names that servers are for, or that they accept in certificates.
    pub(super) fn servers(&mut self, listener: &ListenerView<'_>) {
        let Some(tls) = listener.tls() else {
            return;
        };
        for name in &tls.names {
            let matcher = match name.strip_prefix('*') {
                Some(suffix) => Matcher::Suffix(suffix.to_owned()),
                None => Matcher::Exact(name.clone()),
            };
            self.test(Attribute::Sni, TestValue::Text(matcher));
        }
        for name in &tls.accepted {
            let exact = Matcher::Exact(name.clone());
            self.test(Attribute::Identity, TestValue::Text(exact));
        }
    }
}

impl Universe {
    pub(super) fn connections(&mut self, gathered: &Gathered, snapshots: &[&Snapshot]) {
        let mut nets = gathered.of(&Attribute::PeerIp);
        nets.extend(gathered.of(&Attribute::RemoteIp));
        let peer = self.push(Kind::Peer, peers(&nets), nets.clone());
        self.by_attribute.insert(Attribute::PeerIp, peer);
        let mut listeners = snapshots.iter().flat_map(|s| s.listeners());
        let trusted = listeners.any(|listener| listener.trusted_proxies() > 0);
        let remote = if trusted {
            self.push(Kind::Remote, peers(&nets), nets)
        } else {
            peer
        };
        self.by_attribute.insert(Attribute::RemoteIp, remote);
        self.server_names(gathered.of(&Attribute::Sni));
        let mut listeners = snapshots
            .iter()
            .flat_map(|s| s.listeners().chain(s.sidecars()));
        let asks = listeners.any(|listener| listener.tls().is_some_and(|tls| tls.asks()));
        self.identities(gathered.of(&Attribute::Identity), asks);
    }

    fn server_names(&mut self, tests: Vec<TestValue>) {
        let borrowed: Vec<&TestValue> = tests.iter().collect();
        let mut examples = vec![Example::Text(String::new())];
        match classes(&borrowed, is_server_name) {
            Ok(found) => examples.extend(found.into_iter().map(|c| Example::Text(c.example))),
            Err(_) => self.too_many.push("connection.sni".to_owned()),
        }
        let dim = self.push(Kind::Sni, examples, tests);
        self.by_attribute.insert(Attribute::Sni, dim);
    }

    fn identities(&mut self, tests: Vec<TestValue>, asks: bool) {
        let borrowed: Vec<&TestValue> = tests.iter().collect();
        let mut all: Vec<(Vec<bool>, Example)> = vec![(vec![false; tests.len()], Example::Absent)];
        if asks {
            match classes(&borrowed, is_identity) {
                Ok(found) => {
                    let ordinary: Vec<bool> =
                        tests.iter().map(|t| holds_for(t, ORDINARY)).collect();
                    all.extend(found.into_iter().map(|class| {
                        let name = if class.holds == ordinary {
                            ORDINARY.to_owned()
                        } else {
                            class.example
                        };
                        (class.holds, Example::Lines(vec![name]))
                    }));
                }
                Err(_) => self.too_many.push("source.principal".to_owned()),
            }
            // A certificate may have several names.
            if !close_under_repetition(&mut all) {
                self.too_many.push("source.principal".to_owned());
            }
        }
        let examples = all.into_iter().map(|(_, example)| example).collect();
        let dim = self.push(Kind::Identity, examples, tests);
        self.by_attribute.insert(Attribute::Identity, dim);
    }

    /// The requests that can arrive at a listener, by what their connections are.
    pub(crate) fn arriving(
        &self,
        sets: &mut Sets,
        snapshot: &Snapshot,
        listener: &ListenerView<'_>,
    ) -> Set {
        let of = |example: &Example| match example {
            Example::Text(text) => text.clone(),
            _ => String::new(),
        };
        let tls = listener.tls();
        if tls.is_some_and(|tls| tls.speaks_none) {
            return Set::NONE;
        }
        let asked_for = |example: &Example| {
            let sni = of(example);
            let taken = snapshot.listener_for(listener.id(), &sni);
            taken.is_some_and(|taken| taken.index() == listener.index())
                && (tls.is_some() || sni.is_empty())
        };
        let names = self.examples(sets, &Attribute::Sni, asked_for);
        let shown = |example: &Example| match tls.map(|tls| (tls.clients, &tls.accepted)) {
            None | Some((ClientCertificates::Ignored, _)) => *example == Example::Absent,
            Some((clients, accepted)) => match example {
                Example::Lines(lines) => {
                    accepted.is_empty() || lines.iter().any(|line| accepted.contains(line))
                }
                _ => clients == ClientCertificates::Asked || listener.takes_plain_text(),
            },
        };
        let shown = self.examples(sets, &Attribute::Identity, shown);
        let scheme = self.examples(sets, &Attribute::Scheme, |example| match example {
            Example::Text(scheme) => tls.is_none() || scheme == "https",
            _ => true,
        });
        let scheme = if scheme.is_none() { Set::ALL } else { scheme };
        let both = sets.and(names, shown);
        sets.and(both, scheme)
    }

    fn examples(
        &self,
        sets: &mut Sets,
        attribute: &Attribute,
        holds: impl Fn(&Example) -> bool,
    ) -> Set {
        let Some(dim) = self.by_attribute.get(attribute).copied() else {
            return Set::ALL;
        };
        let examples = self.dimension(dim).map(|d| &*d.examples);
        sets.classes(dim, examples.unwrap_or_default().iter().map(holds))
    }
}

/// A name in the form of the TLS inspector.
fn is_server_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b))
}

/// What a URI or a DNS name in a certificate can be.
fn is_identity(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| (0x21..0x7f).contains(&b))
}

/// Whether a test of the client's address is among a listener's rules.
pub(crate) fn looks_at_remote(condition: &policy::Condition) -> bool {
    let mut tests = Vec::new();
    tests_of(condition, &Attribute::RemoteIp, &mut tests);
    !tests.is_empty()
}

impl Dimension {
    /// The class of a server name; none is a class of its own.
    pub(super) fn class_of_name(&self, sni: &str) -> Option<u16> {
        let text = Example::Text(sni.to_owned());
        let found = self.examples.iter().position(|example| {
            let none = *example == Example::Text(String::new());
            let mut tests = self.tests.iter();
            none == sni.is_empty() && tests.all(|t| example.satisfies(t) == text.satisfies(t))
        });
        found.and_then(|i| u16::try_from(i).ok())
    }
}
