//! EnvoyFilters: which patches concern a gateway's pods, and what they do to
//! a listener (istio `pilot/pkg/model/envoyfilter.go`,
//! `pilot/pkg/networking/core/envoyfilter/listener_patch.go`).

use std::sync::Arc;

use resources::istio::EnvoyFilter;
use resources::{Cluster, Object, ObjectRef, Source};
use serde_json::Value;

use crate::chain::{Chain, Filter, FilterStep, Position};
use crate::harmless;
use crate::httpfilter::{self, Context, Kind};
use crate::opaque::{NotUnderstood, Scope};
use crate::places::{Place, translated, unknown_filter};
use crate::proto::{at, field, items, number, text};
use crate::settings::{IstioVersion, Problem};
use crate::workloads::{GatewayPods, selects};

/// The patches of one gateway's pods, in the order in which they are applied.
pub(crate) struct Patches {
    all: Vec<Patch>,
    version: IstioVersion,
    /// Clusters that EnvoyFilters add, and where they lead.
    clusters: Vec<(String, (String, u16))>,
    /// What concerns every listener of the pods.
    everywhere: Vec<NotUnderstood>,
}

/// One entry of `configPatches` that concerns gateways.
pub(crate) struct Patch {
    pub(crate) object: ObjectRef,
    pub(crate) source: Source,
    /// `spec.configPatches[2]`.
    pub(crate) place: String,
    pub(crate) apply_to: String,
    pub(crate) operation: String,
    /// The whole entry.
    entry: Arc<Value>,
    /// It did something to some listener.
    pub(crate) applied: bool,
    /// Why it did nothing to the last listener it was held against.
    pub(crate) missed: Option<String>,
}

impl Patches {
    /// Reads what concerns these pods; what never can be in force is a problem.
    pub(crate) fn of(
        cluster: &Cluster,
        pods: &GatewayPods,
        version: IstioVersion,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut patches = Self {
            all: Vec::new(),
            version,
            clusters: Vec::new(),
            everywhere: Vec::new(),
        };
        for object in applicable(cluster, pods) {
            if !object.spec.filters.is_empty() {
                let why = format!(
                    "spec.filters: the form of Istio before 1.4, which Istio {version} does not read: no effect; expected `configPatches`"
                );
                problems.push(Problem::of(object, why));
            }
            for (index, entry) in object.spec.config_patches.iter().enumerate() {
                let place = format!("spec.configPatches[{index}]");
                match Patch::read(object, &place, entry, version) {
                    Ok(None) => {}
                    Ok(Some(patch)) => patches.take(patch),
                    Err(Unread::Dead(why)) => {
                        problems.push(Problem::of(object, format!("{place}: {why}")));
                    }
                    Err(Unread::Opaque(why)) => patches.everywhere.push(NotUnderstood {
                        object: object.reference(),
                        source: object.source.clone(),
                        place,
                        why,
                        scope: Scope::Listener,
                    }),
                }
            }
        }
        for plugin in &cluster.wasm_plugins {
            let root = root_namespace(cluster);
            let here = plugin.meta.namespace == root || *plugin.meta.namespace == *pods.namespace;
            let selector = plugin.spec.selector.as_ref();
            let selected = plugin.spec.targets_none()
                && selector.is_none_or(|s| selects(&s.match_labels, &pods.labels));
            let named = plugin.spec.targets(
                &plugin.meta.namespace,
                pods.labels
                    .get("gateway.networking.k8s.io/gateway-name")
                    .map(String::as_str),
            );
            if here && (selected || named) {
                patches.everywhere.push(NotUnderstood {
                    object: plugin.reference(),
                    source: plugin.source.clone(),
                    place: "spec.url".to_owned(),
                    why: "a WebAssembly module".to_owned(),
                    scope: Scope::Listener,
                });
            }
        }
        patches
    }

