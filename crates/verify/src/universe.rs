//! Everything about a request but its path and host, as a finite product of
//! classes: two requests in the same classes are treated alike by every rule
//! and route that was looked at.

mod changes;
mod connection;

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::{Attribute, Condition, Matcher, RequestHead, Snapshot, TestValue};

use crate::callers::Callers;
use crate::classes::{Example, close_under_repetition, distinct, is_header_value, is_query_value};
use crate::language::{beginning, classes, holds_for, key};
use crate::looks::is_suffix;
pub(crate) use crate::looks::{always, head_of, tests_of};
use crate::mdd::{Dim, Set, Sets};
pub(crate) use connection::looks_at_remote;

/// What a dimension speaks of.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Authorities of the virtual host at hand; its classes come with the host.
    Authority,
    Method,
    Scheme,
    Peer,
    /// The client's address as trusted proxies tell it.
    Remote,
    /// Server name of the TLS handshake; empty for none.
    Sni,
    /// Names in the client's certificate.
    Identity,
    /// No token, one that does not verify, one that does.
    Token,
    Issuer,
    Subject,
    /// ServiceAccount of the caller.
    Account,
    /// Person who is logged in.
    Person,
    Header(Arc<str>),
    Query(Arc<str>),
    /// The longest suffix condition that a path satisfies.
    Tail,
    /// A path condition that is neither exact, prefix nor suffix: no, yes.
    Path(TestValue),
    /// A condition that is not modelled: no, yes, and nobody knows.
    Opaque(String),
}

#[derive(Debug)]
pub(crate) struct Dimension {
    pub(crate) kind: Kind,
    pub(crate) examples: Vec<Example>,
    tests: Vec<TestValue>,
}

/// Classes of the token dimension.
pub(crate) const TOKEN_NONE: u16 = 0;
pub(crate) const TOKEN_INVALID: u16 = 1;
pub(crate) const TOKEN_VALID: u16 = 2;

/// The dimension of authorities is the first.
pub(crate) const AUTHORITY: Dim = 0;

/// All dimensions.
#[derive(Debug, Default)]
pub(crate) struct Universe {
    pub(crate) dimensions: Vec<Dimension>,
    by_attribute: BTreeMap<Attribute, Dim>,
    by_path_test: BTreeMap<String, Dim>,
    /// What paths begin with that satisfy a path condition.
    beginnings: BTreeMap<Dim, String>,
    by_opaque: BTreeMap<String, Dim>,
    token: Dim,
    tail: Dim,
    pub(crate) callers: Callers,
    pub(crate) account_dim: Dim,
    pub(crate) person_dim: Dim,
    /// Headers with more classes than are kept.
    pub(crate) too_many: Vec<String>,
    pub(crate) suffixes: Vec<String>,
}

/// Tests by attribute, each once.
#[derive(Default)]
struct Gathered(BTreeMap<Attribute, BTreeMap<String, TestValue>>);

impl Gathered {
    fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::All(all) | Condition::Any(all) => all.iter().for_each(|c| self.condition(c)),
            Condition::Not(inner) => self.condition(inner),
            Condition::Test(test) => self.test(test.attribute.clone(), test.value.clone()),
        }
    }

    fn test(&mut self, attribute: Attribute, value: TestValue) {
        self.0
            .entry(attribute)
            .or_default()
            .insert(key(&value), value);
    }

    fn present(&mut self, header: &str) {
        let present = TestValue::Text(Matcher::Present);
        self.test(Attribute::Header(header.into()), present);
    }

    fn of(&self, attribute: &Attribute) -> Vec<TestValue> {
        self.0
            .get(attribute)
            .map(|tests| tests.values().cloned().collect())
            .unwrap_or_default()
    }
}

/// Headers whose presence the questions ask about.
pub(crate) const IDENTITY: &str = "kubeflow-userid";
/// Where tokens travel.
pub(crate) const AUTHORIZATION: &str = "authorization";

