//! Tokens of machines: of a real cluster's ServiceAccounts, and of issuers of the configuration.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use identity::{ClusterIssuer, ClusterIssuerConfig, ClusterKey, INGRESS_AUDIENCE, TokenRequest};
use policy::ServiceAccount;
use serde_json::{Value, json};
use testkit::{Message, Protocol, Sidegate, Start};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};

use super::{IRIS, OUTSIDE_HOST, PREDICT, SIDEGATE, example, outside};

const ISSUER: &str = "https://oidc.distribution.example/id/ABC";

fn tls(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    folder.join(name)
}

fn issuer(folder: &Path, name: &str) -> ClusterIssuer {
    let config = ClusterIssuerConfig {
        issuer: name.to_owned(),
        audiences: vec![INGRESS_AUDIENCE.to_owned()],
        key: ClusterKey::Es256,
    };
    ClusterIssuer::open(folder, config).unwrap()
}

fn token(issuer: &ClusterIssuer, name: &str, audience: &str) -> String {
    let request = TokenRequest {
        service_account: ServiceAccount {
            namespace: "team-a".into(),
            name: name.into(),
        },
        uid: Some("123".into()),
        audiences: vec![audience.to_owned()],
        duration: Duration::from_secs(3600),
        pod: None,
    };
    let token = issuer.issue(&request, SystemTime::now()).unwrap();
    token.expose().to_owned()
}

fn predict(program: &Sidegate, token: &str) -> testkit::Answer {
    let bearer = format!("authorization: Bearer {token}");
    outside(program, OUTSIDE_HOST, PREDICT, &["-d", IRIS, "-H", &bearer])
}

/// An API server with a certificate of its own authority.
struct ApiServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Message>>>,
}

impl ApiServer {
    /// Answers `/openid/v1/jwks` with `keys`, and reviews with what they say.
    fn start(keys: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let certificate = CertificateDer::from_pem_file(tls("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(tls("server.key")).unwrap();
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = Self {
            address,
            asked: Arc::clone(&asked),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = BufReader::new(StreamOwned::new(connection, stream));
                // A client that does not trust us goes away.
                let Ok(Some(request)) = Message::read(&mut stream, Protocol::Request) else {
                    continue;
                };
                let (status, body) = answer(&request, keys.as_deref());
                asked.lock().unwrap().push(request);
                let head = format!(
                    "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let stream = stream.get_mut();
                drop(stream.write_all(format!("{head}{body}").as_bytes()));
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        });
        server
    }

    fn asked(&self, path: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|request| request.target() == path)
            .count()
    }
}

fn answer(request: &Message, keys: Option<&str>) -> (u16, String) {
    match request.target() {
        "/openid/v1/jwks" => match keys {
            Some(keys) => (200, keys.to_owned()),
            None => (403, "{}".to_owned()),
        },
        REVIEWS => {
            let review: Value = serde_json::from_str(&request.text()).unwrap();
            assert_eq!(review["spec"]["audiences"], json!([INGRESS_AUDIENCE]));
            let status = json!({
                "authenticated": true,
                "user": {"username": "system:serviceaccount:team-a:default"},
                "audiences": [INGRESS_AUDIENCE],
            });
            (201, json!({ "status": status }).to_string())
        }
        ACCESSES => {
            let review: Value = serde_json::from_str(&request.text()).unwrap();
            let user = review["spec"]["user"].as_str().unwrap();
            let allowed = user == "system:serviceaccount:team-a:default";
            assert_eq!(review["spec"]["resourceAttributes"]["name"], "sklearn-iris");
            (201, json!({ "status": {"allowed": allowed} }).to_string())
        }
        other => panic!("`{other}` was asked"),
    }
}

const ACCESSES: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// `up` with this API server; what is trusted is in `authority`.
fn up(server: &ApiServer, own: &Path, authority: &str, more: &[&str]) -> Sidegate {
    start(example("seed"), server, own, authority, more)
}

fn start(
    mut start: Start,
    server: &ApiServer,
    own: &Path,
    authority: &str,
    more: &[&str],
) -> Sidegate {
    let (api, authority) = (format!("https://{}", server.address), tls(authority));
    for (option, value) in [
        ("--kubernetes-api", Path::new(&api)),
        ("--kubernetes-ca", &authority),
        ("--kubernetes-token", own),
    ] {
        start = start.arg(option).arg(value);
    }
    for argument in more {
        start = start.arg(argument);
    }
    start.start().unwrap()
}

#[test]
fn tokens_of_a_real_cluster_open_models() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = issuer(folder.path(), ISSUER);
    let own = folder.path().join("own-token");
    let ours = token(&cluster, "sidegate", "https://kubernetes.default.svc");
    std::fs::write(&own, &ours).unwrap();

