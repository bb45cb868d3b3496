//! docs/migrate-from-oauth2-proxy.md, docs/migrate-from-authservice.md and their manifests: to the program and back.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::curl;

use super::SIDEGATE;
use super::migrate::{folder, quoted, walked};

const PROXY_PAGE: &str = include_str!("../../../../docs/migrate-from-oauth2-proxy.md");
const PROXY_MANIFEST: &str = include_str!("../../../../deploy/oauth2-proxy.yaml");
const PROXY_CONFIG: &str =
    include_str!("../../../../xtask/peers/relying/kubeflow/oauth2_proxy.cfg");
const OLD_PAGE: &str = include_str!("../../../../docs/migrate-from-authservice.md");
const OLD_MANIFEST: &str = include_str!("../../../../deploy/authservice.yaml");
const OLD_CONFIG: &str = include_str!("../../../../xtask/peers/relying/kubeflow/authservice.env");

const PROXY_KUBECTL: &str = r#"#!/bin/sh
set -eu
secret() { printf %s "$1" | base64 -w0; }
case "$*" in
"get configmap oauth2-proxy -n oauth2-proxy -o jsonpath={.data.oauth2_proxy\.cfg}") cat cluster/oauth2_proxy.cfg ;;
"get secret oauth2-proxy -n oauth2-proxy -o jsonpath={.data.client-id}") secret kubeflow-oidc-authservice ;;
"get secret oauth2-proxy -n oauth2-proxy -o jsonpath={.data.client-secret}") secret of-this-installation ;;
"get secret oauth2-proxy -n oauth2-proxy -o jsonpath={.data.cookie-secret}") secret 0123456789abcdef0123456789abcdef ;;
"get configmap oauth2-proxy-parameters -n oauth2-proxy -o jsonpath={.data.EXTRA_JWT_ISSUERS}") ;;
"apply -f deploy/oauth2-proxy.yaml") cp deploy/oauth2-proxy.yaml cluster/deployment ;;
"rollout status deployment/oauth2-proxy -n oauth2-proxy") ;;
"logs deployment/oauth2-proxy -n oauth2-proxy") cat cluster/log ;;
"rollout undo deployment/oauth2-proxy -n oauth2-proxy") rm cluster/deployment ;;
"delete persistentvolumeclaim oauth2-proxy-data -n oauth2-proxy") ! test -e cluster/deployment ;;
*) echo "kubectl: not in this cluster: $*" >&2; exit 1 ;;
esac
"#;

const OLD_KUBECTL: &str = r#"#!/bin/sh
set -eu
case "$*" in
"get configmap oidc-authservice-parameters -n istio-system -o go-template="*) cat cluster/authservice.env ;;
"get secret oidc-authservice-client -n istio-system -o go-template="*)
  printf 'CLIENT_ID=kubeflow-oidc-authservice\nCLIENT_SECRET=of-this-installation\n' ;;
"apply -f deploy/authservice.yaml") cp deploy/authservice.yaml cluster/deployment ;;
"rollout status statefulset/authservice -n istio-system") ;;
"logs statefulset/authservice -n istio-system") cat cluster/log ;;
"rollout undo statefulset/authservice -n istio-system") rm cluster/deployment ;;
*) echo "kubectl: not in this cluster: $*" >&2; exit 1 ;;
esac
"#;

/// The arguments of the manifest's container.
fn arguments(manifest: &str) -> Vec<&str> {
    let (_, rest) = manifest.split_once("          args:\n").unwrap();
    let lines = rest.lines();
    lines
        .map_while(|line| line.strip_prefix("            - "))
        .collect()
}

/// A running program with all that it said until it took checks, and where it takes them and says how it is.
struct Running {
    child: std::process::Child,
    said: String,
    checks: String,
    health: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn started(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
    let child = Command::new(SIDEGATE)
        .args(arguments)
        .args([
            "--listen=127.0.0.1:0",
            "--health=127.0.0.1:0",
            "--data=data",
        ])
        .current_dir(folder)
        .envs(environment.iter().copied())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running {
        child,
        said: String::new(),
        checks: String::new(),
        health: String::new(),
    };
    let mut told = BufReader::new(running.child.stderr.take().unwrap());
    loop {
        let mut line = String::new();
        assert_ne!(told.read_line(&mut line).unwrap(), 0, "{}", running.said);
        running.said += &line;
        if let Some((_, at)) = line.trim_end().split_once("checks on ") {
            running.checks = at.to_owned();
        }
        if let Some((_, at)) = line.trim_end().split_once("health on ") {
            running.health = at.to_owned();
            return running;
        }
    }
}

fn answers(running: &Running) {
    let status = |url: String| curl([url]).unwrap().status;
    let (checks, health) = (&running.checks, &running.health);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(status(format!("http://{health}{path}")), 200);
    }
    assert_eq!(status(format!("http://{checks}/dex/auth")), 200);
    assert_eq!(status(format!("http://{checks}/pipeline")), 302);
}

