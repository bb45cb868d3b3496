//! Answers the built-in questions, virtual host by virtual host.

use std::sync::Arc;

use policy::{Condition, Destination, HostView, RouteView, Snapshot, StepView};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::analysis::{Analysis, Doubt, Flow, Outcome};
use crate::cells::{Partition, Wanted};
use crate::claims::{Claim, Place, ordinary_authorities};
use crate::engine::Engine;
use crate::intents::Intent;
use crate::listener::ListenerPart;
use crate::mdd::Set;
use crate::parts::HostPart;
use crate::reading::Readings;
use crate::report::{Finding, Report};
use crate::tally::{Answers, Told};
use crate::universe::IDENTITY;
use crate::verifier::Work;
use crate::walk::Seen;
use crate::witness::{self, Found, Witness};

/// What somebody says beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// What is to hold.
    pub intents: Vec<Intent>,
    /// How backends read paths.
    pub readings: Readings,
}

impl Asked {
    /// The built-in claims, then the intents.
    pub(crate) fn claims(&self) -> Vec<Claim> {
        let own = self
            .intents
            .iter()
            .map(|i| Claim::Intent(Arc::new(i.clone())));
        Claim::BUILT_IN.into_iter().chain(own).collect()
    }
}

/// Answers the built-in questions about a configuration.
pub fn verify(snapshot: &Snapshot) -> Report {
    verify_with(snapshot, &Asked::default())
}

/// Answers the built-in questions, and whether intents hold.
pub fn verify_with(snapshot: &Snapshot, asked: &Asked) -> Report {
    Work::new(snapshot, asked, None).answers(asked).0
}

/// Requests that break a claim for the same reason.
#[derive(Default)]
struct Group<'s> {
    /// How many groups were met before.
    order: usize,
    witness: Option<Found>,
    count: usize,
    destination: Option<&'s Destination>,
    route: Option<RouteView<'s>>,
    not_modelled: Vec<String>,
}

/// The claim, the routes on the way, whether everybody has a session, the cause.
type Key<'s> = (Claim, Vec<(&'s resources::ObjectRef, &'s str)>, bool, u64);

/// Witnesses that are built for one cause, to choose the plainest from.
const MAX_TRIED: usize = 8;

