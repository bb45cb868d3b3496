//! The configuration in force, for checks.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ext_authz::Host;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, StatusCode, header};
use identity::{AuthserviceConfig, Identity, IdentitySigner, Issuers, Oauth2ProxyConfig, Parts};
use policy::{AccessAnswer, AccessCheck, Audience, Caller, Reply, RequestHead, Snapshot, Tokens};
use resources::sidegate::SignedIdentity;
use resources::{Cluster, Places};

use super::IdentityHeaders;
use crate::backends::Backends;
use crate::documents::Documents;
use crate::health::Logouts;
use crate::issuers;
use crate::live;
use crate::login::{Elsewhere, Login};
use crate::output::{self, BadInput, Style};
use crate::{providers, signed_identity};

/// One configuration, compiled.
pub(crate) struct Live {
    snapshot: Arc<Snapshot>,
    pub(crate) cluster: Cluster,
    login: Arc<Login>,
    identity: Identity,
    issuers: Issuers,
    signed_identity: Option<SignedIdentity>,
}

/// Everything that checks ask; one value for the life of the program.
pub(crate) struct World {
    live: ArcSwap<Live>,
    elsewhere: Elsewhere,
    signer: Arc<IdentitySigner>,
    identity_headers: Vec<IdentityHeaders>,
    istio_version: Option<String>,
    /// Files that the newest configuration names, also one that could not be used.
    named: ArcSwap<Vec<PathBuf>>,
}

impl World {
    pub(crate) fn new(
        elsewhere: Elsewhere,
        signer: Arc<IdentitySigner>,
        identity_headers: Vec<IdentityHeaders>,
        istio_version: Option<String>,
        cluster: Cluster,
    ) -> anyhow::Result<Self> {
        let named = ArcSwap::from_pointee(providers::files(&cluster));
        let live = wire(cluster, istio_version.as_deref(), &elsewhere, None)?;
        Ok(Self {
            live: ArcSwap::from_pointee(live),
            elsewhere,
            signer,
            identity_headers,
            istio_version,
            named,
        })
    }

    /// Files beside those of the command line whose changes are changes of the configuration.
    pub(crate) fn named(&self) -> Vec<PathBuf> {
        self.named.load().to_vec()
    }

    /// Brings a changed configuration into force whole; how many routes it has.
    ///
    /// # Errors
    /// The old configuration stays in force.
    pub(crate) fn apply(&self, cluster: anyhow::Result<Cluster>) -> anyhow::Result<usize> {
        let before = self.live();
        let version = self.istio_version.as_deref();
        let cluster = cluster?;
        self.named.store(Arc::new(providers::files(&cluster)));
        let live = wire(cluster, version, &self.elsewhere, Some(&before))?;
        let routes = live.snapshot.route_count();
        self.live.store(Arc::new(live));
        Ok(routes)
    }

    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    pub(crate) fn api_keys(&self) -> &identity::ApiKeys {
        &self.elsewhere.api_keys
    }

    pub(crate) fn sessions(&self) -> &identity::Sessions {
        &self.elsewhere.sessions
    }
}

