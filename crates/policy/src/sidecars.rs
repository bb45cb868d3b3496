//! Sidecars: what stands before pods behind Services, as one more crossing with
//! policies of its own (istio `listener_inbound.go`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use resources::core::{Service, ServicePort};
use resources::istio::RouteDestination;
use resources::istio::{Destination as Written, HttpRoute, MutualTlsMode as Mode, PortSelector};
use resources::{Cluster, Object, ObjectRef, ServiceName, Source};

use crate::access::{AccessLevel, Limits, Owner, RouteAccess};
use crate::authorization::{Authorization, authorization};
use crate::backing::{Backing, Backings};
use crate::chain::Chain;
use crate::connection::{Certificate, ClientTls, ListenerId};
use crate::index::Indexes;
use crate::injection::Injected;
use crate::intake::Intake;
use crate::mutual::{Link, PeerModes, Target};
use crate::opaque::NotUnderstood;
use crate::peer::TrustDomains;
use crate::permit::Destination;
use crate::request::Entrance;
use crate::routes::{Route, Surroundings};
use crate::rules::Attribute;
use crate::settings::{IstioVersion, Problem};
use crate::sidecarfilters::of_sidecar;
use crate::snapshot::{Listener, Snapshot};
use crate::tls::{ClientCertificates, TlsServer};
use crate::tokenrules::{TokenRule, token_rules};
use crate::vhosts::{VirtualHost, VirtualHosts};
use crate::workloads::{GatewayPods, selects};

/// What makes a listener that of a sidecar.
#[derive(Debug, PartialEq)]
pub(crate) struct Sidecar {
    /// Why it is not known whether the pods have one: then none is assumed.
    pub(crate) uncertain: Option<String>,
    /// Plain text is taken too.
    pub(crate) takes_plain: bool,
    /// What names of clients of the mesh begin with.
    domains: Vec<String>,
    /// Why it is not known who sends requests on to here.
    pub(crate) sender_unclear: Option<String>,
}

impl Sidecar {
    /// Why a handshake fails, if it does: the client is of no trust domain of
    /// the mesh (istio `TrustDomainsForValidation`).
    pub(crate) fn refuses(&self, client: &ClientTls) -> Option<&'static str> {
        let mut uris = client.certificate.iter().flat_map(|shown| &shown.uris);
        let known = uris.any(|uri| self.domains.iter().any(|own| uri.starts_with(own)));
        (client.certificate.is_some() && !known)
            .then_some("the client certificate is of no trust domain of the mesh")
    }
}

/// A port of a Service whose pods have a sidecar.
#[derive(Debug, PartialEq)]
pub(crate) struct SidecarWay {
    /// Its listener.
    pub(crate) listener: usize,
    /// What gateways speak to it, by their namespace.
    links: BTreeMap<Arc<str>, Link>,
}

/// Whom a sidecar takes a gateway for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Account {
    pub(crate) certificate: Certificate,
    /// Why it is a guess.
    pub(crate) guessed: Option<String>,
}

/// The ServiceAccount that Istio's installation gives its ingress gateway.
const INGRESS: &str = "istio-ingressgateway-service-account";

impl Account {
    /// Of the pods of a gateway.
    pub(crate) fn of(cluster: &Cluster, pods: &GatewayPods) -> Self {
        let mut names: Vec<&str> = cluster
            .workloads
            .iter()
            .filter(|w| *w.meta.namespace == *pods.namespace && w.spec.labels == pods.labels)
            .map(|w| w.spec.pod.service_account_name.as_deref())
            .map(|name| name.unwrap_or("default"))
            .collect();
        names.sort_unstable();
        names.dedup();
        let guessed = match names.len() {
            0 => Some(format!(
                "the YAML has no workload of gateway {}, its ServiceAccount is taken to be `{INGRESS}`",
                pods.name
            )),
            1 => None,
            _ => Some(format!(
                "workloads of gateway {} have several ServiceAccounts",
                pods.name
            )),
        };
        let name = names.first().copied().unwrap_or(INGRESS);
        let identity = TrustDomains::of(&cluster.mesh).identity(&pods.namespace, name);
        Self {
            certificate: Certificate::of(&identity),
            guessed,
        }
    }
}

/// A gateway at the other end of mutual TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender<'a> {
    pub(crate) certificate: &'a Certificate,
    /// The server name that it asks for.
    pub(crate) sni: &'a str,
}

/// What a sidecar makes of the connection of a gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meeting<'a> {
    /// It knows the gateway by this; by nothing over plain text.
    Takes(Option<Sender<'a>>),
    /// The connection comes to nothing.
    Refuses(&'static str),
}

impl SidecarWay {
    /// How a gateway and the sidecar meet.
    pub(crate) fn meet<'a>(&'a self, gateway: &'a Listener, sidecar: &Listener) -> Meeting<'a> {
        let Some(own) = &sidecar.sidecar else {
            return Meeting::Takes(None);
        };
        match self.link(gateway) {
            Some(Link::Mutual(_)) if sidecar.tls.is_none() => Meeting::Refuses(
                "the gateway speaks mutual TLS, and the sidecar plain text (PeerAuthentication DISABLE)",
            ),
            Some(Link::Mutual(sni)) => Meeting::Takes(Some(Sender {
                certificate: &gateway.account.certificate,
                sni,
            })),
            Some(Link::Plain) if !own.takes_plain => Meeting::Refuses(
                "the gateway speaks plain text, and the sidecar mutual TLS only (PeerAuthentication STRICT)",
            ),
            Some(Link::Plain | Link::Foreign) | None => Meeting::Takes(None),
        }
    }

    fn link(&self, gateway: &Listener) -> Option<&Link> {
        self.links.get(gateway.account.namespace()?)
    }

    /// Why what the sidecar makes of requests of a gateway is not known.
    pub(crate) fn unclear(&self, gateway: &Listener) -> Option<&'static str> {
        matches!(self.link(gateway), Some(Link::Foreign) | None).then_some(
            "a DestinationRule makes the gateway speak TLS that is not the mesh's, which is not followed",
        )
    }
}

