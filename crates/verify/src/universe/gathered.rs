//! What rules and routes compare requests with.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::{
    Attribute, Condition, HostView, ListenerView, Matcher, RouteStep, StepView, TestValue,
};

use crate::language::key;
use crate::looks::{always, is_head, is_suffix};

/// Tests by attribute, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) tests: BTreeMap<Attribute, BTreeMap<String, TestValue>>,
    /// Access levels look at bearer tokens.
    pub(crate) is_held: bool,
}

impl Gathered {
    /// What the rules of a listener ask, and which names its server is for.
    pub(crate) fn rules(&mut self, listener: &ListenerView<'_>) {
        self.servers(listener);
        for step in listener.steps() {
            let rules = match step {
                StepView::Rules { rules, .. } => rules,
                StepView::Gate { authorizer, .. } => authorizer.rules.unwrap_or_default(),
                _ => continue,
            };
            rules
                .iter()
                .for_each(|rule| self.condition(&rule.condition));
        }
    }

    /// What the routes of a virtual host ask, on a listener of so many steps.
    pub(crate) fn host(&mut self, host: HostView<'_>, steps: usize) {
        for route in host.routes() {
            self.condition(&route.condition());
            for step in 0..steps {
                if let RouteStep::Rules { rules, .. } = route.step(step) {
                    rules
                        .iter()
                        .for_each(|rule| self.condition(&rule.condition));
                }
            }
        }
    }

    /// Adds tests that were gathered elsewhere; those of paths, which concern
    /// nobody else, only if they are wanted.
    pub(crate) fn add(&mut self, other: &Self, paths: bool) {
        for (attribute, tests) in &other.tests {
            for (key, value) in tests {
                let is_own = *attribute == Attribute::Path && !is_suffix(value);
                if !is_own || paths {
                    let known = self.tests.entry(attribute.clone()).or_default();
                    known.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
        }
    }

    /// Attributes of which others are asked otherwise.
    pub(crate) fn differing<'g>(&'g self, other: &'g Self) -> Vec<&'g Attribute> {
        let differs = |a: &Self, b: &Self, attribute: &Attribute| {
            let (a, b) = (a.tests.get(attribute), b.tests.get(attribute));
            match (a, b) {
                (Some(a), Some(b)) => !a.keys().eq(b.keys()),
                (None, None) => false,
                _ => true,
            }
        };
        let mut all: Vec<&Attribute> = self.tests.keys().chain(other.tests.keys()).collect();
        all.sort_unstable();
        all.dedup();
        all.retain(|attribute| differs(self, other, attribute));
        all
    }

    fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::All(all) | Condition::Any(all) => all.iter().for_each(|c| self.condition(c)),
            Condition::Not(inner) => self.condition(inner),
            // The classes of authorities come with the virtual host.
            Condition::Test(test) if test.attribute == Attribute::Authority => {}
            // The partition by strings settles these.
            Condition::Test(test)
                if test.attribute == Attribute::Path
                    && (is_head(&test.value) || always(&test.value)) => {}
            Condition::Test(test) => self.test(test.attribute.clone(), test.value.clone()),
        }
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.tests.keys().filter_map(|attribute| match attribute {
            Attribute::Header(name) => Some(name),
            _ => None,
        })
    }

    pub(crate) fn test(&mut self, attribute: Attribute, value: TestValue) {
        let tests = self.tests.entry(attribute).or_default();
        tests.entry(key(&value)).or_insert(value);
    }

    pub(super) fn present(&mut self, header: &str) {
        let present = TestValue::Text(Matcher::Present);
        self.test(Attribute::Header(header.into()), present);
    }

    pub(super) fn of(&self, attribute: &Attribute) -> Vec<TestValue> {
        let tests = self.tests.get(attribute);
        tests
            .map(|tests| tests.values().cloned().collect())
            .unwrap_or_default()
    }
}
