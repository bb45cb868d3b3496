//! Nothing that opens a door is in the log, however much it says: a login, a renewal, a logout and a key, with all that
//! went between the authorizer and the provider known to the test.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::authz::Authz;
use super::login_providers::{At, BROWSER, configured, cookies};
use super::{OUTSIDE_HOST, PREDICT, SIDEGATE, stderr};

const ADA: &str = "ada@a.test";

/// In front of the provider, where its issuer says that it is: whatever passes is written down.
struct Between {
    port: u16,
    passed: Arc<Mutex<Vec<u8>>>,
}

impl Between {
    fn start(provider: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), provider.to_owned());
        let passed: Arc<Mutex<Vec<u8>>> = Arc::default();
        let all = Arc::clone(&passed);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                // The provider starts later.
                let Ok(far) = TcpStream::connect(&to) else {
                    continue;
                };
                let ways = [
                    (near.try_clone().unwrap(), far.try_clone().unwrap()),
                    (far, near),
                ];
                for (mut from, mut into) in ways {
                    let all = Arc::clone(&all);
                    std::thread::spawn(move || {
                        let mut buffer = [0; 8192];
                        while let Ok(count) = from.read(&mut buffer)
                            && count > 0
                            && into.write_all(&buffer[..count]).is_ok()
                        {
                            all.lock().unwrap().extend(&buffer[..count]);
                        }
                        let _ = into.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Self { port, passed }
    }

    /// What went by.
    fn passed(&self) -> String {
        String::from_utf8_lossy(&self.passed.lock().unwrap()).into_owned()
    }

    /// All values of that name, in JSON and in forms.
    fn values(&self, name: &str) -> Vec<String> {
        let passed = self.passed();
        let after = |before: &str, end: &[char]| {
            let found: Vec<String> = passed
                .split(before)
                .skip(1)
                .map(|rest| rest.split(end).next().unwrap().to_owned())
                .collect();
            found
        };
        let mut all = after(&format!("\"{name}\":\""), &['"']);
        all.extend(after(&format!("{name}="), &['&', '\r', '\n', ' ']));
        all
    }
}

#[test]
fn no_log_holds_what_a_login_a_renewal_a_logout_and_a_key_are_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let [mut a, b] = [At::new(), At::new()];
    let provider = a
        .issuer
        .trim_start_matches("http://")
        .trim_end_matches("/dex")
        .to_owned();
    let between = Between::start(&provider);
    a.web = Some(provider);
    a.issuer = format!("http://127.0.0.1:{}/dex", between.port);
    configured(folder.path(), &a, &b);
    let file = folder.path().join("cluster.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    // Tokens that are renewed, by way of the one between.
    let aimed = text.replacen(
        "      hosts: [a.test]\n",
        "      hosts: [a.test]\n      scopes: [profile, email, groups, offline_access]\n",
        1,
    );
    assert_ne!(aimed, text);
    std::fs::write(&file, aimed).unwrap();
    let args = ["-f", "cluster.yaml", "--identity-headers=authorization"];
    let authz = Authz::start_with(folder.path(), &args, "trace");
    a.more = "expiry: {idTokens: 1m}\n".to_owned();
    a.start("http://a.test", ADA);
    let ask = |path: &str, cookie: &str, more: &[&str]| {
        let cookie = format!("cookie: {cookie}");
        let headers = [&BROWSER[..], &["-H", &cookie], more].concat();
        authz.ask(&format!("/external{path}"), "a.test", &headers)
    };
    let mut secrets: Vec<String> = Vec::new();
    let began = Instant::now();
    let begun = loop {
        let begun = ask("/oauth2/start?rd=%2F", "", &[]);
        if begun.status == 302 {
            break begun;
        }
        assert!(began.elapsed().as_secs() < 30, "{begun:?}");
        std::thread::sleep(Duration::from_millis(200));
    };
    let binding = cookies(&begun).join("; ");
    let location = begun.header("location").unwrap();
    secrets.extend(parameters(location, &["state", "nonce", "code_challenge"]));
    let back = a.log_in(location, ADA);
    secrets.extend(parameters(&back, &["code", "state"]));
    let done = ask(back.strip_prefix("http://a.test").unwrap(), &binding, &[]);
    let session = cookies(&done)
        .into_iter()
        .find(|cookie| cookie.starts_with("authservice_session="))
        .unwrap();
    for cookie in binding.split("; ").chain([&*session]) {
        secrets.extend(cookie.split_once('=').map(|(_, value)| value.to_owned()));
    }
    let inside = ask("/", &session, &[]);
    assert_eq!(inside.header("kubeflow-userid"), Some(ADA), "{inside:?}");
    let told = inside.header("authorization").unwrap();
    secrets.push(told.trim_start_matches("Bearer ").to_owned());

    // Tokens live a minute at least, and are renewed ten seconds before they end.
    let renewals = || {
        between
            .values("grant_type")
            .iter()
            .filter(|kind| *kind == "refresh_token")
            .count()
    };
    while renewals() == 0 {
        assert!(began.elapsed() < Duration::from_secs(120), "no renewal");
        assert_eq!(ask("/", &session, &[]).status, 200);
        std::thread::sleep(Duration::from_secs(1));
    }
    let ours = ["-X", "POST", "-H", "sec-fetch-site: same-origin"];
    let out = ask("/oauth2/sign_out", &session, &ours);
    assert_eq!(out.status, 201, "{out:?}");
    assert_ne!(ask("/", &session, &[]).status, 200);

    let made = Command::new(SIDEGATE)
        .args([
            "token",
            "create",
            "--service",
            "job",
            "-o",
            "json",
            "--data",
        ])
        .arg(authz.data())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let key = made["secret"].as_str().unwrap().to_owned();
    let bearer = format!("authorization: Bearer {key}");
    let called = authz.ask(
        &format!("/external{PREDICT}"),
        OUTSIDE_HOST,
        &["-H", &bearer],
    );
    assert_eq!(called.status, 200, "{called:?}");
    secrets.push(key);
    secrets.push("of-this-installation".to_owned());
    for name in [
        "id_token",
        "access_token",
        "refresh_token",
        "code",
        "code_verifier",
    ] {
        let passed = between.values(name);
        assert!(
            !passed.is_empty(),
            "no {name} went by: {}",
            between.passed()
        );
        secrets.extend(passed);
    }

    authz.says(PREDICT);
    let told = authz.told();
    assert!(
        told.contains("TRACE") && told.contains("a.test"),
        "it says little: {told}"
    );
    for secret in secrets.iter().filter(|secret| secret.len() >= 12) {
        // A part of one would be enough to find it again.
        let (start, end) = (
            secret.get(..12).unwrap(),
            secret.get(secret.len() - 12..).unwrap(),
        );
        let whole = told.contains(secret.as_str());
        let signature = secret.contains('.') && told.contains(end);
        let opaque = !secret.contains('.') && told.contains(start);
        assert!(!whole && !signature && !opaque, "{secret} is in the log");
    }
}

/// The values of these parameters of an address.
fn parameters(address: &str, names: &[&str]) -> Vec<String> {
    let query = address.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(name, _)| names.contains(name))
        .map(|(_, value)| value.to_owned())
        .collect()
}
