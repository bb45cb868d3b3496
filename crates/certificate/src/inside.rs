//! The sidecar before the pods that a gateway's route leads to.

use policy::{InsideView, ListenerView, RewriteView, RouteView, StepView, Way};

use crate::course::{Course, End, Here, Possible, State};
use crate::document::sidecar_name;
use crate::onward::{authority, rewritten};
use crate::point::{Change, Paths, Point, Sender};

/// What the gateway sent a request on for, as its sidecar does not know it.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'s> {
    /// The route of the gateway.
    pub(crate) route: RouteView<'s>,
    /// Whether it leads to what the claim speaks of.
    pub(crate) leads: bool,
}

impl<'c, 's: 'c> Course<'c, 's> {
    /// What the sidecar of a destination makes of a request.
    pub(crate) fn sidecar(
        &mut self,
        here: Here<'s>,
        (route, way): (RouteView<'s>, &Way<'s>),
        inside: &InsideView<'s>,
        state: &State<'c>,
        leads: bool,
    ) {
        let at = inside.listener;
        let next = Here {
            at,
            host: at.hosts().next(),
            last: Some(route),
            hop: here.hop + 1,
            sent: Some(Sent { route, leads }),
        };
        if inside.is_uncertain {
            // The decision assumes that there is none.
            self.may(next, state, End::Reaches, None);
        }
        // What is not named closes nothing.
        if inside.is_unclear || !self.named.contains(&*sidecar_name(&at)) {
            self.whatever(next, state);
            return;
        }
        if inside.sender.is_err() {
            self.may(next, state, End::Denied, None);
            return;
        }
        let Some(paths) = paths_inside(here, &state.point.paths, route.rewrite(), inside) else {
            self.whatever(next, state);
            return;
        };
        let mut point = Point {
            paths,
            authority: authority(&state.point, way),
            port: at.port(),
            claimed: false,
            sent_on: true,
            sender: match inside.sender {
                _ if inside.is_guess => Sender::Unknown,
                Ok(Some(name)) => Sender::Named(name),
                Ok(None) | Err(_) => Sender::Nobody,
            },
            ..state.point.clone()
        };
        let changes = way.headers.iter().map(|change| Change::Known(change));
        point.changes.extend(changes);
        self.behind_gateway(next, &State::of(point, state.cleaned), 0);
    }

    /// The steps of a sidecar from one on; it has one route, to its pods.
    pub(crate) fn behind_gateway(&mut self, here: Here<'s>, state: &State<'c>, from: usize) {
        let mut state = state.clone();
        let route = here.host.and_then(|host| host.routes().next());
        if self.steps(here, route, &mut state, from) {
            self.may(here, &state, End::Reaches, None);
        }
    }

    /// Nothing that a sidecar does is told apart: any request may get through or
    /// be refused, and where somebody is asked nothing is known.
    fn whatever(&mut self, here: Here<'s>, state: &State<'c>) {
        let asks = |step: &StepView<'_>| {
            matches!(
                step,
                StepView::Gate { .. } | StepView::Custom { .. } | StepView::Authorizer(_)
            )
        };
        let mut ends = vec![End::Reaches, End::Denied];
        if self.snapshot.enforces() {
            ends.push(End::Token);
        }
        let at: ListenerView<'_> = here.at;
        if !at.not_understood().is_empty() || at.steps().iter().any(asks) {
            ends.push(End::Unknown);
        }
        for end in ends {
            self.may(here, state, end, None);
        }
    }
}

impl<'s> Sent<'s> {
    /// What may become of a request at the sidecar.
    pub(crate) fn possible(self, here: Here<'s>, end: End, cleaned: bool) -> Possible<'s> {
        let end = match end {
            End::Reaches | End::Unknown => end,
            // What closes a connection leaves the gateway without an answer.
            _ if here.at.is_opaque() => End::Denied,
            _ => end,
        };
        Possible {
            end,
            route: Some(self.route),
            cleaned,
            leads: self.leads,
        }
    }
}

/// The paths as a sidecar reads them; `None` when that is not known. Gateways do
/// not read again what routes wrote, and a sidecar does.
fn paths_inside(
    here: Here<'_>,
    paths: &Paths,
    rewrite: RewriteView<'_>,
    inside: &InsideView<'_>,
) -> Option<Paths> {
    let after = rewritten(paths, rewrite)?;
    let untouched = here.hop == 0 && matches!(rewrite, RewriteView::None);
    let stays = untouched || is_plain(&after);
    (inside.listener.is_opaque() || inside.reads_alike && stays).then_some(after)
}

/// Whether no proxy reads these paths otherwise than they are written, whose
/// ends a gateway has read.
pub(crate) fn is_plain(paths: &Paths) -> bool {
    let odd = |segment: &str| {
        let bare = segment.split_once(';').map_or(segment, |(bare, _)| bare);
        bare == "." || bare == ".."
    };
    let text = paths.text.as_str();
    let plain = text.starts_with('/')
        && !text.contains(['%', '\\'])
        && !text.contains("//")
        && !text.split('/').any(odd);
    // What followed in the middle of a segment may be dots, or slashes.
    let joins = paths.rewritten.as_ref().is_some_and(|(from, to)| {
        paths.below && text == to && to.ends_with('/') && !from.ends_with('/')
    });
    plain && !joins
}