impl Account {
    fn namespace(&self) -> Option<&str> {
        let uri = self.certificate.uris.first()?;
        uri.split('/').skip_while(|part| *part != "ns").nth(1)
    }
}

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

impl Snapshot {
    /// The sidecar that a destination is behind, and the way there.
    pub(crate) fn sidecar_of(&self, destination: &Destination) -> Option<(&SidecarWay, &Listener)> {
        let way = self.sidecars.get(&destination.service_port()?)?;
        Some((way, self.listeners.get(way.listener)?))
    }
}

impl Compiler<'_, '_> {
    fn service(&mut self, snapshot: &mut Snapshot, service: &Object<Service>) {
        let name = ServiceName {
            namespace: service.meta.namespace.as_str().into(),
            name: service.meta.name.as_str().into(),
        };
        let found = self.backings.of(service);
        let Some((first, others)) = found.split_first() else {
            return;
        };
        for port in &service.spec.ports {
            if snapshot.own_listener(&name, port.port).is_some() {
                continue;
            }
            let number = first.port(&name, port);
            let Some(listener) = self.listener(snapshot, first, service, port, number) else {
                continue;
            };
            if others.iter().any(|other| !self.alike(first, other, number)) {
                note(
                    snapshot,
                    listener,
                    NotUnderstood {
                        object: service.reference(),
                        source: service.source.clone(),
                        place: "spec.selector".to_owned(),
                        why:
                            "pods with different policies behind one Service, of which one answers,"
                                .to_owned(),
                        scope: crate::opaque::Scope::Listener,
                    },
                );
            }
            let mut clients = self.clients.iter();
            if let Some(rule) = clients.find_map(|c| self.modes.subset_tls(c, &name, port.port)) {
                note(
                    snapshot,
                    listener,
                    NotUnderstood {
                        object: rule.reference(),
                        source: rule.source.clone(),
                        place: "spec.subsets".to_owned(),
                        why: "TLS of single subsets".to_owned(),
                        scope: crate::opaque::Scope::Listener,
                    },
                );
            }
            let policies = self.policies(first);
            let mut clients = self.clients.iter();
            if policies.authorization.looks_at(&Attribute::Sni)
                && let Some(rule) = clients.find_map(|c| self.modes.subsets(c, &name))
            {
                note(
                    snapshot,
                    listener,
                    NotUnderstood {
                        object: rule.reference(),
                        source: rule.source.clone(),
                        place: "spec.subsets".to_owned(),
                        why: "the server name of connections to a subset, which rules look at,"
                            .to_owned(),
                        scope: crate::opaque::Scope::Listener,
                    },
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
        if one.injected != other.injected || mode(one) != mode(other) {
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
        let opaque = !is_http(port);
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
            account: Account::of(self.cluster, pods),
            sidecar: Some(Sidecar {
                uncertain: match &backing.injected {
                    Injected::Unknown(why) => Some(why.clone()),
                    Injected::Yes | Injected::No => None,
                },
                takes_plain: mode != Mode::Strict,
                domains: TrustDomains::of(&self.cluster.mesh).prefixes(),
                sender_unclear: backing.sender_unclear.clone(),
            }),
        })
    }
}

fn note(snapshot: &mut Snapshot, listener: usize, what: NotUnderstood) {
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
        }),
        port,
        tls: false,
        resolve: &|_| (destination.clone(), None),
    };
    Route::compile(&http, None, &around, &mut Vec::new()).ok()
}

/// Whether requests are looked at there, and not only connections: what is not
/// said is found out by looking (istio `kube.ConvertProtocol`).
fn is_http(port: &ServicePort) -> bool {
    let named = match &port.app_protocol {
        Some(protocol) => protocol.as_str(),
        None => {
            let name = port.name.as_deref().unwrap_or_default();
            name.split('-').next().unwrap_or_default()
        }
    };
    match named.to_ascii_lowercase().as_str() {
        "http" | "http2" | "http_proxy" | "grpc" | "kubernetes.io/h2c" | "kubernetes.io/ws" => true,
        "tcp" | "tls" | "https" | "mongo" | "mysql" | "redis" | "udp" | "kubernetes.io/wss" => {
            false
        }
        _ => !NOT_LOOKED_AT.contains(&port.port),
    }
}

/// Ports of a Service where it is not found out by looking: SMTP, DNS, MySQL,
/// MongoDB.
const NOT_LOOKED_AT: [u16; 4] = [25, 53, 3306, 27017];
