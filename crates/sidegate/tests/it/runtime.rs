//! `sidegate runtime`: the model server, its ports, its limits and its end.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use testkit::{Answer, Socket, curl};

use super::{IRIS, SIDEGATE, sidegate, stderr};

pub(crate) const MODEL: &[u8] =
    include_bytes!("../../../../examples/models/sklearn-iris/model.joblib");

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    /// Of HTTP and of gRPC.
    pub(crate) ports: [String; 2],
    pub(crate) rest: BufReader<std::process::ChildStderr>,
}

impl Server {
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        let model_dir = folder.display().to_string();
        let common = ["--model_name=iris", "--model_dir", &model_dir];
        Self::start_in(folder, &[&common, args].concat())
    }

    /// Starts a server on free ports in a folder.
    pub(crate) fn start_in(folder: &Path, args: &[&str]) -> Self {
        Self::start_with(folder, args, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn start_with(folder: &Path, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(SIDEGATE)
            .args([
                "runtime",
                "--host=127.0.0.1",
                "--http_port=0",
                "--grpc_port=0",
            ])
            .args(args)
            .envs(environment.iter().copied())
            .current_dir(folder)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut rest = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        let mut port = |what: &str| {
            for line in rest.by_ref().lines() {
                let line = line.unwrap();
                if let Some((_, address)) = line.rsplit_once(what) {
                    return address.trim().to_owned();
                }
                told.push_str(&line);
            }
            panic!("ended early: {told}")
        };
        let ports = [port("HTTP on "), port("gRPC on ")];
        Self { child, ports, rest }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.ports[0])
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        curl([&self.url(path), "--data", body]).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        curl([&self.url(path)]).unwrap()
    }

    pub(crate) fn socket(&self) -> Socket {
        Socket::connect(&self.ports[0]).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args([name, &pid]).status();
        assert!(killed.unwrap().success());
    }

    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut told = String::new();
        self.rest.read_to_string(&mut told).unwrap();
        (self.child.wait().unwrap(), told)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn one_model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.joblib"), MODEL).unwrap();
    folder
}

/// A call of gRPC by curl, with these bytes as its body: the status, the text, and the reply. Heads and trailers are read here:
/// `testkit::curl` knows no trailers, and takes a stream that is reset after its answer for a failure.
pub(crate) fn call(address: &str, method: &str, bytes: &[u8]) -> (String, String, Vec<u8>) {
    let files = [(); 3].map(|()| tempfile::NamedTempFile::new().unwrap());
    let [sent, got, heads] = files
        .each_ref()
        .map(|file| file.path().display().to_string());
    std::fs::write(&sent, bytes).unwrap();
    let ended = Command::new("curl")
        .args([
            "--disable",
            "--silent",
            "--max-time",
            "30",
            "--noproxy",
            "*",
        ])
        .args(["--http2-prior-knowledge", "-H", "te: trailers"])
        .args(["-H", "content-type: application/grpc"])
        .args(["--data-binary", &format!("@{sent}")])
        .args(["--output", &got, "--dump-header", &heads])
        .arg(format!("http://{address}/{method}"))
        .status();
    // Whatever curl makes of the end, the heads tell what came.
    ended.unwrap();
    let heads = std::fs::read_to_string(&heads).unwrap();
    assert!(heads.starts_with("HTTP/2 200"), "{heads}");
    let told = |name: &str| {
        let mut lines = heads.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(key, _)| *key == name);
        found.map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    assert_eq!(told("content-type"), "application/grpc");
    let reply = std::fs::read(&got).unwrap();
    (told("grpc-status"), told("grpc-message"), reply)
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

pub(crate) const SERVICE: &str = "inference.GRPCInferenceService";

#[test]
fn both_protocols_are_spoken_on_both_ports() {
    let folder = one_model();
    let server = Server::start(folder.path(), &[]);
    for address in &server.ports {
        let url = format!("http://{address}/v1/models/iris:predict");
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let answer = curl([version, &url, "--data", IRIS]).unwrap();
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (200, r#"{"predictions":[1,1]}"#)
            );
        }
        let live = call(address, &format!("{SERVICE}/ServerLive"), &framed(b""));
        assert_eq!(live, ("0".into(), String::new(), framed(b"\x08\x01")));
        let health = call(
            address,
            "grpc.health.v1.Health/Check",
            &framed(b"\x0a\x04iris"),
        );
        assert_eq!(health, ("0".into(), String::new(), framed(b"\x08\x01")));
    }
}

