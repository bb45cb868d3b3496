//! `sidegate authz` beside a real API server: with its own account as the manifests bind it, tokens of workloads, roles that come
//! and go, a new signing key, pods that end. And whether the API server takes what is printed for it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::api::{collection, text};
use super::control::{Cluster, Settings};
use super::tokens::OURS;
use super::{KEY, SETTINGS};
use crate::authz::Authz;
use crate::directory::peers;
use crate::faults::{World, calls};
use crate::shell;

const NAMESPACE: &str = "kserve-test";

/// What is known of a token or a role is believed for a minute, and own tokens are read again then.
const BELIEVED: Duration = Duration::from_secs(75);

/// Kinds that the API server has without anybody's definitions.
const OWN_GROUPS: [&str; 5] = [
    "v1",
    "apps/v1",
    "policy/v1",
    "networking.k8s.io/v1",
    "rbac.authorization.k8s.io/v1",
];

pub(super) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(folder.path(), SETTINGS)?;
    let world = World::start("  rbac: review\n")?;
    let files = world.folder.path().join("files");
    let printed = taken(&cluster, &files)?;
    println!("{printed} objects that the API server takes");
    workloads(&cluster)?;
    let began = Instant::now();
    let own = own_token(&cluster, world.folder.path())?;
    roles(&cluster, &world, &own)?;
    rotation(&mut cluster, &world, &own)?;
    ends(&cluster, &world, &own)?;
    println!(
        "sidegate authz beside it ... ok ({} s)",
        began.elapsed().as_secs()
    );
    Ok(())
}

/// Has the API server look at all that is printed, and make the account and its rights. Returns the number of objects.
fn taken(cluster: &Cluster, files: &Path) -> Result<usize> {
    let theirs = ["istio-system", "auth", "oauth2-proxy", "shop"];
    for name in theirs.into_iter().chain(["sidegate", NAMESPACE]) {
        cluster.namespace(name)?;
    }
    let password = files.join("../password");
    std::fs::write(&password, "x")?;
    let password = password.display().to_string();
    let forms: [&[&str]; 4] = [
        &[],
        &["--http"],
        &["--for", "nginx"],
        &[
            "--redis",
            "rediss://redis.sidegate:6379",
            "--redis-password",
            &password,
        ],
    ];
    let mut texts = Vec::new();
    for more in forms {
        let output = Command::new(shell::target().join("debug/sidegate"))
            .args(["authz", "manifests", "-f"])
            .arg(files)
            .args(more)
            .output()?;
        ensure!(
            output.status.success(),
            "{more:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        texts.push(String::from_utf8(output.stdout)?);
    }
    for name in ["provider.yaml", "authservice.yaml", "oauth2-proxy.yaml"] {
        texts.push(std::fs::read_to_string(
            shell::root().join("deploy").join(name),
        )?);
    }
    let mut count = 0;
    for text in &texts {
        let objects: Vec<Value> = serde_saphyr::from_multiple(text)?;
        for object in objects.iter().filter(|object| is_own(object)) {
            let path = format!("{}?dryRun=All&fieldValidation=Strict", collection(object)?);
            let answer = cluster.api.ask("POST", &path, Some(object))?;
            // A namespace is there already.
            ensure!(
                matches!(answer.status, 201 | 409),
                "{object}: {}",
                answer.text()
            );
            count += 1;
        }
    }
    let first: Vec<Value> =
        serde_saphyr::from_multiple(texts.first().context("nothing is printed")?)?;
    let mut made = 0;
    for object in &first {
        if matches!(
            text(object, "/kind"),
            "ServiceAccount" | "ClusterRoleBinding"
        ) {
            cluster.api.create(object)?;
            made += 1;
        }
    }
    ensure!(made == 2, "{made} objects of its account are printed");
    Ok(count)
}

fn is_own(object: &Value) -> bool {
    OWN_GROUPS.contains(&text(object, "/apiVersion"))
}

fn workloads(cluster: &Cluster) -> Result<()> {
    for name in ["caller", "stranger"] {
        cluster.account(NAMESPACE, name)?;
    }
    cluster.api.create(
        &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "see-iris", "namespace": NAMESPACE},
        "rules": [{"verbs": ["get"], "apiGroups": ["serving.kserve.io"],
            "resources": ["inferenceservices"], "resourceNames": ["sklearn-iris"]}]}),
    )?;
    cluster.api.create(&binding(
        "callers",
        &json!({"kind": "ServiceAccount", "name": "caller", "namespace": NAMESPACE}),
    ))?;
    let program =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "service:job"});
    cluster.api.create(&binding("programs", &program))?;
    cluster.api.create(&pod())?;
    Ok(())
}

fn binding(name: &str, subject: &Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "see-iris"},
        "subjects": [subject]})
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "worker", "namespace": NAMESPACE},
        "spec": {"serviceAccountName": "caller", "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "example.com/main"}]}})
}

