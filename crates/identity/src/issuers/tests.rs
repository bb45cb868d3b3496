use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::UNIX_EPOCH;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::http_client::HttpError;
use crate::jose::MAX_BEARER_BYTES;
use crate::person::IdentityClaims;

const START: u64 = 1_800_000_000;
const ISSUER: &str = "https://ci.example.com";

/// Ed25519 keys are made at once.
fn keys() -> &'static [Ed25519KeyPair; 2] {
    static KEYS: OnceLock<[Ed25519KeyPair; 2]> = OnceLock::new();
    KEYS.get_or_init(|| {
        [[1; 32], [2; 32]].map(|seed| Ed25519KeyPair::from_seed_unchecked(&seed).unwrap())
    })
}

fn jwk(at: usize) -> Value {
    let x = URL_SAFE_NO_PAD.encode(keys()[at].public_key().as_ref());
    json!({"kty": "OKP", "crv": "Ed25519", "kid": format!("key-{at}"), "x": x})
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed_with(key: usize, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = keys()[key].sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn signed(key: usize, claims: &Value) -> String {
    signed_with(
        key,
        &json!({"alg": "EdDSA", "kid": format!("key-{key}")}),
        claims,
    )
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "repo:team/app", "aud": ["sidegate"], "iat": START,
        "exp": START + 600, "groups": ["ci"],
    })
}

/// The web, with one issuer.
struct Web {
    published: Mutex<Vec<usize>>,
    asked: AtomicUsize,
    down: Mutex<bool>,
    issuer: Mutex<String>,
}

impl HttpClient for Web {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        async move {
            if *self.down.lock().unwrap() {
                return Err(HttpError("connection refused".to_owned()));
            }
            let document = match request.uri().to_string().as_str() {
                "https://ci.example.com/.well-known/openid-configuration" => json!({
                    "issuer": *self.issuer.lock().unwrap(),
                    "jwks_uri": "https://ci.example.com/keys",
                }),
                "https://ci.example.com/keys" => {
                    let keys: Vec<Value> = self
                        .published
                        .lock()
                        .unwrap()
                        .iter()
                        .map(|at| jwk(*at))
                        .collect();
                    json!({ "keys": keys })
                }
                other => panic!("`{other}` was asked"),
            };
            let body = Bytes::from(document.to_string());
            Ok(Response::builder()
                .status(StatusCode::OK)
                .body(body)
                .unwrap())
        }
        .boxed()
    }
}

struct World {
    web: Arc<Web>,
    time: Arc<AtomicU64>,
    issuers: Issuers,
}

fn config() -> IssuerConfig {
    IssuerConfig {
        issuer: ISSUER.to_owned(),
        keys: IssuerKeys::Published,
        audiences: vec!["sidegate".to_owned()],
        algorithms: Vec::new(),
        holder: HolderClaims::Service {
            name: "ci".to_owned(),
            claim: "sub".to_owned(),
            groups: Some("groups".to_owned()),
        },
    }
}

fn clock(time: &Arc<AtomicU64>) -> Clock {
    let time = Arc::clone(time);
    Arc::new(move || UNIX_EPOCH + Duration::from_secs(time.load(Ordering::SeqCst)))
}

impl World {
    fn new(config: IssuerConfig) -> Self {
        let time = Arc::new(AtomicU64::new(START));
        let issuers = Issuers::new(vec![config], &clock(&time), None).unwrap();
        let web = Web {
            published: Mutex::new(vec![0]),
            asked: AtomicUsize::new(0),
            down: Mutex::new(false),
            issuer: Mutex::new(ISSUER.to_owned()),
        };
        Self {
            web: Arc::new(web),
            time,
            issuers,
        }
    }

    async fn verify(&self, token: &str) -> Result<String, String> {
        let parsed = Unverified::parse(token, MAX_BEARER_BYTES).map_err(|e| e.to_string())?;
        let outside = Outside {
            http: Arc::clone(&self.web) as Arc<dyn HttpClient>,
            clock: clock(&self.time),
        };
        let found = self.issuers.verify(&parsed, &outside).await;
        found
            .map(|(holder, _)| holder.user_name())
            .map_err(|error| error.to_string())
    }

