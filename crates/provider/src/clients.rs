//! Clients that are kept in the database, beside `staticClients`, which win where both have an id.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::approval::Consent;
use crate::config::{
    Client, ClientSecret, DexConfig, GrantType, Pkce, PromptNone, RefreshLifetime, SecondFactor,
};
use crate::grant::{Grant, GrantId};
use crate::provider::Inner;
use crate::storage::{Batch, Kind, NEVER, Record, Storage, StorageError};

/// The record of a client, under its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredClient {
    pub(crate) id: String,
    pub(crate) name: String,
    /// None of a public client.
    pub(crate) secret_sha256: Option<[u8; 32]>,
    pub(crate) redirect_uris: Vec<String>,
    #[serde(default)]
    pub(crate) trusted_peers: Vec<String>,
    #[serde(default)]
    pub(crate) post_logout_redirect_uris: Vec<String>,
    #[serde(default)]
    pub(crate) backchannel_logout_uri: Option<String>,
    #[serde(default)]
    pub(crate) allowed_connectors: Vec<String>,
    #[serde(default)]
    pub(crate) allowed_scopes: Vec<String>,
    #[serde(default)]
    pub(crate) grant_types: Vec<GrantType>,
    #[serde(default)]
    pub(crate) second_factor: SecondFactor,
    /// None of one that was added before it was asked for: then the configuration says.
    #[serde(default)]
    pub(crate) pkce: Option<Pkce>,
    /// The same.
    #[serde(default)]
    pub(crate) prompt_none: Option<PromptNone>,
    /// Unix seconds.
    pub(crate) created_at: u64,
}

impl Record for StoredClient {
    const KIND: Kind = Kind::Client;

    fn expires_at(&self) -> u64 {
        NEVER
    }
}

impl StoredClient {
    pub(crate) fn is_public(&self) -> bool {
        self.secret_sha256.is_none()
    }

    /// Whether it has to use PKCE, where `default` is for clients that do not say.
    pub(crate) fn pkce_in(&self, default: Pkce) -> Pkce {
        match self.secret_sha256 {
            Some(_) => self.pkce.unwrap_or(default),
            None => Pkce::Required,
        }
    }

    /// What it is in this configuration.
    fn client(self, config: &DexConfig) -> Client {
        Client {
            public: self.is_public(),
            pkce: self.pkce_in(config.pkce),
            id: self.id,
            secret: self.secret_sha256.map(ClientSecret::Digest),
            redirect_uris: self.redirect_uris,
            name: self.name,
            trusted_peers: self.trusted_peers,
            allowed_connectors: self.allowed_connectors,
            allowed_scopes: self.allowed_scopes,
            grant_types: self.grant_types,
            second_factor: self.second_factor.max(config.second_factor_of_clients),
            refresh_lifetime: RefreshLifetime::Standalone,
            prompt_none: self.prompt_none.unwrap_or(match config.sessions {
                Some(_) => PromptNone::Refuse,
                None => PromptNone::Ignore,
            }),
            sso_shared_with: None,
            post_logout_redirect_uris: self.post_logout_redirect_uris,
            backchannel_logout_uri: self.backchannel_logout_uri,
            exchanges: Vec::new(),
            credentials_groups: Vec::new(),
            signing: config.signing,
            access_signing: config.signing,
        }
    }

    /// All of them.
    pub(crate) fn all(storage: &Storage) -> Result<Vec<Self>, StorageError> {
        let all = storage.all::<Self>()?.into_iter();
        Ok(all.map(|(_, client)| client).collect())
    }

    /// Takes a client away. False when there is none.
    pub(crate) fn remove(batch: &mut Batch<'_>, id: &str) -> Result<bool, StorageError> {
        let there = batch.get::<Self>(id)?.is_some();
        batch.remove::<Self>(id)?;
        Ok(there)
    }

    /// Takes away all that a client was given and allowed, so that another one of its id begins
    /// with nothing.
    pub(crate) fn forget(batch: &mut Batch<'_>, id: &str) -> Result<(), StorageError> {
        for (key, grant) in batch.with_prefix::<Grant>("")? {
            if grant.client_id == id {
                batch.remove::<Grant>(&key)?;
            }
        }
        for (key, _) in batch.with_prefix::<Consent>("")? {
            if key.get(GrantId::USER_PREFIX..) == Some(id) {
                batch.remove::<Consent>(&key)?;
            }
        }
        Ok(())
    }
}

/// The digest of a secret that is kept.
pub(crate) fn digest_of(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

impl Inner {
    /// The client with this id. One whose record cannot be read is unknown; the log says so.
    pub(crate) fn known_client(&self, id: &str) -> Option<Client> {
        if let Some(client) = self.config.client(id) {
            return Some(client.clone());
        }
        let stored = self.read(|storage| storage.get::<StoredClient>(id))??;
        Some(stored.client(&self.config))
    }
}
