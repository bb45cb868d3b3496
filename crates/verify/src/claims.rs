//! The built-in questions, and which requests answer them with no.

use std::sync::Arc;

use policy::{AccessLevel, Entrance, ListenerView, Owner, Snapshot};

use crate::analysis::{Flow, Outcome, PROBED};
use crate::engine::Engine;
use crate::intents::Intent;
use crate::listener::Verified;
use crate::mdd::Set;
use crate::paths::Cell;
use crate::universe::AUTHORITY;
use crate::walk::Seen;

/// A statement about all requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Claim {
    /// Nothing of the platform is reached without a login, on any listener.
    PlatformNeedsLogin,
    /// No identity header that a client sent reaches the platform.
    NoForgedIdentity,
    /// No call of a model on the cluster-local listener is sent to the login.
    ModelsAnswerWorkloads,
    /// No model is open to the outside, unless it is marked public.
    ModelsClosedOutside,
    /// Routes of nobody's platform are not under its login.
    ForeignUntouched,
    /// The login machinery can be reached by who is not logged in.
    LoginReachable,
    /// Probes of Knative get an answer from the model, not a login page.
    ProbesAnswered,
    /// No rule on paths is escaped by a path that the backend reads otherwise,
    /// among those that are tried.
    OneReading,
    /// One of one's own.
    Intent(Arc<Intent>),
}

impl Claim {
    /// All built-in claims.
    pub const BUILT_IN: [Self; 8] = [
        Self::PlatformNeedsLogin,
        Self::NoForgedIdentity,
        Self::ModelsAnswerWorkloads,
        Self::ModelsClosedOutside,
        Self::ForeignUntouched,
        Self::LoginReachable,
        Self::ProbesAnswered,
        Self::OneReading,
    ];

    /// Short name, for options and machine-readable output.
    pub fn id(&self) -> &str {
        match self {
            Self::PlatformNeedsLogin => "platform-needs-login",
            Self::NoForgedIdentity => "no-forged-identity",
            Self::ModelsAnswerWorkloads => "models-answer-workloads",
            Self::ModelsClosedOutside => "models-closed-outside",
            Self::ForeignUntouched => "foreign-untouched",
            Self::LoginReachable => "login-reachable",
            Self::ProbesAnswered => "probes-answered",
            Self::OneReading => "one-reading",
            Self::Intent(intent) => intent.id(),
        }
    }

    /// The statement, as people say it.
    pub fn statement(&self) -> &str {
        match self {
            Self::PlatformNeedsLogin => "the platform is never reached without a login",
            Self::NoForgedIdentity => "no identity header from a client reaches the platform",
            Self::ModelsAnswerWorkloads => "no model call inside the cluster meets the login",
            Self::ModelsClosedOutside => "no model is open to the outside by accident",
            Self::ForeignUntouched => "other applications are not under the platform's login",
            Self::LoginReachable => "the login itself can be reached",
            Self::ProbesAnswered => "probes of models are answered",
            Self::OneReading => {
                "no path that was tried escapes a rule because a backend reads it otherwise"
            }
            Self::Intent(intent) => intent.statement(),
        }
    }

    /// Whether requests that break it are only searched for: where none is found,
    /// nothing is proved.
    pub fn is_search(&self) -> bool {
        *self == Self::OneReading
    }

