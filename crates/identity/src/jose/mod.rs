//! Signed tokens: compact JWS only (RFC 7515), the algorithm fixed by the key
//! (RFC 8725 §3.1), key material in headers never followed.

mod claims;
mod keys;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(crate) use claims::Claims;
pub(crate) use keys::{KeySet, public_ec, public_rsa};

/// No token is longer (RFC 6750 leaves it open; headers end near there).
pub(crate) const MAX_BEARER_BYTES: usize = 8 * 1024;

/// ID tokens come in a body and may carry many groups.
pub(crate) const MAX_ID_TOKEN_BYTES: usize = 32 * 1024;

/// Why a token is refused. Never contains the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwtError {
    #[error("the token is longer than {0} bytes")]
    TooLong(usize),
    #[error("the token is not a signed JWT: {0}")]
    Malformed(&'static str),
    #[error("the token's header carries `{0}`, which is not accepted")]
    Header(&'static str),
    #[error("the token's algorithm is not accepted, expected that of its key")]
    Algorithm,
    #[error("the token is signed by a key that its issuer does not publish")]
    UnknownKey,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token's issuer is not accepted")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token's claim `{0}` is missing or not as expected")]
    Claim(String),
}

/// Signature algorithms (RFC 7518 §3.1, RFC 8037), none with a shared key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// All names, for messages.
    pub(crate) const NAMES: &str =
        "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA";

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// A token taken apart and not yet verified.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    signed: &'a str,
    signature: Vec<u8>,
    claims: Claims,
}

/// Headers that name or carry keys, or change what is signed (RFC 7515 §4.1,
/// RFC 7797).
const REFUSED_HEADERS: [&str; 7] = ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip"];

/// Kinds of tokens (RFC 8725 §3.11): a logout token, say, must not pass for
/// another one.
const TOKEN_TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// OpenID Connect Back-Channel Logout 1.0 §2.4 recommends the second; older
/// providers say the first.
const LOGOUT_TYPES: [&str; 3] = ["jwt", "logout+jwt", "application/logout+jwt"];

impl<'a> Unverified<'a> {
    /// Takes an ID or access token apart.
    pub(crate) fn parse(token: &'a str, max: usize) -> Result<Self, JwtError> {
        Self::parse_typed(token, max, &TOKEN_TYPES)
    }

    /// Takes a logout token apart.
    pub(crate) fn parse_logout(token: &'a str, max: usize) -> Result<Self, JwtError> {
        Self::parse_typed(token, max, &LOGOUT_TYPES)
    }

    fn parse_typed(token: &'a str, max: usize, types: &[&str]) -> Result<Self, JwtError> {
        if token.len() > max {
            return Err(JwtError::TooLong(max));
        }
        let malformed = || JwtError::Malformed("expected three parts separated by dots");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        if payload.contains('.') {
            return Err(malformed());
        }
        let decode = |part: &str, why| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| JwtError::Malformed(why))
        };
        let header = decode(header, "its header is not base64url")?;
        let header = Claims::parse(&header)
            .ok_or(JwtError::Malformed("its header is not one JSON object"))?;
        for name in REFUSED_HEADERS {
            if header.has(name) {
                return Err(JwtError::Header(name));
            }
        }
        if header.has("typ") {
            let kind = header.text("typ").unwrap_or_default().to_ascii_lowercase();
            if !types.contains(&kind.as_str()) {
                return Err(JwtError::Header("typ"));
            }
        }
        let algorithm = header
            .text("alg")
            .and_then(Algorithm::from_name)
            .ok_or(JwtError::Algorithm)?;
        let kid = match header.has("kid") {
            true => Some(
                header
                    .text("kid")
                    .filter(|kid| kid.len() <= 256)
                    .ok_or(JwtError::Malformed("its `kid` is not a short string"))?
                    .to_owned(),
            ),
            false => None,
        };
        let payload = decode(payload, "its payload is not base64url")?;
        let claims = Claims::parse(&payload)
            .ok_or(JwtError::Malformed("its payload is not one JSON object"))?;
        Ok(Self {
            algorithm,
            kid,
            signed,
            signature: decode(signature, "its signature is not base64url")?,
            claims,
        })
    }

    /// The issuer that the token claims to be from: good for choosing whose
    /// keys to try, and for nothing else.
    pub(crate) fn claimed_issuer(&self) -> Option<&str> {
        self.claims.text("iss")
    }

    /// The claims as they were sent: good for refusing early, and for nothing else.
    pub(crate) fn claims_as_sent(&self) -> &Claims {
        &self.claims
    }

    /// The algorithm that the header names.
    pub(crate) fn algorithm(&self) -> &'static str {
        self.algorithm.name()
    }

    /// The expiry that the token claims: good for asking anew in time, and for
    /// nothing else.
    pub(crate) fn claimed_expiry(&self) -> Option<u64> {
        self.claims.time("exp").ok().flatten()
    }

    /// The claims, if one of `keys` signed them.
    pub(crate) fn verify(&self, keys: &KeySet) -> Result<&Claims, JwtError> {
        keys.verify(
            self.algorithm,
            self.kid.as_deref(),
            self.signed.as_bytes(),
            &self.signature,
        )?;
        Ok(&self.claims)
    }
}

/// Signs `claims`: header, payload and what `sign` makes of them.
pub(crate) fn compact<E>(
    algorithm: Algorithm,
    kid: &str,
    claims: &serde_json::Value,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, E> {
    let header = serde_json::json!({"alg": algorithm.name(), "kid": kid, "typ": "JWT"});
    let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
    let signature = sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

#[cfg(test)]
mod tests;
