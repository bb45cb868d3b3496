//! `sidegate session`: what an operator sees and ends, beside running programs and without one.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::NamedTempFile;
use testkit::{Answer, curl};

use super::authz::Authz;
use super::login_providers::{At, BROWSER, configured, cookies};
use super::{SIDEGATE, example, log_in, log_in_as, stderr, stdout};

const ADA: &str = "ada@a.test";
/// What was ended is over so soon.
const OVER: Duration = Duration::from_secs(1);

fn session(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(SIDEGATE);
    command.arg("session").args(args).env("SIDEGATE_DATA", data);
    command.output().unwrap()
}

/// Names of a person's sessions, the one that was used last first.
fn listed(data: &Path, email: &str) -> Vec<String> {
    let output = session(data, &["list", email, "-o", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sessions = listed["sessions"].as_array().unwrap().iter();
    sessions
        .map(|session| {
            assert_eq!(session["email"], email);
            assert!(session["usedAt"].as_u64() < session["expiresAt"].as_u64());
            session["id"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Asks as a browser at the host of the provider.
fn ask(authz: &Authz, path: &str, cookie: &str) -> Answer {
    let cookie = format!("cookie: {cookie}");
    let headers = [&BROWSER[..], &["-H", &cookie]].concat();
    authz.ask(&format!("/external{path}"), "a.test", &headers)
}

/// Logs in with a browser for which the provider knows nobody; the answer at the end.
fn logged_in(authz: &Authz, a: &At) -> Answer {
    drop(std::fs::remove_file(a.folder.path().join("jar")));
    let began = Instant::now();
    let begun = loop {
        let begun = ask(authz, "/oauth2/start?rd=%2F", "");
        if begun.status == 302 {
            break begun;
        }
        assert!(began.elapsed().as_secs() < 30, "{begun:?}");
        std::thread::sleep(Duration::from_millis(200));
    };
    let binding = cookies(&begun).join("; ");
    let back = a.log_in(begun.header("location").unwrap(), ADA);
    ask(authz, back.strip_prefix("http://a.test").unwrap(), &binding)
}

fn session_of(done: &Answer) -> String {
    let session = cookies(done)
        .into_iter()
        .find(|cookie| cookie.starts_with("authservice_session="));
    session.unwrap_or_else(|| panic!("{done:?}"))
}

#[test]
fn sessions_live_as_long_as_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let [mut a, b] = [At::new(), At::new()];
    configured(folder.path(), &a, &b);
    a.start("http://a.test", ADA);
    let lives = ["-f", "cluster.yaml", "--session-lifetime=2h"];
    let authz = Authz::start(folder.path(), &lives);
    let done = logged_in(&authz, &a);
    let set = done
        .headers
        .iter()
        .find(|(name, value)| name == "set-cookie" && value.starts_with("authservice_session="));
    let (_, cookie) = set.unwrap();
    assert!(cookie.contains("Max-Age=7200"), "{cookie}");
    assert_eq!(ask(&authz, "/", &session_of(&done)).status, 200);
    drop(authz);

    let idle = [&lives[..], &["--session-idle=1s"]].concat();
    let authz = Authz::start(folder.path(), &idle);
    let session = session_of(&logged_in(&authz, &a));
    let began = Instant::now();
    while !listed(authz.data(), ADA).is_empty() {
        assert!(began.elapsed().as_secs() < 20, "it lives on unused");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask(&authz, "/", &session).status, 302);
}

#[test]
fn an_operator_ends_sessions_behind_envoy() {
    let folder = tempfile::tempdir().unwrap();
    let [mut a, b] = [At::new(), At::new()];
    configured(folder.path(), &a, &b);
    let authz = Authz::start(folder.path(), &["-f", "cluster.yaml"]);
    a.start("http://a.test", ADA);
    let ask = |path: &str, cookie: &str| ask(&authz, path, cookie);
    let mut known: Vec<(String, String)> = Vec::new();
    for _ in 0..3 {
        let cookie = session_of(&logged_in(&authz, &a));
        let new = listed(authz.data(), ADA)
            .into_iter()
            .find(|id| known.iter().all(|(known, _)| known != id));
        known.push((new.unwrap(), cookie));
    }
    let inside = |number: usize| ask("/", &known[number].1).status == 200;
    assert!((0..3).all(inside));
    let text = stdout(&session(authz.data(), &["list", ADA]));
    for (id, cookie) in &known {
        assert!(text.contains(id), "{text}");
        let secret = cookie.split('=').nth(1).unwrap();
        assert!(!text.contains(secret) && !secret.contains(id.as_str()));
        // The name of a session opens nothing.
        assert_ne!(ask("/", &format!("authservice_session={id}")).status, 200);
    }
    assert!(text.contains(&a.issuer) && text.contains("used "), "{text}");

    let began = Instant::now();
    let ended = session(authz.data(), &["end", ADA, "--id", &known[1].0]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("1 session of ada@a.test is ended"));
    assert!(!inside(1));
    assert!(began.elapsed() < OVER, "{:?}", began.elapsed());
    assert!(inside(0) && inside(2));
    // There is none of that name any more, and of others it is none.
    for who in [ADA, "bob@b.test"] {
        let again = session(authz.data(), &["end", who, "--id", &known[1].0]);
        assert_eq!(again.status.code(), Some(3), "{}", stderr(&again));
    }
    let nobody = session(authz.data(), &["end", "bob@b.test"]);
    assert!(nobody.status.success());
    assert!(stderr(&nobody).contains("bob@b.test has no session"));
    assert!(inside(0) && inside(2));

    let began = Instant::now();
    let ended = session(authz.data(), &["end", ADA, "-o", "json"]);
    let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(told["ended"]["sessions"], 2, "{told}");
    assert!(!(0..3).any(inside));
    assert!(began.elapsed() < OVER, "{:?}", began.elapsed());
    assert_eq!(listed(authz.data(), ADA), [""; 0]);
}

#[test]
fn an_operator_ends_sessions_on_one_machine() {
    let program = example("seed").start().unwrap();
    let email = "user@example.com";
    let jars = [(); 2].map(|()| NamedTempFile::new().unwrap());
    for jar in &jars {
        assert_eq!(log_in(&program, jar.path(), "12341234").status, 200);
    }
    let inside = |number: usize| {
        let jar = jars[number].path().display().to_string();
        let home = format!("{}/", program.external());
        curl(["-b", &*jar, "-H", "accept: text/html", &*home])
            .unwrap()
            .status
            == 200
    };
    let ids = listed(program.data(), email);
    assert_eq!(ids.len(), 2);
    let ended = session(program.data(), &["end", email, "--id", &ids[0]]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert_eq!(usize::from(inside(0)) + usize::from(inside(1)), 1);
    assert!(session(program.data(), &["end", email]).status.success());
    assert!(!inside(0) && !inside(1));
    // Whoever it was logs in again.
    assert_eq!(
        log_in_as(&program, jars[0].path(), email, "12341234").status,
        200
    );
    assert_eq!(listed(program.data(), email).len(), 1);
}

#[test]
fn without_a_program_the_folder_itself_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let none = session(folder.path(), &["list", "user@example.com"]);
    assert_eq!(none.status.code(), Some(3), "{}", stderr(&none));
    let clock = identity::system_clock();
    let rules = identity::SessionConfig::default();
    let person = policy::Person {
        email: "user@example.com".into(),
        subject: "1".into(),
        groups: [].into(),
    };
    let sessions = identity::Sessions::open(folder.path(), rules, clock).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let new = identity::NewSession::of(person);
    runtime.block_on(sessions.create(new)).unwrap();
    drop(sessions);
    assert_eq!(listed(folder.path(), "user@example.com").len(), 1);
    let ended = session(folder.path(), &["end", "user@example.com"]);
    assert!(stderr(&ended).contains("1 session of user@example.com is ended"));
    assert_eq!(listed(folder.path(), "user@example.com"), [""; 0]);
}
