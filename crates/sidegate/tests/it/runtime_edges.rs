//! `sidegate runtime` and requests at the edges of what the protocols say.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use testkit::{Answer, curl};

use super::IRIS;
use super::runtime::{MODEL, Server, one_model};

const V1: &str = "/v1/models/iris:predict";
const V2: &str = "/v2/models/iris/infer";
const RIGHT: &str = r#"{"predictions":[1,1]}"#;

/// Sends bytes with headers.
fn send(server: &Server, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(body).unwrap();
    let data = format!("@{}", file.path().display());
    let url = server.url(path);
    let mut args = vec![url.as_str(), "-H", "expect:", "--data-binary", &data];
    for header in headers {
        args.extend(["-H", header]);
    }
    curl(args).unwrap()
}

/// What `gzip` makes of bytes.
pub(crate) fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let output = Command::new("gzip")
        .arg("--stdout")
        .arg(file.path())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn compressed_bodies_are_inflated_as_far_as_bodies_may_go() {
    let folder = one_model();
    let server = Server::start(folder.path(), &["--max_body_bytes=2000000"]);
    let gzip = "content-encoding: gzip";
    let iris = packed(IRIS.as_bytes());
    assert_eq!(send(&server, V1, &[gzip], &iris).body, RIGHT);
    assert_eq!(
        send(
            &server,
            V1,
            &["content-encoding: identity"],
            IRIS.as_bytes()
        )
        .body,
        RIGHT
    );
    // A bomb, half a body, none at all, and a coding that nobody here knows.
    let before = Instant::now();
    let bomb = packed(&vec![b' '; 100 << 20]);
    assert!(bomb.len() < 200_000);
    assert_eq!(send(&server, V1, &[gzip], &bomb).status, 413);
    assert!(before.elapsed().as_secs() < 30);
    assert_eq!(
        send(&server, V1, &[gzip], &iris[..iris.len() / 2]).status,
        400
    );
    assert_eq!(send(&server, V1, &[gzip], IRIS.as_bytes()).status, 400);
    let answer = send(&server, V1, &["content-encoding: br"], &iris);
    assert_eq!(answer.status, 415, "{}", answer.body);
    assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate"));
}

