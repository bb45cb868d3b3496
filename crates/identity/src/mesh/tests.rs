use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA384, RSA_PSS_SHA256,
    RsaEncoding,
};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use policy::{TokenCheck, TokenKeys};
use serde_json::json;

use super::*;
use crate::{Clock, HttpClient, HttpError};

const NOW: u64 = 1_700_000_000;

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn content(answer: TokenAnswer) -> TokenContent {
    match answer {
        TokenAnswer::Read(content) => *content,
        TokenAnswer::Malformed(why) => panic!("{why}"),
    }
}

fn shared() -> (Jwks, impl Fn(&Value) -> String) {
    let jwks = json!({"keys": [{"kty": "oct", "kid": "s", "k": URL_SAFE_NO_PAD.encode("key")}]});
    let sign = |claims: &Value| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        token(&json!({"alg": "HS256", "kid": "s"}), claims, |data| {
            hmac::sign(&key, data).as_ref().to_vec()
        })
    };
    (Jwks::parse(jwks.to_string().as_bytes()), sign)
}

#[test]
fn times() {
    let (keys, sign) = shared();
    for (claims, expected) in [
        (json!({}), None),
        (json!({"exp": NOW - 60}), None),
        (json!({"exp": NOW - 61}), Some("it has expired")),
        (json!({"exp": 0}), None),
        (json!({"nbf": NOW + 60}), None),
        (json!({"nbf": NOW + 61}), Some("it is not valid yet")),
        (json!({"exp": NOW as f64 + 0.5}), None),
    ] {
        let found = content(read_token(&sign(&claims), Ok(&keys), NOW));
        assert_eq!(found.time.as_deref(), expected, "{claims}");
        assert_eq!(found.signature, None, "{claims}");
    }
}

#[test]
fn malformed() {
    let (keys, sign) = shared();
    let good = sign(&json!({}));
    let header = |header: Value| token(&header, &json!({}), |_| vec![1]);
    for text in [
        "x.y.z".to_owned(),
        "a.b".to_owned(),
        format!("{good} "),
        format!("{good},x"),
        format!("{good}.x"),
        header(json!({})),
        header(json!({"alg": "none"})),
        header(json!({"alg": "HS256", "kid": 1})),
        sign(&json!({"iss": 1})),
        sign(&json!({"aud": [1]})),
        sign(&json!({"exp": "1"})),
        sign(&json!({"exp": -1})),
    ] {
        let found = read_token(&text, Ok(&keys), NOW);
        assert!(matches!(found, TokenAnswer::Malformed(_)), "{text}");
    }
}

#[test]
fn signatures() {
    let random = SystemRandom::new();
    let ec = |algorithm: &'static EcdsaSigningAlgorithm, name: &str, curve: &str| {
        let key = EcdsaKeyPair::generate(algorithm).unwrap();
        let point = &key.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let jwk = json!({"kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
        let random = SystemRandom::new();
        let text = token(&json!({"alg": name}), &json!({}), |data| {
            key.sign(&random, data).unwrap().as_ref().to_vec()
        });
        (jwk, text)
    };
    let rsa_key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = rsa_key.public_key();
    let rsa_jwk = json!({"kty": "RSA",
        "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
        "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero())});
    let rsa = |by: &'static dyn RsaEncoding, name: &str| {
        let text = token(&json!({"alg": name}), &json!({}), |data| {
            let mut signature = vec![0; rsa_key.public_modulus_len()];
            rsa_key.sign(by, &random, data, &mut signature).unwrap();
            signature
        });
        (rsa_jwk.clone(), text)
    };
    let ed_key = Ed25519KeyPair::generate().unwrap();
    let ed = (
        json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(ed_key.public_key())}),
        token(&json!({"alg": "EdDSA"}), &json!({}), |data| {
            ed_key.sign(data).as_ref().to_vec()
        }),
    );
    let all = [
        ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "ES256", "P-256"),
        ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "ES384", "P-384"),
        rsa(&RSA_PSS_SHA256, "PS256"),
        rsa(&RSA_PKCS1_SHA384, "RS384"),
        ed,
    ];
    let sets: Vec<Jwks> = all
        .iter()
        .map(|(jwk, _)| Jwks::parse(json!({"keys": [{"kty": "x"}, jwk]}).to_string().as_bytes()))
        .collect();
    for (row, (_, text)) in all.iter().enumerate() {
        for (column, keys) in sets.iter().enumerate() {
            let same_key = row == column || (row.min(column), row.max(column)) == (2, 3);
            let found = content(read_token(text, Ok(keys), NOW)).signature;
            assert_eq!(found.is_none(), same_key, "{row} {column}");
        }
    }
}

/// Answers addresses with documents, and counts.
struct Documents(Mutex<Vec<String>>, Vec<(&'static str, String)>);

impl HttpClient for Documents {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, HttpError>> {
        let address = request.uri().to_string();
        let found = self.1.iter().find(|(known, _)| *known == address);
        let found = found.map(|(_, body)| body.clone());
        self.0.lock().unwrap().push(address);
        Box::pin(async move {
            found
                .map(|body| http::Response::new(body.into()))
                .ok_or_else(|| HttpError("no such host".to_owned()))
        })
    }
}

fn check(uri: &str, issuer: &str, token: &str) -> TokenCheck {
    TokenCheck {
        rule: 0,
        keys: Arc::new(TokenKeys {
            issuer: issuer.to_owned(),
            jwks: String::new(),
            jwks_uri: uri.to_owned(),
            timeout: None,
        }),
        token: token.into(),
    }
}

#[tokio::test]
async fn keys_are_fetched_once() {
    let (_, sign) = shared();
    let jwks = json!({"keys": [{"kty": "oct", "k": URL_SAFE_NO_PAD.encode("key")}]}).to_string();
    let documents = Arc::new(Documents(
        Mutex::default(),
        vec![
            ("http://a/keys", jwks.clone()),
            (
                "http://b/.well-known/openid-configuration",
                json!({"jwks_uri": "http://a/keys"}).to_string(),
            ),
            ("http://empty/", "{}".to_owned()),
        ],
    ));
    let clock: Clock = Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(NOW));
    let keys = MeshKeys::new(documents.clone(), clock).with_issuer("http://own", &jwks);
    let token = sign(&json!({}));
    for (uri, issuer, asked, good) in [
        ("http://a/keys", "x", 1, true),
        ("http://a/keys", "x", 1, true),
        ("", "http://b/", 3, true),
        ("http://gone/", "x", 4, false),
        ("http://gone/", "x", 4, false),
        ("http://empty/", "x", 5, false),
        ("", "", 5, false),
        ("", "http://own", 5, true),
    ] {
        let found = content(keys.answer(&check(uri, issuer, &token)).await);
        assert_eq!(found.signature.is_none(), good, "{uri} {issuer}");
        assert_eq!(documents.0.lock().unwrap().len(), asked, "{uri} {issuer}");
    }
}
