//! Clients that nobody changed, against `sidegate runtime`: each says what came of each of its calls, and the servers of KServe
//! and MLServer were asked the same before (`cargo xtask record --clients`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::oracle::Check;
use crate::served::{Server, serve};
use crate::{cache, shell};

/// A client, and whose answers it should find.
#[derive(Clone, Copy)]
struct Client {
    name: &'static str,
    script: &'static str,
    /// Whose packages it is made of.
    packages: Peer,
    peer: Peer,
}

/// A server that speaks to such clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Kserve,
    Mlserver,
}

const fn client(name: &'static str, script: &'static str, packages: Peer, peer: Peer) -> Client {
    Client {
        name,
        script,
        packages,
        peer,
    }
}

const CLIENTS: [Client; 10] = {
    use Peer::{Kserve, Mlserver};
    [
        client("tritonclient over HTTP", "triton_http", Kserve, Kserve),
        client("tritonclient over gRPC", "triton_grpc", Kserve, Kserve),
        client("KServe's SDK", "kserve_sdk", Kserve, Kserve),
        client("the package cloudevents", "cloud_events", Kserve, Kserve),
        client("reflection of gRPC", "reflection", Kserve, Kserve),
        client("curl", "shell", Kserve, Kserve),
        client("codecs of MLServer", "mlserver_client", Mlserver, Kserve),
        client(
            "codecs of MLServer, `--compat=mlserver`",
            "mlserver_client",
            Mlserver,
            Mlserver,
        ),
        client(
            "plain requests, `--compat=mlserver`",
            "mlserver_rest",
            Mlserver,
            Mlserver,
        ),
        client(
            "tritonclient over gRPC, `--compat=mlserver`",
            "triton_grpc",
            Kserve,
            Mlserver,
        ),
    ]
};

/// The models that scripts ask about.
const MODELS: [&str; 4] = ["iris", "mixed", "price", "words"];

/// Where the page says what differs.
const PAGE: &str = "docs/clients.md";
const DEADLINE: Duration = Duration::from_secs(240);

/// A check for each client, and one that the page is up to date.
pub(crate) fn suite() -> Vec<Check> {
    let clients = CLIENTS.map(|client| -> Check { (client.name, Box::new(move || check(client))) });
    let page: Check = (
        "the page about clients",
        Box::new(|| {
            let path = shell::root().join(PAGE);
            if std::fs::read_to_string(&path)? != page()? {
                bail!("{PAGE} is not what was recorded: run `cargo xtask record --clients`");
            }
            Ok(())
        }),
    );
    clients.into_iter().chain([page]).collect()
}

/// Asks the other servers everything anew and writes the answers and the page. Returns the number of calls.
pub(crate) fn record() -> Result<usize> {
    let mut count = 0;
    for client in CLIENTS {
        let answers = client.asks_its_peer()?;
        count += answers.len();
        let path = client.recorded();
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        std::fs::write(path, as_text(&answers))?;
    }
    std::fs::write(shell::root().join(PAGE), page()?)?;
    Ok(count)
}

/// Compares what is recorded with what clients find at the other servers now.
pub(crate) fn compare() -> Result<usize> {
    let mut count = 0;
    for client in CLIENTS {
        let answers = client.asks_its_peer()?;
        count += answers.len();
        let recorded = std::fs::read_to_string(client.recorded())?;
        let now = as_text(&answers);
        let other = recorded.lines().zip(now.lines()).find(|(a, b)| a != b);
        if let Some((recorded, now)) = other {
            bail!("{}:\n  recorded: {recorded}\n  now:      {now}", client.id());
        }
        ensure!(recorded == now, "{}: one has more calls", client.id());
    }
    Ok(count)
}

fn as_text(answers: &Answers) -> String {
    answers
        .iter()
        .map(|(call, outcome)| format!("{call}: {outcome}\n"))
        .collect()
}

