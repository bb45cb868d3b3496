//! The listeners of sidecars: a port of pods behind a Service, with the policies
//! of those pods (istio `listener_inbound.go`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use resources::core::{Service, ServicePort};
use resources::istio::RouteDestination;
use resources::istio::{Destination as Written, HttpRoute, MutualTlsMode as Mode, PortSelector};
use resources::rbac::ModelKind;
use resources::{Cluster, Object, ObjectRef, ServiceName, Source};

use crate::access::{AccessLevel, Limits, Owner, RouteAccess, RouteTarget};
use crate::authorization::{Authorization, authorization};
use crate::backing::{Backing, Backings};
use crate::chain::Chain;
use crate::connection::ListenerId;
use crate::index::Indexes;
use crate::injection::Injected;
use crate::intake::Intake;
use crate::mutual::{Link, PeerModes, Target};
use crate::opaque::{NotUnderstood, Scope};
use crate::peer::TrustDomains;
use crate::permit::Destination;
use crate::request::Entrance;
use crate::routes::{Route, Surroundings};
use crate::rules::Attribute;
use crate::settings::{IstioVersion, Problem};
use crate::sidecarfilters::of_sidecar;
use crate::sidecars::{Account, Sidecar, SidecarWay, Spoken};
use crate::snapshot::{Listener, Snapshot};
use crate::tls::{ClientCertificates, TlsServer};
use crate::tokenrules::{TokenRule, token_rules};
use crate::vhosts::{VirtualHost, VirtualHosts};
use crate::workloads::{GatewayPods, selects};

/// Compiles the sidecars of a configuration.
pub(crate) struct Compiler<'a, 'c> {
    cluster: &'c Cluster,
    version: IstioVersion,
    modes: PeerModes<'c>,
    backings: Backings<'c>,
    /// Namespaces that gateways are in.
    clients: HashSet<Arc<str>>,
    /// What is the same for pods with the same policies.
    shared: HashMap<PodsKey, Arc<Policies>>,
    /// Listeners by pods and port.
    known: HashMap<(Arc<str>, u16), Option<usize>>,
    warnings: &'a mut Vec<Problem>,
}

/// Namespace and labels: all that policies select by.
type PodsKey = (Arc<str>, BTreeMap<String, String>);

/// The policies of some pods.
struct Policies {
    authorization: Arc<Authorization>,
    connections: Arc<Authorization>,
    tokens: Arc<[TokenRule]>,
    opaque: Vec<NotUnderstood>,
}

impl Policies {
    fn is_none(&self) -> bool {
        let Authorization {
            policies,
            dry_runs: _,
            custom,
            digest: _,
        } = &*self.authorization;
        policies.is_empty() && custom.is_empty() && self.tokens.is_empty() && self.opaque.is_empty()
    }
}

impl Snapshot {
    /// Adds the sidecars before pods that routes lead to.
    pub(crate) fn add_sidecars(
        &mut self,
        cluster: &Cluster,
        version: IstioVersion,
        warnings: &mut Vec<Problem>,
    ) {
        self.gateway_listeners = self.listeners.len();
        let root = cluster.mesh.root_namespace.as_deref();
        let root = root.unwrap_or("istio-system");
        let gateways = self.listeners.iter();
        let clients = gateways.filter_map(|l| l.account.namespace().map(Arc::from));
        let mut compiler = Compiler {
            cluster,
            version,
            modes: PeerModes::new(cluster, root),
            backings: Backings::new(cluster, root),
            clients: clients.collect(),
            shared: HashMap::new(),
            known: HashMap::new(),
            warnings,
        };
        let gateways = GatewayPods::all(cluster);
        // Of several Services that lead to one port the oldest says what is spoken.
        let mut services: Vec<&Object<Service>> = cluster.services.iter().collect();
        services.sort_by(|a, b| a.age_order().cmp(&b.age_order()));
        for service in services {
            let selector = &service.spec.selector;
            let is_gateway = |pods: &GatewayPods| {
                *pods.namespace == *service.meta.namespace && selects(selector, &pods.labels)
            };
            if selector.is_empty() || !gateways.iter().any(is_gateway) {
                compiler.service(self, service);
            }
        }
    }
}

