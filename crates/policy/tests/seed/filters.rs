//! EnvoyFilters on a gateway, case by case.

use policy::{
    Answers, CheckAnswer, CheckResponse, Entrance, HeaderChange, IstioVersion, NoTrace, Question,
    Settings, Snapshot, Verdict,
};
use serde_json::{Value, json};

use super::{head, status};

const CASES: &str = include_str!("filters.yaml");

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The shorthand of the cases, written out.
fn patch(short: &Value) -> Value {
    if let Some(raw) = short.get("raw") {
        return raw.clone();
    }
    let operation = text(short, "op").unwrap_or("MERGE");
    let patch = match short.get("value") {
        Some(value) => json!({"operation": operation, "value": value}),
        None => json!({"operation": operation}),
    };
    if let Some(apply_to) = text(short, "routes") {
        return json!({"applyTo": apply_to, "match": {"context": "GATEWAY", "routeConfiguration": short["match"]}, "patch": patch});
    }
    let mut filter = json!({"name": "envoy.filters.network.http_connection_manager"});
    if let Some(name) = list(short, "at").next() {
        filter["subFilter"] = json!({"name": name});
    }
    json!({"applyTo": "HTTP_FILTER", "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": filter}}}, "patch": patch})
}

fn compile(suite: &Value, case: &Value) -> Snapshot {
    let patches: Vec<Value> = list(case, "patches").map(patch).collect();
    let filter = json!({
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
        "metadata": {"name": "ef", "namespace": "istio-system"},
        "spec": {"workloadSelector": {"labels": {"istio": "ingressgateway"}}, "configPatches": patches},
    });
    let mesh = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": suite["mesh"].to_string()},
    });
    let custom = case.get("custom") != Some(&Value::Bool(false));
    let custom = text(suite, "custom").filter(|_| custom).unwrap_or_default();
    let all = format!(
        "{}\n---\n{custom}\n---\n{mesh}\n---\n{filter}\n",
        suite["base"].as_str().unwrap()
    );
    let cluster = resources::parse(&[("case.yaml".into(), all)]).unwrap();
    let settings = Settings {
        istio_version: text(case, "version").map(|v| IstioVersion::parse(v).unwrap()),
        ..Settings::default()
    };
    Snapshot::compile(&cluster, &settings).unwrap()
}

/// Headers at the upstream.
type Arrived = Vec<(String, Option<String>)>;

/// Everything that is found: who was asked, the status, what arrives.
fn run(snapshot: &Snapshot, case: &Value) -> (Vec<String>, u16, Arrived) {
    let url = format!(
        "{}{}",
        text(case, "host").unwrap_or("a.example.com"),
        text(case, "path").unwrap_or("/")
    );
    let headers = case.get("headers").and_then(Value::as_object);
    let headers: Vec<(&str, &str)> = headers
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    let method = text(case, "method").unwrap_or("GET");
    let head = head(Entrance::External, method, &url, &headers);
    let mut asked = Vec::new();
    let mut answers = Answers::new();
    loop {
        match policy::decide(snapshot, &head, &answers, &mut NoTrace) {
            Verdict::Ask(Question::Check(check)) => {
                let service = check.settings.service.split('.').next().unwrap();
                asked.push(service.to_owned());
                let response = CheckResponse {
                    status: http::StatusCode::OK,
                    headers: Vec::new(),
                    body: bytes::Bytes::new(),
                };
                answers.check_is(check.id, CheckAnswer::Response(response));
            }
            Verdict::Ask(question) => panic!("{question:?}"),
            verdict => {
                let mut sent = head.headers.clone();
                if let Verdict::Permit(permit) = &verdict {
                    permit
                        .request_headers()
                        .iter()
                        .for_each(|change: &HeaderChange| change.apply(&mut sent));
                }
                let wanted = case.get("sent").and_then(Value::as_object);
                let sent = wanted.into_iter().flatten().map(|(name, _)| {
                    let value = sent.get(name).map(|v| v.to_str().unwrap().to_owned());
                    (name.clone(), value)
                });
                return (asked, status(&verdict), sent.collect());
            }
        }
    }
}

