//! AuthorizationPolicy rules, compiled (istio `pilot/pkg/security/authz/model`).

use std::sync::Arc;

use ipnet::IpNet;
use resources::istio::{AuthorizationPolicy, Operation, Rule, SourceMatch};
use resources::{Object, ObjectRef, Source};

use crate::claims::ClaimPath;
use crate::looked::{self, Alternative, Clause, Looked};
use crate::matcher::Matcher;
use crate::peer::{self, Peer, Reading, TrustDomains};
use crate::principal::PrincipalMatcher;
use crate::request::RequestHead;
use crate::routematch::header_matches;
use crate::settings::{IstioVersion, Problem};
use crate::tokens::Verified;
use crate::trace::Trace;
use crate::when::of_condition;

/// Action of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Allow,
    Deny,
    Audit,
    Custom,
}

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) head: &'a RequestHead,
    /// Listener port.
    pub(crate) port: u16,
    pub(crate) peer: Peer<'a>,
    /// What a verified token says.
    pub(crate) verified: Option<&'a Verified>,
}

/// A policy with its rules.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct Policy {
    pub(crate) action: Action,
    pub(crate) provider: String,
    pub(crate) object: ObjectRef,
    pub(crate) source: Source,
    pub(crate) rules: Vec<CompiledRule>,
}

/// (any of `from`) and (any of `to`) and (all of `when`); an empty list holds.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(crate) struct CompiledRule {
    pub(crate) index: usize,
    pub(crate) from: Vec<Vec<Constraint>>,
    pub(crate) to: Vec<Vec<Constraint>>,
    pub(crate) when: Vec<Constraint>,
}

