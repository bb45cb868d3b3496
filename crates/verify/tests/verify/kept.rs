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

/// Two hosts and all that are below a third, two rules with hosts, one without.
const FEW: &str = "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: apps}
spec:
  hosts: [a.test]
  gateways: [istio-system/out]
  http:
  - {match: [{uri: {prefix: /x/t}, headers: {x-a: {exact: v}}}], route: [{destination: {host: two.apps.svc.cluster.local, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /x}}], route: [{destination: {host: one.apps.svc.cluster.local, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /xy}}], route: [{destination: {host: two.apps.svc.cluster.local, port: {number: 80}}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: b, namespace: apps}
spec:
  hosts: [b.test]
  gateways: [istio-system/out]
  http: [{route: [{destination: {host: two.apps.svc.cluster.local, port: {number: 80}}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: c, namespace: apps}
spec:
  hosts: ['*.c.test']
  gateways: [istio-system/out]
  http: [{route: [{destination: {host: one.apps.svc.cluster.local, port: {number: 80}}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a, namespace: istio-system}
spec: {action: DENY, rules: [{to: [{operation: {hosts: [a.test], paths: [/x/secret]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: any, namespace: istio-system}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: b, namespace: istio-system}
spec: {action: DENY, rules: [{to: [{operation: {hosts: [b.test], paths: [/y*]}}]}]}
";

/// One change, there and back: the answers are those found anew, and so many
/// virtual hosts are looked at.
fn check(from: &str, to: &str, looked_at: usize) {
    let base = BASE.replace(
        "mode: as-written",
        "mode: as-written, platform: {namespaces: [apps]}",
    );
    let texts = [
        format!("{base}{FEW}"),
        format!("{base}{}", FEW.replace(from, to)),
    ];
    assert_ne!(texts[0], texts[1], "{from}");
    let [before, after] = texts.map(|text| Arc::new(compile(&[&text])));
    let mut verifier = Verifier::new();
    for (step, snapshot) in [&before, &after, &before].into_iter().enumerate() {
        let kept = verifier.verify(snapshot, &Asked::default());
        let anew = verify(snapshot);
        assert_eq!(
            format!("{kept:#?}"),
            format!("{anew:#?}"),
            "{to}, step {step}"
        );
        if step == 1 {
            assert_eq!(verifier.looked_at(), looked_at, "{to}");
        }
    }
}

#[test]
fn one_change_is_looked_at_where_it_can_matter() {
    let hosts = "hosts: [b.test]\n";
    // Another route, other order of routes, no route any more.
    check("prefix: /xy", "prefix: /xz", 1);
    check("prefix: /x}", "exact: /x}", 1);
    check("prefix: /xy", "prefix: /", 1);
    // A virtual host has another name, or one more has the same routes: what is
    // below a wildcard changes, too.
    check(hosts, "hosts: [d.c.test]\n", 2);
    check(hosts, "hosts: [b.test, d.c.test]\n", 3);
    check("hosts: ['*.c.test']", "hosts: ['*']", 1);
    // Two objects about one host, and one object twice.
    check(hosts, "hosts: [a.test]\n", 2);
    // At the end: what moves within a file has changed.
    let b = FEW.split("---\n").nth(2).unwrap();
    let too = b.replace("name: b,", "name: b-too,");
    let last = "hosts: [b.test], paths: [/y*]}}]}]}\n";
    check(last, &format!("{last}---\n{too}"), 1);
    // A rule about one host, about no host, about many.
    check("/x/secret", "/x/other", 1);
    check("paths: [/admin]", "paths: [/admins]", 3);
    // Whatever stands in place of a port can end so, under any host.
    check("hosts: [a.test], paths", "hosts: ['*.c.test'], paths", 3);
    check("hosts: [a.test], paths", "hosts: ['*.test'], paths", 3);
    check("hosts: [a.test], paths", "hosts: [b.test], paths", 2);
    // What only one host compares divides requests nowhere else.
    check(
        "{match: [{uri: {prefix: /xy}}]",
        "{match: [{uri: {prefix: /xy}, headers: {x-new: {exact: v}}}]",
        1,
    );
    // What everything looks at.
    check(
        "{match: [{uri: {prefix: /xy}}]",
        "{match: [{uri: {prefix: /xy}, headers: {cookie: {exact: v}}}]",
        3,
    );
    check("exact: v}", "exact: w}", 1);
    check("paths: [/admin]", "notPaths: [/admin], methods: [PUT]", 3);
}

/// Another listener is another frame.
#[test]
fn one_more_listener_is_seen() {
    let one_more = "[{hosts: [\"*\"], port: {number: 80, name: http, protocol: HTTP}}, \
                    {hosts: [\"*\"], port: {number: 81, name: more, protocol: HTTP}}]";
    let before = format!("{BASE}{FEW}");
    let servers = "[{hosts: [\"*\"], port: {number: 80, name: http, protocol: HTTP}}]";
    let after = before.replace(servers, one_more);
    assert_ne!(before, after);
    let mut verifier = Verifier::new();
    for text in [&before, &after, &before] {
        let snapshot = Arc::new(compile(&[text]));
        let kept = verifier.verify(&snapshot, &Asked::default());
        assert_eq!(format!("{kept:#?}"), format!("{:#?}", verify(&snapshot)));
        let hosts = snapshot.listeners().flat_map(|l| l.hosts());
        assert_eq!(verifier.looked_at(), hosts.count());
    }
}

/// Rules on paths that name several hosts, in any order: their numbers change,
/// and which of them is escaped first, under which host.
#[test]
fn rules_on_paths_come_and_go() {
    let hosts = ["a.test", "b.test", "c.test", "d.test"];
    let mut looked_at = 0;
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let mut base = BASE.to_owned();
        for host in hosts {
            let name = host.replace('.', "-");
            base.push_str(&format!(
                "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
                 metadata: {{name: {name}, namespace: apps}}\n\
                 spec:\n  hosts: [{host}]\n  gateways: [istio-system/out]\n  http:\n  \
                 - {{route: [{{destination: {{host: one.apps.svc.cluster.local, port: {{number: 80}}}}}}]}}\n"
            ));
        }
        let rule: Make = |dice, index| {
            let hosts = dice.some(&["a.test", "b.test", "c.test", "d.test"]);
            let hosts = match dice.roll(5) {
                0 => String::new(),
                _ => format!("hosts: {hosts}, "),
            };
            let path = dice.pick(&["/x", "/x/*", "/y", "/z/z", "/w*"]);
            format!(
                "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                 metadata: {{name: p{index}, namespace: istio-system}}\n\
                 spec: {{action: DENY, rules: [{{to: [{{operation: {{{hosts}paths: [{path:?}]}}}}]}}]}}\n"
            )
        };
        let mut rules = Objects::new(&mut dice, rule, 4);
        let mut verifier = Verifier::new();
        for step in 0..10 {
            let mut layer: Vec<resources::File> = vec![("base.yaml".into(), base.clone())];
            layer.extend(rules.all.clone());
            let cluster = resources::parse_layers(&[layer]).unwrap();
            let snapshot = Arc::new(Snapshot::compile(&cluster, &crate::settings()).unwrap());
            let kept = verifier.verify(&snapshot, &Asked::default());
            let anew = format!("{:#?}", verify(&snapshot));
            assert_eq!(format!("{kept:#?}"), anew, "seed {seed}, step {step}");
            looked_at += verifier.looked_at();
            match dice.roll(3) {
                0 => {
                    let (one, other) = (dice.roll(rules.all.len()), dice.roll(rules.all.len()));
                    rules.all.swap(one, other);
                }
                _ => rules.change(&mut dice),
            }
            if rules.all.is_empty() {
                rules.add(&mut dice);
            }
        }
    }
    assert!(looked_at < 12 * 10 * 4, "nothing was kept");
}