#[test]
fn reflection_tells_what_can_be_called() {
    let folder = one_model();
    let server = Server::start(folder.path(), &[]);
    for version in ["v1", "v1alpha"] {
        let method = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let ask = |question: &[u8]| {
            let (status, _, reply) = call(&server.ports[0], &method, question);
            assert_eq!(status, "0");
            String::from_utf8_lossy(&reply).into_owned()
        };
        // list_services; file_containing_symbol twice in one call; a name that nobody has.
        let services = ask(&framed(b"\x3a\x00"));
        assert!(services.contains(SERVICE) && services.contains("grpc.health.v1.Health"));
        let symbol = |name: &str| {
            let length = u8::try_from(name.len()).unwrap();
            framed(&[&[0x22, length], name.as_bytes()].concat())
        };
        let both = [
            symbol("inference.InferParameter"),
            symbol("grpc.health.v1.Health.Check"),
        ]
        .concat();
        let files = ask(&both);
        assert!(
            files.contains("grpc_predict_v2.proto") && files.contains("health.proto"),
            "{files}"
        );
        assert!(ask(&symbol("inference.Nope")).contains("not found"));
    }
}

#[test]
fn calls_that_cannot_be_answered_say_why() {
    let folder = one_model();
    let server = Server::start(folder.path(), &["--grpc_max_receive_message_length=1000"]);
    let ready = format!("{SERVICE}/ModelReady");
    let check = |method: &str, bytes: &[u8], code: &str, text: &str| {
        let (status, message, reply) = call(&server.ports[1], method, bytes);
        assert_eq!(
            (status.as_str(), message.as_str()),
            (code, text),
            "{method}"
        );
        assert!(reply.is_empty());
    };
    check(
        &ready,
        &framed(b"\x0a\x04nope"),
        "5",
        "Model with name nope does not exist.",
    );
    check(
        &ready,
        &framed(b"\x0a\x09nope"),
        "3",
        "the message cannot be read: it is not of the type that this method takes",
    );
    // Lengths that lie, and what is not a message.
    check(
        &ready,
        b"\0\0\0\0\x09\x0a\x04iris",
        "13",
        "the message ended early",
    );
    check(
        &ready,
        b"\0\0\0\0\x01\x0a\x04iris",
        "13",
        "expected one message, found more",
    );
    check(&ready, b"\0\0", "13", "the message ended early");
    check(
        &ready,
        b"\x01\0\0\0\x00",
        "12",
        "the encoding of the message is not supported: expected gzip or deflate",
    );
    check(
        &ready,
        &framed(&[0; 1001]),
        "8",
        "the message is larger than 1000 bytes",
    );
    check(
        &format!("{SERVICE}/Nope"),
        &framed(b""),
        "12",
        "Method not found!",
    );
    check("nope.Nope/Nope", &framed(b""), "12", "Method not found!");
}

