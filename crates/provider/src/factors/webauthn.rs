//! Passkeys (Web Authentication Level 2): what a browser sends of an authenticator, checked.
//!
//! Attestation is not asked for: which make an authenticator is of makes no difference here. What
//! does is that it signs, for this host, a challenge that was made for this person a moment ago.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cbor::{self, Item};
use super::cose::PublicKey;

/// Flags of authenticator data (section 6.1).
const USER_PRESENT: u8 = 0x01;
const ATTESTED: u8 = 0x40;
/// Hash of the host, flags, and the count of signatures.
const HEAD: usize = 32 + 1 + 4;
/// Longest id of a credential (section 4, "Credential ID").
const MAX_ID: usize = 1023;
/// Longest key that is kept: RSA of 8192 bits with some room.
const MAX_KEY: usize = 1200;

/// Where a page is, as the browser sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `https://app.example.com:8443`
    origins: Vec<String>,
    /// The host alone, which credentials are scoped to.
    pub(super) rp_id: String,
}

impl Place {
    /// Of the `Host` that a request names. Browsers use passkeys over https, and on this machine.
    pub(super) fn new(authority: &str) -> Option<Self> {
        let authority = authority.to_ascii_lowercase();
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority.as_str(),
        };
        let named = !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
            && host.parse::<std::net::Ipv4Addr>().is_err();
        if !named {
            return None;
        }
        let local = host == "localhost" || host.ends_with(".localhost");
        let https = authority.strip_suffix(":443").unwrap_or(&authority);
        let mut origins = vec![format!("https://{https}")];
        if local {
            let http = authority.strip_suffix(":80").unwrap_or(&authority);
            origins.push(format!("http://{http}"));
        }
        Some(Self {
            origins,
            rp_id: host.to_owned(),
        })
    }
}

/// A credential as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credential {
    /// base64url
    pub(crate) id: String,
    /// The COSE key, base64url.
    pub(super) key: String,
    /// The host that it was made for.
    pub(super) rp_id: String,
    /// How often it has signed, as it says; 0 where it does not count.
    pub(super) count: u32,
}

/// What came of an authenticator, in base64url.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer<'a> {
    pub(super) id: &'a str,
    pub(super) client_data: &'a str,
    /// Of a registration.
    pub(super) attestation: &'a str,
    /// Of an authentication.
    pub(super) authenticator_data: &'a str,
    pub(super) signature: &'a str,
}

/// Why an answer does not count. The log says so, not the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("it cannot be read")]
    Unreadable,
    #[error("it is of another ceremony")]
    Ceremony,
    #[error("it answers another challenge")]
    Challenge,
    #[error("it was made on another site")]
    Origin,
    #[error("it is for another host")]
    Host,
    #[error("nobody was there")]
    Absent,
    #[error("its key is of a kind that was not asked for")]
    Key,
    #[error("it is of no credential of this person")]
    Unknown,
    #[error("its signature is wrong")]
    Signature,
    #[error("its count of signatures does not grow: it may be a copy")]
    Count,
}

/// `CollectedClientData` (section 5.8.1).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    #[serde(rename = "type")]
    ceremony: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
}

