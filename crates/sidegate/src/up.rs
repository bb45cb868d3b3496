//! `sidegate up`: the cluster of some YAML on this machine.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use gateway::{Config, Gateway, Listen};
use identity::{ApiKeys, ClusterIssuer, ClusterIssuerConfig, WorkloadCredentials};
use policy::Entrance;
use provider::Admin;
use resources::Cluster;
use runtime::Bodies;
use server::{ConnectionLimits, Server};
use serving::{Mirror, Models, ModelsSettings, Storage, StorageSettings, Target};
use tokio::signal::unix::{SignalKind, signal};

use crate::backends::{Lasting, Override};
use crate::cli::{Output, UpArgs};
use crate::control::{Control, Desk};
use crate::folder::{self, Folder, Running};
use crate::health::Health;
use crate::inputs::{self, Inputs};
use crate::limits;
use crate::live::{self, Setup, World};
use crate::login::{self, Keeping};
use crate::output::{self, BadInput, Style};
use crate::page::{Page, PageService};
use crate::state;
use crate::summary::{self, Summary};
use crate::{signed_identity, watch};

/// Requests in flight get this long when the program is asked to end.
const DRAIN: Duration = Duration::from_secs(30);

/// Sessions and API keys are looked after this often.
const MAINTENANCE: Duration = Duration::from_secs(60);

/// The summary waits this long for models; slower ones come up meanwhile.
const FIRST_MODELS: Duration = Duration::from_secs(20);

pub(crate) fn run(args: UpArgs) -> anyhow::Result<ExitCode> {
    output::start_log();
    let inputs = Inputs::new(args.paths.clone(), &args.cluster)?;
    let cluster = inputs.read()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()?;
    let folder = Folder::take(args.data.clone())?;
    let outcome = runtime.block_on(serve(args, &inputs, cluster, &folder));
    runtime.shutdown_background();
    outcome
}

