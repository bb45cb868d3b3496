//! What strangers send to `sidegate authz`, in both protocols: a denial with a reason in the log, and nothing of what was sent
//! in it but the request's line.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testkit::curl;
use wire::Encoder;

use super::authz::{Authz, SEED};
use super::authz_changes::made_key;
use super::docs::folder_with_examples;
use super::{OUTSIDE_HOST, PREDICT, SIDEGATE, stderr};

const ISSUER: &str = "https://ci.example.com";
const DASHBOARD: &str = "kubeflow.example.com";

/// An issuer of the configuration, whose key the test has.
struct Issuer {
    key: EcdsaKeyPair,
}

impl Issuer {
    fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { key }
    }

    fn jwks(&self) -> String {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)}]})
        .to_string()
    }

    fn sidegate(&self) -> String {
        let before = include_str!("../../../../examples/seed/sidegate.yaml");
        let issuers = format!(
            "spec:\n  tokens:\n    issuers:\n    - issuer: {ISSUER}\n      jwks: '{}'\n      \
             audiences: [models]\n      service: {{name: ci}}\n",
            self.jwks()
        );
        before.replacen("spec:\n", &issuers, 1)
    }

    /// A token that is right but for these members.
    fn token(&self, header: Value, claims: Value) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let with = |mut base: Value, more: Value| {
            for (name, value) in more.as_object().unwrap() {
                base[name] = value.clone();
            }
            URL_SAFE_NO_PAD.encode(base.to_string())
        };
        let header = with(json!({"alg": "ES256", "kid": "k", "typ": "JWT"}), header);
        let claims = with(
            json!({"iss": ISSUER, "sub": "secret-subject", "aud": "models", "exp": now + 600}),
            claims,
        );
        let signed = format!("{header}.{claims}");
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Something that is sent, and what the log says of it.
struct Bad {
    host: &'static str,
    headers: Vec<(&'static str, String)>,
    why: &'static str,
}

fn bad() -> (Issuer, Vec<Bad>) {
    let issuer = Issuer::new();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let token = |header, claims, why| {
        let token = issuer.token(header, claims);
        let headers = vec![("authorization", format!("Bearer {token}"))];
        Bad {
            host: OUTSIDE_HOST,
            headers,
            why,
        }
    };
    let none = json!({});
    let algorithm = "algorithm is not accepted";
    let unknown = "signed by a key that its issuer does not publish";
    let mut all = vec![
        token(json!({"alg": "none"}), none.clone(), algorithm),
        token(json!({"alg": "None"}), none.clone(), algorithm),
        token(json!({"alg": "HS256"}), none.clone(), algorithm),
        token(json!({"alg": "RS256"}), none.clone(), algorithm),
        token(json!({"alg": ["ES256"]}), none.clone(), algorithm),
        token(json!({"kid": "../../../dev/null"}), none.clone(), unknown),
        token(json!({"kid": "k' OR '1'='1"}), none.clone(), unknown),
        token(json!({"kid": "k\n"}), none.clone(), unknown),
        token(
            json!({"kid": ["k"]}),
            none.clone(),
            "its `kid` is not a short string",
        ),
        token(
            json!({"kid": "k".repeat(300)}),
            none.clone(),
            "its `kid` is not a short string",
        ),
        token(
            json!({"jku": "https://evil.example/"}),
            none.clone(),
            "carries `jku`",
        ),
        token(
            json!({"x5u": "https://evil.example/"}),
            none.clone(),
            "carries `x5u`",
        ),
        token(
            json!({"jwk": {"kty": "oct"}}),
            none.clone(),
            "carries `jwk`",
        ),
        token(json!({"crit": ["exp"]}), none.clone(), "carries `crit`"),
        token(
            none.clone(),
            json!({"nbf": "1"}),
            "`nbf` is missing or not as expected",
        ),
        token(
            none.clone(),
            json!({"exp": "9999999999"}),
            "`exp` is missing or not as expected",
        ),
        token(
            none.clone(),
            json!({"exp": null}),
            "`exp` is missing or not as expected",
        ),
        token(none.clone(), json!({"nbf": now + 3600}), "is not valid yet"),
        token(none.clone(), json!({"iat": now + 3600}), "is not valid yet"),
        token(none.clone(), json!({"exp": now - 1}), "has expired"),
        token(
            none.clone(),
            json!({"aud": "others"}),
            "is for another audience",
        ),
        token(
            none.clone(),
            json!({"iss": "https://unknown.example"}),
            "issuer is not accepted",
        ),
        token(
            none.clone(),
            json!({"sub": 1}),
            "`sub` is missing or not as expected",
        ),
    ];
    let good = issuer.token(none.clone(), none.clone());
    let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
    let sent = |host, headers, why| Bad { host, headers, why };
    let cookies = |value: String| vec![("cookie", value)];
    all.extend([
        sent(
            OUTSIDE_HOST,
            vec![bearer(&good), bearer(&good)],
            "more than one authorization header",
        ),
        sent(
            OUTSIDE_HOST,
            vec![bearer(
                &(good.chars().take(good.len() - 4).collect::<String>() + "AAAA"),
            )],
            "signature is wrong",
        ),
        sent(
            OUTSIDE_HOST,
            vec![bearer("secret-secret-secret-secret")],
            "is not a signed JWT",
        ),
        sent(
            OUTSIDE_HOST,
            vec![bearer(&"A".repeat(300_000))],
            "longer than 8192 bytes",
        ),
        sent(
            DASHBOARD,
            cookies(format!("authservice_session={}", "s".repeat(64 * 1024))),
            "no session and no token",
        ),
        sent(
            DASHBOARD,
            cookies("a=secret; ".repeat(6_000) + "authservice_session=secret-secret-secret"),
            "no session and no token",
        ),
        sent(
            DASHBOARD,
            cookies(format!("authservice_session={}", "A".repeat(43))),
            "no session and no token",
        ),
    ]);
    (issuer, all)
}

/// What of a request nobody may find in a log.
fn secrets(bad: &[Bad]) -> Vec<String> {
    let values = bad.iter().flat_map(|bad| &bad.headers);
    let parts = values.flat_map(|(_, value)| value.split(['.', ' ', '=', ';']));
    let long = parts.filter(|part| part.len() >= 20);
    long.map(|part| part.chars().take(60).collect()).collect()
}

/// `CheckRequest` of a request to that path.
pub(super) fn message(host: &str, path: &str, headers: &[(&str, String)]) -> Vec<u8> {
    let entry = |name: &str, value: &[u8]| {
        let entry = Encoder::default().bytes(1, name.as_bytes());
        entry.bytes(3, value).finish()
    };
    let list = headers
        .iter()
        .fold(Encoder::default(), |list, (name, value)| {
            list.always(1, &entry(name, value.as_bytes()))
        });
    let http = Encoder::default()
        .bytes(2, b"GET")
        .bytes(4, path.as_bytes())
        .bytes(5, host.as_bytes())
        .always(13, &list.finish());
    let request = Encoder::default().always(2, &http.finish()).finish();
    let socket = Encoder::default().number(3, 8080).finish();
    let address = Encoder::default().always(1, &socket).finish();
    let peer = Encoder::default().always(1, &address).finish();
    let attributes = Encoder::default().always(2, &peer).always(4, &request);
    Encoder::default().always(1, &attributes.finish()).finish()
}

#[test]
fn each_is_denied_with_a_reason_and_nothing_of_it_is_told() {
    let (issuer, all) = bad();
    let folder = folder_with_examples();
    let file = folder.path().join("ours.yaml");
    std::fs::write(&file, issuer.sidegate()).unwrap();
    let authz = Authz::start_with(folder.path(), &["-f", SEED[0], "ours.yaml"], "debug");
    let good = issuer.token(json!({}), json!({}));
    let header = format!("authorization: Bearer {good}");
    let path = format!("/external{PREDICT}");
    assert_eq!(authz.ask(&path, OUTSIDE_HOST, &["-H", &header]).status, 200);
    for (number, bad) in all.iter().enumerate() {
        let path = format!("/v1/models/grpc-{number}");
        let reply = authz.call(&message(bad.host, &path, &bad.headers));
        // Its status is not OK: code 7 or 16.
        assert_eq!(reply[5..8], [0x0a, 2, 8], "{}: {reply:?}", bad.why);
        assert!(matches!(reply[8], 7 | 16), "{}: {reply:?}", bad.why);
        let several = bad.why.starts_with("more than one");
        let status = if several { 400 } else { 401 };
        let logged = format!("status={status}");
        let line = authz.line(&path);
        assert!(
            line.contains(bad.why) && line.contains(&logged),
            "{}: {line}",
            bad.why
        );
        let path = format!("/v1/models/http-{number}");
        let lines: Vec<String> = bad
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect();
        let headers = folder.path().join("headers");
        std::fs::write(&headers, lines.concat()).unwrap();
        let from = format!("@{}", headers.display());
        let asked = format!("/external{path}");
        let answer = authz.ask(&asked, bad.host, &["-H", &from]);
        assert_eq!(answer.status, status, "{}", bad.why);
        let line = authz.line(&path);
        assert!(
            line.contains(bad.why) && line.contains(&logged),
            "{}: {line}",
            bad.why
        );
    }
    let told = authz.told();
    for secret in secrets(&all).iter().chain([&good]) {
        assert!(!told.contains(secret.as_str()), "{secret} is in the log");
    }
    assert!(!told.contains("secret-secret"), "{told}");
}

#[test]
fn what_is_too_large_to_be_read_is_denied_as_such() {
    let authz = Authz::seed();
    let token = vec![("authorization", format!("Bearer {}", "A".repeat(1 << 20)))];
    let reply = authz.call(&message(OUTSIDE_HOST, PREDICT, &token));
    assert_eq!(reply[5..9], [0x0a, 2, 8, 7], "{reply:?}");
    assert!(
        authz
            .line("a check cannot be read")
            .contains("it is too large")
    );
    let folder = tempfile::tempdir().unwrap();
    let headers = folder.path().join("headers");
    std::fs::write(&headers, format!("authorization: {}", token[0].1)).unwrap();
    let from = format!("@{}", headers.display());
    let url = format!("http://{}/external{PREDICT}", authz.checks);
    let answer = curl(["-H", &from, "-H", &format!("host: {OUTSIDE_HOST}"), &url]);
    // Its connection may end before all of it is taken.
    if let Ok(answer) = answer {
        assert_eq!(answer.status, 431, "{answer:?}");
    }
    assert!(authz.alive());
    let path = format!("/external{PREDICT}");
    assert_eq!(authz.ask(&path, OUTSIDE_HOST, &[]).status, 401);
}

#[test]
fn a_line_of_the_log_is_one_whatever_is_asked_for() {
    let authz = Authz::seed();
    let path = "/v1/a\nINFO forged: everything is fine";
    let reply = authz.call(&message(OUTSIDE_HOST, path, &[]));
    assert_eq!(reply[5..8], [0x0a, 2, 8], "{reply:?}");
    let line = authz.line("everything is fine");
    assert!(
        line.contains("\\u{a}INFO forged") && line.contains("status=400"),
        "{line}"
    );
    let long = format!("/v1/{}", "x".repeat(500_000));
    authz.call(&message(OUTSIDE_HOST, &long, &[]));
    assert!(authz.line("xxxx").len() < 2_000);
}

#[test]
fn nested_messages_cost_no_stack() {
    let authz = Authz::seed();
    // A message in a message, and so on, in the field of the attributes: as deep as a check may be large.
    let (mut levels, mut length) = (Vec::new(), 0);
    while length < 1_000_000 {
        let mut level = vec![0x0a];
        let mut rest = length;
        while rest >= 0x80 {
            level.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        level.push(u8::try_from(rest).unwrap());
        length += level.len();
        levels.push(level);
    }
    assert!(levels.len() > 200_000);
    levels.reverse();
    let deep = levels.concat();
    let reply = authz.call(&deep);
    assert_eq!(reply[5..9], [0x0a, 2, 8, 7], "{reply:?}");
    assert!(authz.alive());
}

#[test]
fn versions_of_tls_before_1_2_are_refused() {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checks");
    let certificate = format!("--tls-cert={}", keys.join("server.crt").display());
    let key = format!("--tls-key={}", keys.join("server.key").display());
    let folder = folder_with_examples();
    let args = [&*certificate, &*key, "-f", SEED[0], SEED[1]];
    let authz = Authz::start(folder.path(), &args);
    for (version, known) in [(1, false), (2, false), (3, true)] {
        // RFC 5246 §7.4.1.2, with what TLS 1.2 needs: one suite, the curve P-256, and ECDSA with SHA-256.
        let suites = [0, 0, 2, 0xc0, 0x2b, 1, 0];
        let extensions = [0, 16, 0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
        let hello = [&[3, version][..], &[7; 32], &suites, &extensions].concat();
        let length = u8::try_from(hello.len()).unwrap();
        let head = [22, 3, 1, 0, length + 4, 1, 0, 0, length];
        let mut stream = TcpStream::connect(&authz.checks).unwrap();
        stream.write_all(&[&head[..], &hello].concat()).unwrap();
        let mut kind = [0];
        stream.read_exact(&mut kind).unwrap();
        // An alert, or a handshake that goes on.
        let expected = if known { 22 } else { 21 };
        assert_eq!(kind, [expected], "3.{version}");
    }
}

#[test]
fn a_host_of_the_fast_path_is_no_expression() {
    let folder = folder_with_examples();
    made_key(&folder.path().join("pass.pem"));
    for host in [
        ".*",
        "a.test|b.test",
        "a.test)",
        "A.test",
        "a.test:80",
        "",
        "a\".test",
    ] {
        let output = Command::new(SIDEGATE)
            .args(["authz", "manifests", "--pass-key=pass.pem"])
            .arg(format!("--fast-path={host}"))
            .args(["-f", SEED[0], SEED[1]])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{host}: {}", stderr(&output));
        assert!(stderr(&output).contains("expected a host name in lower case"));
    }
}
