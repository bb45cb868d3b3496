//! A login provider in memory: real keys, real signatures, and a hook to
//! make it lie.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::http_client::{HttpClient, HttpError};
use crate::jose;

pub(super) const ISSUER: &str = "http://dex.auth.svc.cluster.local:5556/dex";
pub(super) const CLIENT: &str = "kubeflow-oidc-authservice";
pub(super) const SECRET: &str = "s3cret/+ %";

/// What the provider was asked to log in, by code.
struct Grant {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

type Lie = Box<dyn Fn(&mut Value) + Send + Sync>;

#[derive(Default)]
pub(super) struct State {
    grants: HashMap<String, Grant>,
    codes: u32,
    /// Changes claims before they are signed.
    pub(super) lie: Option<Lie>,
    /// Changes the whole token after it was signed.
    pub(super) mangle: Option<fn(String) -> String>,
    /// Which of the keys signs.
    pub(super) signing: usize,
    /// Which keys are published.
    pub(super) published: Vec<usize>,
    /// Discovery says this issuer.
    pub(super) other_issuer: Option<String>,
    pub(super) down: bool,
    /// What userinfo says, where there is such an endpoint.
    pub(super) userinfo: Option<Value>,
    /// The refresh token that counts, where logins get one.
    pub(super) refresh: Option<String>,
    /// How often it was used.
    pub(super) refreshes: u32,
    /// Paths asked for.
    pub(super) asked: Vec<String>,
}

#[derive(Clone, Default)]
pub(super) struct FakeProvider {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) now: Arc<std::sync::atomic::AtomicU64>,
}

/// Key generation is slow; all tests share these.
pub(super) fn keys() -> &'static [KeyPair; 2] {
    static KEYS: OnceLock<[KeyPair; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [0, 1].map(|_| KeyPair::generate(KeySize::Rsa2048).unwrap()))
}

pub(super) fn sign(key: usize, claims: &Value) -> String {
    sign_as(key, "JWT", claims)
}

pub(super) fn sign_as(key: usize, typ: &str, claims: &Value) -> String {
    let header = json!({"alg": "RS256", "kid": format!("key-{key}"), "typ": typ});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(signature(key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

pub(super) fn signature(key: usize, signed: &[u8]) -> Vec<u8> {
    let key = &keys()[key];
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed,
        &mut signature,
    )
    .unwrap();
    signature
}

pub(super) fn jwks(published: &[usize]) -> Value {
    let keys: Vec<Value> = published
        .iter()
        .map(|at| {
            let public = keys()[*at].public_key();
            jose::public_rsa(
                &format!("key-{at}"),
                public.modulus().big_endian_without_leading_zero(),
                public.exponent().big_endian_without_leading_zero(),
            )
        })
        .collect();
    json!({ "keys": keys })
}

impl FakeProvider {
    pub(super) fn claims(&self) -> Value {
        let now = self.now.load(std::sync::atomic::Ordering::SeqCst);
        json!({
            "iss": ISSUER, "sub": "Cg0wLTM4NS0yODA4OS0wEgRtb2Nr", "aud": CLIENT,
            "iat": now, "exp": now + 86_400,
            "email": "user@example.com", "email_verified": true, "name": "user",
            "groups": ["team-a", "team-b"],
        })
    }

    /// The person logs in: the address the browser is sent back to.
    pub(super) fn log_in(&self, authorization_url: &str) -> String {
        let query = authorization_url.split_once('?').unwrap().1;
        let query: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        assert!(
            authorization_url.starts_with("/dex/auth?"),
            "{authorization_url}"
        );
        assert_eq!(query["client_id"], CLIENT);
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["code_challenge_method"], "S256");
        assert_eq!(query["scope"], "profile email groups openid");
        let mut state = self.state.lock().unwrap();
        state.codes += 1;
        let code = format!("code-{}", state.codes);
        state.grants.insert(
            code.clone(),
            Grant {
                nonce: query["nonce"].clone(),
                challenge: query["code_challenge"].clone(),
                redirect_uri: query["redirect_uri"].clone(),
            },
        );
        let back = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", &query["state"])
            .finish();
        format!("{}?{back}", query["redirect_uri"])
    }

    fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut state = self.state.lock().unwrap();
        state.asked.push(request.uri().path().to_owned());
        if state.down {
            return Err(HttpError("connection refused".to_owned()));
        }
        match request.uri().path() {
            "/dex/.well-known/openid-configuration" => {
                let mut document = json!({
                    "issuer": state.other_issuer.as_deref().unwrap_or(ISSUER),
                    "authorization_endpoint": format!("{ISSUER}/auth"),
                    "token_endpoint": format!("{ISSUER}/token"),
                    "jwks_uri": format!("{ISSUER}/keys"),
                });
                if state.userinfo.is_some() {
                    document["userinfo_endpoint"] = json!(format!("{ISSUER}/userinfo"));
                }
                json_response(StatusCode::OK, &document)
            }
            "/dex/userinfo" => match &state.userinfo {
                Some(claims) if request.headers()["authorization"] == "Bearer an access token" => {
                    json_response(StatusCode::OK, claims)
                }
                _ => json_response(StatusCode::UNAUTHORIZED, &json!({})),
            },
            "/dex/keys" => json_response(StatusCode::OK, &jwks(&state.published)),
            "/dex/token" => {
                let form: HashMap<String, String> = url::form_urlencoded::parse(request.body())
                    .into_owned()
                    .collect();
                let expected = format!("{CLIENT}:{}", "s3cret%2F%2B+%25");
                let expected = format!("Basic {}", STANDARD.encode(expected));
                if request.headers()["authorization"] != expected.as_str() {
                    return json_response(
                        StatusCode::UNAUTHORIZED,
                        &json!({"error": "invalid_client"}),
                    );
                }
                let refreshing = form["grant_type"] == "refresh_token";
                if refreshing {
                    state.refreshes += 1;
                }
                let invalid =
                    || json_response(StatusCode::BAD_REQUEST, &json!({"error": "invalid_grant"}));
                let mut claims = self.claims();
                if refreshing {
                    if state.refresh.as_ref() != form.get("refresh_token") {
                        return invalid();
                    }
                    state.refresh = Some(format!("refresh-{}", state.refreshes));
                } else {
                    let Some(grant) = state.grants.remove(&form["code"]) else {
                        return invalid();
                    };
                    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
                    if challenge != grant.challenge || form["redirect_uri"] != grant.redirect_uri {
                        return invalid();
                    }
                    claims["nonce"] = json!(grant.nonce);
                }
                if let Some(lie) = &state.lie {
                    lie(&mut claims);
                }
                let mut token = sign(state.signing, &claims);
                if let Some(mangle) = state.mangle {
                    token = mangle(token);
                }
                json_response(
                    StatusCode::OK,
                    &json!({
                        "id_token": token, "access_token": "an access token", "token_type": "bearer",
                        "refresh_token": state.refresh, "expires_in": 600,
                    }),
                )
            }
            _ => json_response(StatusCode::NOT_FOUND, &json!({})),
        }
    }
}

fn json_response(status: StatusCode, value: &Value) -> Result<Response<Bytes>, HttpError> {
    let body = Bytes::from(value.to_string());
    Ok(Response::builder().status(status).body(body).unwrap())
}

impl HttpClient for FakeProvider {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        async move { self.answer(&request) }.boxed()
    }
}
