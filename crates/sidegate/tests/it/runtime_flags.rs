//! `sidegate runtime`: its flags and environment, and its end.

use std::io::{BufRead as _, Read as _};
use std::time::{Duration, Instant};

use wire::Encoder;

use super::runtime::{SERVICE, Server, call, framed, one_model};
use super::{IRIS, sidegate, stderr, stdout};

macro_rules! model {
    ($name:literal) => {
        include_bytes!(concat!("../../../inference/tests/models/", $name)).as_slice()
    };
}

/// What KServe's servers take all of them (`model_server.py`), with other values than the defaults where that means something
/// here.
const COMMON: [&str; 20] = [
    "--workers=2",
    "--max_threads=8",
    "--max_asyncio_workers=8",
    "--enable_grpc=yes",
    "--enable_docs_url=true",
    "--enable_latency_logging=false",
    "--configure_logging=false",
    "--log_config_file=/nowhere/log.yaml",
    "--access_log_format=%(message)s",
    "--event-loop=uvloop",
    "--timeout-keep-alive=1",
    "--model_name=flowers",
    "--predictor_host=elsewhere:8080",
    "--protocol=v2",
    "--predictor_use_ssl=true",
    "--predictor_request_timeout_seconds=5",
    "--predictor_request_retries=2",
    "--enable_predictor_health_check",
    "--grpc_max_send_message_length=100000",
    "--grpc_max_receive_message_length=1000",
];

/// Environment variables of KServe's servers.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("PREDICT_PROBA", "true"),
    ("CE_MERGE", "true"),
    ("CE_TYPE", "their.type"),
    ("CE_SOURCE", "their.source"),
    ("KSERVE_LOGLEVEL", "ERROR"),
    ("KSERVE_OPENAI_ROUTE_PREFIX", "/openai"),
];

/// Flags of one of the servers alone, a model for it, a body, and how the answer begins.
type Case<'c> = (&'c str, &'c [&'c str], &'c str, &'c [u8], &'c str, &'c str);

#[test]
fn every_flag_and_variable_of_kserve_s_servers_is_taken() {
    let texts = r#"{"instances":["a very good plot"]}"#;
    let numbers = r#"{"instances":[[6.8,2.8,4.8,1.4]]}"#;
    let cases: [Case<'_>; 6] = [
        // The answer is of probabilities, for the environment says so.
        (
            "sklearnserver",
            &[],
            "m.joblib",
            model!("words.joblib"),
            texts,
            r#"{"predictions":[[0."#,
        ),
        (
            "xgbserver",
            &["--nthread=4", "--framework=xgboost"],
            "m.ubj",
            model!("iris.ubj"),
            numbers,
            r#"{"predictions":[["#,
        ),
        (
            "lgbserver",
            &["--nthread=4", "--framework=lightgbm"],
            "m.bst",
            model!("iris.bst"),
            numbers,
            r#"{"predictions":[["#,
        ),
        (
            "predictiveserver",
            &["--framework=sklearn"],
            "m.pkl",
            model!("words.joblib"),
            texts,
            r#"{"predictions":[[0."#,
        ),
        (
            "predictiveserver",
            &["--framework=xgboost"],
            "m.ubj",
            model!("iris.ubj"),
            numbers,
            r#"{"predictions":[["#,
        ),
        (
            "predictiveserver",
            &["--framework=lightgbm"],
            "m.bst",
            model!("iris.bst"),
            numbers,
            r#"{"predictions":[["#,
        ),
    ];
    for (server_name, own, name, file, body, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), file).unwrap();
        let args = [&["--model_dir=."], own, &COMMON[..]].concat();
        let mut server = Server::start_with(folder.path(), &args, &ENVIRONMENT);
        let path = "/v1/models/flowers:predict";
        let answer = server.post(path, body);
        assert!(
            answer.body.starts_with(expected),
            "{server_name}: {}",
            answer.body
        );
        // --grpc_max_receive_message_length
        let ready = format!("{SERVICE}/ModelReady");
        let (status, ..) = call(&server.ports[1], &ready, &framed(b"\x0a\x07flowers"));
        assert_eq!(status, "0", "{server_name}");
        let (status, ..) = call(&server.ports[1], &ready, &framed(&[0; 1001]));
        assert_eq!(status, "8", "{server_name}");
        // CE_*
        let event = [
            "content-type: application/json",
            "ce-specversion: 1.0",
            "ce-id: 1",
            "ce-source: s",
            "ce-type: t",
            "ce-custom: mine",
        ];
        let mut curl = vec!["--data".to_owned(), body.to_owned(), server.url(path)];
        curl.extend(
            event
                .iter()
                .flat_map(|header| ["-H".to_owned(), (*header).to_owned()]),
        );
        let answer = testkit::curl(curl).unwrap();
        let told = ["ce-type", "ce-source", "ce-custom"].map(|name| answer.header(name));
        assert_eq!(
            told,
            [Some("their.type"), Some("their.source"), Some("mine")]
        );
        // --timeout-keep-alive
        let mut idle = server.socket();
        idle.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        assert_eq!(idle.response().unwrap().unwrap().status(), Some(200));
        let before = Instant::now();
        idle.rest().unwrap();
        assert!(before.elapsed() < Duration::from_secs(20), "{server_name}");
        // KSERVE_LOGLEVEL: what is loaded is told at INFO.
        server.post("/v2/repository/models/flowers/load", "{}");
        server.signal("-TERM");
        let mut told = String::new();
        server.rest.read_to_string(&mut told).unwrap();
        assert!(!told.contains("model loaded"), "{told}");
        assert!(!told.contains("passed over"), "{server_name}: {told}");
    }
}

