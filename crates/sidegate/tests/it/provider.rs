//! The identity provider in the running program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use testkit::{Sidegate, Socket, Start};

use super::SIDEGATE;

const CLUSTER: &str = include_str!("../../../../examples/seed/cluster.yaml");
const OURS: &str = include_str!("../../../../examples/seed/sidegate.yaml");
const CLIENT: &str = "kubeflow-oidc-authservice";
const SECRET: &str = "pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok";

/// The example with more of Dex's keys: `top` beside `issuer`, `client` in the static client.
pub(crate) fn folder(top: &str, client: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let dex = CLUSTER
        .replace(
            "    oauth2:\n      skipApprovalScreen: true\n",
            &format!("    oauth2:\n      skipApprovalScreen: true\n{top}"),
        )
        .replace(
            "    - id: kubeflow-oidc-authservice\n",
            &format!("    - id: kubeflow-oidc-authservice\n{client}"),
        );
    assert_ne!(dex, CLUSTER);
    let yaml = format!("{dex}\n---\n{OURS}");
    std::fs::write(folder.path().join("cluster.yaml"), yaml).unwrap();
    folder
}

/// A login with curl, as a browser does it; the code.
fn code(program: &Sidegate, scope: &str) -> String {
    let jar = tempfile::NamedTempFile::new().unwrap();
    let jar = jar.path().display().to_string();
    let scope = format!("scope={scope}");
    let client = format!("client_id={CLIENT}");
    let url = format!("{}/dex/auth", program.external());
    let cookies = [
        "-c",
        &jar,
        "-b",
        &jar,
        "-o",
        "/dev/null",
        "-w",
        "%{redirect_url}",
    ];
    let start = [
        "-G",
        "--data-urlencode",
        &client,
        "--data-urlencode",
        "redirect_uri=/login/oidc",
        "--data-urlencode",
        &scope,
        "-d",
        "response_type=code&state=x",
        &url,
    ];
    let form = testkit::curl([&cookies[..], &start].concat()).unwrap().body;
    assert!(form.contains("/dex/auth/local?req="), "{form}");
    let password = [
        "-d",
        "login=user@example.com",
        "-d",
        "password=12341234",
        &form,
    ];
    let back = testkit::curl([&cookies[..], &password].concat())
        .unwrap()
        .body;
    let (_, rest) = back.split_once("code=").unwrap_or_else(|| panic!("{back}"));
    rest.split('&').next().unwrap().to_owned()
}

/// Posts a form to the provider as the client, over a connection that stays; `None` when the
/// program does not answer any more.
fn post(socket: &mut Socket, path: &str, form: &str) -> Option<(u16, Value)> {
    let body = format!("client_id={CLIENT}&client_secret={SECRET}&{form}");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: platform.example\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.send(request).ok()?;
    let message = socket.response().ok()??;
    Some((
        message.status()?,
        serde_json::from_str(&message.text()).ok()?,
    ))
}

fn connect(program: &Sidegate) -> Socket {
    Socket::connect(program.external().trim_start_matches("http://")).unwrap()
}

fn redeem(program: &Sidegate, code: &str) -> (u16, Value) {
    let form = format!("grant_type=authorization_code&redirect_uri=/login/oidc&code={code}");
    post(&mut connect(program), "/dex/token", &form).unwrap()
}

fn refresh(socket: &mut Socket, token: &str) -> Option<(u16, Value)> {
    let form = format!("grant_type=refresh_token&refresh_token={token}");
    post(socket, "/dex/token", &form)
}

fn refresh_token(tokens: &Value) -> String {
    tokens["refresh_token"].as_str().unwrap().to_owned()
}

/// While tokens are refreshed by several at once, the power goes, again and again. Whoever was
/// answered can go on with what the answer said; what was used up stays so.
#[test]
fn no_acknowledged_token_is_lost_and_none_counts_twice_after_kill_9() {
    let files = folder(
        "    expiry:\n      refreshTokens: {reuseInterval: 10m}\n",
        "      idTokenSignedResponseAlg: ES256\n",
    );
    let data = tempfile::tempdir().unwrap();
    let start = || {
        let start = Start::new(SIDEGATE).arg(files.path()).data(data.path());
        start.start().unwrap()
    };
    let mut program = start();
    let mut codes = Vec::new();
    let mut chains: Vec<Vec<String>> = Vec::new();
    for _ in 0..4 {
        let code = code(&program, "openid offline_access");
        let (status, tokens) = redeem(&program, &code);
        assert_eq!(status, 200, "{tokens}");
        codes.push(code);
        chains.push(vec![refresh_token(&tokens)]);
    }
    let mut refreshes = 0;
    for round in 0..8u64 {
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for chain in &mut chains {
                let (mut socket, killed) = (connect(&program), &killed);
                scope.spawn(move || {
                    while let Some((status, tokens)) = refresh(&mut socket, chain.last().unwrap()) {
                        assert_eq!(status, 200, "{tokens}");
                        chain.push(refresh_token(&tokens));
                    }
                    assert!(killed.load(Ordering::SeqCst), "an answer is missing");
                });
            }
            // A different moment each round.
            std::thread::sleep(Duration::from_millis(300 + 37 * round));
            killed.store(true, Ordering::SeqCst);
            program.kill().unwrap();
        });
        program = start();
        for chain in &mut chains {
            let (status, tokens) = refresh(&mut connect(&program), chain.last().unwrap()).unwrap();
            assert_eq!(status, 200, "round {round}: {tokens}");
            chain.push(refresh_token(&tokens));
        }
        refreshes = chains.iter().map(Vec::len).sum();
    }
    assert!(refreshes > 100, "{refreshes} refreshes");
    // Of the last two chains the code comes again, of the others an old refresh token.
    for (index, (chain, code)) in chains.iter().zip(&codes).enumerate() {
        let (status, answer) = if index < 2 {
            let used = &chain[chain.len() - 4];
            refresh(&mut connect(&program), used).unwrap()
        } else {
            redeem(&program, code)
        };
        assert_eq!((status, &answer["error"]), (400, &"invalid_grant".into()));
        let last = chain.last().unwrap();
        let (status, _) = refresh(&mut connect(&program), last).unwrap();
        assert_eq!(status, 400, "the family is revoked");
    }
}
