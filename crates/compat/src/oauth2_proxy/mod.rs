//! oauth2-proxy as the external check of a gateway, as Kubeflow installs it: its file, its environment, and the file with
//! the structure of its own ("alpha configuration"). Names are those of version 7.

mod alpha;
mod file;
mod known;

use std::time::Duration;

use regex::RegexSet;

use crate::given::{Settings, Value};
use crate::login::{Cookie, Headers, Login, Redirect, TokenIssuer};
use crate::{Around, Imported};

/// Reads its file (TOML), its alpha configuration (YAML) and its variables, which go before files.
///
/// # Errors
/// Says why a file cannot be read at all.
pub fn oauth2_proxy(
    file: &str,
    alpha: Option<&str>,
    around: Around<'_>,
) -> Result<Imported, String> {
    let mut given = file::read(file)?;
    if let Some(alpha) = alpha {
        given.extend(alpha::read(alpha)?);
    }
    given.extend(file::variables(around.environment));
    let mut settings = Settings::new(given, around);
    let login = login(&mut settings);
    Ok(Imported {
        login: login.filter(|_| !settings.is_refused()),
        report: settings.finish(known::effect),
    })
}

fn login(settings: &mut Settings<'_>) -> Option<Login> {
    provider(settings);
    let issuer = issuer(settings);
    let client_id = settings.text("client_id");
    if client_id.is_none() {
        settings.missing("client_id", "who the login is at the provider");
    }
    let client_secret = settings.secret("client_secret", Some("client_secret_file"));
    if client_secret.is_none() {
        settings.missing("client_secret", "how the provider knows the login");
    }
    // Its cookies are sealed with this; here they hold the number of a session, so that it is only looked at whether the
    // secret is one that everybody knows.
    settings.secret("cookie_secret", Some("cookie_secret_file"));
    strict(settings);
    pkce(settings);
    upstreams(settings);
    let prefix = settings
        .text("proxy_prefix")
        .unwrap_or_else(|| "/oauth2".to_owned());
    if prefix.trim_end_matches('/') != "/oauth2" {
        settings.refuse("expected `/oauth2`");
    }
    let prefix = prefix.trim_end_matches('/');
    let redirect = settings
        .text("redirect_url")
        .unwrap_or_else(|| format!("{prefix}/callback"));
    // Without it oauth2-proxy puts the host of the request in front.
    let on_request_host =
        settings.flag("relative_redirect_url") != Some(true) && is_path(&redirect);
    let cookie = cookie(settings);
    let bearer = settings.flag("skip_jwt_bearer_tokens").unwrap_or(false);
    let open_prefixes = open_prefixes(settings);
    let login = Login {
        auth_url: settings.text("login_url"),
        scopes: scopes(settings),
        user_claim: user_claim(settings),
        groups_claim: settings
            .text("oidc_groups_claim")
            .unwrap_or_else(|| "groups".to_owned()),
        audiences: settings.list("oidc_extra_audiences").unwrap_or_default(),
        bearer,
        bearer_falls_back: settings.flag("bearer_token_login_fallback").unwrap_or(true),
        issuers: issuers(settings, bearer),
        email_domains: email_domains(settings),
        allowed_groups: settings.list("allowed_groups"),
        cookie,
        start_paths: vec![format!("{prefix}/start")],
        logout_paths: vec![format!("{prefix}/sign_out")],
        after_logout: "/".to_owned(),
        open_prefixes,
        api_paths: api_paths(settings),
        never_redirects: settings.flag("force_json_errors").unwrap_or(false),
        headers: headers(settings),
        listen: listen(settings),
        health_paths: [("ping_path", "/ping"), ("ready_path", "/ready")]
            .map(|(key, usual)| settings.text(key).unwrap_or_else(|| usual.to_owned()))
            .to_vec(),
        issuer: issuer?,
        client_id: client_id?,
        client_secret: client_secret?,
        redirect: match on_request_host {
            true => Redirect::OnRequestHost(redirect),
            false => Redirect::Exactly(redirect),
        },
    };
    Some(login)
}

fn provider(settings: &mut Settings<'_>) {
    if settings.take("providers[1]").is_some() {
        settings.refuse("expected one provider: put one before the others that knows them as connectors, as Dex does");
    }
    match settings.text("provider").as_deref() {
        Some("oidc") => {}
        Some(_) => settings.refuse(
            "only `oidc` is spoken: put an OpenID provider before the other, as Dex or `sidegate provider` are, and name it here",
        ),
        None => settings.missing("provider", "expected `oidc`; without it oauth2-proxy logs people in at Google"),
    }
}

