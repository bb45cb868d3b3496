//! EnvoyFilters on routes, virtual hosts and route configurations (istio
//! `envoyfilter/rc_patch.go`): per-route configuration of filters, headers,
//! removals; the most specific level wins.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::chain::{Chain, FilterStep, Overrides};
use crate::envoyfilter::{Patch, Patches};
use crate::headerops;
use crate::httpfilter;
use crate::lua;
use crate::opaque::{NotUnderstood, Scope};
use crate::permit::HeaderChange;
use crate::perroute::{self, Said};
use crate::places::{Https, Place};
use crate::proto::{at, field, names, number, text};
use crate::routes::{Route, RouteAction};
use crate::settings::Problem;
use crate::versions::IstioVersion;
use crate::vhosts::{VirtualHost, VirtualHosts, Written};

/// Applies every patch to the virtual hosts of one listener.
pub(crate) fn apply(
    patches: &mut Patches,
    place: &Place<'_>,
    chain: &Chain,
    hosts: &mut VirtualHosts,
    opaque: &mut Vec<NotUnderstood>,
    problems: &mut Vec<Problem>,
) {
    let version = patches.version();
    let fault = chain
        .filters
        .iter()
        .position(|filter| filter.step == FilterStep::Fault);
    if fault.is_none() {
        for route in hosts.all_mut().flat_map(|host| &mut host.routes) {
            Arc::make_mut(route).abort = None;
        }
    }
    let mut all: Vec<&mut Patch> = patches.routes().collect();
    let mut meant = Vec::new();
    for (index, patch) in all.iter_mut().enumerate() {
        match place.routes(patch) {
            Ok(()) => meant.push(index),
            Err(why) => {
                patch.missed.get_or_insert(why);
            }
        }
    }
    if meant.is_empty() {
        return;
    }
    let (notes, removed, applied) = {
        let list: Vec<&Patch> = all.iter().map(|patch| &**patch).collect();
        let mut table = Table {
            patches: list,
            meant,
            chain,
            fault,
            version,
            opaque,
            problems,
            applied: HashSet::new(),
            found: HashSet::new(),
        };
        let (notes, removed) = table.apply(hosts);
        (notes, removed, table.applied)
    };
    hosts.remove(&removed);
    for (index, patch) in all.into_iter().enumerate() {
        if applied.contains(&index) {
            patch.applied = true;
        }
        if let Some(note) = notes.get(&index) {
            patch.missed.get_or_insert_with(|| note.clone());
        }
    }
}

struct Table<'a, 'p> {
    patches: Vec<&'p Patch>,
    /// Those that mean this route configuration.
    meant: Vec<usize>,
    chain: &'a Chain,
    /// Its filter for faults.
    fault: Option<usize>,
    version: IstioVersion,
    opaque: &'a mut Vec<NotUnderstood>,
    problems: &'a mut Vec<Problem>,
    applied: HashSet<usize>,
    /// Keys of per-route configuration that a filter looks under, by patch.
    found: HashSet<(usize, String)>,
}

/// What the patches of one level add up to.
#[derive(Clone, Debug, Default)]
struct Level<'p> {
    /// Key, configuration, and the patch it comes from.
    configs: Vec<(&'p str, &'p Value, usize)>,
    /// With the patch they come from.
    headers: Vec<(HeaderChange, usize)>,
}

