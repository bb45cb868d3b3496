//! The command's side: asks the running program, or does it itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use identity::{ApiKeys, SessionConfig, Sessions};
use provider::{Admin, system_clock};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::order::{Asked, Counter, Refusal, carry_out};
use super::{BASE, Done, MAX_ANSWER, Order, socket_in};
use crate::folder::{self, Folder};
use crate::outgoing::GatewaySessions;
use crate::state;

/// How long a program may take from taking its folder to opening its socket.
const STARTING: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(50);

/// Has an order carried out on a data folder. `base` is where people reach the provider, if that
/// is to be another address than the program's own.
pub(crate) fn ask(data: Option<PathBuf>, order: Order, base: Option<&str>) -> anyhow::Result<Done> {
    let path = data.map_or_else(folder::default_path, Ok)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match Folder::try_take(&path)? {
            Some(folder) => alone(&folder, order, base).await,
            None => over_the_socket(&path, order, base).await,
        }
    })
}

/// Nothing runs on the folder: it is ours until the command ends.
async fn alone(folder: &Folder, order: Order, base: Option<&str>) -> anyhow::Result<Done> {
    let storage = state::open_alone(folder.path())?;
    let mut admin = Admin::open(storage.clone(), system_clock())?;
    let mut sessions = None;
    if folder.path().join("sessions.redb").exists() {
        let opened = Sessions::open(
            folder.path(),
            SessionConfig::default(),
            identity::system_clock(),
        )?;
        admin = admin.with_sign_outs(Arc::new(GatewaySessions(opened.clone())));
        sessions = Some(opened);
    }
    let last = std::fs::read_to_string(folder.path().join(BASE)).ok();
    let base = base.or(last.as_deref().map(str::trim)).unwrap_or("");
    let keys = ApiKeys::open(folder.path(), identity::system_clock())?;
    let at = Counter {
        provider: Some((&admin, &storage)),
        keys: Some(&keys),
        sessions: sessions.as_ref(),
        base,
    };
    Ok(carry_out(order, at).await?)
}

async fn connect(folder: &Path) -> std::io::Result<UnixStream> {
    let (short, _open) = socket_in(folder)?;
    UnixStream::connect(short).await
}

async fn over_the_socket(path: &Path, order: Order, base: Option<&str>) -> anyhow::Result<Done> {
    let began = Instant::now();
    let connected = loop {
        match connect(path).await {
            // The folder is taken a moment before the socket is there.
            Err(_) if began.elapsed() < STARTING => tokio::time::sleep(AGAIN).await,
            connected => break connected,
        }
    };
    let mut stream = connected.with_context(|| {
        format!(
            "the sidegate that runs on data folder `{}` takes no commands; try again when it has \
             started, or stop it",
            path.display()
        )
    })?;
    let base = base.map(str::to_owned);
    let mut line = serde_json::to_vec(&Asked { order, base })?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_ANSWER))
        .read_line(&mut answer)
        .await?;
    if answer.is_empty() {
        bail!("the running program ended before it answered");
    }
    let answer: Result<Done, Refusal> = serde_json::from_str(&answer)
        .context("the running program answers otherwise; it may be of another version")?;
    Ok(answer?)
}
