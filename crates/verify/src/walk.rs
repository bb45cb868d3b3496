//! The way of all requests of a cell through a listener, step by step.

use std::rc::Rc;

use policy::{AccessLevel, Entrance, Owner, RewriteView, RouteView};

use crate::analysis::{Analysis, Change, Flow, HostPart, MAX_HOPS, Outcome, RoutePart, WayPart};
use crate::engine::Engine;
use crate::listener::{ListenerPart, StepKind};
use crate::mdd::{Dim, Set};
use crate::paths::Cell;
use crate::scope::Front;
use crate::universe::TOKEN_INVALID;

pub(crate) struct Walk<'a, 's> {
    pub(crate) analysis: &'a Analysis<'s>,
    pub(crate) engine: &'a mut Engine,
    pub(crate) entrance: Option<Entrance>,
    pub(crate) authorities: Rc<[String]>,
    /// No identity header of the client's is left.
    pub(crate) cleaned: bool,
    pub(crate) out: &'a mut Vec<Flow<'s>>,
}

/// Where a set of requests is: one cell at one crossing of a listener.
#[derive(Clone, Copy)]
struct Crossing<'a, 's> {
    listener: &'a ListenerPart<'s>,
    part: &'a HostPart<'s>,
    cell: Cell<'a>,
    front: &'a Front,
    hop: usize,
}

