//! Hosts in policies.

use crate::context::{Context, guards, lists};
use crate::finding::{Finding, Lint, Severity};
use crate::paths::star_meaning;

const LITERAL_STAR: Lint = Lint("H2", Severity::High, "wildcard that is a literal star");
const VARIANTS: Lint = Lint(
    "H3",
    Severity::High,
    "host rule that another spelling of the host escapes",
);

pub(crate) fn lints(context: &Context<'_>, found: &mut Vec<Finding>) {
    for policy in &context.cluster.authorization_policies {
        for list in lists(&policy.spec) {
            if !matches!(list.name, "hosts" | "notHosts") {
                continue;
            }
            for (field, value) in list.items() {
                if let Some(meaning) = star_meaning(value) {
                    let message = format!(
                        "`{value}` is {meaning}: only one `*` at one end is a wildcard, so it matches no host"
                    );
                    found.push(LITERAL_STAR.on(policy, field, message));
                    continue;
                }
                let wide = value
                    .strip_suffix('*')
                    .filter(|p| !p.is_empty() && !p.ends_with(':'));
                if let Some(prefix) = wide {
                    let message = format!(
                        "`{value}` also matches `{prefix}.evil.example`; write `{prefix}` and `{prefix}:*`"
                    );
                    found.push(
                        VARIANTS
                            .on(policy, field, message)
                            .fix(format!("[\"{prefix}\", \"{prefix}:*\"]")),
                    );
                    continue;
                }
                let ported = format!("{value}:*");
                let alone =
                    !value.contains('*') && !value.contains(':') && !list.values.contains(&ported);
                if alone && !list.negated && guards(&policy.spec) {
                    let message = format!(
                        "`{value}:80`, `{value}.` and two Host headers are other hosts for the policy, and routing ignores the port: the rule does not match and the request passes; add `{ported}`, or better list the hosts that are allowed"
                    );
                    found.push(
                        VARIANTS
                            .on(policy, field, message)
                            .fix(format!("[\"{value}\", \"{ported}\"]")),
                    );
                }
            }
        }
    }
}
