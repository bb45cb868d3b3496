//! What rules and routes compare requests with.

use std::collections::{BTreeMap, BTreeSet};
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

type Counts = BTreeMap<Arc<str>, (Arc<Compared>, usize)>;

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

/// Tests of several, with how many have each.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    tests: BTreeMap<Attribute, Counts>,
    turned: Turned,
}

/// Tests that nobody had and somebody has now, or the other way round.
#[derive(Debug, Default)]
struct Turned(BTreeSet<(Attribute, Arc<str>)>);

impl Counted {
    /// Counts those of one more.
    pub(crate) fn add(&mut self, asks: &Gathered) {
        for (attribute, tests) in &asks.tests {
            let known = match self.tests.get_mut(attribute) {
                Some(known) => known,
                None => self.tests.entry(attribute.clone()).or_default(),
            };
            for (key, test) in tests {
                if let Some((_, count)) = known.get_mut(key) {
                    *count += 1;
                    continue;
                }
                known.insert(Arc::clone(key), (Arc::clone(test), 1));
                self.turned.turn(attribute, key, test);
            }
        }
    }

    /// Counts those of one less.
    pub(crate) fn remove(&mut self, asks: &Gathered) {
        for (attribute, tests) in &asks.tests {
            let Some(known) = self.tests.get_mut(attribute) else {
                continue;
            };
            for (key, test) in tests {
                let Some((_, count)) = known.get_mut(key) else {
                    continue;
                };
                *count -= 1;
                if *count == 0 {
                    known.remove(key);
                    self.turned.turn(attribute, key, test);
                }
            }
            if known.is_empty() {
                self.tests.remove(attribute);
            }
        }
    }

    /// From here on it is told what differs.
    pub(crate) fn mark(&mut self) {
        self.turned = Turned::default();
    }

    /// Attributes that are compared otherwise than at the mark.
    pub(crate) fn differing(&self) -> Vec<Attribute> {
        let turned = self.turned.0.iter();
        let mut all: Vec<Attribute> = turned.map(|(attribute, _)| attribute.clone()).collect();
        all.dedup();
        all
    }

    /// All of them.
    pub(crate) fn all(&self) -> Gathered {
        let tests = self.tests.iter().map(|(attribute, tests)| {
            let each = tests.iter();
            let each = each.map(|(key, (test, _))| (Arc::clone(key), Arc::clone(test)));
            (attribute.clone(), each.collect())
        });
        Gathered {
            tests: tests.collect(),
            is_held: false,
        }
    }
}

impl Turned {
    fn turn(&mut self, attribute: &Attribute, key: &Arc<str>, test: &Compared) {
        // Conditions on paths divide nothing for those who do not have them,
        // but for suffixes.
        if *attribute == Attribute::Path && !is_suffix(&test.value) {
            return;
        }
        let one = (attribute.clone(), Arc::clone(key));
        if !self.0.remove(&one) {
            self.0.insert(one);
        }
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
