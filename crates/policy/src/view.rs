//! The compiled configuration, to read: everything a decision depends on, as
//! borrowed views. Nothing here decides.

use std::sync::Arc;

use resources::{ObjectRef, Source};

use crate::access::RouteAccess;
use crate::authorization::Custom;
use crate::chain::{FilterStep, Override};
use crate::conditions::Condition;
use crate::connection::ListenerId;
use crate::digest::Digest;
use crate::permit::{Destination, HeaderChange};
use crate::providers::{Authorizer, AuthorizerKind};
use crate::request::{Entrance, RequestHead};
use crate::routes::{PathRewrite, Route, RouteAction};
use crate::rules::{Action, Policy};
use crate::snapshot::{Listener, Snapshot};
use crate::steps::{RouteStep, StepView};
use crate::tls::TlsServer;
use crate::vhosts::VirtualHost;

/// A listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerView<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) listener: &'a Listener,
    pub(crate) index: usize,
}

/// A virtual host.
#[derive(Clone, Copy, Debug)]
pub struct HostView<'a>(&'a VirtualHost);

/// A route.
#[derive(Clone, Copy, Debug)]
pub struct RouteView<'a>(&'a Route);

/// An external authorizer, in the order in which they are asked.
#[derive(Clone, Debug)]
pub struct AuthorizerView<'a> {
    authorizer: &'a Authorizer,
    /// What makes it asked: rules of CUSTOM policies, or `None` for every
    /// routed request.
    pub rules: Option<Vec<RuleView<'a>>>,
    /// It is broken, and so every request is denied.
    pub denies_all: bool,
    /// Rules of dry runs, which deny what they match.
    pub denying: Vec<RuleView<'a>>,
}

/// One rule of an AuthorizationPolicy.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleView<'a> {
    /// ALLOW, DENY or CUSTOM.
    pub action: RuleAction,
    /// The policy.
    pub object: &'a ObjectRef,
    /// Where it is written.
    pub source: &'a Source,
    /// Index in `spec.rules`.
    pub index: usize,
    /// What it matches.
    pub condition: Condition,
}

/// Action of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RuleAction {
    Allow,
    Deny,
    Custom,
}

/// How a route changes the path.
#[derive(Clone, Copy, Debug)]
pub enum RewriteView<'a> {
    /// Not at all.
    None,
    /// The matched prefix is replaced.
    Prefix {
        /// Prefix of the route.
        from: &'a str,
        /// What takes its place.
        to: &'a str,
    },
    /// The whole path is replaced.
    Whole(&'a str),
    /// By a regular expression.
    Regex,
}

/// One way on from a route.
#[derive(Clone, Debug)]
pub struct Way<'a> {
    /// Where to; `None` when the route answers by itself.
    pub destination: Option<&'a Destination>,
    /// There is no such Service in the configuration: answered with an error.
    pub missing: bool,
    /// New authority.
    pub authority: Option<&'a str>,
    /// Changes to the request's headers, in order.
    pub headers: Vec<&'a HeaderChange>,
}

