//! Login providers that the Sidegate object names, each with its hosts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use identity::{
    Hosts, IdentityClaims, Logins, RedirectUri, RelyingParty, RpConfig, Secret, SecureCookies,
};
use provider::Roots;
use resources::sidegate::{LoginProvider, Sidegate};
use resources::{Cluster, Object};

use crate::authz::elsewhere::Provider;
use crate::login::{LOGOUT_PATHS, Parts};
use crate::output::BadInput;

/// A client's secret is no longer.
const MAX_SECRET: u64 = 4096;

/// Providers as they are configured, with their clients' secrets; equal if nothing changed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Named(Vec<(LoginProvider, String)>);

fn bad(object: &Object<Sidegate>, at: usize, why: &str) -> anyhow::Error {
    let (source, reference) = (&object.source, object.reference());
    BadInput(vec![format!(
        "{source}: {reference}: spec.login.providers[{at}]{why}"
    )])
    .into()
}

/// Paths that these providers send browsers back to.
pub(crate) fn callback_paths(cluster: &Cluster) -> impl Iterator<Item = String> + '_ {
    let object = cluster.sidegate.iter();
    let providers = object.flat_map(|object| &object.spec.login.providers);
    providers.map(|provider| provider.redirect_path.clone())
}

/// Files that a configuration names; what is in them is a part of it.
pub(crate) fn files(cluster: &Cluster) -> Vec<PathBuf> {
    let object = cluster.sidegate.iter();
    let providers = object.flat_map(|object| &object.spec.login.providers);
    let named = providers.filter_map(|provider| provider.client_secret_file.as_ref());
    named.map(PathBuf::from).collect()
}

impl Named {
    /// Those of a configuration.
    pub(crate) fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let Some(object) = &cluster.sidegate else {
            return Ok(Self::default());
        };
        let providers = &object.spec.login.providers;
        let all = providers.iter().enumerate().map(|(at, provider)| {
            check(provider, providers.get(..at).unwrap_or_default())
                .map_err(|why| bad(object, at, &why))?;
            let secret = secret(cluster, object, provider).map_err(|why| bad(object, at, &why))?;
            Ok((provider.clone(), secret))
        });
        Ok(Self(all.collect::<anyhow::Result<_>>()?))
    }

    /// Whether one of them is for all hosts that no other is for.
    pub(crate) fn have_the_rest(&self) -> bool {
        self.0.iter().any(|(provider, _)| provider.hosts.is_empty())
    }

    /// Their logins beside `rest`.
    pub(crate) fn logins(
        &self,
        cluster: &Cluster,
        rest: Option<Arc<RelyingParty>>,
        parts: &Parts<'_>,
    ) -> anyhow::Result<Logins> {
        let Some(object) = &cluster.sidegate else {
            return Ok(Logins::one(rest));
        };
        let mut rest = rest;
        let mut of_hosts = Vec::new();
        for (at, (provider, secret)) in self.0.iter().enumerate() {
            let wrong = |why: String| bad(object, at, &why);
            let authority = provider.certificate_authority.as_deref();
            let roots = Roots(Arc::new(authority.unwrap_or_default().into()));
            let http = Arc::new(Provider::new(None).trusting(roots));
            let made = RelyingParty::new(
                settings(provider, secret),
                http,
                parts.sessions.clone(),
                parts.data,
                identity::system_clock(),
            );
            let made = made.map_err(|error| wrong(format!(": {error}")))?;
            let made = Arc::new(made.with_api_keys(parts.api_keys.clone()));
            if provider.hosts.is_empty() {
                rest = Some(made);
            } else {
                let hosts = Hosts::new(&provider.hosts);
                let hosts = hosts.map_err(|name| {
                    wrong(format!(
                        ".hosts: `{name}`, expected a name of a host, or `*.` before one"
                    ))
                })?;
                of_hosts.push((hosts, made));
            }
        }
        let all = of_hosts.into_iter();
        Ok(all.fold(Logins::one(rest), |logins, (hosts, login)| {
            logins.with(hosts, login)
        }))
    }
}

