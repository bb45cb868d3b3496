//! Statements of one's own, resolved against a configuration: the same form of
//! claim as the built-in ones.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use policy::{Destination, Entrance, Owner, RouteView, ServiceAccount, selects};
use resources::intents::{self as written, Expect, From, Identity, RouteOwner};
use resources::{Cluster, ServiceName, Source};

use crate::analysis::{Flow, Outcome};
use crate::callers::account;
use crate::claims::Place;
use crate::engine::Engine;
use crate::mdd::Set;
use crate::paths::{Cell, Head};
use crate::universe::AUTHORITY;
use crate::walk::Seen;

/// A statement about all requests from somebody to something.
#[derive(Clone, Debug)]
pub struct Intent {
    index: usize,
    written: written::Intent,
    id: String,
    statement: String,
    source: Option<Source>,
    pub(crate) from: Origin,
    pub(crate) identity: Identity,
    owner: Option<Owner>,
    pub(crate) host: Option<String>,
    service: Option<(ServiceName, Option<u16>)>,
    path: Option<Head>,
    pub(crate) expect: Expect,
    /// Why it can speak of no request, if that is known beforehand.
    pub(crate) void: Option<String>,
}

/// Where requests come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Anywhere,
    Outside,
    Inside,
    Namespace(String),
    Accounts(Vec<ServiceAccount>),
}

impl PartialEq for Intent {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Intent {}

impl PartialOrd for Intent {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Intent {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.index, &self.statement).cmp(&(other.index, &other.statement))
    }
}

impl Hash for Intent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.index.hash(state);
    }
}

impl Intent {
    /// Resolves statements against the objects of a configuration.
    pub fn resolve(cluster: &Cluster, intents: &[written::Intent]) -> Vec<Self> {
        let all = intents.iter().enumerate();
        let mut out: Vec<Self> = all.map(|(i, one)| Self::new(cluster, i, one)).collect();
        // Two of one name are told apart in machine-readable output.
        let mut seen = BTreeSet::new();
        for intent in &mut out {
            if !seen.insert(intent.id.clone()) {
                intent.id = format!("{}-{}", intent.id, intent.index + 1);
            }
        }
        out
    }

    fn new(cluster: &Cluster, index: usize, written: &written::Intent) -> Self {
        let to = &written.to;
        let (from, mut void) = origin(cluster, &written.from);
        let service = to.service.as_deref().and_then(written::service);
        let service = service.map(|(namespace, name, port)| {
            let name = ServiceName {
                namespace: namespace.into(),
                name: name.into(),
            };
            (name, port)
        });
        if let Some((name, _)) = &service
            && cluster.service(name).is_none()
        {
            void = void.or(Some(format!("there is no Service `{name}`")));
        }
        let path = to.path.as_deref().map(|path| match path.strip_suffix('*') {
            Some(prefix) => Head::Prefix(prefix.to_owned()),
            None => Head::Exact(path.to_owned()),
        });
        let phrase = phrase(written);
        Self {
            index,
            written: written::Intent {
                source: None,
                ..written.clone()
            },
            id: match &written.name {
                Some(name) => slug(name),
                None => format!("intent-{}", index + 1),
            },
            statement: match &written.name {
                Some(name) => format!("{name}: {phrase}"),
                None => phrase,
            },
            source: written.source.clone(),
            from,
            identity: written.identity,
            owner: to.owner.map(owner),
            host: to.host.as_deref().map(str::to_ascii_lowercase),
            service,
            path,
            expect: written.expect,
            void,
        }
    }

    /// As it is written.
    pub fn written(&self) -> &written::Intent {
        &self.written
    }

    /// Short name, for machine-readable output.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The statement, as people say it.
    pub fn statement(&self) -> &str {
        &self.statement
    }

    /// Where it is written.
    pub fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// What becomes of the requests it speaks of.
    pub fn expect(&self) -> Expect {
        self.expect
    }

    /// A path that divides the others.
    pub(crate) fn path(&self) -> Option<&str> {
        self.path.as_ref().map(Head::text)
    }

    /// Whether it speaks of requests that name this host, lower case and
    /// without a port.
    pub(crate) fn is_about(&self, host: &str) -> bool {
        match &self.host {
            None => true,
            Some(wanted) => match wanted.strip_prefix('*') {
                Some(suffix) => host.ends_with(suffix),
                None => host == wanted,
            },
        }
    }