impl Snapshot {
    /// All listeners of gateways.
    pub fn listeners(&self) -> impl Iterator<Item = ListenerView<'_>> {
        self.all_listeners().take(self.gateway_listeners)
    }

    /// The listeners of sidecars, which come after those.
    pub fn sidecars(&self) -> impl Iterator<Item = ListenerView<'_>> {
        self.all_listeners().skip(self.gateway_listeners)
    }

    pub(crate) fn view(&self, index: usize) -> Option<ListenerView<'_>> {
        let listener = self.listeners.get(index)?;
        Some(ListenerView {
            snapshot: self,
            listener,
            index,
        })
    }

    fn all_listeners(&self) -> impl Iterator<Item = ListenerView<'_>> {
        let all = self.listeners.iter().enumerate();
        all.map(|(index, listener)| ListenerView {
            snapshot: self,
            listener,
            index,
        })
    }

    /// The listener of that port: of the pods of the external entrance, else of
    /// the local one, else of any.
    pub fn listener_at(&self, port: u16) -> Option<ListenerView<'_>> {
        let gateway = |entrance| Some(self.entrance(entrance)?.id.gateway.clone());
        let preferred = [gateway(Entrance::External), gateway(Entrance::Local)];
        let rank = |view: &ListenerView<'_>| {
            let name = Some(&view.id().gateway);
            let mut known = preferred.iter();
            known
                .position(|known| known.as_ref() == name)
                .unwrap_or(preferred.len())
        };
        self.listeners()
            .filter(|view| view.port() == port)
            .min_by_key(rank)
    }

    /// Whether some listener's authorizer of that name is a login service.
    pub fn is_login(&self, authorizer: &str) -> bool {
        self.listeners.iter().any(|listener| {
            let custom = listener
                .authorization
                .custom
                .iter()
                .map(|custom| &custom.authorizer);
            let mut all = listener.chain.authorizers.iter().chain(custom);
            all.any(|known| known.login && *known.name == *authorizer)
        })
    }

    /// Which of the servers of a listener takes connections that ask for a
    /// server name; `""` for none, as in plain text.
    pub fn listener_for(&self, id: &ListenerId, sni: &str) -> Option<ListenerView<'_>> {
        let ranked = self.all_listeners().filter(|view| view.id() == id);
        let ranked = ranked.filter_map(|view| {
            let rank = view.tls().map_or(Some(0), |tls| tls.is_for(sni))?;
            Some((rank, view))
        });
        ranked.max_by_key(|(rank, _)| *rank).map(|(_, view)| view)
    }

    /// Exact paths of the identity provider that are open to everyone.
    pub fn provider_paths(&self) -> &[String] {
        &self.settings.provider_paths
    }

    /// Exact paths that the embedded login answers on platform routes.
    pub fn login_paths(&self) -> &[String] {
        &self.settings.login_paths
    }

    /// Both.
    pub fn open_paths(&self) -> impl Iterator<Item = &str> {
        let all = self.provider_paths().iter().chain(self.login_paths());
        all.map(String::as_str)
    }

    /// Routes that callers inside the mesh take to a host, before they reach any
    /// listener. Those limited to callers with some labels are among them.
    pub fn mesh_hosts(&self) -> impl Iterator<Item = HostView<'_>> {
        self.mesh.all().map(HostView)
    }

    /// The listener that a destination leads back to.
    pub fn next_listener(&self, destination: &Destination) -> Option<usize> {
        let Destination::Service { service, port } = destination else {
            return None;
        };
        let next = self.own_listener(service, *port)?;
        self.listeners.iter().position(|l| std::ptr::eq(l, next))
    }
}

impl<'a> ListenerView<'a> {
    pub(crate) fn version(&self) -> crate::IstioVersion {
        self.snapshot.istio_version()
    }

    /// Position among the listeners.
    pub fn index(&self) -> usize {
        self.index
    }

