//! What the API server answers to each question of ours, word for word: `golden/api-server.json`, which
//! `crates/identity` reads.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;
use serde_json::{Map, Value, json};

use super::api::{Api, accept, text};
use super::callers::{Caller, Model, question};
use super::control::{Cluster, ISSUER, Settings, until, version};
use super::tokens::{self, OURS, Tokens, decoded};
use super::webhook;
use crate::shell;

const TOKEN_REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ACCESS_REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Where what was said is.
fn recorded() -> PathBuf {
    shell::root().join("crates/identity/tests/golden/api-server.json")
}

/// Asks everything anew and writes it down. Returns the number of answers.
pub(super) fn record(cluster: &mut Cluster, folder: &Path, key: &str) -> Result<usize> {
    let found = ask(cluster, folder, key)?;
    let path = recorded();
    std::fs::create_dir_all(path.parent().context("no folder")?)?;
    std::fs::write(&path, written(&found)?)?;
    Ok(found.exchanges.len())
}

/// Asks everything anew: it is answered as it was, but for what is another each time.
pub(super) fn compare(cluster: &mut Cluster, folder: &Path, key: &str) -> Result<usize> {
    let text = std::fs::read_to_string(recorded())
        .context("crates/identity/tests/golden/api-server.json")?;
    let before = Found::read(&serde_json::from_str(&text)?)?;
    let now = ask(cluster, folder, key)?;
    ensure!(
        before.exchanges.len() == now.exchanges.len(),
        "there are other questions"
    );
    for (was, is) in before.exchanges.iter().zip(&now.exchanges) {
        let (was, is) = (before.plain(was)?, now.plain(is)?);
        ensure!(was == is, "it was {was}\nand is {is}");
    }
    Ok(now.exchanges.len())
}

/// Tokens by what they are called, and what was asked and answered.
struct Found {
    now: u64,
    own: String,
    tokens: Tokens,
    exchanges: Vec<Value>,
}

/// Somebody who asks, and writes down what comes back.
struct Asking<'f> {
    api: Api,
    found: &'f mut Found,
}

impl Asking<'_> {
    fn say(&mut self, name: &str, method: &str, path: &str, body: Option<&Value>) -> Result<()> {
        let answer = self.api.ask(method, path, body)?;
        let mut headers = Map::new();
        for name in ["content-type", "retry-after", "www-authenticate"] {
            if let Some(value) = answer.header(name) {
                headers.insert(name.to_owned(), json!(value));
            }
        }
        self.found.exchanges.push(json!({
            "name": name, "method": method, "path": path, "accept": accept(path), "request": body,
            "status": answer.status, "headers": headers, "response": answer.text(),
        }));
        Ok(())
    }

    fn review(&mut self, name: &str, token: &str, audiences: &Value) -> Result<()> {
        let mut spec = json!({"token": token});
        if let (Some(spec), false) = (spec.as_object_mut(), audiences.is_null()) {
            spec.insert("audiences".to_owned(), audiences.clone());
        }
        let review =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
        self.say(name, "POST", TOKEN_REVIEWS, Some(&review))
    }

    fn access(&mut self, name: &str, caller: &str, model: &str) -> Result<()> {
        let review = question(&Caller(caller.to_owned()), &Model(model.to_owned()))?;
        self.say(name, "POST", ACCESS_REVIEWS, Some(&review))
    }
}

