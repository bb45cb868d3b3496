//! Sessions: who logged in here with which browser, so that the next application asks no password.
//!
//! A browser holds a name with a random part, the database a digest of it. A new login gets a new
//! name, also when the same person logs in again.

use bytes::Bytes;
use http::Request;
use http::header::{HeaderValue, SET_COOKIE, USER_AGENT};
use serde::{Deserialize, Serialize};

use crate::account::{coarse, describe};
use crate::authorize::AuthRequest;
use crate::config::{Client, RefreshLifetime, SessionRules};
use crate::factors::{Method, Strength};
use crate::grant::{Grant, GrantId};
use crate::login::{cookie_of, is_https};
use crate::pages::failed;
use crate::provider::{Inner, Source};
use crate::reply::Reply;
use crate::seal::random_token;
use crate::storage::{Batch, Kind, Record, StorageError};
use crate::user::{User, UserRef};

const COOKIE_NAME: &str = "sidegate_session";
const RANDOM: usize = 22;
/// How many sessions one user keeps; the oldest make room.
const SESSIONS_PER_USER: usize = 64;

/// The record of a session. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// The claim `sid`, which clients know; not what the browser holds.
    pub(crate) sid: String,
    #[serde(flatten)]
    pub(crate) user: UserRef,
    /// When the password was last typed.
    pub(crate) auth_time: u64,
    pub(crate) used_at: u64,
    pub(crate) expires_at: u64,
    /// How the person logged in.
    #[serde(default)]
    pub(crate) methods: Vec<Method>,
    /// The kind of browser, for the person to recognise.
    #[serde(default)]
    pub(crate) browser: Option<String>,
    /// The network that it was in.
    #[serde(default)]
    pub(crate) from: Option<String>,
    /// Ids of the clients that got tokens in it.
    pub(crate) clients: Vec<String>,
}

impl Record for Session {
    const KIND: Kind = Kind::Session;

    fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

/// What a login knows of its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRef {
    /// Its key in the database.
    pub(crate) key: String,
    pub(crate) sid: String,
}

/// A session and the user whose it is.
pub(crate) struct Current {
    pub(crate) key: String,
    pub(crate) session: Session,
    pub(crate) user: User,
}

impl Session {
    fn is_over(&self, rules: &SessionRules, now: u64) -> bool {
        let idle_end = self.used_at.saturating_add(rules.idle.as_secs());
        now >= self.expires_at || now >= idle_end
    }
}

impl Current {
    pub(crate) fn reference(&self) -> SessionRef {
        SessionRef {
            key: self.key.clone(),
            sid: self.session.sid.clone(),
        }
    }

    /// Whether an authorization request may be answered out of this session, without a password.
    pub(crate) fn serves(&self, inner: &Inner, rules: &SessionRules, auth: &AuthRequest) -> bool {
        let age = inner.now().saturating_sub(self.session.auth_time);
        let fresh = auth.max_age.is_none_or(|most| age < most);
        let hinted = auth
            .subject
            .as_ref()
            .is_none_or(|hint| *hint == self.user.subject());
        let connector = &self.session.user.connector;
        let wanted = auth.connector.as_ref().is_none_or(|id| id == connector);
        let strength = Strength::of(&self.session.methods);
        let strong = strength >= inner.demanded(auth, connector);
        let allowed = wanted && strong && inner.is_way(auth, connector);
        !auth.prompt.login
            && fresh
            && hinted
            && allowed
            && self.is_shared(inner, rules, &auth.client_id)
    }

    /// Dex's `ssoSharedWith`: whether a client that has a part in the session shares it.
    fn is_shared(&self, inner: &Inner, rules: &SessionRules, client: &str) -> bool {
        self.session.clients.iter().any(|member| {
            let shared = inner
                .known_client(member)
                .and_then(|member| member.sso_shared_with);
            member == client
                || match shared {
                    Some(shared) => shared.iter().any(|id| id == client || id == "*"),
                    None => rules.shared_with_all,
                }
        })
    }
}

impl Inner {
    /// The session of the browser that sends this request, unless it is over.
    pub(crate) fn session(&self, request: &Request<Bytes>) -> Option<Current> {
        let rules = self.config.sessions.as_ref()?;
        let cookie = cookie_of(request, COOKIE_NAME, GrantId::USER_PREFIX + RANDOM)?;
        let key = self.session_key(&cookie)?;
        let session = self.read(|storage| storage.get::<Session>(&key))??;
        if session.is_over(rules, self.now()) {
            return None;
        }
        let user = self.read(|_| self.user(&session.user))??;
        Some(Current { key, session, user })
    }

    /// Whether a grant goes on, as far as its session is concerned: refresh tokens of some clients end with it.
    pub(crate) fn outlasts_session(
        &self,
        client: &Client,
        grant: &Grant,
    ) -> Result<bool, StorageError> {
        let (RefreshLifetime::Session, Some(sid)) = (client.refresh_lifetime, &grant.sid) else {
            return Ok(true);
        };
        let Some(rules) = &self.config.sessions else {
            return Ok(false);
        };
        let prefix = GrantId::user_prefix_of(&self.sealer, &grant.user);
        let sessions = self.storage().with_prefix::<Session>(&prefix)?;
        let now = self.now();
        let mut sessions = sessions.iter();
        Ok(sessions.any(|(_, session)| session.sid == *sid && !session.is_over(rules, now)))
    }