fn check(provider: &LoginProvider, before: &[LoginProvider]) -> Result<(), String> {
    let url: Option<http::Uri> = provider.issuer.parse().ok();
    let is_issuer = url.is_some_and(|url| {
        matches!(url.scheme_str(), Some("https" | "http")) && url.query().is_none()
    });
    if !is_issuer || provider.issuer.contains('#') {
        return Err(format!(
            ".issuer: `{}`, expected an http(s) URL without query",
            provider.issuer
        ));
    }
    if provider.client_id.is_empty() {
        return Err(".clientId: is missing".to_owned());
    }
    let path = &provider.redirect_path;
    if path == "/" || LOGOUT_PATHS.contains(&path.as_str()) {
        return Err(format!(
            ".redirectPath: `{path}`, expected a path that is for nothing else"
        ));
    }
    if provider.hosts.is_empty() && before.iter().any(|other| other.hosts.is_empty()) {
        return Err(": another provider without `hosts` has all others already".to_owned());
    }
    let of_others = |host: &String| {
        let mut others = before.iter().flat_map(|other| &other.hosts);
        others.any(|other| other.eq_ignore_ascii_case(host))
    };
    match provider.hosts.iter().find(|host| of_others(host)) {
        Some(host) => Err(format!(".hosts: `{host}` is another provider's")),
        None => Ok(()),
    }
}

fn secret(
    cluster: &Cluster,
    object: &Object<Sidegate>,
    provider: &LoginProvider,
) -> Result<String, String> {
    match (&provider.client_secret_ref, &provider.client_secret_file) {
        (None, None) => Ok(String::new()),
        (Some(_), Some(_)) => {
            Err(": expected `clientSecretRef` or `clientSecretFile`, found both".to_owned())
        }
        (Some(wanted), None) => {
            let namespace = &object.meta.namespace;
            let mut secrets = cluster.secrets.iter();
            let found = secrets
                .find(|s| s.meta.namespace == *namespace && s.meta.name == wanted.name)
                .and_then(|secret| secret.spec.data.get(&wanted.key));
            let text = found.and_then(|bytes| String::from_utf8(bytes.clone()).ok());
            text.filter(|text| !text.is_empty()).ok_or_else(|| {
                format!(
                    ".clientSecretRef: no text `{}` in a Secret {namespace}/{}",
                    wanted.key, wanted.name
                )
            })
        }
        (None, Some(file)) => {
            let unusable = |why: &str| format!(".clientSecretFile: `{file}`: {why}");
            let path = Path::new(file);
            let size = std::fs::metadata(path).map_err(|error| unusable(&error.to_string()))?;
            if size.len() > MAX_SECRET {
                return Err(unusable("is longer than a secret"));
            }
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| unusable(&error.to_string()))?;
            match text.trim_end_matches(['\r', '\n']) {
                "" => Err(unusable("is empty")),
                text => Ok(text.to_owned()),
            }
        }
    }
}

fn settings(provider: &LoginProvider, secret: &str) -> RpConfig {
    RpConfig {
        issuer: provider.issuer.clone(),
        auth_url: None,
        client_id: provider.client_id.clone(),
        client_secret: Secret::new(secret),
        redirect_uri: RedirectUri::OnRequestHost(provider.redirect_path.clone()),
        scopes: provider.scopes.clone(),
        claims: IdentityClaims {
            user_id: provider.user.claim.clone(),
            groups: provider.user.groups.clone(),
            by_domain: false,
        },
        bearer_audiences: provider.audiences.clone(),
        after_logout_url: "/".into(),
        logout_at_provider: true,
        takes_unnamed_sessions: false,
        logout_paths: LOGOUT_PATHS.map(str::to_owned).to_vec(),
        secure_cookies: SecureCookies::WhenHttps,
        session_cookie: identity::SESSION_COOKIE.to_owned(),
    }
}
