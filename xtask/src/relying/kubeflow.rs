//! Kubeflow's login: oauth2-proxy with the settings that its manifests ship, behind Envoy, with our provider in Dex's place.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use testkit::{Start, curl};

use super::envoy::{Chain, Envoy, filter, inside, jwt_authn, route};
use super::served::{Provider, hash};
use super::{folder, python, script, sidegate};
use crate::cache;
use crate::child::{Running, last_words};
use crate::clients::free_port;

/// How long oauth2-proxy may take to start.
const START: Duration = Duration::from_secs(10);
const ISSUER: &str = "http://dex.auth.svc.cluster.local:5556/dex";
const CLUSTER: &str = "http://dex.auth.svc.cluster.local:5556";
const CLIENT: &str = "kubeflow-oidc-authservice";
const SECRET: &str = "of-this-installation";
const VERSION: &str = "v7.15.6";
/// Where the settings are in Kubeflow's repositories, as `SIDEGATE_FIXTURES` has them.
const SHIPPED: [&str; 2] = [
    "kubeflow-manifests-v1.10.2/common/oauth2-proxy/base/oauth2_proxy.cfg",
    "kubeflow-community-distribution-f09f3eea/common/oauth2-proxy/base/oauth2_proxy.cfg",
];

/// The script of Kubeflow's users logs in and is inside.
pub(super) fn login() -> Result<()> {
    let settings = std::fs::read_to_string(folder().join("kubeflow/oauth2_proxy.cfg"))?;
    as_shipped(&settings)?;
    let work = tempfile::tempdir().context("making a folder")?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let base = format!("http://{address}");
    let dex = std::fs::read_to_string(folder().join("kubeflow/dex.yaml"))?;
    let environment = [
        ("OIDC_CLIENT_ID", CLIENT),
        ("OIDC_CLIENT_SECRET", SECRET),
        ("DEX_USER_PASSWORD", &hash()?),
    ];
    let _provider = Provider::serve(&dex, &environment, &address, ISSUER.to_owned())?;
    let (proxy, proxy_address) = oauth2_proxy(work.path(), &settings, &base)?;
    let _proxy = proxy;
    let envoy = Envoy::start(gateway(&base, &proxy_address), work.path(), free_port()?)?;
    let python = python()?;
    let run = |password: &str| {
        let mut command = Command::new(&python);
        command.arg(folder().join("dex_login.py"));
        script(command.args([&*envoy.url, "user@example.com", password]))
    };
    run("12341234").with_context(|| envoy.last_words())?;
    if run("43211234").is_ok() {
        bail!("a wrong password is inside");
    }
    let stranger = curl([&envoy.url])?;
    if stranger.status != 403 || stranger.body.contains("inside") {
        bail!("a stranger gets {}", stranger.status);
    }
    Ok(())
}

/// The same script at `sidegate up`: where strangers are sent to the form at once, and where only browsers are.
pub(super) fn embedded() -> Result<()> {
    let python = python()?;
    for example in ["seed-broken", "seed"] {
        let program = Start::new(sidegate())
            .arg("--example")
            .arg(example)
            .start()?;
        let mut command = Command::new(&python);
        command.arg(folder().join("dex_login.py"));
        script(command.args([program.external(), "user@example.com", "12341234"]))
            .with_context(|| format!("the example `{example}`"))?;
    }
    Ok(())
}

/// What oauth2-proxy reads of a file: a line for each setting, without comments.
fn settings_of(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let kept: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let joined = kept.join("\n").replace("[\n", "[ ").replace(",\n", ", ");
    joined
        .lines()
        .map(|line| line.replace(", ]", " ]"))
        .collect()
}

/// Compares the settings with those of releases, where they lie beside the checkout.
fn as_shipped(settings: &str) -> Result<()> {
    let Some(fixtures) = std::env::var_os("SIDEGATE_FIXTURES") else {
        return Ok(());
    };
    for file in SHIPPED {
        let path = Path::new(&fixtures).join(file);
        let shipped = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        if settings_of(&shipped) != settings_of(settings) {
            bail!(
                "{file} says {:#?}, and ours {:#?}",
                settings_of(&shipped),
                settings_of(settings)
            );
        }
    }
    Ok(())
}

