//! Orders about API keys.

use std::time::Duration;

use identity::{ApiKeys, KeyError, KeyInfo, KeyOwner, NewKey};
use policy::{KeyScope, Person};
use serde::{Deserialize, Serialize};

use super::order::{Done, Refusal};

/// What is asked for.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeysOrder {
    Add(KeyOrder),
    List,
    /// By its id.
    Revoke(String),
}

/// A key to be.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeyOrder {
    /// A person, by e-mail address, or else a program, by name.
    pub(crate) user: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) name: String,
    pub(crate) namespaces: Vec<String>,
    pub(crate) models: Vec<String>,
    pub(crate) seconds: u64,
}

/// What is told of a key. Times are Unix seconds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiKey {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) user: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) namespaces: Vec<String>,
    pub(crate) models: Vec<String>,
    pub(crate) created_at: u64,
    pub(crate) expires_at: u64,
    pub(crate) last_used_at: Option<u64>,
}

impl ApiKey {
    /// Whose it is.
    pub(crate) fn owner(&self) -> String {
        match (&self.user, &self.service) {
            (Some(email), _) => email.clone(),
            (None, Some(name)) => format!("service:{name}"),
            (None, None) => String::new(),
        }
    }

    /// What it is for, in words.
    pub(crate) fn scope(&self) -> String {
        match (self.namespaces.as_slice(), self.models.as_slice()) {
            ([], []) => "all models".to_owned(),
            (namespaces, models) => {
                let all = namespaces.iter().map(|name| format!("{name}/*"));
                all.chain(models.iter().cloned())
                    .collect::<Vec<_>>()
                    .join(",")
            }
        }
    }
}

impl From<KeyInfo> for ApiKey {
    fn from(key: KeyInfo) -> Self {
        let texts =
            |list: &[std::sync::Arc<str>]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (user, service) = match &key.owner {
            KeyOwner::Person(person) => (Some(person.email.to_string()), None),
            KeyOwner::Service(name) => (None, Some(name.to_string())),
        };
        Self {
            id: key.id.to_string(),
            name: key.label.to_string(),
            user,
            service,
            namespaces: texts(&key.scope.namespaces),
            models: texts(&key.scope.models),
            created_at: key.created,
            expires_at: key.expires,
            last_used_at: key.used,
        }
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        Self {
            message: error.to_string(),
            bad_input: !matches!(error, KeyError::Store(_)),
        }
    }
}

pub(super) async fn carry_out(keys: &ApiKeys, order: KeysOrder) -> Result<Done, Refusal> {
    Ok(match order {
        KeysOrder::Add(order) => add(keys, order).await?,
        KeysOrder::List => Done::Keys(keys.list().into_iter().map(ApiKey::from).collect()),
        KeysOrder::Revoke(id) => Done::KeyRevoked(keys.revoke(&id, None).await?.into()),
    })
}

async fn add(keys: &ApiKeys, order: KeyOrder) -> Result<Done, Refusal> {
    let texts = |list: Vec<String>| list.into_iter().map(std::sync::Arc::from);
    let owner = match (order.user, order.service) {
        (None, Some(name)) => KeyOwner::Service(name.into()),
        (email, _) => KeyOwner::Person(Person {
            email: email.unwrap_or_default().into(),
            subject: "".into(),
            groups: texts(order.groups).collect(),
        }),
    };
    let new = NewKey {
        owner,
        label: order.name,
        scope: KeyScope {
            namespaces: texts(order.namespaces).collect(),
            models: texts(order.models).collect(),
        },
        life: Duration::from_secs(order.seconds),
    };
    let (key, secret) = keys.create(new).await?;
    Ok(Done::Key {
        key: key.into(),
        secret: secret.expose().to_owned(),
    })
}

/// Whoever is disabled has no keys either.
pub(super) async fn end_all_of(keys: Option<&ApiKeys>, email: &str) -> Result<(), Refusal> {
    if let Some(keys) = keys {
        keys.revoke_all_of(email).await.map_err(KeyError::from)?;
    }
    Ok(())
}
