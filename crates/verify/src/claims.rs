//! The built-in questions, and their answers.

use std::collections::BTreeMap;

use policy::{AccessLevel, Destination, Entrance, Owner, RequestHead, RouteView, Snapshot};
use resources::{ObjectRef, Source};
use rustc_hash::FxHashMap;

use crate::analysis::{Analysis, Flow, HostPart, Outcome, PROBED};
use crate::engine::Engine;
use crate::mdd::Set;
use crate::paths::Cell;
use crate::universe::{AUTHORITY, IDENTITY, TOKEN_NONE};
use crate::witness::{self, Decided, Witness};

/// A statement about all requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
}

impl Claim {
    /// All built-in claims.
    pub const ALL: [Self; 7] = [
        Self::PlatformNeedsLogin,
        Self::NoForgedIdentity,
        Self::ModelsAnswerWorkloads,
        Self::ModelsClosedOutside,
        Self::ForeignUntouched,
        Self::LoginReachable,
        Self::ProbesAnswered,
    ];

    /// Short name, for options and machine-readable output.
    pub fn id(self) -> &'static str {
        match self {
            Self::PlatformNeedsLogin => "platform-needs-login",
            Self::NoForgedIdentity => "no-forged-identity",
            Self::ModelsAnswerWorkloads => "models-answer-workloads",
            Self::ModelsClosedOutside => "models-closed-outside",
            Self::ForeignUntouched => "foreign-untouched",
            Self::LoginReachable => "login-reachable",
            Self::ProbesAnswered => "probes-answered",
        }
    }

    /// The statement, as people say it.
    pub fn statement(self) -> &'static str {
        match self {
            Self::PlatformNeedsLogin => "the platform is never reached without a login",
            Self::NoForgedIdentity => "no identity header from a client reaches the platform",
            Self::ModelsAnswerWorkloads => "no model call inside the cluster meets the login",
            Self::ModelsClosedOutside => "no model is open to the outside by accident",
            Self::ForeignUntouched => "other applications are not under the platform's login",
            Self::LoginReachable => "the login itself can be reached",
            Self::ProbesAnswered => "probes of models are answered",
        }
    }

    /// Whether a flow breaks it, and if so for which requests.
    fn broken_by(self, engine: &mut Engine, at: &Place<'_>, flow: &Flow<'_>) -> Set {
        let entrance = at.entrance;
        if self == Self::ProbesAnswered {
            let probed = !at.cell.region && at.cell.text == PROBED && at.part.has_models();
            return if probed && flow.outcome == Outcome::NoRoute {
                let get = engine.universe.with_method(&mut engine.sets, "GET");
                engine.sets.and(flow.set, get)
            } else {
                Set::NONE
            };
        }
        let Some(route) = flow.trail.last() else {
            return Set::NONE;
        };
        let owner = route.access().owner;
        let reaches = matches!(flow.outcome, Outcome::Reaches(_));
        let login = flow.outcome == Outcome::Login;
        let strangers = engine.sets.and(flow.set, at.stranger);
        let all = flow.set;
        match self {
            Self::PlatformNeedsLogin if owner == Owner::Platform && reaches => strangers,
            Self::NoForgedIdentity if owner == Owner::Platform && reaches && !flow.cleaned => {
                engine.sets.and(strangers, at.forged)
            }
            Self::ModelsAnswerWorkloads
                if owner == Owner::Model && login && entrance == Entrance::Local =>
            {
                all
            }
            Self::ModelsClosedOutside
                if owner == Owner::Model
                    && reaches
                    && entrance == Entrance::External
                    && route.access().external != AccessLevel::Public =>
            {
                strangers
            }
            Self::ForeignUntouched if owner == Owner::Foreign && login => {
                let ordinary = ordinary_authorities(engine, at.port, &flow.authorities);
                engine.sets.and(all, ordinary)
            }
            Self::NoForgedIdentity
                if owner == Owner::Platform && login && !at.overwrites_identity =>
            {
                engine.sets.and(all, at.forged)
            }
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
                    Outcome::Denied if !enforced || open => strangers,
                    Outcome::Login if enforced && open => strangers,
                    _ => Set::NONE,
                }
            }
            _ => Set::NONE,
        }
    }
}