    fn asked(&self) -> usize {
        self.web.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn tokens_of_a_configured_issuer_name_a_program() {
    let world = World::new(config());
    let token = signed(0, &claims());
    let name = "service:ci:repo:team/app".to_owned();
    assert_eq!(world.verify(&token).await, Ok(name.clone()));
    assert_eq!(world.verify(&token).await, Ok(name));
    assert_eq!(world.asked(), 2, "discovery and keys, once");
}

#[tokio::test]
async fn people_of_another_issuer_are_people() {
    let world = World::new(IssuerConfig {
        holder: HolderClaims::Person(IdentityClaims::default()),
        keys: IssuerKeys::Written(json!({"keys": [jwk(0)]}).to_string()),
        ..config()
    });
    let mut claims = claims();
    claims["email"] = json!("a@b.c");
    assert_eq!(
        world.verify(&signed(0, &claims)).await,
        Ok("a@b.c".to_owned())
    );
    for reserved in ["system:admin@b.c", "service:ci@b.c"] {
        claims["email"] = json!(reserved);
        assert!(
            world.verify(&signed(0, &claims)).await.is_err(),
            "{reserved}"
        );
    }
    assert_eq!(world.asked(), 0, "keys are written");
}

#[tokio::test]
async fn what_is_wrong_with_a_token_refuses_it() {
    let world = World::new(config());
    for (name, value) in [
        ("iss", json!("https://evil.example.com")),
        ("iss", json!([ISSUER])),
        ("aud", json!("another")),
        ("aud", json!([])),
        ("aud", json!({"sidegate": true})),
        ("exp", json!(START)),
        ("exp", json!("1900000000")),
        ("exp", json!(null)),
        ("nbf", json!("0")),
        ("nbf", json!(START + 3600)),
        ("iat", json!(START + 3600)),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("groups", json!("a,b")),
        ("groups", json!([7])),
    ] {
        let mut claims = claims();
        claims[name] = value.clone();
        let found = world.verify(&signed(0, &claims)).await;
        assert!(found.is_err(), "{name}: {value}: {found:?}");
    }
    for name in ["iss", "aud", "exp", "sub"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        assert!(world.verify(&signed(0, &claims)).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn what_a_header_says_of_keys_is_not_believed() {
    let world = World::new(config());
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS256", "kid": "key-0"}),
        json!({"alg": "RS256", "kid": "key-0"}),
        json!({"alg": "EdDSA", "kid": "key-0", "jku": "https://evil.example.com/keys"}),
        json!({"alg": "EdDSA", "kid": "key-0", "x5u": "https://evil.example.com/keys"}),
        json!({"alg": "EdDSA", "kid": "key-0", "jwk": jwk(1)}),
        json!({"alg": "EdDSA", "kid": "key-0", "crit": ["exp"]}),
        json!({"alg": "EdDSA", "kid": "key-0", "b64": false}),
    ] {
        let found = world.verify(&signed_with(0, &header, &claims())).await;
        assert!(found.is_err(), "{header}: {found:?}");
    }
    // The published key as a shared secret.
    let header = json!({"alg": "HS256", "kid": "key-0"});
    let text = format!("{}.{}", part(&header), part(&claims()));
    let secret = aws_lc_rs::hmac::Key::new(
        aws_lc_rs::hmac::HMAC_SHA256,
        keys()[0].public_key().as_ref(),
    );
    let tag = aws_lc_rs::hmac::sign(&secret, text.as_bytes());
    let forged = format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag));
    assert!(world.verify(&forged).await.is_err());
    // Signed by a key that is not published.
    let header = json!({"alg": "EdDSA", "kid": "key-0"});
    let found = world.verify(&signed_with(1, &header, &claims())).await;
    assert_eq!(found, Err("the token's signature is wrong".to_owned()));
}

#[tokio::test]
async fn algorithms_can_be_fewer_than_those_of_the_keys() {
    for (algorithms, expected) in [(vec!["EdDSA"], true), (vec!["RS256", "ES256"], false)] {
        let world = World::new(IssuerConfig {
            algorithms: algorithms.into_iter().map(str::to_owned).collect(),
            ..config()
        });
        assert_eq!(world.verify(&signed(0, &claims())).await.is_ok(), expected);
    }
}

#[tokio::test]
async fn two_keys_of_one_id_sign_nothing() {
    let mut second = jwk(1);
    second["kid"] = json!("key-0");
    let jwks = json!({"keys": [jwk(0), second]}).to_string();
    let world = World::new(IssuerConfig {
        keys: IssuerKeys::Written(jwks),
        ..config()
    });
    for key in [0, 1] {
        let header = json!({"alg": "EdDSA", "kid": "key-0"});
        let token = signed_with(key, &header, &claims());
        assert!(world.verify(&token).await.is_err());
    }
}

#[tokio::test]
async fn a_new_key_is_found_and_strangers_cannot_hurry_it() {
    let world = World::new(config());
    world.verify(&signed(0, &claims())).await.unwrap();
    world.time.fetch_add(6, Ordering::SeqCst);
    world.web.published.lock().unwrap().push(1);
    assert!(world.verify(&signed(1, &claims())).await.is_ok());
    assert_eq!(world.asked(), 4);
    // A flood of unknown key ids and issuers asks nobody.
    for number in 0..1000 {
        let header = json!({"alg": "EdDSA", "kid": format!("unknown-{number}")});
        assert!(
            world
                .verify(&signed_with(0, &header, &claims()))
                .await
                .is_err()
        );
        let mut claims = claims();
        claims["iss"] = json!(format!("https://{number}.example.com"));
        assert!(world.verify(&signed(0, &claims)).await.is_err());
    }
    assert_eq!(world.asked(), 4);
    world.time.fetch_add(5, Ordering::SeqCst);
    let header = json!({"alg": "EdDSA", "kid": "unknown"});
    assert!(
        world
            .verify(&signed_with(0, &header, &claims()))
            .await
            .is_err()
    );
    assert_eq!(world.asked(), 6, "once in a while");
}

#[tokio::test]
async fn known_keys_last_a_day_while_the_issuer_is_down() {
    let world = World::new(config());
    world.verify(&signed(0, &claims())).await.unwrap();
    *world.web.down.lock().unwrap() = true;
    let mut late = claims();
    late["exp"] = json!(START + 7 * 24 * 3600);
    let token = signed(0, &late);
    world.time.fetch_add(3600, Ordering::SeqCst);
    assert!(world.verify(&token).await.is_ok());
    world.time.fetch_add(24 * 3600, Ordering::SeqCst);
    let error = world.verify(&token).await.unwrap_err();
    assert!(error.contains("cannot be had"), "{error}");
    // Another configuration goes on with what this one knows.
    let same = Issuers::new(vec![config()], &clock(&world.time), Some(&world.issuers)).unwrap();
    world.time.fetch_sub(24 * 3600, Ordering::SeqCst);
    let world = World {
        issuers: same,
        ..world
    };
    assert!(world.verify(&token).await.is_ok());
}

#[tokio::test]
async fn discovery_of_another_issuer_gives_no_keys() {
    let world = World::new(config());
    *world.web.issuer.lock().unwrap() = "https://other.example.com".to_owned();
    let error = world.verify(&signed(0, &claims())).await.unwrap_err();
    assert!(
        error.contains("is of issuer `https://other.example.com`"),
        "{error}"
    );
}

#[tokio::test]
async fn keys_of_other_kinds_verify() {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let point = key.public_key().as_ref();
    let jwk = json!({
        "kty": "EC", "crv": "P-384", "x": URL_SAFE_NO_PAD.encode(&point[1..49]),
        "y": URL_SAFE_NO_PAD.encode(&point[49..]),
    });
    let world = World::new(IssuerConfig {
        keys: IssuerKeys::Written(json!({"keys": [jwk]}).to_string()),
        ..config()
    });
    let text = format!("{}.{}", part(&json!({"alg": "ES384"})), part(&claims()));
    let signature = key.sign(&random, text.as_bytes()).unwrap();
    let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
    assert!(world.verify(&token).await.is_ok());
    let text = format!("{}.{}", part(&json!({"alg": "ES256"})), part(&claims()));
    let signature = key.sign(&random, text.as_bytes()).unwrap();
    let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
    assert!(world.verify(&token).await.is_err());
}

#[test]
fn configurations_that_make_no_sense_are_named() {
    let of = |change: fn(&mut IssuerConfig)| {
        let mut config = config();
        change(&mut config);
        let clock = clock(&Arc::new(AtomicU64::new(START)));
        Issuers::new(vec![config], &clock, None)
            .unwrap_err()
            .to_string()
    };
    for (change, expected) in [
        (
            (|c| c.issuer = String::new()) as fn(&mut IssuerConfig),
            "issuers[0].issuer",
        ),
        (
            |c| c.issuer = "kubernetes/serviceaccount".to_owned(),
            "issuers[0].issuer",
        ),
        (|c| c.audiences.clear(), "issuers[0].audiences"),
        (|c| c.audiences.push(String::new()), "issuers[0].audiences"),
        (
            |c| c.algorithms.push("none".to_owned()),
            "issuers[0].algorithms",
        ),
        (
            |c| c.algorithms.push("HS256".to_owned()),
            "issuers[0].algorithms",
        ),
        (
            |c| c.keys = IssuerKeys::At("keys".to_owned()),
            "issuers[0].jwksUri",
        ),
        (
            |c| c.keys = IssuerKeys::At("file:///etc/passwd".to_owned()),
            "issuers[0].jwksUri",
        ),
        (
            |c| c.keys = IssuerKeys::Written("{}".to_owned()),
            "issuers[0].jwks",
        ),
    ] {
        let error = of(change);
        assert!(error.starts_with(expected), "{error}");
    }
    let clock = clock(&Arc::new(AtomicU64::new(START)));
    let twice = Issuers::new(vec![config(), config()], &clock, None).unwrap_err();
    assert!(
        twice.to_string().starts_with("issuers[1].issuer"),
        "{twice}"
    );
}
