//! The crossing of a sidecar, behind the gateway that sends requests on.

use policy::{Destination, InsideView, RewriteView, RouteView};

use crate::analysis::{Doubt, Outcome};
use crate::cells::Side;
use crate::engine::Engine;
use crate::mdd::{Dim, Set};
use crate::parts::{RoutePart, WayPart};
use crate::paths::Cell;
use crate::tokens::Branch;
use crate::walk::{Crossing, Seen, Told, Walk, cause, header_maps, rewrite};

impl<'s> Walk<'_, 's> {
    /// What the sidecar of a destination makes of requests.
    pub(crate) fn sidecar(
        &mut self,
        here: Crossing<'_, 's>,
        (route, way): (&RoutePart<'s>, &WayPart<'s>),
        (inside, destination): (InsideView<'s>, &'s Destination),
        branch: Option<&Branch>,
        set: Set,
        trail: &mut Vec<RouteView<'s>>,
    ) {
        let (cell, front, hop) = (here.at.cell, here.at.front, here.at.hop);
        if self.routes_only {
            self.emit(trail, Outcome::Reaches(destination), set, front);
            return;
        }
        if inside.is_unclear {
            let outcome = Outcome::Inside(Doubt::NotUnderstood);
            self.emit(trail, outcome, set, front);
            return;
        }
        if inside.sender.is_err() {
            // Where there may be none, the request may get through all the same.
            let outcome = match inside.is_uncertain {
                true => Outcome::Inside(Doubt::Injection),
                false => Outcome::Denied,
            };
            self.emit(trail, outcome, set, front);
            return;
        }
        let mut rewritten = String::new();
        let next_cell = rewrite(cell, route.view.rewrite(), &mut rewritten);
        let opaque = inside.listener.is_opaque();
        let stays = inside.reads_alike && !is_read_anew(cell, route.view.rewrite());
        let Some(next_cell) = next_cell.filter(|_| opaque || stays) else {
            self.emit(trail, Outcome::Unknown, set, front);
            return;
        };
        let Some(at) = self.analysis.listener(inside.listener.index()) else {
            return;
        };
        let moved = cell.region && next_cell.text != cell.text;
        let gone = branch.iter().flat_map(|branch| &branch.maps);
        let maps: Vec<&(Dim, Vec<u16>)> = header_maps(here.at.listener)
            .chain(gone)
            .chain(&way.headers)
            .collect();
        let told = Told::on(self, here.at.listener, &maps);
        let session = self.session;
        for (group, part) in &way.next {
            let points = self.engine.sets.and(set, *group);
            let Some(part) = part.as_ref().filter(|_| !points.is_none()) else {
                continue;
            };
            let side = Side::of(self.engine, (at, part), next_cell);
            let seen = &mut *self.seen;
            let mut back = |engine: &mut Engine, mut found: Seen<'_, 's>| {
                let depends =
                    engine
                        .universe
                        .depends_on_sender(&engine.sets, found.set, inside.is_guess);
                if depends || moved && engine.looks_at_path(found.set) {
                    found.outcome = match depends {
                        true => Outcome::Inside(Doubt::Sender),
                        false => Outcome::Unknown,
                    };
                    found.set = Set::ALL;
                } else if inside.is_uncertain && !matches!(found.outcome, Outcome::Reaches(_)) {
                    found.outcome = Outcome::Inside(Doubt::Injection);
                }
                told.back(engine, found, points, seen);
            };
            let mut walk = Walk {
                analysis: self.analysis,
                engine: self.engine,
                entrance: self.entrance,
                opaque: self.opaque || opaque,
                cleaned: self.cleaned,
                routes_only: false,
                session,
                cause: cause(self.cause, front),
                inside: Some(destination),
                seen: &mut back,
            };
            walk.crossing(at, part, next_cell, &side, Set::ALL, trail, hop + 1);
        }
    }
}

/// Whether the next proxy may read a path that a route wrote as another one: it
/// takes `.` and `..` apart, and may merge slashes, where the rewrite made them.
pub(crate) fn is_read_anew(cell: Cell<'_>, rewrite: RewriteView<'_>) -> bool {
    let odd = |text: &str| {
        ["//", "/./", "/../"].iter().any(|odd| text.contains(odd))
            || text.ends_with("/.")
            || text.ends_with("/..")
            || !text.starts_with('/')
    };
    match rewrite {
        RewriteView::None => false,
        RewriteView::Whole(to) => odd(to),
        RewriteView::Prefix { from, to } => {
            let rest = cell.text.strip_prefix(from).unwrap_or_default();
            let joins = to.ends_with('/') && !from.ends_with('/');
            let may = rest.starts_with(['/', '.']) || rest.is_empty() && cell.region;
            odd(to) || joins && may
        }
        RewriteView::Regex => true,
    }
}
