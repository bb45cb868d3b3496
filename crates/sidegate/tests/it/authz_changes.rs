//! `sidegate authz` while its files change: certificates, keys, and configurations of programs that it stands in for.

use std::cell::OnceCell;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Answer, curl};

use super::authz::{Authz, SEED};
use super::docs::folder_with_examples;
use super::login_providers::{At, BROWSER, configured, cookies};
use super::{LOCAL_HOST, PREDICT};

/// Waits until something is so.
fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_changed_certificate_is_shown_to_the_next_client() {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checks");
    let folder = folder_with_examples();
    let shown = |certificate: &str| {
        for kind in ["crt", "key"] {
            let from = keys.join(format!("{certificate}.{kind}"));
            let to = folder.path().join(format!("{kind}.new"));
            std::fs::copy(from, &to).unwrap();
            std::fs::rename(to, folder.path().join(format!("tls.{kind}"))).unwrap();
        }
    };
    shown("server");
    let args = ["--tls-cert=tls.crt", "--tls-key=tls.key", "-f"];
    let authz = Authz::start(folder.path(), &[&args[..], &SEED].concat());
    let authority = keys.join("ca.crt").to_string_lossy().into_owned();
    let url = format!("https://{}/local{PREDICT}", authz.checks);
    let host = format!("host: {LOCAL_HOST}");
    let ask = || curl(["--cacert", &authority, "-H", &host, &url]);
    assert_eq!(ask().unwrap().status, 200);
    // Of another kind: nobody takes it for a server's.
    shown("client");
    until("the other one", || ask().is_err());
    shown("server");
    until("the first one again", || ask().is_ok());
    std::fs::write(folder.path().join("tls.crt"), "no certificate").unwrap();
    authz.says("the certificate of before stays in use");
    assert_eq!(ask().unwrap().status, 200);
}

const CONFIG: &str = r#"
provider = "oidc"
oidc_issuer_url = "http://dex.auth.svc.cluster.local:5556/dex"
skip_oidc_discovery = true
login_url = "/dex/auth"
redeem_url = "http://dex.auth.svc.cluster.local:5556/dex/token"
oidc_jwks_url = "http://dex.auth.svc.cluster.local:5556/dex/keys"
email_domains = [ "*" ]
upstreams = [ "static://200" ]
redirect_url = "/oauth2/callback"
cookie_name = "oauth2_proxy_kubeflow"
client_id = "kubeflow"
client_secret = "of-this-installation"
cookie_secret = "0123456789abcdef0123456789abcdef"
cookie_secure = false
"#;

#[test]
fn a_changed_configuration_of_oauth2_proxy_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("oauth2_proxy.cfg");
    std::fs::write(&file, CONFIG).unwrap();
    let args = ["--compat=oauth2-proxy", "--config=oauth2_proxy.cfg"];
    let authz = Authz::start(folder.path(), &args);
    let ask = |path: &str| curl([format!("http://{}{path}", authz.checks)]);
    let status = |path: &str| ask(path).unwrap().status;
    assert_eq!((status("/open/page"), status("/api/x")), (302, 302));
    let more = "skip_auth_routes = [ \"^/open/\" ]\napi_routes = [ \"/api/\" ]\n";
    std::fs::write(&file, format!("{CONFIG}{more}")).unwrap();
    until("the other configuration", || {
        status("/open/page") == 200 && status("/api/x") == 401
    });
    authz.says("the changed configuration is in force");
    std::fs::write(&file, format!("{CONFIG}{more}oidc_issuer_url = 7\n")).unwrap();
    authz.says("the configuration before stays in force");
    assert_eq!((status("/open/page"), status("/api/x")), (200, 401));
    assert_eq!(status("/pipeline"), 302);
}

/// A page of `a.test`, as a browser asks for it.
fn page(authz: &Authz, path: &str, cookie: &str) -> Answer {
    let cookie = format!("cookie: {cookie}");
    let headers = [&BROWSER[..], &["-H", &cookie]].concat();
    authz.ask(&format!("/external{path}"), "a.test", &headers)
}

