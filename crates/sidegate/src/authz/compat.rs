//! `sidegate authz --compat`: in the place of oauth2-proxy or oidc-authservice, with their configuration, addresses, paths
//! and headers. What a gateway asks is answered as they do, whatever its policies are.

mod given;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use compat::{Headers, Imported, Login, Redirect};
use futures_util::future::BoxFuture;
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use identity::{
    Admitted, AuthserviceConfig, ClusterApi, HolderClaims, HttpClient, Identity, IdentityClaims,
    IssuerConfig, IssuerKeys, Issuers, Logins, Oauth2ProxyConfig, Parts, RedirectUri, RelyingParty,
    RpConfig, SecureCookies, SessionConfig, Sessions,
};
use policy::{Check, CheckId, CheckResponse, Reply, RequestHead};
use resources::mesh::ExtAuthzHttp;
use server::{ConnectionLimits, Server, Service, Tls};

use self::given::{Files, read};
use super::elsewhere::Provider;
use super::{AuthzArgs, GRACE, Kept};
use crate::cli::Output;
use crate::control::Control;
use crate::folder::Folder;
use crate::health::{Health, Logouts};
use crate::output::{self, Style};
use crate::pages;
use crate::signals::Signals;
use crate::standing;
use crate::state;
use crate::tls::TlsFiles;
use crate::watch;

/// Whose place is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compat {
    /// Kubeflow's since 1.9; its file and variables
    Oauth2Proxy,
    /// Kubeflow's until 1.8; its variables, or a file of them
    Authservice,
}

impl Compat {
    fn name(self) -> &'static str {
        match self {
            Self::Oauth2Proxy => "oauth2-proxy",
            Self::Authservice => "oidc-authservice",
        }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "In another program's place")]
