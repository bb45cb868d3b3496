//! `sidegate runtime` with several models, some of which take a while.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use wire::Encoder;

use super::IRIS;
use super::runtime::{MODEL, SERVICE, Server, call, framed, one_model};

/// A model of LightGBM with so many trees.
fn booster(trees: usize) -> String {
    let tree = |index: usize| {
        format!(
            "Tree={index}\nnum_leaves=4\nnum_cat=0\nsplit_feature=0 1 2\nsplit_gain=1 1 1\nthreshold=1.5 {index}.5 2.5\n\
             decision_type=2 2 2\nleft_child=1 -1 -3\nright_child=2 -2 -4\nleaf_value=0.1 0.2 0.3 0.{index}\nleaf_weight=1 1 1 1\n\
             leaf_count=1 1 1 1\ninternal_value=0 0 0\ninternal_weight=2 2 2\ninternal_count=4 2 2\nis_linear=0\nshrinkage=0.1\n\n\n"
        )
    };
    let trees: Vec<String> = (0..trees).map(tree).collect();
    let sizes: Vec<String> = trees.iter().map(|tree| tree.len().to_string()).collect();
    format!(
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=3\nobjective=regression\n\
         feature_names=a b c d\nfeature_infos=[0:9] [0:9] [0:9] [0:9]\ntree_sizes={}\n\n{}end of trees\n",
        sizes.join(" "),
        trees.concat()
    )
}

fn models(folder: &Path, models: &[(&str, usize)]) {
    for (name, trees) in models {
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("model.bst"), booster(*trees)).unwrap();
    }
}

/// A body of so many rows, for which it is still small.
fn rows(count: usize) -> String {
    let rows: Vec<String> = (0..count)
        .map(|row| format!("[{},2,{},3]", row % 9, row % 5))
        .collect();
    format!("{{\"instances\":[{}]}}", rows.join(","))
}