#[test]
fn all_bodies_together_are_bounded() {
    let folder = one_model();
    let server = Server::start(folder.path(), &["--max_bodies_bytes=100000"]);
    let mut waiting = server.socket();
    let head = format!("POST {V1} HTTP/1.1\r\nhost: x\r\ncontent-length: 90001\r\n\r\n");
    waiting.send(head + &" ".repeat(90_000)).unwrap();
    // The same again goes beyond the bound once the first is in; until then it is answered.
    let body = [" ".repeat(20_000).as_bytes(), IRIS.as_bytes()].concat();
    let refused = loop {
        let answer = send(&server, V1, &[], &body);
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(send(&server, V1, &[], IRIS.as_bytes()).body, RIGHT);
    drop(waiting);
    // What was taken comes back.
    while send(&server, V1, &[], &body).status != 200 {}
    let bomb = packed(&vec![b' '; 10 << 20]);
    let answer = send(&server, V1, &["content-encoding: gzip"], &bomb);
    assert_eq!(answer.status, 503, "{}", answer.body);
}

#[test]
fn a_body_that_pauses_too_long_is_refused() {
    let folder = one_model();
    let server = Server::start(folder.path(), &["--body_timeout=1"]);
    let mut socket = server.socket();
    let head = format!("POST {V1} HTTP/1.1\r\nhost: x\r\ncontent-length: 90\r\n\r\n{{");
    socket.send(head).unwrap();
    let answer = socket.response().unwrap().unwrap();
    assert_eq!(answer.status(), Some(408));
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn strict_answers_are_those_of_kserve() {
    let folder = one_model();
    let server = Server::start(folder.path(), &["--compat=strict"]);
    assert_eq!(
        send(
            &server,
            V1,
            &["content-type: application/json"],
            IRIS.as_bytes()
        )
        .body,
        RIGHT
    );
    // curl's own content type is none of JSON.
    let answer = send(&server, V1, &[], IRIS.as_bytes());
    assert_eq!(answer.status, 500, "{}", answer.body);
    let json = ["content-type: application/json"];
    let answer = send(&server, V1, &json, br#"{"instances":[[1,2,3]]}"#);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (
            500,
            r#"{"error":"X has 3 features, but SVC is expecting 4 features as input."}"#
        )
    );
    assert_eq!(send(&server, V1, &json, b"{").status, 400);
    let packed = packed(IRIS.as_bytes());
    let headers = [json[0], "content-encoding: gzip"];
    assert_eq!(send(&server, V1, &headers, &packed).status, 400);
}

#[test]
fn events_are_answered_as_the_environment_says() {
    let folder = one_model();
    let server = Server::start(
        folder.path(),
        &[
            "--ce_merge=true",
            "--ce_type=my.type",
            "--ce_source=my.source",
        ],
    );
    let headers = [
        "content-type: application/json",
        "ce-specversion: 1.0",
        "ce-id: 1",
        "ce-source: theirs",
        "ce-type: theirs",
        "ce-time: 2021-01-28T21:04:43.144141+00:00",
        "ce-subject: s",
        "ce-custom: abc",
        "ce-datacontenttype: application/x-test",
    ];
    let answer = send(&server, V1, &headers, IRIS.as_bytes());
    let told = |name| answer.header(name).unwrap_or_default();
    assert_eq!(
        [
            told("ce-source"),
            told("ce-type"),
            told("ce-subject"),
            told("ce-custom")
        ],
        ["my.source", "my.type", "s", "abc"]
    );
    assert!(told("ce-id").len() == 36 && !told("ce-time").starts_with("2021"));
    assert_eq!(answer.header("ce-datacontenttype"), None);
    // In the body, extensions follow the data, as KServe's server writes them.
    let event = format!(
        r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","time":"x","subject":"q","zzz":"ext","aaa":"b","data":{IRIS}}}"#
    );
    let headers = ["content-type: application/cloudevents+json"];
    let answer = send(&server, V1, &headers, event.as_bytes()).body;
    assert!(
        answer.starts_with(r#"{"specversion": "1.0", "id": ""#),
        "{answer}"
    );
    assert!(
        answer
            .contains(r#"", "source": "my.source", "type": "my.type", "subject": "q", "time": ""#),
        "{answer}"
    );
    assert!(
        answer.ends_with(r#""data": {"predictions": [1, 1]}, "zzz": "ext", "aaa": "b"}"#),
        "{answer}"
    );
}

#[test]
fn sizes_and_numbers_that_lie_are_refused() {
    let folder = one_model();
    let server = Server::start(folder.path(), &[]);
    let binary = |size: &str, shape: &str| {
        let json = format!(
            r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":{shape},"parameters":{{"binary_data_size":{size}}}}}]}}"#
        );
        let length = format!("inference-header-content-length: {}", json.len());
        send(
            &server,
            V2,
            &[&length],
            &[json.as_bytes(), &[0; 16]].concat(),
        )
        .status
    };
    assert_eq!(binary("16", "[1,4]"), 200);
    for (size, shape) in [
        ("17", "[1,4]"),
        ("12", "[1,4]"),
        ("-16", "[1,4]"),
        ("18446744073709551615", "[1,4]"),
        ("1e400", "[1,4]"),
        ("16", "[9223372036854775807,9223372036854775807]"),
        ("16", "[-1,-1]"),
        ("0", "[0,4]"),
    ] {
        let status = binary(size, shape);
        assert!((400..500).contains(&status), "{size} {shape}: {status}");
    }
    let integers = |value: &str| {
        let body = format!(
            r#"{{"inputs":[{{"name":"x","datatype":"INT64","shape":[1,4],"data":[1,2,3,{value}]}}]}}"#
        );
        server.post(V2, &body).status
    };
    for (value, status) in [
        ("9007199254740993", 200),
        ("9223372036854775807", 200),
        ("-9223372036854775808", 200),
        ("9223372036854775808", 400),
        ("1e400", 400),
        ("NaN", 400),
        ("nan", 400),
    ] {
        assert_eq!(integers(value), status, "{value}");
    }
    for (value, status) in [
        ("1e308", 200),
        ("1e400", 400),
        ("NaN", 400),
        ("Infinity", 400),
        ("-Infinity", 400),
    ] {
        let body = format!(r#"{{"instances":[[1,2,3,{value}]]}}"#);
        assert_eq!(server.post(V1, &body).status, status, "{value}");
    }
    for start in [
        r#"{"inputs":"#,
        r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":"#,
    ] {
        let body = start.to_owned() + &"[".repeat(1 << 20);
        let status = send(&server, V2, &[], body.as_bytes()).status;
        assert!((400..500).contains(&status), "{status}");
    }
    assert_eq!(server.post(V1, IRIS).body, RIGHT);
}

#[test]
fn a_model_file_that_is_replaced_while_it_is_loaded_is_read_whole_or_refused() {
    let folder = one_model();
    let server = Server::start(folder.path(), &[]);
    let path = folder.path().join("model.joblib");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // As a volume does that is not atomic: cut short, then written anew.
            while !done.load(Ordering::Relaxed) {
                std::fs::write(&path, &MODEL[..MODEL.len() / 2]).unwrap();
                std::fs::write(&path, MODEL).unwrap();
            }
        });
        let loads: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let status = server.post("/v2/repository/models/iris/load", "{}").status;
                        assert!([200, 503].contains(&status), "{status}");
                        assert_eq!(server.post(V1, IRIS).body, RIGHT);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = loads
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.into_iter().all(|end| end.is_ok()));
    });
    std::fs::write(&path, MODEL).unwrap();
    assert_eq!(
        server.post("/v2/repository/models/iris/load", "{}").status,
        200
    );
}

