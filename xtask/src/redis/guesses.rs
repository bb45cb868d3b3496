//! Passwords are guessed at both replicas in turn, from many networks.

use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::Pair;
use super::server::Server;
use crate::shell;
use crate::visitor::{Browser, USER, form};

/// How many wrong passwords an account takes at once, and seconds for each further one (docs/provider.md).
const BURST: u64 = 40;
const SECONDS: u64 = 2;
/// Guesses under way while an earlier one is written down.
const MEANWHILE: u64 = 4;

/// Both together let as many guesses through as one would, and tell the others to wait.
pub(super) fn check() -> Result<()> {
    let server = Server::start("always")?;
    let mut pair = Pair::prepare(&shell::target().join("debug/sidegate"), &server)?;
    for index in 0..2 {
        let mut config = std::fs::OpenOptions::new()
            .append(true)
            .open(pair.config(index))?;
        let proxies = "{header: X-Forwarded-For, trustedProxies: [127.0.0.0/8]}";
        writeln!(config, "web: {{clientRemoteIP: {proxies}}}")?;
        pair.restart(index)?;
    }
    let (a, b) = (pair.a.clone(), pair.b.clone());
    let mut sides = Vec::new();
    for address in [a, b] {
        let mut browser = Browser::default();
        let (at, page) = browser.form(&address)?;
        ensure!(page.status == 200, "no form: {page:?}");
        sides.push((address, at, browser));
    }
    let wrong = form(&[("login", USER), ("password", "guessed")]);
    let began = Instant::now();
    let (mut passed, mut told) = (0, 0);
    for guess in 0..3 * BURST {
        let side = usize::from(guess % 2 == 1);
        let (address, at, browser) = sides.get_mut(side).context("two replicas")?;
        let network = format!("198.51.{guess}.7");
        let headers = [("x-forwarded-for", network.as_str())];
        match browser
            .send_with(address, "POST", at, &headers, &wrong)?
            .status
        {
            401 => passed += 1,
            429 => told += 1,
            other => anyhow::bail!("guess {guess} was answered {other}"),
        }
    }
    let most = BURST + began.elapsed().as_secs().div_ceil(SECONDS) + MEANWHILE;
    ensure!(
        (BURST..=most).contains(&passed) && told > 0,
        "{passed} guesses passed and {told} were told to wait; at most {most} should pass"
    );
    Ok(())
}
