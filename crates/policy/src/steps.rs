//! The order in which a request meets what decides about it, to read.

use crate::chain::{Filter, FilterStep, Override};
use crate::conditions::Attribute;
use crate::opaque::NotUnderstood;
use crate::permit::HeaderChange;
use crate::providers::is_listed;
use crate::request::{IDENTITY_HEADERS, KNATIVE_HEADERS};
use crate::rules::{Action, Policy};
use crate::snapshot::Snapshot;
use crate::view::{AuthorizerView, HostView, ListenerView, RuleAction, RuleView, rules};

/// One step of a listener, in the order in which a request meets them.
#[derive(Clone, Debug)]
pub enum StepView<'a> {
    /// Access levels of the routes; asked with enforcement only.
    Access,
    /// The rules of a CUSTOM provider: whether its authorizer is asked.
    Gate {
        /// Number of the provider.
        provider: usize,
        /// The provider with its rules.
        authorizer: AuthorizerView<'a>,
    },
    /// The authorizer of a CUSTOM provider: asked when its gate is open.
    Custom {
        /// Number of the provider.
        provider: usize,
        /// The provider with its rules.
        authorizer: AuthorizerView<'a>,
    },
    /// An authorizer that an EnvoyFilter inserted: asked about every routed request.
    Authorizer(AuthorizerView<'a>),
    /// Tokens are verified.
    Tokens,
    /// Rules of AuthorizationPolicies, or of an RBAC filter.
    Rules {
        /// Whether what matches is denied, or what does not.
        action: RuleAction,
        /// The rules.
        rules: Vec<RuleView<'a>>,
    },
    /// Request headers are changed.
    Headers {
        /// How, in order.
        changes: &'a [HeaderChange],
        /// Then the route is chosen anew, by the headers as they are by then.
        chooses_again: bool,
    },
    /// Requests of routes whose fault meets all of them are answered.
    Fault,
    /// CORS preflights are answered.
    Cors,
    /// Nothing that concerns a decision.
    Other,
}

/// What a route says about one step.
#[derive(Clone, Debug)]
pub enum RouteStep<'a> {
    /// As the listener has it.
    AsListener,
    /// Skipped.
    Off,
    /// Taken, also where the listener has it disabled.
    On,
    /// These rules instead of the listener's.
    Rules {
        /// Whether what matches is denied, or what does not.
        action: RuleAction,
        /// The rules.
        rules: Vec<RuleView<'a>>,
    },
    /// Every request is refused.
    Refused(&'a str),
    /// Tokens are not looked at, and what the listener's rules for them set is
    /// taken off all the same.
    Unread,
}

impl Snapshot {
    /// What of the configuration is not understood and may change answers of
    /// gateways, with the index of the listener.
    pub fn not_understood(&self) -> impl Iterator<Item = (usize, &NotUnderstood)> {
        self.listeners
            .iter()
            .take(self.gateway_listeners)
            .enumerate()
            .flat_map(|(index, listener)| listener.not_understood.iter().map(move |n| (index, n)))
    }
}

