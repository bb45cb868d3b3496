//! Two login providers, each for hosts of its own, in front of `sidegate authz` and `sidegate up`.

use std::net::TcpListener;
use std::path::Path;

use tempfile::TempDir;
use testkit::{Answer, Start, curl};

use super::authz::Authz;
use super::provider_alone::Running;
use super::{SIDEGATE, stderr};

const CLUSTER: &str = include_str!("../../../../examples/seed/cluster.yaml");
const OURS: &str = include_str!("../../../../examples/seed/sidegate.yaml");
pub(super) const BROWSER: [&str; 4] = ["-H", "accept: text/html", "-H", "sec-fetch-mode: navigate"];

/// A provider whose only client is the gateway at that origin.
pub(super) struct At {
    pub(super) issuer: String,
    pub(super) folder: TempDir,
    running: Option<Running>,
    /// More of its client.
    pub(super) told: String,
    /// Where it listens, if that is not where its issuer is.
    pub(super) web: Option<String>,
    /// More of its configuration.
    pub(super) more: String,
}

impl At {
    /// It will be at a port that is free now.
    pub(super) fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = port.local_addr().unwrap().port();
        Self {
            issuer: format!("http://127.0.0.1:{port}/dex"),
            folder: tempfile::tempdir().unwrap(),
            running: None,
            told: String::new(),
            web: None,
            more: String::new(),
        }
    }

    pub(super) fn start(&mut self, origin: &str, email: &str) {
        let (_, at) = self.issuer.split_once("//").unwrap();
        let config = format!(
            "issuer: {}
web: {{http: '{}'}}
oauth2: {{skipApprovalScreen: true}}
enablePasswordDB: true
sessions: {{absoluteLifetime: 8h}}
staticPasswords:
- email: {email}
  hashFromEnv: DEX_USER_PASSWORD
  username: user
  userID: '1'
staticClients:
- id: gate
  redirectURIs: ['{origin}/oauth2/callback']
  postLogoutRedirectURIs: ['{origin}/']
{}  name: Gate
  secretEnv: OIDC_CLIENT_SECRET
{}",
            self.issuer,
            self.web.as_deref().unwrap_or(at.trim_end_matches("/dex")),
            self.told,
            self.more,
        );
        std::fs::write(self.folder.path().join("dex.yaml"), config).unwrap();
        self.running = Some(Running::start(self.folder.path()));
    }

    /// Logs in where the login leads to; where the browser is sent then.
    pub(super) fn log_in(&self, to: &str, email: &str) -> String {
        assert!(to.starts_with(&self.issuer), "{to}");
        let jar = self.folder.path().join("jar").display().to_string();
        let browser = ["-b", &*jar, "-c", &*jar];
        let follow = ["-L", "-o", "/dev/null", "-w", "%{url_effective}", to];
        let form = curl([&browser[..], &follow].concat()).unwrap().body;
        let login = format!("login={email}&password=12341234");
        let done = curl([&browser[..], &["-d", &*login, &*form]].concat()).unwrap();
        assert_eq!(done.status, 303, "{done:?}");
        done.header("location").unwrap().to_owned()
    }
}

/// The seed's cluster with two providers, in a folder.
pub(super) fn configured(folder: &Path, a: &At, b: &At) {
    std::fs::write(folder.join("secret"), "of-this-installation\n").unwrap();
    let providers = format!(
        "spec:
  login:
    providers:
    - issuer: {}
      hosts: [a.test]
      clientId: gate
      clientSecretFile: {}
    - issuer: {}
      hosts: ['*.b.test']
      clientId: gate
      clientSecretRef: {{name: of-b, key: secret}}
",
        a.issuer,
        folder.join("secret").display(),
        b.issuer,
    );
    let ours = OURS.replacen("spec:\n", &providers, 1);
    let secret = "
---
apiVersion: v1
kind: Secret
metadata: {name: of-b, namespace: istio-system}
stringData: {secret: of-this-installation}
";
    let yaml = format!("{CLUSTER}\n---\n{ours}{secret}");
    std::fs::write(folder.join("cluster.yaml"), yaml).unwrap();
}

pub(super) fn cookies(answer: &Answer) -> Vec<String> {
    let set = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie");
    set.map(|(_, value)| value.split(';').next().unwrap().to_owned())
        .collect()
}

