//! The way to the provider. The transaction is sealed into `state`; one small
//! cookie binds it to the browser. A browser that already has that cookie
//! gets no other, so several tabs share it and nothing piles up; tabs that
//! start at the same moment without one get different slots.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, StatusCode};
use policy::Reply;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::local_path::LocalPath;
use super::{RedirectUri, RelyingParty, reply};
use crate::clock::now;
use crate::cookie::{self, Attributes};
use crate::random::{NoRandomness, random};
use crate::seen::Seen;

/// The cookies that bind logins to browsers, all there ever are. No upstream
/// needs to see them.
pub const LOGIN_COOKIES: [&str; 4] = [
    "sidegate_login_0",
    "sidegate_login_1",
    "sidegate_login_2",
    "sidegate_login_3",
];

/// Where a login begins by itself; oauth2-proxy's.
pub(super) const START_PATH: &str = "/oauth2/start";

/// A login takes no longer.
const LOGIN_LIFE: u64 = 30 * 60;

/// A binding older than this is replaced for new logins.
const REUSE: u64 = 15 * 60;

/// A login on its way, as sealed into `state`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Transaction {
    /// Makes nonce and verifier differ from every other login.
    #[serde(rename = "i")]
    id: String,
    #[serde(rename = "t")]
    started: u64,
    #[serde(rename = "s")]
    slot: usize,
    /// Hash of the browser's binding.
    #[serde(rename = "b")]
    binding: String,
    #[serde(rename = "r")]
    return_to: String,
}

/// What ties a login to a browser: 16 random bytes.
struct Binding {
    slot: usize,
    secret: [u8; 16],
    fresh: bool,
}

/// Nonce and PKCE verifier: never sent before they are needed.
pub(super) struct Proofs {
    pub(super) nonce: String,
    pub(super) verifier: String,
}

impl RelyingParty {
    pub(crate) fn begin(&self, seen: &Seen<'_>, return_to: &str) -> Reply {
        let known = self.provider.known_already();
        let found = known
            .as_ref()
            .and_then(|k| k.authorization_endpoint.as_deref());
        let Some(endpoint) = self.config.auth_url.as_deref().or(found) else {
            // Begun there, where the provider can be asked first.
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("rd", return_to)
                .finish();
            return reply::redirect(StatusCode::FOUND, &format!("{START_PATH}?{query}"), []);
        };
        self.try_begin(seen, return_to, endpoint)
            .unwrap_or_else(|error| {
                tracing::error!(%error, "login cannot begin");
                reply::failed()
            })
    }

    /// As [`Self::begin`], where the provider can be asked.
    pub(super) async fn start(&self, seen: &Seen<'_>, return_to: &str) -> Reply {
        if self.config.auth_url.is_none() {
            let known = self.provider.known().await;
            let endpoint = known.map(|known| known.authorization_endpoint.is_some());
            if !matches!(endpoint, Ok(true)) {
                let error = endpoint.err().map(|error| error.to_string());
                let error = error.unwrap_or_else(|| "no `authorization_endpoint`".to_owned());
                tracing::error!(error, "login cannot begin");
                return reply::page(
                    StatusCode::BAD_GATEWAY,
                    "You cannot log in just now",
                    "The login provider does not answer. Try again in a moment.",
                    &reply::Action::Link("Try again", "/"),
                );
            }
        }
        self.begin(seen, return_to)
    }

    fn try_begin(
        &self,
        seen: &Seen<'_>,
        return_to: &str,
        endpoint: &str,
    ) -> Result<Reply, NoRandomness> {
        let now = now(&self.clock);
        let binding = match self.binding_of(seen, None, REUSE) {
            Some(binding) => binding,
            None => new_binding(seen)?,
        };
        let return_to = LocalPath::parse(return_to)
            .filter(|path| !self.is_machinery(path.as_str()))
            .unwrap_or_else(LocalPath::root);
        let transaction = Transaction {
            id: URL_SAFE_NO_PAD.encode(random::<16>()?),
            started: now,
            slot: binding.slot,
            binding: fingerprint(&binding.secret),
            return_to: return_to.as_str().to_owned(),
        };
        let proofs = self.proofs(&transaction, &binding.secret);
        let plain = serde_json::to_vec(&transaction).map_err(|_| NoRandomness)?;
        let state = self.sealer.seal("state", &plain)?;
        let cookie = match binding.fresh {
            true => self.keep(seen, &binding, now)?,
            false => None,
        };
        let to = self.authorization_url(seen, endpoint, &proofs, &state);
        Ok(reply::redirect(StatusCode::FOUND, &to, [cookie]))
    }

