//! Conditions as unions of (some paths) × (a set of everything else).

use policy::{Attribute, Condition, ListenerView, Test, TestValue, host_name};

use crate::language::holds_for;
use crate::mdd::{Set, Sets};
use crate::paths::{Cell, Head};
use crate::universe::{AUTHORITY, Universe, head_of};

/// Paths in any of `within` (all, if absent) and in none of `outside`, with
/// the rest of the request in `rest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) within: Option<Vec<Head>>,
    pub(crate) outside: Vec<Head>,
    pub(crate) rest: Set,
}

/// What a condition is compiled for.
pub(crate) struct Context<'a> {
    pub(crate) universe: &'a Universe,
    pub(crate) here: Here,
    /// Classes of the authority.
    pub(crate) authorities: &'a [String],
    /// Requests whose claims are known.
    pub(crate) known: Set,
}

/// What of a listener conditions depend on.
#[derive(Clone, Copy)]
pub(crate) struct Here {
    port: u16,
    /// It takes the client's address from trusted proxies.
    trusts_proxies: bool,
}

impl Here {
    pub(crate) fn of(listener: &ListenerView<'_>) -> Self {
        Self {
            port: listener.port(),
            trusts_proxies: listener.trusted_proxies() > 0,
        }
    }
}

/// A condition would make more terms than this.
const MAX_TERMS: usize = 4_096;

impl Term {
    fn everywhere(rest: Set) -> Self {
        Self {
            within: None,
            outside: Vec::new(),
            rest,
        }
    }

    /// Whether it holds on a cell of a partition that knows its strings.
    pub(crate) fn covers(&self, cell: Cell<'_>) -> bool {
        self.within
            .as_ref()
            .is_none_or(|heads| heads.iter().any(|h| h.covers(cell)))
            && !self.outside.iter().any(|h| h.covers(cell))
    }

    /// Strings it divides paths by.
    pub(crate) fn strings(&self) -> impl Iterator<Item = &str> {
        let within = self.within.iter().flatten();
        within.chain(&self.outside).map(Head::text)
    }

    fn is_rest_only(&self) -> bool {
        self.within.is_none() && self.outside.is_empty()
    }
}

/// A condition as terms; `None` when there would be too many.
pub(crate) fn terms(
    sets: &mut Sets,
    context: &Context<'_>,
    condition: &Condition,
) -> Option<Vec<Term>> {
    let terms = raw(sets, context, condition, true)?;
    Some(terms)
}

fn raw(
    sets: &mut Sets,
    context: &Context<'_>,
    condition: &Condition,
    wanted: bool,
) -> Option<Vec<Term>> {
    match (condition, wanted) {
        (Condition::Test(test), wanted) => Some(of_test(sets, context, test, wanted)),
        (Condition::Not(inner), wanted) => raw(sets, context, inner, !wanted),
        (Condition::All(all), true) | (Condition::Any(all), false) => {
            let mut out = vec![Term::everywhere(Set::ALL)];
            for condition in all {
                let next = raw(sets, context, condition, wanted)?;
                out = meet(sets, &out, &next)?;
                if out.is_empty() {
                    break;
                }
            }
            Some(out)
        }
        (Condition::Any(all), true) | (Condition::All(all), false) => {
            let mut out = Vec::new();
            for condition in all {
                out.extend(raw(sets, context, condition, wanted)?);
                if out.len() > MAX_TERMS {
                    return None;
                }
            }
            Some(merge(sets, out))
        }
    }
}