#[test]
fn a_folder_of_folders_is_a_repository() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("m.pkl"), MODEL).unwrap();
    }
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.get("/v1/models").body, r#"{"models":["a","b"]}"#);
    let unloaded = server.post("/v2/repository/models/a/unload", "{}");
    assert_eq!(unloaded.body, r#"{"name":"a","unload":true}"#);
    assert_eq!(server.get("/v1/models/a").status, 404);
    assert_eq!(
        server.post("/v2/repository/index", "").body,
        r#"[{"name":"a","version":"","state":"UNAVAILABLE","reason":"unloaded"},{"name":"b","version":"","state":"READY","reason":""}]"#
    );
    assert_eq!(
        server
            .post("/v2/repository/index", r#"{"ready":true}"#)
            .body,
        r#"[{"name":"b","version":"","state":"READY","reason":""}]"#
    );
    // Loading in both forms of gRPC's message: KServe's, and Triton's with a repository before the model.
    let load = format!("{SERVICE}/RepositoryModelLoad");
    let (status, ..) = call(&server.ports[1], &load, &framed(b"\x0a\x01a"));
    assert_eq!(
        (status.as_str(), server.get("/v1/models/a").status),
        ("0", 200)
    );
    server.post("/v2/repository/models/a/unload", "{}");
    let (status, ..) = call(&server.ports[1], &load, &framed(b"\x0a\x01x\x12\x01a"));
    assert_eq!(
        (status.as_str(), server.get("/v1/models/a").status),
        ("0", 200)
    );
    let elsewhere = server.post("/v2/repository/models/%2e%2e/load", "{}");
    assert_eq!(elsewhere.status, 503, "{}", elsewhere.body);
}

#[test]
fn a_model_that_cannot_be_served_ends_the_start() {
    let folder = one_model();
    std::fs::write(folder.path().join("model.joblib"), &MODEL[..500]).unwrap();
    let log = folder.path().join("termination-log");
    let start = |log: &Path| {
        let model_dir = format!("--model_dir={}", folder.path().display());
        let log = format!("--termination_log={}", log.display());
        sidegate(&[
            "runtime",
            &model_dir,
            "--http_port=0",
            "--grpc_port=0",
            &log,
        ])
    };
    // The file is Kubernetes's: it is written if it is there, and not made.
    let output = start(&log);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(!log.exists());
    std::fs::write(&log, "before").unwrap();
    let output = start(&log);
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(
        told.starts_with("model `model`: `model.joblib`: "),
        "{told}"
    );
    assert!(stderr(&output).contains(&told), "{}", stderr(&output));
}

#[test]
fn flags_that_nobody_knows_are_passed_over() {
    let folder = one_model();
    let server = Server::start(
        folder.path(),
        &[
            "--nonsense",
            "value",
            "--more=1",
            "--workers=1",
            "--event-loop",
            "uvloop",
            "--predict_proba=no",
        ],
    );
    assert_eq!(
        server.post("/v1/models/iris:predict", IRIS).body,
        r#"{"predictions":[1,1]}"#
    );
}

#[test]
fn requests_under_way_complete() {
    let folder = one_model();
    let mut server = Server::start(folder.path(), &[]);
    let mut socket = server.socket();
    let (first, second) = IRIS.split_at(20);
    let head = format!(
        "POST /v1/models/iris:predict HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        IRIS.len()
    );
    socket.send(head + first).unwrap();
    // Another connection's answer: the server has accepted both.
    assert_eq!(server.get("/").status, 200);
    let idle = server.socket();
    server.signal("-TERM");
    let mut told = String::new();
    while !told.contains("requests under way complete first") {
        assert!(server.rest.read_line(&mut told).unwrap() > 0, "{told}");
    }
    socket.send(second).unwrap();
    let answer = socket.response().unwrap().unwrap();
    assert_eq!(answer.text(), r#"{"predictions":[1,1]}"#);
    drop((socket, idle));
    let (status, told) = server.end();
    assert!(status.success(), "{told}");
    assert!(!told.contains("cut"), "{told}");
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let folder = one_model();
    let server = Server::start(folder.path(), &["--timeout-keep-alive=1"]);
    let mut silent = server.socket();
    let mut half = server.socket();
    half.send("GET / HTTP/1.1\r\nhos").unwrap();
    let mut preface = server.socket();
    preface.send("PRI * HTTP").unwrap();
    let mut answered = server.socket();
    answered.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(answered.response().unwrap().unwrap().status(), Some(200));
    let before = Instant::now();
    for socket in [&mut silent, &mut half, &mut preface, &mut answered] {
        let rest = socket.rest().unwrap();
        assert!(
            !rest.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&rest)
        );
    }
    assert!(before.elapsed().as_secs() < 15);
}

#[test]
fn bodies_are_bounded() {
    let folder = one_model();
    let server = Server::start(folder.path(), &["--max_body_bytes=1000"]);
    let path = "/v1/models/iris:predict";
    // By its length, and by what comes when there is none.
    let mut socket = server.socket();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\n");
    socket
        .send(format!("{head}content-length: 1001\r\n\r\n"))
        .unwrap();
    let answer = socket.response().unwrap().unwrap();
    assert_eq!(answer.status(), Some(413));
    assert_eq!(answer.header("connection"), Some("close"));
    let chunks = format!(
        "{head}transfer-encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
        "x".repeat(1001)
    );
    let mut socket = server.socket();
    socket.send(chunks).unwrap();
    assert_eq!(socket.response().unwrap().unwrap().status(), Some(413));
    // Half a body, and then nobody.
    let mut socket = server.socket();
    socket
        .send(format!("{head}content-length: 90\r\n\r\n{{\"inst"))
        .unwrap();
    socket.finish().unwrap();
    let rest = socket.rest().unwrap();
    assert!(
        !rest.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&rest)
    );
    // Both lengths, which proxies read differently.
    let mut socket = server.socket();
    socket
        .send(format!(
            "{head}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"
        ))
        .unwrap();
    assert_eq!(socket.response().unwrap().unwrap().status(), Some(400));
    assert_eq!(server.post(path, IRIS).status, 200);
}

