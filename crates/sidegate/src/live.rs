//! The configuration in force, and the answers that decisions ask for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use gateway::{Answer, Endpoint, UnknownWorkload};
use http::{HeaderName, HeaderValue, StatusCode};
use identity::{
    AuthserviceConfig, HttpClient, Identity, IdentitySigner, Issuers, MeshKeys, Oauth2ProxyConfig,
    Parts, WorkloadCredentials,
};
use policy::{
    AccessAnswer, AccessCheck, Audience, Caller, Check, CheckAnswer, Destination, IstioVersion,
    Problem, Question, Reply, RequestHead, ServiceAccount, Settings, Snapshot, Workload,
};
use resources::mesh::ExtAuthzHttp;
use resources::sidegate::SignedIdentity;
use resources::{Cluster, Places, ServiceName};
use serving::{DesiredModel, Models};

use crate::backends::{Backends, Inside, Lasting, Override};
use crate::documents::Documents;
use crate::issuers;
use crate::login::{self, Keeping, Login};
use crate::output::{self, BadInput, Style};
use crate::{providers, signed_identity};

/// One configuration, compiled and wired.
pub(crate) struct Live {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) cluster: Cluster,
    pub(crate) login: Arc<Login>,
    /// Who is calling.
    identity: Identity,
    /// Other issuers whose tokens count.
    issuers: Issuers,
    signed_identity: Option<SignedIdentity>,
    backends: Arc<Backends>,
    /// Keys of the issuers that RequestAuthentications name.
    keys: MeshKeys,
    pub(crate) loaded_at: SystemTime,
}

/// Everything the gateway asks; one value for the life of the program.
pub(crate) struct World {
    live: ArcSwap<Live>,
    /// Errors of the newest configuration, if it could not be used.
    pub(crate) rejected: ArcSwap<Vec<String>>,
    lasting: Lasting,
    credentials: WorkloadCredentials,
    signer: Arc<IdentitySigner>,
    keeping: Keeping,
    overrides: Vec<Override>,
    istio_version: Option<String>,
    /// Files that the newest configuration names, also one that could not be used.
    named: ArcSwap<Vec<PathBuf>>,
}

/// What a [`World`] is made of.
pub(crate) struct Setup {
    pub(crate) lasting: Lasting,
    pub(crate) credentials: WorkloadCredentials,
    pub(crate) signer: Arc<IdentitySigner>,
    pub(crate) keeping: Keeping,
    pub(crate) overrides: Vec<Override>,
    pub(crate) istio_version: Option<String>,
}

/// Reads the settings of compilation out of a configuration.
pub(crate) fn settings(cluster: &Cluster, istio_version: Option<&str>) -> anyhow::Result<Settings> {
    let istio_version = istio_version
        .map(|text| {
            let bad = || {
                BadInput(vec![format!(
                    "`--istio-version {text}`: expected a form like `1.16`"
                )])
            };
            IstioVersion::parse(text).ok_or_else(bad)
        })
        .transpose()?;
    let paths = login::paths(cluster)?;
    Ok(Settings {
        istio_version,
        provider_paths: paths.provider,
        login_paths: paths.login,
        login_issuer: paths.issuer,
        cluster_issuer: Some(identity::CLUSTER_ISSUER.to_owned()),
    })
}

/// Compiles, or says everything that is wrong.
pub(crate) fn compile(cluster: &Cluster, settings: &Settings) -> anyhow::Result<Snapshot> {
    Snapshot::compile(cluster, settings)
        .map_err(|problems| BadInput(problems.iter().map(Problem::to_string).collect()).into())
}

/// The pods of a configuration.
pub(crate) fn pods(cluster: &Cluster) -> impl Iterator<Item = Workload> + '_ {
    cluster
        .workloads
        .iter()
        .filter(|w| &*w.kind == "Pod")
        .map(|pod| Workload {
            pod: pod.meta.name.as_str().into(),
            service_account: ServiceAccount {
                namespace: pod.meta.namespace.as_str().into(),
                name: pod
                    .spec
                    .pod
                    .service_account_name
                    .as_deref()
                    .unwrap_or("default")
                    .into(),
            },
        })
}

