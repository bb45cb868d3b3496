//! The page, read as a browser reads it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod document;

use std::collections::BTreeSet;

use base64::Engine as _;
use document::Document;
use policy::{Settings, Snapshot};
use report::{Compared, Input};
use resources::{Cluster, File};
use sha2::{Digest, Sha256};
use verify::Verdict;

const CLUSTER: &str = include_str!("../../../../examples/seed/cluster.yaml");
const BLOG_FIX: &str = include_str!("../../../../examples/seed/blog-fix.yaml");
const SIDEGATE: &str = include_str!("../../../../examples/seed/sidegate.yaml");
const KUBEFLOW: &str = include_str!("../../../../examples/kubeflow/cluster.yaml");

fn read(texts: &[&str]) -> (Cluster, Snapshot) {
    let layers: Vec<Vec<File>> = texts
        .iter()
        .map(|text| vec![("test.yaml".into(), (*text).to_owned())])
        .collect();
    let cluster = resources::parse_layers(&layers).unwrap();
    let settings = Settings {
        provider_paths: vec!["/dex/auth".into(), "/dex/token".into()],
        login_paths: vec!["/login/oidc".into()],
        ..Settings::default()
    };
    let snapshot = Snapshot::compile(&cluster, &settings).unwrap();
    (cluster, snapshot)
}

fn page(texts: &[&str]) -> (String, verify::Report) {
    let (cluster, snapshot) = read(texts);
    let report = verify::verify(&snapshot);
    let lints = lint::lint(&cluster, &snapshot);
    let html = report::page(&Input {
        name: "test",
        cluster: &cluster,
        snapshot: &snapshot,
        report: &report,
        lints: &lints,
        external: "http://127.0.0.1:8080",
        local: "http://127.0.0.1:8081",
        compared: None,
    });
    (html.unwrap(), report)
}

fn compared(old: &[&str], new: &[&str]) -> String {
    let ((cluster, snapshot), (other, after)) = (read(old), read(new));
    let (report, later) = (verify::verify(&snapshot), verify::verify(&after));
    let difference = verify::diff(&snapshot, &after);
    let html = report::page(&Input {
        name: "old",
        cluster: &cluster,
        snapshot: &snapshot,
        report: &report,
        lints: &[],
        external: "http://127.0.0.1:8080",
        local: "http://127.0.0.1:8081",
        compared: Some(Compared {
            name: "new",
            cluster: &other,
            snapshot: &after,
            report: &later,
            difference: &difference,
        }),
    });
    html.unwrap()
}

/// Whole, well formed, and nothing from elsewhere.
fn check(html: &str) -> Document {
    let document = Document::parse(html);
    assert_eq!(document.errors, Vec::<String>::new());
    for name in ["head", "h1", "main", "style", "script"] {
        assert_eq!(document.all(name).count(), 1, "{name}");
    }
    let mut ids = BTreeSet::new();
    for element in &document.elements {
        if let Some(id) = element.attribute("id") {
            assert!(ids.insert(id.to_owned()), "twice: {id}");
        }
    }
    for element in &document.elements {
        for (name, value) in &element.attributes {
            assert!(
                !name.starts_with("on") && name != "style" && name != "src",
                "{name}={value}"
            );
            if name == "href" {
                let own = value.strip_prefix('#').is_some_and(|id| ids.contains(id));
                assert!(own || value == "data:,", "{value}");
            }
            if name == "aria-labelledby" || name == "for" {
                let known = value.split(' ').all(|id| ids.contains(id));
                assert!(known, "{name}={value}");
            }
        }
        let level: Option<u8> = element.name.strip_prefix('h').and_then(|n| n.parse().ok());
        if level.is_some() {
            assert!(!element.text.trim().is_empty(), "an empty heading");
        }
    }
    let style = &document.all("style").next().unwrap().text;
    assert!(!style.contains("url(") && !style.contains("@import"));
    let meta = document.all("meta");
    let policy = meta
        .filter_map(|m| m.attribute("http-equiv").and(m.attribute("content")))
        .next()
        .unwrap();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    for name in ["style", "script"] {
        let text = &document.all(name).next().unwrap().text;
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text));
        let allowed = format!("{name}-src 'sha256-{hash}'");
        assert!(policy.contains(&allowed), "{allowed}\n{policy}");
    }
    document
}