impl Compiler<'_, '_> {
    fn service(&mut self, snapshot: &mut Snapshot, service: &Object<Service>) {
        let name = ServiceName {
            namespace: service.meta.namespace.as_str().into(),
            name: service.meta.name.as_str().into(),
        };
        let found = self.backings.of(service);
        for port in &service.spec.ports {
            if snapshot.own_listener(&name, port.port).is_some() {
                continue;
            }
            // One that does something stands for all, if all do it.
            let mut all = found.iter();
            let chosen = all.find_map(|one| {
                let number = one.port(&name, port);
                let listener = self.listener(snapshot, one, service, port, number)?;
                Some((one, number, listener))
            });
            let Some((first, number, listener)) = chosen else {
                continue;
            };
            if first.injected == Injected::Ambient {
                let whose = (service.reference(), service.source.clone());
                note(snapshot, listener, whose, "spec.selector", AMBIENT);
            }
            let mut differs = |other: &Backing| {
                other.port(&name, port) != number || !self.alike(first, other, number)
            };
            if found.iter().any(&mut differs) {
                let whose = (service.reference(), service.source.clone());
                note(
                    snapshot,
                    listener,
                    whose,
                    "spec.selector",
                    "pods with different policies behind one Service, of which one answers,",
                );
            }
            let mut clients = self.clients.iter();
            if let Some(rule) = clients.find_map(|c| self.modes.subset_tls(c, &name, port.port)) {
                let whose = (rule.reference(), rule.source.clone());
                note(
                    snapshot,
                    listener,
                    whose,
                    "spec.subsets",
                    "TLS of single subsets",
                );
            }
            let policies = self.policies(first);
            let mut clients = self.clients.iter();
            if policies.authorization.looks_at(&Attribute::Sni)
                && let Some(rule) = clients.find_map(|c| self.modes.subsets(c, &name))
            {
                let whose = (rule.reference(), rule.source.clone());
                note(
                    snapshot,
                    listener,
                    whose,
                    "spec.subsets",
                    "the server name of connections to a subset, which rules look at,",
                );
            }
            let links = self.links(first, &name, port.port, number);
            let way = SidecarWay { listener, links };
            snapshot.sidecars.insert((name.clone(), port.port), way);
        }
    }

    fn links(
        &self,
        backing: &Backing,
        service: &ServiceName,
        port: u16,
        number: u16,
    ) -> BTreeMap<Arc<str>, Link> {
        let pods = &backing.pods;
        let target = Target {
            service,
            port,
            labels: &pods.labels,
            mode: self.modes.of_port(&pods.namespace, &pods.labels, number),
        };
        let clients = self.clients.iter();
        clients
            .map(|client| (Arc::clone(client), self.modes.link(client, &target)))
            .collect()
    }

    /// Whether two of a Service's pods treat requests the same.
    fn alike(&mut self, one: &Backing, other: &Backing, port: u16) -> bool {
        let mode = |backing: &Backing| {
            let pods = &backing.pods;
            self.modes.of_port(&pods.namespace, &pods.labels, port)
        };
        let same = one.injected == other.injected
            && one.waypoint == other.waypoint
            && one.pods.proxy == other.pods.proxy;
        if !same || mode(one) != mode(other) {
            return false;
        }
        let (one, other) = (self.policies(one), self.policies(other));
        let objects = |policies: &Policies| -> Vec<ObjectRef> {
            let Authorization {
                policies: all,
                custom,
                ..
            } = &*policies.authorization;
            let of_custom = custom
                .iter()
                .flat_map(|c| c.policies.iter().chain(&c.denying));
            let named = all.iter().chain(of_custom).map(|p| p.object.clone());
            let tokens = policies.tokens.iter().map(|rule| rule.object.clone());
            let mut named: Vec<ObjectRef> = named.chain(tokens).collect();
            named.sort();
            named
        };
        Arc::ptr_eq(&one, &other) || objects(&one) == objects(&other) && one.opaque == other.opaque
    }

    fn policies(&mut self, backing: &Backing) -> Arc<Policies> {
        let pods = &backing.pods;
        let key = (Arc::clone(&pods.namespace), pods.labels.clone());
        if let Some(known) = self.shared.get(&key) {
            return Arc::clone(known);
        }
        let (cluster, version) = (self.cluster, self.version);
        let authorization = Arc::new(authorization(cluster, pods, version, self.warnings));
        let mut opaque = of_sidecar(cluster, pods, version);
        opaque.extend(self.backings.undetermined(backing));
        let made = Arc::new(Policies {
            connections: Arc::new(authorization.for_connections()),
            authorization,
            tokens: token_rules(cluster, pods, version, self.warnings).into(),
            opaque,
        });
        self.shared.insert(key, Arc::clone(&made));
        made
    }