/// The cookie of a session of Ada's, if she gets in.
fn session(authz: &Authz, provider: &At) -> Option<String> {
    let begun = page(authz, "/oauth2/start?rd=%2Fwanted", "");
    if begun.status != 302 {
        // It has not yet heard of the provider.
        return None;
    }
    // Another browser, that has to show its password.
    drop(std::fs::remove_file(provider.folder.path().join("jar")));
    let back = provider.log_in(begun.header("location")?, "ada@a.test");
    let back = back.strip_prefix("http://a.test")?;
    let done = page(authz, back, &cookies(&begun).join("; "));
    let mut given = cookies(&done).into_iter();
    given.find(|cookie| cookie.starts_with("authservice_session=") && cookie.len() > 30)
}

#[test]
fn an_exchanged_secret_of_a_client_counts_for_the_next_login() {
    let folder = tempfile::tempdir().unwrap();
    let [mut a, b] = [At::new(), At::new()];
    configured(folder.path(), &a, &b);
    let cluster = folder.path().join("cluster.yaml");
    let first = std::fs::read_to_string(&cluster).unwrap();
    let apart = folder.path().join("apart");
    std::fs::create_dir(&apart).unwrap();
    std::fs::write(apart.join("secret"), "of-before\n").unwrap();
    let authz = Authz::start(folder.path(), &["-f", "cluster.yaml"]);
    a.start("http://a.test", "ada@a.test");
    let gets_in = || session(&authz, &a).is_some();
    until("a login with the secret", gets_in);
    // The secret of a file of another folder, which the provider does not know.
    let (here, there) = (folder.path().join("secret"), apart.join("secret"));
    let there = first.replace(&here.display().to_string(), &there.display().to_string());
    assert_ne!(there, first);
    std::fs::write(&cluster, there).unwrap();
    until("the provider refuses it", || !gets_in());
    std::fs::write(apart.join("secret"), "of-this-installation\n").unwrap();
    until("a login with the exchanged secret", gets_in);
    std::fs::write(apart.join("secret"), "").unwrap();
    authz.says("the changed configuration is not used");
    assert!(gets_in(), "the secret of before stays in use");
}

#[test]
fn a_file_that_a_configuration_of_oauth2_proxy_names_is_a_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("mounted");
    std::fs::create_dir(&secret).unwrap();
    let secret = secret.join("client-secret");
    std::fs::write(&secret, "of-before").unwrap();
    let named = format!("client_secret_file = {:?}", secret.display().to_string());
    let config = CONFIG.replace("client_secret = \"of-this-installation\"", &named);
    assert_ne!(config, CONFIG);
    std::fs::write(folder.path().join("oauth2_proxy.cfg"), config).unwrap();
    let args = ["--compat=oauth2-proxy", "--config=oauth2_proxy.cfg"];
    let authz = Authz::start(folder.path(), &args);
    let ask = || curl([format!("http://{}/pipeline", authz.checks)]).unwrap();
    assert_eq!(ask().status, 302);
    std::fs::write(&secret, "of-this-installation").unwrap();
    authz.says("the changed configuration is in force");
    // One that is published, and not allowed.
    std::fs::write(&secret, "pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok").unwrap();
    authz.says("the configuration before stays in force");
    assert_eq!(ask().status, 302);
}

#[test]
fn a_changed_key_signs_the_next_pass() {
    let folder = tempfile::tempdir().unwrap();
    let [mut a, b] = [At::new(), At::new()];
    configured(folder.path(), &a, &b);
    let [first, second] = ["first", "second"].map(|name| made_key(&folder.path().join(name)));
    let write = |text: &str| {
        let new = folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, folder.path().join("pass.pem")).unwrap();
    };
    write(&first);
    let args = ["--pass-key=pass.pem", "-f", "cluster.yaml"];
    let authz = Authz::start(folder.path(), &args);
    a.start("http://a.test", "ada@a.test");
    let of_ada = OnceCell::new();
    until("a login", || {
        session(&authz, &a).is_some_and(|session| of_ada.set(session).is_ok())
    });
    let session = of_ada.get().unwrap();
    let signed_by = || {
        let given = cookies(&page(&authz, "/", session));
        let mut given = given.iter();
        let pass = given.find_map(|cookie| cookie.strip_prefix("sidegate_pass="));
        let head = super::authz::part(pass.unwrap().split('.').next().unwrap());
        head["kid"].as_str().unwrap().to_owned()
    };
    let of_first = signed_by();
    write(&format!("{first}{second}"));
    authz.says("the keys of passes were read again");
    assert_eq!(signed_by(), of_first, "the first signs");
    write(&format!("{second}{first}"));
    until("the other one signs", || signed_by() != of_first);
    let of_second = signed_by();
    write("no key");
    authz.says("the keys of before stay in use");
    assert_eq!(signed_by(), of_second);

    // What gateways are given verifies passes of both.
    let folder = folder_with_examples();
    std::fs::write(folder.path().join("both.pem"), format!("{first}{second}")).unwrap();
    let printed = Command::new(super::SIDEGATE)
        .args(["authz", "manifests", "--fast-path", "kubeflow.example.com"])
        .args(["--pass-key", "both.pem", "-f", SEED[0], SEED[1]])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let printed = super::stdout(&printed);
    for key in [of_first, of_second] {
        assert!(printed.contains(&key), "{printed}");
    }
}

