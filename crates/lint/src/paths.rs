//! Paths in policies: templates, wildcards, exemptions.

use policy::{Matcher, normalise};
use resources::Object;
use resources::istio::AuthorizationPolicy;
use resources::mesh::Normalization;

use crate::context::{Action, Context, List, action, guards, lists};
use crate::finding::{Finding, Lint, Severity};

const TEMPLATE: Lint = Lint(
    "C2",
    Severity::Critical,
    "path template without a leading slash",
);
const ESCAPED: Lint = Lint(
    "C5",
    Severity::Critical,
    "path exemption that a crafted path escapes",
);
const LITERAL_STAR: Lint = Lint("H2", Severity::High, "wildcard that is a literal star");
const EXACT_DENY: Lint = Lint("H4", Severity::High, "exact path in a DENY");
const SUFFIX: Lint = Lint("H5", Severity::High, "exemption by the end of the path");
const NO_HOST: Lint = Lint("P1", Severity::High, "exemption on every host");
const OPEN_PREFIX: Lint = Lint(
    "P2",
    Severity::High,
    "exemption that is wider than a path segment",
);
const TEMPLATE_GUARD: Lint = Lint("P3", Severity::High, "path template that guards");

pub(crate) fn lints(context: &Context<'_>, found: &mut Vec<Finding>) {
    for policy in &context.cluster.authorization_policies {
        for list in lists(&policy.spec) {
            if matches!(list.name, "paths" | "notPaths") {
                template_without_slash(policy, &list, found);
                literal_star(policy, &list, found);
            }
            if list.name == "notPaths" && guards(&policy.spec) {
                escaped_exemption(context, policy, &list, found);
                suffix_exemption(policy, &list, found);
                wide_prefix(policy, &list, found);
                exemption_without_host(context, policy, &list, found);
            }
            if list.name == "paths" && action(&policy.spec) == Action::Deny {
                exact_deny(context, policy, &list, found);
            }
            let matching_protects = match list.name {
                "paths" => guards(&policy.spec),
                "notPaths" => action(&policy.spec) == Action::Allow,
                _ => false,
            };
            if matching_protects {
                template_guard(policy, &list, found);
            }
        }
    }
}

fn template_without_slash(
    policy: &Object<AuthorizationPolicy>,
    list: &List<'_>,
    found: &mut Vec<Finding>,
) {
    for (field, value) in list.items() {
        if is_template(value) && !value.starts_with('/') {
            let message = format!(
                "`{value}` is a path template that does not begin with `/`: Istio accepts it and Envoy cannot compile it, the proxy stops; write `/{value}`"
            );
            found.push(TEMPLATE.on(policy, field, message).fix(format!("/{value}")));
        }
    }
}

/// Whether a value holds path template operators.
fn is_template(value: &str) -> bool {
    value.contains("{*}") || value.contains("{**}")
}

/// Envoy's templates match letters, digits and `-._~%!$&'()+,;:@=*` alone
/// (`uri_template_internal.cc`); routes match every byte.
fn template_guard(policy: &Object<AuthorizationPolicy>, list: &List<'_>, found: &mut Vec<Finding>) {
    for (field, value) in list.items().filter(|(_, value)| is_template(value)) {
        let crafted = value.replace("{**}", "x[").replace("{*}", "x[");
        let Ok(template) = Matcher::of_template(value) else {
            continue;
        };
        if !template.matches(&crafted) {
            let message = format!(
                "`{value}` does not match `{crafted}`: Envoy's templates leave out bytes such as `[` and `]`, and routes do not; name a prefix or exact paths where a match protects"
            );
            found.push(TEMPLATE_GUARD.on(policy, field, message));
        }
    }
}

/// The crafted path that an exempt prefix lets through and whose backend may
/// read it as another path, under the mesh's normalisation.
fn crafted(prefix: &str, mode: Normalization) -> Option<String> {
    ["../pipeline", "..%2fpipeline"]
        .into_iter()
        .map(|tail| format!("{prefix}{tail}"))
        .find(|path| normalise(path, mode).is_ok_and(|seen| seen.starts_with(prefix)))
}

fn escaped_exemption(
    context: &Context<'_>,
    policy: &Object<AuthorizationPolicy>,
    list: &List<'_>,
    found: &mut Vec<Finding>,
) {
    for (field, value) in list.items() {
        let Some(prefix) = value
            .strip_suffix('*')
            .filter(|p| p.ends_with('/') && !p.contains('*'))
        else {
            continue;
        };
        if let Some(path) = crafted(prefix, context.normalization) {
            let message = format!(
                "`{value}` exempts `{path}` too: the mesh does not decode `%2F`, a backend that does reads `{}`; set meshConfig.pathNormalization.normalization to DECODE_AND_MERGE_SLASHES, or deny paths that hold `%2f`",
                "/pipeline"
            );
            found.push(
                ESCAPED
                    .on(policy, field, message)
                    .fix("pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}"),
            );
        }
    }
}

