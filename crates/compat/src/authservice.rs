//! oidc-authservice (arrikto), which Kubeflow had until 1.8: its environment, with the names of all its versions.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::RegexSet;

use crate::given::{Given, Settings, Value};
use crate::login::{Cookie, Headers, Login, Redirect};
use crate::{Around, Imported};

/// Its variables, by their newest names; older ones behind.
const NAMES: [(&str, &[&str]); 20] = [
    ("OIDC_PROVIDER", &[]),
    ("OIDC_AUTH_URL", &[]),
    ("OIDC_SCOPES", &[]),
    ("CLIENT_ID", &[]),
    ("CLIENT_SECRET", &[]),
    ("REDIRECT_URL", &[]),
    ("AUTHSERVICE_URL_PREFIX", &[]),
    ("AFTER_LOGOUT_URL", &["STATIC_DESTINATION_URL"]),
    ("AFTER_LOGIN_URL", &[]),
    ("SKIP_AUTH_URLS", &["SKIP_AUTH_URI"]),
    ("USERID_HEADER", &[]),
    ("USERID_PREFIX", &[]),
    ("USERID_CLAIM", &[]),
    ("GROUPS_HEADER", &[]),
    ("GROUPS_CLAIM", &[]),
    ("GROUPS_ALLOWLIST", &[]),
    ("AUDIENCES", &[]),
    ("SESSION_MAX_AGE", &[]),
    ("SESSION_SAME_SITE", &[]),
    ("SERVER_PORT", &["PORT"]),
];

/// Variables that have no effect here, and why.
const BESIDE: [(&str, &str); 25] = [
    ("STORE_PATH", STORE),
    ("OIDC_STATE_STORE_PATH", STORE),
    ("SESSION_STORE_PATH", STORE),
    ("SESSION_STORE_TYPE", STORE),
    ("SESSION_STORE_REDIS_ADDR", STORE),
    ("SESSION_STORE_REDIS_PWD", STORE),
    ("SESSION_STORE_REDIS_DB", STORE),
    ("SESSION_DOMAIN", "cookies are for one host"),
    (
        "STRICT_SESSION_VALIDATION",
        "sessions end with those of the provider",
    ),
    ("SERVER_HOSTNAME", "the address is that of `--listen`"),
    ("WEB_SERVER_PORT", PAGES),
    (
        "READINESS_PROBE_PORT",
        "probes ask `/healthz` and `/readyz`",
    ),
    ("CLIENT_NAME", PAGES),
    ("THEMES_URL", PAGES),
    ("THEME", PAGES),
    ("TEMPLATE_PATH", PAGES),
    ("HOMEPAGE_URL", PAGES),
    ("VERIFY_AUTH_URL", PAGES),
    ("LOG_LEVEL", "logs have one form"),
    (
        "CACHE_ENABLED",
        "tokens are remembered for a minute at most",
    ),
    (
        "CACHE_EXPIRATION_MINUTES",
        "tokens are remembered for a minute at most",
    ),
    ("SCHEME_DEFAULT", "redirects are paths"),
    ("SCHEME_HEADER", "redirects are paths"),
    (
        "CA_BUNDLE",
        "the provider is reached as the rest of the system reaches it",
    ),
    ("AUTH_METHOD_HEADER", "it is `auth-method`"),
];
const STORE: &str = "sessions lie in the data folder (`--data`)";
const PAGES: &str = "there is no page but the provider's";

/// What limits who gets through, or tells the upstream more, and is not supported.
const REFUSED: [&str; 8] = [
    "EXTERNAL_AUTHZ_URL",
    "AUTHZ_CONFIG_PATH",
    "USERID_TRANSFORMERS",
    "AUTH_HEADER",
    "TOKEN_HEADER",
    "TOKEN_SCHEME",
    "USERID_TOKEN_HEADER",
    "ID_TOKEN_HEADER",
];

/// Reads its environment. Variables that it does not know are not its own, and nothing is said of them.
#[must_use]
pub fn authservice(around: Around<'_>) -> Imported {
    let mut given = BTreeMap::new();
    let own = |name: &str| {
        let mut names = NAMES.iter();
        let known = names.find(|(new, old)| *new == name || old.contains(&name));
        known.map(|(new, _)| *new).or_else(|| {
            let beside = BESIDE.iter().map(|(known, _)| *known);
            beside.chain(REFUSED).find(|known| *known == name)
        })
    };
    for (name, value) in around.environment {
        let Some(key) = own(name).filter(|_| !value.is_empty()) else {
            continue;
        };
        let entry = Given {
            name: name.clone(),
            line: 0,
            value: Value::Text(value.trim_matches('"').to_owned()),
        };
        given.insert(key.to_owned(), entry);
    }
    let mut settings = Settings::new(given, around);
    let login = login(&mut settings);
    Imported {
        login: login.filter(|_| !settings.is_refused()),
        report: settings.finish(|key| {
            let found = BESIDE.iter().find(|(known, _)| *known == key);
            found.map(|(_, why)| *why)
        }),
    }
}

