//! The compiled configuration: an immutable value that everything reads.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::HashMap;
use resources::cluster::Unread;
use resources::mesh::Normalization;
use resources::sidegate::Mode;
use resources::{Cluster, LoadError, ObjectRef, ServiceName, Source};

use crate::access::{Owner, RouteAccess};
use crate::authorization::{Authorization, authorization};
use crate::chain::Chain;
use crate::connection::ListenerId;
use crate::envoyfilter::Patches;
use crate::index::Indexes;
use crate::intake::Intake;
use crate::merge::planned;
use crate::opaque::NotUnderstood;
use crate::peer::{self, Peer};
use crate::places::{Https, Place};
use crate::request::{Entrance, RequestHead};
use crate::routepatch;
use crate::rules::Action;
use crate::settings::{IstioVersion, Problem, Settings, check_platform};
use crate::sidecars::{Account, Sender, Sidecar, SidecarWay};
use crate::tables::Builder;
use crate::tls::TlsServer;
use crate::tokenrules::{TokenRule, token_rules};
use crate::traffic::{Traffic, gateway_key};
use crate::unmodelled::{self, unmodelled};
use crate::vhosts::VirtualHosts;
use crate::workloads::{ExposedPort, GatewayPods};

/// Everything a decision reads, compiled and validated.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(crate) normalization: Normalization,
    pub(crate) enforce: bool,
    pub(crate) istio_version: Option<IstioVersion>,
    pub(crate) listeners: Vec<Listener>,
    /// Routes of callers inside the mesh.
    pub(crate) mesh: VirtualHosts,
    pub(crate) external: Option<usize>,
    pub(crate) local: Option<usize>,
    /// Services that are our own listeners: a route to one is followed in process.
    pub(crate) own: HashMap<(ServiceName, u16), usize>,
    /// How many of the listeners are gateways'; sidecars follow.
    pub(crate) gateway_listeners: usize,
    pub(crate) sidecars: HashMap<(ServiceName, u16), SidecarWay>,
    pub(crate) settings: Settings,
    pub(crate) warnings: Vec<Problem>,
    pub(crate) unserved: Vec<Problem>,
}

/// One filter chain of one gateway deployment: all of a plain HTTP port, or one
/// server that terminates TLS.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    pub(crate) port: u16,
    /// `None` is plain text.
    pub(crate) tls: Option<TlsServer>,
    pub(crate) intake: Intake,
    /// Connections are forwarded unread: there are no requests here.
    pub(crate) opaque: bool,
    /// Whose access levels count for what arrives here.
    pub(crate) side: Entrance,
    pub(crate) gateways: Vec<(ObjectRef, Source)>,
    pub(crate) hosts: VirtualHosts,
    /// HTTP filters, in the order in which a request meets them, and the
    /// authorizers that EnvoyFilters inserted.
    pub(crate) chain: Chain,
    /// What of the configuration is not understood and may change answers here.
    pub(crate) not_understood: Vec<NotUnderstood>,
    pub(crate) authorization: Arc<Authorization>,
    pub(crate) indexes: Arc<Indexes>,
    /// Rules of RequestAuthentications, in the order in which they are tried.
    pub(crate) token_rules: Arc<[TokenRule]>,
    /// Trust domains whose certificates say which workload a client is.
    pub(crate) principals: Vec<String>,
    /// Whom sidecars take these pods for.
    pub(crate) account: Account,
    /// Set where it is a sidecar's.
    pub(crate) sidecar: Option<Sidecar>,
}

