//! Tokens of ServiceAccounts: as the API server gives them, as they are when what they are bound to is gone, and as nobody but
//! who has the cluster's key could make them.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::api::text;
use super::control::{Cluster, until};

/// The audience that is meant for us, and another.
pub(super) const OURS: &str = "istio-ingressgateway.istio-system.svc.cluster.local";
const ANOTHERS: &str = "vault";

/// Names and tokens.
pub(super) type Tokens = Vec<(String, String)>;

/// All of them. `key` is the file of the cluster's key.
pub(super) fn all(cluster: &Cluster, key: &Path) -> Result<Tokens> {
    let mut all = given(cluster)?;
    let (_, valid) = all.first().context("no token")?;
    let made = made(valid, key)?;
    all.extend(made);
    Ok(all)
}

/// What TokenRequests and Secrets give.
fn given(cluster: &Cluster) -> Result<Tokens> {
    cluster.namespace("team-a")?;
    for name in ["caller", "gone", "anew"] {
        cluster.account("team-a", name)?;
    }
    let pod = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "team-a"},
            "spec": {"serviceAccountName": "caller", "automountServiceAccountToken": false,
                "containers": [{"name": "main", "image": "example.com/main"}]}})
    };
    let secret = |name: &str, kind: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": name, "namespace": "team-a",
            "annotations": {"kubernetes.io/service-account.name": "caller"}}})
    };
    for object in [
        pod("worker"),
        pod("done"),
        secret("bound", "Opaque"),
        secret("endless", "kubernetes.io/service-account-token"),
    ] {
        cluster.api.create(&object)?;
    }
    let bound = |kind: &str, name: &str| json!({"audiences": [OURS], "boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}});
    let mut tokens = Vec::new();
    for (name, account, spec) in [
        ("valid", "caller", json!({"audiences": [OURS]})),
        (
            "of several audiences",
            "caller",
            json!({"audiences": [ANOTHERS, OURS]}),
        ),
        (
            "of another audience",
            "caller",
            json!({"audiences": [ANOTHERS]}),
        ),
        ("of no audience in particular", "caller", json!({})),
        ("of a pod", "caller", bound("Pod", "worker")),
        ("of a Secret", "caller", bound("Secret", "bound")),
        (
            "that is extended",
            "caller",
            json!({"audiences": [OURS], "expirationSeconds": 3607,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "worker"}}),
        ),
        ("of a pod that is gone", "caller", bound("Pod", "done")),
        (
            "of an account that is gone",
            "gone",
            json!({"audiences": [OURS]}),
        ),
        (
            "of an account that was made anew",
            "anew",
            json!({"audiences": [OURS]}),
        ),
    ] {
        tokens.push((name.to_owned(), cluster.token("team-a", account, &spec)?));
    }
    let path = "/api/v1/namespaces/team-a/secrets/endless";
    let mut endless = String::new();
    until("a Secret has a token", || {
        let secret = cluster.api.done("GET", path, None)?;
        let decoded = STANDARD.decode(text(&secret, "/data/token"))?;
        endless = String::from_utf8(decoded)?;
        Ok(!endless.is_empty())
    })?;
    tokens.push(("without an end".to_owned(), endless));
    cluster.api.delete(&pod("done"))?;
    for name in ["gone", "anew"] {
        cluster
            .api
            .delete(&super::control::account("team-a", name))?;
    }
    cluster.account("team-a", "anew")?;
    Ok(tokens)
}

/// A change of header and claims.
type Change = fn(&mut Value, &mut Value);

/// What the cluster would sign for nobody, and what nobody signed.
fn made(valid: &str, key: &Path) -> Result<Tokens> {
    let changes: [(&str, Change); 17] = [
        ("signed again", |_, claims| {
            set(claims, "jti", json!("11111111-2222-3333-4444-555555555555"));
        }),
        ("that has ended", |_, claims| {
            set(claims, "iat", json!(now() - 8000));
            set(claims, "nbf", json!(now() - 8000));
            set(claims, "exp", json!(now() - 4000));
        }),
        ("that has not begun", |_, claims| {
            set(claims, "nbf", json!(now() + 4000))
        }),
        ("of another issuer", |_, claims| {
            set(claims, "iss", json!("https://other.example"));
        }),
        ("that never ends", |_, claims| remove(claims, "exp")),
        ("with a number in a text", |_, claims| {
            let end = claims.get("exp").map(Value::to_string);
            set(claims, "exp", json!(end));
        }),
        ("with one audience as a text", |_, claims| {
            set(claims, "aud", json!(OURS))
        }),
        ("without an audience", |_, claims| remove(claims, "aud")),
        ("that says nothing of Kubernetes", |_, claims| {
            remove(claims, "kubernetes.io")
        }),
        ("that names another", |_, claims| {
            set(claims, "sub", json!("system:serviceaccount:team-a:default"));
        }),
        ("that is of another namespace", |_, claims| {
            set_in(claims, "/kubernetes.io", "namespace", json!("team-b"));
        }),
        ("that is of another account", |_, claims| {
            set_in(
                claims,
                "/kubernetes.io/serviceaccount",
                "name",
                json!("default"),
            );
        }),
        ("that names nobody", |_, claims| remove(claims, "sub")),
        ("of an account that never was", |_, claims| {
            let uid = json!("00000000-0000-0000-0000-000000000000");
            set_in(claims, "/kubernetes.io/serviceaccount", "uid", uid);
        }),
        ("without a key", |header, _| remove(header, "kid")),
        ("of an unknown key", |header, _| {
            set(header, "kid", json!("unknown"))
        }),
        ("of another algorithm", |header, _| {
            set(header, "alg", json!("RS512"))
        }),
    ];
    let parts = |token: &str| -> Result<[Value; 2]> {
        let mut parts = token.split('.').map(decoded);
        let mut next = || parts.next().context("a token in fewer parts")?;
        Ok([next()?, next()?])
    };
    let mut tokens = Vec::new();
    for (name, change) in changes {
        let [mut header, mut claims] = parts(valid)?;
        change(&mut header, &mut claims);
        tokens.push((name.to_owned(), signed(&header, &claims, key)?));
    }
    let (rest, signature) = valid.rsplit_once('.').context("no signature")?;
    let (header, payload) = rest.split_once('.').context("no payload")?;
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let reversed: String = signature.chars().rev().skip(1).collect();
    for (name, token) in [
        ("of no algorithm", format!("{none}.{payload}.")),
        ("with another signature", format!("{rest}.{reversed}A")),
        ("without a signature", format!("{rest}.")),
        ("in two parts", format!("{header}.{payload}")),
        ("that is a word", "abc".to_owned()),
    ] {
        tokens.push((name.to_owned(), token));
    }
    Ok(tokens)
}

fn set(object: &mut Value, name: &str, value: Value) {
    set_in(object, "", name, value);
}

fn set_in(object: &mut Value, at: &str, name: &str, value: Value) {
    if let Some(fields) = object.pointer_mut(at).and_then(Value::as_object_mut) {
        fields.insert(name.to_owned(), value);
    }
}

fn remove(object: &mut Value, name: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(name);
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A part of a token.
pub(super) fn decoded(part: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}

fn signed(header: &Value, claims: &Value, key: &Path) -> Result<String> {
    let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_file(key)? else {
        anyhow::bail!("{}: expected PKCS#8", key.display());
    };
    let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(header), encode(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