/// The token that the kubelet would mount into the authorizer's pod.
fn own_token(cluster: &Cluster, folder: &Path) -> Result<std::path::PathBuf> {
    let file = folder.join("own-token");
    std::fs::write(
        &file,
        cluster.token("sidegate", "sidegate-authz", &json!({}))?,
    )?;
    Ok(file)
}

fn start(cluster: &Cluster, world: &World, own: &Path, more: &[&str]) -> Result<Authz> {
    let server = format!("https://{}", cluster.address);
    let (authority, own) = (
        peers().join("ca.pem").display().to_string(),
        own.display().to_string(),
    );
    let mut args = vec![
        "--kubernetes-api",
        &*server,
        "--kubernetes-ca",
        &authority,
        "--kubernetes-token",
        &own,
    ];
    args.extend(more);
    world.authz(&args)
}

fn of(cluster: &Cluster, name: &str, audience: &str) -> Result<String> {
    cluster.token(NAMESPACE, name, &json!({"audiences": [audience]}))
}

fn expect(at: &str, what: &str, token: &str, status: u16) -> Result<()> {
    let found = calls(at, token)?;
    ensure!(found == status, "{what}: expected {status}, found {found}");
    Ok(())
}

fn soon(at: &str, what: &str, token: &str, status: u16) -> Result<()> {
    let began = Instant::now();
    while calls(at, token)? != status {
        if began.elapsed() > BELIEVED {
            bail!("{what}: not {status} after {BELIEVED:?}");
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    Ok(())
}

/// Who has a role calls the model, and nobody else; as soon as it is given and a minute after it is taken.
fn roles(cluster: &Cluster, world: &World, own: &Path) -> Result<()> {
    let authz = start(cluster, world, own, &[])?;
    let at = authz.checks.to_string();
    let (caller, stranger) = (of(cluster, "caller", OURS)?, of(cluster, "stranger", OURS)?);
    expect(&at, "with a role", &caller, 200)?;
    expect(&at, "without a role", &stranger, 403)?;
    expect(
        &at,
        "for another audience",
        &of(cluster, "caller", "vault")?,
        401,
    )?;
    expect(&at, "a word", "abc", 401)?;
    let key = Command::new(shell::target().join("debug/sidegate"))
        .args(["token", "create", "--service", "job", "--data"])
        .arg(world.data())
        .output()?;
    ensure!(
        key.status.success(),
        "no key: {}",
        String::from_utf8_lossy(&key.stderr)
    );
    expect(
        &at,
        "a program with a role",
        String::from_utf8(key.stdout)?.trim(),
        200,
    )?;
    let given = binding(
        "strangers",
        &json!({"kind": "ServiceAccount", "name": "stranger", "namespace": NAMESPACE}),
    );
    cluster.api.create(&given)?;
    soon(&at, "a role that is given", &stranger, 200)?;
    cluster.api.delete(&given)?;
    soon(&at, "a role that is taken", &stranger, 403)?;
    authz.end()
}

/// The API server signs with a new key, and is away meanwhile.
fn rotation(cluster: &mut Cluster, world: &World, own: &Path) -> Result<()> {
    let authz = start(cluster, world, own, &[])?;
    let at = authz.checks.to_string();
    let before = of(cluster, "caller", OURS)?;
    expect(&at, "before", &before, 200)?;
    cluster.stop();
    expect(&at, "while it is away", &before, 200)?;
    cluster.restart(Settings {
        keys: &["second", KEY],
        flags: &[],
    })?;
    let after = of(cluster, "caller", OURS)?;
    soon(&at, "of the new key", &after, 200)?;
    expect(&at, "of the key before", &before, 200)?;
    cluster.restart(Settings {
        keys: &["second"],
        flags: &[],
    })?;
    own_token(cluster, world.folder.path())?;
    let authz_again = {
        authz.end()?;
        start(cluster, world, own, &[])?
    };
    let at = authz_again.checks.to_string();
    soon(&at, "of the new key alone", &after, 200)?;
    expect(&at, "of a key that is gone", &before, 401)?;
    authz_again.end()
}

/// With `--kubernetes-review` a pod that is gone is seen.
fn ends(cluster: &Cluster, world: &World, own: &Path) -> Result<()> {
    let authz = start(cluster, world, own, &["--kubernetes-review"])?;
    let at = authz.checks.to_string();
    let bound = json!({"audiences": [OURS], "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "worker"}});
    let token = cluster.token(NAMESPACE, "caller", &bound)?;
    expect(&at, "of a pod", &token, 200)?;
    cluster.api.delete(&pod())?;
    soon(&at, "of a pod that is gone", &token, 401)?;
    expect(
        &at,
        "of an account that is there",
        &of(cluster, "caller", OURS)?,
        200,
    )?;
    authz.end()
}