impl<'s> Walk<'_, 's> {
    fn emit(&mut self, trail: &[RouteView<'s>], outcome: Outcome<'s>, set: Set, front: &Front) {
        if set.is_none() {
            return;
        }
        self.out.push(Flow {
            authorities: self.authorities.clone(),
            trail: trail.to_vec(),
            outcome,
            set,
            cleaned: self.cleaned,
            cause: front_hash(front),
        });
    }

    /// One crossing of a listener. The set is given in the classes of the first.
    pub(crate) fn crossing(
        &mut self,
        at: &ListenerPart<'s>,
        part: &HostPart<'s>,
        cell: Cell<'_>,
        points: Set,
        trail: &mut Vec<RouteView<'s>>,
        hop: usize,
    ) {
        let front = self.front(at, part, cell);
        let here = Crossing {
            listener: at,
            part,
            cell,
            front: &front,
            hop,
        };
        let mut left = points;
        for route in &part.routes {
            if left.is_none() {
                break;
            }
            let mut condition = Set::NONE;
            for term in route.terms.iter().filter(|t| t.covers(cell)) {
                condition = self.engine.sets.or(condition, term.rest);
            }
            let condition = self.engine.settle(condition, cell);
            let hit = self.engine.sets.and(left, condition);
            if hit.is_none() {
                continue;
            }
            left = self.engine.sets.minus(left, condition);
            trail.push(route.view);
            self.served(here, route, hit, trail);
            trail.pop();
        }
        // Without a route: rules deny first, nobody is asked.
        let left = self.steps(here, None, left, trail);
        // Who is not logged in does not learn which hosts exist.
        let hidden = self.analysis.snapshot.enforces()
            && hop == 0
            && self.entrance == Some(Entrance::External);
        let outcome = if hidden {
            Outcome::Login
        } else {
            Outcome::NoRoute
        };
        self.emit(trail, outcome, left, &front);
    }

    fn front(&mut self, at: &ListenerPart<'s>, part: &HostPart<'s>, cell: Cell<'_>) -> Front {
        let steps = at.steps.len();
        let sets = &mut self.engine.sets;
        let global = at.global.borrow_mut().at(sets, steps, cell);
        let local = part.scope.borrow_mut().at(sets, steps, cell);
        let front = global.or(sets, &local);
        Front(
            front
                .0
                .into_iter()
                .map(|set| self.engine.settle(set, cell))
                .collect(),
        )
    }

    fn served(
        &mut self,
        here: Crossing<'_, 's>,
        route: &RoutePart<'s>,
        hit: Set,
        trail: &mut Vec<RouteView<'s>>,
    ) {
        let cleaned = self.cleaned;
        let left = self.steps(here, Some(route), hit, trail);
        if here.part.requires_tls {
            self.emit(trail, Outcome::Answered, left, here.front);
        } else {
            for way in &route.ways {
                self.follow(here, route, way, left, trail);
            }
        }
        self.cleaned = cleaned;
    }

    /// The steps of the listener, in their order: emits who ends there,
    /// returns who goes on.
    fn steps(
        &mut self,
        here: Crossing<'_, 's>,
        route: Option<&RoutePart<'s>>,
        set: Set,
        trail: &[RouteView<'s>],
    ) -> Set {
        let Crossing {
            listener: at,
            part,
            cell,
            front,
            ..
        } = here;
        let mut left = set;
        let mut gates: Vec<(usize, Set)> = Vec::new();
        // Asked authorizers that are no login: known only once nothing else refuses.
        let mut asked = Set::NONE;
        let mut maps: Vec<&(Dim, Vec<u16>)> = Vec::new();
        // A redirect to HTTPS stands in for the route, without its settings.
        let settled = route.filter(|_| !part.requires_tls);
        for (index, step) in at.steps.iter().enumerate() {
            if left.is_none() {
                return left;
            }
            let change = settled.and_then(|route| {
                let mut all = route.changes.iter();
                all.find(|(step, _)| *step == index)
                    .map(|(_, change)| change)
            });
            match change {
                Some(Change::Off) => continue,
                None if step.disabled => continue,
                Some(Change::Refused) => {
                    self.emit(trail, Outcome::Denied, left, front);
                    return Set::NONE;
                }
                Some(Change::Rules { denies, terms }) => {
                    let mut matched = Set::NONE;
                    for term in terms.iter().filter(|t| t.covers(cell)) {
                        matched = self.engine.sets.or(matched, term.rest);
                    }
                    let matched = self.engine.settle(matched, cell);
                    let matched = self.mapped(matched, &maps);
                    left = self.refuse(left, matched, *denies, front, trail);
                    continue;
                }
                Some(Change::On) | None => {}
            }
            let matched = self.mapped(front.at(index), &maps);
            match &step.kind {
                StepKind::Access => {
                    if let Some(route) = route
                        && self.analysis.snapshot.enforces()
                    {
                        left = self.access(here, route, left, trail);
                    }
                }
                StepKind::Gate { broken: true, .. } => {
                    left = self.refuse(left, matched, true, front, trail);
                }
                StepKind::Gate { provider, .. } => gates.push((*provider, matched)),
                StepKind::Custom { provider, login } => {
                    let mut open = gates.iter();
                    let gate = open
                        .find(|(p, _)| p == provider)
                        .map_or(Set::NONE, |(_, set)| *set);
                    if route.is_some() {
                        left = self.ask(left, gate, *login, &mut asked, front, trail);
                    }
                }
                StepKind::Asked { login } => {
                    if route.is_some() {
                        left = self.ask(left, Set::ALL, *login, &mut asked, front, trail);
                    }
                }
                StepKind::Broken => {
                    if route.is_some() {
                        left = self.refuse(left, Set::ALL, true, front, trail);
                    }
                }
                StepKind::Tokens => {
                    if !self.analysis.snapshot.enforces() && !at.view.token_issuers().is_empty() {
                        let invalid = self
                            .engine
                            .universe
                            .token(&mut self.engine.sets, TOKEN_INVALID);
                        let preflight = self.preflight(Set::ALL);
                        let invalid = self.engine.sets.minus(invalid, preflight);
                        left = self.refuse(left, invalid, true, front, trail);
                    }
                }
                StepKind::Deny => left = self.refuse(left, matched, true, front, trail),
                StepKind::Allow => left = self.refuse(left, matched, false, front, trail),
                StepKind::Headers { maps: more, cleans } => {
                    maps.extend(more);
                    self.cleaned |= cleans;
                }
                StepKind::Cors => {
                    if settled.is_some_and(|route| route.view.answers_preflights()) {
                        let preflight = self.preflight(left);
                        self.emit(trail, Outcome::Answered, preflight, front);
                        left = self.engine.sets.minus(left, preflight);
                    }
                }
                StepKind::Other => {}
            }
        }
        let asked = self.engine.sets.and(asked, left);
        self.emit(trail, Outcome::Authorizer, asked, front);
        self.engine.sets.minus(left, asked)
    }

    /// A set of requests as they are after header changes, in the classes
    /// before them.
    fn mapped(&mut self, set: Set, maps: &[&(Dim, Vec<u16>)]) -> Set {
        let mut set = set;
        for (dim, map) in maps.iter().rev() {
            set = self.engine.sets.remap(set, *dim, map);
        }
        set
    }

    /// Refuses what matches, or what does not; returns the others.
    fn refuse(
        &mut self,
        set: Set,
        matched: Set,
        denies: bool,
        front: &Front,
        trail: &[RouteView<'s>],
    ) -> Set {
        let sets = &mut self.engine.sets;
        let (refused, left) = if denies {
            (sets.and(set, matched), sets.minus(set, matched))
        } else {
            (sets.minus(set, matched), sets.and(set, matched))
        };
        self.emit(trail, Outcome::Denied, refused, front);
        left
    }

    /// Asks an authorizer about some requests; a login service sends strangers away.
    fn ask(
        &mut self,
        set: Set,
        about: Set,
        login: bool,
        asked: &mut Set,
        front: &Front,
        trail: &[RouteView<'s>],
    ) -> Set {
        let here = self.engine.sets.and(set, about);
        if !login {
            *asked = self.engine.sets.or(*asked, here);
            return set;
        }
        // What another authorizer was asked before is decided by that one.
        let sent = self.engine.sets.minus(here, *asked);
        self.emit(trail, Outcome::Login, sent, front);
        self.engine.sets.minus(set, sent)
    }

    fn preflight(&mut self, set: Set) -> Set {
        let universe = &self.engine.universe;
        let sets = &mut self.engine.sets;
        let options = universe.with_method(sets, "OPTIONS");
        let origin = universe.with_header(sets, "origin");
        let asked = universe.with_header(sets, "access-control-request-method");
        let all = sets.and(options, origin);
        let all = sets.and(all, asked);
        sets.and(set, all)
    }

    /// Access levels: emits who is sent away, returns who goes on.
    fn access(
        &mut self,
        here: Crossing<'_, 's>,
        route: &RoutePart<'s>,
        set: Set,
        trail: &[RouteView<'s>],
    ) -> Set {
        let Crossing {
            cell, front, hop, ..
        } = here;
        let access = route.view.access();
        let external = self.entrance == Some(Entrance::External);
        let platform = matches!(access.owner, Owner::Platform | Owner::LoginMachinery);
        let exact = |paths: &[String]| !cell.region && paths.iter().any(|p| p == cell.text);
        if platform && external && hop == 0 && exact(self.analysis.snapshot.login_paths()) {
            self.emit(trail, Outcome::Answered, set, front);
            return Set::NONE;
        }
        let mut level = if external {
            access.external
        } else {
            access.local
        };
        if access.owner == Owner::LoginMachinery
            && external
            && !exact(self.analysis.snapshot.provider_paths())
        {
            level = AccessLevel::Login;
        }
        let mut set = set;
        if access.owner == Owner::Model && !route.view.answers_preflights() {
            let preflight = self.preflight(set);
            self.emit(trail, Outcome::Answered, preflight, front);
            set = self.engine.sets.minus(set, preflight);
        }
        let outcome = match level {
            AccessLevel::Public | AccessLevel::AsWritten => return set,
            AccessLevel::Cluster if !external && access.limits.is_empty() => return set,
            AccessLevel::Cluster | AccessLevel::Token => Outcome::Token,
            AccessLevel::Login => Outcome::Login,
        };
        self.emit(trail, outcome, set, front);
        Set::NONE
    }

    /// One way on from a route.
    fn follow(
        &mut self,
        here: Crossing<'_, 's>,
        route: &RoutePart<'s>,
        way: &WayPart<'s>,
        set: Set,
        trail: &mut Vec<RouteView<'s>>,
    ) {
        let cleaned = self.cleaned;
        self.cleaned |= way.sets_identity;
        self.follow_way(here, route, way, set, trail);
        self.cleaned = cleaned;
    }

    fn follow_way(
        &mut self,
        here: Crossing<'_, 's>,
        route: &RoutePart<'s>,
        way: &WayPart<'s>,
        set: Set,
        trail: &mut Vec<RouteView<'s>>,
    ) {
        let Crossing {
            listener: from,
            cell,
            front,
            hop,
            ..
        } = here;
        let Some(destination) = way.destination else {
            self.emit(trail, Outcome::Answered, set, front);
            return;
        };
        let Some(listener) = way.next_listener else {
            self.emit(trail, Outcome::Reaches(destination), set, front);
            return;
        };
        if hop + 1 == MAX_HOPS {
            // The routes lead in a circle.
            self.emit(trail, Outcome::Denied, set, front);
            return;
        }
        let rewritten;
        let next_cell = match route.view.rewrite() {
            RewriteView::None => cell,
            RewriteView::Prefix { from, to } => {
                let Some(rest) = cell.text.strip_prefix(from) else {
                    self.emit(trail, Outcome::Unknown, set, front);
                    return;
                };
                rewritten = format!("{to}{rest}");
                Cell {
                    text: &rewritten,
                    region: cell.region,
                }
            }
            RewriteView::Whole(to) => Cell {
                text: to,
                region: false,
            },
            RewriteView::Regex => {
                self.emit(trail, Outcome::Unknown, set, front);
                return;
            }
        };
        let Some(at) = self.analysis.listener(listener) else {
            return;
        };
        for (group, part) in &way.next {
            let points = self.engine.sets.and(set, *group);
            if points.is_none() {
                continue;
            }
            let Some(part) = part else {
                self.emit(trail, Outcome::NoRoute, points, front);
                continue;
            };
            // The next crossing sees the headers as this route changes them:
            // its sets are mapped back before they are met with ours.
            let mut found = Vec::new();
            {
                let mut walk = Walk {
                    analysis: self.analysis,
                    engine: self.engine,
                    entrance: self.entrance,
                    authorities: self.authorities.clone(),
                    cleaned: self.cleaned,
                    out: &mut found,
                };
                walk.crossing(at, part, next_cell, Set::ALL, trail, hop + 1);
            }
            let moved = cell.region && next_cell.text != cell.text;
            for mut flow in found {
                if moved && self.engine.looks_at_path(flow.set) {
                    // Suffixes and patterns speak of the new path, the classes
                    // of the first crossing of the old one.
                    flow.outcome = Outcome::Unknown;
                    flow.set = Set::ALL;
                }
                let before = from.steps.iter().filter_map(|step| match &step.kind {
                    StepKind::Headers { maps, .. } => Some(maps),
                    _ => None,
                });
                let maps: Vec<&(Dim, Vec<u16>)> = before.flatten().chain(&way.headers).collect();
                flow.set = self.mapped(flow.set, &maps);
                flow.set = self.engine.sets.and(flow.set, points);
                flow.cause ^= front_hash(front);
                if !flow.set.is_none() {
                    self.out.push(flow);
                }
            }
        }
    }
}

fn front_hash(front: &Front) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = rustc_hash::FxHasher::default();
    front.hash(&mut hasher);
    hasher.finish()
}
