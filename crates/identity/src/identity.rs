//! Who is calling.

use std::fmt;
use std::sync::Arc;

use policy::{AccessAnswer, AccessCheck, Caller, RequestHead, TokenError, TokenHolder, Tokens};

use crate::authservice::AuthserviceConfig;
use crate::bearer::{Authorization, Verified, authorization, own_key};
use crate::clock::{Clock, now};
use crate::cluster::ClusterIssuer;
use crate::cluster_api::ClusterApi;
use crate::http_client::HttpClient;
use crate::issuers::{Issuers, Outside};
use crate::jose::{MAX_BEARER_BYTES, Unverified};
use crate::keys::{ApiKeys, PREFIX};
use crate::oauth2_proxy::Oauth2ProxyConfig;
use crate::rp::{Logins, RelyingParty};
use crate::seen::Seen;
use crate::session::{Session, Sessions};
use secret::Secret;

/// What an [`Identity`] is made of.
#[derive(Clone)]
pub struct Parts {
    /// Sessions of people.
    pub sessions: Sessions,
    /// The logins, for each provider that there is.
    pub logins: Logins,
    /// The cluster's token issuer, if there is one.
    pub cluster_issuer: Option<Arc<ClusterIssuer>>,
    /// The API server of a real cluster, if there is one.
    pub cluster_api: Option<Arc<ClusterApi>>,
    /// Other issuers whose tokens count, and the way to their keys.
    pub issuers: Option<(Issuers, Arc<dyn HttpClient>)>,
    /// API keys, if there are any.
    pub api_keys: Option<ApiKeys>,
    /// How it answers in oidc-authservice's place.
    pub authservice: AuthserviceConfig,
    /// How it answers in oauth2-proxy's place.
    pub oauth2_proxy: Oauth2ProxyConfig,
    /// The time.
    pub clock: Clock,
}

