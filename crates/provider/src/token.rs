//! Claims as Dex writes them (`server/tokens/claims.go`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};

use crate::config::Client;
use crate::factors::Method;
use crate::keys::Algorithm;
use crate::provider::Inner;
use crate::user::User;

/// What `jti` begins with where a token comes of no grant.
pub(crate) const CLIENT_TOKEN: &str = "client";
pub(crate) const EXCHANGED_TOKEN: &str = "exchanged";
const CROSS_CLIENT: &str = "audience:server:client_id:";

/// Claims of ID and access tokens.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: Audience,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) azp: Option<String>,
    pub(crate) exp: u64,
    pub(crate) iat: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) auth_time: Option<u64>,
    pub(crate) jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at_hash: Option<String>,
    /// The same of a code that comes with the token (section 3.3.2.11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) c_hash: Option<String>,
    /// How the person logged in, in ID tokens (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) amr: Vec<Method>,
    /// Whether with a second factor, in ID tokens: `1` or `2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acr: Option<String>,
    /// The session, in ID tokens (OpenID Connect Back-Channel Logout 1.0 section 2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<String>,
    #[serde(flatten)]
    pub(crate) person: Person,
}

/// What the scopes tell about the user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Person {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) groups: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) preferred_username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) federated_claims: Option<Federated>,
}

/// The claim `federated_claims`, asked for by `federated:id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Federated {
    connector_id: String,
    user_id: String,
}

/// `aud`: a string when there is one, else a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Person {
    pub(crate) fn new(user: &User, scopes: &[String]) -> Self {
        let asked = |scope: &str| scopes.iter().any(|s| s == scope);
        let mut person = Self::default();
        if asked("email") {
            let known = !user.email.is_empty();
            person.email = known.then(|| user.email.clone());
            person.email_verified = known.then_some(user.email_verified);
        }
        if asked("groups") && !user.groups.is_empty() {
            person.groups = Some(user.groups.clone());
        }
        if asked("profile") {
            person.name = Some(user.name.clone());
            person.preferred_username = user.preferred_username.clone();
        }
        if asked("federated:id") {
            person.federated_claims = Some(Federated {
                connector_id: user.connector.clone(),
                user_id: user.user_id.clone(),
            });
        }
        person
    }
}

/// `aud` and `azp` for a client and the peers among the scopes.
pub(crate) fn audience(client: &Client, scopes: &[String]) -> (Audience, Option<String>) {
    let mut all: Vec<String> = scopes
        .iter()
        .filter_map(|scope| scope.strip_prefix(CROSS_CLIENT))
        .map(str::to_owned)
        .collect();
    if all.is_empty() {
        return (Audience::One(client.id.clone()), None);
    }
    if !all.contains(&client.id) {
        all.push(client.id.clone());
    }
    let audience = match <[String; 1]>::try_from(all) {
        Ok([one]) => Audience::One(one),
        Err(many) => Audience::Many(many),
    };
    (audience, Some(client.id.clone()))
}

/// What is wrong with `scopes`, if anything.
pub(crate) fn check_scopes(
    inner: &Inner,
    client: &Client,
    scopes: &[String],
) -> Result<(), String> {
    if !scopes.iter().any(|scope| scope == "openid") {
        return Err("the scope `openid` is missing".to_owned());
    }
    for scope in scopes {
        if !is_scope(scope) {
            return Err(format!("unknown scope `{scope}`"));
        }
        if !client.allows_scope(scope) {
            return Err(format!("this client may not ask for `{scope}`"));
        }
        if let Some(peer) = scope.strip_prefix(CROSS_CLIENT)
            && !is_trusted(inner, client, peer)
        {
            return Err(format!(
                "`{peer}` does not trust this client with its tokens"
            ));
        }
    }
    Ok(())
}

/// Whether a scope is one that is offered here; another client's audience for those it trusts.
pub(crate) fn is_scope(scope: &str) -> bool {
    matches!(
        scope,
        "openid" | "email" | "profile" | "groups" | "offline_access" | "federated:id"
    ) || scope.starts_with(CROSS_CLIENT)
}

/// Whether `client` may ask for tokens with the client `peer` in `aud`.
pub(crate) fn is_trusted(inner: &Inner, client: &Client, peer: &str) -> bool {
    peer == client.id
        || inner
            .known_client(peer)
            .is_some_and(|peer| peer.trusted_peers.contains(&client.id))
}

/// Whether a token is of a client itself, by its `jti`.
pub(crate) fn is_of_client(claims: &Claims) -> bool {
    claims
        .jti
        .split_once('.')
        .is_some_and(|(kind, _)| kind == CLIENT_TOKEN)
}

/// Dex's `sub` of a client: a user of no connector.
pub(crate) fn client_subject(client: &str) -> String {
    subject_of(client, "")
}

/// Dex's `sub` of a user: base64url of the protobuf message `{1: user id, 2: connector id}` (`server/internal/types.proto`,
/// IDTokenSubject), which leaves out what is empty.
pub(crate) fn subject_of(user_id: &str, connector: &str) -> String {
    let mut message = Vec::with_capacity(user_id.len() + connector.len() + 6);
    let fields = [(0x0a, user_id), (0x12, connector)];
    for (tag, text) in fields.into_iter().filter(|(_, text)| !text.is_empty()) {
        message.push(tag);
        let mut length = text.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(text.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(message)
}

/// `at_hash`: the left half of the digest of the signature (OpenID Connect Core 1.0 section
/// 3.1.3.6); that of Ed25519 is SHA-512 (RFC 8032 section 5.1).
pub(crate) fn access_token_hash(algorithm: Algorithm, access_token: &str) -> String {
    let left = |digest: &[u8]| {
        let (left, _) = digest.split_at(digest.len() / 2);
        URL_SAFE_NO_PAD.encode(left)
    };
    match algorithm {
        Algorithm::Rs256 | Algorithm::Es256 => left(&Sha256::digest(access_token.as_bytes())),
        Algorithm::EdDsa => left(&Sha512::digest(access_token.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::LOCAL;

    #[test]
    fn subjects_are_those_of_dex() {
        let subject = |user_id: &str| subject_of(user_id, LOCAL);
        // The value that Dex gives the default user of Kubeflow.
        assert_eq!(subject("15841185641784"), "Cg4xNTg0MTE4NTY0MTc4NBIFbG9jYWw");
        assert_eq!(
            subject("08a8684b-db88-4b73-90a9-3cd1661f5466"),
            "CiQwOGE4Njg0Yi1kYjg4LTRiNzMtOTBhOS0zY2QxNjYxZjU0NjYSBWxvY2Fs"
        );
        let long = URL_SAFE_NO_PAD.decode(subject(&"x".repeat(300))).unwrap();
        assert_eq!(long[..3], [0x0a, 0xac, 0x02]);
    }

    #[test]
    fn the_hash_of_an_access_token_is_that_of_the_specification() {
        // The value of OpenID Connect Core 1.0 appendix A.3.
        assert_eq!(
            access_token_hash(
                Algorithm::Rs256,
                "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
            ),
            "77QmUPtjPfzWtF2AnpK9RQ"
        );
    }
}
