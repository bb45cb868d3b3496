//! Istio's control plane, as a child process that translates batches.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::world::World;

/// The control plane keeps what it once computed: it is started afresh after
/// this many clusters.
const CLUSTERS_PER_PROCESS: usize = 400;

/// The translator.
pub(crate) struct Istio {
    program: PathBuf,
    log: PathBuf,
    running: Option<Running>,
}

struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    translated: usize,
}

/// A batch as Envoy's files.
pub(crate) struct Translated {
    /// Per cluster: the listeners' ports, or why there are none.
    pub(crate) clusters: Vec<Result<Vec<u16>, String>>,
    /// Objects that Istio's validation refuses, per cluster.
    pub(crate) rejected: Vec<Vec<String>>,
    /// Names of upstreams by number.
    pub(crate) upstreams: Vec<String>,
}

/// How often this run has met another one.
static MOVES: AtomicU32 = AtomicU32::new(0);

/// Takes other addresses from now on.
pub(crate) fn move_on() {
    MOVES.fetch_add(17, Ordering::Relaxed);
}

thread_local! {
    /// What is added to addresses of this thread.
    static APART: Cell<u8> = const { Cell::new(0) };
}

/// Gives this thread other addresses than the rest of the program has.
pub(crate) fn stand_apart() {
    APART.set(130);
}

/// The loopback address of a cluster of a batch; two runs at the same time
/// mostly do not meet.
pub(crate) fn address(index: usize) -> Ipv4Addr {
    let part = |n: usize| u8::try_from(n).unwrap_or(250);
    let run = (std::process::id() + MOVES.load(Ordering::Relaxed)) % 60;
    let run = u8::try_from(run).unwrap_or(0) + 1 + APART.get();
    Ipv4Addr::new(127, run, part(index / 250), part(index % 250 + 1))
}

/// That of the pod behind the gateway; a batch has half as many clusters as addresses.
pub(crate) fn behind(index: usize) -> Ipv4Addr {
    address(index + 125)
}

/// Where gateways connect from to pods behind them.
pub(crate) const OUTGOING: Ipv4Addr = Ipv4Addr::new(127, 220, 0, 1);

impl Istio {
    pub(crate) fn new(program: PathBuf, log: PathBuf) -> Self {
        Self {
            program,
            log,
            running: None,
        }
    }

    /// Writes `lds.pb`, `cds.pb` and client certificates into the folder.
    pub(crate) fn translate(
        &mut self,
        worlds: &[&World],
        identities: &[String],
        folder: &Path,
        backend: u16,
    ) -> Result<Translated> {
        let clusters: Vec<Value> = worlds
            .iter()
            .enumerate()
            .map(|(index, world)| world.for_istio(address(index), behind(index)))
            .collect();
        let batch = json!({
            "out": folder, "backend": backend, "grpc": backend, "source": OUTGOING.to_string(),
            "identities": identities, "clusters": clusters,
        });
        let answer = self.ask(&batch, worlds.len())?;
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            bail!("translating with Istio: {error}");
        }
        let list = |value: &Value, name: &str| -> Vec<Value> {
            value
                .get(name)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let texts = |list: Vec<Value>| -> Vec<String> {
            list.iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let answers = list(&answer, "clusters");
        let ports = |cluster: &Value| match cluster.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(list(cluster, "ports")
                .iter()
                .filter_map(|port| u16::try_from(port.as_u64()?).ok())
                .collect()),
        };
        Ok(Translated {
            clusters: answers.iter().map(ports).collect(),
            rejected: answers.iter().map(|c| texts(list(c, "rejected"))).collect(),
            upstreams: texts(list(&answer, "upstreams")),
        })
    }

    /// What a crash begins with.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().take(12).collect::<Vec<_>>().join(" / ")
    }

    fn ask(&mut self, batch: &Value, clusters: usize) -> Result<Value> {
        if self
            .running
            .as_ref()
            .is_some_and(|running| running.translated >= CLUSTERS_PER_PROCESS)
        {
            self.running = None;
        }
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(Running::start(&self.program, &self.log)?),
        };
        running.translated += clusters;
        writeln!(running.input, "{batch}")?;
        running.input.flush()?;
        let mut line = String::new();
        running.output.read_line(&mut line)?;
        if line.is_empty() {
            self.running = None;
            bail!(
                "the translator around Istio's control plane ended: {}",
                self.last_words()
            );
        }
        serde_json::from_str(&line).context("reading the translator's answer")
    }
}

impl Running {
    fn start(program: &Path, log: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log)?)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("no pipes to the translator");
        };
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
            translated: 0,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