async fn serve(
    args: UpArgs,
    inputs: &Inputs,
    cluster: Cluster,
    folder: &Folder,
) -> anyhow::Result<ExitCode> {
    let limits = limits::parse(&args.limits)?;
    let body_bytes = usize::try_from(limits.body_bytes).unwrap_or(usize::MAX);
    let together = runtime::Limits::default().bodies;
    let bodies = Bodies::new(body_bytes, together, limits.stall_timeout);
    let gateway = Gateway::bind(Config {
        listeners: vec![
            Listen {
                entrance: Entrance::External,
                address: args.external,
                option: "--external".into(),
            },
            Listen {
                entrance: Entrance::Local,
                address: args.local,
                option: "--local".into(),
            },
        ],
        limits,
        threads: None,
    })
    .map_err(|error| {
        BadInput(vec![format!(
            "{error}; choose another address with `{}` (port 0: any)",
            error.option
        )])
    })?;
    let addresses = gateway.addresses().to_vec();
    let [external, local] = addresses.as_slice() else {
        anyhow::bail!("the gateway did not bind both listeners");
    };
    let (external, local) = (format!("http://{external}"), format!("http://{local}"));

    let storage = Storage::new(storage_settings(&args, inputs, &cluster, folder.path())?);
    let models = Models::new(
        ModelsSettings {
            graphs: args.graphs.open()?,
            ..ModelsSettings::default()
        },
        storage,
        tokio::runtime::Handle::current(),
    );
    let page = Page::new(external.clone(), local.clone())?;
    let signer = args.identity_keys.open(folder.path())?;
    let health = match args.health {
        None => None,
        Some(address) => {
            let taken = "choose another address with `--health`";
            Some(Server::bind(&[address]).context(taken)?)
        }
    };
    let world = World::new(
        Setup {
            lasting: Lasting {
                models: models.clone(),
                bodies,
                console: Arc::new(PageService(page.clone())),
            },
            credentials: WorkloadCredentials::open(folder.path(), identity::system_clock())?,
            signer: Arc::clone(&signer),
            keeping: keeping(&args, inputs, &cluster, folder)?,
            overrides: args
                .backends
                .iter()
                .map(|text| Override::parse(text))
                .collect::<Result<_, _>>()?,
            istio_version: args.cluster.istio_version.clone(),
        },
        cluster,
    )?;
    let world = Arc::new(world);
    tokio::spawn(maintain_sessions(world.clone()));
    end_logins_of_the_gone(&world).await;
    page.attach(&world);
    let running = gateway
        .run(world.clone())
        .context("the gateway cannot start")?;
    let ready = Arc::new(Health::with_keys(Arc::clone(&signer)));
    if let Some(server) = health {
        for address in server.addresses() {
            output::note(&Style::Plain, &format!("health on {address}"));
        }
        let limits = ConnectionLimits::default();
        tokio::spawn(server.run(Arc::clone(&ready), limits, std::future::pending(), DRAIN));
    }
    folder.announce(&announcement(&world, &external, &local))?;
    let control = Control::open(folder)?;
    let desk = Commands {
        world: Arc::clone(&world),
        external: external.clone(),
    };
    let control = tokio::spawn(control.serve(Arc::new(desk)));

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let running_until = async {
        // Models that take longer come up while everything else already answers.
        let settled = tokio::time::timeout(FIRST_MODELS, models.settled()).await;
        tracing::debug!(in_time = settled.is_ok(), "models settled");
        let summary = Summary {
            world: &world,
            inputs,
            external: &external,
            local: &local,
            data: folder.path(),
        };
        announce(&args, &summary)?;
        if let Some(provider) = &world.live().login.provider {
            login::invite_the_first(provider, &external).await?;
        }
        let watched = || {
            let given = inputs.watched().iter().cloned();
            given
                .chain(args.theme.clone())
                .chain(world.named())
                .collect()
        };
        let files = watch::following(watched, || {
            reload(&world, inputs);
            let world_now = Arc::clone(&world);
            tokio::spawn(async move { end_logins_of_the_gone(&world_now).await });
            folder
                .announce(&announcement(&world, &external, &local))
                .map_err(|e| tracing::error!("{e:#}"))
                .ok();
        });
        let signing = [signer.path().to_owned()];
        let signing = watch::until_cancelled(&signing, || signed_identity::read_again(&signer));
        tokio::try_join!(files, signing)
    };
    tokio::select! {
        ended = running_until => { ended?; }
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    ready.leave();
    output::note(
        &Style::Plain,
        "ending: requests in flight complete first; press Ctrl-C again to cut them",
    );
    tokio::select! {
        drained = running.drain(DRAIN) => {
            if drained.cut > 0 {
                output::note(&Style::Warning, &format!("{} connections were cut after {} s", drained.cut, DRAIN.as_secs()));
            }
        }
        _ = interrupt.recv() => output::note(&Style::Warning, "cut"),
    }
    control.abort();
    drop(control.await);
    world.sessions().maintain().await?;
    world.api_keys().maintain().await?;
    Ok(ExitCode::SUCCESS)
}

/// What commands about users and clients are about.
struct Commands {
    world: Arc<World>,
    external: String,
}

impl Desk for Commands {
    fn provider(&self) -> anyhow::Result<Option<(Admin, provider::Storage)>> {
        let storage = self.world.provider_storage().clone();
        let admin = match &self.world.live().login.provider {
            Some(provider) => provider.admin(),
            None => Admin::open(storage.clone(), provider::system_clock())?,
        };
        Ok(Some((admin, storage)))
    }

    fn keys(&self) -> Option<ApiKeys> {
        Some(self.world.api_keys().clone())
    }

    fn sessions(&self) -> Option<identity::Sessions> {
        Some(self.world.sessions().clone())
    }

    fn base(&self) -> String {
        let live = self.world.live();
        let provider = live.login.provider.as_ref();
        provider.map_or_else(String::new, |provider| {
            login::base(provider, &self.external)
        })
    }
}

/// Of the configuration in force.
async fn end_logins_of_the_gone(world: &World) {
    if let Some(provider) = &world.live().login.provider {
        login::end_logins_of_the_gone(provider).await;
    }
}

/// Writes down when sessions and API keys were used, and sweeps those that ended.
async fn maintain_sessions(world: Arc<World>) {
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

fn announce(args: &UpArgs, summary: &Summary<'_>) -> anyhow::Result<()> {
    match args.output {
        Output::Text => summary::print(summary),
        Output::Json => output::data(&serde_json::to_string_pretty(&summary::as_json(summary))?)?,
    }
    if let Some(path) = &args.ready_file {
        folder::write_atomically(path, summary::ready(summary).to_string().as_bytes())?;
    }
    Ok(())
}

fn reload(world: &World, inputs: &Inputs) {
    let before = Mirror::from_cluster(&world.live().cluster);
    match world.apply(inputs.read()) {
        Ok(()) => {
            let live = world.live();
            if Mirror::from_cluster(&live.cluster) != before {
                output::note(
                    &Style::Warning,
                    "spec.storage.mirrors of the Sidegate object changed: takes effect at the next start",
                );
            }
            tracing::info!(
                routes = live.snapshot.route_count(),
                "configuration reloaded"
            );
        }
        Err(error) => {
            output::error(&error);
            output::note(
                &Style::Warning,
                "the changed configuration is not used; the one before stays in force",
            );
        }
    }
}

fn keeping(
    args: &UpArgs,
    inputs: &Inputs,
    cluster: &Cluster,
    folder: &Folder,
) -> anyhow::Result<Keeping> {
    let data = folder.path();
    let place = login::storage(cluster)?;
    let provider = state::open(data, &place)?;
    Ok(Keeping {
        data: data.to_owned(),
        sessions: state::open_sessions(data, &place)?,
        api_keys: ApiKeys::open(data, identity::system_clock())?,
        provider,
        cluster_issuer: Arc::new(ClusterIssuer::open(data, ClusterIssuerConfig::default())?),
        cluster_api: args.kubernetes.open()?,
        login_hint: inputs.example().map(|_| summary::EXAMPLE_USER.to_owned()),
        theme: args.theme.clone(),
    })
}

fn announcement(world: &World, external: &str, local: &str) -> Running {
    let live = world.live();
    let pods: Vec<(String, String)> = live::pods(&live.cluster)
        .map(|pod| {
            let account = pod.service_account;
            (
                format!("{}/{}", account.namespace, pod.pod),
                account.name.to_string(),
            )
        })
        .collect();
    Running {
        pid: std::process::id(),
        external: external.to_owned(),
        local: local.to_owned(),
        pods,
        service_accounts: live::service_accounts(&live.cluster),
    }
}

/// Mirrors of the command line come before those of the YAML; an example's
/// bucket is a folder of the data folder.
fn storage_settings(
    args: &UpArgs,
    inputs: &Inputs,
    cluster: &Cluster,
    data: &Path,
) -> anyhow::Result<StorageSettings> {
    let mut mirrors = Vec::new();
    for text in &args.mirrors {
        let bad = || {
            BadInput(vec![format!(
                "`--mirror {text}`: expected PREFIX=FOLDER or PREFIX=https://…"
            )])
        };
        let (prefix, target) = text
            .split_once('=')
            .filter(|(p, t)| p.contains("://") && !t.is_empty())
            .ok_or_else(bad)?;
        let target = if target.contains("://") {
            Target::Url(target.into())
        } else {
            Target::Folder(target.into())
        };
        mirrors.push(Mirror {
            prefix: prefix.into(),
            target,
        });
    }
    if inputs.example().is_some() {
        mirrors.push(example_mirror(data)?);
    } else {
        mirrors.extend(Mirror::from_cluster(cluster));
    }
    Ok(StorageSettings {
        mirrors,
        claim_root: Some(data.join("volumes")),
        ..StorageSettings::default()
    })
}

fn example_mirror(data: &Path) -> anyhow::Result<Mirror> {
    let folder = data.join("example");
    folder::create_private(&folder)?;
    folder::write_atomically(&folder.join("model.joblib"), inputs::EXAMPLE_MODEL)?;
    Ok(Mirror {
        prefix: inputs::EXAMPLE_MODEL_URI.into(),
        target: Target::Folder(folder),
    })
}