impl Universe {
    /// The dimensions that these configurations need, together: their sets can
    /// be compared.
    pub(crate) fn of(snapshots: &[&Snapshot], callers: Callers) -> Self {
        let mut gathered = Gathered::default();
        let mut issuers: Vec<String> = Vec::new();
        for listener in snapshots.iter().flat_map(|s| s.listeners()) {
            gathered.servers(&listener);
            for rule in listener.rules() {
                gathered.condition(&rule.condition);
            }
            for rule in listener
                .authorizers()
                .iter()
                .flat_map(|a| a.rules.iter().flatten())
            {
                gathered.condition(&rule.condition);
            }
            for route in listener.hosts().flat_map(|h| h.routes()) {
                gathered.condition(&route.condition());
            }
            let rules = listener.token_rules();
            issuers.extend(rules.map(|rule| rule.keys().issuer.clone()));
        }
        issuers.sort();
        issuers.dedup();
        gathered.present(IDENTITY);
        gathered.present("origin");
        gathered.present("access-control-request-method");
        gathered.test(
            Attribute::Method,
            TestValue::Text(Matcher::Exact("OPTIONS".into())),
        );
        if !issuers.is_empty() || callers.tokens {
            let bearer = TestValue::Text(Matcher::Prefix("Bearer ".into()));
            gathered.test(Attribute::Header(AUTHORIZATION.into()), bearer);
        }
        Self::build(&gathered, &issuers, snapshots, callers)
    }

    fn build(
        gathered: &Gathered,
        issuers: &[String],
        snapshots: &[&Snapshot],
        callers: Callers,
    ) -> Self {
        let mut all = Self {
            callers,
            ..Self::default()
        };
        all.push(Kind::Authority, Vec::new(), Vec::new());
        all.by_attribute.insert(Attribute::Authority, AUTHORITY);
        all.methods(gathered.of(&Attribute::Method));
        let scheme = gathered.of(&Attribute::Scheme);
        let schemes: &[&str] = if scheme.is_empty() {
            &["http"]
        } else {
            &["http", "https"]
        };
        let schemes = schemes.iter().map(|s| Example::Text((*s).to_owned()));
        let dim = all.push(Kind::Scheme, schemes.collect(), scheme);
        all.by_attribute.insert(Attribute::Scheme, dim);
        all.connections(gathered, snapshots);
        all.tokens(gathered, issuers);
        let named = |count: usize| {
            let names = (1..=count).map(|i| Example::Text(i.to_string()));
            std::iter::once(Example::Absent).chain(names).collect()
        };
        let accounts = named(all.callers.accounts.len());
        all.account_dim = all.push(Kind::Account, accounts, Vec::new());
        let persons = named(all.callers.persons.len());
        all.person_dim = all.push(Kind::Person, persons, Vec::new());
        for (attribute, tests) in &gathered.0 {
            let tests: Vec<TestValue> = tests.values().cloned().collect();
            match attribute {
                Attribute::Header(name) => all.header(name, tests),
                Attribute::Query(name) => all.query(name, tests),
                _ => {}
            }
        }
        all.paths(gathered.of(&Attribute::Path));
        for (attribute, tests) in &gathered.0 {
            if let Attribute::PathAndQuery | Attribute::Other(_) = attribute {
                for test in tests.values() {
                    all.opaque(&format!("{attribute:?} {}", key(test)));
                }
            }
        }
        all
    }

    fn push(&mut self, kind: Kind, examples: Vec<Example>, tests: Vec<TestValue>) -> Dim {
        let dim = Dim::try_from(self.dimensions.len()).unwrap_or(Dim::MAX);
        self.dimensions.push(Dimension {
            kind,
            examples,
            tests,
        });
        dim
    }

    fn methods(&mut self, tests: Vec<TestValue>) {
        let mut names: Vec<String> = [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE",
        ]
        .map(str::to_owned)
        .to_vec();
        for test in &tests {
            if let TestValue::Text(Matcher::Exact(name)) = test
                && !names.contains(name)
                && name.bytes().all(|b| b.is_ascii_uppercase())
            {
                names.push(name.clone());
            }
        }
        names.push("PROPFIND".to_owned());
        let examples = distinct(&tests, names.into_iter());
        let dim = self.push(Kind::Method, examples, tests);
        self.by_attribute.insert(Attribute::Method, dim);
    }

