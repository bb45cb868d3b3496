//! Repeated headers under an Envoy that joins their lines before rules look at
//! them (without the fix of CVE-2026-26308): such a request is one with a single
//! line, as long as nobody else looks at the lines one by one.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::{Attribute, Carrier, Condition, Snapshot, is_one_line};

use super::Universe;
use super::gathered::{each_rule, each_rule_of};

type Names = BTreeSet<Arc<str>>;

impl Universe {
    /// Finds the headers whose lines are joined, and who else looks at them.
    pub(super) fn join_lines(&mut self, snapshots: &[&Snapshot], carriers: &BTreeSet<Carrier>) {
        let joins = |s: &&&Snapshot| !s.istio_version().headers_individually();
        let joining: Vec<&Snapshot> = snapshots.iter().filter(joins).copied().collect();
        let mut names = Names::new();
        for snapshot in &joining {
            rules(snapshot, &mut names);
        }
        let Some(version) = joining.first().map(|snapshot| snapshot.istio_version()) else {
            return;
        };
        if names.is_empty() {
            return;
        }
        if joining.len() < snapshots.len() {
            self.problems.push(format!(
                "Istio {version} joins the lines of a repeated header before rules look at it, and the other version does not"
            ));
            return;
        }
        let mut alone = Names::new();
        for snapshot in snapshots {
            routes(snapshot, &mut alone);
        }
        alone.extend(carriers.iter().filter_map(|carrier| match carrier {
            Carrier::Header { name, .. } => Some(Arc::from(name.as_str())),
            _ => None,
        }));
        for name in names.intersection(&alone).filter(|name| !is_one_line(name)) {
            self.problems.push(format!(
                "Istio {version} joins the lines of a repeated header before rules look at it, and header `{name}` is looked at line by line too, by routes or for tokens"
            ));
        }
        self.joined = names;
    }
}

fn rules(snapshot: &Snapshot, names: &mut Names) {
    for listener in snapshot.listeners().chain(snapshot.sidecars()) {
        each_rule(&listener, &mut |condition| headers(condition, names));
        let steps = listener.step_count();
        for route in listener.hosts().flat_map(|host| host.routes()) {
            each_rule_of(&route, steps, &mut |condition| headers(condition, names));
        }
    }
}

fn routes(snapshot: &Snapshot, names: &mut Names) {
    let hosts = snapshot.listeners().flat_map(|listener| listener.hosts());
    for route in hosts.flat_map(|host| host.routes()) {
        headers(&route.condition(), names);
    }
}

/// The headers that a condition looks at.
fn headers(condition: &Condition, names: &mut Names) {
    match condition {
        Condition::All(all) | Condition::Any(all) => all.iter().for_each(|c| headers(c, names)),
        Condition::Not(inner) => headers(inner, names),
        Condition::Test(test) => {
            if let Attribute::Header(name) = &test.attribute {
                names.insert(Arc::clone(name));
            }
        }
    }
}