fn login(settings: &mut Settings<'_>) -> Option<Login> {
    let issuer = settings.text("OIDC_PROVIDER");
    if issuer.is_none() {
        settings.missing("OIDC_PROVIDER", "the provider that logs people in");
    }
    let client_id = settings.text("CLIENT_ID");
    if client_id.is_none() {
        settings.missing("CLIENT_ID", "who the login is at the provider");
    }
    let client_secret = settings.secret("CLIENT_SECRET", None);
    if client_secret.is_none() {
        settings.missing("CLIENT_SECRET", "how the provider knows the login");
    }
    for key in REFUSED {
        if settings.take(key).is_some() {
            settings.refuse("is not supported, and without it others would get through or be told");
        }
    }
    if settings.take("AFTER_LOGIN_URL").is_some() {
        settings.ignore("people come back to what they asked for");
    }
    match settings.text("SESSION_SAME_SITE").as_deref() {
        None | Some("Lax") => {}
        Some("None") => settings.refuse("other sites could act in the name of a person"),
        Some(_) => {
            settings.ignore("cookies are `Lax`, so that links from other sites find the session")
        }
    }
    let prefix = settings.text("AUTHSERVICE_URL_PREFIX");
    let base = prefix
        .as_deref()
        .unwrap_or("/authservice/")
        .trim_end_matches('/')
        .to_owned();
    let allowed_groups = settings.list("GROUPS_ALLOWLIST");
    let lifetime = settings.duration("SESSION_MAX_AGE", true);
    Some(Login {
        auth_url: settings.text("OIDC_AUTH_URL"),
        scopes: scopes(settings),
        user_claim: settings
            .text("USERID_CLAIM")
            .unwrap_or_else(|| "email".to_owned()),
        groups_claim: settings
            .text("GROUPS_CLAIM")
            .unwrap_or_else(|| "groups".to_owned()),
        audiences: settings.list("AUDIENCES").unwrap_or_else(|| {
            vec!["istio-ingressgateway.istio-system.svc.cluster.local".to_owned()]
        }),
        bearer: true,
        bearer_falls_back: true,
        issuers: Vec::new(),
        email_domains: None,
        allowed_groups: allowed_groups.filter(|groups| !groups.iter().any(|group| group == "*")),
        cookie: Cookie {
            name: "authservice_session".to_owned(),
            secure: false,
            lifetime: lifetime.unwrap_or(Duration::from_secs(86_400)),
        },
        start_paths: Vec::new(),
        logout_paths: match prefix {
            // Until 2021 there was no prefix.
            None => vec!["/logout".to_owned(), format!("{base}/logout")],
            Some(_) => vec![format!("{base}/logout")],
        },
        after_logout: settings
            .text("AFTER_LOGOUT_URL")
            .unwrap_or_else(|| "/".to_owned()),
        open_prefixes: open_prefixes(settings),
        api_paths: RegexSet::empty(),
        never_redirects: false,
        headers: Headers::Authservice {
            user: header(settings, "USERID_HEADER", "kubeflow-userid"),
            prefix: settings.text("USERID_PREFIX").unwrap_or_default(),
            groups: header(settings, "GROUPS_HEADER", "kubeflow-groups"),
        },
        listen: listen(settings),
        health_paths: Vec::new(),
        redirect: Redirect::Exactly(
            settings
                .text("REDIRECT_URL")
                .unwrap_or_else(|| format!("{base}/oidc/callback")),
        ),
        issuer: issuer?,
        client_id: client_id?,
        client_secret: client_secret?,
    })
}

/// Divided by spaces or commas, as its versions differ.
fn scopes(settings: &mut Settings<'_>) -> Vec<String> {
    let text = settings.text("OIDC_SCOPES");
    let text = text.as_deref().unwrap_or("openid,email");
    let parts = text.split([' ', ',']).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

fn open_prefixes(settings: &mut Settings<'_>) -> Vec<String> {
    let list = settings.text("SKIP_AUTH_URLS").unwrap_or_default();
    let parts = list.split([' ', ',']).filter(|part| !part.is_empty());
    let prefixes: Vec<String> = parts.map(|p| p.trim_end_matches('/').to_owned()).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    let folder = |p: &String| p.starts_with('/') && p.chars().all(plain) && !p.contains("..");
    if !prefixes.iter().all(folder) {
        settings
            .refuse("expected beginnings of paths, like `/dex`; `/` alone would open everything");
        return Vec::new();
    }
    prefixes
}

fn header(settings: &mut Settings<'_>, key: &str, usual: &str) -> String {
    let name = settings.text(key).unwrap_or_else(|| usual.to_owned());
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !name.bytes().all(fits) {
        settings.refuse("is not a name of a header");
    }
    name.to_ascii_lowercase()
}

fn listen(settings: &mut Settings<'_>) -> Option<std::net::SocketAddr> {
    let port = settings.text("SERVER_PORT")?;
    let port: Option<u16> = port.parse().ok();
    if port.is_none() {
        settings.refuse("expected a port");
    }
    Some(std::net::SocketAddr::from(([0, 0, 0, 0], port?)))
}
