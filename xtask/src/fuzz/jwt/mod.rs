//! Tokens made with all that people try, against the verifiers: none is accepted that a second verifier, which knows how each
//! was made and shares no code with them, does not accept.

mod keys;
mod members;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use identity::{
    Clock, HolderClaims, HttpClient, HttpError, Identity, IdentityClaims, IssuerConfig, IssuerKeys,
    Issuers, Jwks, Parts, SessionConfig, Sessions, read_token,
};
use policy::{TokenAnswer, TokenHolder};
use serde_json::{Map, Value, json};

use self::keys::Key;
use self::members::{CLAIMS, HEADERS, URLS, changed, members, part};
use super::Target;
use super::bytes::mutated;
use super::random::Random;

const NOW: u64 = 1_700_000_000;
/// How far an issuer's clock may be ahead, and Envoy's verifier lets it be off.
const AHEAD: f64 = 30.0;
const SKEW: f64 = 60.0;
const LONGEST: usize = 8192;
/// The issuer with all keys, and one with a single key without an id.
const ISSUERS: [&str; 2] = ["https://many.example", "https://one.example"];
const AUDIENCE: &str = "models";

pub(super) struct Tokens {
    runtime: tokio::runtime::Runtime,
    identity: Identity,
    /// Those of the first issuer; the second has the first of them, the last is nobody's.
    keys: Vec<Key>,
    published: Jwks,
    random: SystemRandom,
    // Its files are there as long as the sessions.
    _folder: tempfile::TempDir,
}

/// Issuers that nobody asks: their keys are written down.
struct Nowhere;

impl HttpClient for Nowhere {
    fn send(&self, _: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        std::future::ready(Err(HttpError("a token has somebody asked".to_owned()))).boxed()
    }
}

/// Header and claims of a token, and the key that signed it.
type Signed<'k> = (Map<String, Value>, Map<String, Value>, &'k Key);

