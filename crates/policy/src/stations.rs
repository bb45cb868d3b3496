//! What stands in a listener's way of filters, in words.

use crate::chain::{Filter, FilterStep, Override};
use crate::rules::Action;
use crate::snapshot::Listener;
use crate::trace::{Stage, Step};

impl Listener {
    /// A filter, its place in the chain, and what it does to a decision.
    pub(crate) fn step(
        &self,
        hop: u8,
        index: usize,
        filter: &Filter,
        (first, here): (Option<&Override>, Option<&Override>),
    ) -> Step {
        let name = if filter.name.is_empty() {
            "access levels"
        } else {
            &filter.name
        };
        let off = if filter.is_off(first, here) {
            ", switched off here"
        } else {
            ""
        };
        let text = format!("{}. {name}: {}{off}", index + 1, self.job(filter));
        Step {
            decides: false,
            ..Step::new(hop, Stage::Filter, text, filter.inserted_by.clone())
        }
    }

    fn job(&self, filter: &Filter) -> String {
        let custom = |number: &usize| {
            let custom = self.authorization.custom.get(*number);
            custom.map_or("", |custom| &*custom.authorizer.name)
        };
        match &filter.step {
            FilterStep::Access => "Sidegate's own, asked where it enforces".to_owned(),
            FilterStep::Gate(number) => format!("whether `{}` is asked", custom(number)),
            FilterStep::Custom(number) => format!("asks `{}`", custom(number)),
            FilterStep::Authorizer(number) => {
                let authorizer = self.chain.authorizers.get(*number);
                let name = authorizer.map_or("", |authorizer| &*authorizer.name);
                format!("asks `{name}` about every routed request")
            }
            FilterStep::Jwt => {
                let rules = self.token_rules.iter();
                let issuers: Vec<&str> = rules.map(|rule| rule.keys.issuer.as_str()).collect();
                format!("tokens of {}", issuers.join(", "))
            }
            FilterStep::Policies(action) => {
                let policies = self.authorization.policies.iter();
                let count = policies.filter(|policy| policy.action == *action).count();
                format!(
                    "AuthorizationPolicies that {}, {count} of them",
                    verb(*action)
                )
            }
            FilterStep::Rules(policy) => format!("rules that {}", verb(policy.action)),
            FilterStep::Headers { .. } => "changes headers of the request".to_owned(),
            FilterStep::Fault => "answers with the faults of routes".to_owned(),
            FilterStep::Cors => "answers CORS preflights".to_owned(),
            FilterStep::Other if filter.inserted_by.is_some() => {
                "decides nothing that is understood".to_owned()
            }
            FilterStep::Other => "decides nothing".to_owned(),
            FilterStep::Router => "the route acts".to_owned(),
        }
    }
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Audit => "audit",
        Action::Custom => "ask",
    }
}
