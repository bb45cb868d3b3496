//! oauth2-proxy as Kubeflow sets it up, asked as Kubeflow's gateways ask it, with a person's session in a cookie.

use anyhow::{Context as _, Result, ensure};

use super::program::Program;
use super::{Bench, Load, Measured};
use crate::bench;
use crate::person::{HASH, PASSWORD, USER};
use crate::relying::{Provider, kubeflow};
use crate::visitor::{Browser, form};

pub(super) struct Figures {
    pub(super) asked: Measured,
    pub(super) resident_kib: u64,
    pub(super) cookie_bytes: usize,
}

pub(super) fn measure(bench: &Bench<'_>) -> Result<Figures> {
    eprintln!("measuring: oauth2-proxy");
    let address = format!("127.0.0.1:{}", crate::clients::free_port()?);
    let environment = [
        ("OIDC_CLIENT_ID", kubeflow::CLIENT),
        ("OIDC_CLIENT_SECRET", kubeflow::SECRET),
        ("DEX_USER_PASSWORD", HASH),
    ];
    let ours = bench::program();
    let config = kubeflow::dex()?;
    let issuer = "http://dex.auth.svc.cluster.local:5556/dex".to_owned();
    let _provider = Provider::serve_by(ours, &config, &environment, &address, issuer)?;
    let folder = bench.folder.join("oauth2-proxy");
    std::fs::create_dir_all(&folder)?;
    let (running, at) = kubeflow::peer(&folder, &format!("http://{address}"))?;
    let cookies = log_in(&at, &address)?;
    let secrets = folder.join("cookies");
    std::fs::write(&secrets, format!("{cookies}\n"))?;
    let peer = Program::of(running, at);
    let mut headers: Vec<(&str, &str)> = super::BROWSER.to_vec();
    headers.retain(|(name, _)| *name != "cookie");
    headers.push(("cookie", "SECRET"));
    let load = Load {
        method: "HEAD",
        path: "/pipeline/",
        headers,
        expected: "X-Auth-Request-Email: user@example.com",
        ..Load::session("http", &secrets)
    };
    Ok(Figures {
        asked: bench.ask(&load, &peer.checks, &peer, None)?,
        resident_kib: peer.resident_kib()?,
        cookie_bytes: cookies.len(),
    })
}

/// What a browser holds after a login.
fn log_in(proxy: &str, provider: &str) -> Result<String> {
    let (mut at_proxy, mut at_provider) = (Browser::default(), Browser::default());
    let begun = at_proxy.get(proxy, "/oauth2/start?rd=%2F")?;
    let mut at = begun.header("location").context("no login")?.to_owned();
    let mut answer = at_provider.get(provider, &at)?;
    while let (302 | 303, Some(next)) = (answer.status, answer.header("location")) {
        next.clone_into(&mut at);
        answer = at_provider.get(provider, &at)?;
    }
    let fields = form(&[("login", USER), ("password", PASSWORD)]);
    let answer = at_provider.send(provider, "POST", &at, &fields)?;
    let back = answer
        .header("location")
        .with_context(|| format!("no way back: {answer:?}"))?;
    let ended = at_proxy.get(proxy, back)?;
    ensure!(ended.status == 302, "the login ends with {ended:?}");
    let cookies = at_proxy.cookies();
    let (_, session) = cookies
        .split("; ")
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, value)| *name == "oauth2_proxy_kubeflow" && !value.is_empty())
        .with_context(|| format!("no session in {cookies}"))?;
    Ok(format!("oauth2_proxy_kubeflow={session}"))
}