impl World {
    /// Brings the first configuration into force.
    pub(crate) fn new(setup: Setup, cluster: Cluster) -> anyhow::Result<Self> {
        let Setup {
            lasting,
            credentials,
            signer,
            keeping,
            overrides,
            istio_version,
        } = setup;
        let named = ArcSwap::from_pointee(providers::files(&cluster));
        let live = wire(
            cluster,
            istio_version.as_deref(),
            &lasting,
            &keeping,
            &overrides,
            None,
        )?;
        let models = &lasting.models;
        models.reconcile(DesiredModel::from_cluster(&live.cluster));
        Ok(Self {
            live: ArcSwap::from_pointee(live),
            rejected: ArcSwap::default(),
            lasting,
            credentials,
            signer,
            keeping,
            overrides,
            istio_version,
            named,
        })
    }

    /// Files beside those of the command line whose changes are changes of the configuration.
    pub(crate) fn named(&self) -> Vec<PathBuf> {
        self.named.load().to_vec()
    }

    /// The embedded provider's database.
    pub(crate) fn provider_storage(&self) -> &provider::Storage {
        &self.keeping.provider
    }

    /// Compiles a changed configuration off to the side and brings it into
    /// force whole.
    ///
    /// # Errors
    /// The old configuration stays in force; the errors are kept for the page.
    pub(crate) fn apply(&self, cluster: anyhow::Result<Cluster>) -> anyhow::Result<()> {
        let before = self.live();
        let wired = cluster.and_then(|cluster| {
            self.named.store(Arc::new(providers::files(&cluster)));
            wire(
                cluster,
                self.istio_version.as_deref(),
                &self.lasting,
                &self.keeping,
                &self.overrides,
                Some(&before),
            )
        });
        match wired {
            Ok(live) => {
                self.models()
                    .reconcile(DesiredModel::from_cluster(&live.cluster));
                self.live.store(Arc::new(live));
                self.rejected.store(Arc::default());
                Ok(())
            }
            Err(error) => {
                self.rejected.store(Arc::new(
                    error.to_string().lines().map(str::to_owned).collect(),
                ));
                Err(error)
            }
        }
    }

    /// The sessions of people, which outlive configurations.
    pub(crate) fn sessions(&self) -> &identity::Sessions {
        &self.keeping.sessions
    }

    /// API keys, which outlive them too.
    pub(crate) fn api_keys(&self) -> &identity::ApiKeys {
        &self.keeping.api_keys
    }

    /// The models, which outlive them too.
    pub(crate) fn models(&self) -> &Models {
        &self.lasting.models
    }

    /// The configuration in force.
    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }
}

fn wire(
    mut cluster: Cluster,
    istio_version: Option<&str>,
    lasting: &Lasting,
    keeping: &Keeping,
    overrides: &[Override],
    before: Option<&Live>,
) -> anyhow::Result<Live> {
    let settings = settings(&cluster, istio_version)?;
    let snapshot = compile(&cluster, &settings)?;
    if snapshot.is_reviewed() && keeping.cluster_api.is_none() {
        let line = "`rbac: review`: no API server is known (`--kubernetes-api`), the roles of the YAML count";
        output::note(&Style::Warning, line);
    }
    cluster.places = Places::default();
    let login = Login::open(&cluster, keeping, before.map(|live| &live.login))?;
    let issuers = issuers::of(&cluster, before.map(|live| &live.issuers))?;
    let signed_identity = signed_identity::of(&cluster)?.filter(|_| snapshot.enforces());
    let inside = Inside {
        lasting: lasting.clone(),
        login: Arc::clone(&login),
    };
    let backends = Arc::new(Backends::new(&cluster, &inside, overrides));
    let issuer = &keeping.cluster_issuer;
    let networks = cluster.sidegate.as_ref().map(|s| &*s.spec.keys.networks);
    let documents = Documents::new(Arc::clone(&backends), networks.unwrap_or_default());
    let documents = Arc::new(documents);
    let keys = MeshKeys::new(
        Arc::clone(&documents) as Arc<dyn HttpClient>,
        identity::system_clock(),
    )
    .with_issuer(issuer.issuer(), issuer.jwks());
    let identity = Identity::new(Parts {
        sessions: keeping.sessions.clone(),
        logins: login.logins.clone(),
        cluster_issuer: Some(Arc::clone(issuer)),
        cluster_api: keeping.cluster_api.clone(),
        issuers: Some((issuers.clone(), documents)),
        api_keys: Some(keeping.api_keys.clone()),
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
        backends,
        keys,
        loaded_at: SystemTime::now(),
    })
}

