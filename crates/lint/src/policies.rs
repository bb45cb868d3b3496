//! Policies as a whole: what they select, what vanishes, what opens too much.

use resources::Object;
use resources::istio::{AuthorizationPolicy, Rule};

use crate::context::{Action, Context, action, guards, is_http_only, lists, targets};
use crate::finding::{Finding, Lint, Severity};

const VANISHES: Lint = Lint("C3", Severity::Critical, "policy that protects nothing");
const HTTP_ON_TCP: Lint = Lint(
    "M1",
    Severity::Medium,
    "DENY that denies all TCP connections",
);
const ABSENCE: Lint = Lint("M2", Severity::Medium, "ALLOW by absence");
const ELSEWHERE: Lint = Lint(
    "L2",
    Severity::Low,
    "policy outside the namespace of its pods",
);
const NOTHING: Lint = Lint("S1", Severity::Medium, "policy that selects no pod");
const SHADOWED: Lint = Lint("S2", Severity::Medium, "rule that another one covers");
const MESH_WIDE: Lint = Lint("S3", Severity::High, "ALLOW for the whole mesh");
const SPLIT_RULE: Lint = Lint("S4", Severity::High, "rule split into two");
const AMBIENT: Lint = Lint(
    "A1",
    Severity::High,
    "policy that ambient mode does not apply as written",
);

pub(crate) fn lints(context: &Context<'_>, found: &mut Vec<Finding>) {
    for policy in &context.cluster.authorization_policies {
        vanishes(policy, found);
        http_on_tcp(context, policy, found);
        absence(policy, found);
        selects_nothing(context, policy, found);
        shadowed(context, policy, found);
        mesh_wide(context, policy, found);
        split_rule(policy, found);
        ambient(context, policy, found);
    }
}

fn rules(policy: &AuthorizationPolicy) -> impl Iterator<Item = (usize, &Rule)> {
    let rules = policy.rules.iter().flatten().enumerate();
    rules.filter_map(|(i, rule)| rule.as_ref().map(|rule| (i, rule)))
}

/// A rule without any condition.
fn matches_all(rule: Option<&Rule>) -> bool {
    rule.is_none_or(|r| r.from.is_empty() && r.to.is_empty() && r.when.is_empty())
}

/// Condition keys that Istio knows (istio `authz/model/model.go`).
fn known_key(key: &str) -> bool {
    matches!(
        key,
        "source.ip"
            | "remote.ip"
            | "source.namespace"
            | "source.principal"
            | "source.serviceAccount"
            | "source.trustDomain"
            | "request.auth.principal"
            | "request.auth.audiences"
            | "request.auth.presenter"
            | "destination.ip"
            | "destination.port"
            | "connection.sni"
    ) || [
        "request.headers[",
        "request.auth.claims[",
        "experimental.envoy.filters.",
    ]
    .iter()
    .any(|p| key.starts_with(p))
}

fn vanishes(policy: &Object<AuthorizationPolicy>, found: &mut Vec<Finding>) {
    if !guards(&policy.spec) {
        return;
    }
    let what = policy.spec.action.as_deref().unwrap_or_default();
    if policy.spec.rules.as_ref().is_none_or(Vec::is_empty) {
        let message = format!(
            "a {what} policy without rules never matches: nothing is protected; write `rules: [{{}}]` to match every request"
        );
        found.push(
            VANISHES
                .on(policy, "spec.rules", message)
                .fix("rules: [{}]"),
        );
    }
    for (index, rule) in rules(&policy.spec) {
        for (i, condition) in rule
            .when
            .iter()
            .enumerate()
            .filter(|(_, c)| !known_key(&c.key))
        {
            let message = format!(
                "`{}` is no key that Istio knows: the whole rule vanishes and a {what} policy protects nothing by it; expected for example `request.headers[name]` or `source.ip`",
                condition.key
            );
            found.push(VANISHES.on(
                policy,
                format!("spec.rules[{index}].when[{i}].key"),
                message,
            ));
        }
    }
}

