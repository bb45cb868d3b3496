//! Other providers that lie, err, or change their keys.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::bed::{Bed, Browser, SKIP_APPROVAL, START, encode, location, param, request, text};
use super::connectors::below;
use super::sessions::{claims, id_token};
use crate::{Outgoing, Roots};

const ISSUER: &str = "http://up.example/dex";

struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { id, pair }
    }

    fn public(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig",
            "x": encode(&point[1..33]), "y": encode(&point[33..])})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let random = SystemRandom::new();
        let signature = self.pair.sign(&random, message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Changes what is signed.
type Change = Box<dyn Fn(&mut Value, &mut Value) + Send>;
/// Changes what is sent.
type Forge = Box<dyn Fn(String) -> String + Send>;

/// What it is, and what is done.
type Changed = (&'static str, fn(&mut Value, &mut Value));
type Forged = (&'static str, fn(String) -> String);

/// A provider that answers every code as it is told to.
struct Fake {
    keys: Mutex<Vec<Key>>,
    published: Mutex<Vec<Value>>,
    nonce: Mutex<String>,
    change: Mutex<Change>,
    forge: Mutex<Forge>,
    userinfo: Mutex<Value>,
    discovery: Mutex<Value>,
    fetched: AtomicUsize,
}

#[derive(Clone)]
struct Net(Arc<Fake>);

impl Net {
    fn new() -> Self {
        let key = Key::new("one");
        let published = vec![key.public()];
        Self(Arc::new(Fake {
            keys: Mutex::new(vec![key]),
            published: Mutex::new(published),
            nonce: Mutex::default(),
            change: Mutex::new(Box::new(|_, _| {})),
            forge: Mutex::new(Box::new(|token| token)),
            userinfo: Mutex::new(json!({"sub": "u1", "name": "Of userinfo", "groups": ["more"]})),
            discovery: Mutex::new(json!({
                "issuer": ISSUER,
                "authorization_endpoint": "http://up.example/authorize",
                "token_endpoint": "http://up.example/token",
                "jwks_uri": "http://up.example/keys",
                "userinfo_endpoint": "http://up.example/userinfo",
                "id_token_signing_alg_values_supported": ["ES256"],
            })),
            fetched: AtomicUsize::new(0),
        }))
    }

    fn token(&self) -> String {
        let mut header = json!({"alg": "ES256", "kid": "one"});
        let keys = self.0.keys.lock().unwrap();
        let key = keys.last().unwrap();
        header["kid"] = key.id.into();
        let mut claims = json!({
            "iss": ISSUER, "sub": "u1", "aud": "down", "exp": START + 300, "iat": START,
            "nonce": *self.0.nonce.lock().unwrap(), "email": "up@example.com",
            "email_verified": true, "name": "Up",
        });
        (self.0.change.lock().unwrap())(&mut header, &mut claims);
        (self.0.forge.lock().unwrap())(key.sign(&header, &claims))
    }
}

impl Outgoing for Net {
    fn send(
        &self,
        request: Request<Bytes>,
        _: Roots,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>> {
        let body = match request.uri().path() {
            "/dex/.well-known/openid-configuration" => self.0.discovery.lock().unwrap().clone(),
            "/keys" => {
                self.0.fetched.fetch_add(1, Ordering::Relaxed);
                json!({"keys": *self.0.published.lock().unwrap()})
            }
            "/token" => json!({"access_token": "a", "token_type": "Bearer",
                "id_token": self.token(), "refresh_token": "r"}),
            "/userinfo" => self.0.userinfo.lock().unwrap().clone(),
            other => panic!("{other}"),
        };
        Box::pin(async move { Ok(Response::new(body.to_string().into())) })
    }
}

struct Scene {
    bed: Bed,
    net: Net,
}

impl Scene {
    fn new(more: &str) -> Self {
        let net = Net::new();
        let yaml = below(SKIP_APPROVAL, more);
        let bed = Bed::with_outgoing(&yaml, Arc::new(net.clone()));
        Self { bed, net }
    }

    fn change(&self, change: impl Fn(&mut Value, &mut Value) + Send + 'static) {
        *self.net.0.change.lock().unwrap() = Box::new(change);
    }

    async fn log_in(&self) -> Response<Bytes> {
        let mut browser = Browser::default();
        let path = format!("/dex/auth/up?{}", encode(&request()));
        let reply = browser.visit(&self.bed, &path).await;
        if reply.status() != StatusCode::FOUND {
            return reply;
        }
        let out = location(&reply);
        *self.net.0.nonce.lock().unwrap() = param(&out, "nonce").unwrap();
        let state = param(&out, "state").unwrap();
        let back = encode(&[("code", "c"), ("state", &state)]);
        browser
            .visit(&self.bed, &format!("/dex/callback?{back}"))
            .await
    }

    async fn passes(&self) -> bool {
        let reply = self.log_in().await;
        let to = reply.headers().get("location");
        to.is_some_and(|to| param(to.to_str().unwrap(), "code").is_some())
    }
}

#[tokio::test]
async fn an_id_token_has_to_hold() {
    let scene = Scene::new("");
    assert!(scene.passes().await);
    let cases: Vec<Changed> = vec![
        ("another issuer", |_, c| {
            c["iss"] = "http://evil.example".into()
        }),
        ("an issuer with a slash", |_, c| {
            c["iss"] = format!("{ISSUER}/").into()
        }),
        ("no issuer", |_, c| c["iss"] = Value::Null),
        ("another audience", |_, c| c["aud"] = "other".into()),
        ("other audiences", |_, c| {
            c["aud"] = json!(["other", "more"])
        }),
        ("no audience", |_, c| c["aud"] = Value::Null),
        ("another party", |_, c| c["azp"] = "other".into()),
        ("another nonce", |_, c| c["nonce"] = "x".into()),
        ("no nonce", |_, c| c["nonce"] = Value::Null),
        ("over", |_, c| c["exp"] = (START - 61).into()),
        ("without an end", |_, c| c["exp"] = Value::Null),
        ("an end in words", |_, c| c["exp"] = "9999999999".into()),
        ("of tomorrow", |_, c| c["iat"] = (START + 86_400).into()),
        ("without a beginning", |_, c| c["iat"] = Value::Null),
        ("not yet", |_, c| c["nbf"] = (START + 3_600).into()),
        ("nobody", |_, c| c["sub"] = "".into()),
        ("a number", |_, c| c["sub"] = 7.into()),
        ("without an address", |_, c| c["email"] = Value::Null),
        ("without a name", |_, c| c["name"] = Value::Null),
        ("a name of two lines", |_, c| c["name"] = "a\nb".into()),
        ("unsigned", |h, _| h["alg"] = "none".into()),
        ("signed with a secret", |h, _| h["alg"] = "HS256".into()),
        ("of another algorithm", |h, _| h["alg"] = "RS256".into()),
        ("that has to be understood", |h, _| {
            h["crit"] = json!(["exp"])
        }),
        ("of an unknown key", |h, _| h["kid"] = "two".into()),
    ];
    for (what, change) in cases {
        scene.change(change);
        assert!(!scene.passes().await, "{what}");
    }
    let fine: Vec<Changed> = vec![
        ("several audiences", |_, c| {
            c["aud"] = json!(["other", "down"])
        }),
        ("our party", |_, c| c["azp"] = "down".into()),
        ("a clock that is late", |_, c| {
            c["exp"] = (START - 30).into()
        }),
        ("parts of a second", |_, c| {
            c["iat"] = json!(1_799_999_999.5)
        }),
        ("without a key's name", |h, _| {
            h.as_object_mut().unwrap().remove("kid");
        }),
    ];
    for (what, change) in fine {
        scene.change(change);
        assert!(scene.passes().await, "{what}");
    }
}

#[tokio::test]
async fn a_signature_has_to_be_of_a_published_key() {
    let scene = Scene::new("");
    let forges: Vec<Forged> = vec![
        ("cut off", |token| {
            token.get(..token.len() - 4).unwrap().to_owned()
        }),
        ("without", |token| {
            format!("{}.", token.rsplit_once('.').unwrap().0)
        }),
        ("of something else", |token| {
            let parts: Vec<&str> = token.split('.').collect();
            let mut claims = claims(&token);
            claims["email"] = "admin@example.com".into();
            let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
            format!("{}.{claims}.{}", parts[0], parts[2])
        }),
        ("no token", |_| "x".to_owned()),
        ("very long", |token| {
            format!("{}{token}", "a".repeat(70_000))
        }),
    ];
    for (what, forge) in forges {
        *scene.net.0.forge.lock().unwrap() = Box::new(forge);
        assert!(!scene.passes().await, "{what}");
    }
    *scene.net.0.forge.lock().unwrap() = Box::new(|token| token);
    assert!(scene.passes().await);
    // A key of the same name whose owner publishes another.
    scene.net.0.keys.lock().unwrap().push(Key::new("one"));
    assert!(!scene.passes().await);
}

#[tokio::test]
async fn keys_change_over_and_are_not_asked_for_too_often() {
    let scene = Scene::new("");
    assert!(scene.passes().await);
    let fetched = || scene.net.0.fetched.load(Ordering::Relaxed);
    assert_eq!(fetched(), 1);
    let two = Key::new("two");
    scene.net.0.published.lock().unwrap().push(two.public());
    scene.net.0.keys.lock().unwrap().push(two);
    // Just fetched: whoever sends tokens with new names does not make us ask again.
    assert!(!scene.passes().await);
    assert_eq!(fetched(), 1);
    scene.bed.pass(10);
    assert!(scene.passes().await);
    assert_eq!(fetched(), 2);
    scene.change(|header, _| header["kid"] = "three".into());
    for _ in 0..5 {
        assert!(!scene.passes().await);
    }
    assert_eq!(fetched(), 2);
    scene.change(|_, claims| claims["exp"] = (START + 9_000).into());
    // A key that is withdrawn counts for an hour.
    scene.net.0.published.lock().unwrap().clear();
    assert!(scene.passes().await);
    scene.bed.pass(3_600);
    assert!(!scene.passes().await);
}

#[tokio::test]
async fn discovery_has_to_be_of_the_issuer() {
    for (name, value) in [
        ("issuer", "http://evil.example"),
        ("token_endpoint", "ftp://up.example/token"),
        ("authorization_endpoint", "javascript:alert(1)"),
        ("jwks_uri", "http://up.example/keys#x"),
    ] {
        let scene = Scene::new("");
        scene.net.0.discovery.lock().unwrap()[name] = value.into();
        let reply = scene.log_in().await;
        assert_eq!(
            reply.status(),
            StatusCode::BAD_GATEWAY,
            "{name}: {}",
            text(&reply)
        );
        // Left alone for a moment, then asked again.
        scene.net.0.discovery.lock().unwrap()["issuer"] = ISSUER.into();
        assert_eq!(
            scene.log_in().await.status(),
            StatusCode::BAD_GATEWAY,
            "{name}"
        );
    }
    let scene = Scene::new("    issuerAlias: http://alias.example\n");
    assert!(!scene.passes().await);
    scene.bed.pass(10);
    scene.net.0.discovery.lock().unwrap()["issuer"] = "http://alias.example".into();
    scene.change(|_, claims| claims["iss"] = "http://alias.example".into());
    assert!(scene.passes().await);
    // One that says that it names itself has to.
    scene.bed.pass(3_600);
    scene.net.0.discovery.lock().unwrap()["authorization_response_iss_parameter_supported"] =
        true.into();
    scene.change(|_, claims| {
        claims["iss"] = "http://alias.example".into();
        claims["exp"] = (START + 9_000).into();
    });
    assert!(!scene.passes().await);
}

async fn about(scene: &Scene) -> Value {
    let reply = scene.log_in().await;
    claims(&id_token(&scene.bed, &reply).await)
}

#[tokio::test]
async fn userinfo_is_about_the_same_person() {
    let scene = Scene::new("    getUserInfo: true\n");
    let known = about(&scene).await;
    assert_eq!(
        (&known["name"], &known["groups"]),
        (&"Of userinfo".into(), &json!(["more"]))
    );
    scene.net.0.userinfo.lock().unwrap()["sub"] = "u2".into();
    assert!(!scene.passes().await);
    *scene.net.0.userinfo.lock().unwrap() = json!("x");
    assert!(!scene.passes().await);
}

/// Some providers tell an address, and much else, only there.
#[tokio::test]
async fn an_address_that_only_userinfo_tells_is_asked_for() {
    let thin = |scene: &Scene| {
        scene.change(|_, claims| {
            for name in ["email", "email_verified", "name"] {
                claims.as_object_mut().unwrap().remove(name);
            }
        });
        *scene.net.0.userinfo.lock().unwrap() = json!({
            "sub": "u1", "email": "thin@example.com", "email_verified": true, "name": "Thin",
        });
    };
    let scene = Scene::new("    getUserInfo: true\n");
    thin(&scene);
    let known = about(&scene).await;
    assert_eq!(
        (&known["email"], &known["name"]),
        (&"thin@example.com".into(), &"Thin".into())
    );
    let scene = Scene::new("");
    thin(&scene);
    assert!(
        !scene.passes().await,
        "as in Dex, nobody asks there unasked"
    );
}

#[tokio::test]
async fn claims_are_mapped_as_in_dex() {
    let scene = Scene::new(
        "    insecureSkipEmailVerified: true\n    userIDKey: oid\n    userNameKey: display\n",
    );
    scene.change(|_, claims| {
        claims["email_verified"] = Value::Null;
        claims["oid"] = "object".into();
        claims["display"] = "Displayed".into();
        claims["preferred_username"] = "up".into();
        claims["groups"] = json!(["a", {"name": "b"}]);
    });
    let known = about(&scene).await;
    assert_eq!(
        known["sub"],
        crate::token::subject_of("object", "up").as_str()
    );
    assert_eq!(known["name"], "Displayed");
    assert_eq!(known["preferred_username"], "up");
    assert_eq!(known["email_verified"], true);
    assert_eq!(known["groups"], json!(["a", "b"]));

    let scene = Scene::new(
        "    overrideClaimMapping: true\n    claimMapping: {email: mail, groups: roles}\n    \
         claimModifications:\n      filterGroupClaims: {groupsFilter: '^team-'}\n      \
         modifyGroupNames: {prefix: 'up:', suffix: '!'}\n      \
         newGroupFromClaims: [{claims: [org, unit], delimiter: '-', clearDelimiter: true, prefix: new}]\n",
    );
    scene.change(|_, claims| {
        claims["mail"] = "mapped@example.com".into();
        claims["groups"] = json!(["team-wrong"]);
        claims["roles"] = json!(["team-a", "other"]);
        claims["org"] = "a-b".into();
        claims["unit"] = "c".into();
    });
    let known = about(&scene).await;
    assert_eq!(known["email"], "mapped@example.com");
    assert_eq!(known["groups"], json!(["up:team-a!", "new-ab-c"]));

    let scene = Scene::new("    allowedGroups: [staff]\n");
    assert_eq!(scene.log_in().await.status(), StatusCode::FORBIDDEN);
    scene.change(|_, claims| claims["groups"] = json!(["staff", "more"]));
    assert_eq!(about(&scene).await["groups"], json!(["staff"]));
    scene.change(|_, claims| claims["groups"] = json!([7]));
    assert!(!scene.passes().await);
    let scene = Scene::new("");
    scene.change(|_, claims| claims["email_verified"] = false.into());
    assert_eq!(about(&scene).await["email_verified"], false);
    scene.change(|_, claims| claims["email_verified"] = Value::Null);
    assert!(!scene.passes().await);
}