impl Snapshot {
    /// Compiles resources.
    ///
    /// # Errors
    /// Every problem that keeps the configuration from being used. Problems
    /// that only deserve attention are in [`Snapshot::warnings`].
    pub fn compile(cluster: &Cluster, settings: &Settings) -> Result<Self, Vec<Problem>> {
        let mut errors = Vec::new();
        let mut warnings: Vec<Problem> = cluster.unread.iter().map(unread).collect();
        warnings.extend(cluster.unknown_fields.iter().map(unknown));
        let version = istio_version(cluster, settings, &mut errors);
        let sidegate = cluster.sidegate.as_ref();
        let mut snapshot = Self {
            normalization: cluster.mesh.path_normalization.normalization,
            enforce: sidegate.is_some_and(|s| s.spec.mode == Mode::Enforce),
            istio_version: Some(version),
            settings: settings.clone(),
            ..Self::default()
        };
        check_platform(cluster, &mut errors);
        let traffic = Traffic::new(cluster, version, &mut warnings);
        let mut found = Vec::new();
        snapshot.mesh = Builder::mesh(&traffic, &mut found);
        sort_out(found, &mut errors, &mut warnings);
        for pods in GatewayPods::all(cluster) {
            snapshot.add_listeners(
                cluster,
                &pods,
                &traffic,
                version,
                &mut errors,
                &mut warnings,
            );
        }
        let names = Entrances::of(cluster);
        snapshot.external = snapshot.listener_of(names.external.as_deref());
        snapshot.local = snapshot.listener_of(names.local.as_deref());
        if snapshot.external.is_none() && !cluster.gateways.is_empty() {
            let mut others = snapshot.listeners.iter().enumerate();
            let other = others
                .find(|(index, listener)| listener.tls.is_none() && Some(*index) != snapshot.local);
            snapshot.external = other.map(|(index, _)| index);
        }
        snapshot.take_sides(names.local.as_deref());
        snapshot.add_sidecars(cluster, version, &mut warnings);
        for problems in [&mut errors, &mut warnings, &mut snapshot.unserved] {
            let found = std::mem::take(problems).into_iter();
            *problems = found.map(|p| p.located(&cluster.places)).collect();
            once(problems);
        }
        snapshot.warnings = warnings;
        if errors.is_empty() {
            Ok(snapshot)
        } else {
            Err(errors)
        }
    }

    fn add_listeners(
        &mut self,
        cluster: &Cluster,
        pods: &GatewayPods,
        traffic: &Traffic<'_>,
        version: IstioVersion,
        errors: &mut Vec<Problem>,
        warnings: &mut Vec<Problem>,
    ) {
        let builder = Builder::new(traffic, pods);
        let authorization = Arc::new(authorization(cluster, pods, version, warnings));
        let gateways = pods.gateways(cluster);
        let planned = planned(&gateways, &builder, warnings, &mut self.unserved);
        let unmodelled = unmodelled(&gateways, pods);
        let account = Account::of(cluster, pods);
        let connections = Arc::new(authorization.for_connections());
        let indexes = Arc::new(Indexes::new(&authorization.policies, &authorization.custom));
        let of_connections = Arc::new(Indexes::new(&connections.policies, &connections.custom));
        let token_rules: Arc<[TokenRule]> = token_rules(cluster, pods, version, warnings).into();
        let mut filter_warnings = Vec::new();
        let mut patches = Patches::of(cluster, pods, version, &mut filter_warnings);
        for chain_plan in planned {
            let (port, servers) = (chain_plan.port, chain_plan.servers);
            let index = self.listeners.len();
            let mut gateways: Vec<_> = servers
                .iter()
                .map(|(g, _)| (g.reference(), g.source.clone()))
                .collect();
            gateways.dedup();
            // Access annotations are errors, everything else about routes is not.
            let mut found = Vec::new();
            let opaque = chain_plan.opaque.is_some();
            let mut hosts = match chain_plan.opaque {
                Some(hosts) => hosts,
                None => builder.build(&servers, &mut found),
            };
            sort_out(found, errors, warnings);
            let authorization = if opaque { &connections } else { &authorization };
            let server_ports: Vec<u16> = servers.iter().map(|(_, s)| s.port.number).collect();
            let place = Place {
                port,
                server_ports: &server_ports,
                https: chain_plan.tls.as_ref().zip(servers.first()).map(
                    |(tls, (gateway, server))| Https {
                        tls,
                        gateway: gateway_key(gateway),
                        port_name: &server.port.name,
                    },
                ),
            };
            let tokens = !token_rules.is_empty();
            let mut chain = Chain::generated(authorization, tokens && !opaque, version);
            let mut not_understood = unmodelled.clone();
            not_understood.extend(unmodelled::of_servers(&servers));
            if !opaque {
                patches.listener(
                    &place,
                    &mut chain,
                    &mut not_understood,
                    &mut filter_warnings,
                );
            }
            let chain = chain.with_access();
            if !opaque {
                routepatch::apply(
                    &mut patches,
                    &place,
                    &chain,
                    &mut hosts,
                    &mut not_understood,
                    &mut filter_warnings,
                );
            }
            hosts.index();
            filter_warnings.extend(not_understood.iter().map(NotUnderstood::problem));
            // Told already, with the object it is in.
            not_understood.extend(builder.refused.take());
            not_understood.extend(unmodelled::unread(cluster));
            let plain = chain_plan.tls.is_none() && chain_plan.bind.is_empty() && !opaque;
            let leads_here = |exposed: &&ExposedPort| plain && exposed.listener == port;
            for exposed in pods.ports.iter().filter(leads_here) {
                self.own
                    .insert((exposed.service.clone(), exposed.port), index);
            }
            self.listeners.push(Listener {
                id: ListenerId {
                    gateway: Arc::clone(&pods.name),
                    port,
                    bind: chain_plan.bind.into(),
                },
                port,
                tls: chain_plan.tls,
                intake: Intake::of(
                    &pods.proxy,
                    cluster.mesh.path_normalization.normalization,
                    version,
                ),
                // Until it is known which listeners are whose entrance.
                side: Entrance::External,
                gateways,
                hosts,
                chain,
                not_understood,
                authorization: Arc::clone(authorization),
                opaque,
                indexes: Arc::clone(if opaque { &of_connections } else { &indexes }),
                token_rules: Arc::clone(&token_rules),
                principals: peer::trusted(cluster, &servers),
                account: account.clone(),
                sidecar: None,
            });
        }
        patches.finish(&mut filter_warnings);
        warnings.extend(filter_warnings);
    }

