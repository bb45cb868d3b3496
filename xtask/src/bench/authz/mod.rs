//! `bench authz`: the external authorizer, beside oauth2-proxy, alone and behind one worker of Envoy.

mod behind;
mod peer;
mod program;
mod report;
mod soak;
mod world;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use self::program::Program;
pub(crate) use self::soak::run as soak;
use self::world::{Full, Tokens, World};
use super::{Length, Scratch};
use crate::clients::free_port;
use crate::person::DASHBOARD;
use crate::shell;

/// What programs ask for.
const MODEL: &str = "sklearn-iris.kserve-test.example.com";
const PREDICT: &str = "/v1/models/sklearn-iris:predict";

/// Sessions of a full store, keys and issuers beside.
const SESSIONS: usize = 1_000_000;
const KEYS: usize = 10_000;
const ISSUERS: usize = 1_000;

/// Secrets of each kind that are used again and again.
const KNOWN: usize = 100;

/// No check at all.
const FLOOR: &str = "floor-http";

/// What checks bring, and how they come.
const KINDS: [&str; 9] = [
    FLOOR,
    "session-grpc",
    "session-http",
    "any-session-grpc",
    "token-grpc",
    "token-http",
    "key-grpc",
    "key-http",
    "fresh-grpc",
];

/// What a load came to.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    per_second: f64,
    /// Microseconds of the server's time for an answer.
    cpu: f64,
    /// Of the gateway's, where there is one.
    gateway: f64,
    p50: f64,
    p99: f64,
}

/// Five kinds of checks.
struct Checks {
    session_grpc: Measured,
    session_http: Measured,
    token_grpc: Measured,
    token_http: Measured,
    key_grpc: Measured,
    key_http: Measured,
    /// Any session of all there are.
    any_session: Measured,
    /// Tokens that were never seen.
    fresh: Measured,
    /// Answers without a look.
    floor: Measured,
    idle_kib: u64,
    loaded_kib: u64,
}

/// Everything that is measured.
struct Figures {
    few: Checks,
    full: Checks,
    behind: behind::Figures,
    peer: peer::Figures,
}

/// Measures, prints the table and, in full length, writes it down.
pub(crate) fn run(length: Length) -> Result<()> {
    let load = build()?;
    let scratch = Scratch::new()?;
    let bench = Bench {
        load: &load,
        folder: scratch.path(),
        seconds: if length == Length::Full { 6 } else { 1 },
    };
    let few = bench.checks("a few of each", Full::no(), length)?;
    let full = bench.checks("a full store", Full::yes(length), length)?;
    let figures = Figures {
        few,
        full,
        behind: behind::measure(&bench)?,
        peer: peer::measure(&bench)?,
    };
    let table = report::table(&figures, length);
    println!("{table}");
    match length {
        Length::Full => {
            let page = shell::root().join("docs/benchmarks.md");
            super::report::write_section(&page, "authz", &table)
        }
        Length::Quick => Ok(()),
    }
}

/// Measures these kinds of checks alone, again and again, and prints what each costs.
pub(crate) fn only(kinds: &[&str]) -> Result<()> {
    const TIMES: usize = 3;
    let load = build()?;
    let scratch = Scratch::new()?;
    let bench = Bench {
        load: &load,
        folder: scratch.path(),
        seconds: 4,
    };
    let world = World::make(&bench, &Full::no())?;
    let program = Program::authz(&world, &[])?;
    let asking = Asking::of(&bench, &program, &world, Length::Full)?;
    for _ in 0..TIMES {
        for kind in kinds {
            let found = asking.one(kind)?;
            let (cpu, rate) = (found.cpu, found.per_second);
            println!("{kind}: {cpu:.1} µs of a processor, {rate:.0} checks/s");
        }
    }
    Ok(())
}