fn wire(
    mut cluster: Cluster,
    istio_version: Option<&str>,
    elsewhere: &Elsewhere,
    before: Option<&Live>,
) -> anyhow::Result<Live> {
    let settings = live::settings(&cluster, istio_version)?;
    let snapshot = live::compile(&cluster, &settings)?;
    if !snapshot.enforces() {
        // Every check would be allowed, or none.
        return Err(BadInput(vec![
            "no Sidegate object with `mode: enforce`: an authorizer that adds nothing is none"
                .into(),
        ])
        .into());
    }
    if snapshot.is_reviewed() && elsewhere.cluster_api.is_none() {
        return Err(BadInput(vec![
            "`rbac: review` asks an API server, and none is known: expected `--kubernetes-api`, or a pod with a token"
                .into(),
        ])
        .into());
    }
    cluster.places = Places::default();
    let login = Login::elsewhere(&cluster, elsewhere, before.map(|live| &live.login))?;
    if before.is_none_or(|before| !Arc::ptr_eq(&before.login, &login)) {
        for warning in login.warnings() {
            output::note(&Style::Warning, &warning);
        }
    }
    let issuers = issuers::of(&cluster, before.map(|live| &live.issuers))?;
    let signed_identity = signed_identity::of(&cluster)?;
    let networks = cluster.sidegate.as_ref().map(|s| &*s.spec.keys.networks);
    let backends = Arc::new(Backends::default());
    let documents = Documents::new(backends, networks.unwrap_or_default());
    let identity = Identity::new(Parts {
        sessions: elsewhere.sessions.clone(),
        logins: login.logins.clone(),
        cluster_issuer: Some(Arc::clone(&elsewhere.cluster_issuer)),
        cluster_api: elsewhere.cluster_api.clone(),
        issuers: Some((issuers.clone(), Arc::new(documents))),
        api_keys: Some(elsewhere.api_keys.clone()),
        authservice: AuthserviceConfig::default(),
        oauth2_proxy: Oauth2ProxyConfig::default(),
        clock: identity::system_clock(),
    });
    Ok(Live {
        snapshot: Arc::new(snapshot),
        cluster,
        login,
        identity,
        issuers,
        signed_identity,
    })
}

impl Logouts for World {
    fn logged_out<'a>(
        &'a self,
        head: &'a RequestHead,
        body: &'a [u8],
    ) -> BoxFuture<'a, Option<Reply>> {
        let live = self.live();
        Box::pin(async move { live.login.logins.backchannel_logout(head, body).await })
    }
}

impl Host for World {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.live.load().snapshot)
    }

    fn caller<'a>(&'a self, head: &'a RequestHead, tokens: Tokens) -> BoxFuture<'a, Caller> {
        let live = self.live();
        Box::pin(async move { live.identity.caller(head, tokens).await })
    }

    fn access<'a>(&'a self, check: &'a AccessCheck) -> BoxFuture<'a, AccessAnswer> {
        let live = self.live();
        Box::pin(async move { live.identity.access(check).await })
    }

    fn login(&self, head: &RequestHead) -> Reply {
        match self.live.load().login.logins.of(&head.authority) {
            Some(relying_party) => relying_party.begin_login(head),
            None => Reply {
                status: StatusCode::FORBIDDEN,
                headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))],
                body: bytes::Bytes::from_static(
                    b"a login is needed, and no login provider is configured",
                ),
            },
        }
    }

    fn login_page<'a>(&'a self, head: &'a RequestHead) -> BoxFuture<'a, Option<Reply>> {
        let live = self.live();
        Box::pin(async move {
            let login = live.login.logins.of(&head.authority)?;
            login.handle(head).await
        })
    }

    fn identity_headers(
        &self,
        head: &RequestHead,
        caller: &Caller,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let mut written = Vec::new();
        let Some(person) = caller
            .person()
            .filter(|_| !self.identity_headers.is_empty())
        else {
            return written;
        };
        let mut write = |name: HeaderName, value: &str| {
            let value = HeaderValue::try_from(value);
            let mut value = value.unwrap_or_else(|_| HeaderValue::from_static(""));
            value.set_sensitive(name == header::AUTHORIZATION);
            written.push((name, value));
        };
        if self
            .identity_headers
            .contains(&IdentityHeaders::XAuthRequest)
        {
            let named = HeaderName::from_static;
            write(named("x-auth-request-user"), &person.subject);
            write(named("x-auth-request-email"), &person.email);
            write(named("x-auth-request-groups"), &person.groups.join(","));
        }
        if self
            .identity_headers
            .contains(&IdentityHeaders::Authorization)
            && matches!(caller, Caller::Session(_))
            && let Some(token) = self.live.load().identity.id_token(head)
        {
            write(header::AUTHORIZATION, &format!("Bearer {}", token.expose()));
        }
        written
    }

    fn signed_identity(
        &self,
        audience: &Audience,
        caller: &Caller,
    ) -> Option<(HeaderName, HeaderValue)> {
        let live = self.live.load();
        let wanted = live.signed_identity.as_ref();
        signed_identity::header(wanted, &self.signer, audience, caller)
    }

    fn now(&self) -> u64 {
        let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        elapsed.map_or(0, |elapsed| elapsed.as_secs())
    }
}