impl<'p> Table<'_, 'p> {
    fn apply(&mut self, hosts: &mut VirtualHosts) -> (HashMap<usize, String>, Vec<String>) {
        let known: BTreeSet<String> = hosts.all().map(|host| host.written.name.clone()).collect();
        let mut notes = HashMap::new();
        let mut removed = Vec::new();
        let mut whole = Level::default();
        for index in self.meant.clone() {
            let Some(patch) = self.patches.get(index).copied() else {
                continue;
            };
            match (patch.apply_to.as_str(), is_merge(patch)) {
                ("ROUTE_CONFIGURATION", true) => {
                    self.merge(index, patch, &mut whole, &Scope::Listener);
                }
                ("ROUTE_CONFIGURATION", false) => {
                    notes.insert(
                        index,
                        "only MERGE applies to a route configuration".to_owned(),
                    );
                }
                ("VIRTUAL_HOST", _) if patch.operation == "ADD" => {
                    self.not_understood(index, "a virtual host of its own", Scope::Listener);
                }
                _ => {}
            }
        }
        for host in hosts.all_mut() {
            let written = Arc::clone(&host.written);
            let mut level = Level::default();
            let mut routes = Vec::new();
            let mut gone = false;
            for index in self.meant.clone() {
                let Some(patch) = self.patches.get(index).copied() else {
                    continue;
                };
                let vhost = at(patch.matching("routeConfiguration"), &["vhost"]);
                if !means_host(vhost, &written) {
                    continue;
                }
                if patch.apply_to == "HTTP_ROUTE" {
                    routes.push((index, patch, vhost.and_then(|v| field(v, "route"))));
                    continue;
                }
                if patch.apply_to != "VIRTUAL_HOST" || patch.operation == "ADD" {
                    continue;
                }
                let scope = match vhost {
                    None => Scope::Listener,
                    Some(_) => Scope::Host(host.name.clone()),
                };
                if patch.operation == "REMOVE" {
                    self.applied.insert(index);
                    gone = true;
                    break;
                } else if is_merge(patch) {
                    self.merge(index, patch, &mut level, &scope);
                } else {
                    self.not_understood(index, "another virtual host in its place", scope);
                }
            }
            if gone {
                removed.push(host.name.clone());
                continue;
            }
            self.routes(host, &whole, &level, &routes);
        }
        for index in self.meant.clone() {
            if !self.applied.contains(&index) {
                let known: Vec<&String> = known.iter().take(8).collect();
                notes.entry(index).or_insert_with(|| {
                    format!(
                        "matches no virtual host or no route; virtual hosts are called `host:server-port`, here {known:?}, and routes by `http[].name`"
                    )
                });
            }
        }
        (notes, removed)
    }

    fn routes(
        &mut self,
        host: &mut VirtualHost,
        whole: &Level<'p>,
        level: &Level<'p>,
        patches: &[(usize, &'p Patch, Option<&'p Value>)],
    ) {
        if patches.is_empty() && whole.is_empty() && level.is_empty() {
            return;
        }
        let host_name = host.name.clone();
        let shared = self.overrides(&Level::default(), level, whole, &host_name, None);
        let mut kept = Vec::new();
        for mut shared_route in std::mem::take(&mut host.routes) {
            let route = Arc::make_mut(&mut shared_route);
            let mut own = Level::default();
            let mut gone = false;
            for (index, patch, at) in patches {
                if !means_route(*at, route) {
                    continue;
                }
                let scope = match (at, host_of(patch)) {
                    (Some(_), _) => route_scope(&host_name, route),
                    (None, true) => Scope::Host(host_name.clone()),
                    (None, false) => Scope::Listener,
                };
                if patch.operation == "REMOVE" {
                    self.applied.insert(*index);
                    gone = true;
                    break;
                } else if is_merge(patch) {
                    let renamed = self.merge(*index, patch, &mut own, &scope);
                    if let Some(name) = renamed {
                        route.name = name;
                    }
                }
            }
            if gone {
                continue;
            }
            let scope = route_scope(&host_name, route);
            let scope = patches
                .iter()
                .any(|(_, _, at)| at.is_some())
                .then_some(scope);
            route.overrides = if own.configs.is_empty() {
                shared.clone()
            } else {
                self.overrides(&own, level, whole, &host_name, scope)
            };
            if self.fault.is_some_and(|fault| route.overrides.skips(fault)) {
                route.abort = None;
            }
            let levels = [&own, level, whole];
            if levels.iter().any(|changes| !changes.headers.is_empty()) {
                // The route's own are of one level with what patches add to it.
                let mut all = self.ordered(route.request_headers.to_vec(), &own, &host_name);
                for level in [level, whole] {
                    all.extend(self.ordered(Vec::new(), level, &host_name));
                }
                route.request_headers = all.into();
            }
            kept.push(shared_route);
        }
        for (index, patch, at) in patches {
            let inserts = matches!(
                patch.operation.as_str(),
                "ADD" | "INSERT_BEFORE" | "INSERT_AFTER" | "INSERT_FIRST"
            );
            let anchored = patch.operation == "ADD"
                || at.is_none()
                || kept.iter().any(|route| means_route(*at, route));
            if inserts && anchored {
                let scope = if host_of(patch) {
                    Scope::Host(host_name.clone())
                } else {
                    Scope::Listener
                };
                self.not_understood(*index, "a route of its own", scope);
            }
        }
        host.routes = kept;
    }

    /// The header changes of one level, in Envoy's order.
    fn ordered(
        &mut self,
        mut before: Vec<HeaderChange>,
        level: &Level<'p>,
        host: &str,
    ) -> Vec<HeaderChange> {
        before.extend(level.headers.iter().map(|(change, _)| change.clone()));
        let (changes, unclear) = headerops::in_order(before);
        for name in unclear {
            let about = |(change, _): &&(HeaderChange, usize)| change.name() == name;
            if let Some((_, index)) = level.headers.iter().rfind(about) {
                let why = format!("a value of `{name}` for where it is there, and another,");
                self.not_understood(*index, &why, Scope::Host(host.to_owned()));
            }
        }
        changes
    }

    fn not_understood(&mut self, index: usize, why: &str, scope: Scope) {
        self.applied.insert(index);
        if let Some(patch) = self.patches.get(index) {
            let note = patch.opaque(why.to_owned(), scope);
            if !self.opaque.contains(&note) {
                self.opaque.push(note);
            }
        }
    }

    /// Merges a patch into a level; the new name of a route, if it gets one.
    fn merge(
        &mut self,
        index: usize,
        patch: &'p Patch,
        level: &mut Level<'p>,
        scope: &Scope,
    ) -> Option<String> {
        self.applied.insert(index);
        let value = patch.value();
        for name in names(value) {
            let inner = field(value, &name).unwrap_or(&Value::Null);
            match name.as_ref() {
                "typed_per_filter_config" => {
                    for (written, config) in inner.as_object().into_iter().flatten() {
                        let key = perroute::key(written, self.version);
                        level.configs.retain(|(known, ..)| *known != key);
                        level.configs.push((key, config, index));
                        self.check_key(index, patch, written, key);
                    }
                }
                "request_headers_to_add" => {
                    for option in inner.as_array().into_iter().flatten() {
                        match httpfilter::header_option(option) {
                            Ok(change) => {
                                level.headers.extend(change.map(|change| (change, index)));
                            }
                            Err(why) => self.not_understood(index, &why, scope.clone()),
                        }
                    }
                }
                "request_headers_to_remove" => {
                    for name in inner.as_array().into_iter().flatten() {
                        match lua::change("remove", name.as_str().unwrap_or_default(), None) {
                            Ok(change) => level.headers.push((change, index)),
                            Err(why) => self.not_understood(index, &why, scope.clone()),
                        }
                    }
                }
                "name" if patch.apply_to == "HTTP_ROUTE" => {}
                "route" if patch.apply_to == "HTTP_ROUTE" => {
                    if let Some(odd) =
                        names(inner).find(|name| !ROUTE_ACTION.contains(&name.as_ref()))
                    {
                        self.not_understood(
                            index,
                            &format!("`route.{odd}` of a route"),
                            scope.clone(),
                        );
                    }
                }
                name if HARMLESS.contains(&name) => {}
                name => {
                    let what = match patch.apply_to.as_str() {
                        "HTTP_ROUTE" => "route",
                        "VIRTUAL_HOST" => "virtual host",
                        _ => "route configuration",
                    };
                    self.not_understood(index, &format!("`{name}` of a {what}"), scope.clone());
                }
            }
        }
        let name = text(value, &["name"]);
        if patch.apply_to != "HTTP_ROUTE" || name.is_empty() {
            return None;
        }
        if present_or_filter_like(name) {
            self.note(patch.problem(&format!(
                "`name: {name}` renames the route, it selects no filter"
            )));
        }
        Some(name.to_owned())
    }

    fn note(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Says so when no filter looks under a key.
    fn check_key(&mut self, index: usize, patch: &Patch, written: &str, key: &str) {
        if !self.found.insert((index, written.to_owned())) {
            return;
        }
        let filters = &self.chain.filters;
        let looked = filters
            .iter()
            .any(|filter| perroute::keys(filter, self.version).contains(&key));
        if !looked {
            let why = perroute::unknown_key(written, filters, self.version);
            self.note(patch.problem(&format!("{why}: no effect")));
        }
    }

    /// Which entry each filter of the chain finds, and what it says.
    fn overrides(
        &mut self,
        route: &Level<'p>,
        host: &Level<'p>,
        whole: &Level<'p>,
        host_name: &str,
        scope: Option<Scope>,
    ) -> Overrides {
        let mut list = Vec::new();
        let mut notes = Vec::new();
        let mut said_nothing = Vec::new();
        for (number, filter) in self.chain.filters.iter().enumerate() {
            let found = perroute::keys(filter, self.version)
                .into_iter()
                .find_map(|key| {
                    let here = |level: &Level<'p>| {
                        let found = level.configs.iter().rev().find(|(known, ..)| *known == key);
                        found.map(|(_, config, index)| (*config, *index))
                    };
                    let of_route = here(route).map(|(config, index)| (config, index, true));
                    of_route
                        .or_else(|| here(host).map(|(config, index)| (config, index, false)))
                        .or_else(|| here(whole).map(|(config, index)| (config, index, false)))
                });
            let Some((config, index, of_route)) = found else {
                continue;
            };
            let Some(patch) = self.patches.get(index).copied() else {
                continue;
            };
            let scope = match (scope.clone().filter(|_| of_route), host_of(patch)) {
                (Some(route), _) => route,
                (None, true) => Scope::Host(host_name.to_owned()),
                (None, false) => Scope::Listener,
            };
            match perroute::read(config, filter, &patch.object, &patch.source, self.version) {
                Said::Override(what) => list.push((number, what)),
                Said::Nothing(why) => {
                    said_nothing.push(patch.problem(&format!("{why}: no effect")))
                }
                Said::Opaque(why) => notes.push((index, why, scope)),
            }
        }
        for problem in said_nothing {
            self.note(problem);
        }
        for (index, why, scope) in notes {
            self.not_understood(index, &why, scope);
        }
        Overrides::new(list)
    }
}

