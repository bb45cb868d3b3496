//! Clients that nobody changed, against `sidegate runtime`: each says what came of each of its calls, and KServe's server
//! was asked the same before (`cargo xtask record --clients`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::oracle::Check;
use crate::{cache, shell};

/// What the client is called, and its script.
const CLIENTS: [(&str, &str); 6] = [
    ("tritonclient over HTTP", "triton_http"),
    ("tritonclient over gRPC", "triton_grpc"),
    ("KServe's SDK", "kserve_sdk"),
    ("the package cloudevents", "cloud_events"),
    ("reflection of gRPC", "reflection"),
    ("curl", "shell"),
];

/// Where the page says what differs.
const PAGE: &str = "docs/clients.md";
const DEADLINE: Duration = Duration::from_secs(60);

/// A check for each client, and one that the page is up to date.
pub(crate) fn suite() -> Vec<Check> {
    let clients = CLIENTS
        .into_iter()
        .map(|(name, script)| -> Check { (name, Box::new(move || check(name, script))) });
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
    clients.chain([page]).collect()
}

/// Asks KServe's server everything anew and writes the answers and the page. Returns the number of calls.
pub(crate) fn record() -> Result<usize> {
    let python = python()?;
    let models = models(&python)?;
    let server = kserve(&python, &models)?;
    let mut count = 0;
    for (_, script) in CLIENTS {
        let answers = ask(&python, script, &server)?;
        count += answers.len();
        let text: String = answers
            .iter()
            .map(|(call, outcome)| format!("{call}: {outcome}\n"))
            .collect();
        std::fs::write(recorded(script), text)?;
    }
    drop(server);
    std::fs::write(shell::root().join(PAGE), page()?)?;
    Ok(count)
}

/// Outcomes by call, in the order of the script.
type Answers = Vec<(String, String)>;

fn folder() -> PathBuf {
    shell::root().join("xtask/peers/clients")
}

fn recorded(script: &str) -> PathBuf {
    folder().join("kserve").join(format!("{script}.txt"))
}

fn python() -> Result<PathBuf> {
    let requirements = shell::root().join("xtask/peers/requirements.txt");
    cache::python("peer-kserve", &requirements)
}

/// The models, trained once by the version of scikit-learn that KServe's server has.
fn models(python: &Path) -> Result<PathBuf> {
    let script = folder().join("models.py");
    let sources = std::fs::read_to_string(&script)?
        + &std::fs::read_to_string(shell::root().join("xtask/peers/requirements.txt"))?;
    cache::built("clients", &sources, "models", |folder| {
        shell::run(Command::new(python).arg(&script).arg(folder))
    })
}

/// A running server. Dropping it kills it.
struct Server {
    child: Child,
    http: String,
    grpc: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kserve(python: &Path, models: &Path) -> Result<Server> {
    let ports = [free_port()?, free_port()?];
    let [http, grpc] = ports.map(|port| port.to_string());
    let child = quiet(Command::new(python))
        .arg(folder().join("kserve_server.py"))
        .arg("--model_dir")
        .arg(models)
        .args(["--http_port", &http, "--grpc_port", &grpc])
        .spawn()
        .context("cannot run KServe's server")?;
    let server = Server {
        child,
        http: format!("127.0.0.1:{http}"),
        grpc: format!("127.0.0.1:{grpc}"),
    };
    let began = Instant::now();
    while std::net::TcpStream::connect(&server.grpc).is_err()
        || std::net::TcpStream::connect(&server.http).is_err()
    {
        if began.elapsed() > DEADLINE {
            bail!("KServe's server does not answer on {}", server.http);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(server)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn quiet(mut command: Command) -> Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn sidegate(models: &Path) -> Result<Server> {
    let program = shell::target().join("debug/sidegate");
    let mut child = Command::new(&program)
        .args([
            "runtime",
            "--host=127.0.0.1",
            "--http_port=0",
            "--grpc_port=0",
            "--model_dir",
        ])
        .arg(models)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let lines = child.stderr.take().context("no standard error")?;
    let mut server = Server {
        child,
        http: String::new(),
        grpc: String::new(),
    };
    let mut lines = BufReader::new(lines).lines();
    let mut told = String::new();
    while server.grpc.is_empty() {
        let Some(line) = lines.next().transpose()? else {
            bail!("the program ended early: {told}");
        };
        let after = |what: &str| {
            line.rsplit_once(what)
                .map(|(_, rest)| rest.trim().to_owned())
        };
        if let Some(address) = after("HTTP on ") {
            server.http = address;
        } else if let Some(address) = after("gRPC on ") {
            server.grpc = address;
        }
        told.push_str(&line);
    }
    // What it tells later is read, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(server)
}

/// Runs a client to its end.
fn ask(python: &Path, script: &str, server: &Server) -> Result<Answers> {
    let output = Command::new(python)
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

/// Answers that differ from KServe's on purpose, each after the reasons for those that follow: by script and call.
fn differences() -> Result<BTreeMap<(String, String), Difference>> {
    let text = std::fs::read_to_string(folder().join("differences.txt"))?;
    let (mut reason, mut found) = (String::new(), BTreeMap::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(text) = line.strip_prefix("# ") {
            text.clone_into(&mut reason);
            continue;
        }
        let parts = line.split_once(' ').and_then(|(script, rest)| {
            let (call, outcome) = rest.split_once(": ")?;
            Some((script.to_owned(), call.to_owned(), outcome.to_owned()))
        });
        let (script, call, outcome) =
            parts.with_context(|| format!("expected `script call: outcome`, found `{line}`"))?;
        let difference = Difference {
            reason: reason.clone(),
            outcome,
        };
        found.insert((script, call), difference);
    }
    Ok(found)
}

struct Difference {
    reason: String,
    outcome: String,
}

/// What a client should find: KServe's answers, but for the differences.
fn expected(script: &str) -> Result<Answers> {
    let path = recorded(script);
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut answers = parse(&text)?;
    for ((of, call), difference) in differences()? {
        if of != script {
            continue;
        }
        let answer = answers.iter_mut().find(|(known, _)| *known == call);
        let (_, answer) = answer.with_context(|| format!("{script} makes no call `{call}`"))?;
        if *answer == difference.outcome {
            bail!("{script}: `{call}` does not differ any more");
        }
        *answer = difference.outcome;
    }
    Ok(answers)
}

fn check(name: &str, script: &str) -> Result<()> {
    let python = python()?;
    let server = sidegate(&models(&python)?)?;
    let found = ask(&python, script, &server)?;
    let expected = expected(script)?;
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

/// The page: how many calls each client makes, how many of the answers are KServe's, and why the others are not.
fn page() -> Result<String> {
    let differences = differences()?;
    let mut text = include_str!("../peers/clients/page.md").to_owned();
    text.push_str("\n| client | calls | answered as by KServe |\n|---|---|---|\n");
    for (name, script) in CLIENTS {
        let calls = expected(script)?.len();
        let differ = differences.keys().filter(|(of, _)| of == script).count();
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