    fn take(&mut self, patch: Patch) {
        match patch.apply_to.as_str() {
            "CLUSTER" | "BOOTSTRAP" | "EXTENSION_CONFIG" => {
                if patch.apply_to == "CLUSTER" && patch.operation == "ADD" {
                    self.clusters.extend(added_cluster(patch.value()));
                }
                if let Some(why) =
                    harmless::effect(&patch.apply_to, &patch.operation, patch.value())
                {
                    self.everywhere.push(patch.opaque(why, Scope::Listener));
                }
            }
            "LISTENER" if patch.operation == "ADD" => self
                .everywhere
                .push(patch.opaque("a listener of its own".to_owned(), Scope::Listener)),
            _ => self.all.push(patch),
        }
    }

    /// Applies what concerns HTTP filters and listeners, and says what is not
    /// understood of it. First every insertion and removal in order, then every
    /// merge, as Istio does.
    pub(crate) fn listener(
        &mut self,
        place: &Place<'_>,
        chain: &mut Chain,
        opaque: &mut Vec<NotUnderstood>,
        problems: &mut Vec<Problem>,
    ) {
        opaque.extend(self.everywhere.iter().cloned());
        let (version, clusters) = (self.version, &self.clusters);
        for merges in [false, true] {
            for patch in &mut self.all {
                if is_route_patch(&patch.apply_to) || (patch.operation == "MERGE") != merges {
                    continue;
                }
                if let Err(why) = place.listener(patch, version) {
                    patch.missed.get_or_insert(why);
                    continue;
                }
                if patch.apply_to == "HTTP_FILTER" {
                    patch.apply(version, clusters, chain, opaque, problems);
                    continue;
                }
                patch.applied = true;
                let effect = harmless::effect(&patch.apply_to, &patch.operation, patch.value());
                opaque.extend(effect.map(|why| patch.opaque(why, Scope::Listener)));
            }
        }
    }

    /// The patches of routes.
    pub(crate) fn routes(&mut self) -> impl Iterator<Item = &mut Patch> {
        self.all
            .iter_mut()
            .filter(|patch| is_route_patch(&patch.apply_to))
    }

    pub(crate) fn version(&self) -> IstioVersion {
        self.version
    }

    /// What did nothing to any listener.
    pub(crate) fn finish(self, problems: &mut Vec<Problem>) {
        for patch in self.all.into_iter().filter(|patch| !patch.applied) {
            let why = patch
                .missed
                .clone()
                .unwrap_or_else(|| "there is no listener it could match".to_owned());
            problems.push(patch.problem(&format!("{why}: no effect")));
        }
    }
}

fn is_route_patch(apply_to: &str) -> bool {
    matches!(
        apply_to,
        "HTTP_ROUTE" | "VIRTUAL_HOST" | "ROUTE_CONFIGURATION"
    )
}

fn root_namespace(cluster: &Cluster) -> &str {
    let root = cluster.mesh.root_namespace.as_deref();
    root.unwrap_or("istio-system")
}

/// The EnvoyFilters of these pods, in the order they are applied.
pub(crate) fn applicable<'c>(
    cluster: &'c Cluster,
    pods: &GatewayPods,
) -> Vec<&'c Object<EnvoyFilter>> {
    let root = root_namespace(cluster);
    let gateway = pods.labels.get("gateway.networking.k8s.io/gateway-name");
    let mut filters: Vec<&Object<EnvoyFilter>> = cluster
        .envoy_filters
        .iter()
        .filter(|f| f.meta.namespace == root || *f.meta.namespace == *pods.namespace)
        .filter(|f| {
            if !f.spec.target_refs.is_empty() {
                return *f.meta.namespace == *pods.namespace
                    && f.spec.target_refs.iter().any(|target| {
                        target.kind == "Gateway"
                            && target.group == "gateway.networking.k8s.io"
                            && Some(&target.name) == gateway
                    });
            }
            let selector = f.spec.workload_selector.as_ref();
            selector.is_none_or(|s| selects(&s.labels, &pods.labels))
        })
        .collect();
    filters.sort_by(|a, b| {
        let rank = |f: &Object<EnvoyFilter>| (f.spec.priority, f.meta.namespace != root);
        rank(a)
            .cmp(&rank(b))
            .then_with(|| a.age_order().cmp(&b.age_order()))
    });
    filters
}