impl Tokens {
    pub(super) fn new() -> Result<Self> {
        let keys = Key::all()?;
        let own = keys.iter().take(3).map(|key| key.jwk.clone());
        let many = json!({"keys": own.collect::<Vec<_>>()}).to_string();
        let mut one = keys.first().context("a key")?.jwk.clone();
        one.as_object_mut().and_then(|jwk| jwk.remove("kid"));
        let one = json!({"keys": [one]}).to_string();
        let config = |issuer: &str, jwks: &str, holder| IssuerConfig {
            issuer: issuer.to_owned(),
            keys: IssuerKeys::Written(jwks.to_owned()),
            audiences: vec![AUDIENCE.to_owned()],
            algorithms: Vec::new(),
            holder,
        };
        let service = HolderClaims::Service {
            name: "ci".to_owned(),
            claim: "sub".to_owned(),
            groups: None,
        };
        let [first, second] = ISSUERS;
        let configs = vec![
            config(
                first,
                &many,
                HolderClaims::Person(IdentityClaims::default()),
            ),
            config(second, &one, service),
        ];
        let clock: Clock = Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(NOW));
        let folder = tempfile::tempdir()?;
        let sessions = Sessions::open(folder.path(), SessionConfig::default(), clock.clone())?;
        let identity = Identity::new(Parts {
            sessions,
            logins: identity::Logins::one(None),
            cluster_issuer: None,
            cluster_api: None,
            issuers: Some((Issuers::new(configs, &clock, None)?, Arc::new(Nowhere))),
            api_keys: None,
            authservice: identity::AuthserviceConfig::default(),
            oauth2_proxy: identity::Oauth2ProxyConfig::default(),
            clock,
        });
        let tokens = Self {
            runtime: tokio::runtime::Builder::new_current_thread().build()?,
            identity,
            keys,
            published: Jwks::parse(many.as_bytes()),
            random: SystemRandom::new(),
            _folder: folder,
        };
        // What is changed has to be right to begin with.
        for key in tokens.keys.iter().take(3) {
            let text = tokens.good(key);
            ensure!(
                tokens.accepts(&text).is_some(),
                "a good token of {} is refused",
                key.kid
            );
            ensure!(
                tokens.second(&text).is_some(),
                "so does the second verifier"
            );
            ensure!(
                tokens.mesh(&text) && tokens.second_mesh(&text),
                "so does Envoy's"
            );
        }
        let stranger = tokens.keys.last().context("a key")?;
        ensure!(
            tokens.accepts(&tokens.good(stranger)).is_none(),
            "a stranger's is accepted"
        );
        Ok(tokens)
    }

    fn good(&self, key: &Key) -> String {
        let header = json!({"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}).to_string();
        let claims = json!({"iss": ISSUERS[0], "sub": "1", "email": "ada@example.com",
            "aud": AUDIENCE, "iat": NOW, "nbf": NOW, "exp": NOW + 600})
        .to_string();
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = key.sign(&self.random, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Who a token is of, by the verifier that is looked at.
    fn accepts(&self, text: &str) -> Option<String> {
        let holder = self
            .runtime
            .block_on(self.identity.bearer(text, None))
            .ok()?;
        Some(match holder {
            TokenHolder::Person(person) => person.email.to_string(),
            TokenHolder::Service(service) => service.name.to_string(),
            TokenHolder::ServiceAccount(account) => account.user_name(),
        })
    }

    /// The same by rules written down a second time.
    fn second(&self, text: &str) -> Option<String> {
        if text.len() > LONGEST {
            return None;
        }
        let (header, claims, key) = self.signed(text, &URL_SAFE_NO_PAD)?;
        let kid = header.get("kid").map(|kid| kid.as_str());
        let issuer = claims.get("iss")?.as_str()?;
        let by_issuer = match issuer {
            "https://many.example" => kid == Some(Some(key.kid)),
            // Its one key has no id, and is meant by none alone.
            "https://one.example" => key.kid == "ec" && kid.is_none(),
            _ => false,
        };
        for name in ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip"] {
            if header.contains_key(name) {
                return None;
            }
        }
        let time = |name: &str| claims.get(name).map(Value::as_f64);
        let known = |name| match time(name) {
            None => true,
            Some(Some(from)) => (0.0..=NOW as f64 + AHEAD + 1.0).contains(&from),
            Some(None) => false,
        };
        let lives = matches!(time("exp"), Some(Some(until)) if until > NOW as f64);
        let meant = match claims.get("aud")? {
            Value::String(one) => one == AUDIENCE,
            Value::Array(many) => many.iter().any(|one| one == AUDIENCE),
            _ => false,
        };
        let typed = match header.get("typ") {
            None => true,
            Some(Value::String(kind)) => {
                let kind = kind.to_ascii_lowercase();
                ["jwt", "at+jwt", "application/at+jwt"].contains(&&*kind)
            }
            Some(_) => false,
        };
        if !(by_issuer && known("nbf") && known("iat") && lives && meant && typed) {
            return None;
        }
        match issuer {
            "https://many.example" => claims.get("email")?.as_str().map(str::to_owned),
            _ => claims.get("sub")?.as_str().map(|name| format!("ci:{name}")),
        }
    }

    /// Header and claims of a token that one of the published keys signed by its own algorithm.
    fn signed(&self, text: &str, base64: &impl base64::Engine) -> Option<Signed<'_>> {
        let parts: Vec<&str> = text.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else {
            return None;
        };
        let object = |part: &str| -> Option<Map<String, Value>> {
            serde_json::from_slice(&base64.decode(part).ok()?).ok()
        };
        let signature = base64.decode(signature).ok()?;
        let read = object(header)?;
        let named = read.get("alg")?.as_str()?;
        let data = format!("{header}.{claims}");
        let mut keys = self.keys.iter().take(3);
        let key =
            keys.find(|key| key.algorithm == named && key.verifies(data.as_bytes(), &signature))?;
        Some((read, object(claims)?, key))
    }

    /// Whether a token counts where RequestAuthentications speak of the issuer.
    fn mesh(&self, text: &str) -> bool {
        match read_token(text, Ok(&self.published), NOW) {
            TokenAnswer::Read(content) => content.signature.is_none() && content.time.is_none(),
            TokenAnswer::Malformed(_) => false,
        }
    }

    fn second_mesh(&self, text: &str) -> bool {
        use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
        let lenient = GeneralPurpose::new(
            &base64::alphabet::URL_SAFE,
            GeneralPurposeConfig::new()
                .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                .with_decode_allow_trailing_bits(true),
        );
        let Some((header, claims, key)) = self.signed(text, &lenient) else {
            return false;
        };
        let kid = match header.get("kid") {
            None => true,
            Some(Value::String(kid)) => kid.is_empty() || kid == key.kid,
            Some(_) => false,
        };
        let time = |name: &str| claims.get(name).map(Value::as_f64);
        let begun = match time("nbf") {
            None => true,
            Some(from) => from.is_some_and(|from| from <= NOW as f64 + SKEW + 1.0),
        };
        let lives = match time("exp") {
            None => true,
            Some(until) => until.is_some_and(|until| until < 1.0 || until + SKEW >= NOW as f64),
        };
        kid && begun && lives
    }
}

#[derive(Debug)]
struct Made {
    text: String,
    /// Something is in it that makes it nobody's, however it is signed.
    spoiled: Option<&'static str>,
}

impl Tokens {
    fn made(&self, random: &mut Random) -> Option<Made> {
        let key = random.of(&self.keys)?;
        let mut header = members(&[
            ("alg", json!(key.algorithm)),
            ("kid", json!(key.kid)),
            ("typ", json!("JWT")),
        ]);
        let mut claims = members(&[
            ("iss", json!(ISSUERS[0])),
            ("sub", json!("1")),
            ("email", json!("ada@example.com")),
            ("aud", json!(AUDIENCE)),
            ("iat", json!(NOW)),
            ("nbf", json!(NOW)),
            ("exp", json!(NOW + 600)),
        ]);
        let mut spoiled = None;
        if random.one_in(2) {
            for _ in 0..=random.below(2) {
                changed(
                    random,
                    &mut header,
                    &["alg", "kid", "typ", "kid", "alg"],
                    &HEADERS,
                );
            }
            if random.one_in(4) {
                let name = random.word(&["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip"]);
                let value = random.word(&URLS).to_owned();
                header.push((name.to_owned(), Value::String(value).to_string()));
                spoiled = Some("a header that names or carries keys");
            }
        }
        if random.one_in(2) {
            for _ in 0..=random.below(2) {
                let names = [
                    "iss", "sub", "email", "aud", "iat", "nbf", "exp", "nbf", "exp",
                ];
                changed(random, &mut claims, &names, &CLAIMS);
            }
        }
        for object in [&mut header, &mut claims] {
            if random.one_in(12)
                && let Some((name, _)) = random.of(object).cloned()
            {
                // Of two members of a name readers take either.
                let at = random.below(object.len() + 1);
                object.insert(at, (name, random.word(&CLAIMS).to_owned()));
                spoiled = Some("a name twice");
            }
        }
        let signed = format!("{}.{}", part(random, &header), part(random, &claims));
        let mut signature = match random.below(10) {
            0 => Vec::new(),
            // The key that everybody has, as a secret.
            1 | 2 => {
                let secret = match random.below(3) {
                    0 => key.public(),
                    1 => key.jwk.to_string().into_bytes(),
                    _ => Vec::new(),
                };
                let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
                hmac::sign(&secret, signed.as_bytes()).as_ref().to_vec()
            }
            3 => self.keys.last()?.sign(&self.random, signed.as_bytes()),
            // All zero, which verified once (CVE-2022-21449).
            4 => vec![0; 64],
            _ => key.sign(&self.random, signed.as_bytes()),
        };
        if random.one_in(12) {
            signature.extend([0; 3]);
        }
        let mut text = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        if random.one_in(3) {
            let bytes = mutated(random, &[text.into_bytes(), self.good(key).into_bytes()]);
            text = String::from_utf8_lossy(&bytes).into_owned();
            // What it is of now nobody knows.
            spoiled = None;
        }
        if random.one_in(40) {
            text.push_str(&"A".repeat(1 << 20));
        }
        Some(Made { text, spoiled })
    }
}

impl Target for Tokens {
    fn run(&self, random: &mut Random) -> Result<&'static str, String> {
        let Some(Made { text, spoiled }) = self.made(random) else {
            return Ok("nothing");
        };
        let found = self.accepts(&text);
        if let (Some(holder), Some(why)) = (&found, spoiled) {
            return Err(format!("`{holder}` by a token with {why}"));
        }
        let mesh = self.mesh(&text);
        if mesh && !self.second_mesh(&text) {
            return Err("counts where RequestAuthentications speak of it, and is none".to_owned());
        }
        match (found, self.second(&text)) {
            (Some(holder), other) if other.as_ref() != Some(&holder) => {
                Err(format!("`{holder}` by a token of {other:?}"))
            }
            (Some(_), _) => Ok("accepted"),
            (None, Some(_)) => Ok("refused, though signed"),
            (None, None) if mesh => Ok("Envoy's alone"),
            (None, None) => Ok("refused"),
        }
    }

    fn input(&self, random: &mut Random) -> String {
        // Signatures and keys are others the next time.
        self.made(random)
            .map_or(String::new(), |made| format!("{made:?}"))
    }
}
