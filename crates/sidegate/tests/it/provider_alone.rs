//! `sidegate provider`: Dex's configuration, a socket of its own, reload and end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{Answer, curl};

use super::{SIDEGATE, sidegate, stderr};

const CONFIG: &str = r#"issuer: http://dex.auth.svc.cluster.local:5556/dex
storage: {type: kubernetes, config: {inCluster: true}}
web:
  http: 127.0.0.1:0
oauth2:
  skipApprovalScreen: true
enablePasswordDB: true
staticPasswords:
- email: user@example.com
  hashFromEnv: DEX_USER_PASSWORD
  username: user
  userID: "15841185641784"
staticClients:
- idEnv: OIDC_CLIENT_ID
  redirectURIs: ["/oauth2/callback"]
  name: Dex Login Application
  secretEnv: OIDC_CLIENT_SECRET
"#;
const PUBLISHED: &str = "pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok";

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(SIDEGATE);
    command
        .args(["provider", "--config", "dex.yaml"])
        .args(args)
        .current_dir(folder)
        .env("OIDC_CLIENT_ID", "kubeflow-oidc-authservice")
        .env("OIDC_CLIENT_SECRET", "of-this-installation")
        .env(
            "DEX_USER_PASSWORD",
            "$2y$12$4K/VkmDd1q1Orb3xAt82zu8gk7Ad6ReFR4LCP9UeYE90NLiN9Df72",
        );
    command
}

/// A running provider. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: String,
    pub(crate) told: BufReader<std::process::ChildStderr>,
}

