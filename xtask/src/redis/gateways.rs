//! Sessions of two gateways (`sidegate up`) on one Redis.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testkit::{Answer, Sidegate, Start, curl};

use super::server::{PASSWORD, Server};
use crate::shell;

/// How soon a session that was ended at one gateway is over at the other.
const ENDED: Duration = Duration::from_secs(1);
const BACK: Duration = Duration::from_secs(5);

/// A session counts at both, a logout does, and an outage of Redis ends none.
pub(super) fn check() -> Result<()> {
    let mut server = Server::start("always")?;
    let folder = tempfile::tempdir()?;
    let seed = std::fs::read_to_string(shell::root().join("examples/seed/cluster.yaml"))?;
    let (kubernetes, redis) = (
        "      type: kubernetes\n      config:\n        inCluster: true\n",
        format!(
            "      type: redis\n      config: {{url: \"{}/1\", password: {PASSWORD}}}\n",
            server.url()
        ),
    );
    ensure!(seed.contains(kubernetes), "the seed's storage");
    let cluster = folder.path().join("cluster.yaml");
    std::fs::write(&cluster, seed.replace(kubernetes, &redis))?;
    let sidegate = shell::root().join("examples/seed/sidegate.yaml");
    let start = Start::new(shell::target().join("debug/sidegate"))
        .arg(&cluster)
        .arg(sidegate);
    let gateways = [start.start()?, start.start()?];
    for round in 0..6 {
        let (here, there) = match gateways.each_ref() {
            [a, b] if round % 2 == 0 => (a, b),
            [a, b] => (b, a),
        };
        let jar = folder.path().join(format!("jar{round}"));
        let page = log_in(here, there, &jar)?;
        ensure!(page.body.contains("user@example.com"), "a login: {page:?}");
        for gateway in [there, here] {
            let home = home(gateway, &jar)?;
            ensure!(home.status == 200, "a session of the other: {home:?}");
        }
        if round == 3 {
            outage(&mut server, &gateways, &jar)?;
        }
        let logout = format!("{}/authservice/logout", there.external());
        let out = curl(["-b", &*jar.display().to_string(), "-X", "POST", &logout])?;
        ensure!(out.body.contains("afterLogoutURL"), "{out:?}");
        let began = Instant::now();
        while home(here, &jar)?.status == 200 {
            ensure!(
                began.elapsed() < ENDED,
                "a session that was ended at the other counts after {ENDED:?}"
            );
        }
    }
    drop(gateways);
    let brief = redis.replace("url:", "staleFor: 2s, url:");
    std::fs::write(&cluster, seed.replace(kubernetes, &brief))?;
    cut_off(&mut server, &start.start()?, &folder.path().join("brief"))
}

/// A session counts for as long without Redis as the settings say, and again with it.
fn cut_off(server: &mut Server, gateway: &Sidegate, jar: &Path) -> Result<()> {
    let page = log_in(gateway, gateway, jar)?;
    ensure!(page.body.contains("user@example.com"), "a login: {page:?}");
    server.kill();
    ensure!(home(gateway, jar)?.status == 200, "a moment without Redis");
    for (until, what) in [
        (false, "a session counts without end"),
        (true, "Redis is back"),
    ] {
        let began = Instant::now();
        while (home(gateway, jar)?.status == 200) != until {
            ensure!(began.elapsed() < BACK, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
        if !until {
            server.restart()?;
        }
    }
    Ok(())
}

/// Who is logged in stays so; nobody else gets in.
fn outage(server: &mut Server, gateways: &[Sidegate; 2], jar: &Path) -> Result<()> {
    server.kill();
    for gateway in gateways {
        let home = home(gateway, jar)?;
        ensure!(home.status == 200, "a session without Redis: {home:?}");
        let none = jar.with_extension("none");
        let login = format!("{}/", gateway.external());
        let none = none.display().to_string();
        let browser = ["-c", &none, "-b", &none, "-H", "accept: text/html"];
        let page = curl([&browser[..], &["--location", &login]].concat())?;
        ensure!(
            page.status == 503 && page.body.contains("Nobody can log in just now"),
            "a login without Redis: {page:?}"
        );
    }
    server.restart()?;
    let began = Instant::now();
    for (index, gateway) in gateways.iter().enumerate() {
        loop {
            let jar = jar.with_extension(format!("new{index}"));
            match log_in(gateway, gateway, &jar) {
                Ok(page) if page.body.contains("user@example.com") => break,
                other => ensure!(began.elapsed() < BACK, "a login after an outage: {other:?}"),
            }
        }
        ensure!(home(gateway, jar)?.status == 200, "a session after it");
    }
    Ok(())
}

fn home(gateway: &Sidegate, jar: &Path) -> Result<Answer> {
    let (jar, home) = (
        jar.display().to_string(),
        format!("{}/", gateway.external()),
    );
    Ok(curl(["-b", &jar, "-H", "accept: text/html", &home])?)
}

/// The page after a login with the seed's user, which one gateway begins and the other ends.
fn log_in(first: &Sidegate, last: &Sidegate, jar: &Path) -> Result<Answer> {
    let jar = jar.display().to_string();
    let browser = ["-c", &jar, "-b", &jar, "-H", "accept: text/html"];
    let mut at = format!("{}/", first.external());
    let mut answer = curl([&browser[..], &[&at]].concat())?;
    while let (302 | 303, Some(next)) = (answer.status, answer.header("location")) {
        at = format!("{}{next}", last.external());
        answer = curl([&browser[..], &[&at]].concat())?;
    }
    ensure!(
        answer.body.contains(r#"name="password""#),
        "no form: {answer:?}"
    );
    let form = ["login=user@example.com", "password=12341234"];
    let fields = ["--data-urlencode", form[0], "--data-urlencode", form[1]];
    curl([&browser[..], &["--location"], &fields, &[&at]].concat()).context("a login")
}