    fn authorization_url(
        &self,
        seen: &Seen<'_>,
        endpoint: &str,
        proofs: &Proofs,
        state: &str,
    ) -> String {
        let config = &self.config;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&proofs.verifier));
        let mut scopes: Vec<&str> = config.scopes.iter().map(String::as_str).collect();
        if !scopes.contains(&"openid") {
            scopes.push("openid");
        }
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &config.client_id)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("nonce", &proofs.nonce)
            .append_pair("redirect_uri", &self.redirect_uri(seen))
            .append_pair("response_type", "code")
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", state)
            .finish();
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        format!("{endpoint}{joint}{query}")
    }

    pub(super) fn redirect_uri(&self, seen: &Seen<'_>) -> String {
        match &self.config.redirect_uri {
            RedirectUri::Exactly(uri) => uri.clone(),
            RedirectUri::OnRequestHost(path) => format!("{}{path}", self.origin(seen)),
        }
    }

    /// Where the browser is.
    pub(super) fn origin(&self, seen: &Seen<'_>) -> String {
        let scheme = if self.secure(seen) { "https" } else { "http" };
        format!("{scheme}://{}", seen.authority)
    }

    /// The login that a `state` is of, wherever the browser got it; `None` if
    /// it was not sealed here or took too long.
    pub(super) fn transaction(&self, state: &str) -> Option<(Transaction, LocalPath)> {
        let plain = self.sealer.open("state", state)?;
        let transaction: Transaction = serde_json::from_slice(&plain).ok()?;
        let return_to = LocalPath::parse(&transaction.return_to)?;
        let age = now(&self.clock).checked_sub(transaction.started)?;
        (age < LOGIN_LIFE).then_some((transaction, return_to))
    }

    /// Nonce and verifier, if this browser began the login.
    pub(super) fn proofs_of(&self, seen: &Seen<'_>, transaction: &Transaction) -> Option<Proofs> {
        let binding = self.binding_of(seen, Some(transaction.slot), LOGIN_LIFE)?;
        let ours = fingerprint(&binding.secret);
        let same: bool = ours.as_bytes().ct_eq(transaction.binding.as_bytes()).into();
        same.then(|| self.proofs(transaction, &binding.secret))
    }

    fn proofs(&self, transaction: &Transaction, secret: &[u8; 16]) -> Proofs {
        let parts = [transaction.id.as_bytes(), secret];
        Proofs {
            nonce: self.sealer.derive("nonce", parts),
            verifier: self.sealer.derive("verifier", parts),
        }
    }

    /// `Set-Cookie` that removes the binding of a login that is over.
    pub(super) fn unbind(&self, seen: &Seen<'_>, transaction: &Transaction) -> Option<HeaderValue> {
        self.slot(seen, transaction.slot)?.clear()
    }

    fn keep(
        &self,
        seen: &Seen<'_>,
        binding: &Binding,
        now: u64,
    ) -> Result<Option<HeaderValue>, NoRandomness> {
        let mut plain = now.to_be_bytes().to_vec();
        plain.extend_from_slice(&binding.secret);
        let value = self.sealer.seal("binding", &plain)?;
        Ok(self
            .slot(seen, binding.slot)
            .and_then(|slot| slot.set(&value, LOGIN_LIFE)))
    }

    fn slot(&self, seen: &Seen<'_>, slot: usize) -> Option<Attributes<'static>> {
        Some(Attributes {
            name: LOGIN_COOKIES.get(slot)?,
            path: "/",
            secure: self.secure(seen),
        })
    }

    /// The browser's binding in `slot` (any, if none is named) that is younger
    /// than `life` seconds.
    fn binding_of(&self, seen: &Seen<'_>, slot: Option<usize>, life: u64) -> Option<Binding> {
        let now = now(&self.clock);
        let slots = LOGIN_COOKIES.iter().enumerate();
        slots
            .filter(|(at, _)| slot.is_none_or(|slot| slot == *at))
            .find_map(|(at, name)| {
                let value = cookie::values(seen.headers, name).next()?;
                let plain = self.sealer.open("binding", value)?;
                let (made, secret) = plain.split_first_chunk::<8>()?;
                let age = now.checked_sub(u64::from_be_bytes(*made))?;
                (age < life).then_some(Binding {
                    slot: at,
                    secret: secret.try_into().ok()?,
                    fresh: false,
                })
            })
    }

    /// Paths that a login must not come back to: it would run in circles or
    /// end the session it made.
    fn is_machinery(&self, path_and_query: &str) -> bool {
        let path = path_and_query.split('?').next().unwrap_or_default();
        let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        path == self.callback_path
            || path.starts_with("/oauth2/")
            || self
                .config
                .logout_paths
                .iter()
                .any(|logout| **logout == *path)
    }
}

/// A new binding, in a slot that the browser does not use if there is one.
fn new_binding(seen: &Seen<'_>) -> Result<Binding, NoRandomness> {
    let [choice] = random::<1>()?;
    let start = usize::from(choice);
    let at = |step: usize| (start + step) % LOGIN_COOKIES.len();
    let unused = (0..LOGIN_COOKIES.len()).map(at).find(|slot| {
        LOGIN_COOKIES
            .get(*slot)
            .is_some_and(|name| cookie::values(seen.headers, name).next().is_none())
    });
    Ok(Binding {
        slot: unused.unwrap_or(at(0)),
        secret: random()?,
        fresh: true,
    })
}

fn fingerprint(secret: &[u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret))
}
