//! Statements of one's own about the seed's cluster.

use verify::{Asked, Claim, Intent, Report, Verdict};

use crate::{compile, settings};

const CLUSTER: &str = include_str!("../../../../examples/seed/cluster.yaml");
const BLOG_FIX: &str = include_str!("../../../../examples/seed/blog-fix.yaml");
const SIDEGATE: &str = include_str!("../../../../examples/seed/sidegate.yaml");

/// What comes out for intents, in their order.
pub(crate) fn ask(texts: &[&str], intents: &str) -> (Report, Vec<Verdict>) {
    let layers: Vec<Vec<resources::File>> = texts
        .iter()
        .map(|t| vec![("test.yaml".into(), (*t).to_owned())])
        .collect();
    let cluster = resources::parse_layers(&layers).unwrap();
    let snapshot = policy::Snapshot::compile(&cluster, &settings()).unwrap();
    let statements = resources::parse_statements(&"intents.yaml".into(), intents).unwrap();
    let asked = Asked {
        intents: Intent::resolve(&cluster, &statements.intents),
        ..Asked::default()
    };
    let report = verify::verify_with(&snapshot, &asked);
    let verdicts = report
        .claims
        .iter()
        .filter(|c| matches!(c, Claim::Intent(_)))
        .map(|c| report.verdict(c))
        .collect();
    (report, verdicts)
}

/// One intent a line, with what comes out in each of the three stages.
#[test]
fn intents_in_the_three_stages_of_the_seed() {
    use Verdict::{Holds as H, Vacuous as N, Violated as X};
    let table = [
        ("{from: outside, to: platform, expect: login}", [H, X, H]),
        ("{from: outside, to: platform, expect: deny}", [H, X, H]),
        (
            "{from: outside, identity: login, to: platform, expect: allow}",
            [H, H, H],
        ),
        ("{from: inside, to: model, expect: allow}", [X, X, H]),
        (
            "{from: {namespace: default}, to: model, expect: allow}",
            [X, X, H],
        ),
        (
            "{from: {namespace: default, labels: {app: myapp}}, to: model, expect: allow}",
            [X, X, H],
        ),
        ("{from: outside, to: model, expect: deny}", [H, X, H]),
        ("{from: outside, to: model, expect: token}", [X, X, H]),
        (
            "{from: outside, identity: token, to: model, expect: allow}",
            [N, N, H],
        ),
        (
            "{from: outside, identity: token, to: platform, expect: deny}",
            [N, N, H],
        ),
        (
            "{from: outside, identity: login, to: model, expect: allow}",
            [H, H, X],
        ),
        ("{to: foreign, expect: allow}", [X, X, H]),
        (
            "{from: outside, to: {host: shop.example.com}, expect: allow}",
            [X, X, H],
        ),
        (
            "{from: outside, to: {service: kubeflow/centraldashboard}, expect: deny}",
            [H, X, H],
        ),
        (
            "{from: outside, to: {owner: platform, path: /v1*}, expect: login}",
            [H, X, H],
        ),
        (
            "{from: outside, to: {owner: platform, path: /pipeline/*}, expect: login}",
            [H, H, H],
        ),
        (
            "{from: {namespace: nowhere}, to: model, expect: deny}",
            [N, N, N],
        ),
        (
            "{from: {namespace: default, labels: {app: nobody}}, to: model, expect: deny}",
            [N, N, N],
        ),
        (
            "{to: {service: kubeflow/dashbord}, expect: deny}",
            [N, N, N],
        ),
    ];
    let text: String = table
        .iter()
        .map(|(intent, _)| format!("- {intent}\n"))
        .collect();
    for (stage, texts) in [&[CLUSTER][..], &[CLUSTER, BLOG_FIX], &[CLUSTER, SIDEGATE]]
        .into_iter()
        .enumerate()
    {
        let (report, found) = ask(texts, &text);
        for ((intent, expected), found) in table.iter().zip(&found) {
            assert_eq!(
                *found, expected[stage],
                "stage {stage}: {intent}\n{:?}\n{:?}",
                report.undecided, report.vacuous
            );
        }
    }
}

