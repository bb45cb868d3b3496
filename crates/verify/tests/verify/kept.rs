//! What a verifier keeps is what it would find anew.

use std::sync::Arc;

use policy::Snapshot;
use resources::Cluster;
use testkit::Synthetic;
use verify::{Asked, Verifier, verify};

use crate::agreement::{Dice, policy, service};
use crate::clusters::BASE;
use crate::compile;

/// Makes one object.
type Make = fn(&mut Dice, usize) -> String;

/// Objects of one kind, each in a file of its own: what moves within one has
/// changed.
struct Objects {
    make: Make,
    made: usize,
    all: Vec<resources::File>,
}

impl Objects {
    fn new(dice: &mut Dice, make: Make, count: usize) -> Self {
        let mut out = Self {
            make,
            made: 0,
            all: Vec::new(),
        };
        (0..count).for_each(|_| out.add(dice));
        out
    }

    fn add(&mut self, dice: &mut Dice) {
        let text = (self.make)(dice, self.made);
        self.all.push((format!("{}.yaml", self.made).into(), text));
        self.made += 1;
    }

    /// One more, one less, or another one.
    fn change(&mut self, dice: &mut Dice) {
        let what = dice.roll(3);
        if what > 0 && !self.all.is_empty() {
            self.all.remove(dice.roll(self.all.len()));
        }
        if what < 2 {
            self.add(dice);
        }
    }
}

fn snapshot(mode: &str, kinds: &[Objects; 2]) -> Arc<Snapshot> {
    let base = BASE.replace("mode: as-written", mode);
    let mut layer: Vec<resources::File> = vec![("base.yaml".into(), base)];
    layer.extend(kinds.iter().flat_map(|kind| kind.all.clone()));
    let cluster = resources::parse_layers(&[layer]).unwrap();
    Arc::new(Snapshot::compile(&cluster, &crate::settings()).unwrap())
}

#[test]
fn kept_answers_are_those_that_would_be_found_anew() {
    for seed in 0..30 {
        let mut dice = Dice(seed);
        let mode = match seed % 3 {
            0 => "mode: enforce, platform: {namespaces: [platform]}",
            _ => "mode: as-written, platform: {namespaces: [platform]}",
        };
        let services = Objects::new(&mut dice, service, 3);
        let mut kinds = [services, Objects::new(&mut dice, policy, 2)];
        let mut verifier = Verifier::new();
        for step in 0..8 {
            let snapshot = snapshot(mode, &kinds);
            let kept = verifier.verify(&snapshot, &Asked::default());
            let anew = verify(&snapshot);
            assert_eq!(
                format!("{kept:#?}"),
                format!("{anew:#?}"),
                "seed {seed}, step {step}"
            );
            let kind = dice.roll(2);
            kinds[kind].change(&mut dice);
        }
    }
}

/// A cluster of many hosts, of which few change.
fn edit(dice: &mut Dice, cluster: &mut Cluster) {
    let services = cluster.virtual_services.len();
    let [one, other] = [dice.roll(services), dice.roll(services)];
    let policies = cluster.authorization_policies.len();
    match dice.roll(5) {
        0 => drop(cluster.virtual_services[one].spec.http.pop()),
        1 => {
            let more = cluster.virtual_services[other].spec.http.clone();
            cluster.virtual_services[one].spec.http.extend(more);
        }
        2 => cluster.virtual_services[one].spec.http.rotate_left(1),
        3 => drop(cluster.authorization_policies.remove(dice.roll(policies))),
        _ => drop(cluster.virtual_services.remove(one)),
    }
}

#[test]
fn of_many_hosts_few_are_looked_at() {
    let mut looked_at = 0;
    let mut all = 0;
    for seed in 0..6 {
        let size = Synthetic {
            hosts: 40,
            routes: 120,
            policies: 40,
            seed,
            ..Synthetic::default()
        };
        let files = [vec![("synthetic.yaml".into(), size.yaml())]];
        let mut cluster = resources::parse_layers(&files).unwrap();
        let mut dice = Dice(seed);
        let mut verifier = Verifier::new();
        for step in 0..8 {
            let snapshot = Snapshot::compile(&cluster, &crate::settings()).unwrap();
            let snapshot = Arc::new(snapshot);
            let kept = verifier.verify(&snapshot, &Asked::default());
            let anew = verify(&snapshot);
            assert_eq!(
                format!("{kept:#?}"),
                format!("{anew:#?}"),
                "seed {seed}, step {step}"
            );
            if step > 0 {
                looked_at += verifier.looked_at();
                all += snapshot.listeners().flat_map(|l| l.hosts()).count();
            }
            edit(&mut dice, &mut cluster);
        }
    }
    assert!(looked_at * 4 < all, "{looked_at} of {all} were looked at");
}

/// It leads to no listener of ours.
const ROUTE: &str = "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: apps}
spec:
  hosts: [a.test]
  gateways: [istio-system/out]
  http: [{route: [{destination: {host: one.apps.svc.cluster.local, port: {number: 80}}}]}]
";

/// It has no rules: the first that is more than tried refuses everything.
#[test]
fn a_policy_that_allows_nothing_is_seen() {
    let policy = |name: &str, more: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: {name}, namespace: istio-system{more}}}\nspec: {{action: ALLOW}}\n"
        )
    };
    let tried = policy("tried", ", annotations: {istio.io/dry-run: 'true'}");
    let before = format!("{BASE}{ROUTE}{tried}");
    let after = format!("{before}{}", policy("meant", ""));
    let mut verifier = Verifier::new();
    for text in [&before, &after, &before] {
        let snapshot = Arc::new(compile(&[text]));
        let kept = verifier.verify(&snapshot, &Asked::default());
        assert!(verifier.looked_at() > 0);
        assert_eq!(format!("{kept:#?}"), format!("{:#?}", verify(&snapshot)));
    }
}

#[test]
fn where_nothing_changes_nothing_is_looked_at() {
    let snapshot = Arc::new(compile(&[include_str!(
        "../../../../examples/seed/cluster.yaml"
    )]));
    let mut verifier = Verifier::new();
    verifier.verify(&snapshot, &Asked::default());
    assert!(verifier.looked_at() > 0);
    verifier.verify(&snapshot, &Asked::default());
    assert_eq!(verifier.looked_at(), 0);
}