impl<'a> ListenerView<'a> {
    /// What of the configuration is not understood and may change answers here.
    pub fn not_understood(&self) -> &'a [NotUnderstood] {
        &self.listener.not_understood
    }

    /// The steps of a request; [`RouteView::step`](crate::RouteView::step)
    /// says what a route changes about one, by its position here.
    pub fn steps(&self) -> Vec<StepView<'a>> {
        let filters = self.listener.chain.filters.iter();
        filters.map(|filter| self.step(filter, true)).collect()
    }

    /// The same without the rules of AuthorizationPolicies, which are many.
    pub fn bare_steps(&self) -> Vec<StepView<'a>> {
        let filters = self.listener.chain.filters.iter();
        filters.map(|filter| self.step(filter, false)).collect()
    }

    /// How many steps there are.
    pub fn step_count(&self) -> usize {
        self.listener.chain.filters.len()
    }

    /// Whether a step is skipped on routes that say nothing about it.
    pub fn is_disabled(&self, step: usize) -> bool {
        let filter = self.listener.chain.filters.get(step);
        filter.is_some_and(|filter| filter.disabled)
    }

    /// Whether a request can have another route of this virtual host after a step
    /// that has it chosen anew: a route looks at a header that may have changed
    /// by then.
    pub fn may_choose_another(&self, host: HostView<'a>) -> bool {
        let changing = self.bare_steps().into_iter().filter_map(|step| match step {
            StepView::Headers {
                changes,
                chooses_again,
            } => Some((changes, chooses_again)),
            _ => None,
        });
        let changing: Vec<_> = changing.collect();
        if !changing.iter().any(|(_, chooses_again)| *chooses_again) {
            return false;
        }
        let authorizers = self.bare_authorizers();
        // Tokens are taken off, and who is no login service may change anything.
        let any = self.token_rules().next().is_some() || authorizers.iter().any(|a| !a.is_login());
        let enforces = self.snapshot.enforces();
        let changed = |name: &str| {
            let by_filter = changing.iter().flat_map(|(changes, _)| changes.iter());
            let by_login = authorizers.iter().flat_map(|a| a.headers_to_upstream());
            any || by_filter.into_iter().any(|change| change.name() == name)
                || is_listed(by_login, name)
                || enforces && (IDENTITY_HEADERS.contains(&name) || KNATIVE_HEADERS.contains(&name))
        };
        let mut routes = host.routes();
        routes.any(|route| {
            route.condition().looks_at(&|attribute| match attribute {
                Attribute::Header(name) => changed(name),
                Attribute::Query(_) | Attribute::PathAndQuery | Attribute::Claim(_) => any,
                _ => false,
            })
        })
    }

    /// What a step is called in Envoy's configuration; empty for access levels.
    pub fn step_name(&self, step: usize) -> &'a str {
        let filter = self.listener.chain.filters.get(step);
        filter.map_or("", |filter| &filter.name)
    }

    fn step(&self, filter: &'a Filter, with_rules: bool) -> StepView<'a> {
        let custom = |number: &usize| {
            let custom = self.listener.authorization.custom.get(*number)?;
            Some(match with_rules {
                true => AuthorizerView::custom(custom),
                false => AuthorizerView::bare(custom),
            })
        };
        match &filter.step {
            FilterStep::Access => StepView::Access,
            FilterStep::Gate(number) => {
                custom(number).map_or(StepView::Other, |authorizer| StepView::Gate {
                    provider: *number,
                    authorizer,
                })
            }
            FilterStep::Custom(number) => {
                custom(number).map_or(StepView::Other, |authorizer| StepView::Custom {
                    provider: *number,
                    authorizer,
                })
            }
            FilterStep::Authorizer(number) => {
                let authorizer = self.listener.chain.authorizers.get(*number);
                authorizer.map_or(StepView::Other, |authorizer| {
                    StepView::Authorizer(AuthorizerView::inserted(authorizer))
                })
            }
            FilterStep::Jwt => StepView::Tokens,
            FilterStep::Policies(action) => match rule_action(*action) {
                None => StepView::Other,
                // Where all of them are dry runs nothing is enforced.
                Some(_) if !self.listener.enforces(*action) => StepView::Other,
                Some(named) => {
                    let policies = self.listener.authorization.policies.iter();
                    let policies = policies.filter(|policy| with_rules && policy.action == *action);
                    StepView::Rules {
                        action: named,
                        rules: policies.flat_map(|policy| rules(policy, named)).collect(),
                    }
                }
            },
            FilterStep::Rules(policy) => match of(policy) {
                None => StepView::Other,
                Some((action, rules)) => StepView::Rules { action, rules },
            },
            FilterStep::Headers {
                changes,
                chooses_again,
            } => StepView::Headers {
                changes,
                chooses_again: *chooses_again,
            },
            FilterStep::Fault => StepView::Fault,
            FilterStep::Cors => StepView::Cors,
            FilterStep::Other | FilterStep::Router => StepView::Other,
        }
    }
}

impl<'a> RouteStep<'a> {
    pub(crate) fn of(here: Option<&'a Override>) -> Self {
        match here {
            None => Self::AsListener,
            Some(Override::Off | Override::Absent) => Self::Off,
            Some(Override::On) => Self::On,
            Some(Override::Refuse(why)) => Self::Refused(why),
            Some(Override::Unread) => Self::Unread,
            Some(Override::Rules(policy)) => match of(policy) {
                None => Self::Off,
                Some((action, rules)) => Self::Rules { action, rules },
            },
        }
    }
}

fn of(policy: &Policy) -> Option<(RuleAction, Vec<RuleView<'_>>)> {
    let action = rule_action(policy.action)?;
    Some((action, rules(policy, action)))
}

fn rule_action(action: Action) -> Option<RuleAction> {
    match action {
        Action::Allow => Some(RuleAction::Allow),
        Action::Deny => Some(RuleAction::Deny),
        Action::Custom => Some(RuleAction::Custom),
        Action::Audit => None,
    }
}