fn request(model: &str, body: &str) -> String {
    format!(
        "POST /v1/models/{model}:predict HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

const SLOW: usize = 300;
const ROWS: usize = 3000;

fn serve(folder: &Path, more: &[&str]) -> Server {
    let args = ["--model_dir=.", "--framework=lightgbm"];
    Server::start_in(folder, &[&args, more].concat())
}

/// Asks a model on connections of their own until it is over; how many answers were right.
fn flood<'s>(
    scope: &'s std::thread::Scope<'s, '_>,
    server: &'s Server,
    model: &str,
    connections: usize,
    over: &'s AtomicBool,
    answered: &'s AtomicUsize,
) {
    let request = request(model, &rows(ROWS));
    for _ in 0..connections {
        let request = request.clone();
        scope.spawn(move || {
            let mut socket = server.socket();
            while !over.load(Ordering::Relaxed) {
                socket.send(&request).unwrap();
                assert_eq!(socket.response().unwrap().unwrap().status(), Some(200));
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

/// Sets it when a test fails, too: threads of the test wait for it.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_slow_model_keeps_nobody_waiting_who_asks_a_fast_one() {
    let folder = tempfile::tempdir().unwrap();
    models(folder.path(), &[("fast", 1), ("slow", SLOW)]);
    let server = serve(folder.path(), &[]);
    let body = rows(ROWS);
    assert!(body.len() < 60_000, "a size that says nothing");
    let before = Instant::now();
    assert_eq!(server.post("/v1/models/slow:predict", &body).status, 200);
    let slow = before.elapsed();
    assert!(slow > Duration::from_millis(10), "{slow:?}: not slow");
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let _over = Over(&over);
        flood(scope, &server, "slow", 16, &over, &answered);
        while answered.load(Ordering::Relaxed) < 16 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut socket = server.socket();
        let request = request("fast", r#"{"instances":[[1,2,3,4]]}"#);
        (0..200)
            .map(|_| {
                let before = Instant::now();
                socket.send(&request).unwrap();
                assert_eq!(socket.response().unwrap().unwrap().status(), Some(200));
                before.elapsed()
            })
            .collect()
    });
    times.sort_unstable();
    // In line with the slow ones it would take as long as several of them.
    assert!(times[100] < slow / 2, "{:?}, slow {slow:?}", times[100]);
    assert!(answered.load(Ordering::Relaxed) >= 16);
}

#[test]
fn slow_models_share_evenly_whoever_asks_more() {
    let folder = tempfile::tempdir().unwrap();
    models(folder.path(), &[("a", SLOW), ("b", SLOW)]);
    let server = serve(folder.path(), &[]);
    let over = AtomicBool::new(false);
    let (a, b) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _over = Over(&over);
        flood(scope, &server, "a", 24, &over, &a);
        flood(scope, &server, "b", 4, &over, &b);
        let enough = |count: &AtomicUsize| count.load(Ordering::Relaxed) >= 60;
        let began = Instant::now();
        while !(enough(&a) && enough(&b)) {
            assert!(began.elapsed() < Duration::from_secs(120), "{a:?} {b:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let (a, b) = (a.into_inner(), b.into_inner());
    // By connections it would be six to one.
    assert!(a < 2 * b && b < 2 * a, "{a} and {b}");
}

#[test]
fn a_queue_that_is_full_refuses_and_others_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    models(folder.path(), &[("fast", 1), ("slow", SLOW)]);
    let server = serve(folder.path(), &["--max_queue=1"]);
    let tensor = |count: u8| {
        let raw: Vec<u8> = (0..4 * u16::from(count))
            .flat_map(|value| f32::from(value % 7).to_le_bytes())
            .collect();
        let input = Encoder::default()
            .bytes(1, b"x")
            .bytes(2, b"FP32")
            .numbers(3, [u64::from(count), 4]);
        let message = Encoder::default()
            .bytes(1, b"slow")
            .always(5, &input.finish())
            .always(7, &raw);
        framed(&message.finish())
    };
    let method = format!("{SERVICE}/ModelInfer");
    let (status, told, _) = call(&server.ports[1], &method, &tensor(200));
    assert_eq!(status, "0", "{told}");
    let slow = request("slow", &rows(ROWS));
    let over = AtomicBool::new(false);
    let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..32 {
            scope.spawn(|| {
                let mut socket = server.socket();
                while !over.load(Ordering::Relaxed) {
                    socket.send(&slow).unwrap();
                    let answer = socket.response().unwrap().unwrap();
                    match answer.status() {
                        Some(200) => answered.fetch_add(1, Ordering::Relaxed),
                        Some(503) => {
                            assert_eq!(answer.header("retry-after"), Some("1"));
                            assert_eq!(
                                answer.text(),
                                r#"{"error":"too many requests wait for this model: try again"}"#
                            );
                            // As who is told so does.
                            std::thread::sleep(Duration::from_millis(20));
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        other => panic!("{other:?}: {}", answer.text()),
                    };
                }
            });
        }
        let began = Instant::now();
        loop {
            let (status, told, _) = call(&server.ports[1], &method, &tensor(200));
            match status.as_str() {
                "0" => {}
                "8" => {
                    assert_eq!(told, "too many requests wait for this model: try again");
                    break;
                }
                other => panic!("{other} {told}"),
            }
            assert!(began.elapsed() < Duration::from_secs(60));
        }
        let fast = server.post("/v1/models/fast:predict", r#"{"instances":[[1,2,3,4]]}"#);
        assert_eq!(fast.status, 200);
    });
    let (answered, refused) = (answered.into_inner(), refused.into_inner());
    assert!(answered > 0 && refused > 0, "{answered}, {refused}");
    let again = server.post("/v1/models/slow:predict", &rows(2));
    assert_eq!(again.status, 200);
}

/// The message of `ModelInfer` for one row of iris.
fn iris(row: [f64; 4]) -> Vec<u8> {
    let raw: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
    let input = Encoder::default()
        .bytes(1, b"x")
        .bytes(2, b"FP64")
        .numbers(3, [1, 4]);
    let message = Encoder::default()
        .bytes(1, b"iris")
        .bytes(3, b"7")
        .always(5, &input.finish())
        .always(7, &raw);
    framed(&message.finish())
}

#[test]
fn calls_and_requests_are_answered_together_and_metadata_at_once() {
    let folder = one_model();
    // Nobody is answered before there are four rows, for as long as the test lasts.
    let server = Server::start(
        folder.path(),
        &["--max_batch_size=4", "--max_latency=60000"],
    );
    let before = Instant::now();
    let metadata = server.get("/v2/models/iris");
    assert!(
        metadata.body.contains(r#""shape":[-1,4]"#),
        "{}",
        metadata.body
    );
    let method = |name: &str| format!("{SERVICE}/{name}");
    let (status, _, reply) = call(
        &server.ports[1],
        &method("ModelMetadata"),
        &framed(b"\x0a\x04iris"),
    );
    assert!(status == "0" && reply.windows(7).any(|part| part == b"input-0"));
    let right = |expected: u8, row: [f64; 4]| {
        let (status, told, reply) = call(&server.ports[1], &method("ModelInfer"), &iris(row));
        assert_eq!(status, "0", "{told}");
        // The raw tensor is last.
        assert_eq!(reply[reply.len() - 8..], [expected, 0, 0, 0, 0, 0, 0, 0]);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| right(1, [6.8, 2.8, 4.8, 1.4]));
        scope.spawn(|| right(0, [5.1, 3.5, 1.4, 0.2]));
        let answer = server.post("/v1/models/iris:predict", IRIS);
        assert_eq!(answer.body, r#"{"predictions":[1,1]}"#);
    });
    assert!(before.elapsed() < Duration::from_secs(50));
}

#[test]
fn models_are_loaded_and_unloaded_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("m.pkl"), MODEL).unwrap();
    }
    let server = Server::start(folder.path(), &[]);
    let post = |path: &str, body: &str, known: &[u16]| {
        let mut socket = server.socket();
        for _ in 0..60 {
            let request = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            socket.send(request).unwrap();
            let answer = socket.response().unwrap().unwrap();
            let status = answer.status().unwrap();
            assert!(
                known.contains(&status),
                "{path}: {status} {}",
                answer.text()
            );
            if status == 200 && path.ends_with(":predict") {
                assert_eq!(answer.text(), r#"{"predictions":[1,1]}"#);
            }
        }
    };
    std::thread::scope(|scope| {
        for name in ["a", "a", "b"] {
            let post = &post;
            let path = move |what: &str| format!("/v2/repository/models/{name}/{what}");
            scope.spawn(move || post(&path("load"), "{}", &[200]));
            scope.spawn(move || post(&path("unload"), "{}", &[200, 404]));
            scope.spawn(move || {
                post(&format!("/v1/models/{name}:predict"), IRIS, &[200, 404]);
            });
            scope.spawn(move || post("/v2/repository/index", "", &[200]));
        }
    });
    for name in ["a", "b"] {
        let load = server.post(&format!("/v2/repository/models/{name}/load"), "{}");
        assert_eq!(load.status, 200);
        let answer = server.post(&format!("/v1/models/{name}:predict"), IRIS);
        assert_eq!(answer.body, r#"{"predictions":[1,1]}"#);
    }
}

#[test]
fn a_server_without_a_model_that_answers_is_not_ready() {
    let folder = one_model();
    let server = Server::start(folder.path(), &[]);
    let call = |method: &str, message: &[u8]| {
        let (status, _, reply) = call(&server.ports[1], method, &framed(message));
        (status, reply)
    };
    let check = |status: u16, ready: &[u8], health: &[u8]| {
        let answer = server.get("/v2/health/ready");
        let body = format!("{{\"ready\":{}}}", status == 200);
        assert_eq!((answer.status, answer.body), (status, body));
        assert_eq!(server.get("/v2/health/live").status, 200);
        let told = call(&format!("{SERVICE}/ServerReady"), b"");
        assert_eq!(told, ("0".into(), framed(ready)));
        for message in [b"".as_slice(), b"\x0a\x04iris"] {
            let told = call("grpc.health.v1.Health/Check", message);
            assert_eq!(told, ("0".into(), framed(health)));
        }
    };
    check(200, b"\x08\x01", b"\x08\x01");
    server.post("/v2/repository/models/iris/unload", "{}");
    check(503, b"", b"\x08\x02");
    let unknown = call("grpc.health.v1.Health/Check", b"\x0a\x04nope");
    assert_eq!(unknown.0, "5");
    server.post("/v2/repository/models/iris/load", "{}");
    check(200, b"\x08\x01", b"\x08\x01");
    // KServe's server is ready whenever it runs.
    let strict = Server::start(folder.path(), &["--compat=strict"]);
    strict.post("/v2/repository/models/iris/unload", "{}");
    assert_eq!(strict.get("/v2/health/ready").body, r#"{"ready":true}"#);
}
