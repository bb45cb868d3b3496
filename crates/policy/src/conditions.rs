//! Conditions as data: what `decide` evaluates, for everybody who has to reason
//! about all requests at once.

use std::sync::Arc;

use ipnet::IpNet;

use crate::matcher::Matcher;
use crate::principal::PrincipalMatcher;
use crate::routes::RouteCondition;
use crate::rules::{self, CompiledRule, Constraint, Value};

/// A boolean combination of [`Test`]s.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// All hold; an empty list holds.
    All(Vec<Condition>),
    /// At least one holds; an empty list does not.
    Any(Vec<Condition>),
    /// Does not hold.
    Not(Box<Condition>),
    /// One attribute compared with one value.
    Test(Test),
}

/// One attribute of a request compared with one value. A missing attribute
/// fails the test; of several values of a header any may satisfy it.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// What is looked at.
    pub attribute: Attribute,
    /// What it is compared with.
    pub value: TestValue,
}

/// What an attribute is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum TestValue {
    /// A string matcher.
    Text(Matcher),
    /// The same, ASCII case ignored.
    TextIgnoringCase(Matcher),
    /// A network that an address lies in.
    Net(IpNet),
    /// A port.
    Port(u16),
}

/// A part of a request, or of the connection it came on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attribute {
    /// `:authority` as sent, with port.
    Authority,
    /// Method.
    Method,
    /// Normalised path without query.
    Path,
    /// Normalised path with query.
    PathAndQuery,
    /// `http` or `https`.
    Scheme,
    /// Values of a header, by lower-case name.
    Header(Arc<str>),
    /// First value of a query parameter.
    Query(Arc<str>),
    /// Port of the listener.
    Port,
    /// Address of the TCP peer.
    PeerIp,
    /// Address of the client after trusted proxies.
    RemoteIp,
    /// A name in the certificate that the client showed: any URI or DNS name, or
    /// the subject.
    Identity,
    /// Server name of the TLS handshake; empty on plain text.
    Sni,
    /// A claim of the verified token, by its path: a string, or a list of
    /// which any may satisfy a test.
    Claim(Arc<[String]>),
    /// Never there.
    Absent,
    /// Anything else, by name; not modelled further.
    Other(Arc<str>),
}

impl Condition {
    /// Whether a test looks at such an attribute.
    pub fn looks_at(&self, such: &dyn Fn(&Attribute) -> bool) -> bool {
        match self {
            Self::All(all) | Self::Any(all) => all.iter().any(|inner| inner.looks_at(such)),
            Self::Not(inner) => inner.looks_at(such),
            Self::Test(test) => such(&test.attribute),
        }
    }

    /// Always holds.
    pub fn always() -> Self {
        Self::All(Vec::new())
    }

    fn test(attribute: Attribute, value: TestValue) -> Self {
        Self::Test(Test { attribute, value })
    }
}

impl CompiledRule {
    /// The rule as a condition.
    pub(crate) fn condition(&self) -> Condition {
        let any = |alternatives: &[Vec<Constraint>]| {
            if alternatives.is_empty() {
                return Condition::always();
            }
            let all = alternatives
                .iter()
                .map(|all| Condition::All(all.iter().map(Constraint::condition).collect()));
            Condition::Any(all.collect())
        };
        let mut all = vec![any(&self.from), any(&self.to)];
        all.extend(self.when.iter().map(Constraint::condition));
        Condition::All(all)
    }
}

impl Constraint {
    fn condition(&self) -> Condition {
        let any = Condition::Any(self.values.iter().map(|v| self.compared(v)).collect());
        if self.negated {
            Condition::Not(Box::new(any))
        } else {
            any
        }
    }