#[test]
fn each_example_is_a_whole_page_with_the_verdicts_of_verify() {
    for texts in [
        &[CLUSTER][..],
        &[CLUSTER, BLOG_FIX],
        &[CLUSTER, SIDEGATE],
        &[KUBEFLOW],
    ] {
        let (html, report) = page(texts);
        let document = check(&html);
        for claim in &report.claims {
            let summary = document.summary_of(claim.id());
            let verdict = match report.verdict(claim) {
                Verdict::Holds => "holds",
                Verdict::Violated => "violated",
                Verdict::NotDecided => "not decided",
                Verdict::Vacuous => "says nothing",
            };
            assert!(summary.contains(claim.statement()), "{summary}");
            assert!(summary.contains(verdict), "{summary}: {verdict}");
        }
        for finding in &report.findings {
            let curl = finding.witness.curl(match finding.witness.head.entrance {
                policy::Entrance::External => "http://127.0.0.1:8080",
                policy::Entrance::Local => "http://127.0.0.1:8081",
            });
            assert!(document.all("pre").any(|pre| pre.text == curl), "{curl}");
        }
        assert_eq!(document.all("svg").count(), 2, "the picture and the sign");
    }
}

#[test]
fn a_comparison_shows_both_and_what_changes() {
    let document = check(&compared(&[CLUSTER], &[CLUSTER, BLOG_FIX]));
    let captions: Vec<&str> = document
        .all("figcaption")
        .map(|c| c.text.as_str())
        .collect();
    assert_eq!(captions, ["Before", "After"]);
    let text = document.text();
    assert!(
        text.contains("reach something they did not reach"),
        "{text}"
    );
    assert!(
        document
            .summary_of("platform-needs-login")
            .contains("violated")
    );
}

#[test]
fn who_gets_in_is_said_for_each_route() {
    let (html, _) = page(&[CLUSTER, BLOG_FIX]);
    let document = check(&html);
    let rows: Vec<&str> = document.all("tr").map(|row| row.text.as_str()).collect();
    let dashboard = rows
        .iter()
        .find(|r| r.contains("kubeflow/centraldashboard"))
        .unwrap();
    assert!(dashboard.contains("anyone, some requests"), "{dashboard}");
    let (html, _) = page(&[CLUSTER, SIDEGATE]);
    let document = check(&html);
    let rows: Vec<&str> = document.all("tr").map(|row| row.text.as_str()).collect();
    let dashboard = rows
        .iter()
        .find(|r| r.contains("kubeflow/centraldashboard"))
        .unwrap();
    assert!(
        dashboard.contains("who logs in") && dashboard.contains("level login"),
        "{dashboard}"
    );
    assert!(rows.iter().any(|r| r.contains("any workload")), "{rows:?}");
}

/// Names, hosts, paths and values that would be markup if they were not escaped.
#[test]
fn what_a_configuration_says_is_text() {
    const HOSTILE: &str =
        r#"</script></style></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;"#;
    let yaml = format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: gateway, namespace: istio-system}}
spec: {{selector: {{istio: ingressgateway}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: "{HOSTILE}", namespace: istio-system}}
spec: {{selector: {{istio: ingressgateway}}, servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ["*"]}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: "{HOSTILE}", namespace: "{HOSTILE}"}}
spec:
  hosts: ["{HOSTILE}.example.com", "*"]
  gateways: ["istio-system/{HOSTILE}"]
  http:
  - name: "{HOSTILE}"
    match: [{{uri: {{prefix: "/{HOSTILE}"}}, headers: {{x-a: {{exact: "{HOSTILE}"}}}}}}]
    route: [{{destination: {{host: "{HOSTILE}"}}}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: "{HOSTILE}", namespace: istio-system}}
