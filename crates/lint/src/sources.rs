//! Callers in policies: certificates, tokens, the `authorization` header.

use policy::IstioVersion;
use resources::Object;
use resources::istio::AuthorizationPolicy;

use crate::context::{Action, Context, List, action, lists};
use crate::finding::{Finding, Lint, Severity};

const NO_CERTIFICATE: Lint = Lint(
    "H6",
    Severity::High,
    "workload identity on a gateway without client certificates",
);
const NO_TOKEN: Lint = Lint("H7", Severity::High, "token condition that never holds");
const AUTHORIZATION: Lint = Lint(
    "H8",
    Severity::High,
    "login that an `authorization` header skips",
);
const LATE: Lint = Lint(
    "S6",
    Severity::High,
    "CUSTOM rule that asks for what comes after it",
);

pub(crate) fn lints(context: &Context<'_>, found: &mut Vec<Finding>) {
    for policy in &context.cluster.authorization_policies {
        for list in lists(&policy.spec) {
            no_certificate(context, policy, &list, found);
            no_token(context, policy, &list, found);
            if action(&policy.spec) == Action::Custom {
                authorization_header(policy, &list, found);
                late(policy, &list, found);
            }
        }
    }
}

fn no_certificate(
    context: &Context<'_>,
    policy: &Object<AuthorizationPolicy>,
    list: &List<'_>,
    found: &mut Vec<Finding>,
) {
    let certificate = matches!(
        list.name,
        "principals"
            | "notPrincipals"
            | "namespaces"
            | "notNamespaces"
            | "serviceAccounts"
            | "notServiceAccounts"
            | "source.principal"
            | "source.namespace"
            | "source.serviceAccount"
    );
    if !certificate || !context.on_gateways(policy) {
        return;
    }
    let mutual = context
        .pods_of(policy)
        .iter()
        .flat_map(|p| &p.gateways)
        .flat_map(|g| &g.spec.servers)
        .any(|s| {
            s.tls
                .as_ref()
                .and_then(|t| t.mode.as_deref())
                .is_some_and(|m| m.contains("MUTUAL"))
        });
    if mutual {
        return;
    }
    let always = if list.negated { "always" } else { "never" };
    let message = format!(
        "no server of this gateway asks for a client certificate, so callers have no workload identity here and the condition {always} holds; use tokens (`requestPrincipals`), or put the policy on the workload behind the gateway"
    );
    found.push(NO_CERTIFICATE.on(policy, list.place.clone(), message));
}

fn no_token(
    context: &Context<'_>,
    policy: &Object<AuthorizationPolicy>,
    list: &List<'_>,
    found: &mut Vec<Finding>,
) {
    let principal = matches!(
        list.name,
        "requestPrincipals" | "notRequestPrincipals" | "request.auth.principal"
    );
    if !principal && !list.name.starts_with("request.auth.") {
        return;
    }
    if principal && context.version >= IstioVersion::PRINCIPAL_SPLIT_LAST {
        for (field, value) in list.items() {
            let prefix = value
                .strip_suffix('*')
                .filter(|p| p.contains("://") && p.matches('/').count() == 2);
            if prefix.is_some() {
                let message = format!(
                    "`{value}` is split at its last `/`: it asks for the issuer `https:/` and never matches; write `ISSUER/*` with the whole issuer"
                );
                found.push(NO_TOKEN.on(policy, field, message));
            }
        }
    }
    let pods = context.pods_of(policy);
    let checked = |p: &&crate::context::Pods<'_>| {
        context
            .cluster
            .request_authentications
            .iter()
            .any(|authentication| {
                let reached = context.reached(
                    &authentication.meta.namespace,
                    authentication.spec.selector.as_ref(),
                );
                !authentication.spec.jwt_rules.is_empty()
                    && reached.into_iter().any(|r| std::ptr::eq(r, *p))
            })
    };
    if let Some(bare) = pods.iter().find(|p| !checked(p)) {
        let always = if list.negated { "always" } else { "never" };
        let message = format!(
            "no RequestAuthentication checks tokens on these pods (namespace `{}`), so nobody has a token identity and the condition {always} holds; add a RequestAuthentication with the same selector",
            bare.namespace
        );
        found.push(NO_TOKEN.on(policy, list.place.clone(), message));
    }
}

fn authorization_header(
    policy: &Object<AuthorizationPolicy>,
    list: &List<'_>,
    found: &mut Vec<Finding>,
) {
    if !list
        .name
        .eq_ignore_ascii_case("request.headers[authorization]")
    {
        return;
    }
    let message = if list.negated {
        "whoever sends any `authorization` header skips the check: `Authorization: Basic x` does, and so does an empty `Authorization:`; a DENY of `notRequestPrincipals: [\"*\"]` on the same pods has to hold behind it; match `Bearer *` only"
    } else {
        "whoever leaves the `authorization` header out skips the check, and so does `bearer` in another case; check every request"
    };
    let mut finding = AUTHORIZATION.on(policy, list.place.clone(), message);
    if list.negated {
        finding = finding.fix("notValues: [\"Bearer *\"]");
    }
    found.push(finding);
}

/// Fields that exist only after JWT validation, which comes after CUSTOM.
fn late(policy: &Object<AuthorizationPolicy>, list: &List<'_>, found: &mut Vec<Finding>) {
    let forbidden = matches!(
        list.name,
        "requestPrincipals"
            | "notRequestPrincipals"
            | "principals"
            | "notPrincipals"
            | "namespaces"
            | "notNamespaces"
            | "serviceAccounts"
            | "notServiceAccounts"
    ) || list.name.starts_with("request.auth.");
    if forbidden {
        let always = if list.negated { "always" } else { "never" };
        let message = format!(
            "CUSTOM runs before tokens are checked, Istio refuses `{}` there, and where it is stored anyway it {always} holds; use it in a DENY or ALLOW policy",
            list.name
        );
        found.push(LATE.on(policy, list.place.clone(), message));
    }
}