    fn compared(&self, value: &Value) -> Condition {
        use rules::Attribute as A;
        let text = |attribute, m: &Matcher| Condition::test(attribute, TestValue::Text(m.clone()));
        match (&self.attribute, value) {
            (A::Host, Value::Text(m)) => {
                Condition::test(Attribute::Authority, TestValue::TextIgnoringCase(m.clone()))
            }
            (A::Method, Value::Text(m)) => text(Attribute::Method, m),
            (A::Path, Value::Text(m)) => text(Attribute::Path, m),
            (A::Header(name) | A::JoinedHeader(name), Value::Text(m)) => text(header(name), m),
            (A::Port, Value::Port(port)) => {
                Condition::test(Attribute::Port, TestValue::Port(*port))
            }
            (A::PeerIp, Value::Net(net)) => {
                Condition::test(Attribute::PeerIp, TestValue::Net(*net))
            }
            (A::RemoteIp, Value::Net(net)) => {
                Condition::test(Attribute::RemoteIp, TestValue::Net(*net))
            }
            (A::LocalIp, Value::Net(net)) => Condition::test(
                Attribute::Other("destination.ip".into()),
                TestValue::Net(*net),
            ),
            (A::Identity, Value::Text(m)) => text(Attribute::Identity, m),
            (A::Sni, Value::Text(m)) => text(Attribute::Sni, m),
            (A::RequestPrincipal, Value::Principal(PrincipalMatcher::Whole(m))) => {
                text(Attribute::Other("request.auth.principal".into()), m)
            }
            (
                A::RequestPrincipal,
                Value::Principal(PrincipalMatcher::Split { issuer, subject }),
            ) => Condition::All(vec![
                text(claim("iss"), issuer),
                text(claim("sub"), subject),
            ]),
            (A::Claim(path), Value::Text(m)) => text(Attribute::Claim(path.clone()), m),
            (A::ClaimText(name), Value::Text(m)) => {
                text(Attribute::Other(format!("claim {name} alone").into()), m)
            }
            (A::Absent, _) => Condition::test(Attribute::Absent, TestValue::Text(Matcher::Present)),
            // A value of another kind than its attribute never matches.
            _ => Condition::Any(Vec::new()),
        }
    }
}

fn claim(name: &str) -> Attribute {
    Attribute::Claim([name.to_owned()].into())
}

/// A header condition; pseudo headers are attributes of their own.
fn header(name: &str) -> Attribute {
    match name {
        ":path" => Attribute::PathAndQuery,
        ":method" => Attribute::Method,
        ":scheme" => Attribute::Scheme,
        ":authority" | "host" => Attribute::Authority,
        name => Attribute::Header(name.into()),
    }
}

impl RouteCondition {
    /// The route's match as a condition.
    pub(crate) fn condition(&self) -> Condition {
        let text = |attribute, m: &Matcher| Condition::test(attribute, TestValue::Text(m.clone()));
        let mut all = Vec::new();
        if self.never {
            all.push(Condition::Any(Vec::new()));
        }
        if let Some(path) = &self.path {
            let test = |matcher: Matcher| {
                let value = if path.ignore_case {
                    TestValue::TextIgnoringCase(matcher)
                } else {
                    TestValue::Text(matcher)
                };
                Condition::test(Attribute::Path, value)
            };
            all.push(match &path.matcher {
                // The path itself, and what is below it.
                Matcher::PathPrefix(prefix) => Condition::Any(vec![
                    test(Matcher::Exact(prefix.clone())),
                    test(Matcher::Prefix(format!("{prefix}/"))),
                ]),
                matcher => test(matcher.clone()),
            });
        }
        let single = [
            (Attribute::Scheme, &self.scheme),
            (Attribute::Method, &self.method),
            (Attribute::Authority, &self.authority),
        ];
        for (attribute, matcher) in single {
            all.extend(matcher.as_ref().map(|m| text(attribute, m)));
        }
        for (name, matcher, wanted) in &self.headers {
            let test = text(header(name), matcher);
            all.push(if *wanted {
                test
            } else {
                Condition::Not(Box::new(test))
            });
        }
        for (path, matcher, wanted) in &self.claims {
            let test = text(Attribute::Claim(path.clone()), matcher);
            all.push(if *wanted {
                test
            } else {
                Condition::Not(Box::new(test))
            });
        }
        for (name, matcher) in &self.query {
            all.push(text(Attribute::Query(name.as_str().into()), matcher));
        }
        Condition::All(all)
    }
}