#[test]
fn each_host_has_its_provider_behind_envoy() {
    let folder = tempfile::tempdir().unwrap();
    let [mut a, mut b] = [At::new(), At::new()];
    configured(folder.path(), &a, &b);
    let authz = Authz::start(folder.path(), &["-f", "cluster.yaml"]);
    let ask = |host: &str, path: &str, cookie: &str, more: &[&str]| {
        let cookie = format!("cookie: {cookie}");
        let headers = [&BROWSER[..], &["-H", &cookie], more].concat();
        authz.ask(&format!("/external{path}"), host, &headers)
    };
    // Nobody answers yet: a browser is told so, and programs are as before.
    let first = ask("a.test", "/wanted?x=1", "", &[]);
    assert_eq!(first.status, 302);
    let start = first.header("location").unwrap().to_owned();
    assert_eq!(start, "/oauth2/start?rd=%2Fwanted%3Fx%3D1");
    let down = ask("a.test", &start, "", &[]);
    // Over HTTP Envoy would take a 5xx for an authorizer in trouble.
    assert_eq!(down.status, 403, "{down:?}");
    assert!(down.body.contains("does not answer"), "{down:?}");
    a.start("http://a.test", "ada@a.test");
    b.start("http://x.b.test", "bob@b.test");
    let mut sessions = Vec::new();
    for (host, provider, email) in [("a.test", &a, "ada@a.test"), ("x.b.test", &b, "bob@b.test")] {
        // At most one question in five seconds, whoever sends what.
        let began = std::time::Instant::now();
        let begun = loop {
            let begun = ask(host, "/oauth2/start?rd=%2Fwanted%3Fx%3D1", "", &[]);
            if begun.status == 302 {
                break begun;
            }
            assert!(began.elapsed().as_secs() < 30, "{begun:?}");
            std::thread::sleep(std::time::Duration::from_millis(200));
        };
        let binding = cookies(&begun).join("; ");
        let back = provider.log_in(begun.header("location").unwrap(), email);
        let callback = back.strip_prefix(&format!("http://{host}")).unwrap();
        let done = ask(host, callback, &binding, &[]);
        assert_eq!(done.header("location"), Some("/wanted?x=1"), "{done:?}");
        let session = cookies(&done)
            .into_iter()
            .find(|c| c.starts_with("authservice_session="))
            .unwrap();
        let inside = ask(host, "/", &session, &[]);
        assert_eq!(inside.header("kubeflow-userid"), Some(email), "{inside:?}");
        sessions.push(session);
    }
    // Of one login at the hosts of another, and of none.
    for (host, session) in [
        ("x.b.test", &sessions[0]),
        ("a.test", &sessions[1]),
        ("b.test", &sessions[1]),
        ("kubeflow.example.com", &sessions[0]),
    ] {
        let other = ask(host, "/", session, &[]);
        assert_eq!(other.status, 302, "{host}: {other:?}");
        assert!(
            !cookies(&other)
                .iter()
                .any(|c| c.starts_with("authservice_session="))
        );
    }
    // Dex's has the rest.
    let rest = ask("kubeflow.example.com", "/", "", &[]);
    assert!(rest.header("location").unwrap().starts_with("/dex/auth?"));
    let ours = ["-X", "POST", "-H", "sec-fetch-site: same-origin"];
    let out = ask("a.test", "/oauth2/sign_out", &sessions[0], &ours);
    assert_eq!(out.status, 201, "{out:?}");
    let goes_on = format!("{}/logout?client_id=gate", a.issuer);
    assert!(out.body.contains(&goes_on), "{}", out.body);
    assert_eq!(ask("a.test", "/", &sessions[0], &[]).status, 302);
    assert_eq!(ask("x.b.test", "/", &sessions[1], &[]).status, 200);
}

