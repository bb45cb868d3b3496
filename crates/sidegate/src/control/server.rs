//! The running program's side: a socket that only its owner gets to.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use identity::{ApiKeys, Sessions};
use provider::{Admin, Storage};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::order::{Asked, Counter, Refusal, carry_out};
use super::{BASE, MAX_ORDER, SOCKET, socket_in};
use crate::folder::{self, Folder};

/// How many orders are carried out at a time; further ones wait.
const AT_ONCE: usize = 4;
/// How long an order may take to arrive and to be carried out.
const PATIENCE: Duration = Duration::from_secs(60);

/// What orders are about, in the running program: it may change with the configuration.
pub(crate) trait Desk: Send + Sync + 'static {
    /// Users and clients as they are now, and their database, where the provider runs.
    fn provider(&self) -> anyhow::Result<Option<(Admin, Storage)>>;
    /// API keys, where the gateway runs.
    fn keys(&self) -> Option<ApiKeys>;
    /// Sessions, where the gateway runs.
    fn sessions(&self) -> Option<Sessions>;
    /// Where people reach the provider.
    fn base(&self) -> String;
}

/// The socket. Dropping it takes it away.
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl Control {
    /// Opens the socket in a folder that is ours: what is left of a program before is replaced.
    pub(crate) fn open(folder: &Folder) -> anyhow::Result<Self> {
        let path = folder.path().join(SOCKET);
        let open = || -> std::io::Result<Self> {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // The folder lets nobody else in while the socket has its first permissions.
            let (short, _open) = socket_in(folder.path())?;
            let listener = UnixListener::bind(short)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            let owner = fs::metadata(&path)?.uid();
            Ok(Self {
                listener,
                path: path.clone(),
                owner,
            })
        };
        open().with_context(|| {
            format!(
                "the socket `{}` cannot be opened: `sidegate user`, `client`, `token` and `session` need it",
                path.display()
            )
        })
    }

    /// Carries out what is asked for, until it is dropped.
    pub(crate) async fn serve(self, desk: Arc<dyn Desk>) {
        let (last, base) = (self.path.with_file_name(BASE), desk.base());
        if !base.is_empty()
            && let Err(error) = folder::write_atomically(&last, base.as_bytes())
        {
            tracing::warn!("{error:#}");
        }
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a command could not be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let known = stream
                .peer_cred()
                .is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0);
            if !known {
                tracing::warn!("a command of another user was not taken");
                continue;
            }
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
                return;
            };
            let desk = Arc::clone(&desk);
            tokio::spawn(async move {
                let _turn = turn;
                match tokio::time::timeout(PATIENCE, answer(stream, &*desk)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "a command was not answered"),
                    Err(_) => tracing::warn!("a command took too long"),
                }
            });
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// One order, one answer, each a line of JSON.
async fn answer(stream: UnixStream, desk: &dyn Desk) -> anyhow::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(MAX_ORDER))
        .read_line(&mut line)
        .await?;
    let failed = |message: String| Refusal {
        message,
        bad_input: false,
    };
    let answer = match (serde_json::from_str(&line), desk.provider()) {
        (Ok(Asked { order, base }), Ok(provider)) => {
            let base = base.unwrap_or_else(|| desk.base());
            let (keys, sessions) = (desk.keys(), desk.sessions());
            let at = Counter {
                provider: provider.as_ref().map(|(admin, storage)| (admin, storage)),
                keys: keys.as_ref(),
                sessions: sessions.as_ref(),
                base: &base,
            };
            carry_out(order, at).await
        }
        (Err(_), _) => Err(failed(
            "the running program does not know this command; it may be of another version".into(),
        )),
        (_, Err(error)) => Err(failed(format!("{error:#}"))),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    write.write_all(&text).await?;
    Ok(write.shutdown().await?)
}
