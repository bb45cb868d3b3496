//! The HTTP filters of a listener, in the order in which a request meets them
//! (istio `listener_builder.go` buildHTTPConnectionManager, and what
//! EnvoyFilters make of it, `envoyfilter/listener_patch.go` patchHTTPFilters).

use std::sync::Arc;

use resources::{ObjectRef, Source};

use crate::authorization::Authorization;
use crate::permit::HeaderChange;
use crate::providers::{Authorizer, AuthorizerKind};
use crate::rules::{Action, Policy};
use crate::settings::IstioVersion;

pub(crate) const RBAC: &str = "envoy.filters.http.rbac";
pub(crate) const EXT_AUTHZ: &str = "envoy.filters.http.ext_authz";
pub(crate) const JWT: &str = "envoy.filters.http.jwt_authn";
pub(crate) const CORS: &str = "envoy.filters.http.cors";
pub(crate) const ROUTER: &str = "envoy.filters.http.router";

/// One filter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Filter {
    /// Its name in the chain: what EnvoyFilters match and what per-route
    /// configuration is found by.
    pub(crate) name: String,
    /// Name of the extension that it is.
    pub(crate) canonical: String,
    /// Skipped unless a route has configuration for it.
    pub(crate) disabled: bool,
    pub(crate) step: FilterStep,
    /// The EnvoyFilter that put it here; none for what Istio generates.
    pub(crate) inserted_by: Option<(ObjectRef, Source)>,
}

/// What a filter does to a decision.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FilterStep {
    /// The access levels of the routes; ours, no EnvoyFilter can move it.
    Access,
    /// Whether a rule of a CUSTOM provider matches; by number of the provider.
    Gate(usize),
    /// The authorizer of that provider, asked if its gate is open.
    Custom(usize),
    /// An authorizer that an EnvoyFilter inserted; its number among those.
    Authorizer(usize),
    /// Tokens.
    Jwt,
    /// AuthorizationPolicies of one action.
    Policies(Action),
    /// Rules that an EnvoyFilter inserted.
    Rules(Arc<Policy>),
    /// Headers are changed.
    Headers {
        changes: Arc<[HeaderChange]>,
        /// Then the route is chosen anew.
        chooses_again: bool,
    },
    /// Faults of routes are answered.
    Fault,
    /// CORS preflights are answered.
    Cors,
    /// Nothing that concerns a decision, or nothing that is understood: that
    /// is on the listener's list.
    Other,
    /// The route acts.
    Router,
}

/// The filters of a listener, and the authorizers that EnvoyFilters inserted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Chain {
    pub(crate) filters: Vec<Filter>,
    pub(crate) authorizers: Vec<Authorizer>,
}

impl Filter {
    pub(crate) fn new(name: &str, step: FilterStep) -> Self {
        Self {
            name: name.to_owned(),
            canonical: name.to_owned(),
            disabled: false,
            step,
            inserted_by: None,
        }
    }
}

impl Chain {
    /// What Istio generates for a gateway listener.
    pub(crate) fn generated(
        authorization: &Authorization,
        tokens: bool,
        version: IstioVersion,
    ) -> Self {
        let Authorization {
            policies,
            dry_runs,
            custom,
            digest: _,
        } = authorization;
        let mut filters = vec![Filter::new("istio.metadata_exchange", FilterStep::Other)];
        for (number, custom) in custom.iter().enumerate() {
            filters.push(Filter::new(RBAC, FilterStep::Gate(number)));
            if !matches!(custom.authorizer.kind, AuthorizerKind::Broken(_)) {
                filters.push(Filter::new(EXT_AUTHZ, FilterStep::Custom(number)));
            }
        }
        if tokens {
            filters.push(Filter::new(JWT, FilterStep::Jwt));
            if version < IstioVersion::PRINCIPAL_SPLIT {
                filters.push(Filter::new("istio_authn", FilterStep::Other));
            }
        }
        for action in [Action::Audit, Action::Deny, Action::Allow] {
            let mut all = policies.iter().chain(dry_runs);
            if all.any(|policy| policy.action == action) {
                filters.push(Filter::new(RBAC, FilterStep::Policies(action)));
            }
        }
        filters.extend([
            Filter::new("envoy.filters.http.grpc_stats", FilterStep::Other),
            Filter::new("istio.alpn", FilterStep::Other),
            Filter::new("envoy.filters.http.fault", FilterStep::Fault),
            Filter::new(CORS, FilterStep::Cors),
            Filter::new("istio.stats", FilterStep::Other),
            Filter::new(ROUTER, FilterStep::Router),
        ]);
        Self {
            filters,
            authorizers: Vec::new(),
        }
    }