fn of_test(sets: &mut Sets, context: &Context<'_>, test: &Test, wanted: bool) -> Vec<Term> {
    if test.attribute == Attribute::Path
        && let Some(head) = head_of(&test.value)
    {
        return vec![if wanted {
            Term {
                within: Some(vec![head]),
                outside: Vec::new(),
                rest: Set::ALL,
            }
        } else {
            Term {
                within: None,
                outside: vec![head],
                rest: Set::ALL,
            }
        }];
    }
    let set = match (&test.attribute, &test.value) {
        (Attribute::Path, value) => context.universe.path(sets, value),
        (Attribute::Port, TestValue::Port(port)) if *port == context.here.port => Set::ALL,
        (Attribute::Port | Attribute::Absent, _) => Set::NONE,
        (Attribute::Authority, value) => {
            let holds = context.authorities.iter().map(|a| holds_for(value, a));
            sets.classes(AUTHORITY, holds)
        }
        (Attribute::RemoteIp, value) if !context.here.trusts_proxies => {
            context.universe.attribute(sets, &Attribute::PeerIp, value)
        }
        (Attribute::Claim(_), value) => {
            let set = context.universe.attribute(sets, &test.attribute, value);
            sets.and(set, context.known)
        }
        (attribute, value) => context.universe.attribute(sets, attribute, value),
    };
    let set = if wanted { set } else { sets.not(set) };
    if set.is_none() {
        return Vec::new();
    }
    let mut term = Term::everywhere(set);
    if wanted
        && test.attribute == Attribute::Path
        && let Some(beginning) = context.universe.beginning(&test.value)
    {
        // Elsewhere it cannot hold, and cells there need not know of it.
        term.within = Some(vec![Head::Prefix(beginning.to_owned())]);
    }
    vec![term]
}

fn meet(sets: &mut Sets, left: &[Term], right: &[Term]) -> Option<Vec<Term>> {
    let mut out = Vec::new();
    for a in left {
        for b in right {
            let rest = sets.and(a.rest, b.rest);
            if rest.is_none() {
                continue;
            }
            let within = match (&a.within, &b.within) {
                (None, None) => None,
                (Some(heads), None) | (None, Some(heads)) => Some(heads.clone()),
                (Some(x), Some(y)) => {
                    let both = x.iter().flat_map(|h| y.iter().filter_map(|g| h.meet(g)));
                    Some(both.collect::<Vec<_>>())
                }
            };
            if within.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            let mut outside = a.outside.clone();
            outside.extend(b.outside.iter().cloned());
            outside.sort();
            outside.dedup();
            out.push(Term {
                within,
                outside,
                rest,
            });
            if out.len() > MAX_TERMS {
                return None;
            }
        }
    }
    Some(merge(sets, out))
}

/// Joins terms that differ in one part only.
fn merge(sets: &mut Sets, terms: Vec<Term>) -> Vec<Term> {
    let mut out: Vec<Term> = Vec::new();
    let mut rest_only = Set::NONE;
    for term in terms {
        if term.is_rest_only() {
            rest_only = sets.or(rest_only, term.rest);
            continue;
        }
        let same = out.iter_mut().find(|t| {
            t.rest == term.rest
                && t.outside == term.outside
                && t.within.is_some()
                && term.within.is_some()
        });
        match (same, &term.within) {
            (Some(known), Some(heads)) => {
                if let Some(within) = &mut known.within {
                    within.extend(heads.iter().cloned());
                    within.sort();
                    within.dedup();
                }
            }
            _ => out.push(term),
        }
    }
    if !rest_only.is_none() {
        out.push(Term::everywhere(rest_only));
    }
    out
}

/// Hosts, lower case and without port, that a condition can hold for: `None`
/// when it can for any.
pub(crate) fn hosts_of(condition: &Condition) -> Option<Vec<String>> {
    match condition {
        Condition::Not(_) => None,
        Condition::All(all) => all.iter().filter_map(hosts_of).min_by_key(Vec::len),
        Condition::Any(all) => {
            let mut out = Vec::new();
            for condition in all {
                out.extend(hosts_of(condition)?);
            }
            Some(out)
        }
        Condition::Test(test) => host_of(test),
    }
}

fn host_of(test: &Test) -> Option<Vec<String>> {
    use policy::Matcher;
    if test.attribute != Attribute::Authority {
        return None;
    }
    let (TestValue::Text(matcher) | TestValue::TextIgnoringCase(matcher)) = &test.value else {
        return None;
    };
    let text = match matcher {
        Matcher::Exact(text) => text,
        // `host:*`
        Matcher::Prefix(text) if text.contains(':') => text,
        _ => return None,
    };
    Some(vec![host_name(text).into_owned()])
}