fn literal_star(policy: &Object<AuthorizationPolicy>, list: &List<'_>, found: &mut Vec<Finding>) {
    for (field, value) in list.items() {
        if is_template(value) {
            continue;
        }
        if let Some(meaning) = star_meaning(value) {
            let message = format!(
                "`{value}` is {meaning}: only one `*` at one end is a wildcard, so it matches practically nothing; use `{{*}}` for a segment and `{{**}}` for the rest (Istio 1.22), or a single `*` at the end"
            );
            found.push(LITERAL_STAR.on(policy, field, message));
        }
    }
}

/// What Istio makes of a value whose stars are not all wildcards.
pub(crate) fn star_meaning(value: &str) -> Option<String> {
    if let Some(suffix) = value.strip_prefix('*') {
        suffix
            .contains('*')
            .then(|| format!("the suffix `{suffix}` with a literal star"))
    } else if let Some(prefix) = value.strip_suffix('*') {
        prefix
            .contains('*')
            .then(|| format!("the prefix `{prefix}` with a literal star"))
    } else {
        value
            .contains('*')
            .then(|| format!("exactly `{value}` with a literal star"))
    }
}

fn suffix_exemption(
    policy: &Object<AuthorizationPolicy>,
    list: &List<'_>,
    found: &mut Vec<Finding>,
) {
    for (field, value) in list.items() {
        if value.len() > 1 && value.starts_with('*') && !is_template(value) {
            let end = value.trim_start_matches('*');
            let message = format!(
                "`{value}` exempts every path that ends so, on every route and with every method, for example `/pipeline/delete{end}`; name the whole paths, with their hosts and methods"
            );
            found.push(SUFFIX.on(policy, field, message));
        }
    }
}

fn wide_prefix(policy: &Object<AuthorizationPolicy>, list: &List<'_>, found: &mut Vec<Finding>) {
    for (field, value) in list.items() {
        let Some(prefix) = value.strip_suffix('*').filter(|p| p.len() > 1) else {
            continue;
        };
        if !prefix.ends_with('/') && !prefix.contains('*') && !is_template(value) {
            let message = format!(
                "`{value}` is a byte prefix: it exempts `{prefix}anything` as well as `{prefix}/...`, on whatever route serves it; name the paths that are open, or separate entrances by listener port"
            );
            found.push(OPEN_PREFIX.on(policy, field, message));
        }
    }
}

fn exemption_without_host(
    context: &Context<'_>,
    policy: &Object<AuthorizationPolicy>,
    list: &List<'_>,
    found: &mut Vec<Finding>,
) {
    let has_hosts = lists(&policy.spec).iter().any(|other| {
        other.rule == list.rule
            && matches!(
                other.name,
                "hosts" | "notHosts" | "request.headers[:authority]" | "request.headers[host]"
            )
    });
    let gateway = context.pods_of(policy).iter().any(|pods| pods.is_gateway());
    if has_hosts || !gateway {
        return;
    }
    let names: Vec<String> = list.values.iter().map(|v| format!("`{v}`")).collect();
    let message = format!(
        "{} are exempt on every host of the gateway, not only on the one that serves the login: a model's or an application's host answers there without a check; give the exemption the login's host (a rule per host), or do not share the gateway",
        names.join(", ")
    );
    found.push(NO_HOST.on(policy, list.place.clone(), message));
}

fn exact_deny(
    context: &Context<'_>,
    policy: &Object<AuthorizationPolicy>,
    list: &List<'_>,
    found: &mut Vec<Finding>,
) {
    let merges = matches!(
        context.normalization,
        Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes
    );
    for (field, value) in list.items() {
        if value.contains('*') || value == "/" || value.is_empty() {
            continue;
        }
        let slashed = format!("{value}/");
        let covered = list.values.iter().any(|other| {
            *other == slashed
                || other
                    .strip_suffix('*')
                    .is_some_and(|p| slashed.starts_with(p))
        });
        if covered && merges {
            continue;
        }
        let mut open = Vec::new();
        if !covered {
            open.push(format!("`{slashed}`"));
        }
        if !merges {
            open.push(format!("`/{value}`"));
        }
        let message = format!(
            "`{value}` denies this spelling alone: {} are other paths here and the same for many backends; deny by prefix and set MERGE_SLASHES, or list what is allowed instead",
            open.join(" and ")
        );
        found.push(EXACT_DENY.on(policy, field, message));
    }
}
