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
pub(crate) const CLIENT: &str = "kubeflow-oidc-authservice";
pub(crate) const SECRET: &str = "of-this-installation";
const VERSION: &str = "v7.15.6";
/// Where the settings are in Kubeflow's repositories, as `SIDEGATE_FIXTURES` has them.
const SHIPPED: [&str; 2] = [
    "kubeflow-manifests-v1.10.2/common/oauth2-proxy/base/oauth2_proxy.cfg",
    "kubeflow-community-distribution-f09f3eea/common/oauth2-proxy/base/oauth2_proxy.cfg",
];

/// The script of Kubeflow's users logs in and is inside: with oauth2-proxy, with ours in its place and in that of
/// oidc-authservice, and the same gateway.
pub(super) fn login() -> Result<()> {
    let settings = settings()?;
    as_shipped(&settings)?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let base = format!("http://{address}");
    let dex = dex()?;
    let environment = [
        ("OIDC_CLIENT_ID", CLIENT),
        ("OIDC_CLIENT_SECRET", SECRET),
        ("DEX_USER_PASSWORD", &hash()?),
    ];
    let _provider = Provider::serve(&dex, &environment, &address, ISSUER.to_owned())?;
    let run = |name: &str, stranger: u16, start: &dyn Fn(&Path) -> Result<(Running, Chain)>| {
        let work = tempfile::tempdir().context("making a folder")?;
        let (_checker, chain) = start(work.path())?;
        logged_in(chain, work.path(), stranger).with_context(|| name.to_owned())
    };
    // It has a page of its own before the provider's.
    run("oauth2-proxy", 403, &|work| {
        let (proxy, at) = oauth2_proxy(work, &settings, &base)?;
        Ok((proxy, gateway(&base, &at)))
    })?;
    run("in oauth2-proxy's place", 302, &|work| {
        let (stand_in, at) = in_oauth2_proxys_place(work, &settings, &address)?;
        Ok((stand_in, gateway(&base, &at)))
    })?;
    run("in oidc-authservice's place", 302, &|work| {
        let (stand_in, at) = in_authservices_place(work, &address)?;
        Ok((stand_in, old_gateway(&base, &at)))
    })
}

