//! Envoy's own RBAC rules, written into EnvoyFilters: the simple ones are
//! rules of an AuthorizationPolicy in other words.

use resources::istio::{AuthorizationPolicy, Condition, From, Operation, Rule, SourceMatch, To};
use resources::mesh::MeshConfig;
use resources::{Metadata, Object, ObjectRef, Source};
use serde_json::Value;

use crate::peer::TrustDomains;
use crate::proto::{at, field, flag, items, names, number, text};
use crate::rules::Policy;
use crate::settings::IstioVersion;

/// Reads a message `RBAC`; `None` when it enforces nothing.
///
/// # Errors
/// What in it is not understood.
pub(crate) fn read(
    rbac: &Value,
    object: &ObjectRef,
    source: &Source,
    version: IstioVersion,
) -> Result<Option<Policy>, String> {
    for name in names(rbac) {
        if !matches!(
            name.as_ref(),
            "@type" | "rules" | "rules_stat_prefix" | "shadow_rules_stat_prefix"
        ) {
            return Err(format!("`{name}` of an RBAC filter"));
        }
    }
    let Some(rules) = field(rbac, "rules") else {
        return Ok(None);
    };
    let action = match text(rules, &["action"]) {
        "" | "ALLOW" => "ALLOW",
        "DENY" => "DENY",
        "LOG" => return Ok(None),
        other => return Err(format!("the action `{other}` of an RBAC filter")),
    };
    let mut all = Vec::new();
    for (_, policy) in at(rules, &["policies"])
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        all.extend(of_policy(policy)?.into_iter().map(Some));
    }
    // No policy at all is one that matches nothing.
    let mut problems = Vec::new();
    let spec = AuthorizationPolicy {
        action: Some(action.to_owned()),
        rules: Some(all),
        ..AuthorizationPolicy::default()
    };
    let written = Object {
        kind: object.kind.clone(),
        meta: Metadata {
            name: object.name.to_string(),
            namespace: object.namespace.to_string(),
            ..Metadata::default()
        },
        spec,
        source: source.clone(),
    };
    let domains = TrustDomains::of(&MeshConfig::default());
    let policy = Policy::compile(&written, version, &domains, &mut problems);
    if let Some(problem) = problems.into_iter().next() {
        return Err(format!("an RBAC filter ({})", problem.message));
    }
    Ok(policy)
}

/// Any permission and any principal: one rule for each pair.
fn of_policy(policy: &Value) -> Result<Vec<Rule>, String> {
    for name in names(policy) {
        if !matches!(name.as_ref(), "permissions" | "principals") {
            return Err(format!("`{name}` of an RBAC policy"));
        }
    }
    let mut rules = Vec::new();
    for permission in items(policy, &["permissions"]) {
        for principal in items(policy, &["principals"]) {
            let mut operation = Operation::default();
            let mut source = SourceMatch::default();
            let mut when = Vec::new();
            conjunction(permission, &mut operation, &mut source, &mut when)?;
            conjunction(principal, &mut operation, &mut source, &mut when)?;
            rules.push(Rule {
                from: vec![From {
                    source: Some(source),
                }],
                to: vec![To {
                    operation: Some(operation),
                }],
                when,
            });
        }
    }
    Ok(rules)
}

fn conjunction(
    rule: &Value,
    operation: &mut Operation,
    source: &mut SourceMatch,
    when: &mut Vec<Condition>,
) -> Result<(), String> {
    for set in ["and_rules", "and_ids"] {
        if let Some(all) = field(rule, set) {
            let list = if set == "and_rules" { "rules" } else { "ids" };
            return items(all, &[list])
                .try_for_each(|rule| conjunction(rule, operation, source, when));
        }
    }
    let inner = field(rule, "not_rule").or_else(|| field(rule, "not_id"));
    let negated = inner.is_some();
    let rule = inner.unwrap_or(rule);
    single(rule, negated, operation, source, when)
}

