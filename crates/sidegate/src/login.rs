//! The login of a configuration: the embedded provider and its relying party,
//! read from the `dex` ConfigMap.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use identity::{
    ApiKeys, BACKCHANNEL_LOGOUT_PATH, ClusterApi, ClusterIssuer, HttpClient, HttpError,
    IdentityClaims, Logins, RedirectUri, RelyingParty, RpConfig, SecureCookies, Sessions,
};
use provider::{DexConfig, Provider, StorageConfig, Theme};
use resources::core::ConfigMap;
use resources::{Cluster, Object, ServiceName};
use yaml::Inside;

use crate::outgoing::{AccountTokens, Calls, GatewaySessions, OWN_LOGOUT_URI};
use crate::output::{self, BadInput};
use crate::providers::{self, Named};

/// Where logout is asked for, in the dialects that Kubeflow's dashboards speak.
pub(crate) const LOGOUT_PATHS: [&str; 3] = ["/authservice/logout", "/logout", LOGOUT_PATH];

/// The one that a link can lead to.
pub(crate) const LOGOUT_PATH: &str = "/oauth2/sign_out";
/// The key of the ConfigMap that holds Dex's configuration.
const CONFIG: &str = "config.yaml";
/// Where oauth2-proxy begins a login; scripts that were refused go there.
const START_PATH: &str = "/oauth2/start";

/// What outlives a configuration.
pub(crate) struct Keeping {
    pub(crate) data: PathBuf,
    pub(crate) sessions: Sessions,
    pub(crate) api_keys: ApiKeys,
    pub(crate) provider: provider::Storage,
    pub(crate) cluster_issuer: Arc<ClusterIssuer>,
    /// The real cluster that this runs in or is told of.
    pub(crate) cluster_api: Option<Arc<ClusterApi>>,
    /// A line for the login page, of the example only.
    pub(crate) login_hint: Option<String>,
    /// `--theme`.
    pub(crate) theme: Option<PathBuf>,
}

/// The login of one configuration.
pub(crate) struct Login {
    /// Of Dex's configuration, and of the Sidegate object.
    pub(crate) logins: Logins,
    pub(crate) provider: Option<Provider>,
    /// The Service that the embedded provider stands for.
    pub(crate) provider_service: Option<ServiceName>,
    /// About everything but Dex's configuration.
    warnings: Vec<String>,
    /// About that, with lines, which move while nothing else changes.
    of_dex: ArcSwap<Vec<String>>,
    /// What it was made from, to see whether a reload changes it.
    source: Option<(String, Vec<(String, String)>)>,
    named: Named,
    theme: Theme,
}

/// The parts of a Dex configuration that policies need to know.
pub(crate) struct LoginPaths {
    /// Exact paths of the provider.
    pub(crate) provider: Vec<String>,
    /// Callback and logout.
    pub(crate) login: Vec<String>,
    /// Issuer of the login's tokens.
    pub(crate) issuer: Option<String>,
}

/// Dex's configuration, and the values its environment has.
struct DexSource<'c> {
    map: &'c Object<ConfigMap>,
    yaml: &'c str,
    environment: Vec<(String, String)>,
}

impl<'c> DexSource<'c> {
    /// ConfigMap `dex` of Kubeflow's namespace `auth`, or else of a namespace
    /// of the platform: nobody else's decides who can log in. Its environment
    /// is that of the same namespace.
    fn find(cluster: &'c Cluster) -> Option<Self> {
        let platform = cluster
            .sidegate
            .iter()
            .flat_map(|s| &s.spec.platform.namespaces);
        let map = std::iter::once("auth")
            .chain(platform.map(String::as_str))
            .find_map(|namespace| cluster.config_map(namespace, "dex"))?;
        let yaml = map.spec.data.get(CONFIG)?;
        let here = &map.meta.namespace;
        let secrets = cluster.secrets.iter().filter(|s| s.meta.namespace == *here);
        let mut environment: Vec<(String, String)> = secrets
            .flat_map(|s| &s.spec.data)
            .filter_map(|(key, value)| Some((key.clone(), String::from_utf8(value.clone()).ok()?)))
            .collect();
        let workloads = cluster
            .workloads
            .iter()
            .filter(|w| w.meta.namespace == *here);
        let variables = workloads
            .flat_map(|w| &w.spec.pod.containers)
            .flat_map(|c| &c.env);
        environment.extend(variables.filter_map(|e| Some((e.name.clone(), e.value.clone()?))));
        Some(Self {
            map,
            yaml,
            environment,
        })
    }