/// Name and first endpoint of a cluster.
fn added_cluster(value: &Value) -> Option<(String, (String, u16))> {
    let locality = items(value, &["load_assignment", "endpoints"]).next()?;
    let endpoint = items(locality, &["lb_endpoints"]).next()?;
    let address = at(endpoint, &["endpoint", "address", "socket_address"])?;
    let port = u16::try_from(number(address, &["port_value"])?).ok()?;
    let host = text(address, &["address"]).to_owned();
    Some((text(value, &["name"]).to_owned(), (host, port)))
}

/// Why a patch cannot be applied.
enum Unread {
    /// It never has an effect.
    Dead(String),
    /// Whether and to what it is applied is not known.
    Opaque(String),
}

const CONTEXTS: [&str; 6] = [
    "",
    "ANY",
    "GATEWAY",
    "SIDECAR_INBOUND",
    "SIDECAR_OUTBOUND",
    "WAYPOINT",
];

const APPLY_TO: [&str; 11] = [
    "LISTENER",
    "FILTER_CHAIN",
    "NETWORK_FILTER",
    "HTTP_FILTER",
    "ROUTE_CONFIGURATION",
    "VIRTUAL_HOST",
    "HTTP_ROUTE",
    "CLUSTER",
    "EXTENSION_CONFIG",
    "BOOTSTRAP",
    "LISTENER_FILTER",
];

const OPERATIONS: [&str; 8] = [
    "MERGE",
    "MERGE_AND_REPLACE_LIST",
    "ADD",
    "REMOVE",
    "INSERT_BEFORE",
    "INSERT_AFTER",
    "INSERT_FIRST",
    "REPLACE",
];

impl Patch {
    fn read(
        object: &Object<EnvoyFilter>,
        place: &str,
        entry: &Value,
        version: IstioVersion,
    ) -> Result<Option<Self>, Unread> {
        let context = text(entry, &["match", "context"]);
        if !CONTEXTS.contains(&context) {
            return Err(Unread::Dead(format!(
                "match.context: expected GATEWAY, ANY, SIDECAR_INBOUND, SIDECAR_OUTBOUND or WAYPOINT, found `{context}`: Istio refuses the object"
            )));
        }
        if !matches!(context, "" | "ANY" | "GATEWAY") {
            return Ok(None);
        }
        proxy_matches(entry, version)?;
        let operation = text(entry, &["patch", "operation"]);
        if !OPERATIONS.contains(&operation) {
            return Err(Unread::Dead(format!(
                "patch.operation: expected one of {}, found `{operation}`: Istio refuses the object",
                OPERATIONS.join(", ")
            )));
        }
        let value = at(entry, &["patch", "value"]);
        if operation != "REMOVE" && !value.is_some_and(Value::is_object) {
            let patch = field(entry, "patch").and_then(Value::as_object);
            let beside = patch
                .into_iter()
                .flat_map(|patch| patch.keys())
                .find(|key| !matches!(key.as_str(), "operation" | "value" | "filterClass"));
            let hint = beside.map_or(String::new(), |key| {
                format!("; `{key}` is beside `value`, it has to be indented below it")
            });
            return Err(Unread::Dead(format!(
                "patch.value: expected a value{hint}: Istio refuses the object (missing patch value)"
            )));
        }
        let apply_to = text(entry, &["applyTo"]).to_owned();
        if !APPLY_TO.contains(&apply_to.as_str()) {
            return Err(Unread::Dead(format!(
                "applyTo: expected one of {}, found `{apply_to}`: Istio refuses the object",
                APPLY_TO.join(", ")
            )));
        }
        // Insertion is for filters and routes; elsewhere it is an addition.
        let inserts = matches!(
            apply_to.as_str(),
            "HTTP_FILTER" | "NETWORK_FILTER" | "HTTP_ROUTE" | "LISTENER_FILTER"
        );
        let operation = if operation.starts_with("INSERT") && !inserts {
            "ADD"
        } else {
            operation
        };
        Ok(Some(Self {
            object: object.reference(),
            source: object.source.clone(),
            place: place.to_owned(),
            apply_to,
            operation: operation.to_owned(),
            entry: Arc::new(entry.clone()),
            applied: false,
            missed: None,
        }))
    }