    /// Whether it may speak of requests to a virtual host of this name that no
    /// route matches. No built-in claim does, but that of probes, of a path
    /// that is a string of its own wherever they are looked at.
    pub(crate) fn is_about_unrouted(&self, name: &str) -> bool {
        let here = name.starts_with('*') || self.is_about(name);
        here && self.owner.is_none() && self.service.is_none()
    }

    /// The requests of a flow that it speaks of. `aims` is where the routes
    /// alone lead the same requests.
    pub(crate) fn concerns(
        &self,
        engine: &mut Engine,
        at: &Place<'_>,
        flow: &Seen<'_, '_>,
        aims: &[Flow<'_>],
    ) -> Set {
        let from_here = match &self.from {
            Origin::Anywhere => true,
            Origin::Outside => at.entrance == Entrance::External,
            Origin::Inside | Origin::Namespace(_) | Origin::Accounts(_) => {
                at.entrance == Entrance::Local
            }
        };
        if !from_here || !self.covers(at.cell) || self.void.is_some() {
            return Set::NONE;
        }
        let who = self.who(engine, at);
        let mut set = engine.sets.and(flow.set, who);
        if self.expect == Expect::Allow {
            // Nobody is harmed when an odd authority is turned away.
            set = engine.sets.and(set, at.ordinary);
        }
        let hosts = at.authorities.iter();
        let hosts = hosts.map(|a| self.is_about(&policy::host_name(a)));
        let hosts = engine.sets.classes(AUTHORITY, hosts);
        let set = engine.sets.and(set, hosts);
        if set.is_none() || self.owner.is_none() && self.service.is_none() {
            return set;
        }
        if let Outcome::Reaches(destination) = flow.outcome {
            let leads = flow.trail.last().is_some_and(|route| {
                self.is_of_owner(*route) && self.is_service(Some(destination))
            });
            return if leads { set } else { Set::NONE };
        }
        // Not reached: where it would have gone.
        let mut wanted = Set::NONE;
        for aim in aims {
            let destination = match aim.outcome {
                Outcome::Reaches(destination) => Some(destination),
                _ => None,
            };
            let leads = aim
                .trail
                .last()
                .is_some_and(|route| self.is_of_owner(*route) && self.is_service(destination));
            if leads {
                wanted = engine.sets.or(wanted, aim.set);
            }
        }
        engine.sets.and(set, wanted)
    }

    /// Whether this outcome is another than it says.
    pub(crate) fn is_broken_by(&self, outcome: Outcome<'_>) -> bool {
        let reaches = matches!(outcome, Outcome::Reaches(_));
        match (self.expect, outcome) {
            // What nobody knows breaks nothing; it is told apart.
            (_, Outcome::Authorizer | Outcome::Unknown | Outcome::Inside(_)) => false,
            (Expect::Allow, outcome) => !reaches && outcome != Outcome::Answered,
            (Expect::Deny, _) => reaches,
            // A route, or the login itself, may answer in between.
            (Expect::Login, outcome) => !matches!(outcome, Outcome::Login | Outcome::Answered),
            (Expect::Token, outcome) => !matches!(outcome, Outcome::Token | Outcome::Answered),
        }
    }

    fn who(&self, engine: &mut Engine, at: &Place<'_>) -> Set {
        let (universe, sets) = (&engine.universe, &mut engine.sets);
        let nobody = universe.persons(sets, |person| person.is_none());
        let who = match (self.identity, self.expect) {
            // A bad token is no identity either.
            (Identity::None, Expect::Deny) => at.stranger,
            (Identity::None, _) => at.tokenless,
            (Identity::Login, _) => sets.not(nobody),
            // Nobody looks at tokens of preflights, and browsers send none.
            (Identity::Token, Expect::Allow) => sets.and(nobody, at.verified.seen),
            (Identity::Token, _) => sets.and(nobody, at.verified.all),
        };
        let accounts = match &self.from {
            Origin::Anywhere | Origin::Outside | Origin::Inside => Set::ALL,
            Origin::Namespace(namespace) => {
                universe.accounts(sets, |a| a.is_some_and(|a| *a.namespace == **namespace))
            }
            Origin::Accounts(all) => {
                universe.accounts(sets, |a| a.is_some_and(|a| all.contains(a)))
            }
        };
        sets.and(who, accounts)
    }

    fn covers(&self, cell: Cell<'_>) -> bool {
        self.path.as_ref().is_none_or(|head| head.covers(cell))
    }

    fn is_of_owner(&self, route: RouteView<'_>) -> bool {
        self.owner.is_none_or(|owner| owner == route.access().owner)
    }

    fn is_service(&self, destination: Option<&Destination>) -> bool {
        let Some((wanted, number)) = &self.service else {
            return true;
        };
        matches!(destination, Some(Destination::Service { service, port })
            if service == wanted && number.is_none_or(|n| n == *port))
    }
}

fn owner(written: RouteOwner) -> Owner {
    match written {
        RouteOwner::Platform => Owner::Platform,
        RouteOwner::Model => Owner::Model,
        RouteOwner::Foreign => Owner::Foreign,
        RouteOwner::Login => Owner::LoginMachinery,
    }
}

/// Where requests come from, and why nobody is there.
fn origin(cluster: &Cluster, from: &From) -> (Origin, Option<String>) {
    let pods = match from {
        From::Anywhere => return (Origin::Anywhere, None),
        From::Outside => return (Origin::Outside, None),
        From::Inside => return (Origin::Inside, None),
        From::Pods(pods) => pods,
    };
    let namespace = pods.namespace.as_str();
    let here = || {
        let workloads = cluster.workloads.iter();
        workloads.filter(|w| w.meta.namespace == namespace)
    };
    let mut known = cluster.namespaces.iter().map(|n| n.meta.name.as_str());
    let services = cluster.services.iter().map(|s| s.meta.namespace.as_str());
    let exists = here().next().is_some()
        || known.any(|n| n == namespace)
        || services.clone().any(|n| n == namespace);
    let void = (!exists).then(|| format!("nothing here is in namespace `{namespace}`"));
    if let Some(name) = &pods.service_account {
        let of = vec![account(namespace, name)];
        return (Origin::Accounts(of), void);
    }
    if pods.labels.is_empty() {
        return (Origin::Namespace(namespace.to_owned()), void);
    }
    let selected = here().filter(|w| selects(&pods.labels, &w.spec.labels));
    let mut accounts: Vec<ServiceAccount> = Vec::new();
    for workload in selected {
        let name = workload.spec.pod.service_account_name.as_deref();
        let found = account(namespace, name.unwrap_or("default"));
        if !accounts.contains(&found) {
            accounts.push(found);
        }
    }
    let void = match accounts.is_empty() {
        true => Some(format!(
            "no pod of namespace `{namespace}` has these labels"
        )),
        false => void,
    };
    (Origin::Accounts(accounts), void)
}

fn phrase(written: &written::Intent) -> String {
    let from = match &written.from {
        From::Anywhere => String::new(),
        From::Outside => " from outside".to_owned(),
        From::Inside => " from inside the cluster".to_owned(),
        From::Pods(pods) => {
            let labels: Vec<String> = pods
                .labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            match (&pods.service_account, labels.is_empty()) {
                (Some(name), _) => {
                    format!(" from pods of ServiceAccount {}/{name}", pods.namespace)
                }
                (None, true) => format!(" from pods of namespace {}", pods.namespace),
                (None, false) => {
                    format!(
                        " from pods {} of namespace {}",
                        labels.join(","),
                        pods.namespace
                    )
                }
            }
        }
    };
    let identity = match written.identity {
        Identity::None => " without login or token",
        Identity::Login => " of people who are logged in",
        Identity::Token => " with a token that verifies",
    };
    let to = &written.to;
    let owner = to.owner.map(|owner| match owner {
        RouteOwner::Platform => "the platform".to_owned(),
        RouteOwner::Model => "models".to_owned(),
        RouteOwner::Foreign => "other applications".to_owned(),
        RouteOwner::Login => "the login".to_owned(),
    });
    let parts = [
        to.path.as_ref().map(|path| format!("path {path}")),
        to.service
            .as_ref()
            .map(|service| format!("Service {service}")),
        to.host.as_ref().map(|host| format!("host {host}")),
        owner,
    ];
    let to: Vec<String> = parts.into_iter().flatten().collect();
    let expect = match written.expect {
        Expect::Allow => "get through",
        Expect::Deny => "do not get through",
        Expect::Login => "are sent to the login",
        Expect::Token => "are asked for a token",
    };
    format!("requests{from}{identity} to {} {expect}", to.join(" of "))
}

fn slug(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    let out = out.trim_end_matches('-');
    if out.is_empty() {
        "intent".to_owned()
    } else {
        out.to_owned()
    }
}
