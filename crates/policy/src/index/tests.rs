//! With and without an index the decision is the same.

use std::net::SocketAddr;

use http::{HeaderMap, Method};

use crate::{
    Answers, Entrance, Everything, NoTrace, RequestHead, Scheme, Settings, Snapshot, decide,
};

const FRAME: &str = "
apiVersion: v1
kind: Service
metadata: {name: ingress, namespace: istio-system}
spec: {selector: {istio: gw}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: istio-system}
spec: {ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: out, namespace: istio-system}
spec: {selector: {istio: gw}, servers: [{hosts: ['*'], port: {number: 80, name: http, protocol: HTTP}}]}
";

const PATHS: [&str; 7] = ["/", "/a", "/a/b", "/ab", "/a/b/c", "/b", "/B"];
const HOSTS: [&str; 5] = ["a.test", "A.test", "a.test:80", "b.a.test", "other"];

fn pick<'a>(list: &[&'a str], number: usize) -> &'a str {
    list[number % list.len()]
}

fn cluster() -> String {
    let mut text = FRAME.to_owned();
    text.push_str(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: istio-system}\nspec:\n  hosts: ['*']\n  gateways: [out]\n  http:\n",
    );
    for number in 0..60 {
        let path = pick(&PATHS, number * 5);
        let kind = pick(&["exact", "prefix", "regex"], number / 3);
        let method = pick(&["GET", "POST", "PUT", "PATCH"], number * 3);
        let tail = match kind {
            "regex" => pick(&["", "(/.*)?", "[a-z]", "|/b.*"], number),
            _ => "",
        };
        let fold = pick(&["true", "false", "false"], number);
        text.push_str(&format!(
            "  - {{name: r{number}, match: [{{uri: {{{kind}: '{path}{tail}'}}, ignoreUriCase: {fold}, method: {{exact: {method}}}}}], rewrite: {{uri: /r{number}}}, route: [{{destination: {{host: one}}}}]}}\n"
        ));
    }
    for number in 0..80 {
        let action = pick(&["ALLOW", "DENY", "ALLOW", "ALLOW"], number);
        let path = format!(
            "{}{}",
            pick(&PATHS, number / 4),
            pick(&["", "*", "/{*}"], number)
        );
        let (hosts, paths) = match number % 5 {
            0 => (
                pick(&["a.test", "*.test", "a.test:*"], number / 5).to_owned(),
                path,
            ),
            1 => (
                pick(&["A.test", "other"], number).to_owned(),
                "*b".to_owned(),
            ),
            2 => ("*".to_owned(), path),
            _ => (pick(&HOSTS, number).to_owned(), path),
        };
        let field = pick(&["paths", "notPaths", "paths"], number / 2);
        let method = pick(&["GET", "POST", "PUT", "P*"], number * 7);
        text.push_str(&format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{number}, namespace: istio-system}}\nspec: {{action: {action}, rules: [{{to: [{{operation: {{hosts: ['{hosts}'], {field}: ['{paths}'], methods: ['{method}']}}}}]}}]}}\n"
        ));
    }
    text
}

#[test]
fn with_and_without_an_index_the_decision_is_the_same() {
    let cluster = resources::parse_layers(&[vec![("test.yaml".into(), cluster())]]).unwrap();
    let snapshot = Snapshot::compile(&cluster, &Settings::default()).unwrap();
    let mut answers = std::collections::BTreeSet::new();
    for authority in HOSTS {
        for path in PATHS {
            for tail in ["", "/", "b", "/b", "/x"] {
                for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH] {
                    let head = RequestHead {
                        entrance: Entrance::External,
                        method,
                        scheme: Scheme::Http,
                        authority: authority.to_owned(),
                        path: format!("{path}{tail}"),
                        query: None,
                        headers: HeaderMap::new(),
                        peer: SocketAddr::from(([10, 0, 0, 1], 1)),
                        connection: crate::Connection::default(),
                        workload: None,
                    };
                    let found = decide(&snapshot, &head, &Answers::new(), &mut NoTrace);
                    let all = &mut Everything::default();
                    let compared = decide(&snapshot, &head, &Answers::new(), all);
                    assert_eq!(format!("{found:?}"), format!("{compared:?}"), "{head:?}");
                    answers.insert(format!("{found:?}"));
                }
            }
        }
    }
    assert!(
        answers.len() > 15,
        "only {} different answers",
        answers.len()
    );
}