fn logged_in(chain: Chain, work: &Path, stranger: u16) -> Result<()> {
    let envoy = Envoy::start(chain, work, ([127, 0, 0, 1], free_port()?).into())?;
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
    let answer = curl([&envoy.url])?;
    if answer.status != stranger || answer.body.contains("inside") {
        bail!("a stranger gets {}", answer.status);
    }
    // What a probe is answered is not leave for anybody.
    for path in ["/ping", "/ready", "/dex/..%2fpipeline", "/dexter"] {
        let answer = curl([&format!("{}{path}", envoy.url)])?;
        if answer.status == 200 || answer.body.contains("inside") {
            bail!("a stranger at {path} gets {}", answer.status);
        }
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

/// What oauth2-proxy's help names, one after the other in a variable: none is unknown to the program in its place.
pub(super) fn settings_are_known() -> Result<()> {
    let program = cache::go_tool("github.com/oauth2-proxy/oauth2-proxy/v7", VERSION)?;
    let help = Command::new(program).arg("--help").output()?;
    let help = String::from_utf8_lossy(&help.stdout) + String::from_utf8_lossy(&help.stderr);
    // These are about its command line.
    let own = [
        "config",
        "config-test",
        "alpha-config",
        "convert-config-to-alpha",
        "version",
    ];
    let flags: Vec<&str> = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--")?.split(' ').next())
        .filter(|flag| !own.contains(flag))
        .collect();
    if flags.len() < 150 {
        bail!("only {} settings are found in the help", flags.len());
    }
    for flag in flags {
        // A list is named by its plural in files and variables.
        let name = format!("OAUTH2_PROXY_{}", flag.replace('-', "_").to_uppercase());
        let known = |name: &str| -> Result<bool> {
            let output = Command::new(sidegate())
                .args(["authz", "--compat", "oauth2-proxy", "--check"])
                .env(name, "x")
                .output()
                .context("cannot run sidegate")?;
            let said = String::from_utf8_lossy(&output.stdout);
            let line = said.lines().find(|line| line.contains(name));
            let line = line.with_context(|| format!("nothing is said of {name}: {said}"))?;
            Ok(!line.contains("not a setting"))
        };
        if !known(&name)? && !known(&format!("{name}S"))? {
            bail!("`--{flag}` is not known");
        }
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
        println!(
            "Kubeflow's settings are not compared with those of releases: SIDEGATE_FIXTURES names no folder"
        );
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

/// Kubeflow's configuration of Dex.
pub(crate) fn dex() -> Result<String> {
    let file = folder().join("kubeflow/dex.yaml");
    std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
}

/// Kubeflow's settings of oauth2-proxy.
pub(crate) fn settings() -> Result<String> {
    let file = folder().join("kubeflow/oauth2_proxy.cfg");
    std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
}

/// oauth2-proxy with Kubeflow's settings, whose provider is reached at `base`, and its address.
pub(crate) fn peer(work: &Path, base: &str) -> Result<(Running, String)> {
    oauth2_proxy(work, &settings()?, base)
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

/// `sidegate authz` with the same file and variables.
fn in_oauth2_proxys_place(
    work: &Path,
    settings: &str,
    provider: &str,
) -> Result<(Running, String)> {
    let file = work.join("oauth2_proxy.cfg");
    std::fs::write(&file, settings)?;
    let environment = [
        ("OAUTH2_PROXY_CLIENT_ID", CLIENT),
        ("OAUTH2_PROXY_CLIENT_SECRET", SECRET),
        (
            "OAUTH2_PROXY_COOKIE_SECRET",
            "0123456789abcdef0123456789abcdef",
        ),
        ("OAUTH2_PROXY_COOKIE_SECURE", "false"),
        ("OAUTH2_PROXY_SSL_INSECURE_SKIP_VERIFY", "true"),
        ("OAUTH2_PROXY_SKIP_JWT_BEARER_TOKENS", "true"),
        ("OAUTH2_PROXY_EXTRA_JWT_ISSUERS", ""),
    ];
    stand_in("oauth2-proxy", work, &file, &environment, provider)
}

fn in_authservices_place(work: &Path, provider: &str) -> Result<(Running, String)> {
    let file = work.join("params.env");
    std::fs::copy(folder().join("kubeflow/authservice.env"), &file)?;
    let environment = [
        ("CLIENT_ID", CLIENT),
        ("CLIENT_SECRET", SECRET),
        ("REDIRECT_URL", "/oauth2/callback"),
    ];
    stand_in("authservice", work, &file, &environment, provider)
}

fn stand_in(
    whose: &str,
    work: &Path,
    file: &Path,
    environment: &[(&str, &str)],
    provider: &str,
) -> Result<(Running, String)> {
    let mut command = Command::new(sidegate());
    command
        .args(["authz", "--compat", whose, "--provider", provider])
        .args(["--listen", "127.0.0.1:0", "--health", "127.0.0.1:0"])
        .arg("--config")
        .arg(file)
        .arg("--data")
        .arg(work.join("data"))
        .envs(environment.iter().copied());
    let at = |line: &str| Some(line.trim_end().split_once("checks on ")?.1.to_owned());
    Running::until_it_says(&mut command, at)
}

/// Envoy's matcher of these names.
fn exact(names: &[&str]) -> serde_json::Value {
    let patterns: Vec<_> = names.iter().map(|name| json!({"exact": name})).collect();
    json!({"patterns": patterns})
}

/// The EnvoyFilter of Kubeflow until 1.8: every request is asked about.
fn old_gateway(base: &str, checker: &str) -> Chain {
    let authorizer = filter(
        "ext_authz",
        "ext_authz.v3.ExtAuthz",
        json!({
            "transport_api_version": "V3",
            "http_service": {
                "server_uri": {"uri": format!("http://{checker}"), "cluster": "authservice", "timeout": "10s"},
                "authorization_request": {"allowed_headers": exact(&["authorization", "cookie", "x-auth-token"])},
                "authorization_response": {"allowed_upstream_headers": exact(&["kubeflow-userid"])},
            },
        }),
    );
    Chain {
        filters: vec![authorizer],
        routes: vec![route("/dex/", "provider"), inside()],
        clusters: vec![
            ("provider", base.to_owned()),
            ("authservice", checker.to_owned()),
        ],
        grpc: Vec::new(),
        secrets: Vec::new(),
    }
}

/// What Istio makes of Kubeflow's extension provider and RequestAuthentication.
fn gateway(base: &str, proxy: &str) -> Chain {
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
        grpc: Vec::new(),
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
