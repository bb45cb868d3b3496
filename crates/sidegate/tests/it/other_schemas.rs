//! What `sidegate authz manifests --for` prints for gateways that are not started here, by the schemas that their projects
//! publish (`cargo xtask record --schemas`).

use regex::Regex;
use serde_json::{Value, json};

use super::other_gateways::printed;

const ENVOY_GATEWAY: &str = include_str!("../schemas/envoy-gateway.json");
const CONTOUR: &str = include_str!("../schemas/contour.json");
const TRAEFIK: &str = include_str!("../schemas/traefik.json");

/// What an API server would say of a value, apart from rules in CEL.
fn wrong(value: &Value, schema: &Value, at: &str, found: &mut Vec<String>) {
    let number = |name: &str| schema[name].as_f64();
    let mut say = |what: String| found.push(format!("{at}: {what}"));
    let kind = match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::Null => "null",
    };
    if schema["x-kubernetes-int-or-string"] != true && schema["type"] != kind {
        say(format!("is of the type {kind}, not {}", schema["type"]));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        say(format!("`{value}` is none of {words:?}"));
    }
    let length = match value {
        Value::String(text) => Some((text.chars().count(), "minLength", "maxLength")),
        Value::Array(items) => Some((items.len(), "minItems", "maxItems")),
        _ => None,
    };
    if let Some((length, least, most)) = length {
        let length = u32::try_from(length).map(f64::from).unwrap();
        if number(least).is_some_and(|least| length < least)
            || number(most).is_some_and(|most| length > most)
        {
            say(format!("has the length {length}"));
        }
    }
    if let Some(value) = value.as_f64()
        && (number("minimum").is_some_and(|least| value < least)
            || number("maximum").is_some_and(|most| value > most))
    {
        say(format!("is {value}"));
    }
    if let (Some(text), Some(pattern)) = (value.as_str(), schema["pattern"].as_str())
        && !Regex::new(pattern).unwrap().is_match(text)
    {
        say(format!("`{text}` is not as `{pattern}`"));
    }
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if value.get(name).is_none() {
            say(format!("`{name}` is missing"));
        }
    }
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let known = schema["properties"].get(name);
                let known = known.or_else(|| schema.get("additionalProperties"));
                match known {
                    Some(known) => wrong(field, known, &format!("{at}.{name}"), found),
                    None => found.push(format!("{at}: `{name}` is no field")),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                wrong(item, &schema["items"], &format!("{at}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn all_wrong(value: &Value, schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    wrong(value, schema, "spec", &mut found);
    found
}

#[test]
fn what_is_printed_fits_the_schemas_of_its_gateway() {
    for (gateway, schemas, kinds) in [
        ("envoy-gateway", ENVOY_GATEWAY, &["SecurityPolicy"][..]),
        ("contour", CONTOUR, &["ExtensionService"]),
        ("traefik", TRAEFIK, &["Middleware", "IngressRoute"]),
    ] {
        let schemas: Value = serde_json::from_str(schemas).unwrap();
        let (text, objects) = printed(gateway, &[]);
        for kind in kinds {
            let mut of_kind = objects
                .iter()
                .filter(|object| object["kind"] == *kind)
                .peekable();
            assert!(of_kind.peek().is_some(), "{gateway}: no {kind}");
            for object in of_kind {
                let said = all_wrong(&object["spec"], &schemas[*kind]);
                assert!(said.is_empty(), "{gateway}: {kind}: {said:?}\n{object}");
            }
        }
        if gateway == "contour" {
            // Of a HTTPProxy a part is printed, in a comment.
            let schema =
                &schemas["HTTPProxy"]["properties"]["virtualhost"]["properties"]["authorization"];
            let parts = text
                .lines()
                .filter_map(|line| line.split_once("authorization: "));
            let said: Vec<Vec<String>> = parts
                .map(|(_, part)| all_wrong(&serde_saphyr::from_str(part).unwrap(), schema))
                .collect();
            assert_eq!(said, vec![Vec::<String>::new(); 2], "{text}");
        }
    }
}

#[test]
fn what_an_api_server_would_refuse_is_found() {
    let schemas: Value = serde_json::from_str(ENVOY_GATEWAY).unwrap();
    let refs = json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}]);
    let with = |auth: Value| json!({"targetRefs": refs, "extAuth": auth});
    let backend = |port: i64| json!({"http": {"backendRefs": [{"name": "a", "port": port}]}});
    for (auth, says) in [
        (backend(9000), ""),
        (
            backend(90_000),
            "spec.extAuth.http.backendRefs[0].port: is 90000",
        ),
        (
            json!({"failOpen": "no"}),
            "spec.extAuth.failOpen: is of the type string",
        ),
        (
            json!({"failopen": false}),
            "spec.extAuth: `failopen` is no field",
        ),
        (
            json!({"http": {"backendRefs": [{"port": 1}]}}),
            "spec.extAuth.http.backendRefs[0]: `name` is missing",
        ),
        (
            json!({"http": {"backendRefs": [{"name": "a", "namespace": "A b"}]}}),
            "spec.extAuth.http.backendRefs[0].namespace: `A b` is not as",
        ),
    ] {
        let said = all_wrong(&with(auth), &schemas["SecurityPolicy"]).join("\n");
        assert_eq!(said.is_empty(), says.is_empty(), "{said}");
        assert!(said.starts_with(says), "{said}");
    }
}
