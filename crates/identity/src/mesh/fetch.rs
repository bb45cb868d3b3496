//! Keys of the issuers that RequestAuthentications name: written in the rule,
//! or fetched, as istiod does it (`pilot/pkg/model/jwks_resolver.go`). Where
//! keys cannot be had, nobody's tokens verify.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use policy::{TokenAnswer, TokenCheck, TokenKeys};
use serde_json::Value;

use super::{Jwks, read_token};
use crate::clock::{Clock, now};
use crate::http_client::HttpClient;
use crate::kept::document;

/// Keys are fetched again after so many seconds.
const FRESH: u64 = 20 * 60;

/// Old keys are used so long when they cannot be fetched again.
const USABLE: u64 = 24 * 3600;

/// At most one try in so many seconds.
const BETWEEN_TRIES: u64 = 5;

/// Time limit where the rule has none.
const TIMEOUT: Duration = Duration::from_secs(5);

/// No limit is longer than this, whatever the rule says.
const LONGEST: Duration = Duration::from_secs(30);

/// Documents are not longer.
const MAX_BODY: usize = 256 * 1024;

/// Key sets by rule. One value for one configuration: there are as many as it
/// has rules.
pub struct MeshKeys {
    http: Arc<dyn HttpClient>,
    clock: Clock,
    /// Keys of this process's own issuers, which need not be fetched.
    own: HashMap<String, Arc<Jwks>>,
    slots: Mutex<HashMap<Arc<TokenKeys>, Arc<Slot>>>,
}

impl fmt::Debug for MeshKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own: Vec<&String> = self.own.keys().collect();
        f.debug_struct("MeshKeys")
            .field("own", &own)
            .finish_non_exhaustive()
    }
}

/// One fetch at a time; who waits finds its result.
type Slot = tokio::sync::Mutex<Fetched>;

#[derive(Default)]
struct Fetched {
    keys: Option<(u64, Arc<Jwks>)>,
    failed: Option<(u64, Arc<str>)>,
}

impl MeshKeys {
    /// With a way to fetch documents.
    pub fn new(http: Arc<dyn HttpClient>, clock: Clock) -> Self {
        Self {
            http,
            clock,
            own: HashMap::new(),
            slots: Mutex::default(),
        }
    }

    /// The keys of an issuer of this process, as a JWKS document.
    #[must_use]
    pub fn with_issuer(mut self, issuer: &str, jwks: &str) -> Self {
        let keys = Arc::new(Jwks::parse(jwks.as_bytes()));
        self.own.insert(issuer.to_owned(), keys);
        self
    }

    /// What a token says, and whether its rule can verify it.
    pub async fn answer(&self, check: &TokenCheck) -> TokenAnswer {
        let now = now(&self.clock);
        match self.keys(&check.keys, now).await {
            Ok(keys) => read_token(&check.token, Ok(&keys), now),
            Err(why) => read_token(&check.token, Err(&why), now),
        }
    }

    async fn keys(&self, wanted: &Arc<TokenKeys>, now: u64) -> Result<Arc<Jwks>, Arc<str>> {
        if wanted.jwks.is_empty()
            && let Some(own) = self.own.get(&wanted.issuer)
        {
            return Ok(Arc::clone(own));
        }
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(Arc::clone(wanted)).or_default())
        };
        let mut fetched = slot.lock().await;
        let known = fetched.keys.clone();
        if let Some((at, keys)) = &known
            && (!wanted.jwks.is_empty() || now < at.saturating_add(FRESH))
        {
            return Ok(Arc::clone(keys));
        }
        let usable = known
            .filter(|(at, _)| now < at.saturating_add(USABLE))
            .map(|(_, keys)| keys);
        if let Some((at, why)) = &fetched.failed
            && now < at.saturating_add(BETWEEN_TRIES)
        {
            return usable.ok_or_else(|| Arc::clone(why));
        }
        match self.find(wanted).await {
            Ok(keys) => {
                let keys = Arc::new(keys);
                fetched.keys = Some((now, Arc::clone(&keys)));
                fetched.failed = None;
                Ok(keys)
            }
            Err(why) => {
                tracing::warn!(issuer = %wanted.issuer, %why, "keys cannot be fetched");
                let why: Arc<str> = format!("its issuer's keys cannot be fetched: {why}").into();
                fetched.failed = Some((now, Arc::clone(&why)));
                usable.ok_or(why)
            }
        }
    }

    async fn find(&self, wanted: &TokenKeys) -> Result<Jwks, String> {
        if !wanted.jwks.is_empty() {
            return Ok(Jwks::parse(wanted.jwks.as_bytes()));
        }
        let limit = wanted.timeout.as_deref().and_then(policy::duration);
        let limit = limit.unwrap_or(TIMEOUT).min(LONGEST);
        let fetched = async {
            let address = match wanted.jwks_uri.as_str() {
                "" => self.discover(&wanted.issuer).await?,
                address => address.to_owned(),
            };
            let keys = Jwks::parse(&self.get(&address).await?);
            match keys.is_empty() {
                true => Err(format!("`{address}` has no usable key")),
                false => Ok(keys),
            }
        };
        tokio::time::timeout(limit, fetched)
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn discover(&self, issuer: &str) -> Result<String, String> {
        if issuer.is_empty() {
            return Err("the rule has neither an issuer nor keys".to_owned());
        }
        let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
        let address = format!("{issuer}/.well-known/openid-configuration");
        let document: Value = serde_json::from_slice(&self.get(&address).await?)
            .map_err(|error| format!("`{address}`: {error}"))?;
        let found = document.get("jwks_uri").and_then(Value::as_str);
        found
            .map(str::to_owned)
            .ok_or_else(|| format!("`{address}` has no `jwks_uri`"))
    }

    async fn get(&self, address: &str) -> Result<Bytes, String> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(address)
            .header(header::ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|error| format!("`{address}`: {error}"))?;
        // The limit of the rule is around all of it.
        document(&*self.http, request, MAX_BODY, LONGEST).await
    }
}
