//! What access levels make of a request.

use policy::{AccessLevel, Entrance, Owner, RouteView};

use crate::course::{Course, End, Here, State};
use crate::point::Who;

impl<'c, 's: 'c> Course<'c, 's> {
    /// Access levels; whether somebody may go on.
    pub(crate) fn access(
        &mut self,
        here: Here<'s>,
        route: RouteView<'s>,
        state: &State<'c>,
    ) -> bool {
        if !self.snapshot.enforces() {
            return true;
        }
        let point = &state.point;
        let access = route.access();
        let external = self.entrance == Entrance::External;
        let platform = matches!(access.owner, Owner::Platform | Owner::LoginMachinery);
        let is = |list: &[String]| !point.paths.below && list.contains(&point.paths.text);
        if platform && external && here.hop == 0 && is(self.snapshot.login_paths()) {
            self.may(here, state, End::Answered, Some(route));
            return false;
        }
        let mut level = if external {
            access.external
        } else {
            access.local
        };
        let closed = access.owner == Owner::LoginMachinery && external;
        if closed && !is(self.snapshot.provider_paths()) {
            level = AccessLevel::Login;
        }
        if access.owner == Owner::Model && !route.answers_preflights() {
            self.may(here, state, End::Answered, Some(route));
        }
        let unlimited = access.limits.is_empty();
        let (ends, goes_on): (&[End], bool) = match level {
            AccessLevel::Public | AccessLevel::AsWritten => return true,
            AccessLevel::Cluster if !external && unlimited => return true,
            AccessLevel::Cluster if external => (&[End::Token], false),
            AccessLevel::Cluster | AccessLevel::Token => match point.who {
                Who::Stranger | Who::Person if level == AccessLevel::Token => {
                    (&[End::Token], false)
                }
                Who::Stranger | Who::Person => (&[End::Denied], false),
                // Outside nothing but a token says whose it is.
                Who::Tokenless if external => (&[End::Token], false),
                Who::Bearer if unlimited => (&[], true),
                Who::Bearer => (&[End::Denied], true),
                _ => (&[End::Token, End::Denied], true),
            },
            AccessLevel::Login => match point.who {
                Who::Stranger | Who::Tokenless => (&[End::Login], false),
                Who::Person if unlimited => (&[], true),
                Who::Person => (&[End::Denied], true),
                Who::Bearer => (&[End::Denied], false),
                _ => (&[End::Login, End::Denied, End::Token], true),
            },
        };
        for end in ends {
            self.may(here, state, *end, Some(route));
        }
        goes_on
    }
}