    fn tokens(&mut self, gathered: &Gathered, issuers: &[String]) {
        let states: &[&str] = if issuers.is_empty() && !self.callers.tokens {
            &["none"]
        } else {
            &["none", "invalid", "valid"]
        };
        let states = states.iter().map(|s| Example::Text((*s).to_owned()));
        self.token = self.push(Kind::Token, states.collect(), Vec::new());
        let known = if issuers.is_empty() {
            vec![Example::Absent]
        } else {
            issuers.iter().map(|i| Example::Text(i.clone())).collect()
        };
        let dim = self.push(Kind::Issuer, known, gathered.of(&claim("iss")));
        self.by_attribute.insert(claim("iss"), dim);
        let tests = gathered.of(&claim("sub"));
        let borrowed: Vec<&TestValue> = tests.iter().collect();
        let found = classes(&borrowed, |_| true).unwrap_or_else(|_| {
            self.too_many.push("authorization (its subject)".to_owned());
            Vec::new()
        });
        let examples = found.into_iter().map(|c| Example::Text(c.example));
        let examples = examples.collect();
        let dim = self.push(Kind::Subject, examples, tests);
        self.by_attribute.insert(claim("sub"), dim);
    }

    fn header(&mut self, name: &Arc<str>, tests: Vec<TestValue>) {
        let attribute = Attribute::Header(name.clone());
        let borrowed: Vec<&TestValue> = tests.iter().collect();
        let Ok(single) = classes(&borrowed, is_header_value) else {
            self.opaque_tests(&attribute, &tests);
            return;
        };
        let mut all: Vec<(Vec<bool>, Example)> = vec![(vec![false; tests.len()], Example::Absent)];
        all.extend(
            single
                .into_iter()
                .map(|c| (c.holds, Example::Lines(vec![c.example]))),
        );
        if !close_under_repetition(&mut all) {
            self.too_many.push(name.to_string());
        }
        // A line that satisfies nothing still is a line: presence is a test.
        let examples = all.into_iter().map(|(_, example)| example).collect();
        let dim = self.push(Kind::Header(name.clone()), examples, tests);
        self.by_attribute.insert(attribute, dim);
    }

    fn query(&mut self, name: &Arc<str>, tests: Vec<TestValue>) {
        let attribute = Attribute::Query(name.clone());
        let borrowed: Vec<&TestValue> = tests.iter().collect();
        let Ok(single) = classes(&borrowed, is_query_value) else {
            self.opaque_tests(&attribute, &tests);
            return;
        };
        let mut examples = vec![Example::Absent];
        examples.extend(single.into_iter().map(|c| Example::Text(c.example)));
        let dim = self.push(Kind::Query(name.clone()), examples, tests);
        self.by_attribute.insert(attribute, dim);
    }

    fn paths(&mut self, tests: Vec<TestValue>) {
        for test in &tests {
            if let TestValue::Text(Matcher::Suffix(suffix)) = test
                && !suffix.is_empty()
            {
                self.suffixes.push(suffix.clone());
            }
        }
        // Longest first: the first that fits names the class; none is the last
        // in meaning but the first in preference.
        self.suffixes
            .sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.suffixes.dedup();
        let mut examples = vec![Example::Absent];
        examples.extend(self.suffixes.iter().map(|s| Example::Text(s.clone())));
        self.tail = self.push(Kind::Tail, examples, Vec::new());
        for test in tests {
            if head_of(&test).is_some() || always(&test) || is_suffix(&test) {
                continue;
            }
            let name = key(&test);
            let beginning = beginning(&test);
            let no_yes = vec![Example::Text("no".into()), Example::Text("yes".into())];
            let dim = self.push(Kind::Path(test), no_yes, Vec::new());
            self.by_path_test.insert(name, dim);
            if beginning.len() > 1 {
                self.beginnings.insert(dim, beginning);
            }
        }
    }

    fn opaque_tests(&mut self, attribute: &Attribute, tests: &[TestValue]) {
        for test in tests {
            self.opaque(&format!("{attribute:?} {}", key(test)));
        }
    }

    fn opaque(&mut self, name: &str) {
        let no_yes = vec![Example::Text("no".into()), Example::Text("yes".into())];
        let dim = self.push(Kind::Opaque(name.to_owned()), no_yes, Vec::new());
        self.by_opaque.insert(name.to_owned(), dim);
    }

    /// Number of classes of a dimension other than the authority's.
    pub(crate) fn width(&self, dim: Dim) -> usize {
        self.dimensions
            .get(usize::from(dim))
            .map_or(0, |d| d.examples.len())
    }

    pub(crate) fn dimension(&self, dim: Dim) -> Option<&Dimension> {
        self.dimensions.get(usize::from(dim))
    }

