//! The way of all requests of a cell through a listener, and on to the next.

use std::rc::Rc;

use policy::{Entrance, RewriteView, RouteView};

use crate::analysis::{Analysis, Flow, MAX_HOPS, Outcome};
use crate::cells::Side;
use crate::engine::Engine;
use crate::fronts::FrontId;
use crate::listener::{ListenerPart, StepKind};
use crate::mdd::{Dim, Set};
use crate::parts::{HostPart, RoutePart, WayPart};
use crate::paths::Cell;
use crate::steps::At;

/// Requests that are treated alike, as a walk meets them.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'w, 's> {
    pub(crate) trail: &'w [RouteView<'s>],
    pub(crate) outcome: Outcome<'s>,
    pub(crate) set: Set,
    /// No identity header of the client's is left on the request.
    pub(crate) cleaned: bool,
    /// Equal for requests that the same rules decide.
    pub(crate) cause: u64,
}

impl<'s> Seen<'_, 's> {
    pub(crate) fn flow(&self, authorities: &Rc<[String]>) -> Flow<'s> {
        Flow {
            authorities: Rc::clone(authorities),
            trail: self.trail.to_vec(),
            outcome: self.outcome,
            set: self.set,
            cause: self.cause,
        }
    }
}

pub(crate) struct Walk<'a, 's> {
    pub(crate) analysis: &'a Analysis<'s>,
    pub(crate) engine: &'a mut Engine,
    pub(crate) entrance: Option<Entrance>,
    /// Connections arrive that are not read: forwarded or closed.
    pub(crate) opaque: bool,
    /// No identity header of the client's is left.
    pub(crate) cleaned: bool,
    /// Filters are passed over.
    pub(crate) routes_only: bool,
    /// The rules that decided at the crossings before.
    pub(crate) cause: u64,
    pub(crate) seen: &'a mut dyn FnMut(&mut Engine, Seen<'_, 's>),
}

/// Where a set of requests is: one cell at one crossing of a listener.
#[derive(Clone, Copy)]
struct Crossing<'a, 's> {
    at: At<'a, 's>,
}

impl<'s> Walk<'_, 's> {
    fn emit(&mut self, trail: &[RouteView<'s>], outcome: Outcome<'s>, set: Set, front: FrontId) {
        if set.is_none() {
            return;
        }
        let outcome = match outcome {
            Outcome::Reaches(_) | Outcome::Authorizer | Outcome::Unknown => outcome,
            _ if self.opaque => Outcome::Denied,
            _ => outcome,
        };
        let seen = Seen {
            trail,
            outcome,
            set,
            cleaned: self.cleaned,
            cause: cause(self.cause, front),
        };
        (self.seen)(self.engine, seen);
    }

    /// One crossing of a listener. The set is given in the classes of the first.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is part of where the requests are"
    )]
    pub(crate) fn crossing(
        &mut self,
        listener: &ListenerPart<'s>,
        part: &HostPart<'s>,
        cell: Cell<'_>,
        side: &Side,
        points: Set,
        trail: &mut Vec<RouteView<'s>>,
        hop: usize,
    ) {
        let here = Crossing {
            at: At {
                listener,
                cell,
                front: side.front,
                hop,
                external: self.entrance == Some(Entrance::External),
                requires_tls: part.requires_tls && listener.view.tls().is_none(),
            },
        };
        let mut left = points;
        for (number, condition) in side.routes.iter() {
            if left.is_none() {
                break;
            }
            let Some(route) = part.routes.get(*number) else {
                continue;
            };
            let hit = self.engine.sets.and(left, *condition);
            if hit.is_none() {
                continue;
            }
            left = self.engine.sets.minus(left, *condition);
            trail.push(route.view);
            self.served(here, route, hit, trail);
            trail.pop();
        }
        // Without a route: rules deny first, nobody is asked.
        let cleaned = self.cleaned;
        let left = self.steps(here, None, left, trail);
        // Who is not logged in does not learn which hosts exist.
        let hidden = self.analysis.snapshot.enforces() && hop == 0 && here.at.external;
        let outcome = if hidden {
            Outcome::Login
        } else {
            Outcome::NoRoute
        };
        self.emit(trail, outcome, left, side.front);
        self.cleaned = cleaned;
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
        if here.at.requires_tls {
            self.emit(trail, Outcome::Answered, left, here.at.front);
        } else if !left.is_none() {
            for way in &route.ways {
                self.follow(here, route, way, left, trail);
            }
        }
        self.cleaned = cleaned;
    }

    /// The steps of the listener: emits who ends there, returns who goes on.
    fn steps(
        &mut self,
        here: Crossing<'_, 's>,
        route: Option<&RoutePart<'s>>,
        set: Set,
        trail: &[RouteView<'s>],
    ) -> Set {
        if set.is_none() || self.routes_only {
            return set;
        }
        self.engine.sets.spend(1);
        let steps = self.analysis.steps(self.engine, here.at, route);
        let before = self.cleaned;
        for (outcome, ended, cleaned) in &steps.ended {
            let ended = self.engine.sets.and(set, *ended);
            self.cleaned = before || *cleaned;
            self.emit(trail, *outcome, ended, here.at.front);
        }
        self.cleaned = before || steps.cleans;
        self.engine.sets.and(set, steps.left)
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
        let At {
            listener: from,
            cell,
            front,
            hop,
            ..
        } = here.at;
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
        let moved = cell.region && next_cell.text != cell.text;
        let before = from.steps.iter().filter_map(|step| match &step.kind {
            StepKind::Headers { maps, .. } => Some(maps),
            _ => None,
        });
        let maps: Vec<&(Dim, Vec<u16>)> = before.flatten().chain(&way.headers).collect();
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
            let side = Side::of(self.engine, (at, part), next_cell);
            let seen = &mut *self.seen;
            let mut back = |engine: &mut Engine, mut found: Seen<'_, 's>| {
                if moved && engine.looks_at_path(found.set) {
                    // Suffixes and patterns speak of the new path, the classes
                    // of the first crossing of the old one.
                    found.outcome = Outcome::Unknown;
                    found.set = Set::ALL;
                }
                let set = engine.mapped(found.set, &maps);
                found.set = engine.sets.and(set, points);
                if !found.set.is_none() {
                    seen(engine, found);
                }
            };
            let mut walk = Walk {
                analysis: self.analysis,
                engine: self.engine,
                entrance: self.entrance,
                opaque: self.opaque,
                cleaned: self.cleaned,
                routes_only: self.routes_only,
                cause: cause(self.cause, front),
                seen: &mut back,
            };
            walk.crossing(at, part, next_cell, &side, Set::ALL, trail, hop + 1);
        }
    }
}

/// The rules that decided so far, and those here.
fn cause(before: u64, front: FrontId) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = rustc_hash::FxHasher::default();
    (before, front).hash(&mut hasher);
    hasher.finish()
}
