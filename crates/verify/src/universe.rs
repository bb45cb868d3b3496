//! Everything about a request but its path and host, as a finite product of
//! classes: two requests in the same classes are treated alike by every rule
//! and route that was looked at.

mod changes;
mod connection;
mod gathered;
mod joined;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::{
    Attribute, Carrier, ClaimPath, Matcher, RequestHead, Snapshot, TestValue, is_one_line,
};

use crate::callers::Callers;
use crate::classes::{
    Example, close_under_repetition, distinct, is_before_token, is_header_value, is_query_value,
};
use crate::language::{classes, holds_for, key};
use crate::looks::is_suffix;
pub(crate) use crate::looks::{always, head_of, tests_of};
use crate::mdd::{Dim, Set, Sets};
use crate::tokens::{self, TokenSpace};
pub(crate) use connection::looks_at_remote;
pub(crate) use gathered::{Compared, Counted, Gathered};

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
    /// Whether access levels take the bearer token: none, no, yes.
    Held,
    /// What is in a place for tokens: nothing, a bad one, a good one.
    Carrier(Carrier),
    /// A claim of the good tokens.
    Claim(ClaimPath),
    /// Whether claims are known, at the crossing at hand.
    Known,
    /// ServiceAccount of the caller.
    Account,
    /// Person who is logged in.
    Person,
    Header(Arc<str>),
    Query(Arc<str>),
    /// The longest suffix condition that a path satisfies.
    Tail,
    /// A path condition that is neither exact, prefix nor suffix: no, yes.
    Path(Arc<Compared>),
    /// A condition that is not modelled: no, yes, and nobody knows.
    Opaque(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Dimension {
    pub(crate) kind: Kind,
    pub(crate) examples: Vec<Example>,
    tests: Vec<TestValue>,
}

/// The dimension of authorities is the first.
pub(crate) const AUTHORITY: Dim = 0;

/// All dimensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Universe {
    pub(crate) dimensions: Vec<Dimension>,
    pub(crate) by_attribute: BTreeMap<Attribute, Dim>,
    by_path_test: BTreeMap<Arc<str>, Dim>,
    by_opaque: BTreeMap<String, Dim>,
    pub(crate) tokens: TokenSpace,
    tail: Dim,
    pub(crate) callers: Callers,
    pub(crate) held_dim: Dim,
    pub(crate) account_dim: Dim,
    pub(crate) person_dim: Dim,
    /// Headers with more classes than are kept.
    pub(crate) too_many: Vec<String>,
    /// What else is not modelled.
    pub(crate) problems: Vec<String>,
    /// Headers whose lines are one to all who look at them.
    pub(crate) joined: BTreeSet<Arc<str>>,
    pub(crate) suffixes: Vec<String>,
}

/// Headers that make a request with `OPTIONS` a CORS preflight.
pub(crate) const PREFLIGHT: [&str; 2] = ["origin", "access-control-request-method"];

/// Headers whose presence the questions ask about.
pub(crate) const IDENTITY: &str = "kubeflow-userid";

impl Universe {
    /// The dimensions that these configurations need, together: their sets can
    /// be compared.
    pub(crate) fn of(snapshots: &[&Snapshot], callers: Callers) -> Self {
        let mut gathered = Gathered::default();
        for listener in snapshots
            .iter()
            .flat_map(|s| s.listeners().chain(s.sidecars()))
        {
            gathered.rules(&listener);
            for host in listener.hosts() {
                gathered.host(host, listener.step_count());
            }
        }
        Self::of_tests(gathered, snapshots, callers)
    }

    /// The dimensions by which these tests tell requests apart, and what the
    /// configurations ask by themselves.
    pub(crate) fn of_tests(
        mut gathered: Gathered,
        snapshots: &[&Snapshot],
        callers: Callers,
    ) -> Self {
        let named = gathered.headers().map(|name| name.to_string()).collect();
        let (carriers, problems) = tokens::gather(snapshots, |a, value| gathered.test(a, value));
        gathered.present(IDENTITY);
        for name in PREFLIGHT {
            gathered.present(name);
            if !carriers.is_empty() {
                let full = TestValue::Text(Matcher::not_empty());
                gathered.test(Attribute::Header(name.into()), full);
            }
        }
        gathered.test(
            Attribute::Method,
            TestValue::Text(Matcher::Exact("OPTIONS".into())),
        );
        gathered.bearer(snapshots, &callers);
        let mut all = Self::build(&gathered, carriers, snapshots, callers);
        all.problems.extend(problems);
        all.tokens.named = named;
        all
    }

    fn build(
        gathered: &Gathered,
        carriers: BTreeSet<Carrier>,
        snapshots: &[&Snapshot],
        callers: Callers,
    ) -> Self {
        let mut all = Self {
            callers,
            ..Self::default()
        };
        all.join_lines(snapshots, &carriers);
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
        all.add_tokens(gathered, carriers);
        all.add_callers(gathered.is_held);
        for (attribute, tests) in &gathered.tests {
            let values = || tests.values().map(|test| test.value.clone()).collect();
            match attribute {
                Attribute::Header(name) => all.header(name, values()),
                Attribute::Query(name) => all.query(name, values()),
                _ => {}
            }
        }
        if let Some(tests) = gathered.tests.get(&Attribute::Path) {
            all.paths(tests);
        } else {
            all.paths(&BTreeMap::new());
        }
        for (attribute, tests) in &gathered.tests {
            if let Attribute::PathAndQuery | Attribute::Other(_) = attribute {
                for key in tests.keys() {
                    all.opaque(&format!("{attribute:?} {key}"));
                }
            }
        }
        all
    }