pub(crate) struct CompatArgs {
    /// Take the place of this program, with its configuration, paths, cookie and headers, and no objects of a cluster
    #[arg(long, value_enum, value_name = "PROGRAM", conflicts_with_all = ["paths", "example"])]
    pub(super) compat: Option<Compat>,
    /// oauth2-proxy's file, or a file of oidc-authservice's variables; variables of the environment go before it
    #[arg(long, value_name = "FILE", requires = "compat")]
    config: Option<PathBuf>,
    /// oauth2-proxy's file with the structure of its own
    #[arg(long, value_name = "FILE", requires = "compat")]
    alpha_config: Option<PathBuf>,
    /// Say what becomes of each setting and end
    #[arg(long, requires = "compat")]
    check: bool,
    /// Take secrets that are published with a distribution, known to everybody
    #[arg(long, requires = "compat")]
    allow_known_secrets: bool,
    /// Form of the report
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl CompatArgs {
    /// What the configuration is called.
    fn from(&self) -> String {
        match &self.config {
            Some(file) => file.display().to_string(),
            None => "the environment".to_owned(),
        }
    }
}

pub(super) fn run(args: &AuthzArgs, whose: Compat) -> anyhow::Result<ExitCode> {
    let compat = &args.compat;
    let from = compat.from();
    let (read, named) = read(compat, whose, &from);
    let imported = read?;
    if compat.check {
        standing::print(&from, &imported.report, compat.output)?;
        return Ok(standing::exit_code(&imported.report));
    }
    standing::refuse(&from, &imported.report)?;
    standing::tell(&from, &imported.report);
    let login = imported.login.context("a configuration without errors")?;
    let files = Files::new(compat, named);
    let _log = output::start_busy_log("warn,sidegate=info,identity=info")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("authz")
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(serve(args, whose, login, &files));
    runtime.shutdown_background();
    outcome
}

async fn serve(
    args: &AuthzArgs,
    whose: Compat,
    login: Login,
    files: &Files,
) -> anyhow::Result<ExitCode> {
    let folder = Folder::take(args.data.clone())?;
    let http: Arc<dyn HttpClient> = Arc::new(Provider::new(args.provider.clone()));
    let issuer = login.issuer.clone();
    let listen = args.listen.or(login.listen).unwrap_or(super::LISTEN);
    let (idle, absolute) = times(&login);
    let sessions = SessionConfig {
        absolute,
        idle,
        ..SessionConfig::default()
    };
    let place = args.redis.storage(None)?;
    let sessions = state::open_kept(folder.path(), &place, sessions)?.sessions;
    let address = login.listen;
    let around = Surroundings {
        http,
        sessions: sessions.clone(),
        data: folder.path().to_owned(),
        cluster_api: args.kubernetes.open()?,
    };
    let answers = Answers::of(login, &around).await?;
    let mut signals = Signals::new()?;
    let taken = "choose another address with `--listen` or `--health`";
    let mut checks = Server::bind(&[listen]).context(taken)?.answering_in_place();
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
    let control = Control::open(&folder)?;
    let control = tokio::spawn(control.serve(Arc::new(Kept {
        sessions: sessions.clone(),
        keys: None,
    })));
    output::note(
        &Style::Plain,
        &format!("in {}'s place, for {issuer}", whose.name()),
    );
    for (what, server) in [("checks", &checks), ("health", &health)] {
        for address in server.addresses() {
            output::note(&Style::Plain, &format!("{what} on {address}"));
        }
    }
    let stand_in = Arc::new(StandIn {
        answers: ArcSwap::from_pointee(answers),
        whose,
        settings: Arc::default(),
    });
    let logouts = Arc::clone(&stand_in) as Arc<dyn Logouts>;
    let ready = Arc::new(Health::default().with_logouts(logouts));
    let (done, ended) = tokio::sync::oneshot::channel::<()>();
    let healthy = tokio::spawn(health.run(
        Arc::clone(&ready),
        ConnectionLimits::default(),
        async move { drop(ended.await) },
        Duration::from_secs(1),
    ));
    tokio::spawn(maintain(sessions.clone()));
    let until = async {
        let (told, mut changes) = tokio::sync::mpsc::unbounded_channel();
        let from = args.compat.from();
        let watching = watch::following(
            || files.all(),
            || {
                let (imported, named) = read(&args.compat, whose, &from);
                files.names(named);
                // Who takes them ends with this.
                let _ = told.send(imported);
            },
        );
        let certificate = async {
            match &tls {
                Some((tls, files)) => files.follow(tls).await,
                None => std::future::pending().await,
            }
        };
        let taking = async {
            while let Some(mut imported) = changes.recv().await {
                while let Ok(newer) = changes.try_recv() {
                    imported = newer;
                }
                reload(&from, imported, address, &around, &stand_in).await;
            }
            anyhow::Ok(())
        };
        let reloads = async { tokio::try_join!(watching, certificate, taking) };
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
    if !checks
        .run(
            Arc::clone(&stand_in),
            ConnectionLimits::default(),
            until,
            GRACE,
        )
        .await
    {
        let line = format!("connections were cut after {} s", GRACE.as_secs());
        output::note(&Style::Warning, &line);
    }
    drop(done);
    drop(healthy.await);
    control.abort();
    drop(control.await);
    sessions.maintain().await?;
    Ok(ExitCode::SUCCESS)
}

/// Takes a changed configuration, or leaves the one of before in force.
async fn reload(
    from: &str,
    imported: anyhow::Result<Imported>,
    address: Option<SocketAddr>,
    around: &Surroundings,
    stand_in: &StandIn,
) {
    let taken = async {
        let imported = imported?;
        standing::refuse(from, &imported.report)?;
        let login = imported.login.context("a configuration without errors")?;
        let (moved, times) = (login.listen != address, times(&login));
        stand_in
            .answers
            .store(Arc::new(Answers::of(login, around).await?));
        around.sessions.use_times(times.0, times.1);
        standing::tell(from, &imported.report);
        if moved {
            let line = "the address changed: takes effect at the next start";
            output::note(&Style::Warning, line);
        }
        anyhow::Ok(())
    };
    match taken.await {
        Ok(()) => output::note(&Style::Plain, "the changed configuration is in force"),
        Err(error) => {
            output::error(&error);
            output::note(&Style::Warning, "the configuration before stays in force");
        }
    }
}

/// How long sessions live, without use and in all.
fn times(login: &Login) -> (Duration, Duration) {
    let absolute = login.cookie.lifetime;
    (absolute.min(SessionConfig::default().idle), absolute)
}

/// What outlives a configuration.
struct Surroundings {
    http: Arc<dyn HttpClient>,
    sessions: Sessions,
    data: PathBuf,
    cluster_api: Option<Arc<ClusterApi>>,
}

/// What one configuration answers by.
struct Answers {
    identity: Identity,
    health_paths: Vec<String>,
}

impl Answers {
    async fn of(login: Login, around: &Surroundings) -> anyhow::Result<Self> {
        Ok(Self {
            health_paths: login.health_paths.clone(),
            identity: identity(login, around).await?,
        })
    }
}

/// Who is calling, as that configuration has it.
async fn identity(login: Login, around: &Surroundings) -> anyhow::Result<Identity> {
    let Surroundings {
        http,
        sessions,
        data,
        cluster_api,
    } = around;
    let clock = identity::system_clock();
    let claims = IdentityClaims {
        user_id: login.user_claim,
        groups: login.groups_claim,
        by_domain: login.email_domains.is_some(),
    };
    let issuers = login.issuers.into_iter().map(|other| IssuerConfig {
        issuer: other.issuer,
        keys: IssuerKeys::Published,
        audiences: vec![other.audience],
        algorithms: Vec::new(),
        holder: HolderClaims::Person(claims.clone()),
    });
    let issuers = Issuers::new(issuers.collect(), &clock, None)?;
    let auth_url = match login.auth_url {
        Some(url) => url,
        None => identity::authorization_endpoint(&login.issuer, Arc::clone(http), clock.clone())
            .await
            .with_context(|| format!("asking {} where people log in", login.issuer))?,
    };
    let admitted = Admitted {
        domains: login.email_domains,
        groups: login.allowed_groups,
    };
    let mut oauth2_proxy = Oauth2ProxyConfig {
        api_routes: login.api_paths,
        skip_auth_prefixes: login.open_prefixes.clone(),
        user_headers: false,
        authorization: false,
        named: None,
        bearer: login.bearer,
        bearer_falls_back: login.bearer_falls_back,
        never_redirects: login.never_redirects,
        admitted: admitted.clone(),
    };
    let mut authservice = AuthserviceConfig {
        skip_auth_urls: login.open_prefixes,
        admitted,
        ..AuthserviceConfig::default()
    };
    match login.headers {
        Headers::Oauth2Proxy {
            user,
            authorization,
        } => (oauth2_proxy.user_headers, oauth2_proxy.authorization) = (user, authorization),
        Headers::Authservice {
            user,
            prefix,
            groups,
        } => {
            let (user, groups) = (HeaderName::try_from(user)?, HeaderName::try_from(groups)?);
            oauth2_proxy.named = Some((user.clone(), groups.clone()));
            authservice.userid_header = user;
            authservice.userid_prefix = prefix;
            authservice.groups_header = groups;
        }
    }
    let settings = RpConfig {
        issuer: login.issuer,
        auth_url: Some(auth_url),
        client_id: login.client_id,
        client_secret: login.client_secret,
        redirect_uri: match login.redirect {
            Redirect::Exactly(uri) => RedirectUri::Exactly(uri),
            Redirect::OnRequestHost(path) => RedirectUri::OnRequestHost(path),
        },
        scopes: login.scopes,
        claims,
        bearer_audiences: login.audiences,
        after_logout_url: login.after_logout,
        logout_at_provider: false,
        takes_unnamed_sessions: true,
        logout_paths: login.logout_paths,
        secure_cookies: match login.cookie.secure {
            true => SecureCookies::Always,
            false => SecureCookies::WhenHttps,
        },
        session_cookie: login.cookie.name,
    };
    // `--provider` is about the login provider alone.
    let way: Arc<dyn HttpClient> = Arc::new(Provider::new(None));
    let (http, sessions) = (Arc::clone(http), sessions.clone());
    let relying_party = RelyingParty::new(settings, http, sessions.clone(), data, clock.clone())?;
    Ok(Identity::new(Parts {
        sessions,
        logins: Logins::one(Some(Arc::new(relying_party))),
        cluster_issuer: None,
        cluster_api: cluster_api.clone(),
        issuers: Some((issuers, way)),
        api_keys: None,
        authservice,
        oauth2_proxy,
        clock,
    }))
}

/// Writes down when sessions were used, and sweeps those that ended.
async fn maintain(sessions: Sessions) {
    let mut every = tokio::time::interval(super::MAINTENANCE);
    loop {
        every.tick().await;
        if let Err(error) = sessions.maintain().await {
            tracing::error!(%error, "sessions cannot be maintained");
        }
    }
}

/// Answers in the other's place.
struct StandIn {
    answers: ArcSwap<Answers>,
    whose: Compat,
    settings: Arc<ExtAuthzHttp>,
}

impl Logouts for StandIn {
    fn logged_out<'a>(
        &'a self,
        head: &'a RequestHead,
        body: &'a [u8],
    ) -> BoxFuture<'a, Option<Reply>> {
        let answers = self.answers.load_full();
        Box::pin(async move {
            let login = answers.identity.relying_party()?;
            Some(login.backchannel_logout(head, body).await)
        })
    }
}