    /// The requests of a flow that it speaks of.
    pub(crate) fn concerns(
        &self,
        engine: &mut Engine,
        at: &Place<'_>,
        flow: &Seen<'_, '_>,
        aims: &[Flow<'_>],
    ) -> Set {
        match self {
            Self::Intent(intent) => intent.concerns(engine, at, flow, aims),
            Self::NoForgedIdentity if flow.cleaned => Set::NONE,
            Self::NoForgedIdentity => engine.sets.and(flow.set, at.forged),
            Self::PlatformNeedsLogin | Self::ModelsClosedOutside => {
                engine.sets.and(flow.set, at.stranger)
            }
            _ => flow.set,
        }
    }

    /// Whether a flow breaks it, and if so for which of the requests concerned.
    pub(crate) fn broken_by(
        &self,
        engine: &mut Engine,
        at: &Place<'_>,
        flow: &Seen<'_, '_>,
        concerned: Set,
    ) -> Set {
        if let Self::Intent(intent) = self {
            return match intent.is_broken_by(flow.outcome) {
                true => concerned,
                false => Set::NONE,
            };
        }
        let entrance = at.entrance;
        if *self == Self::ProbesAnswered {
            let probed = !at.cell.region && at.cell.text == PROBED;
            if !probed || flow.outcome != Outcome::NoRoute {
                return Set::NONE;
            }
            let get = engine.universe.with_method(&mut engine.sets, "GET");
            let get = engine.sets.and(flow.set, get);
            return engine.sets.and(get, at.probed);
        }
        let Some(route) = flow.trail.last() else {
            return Set::NONE;
        };
        let owner = route.access().owner;
        let reaches = matches!(flow.outcome, Outcome::Reaches(_));
        let login = flow.outcome == Outcome::Login;
        let broken = match self {
            Self::PlatformNeedsLogin if owner == Owner::Platform && reaches => Set::ALL,
            Self::NoForgedIdentity if owner == Owner::Platform && reaches => Set::ALL,
            Self::ModelsAnswerWorkloads
                if owner == Owner::Model && login && entrance == Entrance::Local =>
            {
                Set::ALL
            }
            Self::ModelsClosedOutside
                if owner == Owner::Model
                    && reaches
                    && entrance == Entrance::External
                    && route.access().external != AccessLevel::Public =>
            {
                Set::ALL
            }
            Self::ForeignUntouched if owner == Owner::Foreign && login => at.ordinary,
            Self::LoginReachable
                if owner == Owner::LoginMachinery && entrance == Entrance::External =>
            {
                let enforced = at.snapshot.enforces();
                let open = !at.cell.region
                    && at
                        .snapshot
                        .provider_paths()
                        .iter()
                        .any(|p| p == at.cell.text);
                match flow.outcome {
                    // As written, the login service lets its own paths through.
                    Outcome::Denied if !enforced || open => at.tokenless,
                    Outcome::Login if enforced && open => at.tokenless,
                    _ => Set::NONE,
                }
            }
            _ => Set::NONE,
        };
        engine.sets.and(concerned, broken)
    }
}

/// Authorities as clients send them: without a port, or with one that the
/// listener is reached by. Nobody is harmed when an odd one meets a login, and
/// to leave it out takes a prefix, which opens more: `a.example:*` also holds
/// for `a.example:1:1`, which is no longer that host.
pub(crate) fn ordinary_authorities(engine: &mut Engine, port: u16, authorities: &[String]) -> Set {
    let ordinary = authorities.iter().map(|a| match a.rsplit_once(':') {
        None => true,
        Some((host, given)) => {
            !host.contains(':')
                && given
                    .parse()
                    .is_ok_and(|given: u16| [80, 443, port].contains(&given))
        }
    });
    engine.sets.classes(AUTHORITY, ordinary)
}

/// Where requests are looked at.
pub(crate) struct Place<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) entrance: Entrance,
    pub(crate) listener: ListenerView<'a>,
    /// Requests with an authority under which a model is served.
    pub(crate) probed: Set,
    pub(crate) authorities: &'a [String],
    pub(crate) cell: Cell<'a>,
    /// Requests without a session or a good token.
    pub(crate) stranger: Set,
    /// Those of them without any.
    pub(crate) tokenless: Set,
    /// Requests with a token that verifies.
    pub(crate) verified: Verified,
    /// Requests whose authority is as clients send it.
    pub(crate) ordinary: Set,
    /// Requests with an identity header.
    pub(crate) forged: Set,
}