    pub(crate) fn push(
        &mut self,
        kind: Kind,
        examples: Vec<Example>,
        tests: Vec<TestValue>,
    ) -> Dim {
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

    fn header(&mut self, name: &Arc<str>, tests: Vec<TestValue>) {
        let attribute = Attribute::Header(name.clone());
        let borrowed: Vec<&TestValue> = tests.iter().collect();
        let carries = |(carrier, _): &(Carrier, Dim)| matches!(carrier, Carrier::Header { name: own, .. } if **name == **own);
        let held = self.width(self.held_dim) > 1 && **name == *"authorization";
        let base = match held || self.tokens.carriers.iter().any(carries) {
            true => is_before_token,
            false => is_header_value,
        };
        let Ok(single) = classes(&borrowed, base) else {
            self.opaque_tests(&attribute, &tests);
            return;
        };
        let mut all: Vec<(Vec<bool>, Example)> = vec![(vec![false; tests.len()], Example::Absent)];
        all.extend(
            single
                .into_iter()
                .map(|c| (c.holds, Example::Lines(vec![c.example]))),
        );
        if !self.joined.contains(name) && !close_under_repetition(&mut all) {
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

    fn paths(&mut self, tests: &BTreeMap<Arc<str>, Arc<Compared>>) {
        for test in tests.values() {
            if let TestValue::Text(Matcher::Suffix(suffix)) = &test.value
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
        for (key, test) in tests {
            if is_suffix(&test.value) {
                continue;
            }
            let no_yes = vec![Example::Text("no".into()), Example::Text("yes".into())];
            let dim = self.push(Kind::Path(Arc::clone(test)), no_yes, Vec::new());
            self.by_path_test.insert(Arc::clone(key), dim);
        }
    }

    pub(crate) fn opaque_tests(&mut self, attribute: &Attribute, tests: &[TestValue]) {
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

    /// Requests with a query parameter, as it is written.
    pub(crate) fn with_query(&self, sets: &mut Sets, name: &str) -> Set {
        let attribute = Attribute::Query(name.into());
        let Some(dim) = self.by_attribute.get(&attribute).copied() else {
            return Set::NONE;
        };
        sets.classes(dim, (0..self.width(dim)).map(|class| class != 0))
    }

    /// Whether routes look at query parameters.
    pub(crate) fn looks_at_queries(&self) -> bool {
        let mut all = self.by_attribute.keys();
        all.any(|attribute| matches!(attribute, Attribute::Query(_)))
    }

    /// CORS preflights.
    pub(crate) fn preflight(&self, sets: &mut Sets) -> Set {
        let mut all = self.with_method(sets, "OPTIONS");
        for name in PREFLIGHT {
            let present = self.with_header(sets, name);
            all = sets.and(all, present);
        }
        all
    }

    /// CORS preflights whose headers say something.
    pub(crate) fn full_preflight(&self, sets: &mut Sets) -> Set {
        let mut all = self.with_method(sets, "OPTIONS");
        for name in PREFLIGHT {
            let full = TestValue::Text(Matcher::not_empty());
            let full = self.attribute(sets, &Attribute::Header(name.into()), &full);
            all = sets.and(all, full);
        }
        all
    }

    /// The requests that satisfy a test of anything but path and authority.
    pub(crate) fn attribute(
        &self,
        sets: &mut Sets,
        attribute: &Attribute,
        test: &TestValue,
    ) -> Set {
        if let Some(dim) = self.by_attribute.get(attribute) {
            return self.by_example(sets, *dim, test);
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
        match self.by_path_test.get(&*key(test)) {
            Some(dim) => sets.classes(*dim, [false, true]),
            None => Set::NONE,
        }
    }

    /// What every path begins with that satisfies a condition, if that is more
    /// than a slash.
    pub(crate) fn beginning(&self, test: &TestValue) -> Option<&str> {
        self.beginning_of(*self.by_path_test.get(&*key(test))?)
    }

    pub(crate) fn beginning_of(&self, dim: Dim) -> Option<&str> {
        let Kind::Path(test) = &self.dimension(dim)?.kind else {
            return None;
        };
        Some(test.beginning()).filter(|beginning| beginning.len() > 1)
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
            Kind::Known => Some(0),
            Kind::Carrier(carrier) => Some(TokenSpace::carrier_class(carrier, head)),
            Kind::Claim(path) => {
                let claims = self.tokens.claims_in(head)?;
                let texts = claims.texts_at(path);
                let holds = |t| texts.iter().any(|text| holds_for(t, text));
                match texts.is_empty() {
                    true => Some(0),
                    false => position(dimension.tests.iter().map(holds).collect(), true),
                }
            }
            Kind::Held => Some(self.held_class(head)),
            Kind::Account => Some(self.callers.class_of(head)),
            Kind::Person => Some(0),
            Kind::Header(name) => {
                let lines = head.headers.get_all(&**name).iter();
                let mut lines: Vec<String> = lines
                    .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
                    .collect();
                if lines.len() > 1 && self.joined.contains(name) {
                    // Of those that every Envoy keeps in one line empty ones add nothing.
                    lines.retain(|line| !line.is_empty() || !is_one_line(name));
                    lines = vec![lines.join(",")];
                }
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
            Kind::Path(test) => Some(u16::from(holds_for(&test.value, &head.path))),
            Kind::Authority | Kind::Remote | Kind::Opaque(_) => None,
        }
    }
}