impl Service for StandIn {
    type Body = Full<Bytes>;

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        _: SocketAddr,
    ) -> Response<Full<Bytes>> {
        let (parts, _) = request.into_parts();
        let path = parts.uri.path();
        let answers = self.answers.load_full();
        if answers.health_paths.iter().any(|known| known == path) {
            // Probes take it, and no gateway takes it for leave.
            return answered(StatusCode::NO_CONTENT, "");
        }
        let authority = edge::authority::of(parts.version, &parts.uri, &parts.headers);
        let Ok(authority) = authority else {
            return answered(
                StatusCode::BAD_REQUEST,
                "whose host this is cannot be told\n",
            );
        };
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let check = Check {
            id: CheckId {
                hop: 0,
                provider: 0,
            },
            provider: self.whose.name().into(),
            settings: Arc::clone(&self.settings),
            grpc: false,
            authority,
            path_and_query: target.to_owned(),
            method: parts.method,
            headers: parts.headers,
        };
        let reply = match self.whose {
            Compat::Oauth2Proxy => answers.identity.oauth2_proxy_check(&check).await,
            Compat::Authservice => answers.identity.authservice_check(&check).await,
        };
        response(reply)
    }
}

fn answered(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

fn response(reply: CheckResponse) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    for (name, value) in reply.headers {
        if name != header::CONTENT_LENGTH {
            response.headers_mut().append(name, value);
        }
    }
    response
}
