//! The rules of a listener's steps, as they are written: what of them does not
//! depend on how requests are divided.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::{
    Attribute, AuthorizerView, Condition, ListenerView, RuleView, Snapshot, StepView, TestValue,
};

use crate::byhost::ByHost;
use crate::language::key;
use crate::looks::tests_of;

/// The rules of a listener.
#[derive(Debug, Default)]
pub(crate) struct RuleSet {
    pub(crate) all: Vec<RulePart>,
    by_host: ByHost,
    /// What rules about hosts that could be any compare the authority with.
    roaming_tests: Vec<Arc<TestValue>>,
    /// Those that do not look at the authority.
    anywhere: Vec<usize>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct RulePart {
    pub(crate) step: usize,
    pub(crate) condition: Condition,
    /// What it compares the authority with; a rule about hosts.
    pub(crate) authority: Vec<(Arc<str>, Arc<TestValue>)>,
}

impl RuleSet {
    /// Those of all listeners, of sidecars last; listeners with the same steps
    /// share theirs.
    pub(crate) fn all(snapshot: &Snapshot) -> Vec<Arc<Self>> {
        let mut out: Vec<Arc<Self>> = Vec::new();
        let mut before: Option<ListenerView<'_>> = None;
        for view in snapshot.listeners().chain(snapshot.sidecars()) {
            let same = before.filter(|before| view.has_steps_of(before));
            let known = same.and_then(|_| out.last().cloned());
            out.push(known.unwrap_or_else(|| Arc::new(Self::of(snapshot, view))));
            before = Some(view);
        }
        out
    }

    fn of(snapshot: &Snapshot, view: ListenerView<'_>) -> Self {
        let mut out = Self::default();
        for (index, step) in view.steps().into_iter().enumerate() {
            match step {
                // Access levels stand in for a login service.
                StepView::Gate { authorizer, .. }
                    if snapshot.enforces() && authorizer.is_login() => {}
                StepView::Gate { authorizer, .. } => out.gate(index, authorizer),
                StepView::Rules { rules, .. } => out.add_all(index, rules),
                _ => {}
            }
        }
        let tests = out.roaming().flat_map(|rule| &rule.authority);
        let distinct: BTreeMap<_, _> = tests.map(|(key, test)| (key, test)).collect();
        out.roaming_tests = distinct.into_values().cloned().collect();
        out
    }

    fn gate(&mut self, step: usize, authorizer: AuthorizerView<'_>) {
        match authorizer.rules {
            Some(rules) if !authorizer.denies_all => self.add_all(step, rules),
            _ => self.add(step, Condition::always()),
        }
    }

    fn add_all(&mut self, step: usize, rules: Vec<RuleView<'_>>) {
        for rule in rules {
            self.add(step, rule.condition);
        }
    }

    fn add(&mut self, step: usize, condition: Condition) {
        let mut tests = Vec::new();
        tests_of(&condition, &Attribute::Authority, &mut tests);
        let authority = tests.into_iter();
        let authority: Vec<(Arc<str>, Arc<TestValue>)> = authority
            .map(|test| (key(test).into(), Arc::new(test.clone())))
            .collect();
        let number = self.all.len();
        match authority.is_empty() {
            true => self.anywhere.push(number),
            false => self.by_host.add(number, &condition),
        }
        self.all.push(RulePart {
            step,
            condition,
            authority,
        });
    }

    /// Rules about hosts that can matter for a virtual host.
    pub(crate) fn of_host(&self, name: &str) -> Vec<&RulePart> {
        let numbers = self.by_host.of(name).into_iter();
        numbers.filter_map(|i| self.all.get(i)).collect()
    }

    /// Those of them that name one of its hosts.
    pub(crate) fn naming(&self, name: &str) -> Vec<&RulePart> {
        let numbers = self.by_host.naming(name).into_iter();
        numbers.filter_map(|i| self.all.get(i)).collect()
    }

    /// Rules about hosts that could be any.
    pub(crate) fn roaming(&self) -> impl Iterator<Item = &RulePart> {
        let numbers = self.by_host.roaming().iter();
        numbers.filter_map(|i| self.all.get(*i))
    }

    /// What those compare the authority with.
    pub(crate) fn roaming_tests(&self) -> &[Arc<TestValue>] {
        &self.roaming_tests
    }

    /// Rules about hosts.
    pub(crate) fn local(&self) -> impl Iterator<Item = &RulePart> {
        self.all.iter().filter(|rule| !rule.authority.is_empty())
    }

    /// Rules about no host.
    pub(crate) fn anywhere(&self) -> impl Iterator<Item = &RulePart> {
        self.anywhere.iter().filter_map(|i| self.all.get(*i))
    }
}