    /// The configuration, and what deserves a word.
    fn parse(&self) -> anyhow::Result<(DexConfig, Vec<String>)> {
        let lookup = |name: &str| {
            let found = self.environment.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        };
        match provider::parse_with_lines(self.yaml, &lookup) {
            Ok((config, warnings)) => {
                let said = warnings.iter().map(|(line, what)| self.say(*line, what));
                Ok((config, said.collect()))
            }
            Err((line, what)) => Err(BadInput(vec![self.say(line, &what)]).into()),
        }
    }

    /// Something about a line of the configuration, by its line of the file; where it has none, by that of the key.
    fn say(&self, line: u32, what: &dyn std::fmt::Display) -> String {
        let (source, reference) = (&self.map.source, self.map.reference());
        match self.map.spec.places.get(CONFIG) {
            Some(place @ Inside::From(_)) => {
                let (file, line) = (&source.file, place.line(line));
                format!("{file}:{line}: {reference}: data.{CONFIG}: {what}")
            }
            Some(Inside::At(at)) => {
                let file = &source.file;
                format!("{file}:{at}: {reference}: data.{CONFIG}, line {line} of it: {what}")
            }
            None => format!("{source}: {reference}: data.{CONFIG}, line {line} of it: {what}"),
        }
    }

    /// What a login is made from; equal means that nothing about it changed.
    fn fingerprint(&self) -> (String, Vec<(String, String)>) {
        (self.yaml.to_owned(), self.environment.clone())
    }
}

/// Reads the paths of the login out of a configuration.
pub(crate) fn paths(cluster: &Cluster) -> anyhow::Result<LoginPaths> {
    let mut login: Vec<String> = LOGOUT_PATHS.map(str::to_owned).to_vec();
    login.extend([START_PATH, BACKCHANNEL_LOGOUT_PATH].map(str::to_owned));
    login.extend(providers::callback_paths(cluster));
    let mut provider = Vec::new();
    let mut issuer = None;
    if let Some(dex) = DexSource::find(cluster) {
        let (config, _) = dex.parse()?;
        issuer = Some(config.issuer.url().to_owned());
        provider = provider::paths(&config);
        login.extend(callback_path(&config));
    }
    Ok(LoginPaths {
        provider,
        login,
        issuer,
    })
}

/// Where the state of a configuration's provider is.
pub(crate) fn storage(cluster: &Cluster) -> anyhow::Result<StorageConfig> {
    match DexSource::find(cluster) {
        Some(dex) => Ok(dex.parse()?.0.storage),
        None => Ok(StorageConfig::default()),
    }
}

/// The client whose redirect URI is a path: the platform's own login.
fn client(config: &DexConfig) -> Option<&provider::Client> {
    config
        .clients
        .iter()
        .find(|client| client.redirect_uris.iter().any(|uri| uri.starts_with('/')))
}

/// The platform's own login is told when a session ends at the provider, unless
/// the configuration says whom to tell.
fn register_logout(config: &mut DexConfig) {
    let Some(id) = client(config).map(|client| client.id.clone()) else {
        return;
    };
    let own = config.clients.iter_mut().find(|client| client.id == id);
    if let Some(own) = own {
        own.backchannel_logout_uri
            .get_or_insert_with(|| OWN_LOGOUT_URI.to_owned());
    }
}

fn callback_path(config: &DexConfig) -> Option<String> {
    client(config)?
        .redirect_uris
        .iter()
        .find(|uri| uri.starts_with('/'))
        .cloned()
}