impl Bench<'_> {
    /// What no check over HTTP can cost less than: reading it and writing an answer.
    fn floor(&self, secrets: &Path) -> Result<Measured> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(self.load);
        let ready = || TcpStream::connect(&address).is_ok();
        let program = Program::start(command.args(["--floor", &address]), address.clone(), ready)?;
        self.ask(&Load::session("http", secrets), &address, &program, None)
    }
}

/// Builds the program and what asks it; where that is.
fn build() -> Result<PathBuf> {
    let built = shell::cargo()
        .args([
            "build",
            "--release",
            "--message-format=json-render-diagnostics",
        ])
        .args(["--package", "sidegate", "--package", "testkit"])
        .args(["--bin", "sidegate", "--bench", "checks"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(built.status.success(), "the program cannot be built");
    let lines = String::from_utf8_lossy(&built.stdout);
    let found = lines.lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let name = line.get("target")?.get("name")?.as_str()?;
        let path = line.get("executable")?.as_str()?;
        (name == "checks").then(|| PathBuf::from(path))
    });
    found.context("cargo does not say where `checks` is")
}

/// What loads are made with.
struct Bench<'a> {
    load: &'a Path,
    folder: &'a Path,
    seconds: u64,
}

/// One request, asked so often.
struct Load<'a> {
    protocol: &'static str,
    host: &'a str,
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    /// A file with a secret a line, for `SECRET` in a header.
    secrets: &'a Path,
    expected: &'a str,
    connections: usize,
    rate: Option<f64>,
    /// Each secret once, and no more.
    once: bool,
}

/// What browsers and programs send beside what says who they are.
const BROWSER: [(&str, &str); 8] = [
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "en-GB,en;q=0.5"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    ("x-forwarded-for", "10.244.0.7"),
    ("x-forwarded-proto", "http"),
    ("x-request-id", "7d1d3f0b-91a7-4a0e-8a68-0b5ad9f2ad11"),
    ("cookie", "authservice_session=SECRET"),
];
const PROGRAM: [(&str, &str); 7] = [
    ("accept", "*/*"),
    ("content-type", "application/json"),
    ("user-agent", "python-requests/2.32.3"),
    ("x-forwarded-for", "10.244.0.7"),
    ("x-forwarded-proto", "http"),
    ("x-request-id", "7d1d3f0b-91a7-4a0e-8a68-0b5ad9f2ad11"),
    ("authorization", "Bearer SECRET"),
];

/// Connections of gateways, and checks that are under way on each over gRPC.
const CONNECTIONS: usize = 4;
const STREAMS: usize = 16;
/// Connections over HTTP, where each has one check.
const OVER_HTTP: usize = 32;

impl<'a> Load<'a> {
    /// A person at the dashboard.
    fn session(protocol: &'static str, secrets: &'a Path) -> Self {
        Self {
            protocol,
            host: DASHBOARD,
            method: "GET",
            path: if protocol == "grpc" {
                "/pipeline/?ns=team"
            } else {
                "/external/pipeline/?ns=team"
            },
            headers: BROWSER.to_vec(),
            secrets,
            expected: "kubeflow-userid",
            connections: if protocol == "grpc" {
                CONNECTIONS
            } else {
                OVER_HTTP
            },
            rate: None,
            once: false,
        }
    }

    /// A program at a model, with a token or an API key.
    fn bearer(protocol: &'static str, secrets: &'a Path, path: &'a str) -> Self {
        Self {
            host: MODEL,
            method: "POST",
            path,
            headers: PROGRAM.to_vec(),
            expected: "",
            ..Self::session(protocol, secrets)
        }
    }

    fn describe(&self, address: &str, seconds: u64) -> Value {
        json!({
            "protocol": self.protocol, "address": address, "host": self.host,
            "method": self.method, "path": self.path, "port": 8080,
            "headers": self.headers, "secrets": self.secrets.display().to_string(),
            "expected": self.expected, "connections": self.connections,
            "streams": STREAMS, "rate": self.rate,
            "seconds": if self.once { Value::Null } else { json!(seconds) },
        })
    }
}