    /// What it is called in every configuration that has it.
    pub fn id(&self) -> &'a ListenerId {
        &self.listener.id
    }

    /// Whose access levels count for what arrives here.
    pub fn side(&self) -> Entrance {
        self.listener.side
    }

    /// The server, where it terminates TLS.
    pub fn tls(&self) -> Option<&'a TlsServer> {
        self.listener.tls.as_ref()
    }

    /// Connections are forwarded unread: requests are not looked at.
    pub fn is_opaque(&self) -> bool {
        self.listener.opaque
    }

    /// Proxies before it that add to `x-forwarded-for` and are trusted.
    pub fn trusted_proxies(&self) -> u32 {
        self.listener.intake.proxies
    }

    /// Listener port.
    pub fn port(&self) -> u16 {
        self.listener.port
    }

    /// `port 8080 of kubeflow/kubeflow-gateway, …`.
    pub fn describe(&self) -> Arc<str> {
        self.listener.describe()
    }

    /// The Gateways merged here.
    pub fn gateways(&self) -> &'a [(ObjectRef, Source)] {
        &self.listener.gateways
    }

    /// Whether a request arrives here.
    pub fn is_where(&self, head: &RequestHead) -> bool {
        let arrival = self.snapshot.arrival(head).and_then(Result::ok);
        arrival.is_some_and(|listener| std::ptr::eq(listener, self.listener))
    }

    /// Which entrance it is, if it is one.
    pub fn entrance(&self) -> Option<Entrance> {
        [Entrance::External, Entrance::Local]
            .into_iter()
            .find(|entrance| {
                self.snapshot
                    .entrance(*entrance)
                    .is_some_and(|l| std::ptr::eq(l, self.listener))
            })
    }

    /// Its virtual hosts, by name: `a.example.com`, `*.example.com` or `*`.
    pub fn hosts(&self) -> impl Iterator<Item = HostView<'a>> + use<'a> {
        self.listener.hosts.all().map(HostView)
    }

    /// The virtual host of a host, as [`host_name`](crate::host_name) gives it.
    pub fn host(&self, host: &str) -> Option<HostView<'a>> {
        self.listener.hosts.select(host).map(HostView)
    }

    /// The virtual host of that name.
    pub fn named(&self, name: &str) -> Option<HostView<'a>> {
        self.listener.hosts.named(name).map(HostView)
    }

    /// Its external authorizers, in the order in which they are asked.
    pub fn authorizers(&self) -> Vec<AuthorizerView<'a>> {
        let steps = self.listener.chain.filters.iter();
        steps
            .filter_map(|filter| match &filter.step {
                FilterStep::Authorizer(number) => {
                    let authorizer = self.listener.chain.authorizers.get(*number)?;
                    Some(AuthorizerView::inserted(authorizer))
                }
                FilterStep::Gate(number) => self
                    .listener
                    .authorization
                    .custom
                    .get(*number)
                    .map(AuthorizerView::custom),
                _ => None,
            })
            .collect()
    }

    /// The same without the rules of CUSTOM policies, which are many.
    pub fn bare_authorizers(&self) -> Vec<AuthorizerView<'a>> {
        let steps = self.bare_steps().into_iter();
        let authorizers = steps.filter_map(|step| match step {
            StepView::Gate { authorizer, .. } | StepView::Authorizer(authorizer) => {
                Some(authorizer)
            }
            _ => None,
        });
        authorizers.collect()
    }

    /// Its DENY and ALLOW rules.
    pub fn rules(&self) -> Vec<RuleView<'a>> {
        let of = |policy: &'a Policy| match policy.action {
            Action::Allow => rules(policy, RuleAction::Allow),
            Action::Deny => rules(policy, RuleAction::Deny),
            Action::Audit | Action::Custom => Vec::new(),
        };
        self.listener
            .authorization
            .policies
            .iter()
            .flat_map(of)
            .collect()
    }

    /// Whether there is an ALLOW policy: then what no rule of one matches is denied.
    pub fn denies_by_default(&self) -> bool {
        let mut policies = self.listener.authorization.policies.iter();
        policies.any(|policy| policy.action == Action::Allow)
    }
}

pub(crate) fn rules(policy: &Policy, action: RuleAction) -> Vec<RuleView<'_>> {
    let rules = policy.rules.iter().map(|rule| RuleView {
        action,
        object: &policy.object,
        source: &policy.source,
        index: rule.index,
        condition: rule.condition(),
    });
    rules.collect()
}

impl<'a> AuthorizerView<'a> {
    /// Inserted by an EnvoyFilter: asked about every routed request.
    pub(crate) fn inserted(authorizer: &'a Authorizer) -> Self {
        Self {
            authorizer,
            rules: None,
            denies_all: false,
            denying: Vec::new(),
        }
    }

    /// Of CUSTOM policies.
    pub(crate) fn custom(custom: &'a Custom) -> Self {
        let policies = custom.policies.iter();
        Self {
            rules: Some(
                policies
                    .flat_map(|p| rules(p, RuleAction::Custom))
                    .collect(),
            ),
            ..Self::bare(custom)
        }
    }

    /// The same without the rules that make it asked.
    pub(crate) fn bare(custom: &'a Custom) -> Self {
        Self {
            authorizer: &custom.authorizer,
            rules: Some(Vec::new()),
            denies_all: custom.denies_all,
            denying: custom
                .denying
                .iter()
                .flat_map(|p| rules(p, RuleAction::Deny))
                .collect(),
        }
    }

    /// Whether it is asked over gRPC.
    pub fn is_grpc(&self) -> bool {
        self.authorizer.grpc
    }

    /// Provider name, or what the EnvoyFilter's filter is called in messages.
    pub fn name(&self) -> &'a str {
        &self.authorizer.name
    }

    /// Whether it is a login service.
    pub fn is_login(&self) -> bool {
        self.authorizer.login
    }

    /// Why it cannot be asked, if it cannot: what needs it is denied.
    pub fn broken(&self) -> Option<&'a str> {
        match &self.authorizer.kind {
            AuthorizerKind::Broken(why) => Some(why),
            AuthorizerKind::Http(_) => None,
        }
    }

    /// Headers of its answer that it puts on the request.
    pub fn headers_to_upstream(&self) -> &'a [String] {
        self.settings()
            .map_or(&[], |s| &s.headers_to_upstream_on_allow)
    }

    /// How it is asked, if it can be.
    pub fn settings(&self) -> Option<&'a resources::mesh::ExtAuthzHttp> {
        match &self.authorizer.kind {
            AuthorizerKind::Broken(_) => None,
            AuthorizerKind::Http(settings) => Some(settings),
        }
    }

    /// The object that installs it.
    pub fn object(&self) -> (&'a ObjectRef, &'a Source) {
        (&self.authorizer.object, &self.authorizer.source)
    }
}

