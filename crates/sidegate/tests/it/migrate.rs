//! docs/migrate-from-dex.md and deploy/provider.yaml: from the installation of Kubeflow to the provider and back.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::curl;

use super::SIDEGATE;

const PAGE: &str = include_str!("../../../../docs/migrate-from-dex.md");
const MANIFEST: &str = include_str!("../../../../deploy/provider.yaml");

/// The ConfigMap of Kubeflow's manifests (common/dex/overlays/oauth2-proxy).
const CONFIG: &str = include_str!("../../../../xtask/peers/relying/kubeflow/dex.yaml");
const HASH: &str = "$2y$12$4K/VkmDd1q1Orb3xAt82zu8gk7Ad6ReFR4LCP9UeYE90NLiN9Df72";

/// What the page asks of a cluster: those objects, and what has been done to the Deployment.
const KUBECTL: &str = r#"#!/bin/sh
set -eu
secret() { printf %s "$1" | base64 -w0; }
case "$*" in
"get configmap dex -n auth -o jsonpath={.data.config\.yaml}") cat cluster/config.yaml ;;
"get secret dex-oidc-client -n auth -o jsonpath={.data.OIDC_CLIENT_ID}") secret kubeflow-oidc-authservice ;;
"get secret dex-oidc-client -n auth -o jsonpath={.data.OIDC_CLIENT_SECRET}") secret of-this-installation ;;
"get secret dex-passwords -n auth -o jsonpath={.data.DEX_USER_PASSWORD}") secret "$(cat cluster/hash)" ;;
"apply -f deploy/provider.yaml") cp deploy/provider.yaml cluster/deployment ;;
"rollout status deployment/dex -n auth" | "rollout restart deployment/istiod -n istio-system") ;;
"logs deployment/dex -n auth") cat cluster/log ;;
"rollout undo deployment/dex -n auth") rm cluster/deployment ;;
"delete persistentvolumeclaim dex-data -n auth") ! test -e cluster/deployment ;;
*) echo "kubectl: not in this cluster: $*" >&2; exit 1 ;;
esac
"#;

/// The arguments of the container, without its fixed paths.
fn arguments() -> Vec<String> {
    let (_, rest) = MANIFEST.split_once("          args:\n").unwrap();
    let lines = rest
        .lines()
        .map_while(|line| line.strip_prefix("            - "));
    lines.map(str::to_owned).collect()
}

/// The container's program with its arguments, in a folder that stands for its volumes; what it says at its start.
fn started(folder: &Path) -> (std::process::Child, String) {
    let expected = [
        "provider",
        "--config=/etc/dex/cfg/config.yaml",
        "--listen=0.0.0.0:5556",
        "--data=/data/provider",
    ];
    assert_eq!(arguments(), expected);
    let mut child = Command::new(SIDEGATE)
        .args([
            "provider",
            "--config=cluster/config.yaml",
            "--listen=127.0.0.1:0",
            "--data=data",
        ])
        .current_dir(folder)
        .env("OIDC_CLIENT_ID", "kubeflow-oidc-authservice")
        .env("OIDC_CLIENT_SECRET", "of-this-installation")
        .env("DEX_USER_PASSWORD", HASH)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(child.stderr.take().unwrap());
    let line = told
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains(" on 127.0.0.1:"));
    (child, line.unwrap())
}

#[test]
fn the_way_from_dex_and_back_as_it_is_written() {
    let folder = folder(KUBECTL);
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("cluster/config.yaml"), CONFIG).unwrap();
    std::fs::write(at("cluster/hash"), HASH).unwrap();
    std::fs::write(at("deploy/provider.yaml"), MANIFEST).unwrap();
    let (mut child, line) = started(folder.path());
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::write(at("cluster/log"), line).unwrap();

    let said = walked(PAGE, folder.path());
    assert_eq!(quoted(PAGE, &said), 3);
    assert!(said.contains(", 0 refused"), "{said}");
}

/// What the commands of a page say, all in one shell, as variables are exported; `bin` of the folder goes before other programs.
pub(crate) fn walked(page: &str, folder: &Path) -> String {
    let commands: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .collect();
    assert!(commands.len() > 7, "{commands:?}");
    let mut script = "set -e\n".to_owned();
    for (number, command) in commands.iter().enumerate() {
        script += &format!("{command}\necho '=== {number}'\n");
    }
    let programs = Path::new(SIDEGATE).parent().unwrap();
    let path = format!(
        "{}:{}:{}",
        folder.join("bin").display(),
        programs.display(),
        std::env::var("PATH").unwrap()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder)
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    said.into_owned()
}

/// How many lines the page quotes, all of which were said.
pub(crate) fn quoted(page: &str, said: &str) -> usize {
    let quoted = page.lines().filter_map(|line| line.strip_prefix("> "));
    quoted
        .inspect(|expected| assert!(said.contains(expected), "{expected}\n{said}"))
        .count()
}

/// A folder with `cluster`, `bin/kubectl` and `deploy`.
pub(crate) fn folder(kubectl: &str) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["cluster", "bin", "deploy"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    std::fs::write(at("bin/kubectl"), kubectl).unwrap();
    std::fs::set_permissions(at("bin/kubectl"), PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn the_deployment_answers_where_its_probe_and_its_service_look() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("cluster")).unwrap();
    std::fs::write(folder.path().join("cluster/config.yaml"), CONFIG).unwrap();
    let (mut child, line) = started(folder.path());
    let (_, rest) = line.split_once(" on ").unwrap();
    let address = rest.split(',').next().unwrap();
    let (_, rest) = MANIFEST.split_once("              path: ").unwrap();
    let probe = rest.lines().next().unwrap();
    let answer = curl([format!("http://{address}{probe}")]).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answer.status, 200, "{probe}");
    // The port of the probe is that of the arguments and of the Service; the label is the one that it selects.
    assert!(MANIFEST.contains("containerPort: 5556") && MANIFEST.contains("targetPort: 5556"));
    assert_eq!(MANIFEST.matches("app: dex\n").count(), 4);
    let image = include_str!("../../../../deploy/runtimes.yaml");
    let name = "image: sidegate:0.1.0\n";
    assert!(MANIFEST.contains(name) && image.contains(name));
}
