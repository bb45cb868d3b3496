//! `sidegate authz` while its files change: certificates, and configurations of programs that it stands in for.

use std::path::Path;
use std::time::{Duration, Instant};

use testkit::curl;

use super::authz::{Authz, SEED};
use super::docs::folder_with_examples;
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