    pub(crate) fn value(&self) -> &Value {
        at(&self.entry, &["patch", "value"]).unwrap_or(&Value::Null)
    }

    /// The part of `match` that is about listeners or about routes.
    pub(crate) fn matching(&self, kind: &str) -> &Value {
        at(&self.entry, &["match", kind]).unwrap_or(&Value::Null)
    }

    pub(crate) fn problem(&self, message: &str) -> Problem {
        Problem {
            object: Some(self.object.clone()),
            source: Some(self.source.clone()),
            message: format!("{}: {message}", self.place),
        }
    }

    pub(crate) fn opaque(&self, why: String, scope: Scope) -> NotUnderstood {
        NotUnderstood {
            object: self.object.clone(),
            source: self.source.clone(),
            place: self.place.clone(),
            why,
            scope,
        }
    }

    fn sub_filter(&self, version: IstioVersion) -> Option<String> {
        let sub = at(
            self.matching("listener"),
            &["filterChain", "filter", "subFilter"],
        )?;
        Some(translated(text(sub, &["name"]), version).to_owned())
    }

    fn apply(
        &mut self,
        version: IstioVersion,
        clusters: &[(String, (String, u16))],
        chain: &mut Chain,
        opaque: &mut Vec<NotUnderstood>,
        problems: &mut Vec<Problem>,
    ) {
        let sub = self.sub_filter(version);
        let named = sub.as_deref();
        match (self.operation.as_str(), named) {
            ("REMOVE", None) => {
                self.missed = Some("a REMOVE without subFilter removes nothing".to_owned());
                return;
            }
            ("REMOVE", Some(name)) => {
                if chain.remove(name) {
                    self.applied = true;
                } else if is_generated_sometimes(name) {
                    // Nothing to remove here: as wanted.
                    self.applied = true;
                } else {
                    self.missed = Some(unknown_filter(name, chain, version));
                }
                return;
            }
            ("MERGE_AND_REPLACE_LIST", _) => {
                self.missed =
                    Some("MERGE_AND_REPLACE_LIST does nothing to HTTP filters".to_owned());
                return;
            }
            ("MERGE", named) => {
                match crate::chainmerge::merge(self.value(), named, chain) {
                    crate::chainmerge::Merged::Nothing => {
                        self.missed = named.map(|name| unknown_filter(name, chain, version));
                    }
                    crate::chainmerge::Merged::Done => self.applied = true,
                    crate::chainmerge::Merged::Opaque(why) => {
                        self.applied = true;
                        opaque.push(self.opaque(why, Scope::Listener));
                    }
                }
                return;
            }
            ("REPLACE", None) => {
                self.missed = Some("a REPLACE without subFilter replaces nothing".to_owned());
                return;
            }
            _ => {}
        }
        let missed = named
            .filter(|name| !chain.filters.iter().any(|filter| filter.name == *name))
            .map(|name| unknown_filter(name, chain, version));
        if missed.is_some() && self.operation != "INSERT_FIRST" && self.operation != "ADD" {
            self.missed = missed;
            return;
        }
        let context = Context {
            object: &self.object,
            source: &self.source,
            version,
            cluster: &|name| {
                let found = clusters.iter().find(|(known, _)| known == name);
                found.map(|(_, endpoint)| endpoint.clone())
            },
        };
        let read = httpfilter::read(self.value(), &context);
        self.applied = true;
        match &read.kind {
            Kind::Refused(why) => {
                let problem = self.problem(why);
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
                return;
            }
            Kind::Opaque(why) => opaque.push(self.opaque(why.clone(), Scope::Listener)),
            _ => {}
        }
        let position = match (self.operation.as_str(), named) {
            ("INSERT_BEFORE", Some(name)) => Position::Before(name),
            ("INSERT_AFTER", Some(name)) => Position::After(name),
            ("INSERT_BEFORE", None) | ("INSERT_FIRST", _) => Position::First,
            ("REPLACE", Some(name)) => {
                let router = matches!(read.kind, Kind::Step(FilterStep::Router));
                if name == crate::chain::ROUTER && !router {
                    opaque.push(self.opaque(AFTER_ROUTER.to_owned(), Scope::Listener));
                    return;
                }
                let filter = self.own(read.into_filter(&mut chain.authorizers));
                chain.replace(filter, name);
                return;
            }
            _ => Position::Last,
        };
        let after_router = match position {
            Position::Last => true,
            Position::After(name) => name == crate::chain::ROUTER,
            _ => false,
        };
        if after_router {
            opaque.push(self.opaque(AFTER_ROUTER.to_owned(), Scope::Listener));
            return;
        }
        let filter = self.own(read.into_filter(&mut chain.authorizers));
        chain.insert(filter, position);
    }