fn http_on_tcp(
    context: &Context<'_>,
    policy: &Object<AuthorizationPolicy>,
    found: &mut Vec<Finding>,
) {
    if action(&policy.spec) != Action::Deny {
        return;
    }
    let pods = context.pods_of(policy);
    let tcp = pods.iter().flat_map(|p| &p.gateways).find_map(|gateway| {
        gateway.spec.servers.iter().find(|s| {
            let passthrough = s
                .tls
                .as_ref()
                .is_some_and(|t| t.mode.as_deref() == Some("PASSTHROUGH"));
            passthrough || matches!(s.port.protocol.as_str(), "TCP" | "TLS")
        })
    });
    let Some(server) = tcp else { return };
    let all = lists(&policy.spec);
    for (index, _) in rules(&policy.spec) {
        let mut of_rule = all.iter().filter(|l| l.rule == index).peekable();
        if of_rule.peek().is_some() && of_rule.all(|l| is_http_only(l.name)) {
            let message = format!(
                "its fields exist on HTTP only and are ignored on TCP: every connection to server `{}` ({}) of the same gateway is denied; add `ports` with the HTTP listeners' ports",
                server.port.name, server.port.protocol
            );
            found.push(HTTP_ON_TCP.on(policy, format!("spec.rules[{index}]"), message));
        }
    }
}

fn absence(policy: &Object<AuthorizationPolicy>, found: &mut Vec<Finding>) {
    if action(&policy.spec) != Action::Allow {
        return;
    }
    let all = lists(&policy.spec);
    for list in &all {
        let attribute = list.name.starts_with("request.headers[")
            || list.name.starts_with("request.auth.")
            || matches!(
                list.name,
                "notPrincipals"
                    | "notNamespaces"
                    | "notServiceAccounts"
                    | "notRequestPrincipals"
                    | "source.namespace"
                    | "source.principal"
            );
        let positive = all.iter().any(|other| {
            other.rule == list.rule
                && !other.negated
                && (other.name == list.name || other.place.contains(".from["))
        });
        if list.negated && attribute && !positive {
            let values: Vec<String> = list.values.iter().map(|v| format!("`{v}`")).collect();
            let message = format!(
                "a request that has nothing there is not {} either, so the rule lets it in: no certificate, no token or no header is enough; say who may come in (`principals`, `requestPrincipals`, `values`) beside it",
                values.join(", ")
            );
            found.push(ABSENCE.on(policy, list.place.clone(), message));
        }
    }
}

fn selects_nothing(
    context: &Context<'_>,
    policy: &Object<AuthorizationPolicy>,
    found: &mut Vec<Finding>,
) {
    let Some(selector) = policy
        .spec
        .selector
        .as_ref()
        .filter(|s| !s.match_labels.is_empty())
    else {
        return;
    };
    if targets(&policy.spec) || context.pods.is_empty() || !context.pods_of(policy).is_empty() {
        return;
    }
    let labels: Vec<String> = selector
        .match_labels
        .iter()
        .map(|(k, v)| format!("`{k}: {v}`"))
        .collect();
    let labels = labels.join(", ");
    let namespace = &policy.meta.namespace;
    if let Some(pods) = context.reached(context.root, Some(selector)).next() {
        let message = format!(
            "pods with {labels} are in namespace `{}`: a policy of `{namespace}` never reaches them; move it to `{}` or to `{}`",
            pods.namespace, pods.namespace, context.root
        );
        found.push(
            ELSEWHERE
                .on(policy, "spec.selector.matchLabels", message)
                .fix(pods.namespace.clone()),
        );
    } else {
        let message = format!(
            "no pod or Service here has {labels}: the policy has no effect; correct the labels (they are those of pods, not of Deployments)"
        );
        found.push(NOTHING.on(policy, "spec.selector.matchLabels", message));
    }
}

/// The syntactic part: a rule that matches everything, and equal rules.
fn shadowed(context: &Context<'_>, policy: &Object<AuthorizationPolicy>, found: &mut Vec<Finding>) {
    let specs: Vec<Option<&Rule>> = policy
        .spec
        .rules
        .iter()
        .flatten()
        .map(Option::as_ref)
        .collect();
    if let Some(all) = specs.iter().position(|rule| matches_all(*rule)) {
        for index in (0..specs.len()).filter(|i| *i != all) {
            let message = format!(
                "rule {all} matches every request: this one changes nothing; remove one of them"
            );
            found.push(SHADOWED.on(policy, format!("spec.rules[{index}]"), message));
        }
    } else {
        let texts: Vec<String> = specs
            .iter()
            .map(|rule| serde_json::to_string(rule).unwrap_or_default())
            .collect();
        for (index, text) in texts.iter().enumerate() {
            if let Some(first) = texts.iter().take(index).position(|other| other == text) {
                let message = format!("says the same as rule {first}; remove it");
                found.push(SHADOWED.on(policy, format!("spec.rules[{index}]"), message));
            }
        }
    }
    if action(&policy.spec) != Action::Allow
        || specs.is_empty()
        || specs.iter().any(|r| matches_all(*r))
    {
        return;
    }
    let (pods, selector) = (context.pods_of(policy), &policy.spec.selector);
    let opener = context.cluster.authorization_policies.iter().find(|other| {
        let opens = other
            .spec
            .rules
            .iter()
            .flatten()
            .any(|rule| matches_all(rule.as_ref()));
        let same = other.meta.namespace == policy.meta.namespace
            && other.spec.selector.as_ref().map(|s| &s.match_labels)
                == selector.as_ref().map(|s| &s.match_labels);
        action(&other.spec) == Action::Allow && opens && same && !targets(&other.spec)
    });
    if let Some(opener) = opener.filter(|_| !pods.is_empty()) {
        let message = format!(
            "{} allows every request to the same pods: this ALLOW restricts nothing; ALLOW policies add up, remove the open one",
            opener.reference()
        );
        found.push(SHADOWED.on(policy, "spec.rules", message));
    }
}

