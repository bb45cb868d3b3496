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
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use provider::{Admin, DexConfig, Options, Provider, Source, Storage, StorageConfig, WebTls};
use rustls::SupportedProtocolVersion;
use server::{ConnectionLimits, Server, Service, Tls};

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
use crate::tls::TlsFiles;
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

/// How long an answer may take, with what it has to ask of others.
const LATE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct ProviderArgs {
    /// Dex's configuration (- for standard input, with --check)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Say what becomes of each key and end
    #[arg(long)]
    check: bool,
    /// Address to listen on without TLS [default: that of `web.http`, or else 127.0.0.1:5556 unless there is `web.https`]
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
    let secure = config.tls.clone();
    let plain = match args.listen.or(config.listen) {
        None if secure.is_some() => None,
        found => Some(found.unwrap_or(otherwise)),
    };
    let issuer = config.issuer.url().to_owned();
    let provider = Provider::open(config, storage.clone(), options(args)?)?;
    let mut signals = Signals::new()?;
    let taken = "choose another address with `--listen`";
    let plain = plain.map(|address| Server::bind(&[address]).context(taken));
    let plain = plain.transpose()?;
    let files = secure.as_ref().map(files);
    let tls = match &files {
        Some(files) => Some(Tls::new(files.read()?)),
        None => None,
    };
    let secure = match (&secure, &tls) {
        (Some(config), Some(tls)) => {
            let server = Server::bind(&[config.listen]).context("`web.https` names the address")?;
            Some(server.over_tls(tls))
        }
        _ => None,
    };
    // Whoever reads where it listens may give commands.
    let control = Control::open(&folder)?;
    let mut listener = None;
    for (server, scheme) in [(&plain, "http"), (&secure, "https")] {
        for address in server.iter().flat_map(Server::addresses) {
            let place = match scheme {
                "http" => address.to_string(),
                _ => format!("{scheme}://{address}"),
            };
            let data = folder.path().display();
            let line = format!("issuer {issuer} on {place}, data in {data}");
            output::note(&Style::Plain, &line);
            listener.get_or_insert_with(|| format!("{scheme}://{}", reachable(*address)));
        }
    }
    let serving = Arc::new(Serving {
        provider: ArcSwap::from_pointee(provider),
        storage: storage.clone(),
        place,
        listener: listener.unwrap_or_default(),
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
        let certificates = async {
            match (&files, &tls) {
                (Some(files), Some(tls)) => files.follow(tls).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = signals.received() => {}
            ended = async { tokio::try_join!(reloads, certificates) } => {
                if let Err(error) = ended {
                    let line = format!("changes of files are not seen: {error:#}");
                    output::note(&Style::Warning, &line);
                }
                signals.received().await;
            }
        }
        output::note(&Style::Plain, "ending: requests under way complete first");
    };
    let (end, ending) = tokio::sync::watch::channel(false);
    let plain = answer_on(plain, Arc::clone(&serving), ending.clone());
    let secure = answer_on(secure, Arc::new(Secure(Arc::clone(&serving))), ending);
    let ended = async {
        until.await;
        end.send_replace(true);
    };
    let ((), plain, secure) = tokio::join!(ended, plain, secure);
    if !(plain && secure) {
        let line = format!("connections were cut after {} s", GRACE.as_secs());
        output::note(&Style::Warning, &line);
    }
    control.abort();
    drop(control.await);
    Ok(ExitCode::SUCCESS)
}

static ONLY_1_2: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
static ONLY_1_3: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// The files of `web.https`.
fn files(config: &WebTls) -> TlsFiles<'_> {
    TlsFiles {
        certificate: &config.certificate,
        key: &config.key,
        client_ca: None,
        versions: match (config.with_1_2, config.with_1_3) {
            (true, false) => &ONLY_1_2,
            (false, true) => &ONLY_1_3,
            _ => rustls::DEFAULT_VERSIONS,
        },
    }
}

/// Answers on these sockets until the end. Whether all requests completed.
async fn answer_on(
    server: Option<Server>,
    service: Arc<impl Service>,
    mut ending: tokio::sync::watch::Receiver<bool>,
) -> bool {
    let until = async move { drop(ending.wait_for(|end| *end).await) };
    match server {
        Some(server) => {
            let limits = ConnectionLimits::default();
            server.run(service, limits, until, GRACE).await
        }
        None => true,
    }
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
        let answered = tokio::time::timeout(LATE, provider.handle_body(request)).await;
        let response = answered.unwrap_or_else(|_| {
            let mut late = Response::new(Bytes::new());
            *late.status_mut() = http::StatusCode::GATEWAY_TIMEOUT;
            late
        });
        response.map(Full::new)
    }
}

/// The same with TLS, which cookies have to know.
struct Secure(Arc<Serving>);

impl Service for Secure {
    type Body = Full<Bytes>;

    async fn answer(
        self: Arc<Self>,
        mut request: Request<hyper::body::Incoming>,
        peer: SocketAddr,
    ) -> Response<Full<Bytes>> {
        let https = HeaderValue::from_static("https");
        request.headers_mut().insert("x-forwarded-proto", https);
        Arc::clone(&self.0).answer(request, peer).await
    }
}
