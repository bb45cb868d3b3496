//! `sidegate authz`: the external authorizer of gateways of a cluster.

mod compat;
pub(crate) mod elsewhere;
mod fast_path;
mod gateways;
mod keys;
mod manifests;
mod redis;
mod workload;
mod world;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use ext_authz::{Authorizer, Settings};
use identity::{ApiKeys, ClusterIssuer, ClusterIssuerConfig, SessionConfig, Sessions};
use resources::Cluster;
use server::{ConnectionLimits, Server, Tls};

use crate::authz::compat::CompatArgs;
use crate::authz::elsewhere::Provider;
use crate::authz::keys::MarkKeys;
use crate::authz::redis::RedisArgs;
use crate::authz::world::World;
use crate::cli::{self, ClusterArgs};
use crate::cluster_api::KubernetesArgs;
use crate::control::{Control, Desk};
use crate::folder::{Folder, Running};
use crate::health::{Health, Logouts};
use crate::inputs::Inputs;
use crate::live;
use crate::login::Elsewhere;
use crate::output::{self, BadInput, Style};
use crate::pages;
use crate::signals::Signals;
use crate::signed_identity::IdentityKeysArgs;
use crate::tls::TlsFiles;
use crate::{signed_identity, state, watch};

pub(crate) const EXAMPLES: &str = "\
Examples:
  sidegate authz -f ./manifests                        gRPC and HTTP checks on 127.0.0.1:9000
  sidegate authz -f ./manifests --listen 0.0.0.0:9000 --health 0.0.0.0:9001
  sidegate authz manifests -f ./manifests              what the mesh takes to ask it
  sidegate authz manifests --for nginx -f ./manifests  what nginx takes, or another gateway
  sidegate authz -f ./manifests --tls-cert tls.crt --tls-key tls.key --client-ca ca.crt
  sidegate authz --compat oauth2-proxy --config oauth2_proxy.cfg --check    what becomes of each setting
  sidegate authz --compat oauth2-proxy --config oauth2_proxy.cfg            in oauth2-proxy's place
  sidegate authz --compat authservice                  in oidc-authservice's place, by its environment

A changed file is taken without a restart; one with an error leaves the old configuration in force.
Exit codes: 0 ended by a signal; 1 it cannot start; 3 the files cannot be used.";

/// Where checks are taken, unless it is said otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9000);

/// How long checks under way may take after a signal.
const GRACE: Duration = Duration::from_secs(10);

/// Sessions are looked after this often.
const MAINTENANCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AuthzArgs {
    #[command(subcommand)]
    command: Option<AuthzCommand>,
    /// Files and folders of Kubernetes YAML, `-` for standard input
    #[arg(short = 'f', long = "filename", num_args = 1.., value_name = "FILE")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    kubernetes: KubernetesArgs,
    /// Address for checks, gRPC and HTTP (port 0: any) [default: 127.0.0.1:9000; with --compat that of its configuration]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Address for /healthz, /readyz, /.well-known/jwks.json and logout tokens at /oauth2/backchannel-logout
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "ADDR:PORT")]
    health: SocketAddr,
    /// Folder for keys and sessions [default: ~/.local/share/sidegate]
    #[arg(long, env = "SIDEGATE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the provider answers, when the host of its issuer is not known here
    #[arg(long, value_name = "HOST:PORT")]
    provider: Option<String>,
    /// Keys of marks that replicas share, one in base64 a line; the first signs [default: that of Redis, or made in the data folder]
    #[arg(long, value_name = "FILE")]
    mark_keys: Option<PathBuf>,
    /// Certificate chain for checks over TLS, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Authorities that clients' certificates have to come from, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// Keys of passes, P-256 in PKCS #8 and PEM, of which the first signs: gateways with the fast path let people with a pass
    /// through unasked
    #[arg(long, value_name = "FILE")]
    pass_key: Option<PathBuf>,
    /// How long a pass counts, and with it a session that has ended
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600), requires = "pass_key")]
    pass_seconds: u64,
    /// A session that is not used for so long ends: 30m, 12h
    #[arg(long, default_value = "12h", value_name = "DURATION", value_parser = cli::duration, conflicts_with = "compat")]
    session_idle: Duration,
    /// A session that is so old ends: 8h, 1d
    #[arg(long, default_value = "24h", value_name = "DURATION", value_parser = cli::duration, conflicts_with = "compat")]
    session_lifetime: Duration,
    /// What the platform's upstreams see of a person beside kubeflow-userid and kubeflow-groups (repeatable)
    #[arg(long = "identity-headers", value_enum, value_name = "NAMES")]
    identity_headers: Vec<IdentityHeaders>,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    identity_keys: IdentityKeysArgs,
    #[command(flatten)]
    compat: CompatArgs,
}

