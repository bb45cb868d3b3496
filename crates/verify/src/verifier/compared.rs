//! Which rules are the same as before, and for which virtual hosts.

use policy::{Attribute, ListenerView, RuleView, StepView};

use crate::byhost::ByHost;
use crate::looks::tests_of;

/// A listener before and now.
pub(super) type Pair<'o, 's> = (ListenerView<'o>, ListenerView<'s>);

/// Which listeners have the same rules; those of the same pods are compared once.
pub(super) fn same_rules_of(pairs: &[Pair<'_, '_>]) -> Vec<bool> {
    let mut out: Vec<bool> = Vec::new();
    let mut before: Option<&Pair<'_, '_>> = None;
    for pair in pairs {
        let (was, is) = pair;
        let alike = before.filter(|(a, b)| was.has_steps_of(a) && is.has_steps_of(b));
        let known = alike.and_then(|_| out.last().copied());
        out.push(known.unwrap_or_else(|| is.has_rules_of(was)));
        before = Some(pair);
    }
    out
}

/// Whether two listeners have the same virtual hosts.
pub(super) fn has_like_hosts((was, is): &Pair<'_, '_>) -> bool {
    let mut hosts = is.hosts();
    was.hosts().count() == is.hosts().count()
        && hosts.all(|host| was.named(host.name()).is_some_and(|was| was.is_like(host)))
}

/// The rules of a listener, as they are written.
pub(super) struct Rules<'s> {
    all: Vec<(usize, RuleView<'s>)>,
    by_host: ByHost,
    anywhere: Vec<usize>,
}

impl<'s> Rules<'s> {
    pub(super) fn of(listener: ListenerView<'s>) -> Self {
        let mut out = Self {
            all: Vec::new(),
            by_host: ByHost::default(),
            anywhere: Vec::new(),
        };
        for (index, step) in listener.steps().into_iter().enumerate() {
            let rules = match step {
                StepView::Rules { rules, .. } => rules,
                StepView::Gate { authorizer, .. } => authorizer.rules.unwrap_or_default(),
                _ => continue,
            };
            for rule in rules {
                let mut tests = Vec::new();
                tests_of(&rule.condition, &Attribute::Authority, &mut tests);
                match tests.is_empty() {
                    true => out.anywhere.push(out.all.len()),
                    false => out.by_host.add(out.all.len(), &rule.condition),
                }
                out.all.push((index, rule));
            }
        }
        out
    }

    /// Whether those are the same that can matter for any virtual host.
    pub(super) fn has_anywhere_of(&self, other: &Rules<'_>) -> bool {
        let anywhere = self.numbered(&self.anywhere);
        anywhere.eq(other.numbered(&other.anywhere))
    }

    /// Whether those that name hosts are the same that can matter for a virtual
    /// host.
    pub(super) fn is_like(&self, other: &Rules<'_>, name: &str) -> bool {
        let (own, others) = (self.by_host.of(name), other.by_host.of(name));
        self.numbered(&own).eq(other.numbered(&others))
    }

    fn numbered(&self, numbers: &[usize]) -> impl Iterator<Item = &(usize, RuleView<'s>)> {
        numbers.iter().filter_map(|number| self.all.get(*number))
    }
}