fn single(
    rule: &Value,
    negated: bool,
    operation: &mut Operation,
    source: &mut SourceMatch,
    when: &mut Vec<Condition>,
) -> Result<(), String> {
    let kind = names(rule).next().unwrap_or_default().into_owned();
    match kind.as_str() {
        "any" if flag(rule, &["any"]) && !negated => Ok(()),
        "url_path" => {
            let value = at(rule, &["url_path", "path"]).ok_or("an RBAC path without a matcher")?;
            let list = if negated {
                &mut operation.not_paths
            } else {
                &mut operation.paths
            };
            once(list, wildcard(value)?)
        }
        "destination_port" => {
            let port = number(rule, &["destination_port"]).ok_or("an RBAC port")?;
            let list = if negated {
                &mut operation.not_ports
            } else {
                &mut operation.ports
            };
            once(list, port.to_string())
        }
        "direct_remote_ip" | "remote_ip" => {
            let range = field(rule, &kind).unwrap_or(&Value::Null);
            let length =
                number(range, &["prefix_len"]).ok_or("an RBAC address without a length")?;
            let block = format!("{}/{length}", text(range, &["address_prefix"]));
            let list = match (kind.as_str(), negated) {
                ("remote_ip", false) => &mut source.remote_ip_blocks,
                ("remote_ip", true) => &mut source.not_remote_ip_blocks,
                (_, false) => &mut source.ip_blocks,
                (_, true) => &mut source.not_ip_blocks,
            };
            once(list, block)
        }
        "header" => {
            let header = field(rule, "header").unwrap_or(&Value::Null);
            let (value, inverted) = header_value(header)?;
            let mut condition = Condition {
                key: format!("request.headers[{}]", text(header, &["name"])),
                ..Condition::default()
            };
            if negated != inverted {
                condition.not_values.push(value);
            } else {
                condition.values.push(value);
            }
            when.push(condition);
            Ok(())
        }
        other => Err(format!("`{other}` in an RBAC rule")),
    }
}

/// Lists are alternatives and these are all to hold: one value each.
fn once(list: &mut Vec<String>, value: String) -> Result<(), String> {
    if !list.is_empty() {
        return Err("two conditions on one attribute in an RBAC rule".to_owned());
    }
    list.push(value);
    Ok(())
}

fn header_value(header: &Value) -> Result<(String, bool), String> {
    let mut value = None;
    for name in names(header) {
        match name.as_ref() {
            "name" | "invert_match" => {}
            "present_match" if flag(header, &["present_match"]) => value = Some("*".to_owned()),
            "exact_match" => value = Some(literal(text(header, &["exact_match"]))?),
            "prefix_match" => {
                value = Some(format!("{}*", literal(text(header, &["prefix_match"]))?))
            }
            "suffix_match" => {
                value = Some(format!("*{}", literal(text(header, &["suffix_match"]))?))
            }
            "string_match" => {
                value = Some(wildcard(
                    field(header, "string_match").unwrap_or(&Value::Null),
                )?)
            }
            other => return Err(format!("`{other}` of a header in an RBAC rule")),
        }
    }
    let value = value.ok_or("a header without a value in an RBAC rule")?;
    Ok((value, flag(header, &["invert_match"])))
}

fn wildcard(matcher: &Value) -> Result<String, String> {
    let mut names = names(matcher);
    let (Some(kind), None) = (names.next(), names.next()) else {
        return Err("a text matcher in an RBAC rule".to_owned());
    };
    let value = literal(text(matcher, &[kind.as_ref()]))?;
    match kind.as_ref() {
        "exact" => Ok(value),
        "prefix" => Ok(format!("{value}*")),
        "suffix" => Ok(format!("*{value}")),
        other => Err(format!("`{other}` in an RBAC rule")),
    }
}

/// Values that policies would read as something else.
fn literal(value: &str) -> Result<String, String> {
    if value.is_empty() || value.contains(['*', '{']) {
        return Err(format!("the value `{value}` in an RBAC rule"));
    }
    Ok(value.to_owned())
}