    fn own(&self, mut filter: Filter) -> Filter {
        filter.inserted_by = Some((self.object.clone(), self.source.clone()));
        filter
    }
}

const AFTER_ROUTER: &str =
    "a filter after the router: Envoy refuses the whole listener, which stays as it was and";

/// Filters that a listener has or has not, depending on policies and versions.
fn is_generated_sometimes(name: &str) -> bool {
    matches!(
        name,
        crate::chain::RBAC
            | crate::chain::EXT_AUTHZ
            | crate::chain::JWT
            | "istio.alpn"
            | "istio.stats"
            | "istio.metadata_exchange"
            | "istio_authn"
            | "envoy.filters.http.grpc_stats"
    )
}

/// `match.proxy`: a regular expression on the version, and node metadata.
fn proxy_matches(entry: &Value, version: IstioVersion) -> Result<(), Unread> {
    /// Longer ones match nothing (istio `maxProxyVersionLen`).
    const MAX: usize = 1024;
    let Some(proxy) = at(entry, &["match", "proxy"]) else {
        return Ok(());
    };
    let pattern = text(proxy, &["proxyVersion"]);
    if pattern.len() > MAX {
        return Err(Unread::Dead(format!(
            "match.proxy.proxyVersion: is longer than {MAX} characters and matches no proxy"
        )));
    }
    if !pattern.is_empty() {
        let regex = crate::re2::search(pattern).map_err(|_| {
                Unread::Dead(format!(
                    "match.proxy.proxyVersion: `{pattern}` is no regular expression: Istio refuses the object"
                ))
            })?;
        let matches = |patch: u16| regex.is_match(&format!("1.{}.{patch}", version.minor));
        let known = version.patch != IstioVersion::NEWEST_PATCH;
        let first = matches(if known { version.patch } else { 0 });
        if !known && (1..=40).any(|patch| matches(patch) != first) {
            return Err(Unread::Opaque(format!(
                "match.proxy.proxyVersion `{pattern}` depends on the patch version of Istio {version}"
            )));
        }
        if !first {
            return Err(Unread::Dead(format!(
                "match.proxy.proxyVersion: `{pattern}` does not match this Istio, {version}: no effect"
            )));
        }
    }
    let metadata = field(proxy, "metadata").and_then(Value::as_object);
    if metadata.is_some_and(|metadata| !metadata.is_empty()) {
        return Err(Unread::Opaque(
            "match.proxy.metadata, which the resources do not tell,".to_owned(),
        ));
    }
    Ok(())
}
