//! Virtual hosts of one listener, and how a request finds its own (envoy
//! `RouteMatcher::findVirtualHost`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use foldhash::HashMap;

use crate::claims::Claims;
use crate::digest::Digest;
use crate::index::RouteIndex;
use crate::looked::Looked;
use crate::request::RequestHead;
use crate::routes::Route;
use crate::trace::{Stage, Step, Trace};

/// The routes of a listener, by host.
#[derive(Clone, Debug, Default)]
pub(crate) struct VirtualHosts {
    exact: HashMap<String, VirtualHost>,
    /// `*.x` hosts as `.x`, by length, longest first.
    suffix: BTreeMap<Reverse<usize>, HashMap<String, VirtualHost>>,
    any: Option<VirtualHost>,
}

/// One virtual host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct VirtualHost {
    pub(crate) name: String,
    /// Port of the Gateway server that made it.
    pub(crate) server_port: u16,
    pub(crate) routes: Vec<Arc<Route>>,
    /// A server with `httpsRedirect` owns it.
    pub(crate) require_tls: bool,
    pub(crate) written: Arc<Written>,
    /// Where there are many routes.
    pub(crate) index: Option<Arc<RouteIndex>>,
    /// Of all the rest, once nothing changes any more.
    pub(crate) digest: Option<Digest>,
}

/// The virtual host of Envoy's configuration that holds one or more of ours.
#[derive(Debug, Default, PartialEq, Hash)]
pub(crate) struct Written {
    /// `host:server-port` of the most specific of them.
    pub(crate) name: String,
    pub(crate) domains: Vec<String>,
}

impl VirtualHosts {
    /// Takes virtual hosts; routes that match everything sink to their end.
    pub(crate) fn from(mut all: Vec<VirtualHost>) -> Self {
        collapse(&mut all);
        let mut hosts = Self::default();
        for mut vh in all {
            let (catch_all, first): (Vec<_>, Vec<_>) = vh
                .routes
                .into_iter()
                .partition(|route| route.condition.is_catch_all());
            vh.routes = first;
            vh.routes.extend(catch_all);
            if vh.name == "*" {
                hosts.any = Some(vh);
            } else if let Some(suffix) = vh.name.strip_prefix('*') {
                let suffix = suffix.to_owned();
                let of_length = hosts.suffix.entry(Reverse(suffix.len())).or_default();
                of_length.insert(suffix, vh);
            } else {
                hosts.exact.insert(vh.name.clone(), vh);
            }
        }
        hosts
    }

    /// One virtual host only: exact, longest suffix, `*`. No fall-through.
    pub(crate) fn select(&self, host: &str) -> Option<&VirtualHost> {
        if let Some(found) = self.exact.get(host) {
            return Some(found);
        }
        let mut lengths = self.suffix.iter();
        let found = lengths.find_map(|(Reverse(length), of_length)| {
            let start = host.len().checked_sub(*length).filter(|start| *start > 0)?;
            of_length.get(host.get(start..)?)
        });
        found.or(self.any.as_ref())
    }

    /// The virtual host of that name.
    pub(crate) fn named(&self, name: &str) -> Option<&VirtualHost> {
        match name.strip_prefix('*') {
            Some("") => self.any.as_ref(),
            Some(suffix) => self.suffix.get(&Reverse(suffix.len()))?.get(suffix),
            None => self.exact.get(name),
        }
    }

    /// Indexes the routes, once nothing changes them any more, and says what
    /// each virtual host is.
    pub(crate) fn index(&mut self) {
        let mut digests = Digests::default();
        for host in self.all_mut() {
            host.index = RouteIndex::new(host.routes.iter().map(|route| &**route)).map(Arc::new);
            host.digest = Some(digests.of(host));
        }
    }

    /// All virtual hosts, to patch.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut VirtualHost> {
        self.exact
            .values_mut()
            .chain(self.suffix.values_mut().flat_map(HashMap::values_mut))
            .chain(&mut self.any)
    }

    /// Takes virtual hosts away, by name.
    pub(crate) fn remove(&mut self, names: &[String]) {
        self.exact.retain(|_, host| !names.contains(&host.name));
        for of_length in self.suffix.values_mut() {
            of_length.retain(|_, host| !names.contains(&host.name));
        }
        self.any.take_if(|host| names.contains(&host.name));
    }

    /// All virtual hosts, for summaries.
    pub(crate) fn all(&self) -> impl Iterator<Item = &VirtualHost> {
        self.exact
            .values()
            .chain(self.suffix.values().flat_map(HashMap::values))
            .chain(&self.any)
    }
}