    let server = ApiServer::start(Some(cluster.jwks().to_owned()));
    let program = up(&server, &own, "authority.pem", &[]);
    let good = token(&cluster, "default", INGRESS_AUDIENCE);
    for _ in 0..3 {
        assert_eq!(predict(&program, &good).status, 200, "{}", program.stderr());
    }
    assert_eq!(server.asked("/openid/v1/jwks"), 1);
    assert_eq!(server.asked(REVIEWS), 0);
    let bearer = format!("Bearer {ours}");
    let seen = server.asked.lock().unwrap()[0].clone();
    assert_eq!(seen.header("authorization"), Some(&*bearer));
    let other = token(&cluster, "default", "https://kubernetes.default.svc");
    let answer = predict(&program, &other);
    assert_eq!(answer.status, 401);
    assert!(answer.body.contains("another audience"), "{answer:?}");
    let stranger = tempfile::tempdir().unwrap();
    let forged = token(
        &issuer(stranger.path(), ISSUER),
        "default",
        INGRESS_AUDIENCE,
    );
    assert_eq!(predict(&program, &forged).status, 401);
    for secret in [&good, &ours, &forged] {
        assert!(!program.stderr().contains(&**secret));
    }
}

#[test]
fn the_api_server_is_asked_about_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = issuer(folder.path(), ISSUER);
    let own = folder.path().join("own-token");
    std::fs::write(&own, token(&cluster, "sidegate", "x")).unwrap();
    let good = token(&cluster, "default", INGRESS_AUDIENCE);
    // Because it gives no keys, and because that is wanted.
    for (keys, more) in [
        (None, &[][..]),
        (Some(cluster.jwks().to_owned()), &["--kubernetes-review"]),
    ] {
        let server = ApiServer::start(keys);
        let program = up(&server, &own, "authority.pem", more);
        for _ in 0..3 {
            assert_eq!(predict(&program, &good).status, 200, "{}", program.stderr());
        }
        assert_eq!(server.asked(REVIEWS), 1);
        // It says whose it is, and that has to be whose the token says it is.
        let other = token(&cluster, "other", INGRESS_AUDIENCE);
        assert_eq!(predict(&program, &other).status, 401);
    }
}

#[test]
fn the_api_server_says_who_may_call_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = issuer(folder.path(), ISSUER);
    let own = folder.path().join("own-token");
    std::fs::write(&own, token(&cluster, "sidegate", "x")).unwrap();
    let server = ApiServer::start(Some(cluster.jwks().to_owned()));
    let ours = OURS.replacen("spec:\n", "spec:\n  rbac: review\n", 1);
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(
        files.join("cluster.yaml"),
        format!("{CLUSTER}\n---\n{ours}"),
    )
    .unwrap();
    let program = start(
        Start::new(SIDEGATE).arg(&files),
        &server,
        &own,
        "authority.pem",
        &[],
    );
    let [good, other] = ["default", "other"].map(|name| token(&cluster, name, INGRESS_AUDIENCE));
    for _ in 0..3 {
        assert_eq!(
            predict(&program, &good).status,
            THROUGH,
            "{}",
            program.stderr()
        );
        let refused = predict(&program, &other);
        assert_eq!(refused.status, 403, "{refused:?}");
        assert!(
            refused
                .body
                .contains("may not `get` inferenceservices/sklearn-iris")
        );
    }
    assert_eq!(server.asked(ACCESSES), 2);
    // Without an API server the roles of the YAML count here, of which there are none.
    let program = Start::new(SIDEGATE).arg(&files).start().unwrap();
    assert!(program.stderr().contains("no API server is known"));
    let local = super::token(&program, "kserve-test");
    assert_eq!(predict(&program, &local).status, 403);
    // And nothing does behind Envoy.
    let told = std::process::Command::new(SIDEGATE)
        .args(["authz", "-f"])
        .arg(&files)
        .arg("--data")
        .arg(folder.path().join("data"))
        .output()
        .unwrap();
    assert_eq!(told.status.code(), Some(3));
    assert!(super::stderr(&told).contains("`rbac: review` asks an API server"));
}