/// Its provider posts to the port of the health, as the route of the manifests leads there.
#[test]
fn a_logout_at_the_provider_ends_the_session_behind_envoy() {
    let folder = tempfile::tempdir().unwrap();
    let [mut a, b] = [At::new(), At::new()];
    configured(folder.path(), &a, &b);
    let authz = Authz::start(folder.path(), &["-f", "cluster.yaml"]);
    let path = "/oauth2/backchannel-logout";
    let told = format!("http://{}{path}", authz.health);
    a.told = format!("  backchannelLogoutURI: {told}\n");
    a.start("http://a.test", "ada@a.test");
    let ask = |path: &str, cookie: &str| {
        let cookie = format!("cookie: {cookie}");
        let headers = [&BROWSER[..], &["-H", &cookie]].concat();
        authz.ask(&format!("/external{path}"), "a.test", &headers)
    };
    let begun = ask("/oauth2/start?rd=%2F", "");
    let binding = cookies(&begun).join("; ");
    let back = a.log_in(begun.header("location").unwrap(), "ada@a.test");
    let done = ask(back.strip_prefix("http://a.test").unwrap(), &binding);
    let session = cookies(&done)
        .into_iter()
        .find(|c| c.starts_with("authservice_session="))
        .unwrap();
    assert_eq!(ask("/", &session).status, 200);
    for (more, status) in [
        (&["-d", "logout_token=x"][..], 400),
        (&["-d", "x=y"], 400),
        (&[], 405),
    ] {
        let host = ["-H", "host: a.test", &*told];
        let answer = curl([more, &host].concat()).unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let long = format!("logout_token={}", "x".repeat(10_000));
    assert_eq!(curl(["-d", &*long, &*told]).unwrap().status, 400);
    let jar = a.folder.path().join("jar").display().to_string();
    let browser = ["-b", &*jar, "-c", &*jar];
    let page = curl([&browser[..], &[&format!("{}/logout", a.issuer)]].concat()).unwrap();
    let (_, action) = page
        .body
        .split_once("<form method=\"post\" action=\"")
        .unwrap();
    let action = action.split('"').next().unwrap().replace("&amp;", "&");
    let origin = a.issuer.trim_end_matches("/dex");
    let post = [
        "-H",
        &format!("origin: {origin}"),
        "-d",
        "logout=yes",
        &format!("{origin}{action}"),
    ];
    assert_eq!(curl([&browser[..], &post].concat()).unwrap().status, 200);
    let began = std::time::Instant::now();
    while ask("/", &session).status != 302 {
        assert!(began.elapsed().as_secs() < 20);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn each_host_has_its_provider_on_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    let [mut a, b] = [At::new(), At::new()];
    configured(folder.path(), &a, &b);
    let program = Start::new(SIDEGATE).arg(folder.path()).start().unwrap();
    let port = program.external().rsplit_once(':').unwrap().1.to_owned();
    let origin = format!("http://a.test:{port}");
    a.start(&origin, "ada@a.test");
    let resolve = format!("a.test:{port}:127.0.0.1");
    let jar = folder.path().join("jar").display().to_string();
    let browser = ["--resolve", &*resolve, "-b", &*jar, "-c", &*jar];
    let ask = |more: &[&str]| curl([&browser[..], &BROWSER, more].concat()).unwrap();
    let begun = ask(&[&format!("{origin}/oauth2/start?rd=/")]);
    let location = begun.header("location").unwrap().to_owned();
    let back = a.log_in(&location, "ada@a.test");
    let done = ask(&["-L", &back]);
    assert_eq!(done.status, 200, "{done:?}");
    assert!(done.body.contains("ada@a.test"), "{}", done.body);
    // The embedded provider's login has the other hosts.
    let rest = curl(
        [
            &BROWSER[..],
            &["-b", &*jar, &format!("{}/", program.external())],
        ]
        .concat(),
    );
    let rest = rest.unwrap();
    assert!(rest.header("location").unwrap().starts_with("/dex/auth?"));
}

#[test]
fn what_is_wrong_with_a_provider_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = [At::new(), At::new()];
    configured(folder.path(), &a, &b);
    let file = folder.path().join("cluster.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let secret = folder.path().join("secret").display().to_string();
    for (from, to, expected) in [
        (
            "key: secret",
            "key: other",
            "providers[1].clientSecretRef: no text `other` in a Secret istio-system/of-b",
        ),
        (
            "hosts: ['*.b.test']",
            "hosts: [a.test]",
            "providers[1].hosts: `a.test` is another provider's",
        ),
        (
            "hosts: ['*.b.test']",
            "hosts: ['b.*']",
            "providers[1].hosts: `b.*`, expected a name of a host",
        ),
        (
            "clientId: gate\n",
            "clientId: ''\n",
            "providers[0].clientId: is missing",
        ),
        (
            "clientId: gate\n",
            "clientId: gate\n      redirectPath: /\n",
            "providers[0].redirectPath: `/`, expected",
        ),
        (&*secret, "/missing", "providers[0].clientSecretFile: "),
        (
            "- issuer: http:",
            "- issuer: ftp:",
            "providers[0].issuer: `ftp:",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let output = std::process::Command::new(SIDEGATE)
            .args(["authz", "-f"])
            .arg(&file)
            .args(["--listen=127.0.0.1:0", "--health=127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{to}");
        let said = stderr(&output);
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}
