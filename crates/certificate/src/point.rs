//! A request of which only the cell is known, and what was assumed of the rest.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderName;
use policy::{Attribute, HeaderChange, ListenerView, Matcher, TestValue, host_name};

use crate::logic::{Truth, beginning, matcher, only, text_satisfies};

/// Paths of a host's list.
pub(crate) type Listed = BTreeSet<String>;

/// Some paths: one, or all below it and below no longer listed one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Paths {
    pub(crate) text: String,
    pub(crate) below: bool,
    /// How the path was rewritten: listed paths are what they were before.
    pub(crate) rewritten: Option<(String, String)>,
}

/// Authorities that lead to a virtual host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authority {
    /// This one, in any case.
    One(String),
    /// This one, as it is written.
    Exactly(String),
    /// This host with another port.
    OtherPort(String),
    /// Anything that leads there.
    Any { listener: usize, host: String },
}

/// What is assumed: a test of an attribute that holds or does not.
pub(crate) type Assumed = BTreeMap<Atom, bool>;

/// A test whose outcome the cell does not settle; of a path after a rewrite
/// another one than before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Atom {
    attribute: Attribute,
    test: String,
    only: Option<String>,
    path: Option<Paths>,
}

/// A request at one crossing.
#[derive(Clone, Debug)]
pub(crate) struct Point<'c> {
    pub(crate) listed: &'c Listed,
    pub(crate) paths: Paths,
    pub(crate) authority: Authority,
    pub(crate) port: u16,
    pub(crate) who: Who,
    /// A token may have been verified at this crossing.
    pub(crate) claimed: bool,
    /// Header changes on the way, oldest first.
    pub(crate) changes: Vec<Change<'c>>,
    /// A query parameter may be gone.
    pub(crate) queries_change: bool,
    /// Another gateway sent it on.
    pub(crate) sent_on: bool,
    /// Whom the listener takes the client for.
    pub(crate) sender: Sender<'c>,
}

/// Whom a listener takes a client for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender<'c> {
    /// For whoever it is: what is assumed counts.
    Client,
    /// A sidecar, for nobody.
    Nobody,
    /// A sidecar, for a gateway of this name.
    Named(&'c str),
    /// A sidecar, for a gateway of which nothing is known.
    Unknown,
}

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Somebody without session and token.
    Stranger,
    /// Anybody; logins keep whom they are asked about.
    Anybody,
    /// Anybody; logins let through whom they are asked about.
    Session,
    /// Somebody without session and token, perhaps a workload whose account is
    /// known.
    Tokenless,
    /// Somebody with a session and nothing else.
    Person,
    /// Somebody without session, whose token the first listener takes.
    Token {
        /// Somebody looks at it there.
        seen: bool,
    },
    /// A machine without session: access levels take its bearer token for a
    /// ServiceAccount's, and the first listener does not refuse it.
    Bearer,
}

impl Who {
    /// Neither a session nor a token.
    pub(crate) fn brings_nothing(self) -> bool {
        matches!(self, Self::Stranger | Self::Tokenless)
    }
}

/// What happens to a header on the way.
#[derive(Clone, Debug)]
pub(crate) enum Change<'c> {
    Known(&'c HeaderChange),
    Removed(HeaderName),
    /// It may have another value, or be there or gone.
    Unknown(Box<str>),
}