    fn listener_of(&self, gateway: Option<&str>) -> Option<usize> {
        let (namespace, name) = gateway?.split_once('/')?;
        self.listeners.iter().position(|listener| {
            let mut gateways = listener.gateways.iter();
            listener.tls.is_none()
                && !listener.opaque
                && gateways.any(|(g, _)| *g.namespace == *namespace && *g.name == *name)
        })
    }

    /// What arrives at a listener of the local Gateway comes from the cluster,
    /// unless the external one shares it.
    fn take_sides(&mut self, local: Option<&str>) {
        let external = self.external.filter(|index| Some(*index) != self.local);
        let Some((namespace, name)) = local.and_then(|local| local.split_once('/')) else {
            return;
        };
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let mut gateways = listener.gateways.iter();
            let is_local = gateways.any(|(g, _)| *g.namespace == *namespace && *g.name == *name);
            if is_local && Some(index) != external {
                listener.side = Entrance::Local;
            }
        }
    }

    /// How paths are normalised before anything looks at them.
    pub fn normalization(&self) -> Normalization {
        self.normalization
    }

    /// Whether access levels are enforced, and client-sent identity headers
    /// removed from every request.
    pub fn enforces(&self) -> bool {
        self.enforce
    }

    /// The Istio version whose semantics apply.
    pub fn istio_version(&self) -> IstioVersion {
        self.istio_version.unwrap_or(IstioVersion::NEWEST)
    }

    /// What deserves attention but does not keep the configuration from being used.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Servers whose requests are decided, but which a gateway for plain HTTP
    /// alone does not open.
    pub fn unserved(&self) -> &[Problem] {
        &self.unserved
    }

    /// Whether an entrance has a listener in this configuration.
    pub fn has(&self, entrance: Entrance) -> bool {
        self.entrance(entrance).is_some()
    }

    /// How many routes there are, over all listeners.
    pub fn route_count(&self) -> usize {
        let gateways = self.listeners.iter().take(self.gateway_listeners);
        gateways
            .flat_map(|l| l.hosts.all())
            .map(|vh| vh.routes.len())
            .sum()
    }

    /// Whether the cluster's API server is to say who may call some model.
    pub fn is_reviewed(&self) -> bool {
        let gateways = self.listeners.iter().take(self.gateway_listeners);
        let mut routes = gateways.flat_map(|l| l.hosts.all().flat_map(|vh| &vh.routes));
        routes.any(|route| route.access.bindings.as_ref().is_some_and(|b| b.reviewed))
    }

    /// What the routes of an InferenceService need.
    pub fn model_access(&self, namespace: &str, name: &str) -> Option<Arc<RouteAccess>> {
        let hosts = self
            .listeners
            .iter()
            .flat_map(|listener| listener.hosts.all());
        let mut routes = hosts.flat_map(|host| &host.routes);
        let found = routes.find(|route| {
            route.access.owner == Owner::Model
                && *route.object.namespace == *namespace
                && *route.object.name == *name
        });
        found.map(|route| Arc::clone(&route.access))
    }

    /// The listener that a request arrives at, or why its connection comes to
    /// nothing; `None` where nobody listens.
    pub(crate) fn arrival(&self, head: &RequestHead) -> Option<Result<&Listener, String>> {
        let tls = head.connection.tls.as_ref();
        let listener = match &head.connection.listener {
            None => self.entrance(head.entrance)?,
            Some(id) => {
                self.listeners.iter().find(|listener| listener.id == *id)?;
                let sni = tls.and_then(|tls| tls.sni.as_deref()).unwrap_or_default();
                match self.listener_for(id, sni) {
                    Some(view) => view.listener,
                    None => {
                        return Some(Err(format!(
                            "no server of port {} is for the server name `{sni}`",
                            id.port
                        )));
                    }
                }
            }
        };
        if let Some(unread) = listener.passes(tls) {
            return Some(Ok(unread));
        }
        Some(match (&listener.tls, tls) {
            (None, None) => Ok(listener),
            (Some(_), None) if listener.takes_plain() => Ok(listener),
            // Whatever is not read passes.
            (None, Some(_)) if listener.opaque => Ok(listener),
            (Some(server), None) if !server.terminates => Ok(listener),
            (None, Some(_)) => Err(format!("{} speaks plain text", listener.describe())),
            (Some(_), None) => Err(format!("{} speaks TLS only", listener.describe())),
            (Some(server), Some(client)) => match server.refuses(client).or_else(|| {
                let sidecar = listener.sidecar.as_ref();
                sidecar.and_then(|sidecar| sidecar.refuses(client))
            }) {
                None => Ok(listener),
                Some(why) => Err(format!("{}: {why}", listener.describe())),
            },
        })
    }

    /// Whether a request arrives where connections are not read.
    pub(crate) fn is_opaque(&self, head: &RequestHead) -> bool {
        head.connection.listener.is_some()
            && matches!(self.arrival(head), Some(Ok(listener)) if listener.opaque)
    }

    pub(crate) fn entrance(&self, entrance: Entrance) -> Option<&Listener> {
        let index = match entrance {
            Entrance::External => self.external,
            Entrance::Local => self.local,
        };
        self.listeners.get(index?)
    }

    pub(crate) fn own_listener(&self, service: &ServiceName, port: u16) -> Option<&Listener> {
        self.own
            .get(&(service.clone(), port))
            .and_then(|index| self.listeners.get(*index))
    }
}

