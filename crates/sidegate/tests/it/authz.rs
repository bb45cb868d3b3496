//! `sidegate authz`, asked as Envoy asks. `cargo xtask authz` asks it from Envoy itself.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testkit::{Answer, curl};

use super::docs::{commands, folder_with_examples};
use super::{LOCAL_HOST, OUTSIDE_HOST, PREDICT, SIDEGATE, sidegate, stderr, stdout};

const PAGE: &str = include_str!("../../../../docs/ext-authz.md");
pub(super) const SEED: [&str; 2] = ["examples/seed/cluster.yaml", "examples/seed/sidegate.yaml"];

/// A running authorizer. Dropping it kills it.
pub(crate) struct Authz {
    child: Child,
    pub(super) checks: String,
    pub(crate) health: String,
    told: Arc<Mutex<String>>,
    data: tempfile::TempDir,
}

impl Drop for Authz {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Authz {
    pub(super) fn start(folder: &Path, args: &[&str]) -> Self {
        Self::start_with(folder, args, "")
    }

    /// With that much in its log; nothing is as always.
    pub(super) fn start_with(folder: &Path, args: &[&str], log: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new(SIDEGATE)
            .args(["authz", "--listen=127.0.0.1:0", "--health=127.0.0.1:0"])
            .arg("--data")
            .arg(data.path())
            .args(args)
            .current_dir(folder)
            .env_remove("RUST_LOG")
            .envs((!log.is_empty()).then_some(("RUST_LOG", log)))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut told = String::new();
        let mut after = |what: &str| loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("it ended early: {told}"))
                .unwrap();
            told.push_str(&format!("{line}\n"));
            if let Some(rest) = line.strip_prefix(what) {
                return rest.to_owned();
            }
        };
        let (checks, health) = (after("checks on "), after("health on "));
        let told = Arc::new(Mutex::new(told));
        let later = Arc::clone(&told);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                later.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        Self {
            child,
            checks,
            health,
            told,
            data,
        }
    }

    pub(super) fn seed() -> Self {
        let folder = folder_with_examples();
        Self::start(folder.path(), &["-f", SEED[0], SEED[1]])
    }

    pub(super) fn ask(&self, path: &str, host: &str, more: &[&str]) -> Answer {
        let url = format!("http://{}{path}", self.checks);
        let host = format!("host: {host}");
        curl([&["--path-as-is", "-H", &host, &url], more].concat()).unwrap()
    }

    /// The reply to a call with that message, in its frame.
    pub(super) fn call(&self, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        self.call_framed(&[&[0], &length[..], message].concat())
    }

    /// The reply to a call with that body.
    fn call_framed(&self, body: &[u8]) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), body).unwrap();
        let sent = format!("@{}", file.path().display());
        let url = format!(
            "http://{}/envoy.service.auth.v3.Authorization/Check",
            self.checks
        );
        let output = Command::new("curl")
            .args([
                "--disable",
                "-s",
                "--noproxy",
                "*",
                "--http2-prior-knowledge",
            ])
            .args(["-H", "content-type: application/grpc", "-H", "te: trailers"])
            .args(["--data-binary", &sent, &url])
            .output()
            .unwrap();
        output.stdout
    }

    pub(super) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended.
    pub(super) fn ended(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    pub(super) fn told(&self) -> String {
        self.told.lock().unwrap().clone()
    }

    /// The first line with that text, once it is there.
    pub(super) fn line(&self, text: &str) -> String {
        self.says(text);
        let told = self.told();
        told.lines()
            .find(|line| line.contains(text))
            .unwrap()
            .to_owned()
    }

    pub(super) fn alive(&self) -> bool {
        curl([format!("http://{}/readyz", self.health)]).is_ok()
    }

    /// Waits until it said that.
    pub(super) fn says(&self, text: &str) {
        let began = Instant::now();
        while !self.told.lock().unwrap().contains(text) {
            let told = self.told.lock().unwrap().clone();
            assert!(began.elapsed() < Duration::from_secs(20), "{text}\n{told}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Each command of the page says what the line before it says.
#[test]
fn commands_of_the_page() {
    let folder = folder_with_examples();
    let mut server: Option<Authz> = None;
    let mut ran = 0;
    let key = PAGE.lines().find(|line| line.starts_with("    openssl "));
    let made = Command::new("sh")
        .args(["-c", key.unwrap()])
        .current_dir(folder.path())
        .output();
    assert!(made.unwrap().status.success());
    for command in commands(PAGE) {
        let words: Vec<&str> = command.split(' ').collect();
        if words.starts_with(&["sidegate", "authz", "-f"]) {
            server = Some(Authz::start(folder.path(), &words[2..]));
            continue;
        }
        let (checks, health) = match &server {
            Some(server) => (&*server.checks, &*server.health),
            None => ("", ""),
        };
        let typed = command
            .replace("127.0.0.1:9000", checks)
            .replace("127.0.0.1:9001", health)
            .replace("sidegate ", &format!("{SIDEGATE} "));
        let output = Command::new("sh")
            .args(["-c", &typed])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}\n{}", stderr(&output));
        if command.starts_with("curl ") {
            let (before, _) = PAGE.split_once(&command).unwrap();
            let before = before.trim_end().lines().last().unwrap();
            let status = stdout(&output).split(' ').nth(1).unwrap().to_owned();
            let named = ["200", "401", "302"].iter().find(|s| before.contains(**s));
            assert_eq!(status, *named.unwrap_or(&"200"), "{command}");
            ran += 1;
        }
    }
    assert_eq!(ran, 4);
}

#[test]
fn a_configuration_that_does_not_enforce_is_no_authorizer() {
    let folder = folder_with_examples();
    let output = Command::new(SIDEGATE)
        .args(["authz", "-f", SEED[0], "--data"])
        .arg(folder.path().join("data"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("mode: enforce"),
        "{}",
        stderr(&output)
    );
    let output = sidegate(&["authz"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("-f FILE"), "{}", stderr(&output));
}

/// Keys that are not there open nothing (CVE-2026-54762).
#[test]
fn keys_that_cannot_be_read_start_no_authorizer() {
    let folder = folder_with_examples();
    std::fs::write(folder.path().join("none"), "no key").unwrap();
    for option in ["--mark-keys", "--pass-key"] {
        for file in ["missing", "none"] {
            let output = Command::new(SIDEGATE)
                .args([
                    "authz",
                    "--listen=127.0.0.1:0",
                    "--health=127.0.0.1:0",
                    "-f",
                ])
                .args([SEED[0], SEED[1], option, file, "--data"])
                .arg(folder.path().join("data"))
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert!(!output.status.success(), "{option} {file}");
            let told = stderr(&output);
            assert!(told.contains(file), "{option} {file}: {told}");
        }
    }
}

#[test]
fn a_bad_change_leaves_the_configuration_before_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (from, to) in SEED.iter().zip(["cluster.yaml", "sidegate.yaml"]) {
        std::fs::copy(root.join(from), folder.path().join(to)).unwrap();
    }
    let authz = Authz::start(folder.path(), &["-f", "."]);
    let outside = format!("/external{PREDICT}");
    let status = |authz: &Authz| authz.ask(&outside, OUTSIDE_HOST, &[]).status;
    assert_eq!(status(&authz), 401);
    let file = folder.path().join("sidegate.yaml");
    let before = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, before.replace("mode: enforce", "mode: as-written")).unwrap();
    authz.says("the one before stays in force");
    assert_eq!(status(&authz), 401);
    let open = "
---
apiVersion: v1
kind: Namespace
metadata: {name: kserve-test, annotations: {sidegate.dev/access: public}}
";
    std::fs::write(&file, before + open).unwrap();
    let cluster = folder.path().join("cluster.yaml");
    let text = std::fs::read_to_string(&cluster).unwrap();
    let without = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: kserve-test}\n";
    assert!(text.contains(without));
    std::fs::write(&cluster, text.replace(without, "")).unwrap();
    authz.says("configuration reloaded");
    let began = Instant::now();
    while status(&authz) != 200 {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn no_client_chooses_the_listener_or_the_path() {
    let authz = Authz::seed();
    let bare = authz.ask(PREDICT, LOCAL_HOST, &[]);
    assert_eq!(bare.status, 400);
    for header in [
        "x-forwarded-prefix: /local",
        "x-envoy-original-path: /local",
        "x-forwarded-uri: /dex/keys",
        "x-forwarded-port: 8081",
        "user-agent: kube-probe/1.30",
    ] {
        let answer = authz.ask("/external/healthz", "kubeflow.example.com", &["-H", header]);
        assert_eq!(answer.status, 401, "{header}");
    }
    let inside = authz.ask(&format!("/local{PREDICT}"), LOCAL_HOST, &[]);
    assert_eq!(inside.status, 200);
    // Its upstream gets a mark for the next crossing, the client never does.
    assert!(inside.header("x-sidegate-mark").is_some());
    let two = [
        "-H",
        "authorization: Bearer a",
        "-H",
        "authorization: Bearer b",
    ];
    let answer = authz.ask(&format!("/external{PREDICT}"), OUTSIDE_HOST, &two);
    let joined = ["-H", "authorization: Bearer a,Bearer b"];
    let as_one = authz.ask(&format!("/external{PREDICT}"), OUTSIDE_HOST, &joined);
    assert_eq!(as_one.status, answer.status, "{as_one:?}");
    let told = answer.header("www-authenticate").unwrap_or_default();
    assert!(
        answer.status == 400 && told.contains("error=\"invalid_request\""),
        "{answer:?}"
    );
}

/// What is no check, and one that is too large, are denied by a reply.
#[test]
fn a_malformed_check_is_denied_and_no_error_of_the_call() {
    let authz = Authz::seed();
    let large = vec![0x0a; 2 << 20];
    let bodies: [&[u8]; 7] = [
        b"",
        b"\0\0\0\0",
        b"\0\0\0\0\x05abc",
        b"\x01\0\0\0\0",
        b"\0\0\0\0\x03\x0a\xff\xff",
        b"\0\0\0\0\0\0\0\0\0\0",
        &large,
    ];
    for body in bodies {
        let reply = authz.call_framed(body);
        let shown = body.iter().take(12).collect::<Vec<_>>();
        // A frame, a status with a code that is not OK, and what is told.
        assert!(reply.len() > 9, "{shown:?}: {reply:?}");
        assert_eq!(reply[5..9], [0x0a, 2, 8, 7], "{shown:?}: {reply:?}");
        assert!(String::from_utf8_lossy(&reply).contains("cannot be read"));
    }
    authz.says("a check cannot be read and is denied");
    // Without what a call has, it is a check over HTTP, of no listener.
    let path = "/envoy.service.auth.v3.Authorization/Check";
    assert_eq!(authz.ask(path, "x", &["-X", "POST"]).status, 400);
}

#[test]
fn a_log_holds_no_credentials() {
    let authz = Authz::seed();
    let secrets = [
        "-H",
        "authorization: Bearer visible-token",
        "-H",
        "cookie: authservice_session=visible-session",
    ];
    let path = format!("/external{PREDICT}?key=visible-query");
    assert_eq!(authz.ask(&path, OUTSIDE_HOST, &secrets).status, 401);
    authz.says(PREDICT);
    let told = authz.told.lock().unwrap().clone();
    assert!(!told.contains("visible"), "{told}");
}

/// What upstreams are told, and the keys for it as docs/signed-identity.md fetches them.
#[test]
fn upstreams_are_told_who_is_calling_and_have_the_keys() {
    let folder = folder_with_examples();
    let told = |more: &str| {
        let text = std::fs::read_to_string(folder.path().join(SEED[1])).unwrap();
        let enforce = "  mode: enforce";
        assert!(text.contains(enforce));
        let file = folder.path().join("told.yaml");
        std::fs::write(file, text.replace(enforce, &format!("{enforce}\n{more}"))).unwrap();
    };
    told("  signedIdentity: {seconds: 601}");
    let refused = Command::new(SIDEGATE)
        .args(["authz", "-f", SEED[0], "told.yaml", "--data"])
        .arg(folder.path().join("data"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(3));
    let expected = "spec.signedIdentity.seconds: `601`, expected 1 to 600";
    assert!(stderr(&refused).contains(expected), "{}", stderr(&refused));
    told("  signedIdentity: {}");
    let authz = Authz::start(folder.path(), &["-f", SEED[0], "told.yaml"]);
    let page = include_str!("../../../../docs/signed-identity.md");
    let [command] = &commands(page)[..] else {
        panic!("the page has other commands")
    };
    let command = command.replace("127.0.0.1:9001", &authz.health);
    let keys = Command::new("sh").args(["-c", &command]).output().unwrap();
    let keys: serde_json::Value = serde_json::from_slice(&keys.stdout).unwrap();
    assert_eq!(keys["keys"][0]["crv"], "P-256");
    let kid = keys["keys"][0]["kid"].as_str().unwrap().to_owned();
    let token = Command::new(SIDEGATE)
        .args(["token", "create", "default", "-n", "shop", "--data"])
        .arg(authz.data.path())
        .output()
        .unwrap();
    let bearer = format!("authorization: Bearer {}", stdout(&token).trim());
    let hosts = "sklearn-iris-predictor.kserve-test.svc.cluster.local";
    let first = authz.ask(
        &format!("/external{PREDICT}"),
        OUTSIDE_HOST,
        &["-H", &bearer],
    );
    assert_eq!(first.header("x-sidegate-identity"), None);
    let mark = format!(
        "x-sidegate-mark: {}",
        first.header("x-sidegate-mark").unwrap()
    );
    let second = authz.ask(&format!("/local{PREDICT}"), hosts, &["-H", &mark]);
    let told = second.header("x-sidegate-identity").unwrap();
    let parts: Vec<serde_json::Value> = told.split('.').take(2).map(part).collect();
    let [head, claims] = parts.as_slice() else {
        panic!("{told}")
    };
    assert_eq!(head["kid"], *kid);
    assert_eq!(claims["aud"], "kserve-test/sklearn-iris");
    assert_eq!(claims["sub"], "system:serviceaccount:shop:default");
    // It is no token here.
    let replayed = format!("authorization: Bearer {told}");
    let answer = authz.ask(
        &format!("/external{PREDICT}"),
        OUTSIDE_HOST,
        &["-H", &replayed],
    );
    assert_eq!(answer.status, 401);
}

/// A part of a token.
pub(crate) fn part(text: &str) -> serde_json::Value {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text);
    serde_json::from_slice(&bytes.unwrap()).unwrap()
}

#[test]
fn the_manifests_are_objects_that_are_read_again() {
    let folder = folder_with_examples();
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checks/server.key");
    let key = key.to_string_lossy();
    let fast = ["--fast-path", "kubeflow.example.com", "--pass-key", &*key];
    let other = ["--fast-path", OUTSIDE_HOST, "--pass-key", &*key];
    let refused = Command::new(SIDEGATE)
        .args(["authz", "manifests", "-f", SEED[0], SEED[1]])
        .args(other)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(3));
    assert!(stderr(&refused).contains("needs more than a session"));
    for http in [&[][..], &["--http"], &fast] {
        let output = Command::new(SIDEGATE)
            .args(["authz", "manifests"])
            .args(http)
            .args(["-f", SEED[0], SEED[1]])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let file = folder.path().join("manifests.yaml");
        std::fs::write(&file, stdout(&output)).unwrap();
        let together = ["-f", SEED[0], "manifests.yaml", SEED[1]];
        let authz = Authz::start(folder.path(), &together);
        assert_eq!(
            authz.ask("/external/", "kubeflow.example.com", &[]).status,
            401
        );
    }
}

/// With Redis there are replicas, and no volume.
#[test]
fn manifests_of_replicas() {
    let folder = folder_with_examples();
    let print = |redis: &[&str]| {
        let output = Command::new(SIDEGATE)
            .args(["authz", "manifests", "-f", SEED[0], SEED[1]])
            .args(redis)
            .current_dir(folder.path())
            .output()
            .unwrap();
        (output.status.code(), stdout(&output) + &stderr(&output))
    };
    let (code, one) = print(&[]);
    assert_eq!(code, Some(0));
    assert!(one.contains("replicas: 1\n") && one.contains("kind: PersistentVolumeClaim"));
    let at = [
        "--redis",
        "rediss://redis.sidegate:6379",
        "--redis-password",
        "file",
    ];
    let (code, several) = print(&at);
    assert_eq!(code, Some(0), "{several}");
    for part in [
        "replicas: 2\n",
        "kind: PodDisruptionBudget",
        "--redis=rediss://redis.sidegate:6379",
        "--redis-password=/redis/password",
        "secretName: sidegate-redis",
        "emptyDir: {}",
    ] {
        assert!(several.contains(part), "{part}\n{several}");
    }
    assert!(!several.contains("PersistentVolumeClaim"));
    let (code, said) = print(&["--redis", "redis://:secret@redis:6379"]);
    assert!(
        code == Some(3) && said.contains("without a password"),
        "{said}"
    );
}

#[test]
fn api_keys_are_made_and_taken_back_while_it_runs() {
    let authz = Authz::seed();
    let token = |args: &[&str]| {
        Command::new(SIDEGATE)
            .arg("token")
            .args(args)
            .env("SIDEGATE_DATA", authz.data.path())
            .output()
            .unwrap()
    };
    let made = token(&["create", "--service", "nightly-job", "-o", "json"]);
    assert!(made.status.success(), "{}", stderr(&made));
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let (key, id) = (made["secret"].as_str(), made["key"]["id"].as_str());
    let bearer = format!("authorization: Bearer {}", key.unwrap());
    let ask = || {
        let path = format!("/external{PREDICT}");
        authz.ask(&path, OUTSIDE_HOST, &["-H", &bearer]).status
    };
    assert_eq!(ask(), 200);
    let ended = token(&["revoke", id.unwrap()]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert_eq!(ask(), 401);
    let users = Command::new(SIDEGATE)
        .args(["user", "list"])
        .env("SIDEGATE_DATA", authz.data.path())
        .output()
        .unwrap();
    assert_eq!(users.status.code(), Some(3));
    assert!(
        stderr(&users).contains("are the provider's"),
        "{}",
        stderr(&users)
    );
}

/// Keys of an authority that only these tests know, valid for a hundred years.
#[test]
fn over_tls_only_clients_of_the_authority_are_answered() {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checks");
    let of = |name: &str| keys.join(name).to_string_lossy().into_owned();
    let (certificate, key, authority) = (of("server.crt"), of("server.key"), of("ca.crt"));
    let folder = folder_with_examples();
    let args = [
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
        "--client-ca",
        &authority,
        "-f",
        SEED[0],
        SEED[1],
    ];
    let authz = Authz::start(folder.path(), &args);
    let url = format!("https://{}/local{PREDICT}", authz.checks);
    let host = format!("host: {LOCAL_HOST}");
    let ask = |more: &[&str]| curl([&["--cacert", &authority, "-H", &host, &url], more].concat());
    let (client, client_key) = (of("client.crt"), of("client.key"));
    let shown = ["--cert", &client, "--key", &client_key];
    assert_eq!(ask(&shown).unwrap().status, 200);
    assert_eq!(
        ask(&[&shown[..], &["--http2"]].concat()).unwrap().status,
        200
    );
    assert!(ask(&[]).is_err());
    // A certificate for servers is none of a client.
    assert!(ask(&["--cert", &certificate, "--key", &key]).is_err());
    let plain = url.replace("https:", "http:");
    assert!(curl(["-H", &host, &plain]).is_err());
    let health = curl([format!("http://{}/healthz", authz.health)]).unwrap();
    assert_eq!(health.status, 200);
}
