//! The way of all requests of a cell through a listener, and on to the next.

use std::rc::Rc;

use policy::{Destination, Entrance, RewriteView, RouteView};

use crate::analysis::{Analysis, Flow, MAX_HOPS, Outcome};
use crate::cells::Side;
use crate::engine::Engine;
use crate::fronts::FrontId;
use crate::inside::is_read_anew;
use crate::listener::{ListenerPart, StepPart};
use crate::mdd::{Dim, Set};
use crate::parts::{HostPart, RoutePart, WayPart};
use crate::paths::Cell;
use crate::steps::{At, Entry};
use crate::tokens::Branch;

/// Requests that are treated alike, as a walk meets them.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'w, 's> {
    pub(crate) trail: &'w [RouteView<'s>],
    pub(crate) outcome: Outcome<'s>,
    pub(crate) set: Set,
    /// No identity header of the client's is left on the request.
    pub(crate) cleaned: bool,
    /// Everybody has a session.
    pub(crate) session: bool,
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
            session: self.session,
            forges: false,
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
    /// Logins let everybody through.
    pub(crate) session: bool,
    /// The rules that decided at the crossings before.
    pub(crate) cause: u64,
    /// At a sidecar: where the gateway's route led.
    pub(crate) inside: Option<&'s Destination>,
    pub(crate) seen: &'a mut dyn FnMut(&mut Engine, Seen<'_, 's>),
}

/// Where a set of requests is: one cell at one crossing of a listener.
#[derive(Clone, Copy)]
pub(crate) struct Crossing<'a, 's> {
    part: &'a HostPart<'s>,
    pub(crate) at: At<'a, 's>,
}