spec: {{action: DENY, rules: [{{to: [{{operation: {{paths: ["/{HOSTILE}", "/a/**/b"], hosts: ["{HOSTILE}"]}}}}]}}]}}
"#
    );
    let (html, _) = page(&[&yaml]);
    let document = check(&html);
    assert_eq!(document.all("img").count(), 0);
    assert!(
        document.text().contains("<img src=x onerror=alert(1)>"),
        "shown as text"
    );
}

#[test]
fn many_routes_are_still_a_page() {
    let size = testkit::Synthetic {
        hosts: 60,
        routes: 500,
        policies: 60,
        ..testkit::Synthetic::default()
    };
    let (html, report) = page(&[&size.yaml()]);
    assert!(html.len() < 2_000_000, "{}", html.len());
    let document = check(&html);
    assert!(document.all("tr").count() >= 500);
    // Three ways of each claim at a glance, the others on demand.
    let ways = |claim| {
        report
            .findings
            .iter()
            .filter(move |f| f.claim == claim)
            .count()
    };
    let many = report
        .claims
        .iter()
        .filter(|claim| ways((*claim).clone()) > 4)
        .count();
    assert!(many > 0);
    assert_eq!(html.matches("<details class=\"rest\">").count(), many);
    // Drawn by group: a picture, not a list.
    let drawn = document.all("rect").count();
    assert!((10..=80).contains(&drawn), "{drawn}");
}

/// What is left beyond the largest groups is drawn together, unless it is one.
#[test]
fn a_group_that_is_left_alone_keeps_its_name() {
    let gateway = |name: &str, port: u16| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: istio-system}}\nspec: {{selector: {{istio: gw}}, servers: [{{hosts: [\"*\"], port: {{number: {port}, name: http, protocol: HTTP}}}}]}}\n"
        )
    };
    let service = |name: &str, host: &str, gateway: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: apps}}\nspec: {{hosts: [{host}], gateways: [istio-system/{gateway}], http: [{{route: [{{destination: {{host: app.apps.svc.cluster.local}}}}]}}]}}\n"
        )
    };
    let mut text = "apiVersion: v1\nkind: Service\nmetadata: {name: gw, namespace: istio-system}\nspec: {selector: {istio: gw}, ports: [{port: 80, targetPort: 8080}]}\n".to_owned();
    text.push_str("---\napiVersion: v1\nkind: Service\nmetadata: {name: app, namespace: apps}\nspec: {ports: [{port: 80}]}\n");
    text.push_str(&gateway("many", 80));
    text.push_str(&gateway("one", 9000));
    for domain in 0..20 {
        for host in ["a", "b"] {
            let name = format!("{host}{domain}");
            text.push_str(&service(&name, &format!("{host}.d{domain}.test"), "many"));
        }
    }
    text.push_str(&service("alone", "alone.other.test", "one"));
    let (html, _) = page(&[&text]);
    let drawn: Vec<&str> = html
        .split('>')
        .filter(|text| text.contains("smaller groups"))
        .collect();
    assert!(!drawn.is_empty(), "nothing is drawn together");
    assert!(
        !drawn.iter().any(|text| text.starts_with("1 smaller")),
        "{drawn:?}"
    );
}

/// However many routes there are, the page ends.
#[test]
fn a_page_has_a_bound() {
    let size = testkit::Synthetic {
        hosts: 250,
        routes: 2_250,
        policies: 0,
        ..testkit::Synthetic::default()
    };
    let (html, _) = page(&[&size.yaml()]);
    assert!(html.len() < 2_000_000, "{}", html.len());
    let rows = html.matches("<td data-name=\"Matches\">").count();
    assert!((1_950..=2_000).contains(&rows), "{rows}");
    assert!(html.contains("routes are left out"));
}

#[test]
fn nothing_at_all_is_said_to_be_nothing() {
    let document = check(&page(&["# nothing\n"]).0);
    assert!(document.text().contains("No request arrives anywhere"));
}
