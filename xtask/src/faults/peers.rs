//! The login provider and the keys of an issuer are away, or never answer.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::relay::{Mode, Relay};
use super::world::{World, calls, nothing_piled_up, open_files};
use super::{AT_ONCE, at_once, until};
use crate::authz::Authz;
use crate::clients::free_port;
use crate::crash::Provider;
use crate::person::Person;
use crate::shell;
use crate::visitor::{Browser, CALLBACK, CONFIG, Failed, Tokens, token};

/// People who log in while the provider never answers.
const WAITING: usize = 8;

/// Requests with tokens whose keys cannot be had.
const PARALLEL: usize = 100;

/// How long a document of keys is waited for, and a little.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(8);

pub(super) fn provider() -> Result<()> {
    let world = World::start("")?;
    let authz = world.authz(&[])?;
    let at = authz.checks.to_string();
    let mut known = Person::default();
    known.log_in(&at, &at, &world.provider)?;
    let before = open_files(&authz)?;
    for mode in [Mode::Away, Mode::Silent, Mode::Drips] {
        world.relay.behave(mode);
        let logins = || {
            at_once(WAITING, |_| {
                let mut person = Person::default();
                let ended = person.log_in(&at, &at, &world.provider);
                Ok(ended.is_err() && !person.is_inside(&at)?)
            })
        };
        let stayed_out = std::thread::scope(|scope| {
            let logins = scope.spawn(logins);
            while !logins.is_finished() {
                let began = Instant::now();
                ensure!(known.is_inside(&at)?, "a session while {mode:?}");
                let begun = Person::default().ask(&at, "GET", "/")?;
                ensure!(begun.status == 302, "a stranger while {mode:?}: {begun:?}");
                ensure!(began.elapsed() < AT_ONCE, "it waits while {mode:?}");
                std::thread::sleep(AT_ONCE / 20);
            }
            let ended = logins.join();
            ended.map_err(|_| anyhow::anyhow!("a login panicked"))?
        })?;
        ensure!(
            stayed_out.iter().all(|out| *out),
            "a login while {mode:?}: {stayed_out:?}"
        );
        let most = world.relay.most();
        ensure!(most <= 2 * WAITING, "{most} connections while {mode:?}");
        world.relay.behave(Mode::Answers);
        until("a login", || {
            Ok(Person::default().log_in(&at, &at, &world.provider).is_ok())
        })?;
        nothing_piled_up(&authz, before)?;
    }
    ensure!(known.is_inside(&at)?, "a session afterwards");
    Ok(())
}

pub(super) fn keys() -> Result<()> {
    let issuer = Issuer::start()?;
    let first = issuer.token()?;
    let world = World::start(&format!(
        "  keys: {{networks: [127.0.0.0/8]}}\n  tokens:\n    issuers:\n    - issuer: http://{}/dex\n      \
         jwksUri: http://{}/dex/keys\n      audiences: [app]\n      user: {{claim: email}}\n",
        issuer.address, issuer.relay.address
    ))?;
    issuer.relay.behave(Mode::Away);
    let authz = world.authz(&[])?;
    let at = authz.checks.to_string();
    ensure!(calls(&at, &first)? == 401, "a token whose keys are away");
    issuer.relay.behave(Mode::Answers);
    until("keys that are back", || Ok(calls(&at, &first)? == 200))?;
    // Keys that are known count, for tokens that are not, too.
    let second = issuer.token()?;
    for mode in [Mode::Away, Mode::Silent, Mode::Drips] {
        issuer.relay.behave(mode);
        for token in [&first, &second] {
            let began = Instant::now();
            ensure!(calls(&at, token)? == 200, "a token while {mode:?}");
            ensure!(began.elapsed() < AT_ONCE, "it waits while {mode:?}");
        }
    }
    drop(authz);
    for mode in [Mode::Silent, Mode::Drips] {
        slow(&world, &issuer, mode, &second)?;
    }
    Ok(())
}

/// One that knows no keys yet, and whose many questions wait for one document.
fn slow(world: &World, issuer: &Issuer, mode: Mode, token: &str) -> Result<()> {
    issuer.relay.behave(mode);
    let authz: Authz = world.authz(&[])?;
    let at = authz.checks.to_string();
    let before = open_files(&authz)?;
    issuer.relay.most();
    let began = Instant::now();
    let statuses = at_once(PARALLEL, |_| calls(&at, token))?;
    ensure!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    let took = began.elapsed();
    ensure!(
        took < PATIENCE,
        "{PARALLEL} requests took {took:?} while {mode:?}"
    );
    let most = issuer.relay.most();
    ensure!(most <= 2, "{most} connections to one issuer while {mode:?}");
    nothing_piled_up(&authz, before)?;
    issuer.relay.behave(Mode::Answers);
    until("keys that are back", || Ok(calls(&at, token)? == 200))
}

/// A provider whose tokens open models, and whose keys are behind a relay.
struct Issuer {
    address: String,
    relay: Relay,
    _provider: Provider,
    _folder: tempfile::TempDir,
}

impl Issuer {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let config = folder.path().join("dex.yaml");
        std::fs::write(&config, CONFIG.replace("127.0.0.1:0", &address))?;
        let program = shell::target().join("debug/sidegate");
        let data = folder.path().join("data");
        let provider = Provider::start(&program, &config, &data, &address)?;
        Ok(Self {
            relay: Relay::start(&address, "GET /dex/keys")?,
            address,
            _provider: provider,
            _folder: folder,
        })
    }

    /// An ID token of another login.
    fn token(&self) -> Result<String> {
        let code = Browser::default()
            .log_in(&self.address)
            .map_err(|failed| match failed {
                Failed::Cut => anyhow::anyhow!("a login was cut off"),
                Failed::Wrong(error) => error,
            })?;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", CALLBACK),
        ];
        let answer = token(&self.address, &fields)?;
        let tokens = Tokens::of(&answer);
        Ok(tokens.with_context(|| format!("no tokens: {answer:?}"))?.id)
    }
}