impl<'s> Walk<'_, 's> {
    pub(crate) fn emit(
        &mut self,
        trail: &[RouteView<'s>],
        outcome: Outcome<'s>,
        set: Set,
        front: FrontId,
    ) {
        if set.is_none() {
            return;
        }
        let outcome = match outcome {
            Outcome::Reaches(_) | Outcome::Authorizer | Outcome::Unknown | Outcome::Inside(_) => {
                outcome
            }
            _ if self.opaque => Outcome::Denied,
            _ => outcome,
        };
        // The route of a sidecar is nothing that is written somewhere.
        let (trail, outcome) = match (self.inside, trail) {
            (Some(to), [before @ .., _]) => match outcome {
                Outcome::Reaches(_) => (before, Outcome::Reaches(to)),
                _ => (before, outcome),
            },
            _ => (trail, outcome),
        };
        let seen = Seen {
            trail,
            outcome,
            set,
            cleaned: self.cleaned,
            session: self.session,
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
            part,
            at: At {
                listener,
                cell,
                front: side.front,
                hop,
                external: self.entrance == Some(Entrance::External),
                session: self.session,
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
            self.served(here, Some(route), hit, trail);
            trail.pop();
        }
        // Without a route: rules deny first, nobody is asked.
        self.served(here, None, left, trail);
    }

    fn served(
        &mut self,
        here: Crossing<'_, 's>,
        route: Option<&RoutePart<'s>>,
        hit: Set,
        trail: &mut Vec<RouteView<'s>>,
    ) {
        if hit.is_none() {
            return;
        }
        let before = self.cleaned;
        let passed = self.steps(here, route, hit, trail, Entry::Start);
        for (number, set, cleaned) in passed {
            let Some(branch) = here.at.listener.tokens.branches.get(number) else {
                continue;
            };
            self.cleaned = before || cleaned;
            if branch.query && self.engine.universe.looks_at_queries() {
                // What is left of the query is written anew.
                self.emit(trail, Outcome::Unknown, set, here.at.front);
            } else {
                self.behind_tokens(here, route, (number, branch), set, trail);
            }
        }
        self.cleaned = before;
    }

    /// Behind the rules for tokens: with the same route, or with what routes
    /// match now.
    fn behind_tokens(
        &mut self,
        here: Crossing<'_, 's>,
        before: Option<&RoutePart<'s>>,
        (number, branch): (usize, &Branch),
        set: Set,
        trail: &mut Vec<RouteView<'s>>,
    ) {
        let entry = |other_route| Entry::Behind {
            branch: number,
            other_route,
        };
        let Some(again) = here.part.again.as_ref().filter(|_| branch.again) else {
            self.steps(here, before, set, trail, entry(false));
            return;
        };
        let vouched = match self.analysis.snapshot.enforces() {
            true => self.engine.vouched(),
            false => Set::NONE,
        };
        // What enforcement knows of a caller takes the place of claims.
        let unknown = self.engine.sets.and(set, vouched);
        self.emit(trail, Outcome::Unknown, unknown, here.at.front);
        let mut set = self.engine.sets.minus(set, vouched);
        if !self.session {
            let unsure = self.told_apart(here, set);
            self.emit(trail, Outcome::Unknown, unsure, here.at.front);
            set = self.engine.sets.minus(set, unsure);
        }
        let reached = trail.len();
        if before.is_some() {
            trail.pop();
        }
        let mut left = set;
        let maps: Vec<&(Dim, Vec<u16>)> =
            header_maps(here.at.listener).chain(&branch.maps).collect();
        for (number, condition) in again.in_order(self.engine, here.at.cell) {
            let Some(route) = here.part.routes.get(number) else {
                continue;
            };
            let condition = self.engine.settle(condition, here.at.cell);
            let condition = self.engine.mapped(condition, &maps);
            let (surely, maybe) = match self.session {
                true => self.either_way(here.at.listener, condition),
                false => (condition, condition),
            };
            let hit = self.engine.sets.and(left, maybe);
            left = self.engine.sets.minus(left, surely);
            if hit.is_none() {
                continue;
            }
            let other = !before.is_some_and(|before| std::ptr::eq(before, route));
            trail.push(route.view);
            self.steps(here, Some(route), hit, trail, entry(other));
            trail.pop();
        }
        self.steps(here, None, left, trail, entry(false));
        if let Some(before) = before {
            trail.push(before.view);
        }
        debug_assert_eq!(trail.len(), reached, "the trail is as before");
    }

    /// Requests of people whose route depends on what the login put there.
    fn told_apart(&mut self, here: Crossing<'_, 's>, set: Set) -> Set {
        let puts = here.at.listener.puts();
        let again = here.part.again.as_ref().filter(|_| !puts.is_empty());
        let conditions = again.map(|again| again.in_order(self.engine, here.at.cell));
        let depends = conditions.into_iter().flatten().any(|(_, condition)| {
            let support = self.engine.sets.support(condition);
            support.iter().any(|dim| puts.contains(dim))
        });
        if !depends {
            return Set::NONE;
        }
        let (universe, sets) = (&self.engine.universe, &mut self.engine.sets);
        let people = universe.persons(sets, |person| person.is_some());
        sets.and(set, people)
    }

    /// The requests that are in a set, and those that may be, whatever logins
    /// put there.
    fn either_way(&mut self, at: &ListenerPart<'s>, set: Set) -> (Set, Set) {
        let puts = at.puts();
        let maybe = self.engine.whatever(set, &puts);
        let not = self.engine.sets.not(set);
        let not = self.engine.whatever(not, &puts);
        (self.engine.sets.not(not), maybe)
    }

    /// The steps of the listener: emits who ends there, lets those go on who
    /// are through, returns who passed the rules for tokens.
    fn steps(
        &mut self,
        here: Crossing<'_, 's>,
        route: Option<&RoutePart<'s>>,
        set: Set,
        trail: &mut Vec<RouteView<'s>>,
        entry: Entry,
    ) -> Vec<(usize, Set, bool)> {
        if set.is_none() {
            return Vec::new();
        }
        if self.routes_only {
            return self.routes_alone(here, route, set, trail, entry);
        }
        self.engine.sets.spend(1);
        let steps = self.analysis.steps(self.engine, here.at, route, entry);
        for (outcome, ended) in &steps.ended {
            let ended = self.engine.sets.and(set, *ended);
            self.emit(trail, *outcome, ended, here.at.front);
        }
        let left = self.engine.sets.and(set, steps.left);
        let before = self.cleaned;
        let kept = match before {
            true => Set::NONE,
            false => self.engine.sets.minus(left, steps.cleaned),
        };
        self.leave(here, route, kept, trail, entry);
        self.cleaned = true;
        let cleaned = self.engine.sets.minus(left, kept);
        self.leave(here, route, cleaned, trail, entry);
        self.cleaned = before;
        let mut passed = Vec::new();
        for (number, of_branch, cleaned) in &steps.passed {
            let part = self.engine.sets.and(set, *of_branch);
            if !part.is_none() {
                passed.push((*number, part, *cleaned));
            }
        }
        passed
    }

    /// The same where only routes count.
    fn routes_alone(
        &mut self,
        here: Crossing<'_, 's>,
        route: Option<&RoutePart<'s>>,
        set: Set,
        trail: &mut Vec<RouteView<'s>>,
        entry: Entry,
    ) -> Vec<(usize, Set, bool)> {
        let mut left = set;
        let mut passed = Vec::new();
        if entry == Entry::Start {
            let steps = here.at.listener.steps.iter();
            let before = steps.take(here.at.listener.tokens_at);
            let maps: Vec<&(Dim, Vec<u16>)> = before.flat_map(StepPart::header_maps).collect();
            for (number, branch) in here.at.listener.tokens.branches.iter().enumerate() {
                let of_branch = self.engine.mapped(branch.set, &maps);
                let part = self.engine.sets.and(left, of_branch);
                if !part.is_none() {
                    left = self.engine.sets.minus(left, part);
                    passed.push((number, part, false));
                }
            }
        }
        self.leave(here, route, left, trail, entry);
        passed
    }

    /// Where those go who are let through.
    fn leave(
        &mut self,
        here: Crossing<'_, 's>,
        route: Option<&RoutePart<'s>>,
        left: Set,
        trail: &mut Vec<RouteView<'s>>,
        entry: Entry,
    ) {
        if left.is_none() {
            return;
        }
        let front = here.at.front;
        let Some(route) = route else {
            // Who is not logged in does not learn which hosts exist.
            let enforces = self.analysis.snapshot.enforces();
            let hidden = match enforces && here.at.hop == 0 && here.at.external {
                true => self.engine.anonymous(),
                false => Set::NONE,
            };
            let login = self.engine.sets.and(left, hidden);
            let left = self.engine.sets.minus(left, hidden);
            self.emit(trail, Outcome::Login, login, front);
            self.emit(trail, Outcome::NoRoute, left, front);
            return;
        };
        if here.at.requires_tls {
            self.emit(trail, Outcome::Answered, left, front);
            return;
        }
        let branch = match entry {
            Entry::Start => None,
            Entry::Behind { branch, .. } => here.at.listener.tokens.branches.get(branch),
        };
        for way in &route.ways {
            self.follow(here, route, way, branch, left, trail);
        }
    }

    /// One way on from a route.
    fn follow(
        &mut self,
        here: Crossing<'_, 's>,
        route: &RoutePart<'s>,
        way: &WayPart<'s>,
        branch: Option<&Branch>,
        set: Set,
        trail: &mut Vec<RouteView<'s>>,
    ) {
        let cleaned = self.cleaned;
        self.cleaned |= way.sets_identity;
        self.follow_way(here, route, way, branch, set, trail);
        self.cleaned = cleaned;
    }

    fn follow_way(
        &mut self,
        here: Crossing<'_, 's>,
        route: &RoutePart<'s>,
        way: &WayPart<'s>,
        branch: Option<&Branch>,
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
        if let Some(inside) = way.inside {
            self.sidecar(
                here,
                (route, way),
                (inside, destination),
                branch,
                set,
                trail,
            );
            return;
        }
        if hop + 1 == MAX_HOPS {
            // The routes lead in a circle.
            self.emit(trail, Outcome::Denied, set, front);
            return;
        }
        let Some(at) = self.analysis.listener(listener) else {
            return;
        };
        let mut rewritten = String::new();
        let next_cell = rewrite(cell, route.view.rewrite(), &mut rewritten);
        let stays = at.view.reads_as(from.view) && !is_read_anew(cell, route.view.rewrite());
        let Some(next_cell) = next_cell.filter(|_| stays) else {
            self.emit(trail, Outcome::Unknown, set, front);
            return;
        };
        let moved = cell.region && next_cell.text != cell.text;
        let gone = branch.iter().flat_map(|branch| &branch.maps);
        let maps: Vec<&(Dim, Vec<u16>)> =
            header_maps(from).chain(gone).chain(&way.headers).collect();
        let told = Told::on(self, from, &maps);
        let session = self.session;
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
                told.back(engine, found, points, seen);
            };
            let mut walk = Walk {
                analysis: self.analysis,
                engine: self.engine,
                entrance: self.entrance,
                opaque: self.opaque,
                cleaned: self.cleaned,
                routes_only: self.routes_only,
                session,
                cause: cause(self.cause, front),
                inside: None,
                seen: &mut back,
            };
            walk.crossing(at, part, next_cell, &side, Set::ALL, trail, hop + 1);
        }
    }
}