impl Login {
    /// Makes the login of a configuration, or keeps `before` if nothing about
    /// it changed.
    pub(crate) fn open(
        cluster: &Cluster,
        keeping: &Keeping,
        before: Option<&Arc<Self>>,
    ) -> anyhow::Result<Arc<Self>> {
        let dex = DexSource::find(cluster);
        let source = dex.as_ref().map(DexSource::fingerprint);
        let theme = theme(keeping.theme.as_deref())?;
        let named = Named::of(cluster)?;
        let same = |before: &&Arc<Self>| {
            before.source == source && before.named == named && before.theme == theme
        };
        if let Some(before) = before.filter(same) {
            if let Some(dex) = &dex {
                before.of_dex.store(Arc::new(dex.parse()?.1));
            }
            return Ok(Arc::clone(before));
        }
        let parts = Parts {
            sessions: &keeping.sessions,
            api_keys: &keeping.api_keys,
            data: &keeping.data,
        };
        let mut login = Self {
            logins: Logins::default(),
            provider: None,
            provider_service: None,
            warnings: theme.warnings().to_vec(),
            of_dex: ArcSwap::default(),
            source,
            named,
            theme: theme.clone(),
        };
        let Some(dex) = dex else {
            login.complete(cluster, None, NO_DEX, &parts)?;
            return Ok(Arc::new(login));
        };
        let (mut config, warnings) = dex.parse()?;
        register_logout(&mut config);
        login.of_dex.store(Arc::new(warnings));
        login.provider_service = provider_service(&config);
        let calls = Arc::new(Calls::default());
        let options = provider::Options {
            login_hint: keeping.login_hint.clone(),
            outgoing: Some(Arc::clone(&calls) as Arc<dyn provider::Outgoing>),
            subjects: Some(Arc::new(AccountTokens(Arc::clone(&keeping.cluster_issuer)))),
            theme,
            sign_outs: Some(Arc::new(GatewaySessions(keeping.sessions.clone()))),
            ..provider::Options::default()
        };
        let provider = Provider::open(config.clone(), keeping.provider.clone(), options)?;
        let http = Arc::new(InProcess(provider.clone()));
        let own = relying_party(&config, http, &parts)?;
        if let Some(own) = &own {
            calls.set_login(own);
        }
        login.complete(cluster, own, NO_CLIENT, &parts)?;
        login.provider = Some(provider);
        Ok(Arc::new(login))
    }

    /// What deserves a word.
    pub(crate) fn warnings(&self) -> Vec<String> {
        [self.warnings.as_slice(), &self.of_dex.load()].concat()
    }

    /// The same where the provider is a program of its own, whose configuration
    /// is read for the client that people log in with.
    pub(crate) fn elsewhere(
        cluster: &Cluster,
        elsewhere: &Elsewhere,
        before: Option<&Arc<Self>>,
    ) -> anyhow::Result<Arc<Self>> {
        let dex = DexSource::find(cluster);
        let source = dex.as_ref().map(DexSource::fingerprint);
        let named = Named::of(cluster)?;
        let same = |before: &&Arc<Self>| before.source == source && before.named == named;
        if let Some(before) = before.filter(same) {
            return Ok(Arc::clone(before));
        }
        let parts = Parts {
            sessions: &elsewhere.sessions,
            api_keys: &elsewhere.api_keys,
            data: &elsewhere.data,
        };
        let mut login = Self {
            logins: Logins::default(),
            provider: None,
            provider_service: None,
            warnings: Vec::new(),
            of_dex: ArcSwap::default(),
            source,
            named,
            theme: Theme::default(),
        };
        let Some(dex) = dex else {
            login.complete(cluster, None, NO_DEX, &parts)?;
            return Ok(Arc::new(login));
        };
        let (config, _) = dex.parse()?;
        let own = relying_party(&config, Arc::clone(&elsewhere.http), &parts)?;
        login.complete(cluster, own, NO_CLIENT, &parts)?;
        login.provider_service = provider_service(&config);
        Ok(Arc::new(login))
    }

    /// Puts the logins together; `why` there is none of Dex's configuration matters
    /// where no other has its hosts.
    fn complete(
        &mut self,
        cluster: &Cluster,
        own: Option<Arc<RelyingParty>>,
        why: &str,
        parts: &Parts<'_>,
    ) -> anyhow::Result<()> {
        if own.is_none() && !self.named.have_the_rest() {
            self.warnings.push(why.into());
        }
        self.logins = self.named.logins(cluster, own, parts)?;
        Ok(())
    }
}

/// What logins are made of.
pub(crate) struct Parts<'k> {
    pub(crate) sessions: &'k Sessions,
    pub(crate) api_keys: &'k ApiKeys,
    pub(crate) data: &'k Path,
}

const NO_DEX: &str = "no ConfigMap `dex` with a `config.yaml` in namespace `auth` or one of the platform: nobody can log in";
const NO_CLIENT: &str =
    "ConfigMap dex: no static client with a relative redirect URI: nobody can log in";

