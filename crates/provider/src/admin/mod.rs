//! What an operator can do with users and clients while the provider runs, and while it does not.

mod clients;
mod logins;
mod people;
mod users;

use std::sync::Arc;

pub use clients::{ClientInfo, ClientState, NewClient};
pub use logins::{EndedLogins, Logins};
pub use users::{NewUser, UserInfo, UserState};

use crate::accounts::{Ended, WeakPassword, canonical};
use crate::clock::Clock;
use crate::config::DexConfig;
use crate::provider::{Inner, OpenError, SignOuts, open_sealer};
use crate::seal::Sealer;
use crate::storage::{Batch, Storage, StorageError};

/// Longest name that is taken.
const MAX_NAME: usize = 200;

/// The users and clients of a database, for its operator. What it does is on the disk when it is
/// answered, and counts for the next request.
pub struct Admin {
    storage: Storage,
    sealer: Arc<Sealer>,
    clock: Clock,
    /// The provider that runs on the database.
    provider: Option<Arc<Inner>>,
    sign_outs: Option<Arc<dyn SignOuts>>,
}

/// Why something cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No address.
    #[error("`{0}` is not an e-mail address")]
    Email(String),
    /// A name or group that would break what it is written into.
    #[error("`{0}` cannot be a name: expected at most {MAX_NAME} letters on one line")]
    Name(String),
    /// Somebody has the address.
    #[error("a user `{0}` exists already")]
    Exists(String),
    /// Nobody has the address.
    #[error("there is no user `{0}`")]
    Unknown(String),
    /// What the configuration says is not changed by a command.
    #[error("user `{0}` is in `staticPasswords`: change it there")]
    Configured(String),
    /// Nobody of that name or id has logged in by the connector.
    #[error("nobody called `{user}` has logged in by connector `{connector}`")]
    UnknownAtConnector {
        /// Id of the connector.
        connector: String,
        /// The e-mail address or id that was asked for.
        user: String,
    },
    /// The user was disabled.
    #[error("user `{0}` is disabled: enable it first")]
    Disabled(String),
    /// A client has the id.
    #[error("a client `{0}` exists already")]
    ClientExists(String),
    /// No client has the id.
    #[error("there is no client `{0}`")]
    UnknownClient(String),
    /// What the configuration says is not changed by a command.
    #[error("client `{0}` is in `staticClients`: change it there")]
    ConfiguredClient(String),
    /// An id that would break what it is written into.
    #[error("`{0}` cannot be the id of a client: expected at most 200 visible letters of ASCII")]
    ClientId(String),
    /// Somewhere that no code can be sent to.
    #[error(
        "`{0}` cannot be a redirect URI: expected an absolute URI or a path such as \
         `/oauth2/callback`, without fragment"
    )]
    RedirectUri(String),
    /// Somewhere that no logout token can be sent to.
    #[error("`{0}` cannot be told of logouts: expected an http or https URL without fragment")]
    LogoutUri(String),
    /// A scope that is not offered.
    #[error("`{0}` is no scope that is offered: expected one such as `email`")]
    Scope(String),
    /// A connector that the configuration does not have.
    #[error("there is no connector `{0}`: expected the id of one, or `local` for users here")]
    Connector(String),
    /// A client with a secret and no place to send codes to.
    #[error("a client with a secret needs a redirect URI")]
    NoRedirectUri,
    /// A password that may not be set.
    #[error(transparent)]
    Password(#[from] WeakPassword),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What becomes of a change in a transaction.
type Changed<R> = Result<Result<R, AdminError>, StorageError>;

impl Admin {
    /// Opens the users of a database on which no provider runs.
    ///
    /// # Errors
    /// When the database fails or its key is damaged.
    pub fn open(storage: Storage, clock: Clock) -> Result<Self, OpenError> {
        let sealer = Arc::new(open_sealer(&storage)?);
        Ok(Self {
            storage,
            sealer,
            clock,
            provider: None,
            sign_outs: None,
        })
    }

    /// Tells somebody who keeps sessions of their own, where no provider runs that does.
    #[must_use]
    pub fn with_sign_outs(self, sign_outs: Arc<dyn SignOuts>) -> Self {
        Self {
            sign_outs: Some(sign_outs),
            ..self
        }
    }

    pub(crate) fn of(inner: &Arc<Inner>) -> Self {
        Self {
            storage: inner.storage().clone(),
            sealer: Arc::clone(&inner.sealer),
            clock: Arc::clone(&inner.clock),
            provider: Some(Arc::clone(inner)),
            sign_outs: None,
        }
    }

    async fn change<R: Send + 'static>(
        &self,
        change: impl Fn(&mut Batch<'_>) -> Changed<R> + Send + 'static,
    ) -> Result<R, AdminError> {
        self.storage.write(change).await?
    }

    fn config(&self) -> Option<&DexConfig> {
        self.provider.as_ref().map(|inner| &inner.config)
    }

    async fn tell(&self, ended: Option<Ended>) {
        let Some(ended) = ended else {
            return;
        };
        if let Some(sign_outs) = &self.sign_outs {
            sign_outs.signed_out(&ended.email).await;
        }
        if let Some(inner) = &self.provider {
            inner.forget_guesses(&canonical(&ended.email)).await;
            inner.tell_ended(ended).await;
        }
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admin")
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().count() <= MAX_NAME && !name.chars().any(char::is_control)
}