/// Which Gateways the two entrances are.
struct Entrances {
    external: Option<String>,
    local: Option<String>,
}

impl Entrances {
    fn of(cluster: &Cluster) -> Self {
        let chosen = cluster
            .sidegate
            .as_ref()
            .map(|s| s.spec.entrances.clone())
            .unwrap_or_default();
        let exists = |name: &String| {
            cluster
                .gateways
                .iter()
                .any(|g| format!("{}/{}", g.meta.namespace, g.meta.name) == *name)
        };
        let ingress = &cluster.ingress;
        Self {
            external: chosen
                .external
                .or_else(|| Some(ingress.ingress_gateway.clone()).filter(exists)),
            local: chosen
                .local
                .or_else(|| Some(ingress.local_gateway.clone()).filter(exists)),
        }
    }
}

/// Access annotations are errors, everything else about routes is not.
fn sort_out(found: Vec<Problem>, errors: &mut Vec<Problem>, warnings: &mut Vec<Problem>) {
    let (bad, noted): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|problem| problem.message.starts_with("annotation "));
    errors.extend(bad);
    warnings.extend(noted);
}

/// The first of each.
fn once(problems: &mut Vec<Problem>) {
    let mut seen = HashSet::new();
    problems.retain(|p| seen.insert((p.object.clone(), p.message.clone())));
}

