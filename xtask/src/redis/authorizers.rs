//! Two authorizers (`sidegate authz`) on one Redis: sessions, logouts and API keys of one are those of the other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::server::{PASSWORD, Server};
use crate::authz::{Authz, dex_config};
use crate::clients::free_port;
use crate::http::ask_host;
use crate::person::{HASH, Person, USER};
use crate::relying::Provider;
use crate::shell;

/// How soon what was ended at one is over at the other.
const ENDED: Duration = Duration::from_secs(1);
/// How long a command itself takes on a busy machine.
const COMMAND: Duration = Duration::from_secs(2);
/// How soon they go on once Redis is back.
const BACK: Duration = Duration::from_secs(5);
const MODEL: &str = "sklearn-iris.kserve-test.example.com";
const PREDICT: &str = "/external/v1/models/sklearn-iris:predict";

pub(super) fn check() -> Result<()> {
    let mut server = Server::start("always")?;
    let world = World::start(&server)?;
    world.sessions()?;
    world.keys()?;
    world.told_by_the_provider()?;
    world.ended_by_the_operator()?;
    world.marks()?;
    world.outage(&mut server)
}

struct World {
    provider: String,
    replicas: [Authz; 2],
    folder: tempfile::TempDir,
    _provider: Provider,
}

impl World {
    fn start(server: &Server) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let files = folder.path().join("files");
        std::fs::create_dir_all(&files)?;
        seed(&files)?;
        let password = folder.path().join("password");
        std::fs::write(&password, format!("{PASSWORD}\n"))?;
        let provider = format!("127.0.0.1:{}", free_port()?);
        let start = |number: usize| {
            let password = password.display().to_string();
            let url = format!("{}/3", server.url());
            let shared = ["--redis", &*url, "--redis-password", &*password];
            let more = [&shared[..], &["--provider", &*provider]].concat();
            let data = folder.path().join(format!("data{number}"));
            Authz::on(&files, &data, 0, &more)
        };
        let replicas = [start(0)?, start(1)?];
        let [first, _] = &replicas;
        let told = format!(
            "  backchannelLogoutURI: http://{}/oauth2/backchannel-logout",
            first.health
        );
        let (dex, _) = dex_config(&files)?;
        let client = "- id: kubeflow-oidc-authservice\n";
        ensure!(dex.contains(client), "the seed's client: {dex}");
        let dex = dex.replace(client, &format!("{client}{told}\n"))
            + "\nsessions: {ssoSharedWithDefault: all}\n";
        let issuer = "http://dex.auth.svc.cluster.local:5556/dex".to_owned();
        let running = Provider::serve(&dex, &[], &provider, issuer)?;
        Ok(Self {
            provider,
            replicas,
            folder,
            _provider: running,
        })
    }

    /// The addresses of both, in turn.
    fn both(&self, turn: usize) -> (String, String) {
        let [a, b] = self.replicas.each_ref().map(|one| one.checks.to_string());
        if turn.is_multiple_of(2) {
            (a, b)
        } else {
            (b, a)
        }
    }

    fn data(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("data{number}"))
    }

    fn sessions(&self) -> Result<()> {
        for turn in 0..6 {
            let (here, there) = self.both(turn);
            let mut person = Person::default();
            person.log_in(&here, &there, &self.provider)?;
            ensure!(person.is_inside(&here)?, "a session of the other");
            // The cookie is kept: who stole it is no longer inside either.
            let stolen = person.cookies();
            person.log_out(&here)?;
            until_over("a session that was ended at the other", || {
                let headers = [("cookie", &*stolen), ("accept", "text/html")];
                let host = crate::person::DASHBOARD;
                Ok(ask_host(&there, host, "GET", "/external/", &headers, "")?.status != 200)
            })?;
        }
        Ok(())
    }

    fn keys(&self) -> Result<()> {
        for turn in 0..4 {
            let number = turn % 2;
            let (here, there) = self.both(turn);
            let made = self.token(number, &["create", "--service", "job", "-o", "json"])?;
            let made: Value = serde_json::from_str(&made)?;
            let text = |at: &str| made.pointer(at).and_then(Value::as_str);
            let key = text("/secret").context("no key")?;
            for authz in [&there, &here] {
                ensure!(calls(authz, key)? == 200, "a key of the other");
            }
            self.token(1 - number, &["revoke", text("/key/id").context("no id")?])?;
            ensure!(calls(&there, key)? == 401, "a key that was revoked here");
            until_over("a key that was revoked at the other", || {
                Ok(calls(&here, key)? == 401)
            })?;
        }
        Ok(())
    }

    /// The provider tells the first replica of a logout.
    fn told_by_the_provider(&self) -> Result<()> {
        let (first, second) = self.both(0);
        let mut person = Person::default();
        person.log_in(&second, &second, &self.provider)?;
        ensure!(person.is_inside(&first)?, "a session of the other");
        person.log_out_there(&self.provider)?;
        for authz in [&first, &second] {
            until_over("a session that the provider ended", || {
                Ok(!person.is_inside(authz)?)
            })?;
        }
        Ok(())
    }

    /// A command at one replica ends one session of a person, or all, at both.
    fn ended_by_the_operator(&self) -> Result<()> {
        let (first, second) = self.both(0);
        let listed = |number: usize| -> Result<Vec<String>> {
            let list = ["list", USER, "-o", "json"];
            let listed: Value = serde_json::from_str(&self.command(number, "session", &list)?)?;
            let sessions = listed.pointer("/sessions").and_then(Value::as_array);
            let ids = sessions.into_iter().flatten();
            Ok(ids
                .filter_map(|session| Some(session.get("id")?.as_str()?.to_owned()))
                .collect())
        };
        let before = listed(0)?;
        let mut people: [Person; 3] = Default::default();
        let mut ids = Vec::new();
        for person in &mut people {
            person.log_in(&first, &first, &self.provider)?;
            let known = listed(1)?;
            let new = |id: &&String| !before.contains(id) && !ids.contains(*id);
            let id = known.iter().find(new).cloned();
            ids.push(id.context("a session that the other replica lists")?);
        }
        let [one, others @ ..] = &mut people;
        let id = ids.first().context("a session")?;
        let began = Instant::now();
        self.command(1, "session", &["end", USER, "--id", id])?;
        ensure!(!one.is_inside(&second)?, "where the command was given");
        until_over("a session that the operator ended at the other", || {
            Ok(!one.is_inside(&first)?)
        })?;
        ensure!(began.elapsed() < ENDED + COMMAND, "the end of one session");
        for other in &mut *others {
            ensure!(other.is_inside(&first)?, "the sessions that go on");
        }
        self.command(0, "session", &["end", USER])?;
        for person in others {
            for authz in [&first, &second] {
                until_over("all sessions that the operator ended", || {
                    Ok(!person.is_inside(authz)?)
                })?;
            }
        }
        ensure!(listed(1)?.is_empty(), "sessions are listed that have ended");
        Ok(())
    }

    /// What one signs about a request the other believes.
    fn marks(&self) -> Result<()> {
        let ring = |number| std::fs::read_to_string(self.data(number).join("mark.keys"));
        ensure!(ring(0)? == ring(1)?, "both have the same key for marks");
        Ok(())
    }

    /// Who is known stays so; nobody else gets in, and all goes on afterwards.
    fn outage(&self, server: &mut Server) -> Result<()> {
        let (here, there) = self.both(0);
        let mut known = Person::default();
        known.log_in(&here, &here, &self.provider)?;
        let made = self.token(0, &["create", "--service", "job", "-o", "json"])?;
        let made: Value = serde_json::from_str(&made)?;
        let key = made.pointer("/secret").and_then(Value::as_str);
        let key = key.context("no key")?;
        ensure!(calls(&there, key)? == 200, "a key of the other");
        ensure!(known.is_inside(&there)?, "a session of the other");
        server.kill();
        for authz in [&here, &there] {
            ensure!(known.is_inside(authz)?, "a session without Redis");
            ensure!(calls(authz, key)? == 200, "a key without Redis");
            let other = if key.ends_with('a') { 'b' } else { 'a' };
            let stranger = format!("{}{other}", key.get(..key.len() - 1).unwrap_or_default());
            ensure!(
                calls(authz, &stranger)? == 401,
                "an unknown key without Redis"
            );
            let login = Person::default().log_in(authz, authz, &self.provider);
            ensure!(login.is_err(), "a login without Redis");
        }
        ensure!(
            self.token(0, &["create", "--service", "job"]).is_err(),
            "a key that is made without Redis"
        );
        server.restart()?;
        let began = Instant::now();
        for authz in [&here, &there] {
            ensure!(known.is_inside(authz)?, "a session after an outage");
            while let Err(error) = Person::default().log_in(authz, authz, &self.provider) {
                ensure!(began.elapsed() < BACK, "a login after an outage: {error:#}");
            }
        }
        Ok(())
    }

    fn token(&self, number: usize, args: &[&str]) -> Result<String> {
        self.command(number, "token", args)
    }

    /// What `sidegate` prints for an order to a replica.
    fn command(&self, number: usize, about: &str, args: &[&str]) -> Result<String> {
        let output = Command::new(shell::target().join("debug/sidegate"))
            .arg(about)
            .args(args)
            .arg("--data")
            .arg(self.data(number))
            .output()
            .context("cannot run sidegate")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{about} {args:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The status that a program with a key gets.
fn calls(authz: &str, key: &str) -> Result<u16> {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", &*bearer)];
    Ok(ask_host(authz, MODEL, "POST", PREDICT, &headers, "")?.status)
}

fn until_over(what: &str, mut over: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !over()? {
        ensure!(began.elapsed() < ENDED, "{what} counts after {ENDED:?}");
    }
    Ok(())
}

/// The seed's files with secrets that nobody publishes.
fn seed(files: &Path) -> Result<()> {
    let seed = shell::root().join("examples/seed");
    let cluster = std::fs::read_to_string(seed.join("cluster.yaml"))?;
    std::fs::write(
        files.join("cluster.yaml"),
        crate::authz::own_secrets(&cluster, HASH),
    )?;
    std::fs::copy(seed.join("sidegate.yaml"), files.join("sidegate.yaml"))?;
    Ok(())
}
