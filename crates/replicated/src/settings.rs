//! Where Redis is, and how to get in.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, TlsCertificates};
use secret::Secret;

/// How long a connection may take, TLS and login included.
const CONNECTING: Duration = Duration::from_secs(1);
/// How long the state in memory is believed without Redis, where nothing else is said.
const BELIEVED: Duration = Duration::from_secs(300);
/// How long an answer may take.
const ANSWERING: Duration = Duration::from_secs(1);

/// Where Redis is, and how to get in.
#[derive(Clone)]
pub struct Settings {
    client: Client,
    prefix: String,
    believed: Duration,
    again: Option<Again>,
}

/// How settings are read anew, and those that were last.
#[derive(Clone)]
struct Again {
    read: Arc<dyn Fn() -> Option<Settings> + Send + Sync>,
    last: Arc<Mutex<Option<Client>>>,
}

/// Settings that lead to no Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// The URL.
    #[error(
        "expected a URL like `redis://host:6379`, `rediss://host:6380` or \
         `unix:///run/redis.sock`: {0}"
    )]
    Url(String),
    /// The prefix of keys.
    #[error("expected a prefix of at most 64 letters, digits, `-`, `_` and `.`, found `{0}`")]
    Prefix(String),
    /// The authority.
    #[error("the authority's certificate: {0}")]
    Authority(String),
    /// An authority without TLS.
    #[error("an authority is for `rediss://` URLs only")]
    NoTls,
}

impl Settings {
    /// `url` may hold user, password and the number of a database. `user` and `password`, where
    /// given, count more. `authority` is in PEM; without it those of the system count.
    ///
    /// # Errors
    /// When the URL or the authority cannot be read. Nothing is connected to yet.
    pub fn new(
        url: &Secret,
        user: Option<&str>,
        password: Option<&Secret>,
        authority: Option<&[u8]>,
        prefix: &str,
    ) -> Result<Self, BadSettings> {
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if prefix.is_empty() || prefix.len() > 64 || !prefix.chars().all(letters) {
            return Err(BadSettings::Prefix(prefix.to_owned()));
        }
        let bad = |error: redis::RedisError| BadSettings::Url(error.to_string());
        let info = url.expose().into_connection_info().map_err(bad)?;
        let mut login = info.redis_settings().clone();
        if let Some(user) = user {
            login = login.set_username(user);
        }
        if let Some(password) = password {
            login = login.set_password(password.expose());
        }
        let tls = match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                let text = "`#insecure` would believe every certificate: name the authority";
                return Err(BadSettings::Url(text.to_owned()));
            }
            ConnectionAddr::TcpTls { .. } => true,
            _ => false,
        };
        let info = info.set_redis_settings(login);
        let client = match authority {
            Some(_) if !tls => return Err(BadSettings::NoTls),
            // Of a file without any, none would be believed, and nobody told.
            Some(pem) if !String::from_utf8_lossy(pem).contains("-----BEGIN CERTIFICATE-----") => {
                return Err(BadSettings::Authority("there is none".to_owned()));
            }
            Some(pem) => Client::build_with_tls(
                info,
                TlsCertificates {
                    client_tls: None,
                    root_cert: Some(pem.to_vec()),
                },
            )
            .map_err(|error| BadSettings::Authority(error.to_string()))?,
            None => Client::open(info).map_err(bad)?,
        };
        Ok(Self {
            client,
            prefix: prefix.to_owned(),
            believed: BELIEVED,
            again: None,
        })
    }

    /// The same, with what lets in (password, authority) read anew for each connection, so that it can be exchanged. While it
    /// cannot be read, what was read last counts. Prefix and times stay.
    #[must_use]
    pub fn read_again(self, read: impl Fn() -> Option<Self> + Send + Sync + 'static) -> Self {
        Self {
            again: Some(Again {
                read: Arc::new(read),
                last: Arc::default(),
            }),
            ..self
        }
    }

    /// The same with another time for which the state in memory is believed without Redis: what another
    /// replica took back counts here at most so long. Five minutes without.
    #[must_use]
    pub fn believed_for(self, believed: Duration) -> Self {
        Self { believed, ..self }
    }

    pub(crate) fn believed(&self) -> Duration {
        self.believed
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Host and port, or the path of the socket, for messages.
    #[must_use]
    pub fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// The one for a new connection.
    fn client(&self) -> Client {
        let Some(again) = &self.again else {
            return self.client.clone();
        };
        let mut last = again.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = (again.read)() {
            *last = Some(read.client);
        }
        last.clone().unwrap_or_else(|| self.client.clone())
    }

    pub(crate) fn connect(&self) -> redis::RedisResult<redis::Connection> {
        let connection = self.client().get_connection_with_timeout(CONNECTING)?;
        connection.set_read_timeout(Some(ANSWERING))?;
        connection.set_write_timeout(Some(ANSWERING))?;
        Ok(connection)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("address", &self.address())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