    /// Begins a session after a password; the value for [`Self::set_session_cookie`] comes with it.
    /// Without `sessions` in the configuration there is none.
    pub(crate) async fn begin_session(
        &self,
        request: &Request<Bytes>,
        user: &User,
        methods: &[Method],
    ) -> Result<Option<(SessionRef, String)>, Reply> {
        let Some(rules) = &self.config.sessions else {
            return Ok(None);
        };
        let made = || {
            let prefix = GrantId::user_prefix_of(&self.sealer, &user.reference());
            let cookie = format!("{prefix}{}", random_token::<16>()?);
            Some((self.session_key(&cookie)?, cookie, random_token::<16>()?))
        };
        let (key, cookie, new_sid) = made().ok_or_else(failed)?;
        let before = self.session(request);
        let (same, other) = match before {
            Some(before) if before.session.user.is_same_user(&user.reference()) => {
                (Some(before), None)
            }
            other => (None, other),
        };
        if let Some(other) = other {
            self.end_session(other.key, other.session).await?;
        }
        let now = self.now();
        let mut session = Session {
            sid: new_sid,
            user: user.reference(),
            auth_time: now,
            used_at: now,
            expires_at: now.saturating_add(rules.absolute.as_secs()),
            methods: methods.to_vec(),
            browser: request
                .headers()
                .get(USER_AGENT)
                .and_then(|agent| describe(agent.to_str().ok()?)),
            from: request
                .extensions()
                .get::<Source>()
                .map(|source| coarse(source.0)),
            clients: Vec::new(),
        };
        let old_key = same.map(|same| {
            session.sid = same.session.sid;
            session.clients = same.session.clients;
            same.key
        });
        let reference = SessionRef {
            key: key.clone(),
            sid: session.sid.clone(),
        };
        self.write(move |batch| {
            if let Some(old) = &old_key {
                batch.remove::<Session>(old)?;
            }
            make_room(batch, &key, now)?;
            batch.insert(&key, &session, now)
        })
        .await
        .ok_or_else(failed)?;
        Ok(Some((reference, cookie)))
    }

    /// Forgets a session, revokes what does not outlive it, and tells its clients.
    pub(crate) async fn end_session(&self, key: String, session: Session) -> Result<(), Reply> {
        let prefix = GrantId::user_prefix_of(&self.sealer, &session.user);
        let sid = session.sid.clone();
        let ends = |id: &&String| {
            let client = self.known_client(id);
            client.is_some_and(|client| client.refresh_lifetime == RefreshLifetime::Session)
        };
        let ending: Vec<String> = session.clients.iter().filter(ends).cloned().collect();
        self.write(move |batch| {
            let grants = batch.with_prefix::<Grant>(&prefix)?;
            batch.remove::<Session>(&key)?;
            for (id, grant) in grants {
                let ends = !grant.is_offline() || ending.contains(&grant.client_id);
                if grant.sid.as_deref() == Some(&sid) && ends {
                    batch.put(&id, &grant.revoked())?;
                }
            }
            Ok(())
        })
        .await
        .ok_or_else(failed)?;
        self.tell_clients(&session);
        Ok(())
    }

    /// The key of the session with this cookie. It begins with the user's part, so that all
    /// sessions of a user are found, and ends with a digest.
    fn session_key(&self, cookie: &str) -> Option<String> {
        let prefix = cookie.get(..GrantId::USER_PREFIX)?;
        Some(format!("{prefix}{}", self.sealer.mac("session", cookie)))
    }

    /// Sets the cookie on an answer, or with an empty value takes it away.
    pub(crate) fn set_session_cookie(
        &self,
        request: &Request<Bytes>,
        reply: &mut Reply,
        cookie: &str,
    ) {
        let secure = if is_https(request) { "; Secure" } else { "" };
        let path = self.config.issuer.path();
        let path = if path.is_empty() { "/" } else { path };
        let end = if cookie.is_empty() { "; Max-Age=0" } else { "" };
        let cookie =
            format!("{COOKIE_NAME}={cookie}; Path={path}; HttpOnly; SameSite=Lax{secure}{end}");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            reply.headers_mut().append(SET_COOKIE, cookie);
        }
    }
}

/// Notes that a client gets tokens in a session, which counts as use. False when the session has
/// ended meanwhile.
pub(crate) fn join(
    batch: &mut Batch<'_>,
    key: &str,
    client: &str,
    now: u64,
) -> Result<bool, StorageError> {
    let Some(mut session) = batch.get::<Session>(key)? else {
        return Ok(false);
    };
    session.used_at = now;
    if !session.clients.iter().any(|member| member == client) {
        session.clients.push(client.to_owned());
    }
    batch.put(key, &session)?;
    Ok(true)
}

/// Drops a user's oldest sessions before another one.
fn make_room(batch: &mut Batch<'_>, key: &str, now: u64) -> Result<(), StorageError> {
    let prefix = key.get(..GrantId::USER_PREFIX).unwrap_or(key);
    let mut sessions = batch.with_prefix::<Session>(prefix)?;
    sessions.sort_unstable_by_key(|(_, session)| session.used_at);
    let surplus = (sessions.len() + 1).saturating_sub(SESSIONS_PER_USER);
    for (index, (key, session)) in sessions.iter().enumerate() {
        if index < surplus || session.expires_at <= now {
            batch.remove::<Session>(key)?;
        }
    }
    Ok(())
}