fn mesh_wide(
    context: &Context<'_>,
    policy: &Object<AuthorizationPolicy>,
    found: &mut Vec<Finding>,
) {
    let everywhere = policy.meta.namespace == context.root
        && policy
            .spec
            .selector
            .as_ref()
            .is_none_or(|s| s.match_labels.is_empty())
        && !targets(&policy.spec);
    let rules = policy.spec.rules.as_deref().unwrap_or_default();
    if !everywhere || action(&policy.spec) != Action::Allow || rules.is_empty() {
        return;
    }
    let message = format!(
        "without a selector in the root namespace `{}` it applies to every pod of the mesh: what it allows is open on all of them, and what it does not name is denied wherever nothing else allows it; give it the selector of the pods it is for",
        context.root
    );
    found.push(MESH_WIDE.on(policy, "spec.selector", message));
}

/// `- from:` and `- to:` as two items are two rules, and each is enough.
fn split_rule(policy: &Object<AuthorizationPolicy>, found: &mut Vec<Finding>) {
    let all: Vec<(usize, &Rule)> = rules(&policy.spec).collect();
    for pair in all.windows(2) {
        let [(index, a), (_, b)] = pair else { continue };
        let only_from = |r: &Rule| !r.from.is_empty() && r.to.is_empty() && r.when.is_empty();
        let only_to = |r: &Rule| r.from.is_empty() && !r.to.is_empty() && r.when.is_empty();
        if (only_from(a) && only_to(b)) || (only_to(a) && only_from(b)) {
            let message = "one item has only `from`, the next only `to`: as two rules either is enough, whoever calls the paths of one passes and whoever is in the other may call everything; write both in one item to mean `and`";
            found.push(SPLIT_RULE.on(policy, format!("spec.rules[{index}]"), message));
        }
    }
}

fn ambient(context: &Context<'_>, policy: &Object<AuthorizationPolicy>, found: &mut Vec<Finding>) {
    let labelled = |label: &str, name: &str| {
        context
            .cluster
            .namespaces
            .iter()
            .find(|n| n.meta.name == name)
            .and_then(|n| n.meta.labels.get(label).cloned())
    };
    if targets(&policy.spec) {
        return;
    }
    let http = lists(&policy.spec)
        .into_iter()
        .find(|l| is_http_only(l.name));
    let custom = action(&policy.spec) == Action::Custom;
    if http.is_none() && !custom {
        return;
    }
    let hit = context.pods_of(policy).into_iter().find(|pods| {
        // A pod may opt in, and out, by itself.
        let mode = pods.labels.get("istio.io/dataplane-mode").cloned();
        let mode = mode.or_else(|| labelled("istio.io/dataplane-mode", &pods.namespace));
        !pods.is_gateway() && mode.as_deref() == Some("ambient")
    });
    let Some(pods) = hit else { return };
    let waypoint = labelled("istio.io/use-waypoint", &pods.namespace);
    let field = http
        .as_ref()
        .map_or_else(|| "spec.action".to_owned(), |l| l.place.clone());
    let message = match waypoint {
        Some(name) => format!(
            "namespace `{}` is ambient: waypoint `{name}` does not apply policies that select pods by label, and ztunnel reads no HTTP; attach it with `targetRefs` to the Service or Gateway",
            pods.namespace
        ),
        None => format!(
            "namespace `{}` is ambient and has no waypoint: ztunnel reads no HTTP, an ALLOW with such fields lets nothing through and a DENY denies everything; add a waypoint and attach the policy with `targetRefs`",
            pods.namespace
        ),
    };
    found.push(AMBIENT.on(policy, field, message));
}