/// Authorities as clients send them: without a port, or with one that the
/// listener is reached by. Nobody is harmed when an odd one meets a login, and
/// to leave it out takes a prefix, which opens more: `a.example:*` also holds
/// for `a.example:1:1`, which is no longer that host.
fn ordinary_authorities(engine: &mut Engine, port: u16, authorities: &[String]) -> Set {
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

/// Where a flow is looked at.
struct Place<'a> {
    /// Listener port.
    port: u16,
    snapshot: &'a Snapshot,
    entrance: Entrance,
    part: &'a HostPart<'a>,
    cell: Cell<'a>,
    /// Requests without a token.
    stranger: Set,
    /// Requests with an identity header.
    forged: Set,
    /// Nobody passes a login here with an identity header of their own.
    overwrites_identity: bool,
}

/// What came out for a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It holds for every request.
    Holds,
    /// A request breaks it.
    Violated,
    /// Not known; the reasons are given.
    NotDecided,
}

/// One way in which a claim is broken.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The claim.
    pub claim: Claim,
    /// The shortest request that shows it.
    pub witness: Witness,
    /// Listener, as people call it.
    pub listener: String,
    /// Where the request ends up.
    pub destination: Option<Destination>,
    /// The last route, and where it is written.
    pub route: (ObjectRef, Source, String),
    /// Groups of requests with the same cause, this one included.
    pub count: usize,
}

/// The answers to all questions.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What breaks a claim, grouped by destination and deciding rules.
    pub findings: Vec<Finding>,
    /// Reasons for which a claim was not decided, by claim.
    pub undecided: BTreeMap<Claim, Vec<String>>,
    /// Cells that were looked at.
    pub cells: usize,
}

impl Report {
    /// What came out for a claim.
    pub fn verdict(&self, claim: Claim) -> Verdict {
        if self.findings.iter().any(|f| f.claim == claim) {
            Verdict::Violated
        } else if self.undecided.contains_key(&claim) {
            Verdict::NotDecided
        } else {
            Verdict::Holds
        }
    }

    /// The worst of all.
    pub fn overall(&self) -> Verdict {
        let all = Claim::ALL.into_iter().map(|claim| self.verdict(claim));
        let mut worst = Verdict::Holds;
        for verdict in all {
            worst = match (worst, verdict) {
                (Verdict::Violated, _) | (_, Verdict::Violated) => Verdict::Violated,
                (Verdict::NotDecided, _) | (_, Verdict::NotDecided) => Verdict::NotDecided,
                _ => Verdict::Holds,
            };
        }
        worst
    }
}

/// Requests that break a claim for the same reason.
#[derive(Default)]
struct Group {
    witness: Option<Witness>,
    count: usize,
    destination: Option<Destination>,
    not_modelled: Vec<String>,
}

type Key<'s> = (Claim, usize, Vec<(&'s ObjectRef, &'s str)>, u64);