#[derive(Debug, Subcommand)]
enum AuthzCommand {
    /// Print what the mesh takes to ask: providers, policies, Deployment and Service
    Manifests(manifests::ManifestsArgs),
}

/// Headers that tell an upstream who a person is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdentityHeaders {
    /// x-auth-request-user, -email and -groups, as oauth2-proxy writes them
    XAuthRequest,
    /// authorization, with the ID token of the login
    Authorization,
}

pub(crate) fn run(args: &AuthzArgs) -> anyhow::Result<ExitCode> {
    if let Some(AuthzCommand::Manifests(args)) = &args.command {
        return manifests::run(args);
    }
    // Before anything is open.
    pages::small();
    if let Some(whose) = args.compat.compat {
        return compat::run(args, whose);
    }
    let _log = output::start_busy_log("warn,sidegate=info,ext_authz=info")?;
    if args.paths.is_empty() && args.cluster.example.is_none() {
        return Err(BadInput(vec![
            "nothing to decide by; expected `-f FILE…` with the objects of the cluster".into(),
        ])
        .into());
    }
    let inputs = Inputs::new(args.paths.clone(), &args.cluster)?;
    let cluster = inputs.read_some()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("authz")
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(serve(args, &inputs, cluster));
    runtime.shutdown_background();
    outcome
}

async fn serve(args: &AuthzArgs, inputs: &Inputs, cluster: Cluster) -> anyhow::Result<ExitCode> {
    let folder = Folder::take(args.data.clone())?;
    let elsewhere = elsewhere(args, &folder, &cluster)?;
    let keys = MarkKeys::open(args.mark_keys.clone(), folder.path())?;
    let signer = args.identity_keys.open(folder.path())?;
    let world = Arc::new(World::new(
        elsewhere,
        Arc::clone(&signer),
        args.identity_headers.clone(),
        args.cluster.istio_version.clone(),
        cluster,
    )?);
    let mut signals = Signals::new()?;
    let taken = "choose another address with `--listen` or `--health`";
    let mut checks = Server::bind(&[args.listen.unwrap_or(LISTEN)])
        .context(taken)?
        .answering_in_place();
    let health = Server::bind(&[args.health]).context(taken)?;
    let tls = match TlsFiles::of(
        args.tls_cert.as_deref(),
        args.tls_key.as_deref(),
        args.client_ca.as_deref(),
    ) {
        Some(files) => Some((Tls::new(files.read()?), files)),
        None => None,
    };
    if let Some((tls, _)) = &tls {
        checks = checks.over_tls(tls);
    }
    announce(&folder, &world)?;
    let control = Control::open(&folder)?;
    let control = tokio::spawn(control.serve(Arc::new(Kept {
        sessions: world.sessions().clone(),
        keys: Some(world.api_keys().clone()),
    })));
    for (what, server) in [("checks", &checks), ("health", &health)] {
        for address in server.addresses() {
            output::note(&Style::Plain, &format!("{what} on {address}"));
        }
    }
    let settings = Settings {
        cookies: std::iter::once(identity::SESSION_COOKIE)
            .chain(identity::LOGIN_COOKIES)
            .chain([ext_authz::PASS_COOKIE])
            .map(str::to_owned)
            .collect(),
        passes: match &args.pass_key {
            Some(path) => Some(Arc::new(keys::passes(path, args.pass_seconds)?)),
            None => None,
        },
    };
    let passes = args.pass_key.clone().zip(settings.passes.clone());
    let authorizer = Arc::new(Authorizer::new(Arc::clone(&world), settings, keys.read()?));
    let ready = Arc::new(
        Health::with_keys(Arc::clone(&signer)).with_logouts(Arc::clone(&world) as Arc<dyn Logouts>),
    );
    let (done, ended) = tokio::sync::oneshot::channel::<()>();
    let healthy = tokio::spawn(health.run(
        Arc::clone(&ready),
        ConnectionLimits::default(),
        async move { drop(ended.await) },
        Duration::from_secs(1),
    ));
    tokio::spawn(maintain(Arc::clone(&world)));
    let until = async {
        let watched = || [inputs.watched(), &world.named()].concat();
        let files = watch::following(watched, || {
            reload(&world, inputs);
            announce(&folder, &world)
                .map_err(|error| tracing::error!("{error:#}"))
                .ok();
        });
        // Beside the keys the program itself writes: only they are looked at.
        let ring = std::slice::from_ref(keys.path());
        let ring = watch::until_cancelled(ring, || match keys.read() {
            Ok(ring) => authorizer.use_keys(ring),
            Err(error) => {
                output::error(&error);
                output::note(&Style::Warning, "the keys of before stay in use");
            }
        });
        let passing = async {
            let Some((path, passes)) = &passes else {
                return std::future::pending().await;
            };
            let file = std::slice::from_ref(path);
            watch::until_cancelled(file, || match keys::passes_again(path, passes) {
                Ok(()) => tracing::info!("the keys of passes were read again"),
                Err(error) => {
                    output::error(&error);
                    output::note(&Style::Warning, "the keys of before stay in use");
                }
            })
            .await
        };
        let certificate = async {
            match &tls {
                Some((tls, files)) => files.follow(tls).await,
                None => std::future::pending().await,
            }
        };
        let signing = [signer.path().to_owned()];
        let signing = watch::until_cancelled(&signing, || signed_identity::read_again(&signer));
        let reloads = async { tokio::try_join!(files, ring, signing, passing, certificate) };
        tokio::select! {
            () = signals.received() => {}
            ended = reloads => {
                if let Err(error) = ended {
                    let line = format!("changes of the files are not seen: {error:#}");
                    output::note(&Style::Warning, &line);
                }
                signals.received().await;
            }
        }
        ready.leave();
        output::note(&Style::Plain, "ending: checks under way complete first");
    };
    pages::forget_the_start();
    let limits = ConnectionLimits::default();
    if !checks
        .run(Arc::clone(&authorizer), limits, until, GRACE)
        .await
    {
        let line = format!("connections were cut after {} s", GRACE.as_secs());
        output::note(&Style::Warning, &line);
    }
    drop(done);
    drop(healthy.await);
    control.abort();
    drop(control.await);
    world.sessions().maintain().await?;
    world.api_keys().maintain().await?;
    Ok(ExitCode::SUCCESS)
}