/// The same flags in the form with hyphens that some manifests have, and no port of gRPC.
#[test]
fn grpc_can_be_left_out() {
    let folder = one_model();
    let mut child = std::process::Command::new(super::SIDEGATE)
        .args([
            "runtime",
            "--host=127.0.0.1",
            "--http-port=0",
            "--enable_grpc=false",
        ])
        .args(["--model-name=iris", "--model-dir=."])
        .current_dir(folder.path())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
    while !told.contains("serving iris") {
        assert!(lines.read_line(&mut told).unwrap() > 0, "{told}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        told.contains("HTTP on ") && !told.contains("gRPC on "),
        "{told}"
    );
}

#[test]
fn what_a_model_file_may_cost_is_said_by_flags_and_environment() {
    let folder = one_model();
    let file = folder.path().join("model.joblib");
    let file = file.to_str().unwrap();
    let dir = format!("--model_dir={}", folder.path().display());
    let ports = ["--host=127.0.0.1", "--http_port=0", "--grpc_port=0"];
    for (flag, told) in [
        ("--max_model_file_bytes=100", "100"),
        ("--max_model_objects=10", "10"),
        ("--max_model_compiled_bytes=10", "10"),
    ] {
        let output = sidegate(&[&["runtime", &dir, flag], &ports[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{flag}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(told),
            "{flag}: {}",
            stderr(&output)
        );
        let output = sidegate(&["model", "inspect", file, flag]);
        assert_eq!(output.status.code(), Some(3), "{flag}: {}", stderr(&output));
    }
    let output = std::process::Command::new(super::SIDEGATE)
        .args(["model", "inspect", file])
        .env("SIDEGATE_MAX_MODEL_OBJECTS", "10")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let more = "--max-model-objects=100000";
    let output = sidegate(&["model", "inspect", file, more]);
    assert!(stdout(&output).contains("sklearn.svm._classes.SVC"));
    // The tensors of a graph are those of a request.
    let graph = tempfile::tempdir().unwrap();
    std::fs::write(graph.path().join("m.onnx"), model!("iris.onnx")).unwrap();
    let server = Server::start(graph.path(), &["--framework=onnx", "--max_tensor_bytes=1"]);
    let answer = server.post("/v1/models/iris:predict", IRIS);
    assert_eq!(answer.status, 400, "{}", answer.body);
}

/// A call that waits for others of its batch is under way for as long as that takes.
#[test]
fn calls_under_way_complete_after_any_signal() {
    for signal in ["-TERM", "-INT", "-QUIT"] {
        let folder = one_model();
        let server = Server::start(folder.path(), &["--max_batch_size=9", "--max_latency=3000"]);
        let input = Encoder::default()
            .bytes(1, b"x")
            .bytes(2, b"FP32")
            .numbers(3, [1, 4]);
        let message = Encoder::default()
            .bytes(1, b"iris")
            .always(5, &input.finish())
            .always(7, &[0; 16]);
        let message = framed(&message.finish());
        let address = server.ports[1].clone();
        let method = format!("{SERVICE}/ModelInfer");
        let waiting = std::thread::spawn(move || call(&address, &method, &message));
        std::thread::sleep(Duration::from_millis(800));
        assert!(!waiting.is_finished());
        server.signal(signal);
        let (status, told, reply) = waiting.join().unwrap();
        // curl 7 forgets trailers that come after it was told that the connection ends.
        assert!(
            ["0", ""].contains(&status.as_str()),
            "{signal}: {status} {told}"
        );
        assert_eq!(reply.len(), 105, "{signal}: {told}");
        let (status, told) = server.end();
        assert!(status.success(), "{signal}: {told}");
        assert!(told.contains("requests under way complete first"), "{told}");
        assert!(!told.contains("cut"), "{signal}: {told}");
    }
}

#[test]
fn who_takes_too_long_after_a_signal_is_cut() {
    let folder = one_model();
    let server = Server::start(folder.path(), &["--drain_timeout=1"]);
    let mut half = server.socket();
    half.send("POST /v1/models/iris:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 90\r\n\r\n{")
        .unwrap();
    assert_eq!(server.get("/").status, 200);
    let before = Instant::now();
    server.signal("-TERM");
    let (status, told) = server.end();
    assert!(status.success(), "{told}");
    assert!(told.contains("connections were cut after 1 s"), "{told}");
    assert!(before.elapsed() < Duration::from_secs(20));
    assert!(before.elapsed() >= Duration::from_secs(1));
    assert!(!half.rest().unwrap_or_default().starts_with(b"HTTP/1.1 200"));
}
