//! Who gets where: for each route, what becomes of the requests of strangers.

use std::collections::BTreeSet;

use policy::{AccessLevel, Destination, Entrance, Limits, Owner, RouteView, Snapshot};
use resources::{ObjectRef, Source};
use rustc_hash::FxHashMap;

use crate::analysis::{Analysis, Outcome};
use crate::cells::{Partition, Wanted};
use crate::engine::Engine;

/// What becomes of some requests of a stranger: no session, no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// They reach the route's destination.
    Reaches,
    /// They are asked to log in.
    Login,
    /// They are asked for a token.
    Token,
    /// An external authorizer that is no login service decides.
    Authorizer,
    /// Not known.
    Unknown,
    /// 401 or 403.
    Denied,
    /// 404, at a later crossing.
    NoRoute,
    /// The route, or the login, answers by itself.
    Answered,
}

/// A route of a virtual host, with all that becomes of strangers there.
#[derive(Clone, Debug)]
pub struct RouteFates {
    /// Index of the listener.
    pub listener: usize,
    /// Whose access levels count there.
    pub entrance: Entrance,
    /// Name of the virtual host.
    pub host: String,
    /// Where the route is written.
    pub object: ObjectRef,
    /// File and line of it.
    pub source: Source,
    /// `http[0]`.
    pub place: String,
    /// What it matches: alternatives, in each a text for each part.
    pub matches: Vec<Vec<String>>,
    /// Who it belongs to.
    pub owner: Owner,
    /// Its access level here.
    pub level: AccessLevel,
    /// Limits of the level.
    pub limits: Limits,
    /// Where it leads, in the end as far as that is known.
    pub destinations: Vec<Destination>,
    /// What becomes of strangers; nothing if no request gets to this route.
    pub fates: BTreeSet<Fate>,
}

impl Fate {
    fn of(outcome: Outcome<'_>) -> Self {
        match outcome {
            Outcome::Reaches(_) => Self::Reaches,
            Outcome::Answered => Self::Answered,
            Outcome::Login => Self::Login,
            Outcome::Token => Self::Token,
            Outcome::Authorizer => Self::Authorizer,
            Outcome::Denied => Self::Denied,
            Outcome::NoRoute => Self::NoRoute,
            Outcome::Unknown | Outcome::Inside(_) => Self::Unknown,
        }
    }
}

/// All routes of all listeners, in the order of listeners, hosts and routes.
pub fn map(snapshot: &Snapshot) -> Vec<RouteFates> {
    let mut engine = Engine::new(&[snapshot]);
    let analysis = Analysis::new(&mut engine, snapshot);
    let stranger = engine.tokenless();
    let mut out: Vec<RouteFates> = Vec::new();
    for at in &analysis.listeners {
        let entrance = at.view.side();
        let listener = at.view.index();
        for host in at.hosts() {
            let Some(part) = analysis.host(&mut engine, listener, host) else {
                continue;
            };
            let mut known: FxHashMap<(&ObjectRef, &str), usize> = FxHashMap::default();
            for view in host.routes() {
                let key = (view.object(), view.place());
                let index = *known.entry(key).or_insert(out.len());
                match out.get_mut(index) {
                    Some(same) => same.matches.push(view.matches()),
                    None => out.push(RouteFates::new(listener, entrance, host.name(), view)),
                }
            }
            let globals = part.ground.globals(&mut engine);
            let partition = Partition {
                own: &part.strings,
                globals: &globals,
            };
            let placed = (at, &*part);
            for piece in analysis.pieces(&mut engine, placed, partition, Wanted::Routed) {
                let [side, _] = &piece.sides;
                analysis.walk(
                    &mut engine,
                    placed,
                    piece.cell,
                    side,
                    &mut |engine, seen| {
                        if engine.sets.and(seen.set, stranger).is_none() {
                            return;
                        }
                        let first = seen.trail.first().map(|r| (r.object(), r.place()));
                        let index = first.and_then(|key| known.get(&key));
                        if let Some(route) = index.and_then(|i| out.get_mut(*i)) {
                            route.add(seen.outcome);
                        }
                    },
                );
            }
        }
    }
    for route in &mut out {
        if engine.sets.exhausted() {
            route.fates.insert(Fate::Unknown);
        }
        route.settle();
    }
    out
}

impl RouteFates {
    fn new(listener: usize, entrance: Entrance, host: &str, view: RouteView<'_>) -> Self {
        let access = view.access();
        let ways = view.ways();
        Self {
            listener,
            entrance,
            host: host.to_owned(),
            object: view.object().clone(),
            source: view.source().clone(),
            place: view.place().to_owned(),
            matches: vec![view.matches()],
            owner: access.owner,
            level: match entrance {
                Entrance::External => access.external,
                Entrance::Local => access.local,
            },
            limits: access.limits.clone(),
            destinations: ways.iter().filter_map(|w| w.destination.cloned()).collect(),
            fates: BTreeSet::new(),
        }
    }

    fn add(&mut self, outcome: Outcome<'_>) {
        // The first place where requests arrive in the end takes the place of
        // where the route itself leads, which may be another listener.
        if let Outcome::Reaches(destination) = outcome {
            if !self.fates.contains(&Fate::Reaches) {
                self.destinations.clear();
            }
            if !self.destinations.contains(destination) {
                self.destinations.push(destination.clone());
            }
        }
        self.fates.insert(Fate::of(outcome));
    }

    /// Preflights and the login's own paths are answered on many routes; that
    /// says nothing about those.
    fn settle(&mut self) {
        if self.fates.len() > 1 {
            self.fates.remove(&Fate::Answered);
        }
    }
}