/// The issuer, and what is below it.
fn issuer(settings: &mut Settings<'_>) -> Option<String> {
    let issuer = settings.text("oidc_issuer_url");
    if issuer.is_none() {
        settings.missing("oidc_issuer_url", "the provider that logs people in");
    }
    settings.take("skip_oidc_discovery");
    for key in ["redeem_url", "oidc_jwks_url"] {
        let below = |url: &str| {
            issuer.as_deref().is_some_and(|issuer| {
                let rest = url.strip_prefix(issuer.trim_end_matches('/'));
                rest.is_some_and(|rest| rest.starts_with('/'))
            })
        };
        if settings.text(key).is_some_and(|url| !below(&url)) {
            settings.refuse(
                "is not below `oidc_issuer_url`, where it is looked for: keys and tokens come from the issuer alone",
            );
        }
    }
    issuer
}

/// What would make the login less strict than it is.
fn strict(settings: &mut Settings<'_>) {
    for (key, why) in [
        (
            "insecure_oidc_skip_issuer_verification",
            "a token would count whoever issued it",
        ),
        (
            "insecure_oidc_allow_unverified_email",
            "somebody could take another's address",
        ),
    ] {
        if settings.flag(key) == Some(true) {
            settings.refuse(format!("{why}: leave it out"));
        }
    }
    for key in ["insecure_oidc_skip_nonce", "ssl_insecure_skip_verify"] {
        if settings.flag(key) == Some(true) {
            settings.ignore("always verified here");
        }
    }
    for key in ["acr_values", "authenticated_emails_file", "allowed_roles"] {
        if settings.take(key).is_some_and(|value| !value.is_empty()) {
            settings.refuse("limits who gets through and is not supported: use `allowed_groups`");
        }
    }
    if settings
        .list("oidc_audience_claims")
        .is_some_and(|claims| claims != ["aud"])
    {
        settings.refuse("the audience of a token is its `aud`");
    }
    for key in ["trusted_ips", "skip_auth_preflight", "htpasswd_file"] {
        if settings
            .take(key)
            .is_some_and(|value| value != Value::Flag(false) && !value.is_empty())
        {
            settings.ignore("nobody gets through by it: ways in are the login and tokens");
        }
    }
    for key in ["ping_user_agent", "gcp_healthchecks"] {
        if settings.take(key).is_some() {
            settings.ignore(
                "anybody can send that: probes ask the paths of `ping_path` and `ready_path`",
            );
        }
    }
}

fn pkce(settings: &mut Settings<'_>) {
    for key in ["code_challenge_method", "force_code_challenge_method"] {
        match settings.text(key).as_deref() {
            None | Some("S256") => {}
            Some(_) => settings.refuse("expected `S256`"),
        }
    }
    match settings.text("prompt").as_deref() {
        None | Some("none") => {}
        Some(_) => settings.ignore("the provider decides when it asks for the password again"),
    }
}

/// It has to be one that is asked, not one that forwards.
fn upstreams(settings: &mut Settings<'_>) {
    let Some(upstreams) = settings.list("upstreams") else {
        settings.missing(
            "upstreams",
            "expected [\"static://200\"]: Sidegate is asked by a gateway and forwards nothing",
        );
        return;
    };
    if upstreams.iter().any(|upstream| upstream != "static://200") {
        settings.refuse(
            "expected [\"static://200\"]: Sidegate is asked by a gateway and forwards nothing",
        );
    }
}

fn cookie(settings: &mut Settings<'_>) -> Cookie {
    let name = settings
        .text("cookie_name")
        .unwrap_or_else(|| "_oauth2_proxy".to_owned());
    if !is_token(&name) {
        settings.refuse("is not a name of a cookie");
    }
    if settings.text("cookie_path").is_some_and(|path| path != "/") {
        settings.refuse("expected `/`: a session is for the whole host");
    }
    if settings.list("cookie_domains").is_some() {
        settings.ignore(
            "cookies are for one host; others of the same provider log in without a password",
        );
    }
    if settings.flag("cookie_httponly") == Some(false) {
        settings.refuse("scripts of any page could take the session");
    }
    match settings.text("cookie_samesite").as_deref() {
        None | Some("lax") => {}
        Some("none") => settings.refuse("other sites could act in the name of a person"),
        Some(_) => {
            settings.ignore("cookies are `lax`, so that links from other sites find the session")
        }
    }
    if settings.take("cookie_refresh").is_some() {
        settings.ignore("tokens are renewed when they end, where `scope` has `offline_access`");
    }
    Cookie {
        name,
        lifetime: settings
            .duration("cookie_expire", false)
            .filter(|lifetime| !lifetime.is_zero())
            .unwrap_or(Duration::from_secs(168 * 3600)),
        secure: settings.flag("cookie_secure").unwrap_or(true),
    }
}

fn scopes(settings: &mut Settings<'_>) -> Vec<String> {
    let scopes = settings.text("scope");
    let scopes = scopes.as_deref().unwrap_or("openid email profile");
    scopes.split_whitespace().map(str::to_owned).collect()
}

fn user_claim(settings: &mut Settings<'_>) -> String {
    let old = settings.text("user_id_claim");
    let new = settings.text("oidc_email_claim");
    new.or(old).unwrap_or_else(|| "email".to_owned())
}

