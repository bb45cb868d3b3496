//! Which rules and routes can match a request at all, found by its host and
//! path: what a decision looks at does not grow with what others configure.
//!
//! An index leaves out only what cannot match; those it finds are still
//! compared, in their order. Traces that want to know everything that was
//! looked at go without it.

use std::borrow::Cow;

use foldhash::HashMap;

use crate::authorization::Custom;
use crate::matcher::Matcher;
use crate::request::RequestHead;
use crate::routes::Route;
use crate::rules::{Action, Attribute, CompiledRule, Constraint, Facts, Policy, Value};
use crate::trace::NoTrace;

/// Numbers by strings that a text is, begins with or ends in.
#[derive(Clone, Debug, Default, PartialEq)]
struct Keys {
    exact: HashMap<Box<str>, Vec<u32>>,
    prefix: Affixes,
    suffix: Affixes,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Affixes {
    of: HashMap<Box<str>, Vec<u32>>,
    /// Lengths that occur.
    lengths: Vec<usize>,
}

impl Affixes {
    fn add(&mut self, text: &str, number: u32) {
        if let Err(at) = self.lengths.binary_search(&text.len()) {
            self.lengths.insert(at, text.len());
        }
        self.of.entry(text.into()).or_default().push(number);
    }
}

impl Keys {
    /// Whether strings that satisfy a condition can be found here.
    fn can_hold(matcher: &Matcher) -> bool {
        match matcher {
            Matcher::Exact(_)
            | Matcher::Prefix(_)
            | Matcher::PathPrefix(_)
            | Matcher::Suffix(_) => true,
            Matcher::Regex(pattern) => !pattern.prefix().is_empty(),
            Matcher::Present => false,
        }
    }

    fn add(&mut self, matcher: &Matcher, fold: bool, number: u32) {
        let folded = |text: &str| {
            if fold {
                text.to_ascii_lowercase()
            } else {
                text.to_owned()
            }
        };
        match matcher {
            Matcher::Exact(text) => {
                let list = self.exact.entry(folded(text).into()).or_default();
                list.push(number);
            }
            Matcher::Prefix(text) | Matcher::PathPrefix(text) => {
                self.prefix.add(&folded(text), number);
            }
            Matcher::Suffix(text) => self.suffix.add(&folded(text), number),
            Matcher::Regex(pattern) => self.prefix.add(&folded(pattern.prefix()), number),
            Matcher::Present => {}
        }
    }

    /// Shows the lists of a text, each in order.
    fn lists(&self, text: &str, mut show: impl FnMut(&[u32])) {
        if let Some(list) = self.exact.get(text) {
            show(list);
        }
        for length in &self.prefix.lengths {
            let list = text.get(..*length).and_then(|s| self.prefix.of.get(s));
            list.into_iter().for_each(|list| show(list));
        }
        for length in &self.suffix.lengths {
            let start = text.len().checked_sub(*length);
            let list = start
                .and_then(|start| text.get(start..))
                .and_then(|s| self.suffix.of.get(s));
            list.into_iter().for_each(|list| show(list));
        }
    }
}

/// Keeps the first of numbers that are shown in lists.
struct First(Option<u32>);

impl First {
    fn look(&mut self, list: &[u32], holds: impl Fn(u32) -> bool) {
        let before = self.0.unwrap_or(u32::MAX);
        let earlier = list.iter().copied().take_while(|number| *number < before);
        if let Some(found) = earlier.into_iter().find(|number| holds(*number)) {
            self.0 = Some(found);
        }
    }
}

/// The rules of a listener.
#[derive(Clone, Debug, Default)]
pub(crate) struct Indexes {
    deny: RuleIndex,
    allow: RuleIndex,
    /// By number of the provider.
    custom: Vec<RuleIndex>,
}

impl Indexes {
    pub(crate) fn new(policies: &[Policy], custom: &[Custom]) -> Self {
        let custom = custom
            .iter()
            .map(|custom| RuleIndex::new(&custom.policies, |_| true));
        Self {
            deny: RuleIndex::new(policies, |policy| policy.action == Action::Deny),
            allow: RuleIndex::new(policies, |policy| policy.action == Action::Allow),
            custom: custom.collect(),
        }
    }

    /// The index of an action whose rules decide, if a policy has it: one that
    /// is only tried makes a filter too, and decides nothing.
    pub(crate) fn of(&self, action: Action) -> Option<&RuleIndex> {
        let index = match action {
            Action::Deny => &self.deny,
            Action::Allow => &self.allow,
            Action::Audit | Action::Custom => return None,
        };
        index.any.then_some(index)
    }

    pub(crate) fn custom(&self, provider: usize) -> Option<&RuleIndex> {
        self.custom.get(provider)
    }
}

/// The rules of some policies.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleIndex {
    /// There are policies, be they without rules.
    any: bool,
    /// Position of the policy, and of the rule in it.
    rules: Vec<(usize, usize)>,
    hosts: Keys,
    paths: Keys,
    /// Rules about neither.
    others: Vec<u32>,
}