impl Point<'_> {
    /// Whether a header may be there that the client did not send.
    pub(crate) fn is_put(&self, header: &str) -> bool {
        let mut all = self.changes.iter();
        all.any(|change| match change {
            Change::Unknown(name) => **name == *header,
            Change::Known(
                HeaderChange::Set(name, _)
                | HeaderChange::Add(name, _)
                | HeaderChange::AddIfAbsent(name, _)
                | HeaderChange::SetIfPresent(name, _),
            ) => *name == *header,
            Change::Known(HeaderChange::Remove(_)) | Change::Removed(_) => false,
        })
    }

    /// Whether a test holds; what is neither settled nor assumed is `wanted`.
    pub(crate) fn test(
        &self,
        at: &ListenerView<'_>,
        attribute: &Attribute,
        value: &TestValue,
        assumed: &Assumed,
        wanted: &mut Vec<Atom>,
    ) -> Truth {
        let settled = match attribute {
            Attribute::Path => self.path(value),
            Attribute::Authority => self.authority(at, value),
            Attribute::Port => match value {
                TestValue::Port(port) => Truth::of(*port == self.port),
                _ => Truth::No,
            },
            Attribute::Absent => Truth::No,
            Attribute::Claim(_) if !self.claimed => Truth::No,
            // Tests of the request as it came say nothing of these.
            Attribute::Query(_) | Attribute::PathAndQuery if self.queries_change => {
                return Truth::Maybe;
            }
            Attribute::Identity if self.sender != Sender::Client => match self.sender {
                Sender::Nobody => Truth::No,
                Sender::Named(name) => Truth::of(text_satisfies(value, name)),
                Sender::Unknown | Sender::Client => return Truth::Maybe,
            },
            // The gateway's own address is written nowhere.
            Attribute::PeerIp | Attribute::RemoteIp if self.sender != Sender::Client => {
                return Truth::Maybe;
            }
            Attribute::Scheme | Attribute::Identity | Attribute::Sni if self.sent_on => {
                return Truth::Maybe;
            }
            Attribute::Header(name) => return self.header(name, value, assumed, wanted),
            _ => Truth::Maybe,
        };
        if settled != Truth::Maybe {
            return settled;
        }
        let path = match attribute {
            Attribute::Path | Attribute::PathAndQuery => Some(self.paths.clone()),
            _ => None,
        };
        look(Atom::new(attribute, value, path), value, assumed, wanted)
    }

    pub(crate) fn path(&self, value: &TestValue) -> Truth {
        let text = self.paths.text.as_str();
        if !self.paths.below {
            return Truth::of(text_satisfies(value, text));
        }
        match value {
            TestValue::Text(Matcher::Exact(exact)) => self.longer(exact),
            TestValue::Text(Matcher::Prefix(prefix)) => self.begins(prefix),
            TestValue::Text(Matcher::PathPrefix(prefix)) => {
                self.longer(prefix).or(self.begins(&format!("{prefix}/")))
            }
            TestValue::Text(Matcher::Regex(regex)) => match regex.as_str() {
                // No path is empty.
                "^(?:.+)$" | "^(?:.*)$" => Truth::Yes,
                pattern => match self.begins(beginning(pattern)) {
                    Truth::No => Truth::No,
                    Truth::Yes | Truth::Maybe => Truth::Maybe,
                },
            },
            TestValue::Text(Matcher::Present) | TestValue::TextIgnoringCase(Matcher::Present) => {
                Truth::Yes
            }
            _ => Truth::Maybe,
        }
    }

    /// Whether the path, which is longer than the cell's text, is this one.
    fn longer(&self, exact: &str) -> Truth {
        let inside = exact.len() > self.paths.text.len()
            && exact.starts_with(&self.paths.text)
            && !self.is_taken(exact);
        if inside { Truth::Maybe } else { Truth::No }
    }

    fn begins(&self, prefix: &str) -> Truth {
        if self.paths.text.starts_with(prefix) {
            return Truth::Yes;
        }
        self.longer(prefix)
    }

    /// Whether a path below the cell's text is below a longer listed one.
    fn is_taken(&self, path: &str) -> bool {
        let Paths {
            text, rewritten, ..
        } = &self.paths;
        let (text, path) = match rewritten {
            None => (text.clone(), path.to_owned()),
            Some((from, to)) => {
                let back =
                    |text: &str| text.strip_prefix(to.as_str()).map(|r| format!("{from}{r}"));
                match (back(text), back(path)) {
                    (Some(text), Some(path)) => (text, path),
                    _ => return false,
                }
            }
        };
        let mut longer = (text.len() + 1)..=path.len();
        longer.any(|length| path.get(..length).is_some_and(|p| self.listed.contains(p)))
    }

    fn authority(&self, at: &ListenerView<'_>, value: &TestValue) -> Truth {
        let Some(written) = matcher(value) else {
            return Truth::No;
        };
        if matches!(written, Matcher::Present) {
            return Truth::Yes;
        }
        match &self.authority {
            Authority::Exactly(text) => Truth::of(text_satisfies(value, text)),
            Authority::One(text) => {
                let holds = written.matches_ignoring_case(text);
                match (value, written) {
                    (TestValue::TextIgnoringCase(_), _) => Truth::of(holds),
                    (_, Matcher::Regex(_)) => Truth::Maybe,
                    // As it is written or in another case.
                    _ if holds => Truth::Maybe,
                    _ => Truth::No,
                }
            }
            Authority::OtherPort(host) => {
                let with_port = format!("{host}:");
                let begins = |text: &str| {
                    text.get(..with_port.len())
                        .is_some_and(|start| start.eq_ignore_ascii_case(&with_port))
                };
                match written {
                    Matcher::Exact(text) => {
                        if begins(text) {
                            Truth::Maybe
                        } else {
                            Truth::No
                        }
                    }
                    Matcher::Prefix(text) => {
                        let start = with_port.get(..text.len());
                        match start.is_some_and(|s| s.eq_ignore_ascii_case(text)) {
                            true if matches!(value, TestValue::TextIgnoringCase(_)) => Truth::Yes,
                            true => Truth::Maybe,
                            false if begins(text) => Truth::Maybe,
                            false => Truth::No,
                        }
                    }
                    _ => Truth::Maybe,
                }
            }
            Authority::Any { listener, host } => match written {
                Matcher::Exact(text) if at.index() == *listener => {
                    let found = at.host(&host_name(text));
                    match found.is_some_and(|found| found.name() == host) {
                        true => Truth::Maybe,
                        false => Truth::No,
                    }
                }
                _ => Truth::Maybe,
            },
        }
    }

    /// A header, as it is after the changes on the way.
    fn header(
        &self,
        name: &str,
        value: &TestValue,
        assumed: &Assumed,
        wanted: &mut Vec<Atom>,
    ) -> Truth {
        let mut added = Truth::No;
        for change in self.changes.iter().rev() {
            let change = match change {
                Change::Known(change) => change,
                Change::Removed(n) if *n == *name => return added,
                Change::Unknown(n) if **n == *name => return added.or(Truth::Maybe),
                Change::Removed(_) | Change::Unknown(_) => continue,
            };
            match change {
                HeaderChange::Set(n, v) if *n == *name => {
                    let text = String::from_utf8_lossy(v.as_bytes());
                    return added.or(Truth::of(text_satisfies(value, &text)));
                }
                HeaderChange::Add(n, v) if *n == *name => {
                    let text = String::from_utf8_lossy(v.as_bytes());
                    added = added.or(Truth::of(text_satisfies(value, &text)));
                }
                // Whether it was there before is not followed.
                HeaderChange::AddIfAbsent(n, values) if *n == *name => {
                    let mut texts = values.iter().map(|v| String::from_utf8_lossy(v.as_bytes()));
                    if texts.any(|text| text_satisfies(value, &text)) {
                        added = added.or(Truth::Maybe);
                    }
                }
                // Nor here; what was there is gone.
                HeaderChange::SetIfPresent(n, v) if *n == *name => {
                    let text = String::from_utf8_lossy(v.as_bytes());
                    return match text_satisfies(value, &text) {
                        true => added.or(Truth::Maybe),
                        false => added,
                    };
                }
                HeaderChange::Remove(n) if *n == *name => return added,
                _ => {}
            }
        }
        if added == Truth::Yes {
            return added;
        }
        let attribute = Attribute::Header(name.into());
        // A line that satisfies anything is there.
        let present = TestValue::Text(Matcher::Present);
        let absent = Atom::new(&attribute, &present, None);
        if assumed.get(&absent) == Some(&false) {
            return added;
        }
        added.or(look(
            Atom::new(&attribute, value, None),
            value,
            assumed,
            wanted,
        ))
    }
}