#[test]
fn requests_that_are_answered_together_get_their_own_answers() {
    let folder = one_model();
    let server = Server::start(folder.path(), &["--max_batch_size=8", "--max_latency=30"]);
    let alone = Server::start(folder.path(), &[]);
    let request = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let requests: Vec<String> = (0..60)
        .map(|at| {
            let row = format!("[{},2.8,{},1.4]", at % 7 + 1, at % 6 + 1);
            match at % 4 {
                0 => request(V1, &format!(r#"{{"instances":[{row}]}}"#)),
                1 => request(V1, &format!(r#"{{"instances":[{row},{row}]}}"#)),
                2 => request(
                    V2,
                    &format!(
                        r#"{{"id":"{at}","inputs":[{{"name":"x","datatype":"FP64","shape":[1,4],"data":{row}}}]}}"#
                    ),
                ),
                // The others of its batch are answered all the same.
                _ => request(V1, r#"{"instances":[[1,2,null,4]]}"#),
            }
        })
        .collect();
    let ask = |server: &Server, requests: &[String]| -> Vec<String> {
        let mut socket = server.socket();
        let mut answers = Vec::new();
        for request in requests {
            socket.send(request).unwrap();
            let answer = socket.response().unwrap().unwrap();
            answers.push(format!("{:?} {}", answer.status(), answer.text()));
        }
        answers
    };
    let right = ask(&alone, &requests);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| assert_eq!(ask(&server, &requests), right));
        }
    });
}

#[test]
fn mlserver_s_settings_are_read_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let nested = folder.path().join("models/iris");
    std::fs::create_dir_all(&nested).unwrap();
    std::fs::write(nested.join("iris.joblib"), MODEL).unwrap();
    std::fs::write(
        nested.join("model-settings.json"),
        r#"{"implementation": "mlserver_sklearn.SKLearnModel", "platform": "sklearn", "max_batch_size": 4, "max_batch_time": 0.01,
            "parameters": {"uri": "./iris.joblib", "version": "v7"}}"#,
    )
    .unwrap();
    std::fs::write(
        folder.path().join("settings.json"),
        r#"{"host": "127.0.0.1", "http_port": 1, "metrics_port": 0, "grpc_max_message_length": 1000}"#,
    )
    .unwrap();
    let server = Server::start_in(folder.path(), &["--compat=mlserver", "--model_dir=."]);
    let told = server.get("/v2").body;
    assert_eq!(
        told,
        r#"{"name":"mlserver","version":"1.7.1","extensions":[]}"#
    );
    let live = server.get("/v2/health/live");
    assert_eq!((live.status, live.body.as_str()), (200, ""));
    assert_eq!(
        server.get("/v2/models/iris/versions/v7").body,
        r#"{"name":"iris","versions":[],"platform":"sklearn","inputs":[],"outputs":[],"parameters":{}}"#
    );
    assert_eq!(
        server.get("/v2/models/iris/versions/v1").body,
        r#"{"error":"Model iris with version v1 not found"}"#
    );
    let body = r#"{"id":"a","inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[6.8,2.8,4.8,1.4]}]}"#;
    let answer = server.post(V2, body);
    assert_eq!(
        answer.body,
        r#"{"model_name":"iris","model_version":"v7","id":"a","parameters":{},"outputs":[{"name":"predict","shape":[1,1],"datatype":"INT64","parameters":{"content_type":"np"},"data":[1]}]}"#
    );
    assert_eq!(answer.header("ce-modelid"), Some("iris"));
    assert_eq!(server.post(V2, r#"{"inputs":[]}"#).status, 400);
    let versioned = "/v2/models/iris/versions/v7/infer";
    assert_eq!(server.post(versioned, body).status, 200);
    let metrics = server.get("/metrics").body;
    for line in [
        "# TYPE model_infer_request_success_total counter",
        "model_infer_request_success_total{model=\"iris\",version=\"None\"} 1.0",
        "model_infer_request_success_total{model=\"iris\",version=\"v7\"} 1.0",
        "model_infer_request_failure_total{model=\"iris\",version=\"None\"} 1.0",
        "model_infer_request_failure_total{model=\"iris\",version=\"v7\"} 0.0",
        "model_infer_request_duration_count{model=\"iris\",version=\"None\"} 2.0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
    }
    let unloaded = server.post("/v2/repository/models/iris/unload", "");
    assert_eq!((unloaded.status, unloaded.body.as_str()), (200, ""));
    assert_eq!(
        server.post("/v2/repository/index", "{}").body,
        r#"[{"name":"iris","version":"v7","state":"UNAVAILABLE","reason":""}]"#
    );
    assert_eq!(
        server.post("/v2/repository/models/iris/load", "").status,
        200
    );
    assert_eq!(server.post(V2, body).status, 200);
    for path in ["/", "/v1/models/iris", "/v2/models"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}

#[test]
fn mlserver_s_environment_names_the_model() {
    let folder = one_model();
    let ports = r#"{"http_port": 0, "grpc_port": 0, "metrics_port": 0}"#;
    std::fs::write(folder.path().join("settings.json"), ports).unwrap();
    let mut child = Command::new(super::SIDEGATE)
        .args(["runtime", "--compat=mlserver"])
        .env("MLSERVER_HOST", "127.0.0.1")
        .env("MLSERVER_MODEL_NAME", "flowers")
        .env(
            "MLSERVER_MODEL_IMPLEMENTATION",
            "mlserver_sklearn.SKLearnModel",
        )
        .env("MLSERVER_MODEL_URI", folder.path())
        .env("MODELS_DIR", folder.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    while !told.contains("serving flowers") {
        assert!(
            std::io::BufRead::read_line(&mut lines, &mut told).unwrap() > 0,
            "{told}"
        );
    }
    let address = |what: &str| {
        let (_, rest) = told.split_once(what).unwrap();
        rest.lines().next().unwrap().trim().to_owned()
    };
    let url = format!("http://{}/v2/models/flowers/ready", address("HTTP on "));
    let ready = curl([&url]).unwrap();
    let metrics = curl([&format!("http://{}/metrics", address("metrics on "))]).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ready.status, 200, "{told}");
    assert!(
        metrics
            .body
            .contains("sidegate_model_ready{model_name=\"flowers\"} 1")
    );
}

/// Threads of the allocator would take 2 MiB each for a model of some kilobytes.
#[cfg(target_os = "linux")]
#[test]
fn small_models_are_not_in_huge_pages() {
    let huge = |bytes: u64| {
        let folder = one_model();
        let other = std::fs::File::create(folder.path().join("notes")).unwrap();
        other.set_len(bytes).unwrap();
        let server = Server::start(folder.path(), &[]);
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("THP_enabled:"));
        line.unwrap().trim() == "1"
    };
    assert!(!huge(0));
    assert!(huge(64 << 20));
}