/// Finds out who is calling, by session cookie and bearer token.
pub struct Identity {
    pub(crate) parts: Parts,
    verified: Verified,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("sessions", &self.parts.sessions)
            .field("logins", &self.parts.logins)
            .field("cluster_issuer", &self.parts.cluster_issuer)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let mut context = String::new();
        if let Some(cluster) = &parts.cluster_issuer {
            context.push_str(&cluster.fingerprint());
        }
        for login in parts.logins.iter() {
            context.push_str(login.fingerprint());
        }
        if let Some(cluster) = &parts.cluster_api {
            context.push_str(&cluster.fingerprint());
        }
        if let Some((issuers, _)) = &parts.issuers {
            context.push_str(&issuers.fingerprint());
        }
        Self {
            verified: Verified::new(&context),
            parts,
        }
    }

    /// The sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.parts.sessions
    }

    /// The login of all hosts that no other is for, if there is one.
    pub fn relying_party(&self) -> Option<&RelyingParty> {
        self.parts.logins.rest().map(|login| &**login)
    }

    /// The login of a host.
    pub(crate) fn login_of(&self, seen: &Seen<'_>) -> Option<&Arc<RelyingParty>> {
        self.parts.logins.of(seen.authority)
    }

    /// The cluster's token issuer, if there is one.
    pub fn cluster_issuer(&self) -> Option<&ClusterIssuer> {
        self.parts.cluster_issuer.as_deref()
    }

    /// Who sent the request, by the credentials that count. A session goes
    /// before a bearer token: pages behind the login send tokens of their own
    /// to what they talk to. Two authorization headers are never guessed about.
    pub async fn caller(&self, head: &RequestHead, tokens: Tokens) -> Caller {
        let seen = Seen::from(head);
        let authorization = authorization(&head.headers);
        if let Authorization::Wrong(error) = authorization {
            return Caller::BadToken(error);
        }
        let own_key = match own_key(&head.headers) {
            Ok(Some(_)) if matches!(authorization, Authorization::Bearer(_)) => {
                return Caller::BadToken(TokenError(
                    "both an authorization and an x-api-key header, expected one of them"
                        .to_owned(),
                ));
            }
            Ok(key) => key,
            Err(error) => return Caller::BadToken(error),
        };
        if tokens == Tokens::SessionOrBearer
            && let Some(session) = self.session(&seen).await
        {
            return Caller::Session(session.person.clone());
        }
        if let Some(key) = own_key {
            return self.key(key).await;
        }
        match authorization {
            Authorization::Bearer(token) if token.starts_with(PREFIX) => self.key(token).await,
            Authorization::Bearer(token) => match self.bearer(token, self.login_of(&seen)).await {
                Ok(holder) => Caller::Token(holder),
                Err(error) => Caller::BadToken(error),
            },
            Authorization::Absent { other_scheme: true } if tokens == Tokens::BearerOnly => {
                Caller::BadToken(TokenError(
                    "the authorization header is of another scheme, expected `Bearer <token>`"
                        .to_owned(),
                ))
            }
            Authorization::Absent { .. } | Authorization::Wrong(_) => Caller::Anonymous,
        }
    }

    /// Keys are looked up for each request: one that is revoked is none at once.
    async fn key(&self, token: &str) -> Caller {
        let found = match &self.parts.api_keys {
            Some(keys) => {
                keys.meet(token).await;
                keys.find(token)
            }
            None => Err(TokenError("API keys are not accepted here".to_owned())),
        };
        found.map_or_else(Caller::BadToken, Caller::Key)
    }

    /// Whose token this is, where `login` is the one that counts. A verified
    /// token is remembered for 60 seconds at most, never past its expiry.
    ///
    /// # Errors
    /// Says what is wrong with the token, without repeating it.
    pub async fn bearer(
        &self,
        token: &str,
        login: Option<&Arc<RelyingParty>>,
    ) -> Result<TokenHolder, TokenError> {
        if token.len() > MAX_BEARER_BYTES {
            return Err(TokenError("the token is longer than 8192 bytes".to_owned()));
        }
        // At a host of another login it may be nobody's.
        let of = login.map_or("", |login| login.fingerprint());
        let key = self.verified.key(of, token);
        let now = now(&self.parts.clock);
        if let Some(holder) = self.verified.get(&key, now) {
            return Ok(holder);
        }
        // Apart: most checks end before, and need no room for it.
        let verified = Box::pin(self.verify(token, login, now)).await;
        let (holder, expires) = verified.map_err(TokenError)?;
        self.verified.remember(key, &holder, expires, now);
        Ok(holder)
    }

    /// Whether the cluster lets somebody call a model, by its API server.
    pub async fn access(&self, check: &AccessCheck) -> AccessAnswer {
        match &self.parts.cluster_api {
            Some(cluster) => cluster.access(check).await,
            None => AccessAnswer::NoServer,
        }
    }

    async fn verify(
        &self,
        text: &str,
        login: Option<&Arc<RelyingParty>>,
        now: u64,
    ) -> Result<(TokenHolder, u64), String> {
        let token = Unverified::parse(text, MAX_BEARER_BYTES).map_err(|error| error.to_string())?;
        let issuer = token
            .claimed_issuer()
            .ok_or("the token has no issuer (`iss`)")?;
        if let Some(cluster) = &self.parts.cluster_issuer
            && cluster.issuer() == issuer
        {
            return cluster
                .verify_parsed(&token, now)
                .map(|(account, expires)| (TokenHolder::ServiceAccount(account), expires))
                .map_err(|error| error.to_string());
        }
        if let Some(login) = login
            && login.issuer() == issuer
        {
            return login
                .bearer(&token)
                .await
                .map(|(person, expires)| (TokenHolder::Person(person), expires))
                .map_err(|error| error.to_string());
        }
        if let Some((issuers, http)) = &self.parts.issuers
            && issuers.has(issuer)
        {
            let outside = Outside {
                http: Arc::clone(http),
                clock: Arc::clone(&self.parts.clock),
            };
            let verified = issuers.verify(&token, &outside).await;
            return verified.map_err(|error| error.to_string());
        }
        if let Some(cluster) = &self.parts.cluster_api
            && let Some(verified) = cluster.verify(text, &token).await
        {
            return verified
                .map(|(account, until)| (TokenHolder::ServiceAccount(account), until))
                .map_err(|error| error.to_string());
        }
        Err("the token's issuer is not accepted".to_owned())
    }

    /// The ID token that the login of the request's session got, for upstreams
    /// that verify it themselves.
    pub fn id_token(&self, head: &RequestHead) -> Option<Secret> {
        let session = self.live_session(&Seen::from(head))?;
        self.parts.sessions.id_token(&session)
    }

    /// The session of a request, its tokens renewed if it is time.
    pub(crate) async fn session(&self, seen: &Seen<'_>) -> Option<Arc<Session>> {
        let login = self.login_of(seen)?;
        login.renewed(login.session_of(seen).await?).await
    }

    fn live_session(&self, seen: &Seen<'_>) -> Option<Arc<Session>> {
        self.login_of(seen)?.find_session(seen)
    }
}
