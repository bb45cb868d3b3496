//! `sidegate provider`: the OpenID provider alone, in Dex's place.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use bytes::Bytes;
use clap::Args;
use http::{Request, Response};
use http_body_util::Full;
use provider::{Admin, DexConfig, Options, Provider, Source, Storage, StorageConfig};
use server::{ConnectionLimits, Server, Service};

use crate::cli::Output;
use crate::control::{Control, Desk};
use crate::folder::Folder;
use crate::login;
use crate::outgoing::Network;
use crate::output::{self, BadInput, Style};
use crate::pages;
use crate::signals::Signals;
use crate::standing;
use crate::state;
use crate::watch;

pub(crate) const EXAMPLES: &str = "\
Examples:
  sidegate provider --config dex.yaml --check     what is supported, ignored, refused, line by line
  sidegate provider --config dex.yaml             on the address of `web.http`
  sidegate provider --config dex.yaml --listen 127.0.0.1:5556 --data ./keys
  sidegate provider --config dex.yaml --theme ./theme
  kubectl get configmap dex -n auth -o jsonpath='{.data.config\\.yaml}' | sidegate provider --config - --check

Variables of `idEnv`, `secretEnv` and `hashFromEnv` are read from the environment, as Dex does.
A changed file is taken without a restart; one with an error leaves the old one in force.
Exit codes: 0 ended by a signal, or nothing is refused; 1 it cannot start; 3 the file is refused.";

/// Dex's port.
const PORT: u16 = 5556;

/// How long requests under way may take after a signal.
const GRACE: Duration = Duration::from_secs(10);

/// How long a request may take to arrive whole.
const STALL: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(crate) struct ProviderArgs {
    /// Dex's configuration (- for standard input, with --check)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Say what becomes of each key and end
    #[arg(long)]
    check: bool,
    /// Address to listen on [default: that of `web.http`, or else 127.0.0.1:5556]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Folder for keys and tokens [default: ~/.local/share/sidegate]
    #[arg(long, env = "SIDEGATE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder with style, logo and words of the pages
    #[arg(long, value_name = "DIR")]
    theme: Option<PathBuf>,
    /// Take client secrets that are published with a distribution, known to everybody
    #[arg(long)]
    allow_known_secrets: bool,
    /// Form of the report
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

pub(crate) fn run(args: &ProviderArgs) -> anyhow::Result<ExitCode> {
    if !args.check {
        pages::small();
    }
    let text = read(&args.config)?;
    let (report, config) = provider::examined(&text, &environment, args.allow_known_secrets);
    if args.check {
        standing::print(&args.config.display().to_string(), &report, args.output)?;
        options(args)?;
        return Ok(standing::exit_code(&report));
    }
    standing::refuse(&args.config.display().to_string(), &report)?;
    standing::tell(&args.config.display().to_string(), &report);
    output::start_log();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("provider")
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(serve(args, config?));
    runtime.shutdown_background();
    outcome
}

fn read(path: &Path) -> anyhow::Result<String> {
    let read = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| BadInput(vec![format!("`{}`: {error}", path.display())]).into())
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

async fn serve(args: &ProviderArgs, config: DexConfig) -> anyhow::Result<ExitCode> {
    let folder = Folder::take(args.data.clone())?;
    let place = config.storage.clone();
    let storage = tokio::task::block_in_place(|| state::open(folder.path(), &place))?;
    let otherwise = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);
    let address = args.listen.or(config.listen).unwrap_or(otherwise);
    let issuer = config.issuer.url().to_owned();
    let provider = Provider::open(config, storage.clone(), options(args)?)?;
    let mut signals = Signals::new()?;
    let server = Server::bind(&[address]).context("choose another address with `--listen`")?;
    // Whoever reads where it listens may give commands.
    let control = Control::open(&folder)?;
    for address in server.addresses() {
        let line = format!(
            "issuer {issuer} on {address}, data in {}",
            folder.path().display()
        );
        output::note(&Style::Plain, &line);
    }
    let address = server.addresses().first().copied().unwrap_or(address);
    let serving = Arc::new(Serving {
        provider: ArcSwap::from_pointee(provider),
        storage: storage.clone(),
        place,
        listener: format!("http://{}", reachable(address)),
    });
    login::invite_the_first(&serving.provider.load_full(), &serving.listener).await?;
    login::end_logins_of_the_gone(&serving.provider.load_full()).await;
    let control = tokio::spawn(control.serve(Arc::clone(&serving) as Arc<dyn Desk>));
    pages::forget_the_start();
    let until = async {
        let watched: Vec<_> = std::iter::once(args.config.clone())
            .chain(args.theme.clone())
            .collect();
        let reloads = watch::until_cancelled(&watched, || reload(args, &storage, &serving));
        tokio::select! {
            () = signals.received() => {}
            ended = reloads => {
                if let Err(error) = ended {
                    let line = format!("changes of the file are not seen: {error:#}");
                    output::note(&Style::Warning, &line);
                }
                signals.received().await;
            }
        }
        output::note(&Style::Plain, "ending: requests under way complete first");
    };
    let limits = ConnectionLimits::default();
    if !server.run(Arc::clone(&serving), limits, until, GRACE).await {
        let line = format!("connections were cut after {} s", GRACE.as_secs());
        output::note(&Style::Warning, &line);
    }
    control.abort();
    drop(control.await);
    Ok(ExitCode::SUCCESS)
}

