//! Tokens that RequestAuthentications speak of, read and verified as Envoy
//! does (`source/common/jwt`), with keys that the rule has or names.

mod fetch;
mod keys;

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use policy::{Claims, TokenAnswer, TokenContent};
use serde_json::{Map, Value};

use crate::jose;

pub use fetch::MeshKeys;
pub use keys::Jwks;

/// Clocks may differ by so many seconds.
const SKEW: u64 = 60;

/// No token is longer: request headers end before.
const MAX_BYTES: usize = 64 * 1024;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A token taken apart.
struct Parts<'t> {
    algorithm: String,
    kid: String,
    signed: &'t str,
    signature: Vec<u8>,
    payload: &'t str,
    claims: Map<String, Value>,
}

/// Reads a token: what it says, whether it is valid at `now` (seconds since
/// 1970), and whether one of `keys` signed it.
pub fn read_token(token: &str, keys: Result<&Jwks, &str>, now: u64) -> TokenAnswer {
    let parts = match take_apart(token) {
        Ok(parts) => parts,
        Err(why) => return TokenAnswer::Malformed(why.into()),
    };
    let signature = match keys {
        Err(why) => Some(why.into()),
        Ok(keys) => keys.fault(&parts).map(Arc::from),
    };
    TokenAnswer::Read(Box::new(TokenContent {
        time: time_fault(&parts.claims, now).map(Arc::from),
        signature,
        payload: parts.payload.to_owned(),
        claims: Claims::new(parts.claims),
    }))
}

fn take_apart(token: &str) -> Result<Parts<'_>, &'static str> {
    const FORM: &str = "it is no JWT: expected three parts separated by dots";
    if token.len() > MAX_BYTES {
        return Err("it is longer than 64 KiB");
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(FORM)?;
    let (header, payload) = signed.split_once('.').ok_or(FORM)?;
    if header.is_empty() || payload.is_empty() || signature.is_empty() || payload.contains('.') {
        return Err(FORM);
    }
    let header = object(header).ok_or("its header is not a JSON object in base64url")?;
    let text = |name: &str| header.get(name).map(|value| value.as_str().ok_or(()));
    let algorithm = match text("alg") {
        Some(Ok(name)) if keys::is_algorithm(name) => name.to_owned(),
        _ => return Err("its algorithm is none that is known"),
    };
    let kid = match text("kid") {
        None => String::new(),
        Some(kid) => kid.map_err(|()| "its key id is not a string")?.to_owned(),
    };
    let claims = object(payload).ok_or("its payload is not a JSON object in base64url")?;
    if !claims
        .iter()
        .all(|(name, value)| is_well_typed(name, value))
    {
        return Err("one of its registered claims is of a wrong type");
    }
    let signature = LENIENT
        .decode(signature)
        .map_err(|_| "its signature is not base64url")?;
    Ok(Parts {
        algorithm,
        kid,
        signed,
        signature,
        payload,
        claims,
    })
}

/// An object without duplicate names.
fn object(part: &str) -> Option<Map<String, Value>> {
    let json = LENIENT.decode(part).ok()?;
    jose::Claims::parse(&json).map(jose::Claims::into_object)
}

fn is_well_typed(name: &str, value: &Value) -> bool {
    match name {
        "iss" | "sub" | "jti" => value.is_string(),
        "iat" | "nbf" | "exp" => seconds(value).is_some(),
        "aud" => match value {
            Value::String(_) => true,
            Value::Array(list) => list.iter().all(Value::is_string),
            _ => false,
        },
        _ => true,
    }
}

fn seconds(value: &Value) -> Option<u64> {
    if let Some(whole) = value.as_u64() {
        return Some(whole);
    }
    let number = value.as_f64().filter(|n| (0.0..1.8e19).contains(n))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked above"
    )]
    let whole = number as u64;
    Some(whole)
}

fn time_fault(claims: &Map<String, Value>, now: u64) -> Option<&'static str> {
    let at = |name: &str| claims.get(name).and_then(seconds).unwrap_or(0);
    if now.saturating_add(SKEW) < at("nbf") {
        return Some("it is not valid yet");
    }
    let expires = at("exp");
    (expires != 0 && now > expires.saturating_add(SKEW)).then_some("it has expired")
}

#[cfg(test)]
mod tests;
