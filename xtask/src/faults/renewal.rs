//! A session whose tokens have ended is asked for a thousand times at once: the provider is asked once.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use identity::{NewSession, Renewable, Secret, SessionConfig, Sessions};
use policy::Person;
use serde_json::Value;

use super::at_once;
use super::relay::Relay;
use crate::child::Running;
use crate::clients::free_port;
use crate::http::{Answer, ask, decoded, encoded};
use crate::person::{HASH, PASSWORD, USER};
use crate::relying::{Provider, kubeflow};
use crate::shell;
use crate::visitor::{Browser, form};

const PARALLEL: usize = 1000;
const ISSUER: &str = "http://dex.auth.svc.cluster.local:5556/dex";
const COOKIE: &str = "oauth2_proxy_kubeflow";

pub(super) fn check() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let environment = [
        ("OIDC_CLIENT_ID", kubeflow::CLIENT),
        ("OIDC_CLIENT_SECRET", kubeflow::SECRET),
        ("DEX_USER_PASSWORD", HASH),
    ];
    let _provider = Provider::serve(&kubeflow::dex()?, &environment, &address, ISSUER.to_owned())?;
    let data = folder.path().join("data");
    let session = old_session(&data, &Login::at(&address)?)?;
    let relay = Relay::start(&address, "POST /dex/token")?;
    let config = folder.path().join("oauth2_proxy.cfg");
    std::fs::write(&config, settings()?)?;
    let mut command = Command::new(shell::target().join("debug/sidegate"));
    command
        .args(["authz", "--compat", "oauth2-proxy"])
        .args(["--listen", "127.0.0.1:0", "--health", "127.0.0.1:0"])
        .arg("--provider")
        .arg(relay.address.to_string())
        .arg("--config")
        .arg(&config)
        .arg("--data")
        .arg(&data)
        .env("OAUTH2_PROXY_CLIENT_ID", kubeflow::CLIENT)
        .env("OAUTH2_PROXY_CLIENT_SECRET", kubeflow::SECRET)
        .env(
            "OAUTH2_PROXY_COOKIE_SECRET",
            "0123456789abcdef0123456789abcdef",
        )
        .env("OAUTH2_PROXY_COOKIE_SECURE", "false");
    let said = |line: &str| Some(line.trim_end().split_once("checks on ")?.1.to_owned());
    let (_authz, at) = Running::until_it_says(&mut command, said)?;
    let cookie = format!("{COOKIE}={session}");
    let headers = [("cookie", &*cookie)];
    let answers = at_once(PARALLEL, |_| ask(&at, "GET", "/pipeline/", &headers, ""))?;
    let wrong = answers
        .iter()
        .find(|answer| answer.status != 200 || answer.header("x-auth-request-email") != Some(USER));
    ensure!(wrong.is_none(), "one of {PARALLEL} is {wrong:?}");
    ensure!(
        relay.count() == 1,
        "the provider was asked {} times",
        relay.count()
    );
    Ok(())
}

/// Kubeflow's settings, with a scope that gives refresh tokens.
fn settings() -> Result<String> {
    let text = kubeflow::settings()?;
    let before = "scope = \"profile email groups openid\"";
    ensure!(text.contains(before), "Kubeflow's scopes: {text}");
    let more = "scope = \"profile email groups openid offline_access\"";
    Ok(text.replace(before, more))
}

/// What a session keeps of a login.
struct Login {
    refresh: String,
    subject: String,
}

impl Login {
    fn at(provider: &str) -> Result<Self> {
        let answer = tokens(provider)?;
        let json = answer.json();
        let text = |name: &str| {
            let found = json.get(name).and_then(Value::as_str);
            found.with_context(|| format!("no {name}: {answer:?}"))
        };
        let claims = text("id_token")?.split('.').nth(1).context("a token")?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
        let subject = claims.get("sub").and_then(Value::as_str);
        Ok(Self {
            refresh: text("refresh_token")?.to_owned(),
            subject: subject.context("no sub")?.to_owned(),
        })
    }
}

/// The tokens of a login.
fn tokens(provider: &str) -> Result<Answer> {
    let mut browser = Browser::default();
    let mut target = format!(
        "/dex/auth?client_id={}&redirect_uri={}&response_type=code&scope=openid+email+offline_access",
        kubeflow::CLIENT,
        encoded("/oauth2/callback")
    );
    let mut answer = browser.get(provider, &target)?;
    while let (302 | 303, Some(next)) = (answer.status, answer.header("location")) {
        next.clone_into(&mut target);
        answer = browser.get(provider, &target)?;
    }
    let fields = form(&[("login", USER), ("password", PASSWORD)]);
    let answer = browser.send(provider, "POST", &target, &fields)?;
    let back = answer.header("location").unwrap_or_default();
    let code = back
        .split(['?', '&'])
        .find_map(|pair| pair.strip_prefix("code="));
    let code = decoded(code.with_context(|| format!("no code: {answer:?}"))?);
    let fields = form(&[
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", "/oauth2/callback"),
    ]);
    let login = STANDARD.encode(format!("{}:{}", kubeflow::CLIENT, kubeflow::SECRET));
    let basic = format!("Basic {login}");
    let headers = [("authorization", &*basic)];
    ask(provider, "POST", "/dex/token", &headers, &fields)
}

/// A session whose tokens ended long ago, as it would be in the folder.
fn old_session(data: &std::path::Path, login: &Login) -> Result<String> {
    let sessions = Sessions::open(data, SessionConfig::default(), identity::system_clock())?;
    let person = Person {
        email: USER.into(),
        subject: login.subject.as_str().into(),
        groups: [].into(),
    };
    let new = NewSession {
        issuer: Some(ISSUER.into()),
        renewable: Some(Renewable {
            refresh_token: Secret::new(login.refresh.as_str()),
            until: 1,
        }),
        ..NewSession::of(person)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(sessions.create(new))?.expose().to_owned())
}