/// Outcomes by call, in the order of the script.
type Answers = Vec<(String, String)>;

fn folder() -> PathBuf {
    shell::root().join("xtask/peers/clients")
}

impl Client {
    fn asks_its_peer(self) -> Result<Answers> {
        let server = self.peer.start(&models()?)?;
        ask(self, &server)
    }

    fn recorded(self) -> PathBuf {
        let file = format!("{}.txt", self.script);
        folder().join(self.peer.word()).join(file)
    }

    /// How differences name it.
    fn id(self) -> String {
        format!("{}/{}", self.peer.word(), self.script)
    }
}

impl Peer {
    /// Its name in flags and of folders.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kserve => "kserve",
            Self::Mlserver => "mlserver",
        }
    }

    /// The Python that has its packages.
    pub(crate) fn python(self) -> Result<PathBuf> {
        match self {
            Self::Kserve => cache::python("peer-kserve", &requirements()),
            Self::Mlserver => {
                let file = folder().join("requirements-mlserver.txt");
                cache::python("peer-mlserver", &file)
            }
        }
    }

    /// The command that serves a folder of models on these ports of HTTP, gRPC and metrics.
    pub(crate) fn command(self, models: &Path, ports: [u16; 3]) -> Result<Command> {
        let [http, grpc, metrics] = ports.map(|port| port.to_string());
        let python = self.python()?;
        let mut command = match self {
            Self::Kserve => Command::new(&python),
            Self::Mlserver => Command::new(python.with_file_name("mlserver")),
        };
        match self {
            Self::Kserve => command
                .arg(folder().join("kserve_server.py"))
                .arg("--model_dir")
                .arg(models)
                .args(["--http_port", &http, "--grpc_port", &grpc]),
            Self::Mlserver => command
                .arg("start")
                .arg(models)
                .env("MLSERVER_DEBUG", "false")
                .env("MLSERVER_HOST", "127.0.0.1")
                .env("MLSERVER_PARALLEL_WORKERS", "0")
                .env("MLSERVER_HTTP_PORT", &http)
                .env("MLSERVER_GRPC_PORT", &grpc)
                .env("MLSERVER_METRICS_PORT", &metrics)
                .env("MLSERVER_METRICS_DIR", std::env::temp_dir()),
        };
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        Ok(command)
    }

    /// Starts the server and waits until all models answer.
    fn start(self, models: &Path) -> Result<Server> {
        let ports = [free_port()?, free_port()?, free_port()?];
        let [http, grpc, _] = ports;
        let mut command = self.command(models, ports)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let server = Server {
            child,
            http: format!("127.0.0.1:{http}"),
            grpc: format!("127.0.0.1:{grpc}"),
        };
        let began = Instant::now();
        while !MODELS.iter().all(|name| server.has(name)) {
            if began.elapsed() > DEADLINE {
                bail!("the server does not answer on {}", server.http);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }
}

fn requirements() -> PathBuf {
    shell::root().join("xtask/peers/requirements.txt")
}

/// The models, trained once by the version of scikit-learn that KServe's server has.
fn models() -> Result<PathBuf> {
    let script = folder().join("models.py");
    let sources = std::fs::read_to_string(&script)? + &std::fs::read_to_string(requirements())?;
    let python = Peer::Kserve.python()?;
    cache::built("clients", &sources, "models", |folder| {
        shell::run(Command::new(python).arg(&script).arg(folder))
    })
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Runs a client to its end.
fn ask(client: Client, server: &Server) -> Result<Answers> {
    let script = client.script;
    let output = Command::new(client.packages.python()?)
        .arg(folder().join(format!("{script}.py")))
        .args([&server.http, &server.grpc])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("PYTHONWARNINGS")
        .output()
        .with_context(|| format!("cannot run {script}.py"))?;
    if !output.status.success() {
        bail!(
            "{script}.py ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(text: &str) -> Result<Answers> {
    let split = |line: &str| {
        let (call, outcome) = line
            .split_once(": ")
            .with_context(|| format!("expected `call: outcome`, found `{line}`"))?;
        Ok((call.to_owned(), outcome.to_owned()))
    };
    text.lines().map(split).collect()
}

/// Answers that differ on purpose, by client and call.
type Differences = BTreeMap<(String, String), Difference>;

struct Difference {
    reason: String,
    outcome: String,
}

/// The file of differences: a reason, and below it the answers that it is the reason for.
fn differences() -> Result<Differences> {
    let text = std::fs::read_to_string(folder().join("differences.txt"))?;
    let (mut reason, mut found) = (String::new(), BTreeMap::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(text) = line.strip_prefix("# ") {
            text.clone_into(&mut reason);
            continue;
        }
        let parts = line.split_once(' ').and_then(|(client, rest)| {
            let (call, outcome) = rest.split_once(": ")?;
            Some((client.to_owned(), call.to_owned(), outcome.to_owned()))
        });
        let (client, call, outcome) =
            parts.with_context(|| format!("expected `client call: outcome`, found `{line}`"))?;
        let difference = Difference {
            reason: reason.clone(),
            outcome,
        };
        found.insert((client, call), difference);
    }
    Ok(found)
}

/// What a client should find: the other server's answers, but for the differences.
fn expected(client: Client) -> Result<Answers> {
    let (path, id) = (client.recorded(), client.id());
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut answers = parse(&text)?;
    for ((of, call), difference) in differences()? {
        if of != id {
            continue;
        }
        let answer = answers.iter_mut().find(|(known, _)| *known == call);
        let (_, answer) = answer.with_context(|| format!("{id} makes no call `{call}`"))?;
        if *answer == difference.outcome {
            bail!("{id}: `{call}` does not differ any more");
        }
        *answer = difference.outcome;
    }
    Ok(answers)
}

fn check(client: Client) -> Result<()> {
    let name = client.name;
    let program = shell::target().join("debug/sidegate");
    let server = serve(&program, &models()?, &["--compat", client.peer.word()])?;
    let found = ask(client, &server)?;
    let expected = expected(client)?;
    let mut wrong = String::new();
    for (call, outcome) in &found {
        match expected.iter().find(|(known, _)| known == call) {
            Some((_, right)) if right == outcome => {}
            Some((_, right)) => {
                let _ = write!(wrong, "\n{name}: {call}: {outcome}\n    expected: {right}");
            }
            None => {
                let _ = write!(wrong, "\n{name}: {call}: not recorded");
            }
        }
    }
    if found.len() != expected.len() {
        let _ = write!(
            wrong,
            "\n{name}: {} calls, {} were recorded",
            found.len(),
            expected.len()
        );
    }
    if !wrong.is_empty() {
        bail!("{wrong}");
    }
    Ok(())
}

/// The page: how many calls each client makes, how many of the answers are the other server's, and why the others are not.
fn page() -> Result<String> {
    let differences = differences()?;
    let mut text = include_str!("../peers/clients/page.md").to_owned();
    text.push_str("\n| client | calls | answered as by the other server |\n|---|---|---|\n");
    for client in CLIENTS {
        let (name, id) = (client.name, client.id());
        let calls = expected(client)?.len();
        let differ = differences.keys().filter(|(of, _)| *of == id).count();
        let _ = writeln!(text, "| {name} | {calls} | {} |", calls - differ);
    }
    text.push_str("\n| what differs | calls |\n|---|---|\n");
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for difference in differences.values() {
        match reasons
            .iter_mut()
            .find(|(reason, _)| *reason == difference.reason)
        {
            Some((_, count)) => *count += 1,
            None => reasons.push((&difference.reason, 1)),
        }
    }
    reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    for (reason, count) in reasons {
        let _ = writeln!(text, "| {reason} | {count} |");
    }
    Ok(text)
}
