//! Signing keys over the days: published first, then used, kept until their tokens are gone.

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;

use super::bed::{Bed, SKIP_APPROVAL, config, json, request};
use crate::{DexConfig, Options, Provider, Storage};

const HOUR: u64 = 3600;

fn published(bed: &Bed) -> JwkSet {
    serde_json::from_slice(&bed.provider.jwks()).unwrap()
}

fn ids(keys: &JwkSet) -> Vec<String> {
    let id = |key: &Jwk| key.common.key_id.clone().unwrap();
    keys.keys.iter().map(id).collect()
}

fn kid(token: &Value) -> String {
    let token = token.as_str().unwrap();
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

/// As a relying party that has this key set, and looks at no time.
fn verifies(keys: &JwkSet, token: &Value) -> bool {
    let token = token.as_str().unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let Some(key) = keys.find(header.kid.as_deref().unwrap()) else {
        return false;
    };
    let mut rules = Validation::new(header.alg);
    rules.validate_exp = false;
    rules.set_audience(&["platform"]);
    jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &rules).is_ok()
}

async fn token(bed: &Bed) -> Value {
    bed.redeem(&bed.code(&request()).await).await.1["id_token"].clone()
}

/// Requests until the rotation, which happens beside them, is done.
async fn rotated(bed: &Bed, before: &JwkSet) -> JwkSet {
    for _ in 0..20_000 {
        let reply = bed.get("/dex/keys").await;
        let keys: JwkSet = serde_json::from_slice(reply.body()).unwrap();
        if ids(&keys) != ids(before) {
            return keys;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("no rotation");
}

#[tokio::test]
async fn a_key_is_published_a_rotation_before_it_signs() {
    let bed = Bed::new();
    let mut cached = published(&bed);
    assert_eq!(cached.keys.len(), 2, "one that signs and the next");
    let mut used = Vec::new();
    for round in 0..4 {
        let token = token(&bed).await;
        assert!(
            verifies(&cached, &token),
            "round {round}: an old key set is enough"
        );
        assert!(!used.contains(&kid(&token)), "round {round}");
        used.push(kid(&token));
        bed.pass(6 * HOUR);
        // The key set of a relying party that asked just before the rotation.
        cached = published(&bed);
        rotated(&bed, &cached).await;
    }
}

#[tokio::test]
async fn a_key_stays_until_its_last_token_has_expired() {
    let bed = Bed::new();
    let token = token(&bed).await;
    let first = published(&bed);
    bed.pass(6 * HOUR);
    let second = rotated(&bed, &first).await;
    assert!(verifies(&second, &token));
    // A day after the last token, and the forgiven skew.
    bed.pass(24 * HOUR);
    let later = rotated(&bed, &second).await;
    assert!(verifies(&later, &token));
    bed.pass(301);
    let last = rotated(&bed, &later).await;
    assert!(!ids(&last).contains(&kid(&token)));
    assert!(last.keys.len() >= 3, "the one after it is still needed");
}

#[tokio::test]
async fn keys_are_the_same_after_a_restart_and_do_not_rotate_at_once_after_a_long_one() {
    let bed = Bed::new();
    let before = published(&bed);
    bed.pass(HOUR);
    let bed = bed.restart(&config(SKIP_APPROVAL));
    assert_eq!(ids(&published(&bed)), ids(&before));
    // Nobody could fetch the key set meanwhile.
    bed.pass(48 * HOUR);
    let bed = bed.restart(&config(SKIP_APPROVAL));
    assert_eq!(ids(&published(&bed)), ids(&before));
    let token = token(&bed).await;
    assert!(verifies(&before, &token));
    bed.pass(40 * 60);
    let after = rotated(&bed, &before).await;
    assert_ne!(ids(&after), ids(&before));
}

/// A next key was written down, and the program died before it answered it to anybody: after an outage it signed
/// though it had been published for minutes.
#[tokio::test]
async fn what_was_written_down_and_not_answered_is_not_published() {
    let bed = Bed::new();
    let before = published(&bed);
    bed.pass(6 * HOUR);
    let rotated_once = rotated(&bed, &before).await;
    let bed = bed.restart(&config(SKIP_APPROVAL));
    bed.pass(6 * HOUR - 600);
    let bed = bed.restart(&config(SKIP_APPROVAL));
    for minutes in [10, 29] {
        bed.pass(minutes * 60);
        bed.get("/dex/keys").await;
        assert!(verifies(&before, &token(&bed).await));
    }
    bed.pass(60);
    rotated(&bed, &rotated_once).await;
    assert!(verifies(&rotated_once, &token(&bed).await));
}

/// Where a key was published for long enough, a restart right before it is to sign changes nothing.
#[tokio::test]
async fn what_was_answered_for_long_enough_signs_when_it_is_to() {
    let bed = Bed::new();
    let before = published(&bed);
    bed.pass(40 * 60);
    // What is due is done beside a request, and the next one sees it.
    let announced = async || {
        for _ in 0..20_000 {
            bed.get("/dex/keys").await;
            let kept = bed.storage.signing_keys().unwrap();
            if kept
                .iter()
                .any(|(_, key)| text_of(key).contains("\"announced\":true"))
            {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("not written down");
    };
    announced().await;
    assert_eq!(ids(&published(&bed)), ids(&before), "nothing rotates yet");
    bed.pass(6 * HOUR - 41 * 60);
    let bed = bed.restart(&config(SKIP_APPROVAL));
    bed.pass(60);
    rotated(&bed, &before).await;
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_short_rotation_still_publishes_ahead() {
    let bed = Bed::with(&config(
        "oauth2: {skipApprovalScreen: true}\nexpiry: {signingKeys: 1m}\n",
    ));
    let before = published(&bed);
    bed.pass(39 * 60);
    bed.get("/dex/keys").await;
    assert_eq!(ids(&published(&bed)), ids(&before));
    bed.pass(60);
    rotated(&bed, &before).await;
}

#[tokio::test]
async fn clients_choose_how_their_tokens_are_signed() {
    for (name, key_type) in [("ES256", "EC"), ("EdDSA", "OKP"), ("RS256", "RSA")] {
        let yaml = config(SKIP_APPROVAL).replace(
            "{id: platform,",
            &format!("{{id: platform, idTokenSignedResponseAlg: {name},"),
        );
        let bed = Bed::with(&yaml);
        let keys = published(&bed);
        let token = token(&bed).await;
        assert!(verifies(&keys, &token), "{name}");
        let document = json(&bed.get("/dex/.well-known/openid-configuration").await);
        let offered = document["id_token_signing_alg_values_supported"]
            .as_array()
            .unwrap();
        assert_eq!(offered[0], "RS256");
        assert!(offered.contains(&name.into()), "{name}");
        let set: Value = serde_json::from_slice(&bed.provider.jwks()).unwrap();
        let of_kind = |kind: &str| {
            let keys = set["keys"].as_array().unwrap();
            keys.iter().filter(|key| key["kty"] == kind).count()
        };
        assert_eq!((of_kind("RSA"), of_kind(key_type)), (2, 2), "{name}");
        for key in set["keys"].as_array().unwrap() {
            let private = ["d", "p", "q", "k"];
            assert!(private.iter().all(|name| key.get(name).is_none()));
        }
    }
}

fn first_start(storage: &Storage) -> Provider {
    let (config, _) = DexConfig::parse(&config(SKIP_APPROVAL), &|_| None).unwrap();
    Provider::open(config, storage.clone(), Options::default()).unwrap()
}

/// RSA keys take long to make: the first start listens meanwhile.
#[tokio::test]
async fn the_first_start_answers_at_once_and_who_needs_a_key_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(folder.path()).unwrap();
    let provider = first_start(&storage);
    assert!(
        storage.signing_keys().unwrap().is_empty(),
        "none are made yet"
    );
    let ask = async |path: &str| {
        let request = http::Request::get(format!("/dex{path}"));
        provider
            .handle(request.body(bytes::Bytes::new()).unwrap())
            .await
    };
    for path in ["/.well-known/openid-configuration", "/healthz"] {
        assert_eq!(ask(path).await.status(), 200, "{path}");
    }
    let (keys, userinfo) = tokio::join!(ask("/keys"), ask("/userinfo"));
    assert_eq!(userinfo.status(), 401);
    let published: JwkSet = serde_json::from_slice(keys.body()).unwrap();
    assert_eq!(published.keys.len(), 2, "one that signs and the next");
    let kept: Vec<String> = storage
        .signing_keys()
        .unwrap()
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    for id in ids(&published) {
        assert!(kept.contains(&id), "what is published is on the disk");
    }
}

#[tokio::test]
async fn a_provider_that_ends_while_it_makes_keys_keeps_no_database_open() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(folder.path()).unwrap();
    drop(first_start(&storage));
    drop(storage);
    let storage = Storage::open(folder.path()).unwrap();
    let reply = {
        let provider = first_start(&storage);
        let request = http::Request::get("/dex/keys");
        provider
            .handle(request.body(bytes::Bytes::new()).unwrap())
            .await
    };
    assert_eq!(reply.status(), 200);
}

/// RSA signs slowly: whose resource servers know ES256 have one such signature less in each answer.
#[tokio::test]
async fn access_tokens_can_be_signed_otherwise_than_id_tokens() {
    let yaml = config(SKIP_APPROVAL).replace(
        "{id: platform,",
        "{id: platform, accessTokenSignedResponseAlg: ES256,",
    );
    let bed = Bed::with(&yaml);
    let tokens = bed.redeem(&bed.code(&request()).await).await.1;
    let algorithm = |name: &str| {
        let token = tokens[name].as_str().unwrap();
        jsonwebtoken::decode_header(token).unwrap().alg
    };
    assert_eq!(algorithm("id_token"), jsonwebtoken::Algorithm::RS256);
    assert_eq!(algorithm("access_token"), jsonwebtoken::Algorithm::ES256);
    let keys = published(&bed);
    assert!(verifies(&keys, &tokens["id_token"]) && verifies(&keys, &tokens["access_token"]));
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(bed.userinfo(access).await.status(), 200);
    let document = json(&bed.get("/dex/.well-known/openid-configuration").await);
    assert_eq!(
        document["id_token_signing_alg_values_supported"],
        serde_json::json!(["RS256"])
    );
}