#[test]
fn filter_chains() {
    let suite: Value = serde_saphyr::from_str(CASES).unwrap();
    let cases: Vec<&Value> = list(&suite, "cases").collect();
    assert!(cases.len() > 60, "{}", cases.len());
    for case in cases {
        let name = text(case, "name").unwrap();
        let snapshot = compile(&suite, case);
        let (asked, status, sent) = run(&snapshot, case);
        if let Some(expected) = case.get("asked") {
            assert_eq!(json!(asked), *expected, "{name}: {:?}", snapshot.warnings());
            let expected = case.get("status").map_or(200, |s| s.as_u64().unwrap());
            assert_eq!(u64::from(status), expected, "{name}");
        }
        for (header, found) in sent {
            assert_eq!(json!(found), case["sent"][&header], "{name}: {header}");
        }
        let opaque: Vec<String> = snapshot
            .not_understood()
            .map(|(_, n)| n.to_string())
            .collect();
        let opaque: std::collections::BTreeSet<String> = opaque.into_iter().collect();
        match text(case, "opaque") {
            None => assert!(opaque.is_empty(), "{name}: {opaque:?}"),
            Some(part) => assert!(
                opaque.iter().any(|o| o.contains(part)),
                "{name}: {opaque:?}"
            ),
        }
        let warnings: Vec<String> = snapshot
            .warnings()
            .iter()
            .map(ToString::to_string)
            .collect();
        match text(case, "warns") {
            None => assert_eq!(warnings.len(), opaque.len(), "{name}: {warnings:?}"),
            Some(part) => assert!(
                warnings.iter().any(|w| w.contains(part)),
                "{name}: {warnings:?}"
            ),
        }
    }
}

/// What is not understood is known with its place, and whose answers it may change.
#[test]
fn what_is_not_understood_is_data() {
    let suite: Value = serde_saphyr::from_str(CASES).unwrap();
    let lua = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute", "source_code": {"inline_string": "x"}});
    let value = json!({"typed_per_filter_config": {"strip": lua}});
    let inserted = json!({"name": "strip", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"}});
    for (matching, expected) in [
        (
            json!({"vhost": {"route": {"name": "open"}}}),
            "Route { host: \"a.example.com\"",
        ),
        (
            json!({"vhost": {"domainName": "c.example.com"}}),
            "Host(\"c.example.com\")",
        ),
        (json!({"portNumber": 80}), "Listener"),
    ] {
        let kind = if matching["vhost"].get("route").is_some() {
            "HTTP_ROUTE"
        } else {
            "VIRTUAL_HOST"
        };
        let case = json!({"patches": [
            {"at": [], "op": "INSERT_FIRST", "value": inserted},
            {"routes": kind, "match": matching, "value": value},
        ]});
        let snapshot = compile(&suite, &case);
        let found: Vec<String> = snapshot
            .not_understood()
            .map(|(_, n)| format!("{} {:?}", n.place, n.scope))
            .collect();
        assert!(
            found
                .iter()
                .any(|f| f.starts_with(&format!("spec.configPatches[1] {expected}"))),
            "{matching}: {found:?}"
        );
    }
}

/// As in Kubeflow up to 1.8: a filter of the first form, which is nobody's.
#[test]
fn the_first_form_has_no_effect() {
    let suite: Value = serde_saphyr::from_str(CASES).unwrap();
    let text = format!(
        "{}\n---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{name: add-user-filter, namespace: istio-system}}\nspec: {{workloadLabels: {{istio: ingressgateway}}, filters: [{{filterName: envoy.lua, filterType: HTTP}}]}}\n",
        suite["base"].as_str().unwrap()
    );
    let cluster = resources::parse(&[("f".into(), text)]).unwrap();
    let snapshot = Snapshot::compile(&cluster, &Settings::default()).unwrap();
    let warnings: Vec<String> = snapshot
        .warnings()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("spec.filters: the form of Istio before 1.4")),
        "{warnings:?}"
    );
    assert_eq!(snapshot.not_understood().count(), 0);
}

/// Access levels have no name in the chain that a patch could use.
#[test]
fn no_patch_reaches_access_levels() {
    let off =
        r#"{"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}"#;
    let filter = format!(
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{name: f, namespace: istio-system}}\nspec:\n  configPatches:\n  \
         - {{applyTo: HTTP_FILTER, match: {{context: GATEWAY}}, patch: {{operation: MERGE, value: {{name: all}}}}}}\n  \
         - {{applyTo: ROUTE_CONFIGURATION, match: {{context: GATEWAY}}, patch: {{operation: MERGE, value: {{typed_per_filter_config: {{\"\": {off}, all: {off}}}}}}}}}\n"
    );
    let snapshot = super::compile(&[super::CLUSTER, super::SIDEGATE, &filter]);
    let request = head(Entrance::External, "GET", "kf.example.com/", &[]);
    let (verdict, _) = super::walk(&snapshot, &request, &policy::Caller::Anonymous);
    assert!(matches!(verdict, Verdict::Denial(_)), "{verdict:?}");
}
