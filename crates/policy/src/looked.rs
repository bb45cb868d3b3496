//! What a decision looked at besides what decided it: each rule and each route
//! that was compared with the request, condition by condition.
//!
//! The matchers tell it themselves while they match. A trace that does not want
//! to know ([`Trace::LOOKED`]) makes them stop at the first condition that
//! settles the answer and keep nothing.

use std::sync::Arc;

use http::HeaderValue;
use resources::{ObjectRef, Source};

use crate::request::RequestHead;
use crate::routematch::scheme;
use crate::routes::Route;
use crate::rules::{Attribute, Constraint, Facts};
use crate::trace::{Step, Trace};

/// A rule or a route that was compared with the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// `rule 2`, or `http[0] predict`.
    pub place: String,
    /// The object it is written in.
    pub object: (ObjectRef, Source),
    /// It matches: every clause holds.
    pub holds: bool,
    /// All of these have to hold; what is not written is not among them.
    pub clauses: Vec<Clause>,
}

/// A part of a rule or of a route's match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// `from`, `to`, `when` or `match`.
    pub name: &'static str,
    /// At least one alternative holds.
    pub holds: bool,
    /// One of these has to hold.
    pub any: Vec<Alternative>,
}

/// One entry of `from` or `to`, or all of `when` or `match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// Every comparison holds.
    pub holds: bool,
    /// All of these have to hold.
    pub all: Vec<Comparison>,
}

/// One attribute of the request beside what is written about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The field as it is written: `notPaths`, `request.headers[x-token]`, `uri`.
    pub field: Arc<str>,
    /// None of the values may match, instead of any.
    pub negated: bool,
    /// The values, as they are written.
    pub wanted: Vec<String>,
    /// What the request has: nothing, a value, or one for each header line.
    pub got: Vec<String>,
    /// Whether it holds.
    pub holds: bool,
}

impl Step {
    /// The rules that tell the outcome: those that matched, or all where none did.
    pub fn deciding(&self) -> impl Iterator<Item = &Looked> {
        let matched = self.looked.iter().any(|rule| rule.holds);
        self.looked
            .iter()
            .filter(move |rule| rule.holds || !matched)
    }
}

impl Looked {
    /// The clauses that tell the outcome: all of one that matched, or what failed.
    pub fn deciding(&self) -> impl Iterator<Item = &Clause> {
        let holds = self.holds;
        self.clauses
            .iter()
            .filter(move |clause| holds || !clause.holds)
    }
}

impl Clause {
    /// The alternatives that tell the outcome: those that hold, or all where none does.
    pub fn deciding(&self) -> impl Iterator<Item = &Alternative> {
        let holds = self.holds;
        self.any.iter().filter(move |one| one.holds || !holds)
    }
}

/// Names that are there.
fn named<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let there = names.filter(|name| !name.is_empty());
    there.map(str::to_owned).collect()
}

/// The lines of a header, to read; pseudo headers are parts of the request.
pub(crate) fn header(head: &RequestHead, name: &str) -> Vec<String> {
    match name {
        ":path" => vec![head.path_and_query()],
        ":method" => vec![head.method.to_string()],
        ":scheme" => vec![scheme(head).to_owned()],
        ":authority" | "host" => vec![head.authority.clone()],
        _ => {
            let lines = head.headers.get_all(name).iter();
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            lines.map(text).collect()
        }
    }
}

/// Whether all hold. What follows one that does not is looked at only to be told.
pub(crate) fn all<T: Trace>(mut each: impl Iterator<Item = bool>) -> bool {
    if T::LOOKED {
        each.fold(true, |before, holds| before & holds)
    } else {
        each.all(|holds| holds)
    }
}

/// Whether any holds. What follows one that does is looked at only to be told.
pub(crate) fn any<T: Trace>(mut each: impl Iterator<Item = bool>) -> bool {
    if T::LOOKED {
        each.fold(false, |before, holds| before | holds)
    } else {
        each.any(|holds| holds)
    }
}

impl Constraint {
    /// How it came out, to read.
    pub(crate) fn compared_with(&self, facts: Facts<'_>, holds: bool) -> Comparison {
        let (field, wanted) = self.written.clone();
        Comparison {
            field,
            negated: self.negated,
            wanted,
            got: self.attribute.of(facts),
            holds,
        }
    }
}

impl Attribute {
    /// What a request has of it, to read.
    fn of(&self, facts: Facts<'_>) -> Vec<String> {
        let head = facts.head;
        match self {
            Self::Host => vec![head.authority.clone()],
            Self::Method => vec![head.method.to_string()],
            Self::Path => vec![head.path.clone()],
            Self::Header(name) => header(head, name),
            Self::JoinedHeader(name) => {
                let lines = header(head, name);
                (!lines.is_empty())
                    .then(|| lines.join(","))
                    .into_iter()
                    .collect()
            }
            Self::Port => vec![facts.port.to_string()],
            Self::PeerIp => vec![facts.peer.direct.to_string()],
            Self::RemoteIp => vec![facts.peer.remote.to_string()],
            Self::LocalIp => facts.peer.local.iter().map(ToString::to_string).collect(),
            Self::Identity => named(facts.peer.names()),
            Self::Sni => named(std::iter::once(facts.peer.sni)),
            Self::RequestPrincipal => {
                let claims = facts.verified.map(|verified| &verified.claims);
                let part = |name| claims.and_then(|claims| claims.text(name));
                let principal = part("iss").zip(part("sub"));
                let principal = principal.map(|(issuer, subject)| format!("{issuer}/{subject}"));
                let whole = facts.verified.and_then(|verified| verified.whole.clone());
                whole.or(principal).into_iter().collect()
            }
            Self::Claim(path) => facts
                .verified
                .map(|verified| verified.claims.shown(path))
                .unwrap_or_default(),
            Self::ClaimText(name) => facts
                .verified
                .and_then(|verified| verified.claims.text(name))
                .map(str::to_owned)
                .into_iter()
                .collect(),
            Self::Absent => Vec::new(),
        }
    }
}

impl Route {
    /// That it was compared with a request, and how it came out.
    pub(crate) fn looked(&self, holds: bool, all: Vec<Comparison>) -> Looked {
        let clause = Clause {
            name: "match",
            holds,
            any: vec![Alternative { holds, all }],
        };
        let compares = clause.any.iter().any(|a| !a.all.is_empty()) || !holds;
        Looked {
            place: self.place.to_string(),
            object: (self.object.clone(), self.source.clone()),
            holds,
            clauses: compares.then_some(clause).into_iter().collect(),
        }
    }
}