impl Level<'_> {
    fn is_empty(&self) -> bool {
        self.configs.is_empty() && self.headers.is_empty()
    }
}

/// Fields of routes, virtual hosts and route configurations that cannot change
/// who gets in.
const HARMLESS: [&str; 17] = [
    "decorator",
    "hedge_policy",
    "include_attempt_count_in_response",
    "include_is_timeout_retry_header",
    "include_request_attempt_count",
    "max_direct_response_body_size_bytes",
    "metadata",
    "name",
    "per_request_buffer_limit_bytes",
    "rate_limits",
    "request_body_buffer_limit",
    "response_headers_to_add",
    "response_headers_to_remove",
    "retry_policy",
    "stat_prefix",
    "tracing",
    "validate_clusters",
];

const ROUTE_ACTION: [&str; 16] = [
    "early_data_policy",
    "flush_timeout",
    "grpc_timeout_offset",
    "hash_policy",
    "hedge_policy",
    "idle_timeout",
    "include_vh_rate_limits",
    "max_grpc_timeout",
    "max_stream_duration",
    "metadata_match",
    "priority",
    "rate_limits",
    "retry_policy",
    "retry_policy_typed_config",
    "timeout",
    "upgrade_configs",
];

fn is_merge(patch: &Patch) -> bool {
    matches!(patch.operation.as_str(), "MERGE" | "MERGE_AND_REPLACE_LIST")
}