/// The cell as the next crossing sees it, where that is known.
pub(crate) fn rewrite<'c>(
    cell: Cell<'c>,
    rewrite: RewriteView<'c>,
    rewritten: &'c mut String,
) -> Option<Cell<'c>> {
    match rewrite {
        RewriteView::None => Some(cell),
        RewriteView::Prefix { from, to } => {
            let rest = cell.text.strip_prefix(from)?;
            *rewritten = format!("{to}{rest}");
            Some(Cell {
                text: rewritten,
                region: cell.region,
            })
        }
        RewriteView::Whole(to) => Some(Cell {
            text: to,
            region: false,
        }),
        RewriteView::Regex => None,
    }
}

/// What a crossing passes on to the next, whose sets it takes back.
pub(crate) struct Told<'m> {
    maps: &'m [&'m (Dim, Vec<u16>)],
    /// What logins put on requests, which nobody knows.
    puts: Vec<Dim>,
    session: bool,
}

impl<'m> Told<'m> {
    pub(crate) fn on(
        walk: &Walk<'_, '_>,
        from: &ListenerPart<'_>,
        maps: &'m [&'m (Dim, Vec<u16>)],
    ) -> Self {
        Self {
            maps,
            puts: match walk.routes_only {
                true => Vec::new(),
                false => from.puts(),
            },
            session: walk.session,
        }
    }

    /// Passes on what the next crossing found, in the classes of this one.
    pub(crate) fn back<'s>(
        &self,
        engine: &mut Engine,
        found: Seen<'_, 's>,
        points: Set,
        seen: &mut dyn FnMut(&mut Engine, Seen<'_, 's>),
    ) {
        let set = engine.mapped(found.set, self.maps);
        let mut set = engine.sets.and(set, points);
        if !self.puts.is_empty() {
            let may = engine.whatever(found.set, &self.puts);
            let may = engine.mapped(may, self.maps);
            let may = engine.sets.and(may, points);
            if self.session {
                set = may;
            } else if may != set {
                // What the login put there decides.
                let people = engine.universe.persons(&mut engine.sets, |p| p.is_some());
                let unknown = Seen {
                    outcome: Outcome::Unknown,
                    set: engine.sets.and(may, people),
                    ..found
                };
                set = engine.sets.minus(set, people);
                if !unknown.set.is_none() {
                    seen(engine, unknown);
                }
            }
        }
        if !set.is_none() {
            seen(engine, Seen { set, ..found });
        }
    }
}

/// How the steps of a listener change headers.
pub(crate) fn header_maps<'l>(
    listener: &'l ListenerPart<'_>,
) -> impl Iterator<Item = &'l (Dim, Vec<u16>)> {
    listener.steps.iter().flat_map(StepPart::header_maps)
}

/// The rules that decided so far, and those here.
pub(crate) fn cause(before: u64, front: FrontId) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = rustc_hash::FxHasher::default();
    (before, front).hash(&mut hasher);
    hasher.finish()
}