impl Atom {
    /// The header that speaks of who is logged in is there.
    pub(crate) fn with_header(name: &str) -> Self {
        let present = TestValue::Text(Matcher::Present);
        Self::new(&Attribute::Header(name.into()), &present, None)
    }

    /// The method is this one.
    pub(crate) fn method(name: &str) -> Self {
        let exact = TestValue::Text(Matcher::Exact(name.to_owned()));
        Self::new(&Attribute::Method, &exact, None)
    }

    /// In words.
    pub(crate) fn told(&self, holds: bool) -> String {
        let not = if holds { "" } else { "not " };
        format!("{:?} is {not}{}", self.attribute, self.test)
    }

    fn new(attribute: &Attribute, value: &TestValue, path: Option<Paths>) -> Self {
        // Of the others a request may have several.
        let single = matches!(
            attribute,
            Attribute::Method
                | Attribute::Scheme
                | Attribute::Query(_)
                | Attribute::Path
                | Attribute::PathAndQuery
                | Attribute::Authority
        );
        Self {
            attribute: attribute.clone(),
            test: written(value),
            only: only(value).filter(|_| single).map(str::to_owned),
            path,
        }
    }
}

/// What is assumed of a test, or follows from what is assumed of the same
/// attribute.
fn look(atom: Atom, value: &TestValue, assumed: &Assumed, wanted: &mut Vec<Atom>) -> Truth {
    if let Some(known) = assumed.get(&atom) {
        return Truth::of(*known);
    }
    let same = assumed.iter().filter(|(other, holds)| {
        **holds && other.attribute == atom.attribute && other.path == atom.path
    });
    for (other, _) in same {
        if let Some(text) = &other.only {
            return Truth::of(text_satisfies(value, text));
        }
        // Something of it holds, so it is there.
        if matches!(matcher(value), Some(Matcher::Present)) {
            return Truth::Yes;
        }
    }
    wanted.push(atom);
    Truth::Maybe
}

fn written(value: &TestValue) -> String {
    match matcher(value) {
        Some(Matcher::Regex(regex)) => format!("regex {}", regex.as_str()),
        _ => format!("{value:?}"),
    }
}