    pub(crate) fn header_dim(&self, name: &str) -> Option<Dim> {
        self.by_attribute
            .get(&Attribute::Header(name.into()))
            .copied()
    }

    /// What rules look at of a token.
    pub(crate) fn token_dims(&self) -> impl Iterator<Item = Dim> + use<> {
        let attributes = [claim("iss"), claim("sub")];
        let known = attributes.map(|a| self.by_attribute.get(&a).copied());
        known.into_iter().flatten().chain([self.token])
    }

    pub(crate) fn tail_dim(&self) -> Dim {
        self.tail
    }

    /// Class of the tail dimension that a path is in.
    pub(crate) fn tail_class(&self, path: &str) -> u16 {
        let found = self
            .suffixes
            .iter()
            .position(|s| path.ends_with(s.as_str()));
        found.map_or(0, |i| u16::try_from(i + 1).unwrap_or(0))
    }

    pub(crate) fn token(&self, sets: &mut Sets, class: u16) -> Set {
        let width = self.width(self.token);
        sets.classes(self.token, (0..width).map(|c| c == usize::from(class)))
    }

    /// Requests with a header.
    pub(crate) fn with_header(&self, sets: &mut Sets, name: &str) -> Set {
        let Some(dim) = self.header_dim(name) else {
            return Set::NONE;
        };
        let absent = self
            .dimension(dim)
            .map(|d| &*d.examples)
            .unwrap_or_default();
        sets.classes(dim, absent.iter().map(|e| *e != Example::Absent))
    }

    /// Requests with a method.
    pub(crate) fn with_method(&self, sets: &mut Sets, name: &str) -> Set {
        let test = TestValue::Text(Matcher::Exact(name.into()));
        self.attribute(sets, &Attribute::Method, &test)
    }

    /// The requests that a listener accepting tokens of these issuers can see:
    /// a token travels in a header, and one that verifies is of an issuer.
    /// Access levels look at tokens whoever issues them.
    pub(crate) fn domain(&self, sets: &mut Sets, issuers: &[String], enforces: bool) -> Set {
        let none = self.token(sets, TOKEN_NONE);
        let levels = enforces && self.callers.tokens;
        if issuers.is_empty() && !levels {
            return none;
        }
        let bearer = TestValue::Text(Matcher::Prefix("Bearer ".into()));
        let bearer = self.attribute(sets, &Attribute::Header(AUTHORIZATION.into()), &bearer);
        let invalid = self.token(sets, TOKEN_INVALID);
        let valid = self.token(sets, TOKEN_VALID);
        let issuer = self.by_attribute.get(&claim("iss")).copied();
        let mut known = Set::NONE;
        for name in issuers {
            let exact = TestValue::Text(Matcher::Exact(name.clone()));
            if let Some(dim) = issuer {
                let of = self.by_example(sets, dim, &exact);
                known = sets.or(known, of);
            }
        }
        let valid = if levels {
            valid
        } else {
            sets.and(valid, known)
        };
        let with = sets.or(invalid, valid);
        let with = sets.and(with, bearer);
        // Without a token no bearer value is sent.
        let without = sets.minus(none, bearer);
        sets.or(without, with)
    }

    /// The requests that satisfy a test of anything but path and authority.
    pub(crate) fn attribute(
        &self,
        sets: &mut Sets,
        attribute: &Attribute,
        test: &TestValue,
    ) -> Set {
        if let Some(dim) = self.by_attribute.get(attribute) {
            let set = self.by_example(sets, *dim, test);
            if let Attribute::Claim(_) = attribute {
                let valid = if self.width(self.token) > 1 {
                    self.token(sets, TOKEN_VALID)
                } else {
                    Set::NONE
                };
                return sets.and(set, valid);
            }
            return set;
        }
        match self.by_opaque.get(&format!("{attribute:?} {}", key(test))) {
            Some(dim) => sets.classes(*dim, [false, true]),
            None => Set::NONE,
        }
    }

    fn by_example(&self, sets: &mut Sets, dim: Dim, test: &TestValue) -> Set {
        let examples = self
            .dimension(dim)
            .map(|d| &*d.examples)
            .unwrap_or_default();
        sets.classes(dim, examples.iter().map(|e| e.satisfies(test)))
    }