impl Running {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::with(folder, &[])
    }

    fn with(folder: &Path, args: &[&str]) -> Self {
        let mut running = Self::told(folder, args);
        let line = until(&mut running.told, " on 127.0.0.1:");
        let (_, rest) = line.split_once(" on ").unwrap();
        running.address = rest.split(',').next().unwrap().to_owned();
        running
    }

    /// One that has not said yet where it listens.
    fn told(folder: &Path, args: &[&str]) -> Self {
        let mut child = command(folder, &[&["--data", "data"], args].concat())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            address: String::new(),
            told: BufReader::new(child.stderr.take().unwrap()),
            child,
        }
    }

    fn get(&self, path: &str) -> Answer {
        curl([&format!("http://{}/dex{path}", self.address)]).unwrap()
    }

    pub(crate) fn end(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(killed.unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The first line that says so.
pub(crate) fn until(told: &mut impl BufRead, what: &str) -> String {
    let mut before = String::new();
    for line in told.by_ref().lines() {
        let line = line.unwrap();
        if line.contains(what) {
            return line;
        }
        before.push_str(&line);
        before.push('\n');
    }
    panic!("nothing says `{what}`:\n{before}")
}

#[test]
fn every_key_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dex.yaml"), CONFIG).unwrap();
    let checked = command(folder.path(), &["--check"]).output().unwrap();
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success(), "{text}");
    for line in [
        "    1  supported  issuer\n",
        "    2    ignored  storage: keys, sessions and tokens are kept in one file of the data folder\n",
        "    4  supported  web.http\n",
        "    9  supported  staticPasswords[0].email\n",
        "   14  supported  staticClients[0].pkce: as in Dex, PKCE counts where it is sent",
        "dex.yaml: 13 keys supported, 1 ignored, 0 refused\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    // A secret that everybody can read is refused, where it is written.
    let published = |args: &[&str]| {
        let mut command = command(folder.path(), args);
        command.env("OIDC_CLIENT_SECRET", PUBLISHED);
        command.output().unwrap()
    };
    let refused = published(&["--data", "data"]);
    let told = stderr(&refused);
    assert_eq!(refused.status.code(), Some(3), "{told}");
    assert!(told.contains("dex.yaml:17: "), "{told}");
    assert!(told.contains("--allow-known-secrets") && !told.contains(PUBLISHED));
    let allowed = published(&["--check", "--allow-known-secrets", "--output=json"]);
    let report: serde_json::Value = serde_json::from_slice(&allowed.stdout).unwrap();
    assert!(allowed.status.success());
    let keys = report["keys"].as_array().unwrap();
    let secret = keys.iter().find(|key| key["line"] == 17).unwrap();
    assert_eq!(secret["standing"], "supported");
}

#[test]
fn what_stands_in_the_way_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dex.yaml");
    let missing = sidegate(&["provider", "--config", "no.yaml", "--check"]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(stderr(&missing).contains("`no.yaml`"));
    for (from, to, line) in [
        ("issuer: http", "issuer: ftp", "dex.yaml:1: `issuer`"),
        (
            "127.0.0.1:0",
            "nowhere",
            "dex.yaml:4: `web.http` is `nowhere`",
        ),
        (
            "hashFromEnv: DEX_USER_PASSWORD",
            "hashFromEnv: UNSET",
            "dex.yaml:10: `staticPasswords[0].hashFromEnv` names the environment variable `UNSET`",
        ),
        (
            "enablePasswordDB",
            "enablePasswordDb",
            "dex.yaml:1: `enablePasswordDB` is missing",
        ),
    ] {
        std::fs::write(&config, CONFIG.replace(from, to)).unwrap();
        let refused = command(folder.path(), &["--data", "data"])
            .output()
            .unwrap();
        let told = stderr(&refused);
        assert_eq!(refused.status.code(), Some(3), "{told}");
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn it_answers_reloads_and_keeps_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dex.yaml");
    std::fs::write(&config, CONFIG).unwrap();
    let mut running = Running::start(folder.path());
    let discovery = running.get("/.well-known/openid-configuration");
    assert_eq!(discovery.status, 200);
    let says: serde_json::Value = serde_json::from_str(&discovery.body).unwrap();
    assert_eq!(says["issuer"], "http://dex.auth.svc.cluster.local:5556/dex");
    let keys = running.get("/keys").body;
    assert!(keys.contains("RS256"), "{keys}");
    let login = "/auth?response_type=code&client_id=kubeflow-oidc-authservice&redirect_uri=%2Fother&scope=openid&state=s";
    assert_eq!(running.get(login).status, 400, "not registered yet");

    let changed = CONFIG.replace(
        "[\"/oauth2/callback\"]",
        "[\"/oauth2/callback\", \"/other\"]",
    );
    std::fs::write(&config, &changed).unwrap();
    until(&mut running.told, "the changed configuration is in force");
    assert_eq!(running.get(login).status, 302);

    // With a mistake everything stays as it was.
    std::fs::write(&config, changed.replace("issuer:", "isuer:")).unwrap();
    until(&mut running.told, "dex.yaml:1: `issuer` is missing");
    until(&mut running.told, "the configuration before stays in force");
    assert_eq!(running.get(login).status, 302);

    std::fs::write(&config, CONFIG).unwrap();
    let start = Instant::now();
    assert_eq!(running.end(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(10));
    let again = Running::start(folder.path());
    assert_eq!(again.get("/keys").body, keys);
    let taken = command(folder.path(), &["--data", "data"])
        .output()
        .unwrap();
    assert_eq!(taken.status.code(), Some(1));
    assert!(stderr(&taken).contains("is in use by another sidegate"));
}

#[test]
fn a_theme_is_taken_reloaded_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let named = format!("{CONFIG}frontend: {{issuer: Acme, theme: dark, dir: /srv/dex/web}}\n");
    std::fs::write(folder.path().join("dex.yaml"), &named).unwrap();
    let theme = folder.path().join("theme");
    std::fs::create_dir(&theme).unwrap();
    let style = theme.join("style.css");
    std::fs::write(&style, ":root{--accent:#0a6640}").unwrap();
    let checked = command(folder.path(), &["--theme", "theme", "--check"])
        .output()
        .unwrap();
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success(), "{text}");
    for line in [
        "supported  frontend.issuer\n",
        "supported  frontend.theme\n",
        "ignored  frontend.dir: pages have templates of their own",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    let mut running = Running::with(folder.path(), &["--theme", "theme"]);
    let page = running.get("/device").body;
    assert!(
        page.contains("#0a6640") && page.contains(" · Acme</title>"),
        "{page}"
    );

    std::fs::write(
        theme.join("messages.en.yaml"),
        "device_title: Pair a device\n",
    )
    .unwrap();
    until(&mut running.told, "the changed configuration is in force");
    assert!(
        running
            .get("/device")
            .body
            .contains("<h1>Pair a device</h1>")
    );
    std::fs::write(&style, "@import 'other.css';").unwrap();
    until(&mut running.told, "theme/style.css");
    until(&mut running.told, "the configuration before stays in force");
    assert!(running.get("/device").body.contains("#0a6640"));
    drop(running);
    let refused = command(folder.path(), &["--data", "data", "--theme", "theme"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        stderr(&refused).contains("`theme/style.css`: line 1: `@import`"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn a_hashed_password_logs_in() {
    use std::io::Write as _;

    let hash = |password: &str, args: &[&str]| {
        let mut child = Command::new(SIDEGATE)
            .arg("hash-password")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(password.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    };
    let hashed = hash("a rose is a rose\n", &["--cost=10"]);
    let hashed = String::from_utf8(hashed.stdout).unwrap();
    assert!(hashed.starts_with("$2b$10$"), "{hashed}");
    for (password, why) in [
        ("", "the password is empty"),
        (
            &*"x".repeat(73),
            "the password has 73 bytes: at most 72 count",
        ),
        ("a\0b", "NUL"),
    ] {
        let refused = hash(password, &[]);
        assert_eq!(refused.status.code(), Some(3));
        assert!(stderr(&refused).contains(why));
    }
    let folder = tempfile::tempdir().unwrap();
    let config = CONFIG.replace(
        "hashFromEnv: DEX_USER_PASSWORD",
        &format!("hash: {}", hashed.trim()),
    );
    std::fs::write(folder.path().join("dex.yaml"), config).unwrap();
    let running = Running::start(folder.path());
    let jar = folder.path().join("jar").display().to_string();
    let base = format!("http://{}", running.address);
    let mut url = format!(
        "{base}/dex/auth?response_type=code&client_id=kubeflow-oidc-authservice&redirect_uri=%2Foauth2%2Fcallback&scope=openid&state=s"
    );
    loop {
        let answer = curl(["-c", &jar, "-b", &jar, &url]).unwrap();
        let Some(location) = answer.header("location") else {
            assert_eq!(answer.status, 200, "{}", answer.body);
            break;
        };
        url = match location.starts_with('/') {
            true => format!("{base}{location}"),
            false => location.replace("http://dex.auth.svc.cluster.local:5556", &base),
        };
    }
    let login = |password: &str| {
        let password = format!("password={password}");
        let login = "login=user@example.com";
        let fields = ["--data-urlencode", login, "--data-urlencode", &password];
        curl([&["-c", &*jar, "-b", &*jar, &*url], &fields[..]].concat()).unwrap()
    };
    assert_eq!(login("a rose is a nose").status, 401);
    let known = login("a rose is a rose");
    let location = known.header("location").unwrap_or_default();
    assert!(location.starts_with("/oauth2/callback?code="), "{known:?}");
}

/// `web.https` of Dex, beside `web.http` and without it.
#[test]
fn a_certificate_of_the_configuration_is_for_a_listener_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checks");
    for file in ["server.crt", "server.key"] {
        std::fs::copy(files.join(file), folder.path().join(file)).unwrap();
    }
    let tls = "  https: 127.0.0.1:0\n  tlsCert: server.crt\n  tlsKey: server.key\n  tlsMinVersion: \"1.3\"\n";
    let (http, authority) = ("  http: 127.0.0.1:0\n", files.join("ca.crt"));
    let authority = authority.display().to_string();
    for (web, plain) in [(format!("{http}{tls}"), true), (tls.to_owned(), false)] {
        let text = CONFIG.replace(http, &web);
        std::fs::write(folder.path().join("dex.yaml"), text).unwrap();
        let mut running = Running::told(folder.path(), &[]);
        let first = until(&mut running.told, " on ");
        assert_eq!(first.contains(" on 127.0.0.1:"), plain, "{first}");
        let line = match plain {
            true => until(&mut running.told, " on https://"),
            false => first,
        };
        let (_, rest) = line.split_once(" on ").unwrap();
        let base = format!("{}/dex", rest.split(',').next().unwrap());
        let ask = |more: &[&str], path: &str| {
            let url = format!("{base}{path}");
            curl([&["--cacert", &authority], more, &[&url]].concat())
        };
        assert_eq!(ask(&[], "/keys").unwrap().status, 200);
        let old = ask(&["--tls-max", "1.2"], "/keys");
        assert!(old.is_err(), "TLS 1.2 is not wanted: {old:?}");
        // A cookie of such a login never goes over a connection without TLS.
        let login = "/auth?client_id=kubeflow-oidc-authservice&redirect_uri=%2Foauth2%2Fcallback&response_type=code&scope=openid";
        let begun = ask(&[], login).unwrap();
        let cookie = begun.header("set-cookie").unwrap_or_default();
        assert!(cookie.contains("; Secure"), "{begun:?}");
        assert_eq!(running.end(), Some(0));
    }
}