/// What a login at a provider elsewhere is made of.
pub(crate) struct Elsewhere {
    pub(crate) data: PathBuf,
    pub(crate) sessions: Sessions,
    pub(crate) api_keys: ApiKeys,
    pub(crate) cluster_issuer: Arc<ClusterIssuer>,
    /// The real cluster that this runs in or is told of.
    pub(crate) cluster_api: Option<Arc<ClusterApi>>,
    pub(crate) http: Arc<dyn HttpClient>,
}

/// The relying party of the platform's own client, if there is one.
fn relying_party(
    config: &DexConfig,
    http: Arc<dyn HttpClient>,
    parts: &Parts<'_>,
) -> anyhow::Result<Option<Arc<RelyingParty>>> {
    let (Some(client), Some(callback)) = (client(config), callback_path(config)) else {
        return Ok(None);
    };
    let secret = client.secret.as_ref().and_then(|s| s.expose());
    // One that browsers are not meant with is known to them by its path alone.
    let public = config.issuer.url().starts_with("https://");
    let after_logout = client.post_logout_redirect_uris.first();
    let after_logout = after_logout.filter(|_| public);
    let settings = RpConfig {
        issuer: config.issuer.url().to_owned(),
        auth_url: Some(format!("{}/auth", config.issuer.path())),
        client_id: client.id.clone(),
        client_secret: identity::Secret::new(secret.unwrap_or_default()),
        redirect_uri: RedirectUri::Exactly(callback),
        scopes: ["openid", "profile", "email", "groups"]
            .map(str::to_owned)
            .to_vec(),
        claims: IdentityClaims::default(),
        bearer_audiences: config.clients.iter().map(|c| c.id.clone()).collect(),
        after_logout_url: after_logout.map_or("/", String::as_str).to_owned(),
        logout_at_provider: after_logout.is_some(),
        takes_unnamed_sessions: true,
        logout_paths: LOGOUT_PATHS.map(str::to_owned).to_vec(),
        secure_cookies: SecureCookies::WhenHttps,
        session_cookie: identity::SESSION_COOKIE.to_owned(),
    };
    let clock = identity::system_clock();
    let made = RelyingParty::new(settings, http, parts.sessions.clone(), parts.data, clock)?;
    Ok(Some(Arc::new(made.with_api_keys(parts.api_keys.clone()))))
}

/// The theme of a folder, whole or not at all.
pub(crate) fn theme(folder: Option<&Path>) -> anyhow::Result<Theme> {
    match folder {
        None => Ok(Theme::default()),
        Some(folder) => {
            Theme::load(folder).map_err(|error| BadInput(vec![error.to_string()]).into())
        }
    }
}

/// Where people reach the provider: the issuer, if it is one that browsers can be meant with, else
/// the listener that is reached at `listener`.
pub(crate) fn base(provider: &Provider, listener: &str) -> String {
    let issuer = &provider.config().issuer;
    if issuer.url().starts_with("https://") {
        issuer.url().to_owned()
    } else {
        format!("{listener}{}", issuer.path())
    }
}

/// Says on standard error where the first account is set up, where nobody can log in yet.
/// `listener` is where the listener is reached.
pub(crate) async fn invite_the_first(provider: &Provider, listener: &str) -> anyhow::Result<()> {
    if let Some(link) = provider.admin().first_link().await? {
        let link = link.at(&base(provider, listener));
        let line = format!(
            "nobody can log in yet; set up the first account, once and within a day, at\n  {}",
            link.expose()
        );
        output::note(&output::Style::Plain, &line);
    }
    Ok(())
}

/// Ends the logins of those who have left the configuration, which is in force.
pub(crate) async fn end_logins_of_the_gone(provider: &Provider) {
    if let Err(error) = provider.admin().end_logins_of_the_gone().await {
        tracing::error!(%error, "logins of users who left the configuration were not ended");
    }
}

fn provider_service(config: &DexConfig) -> Option<ServiceName> {
    let url: http::Uri = config.issuer.url().parse().ok()?;
    ServiceName::from_host(url.host()?, "auth")
}

/// Reaches the embedded provider: HTTP messages, no socket.
struct InProcess(Provider);

impl HttpClient for InProcess {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, HttpError>> {
        Box::pin(async move { Ok(self.0.handle(request).await) })
    }
}