impl RuleIndex {
    /// Indexes those of `policies` that are `wanted`.
    pub(crate) fn new(policies: &[Policy], wanted: impl Fn(&Policy) -> bool) -> Self {
        let mut index = Self::default();
        let positions = policies.iter().enumerate().filter(|(_, p)| wanted(p));
        for (position, policy) in positions {
            index.any = true;
            for (place, rule) in policy.rules.iter().enumerate() {
                index.add(rule, (position, place));
            }
        }
        index
    }

    fn add(&mut self, rule: &CompiledRule, place: (usize, usize)) {
        let Ok(number) = u32::try_from(self.rules.len()) else {
            return;
        };
        self.rules.push(place);
        if let Some(hosts) = keys_of(rule, &Attribute::Host) {
            hosts
                .into_iter()
                .for_each(|m| self.hosts.add(m, true, number));
        } else if let Some(paths) = keys_of(rule, &Attribute::Path) {
            paths
                .into_iter()
                .for_each(|m| self.paths.add(m, false, number));
        } else {
            self.others.push(number);
        }
    }

    /// The first rule that matches: its policy, and its index there.
    pub(crate) fn first<'p>(
        &self,
        policies: &'p [Policy],
        facts: Facts<'_>,
    ) -> Option<(&'p Policy, usize)> {
        let holds = |number: u32| {
            let rule = self.rule(policies, number);
            rule.is_some_and(|(_, rule)| rule.matches::<NoTrace>(facts, &mut Vec::new()))
        };
        let mut first = First(None);
        self.lists(facts.head, |list| first.look(list, holds));
        let (policy, rule) = self.rule(policies, first.0?)?;
        Some((policy, rule.index))
    }

    /// All policies with a rule that matches.
    pub(crate) fn all<'p>(&self, policies: &'p [Policy], facts: Facts<'_>) -> Vec<&'p Policy> {
        let mut found = std::collections::BTreeSet::new();
        self.lists(facts.head, |list| {
            for number in list {
                let matched = self
                    .rule(policies, *number)
                    .filter(|(_, rule)| rule.matches::<NoTrace>(facts, &mut Vec::new()));
                let place = usize::try_from(*number).ok();
                let place = place.filter(|_| matched.is_some());
                found.extend(
                    place
                        .and_then(|place| self.rules.get(place))
                        .map(|(p, _)| *p),
                );
            }
        });
        found.into_iter().filter_map(|p| policies.get(p)).collect()
    }

    fn rule<'p>(
        &self,
        policies: &'p [Policy],
        number: u32,
    ) -> Option<(&'p Policy, &'p CompiledRule)> {
        let (policy, rule) = self.rules.get(usize::try_from(number).ok()?)?;
        let policy = policies.get(*policy)?;
        Some((policy, policy.rules.get(*rule)?))
    }

    /// Shows the lists that can hold a rule that matches.
    fn lists(&self, head: &RequestHead, mut show: impl FnMut(&[u32])) {
        show(&self.others);
        self.hosts.lists(&lower_case(&head.authority), &mut show);
        self.paths.lists(&head.path, &mut show);
    }
}

fn lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// Conditions on an attribute, of which a request that the rule matches
/// satisfies one; `None` when there are requests that satisfy none.
fn keys_of<'r>(rule: &'r CompiledRule, attribute: &Attribute) -> Option<Vec<&'r Matcher>> {
    let alternatives: Vec<_> = rule
        .to
        .iter()
        .map(|all| keys_of_all(all, attribute))
        .collect();
    if alternatives.is_empty() {
        return None;
    }
    let all: Option<Vec<Vec<&Matcher>>> = alternatives.into_iter().collect();
    Some(all?.concat())
}

fn keys_of_all<'r>(all: &'r [Constraint], attribute: &Attribute) -> Option<Vec<&'r Matcher>> {
    let of_constraint = |constraint: &'r Constraint| {
        let values = constraint.values.iter().map(|value| match value {
            Value::Text(matcher) if Keys::can_hold(matcher) => Some(matcher),
            _ => None,
        });
        values.collect::<Option<Vec<_>>>()
    };
    all.iter()
        .filter(|constraint| constraint.attribute == *attribute && !constraint.negated)
        .find_map(of_constraint)
}

/// The routes of one virtual host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RouteIndex {
    paths: Keys,
    others: Vec<u32>,
}

/// So few are compared as fast.
const FEW: usize = 8;

impl RouteIndex {
    /// `None` where there are few.
    pub(crate) fn new<'r>(routes: impl ExactSizeIterator<Item = &'r Route>) -> Option<Self> {
        if routes.len() <= FEW {
            return None;
        }
        let mut index = Self::default();
        for (number, route) in routes.enumerate() {
            let number = u32::try_from(number).ok()?;
            let path = route.condition.path.as_ref();
            match path.filter(|path| !path.ignore_case && Keys::can_hold(&path.matcher)) {
                Some(path) => index.paths.add(&path.matcher, false, number),
                None => index.others.push(number),
            }
        }
        Some(index)
    }

    /// Position of the first route that matches.
    pub(crate) fn first(
        &self,
        head: &RequestHead,
        matches: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let holds = |number: u32| usize::try_from(number).is_ok_and(&matches);
        let mut first = First(None);
        self.paths.lists(&head.path, |list| first.look(list, holds));
        first.look(&self.others, holds);
        usize::try_from(first.0?).ok()
    }
}

#[cfg(test)]
mod tests;