impl Bench<'_> {
    /// Lets it be asked, and says what that cost these programs.
    fn ask(
        &self,
        load: &Load<'_>,
        address: &str,
        of: &Program,
        gateway: Option<&Program>,
    ) -> Result<Measured> {
        let file = self.folder.join("asking.json");
        let run = |seconds| -> Result<Value> {
            std::fs::write(&file, load.describe(address, seconds).to_string())?;
            let output = Command::new(self.load).arg("--load").arg(&file).output();
            let output = output.context("cannot run what asks")?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{}: {said}", load.path);
            Ok(serde_json::from_slice(&output.stdout)?)
        };
        if !load.once {
            run(1)?;
        }
        let spent = |program: Option<&Program>| program.map_or(Ok(0.0), Program::cpu);
        let before = (of.cpu()?, spent(gateway)?);
        let found = run(self.seconds)?;
        let after = (of.cpu()?, spent(gateway)?);
        let number = |name: &str| found.get(name).and_then(Value::as_f64);
        let answers = number("answers").context("no answers")?;
        Ok(Measured {
            per_second: answers / number("seconds").context("no time")?,
            cpu: (after.0 - before.0) * 1e6 / answers,
            gateway: (after.1 - before.1) * 1e6 / answers,
            p50: number("p50").context("no times")?,
            p99: number("p99").context("no times")?,
        })
    }

    fn checks(&self, what: &str, full: Full, length: Length) -> Result<Checks> {
        eprintln!("measuring: checks with {what}");
        let world = World::make(self, &full)?;
        let program = Program::authz(&world, &[])?;
        let idle_kib = program.resident_kib()?;
        let asking = Asking::of(self, &program, &world, length)?;
        let one = |kind| asking.one(kind);
        Ok(Checks {
            session_grpc: one("session-grpc")?,
            session_http: one("session-http")?,
            token_grpc: one("token-grpc")?,
            token_http: one("token-http")?,
            key_grpc: one("key-grpc")?,
            key_http: one("key-http")?,
            fresh: one("fresh-grpc")?,
            floor: one(FLOOR)?,
            any_session: one("any-session-grpc")?,
            idle_kib,
            loaded_kib: program.resident_kib()?,
        })
    }
}

/// Loads on one program.
struct Asking<'a> {
    bench: &'a Bench<'a>,
    program: &'a Program,
    world: &'a World,
    tokens: Tokens,
}

impl<'a> Asking<'a> {
    fn of(
        bench: &'a Bench<'a>,
        program: &'a Program,
        world: &'a World,
        length: Length,
    ) -> Result<Self> {
        let fresh = if length == Length::Full { 6_000 } else { 500 };
        Ok(Self {
            tokens: Tokens::sign(world, KNOWN, fresh)?,
            bench,
            program,
            world,
        })
    }

    /// One of [`KINDS`].
    fn one(&self, kind: &str) -> Result<Measured> {
        if kind == FLOOR {
            return self.bench.floor(&self.world.used);
        }
        let over_http = format!("/external{PREDICT}");
        let (secret, protocol) = kind.rsplit_once('-').unwrap_or_default();
        let protocol = if protocol == "grpc" { "grpc" } else { "http" };
        let path = if protocol == "grpc" {
            PREDICT
        } else {
            &over_http
        };
        let bearer = |secrets| Load::bearer(protocol, secrets, path);
        let load = match secret {
            "session" => Load::session(protocol, &self.world.used),
            "any-session" => Load::session(protocol, &self.world.sessions),
            "token" => bearer(&self.tokens.known),
            "key" => bearer(&self.world.keys),
            "fresh" => Load {
                once: true,
                ..bearer(&self.tokens.fresh)
            },
            _ => bail!("`{kind}`: expected one of {}", KINDS.join(", ")),
        };
        let at = self.program.checks.clone();
        self.bench.ask(&load, &at, self.program, None)
    }
}