/// Where a listener is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

/// Who calls applications at a logout, and how pages look. Tokens of a cluster are not known
/// outside of one.
fn options(args: &ProviderArgs) -> anyhow::Result<Options> {
    let theme = crate::login::theme(args.theme.as_deref())?;
    for warning in theme.warnings() {
        output::note(&Style::Warning, warning);
    }
    Ok(Options {
        outgoing: Some(Arc::new(Network::default())),
        theme,
        ..Options::default()
    })
}

/// Takes the file as it is now, whole, or leaves everything as it was.
fn reload(args: &ProviderArgs, storage: &Storage, serving: &Arc<Serving>) {
    let taken = || -> anyhow::Result<()> {
        let text = read(&args.config)?;
        let (report, config) = provider::examined(&text, &environment, args.allow_known_secrets);
        standing::refuse(&args.config.display().to_string(), &report)?;
        let config = config?;
        if config.storage != serving.place {
            let line = "`storage` changed: takes effect at the next start";
            output::note(&Style::Warning, line);
        }
        let provider = Provider::open(config, storage.clone(), options(args)?)?;
        serving.provider.store(Arc::new(provider));
        standing::tell(&args.config.display().to_string(), &report);
        Ok(())
    };
    match taken() {
        Ok(()) => {
            output::note(&Style::Plain, "the changed configuration is in force");
            let serving = Arc::clone(serving);
            tokio::spawn(async move {
                login::end_logins_of_the_gone(&serving.provider.load_full()).await;
            });
        }
        Err(error) => {
            output::error(&error);
            output::note(&Style::Warning, "the configuration before stays in force");
        }
    }
}

/// The provider behind a socket of its own.
struct Serving {
    provider: ArcSwap<Provider>,
    storage: Storage,
    /// Where that is.
    place: StorageConfig,
    /// Where this machine reaches it.
    listener: String,
}

impl Desk for Serving {
    fn provider(&self) -> anyhow::Result<Option<(Admin, Storage)>> {
        Ok(Some((self.provider.load().admin(), self.storage.clone())))
    }

    fn keys(&self) -> Option<identity::ApiKeys> {
        None
    }

    fn sessions(&self) -> Option<identity::Sessions> {
        None
    }

    fn base(&self) -> String {
        login::base(&self.provider.load(), &self.listener)
    }
}

impl Service for Serving {
    type Body = Full<Bytes>;

    async fn answer(
        self: Arc<Self>,
        mut request: Request<hyper::body::Incoming>,
        peer: SocketAddr,
    ) -> Response<Full<Bytes>> {
        let provider = self.provider.load_full();
        request.extensions_mut().insert(Source(peer.ip()));
        let answered = tokio::time::timeout(STALL, provider.handle_body(request)).await;
        let response = answered.unwrap_or_else(|_| {
            let mut late = Response::new(Bytes::new());
            *late.status_mut() = http::StatusCode::REQUEST_TIMEOUT;
            late
        });
        response.map(Full::new)
    }
}
