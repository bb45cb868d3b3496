//! Sessions and API keys in a data folder, as logins and people would leave them there.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use identity::{ApiKeys, KeyOwner, NewKey, NewSession, Secret, SessionConfig, Sessions};
use policy::{KeyScope, Person};

/// Sessions of one transaction.
const BATCH: usize = 250_000;

/// Keys of one owner.
const OF_ONE: usize = 100;

/// Characters of an ID token that has groups and is signed by RS256.
const ID_TOKEN: usize = 900;

/// So many sessions of as many people, and what their browsers hold, a line each.
pub(crate) fn sessions(folder: &Path, count: usize, ids: &Path) -> Result<()> {
    let config = SessionConfig {
        max_sessions: u64::try_from(count)?,
        ..SessionConfig::default()
    };
    let sessions = Sessions::open(folder, config, identity::system_clock())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut told = String::new();
    for begin in (0..count).step_by(BATCH) {
        let new = (begin..count.min(begin + BATCH)).map(session).collect();
        for id in runtime.block_on(sessions.create_all(new))? {
            writeln!(told, "{}", id.expose())?;
        }
    }
    std::fs::write(ids, told).context("writing what browsers hold")
}

fn session(number: usize) -> NewSession {
    let person = Person {
        email: format!("person{number}@example.com").into(),
        subject: format!("CgZwZXJzb24{number}SBWxvY2Fs").into(),
        groups: ["data-science".into(), "team-fraud".into()].into(),
    };
    let token: String = format!("{number:08}")
        .chars()
        .cycle()
        .take(ID_TOKEN)
        .collect();
    NewSession {
        issuer: Some("http://dex.auth.svc.cluster.local:5556/dex".into()),
        sid: Some(format!("session-{number}").into()),
        id_token: Some(Secret::new(token)),
        ..NewSession::of(person)
    }
}

/// So many keys of programs, and the secrets, a line each.
pub(crate) fn keys(folder: &Path, count: usize, secrets: &Path) -> Result<()> {
    let keys = ApiKeys::open(folder, identity::system_clock())?;
    let key = |number: usize| NewKey {
        owner: KeyOwner::Service(format!("job-{}", number / OF_ONE).into()),
        label: format!("key {number}"),
        scope: KeyScope::default(),
        life: Duration::from_secs(30 * 24 * 3600),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut told = String::new();
    for (_, secret) in runtime.block_on(keys.create_all((0..count).map(key).collect()))? {
        writeln!(told, "{}", secret.expose())?;
    }
    std::fs::write(secrets, told).context("writing the keys")
}