/// Answers the built-in questions about a configuration.
pub fn verify(snapshot: &Snapshot) -> Report {
    let mut engine = Engine::new(&[snapshot]);
    let analysis = Analysis::new(&mut engine, snapshot);
    let mut report = Report::default();
    // The shortest witness of each cause first; what remains is confirmed.
    let mut groups: FxHashMap<Key<'_>, Group> = FxHashMap::default();
    let listeners: Vec<_> = analysis
        .listeners
        .iter()
        .filter_map(|l| Some((l.view.index(), l.view.entrance()?, l.hosts())))
        .collect();
    let stranger = engine.universe.token(&mut engine.sets, TOKEN_NONE);
    let forged = engine.universe.with_header(&mut engine.sets, IDENTITY);
    for (listener, entrance, hosts) in listeners {
        for host in hosts {
            let Some(part) = analysis.host(&mut engine, listener, host) else {
                continue;
            };
            let overwrites_identity = snapshot.enforces()
                || analysis.listener(listener).is_some_and(|l| {
                    let all = l.view.authorizers();
                    let mut login = all.iter().filter(|a| a.is_login());
                    login.any(|a| {
                        a.headers_to_upstream()
                            .iter()
                            .any(|h| h.eq_ignore_ascii_case(IDENTITY))
                    })
                });
            for cell in part.strings.cells() {
                report.cells += 1;
                let place = Place {
                    port: analysis.listener(listener).map_or(0, |l| l.view.port()),
                    snapshot,
                    entrance,
                    part: &part,
                    cell,
                    stranger,
                    forged,
                    overwrites_identity,
                };
                for flow in analysis.flows(&mut engine, listener, &part, cell) {
                    if let Some(why) = not_followed(&flow) {
                        for claim in Claim::ALL {
                            let reasons = report.undecided.entry(claim).or_default();
                            if !reasons.contains(&why) {
                                reasons.push(why.clone());
                            }
                        }
                        continue;
                    }
                    for claim in Claim::ALL {
                        let set = claim.broken_by(&mut engine, &place, &flow);
                        if set.is_none() {
                            continue;
                        }
                        let narrowed = Flow {
                            set,
                            ..flow.clone()
                        };
                        let trail = flow.trail.iter().map(|r| (r.object(), r.place())).collect();
                        let group = groups
                            .entry((claim, listener, trail, flow.cause))
                            .or_default();
                        group.count += 1;
                        if let Outcome::Reaches(destination) = flow.outcome {
                            group.destination = Some(destination.clone());
                        }
                        if group.count > MAX_TRIED && group.witness.is_some() {
                            continue;
                        }
                        for name in engine.not_modelled(set) {
                            if !group.not_modelled.contains(&name) {
                                group.not_modelled.push(name);
                            }
                        }
                        let found = witness::find(
                            &mut engine,
                            snapshot,
                            entrance,
                            &narrowed,
                            cell,
                            &part.strings,
                        );
                        if let Some(found) = found
                            && group
                                .witness
                                .as_ref()
                                .is_none_or(|known| found.cost() < known.cost())
                        {
                            group.witness = Some(found);
                        }
                    }
                }
            }
        }
    }
    gather(&analysis, groups, &mut report);
    let opaque = not_understood(snapshot);
    for claim in Claim::ALL {
        let mut reasons = engine.given_up.clone();
        reasons.extend(opaque.iter().cloned());
        if engine.sets.exhausted() {
            reasons.push(
                "too many different sets of requests: the bound on memory was hit".to_owned(),
            );
        }
        if !reasons.is_empty() {
            report.undecided.entry(claim).or_default().extend(reasons);
        }
    }
    report
}

/// Why nobody here knows what becomes of these requests.
pub(crate) fn not_followed(flow: &Flow<'_>) -> Option<String> {
    let route = flow.trail.last()?;
    let why = match flow.outcome {
        Outcome::Unknown => {
            "what becomes of its rewritten paths at the next crossing is not followed"
        }
        Outcome::Authorizer => "an external authorizer that is no login service decides",
        _ => return None,
    };
    Some(format!("{} {}: {why}", route.object(), route.place()))
}

/// What of a configuration is not understood and may change answers.
pub(crate) fn not_understood(snapshot: &Snapshot) -> Vec<String> {
    let all = snapshot.not_understood();
    let mut reasons: Vec<String> = all
        .map(|(_, what)| {
            format!(
                "{}: {}: {}, not understood",
                what.object, what.place, what.why
            )
        })
        .collect();
    reasons.sort();
    reasons.dedup();
    reasons
}

/// Witnesses that are built for one cause, to choose the shortest from.
const MAX_TRIED: usize = 8;