fn issuers(settings: &mut Settings<'_>, bearer: bool) -> Vec<TokenIssuer> {
    let Some(pairs) = settings.list("extra_jwt_issuers") else {
        return Vec::new();
    };
    let issuers: Option<Vec<TokenIssuer>> = pairs
        .iter()
        .map(|pair| {
            let (issuer, audience) = pair.rsplit_once('=')?;
            let usable = issuer.starts_with("https://") || issuer.starts_with("http://");
            (usable && !audience.is_empty()).then(|| TokenIssuer {
                issuer: issuer.to_owned(),
                audience: audience.to_owned(),
            })
        })
        .collect();
    if issuers.is_none() {
        settings.refuse("expected `issuer=audience`, with the issuer an http(s) URL");
    } else if !bearer {
        settings.ignore("no effect without `skip_jwt_bearer_tokens`");
    }
    issuers.unwrap_or_default()
}

fn email_domains(settings: &mut Settings<'_>) -> Option<Vec<String>> {
    let Some(domains) = settings.list("email_domains") else {
        settings.missing(
            "email_domains",
            "whose addresses get through; [\"*\"] for all",
        );
        return None;
    };
    if domains.iter().any(|domain| domain == "*") {
        return None;
    }
    Some(
        domains
            .iter()
            .map(|domain| domain.to_ascii_lowercase())
            .collect(),
    )
}

/// What answers tell the upstream; of the alpha configuration, the user's id and groups.
fn headers(settings: &mut Settings<'_>) -> Headers {
    if settings.take("inject_request_headers").is_some() {
        settings.ignore("nothing is forwarded from here");
    }
    let (user, authorization) = (
        settings.flag("set_xauthrequest").unwrap_or(false),
        settings.flag("set_authorization_header").unwrap_or(false),
    );
    let Some(injected) = settings.list("inject_response_headers") else {
        return Headers::Oauth2Proxy {
            user,
            authorization,
        };
    };
    let named = |claims: &[&str]| {
        let mut pairs = injected.iter().filter_map(|header| header.split_once('='));
        let found = pairs.find(|(_, claim)| claims.contains(claim));
        found.map(|(name, _)| name.to_owned())
    };
    match (
        named(&["email", "user"]),
        named(&["groups"]),
        injected.len(),
    ) {
        (Some(user), Some(groups), 2) => Headers::Authservice {
            user,
            prefix: String::new(),
            groups,
        },
        _ => {
            settings.refuse(
                "expected two headers, one with the claim `email` and one with `groups`, each alone",
            );
            Headers::Oauth2Proxy {
                user,
                authorization,
            }
        }
    }
}

/// Patterns that are read as what people mean with them: a folder and what is below.
fn open_prefixes(settings: &mut Settings<'_>) -> Vec<String> {
    let mut prefixes = Vec::new();
    for key in ["skip_auth_routes", "skip_auth_regex"] {
        let Some(patterns) = settings.list(key) else {
            continue;
        };
        let read: Vec<Option<&str>> = patterns.iter().map(|pattern| folder(pattern)).collect();
        match read.iter().position(Option::is_none) {
            Some(index) => {
                let pattern = patterns.get(index).map_or("", String::as_str);
                settings.refuse(format!(
                    "`{pattern}` opens paths that happen to match it; expected the beginning of a path, like `^/dex/`"
                ));
            }
            None if patterns.iter().any(|pattern| !pattern.starts_with('^')) => {
                settings.last(
                    crate::Standing::Supported,
                    "from the beginning of the path alone; oauth2-proxy opens any path that has this within",
                );
            }
            None => {}
        }
        prefixes.extend(read.into_iter().flatten().map(str::to_owned));
    }
    prefixes
}

/// The folder that a pattern is about: `^/dex/`, `/dex/.*`, `^/dex/.*$`.
fn folder(pattern: &str) -> Option<&str> {
    let rest = pattern.strip_prefix('^').unwrap_or(pattern);
    let rest = rest.strip_suffix('$').unwrap_or(rest);
    let rest = rest.strip_suffix(".*").unwrap_or(rest);
    let folder = rest.strip_suffix('/')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_');
    (folder.starts_with('/') && folder.len() > 1 && folder.chars().all(plain)).then_some(folder)
}

fn api_paths(settings: &mut Settings<'_>) -> RegexSet {
    let Some(patterns) = settings.list("api_routes") else {
        return RegexSet::empty();
    };
    RegexSet::new(&patterns).unwrap_or_else(|error| {
        settings.refuse(format!("is no pattern: {error}"));
        RegexSet::empty()
    })
}

fn listen(settings: &mut Settings<'_>) -> Option<std::net::SocketAddr> {
    let text = settings.text("http_address")?;
    let address = text.strip_prefix("http://").unwrap_or(&text);
    let full = match address.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => address.to_owned(),
    };
    let parsed = full.parse().ok();
    if parsed.is_none() {
        settings.refuse("expected `address:port`");
    }
    parsed
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_token(text: &str) -> bool {
    let mark = |b: u8| matches!(b, b'_' | b'-' | b'.');
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || mark(b))
}
