//! Who gets in, of those who bring nothing: neither a session nor a token.

use policy::{Entrance, Owner};
use verify::{Fate, RouteFates};

/// Who gets to where a route leads, in the order of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Who {
    Anyone,
    SomeOfAnyone,
    Workloads,
    SomeOfWorkloads,
    Login,
    Token,
    Authorizer,
    Unknown,
    Nobody,
    Itself,
    Never,
}

impl Who {
    pub(crate) fn of(route: &RouteFates) -> Self {
        let has = |fate| route.fates.contains(&fate);
        let local = route.entrance == Entrance::Local;
        match (has(Fate::Reaches), route.fates.len(), local) {
            (true, 1, false) => return Self::Anyone,
            (true, 1, true) => return Self::Workloads,
            (true, _, false) => return Self::SomeOfAnyone,
            (true, _, true) => return Self::SomeOfWorkloads,
            (false, 0, _) => return Self::Never,
            (false, ..) => {}
        }
        let order = [
            (Fate::Unknown, Self::Unknown),
            (Fate::Authorizer, Self::Authorizer),
            (Fate::Login, Self::Login),
            (Fate::Token, Self::Token),
            (Fate::Denied, Self::Nobody),
            (Fate::NoRoute, Self::Nobody),
        ];
        let found = order.into_iter().find(|(fate, _)| has(*fate));
        found.map_or(Self::Itself, |(_, who)| who)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::SomeOfAnyone => "anyone, some requests",
            Self::Workloads => "any workload",
            Self::SomeOfWorkloads => "any workload, some requests",
            Self::Login => "who logs in",
            Self::Token => "who has a token",
            Self::Authorizer => "who an authorizer lets in",
            Self::Unknown => "not known",
            Self::Nobody => "nobody without credentials",
            Self::Itself => "answered on the way",
            Self::Never => "no request gets here",
        }
    }

    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Anyone => "every request from outside gets through, without login or token",
            Self::SomeOfAnyone => {
                "some requests from outside get through without login or token, others do not"
            }
            Self::Workloads => "every request from inside the cluster gets through",
            Self::SomeOfWorkloads => {
                "some requests from inside the cluster get through, others do not"
            }
            Self::Login => "a stranger is sent to the login",
            Self::Token => "a stranger is asked for a token",
            Self::Authorizer => {
                "another external authorizer decides, and what it says is not known here"
            }
            Self::Unknown => "what becomes of some requests is not known",
            Self::Nobody => "a stranger is refused",
            Self::Itself => "the route answers by itself: a redirect, a fixed answer, an error",
            Self::Never => "the routes before it take every request, or none can match",
        }
    }

    /// Name of its colour.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Anyone => "w-anyone",
            Self::SomeOfAnyone | Self::SomeOfWorkloads => "w-some",
            Self::Workloads => "w-workloads",
            Self::Login => "w-login",
            Self::Token => "w-token",
            Self::Authorizer => "w-authorizer",
            Self::Unknown => "w-unknown",
            Self::Nobody => "w-nobody",
            Self::Itself => "w-itself",
            Self::Never => "w-never",
        }
    }
}

/// Name of an owner's colour.
pub(crate) fn owner_class(owner: Owner) -> &'static str {
    match owner {
        Owner::Platform => "o-platform",
        Owner::Model => "o-model",
        Owner::LoginMachinery => "o-login",
        Owner::Foreign => "o-foreign",
    }
}

/// Its place in lists.
pub(crate) fn owner_rank(owner: Owner) -> usize {
    match owner {
        Owner::LoginMachinery => 0,
        Owner::Platform => 1,
        Owner::Model => 2,
        Owner::Foreign => 3,
    }
}

/// What an owner is called; several routes of it.
pub(crate) fn owner_name(owner: Owner) -> &'static str {
    match owner {
        Owner::Platform => "platform",
        Owner::Model => "models",
        Owner::LoginMachinery => "the login",
        Owner::Foreign => "others",
    }
}