impl VirtualHost {
    /// Whether another one is the same.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.digest.is_some() && self.digest == other.digest
    }

    /// The first route that matches; those that were tried are told.
    pub(crate) fn route<T: Trace>(
        &self,
        head: &RequestHead,
        claims: Option<&Claims>,
        looked: &mut Vec<Looked>,
    ) -> Option<&Route> {
        if !T::LOOKED
            && let Some(index) = &self.index
        {
            let matches = |position: usize| {
                let route = self.routes.get(position);
                route.is_some_and(|r| r.condition.matches::<T>(head, claims, &mut Vec::new()))
            };
            let found = self.routes.get(index.first(head, matches)?);
            return found.map(|route| &**route);
        }
        let mut routes = self.routes.iter();
        let found = routes.find(|route| {
            let mut all = Vec::new();
            let holds = route.condition.matches::<T>(head, claims, &mut all);
            if T::LOOKED {
                looked.push(route.looked(holds, all));
            }
            holds
        });
        found.map(|route| &**route)
    }

    /// Why a host belongs here, and whose routes are tried in which order.
    pub(crate) fn found(&self, hop: u8, authority: &str) -> Step {
        let mut seen = HashSet::new();
        let routes = self.routes.iter();
        let first = routes.filter(|route| seen.insert(&route.object));
        let order: Vec<_> = first
            .map(|route| (route.object.clone(), route.source.clone()))
            .collect();
        let how = match self.name.as_str() {
            "*" => ", as nothing narrower fits",
            name if name.starts_with('*') => ", the narrowest wildcard that fits",
            _ => "",
        };
        let text = format!("`{authority}` belongs to virtual host `{}`{how}", self.name);
        Step {
            order,
            ..Step::new(hop, Stage::VirtualHost, text, None)
        }
    }
}

/// Digests of parts that several virtual hosts share.
#[derive(Default)]
struct Digests {
    routes: HashMap<*const Route, Digest>,
    written: HashMap<*const Written, Digest>,
}

impl Digests {
    /// The parts have to stay where they are.
    fn of(&mut self, host: &VirtualHost) -> Digest {
        // Whoever adds a field decides here what it is part of. The index
        // follows from the routes.
        let VirtualHost {
            name,
            server_port,
            routes,
            require_tls,
            written,
            index: _,
            digest: _,
        } = host;
        let routes = routes.iter().map(|route| {
            let known = self.routes.entry(Arc::as_ptr(route));
            *known.or_insert_with(|| Digest::of(&**route))
        });
        let routes: Vec<Digest> = routes.collect();
        let known = self.written.entry(Arc::as_ptr(written));
        let written = *known.or_insert_with(|| Digest::of(&**written));
        Digest::of(&(name, server_port, routes, require_tls, written))
    }
}

/// Hosts that hold the very same routes, in the same order, are written as one
/// (istio `collapseDuplicateRoutes`). Routes of one VirtualService that were
/// made for two Gateways are equal, but not the same.
fn collapse(hosts: &mut [VirtualHost]) {
    hosts.sort_by(|a, b| {
        let rank = |host: &VirtualHost| (host.name.starts_with('*'), Reverse(host.name.len()));
        rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name))
    });
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<Vec<*const Route>, (bool, usize)> = HashMap::default();
    for (index, host) in hosts.iter().enumerate() {
        let routes: Vec<*const Route> = host.routes.iter().map(Arc::as_ptr).collect();
        let open = known
            .get(&routes)
            .filter(|(tls, _)| *tls == host.require_tls);
        match open.and_then(|(_, group)| groups.get_mut(*group)) {
            Some(group) => group.push(index),
            None => {
                known.insert(routes, (host.require_tls, groups.len()));
                groups.push(vec![index]);
            }
        }
    }
    for group in groups {
        let members = group.iter().filter_map(|index| hosts.get(*index));
        let domains = members.map(|host| host.name.clone()).collect();
        let first = group.first().and_then(|index| hosts.get(*index));
        let written = Arc::new(Written {
            name: first.map_or_else(String::new, |host| {
                format!("{}:{}", host.name, host.server_port)
            }),
            domains,
        });
        for index in group {
            if let Some(host) = hosts.get_mut(index) {
                host.written = Arc::clone(&written);
            }
        }
    }
}
