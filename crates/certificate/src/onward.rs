//! Where a route leads, and what lies beyond it.

use policy::{Destination, HostView, Owner, RewriteView, RouteView, Way, host_name};

use crate::course::{Course, End, Here, MAX_HOPS};
use crate::document::route_name;
use crate::inside::is_plain;
use crate::logic::Truth;
use crate::point::{Authority, Change, Paths, Point, Who};
use crate::statement::Target;

/// What lies behind one way on from a route.
pub(crate) enum Onward<'c, 's> {
    Ends(End),
    /// Other crossings, and the request as they see it.
    Goes(Vec<Here<'s>>, Point<'c>),
}

impl<'c, 's: 'c> Course<'c, 's> {
    pub(crate) fn onward(
        &self,
        here: Here<'s>,
        route: RouteView<'s>,
        way: &Way<'s>,
        point: &Point<'c>,
    ) -> Onward<'c, 's> {
        let Some(destination) = way.destination.filter(|_| !way.missing) else {
            return Onward::Ends(End::Answered);
        };
        let Some(next) = self.snapshot.next_listener(destination) else {
            return Onward::Ends(End::Reaches);
        };
        if here.hop + 1 == MAX_HOPS {
            return Onward::Ends(End::Denied);
        }
        let Some(next) = self.snapshot.listeners().nth(next) else {
            return Onward::Ends(End::Unknown);
        };
        let Some(paths) = rewritten(&point.paths, route.rewrite()) else {
            return Onward::Ends(End::Unknown);
        };
        // The next gateway reads anew what a route writes.
        let stays = matches!(route.rewrite(), RewriteView::None) || is_plain(&paths);
        if !stays || !next.reads_as(here.at) {
            return Onward::Ends(End::Unknown);
        }
        let authority = authority(point, way);
        let hosts: Vec<Option<HostView<'s>>> = match &authority {
            Authority::One(text) | Authority::Exactly(text) => {
                vec![next.host(&host_name(text))]
            }
            Authority::OtherPort(host) => vec![next.host(host)],
            Authority::Any { listener, host } if here.at.index() == *listener => {
                let exact = Some(host).filter(|host| !host.starts_with('*'));
                match exact {
                    Some(host) => vec![next.host(host)],
                    None => next.hosts().map(Some).chain([None]).collect(),
                }
            }
            Authority::Any { .. } => next.hosts().map(Some).chain([None]).collect(),
        };
        let mut there = Point {
            paths,
            authority,
            port: next.port(),
            claimed: false,
            sent_on: true,
            ..point.clone()
        };
        let changes = way.headers.iter().map(|change| Change::Known(change));
        there.changes.extend(changes);
        let next = hosts.into_iter().map(|host| Here {
            at: next,
            host,
            last: Some(route),
            hop: here.hop + 1,
            sent: None,
        });
        Onward::Goes(next.collect(), there)
    }

    /// Whether routes alone, whatever filters say, may lead a request with
    /// this route to what a claim speaks of.
    pub(crate) fn aims(
        &mut self,
        here: Here<'s>,
        point: &Point<'c>,
        route: Option<RouteView<'s>>,
        target: &Target,
    ) -> bool {
        // With a token the route may be found again.
        let again = matches!(point.who, Who::Person | Who::Token { .. } | Who::Bearer)
            && here.at.token_rules().next().is_some();
        if again {
            let routes = here.host.iter().flat_map(HostView::routes);
            let all: Vec<_> = routes.collect();
            return target.is_nothing_of(here.last)
                || all
                    .into_iter()
                    .any(|route| self.leads(here, point, route, target));
        }
        match route {
            Some(route) => self.leads(here, point, route, target),
            None => target.is_nothing_of(here.last),
        }
    }

    fn leads(
        &mut self,
        here: Here<'s>,
        point: &Point<'c>,
        route: RouteView<'s>,
        target: &Target,
    ) -> bool {
        for way in route.ways() {
            let found = match self.onward(here, route, &way, point) {
                Onward::Ends(End::Reaches) => target.is(route, way.destination),
                Onward::Ends(End::Unknown) => true,
                Onward::Ends(_) => target.is_nothing_of(Some(route)),
                Onward::Goes(next, point) => next
                    .into_iter()
                    .any(|next| self.leads_there(next, &point, target)),
            };
            if found {
                return true;
            }
        }
        false
    }

    /// The same from a crossing on.
    fn leads_there(&mut self, here: Here<'s>, point: &Point<'c>, target: &Target) -> bool {
        for route in here.host.iter().flat_map(HostView::routes) {
            let condition = route.condition();
            let matches = self.condition(&here.at, point, &route_name(route), &condition);
            if matches != Truth::No && self.leads(here, point, route, target) {
                return true;
            }
            if matches == Truth::Yes {
                return false;
            }
        }
        target.is_nothing_of(here.last)
    }
}

impl Target {
    /// Whether a route leads there.
    pub(crate) fn is(&self, route: RouteView<'_>, destination: Option<&Destination>) -> bool {
        let of_service = match (&self.service, destination) {
            (None, _) => true,
            (Some((name, number)), Some(Destination::Service { service, port })) => {
                name == service && number.is_none_or(|number| number == *port)
            }
            (Some(_), _) => false,
        };
        of_service && self.is_owner(route.access().owner)
    }

    /// Whether a request is meant that ends after this route, or without any,
    /// and is on its way to no Service.
    pub(crate) fn is_nothing_of(&self, route: Option<RouteView<'_>>) -> bool {
        self.service.is_none() && route.is_some_and(|route| self.is_owner(route.access().owner))
    }

    fn is_owner(&self, owner: Owner) -> bool {
        self.owner.is_none_or(|wanted| wanted == owner)
    }
}

/// The authority behind a route.
pub(crate) fn authority(point: &Point<'_>, way: &Way<'_>) -> Authority {
    match way.authority {
        Some(text) => Authority::Exactly(text.to_owned()),
        None => point.authority.clone(),
    }
}

/// The paths after a rewrite; `None` when that is not known.
pub(crate) fn rewritten(paths: &Paths, rewrite: RewriteView<'_>) -> Option<Paths> {
    match rewrite {
        RewriteView::None => Some(paths.clone()),
        RewriteView::Whole(to) => Some(Paths {
            text: to.to_owned(),
            below: false,
            rewritten: None,
        }),
        RewriteView::Prefix { from, to } => {
            let rest = paths.text.strip_prefix(from)?;
            Some(Paths {
                text: format!("{to}{rest}"),
                below: paths.below,
                rewritten: match (&paths.rewritten, paths.below) {
                    (_, false) => None,
                    (None, true) => Some((from.to_owned(), to.to_owned())),
                    // Rewritten twice.
                    (Some(_), true) => return None,
                },
            })
        }
        RewriteView::Regex => None,
    }
}