    /// The listener of a port of pods; none where nothing happens there.
    fn listener(
        &mut self,
        snapshot: &mut Snapshot,
        backing: &Backing,
        service: &Object<Service>,
        port: &ServicePort,
        number: u16,
    ) -> Option<usize> {
        if backing.injected == Injected::No {
            return None;
        }
        let key = (Arc::clone(&backing.pods.name), number);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let mode = {
            let pods = &backing.pods;
            self.modes.of_port(&pods.namespace, &pods.labels, number)
        };
        let policies = self.policies(backing);
        if backing.injected == Injected::Yes {
            let opaque = policies.opaque.iter();
            self.warnings.extend(opaque.map(NotUnderstood::problem));
        }
        let matters = backing.injected == Injected::Yes
            || backing.waypoint
            || !policies.is_none()
            || matches!(mode, Mode::Strict | Mode::Disable);
        let made = matters
            .then(|| self.compile(snapshot, backing, service, port, number, mode, &policies));
        let index = made.flatten().and_then(|listener| {
            snapshot.listeners.push(listener);
            snapshot.listeners.len().checked_sub(1)
        });
        self.known.insert(key, index);
        index
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is part of what a listener is"
    )]
    fn compile(
        &self,
        snapshot: &Snapshot,
        backing: &Backing,
        service: &Object<Service>,
        port: &ServicePort,
        number: u16,
        mode: Mode,
        policies: &Policies,
    ) -> Option<Listener> {
        let spoken = Spoken::of(port);
        let listener = |opaque: bool, raw: Option<Listener>| {
            self.part(
                (snapshot, backing),
                service,
                port,
                number,
                mode,
                policies,
                (opaque, raw),
            )
        };
        let raw = match spoken {
            Spoken::Unsaid => Some(listener(true, None)?),
            Spoken::Http | Spoken::Anything => None,
        };
        listener(spoken == Spoken::Anything, raw)
    }

    /// What takes connections of one kind there.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is part of what a listener is"
    )]
    fn part(
        &self,
        (snapshot, backing): (&Snapshot, &Backing),
        service: &Object<Service>,
        port: &ServicePort,
        number: u16,
        mode: Mode,
        policies: &Policies,
        (opaque, raw): (bool, Option<Listener>),
    ) -> Option<Listener> {
        let authorization = match opaque {
            true => &policies.connections,
            false => &policies.authorization,
        };
        let tokens = !policies.tokens.is_empty() && !opaque;
        let pods = &backing.pods;
        let route = inner_route(service, port.port)?;
        let mut hosts = VirtualHosts::from(vec![VirtualHost {
            name: "*".to_owned(),
            server_port: number,
            routes: vec![Arc::new(route)],
            ..VirtualHost::default()
        }]);
        hosts.index();
        Some(Listener {
            id: ListenerId {
                gateway: Arc::clone(&pods.name),
                port: number,
                bind: "".into(),
            },
            port: number,
            tls: (mode != Mode::Disable).then(|| TlsServer {
                names: Vec::new(),
                terminates: true,
                clients: ClientCertificates::Required,
                accepted: Vec::new(),
                speaks_none: false,
            }),
            intake: Intake::of_sidecar(&pods.proxy, snapshot.normalization, self.version),
            opaque,
            side: Entrance::Local,
            gateways: vec![(service.reference(), service.source.clone())],
            hosts,
            chain: Chain::generated(authorization, tokens, self.version),
            not_understood: policies.opaque.clone(),
            indexes: Arc::new(Indexes::new(&authorization.policies, &authorization.custom)),
            authorization: Arc::clone(authorization),
            token_rules: Arc::clone(&policies.tokens),
            principals: Vec::new(),
            account: Account::of(self.cluster, pods),
            sidecar: Some(Sidecar {
                uncertain: match &backing.injected {
                    Injected::Unknown(why) => Some(why.clone()),
                    Injected::Ambient => Some("ambient mode, which is not followed".to_owned()),
                    Injected::Yes | Injected::No => None,
                },
                takes_plain: mode != Mode::Strict,
                domains: TrustDomains::of(&self.cluster.mesh).prefixes(),
                sender_unclear: backing.sender_unclear.clone(),
                raw: raw.map(Box::new),
            }),
        })
    }
}

const AMBIENT: &str = "ambient mode, whose ztunnel and waypoints apply policies in their own way,";

fn note(
    snapshot: &mut Snapshot,
    listener: usize,
    (object, source): (ObjectRef, Source),
    place: &str,
    why: &str,
) {
    let what = NotUnderstood {
        object,
        source,
        place: place.to_owned(),
        why: why.to_owned(),
        scope: Scope::Listener,
    };
    if let Some(listener) = snapshot.listeners.get_mut(listener)
        && !listener.not_understood.contains(&what)
    {
        listener.not_understood.push(what);
    }
}

/// The one route there is: to the pod itself.
fn inner_route(service: &Object<Service>, port: u16) -> Option<Route> {
    let http = HttpRoute {
        route: vec![RouteDestination {
            destination: Written {
                host: service.meta.name.clone(),
                port: Some(PortSelector { number: port }),
                ..Written::default()
            },
            weight: 1,
            headers: None,
        }],
        ..HttpRoute::default()
    };
    let (object, source): (ObjectRef, Source) = (service.reference(), service.source.clone());
    let place = format!("spec.ports {port}");
    let destination = Destination::Service {
        service: ServiceName {
            namespace: service.meta.namespace.as_str().into(),
            name: service.meta.name.as_str().into(),
        },
        port,
    };
    let around = Surroundings {
        object: &object,
        source: &source,
        label: format!("{}/{} {place}", object.namespace, object.name).into(),
        place: place.into(),
        access: Arc::new(RouteAccess {
            owner: Owner::Foreign,
            external: AccessLevel::AsWritten,
            local: AccessLevel::AsWritten,
            limits: Limits::default(),
            target: RouteTarget {
                namespace: object.namespace.as_ref().into(),
                kind: ModelKind::default(),
                model: None,
            },
            bindings: None,
        }),
        port,
        tls: false,
        resolve: &|_| (destination.clone(), None),
    };
    Route::compile(&http, None, &around, &mut Vec::new()).ok()
}