#[test]
fn a_hundred_megabytes_of_json_are_read_and_depth_is_not() {
    let folder = one_model();
    let server = Server::start(folder.path(), &[]);
    let file = folder.path().join("body");
    let send = |body: &str| {
        std::fs::write(&file, body).unwrap();
        let data = format!("@{}", file.display());
        curl([
            &server.url("/v1/models/iris:predict"),
            "-H",
            "expect:",
            "--data-binary",
            &data,
        ])
        .unwrap()
    };
    let instances = IRIS.strip_prefix('{').unwrap();
    let answer = send(&format!(
        "{{\"x\":\"{}\",{instances}",
        "x".repeat(100 << 20)
    ));
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"predictions":[1,1]}"#)
    );
    let answer = send(&format!("{{\"instances\":{}", "[".repeat(1 << 20)));
    assert_eq!(answer.status, 400, "{}", answer.body);
    let answer = send(&format!("{{\"x\":{}", "{\"x\":".repeat(1 << 20)));
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(server.get("/v2/health/ready").status, 200);
}

#[test]
fn a_model_that_goes_away_is_there_or_is_not() {
    let folder = one_model();
    let server = Server::start(folder.path(), &[]);
    let done = AtomicBool::new(false);
    let (answered, refused) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut answered, mut refused) = (0, 0);
            let mut socket = server.socket();
            let request = format!("POST /v1/models/iris:predict HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{IRIS}", IRIS.len());
            while !done.load(Ordering::Relaxed) {
                socket.send(&request).unwrap();
                let answer = socket.response().unwrap().unwrap();
                match (answer.status(), answer.text().as_str()) {
                    (Some(200), r#"{"predictions":[1,1]}"#) => answered += 1,
                    (Some(404), r#"{"error":"Model with name iris does not exist."}"#) => refused += 1,
                    other => panic!("{other:?}"),
                }
            }
            (answered, refused)
        });
        for _ in 0..20 {
            assert_eq!(
                server
                    .post("/v2/repository/models/iris/unload", "{}")
                    .status,
                200
            );
            assert_eq!(server.get("/v1/models/iris").status, 404);
            assert_eq!(
                server.post("/v2/repository/models/iris/load", "{}").status,
                200
            );
            assert_eq!(server.get("/v1/models/iris").status, 200);
        }
        done.store(true, Ordering::Relaxed);
        asking.join().unwrap()
    });
    assert!(
        answered > 0 && refused > 0,
        "{answered} answered, {refused} refused"
    );
}

#[test]
fn metrics_count_what_was_asked() {
    let folder = one_model();
    let server = Server::start(folder.path(), &[]);
    for _ in 0..3 {
        server.post("/v1/models/iris:predict", IRIS);
    }
    let metrics = server.get("/metrics");
    assert_eq!(
        metrics.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for line in [
        "# TYPE request_explain_seconds histogram",
        "request_predict_seconds_count{model_name=\"iris\"} 3.0",
        "request_preprocess_seconds_bucket{le=\"+Inf\",model_name=\"iris\"} 3.0",
        "sidegate_request_predict_seconds_count{model_name=\"iris\"} 3.0",
        "sidegate_model_ready{model_name=\"iris\"} 1",
    ] {
        assert!(
            metrics.body.lines().any(|l| l == line),
            "{line} in {}",
            metrics.body
        );
    }
    assert!(
        server
            .get("/openapi.json")
            .body
            .contains("/v2/models/{model_name}/infer")
    );
}