#[test]
fn a_limit_tells_callers_apart() {
    let limited = CLUSTER.replace(
        "  name: \"sklearn-iris\"\n",
        "  name: sklearn-iris\n  annotations: {sidegate.dev/allow-namespaces: team, sidegate.dev/allow-service-accounts: other/robot}\n",
    );
    assert_ne!(limited, CLUSTER);
    let more = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n";
    let intents = "
- {from: {namespace: team}, to: model, expect: allow}
- {from: {namespace: other}, to: model, expect: deny}
- {from: {namespace: other, serviceAccount: robot}, to: model, expect: allow}
- {from: {namespace: other, serviceAccount: human}, to: model, expect: deny}
- {from: {namespace: default}, to: model, expect: deny}
- {from: inside, to: model, expect: deny}
- {from: outside, identity: token, to: model, expect: deny}
";
    let (report, found) = ask(&[&limited, more, SIDEGATE], intents);
    use Verdict::{Holds, Violated};
    assert_eq!(
        found,
        [Holds, Violated, Holds, Holds, Holds, Violated, Violated],
        "{:?}",
        report.undecided
    );
    let robot = report.findings.iter().find(|f| f.claim.id() == "intent-2");
    assert_eq!(
        robot.unwrap().witness.caller().unwrap(),
        "from a pod of ServiceAccount other/robot"
    );
}

/// A role of Kubernetes tells callers apart as a limit does.
#[test]
fn a_role_tells_callers_apart() {
    let ours = SIDEGATE.replacen("spec:\n", "spec:\n  rbac: enforce\n", 1);
    assert_ne!(ours, SIDEGATE);
    let more = "
apiVersion: v1
kind: Namespace
metadata: {name: team}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: see-models}
rules: [{verbs: [get], apiGroups: [serving.kserve.io], resources: [inferenceservices]}]
";
    let bound = "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewers, namespace: kserve-test}
roleRef: {kind: ClusterRole, name: see-models}
subjects:
- {kind: Group, name: 'system:serviceaccounts:team'}
- {kind: ServiceAccount, name: robot, namespace: other}
";
    let intents = "
- {from: {namespace: team}, to: model, expect: allow}
- {from: {namespace: other}, to: model, expect: deny}
- {from: {namespace: other, serviceAccount: robot}, to: model, expect: allow}
- {from: {namespace: other, serviceAccount: human}, to: model, expect: deny}
- {from: {namespace: default}, to: model, expect: deny}
- {from: inside, to: model, expect: deny}
- {from: outside, identity: token, to: model, expect: deny}
";
    use Verdict::{Holds, Violated};
    let (report, found) = ask(&[CLUSTER, more, bound, &ours], intents);
    assert_eq!(
        found,
        [Holds, Violated, Holds, Holds, Holds, Violated, Violated],
        "{:?}",
        report.undecided
    );
    // Nobody has the role.
    let (report, found) = ask(&[CLUSTER, more, &ours], intents);
    assert_eq!(
        found,
        [Violated, Holds, Violated, Holds, Holds, Holds, Holds],
        "{:?}",
        report.undecided
    );
}

#[test]
fn a_fix_keeps_what_the_sidegate_object_says() {
    let sidegate = SIDEGATE.replace("mode: enforce", "mode: as-written").replace(
        "spec:\n",
        "spec:\n  intents:\n  - {name: nobody sells, from: outside, to: {host: shop.example.com}, expect: allow}\n",
    );
    let texts = [CLUSTER, BLOG_FIX, &sidegate];
    let layers: Vec<Vec<resources::File>> = texts
        .iter()
        .map(|t| vec![("test.yaml".into(), (*t).to_owned())])
        .collect();
    let cluster = resources::parse_layers(&layers).unwrap();
    let intents = &cluster.sidegate.as_ref().unwrap().spec.intents;
    let own = Asked {
        intents: Intent::resolve(&cluster, intents),
        ..Asked::default()
    };
    assert_eq!(own.intents[0].id(), "nobody-sells");
    let proposals = verify::fix(&cluster, &compile(&texts), &own, |yaml| {
        let mut all = texts.to_vec();
        all.push(yaml);
        Some(compile(&all))
    });
    for proposal in &proposals {
        assert!(
            proposal.is_complete(),
            "{}\n{:?}",
            proposal.yaml,
            proposal.report
        );
        assert_eq!(proposal.report.claims.len(), Claim::BUILT_IN.len() + 1);
    }
    let ours = &proposals[1].yaml;
    assert!(
        ours.contains(r#"  intents: [{"expect":"allow","from":"outside""#),
        "{ours}"
    );
}
