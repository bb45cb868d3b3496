//! The suite as a relying party: what its modules have in common (`AbstractOIDCCServerTest`).

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::form_urlencoded::parse;

use super::super::bed::{Bed, Browser, PASSWORD, config, encode, form, json, location, text};
use super::table::{Verdict, find};

pub(super) const ISSUER: &str = "https://op.example/dex";
pub(super) const CALLBACK: &str = "https://suite.example/test/a/sidegate/callback";
pub(super) const BYE: &str = "https://suite.example/test/a/sidegate/post_logout_redirect";
pub(super) const CHANNEL: &str = "https://suite.example/test/a/sidegate/backchannel_logout";
const EMAIL: &str = "user@example.com";

/// A client of the suite, by id and secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client(pub(super) &'static str, pub(super) &'static str);

pub(super) const CLIENT: Client = Client("first", "secret of the first");
pub(super) const SECOND: Client = Client("second", "secret of the second");

/// How a client says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Auth {
    Basic,
    Post,
}

pub(super) type Params = Vec<(&'static str, String)>;

/// A module under way: what it found so far, and the provider with a browser.
pub(super) struct Module {
    name: &'static str,
    found: BTreeSet<Verdict>,
    pub(super) bed: Bed,
    pub(super) browser: Browser,
    pub(super) client: Client,
    pub(super) auth: Auth,
    /// How often the person typed the password.
    pub(super) logins: usize,
    count: u32,
}

/// What came to the redirect URI.
#[derive(Debug)]
pub(super) struct Callback(pub(super) BTreeMap<String, String>);

impl Callback {
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// Tokens, and the claims of the ID token.
pub(super) struct Tokens {
    pub(super) answer: Value,
    pub(super) claims: Value,
}

impl Tokens {
    pub(super) fn text(&self, name: &str) -> &str {
        self.answer[name].as_str().unwrap_or_default()
    }
}

fn yaml() -> String {
    let clients: String = [CLIENT, SECOND]
        .iter()
        .map(|Client(id, secret)| {
            format!(
                "- {{id: {id}, secret: {secret}, name: Suite, redirectURIs: ['{CALLBACK}'], \
                 postLogoutRedirectURIs: ['{BYE}'], backchannelLogoutURI: '{CHANNEL}'}}\n"
            )
        })
        .collect();
    config("oauth2: {skipApprovalScreen: true}\nsessions: {}\n")
        .replace("http://dex.auth.svc.cluster.local:5556/dex", ISSUER)
        .replace("staticClients:\n", &format!("staticClients:\n{clients}"))
}

impl Module {
    /// Begins: metadata and keys are fetched and looked at.
    pub(super) async fn begin(name: &'static str) -> Self {
        let module = Self {
            name,
            found: BTreeSet::from([Verdict::Passed]),
            bed: Bed::with(&yaml()),
            browser: Browser::default(),
            client: CLIENT,
            auth: Auth::Basic,
            logins: 0,
            count: 0,
        };
        let metadata = module.metadata().await;
        for member in ["authorization_endpoint", "token_endpoint", "issuer"] {
            assert!(metadata[member].is_string(), "{member}");
        }
        let methods = metadata["token_endpoint_auth_methods_supported"].to_string();
        assert!(methods.contains("client_secret_basic") && methods.contains("client_secret_post"));
        module.keys(&metadata).await;
        module
    }

    /// Something that the suite would like otherwise.
    pub(super) fn warn_unless(&mut self, holds: bool) {
        if !holds {
            self.found.insert(Verdict::Warning);
        }
    }

    /// A page for a screenshot, which says so.
    pub(super) fn review(&mut self, page: &Response<Bytes>, says: &str) {
        assert!(
            text(page).contains(says),
            "expected `{says}`: {}",
            text(page)
        );
        assert!(page.headers().get("location").is_none());
        self.found.insert(Verdict::Review);
    }

    /// What it is about is not offered.
    pub(super) fn skip(&mut self) {
        self.found.insert(Verdict::Skipped);
    }

    /// Ends with what the table says.
    pub(super) fn end(self) {
        let worst = self.found.last().copied();
        assert_eq!(worst, Some(find(self.name).verdict), "{}", self.name);
    }

    pub(super) async fn metadata(&self) -> Value {
        let reply = self.bed.get("/dex/.well-known/openid-configuration").await;
        assert_eq!(reply.status(), StatusCode::OK);
        assert_eq!(reply.headers()["content-type"], "application/json");
        json(&reply)
    }

    /// The key set: kids are there and distinct, and nothing of it is private or symmetric.
    pub(super) async fn keys(&self, metadata: &Value) -> JwkSet {
        let path = metadata["jwks_uri"].as_str().unwrap();
        let reply = self
            .bed
            .get(path.strip_prefix("https://op.example").unwrap())
            .await;
        let set = json(&reply);
        let keys = set["keys"].as_array().unwrap();
        let kids: BTreeSet<&str> = keys
            .iter()
            .map(|key| key["kid"].as_str().unwrap())
            .collect();
        assert_eq!(kids.len(), keys.len());
        for key in keys {
            assert_ne!(key["kty"], "oct");
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert_eq!(key.get(private), None, "{private}");
            }
        }
        serde_json::from_value(set).unwrap()
    }

    /// A value that has not been before, of that length.
    pub(super) fn random(&mut self, length: usize) -> String {
        self.count += 1;
        let digest =
            URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{} {}", self.name, self.count)));
        digest.chars().cycle().take(length).collect()
    }

    /// `CreateAuthorizationRequestSteps`, with the parameters sorted as the suite sends them.
    pub(super) fn request(&mut self, scope: &str) -> Params {
        vec![
            ("client_id", self.client.0.to_owned()),
            ("redirect_uri", CALLBACK.to_owned()),
            ("scope", scope.to_owned()),
            ("state", self.random(10)),
            ("nonce", self.random(10)),
            ("response_type", "code".to_owned()),
        ]
    }

    /// Sends the browser to the authorization endpoint, and goes on until an application is called or
    /// a page has nothing to fill in: what came last.
    pub(super) async fn send(&mut self, params: &Params) -> Response<Bytes> {
        let uri = format!("/dex/auth?{}", pairs(params));
        let reply = self.browser.visit(&self.bed, &uri).await;
        self.follow(reply).await
    }

    pub(super) async fn follow(&mut self, mut reply: Response<Bytes>) -> Response<Bytes> {
        for _ in 0..8 {
            let Some(to) = reply.headers().get("location") else {
                return reply;
            };
            let to = to.to_str().unwrap().to_owned();
            if !to.starts_with("/dex/") {
                return reply;
            }
            let page = self.browser.visit(&self.bed, &to).await;
            let shown = text(&page);
            reply = if shown.contains("name=\"password\"") {
                self.logins += 1;
                self.browser.log_in(&self.bed, &to, EMAIL, PASSWORD).await
            } else if shown.contains("name=\"approval\"") {
                let allowed = form(&to, &[("approval", "approve")]);
                self.browser.send(&self.bed, allowed).await
            } else {
                page
            };
        }
        panic!("no end")
    }

    /// The parameters that came back, with `state` and `iss` looked at.
    pub(super) fn callback(&self, reply: &Response<Bytes>, params: &Params) -> Callback {
        let to = location(reply);
        let (uri, query) = to.split_once('?').expect("parameters");
        assert_eq!(uri, CALLBACK, "{to}");
        let all: Vec<(String, String)> = parse(query.as_bytes()).into_owned().collect();
        let map: BTreeMap<String, String> = all.iter().cloned().collect();
        assert_eq!(map.len(), all.len(), "a parameter is there twice: {to}");
        let callback = Callback(map);
        assert_eq!(callback.get("iss"), ISSUER);
        assert_eq!(callback.get("state"), value(params, "state"));
        callback
    }

    /// `performGenericAuthorizationEndpointErrorResponseValidation`.
    pub(super) fn error(&mut self, reply: &Response<Bytes>, params: &Params, allowed: &[&str]) {
        let callback = self.callback(reply, params);
        assert!(allowed.contains(&callback.get("error")), "{callback:?}");
        assert_eq!(callback.get("code"), "");
        let expected = ["error", "error_description", "error_uri", "state", "iss"];
        self.warn_unless(callback.0.keys().all(|name| expected.contains(&&**name)));
        described(callback.get("error_description"));
    }

    /// A request that leads to a code.
    pub(super) async fn authorize(&mut self, params: &Params) -> Callback {
        let reply = self.send(params).await;
        let callback = self.callback(&reply, params);
        assert_eq!(callback.get("error"), "", "{callback:?}");
        let code = callback.get("code");
        // `EnsureMinimumAuthorizationCodeLength` and `…Entropy`.
        assert!(code.len() * 8 >= 128 && entropy(code) > 96.0, "{code}");
        callback
    }

    /// A post to the token endpoint by the client.
    pub(super) async fn post(&self, path: &str, params: &[(&str, &str)]) -> Response<Bytes> {
        let Client(id, secret) = self.client;
        let mut params = params.to_vec();
        if self.auth == Auth::Post {
            params.extend([("client_id", id), ("client_secret", secret)]);
        }
        let mut request = form(path, &params);
        if self.auth == Auth::Basic {
            let encoded = encode(&[(id, secret)]).replacen('=', ":", 1);
            let header = format!("Basic {}", STANDARD.encode(encoded));
            request
                .headers_mut()
                .insert("authorization", header.parse().unwrap());
        }
        self.bed.send(request).await
    }

    pub(super) async fn redeem(&self, callback: &Callback) -> Response<Bytes> {
        let params = [
            ("grant_type", "authorization_code"),
            ("code", callback.get("code")),
            ("redirect_uri", CALLBACK),
        ];
        self.post("/dex/token", &params).await
    }

    /// Tokens for the code, their ID token checked for the request.
    pub(super) async fn tokens(&mut self, callback: &Callback, params: &Params) -> Tokens {
        let reply = self.redeem(callback).await;
        self.checked(&reply, Some(value(params, "nonce"))).await
    }

    /// `requestAuthorizationCode` and `PerformStandardIdTokenChecks` on an answer with tokens.
    pub(super) async fn checked(&mut self, reply: &Response<Bytes>, nonce: Option<&str>) -> Tokens {
        assert_eq!(reply.status(), StatusCode::OK, "{}", text(reply));
        assert_eq!(reply.headers()["content-type"], "application/json");
        assert_eq!(reply.headers()["cache-control"], "no-store");
        assert_eq!(reply.headers()["pragma"], "no-cache");
        let answer = json(reply);
        let access = answer["access_token"].as_str().unwrap();
        assert!(access.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(
            answer["token_type"]
                .as_str()
                .unwrap()
                .eq_ignore_ascii_case("bearer")
        );
        assert!(answer["expires_in"].as_u64().unwrap() > 0);
        let token = answer["id_token"].as_str().unwrap();
        let header = jsonwebtoken::decode_header(token).unwrap();
        let metadata = self.metadata().await;
        let keys = self.keys(&metadata).await;
        let key = keys.find(&header.kid.unwrap()).expect("a published key");
        let mut rules = Validation::new(header.alg);
        rules.validate_exp = false;
        rules.set_audience(&[self.client.0]);
        rules.set_issuer(&[ISSUER]);
        let key = DecodingKey::from_jwk(key).unwrap();
        let claims = jsonwebtoken::decode::<Value>(token, &key, &rules)
            .unwrap()
            .claims;
        let now = self.bed.now();
        assert!(claims["exp"].as_u64().unwrap() > now);
        assert!(claims["iat"].as_u64().unwrap() <= now);
        let sub = claims["sub"].as_str().unwrap();
        assert!(!sub.is_empty() && sub.len() <= 255 && sub.is_ascii());
        assert_eq!(claims.get("nonce").and_then(Value::as_str), nonce);
        let digest = Sha256::digest(access.as_bytes());
        let half = URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap());
        assert_eq!(claims["at_hash"], half);
        standard(&claims);
        Tokens { answer, claims }
    }

    /// A whole flow: code, tokens, and userinfo with a 200.
    pub(super) async fn flow(&mut self, params: &Params) -> Tokens {
        let callback = self.authorize(params).await;
        let tokens = self.tokens(&callback, params).await;
        self.userinfo(&tokens, None).await;
        tokens
    }

    /// `AbstractOIDCCUserInfoTest`: what is told about the person, by GET unless another request is
    /// given.
    pub(super) async fn userinfo(&self, tokens: &Tokens, request: Option<Request<Bytes>>) -> Value {
        let reply = match request {
            None => self.bed.userinfo(tokens.text("access_token")).await,
            Some(request) => self.bed.send(request).await,
        };
        assert_eq!(reply.status(), StatusCode::OK, "{}", text(&reply));
        assert_eq!(reply.headers()["content-type"], "application/json");
        let about = json(&reply);
        assert_eq!(about["sub"], tokens.claims["sub"]);
        standard(&about);
        about
    }
}

pub(super) fn pairs(params: &Params) -> String {
    let borrowed: Vec<(&str, &str)> = params.iter().map(|(name, text)| (*name, &**text)).collect();
    encode(&borrowed)
}

pub(super) fn value<'a>(params: &'a Params, name: &str) -> &'a str {
    let found = params.iter().find(|(key, _)| *key == name);
    found.map_or("", |(_, value)| value)
}

/// `ValidateErrorDescriptionFrom…`: the characters of RFC 6749 section 4.1.2.1.
pub(super) fn described(text: &str) {
    let valid = |byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(text.bytes().all(valid), "{text}");
}

/// `AbstractValidateOpenIdStandardClaims`: the types of those that are there.
fn standard(claims: &Value) {
    for (name, value) in claims.as_object().unwrap() {
        let right = match name.as_str() {
            "sub" | "name" | "preferred_username" | "email" => {
                value.as_str().is_some_and(|text| !text.is_empty())
            }
            "email_verified" => value.is_boolean(),
            // `EnsureIdTokenUpdatedAtValid`, and claims for which nobody has a value.
            "updated_at" | "address" | "phone_number" => false,
            _ => !value.is_null(),
        };
        assert!(right, "{name}: {value}");
    }
}

/// Shannon's, of the whole text, in bits.
fn entropy(text: &str) -> f64 {
    let mut counts: BTreeMap<char, u32> = BTreeMap::new();
    for c in text.chars() {
        *counts.entry(c).or_default() += 1;
    }
    let length = text.len() as f64;
    let bits = |count: u32| f64::from(count) * (length / f64::from(count)).log2();
    counts.into_values().map(bits).sum()
}