    /// The requests whose path satisfies a test that is neither exact nor
    /// prefix.
    pub(crate) fn path(&self, sets: &mut Sets, test: &TestValue) -> Set {
        if always(test) {
            return Set::ALL;
        }
        if let TestValue::Text(Matcher::Suffix(suffix)) = test {
            let classes = std::iter::once(false)
                .chain(self.suffixes.iter().map(|s| s.ends_with(suffix.as_str())));
            return sets.classes(self.tail, classes);
        }
        match self.by_path_test.get(&key(test)) {
            Some(dim) => sets.classes(*dim, [false, true]),
            None => Set::NONE,
        }
    }

    /// What every path begins with that satisfies a condition, if that is more
    /// than a slash.
    pub(crate) fn beginning(&self, test: &TestValue) -> Option<&str> {
        self.beginning_of(*self.by_path_test.get(&key(test))?)
    }

    pub(crate) fn beginning_of(&self, dim: Dim) -> Option<&str> {
        self.beginnings.get(&dim).map(String::as_str)
    }

    /// The class of a request in a dimension other than the authority's.
    pub(crate) fn class_of(&self, dim: Dim, head: &RequestHead) -> Option<u16> {
        let dimension = self.dimension(dim)?;
        let position = |holds: Vec<bool>, present: bool| {
            let same = |e: &Example| {
                (*e != Example::Absent) == present
                    && dimension
                        .tests
                        .iter()
                        .map(|t| e.satisfies(t))
                        .eq(holds.iter().copied())
            };
            let found = dimension.examples.iter().position(same);
            found.and_then(|i| u16::try_from(i).ok())
        };
        let of_text = |text: &str| {
            let holds = dimension.tests.iter().map(|t| holds_for(t, text));
            position(holds.collect(), true)
        };
        match &dimension.kind {
            Kind::Method => of_text(head.method.as_str()),
            Kind::Scheme => of_text(match head.scheme {
                policy::Scheme::Http => "http",
                policy::Scheme::Https => "https",
            }),
            Kind::Peer => {
                let example = Example::Ip(head.peer.ip());
                let holds = dimension.tests.iter().map(|t| example.satisfies(t));
                position(holds.collect(), true)
            }
            Kind::Sni => {
                let tls = head.connection.tls.as_ref();
                let sni = tls.and_then(|tls| tls.sni.as_deref()).unwrap_or_default();
                dimension.class_of_name(sni)
            }
            Kind::Identity => {
                let tls = head.connection.tls.as_ref();
                let shown = tls.and_then(|tls| tls.certificate.as_ref());
                let names: Vec<&str> = shown
                    .into_iter()
                    .flat_map(|c| c.uris.iter().chain(&c.dns_names))
                    .map(|name| &**name)
                    .collect();
                let tests = dimension.tests.iter();
                let holds = tests.map(|t| names.iter().any(|name| holds_for(t, name)));
                position(holds.collect(), shown.is_some())
            }
            Kind::Token => {
                let bearer = head
                    .header(AUTHORIZATION)
                    .is_some_and(|v| v.starts_with("Bearer "));
                Some(if bearer && dimension.examples.len() > 1 {
                    TOKEN_INVALID
                } else {
                    TOKEN_NONE
                })
            }
            Kind::Account => Some(self.callers.class_of(head)),
            Kind::Issuer | Kind::Subject | Kind::Person => Some(0),
            Kind::Header(name) => {
                let lines: Vec<String> = head
                    .headers
                    .get_all(&**name)
                    .iter()
                    .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
                    .collect();
                if lines.is_empty() {
                    return Some(0);
                }
                let holds = dimension
                    .tests
                    .iter()
                    .map(|t| lines.iter().any(|l| holds_for(t, l)));
                position(holds.collect(), true)
            }
            Kind::Query(name) => {
                let query = head.query.as_deref().unwrap_or_default();
                let mut pairs = query
                    .split('&')
                    .map(|p| p.split_once('=').unwrap_or((p, "")));
                match pairs.find(|(key, _)| *key == &**name) {
                    Some((_, value)) => of_text(value),
                    None => Some(0),
                }
            }
            Kind::Tail => Some(self.tail_class(&head.path)),
            Kind::Path(test) => Some(u16::from(holds_for(test, &head.path))),
            Kind::Authority | Kind::Remote | Kind::Opaque(_) => None,
        }
    }
}

fn claim(name: &str) -> Attribute {
    Attribute::Claim([name.to_owned()].into())
}
