//! Tokens of an issuer whose key this program has, right ones and wrong ones, for the table of bypasses.

use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const ISSUER: &str = "https://ci.example.com";
/// One whose keys cannot be fetched.
const AWAY: &str = "https://away.example.com";

/// Keys of the issuer and of somebody else.
struct Keys([EcdsaKeyPair; 2]);

fn keys() -> Result<&'static Keys> {
    static KEYS: OnceLock<Option<Keys>> = OnceLock::new();
    let made = KEYS.get_or_init(|| {
        let make = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok();
        Some(Keys([make()?, make()?]))
    });
    made.as_ref().context("no keys")
}

fn public(key: &EcdsaKeyPair) -> Result<Value> {
    let point = key.public_key().as_ref();
    let (x, y) = point.get(1..).context("a point")?.split_at(32);
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Ok(json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k", "x": text(x), "y": text(y)}))
}

/// What the configuration says of both issuers.
pub(super) fn issuers() -> Result<String> {
    let Keys([own, _]) = keys()?;
    let jwks = json!({"keys": [public(own)?]});
    Ok(format!(
        "  tokens:\n    issuers:\n    - issuer: {ISSUER}\n      jwks: '{jwks}'\n      audiences: [models]\n      \
         service: {{name: ci}}\n    - issuer: {AWAY}\n      jwksUri: https://127.0.0.1:9/keys\n      \
         audiences: [models]\n      service: {{name: away}}"
    ))
}

/// Words of the table, and the tokens that they mean.
pub(super) fn words() -> Result<Vec<(&'static str, String)>> {
    let Keys([own, other]) = keys()?;
    let none = || json!({});
    let signed = |header: Value, claims: Value| {
        let text = unsigned(header, claims);
        let signature = signature(own, &text)?;
        anyhow::Ok(format!("{text}.{signature}"))
    };
    let hashed = |key: &[u8]| {
        let text = unsigned(json!({"alg": "HS256"}), none());
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()));
        format!("{text}.{tag}")
    };
    let by_another = |header: Value, claims: Value| {
        let text = unsigned(header, claims);
        let signature = signature(other, &text)?;
        anyhow::Ok(format!("{text}.{signature}"))
    };
    let bare = unsigned(none(), none());
    let jwe = |header: Value| {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        format!("{header}.AAAA.AAAA.AAAA.AAAA")
    };
    let der = {
        let good = signature(own, &bare)?;
        let raw = URL_SAFE_NO_PAD.decode(good)?;
        let (r, s) = raw.split_at_checked(32).context("a signature")?;
        let number = |n: &[u8]| [&[2, 33, 0][..], n].concat();
        let both = [number(r), number(s)].concat();
        let length = u8::try_from(both.len())?;
        URL_SAFE_NO_PAD.encode([&[0x30, length][..], &both].concat())
    };
    Ok(vec![
        ("{good}", signed(none(), none())?),
        ("{hs-point}", hashed(own.public_key().as_ref())),
        ("{hs-jwk}", hashed(public(own)?.to_string().as_bytes())),
        ("{hs-empty}", hashed(b"")),
        (
            "{own-jwk}",
            by_another(json!({"jwk": public(other)?}), none())?,
        ),
        (
            "{own-jku}",
            by_another(json!({"jku": "https://evil.example/keys"}), none())?,
        ),
        ("{stranger}", by_another(none(), none())?),
        (
            "{kid-file}",
            signed(json!({"kid": "../../dev/null"}), none())?,
        ),
        (
            "{crit}",
            signed(json!({"crit": ["bork"], "bork": 1}), none())?,
        ),
        ("{crit-empty}", signed(json!({"crit": []}), none())?),
        ("{exp-text}", signed(none(), json!({"exp": "9999999999"}))?),
        ("{nbf-text}", signed(none(), json!({"nbf": "x"}))?),
        ("{exp-none}", signed(none(), json!({"exp": null}))?),
        (
            "{iss-part}",
            signed(none(), json!({"iss": "https://ci.example"}))?,
        ),
        (
            "{iss-more}",
            signed(none(), json!({"iss": format!("{ISSUER}/")}))?,
        ),
        ("{aud-none}", signed(none(), json!({"aud": []}))?),
        (
            "{aud-map}",
            signed(none(), json!({"aud": {"models": true}}))?,
        ),
        ("{aud-part}", signed(none(), json!({"aud": "models2"}))?),
        (
            "{zeros}",
            format!("{bare}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
        ),
        (
            "{short}",
            format!("{bare}.{}", URL_SAFE_NO_PAD.encode([0; 8])),
        ),
        ("{der}", format!("{bare}.{der}")),
        ("{no-signature}", format!("{bare}.")),
        ("{away}", by_another(none(), json!({"iss": AWAY}))?),
        (
            "{jwe-zip}",
            jwe(json!({"alg": "dir", "enc": "A256GCM", "zip": "DEF"})),
        ),
        (
            "{jwe-p2c}",
            jwe(json!({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2_147_483_647})),
        ),
    ])
}

/// Header and claims that are right but for these members.
fn unsigned(header: Value, claims: Value) -> String {
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |now| now.as_secs());
    let with = |mut base: Value, more: Value| {
        if let (Some(base), Value::Object(more)) = (base.as_object_mut(), more) {
            base.extend(more);
        }
        URL_SAFE_NO_PAD.encode(base.to_string())
    };
    let header = with(json!({"alg": "ES256", "kid": "k", "typ": "JWT"}), header);
    let right = json!({"iss": ISSUER, "sub": "job", "aud": "models", "exp": now + 3600});
    let claims = with(right, claims);
    format!("{header}.{claims}")
}

fn signature(key: &EcdsaKeyPair, text: &str) -> Result<String> {
    let signed = key.sign(&SystemRandom::new(), text.as_bytes());
    let signed = signed.map_err(|_| anyhow!("a token cannot be signed"))?;
    Ok(URL_SAFE_NO_PAD.encode(signed))
}
