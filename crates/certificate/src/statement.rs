//! Statements of one's own: of whom and of what they speak, and what breaks them.

use policy::{Entrance, Matcher, Owner, Snapshot, TestValue};
use resources::ServiceName;
use resources::intents::{Expect, From, Identity, Intent, RouteOwner, service};

use crate::course::End;
use crate::point::Who;

/// A statement, as the checker reads it.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    from: From,
    pub(crate) who: Who,
    /// Lower case; `*.example.com` is all below.
    pub(crate) host: Option<String>,
    pub(crate) path: Option<TestValue>,
    pub(crate) target: Option<Target>,
    expect: Expect,
}

/// Where requests are routed to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) owner: Option<Owner>,
    pub(crate) service: Option<(ServiceName, Option<u16>)>,
}

impl Statement {
    /// `None` where a Service's name cannot be read.
    pub(crate) fn of(written: &Intent, snapshot: &Snapshot) -> Option<Self> {
        let seen = written.expect == Expect::Allow;
        let who = match written.identity {
            Identity::None => Who::Tokenless,
            Identity::Login => Who::Person,
            Identity::Token if snapshot.enforces() => Who::Bearer,
            Identity::Token => Who::Token { seen },
        };
        let to = &written.to;
        let owner = to.owner.map(|owner| match owner {
            RouteOwner::Platform => Owner::Platform,
            RouteOwner::Model => Owner::Model,
            RouteOwner::Foreign => Owner::Foreign,
            RouteOwner::Login => Owner::LoginMachinery,
        });
        let service = match &to.service {
            None => None,
            Some(text) => {
                let (namespace, name, port) = service(text)?;
                let name = ServiceName {
                    namespace: namespace.into(),
                    name: name.into(),
                };
                Some((name, port))
            }
        };
        let path = to.path.as_deref().map(|path| {
            TestValue::Text(match path.strip_suffix('*') {
                Some(prefix) => Matcher::Prefix(prefix.to_owned()),
                None => Matcher::Exact(path.to_owned()),
            })
        });
        Some(Self {
            from: written.from.clone(),
            who,
            host: to.host.as_deref().map(str::to_ascii_lowercase),
            path,
            target: (owner.is_some() || service.is_some()).then_some(Target { owner, service }),
            expect: written.expect,
        })
    }

    /// Whether it speaks of what arrives from there.
    pub(crate) fn is_about(&self, entrance: Entrance) -> bool {
        match self.from {
            From::Anywhere => true,
            From::Outside => entrance == Entrance::External,
            // Of the callers inside all are looked at, not only those meant.
            From::Inside | From::Pods(_) => entrance == Entrance::Local,
        }
    }

    /// Nobody is harmed when an odd authority is turned away: another port, or
    /// letters in another case.
    pub(crate) fn leaves_out_odd_authorities(&self) -> bool {
        self.expect == Expect::Allow
    }

    /// Whether this is another outcome than it says.
    pub(crate) fn is_broken_by(&self, end: End) -> bool {
        match self.expect {
            Expect::Allow => !matches!(end, End::Reaches | End::Answered),
            Expect::Deny => end == End::Reaches,
            Expect::Login => !matches!(end, End::Login | End::Answered),
            Expect::Token => !matches!(end, End::Token | End::Answered),
        }
    }
}