/// Whether a patch names virtual hosts.
fn host_of(patch: &Patch) -> bool {
    let vhost = at(patch.matching("routeConfiguration"), &["vhost"]);
    vhost.is_some_and(|vhost| {
        !text(vhost, &["name"]).is_empty() || !text(vhost, &["domainName"]).is_empty()
    })
}

fn means_host(vhost: Option<&Value>, written: &Written) -> bool {
    let Some(vhost) = vhost else { return true };
    let (wanted, domain) = (text(vhost, &["name"]), text(vhost, &["domainName"]));
    (wanted.is_empty() || wanted == written.name)
        && (domain.is_empty() || written.domains.iter().any(|known| known == domain))
}

/// By name and action; a route without a name can only be meant with all others.
fn means_route(wanted: Option<&Value>, route: &Route) -> bool {
    let Some(wanted) = wanted else { return true };
    let name = text(wanted, &["name"]);
    let action = text(wanted, &["action"]);
    let is = match &route.action {
        RouteAction::Forward(_) => "ROUTE",
        RouteAction::Redirect { .. } => "REDIRECT",
        RouteAction::Direct { .. } => "DIRECT_RESPONSE",
    };
    (name.is_empty() || name == route.name) && (matches!(action, "" | "ANY") || action == is)
}

fn route_scope(host: &str, route: &Route) -> Scope {
    Scope::Route {
        host: host.to_owned(),
        object: route.object.clone(),
        place: Arc::clone(&route.place),
    }
}