#[test]
fn only_the_clusters_authority_vouches_for_the_api_server() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = issuer(folder.path(), ISSUER);
    let own = folder.path().join("own-token");
    let ours = token(&cluster, "sidegate", "x");
    std::fs::write(&own, &ours).unwrap();
    let server = ApiServer::start(Some(cluster.jwks().to_owned()));
    let program = up(&server, &own, "stranger.pem", &[]);
    let answer = predict(&program, &token(&cluster, "default", INGRESS_AUDIENCE));
    assert_eq!(answer.status, 401);
    assert!(answer.body.contains("cannot be asked"), "{answer:?}");
    assert!(
        server.asked.lock().unwrap().is_empty(),
        "our token went to nobody"
    );
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let told = example("seed")
        .arg("--kubernetes-api")
        .arg("https://127.0.0.1:1")
        .arg("--kubernetes-ca")
        .arg(&empty)
        .arg("--kubernetes-token")
        .arg(&own)
        .start()
        .err()
        .map(|error| error.to_string());
    assert!(told.is_some_and(|told| told.contains("certificates in PEM")));
}

#[test]
fn a_renewed_authority_of_the_api_server_counts_for_the_next_question() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = issuer(folder.path(), ISSUER);
    let own = folder.path().join("own-token");
    std::fs::write(&own, token(&cluster, "sidegate", "x")).unwrap();
    let server = ApiServer::start(None);
    let authority = folder.path().join("ca.crt");
    std::fs::copy(tls("stranger.pem"), &authority).unwrap();
    let more = ["--kubernetes-review"];
    let program = up(&server, &own, authority.to_str().unwrap(), &more);
    let status = |name: &str| predict(&program, &token(&cluster, name, INGRESS_AUDIENCE)).status;
    assert_eq!(status("default"), 401);
    std::fs::copy(tls("authority.pem"), &authority).unwrap();
    let began = Instant::now();
    while status("default") != 200 {
        assert!(began.elapsed().as_secs() < 30, "{}", program.stderr());
        std::thread::sleep(Duration::from_millis(200));
    }
    // Without one that can be read the one of before goes on to count.
    std::fs::write(&authority, "").unwrap();
    assert_eq!(status("default"), 200, "{}", program.stderr());
    std::fs::copy(tls("stranger.pem"), &authority).unwrap();
    assert_eq!(status("default"), 401);
}

const CLUSTER: &str = include_str!("../../../../examples/seed/cluster.yaml");
const OURS: &str = include_str!("../../../../examples/seed/sidegate.yaml");

fn with_issuer(folder: &Path, jwks: &str, audience: &str) {
    let issuers = format!(
        "  tokens:\n    issuers:\n    - issuer: https://ci.example.com\n      jwks: '{jwks}'\n      \
         audiences: [{audience}]\n      algorithms: [ES256]\n      service: {{name: ci}}\n"
    );
    let ours = OURS.replacen("spec:\n", &format!("spec:\n{issuers}"), 1);
    assert_ne!(ours, OURS);
    std::fs::write(
        folder.join("cluster.yaml"),
        format!("{CLUSTER}\n---\n{ours}"),
    )
    .unwrap();
}

/// The model's file is nowhere, which is told to those who may call it.
const THROUGH: u16 = 503;

#[test]
fn programs_with_tokens_of_a_configured_issuer_get_to_models() {
    let keys = tempfile::tempdir().unwrap();
    let ci = issuer(keys.path(), "https://ci.example.com");
    let folder = tempfile::tempdir().unwrap();
    with_issuer(folder.path(), ci.jwks(), "sidegate");
    let program = Start::new(SIDEGATE).arg(folder.path()).start().unwrap();
    let good = token(&ci, "default", "sidegate");
    assert_eq!(predict(&program, &good).status, THROUGH);
    let other = token(&ci, "default", "elsewhere");
    assert_eq!(predict(&program, &other).status, 401);
    let home = format!("{}/", program.external());
    let bearer = format!("authorization: Bearer {good}");
    assert_eq!(testkit::curl(["-H", &bearer, &home]).unwrap().status, 403);
    // A token that was good is not remembered beyond its configuration.
    with_issuer(folder.path(), ci.jwks(), "elsewhere");
    program
        .wait_until("the other audience counts", || {
            Ok((predict(&program, &other).status == THROUGH).then_some(()))
        })
        .unwrap();
    assert_eq!(predict(&program, &good).status, 401);
}

#[test]
fn issuers_that_make_no_sense_are_named() {
    let folder = tempfile::tempdir().unwrap();
    with_issuer(folder.path(), "{}", "sidegate");
    let output = super::sidegate(&[
        "up",
        folder.path().to_str().unwrap(),
        "--external",
        "127.0.0.1:0",
        "--local",
        "127.0.0.1:0",
        "--data",
        folder.path().join("data").to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(3));
    let told = super::stderr(&output);
    assert!(
        told.contains("spec.tokens.issuers[0].jwks: expected a JSON Web Key Set"),
        "{told}"
    );
}