    /// Puts the access levels where they are asked: after external authorizers
    /// in front, before tokens, policies and routes.
    pub(crate) fn with_access(mut self) -> Self {
        let at = self.filters.iter().position(|filter| {
            matches!(
                filter.step,
                FilterStep::Jwt
                    | FilterStep::Policies(_)
                    | FilterStep::Rules(_)
                    | FilterStep::Fault
                    | FilterStep::Cors
                    | FilterStep::Router
            )
        });
        let at = at.unwrap_or(self.filters.len());
        self.filters.insert(at, Filter::new("", FilterStep::Access));
        self
    }

    /// Inserts before or after the first filter of a name, or at an end when
    /// none is named. Whether it did.
    pub(crate) fn insert(&mut self, filter: Filter, at: Position<'_>) -> bool {
        let first = |name: &str| self.filters.iter().position(|f| f.name == name);
        let index = match at {
            Position::First => Some(0),
            Position::Last => Some(self.filters.len()),
            Position::Before(name) => first(name),
            Position::After(name) => first(name).map(|index| index + 1),
        };
        let Some(index) = index else { return false };
        self.filters.insert(index, filter);
        true
    }

    /// Takes the place of the first filter of a name. Whether it did.
    pub(crate) fn replace(&mut self, filter: Filter, name: &str) -> bool {
        let found = self.filters.iter_mut().find(|f| f.name == name);
        found.map(|place| *place = filter).is_some()
    }

    /// Removes every filter of a name. Whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let before = self.filters.len();
        self.filters.retain(|filter| filter.name != name);
        self.filters.len() < before
    }
}

/// Where a filter is inserted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Position<'n> {
    First,
    Last,
    Before(&'n str),
    After(&'n str),
}

/// What the configuration of a route says about one filter of the chain.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) enum Override {
    /// Skipped.
    Off,
    /// Not there for requests that have this route at first.
    Absent,
    /// As on the listener, also if it is disabled there.
    On,
    /// These rules instead of the listener's.
    Rules(Arc<Policy>),
    /// Every request is refused, for this reason.
    Refuse(Arc<str>),
    /// Tokens are not looked at, and what the listener's rules for them set is
    /// taken off all the same.
    Unread,
}

/// The per-route configuration of one route: by index of the filter.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(crate) struct Overrides(Option<Arc<[(usize, Override)]>>);

impl Overrides {
    pub(crate) fn new(list: Vec<(usize, Override)>) -> Self {
        Self((!list.is_empty()).then(|| list.into()))
    }

    /// What is said about a filter.
    pub(crate) fn get(&self, index: usize) -> Option<&Override> {
        let list = self.0.as_deref()?;
        list.iter().find(|(i, _)| *i == index).map(|(_, o)| o)
    }

    /// Whether a filter does nothing here.
    pub(crate) fn skips(&self, index: usize) -> bool {
        matches!(self.get(index), Some(Override::Off | Override::Absent))
    }
}

impl Filter {
    /// Whether it changes headers before it asks for the route.
    pub(crate) fn changes_headers_first(&self) -> bool {
        matches!(
            self.step,
            FilterStep::Headers {
                chooses_again: false,
                ..
            }
        )
    }

    /// Whether a request does not meet this filter, by what its first route and
    /// its present one say: the filters of a request are chosen once (envoy
    /// `filter_chain_helper.cc`, `FilterChainOptions`), what each does is asked
    /// for when it is met.
    pub(crate) fn is_off(&self, first: Option<&Override>, here: Option<&Override>) -> bool {
        let absent = match first {
            Some(first) => *first == Override::Absent,
            None => self.disabled,
        };
        absent || here == Some(&Override::Off)
    }
}