/// A new credential (section 7.1).
pub(super) fn register(
    place: &Place,
    challenge: &str,
    answer: &Answer<'_>,
) -> Result<Credential, Refused> {
    client_data(place, "webauthn.create", challenge, answer.client_data)?;
    let attestation = decode(answer.attestation)?;
    let (object, rest) = cbor::read(&attestation).ok_or(Refused::Unreadable)?;
    if !rest.is_empty() || object.named("fmt").and_then(Item::text).is_none() {
        return Err(Refused::Unreadable);
    }
    let data = object.named("authData").and_then(Item::bytes);
    let data = data.ok_or(Refused::Unreadable)?;
    let head = Head::read(place, data)?;
    if head.flags & ATTESTED == 0 {
        return Err(Refused::Unreadable);
    }
    // Sixteen bytes of the make, then the length of the id (section 6.5.1).
    let attested = || {
        let (_, rest) = head.rest.split_at_checked(16)?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (id, key) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        (!id.is_empty() && id.len() <= MAX_ID).then_some((id, key))
    };
    let (id, key) = attested().ok_or(Refused::Unreadable)?;
    let (_, behind) = PublicKey::read(key).ok_or(Refused::Key)?;
    let key = key.strip_suffix(behind).ok_or(Refused::Key)?;
    if key.len() > MAX_KEY {
        return Err(Refused::Key);
    }
    let id = URL_SAFE_NO_PAD.encode(id);
    if id != answer.id {
        return Err(Refused::Unreadable);
    }
    Ok(Credential {
        id,
        key: URL_SAFE_NO_PAD.encode(key),
        rp_id: place.rp_id.clone(),
        count: head.count,
    })
}

/// Whether one of a person's credentials has signed the challenge (section 7.2); its new count.
pub(super) fn authenticate(
    place: &Place,
    challenge: &str,
    credentials: &[Credential],
    answer: &Answer<'_>,
) -> Result<(String, u32), Refused> {
    let known = credentials.iter().find(|known| known.id == answer.id);
    let known = known.ok_or(Refused::Unknown)?;
    if known.rp_id != place.rp_id {
        return Err(Refused::Host);
    }
    let client_data = client_data(place, "webauthn.get", challenge, answer.client_data)?;
    let data = decode(answer.authenticator_data)?;
    let head = Head::read(place, &data)?;
    let key = decode(&known.key)?;
    let (key, _) = PublicKey::read(&key).ok_or(Refused::Key)?;
    let signed = [&*data, &Sha256::digest(&client_data)].concat();
    if !key.verifies(&signed, &decode(answer.signature)?) {
        return Err(Refused::Signature);
    }
    // Step 21: authenticators that do not count say 0 always.
    if (head.count != 0 || known.count != 0) && head.count <= known.count {
        return Err(Refused::Count);
    }
    Ok((known.id.clone(), head.count))
}

fn client_data(
    place: &Place,
    ceremony: &str,
    challenge: &str,
    encoded: &str,
) -> Result<Vec<u8>, Refused> {
    let json = decode(encoded)?;
    let data: ClientData = serde_json::from_slice(&json).map_err(|_| Refused::Unreadable)?;
    if data.ceremony != ceremony {
        return Err(Refused::Ceremony);
    }
    let same: bool =
        subtle::ConstantTimeEq::ct_eq(data.challenge.as_bytes(), challenge.as_bytes()).into();
    if !same || challenge.is_empty() {
        return Err(Refused::Challenge);
    }
    if data.cross_origin || !place.origins.contains(&data.origin) {
        return Err(Refused::Origin);
    }
    Ok(json)
}

/// What authenticator data begins with.
struct Head<'d> {
    flags: u8,
    count: u32,
    rest: &'d [u8],
}

impl<'d> Head<'d> {
    fn read(place: &Place, data: &'d [u8]) -> Result<Self, Refused> {
        let (head, rest) = data.split_at_checked(HEAD).ok_or(Refused::Unreadable)?;
        let (host, head) = head.split_at_checked(32).ok_or(Refused::Unreadable)?;
        let &[flags, a, b, c, d] = head else {
            return Err(Refused::Unreadable);
        };
        if host != Sha256::digest(place.rp_id.as_bytes()).as_slice() {
            return Err(Refused::Host);
        }
        // User verification is preferred, not required: the password came before.
        if flags & USER_PRESENT == 0 {
            return Err(Refused::Absent);
        }
        Ok(Self {
            flags,
            count: u32::from_be_bytes([a, b, c, d]),
            rest,
        })
    }
}

fn decode(text: &str) -> Result<Vec<u8>, Refused> {
    let bytes = URL_SAFE_NO_PAD.decode(text);
    bytes.map_err(|_| Refused::Unreadable)
}
