//! Clients that nobody changed, against `sidegate runtime`: each says what came of each of its calls, and the servers of KServe
//! and MLServer were asked the same before (`cargo xtask record --clients`).

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::answers::{self, Answers, Differences};
use crate::child::Running;
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
        answers::write(&client.recorded(), &answers)?;
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
        answers::same(&client.recorded(), &answers)?;
    }
    Ok(count)
}

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
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let server = Server::of(
            Running::start(&mut command)?,
            format!("127.0.0.1:{http}"),
            format!("127.0.0.1:{grpc}"),
        );
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
    answers::parse(&String::from_utf8_lossy(&output.stdout))
}

fn differences() -> Result<Differences> {
    Differences::read(&folder().join("differences.txt"))
}

fn check(client: Client) -> Result<()> {
    let program = shell::target().join("debug/sidegate");
    let server = serve(&program, &models()?, &["--compat", client.peer.word()])?;
    let found = ask(client, &server)?;
    let expected = differences()?.expected(&client.recorded(), &client.id())?;
    answers::compare(client.name, &found, &expected)
}

/// The page: how many calls each client makes, how many of the answers are the other server's, and why the others are not.
fn page() -> Result<String> {
    let differences = differences()?;
    let mut text = include_str!("../peers/clients/page.md").to_owned();
    text.push_str("\n| client | calls | answered as by the other server |\n|---|---|---|\n");
    for client in CLIENTS {
        let (name, id) = (client.name, client.id());
        let calls = differences.expected(&client.recorded(), &id)?.len();
        let _ = writeln!(
            text,
            "| {name} | {calls} | {} |",
            calls - differences.of(&id)
        );
    }
    text.push_str("\n| what differs | calls |\n|---|---|\n");
    for (reason, count) in differences.reasons() {
        let _ = writeln!(text, "| {reason} | {count} |");
    }
    Ok(text)
}