fn elsewhere(args: &AuthzArgs, folder: &Folder, cluster: &Cluster) -> anyhow::Result<Elsewhere> {
    let data = folder.path();
    let place = args.redis.storage(Some(cluster))?;
    let rules = SessionConfig {
        idle: args.session_idle.min(args.session_lifetime),
        absolute: args.session_lifetime,
        ..SessionConfig::default()
    };
    let kept = state::open_kept(data, &place, rules)?;
    Ok(Elsewhere {
        data: data.to_owned(),
        sessions: kept.sessions,
        api_keys: kept.api_keys,
        cluster_issuer: Arc::new(ClusterIssuer::open(data, ClusterIssuerConfig::default())?),
        cluster_api: args.kubernetes.open()?,
        http: Arc::new(Provider::new(args.provider.clone())),
    })
}

/// What `sidegate session` and `sidegate token` ask for.
struct Kept {
    sessions: Sessions,
    keys: Option<ApiKeys>,
}

impl Desk for Kept {
    fn provider(&self) -> anyhow::Result<Option<(provider::Admin, provider::Storage)>> {
        Ok(None)
    }

    fn keys(&self) -> Option<ApiKeys> {
        self.keys.clone()
    }

    fn sessions(&self) -> Option<Sessions> {
        Some(self.sessions.clone())
    }

    fn base(&self) -> String {
        String::new()
    }
}

/// For `sidegate token`, which makes tokens with the key of this folder.
fn announce(folder: &Folder, world: &World) -> anyhow::Result<()> {
    folder.announce(&Running {
        pid: std::process::id(),
        external: String::new(),
        local: String::new(),
        pods: Vec::new(),
        service_accounts: live::service_accounts(&world.live().cluster),
    })
}

fn reload(world: &World, inputs: &Inputs) {
    match world.apply(inputs.read_some()) {
        Ok(routes) => tracing::info!(routes, "configuration reloaded"),
        Err(error) => {
            output::error(&error);
            output::note(
                &Style::Warning,
                "the changed configuration is not used; the one before stays in force",
            );
        }
    }
}

/// Writes down when sessions were used, and sweeps those that ended.
async fn maintain(world: Arc<World>) {
    let mut every = tokio::time::interval(MAINTENANCE);
    loop {
        every.tick().await;
        if let Err(error) = world.sessions().maintain().await {
            tracing::error!(%error, "sessions cannot be maintained");
        }
        if let Err(error) = world.api_keys().maintain().await {
            tracing::error!(%error, "API keys cannot be maintained");
        }
    }
}