/// The program as the manifests start it, with the address of the provider for its name in the cluster.
fn oauth2_proxy(work: &Path, settings: &str, base: &str) -> Result<(Running, String)> {
    let program = cache::go_tool("github.com/oauth2-proxy/oauth2-proxy/v7", VERSION)?;
    let (file, logo) = (work.join("oauth2_proxy.cfg"), work.join("logo.svg"));
    std::fs::write(&logo, "<svg xmlns=\"http://www.w3.org/2000/svg\"/>")?;
    let mut reached = String::new();
    for line in settings.lines() {
        reached += &match line.split(' ').next() {
            Some("redeem_url" | "oidc_jwks_url") => line.replace(CLUSTER, base),
            // The manifests mount it from a ConfigMap.
            Some(name @ "custom_sign_in_logo") => format!("{name} = \"{}\"", logo.display()),
            _ => line.to_owned(),
        };
        reached.push('\n');
    }
    std::fs::write(&file, reached)?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let log = std::fs::File::create(work.join("oauth2_proxy.log"))?;
    let mut command = Command::new(program);
    command
        .arg(format!("--http-address={address}"))
        .arg(format!("--config={}", file.display()))
        .env("OAUTH2_PROXY_CLIENT_ID", CLIENT)
        .env("OAUTH2_PROXY_CLIENT_SECRET", SECRET)
        .env(
            "OAUTH2_PROXY_COOKIE_SECRET",
            "0123456789abcdef0123456789abcdef",
        )
        .env("OAUTH2_PROXY_COOKIE_SECURE", "false")
        .env("OAUTH2_PROXY_SSL_INSECURE_SKIP_VERIFY", "true")
        .env("OAUTH2_PROXY_SKIP_JWT_BEARER_TOKENS", "true")
        .env("OAUTH2_PROXY_EXTRA_JWT_ISSUERS", "")
        .stdout(Stdio::null())
        .stderr(log);
    let mut proxy = Running::start(&mut command)?;
    let answers = || {
        let answer = curl([format!("http://{address}/ping")]);
        answer.is_ok_and(|answer| answer.status == 200)
    };
    proxy.until(START, answers).with_context(|| {
        let log = work.join("oauth2_proxy.log");
        format!("oauth2-proxy: {}", last_words(&log, 20))
    })?;
    Ok((proxy, address))
}

/// What Istio makes of Kubeflow's extension provider and RequestAuthentication.
fn gateway(base: &str, proxy: &str) -> Chain {
    let exact = |names: &[&str]| -> serde_json::Value {
        let patterns: Vec<_> = names.iter().map(|name| json!({"exact": name})).collect();
        json!({"patterns": patterns})
    };
    let authorizer = filter(
        "ext_authz",
        "ext_authz.v3.ExtAuthz",
        json!({
            "transport_api_version": "V3",
            "allowed_headers": exact(&["authorization", "cookie"]),
            "http_service": {
                "server_uri": {"uri": format!("http://{proxy}"), "cluster": "oauth2-proxy", "timeout": "10s"},
                "authorization_response": {
                    "allowed_upstream_headers": exact(&["authorization", "path", "x-auth-request-email",
                        "x-auth-request-groups", "x-auth-request-user"]),
                    "allowed_client_headers": exact(&["content-type", "set-cookie"]),
                },
            },
        }),
    );
    let free = |prefix: &str, cluster: &str| {
        let mut route = route(prefix, cluster);
        if let Some(members) = route.as_object_mut() {
            let off = json!({"envoy.filters.http.ext_authz": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
                "disabled": true,
            }});
            members.insert("typed_per_filter_config".to_owned(), off);
        }
        route
    };
    Chain {
        filters: vec![
            authorizer,
            jwt_authn(ISSUER, base, "60s", &["/dex/", "/oauth2/"]),
        ],
        routes: vec![
            free("/dex/", "provider"),
            free("/oauth2/", "oauth2-proxy"),
            inside(),
        ],
        clusters: vec![
            ("provider", base.to_owned()),
            ("oauth2-proxy", proxy.to_owned()),
        ],
        secrets: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::settings_of;

    #[test]
    fn settings_are_compared_without_comments_and_line_breaks() {
        let written = "# a\na = [\n  # b\n  \"x\",\n  \"y\",\n]\n\nb = 1\n";
        let shorter = "a = [ \"x\", \"y\" ]\nb = 1";
        assert_eq!(settings_of(written), settings_of(shorter));
        assert_ne!(settings_of(written), settings_of("a = [ \"x\" ]\nb = 1"));
    }
}