fn istio_version(
    cluster: &Cluster,
    settings: &Settings,
    errors: &mut Vec<Problem>,
) -> IstioVersion {
    if let Some(version) = settings.istio_version {
        return version;
    }
    let object = cluster
        .sidegate
        .as_ref()
        .and_then(|s| s.spec.istio_version.as_deref());
    let Some(text) = object.or(cluster.mesh_istio_version.as_deref()) else {
        return IstioVersion::NEWEST;
    };
    IstioVersion::parse(text).unwrap_or_else(|| {
        errors.push(Problem::general(format!(
            "Istio version `{text}`: expected a form like `1.16`"
        )));
        IstioVersion::NEWEST
    })
}

impl Listener {
    /// Whether a policy of an action is more than a dry run.
    pub(crate) fn enforces(&self, action: Action) -> bool {
        let mut policies = self.authorization.policies.iter();
        policies.any(|policy| policy.action == action)
    }

    /// The other end of the connection of a request on its hop to here.
    pub(crate) fn peer<'h>(
        &self,
        hop: u8,
        head: &'h RequestHead,
        sender: Option<Sender<'h>>,
    ) -> Peer<'h> {
        if hop > 0 {
            let peer = Peer {
                certificate: sender.and_then(|sender| sender.certificate),
                sni: sender.map_or("", |sender| sender.sni),
                ..Peer::behind(head, hop, self.intake.proxies)
            };
            return match &self.sidecar {
                Some(_) => peer.inside(head, self.opaque),
                None => peer,
            };
        }
        let proxies = if self.opaque { 0 } else { self.intake.proxies };
        let peer = Peer::of(head, self.tls.as_ref(), proxies);
        match self.intake.inside && !self.opaque {
            true => peer.told_by(head),
            false => peer,
        }
    }

    /// The object a step about this listener names.
    pub(crate) fn object(&self) -> Option<(ObjectRef, Source)> {
        self.gateways.first().cloned()
    }

    /// Whether it is a sidecar's that takes plain text besides mutual TLS.
    pub(crate) fn takes_plain(&self) -> bool {
        let sidecar = self.sidecar.as_ref();
        sidecar.is_some_and(|sidecar| sidecar.takes_plain)
    }

    /// Names of the Gateways merged here.
    pub(crate) fn describe(&self) -> Arc<str> {
        if self.sidecar.is_some() {
            return format!("port {} of the sidecar of {}", self.port, self.id.gateway).into();
        }
        let names: Vec<String> = self
            .gateways
            .iter()
            .map(|(g, _)| format!("{}/{}", g.namespace, g.name))
            .collect();
        let hosts = self.tls.as_ref().map(|tls| match tls.names.as_slice() {
            [] => " (TLS)".to_owned(),
            names => format!(" (TLS for {})", names.join(", ")),
        });
        format!(
            "port {} of {}{}",
            self.port,
            names.join(", "),
            hosts.unwrap_or_default()
        )
        .into()
    }
}

/// An object that a cluster might apply and that is not looked at here.
fn unread(unread: &Unread) -> Problem {
    Problem {
        object: Some(unread.object.clone()),
        source: Some(unread.source.clone()),
        message: format!(
            "apiVersion: `{}` is not a version that is read; the object is not looked at",
            unread.version
        ),
    }
}

/// A field that a cluster drops, or knows in a newer version.
fn unknown(error: &LoadError) -> Problem {
    let field = error.field.as_deref().unwrap_or_default();
    Problem {
        object: error.object.clone(),
        source: Some(Source {
            file: error.file.clone(),
            line: error.line,
            generated_from: None,
        }),
        message: format!("{field}: {}; it has no effect here", error.message),
    }
}
