//! RequestAuthentication.

use crate::context::{Action, Context, action, lists};
use crate::finding::{Finding, Lint, Severity};

const ANY_AUDIENCE: Lint = Lint("T1", Severity::High, "tokens of any audience");
const NOT_REQUIRED: Lint = Lint("T2", Severity::Medium, "tokens that nobody has to bring");
const SEVERAL: Lint = Lint(
    "M6",
    Severity::Medium,
    "answers of token checks that surprise",
);
const UNVERIFIABLE: Lint = Lint("T3", Severity::High, "issuer that is nobody's");

pub(crate) fn lints(context: &Context<'_>, found: &mut Vec<Finding>) {
    for authentication in &context.cluster.request_authentications {
        for (i, rule) in authentication.spec.jwt_rules.iter().enumerate() {
            if rule.audiences.is_empty() {
                let message = format!(
                    "a token of `{}` is accepted whatever audience it was made for: a token for another application, or any ServiceAccount's, comes in; list the `audiences` that are meant for this gateway",
                    rule.issuer
                );
                found.push(
                    ANY_AUDIENCE
                        .on(authentication, format!("spec.jwtRules[{i}]"), message)
                        .fix("audiences: [YOUR-CLIENT-ID]"),
                );
            } else {
                let message = "a token of another audience is answered 403, not 401: clients do not fetch a new one then";
                found.push(Lint("M6", Severity::Low, SEVERAL.2).on(
                    authentication,
                    format!("spec.jwtRules[{i}].audiences"),
                    message,
                ));
            }
            if rule.issuer.is_empty() || rule.issuer == "PATCH_ME" {
                let message = format!(
                    "issuer `{}` is a placeholder: tokens of {} are taken; write the issuer",
                    rule.issuer,
                    if rule.issuer.is_empty() {
                        "any issuer whose key fits"
                    } else {
                        "nobody"
                    }
                );
                found.push(UNVERIFIABLE.on(
                    authentication,
                    format!("spec.jwtRules[{i}].issuer"),
                    message,
                ));
            }
        }
        if authentication.spec.jwt_rules.len() > 1 {
            let message = "with several issuers a good token in one place hides a bad one in another: the request passes; demand the issuer you mean in the policy (`requestPrincipals: [\"ISSUER/*\"]`)";
            found.push(SEVERAL.on(authentication, "spec.jwtRules", message));
        }
        let pods: Vec<_> = context
            .reached(
                &authentication.meta.namespace,
                authentication.spec.selector.as_ref(),
            )
            .collect();
        let demanded = context.cluster.authorization_policies.iter().any(|policy| {
            let wanted = lists(&policy.spec)
                .iter()
                .any(|l| match action(&policy.spec) {
                    Action::Allow => {
                        !l.negated
                            && (l.name == "requestPrincipals"
                                || l.name.starts_with("request.auth."))
                    }
                    Action::Deny => {
                        l.negated
                            && (l.name == "notRequestPrincipals"
                                || l.name.starts_with("request.auth."))
                    }
                    _ => false,
                });
            wanted
                && context
                    .pods_of(policy)
                    .iter()
                    .any(|p| pods.iter().any(|q| std::ptr::eq(*p, *q)))
        });
        if !pods.is_empty() && !demanded && authentication.spec.target_refs.is_empty() {
            let message = "it refuses bad tokens and lets requests without any pass: no policy on these pods demands one; add a DENY of `notRequestPrincipals: [\"*\"]` if one is needed";
            found.push(NOT_REQUIRED.on(authentication, "spec.jwtRules", message));
        }
    }
}
