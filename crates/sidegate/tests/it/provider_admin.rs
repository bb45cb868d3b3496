//! Users, clients and backups by commands, beside a running provider and without one.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use testkit::curl;

use super::provider_alone::{Running, until};
use super::{SIDEGATE, example, stderr, stdout};

const NOBODY: &str = r#"issuer: http://127.0.0.1:5556/dex
web: {http: 127.0.0.1:0}
oauth2: {skipApprovalScreen: true}
enablePasswordDB: true
staticClients:
- {id: app, secret: of the app, redirectURIs: ["http://127.0.0.1/cb"], name: App}
"#;
const PASSWORD: &str = "nobody thinks of this";

fn folder_of(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dex.yaml"), config).unwrap();
    folder
}

/// Runs a command on a data folder, with something on its standard input.
fn run_with(data: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(SIDEGATE)
        .args(args)
        .env("SIDEGATE_DATA", data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn run(data: &Path, args: &[&str]) -> Output {
    run_with(data, args, "")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Addresses and states of all users.
fn users(data: &Path) -> Vec<(String, String)> {
    let listed = json(&run(data, &["user", "list", "-o", "json"]));
    let all = listed["users"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.map(|user| (text(&user["email"]), text(&user["state"])))
        .collect()
}

/// Logs in with the form; the status of the answer to the password.
fn log_in(base: &str, email: &str, password: &str) -> u16 {
    let jar = tempfile::NamedTempFile::new().unwrap();
    let jar = jar.path().display().to_string();
    let auth = format!(
        "{base}/auth?response_type=code&client_id=app&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb&scope=openid&state=s"
    );
    let began = curl(["-c", &jar, "-b", &jar, &auth]).unwrap();
    let form = format!(
        "{}{}",
        base.strip_suffix("/dex").unwrap(),
        began.header("location").unwrap()
    );
    let (login, password) = (format!("login={email}"), format!("password={password}"));
    let fields = ["--data-urlencode", &login, "--data-urlencode", &password];
    curl([&["-c", &*jar, "-b", &*jar, &*form], &fields[..]].concat())
        .unwrap()
        .status
}

fn set_password(link: &str, more: &[&str]) -> u16 {
    let (password, again) = (format!("password={PASSWORD}"), format!("again={PASSWORD}"));
    let fields = ["--data-urlencode", &password, "--data-urlencode", &again];
    curl([&[link], &fields[..], more].concat()).unwrap().status
}

/// Whether id and secret are those of a client.
fn knows(base: &str, id: &str, secret: &str) -> bool {
    let (user, url) = (format!("{id}:{secret}"), format!("{base}/token/introspect"));
    let answer = curl(["-u", &user, "-d", "token=x", &url]).unwrap();
    assert!([200, 401].contains(&answer.status), "{answer:?}");
    answer.status == 200
}

#[test]
fn the_first_user_is_set_up_by_a_link_and_others_by_commands() {
    let folder = folder_of(NOBODY);
    let data = folder.path().join("data");
    let mut running = Running::start(folder.path());
    let base = format!("http://{}/dex", running.address);
    until(&mut running.told, "nobody can log in yet");
    let link = until(&mut running.told, "/setup?ticket=");
    let link = link.trim();
    assert!(link.starts_with(&base), "{link}");
    assert!(curl([link]).unwrap().body.contains("first account"));
    assert_eq!(set_password(link, &["-d", "email=first@example.com"]), 200);
    assert_eq!(log_in(&base, "first@example.com", PASSWORD), 303);

    let socket = data.join("control.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // While it runs, each change counts at once.
    let added = run(
        &data,
        &["user", "add", "new@example.com", "--group", "staff"],
    );
    let link = stdout(&added);
    assert!(link.starts_with(&base), "{link}{}", stderr(&added));
    assert_eq!(set_password(link.trim(), &[]), 200);
    assert_eq!(log_in(&base, "new@example.com", PASSWORD), 303);
    let disabled = run(&data, &["user", "disable", "new@example.com"]);
    assert_eq!(stderr(&disabled), "user new@example.com: disabled\n");
    assert_eq!(log_in(&base, "new@example.com", PASSWORD), 401);
    let typed = run_with(
        &data,
        &["user", "add", "bot@example.com", "--password-stdin"],
        &format!("{PASSWORD}\n"),
    );
    assert!(typed.status.success() && typed.stdout.is_empty());
    assert_eq!(log_in(&base, "bot@example.com", PASSWORD), 303);
    let ended = run(&data, &["user", "end-sessions", "bot@example.com"]);
    let told = "logged out everywhere: 1 person, 0 sessions\n";
    assert_eq!(stderr(&ended), told, "no sessions are configured");
    let ended = json(&run(
        &data,
        &["user", "end-sessions", "--all", "-o", "json"],
    ));
    assert_eq!(
        ended["ended"],
        serde_json::json!({"people": 1, "sessions": 0}),
        "the first user: the others were logged out before"
    );
    assert_eq!(log_in(&base, "bot@example.com", PASSWORD), 303);
    for (args, why) in [
        (
            &["user", "add", "BOT@example.com"][..],
            "a user `BOT@example.com` exists already",
        ),
        (
            &["user", "reset", "gone@example.com"],
            "there is no user `gone@example.com`",
        ),
        (
            &["user", "disable", "gone@example.com", "--connector", "sso"],
            "nobody called `gone@example.com` has logged in by connector `sso`",
        ),
        (
            &["user", "end-sessions", "gone@example.com"],
            "there is no user `gone@example.com`",
        ),
        (
            &["client", "remove", "app"],
            "client `app` is in `staticClients`",
        ),
        (&["client", "add", "x"], "needs a redirect URI"),
    ] {
        let refused = run(&data, args);
        assert_eq!(refused.status.code(), Some(3), "{args:?}");
        assert!(stderr(&refused).contains(why), "{}", stderr(&refused));
    }
    let listed = stdout(&run(&data, &["user", "list"]));
    assert!(
        listed.contains("new@example.com    disabled  staff\n"),
        "{listed}"
    );

    let forgotten = json(&run(
        &data,
        &["user", "forget-factors", "new@example.com", "-o", "json"],
    ));
    assert_eq!(forgotten["factorsForgotten"], "new@example.com");
    let unknown = run(&data, &["user", "forget-factors", "nobody@example.com"]);
    assert_eq!(unknown.status.code(), Some(3), "{}", stderr(&unknown));

    assert_eq!(running.end(), Some(0));
    assert!(!socket.exists());
    // And while nothing runs, the same.
    let enabled = json(&run(
        &data,
        &["user", "enable", "new@example.com", "-o", "json"],
    ));
    assert_eq!(enabled["user"]["state"], "enabled");
    let reset = json(&run(
        &data,
        &["user", "reset", "bot@example.com", "--output=json"],
    ));
    let path = reset["link"]
        .as_str()
        .unwrap()
        .strip_prefix(&base)
        .unwrap()
        .to_owned();
    let elsewhere = run(
        &data,
        &[
            "user",
            "reset",
            "first@example.com",
            "--url",
            "https://login.example.com/dex/",
        ],
    );
    assert!(stdout(&elsewhere).starts_with("https://login.example.com/dex/setup?ticket="));
    let running = Running::start(folder.path());
    let base = format!("http://{}/dex", running.address);
    assert_eq!(log_in(&base, "new@example.com", PASSWORD), 303);
    assert_eq!(log_in(&base, "bot@example.com", PASSWORD), 401);
    assert_eq!(set_password(&format!("{base}{path}"), &[]), 200);
    assert_eq!(log_in(&base, "bot@example.com", PASSWORD), 303);
    let kept = [
        ("bot@example.com", "enabled"),
        ("first@example.com", "invited"),
        ("new@example.com", "enabled"),
    ];
    let kept = kept.map(|(email, state)| (email.to_owned(), state.to_owned()));
    assert_eq!(users(&data), kept);
    // A copy of what runs is a data folder of its own.
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let file = copy.join("provider.redb").display().to_string();
    let backed_up = json(&run(&data, &["backup", &file, "-o", "json"]));
    assert_eq!(backed_up["backup"], *file);
    assert_eq!(users(&copy), kept);
    assert_eq!(running.end(), Some(0));
}

#[test]
fn clients_come_and_go_while_the_provider_runs() {
    let folder = folder_of(NOBODY);
    // A path that is longer than one of a socket can be.
    let folder = {
        let long = folder.path().join("a".repeat(60)).join("b".repeat(60));
        std::fs::create_dir_all(&long).unwrap();
        std::fs::copy(folder.path().join("dex.yaml"), long.join("dex.yaml")).unwrap();
        (folder, long)
    };
    let data = folder.1.join("data");
    let running = Running::start(&folder.1);
    let base = format!("http://{}/dex", running.address);
    let added = run(
        &data,
        &[
            "client",
            "add",
            "grafana",
            "--redirect-uri",
            "https://grafana.example.com/cb",
        ],
    );
    let secret = stdout(&added).trim().to_owned();
    assert_eq!(secret.len(), 43, "{}", stderr(&added));
    assert!(knows(&base, "grafana", &secret) && knows(&base, "app", "of the app"));
    assert!(!knows(&base, "grafana", "of the app") && !knows(&base, "grafana", ""));
    let kept = std::fs::read(data.join("provider.redb")).unwrap();
    let written = kept
        .windows(secret.len())
        .any(|part| part == secret.as_bytes());
    assert!(!written, "the secret itself is kept");
    let public = json(&run(
        &data,
        &["client", "add", "cli", "--public", "-o", "json"],
    ));
    assert_eq!(
        (&public["client"]["public"], public.get("secret")),
        (&true.into(), None)
    );
    let listed = json(&run(&data, &["client", "list", "-o", "json"]));
    let states: Vec<(&str, &str)> = listed["clients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|client| {
            (
                client["id"].as_str().unwrap(),
                client["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        states,
        [
            ("app", "configured"),
            ("cli", "stored"),
            ("grafana", "stored")
        ]
    );
    let page = format!(
        "{base}/auth?response_type=code&client_id=grafana&redirect_uri=https%3A%2F%2Fgrafana.example.com%2Fcb&scope=openid"
    );
    let refused = curl([&page]).unwrap();
    let to = refused.header("location").unwrap_or_default();
    assert!(to.contains("code_challenge"), "PKCE is demanded: {to}");
    let page = format!(
        "{page}&code_challenge={}&code_challenge_method=S256",
        "a".repeat(43)
    );
    assert_eq!(curl([&page]).unwrap().status, 302);
    let add = [
        "client",
        "add",
        "wiki",
        "--redirect-uri",
        "https://wiki.example.com/cb",
    ];
    let added = json(&run(
        &data,
        &[&add[..], &["--pkce", "optional", "-o", "json"]].concat(),
    ));
    assert_eq!(added["client"]["pkce"], "optional");
    let of_wiki = "client_id=wiki&redirect_uri=https%3A%2F%2Fwiki.example.com%2Fcb";
    let without = format!("{base}/auth?response_type=code&{of_wiki}&scope=openid");
    assert_eq!(curl([&without]).unwrap().status, 302);
    let to = curl([&without]).unwrap();
    let to = to.header("location").unwrap_or_default();
    assert!(to.contains("/auth/local?req="), "{to}");
    // One of no person: it has no other grant, and needs no place to send codes to.
    let add = ["client", "add", "nightly", "--grant-type"];
    let wrong = run(&data, &[&add[..], &["magic"]].concat());
    assert!(stderr(&wrong).contains("expected `authorization_code`, "));
    let added = run(&data, &[&add[..], &["client_credentials"]].concat());
    let (user, url) = (
        format!("nightly:{}", stdout(&added).trim()),
        format!("{base}/token"),
    );
    let refused = curl(["-u", &user, "-d", "grant_type=refresh_token", &url]).unwrap();
    assert!(refused.body.contains("unauthorized_client"), "{refused:?}");
    let removed = run(&data, &["client", "remove", "grafana"]);
    assert!(stderr(&removed).contains("do not count any more"));
    assert!(!knows(&base, "grafana", &secret));
    assert_eq!(curl([&page]).unwrap().status, 400);
}

/// A person who is disabled loses the platform at once, not when the gateway's session ends.
#[test]
fn a_user_of_the_gateway_is_let_in_and_out_by_commands() {
    let program = example("seed").start().unwrap();
    let data = Path::new(program.data()).to_owned();
    let typed = run_with(
        &data,
        &["user", "add", "new@example.com", "--password-stdin"],
        PASSWORD,
    );
    assert!(typed.status.success(), "{}", stderr(&typed));
    let jar = tempfile::NamedTempFile::new().unwrap();
    let page = super::log_in_as(&program, jar.path(), "new@example.com", PASSWORD);
    assert!(page.body.contains("new@example.com"), "{}", page.body);
    let path = jar.path().display().to_string();
    let visit = || {
        let accept = ["-H", "accept: text/html", "-H", "sec-fetch-mode: navigate"];
        let url = format!("{}/", program.external());
        curl([&["-b", &*path, &*url], &accept[..]].concat())
            .unwrap()
            .status
    };
    assert_eq!(visit(), 200);
    let disabled = run(&data, &["user", "disable", "new@example.com"]);
    assert!(disabled.status.success(), "{}", stderr(&disabled));
    assert_eq!(visit(), 302);
    assert!(users(&data).contains(&("user@example.com".to_owned(), "configured".to_owned())));
    // A user of the configuration is logged out and can log in again; so is everybody.
    for whom in ["user@example.com", "--all"] {
        let jar = tempfile::NamedTempFile::new().unwrap();
        super::log_in(&program, jar.path(), "12341234");
        let path = jar.path().display().to_string();
        let url = format!("{}/", program.external());
        let accept = ["-H", "accept: text/html", "-H", "sec-fetch-mode: navigate"];
        let visit = || {
            let asked = curl([&["-b", &*path, &*url], &accept[..]].concat());
            asked.unwrap().status
        };
        assert_eq!(visit(), 200, "{whom}");
        let ended = run(&data, &["user", "end-sessions", whom]);
        assert!(ended.status.success(), "{}", stderr(&ended));
        assert_eq!(visit(), 302, "{whom}");
    }
    let link = stdout(&run(&data, &["user", "add", "other@example.com"]));
    assert!(
        link.starts_with(&format!("{}/dex/setup?ticket=", program.external())),
        "{link}"
    );
    assert_eq!(set_password(link.trim(), &[]), 200);
}

/// A cluster whose Dex has no users: the first one is set up by the link that `up` prints.
#[test]
fn the_first_user_of_a_cluster_is_set_up_by_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/seed");
    for name in ["cluster.yaml", "sidegate.yaml"] {
        let text = std::fs::read_to_string(examples.join(name)).unwrap();
        let text = match text.split_once("    staticPasswords:\n") {
            Some((before, after)) => {
                let (_, clients) = after.split_once("    staticClients:").unwrap();
                format!("{before}    staticClients:{clients}")
            }
            None => text,
        };
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let program = testkit::Start::new(SIDEGATE)
        .arg(folder.path())
        .start()
        .unwrap();
    program.wait_for_stderr("/dex/setup?ticket=").unwrap();
    let told = program.stderr();
    let link = told
        .lines()
        .find(|line| line.contains("/dex/setup?ticket="))
        .unwrap()
        .trim();
    assert!(link.starts_with(program.external()), "{link}");
    assert_eq!(set_password(link, &["-d", "email=first@example.com"]), 200);
    let jar = tempfile::NamedTempFile::new().unwrap();
    let page = super::log_in_as(&program, jar.path(), "first@example.com", PASSWORD);
    assert!(page.body.contains("first@example.com"), "{}", page.body);
    assert_eq!(set_password(link, &["-d", "email=second@example.com"]), 404);
}
