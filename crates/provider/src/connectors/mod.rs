//! Other places that know who somebody is: `connectors` of the configuration, at work.

mod claims;
mod directory;
mod flow;
mod jws;
mod oidc;
mod person;
mod recheck;
mod route;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::{Deserialize, Serialize};

use crate::backchannel::Outgoing;
use crate::config::{Connector, ConnectorKind, DexConfig};
use crate::provider::OpenError;
use crate::user::User;

pub(crate) use directory::Directory;
pub(crate) use oidc::Oidc;
pub(crate) use person::{Noted, Upstream};
pub(crate) use route::ConnectorPath;

/// Most people whose accounts are asked about at the same time.
const MAX_TURNS: usize = 10_000;

/// The connectors of a configuration.
pub(crate) struct Connectors {
    all: Vec<Arc<Open>>,
    turns: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// One of them, with what it keeps while it runs.
pub(crate) struct Open {
    pub(crate) config: Connector,
    pub(crate) way: Way,
}

/// How a connector finds out who somebody is.
pub(crate) enum Way {
    Oidc(Oidc),
    Directory(Directory),
}

/// Who somebody is, as a connector says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user_id: String,
    pub(crate) name: String,
    pub(crate) preferred_username: Option<String>,
    pub(crate) email: String,
    pub(crate) email_verified: bool,
    pub(crate) groups: Vec<String>,
    /// With what to ask again, where that can be done.
    pub(crate) again: Option<Again>,
}

impl Identity {
    /// The user of the connector with this id, of whom nothing is kept.
    pub(crate) fn user(self, connector: &str) -> User {
        User {
            email: self.email,
            email_verified: self.email_verified,
            hash: None,
            name: self.name,
            preferred_username: self.preferred_username,
            groups: self.groups,
            user_id: self.user_id,
            connector: connector.to_owned(),
            epoch: 0,
        }
    }
}

/// What it takes to ask a connector again about somebody who is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Again {
    /// A refresh token of the other provider.
    Token(String),
    /// What was typed, and the name of the entry that it led to.
    Entry { username: String, dn: String },
}

/// Why a connector does not say who somebody is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// It is not reached, or fails: a later attempt may succeed.
    #[error("{0}")]
    Unreachable(String),
    /// What it says cannot be trusted, or is not enough.
    #[error("{0}")]
    Unusable(String),
    /// The login there was not as strong as it has to be.
    #[error("{0}")]
    Weak(String),
    /// It does not let the person in, or the configuration does not.
    #[error("{0}")]
    Refused(String),
    /// It does not know the person any more.
    #[error("{0}")]
    Gone(String),
    /// Too many ask at once.
    #[error("too many people are logging in")]
    Busy,
}

impl Connectors {
    pub(crate) fn open(
        config: &DexConfig,
        outgoing: Option<&Arc<dyn Outgoing>>,
    ) -> Result<Self, OpenError> {
        let open = |connector: &Connector| {
            let failed = |message: String| OpenError::Connector {
                id: connector.id.clone(),
                message,
            };
            let way = match &connector.kind {
                ConnectorKind::Oidc(oidc) => {
                    let outgoing = outgoing.ok_or_else(|| failed("nothing is asked".into()))?;
                    Way::Oidc(Oidc::new((**oidc).clone(), Arc::clone(outgoing)).map_err(failed)?)
                }
                ConnectorKind::Ldap(ldap) => {
                    Way::Directory(Directory::new((**ldap).clone()).map_err(failed)?)
                }
            };
            Ok::<_, OpenError>(Arc::new(Open {
                config: connector.clone(),
                way,
            }))
        };
        Ok(Self {
            all: config
                .connectors
                .iter()
                .map(open)
                .collect::<Result<_, _>>()?,
            turns: Mutex::default(),
        })
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Open>> {
        self.all.iter().find(|open| open.config.id == id)
    }

    /// What is held while somebody is asked about, so that one answer serves all who wait for it.
    fn turn(&self, key: &str) -> Result<Arc<tokio::sync::Mutex<()>>, Trouble> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
            return Ok(turn);
        }
        if turns.len() >= MAX_TURNS {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        if turns.len() >= MAX_TURNS {
            return Err(Trouble::Busy);
        }
        let turn = Arc::default();
        turns.insert(key.to_owned(), Arc::downgrade(&turn));
        Ok(turn)
    }
}

impl Open {
    /// Asks again about somebody.
    async fn again(&self, again: &Again, now: u64) -> Result<Identity, Trouble> {
        match (&self.way, again) {
            (Way::Oidc(oidc), Again::Token(token)) => oidc.refresh(token, now).await,
            (Way::Directory(directory), Again::Entry { username, dn }) => {
                directory.again(username, dn).await
            }
            _ => Err(Trouble::Refused(
                "the connector is another one than at the login".into(),
            )),
        }
    }
}