/// A name somebody gives to a route in the belief that it selects a filter.
fn present_or_filter_like(name: &str) -> bool {
    name.starts_with("envoy.")
}

impl Place<'_> {
    /// Whether a patch means the route configuration of this listener.
    fn routes(&self, patch: &Patch) -> Result<(), String> {
        let matching = patch.matching("routeConfiguration");
        // A dot in a name hides all of them (istio `ParseGatewayRDSRouteName`).
        let https = self.https.as_ref();
        let parsed =
            https.filter(|https| !https.port_name.contains('.') && !https.gateway.contains('.'));
        for (key, own) in [
            ("gateway", parsed.map(|https| https.gateway.as_str())),
            ("portName", parsed.map(|https| https.port_name)),
        ] {
            let wanted = text(matching, &[key]);
            if !wanted.is_empty() && own != Some(wanted) {
                return Err(match own {
                    Some(own) => {
                        format!("match.routeConfiguration.{key}: `{wanted}` is not `{own}`")
                    }
                    None => format!(
                        "match.routeConfiguration.{key}: only HTTPS servers carry it, a plain HTTP route configuration has none"
                    ),
                });
            }
        }
        let own = match https {
            None => format!("http.{}", self.port),
            Some(Https {
                gateway, port_name, ..
            }) => {
                let (namespace, name) = gateway.split_once('/').unwrap_or_default();
                let port = self.server_ports.first().unwrap_or(&self.port);
                format!("https.{port}.{port_name}.{name}.{namespace}")
            }
        };
        let name = text(matching, &["name"]);
        if !name.is_empty() && name != own {
            return Err(format!(
                "match.routeConfiguration.name: expected `http.` and a listener port like `{own}`, found `{name}`"
            ));
        }
        let port = number(matching, &["portNumber"]).filter(|port| *port != 0);
        if let Some(port) = port
            && !self.server_ports.iter().any(|p| u64::from(*p) == port)
        {
            let hint = if port == u64::from(self.port) {
                format!(
                    "; {port} is a listener port, its server ports are {:?}",
                    self.server_ports
                )
            } else {
                String::new()
            };
            return Err(format!(
                "match.routeConfiguration.portNumber: no Gateway server of these pods has port {port}{hint}"
            ));
        }
        Ok(())
    }
}