impl gateway::Host for World {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.live.load().snapshot)
    }

    fn endpoint(&self, destination: &Destination) -> Endpoint {
        self.live.load().backends.endpoint(destination)
    }

    fn answer<'a>(
        &'a self,
        question: &'a Question,
        head: &'a RequestHead,
    ) -> BoxFuture<'a, Answer> {
        let live = self.live();
        Box::pin(async move {
            match question {
                Question::Caller(tokens) => {
                    Answer::Caller(live.identity.caller(head, *tokens).await)
                }
                Question::Tokens { checks, .. } => {
                    let mut all = Vec::with_capacity(checks.len());
                    for check in checks {
                        all.push(live.keys.answer(check).await);
                    }
                    Answer::Tokens(all)
                }
                Question::Access(check) => Answer::Access(live.access(check).await),
                Question::Check(check) => live.check(check).await,
            }
        })
    }

    fn workload(&self, proxy_authorization: &HeaderValue) -> Result<Workload, UnknownWorkload> {
        self.credentials
            .verify(proxy_authorization)
            .map_err(|error| {
                tracing::info!(%error, "workload credentials refused");
                UnknownWorkload
            })
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

    fn login(&self, head: &RequestHead) -> Reply {
        match self.live.load().login.logins.of(&head.authority) {
            Some(relying_party) => relying_party.begin_login(head),
            None => Reply {
                status: StatusCode::SERVICE_UNAVAILABLE,
                headers: vec![(
                    http::header::CONTENT_TYPE,
                    HeaderValue::from_static("text/plain"),
                )],
                body: bytes::Bytes::from_static(
                    b"a login is needed, and no login provider is configured",
                ),
            },
        }
    }
}

impl Live {
    /// Whether the cluster lets somebody call a model.
    pub(crate) async fn access(&self, check: &AccessCheck) -> AccessAnswer {
        self.identity.access(check).await
    }

    /// The embedded login answers in the place of the login services; any
    /// other authorizer is asked where it is.
    async fn check(&self, check: &Check) -> Answer {
        if check.grpc {
            return Answer::Check(CheckAnswer::Failed(
                "authorizers that speak gRPC are not asked from here".into(),
            ));
        }
        let Some((service, port)) = authorizer(&check.settings) else {
            return Answer::Check(CheckAnswer::Failed(
                "the provider's service is not a host".into(),
            ));
        };
        let endpoint = self.backends.endpoint(&Destination::Service {
            service: service.clone(),
            port,
        });
        let elsewhere = matches!(endpoint, Endpoint::Tcp { .. });
        if elsewhere || !policy::is_login_service(&service) {
            return Answer::AskOver(endpoint);
        }
        let response = if service.name.contains("oauth2-proxy") {
            self.identity.oauth2_proxy_check(check).await
        } else {
            self.identity.authservice_check(check).await
        };
        Answer::Check(CheckAnswer::Response(response))
    }
}

fn authorizer(settings: &ExtAuthzHttp) -> Option<(ServiceName, u16)> {
    let host = settings.service.rsplit('/').next()?;
    Some((ServiceName::from_host(host, "istio-system")?, settings.port))
}

/// The ServiceAccounts of a configuration, `namespace/name`: those written,
/// those of pods, and `default` in every namespace.
pub(crate) fn service_accounts(cluster: &Cluster) -> Vec<String> {
    let mut all: Vec<String> = cluster
        .service_accounts
        .iter()
        .map(|s| format!("{}/{}", s.meta.namespace, s.meta.name))
        .collect();
    all.extend(cluster.workloads.iter().map(|w| {
        let name = w
            .spec
            .pod
            .service_account_name
            .as_deref()
            .unwrap_or("default");
        format!("{}/{name}", w.meta.namespace)
    }));
    let namespaces = cluster.namespaces.iter().map(|n| n.meta.name.as_str());
    let of_models = cluster
        .inference_services
        .iter()
        .map(|i| i.meta.namespace.as_str());
    all.extend(
        namespaces
            .chain(of_models)
            .chain(["default"])
            .map(|n| format!("{n}/default")),
    );
    all.sort();
    all.dedup();
    all
}