fn gather(analysis: &Analysis<'_>, groups: FxHashMap<Key<'_>, Group>, report: &mut Report) {
    let mut by_rules: BTreeMap<(Claim, usize, String), Finding> = BTreeMap::new();
    for ((claim, listener, trail, _), group) in groups {
        let Group {
            witness,
            count,
            destination,
            not_modelled,
        } = group;
        let route = trail
            .last()
            .map(|(object, place)| format!("{object} {place}"));
        let Some(witness) = witness else {
            let place = route.unwrap_or_default();
            let because = if not_modelled.is_empty() {
                String::new()
            } else {
                format!(" (it depends on {})", not_modelled.join(", "))
            };
            report.undecided.entry(claim).or_default().push(format!(
                "{place}: a request that breaks it seems possible, and none was found{because}"
            ));
            continue;
        };
        let Some(listener_part) = analysis.listener(listener) else {
            continue;
        };
        let deciding: Vec<String> = witness
            .steps
            .iter()
            .filter(|s| {
                matches!(
                    s.stage,
                    policy::Stage::Policy | policy::Stage::Check | policy::Stage::Route
                )
            })
            .filter_map(|s| {
                s.object
                    .as_ref()
                    .map(|(object, _)| format!("{object} {}", s.text))
            })
            .collect();
        let key = (claim, listener, format!("{destination:?} {deciding:?}"));
        let Some(route) = trail.last().and_then(|(object, place)| {
            let found = analysis.route(listener, object, place)?;
            Some((
                (*object).clone(),
                found.source().clone(),
                (*place).to_owned(),
            ))
        }) else {
            continue;
        };
        let finding = Finding {
            claim,
            listener: listener_part.view.describe().to_string(),
            destination,
            route,
            count,
            witness,
        };
        match by_rules.get_mut(&key) {
            Some(known) => {
                known.count += finding.count;
                if finding.witness.cost() < known.witness.cost() {
                    let count = known.count;
                    *known = Finding { count, ..finding };
                }
            }
            None => {
                by_rules.insert(key, finding);
            }
        }
    }
    report.findings = by_rules.into_values().collect();
    for reasons in report.undecided.values_mut() {
        reasons.sort();
        reasons.dedup();
    }
}

impl<'s> Analysis<'s> {
    fn route(&self, listener: usize, object: &ObjectRef, place: &str) -> Option<RouteView<'s>> {
        let mut order: Vec<usize> = (0..self.listeners.len()).collect();
        order.sort_by_key(|i| *i != listener);
        order.into_iter().find_map(|i| {
            let hosts = self.listener(i)?.hosts();
            let mut routes = hosts.into_iter().flat_map(|h| h.routes());
            routes.find(|r| r.object() == object && r.place() == place)
        })
    }
}

/// What the engine says becomes of concrete requests of strangers; `None` where
/// it does not know. Its answers are those of [`decision`](crate::decision), or
/// one of the two is wrong.
pub fn predict(snapshot: &Snapshot, heads: &[RequestHead]) -> Vec<Option<Decided>> {
    let mut engine = Engine::new(&[snapshot]);
    let analysis = Analysis::new(&mut engine, snapshot);
    let predicted = heads.iter().map(|head| {
        let listener = analysis
            .listeners
            .iter()
            .find(|l| l.view.entrance() == Some(head.entrance))?;
        // Without a virtual host nothing is reached: not looked at further.
        let host = listener.select(&head.authority)?;
        let part = analysis.host(&mut engine, listener.view.index(), host)?;
        let cell = part.strings.cell_of(&head.path)?;
        let flows = analysis.flows(&mut engine, listener.view.index(), &part, cell);
        let flow = flows.into_iter().find(|flow| {
            let class = |dim| match dim {
                AUTHORITY => analysis.class_of(&part, host, &head.authority),
                dim => engine.universe.class_of(dim, head),
            };
            engine.sets.contains(flow.set, class) == Some(true)
        })?;
        Some(match flow.outcome {
            Outcome::Reaches(destination) => Decided::Reaches(destination.clone()),
            Outcome::Answered => Decided::Answered,
            Outcome::Login => Decided::Login,
            Outcome::Token => Decided::Token,
            Outcome::Authorizer => Decided::Authorizer,
            Outcome::Denied => Decided::Denied,
            Outcome::NoRoute => Decided::NoRoute,
            Outcome::Unknown => return None,
        })
    });
    predicted.collect()
}