impl<'a> HostView<'a> {
    /// `a.example.com`, `*.example.com` or `*`, lower case.
    pub fn name(&self) -> &'a str {
        &self.0.name
    }

    /// What stands for all of it: where it is the same in another
    /// configuration, so is the virtual host.
    pub fn digest(&self) -> Option<Digest> {
        self.0.digest
    }

    /// Whether another configuration has just the same at this name.
    pub fn is_like(&self, other: HostView<'_>) -> bool {
        self.0.is_like(other.0)
    }

    /// Plain HTTP is redirected to HTTPS after authorization.
    pub fn requires_tls(&self) -> bool {
        self.0.require_tls
    }

    /// Routes; the first that matches serves.
    pub fn routes(&self) -> impl Iterator<Item = RouteView<'a>> + use<'a> {
        self.0.routes.iter().map(|route| RouteView(route))
    }
}

impl<'a> RouteView<'a> {
    /// What it matches.
    pub fn condition(&self) -> Condition {
        self.0.condition.condition()
    }

    /// The same in words, a text for each part; nothing where it matches all.
    pub fn matches(&self) -> Vec<String> {
        self.0.condition.describe()
    }

    /// Owner and access levels.
    pub fn access(&self) -> &'a RouteAccess {
        &self.0.access
    }

    /// What EnvoyFilters configure here for a step of the listener.
    pub fn step(&self, step: usize) -> RouteStep<'a> {
        RouteStep::of(self.0.overrides.get(step))
    }

    /// Whether requests that have this route at first have other filters than
    /// those of other routes, also if they have another later.
    pub fn has_filters_of_its_own(&self, listener: &ListenerView<'_>) -> bool {
        let filters = listener.listener.chain.filters.iter();
        let said = filters.map(|filter| filter.disabled).enumerate();
        said.map(|(index, disabled)| (self.0.overrides.get(index), disabled))
            .any(|(said, disabled)| match said {
                Some(Override::Absent) => !disabled,
                Some(_) => disabled,
                None => false,
            })
    }

    /// The object it comes from.
    pub fn object(&self) -> &'a ObjectRef {
        &self.0.object
    }

    /// Where that is written.
    pub fn source(&self) -> &'a Source {
        &self.0.source
    }

    /// `http[2]`, with the route's name if it has one.
    pub fn place(&self) -> &'a str {
        &self.0.place
    }

    /// How the path changes.
    pub fn rewrite(&self) -> RewriteView<'a> {
        match &self.0.rewrite {
            None => RewriteView::None,
            Some(PathRewrite::Prefix { from, to }) => RewriteView::Prefix { from, to },
            Some(PathRewrite::Whole(to)) => RewriteView::Whole(to),
            Some(PathRewrite::Regex { .. }) => RewriteView::Regex,
        }
    }

    /// Whether a CORS policy answers preflights here.
    pub fn answers_preflights(&self) -> bool {
        self.0.cors.is_some() && !self.aborts()
    }

    /// Whether a fault answers every request, before CORS and what comes later.
    pub fn aborts(&self) -> bool {
        self.0.abort.is_some()
    }

    /// Where it leads; one way for each destination with a weight.
    pub fn ways(&self) -> Vec<Way<'a>> {
        let all = match &self.0.action {
            RouteAction::Forward(all) if !self.aborts() => all,
            _ => {
                return vec![Way {
                    destination: None,
                    missing: false,
                    authority: None,
                    headers: Vec::new(),
                }];
            }
        };
        let with_weight = all.iter().filter(|w| w.weight > 0);
        with_weight
            .map(|w| Way {
                destination: Some(&w.destination),
                missing: w.missing.is_some(),
                authority: w.authority.as_deref().or(self.0.authority.as_deref()),
                headers: w
                    .request_headers
                    .iter()
                    .chain(&*self.0.request_headers)
                    .collect(),
            })
            .collect()
    }
}