impl Answers {
    /// `None` where there is nothing to answer.
    pub(crate) fn of<'s>(
        engine: &mut Engine,
        analysis: &Analysis<'s>,
        claims: &[Claim],
        listener: &ListenerPart<'s>,
        host: HostView<'s>,
    ) -> Option<Self> {
        let entrance = listener.view.side();
        let part = analysis.host(engine, listener.view.index(), host)?;
        let globals = part.ground.globals(engine);
        let partition = Partition {
            own: &part.strings,
            globals: &globals,
        };
        let mut place = Place {
            snapshot: analysis.snapshot,
            entrance,
            listener: listener.view,
            probed: match part.has_models() {
                true => part.served_by_models(engine),
                false => Set::NONE,
            },
            authorities: &part.authorities,
            cell: crate::paths::Cell {
                text: "",
                region: false,
            },
            stranger: engine.strangers(),
            tokenless: engine.tokenless(),
            verified: listener.verified(engine, analysis.snapshot.enforces()),
            forged: engine.universe.with_header(&mut engine.sets, IDENTITY),
            ordinary: ordinary_authorities(engine, listener.view.port(), &part.authorities),
        };
        let mut intents = analysis.intents.iter();
        let wanted = match intents.any(|intent| intent.is_about_unrouted(host.name())) {
            true => Wanted::All,
            false => Wanted::Routed,
        };
        let mut groups: FxHashMap<Key<'s>, Group<'s>> = FxHashMap::default();
        let mut out = Self::default();
        for piece in analysis.pieces(engine, (listener, &part), partition, wanted) {
            if engine.sets.exhausted() {
                break;
            }
            out.cells += 1;
            place.cell = piece.cell;
            let [side, _] = &piece.sides;
            let aims = match analysis.intents.is_empty() {
                true => Vec::new(),
                false => analysis.aims(engine, (listener, &part), piece.cell, side),
            };
            let mut look = |engine: &mut Engine, seen: Seen<'_, 's>| {
                let unknown = not_followed(seen.trail, seen.outcome);
                for claim in claims {
                    if seen.session && *claim != Claim::NoForgedIdentity {
                        continue;
                    }
                    let concerned = claim.concerns(engine, &place, &seen, &aims);
                    if concerned.is_none() {
                        continue;
                    }
                    if let Claim::Intent(_) = claim
                        && !out.concerned.contains(claim)
                    {
                        out.concerned.insert(claim.clone());
                    }
                    if let Some(why) = &unknown {
                        out.not_decided(claim, why.clone());
                        continue;
                    }
                    let set = claim.broken_by(engine, &place, &seen, concerned);
                    if !set.is_none() {
                        let broken = Broken {
                            claim,
                            place: &place,
                            part: &part,
                            partition,
                            seen: Seen { set, ..seen },
                        };
                        broken.gather(engine, &mut groups);
                    }
                }
            };
            let placed = (listener, &*part);
            analysis.walk(engine, placed, piece.cell, side, &mut look);
            if analysis.keeps_identity {
                analysis.walk_as(engine, placed, piece.cell, side, true, &mut look);
            }
        }
        if engine.sets.exhausted() {
            engine.give_up(too_complex(listener, host));
        }
        // Who needs no session for it needs no login that lets them through.
        let shown = groups.iter().filter(|(_, group)| group.witness.is_some());
        let shown: FxHashSet<Key<'s>> = shown.map(|(key, _)| key.clone()).collect();
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, group)| group.order);
        for ((claim, trail, session, cause), group) in groups {
            if session && shown.contains(&(claim.clone(), trail.clone(), false, cause)) {
                continue;
            }
            out.answer(
                analysis.snapshot,
                listener,
                claim,
                trail.last().copied(),
                group,
            );
        }
        Some(out)
    }

    fn not_decided(&mut self, claim: &Claim, why: String) {
        let reasons = self.undecided.entry(claim.clone()).or_default();
        if !reasons.contains(&why) {
            reasons.push(why);
        }
    }

    fn answer(
        &mut self,
        snapshot: &Snapshot,
        listener: &ListenerPart<'_>,
        claim: Claim,
        route: Option<(&resources::ObjectRef, &str)>,
        group: Group<'_>,
    ) {
        let Some(found) = group.witness else {
            let place = match route {
                Some((object, place)) => format!("{object} {place}"),
                None => listener.view.describe().to_string(),
            };
            let because = if group.not_modelled.is_empty() {
                String::new()
            } else {
                format!(" (it depends on {})", group.not_modelled.join(", "))
            };
            self.not_decided(
                &claim,
                format!(
                    "{place}: a request that breaks it seems possible, and none was found{because}"
                ),
            );
            return;
        };
        // Without a route, the Gateway is what there is to point at.
        let gateway = || {
            let (object, source) = listener.view.gateways().first()?;
            Some((object.clone(), source.clone(), String::new()))
        };
        let route = group.route.map(|route| {
            let place = route.place().to_owned();
            (route.object().clone(), route.source().clone(), place)
        });
        let Some(route) = route.or_else(gateway) else {
            return;
        };
        let witness = Witness::of(snapshot, found);
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
        let key = format!("{:?} {deciding:?}", group.destination);
        let finding = Finding {
            claim,
            listener: listener.view.describe().to_string(),
            destination: group.destination.cloned(),
            route,
            count: group.count,
            witness: Arc::new(witness),
            contrast: None,
        };
        let told = Told::new(finding, key);
        self.findings.push((self.findings.len(), told));
    }
}

/// Requests that break a claim.
struct Broken<'a, 's> {
    claim: &'a Claim,
    place: &'a Place<'a>,
    part: &'a HostPart<'s>,
    partition: Partition<'a>,
    seen: Seen<'a, 's>,
}