/// One attribute compared with a list: any value, and none of the negated ones.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct Constraint {
    pub(crate) attribute: Attribute,
    pub(crate) negated: bool,
    pub(crate) values: Vec<Value>,
    /// The field and its values, as they are written.
    pub(crate) written: (Arc<str>, Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Attribute {
    Host,
    Port,
    Method,
    Path,
    Header(String),
    /// Values joined by commas (Envoy without the fix of CVE-2026-26308).
    JoinedHeader(String),
    /// Of the TCP connection.
    PeerIp,
    /// After trusted proxies.
    RemoteIp,
    /// The address on this side.
    LocalIp,
    /// Names of the client's certificate.
    Identity,
    /// Server name of the TLS handshake.
    Sni,
    RequestPrincipal,
    /// A claim of the verified token: a string, or a list with one.
    Claim(ClaimPath),
    /// The same where only a string counts.
    ClaimText(String),
    /// Never there.
    Absent,
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) enum Value {
    Text(Matcher),
    Principal(PrincipalMatcher),
    Port(u16),
    Net(IpNet),
}

/// A value that Istio's generator refuses.
pub(crate) struct BadValue(pub(crate) String);

impl Policy {
    /// Compiles a policy. Values that Istio refuses drop the rule of an ALLOW
    /// policy and only themselves elsewhere; each is reported.
    pub(crate) fn compile(
        object: &Object<AuthorizationPolicy>,
        version: IstioVersion,
        domains: &TrustDomains,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let action = match object.spec.action.as_deref() {
            None | Some("ALLOW") => Action::Allow,
            Some("DENY") => Action::Deny,
            Some("AUDIT") => Action::Audit,
            Some("CUSTOM") => Action::Custom,
            Some(other) => {
                problems.push(Problem::of(
                    object,
                    format!("spec.action: expected ALLOW, DENY, AUDIT or CUSTOM, found `{other}`"),
                ));
                return None;
            }
        };
        let reading = Reading {
            version,
            domains,
            namespace: &object.meta.namespace,
        };
        let mut rules = Vec::new();
        for (index, rule) in object.spec.rules.iter().flatten().enumerate() {
            let empty = Rule::default();
            let mut bad = Vec::new();
            let compiled =
                CompiledRule::compile(index, rule.as_ref().unwrap_or(&empty), reading, &mut bad);
            let dropped = compiled.is_none() || (action == Action::Allow && !bad.is_empty());
            for BadValue(message) in bad {
                let effect = if dropped {
                    "the rule has no effect"
                } else {
                    "the value has no effect"
                };
                problems.push(Problem::of(
                    object,
                    format!("spec.rules[{index}]: {message}; {effect}"),
                ));
            }
            if !dropped {
                rules.extend(compiled);
            }
        }
        Some(Self {
            action,
            provider: object
                .spec
                .provider
                .as_ref()
                .map_or_else(String::new, |p| p.name.clone()),
            object: object.reference(),
            source: object.source.clone(),
            rules,
        })
    }

    /// The index of the first rule that matches; those that were looked at are
    /// told.
    pub(crate) fn matching_rule<T: Trace>(
        &self,
        facts: Facts<'_>,
        looked: &mut Vec<Looked>,
    ) -> Option<usize> {
        let mut rules = self.rules.iter();
        let found = rules.find(|rule| {
            let mut clauses = Vec::new();
            let holds = rule.matches::<T>(facts, &mut clauses);
            if T::LOOKED {
                looked.push(Looked {
                    place: format!("rule {}", rule.index),
                    object: (self.object.clone(), self.source.clone()),
                    holds,
                    clauses,
                });
            }
            holds
        });
        found.map(|rule| rule.index)
    }
}

impl Policy {
    /// The policy for connections that are not read: what looks at requests
    /// drops the rule of an ALLOW policy and only itself elsewhere (istio
    /// `Generate(forTCP)`).
    pub(crate) fn for_connections(&self) -> Self {
        let keeps = |rule: &CompiledRule| {
            self.action != Action::Allow || rule.constraints().all(|c| !c.looks_at_requests())
        };
        let rules = self.rules.iter().filter(|rule| keeps(rule));
        Self {
            rules: rules.map(CompiledRule::for_connections).collect(),
            ..self.clone()
        }
    }
}

impl CompiledRule {
    pub(crate) fn constraints(&self) -> impl Iterator<Item = &Constraint> {
        let alternatives = self.from.iter().chain(&self.to).flatten();
        alternatives.chain(&self.when)
    }

    fn for_connections(&self) -> Self {
        let kept = |all: &Vec<Constraint>| -> Vec<Constraint> {
            let all = all.iter().filter(|c| !c.looks_at_requests());
            all.cloned().collect()
        };
        Self {
            index: self.index,
            from: self.from.iter().map(kept).collect(),
            to: self.to.iter().map(kept).collect(),
            when: kept(&self.when),
        }
    }

    /// `None` when a `when` key is unknown: Istio skips the whole rule.
    fn compile(
        index: usize,
        rule: &Rule,
        reading: Reading<'_>,
        bad: &mut Vec<BadValue>,
    ) -> Option<Self> {
        let mut compiled = Self {
            index,
            ..Self::default()
        };
        for from in &rule.from {
            compiled.from.push(
                from.source
                    .as_ref()
                    .map_or_else(Vec::new, |s| of_source(s, reading, bad)),
            );
        }
        for to in &rule.to {
            compiled.to.push(
                to.operation
                    .as_ref()
                    .map_or_else(Vec::new, |o| of_operation(o, reading.version, bad)),
            );
        }
        for condition in &rule.when {
            compiled.when.extend(of_condition(condition, reading, bad)?);
        }
        Some(compiled)
    }

    pub(crate) fn matches<T: Trace>(&self, facts: Facts<'_>, clauses: &mut Vec<Clause>) -> bool {
        let when = std::slice::from_ref(&self.when);
        let parts = [("from", &*self.from), ("to", &*self.to), ("when", when)];
        looked::all::<T>(parts.into_iter().map(|(name, alternatives)| {
            let mut any = Vec::new();
            let each = alternatives
                .iter()
                .map(|constraints| alternative::<T>(constraints, facts, &mut any));
            let holds = looked::any::<T>(each) || alternatives.is_empty();
            if any.iter().any(|alternative| !alternative.all.is_empty()) {
                clauses.push(Clause { name, holds, any });
            }
            holds
        }))
    }
}

fn alternative<T: Trace>(
    constraints: &[Constraint],
    facts: Facts<'_>,
    any: &mut Vec<Alternative>,
) -> bool {
    let mut all = Vec::new();
    let holds = looked::all::<T>(constraints.iter().map(|constraint| {
        let holds = constraint.matches(facts);
        if T::LOOKED {
            all.push(constraint.compared_with(facts, holds));
        }
        holds
    }));
    if T::LOOKED {
        any.push(Alternative { holds, all });
    }
    holds
}

impl Constraint {
    /// Whether a connection alone does not have the attribute.
    fn looks_at_requests(&self) -> bool {
        use Attribute as A;
        let of_connection = matches!(
            self.attribute,
            A::Port | A::PeerIp | A::RemoteIp | A::LocalIp | A::Identity | A::Sni
        );
        !of_connection && !self.written.0.starts_with("experimental.")
    }

    /// A missing attribute fails a positive list and satisfies a negated one.
    fn matches(&self, facts: Facts<'_>) -> bool {
        self.any_value_matches(facts) != self.negated
    }

    fn any_value_matches(&self, facts: Facts<'_>) -> bool {
        let Facts {
            head,
            port,
            peer,
            verified,
        } = facts;
        self.values
            .iter()
            .any(|value| match (&self.attribute, value) {
                (Attribute::Host, Value::Text(m)) => m.matches_ignoring_case(&head.authority),
                (Attribute::Method, Value::Text(m)) => m.matches(head.method.as_str()),
                (Attribute::Path, Value::Text(m)) => m.matches(&head.path),
                (Attribute::Header(name), Value::Text(m)) => header_matches(head, name, m),
                (Attribute::JoinedHeader(name), Value::Text(m)) => joined_matches(head, name, m),
                (Attribute::Port, Value::Port(p)) => *p == port,
                (Attribute::PeerIp, Value::Net(net)) => net.contains(&peer.direct),
                (Attribute::RemoteIp, Value::Net(net)) => net.contains(&peer.remote),
                (Attribute::LocalIp, Value::Net(net)) => {
                    peer.local.is_some_and(|local| net.contains(&local))
                }
                (Attribute::Identity, Value::Text(m)) => peer.is_called(m),
                (Attribute::Sni, Value::Text(m)) => m.matches(peer.sni),
                (Attribute::RequestPrincipal, Value::Principal(m)) => {
                    verified.is_some_and(|v| m.matches(v))
                }
                (Attribute::Claim(path), Value::Text(m)) => {
                    verified.is_some_and(|v| v.claims.matches(path, m))
                }
                (Attribute::ClaimText(name), Value::Text(m)) => {
                    verified.is_some_and(|v| v.claims.matches_text(name, m))
                }
                _ => false,
            })
    }
}

/// All values of a header as one.
fn joined_matches(head: &RequestHead, name: &str, matcher: &Matcher) -> bool {
    if name.starts_with(':') || name == "host" {
        return header_matches(head, name, matcher);
    }
    let all = head.headers.get_all(name);
    let values: Vec<_> = all
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    match values.as_slice() {
        [] => false,
        [one] => matcher.matches(one),
        many => matcher.matches(&many.join(",")),
    }
}

fn of_source(
    source: &SourceMatch,
    reading: Reading<'_>,
    bad: &mut Vec<BadValue>,
) -> Vec<Constraint> {
    let mut all = Vec::new();
    both(
        &mut all,
        ["requestPrincipals", "notRequestPrincipals"],
        &Attribute::RequestPrincipal,
        &source.request_principals,
        &source.not_request_principals,
        bad,
        |text| principal(text, reading.version),
    );
    peer::of_source(source, reading, &mut all, bad);
    all
}

fn of_operation(
    operation: &Operation,
    version: IstioVersion,
    bad: &mut Vec<BadValue>,
) -> Vec<Constraint> {
    let header = |v: &str| Ok(Value::Text(Matcher::of_policy_header(v)));
    let path = |v: &str| {
        let template =
            version >= IstioVersion::PATH_TEMPLATES && (v.contains("{*}") || v.contains("{**}"));
        if template {
            Matcher::of_template(v)
        } else {
            Matcher::of_policy_string(v)
        }
        .map(Value::Text)
    };
    // Before 1.12 hosts were an ordinary header matcher.
    let host = if version >= IstioVersion::HOSTS_IGNORE_CASE {
        Attribute::Host
    } else {
        Attribute::Header(":authority".to_owned())
    };
    let mut all = Vec::new();
    both(
        &mut all,
        ["hosts", "notHosts"],
        &host,
        &operation.hosts,
        &operation.not_hosts,
        bad,
        header,
    );
    both(
        &mut all,
        ["ports", "notPorts"],
        &Attribute::Port,
        &operation.ports,
        &operation.not_ports,
        bad,
        port,
    );
    both(
        &mut all,
        ["methods", "notMethods"],
        &Attribute::Method,
        &operation.methods,
        &operation.not_methods,
        bad,
        header,
    );
    both(
        &mut all,
        ["paths", "notPaths"],
        &Attribute::Path,
        &operation.paths,
        &operation.not_paths,
        bad,
        path,
    );
    all
}

/// Adds the positive and the negated list of one field, where given.
pub(crate) fn both(
    all: &mut Vec<Constraint>,
    fields: [&str; 2],
    attribute: &Attribute,
    positive: &[String],
    negative: &[String],
    bad: &mut Vec<BadValue>,
    read: impl Fn(&str) -> Result<Value, String>,
) {
    let lists = [(false, positive), (true, negative)];
    for (field, (negated, list)) in fields.into_iter().zip(lists) {
        let mut values = Vec::new();
        let mut written = Vec::new();
        for text in list {
            match read(text) {
                Ok(value) => {
                    values.push(value);
                    written.push(text.clone());
                }
                Err(message) => bad.push(BadValue(message)),
            }
        }
        if !values.is_empty() {
            all.push(Constraint {
                attribute: attribute.clone(),
                negated,
                values,
                written: (field.into(), written),
            });
        }
    }
}

pub(crate) fn principal(text: &str, version: IstioVersion) -> Result<Value, String> {
    PrincipalMatcher::compile(text, version).map(Value::Principal)
}

pub(crate) fn port(text: &str) -> Result<Value, String> {
    text.parse()
        .map(Value::Port)
        .map_err(|_| format!("`{text}` is not a port number"))
}