fn ask(cluster: &mut Cluster, folder: &Path, key: &str) -> Result<Found> {
    let file = folder.join(key).join("service-account-issuer.pem");
    let tokens = tokens::all(cluster, &file)?;
    let (own, powerless) = accounts(cluster)?;
    let mut found = Found {
        now: tokens::now(),
        own: own.clone(),
        tokens: tokens.clone(),
        exchanges: Vec::new(),
    };
    let mut asking = Asking {
        api: cluster.api.by(Some(&own)),
        found: &mut found,
    };
    asking.say("keys", "GET", "/openid/v1/jwks", None)?;
    asking.say(
        "discovery",
        "GET",
        "/.well-known/openid-configuration",
        None,
    )?;
    for (name, token) in &tokens {
        asking.review(name, token, &json!([OURS]))?;
    }
    let token = |wanted: &str| {
        let mut all = tokens.iter();
        let found = all
            .find(|(name, _)| name == wanted)
            .map(|(_, token)| token.as_str());
        found.with_context(|| format!("no token {wanted}"))
    };
    asking.review(
        "valid, for several audiences",
        token("valid")?,
        &json!([OURS, "vault"]),
    )?;
    asking.review(
        "of several audiences, for several",
        token("of several audiences")?,
        &json!(["vault", OURS]),
    )?;
    asking.review("valid, for none", token("valid")?, &Value::Null)?;
    asking.review(
        "valid, for the API server",
        token("valid")?,
        &json!([ISSUER]),
    )?;
    roles(cluster)?;
    let iris = "inferenceservices team-a/iris";
    for (name, caller, model) in [
        ("a person with a role", "person ada@example.com", iris),
        ("a person without one", "person bob@example.com", iris),
        ("a member of a group", "person bob@example.com data", iris),
        (
            "a member of groups of Kubernetes",
            "person bob@example.com system:masters system:nodes",
            iris,
        ),
        ("a program", "service job", iris),
        ("a ServiceAccount", "account team-b/default", iris),
        (
            "a ServiceAccount of another namespace",
            "account team-a/default",
            iris,
        ),
        (
            "a graph",
            "person ada@example.com",
            "inferencegraphs team-a/iris",
        ),
        (
            "a model of another name",
            "person ada@example.com",
            "inferenceservices team-a/other",
        ),
        (
            "a model of another namespace",
            "person ada@example.com",
            "inferenceservices team-b/iris",
        ),
    ] {
        asking.access(name, caller, model)?;
    }
    for (name, bearer) in [
        ("nobody", None),
        ("a bad token", Some("of-nobody")),
        ("without rights", Some(&*powerless)),
    ] {
        asking.api = cluster.api.by(bearer);
        asking.say(&format!("keys for {name}"), "GET", "/openid/v1/jwks", None)?;
        asking.review(
            &format!("a review for {name}"),
            token("valid")?,
            &json!([OURS]),
        )?;
        asking.access(
            &format!("an access for {name}"),
            "person ada@example.com",
            iris,
        )?;
    }
    others(cluster, folder, key, &own, &mut found)?;
    Ok(found)
}

/// Two ServiceAccounts that ask: one that may, as `sidegate authz manifests` binds it, and one that may not.
fn accounts(cluster: &Cluster) -> Result<(String, String)> {
    cluster.namespace("sidegate")?;
    cluster.account("sidegate", "sidegate-authz")?;
    cluster.account("sidegate", "powerless")?;
    cluster.api.create(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "sidegate-authz"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": "sidegate-authz", "namespace": "sidegate"}]}))?;
    let own = cluster.token("sidegate", "sidegate-authz", &json!({}))?;
    let powerless = cluster.token("sidegate", "powerless", &json!({}))?;
    let asking = cluster.api.by(Some(&own));
    until("the binding counts", || {
        let review = question(
            &Caller("person x".to_owned()),
            &Model("inferenceservices a/b".to_owned()),
        )?;
        Ok(asking.ask("POST", ACCESS_REVIEWS, Some(&review))?.status == 201)
    })?;
    Ok((own, powerless))
}

/// Who may see the model `iris`.
fn roles(cluster: &Cluster) -> Result<()> {
    let user =
        |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name});
    let group = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name});
    for object in [
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "see-iris", "namespace": "team-a"},
            "rules": [{"verbs": ["get"], "apiGroups": ["serving.kserve.io"],
                "resources": ["inferenceservices"], "resourceNames": ["iris"]}]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "callers", "namespace": "team-a"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "see-iris"},
            "subjects": [user("ada@example.com"), user("service:job"), group("data"),
                group("system:serviceaccounts:team-b"), group("system:nodes")]}),
    ] {
        cluster.api.create(&object)?;
    }
    let ada = question(
        &Caller("person ada@example.com".to_owned()),
        &Model("inferenceservices team-a/iris".to_owned()),
    )?;
    until("the role counts", || {
        let said = cluster.api.done("POST", ACCESS_REVIEWS, Some(&ada))?;
        Ok(said.pointer("/status/allowed") == Some(&json!(true)))
    })
}