impl<'s> Broken<'_, 's> {
    fn gather(self, engine: &mut Engine, groups: &mut FxHashMap<Key<'s>, Group<'s>>) {
        let seen = self.seen;
        let trail = seen.trail.iter().map(|r| (r.object(), r.place())).collect();
        let key = (self.claim.clone(), trail, seen.session, seen.cause);
        let order = groups.len();
        let group = groups.entry(key).or_insert_with(|| Group {
            order,
            ..Group::default()
        });
        group.count += 1;
        group.route = seen.trail.last().copied();
        if let Outcome::Reaches(destination) = seen.outcome {
            group.destination = Some(destination);
        }
        if group.count > MAX_TRIED && group.witness.is_some() {
            return;
        }
        for name in engine.not_modelled(seen.set) {
            if !group.not_modelled.contains(&name) {
                group.not_modelled.push(name);
            }
        }
        let flow = Flow {
            forges: *self.claim == Claim::NoForgedIdentity,
            ..seen.flow(&self.part.authorities)
        };
        let found = witness::find(
            engine,
            self.place.snapshot,
            self.place.listener,
            &flow,
            self.place.cell,
            self.partition,
            group.witness.as_ref().map(|(head, _)| head),
        );
        if found.is_some() {
            group.witness = found;
        }
    }
}

/// Why nothing is proved here.
pub(crate) fn given_up(engine: &Engine, snapshot: &Snapshot, exhausted: bool) -> Vec<String> {
    let mut reasons = engine.given_up.clone();
    reasons.extend(not_understood(snapshot));
    if exhausted && reasons.is_empty() {
        reasons.push("too many different sets of requests: a bound was hit".to_owned());
    }
    reasons
}

/// Rules that are named when a bound is hit.
const NAMED: usize = 8;

/// A bound was hit at a virtual host: the rules that look at most.
fn too_complex(listener: &ListenerPart<'_>, host: HostView<'_>) -> String {
    let steps = listener.view.steps().into_iter();
    let rules = steps.flat_map(|step| match step {
        StepView::Rules { rules, .. } => rules,
        StepView::Gate { authorizer, .. } => authorizer.rules.unwrap_or_default(),
        _ => Vec::new(),
    });
    let mut weighed: Vec<(usize, String)> = rules
        .map(|rule| {
            (
                tests(&rule.condition),
                format!("{} rule {}", rule.object, rule.index),
            )
        })
        .collect();
    let routes = host.routes().map(|route| {
        let name = format!("{} {}", route.object(), route.place());
        (tests(&route.condition()), name)
    });
    weighed.extend(routes);
    weighed.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let more = weighed.len().saturating_sub(NAMED);
    let names: Vec<String> = weighed
        .into_iter()
        .take(NAMED)
        .map(|(_, name)| name)
        .collect();
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "virtual host `{}` on {}: too many different sets of requests, a bound was hit; rules {}{more} together",
        host.name(),
        listener.view.describe(),
        names.join(", ")
    )
}

fn tests(condition: &Condition) -> usize {
    match condition {
        Condition::All(all) | Condition::Any(all) => all.iter().map(tests).sum(),
        Condition::Not(inner) => tests(inner),
        Condition::Test(_) => 1,
    }
}

/// Why nobody here knows what becomes of these requests.
pub(crate) fn not_followed(trail: &[RouteView<'_>], outcome: Outcome<'_>) -> Option<String> {
    let route = trail.last()?;
    let why = match outcome {
        Outcome::Unknown => {
            "what becomes of its rewritten paths at the next crossing is not followed"
        }
        Outcome::Inside(Doubt::Injection) => {
            "whether the pods it leads to have a sidecar is not known, and policies would be asked there"
        }
        Outcome::Inside(Doubt::Sender) => {
            "policies of the pods it leads to look at what is not known of the gateway: its address, its ServiceAccount, or whether requests come straight from it"
        }
        Outcome::Inside(Doubt::NotUnderstood) => {
            "something in the sidecar of the pods it leads to is not understood"
        }
        Outcome::Authorizer => "what an external authorizer answers decides, and is not known",
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