#[test]
fn the_way_from_oauth2_proxy_and_back_as_it_is_written() {
    assert_eq!(
        arguments(PROXY_MANIFEST),
        [
            "authz",
            "--compat=oauth2-proxy",
            "--config=/etc/oauth2_proxy/oauth2_proxy.cfg",
            "--listen=0.0.0.0:4180",
            "--health=0.0.0.0:44180",
            "--data=/data/sessions",
        ]
    );
    let folder = folder(PROXY_KUBECTL);
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("cluster/oauth2_proxy.cfg"), PROXY_CONFIG).unwrap();
    std::fs::write(at("deploy/oauth2-proxy.yaml"), PROXY_MANIFEST).unwrap();
    let environment = [
        ("OAUTH2_PROXY_CLIENT_ID", "kubeflow-oidc-authservice"),
        ("OAUTH2_PROXY_CLIENT_SECRET", "of-this-installation"),
        (
            "OAUTH2_PROXY_COOKIE_SECRET",
            "0123456789abcdef0123456789abcdef",
        ),
        ("OAUTH2_PROXY_COOKIE_SECURE", "false"),
        ("OAUTH2_PROXY_EXTRA_JWT_ISSUERS", ""),
    ];
    let given = [
        "authz",
        "--compat=oauth2-proxy",
        "--config=cluster/oauth2_proxy.cfg",
    ];
    let running = started(folder.path(), &given, &environment);
    answers(&running);
    let ping = curl([format!("http://{}/ping", running.checks)]).unwrap();
    assert_eq!(ping.status, 204);
    std::fs::write(at("cluster/log"), &running.said).unwrap();
    let said = walked(PROXY_PAGE, folder.path());
    assert_eq!(quoted(PROXY_PAGE, &said), 3);
    assert!(said.contains(", 0 refused"), "{said}");
}

#[test]
fn the_way_from_oidc_authservice_and_back_as_it_is_written() {
    assert_eq!(
        arguments(OLD_MANIFEST),
        [
            "authz",
            "--compat=authservice",
            "--listen=0.0.0.0:8080",
            "--health=0.0.0.0:8081",
            "--data=/var/lib/authservice/sidegate",
        ]
    );
    let folder = folder(OLD_KUBECTL);
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("cluster/authservice.env"), OLD_CONFIG).unwrap();
    std::fs::write(at("deploy/authservice.yaml"), OLD_MANIFEST).unwrap();
    let pairs = OLD_CONFIG.lines().filter_map(|line| line.split_once('='));
    let mut environment: Vec<(&str, &str)> = pairs.collect();
    environment.push(("CLIENT_ID", "kubeflow-oidc-authservice"));
    environment.push(("CLIENT_SECRET", "of-this-installation"));
    let running = started(
        folder.path(),
        &["authz", "--compat=authservice"],
        &environment,
    );
    answers(&running);
    std::fs::write(at("cluster/log"), &running.said).unwrap();
    let said = walked(OLD_PAGE, folder.path());
    assert_eq!(quoted(OLD_PAGE, &said), 3);
    assert!(said.contains(", 0 refused"), "{said}");
}

#[test]
fn what_is_refused_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.cfg"), PROXY_CONFIG).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(SIDEGATE)
            .args(["authz", "--compat=oauth2-proxy", "--config=a.cfg"])
            .args(arguments)
            .current_dir(folder.path())
            .env("OAUTH2_PROXY_CLIENT_ID", "kubeflow-oidc-authservice")
            .env(
                "OAUTH2_PROXY_CLIENT_SECRET",
                "pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok",
            )
            .output()
            .unwrap();
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(told).unwrap())
    };
    let (code, said) = run(&["--data=data"]);
    assert_eq!(code, Some(3), "{said}");
    let named = "`OAUTH2_PROXY_CLIENT_SECRET`: is published with a distribution";
    assert!(said.contains(named), "{said}");
    assert!(!said.contains("pUBnBOY80"), "{said}");
    assert!(!folder.path().join("data").exists());
    assert_eq!(run(&["--check"]).0, Some(3));
    assert_eq!(run(&["--check", "--allow-known-secrets"]).0, Some(0));
    let (code, json) = run(&["--check", "--output=json"]);
    assert_eq!(code, Some(3));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["keys"][0]["standing"], "supported");
}