/// What another authorizer of the cluster says, one that says nothing, and an API server that has enough to do.
fn others(
    cluster: &mut Cluster,
    folder: &Path,
    key: &str,
    own: &str,
    found: &mut Found,
) -> Result<()> {
    let config = format!(
        "--authorization-config={}",
        webhook::start(folder)?.display()
    );
    cluster.restart(Settings {
        keys: &[key],
        flags: &[
            &config,
            "--enable-priority-and-fairness=false",
            "--max-requests-inflight=1",
            "--max-mutating-requests-inflight=1",
        ],
    })?;
    let iris = "inferenceservices team-a/iris";
    let mut asking = Asking {
        api: cluster.api.by(Some(own)),
        found,
    };
    for (name, user) in [
        ("allowed by another authorizer", webhook::ALLOWED),
        ("denied by another authorizer", webhook::DENIED),
        ("another authorizer says nothing", webhook::SILENT),
    ] {
        asking.access(name, &format!("person {user}"), iris)?;
    }
    // One question waits for it, and there is no place for another.
    let waiting = cluster.api.by(Some(own));
    let silent = question(
        &Caller(format!("person again-{}", webhook::SILENT)),
        &Model(iris.to_owned()),
    )?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                // Which of them holds the place does not matter.
                drop(waiting.ask("POST", ACCESS_REVIEWS, Some(&silent)));
            }
        });
        let busy = until("it has enough to do", || {
            asking.access("too many questions", "person ada@example.com", iris)?;
            let status = asking
                .found
                .exchanges
                .last()
                .and_then(|last| last.get("status")?.as_u64());
            match status {
                Some(429) => Ok(true),
                Some(201) => {
                    asking.found.exchanges.pop();
                    Ok(false)
                }
                status => bail!("it answers {status:?}"),
            }
        });
        done.store(true, Ordering::SeqCst);
        busy
    })
}

impl Found {
    fn read(golden: &Value) -> Result<Self> {
        let tokens = golden
            .get("tokens")
            .and_then(Value::as_object)
            .context("no tokens")?;
        let exchanges = golden
            .get("exchanges")
            .and_then(Value::as_array)
            .context("no exchanges")?;
        let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Self {
            now: golden
                .get("now")
                .and_then(Value::as_u64)
                .context("no time")?,
            own: text(golden, "/own").to_owned(),
            tokens: tokens
                .iter()
                .map(|(name, token)| (name.clone(), said(token)))
                .collect(),
            exchanges: exchanges.clone(),
        })
    }

    /// An exchange without what is another each time: tokens and their numbers, times, names of pods and keys.
    fn plain(&self, exchange: &Value) -> Result<String> {
        let mut text = exchange.to_string();
        // Some are parts of others.
        let mut tokens: Vec<&(String, String)> = self.tokens.iter().collect();
        tokens.sort_by_key(|(_, token)| std::cmp::Reverse(token.len()));
        for (name, token) in tokens {
            let numbers = token.split('.').nth(1).and_then(|part| decoded(part).ok());
            let number = numbers
                .as_ref()
                .map(|claims| self::text(claims, "/jti").to_owned());
            if token.len() > 20 {
                text = text.replace(token, &format!("<{name}>"));
            }
            if let Some(number) = number.filter(|number| !number.is_empty()) {
                text = text.replace(&number, "<number>");
            }
        }
        for (pattern, plain) in [
            (
                r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
                "<uid>",
            ),
            (
                r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\x22\\]*?(Z|UTC)",
                "<time>",
            ),
            (r#"\\"(n|kid)\\":\\"[^"\\]*\\""#, "<key>"),
            (r"127\.0\.0\.1:\d+", "<address>"),
            // Which of its limits is met first is a matter of chance.
            (
                r"(context deadline exceeded|net/http: request canceled)[^\x22\\]*",
                "<late>",
            ),
        ] {
            text = Regex::new(pattern)?.replace_all(&text, plain).into_owned();
        }
        Ok(text)
    }
}

/// A line for each exchange.
fn written(found: &Found) -> Result<String> {
    let tokens: Map<String, Value> = found
        .tokens
        .iter()
        .map(|(name, token)| (name.clone(), json!(token)))
        .collect();
    let lines: Vec<String> = found.exchanges.iter().map(Value::to_string).collect();
    let tokens: Vec<String> = tokens
        .iter()
        .map(|(name, token)| format!("{}: {token}", json!(name)))
        .collect();
    Ok(format!(
        "{{\"kubernetes\": {}, \"now\": {}, \"issuer\": {}, \"own\": {},\n\"tokens\": {{\n{}}},\n\"exchanges\": [\n{}\n]}}\n",
        json!(version()?),
        found.now,
        json!(ISSUER),
        json!(found.own),
        tokens.join(",\n"),
        lines.join(",\n"),
    ))
}
