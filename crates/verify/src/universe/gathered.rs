//! What rules and routes compare requests with.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use policy::{
    Attribute, Condition, HostView, ListenerView, Matcher, RouteStep, RouteView, StepView,
    TestValue,
};

use crate::language::{beginning, key};
use crate::looks::{always, is_head, is_suffix};
use crate::ruleset::RuleSet;

/// What something is compared with, shared by all who compare it so.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) value: TestValue,
    beginning: OnceLock<String>,
}

impl Compared {
    /// What every path begins with that satisfies it.
    pub(crate) fn beginning(&self) -> &str {
        self.beginning.get_or_init(|| beginning(&self.value))
    }
}

type Tests = BTreeMap<Arc<str>, Arc<Compared>>;

/// Tests by attribute, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) tests: BTreeMap<Attribute, Tests>,
    /// Access levels look at bearer tokens.
    pub(crate) is_held: bool,
}

impl Gathered {
    /// What the rules of a listener ask, and which names its server is for.
    pub(crate) fn rules(&mut self, listener: &ListenerView<'_>) {
        self.servers(listener);
        each_rule(listener, &mut |condition| self.condition(condition));
    }

    /// The same of rules that are known.
    pub(crate) fn known_rules(&mut self, listener: &ListenerView<'_>, rules: &RuleSet) {
        self.servers(listener);
        for rule in &rules.all {
            self.condition(&rule.condition);
        }
    }

    /// What the routes of a virtual host ask, on a listener of so many steps.
    pub(crate) fn host(&mut self, host: HostView<'_>, steps: usize) {
        for route in host.routes() {
            self.condition(&route.condition());
            each_rule_of(&route, steps, &mut |condition| self.condition(condition));
        }
    }

    /// Adds tests that were gathered elsewhere.
    pub(crate) fn add(&mut self, other: &Self) {
        for (attribute, tests) in &other.tests {
            let known = match self.tests.get_mut(attribute) {
                Some(known) => known,
                None => self.tests.entry(attribute.clone()).or_default(),
            };
            for (key, test) in tests {
                if !known.contains_key(key) {
                    known.insert(Arc::clone(key), Arc::clone(test));
                }
            }
        }
    }

    /// Attributes that are compared otherwise elsewhere. Conditions on paths
    /// divide nothing for those who do not have them, but for suffixes.
    pub(crate) fn differing<'g>(&'g self, other: &'g Self) -> Vec<&'g Attribute> {
        let differs = |a: &Self, b: &Self, attribute: &Attribute| {
            let shared = |all: &'_ Self| -> Vec<Arc<str>> {
                let tests = all.tests.get(attribute).into_iter().flatten();
                let is_path = *attribute == Attribute::Path;
                let shared = tests.filter(|(_, test)| !is_path || is_suffix(&test.value));
                shared.map(|(key, _)| Arc::clone(key)).collect()
            };
            shared(a) != shared(b)
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
        tests.entry(key(&value).into()).or_insert_with(|| {
            Arc::new(Compared {
                value,
                beginning: OnceLock::new(),
            })
        });
    }

    pub(super) fn present(&mut self, header: &str) {
        let present = TestValue::Text(Matcher::Present);
        self.test(Attribute::Header(header.into()), present);
    }

    pub(super) fn of(&self, attribute: &Attribute) -> Vec<TestValue> {
        let tests = self.tests.get(attribute);
        let values = tests.into_iter().flat_map(|tests| tests.values());
        values.map(|test| test.value.clone()).collect()
    }
}

/// Conditions of the rules of a listener.
pub(super) fn each_rule(listener: &ListenerView<'_>, found: &mut dyn FnMut(&Condition)) {
    for step in listener.steps() {
        let rules = match step {
            StepView::Rules { rules, .. } => rules,
            StepView::Gate { authorizer, .. } => authorizer.rules.unwrap_or_default(),
            _ => continue,
        };
        rules.iter().for_each(|rule| found(&rule.condition));
    }
}

/// Conditions of the rules that a route has in place of those of a listener of
/// so many steps.
pub(super) fn each_rule_of(route: &RouteView<'_>, steps: usize, found: &mut dyn FnMut(&Condition)) {
    for step in 0..steps {
        if let RouteStep::Rules { rules, .. } = route.step(step) {
            rules.iter().for_each(|rule| found(&rule.condition));
        }
    }
}
