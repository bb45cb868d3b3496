//! What is the same in two configurations, so that what was found out about
//! one holds for the other.

use std::sync::Arc;

use crate::authorization::{Authorization, Custom};
use crate::rules::Action;
use crate::snapshot::{Listener, Snapshot};
use crate::view::ListenerView;

impl Snapshot {
    /// Whether another configuration has the same listeners with the same
    /// filters in front of the same Services, so that the two differ in virtual
    /// hosts and in rules of AuthorizationPolicies at most.
    pub fn is_framed_like(&self, other: &Self) -> bool {
        self.same_but_for_listeners(other)
            && self.listeners.len() == other.listeners.len()
            && self
                .listeners
                .iter()
                .zip(&other.listeners)
                .all(|(a, b)| a.is_framed_like(b))
    }

    /// Whether all but listeners and warnings is the same.
    fn same_but_for_listeners(&self, other: &Self) -> bool {
        // Whoever adds a field decides here whether it may differ.
        let Self {
            normalization,
            enforce,
            istio_version,
            listeners: _,
            mesh: _,
            external,
            local,
            own,
            gateway_listeners,
            sidecars,
            settings,
            warnings: _,
            unserved: _,
        } = self;
        *normalization == other.normalization
            && *enforce == other.enforce
            && *istio_version == other.istio_version
            && *external == other.external
            && *local == other.local
            && *own == other.own
            && *gateway_listeners == other.gateway_listeners
            && *sidecars == other.sidecars
            && *settings == other.settings
    }
}

impl Listener {
    fn is_framed_like(&self, other: &Self) -> bool {
        // Whoever adds a field decides here whether it may differ.
        let Self {
            id,
            port,
            tls,
            intake,
            opaque,
            side,
            gateways,
            hosts: _,
            chain,
            not_understood,
            authorization,
            indexes: _,
            token_rules,
            principals,
            account,
            sidecar,
        } = self;
        *id == other.id
            && *port == other.port
            && *tls == other.tls
            && *intake == other.intake
            && *opaque == other.opaque
            && *side == other.side
            && *gateways == other.gateways
            && *chain == other.chain
            && *not_understood == other.not_understood
            && *token_rules == other.token_rules
            && *principals == other.principals
            && *account == other.account
            && *sidecar == other.sidecar
            && authorization.is_framed_like(&other.authorization)
            // A policy without rules allows nothing.
            && [Action::Allow, Action::Deny, Action::Audit]
                .into_iter()
                .all(|action| self.enforces(action) == other.enforces(action))
    }
}

impl Authorization {
    /// The same but for the rules of its policies.
    fn is_framed_like(&self, other: &Self) -> bool {
        let Self {
            policies: _,
            dry_runs,
            custom,
            digest: _,
        } = self;
        let same = |(a, b): (&Custom, &Custom)| {
            let Custom {
                authorizer,
                policies: _,
                denying,
                denies_all,
            } = a;
            *authorizer == b.authorizer && *denying == b.denying && *denies_all == b.denies_all
        };
        *dry_runs == other.dry_runs
            && custom.len() == other.custom.len()
            && custom.iter().zip(&other.custom).all(same)
    }
}

impl ListenerView<'_> {
    /// Whether another listener of the same configuration has the same steps
    /// with the same rules: of the same pods many have.
    pub fn has_steps_of(&self, other: &ListenerView<'_>) -> bool {
        let (a, b) = (self.listener, other.listener);
        Arc::ptr_eq(&a.authorization, &b.authorization) && a.chain == b.chain
    }

    /// Whether the listener of another configuration that is framed like this
    /// one has the same rules.
    pub fn has_rules_of(&self, other: &ListenerView<'_>) -> bool {
        let (a, b) = (&self.listener.authorization, &other.listener.authorization);
        Arc::ptr_eq(a, b) || a.digest.is_some() && a.digest == b.digest
    }
}