/// Keys as `openssl genpkey` makes them.
pub(super) fn made_key(file: &Path) -> String {
    let made = Command::new("openssl")
        .args([
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .arg("-out")
        .arg(file)
        .output()
        .unwrap();
    assert!(made.status.success());
    std::fs::read_to_string(file).unwrap()
}

/// What the model is told of a caller that another replica has written a mark for.
#[test]
fn changed_keys_of_marks_and_identities_count_for_the_next_check() {
    const FIRST: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const OTHER: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=";
    const PREDICTOR: &str = "sklearn-iris-predictor.kserve-test.svc.cluster.local";
    let folder = folder_with_examples();
    let text = std::fs::read_to_string(folder.path().join(SEED[1])).unwrap();
    let told = "  mode: enforce\n  signedIdentity: {}";
    std::fs::write(
        folder.path().join("told.yaml"),
        text.replace("  mode: enforce", told),
    )
    .unwrap();
    let write = |name: &str, text: &str| {
        let new = folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, folder.path().join(name)).unwrap();
    };
    let pem = |name: &str| made_key(&folder.path().join(name));
    let (old, new) = (pem("old"), pem("other"));
    for name in ["ring", "ring-of-another"] {
        write(name, FIRST);
    }
    write("identity", &old);
    let files = ["--identity-keys=identity", "-f", SEED[0], "told.yaml"];
    let start = |ring: &str| Authz::start(folder.path(), &[&[ring], &files[..]].concat());
    let authz = start("--mark-keys=ring");
    let another = start("--mark-keys=ring-of-another");
    let account = Command::new(super::SIDEGATE)
        .args(["token", "create", "default", "-n", "shop", "--data"])
        .arg(another.data())
        .output()
        .unwrap();
    let bearer = format!("authorization: Bearer {}", super::stdout(&account).trim());
    // What the other one signs is ten seconds old at most.
    let told = || {
        let outside = format!("/external{PREDICT}");
        let first = another.ask(&outside, super::OUTSIDE_HOST, &["-H", &bearer]);
        let mark = format!(
            "x-sidegate-mark: {}",
            first.header("x-sidegate-mark").unwrap()
        );
        let second = authz.ask(&format!("/local{PREDICT}"), PREDICTOR, &["-H", &mark]);
        let told = second.header("x-sidegate-identity")?.to_owned();
        let head = super::authz::part(told.split('.').next().unwrap());
        Some(head["kid"].as_str().unwrap().to_owned())
    };
    let signed_by_old = told();
    assert!(signed_by_old.is_some());
    // The other one's key is none any more, then an older one.
    write("ring", OTHER);
    until("a ring without the key", || told().is_none());
    write("ring", &format!("{OTHER}\n{FIRST}\n"));
    until("a ring with the key", || told().is_some());
    write("ring", "no key");
    authz.says("the keys of before stay in use");
    assert_eq!(told(), signed_by_old);

    let published = || {
        let keys = curl([format!("http://{}/.well-known/jwks.json", authz.health)]).unwrap();
        let keys: serde_json::Value = serde_json::from_str(&keys.body).unwrap();
        keys["keys"].as_array().unwrap().len()
    };
    write("identity", &format!("{old}{new}"));
    until("both are published", || published() == 2);
    assert_eq!(told(), signed_by_old, "the first signs");
    write("identity", &format!("{new}{old}"));
    until("the new one signs", || {
        told().is_some_and(|kid| Some(kid) != signed_by_old)
    });
    write("identity", "no key");
    until("a word about it", || {
        authz
            .told()
            .matches("the keys of before stay in use")
            .count()
            == 2
    });
    assert!(told().is_some());
}
