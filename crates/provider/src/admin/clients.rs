//! Clients of the database.

use secret::Secret;

use super::{Admin, AdminError, is_name};
use crate::clients::{StoredClient, digest_of};
use crate::clock::unix_seconds;
use crate::config::{
    GrantType, Pkce, PromptNone, SecondFactor, is_logout_target, is_redirect_target,
};
use crate::seal::random_token;
use crate::storage::StorageError;
use crate::token::is_scope;
use crate::user::LOCAL;

/// A client to be.
#[derive(Debug, Clone, Default)]
pub struct NewClient {
    /// Its `client_id`, which no client has yet.
    pub id: String,
    /// The name shown to people; the id where it is empty.
    pub name: String,
    /// Where codes may be sent, compared as whole strings.
    pub redirect_uris: Vec<String>,
    /// It cannot keep a secret.
    pub public: bool,
    /// Clients that may ask for tokens with this one in `aud`.
    pub trusted_peers: Vec<String>,
    /// Where a logout may lead.
    pub post_logout_redirect_uris: Vec<String>,
    /// Where it is told of logouts.
    pub backchannel_logout_uri: Option<String>,
    /// Ids of connectors that people may log in with; all where none is listed.
    pub allowed_connectors: Vec<String>,
    /// Scopes that it may ask for beside `openid`; all where none is listed.
    pub allowed_scopes: Vec<String>,
    /// Its ways to tokens; all that are offered where none is listed.
    pub grant_types: Vec<GrantType>,
    /// Whether users here need a second factor for it.
    pub second_factor: SecondFactor,
    /// Whether it has to use PKCE; one without a secret always has to.
    pub pkce: Pkce,
    /// What its `prompt=none` means.
    pub prompt_none: PromptNone,
}

/// What is told of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its `client_id`.
    pub id: String,
    /// The name shown to people.
    pub name: String,
    /// Where codes may be sent.
    pub redirect_uris: Vec<String>,
    /// It cannot keep a secret.
    pub public: bool,
    /// Whether it has to use PKCE.
    pub pkce: Pkce,
    /// Where it is kept, and whether it counts.
    pub state: ClientState,
    /// When it was added, in Unix seconds; unknown for clients of the configuration.
    pub created_at: Option<u64>,
}

/// Where a client is kept, and whether it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// One of `staticClients`.
    Configured,
    /// In the database.
    Stored,
    /// In the database, where `staticClients` has one of the same id, which counts.
    Shadowed,
}

impl ClientState {
    /// As it is written for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Stored => "stored",
            Self::Shadowed => "shadowed",
        }
    }
}

impl Admin {
    /// All clients: those of the configuration, then those of the database by id.
    ///
    /// # Errors
    /// When the database fails.
    pub fn clients(&self) -> Result<Vec<ClientInfo>, AdminError> {
        let configured = self.config().into_iter().flat_map(|config| &config.clients);
        let mut all: Vec<ClientInfo> = configured
            .map(|client| ClientInfo {
                id: client.id.clone(),
                name: client.name.clone(),
                redirect_uris: client.redirect_uris.clone(),
                public: client.public,
                pkce: client.pkce,
                state: ClientState::Configured,
                created_at: None,
            })
            .collect();
        let stored = self.storage.all::<StoredClient>()?;
        all.extend(stored.iter().map(|(_, client)| self.client_info(client)));
        Ok(all)
    }

    /// Adds a client; its secret, unless it is public, is told here and never again.
    ///
    /// # Errors
    /// When the id is taken, or something about it cannot be.
    pub async fn add_client(
        &self,
        new: NewClient,
    ) -> Result<(ClientInfo, Option<Secret>), AdminError> {
        let graphic = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if new.id.is_empty() || new.id.len() > 200 || !graphic(&new.id) {
            return Err(AdminError::ClientId(new.id));
        }
        if self.is_configured_client(&new.id) {
            return Err(AdminError::ClientExists(new.id));
        }
        let name = match new.name.trim() {
            "" => new.id.clone(),
            name => name.to_owned(),
        };
        if !is_name(&name) {
            return Err(AdminError::Name(name));
        }
        let by_browser = [GrantType::AuthorizationCode, GrantType::Implicit];
        let needs_uri = new.grant_types.is_empty()
            || by_browser.iter().any(|kind| new.grant_types.contains(kind));
        if new.redirect_uris.is_empty() && !new.public && needs_uri {
            return Err(AdminError::NoRedirectUri);
        }
        let uris = new.redirect_uris.iter();
        let mut uris = uris.chain(&new.post_logout_redirect_uris);
        if let Some(bad) = uris.find(|uri| !is_redirect_target(uri)) {
            return Err(AdminError::RedirectUri(bad.clone()));
        }
        if let Some(bad) = &new.backchannel_logout_uri
            && !is_logout_target(bad)
        {
            return Err(AdminError::LogoutUri(bad.clone()));
        }
        if let Some(bad) = new.allowed_scopes.iter().find(|scope| !is_scope(scope)) {
            return Err(AdminError::Scope(bad.clone()));
        }
        let connectors = self.config().map(|config| &config.connectors);
        if let Some(connectors) = connectors
            && let Some(bad) = new
                .allowed_connectors
                .iter()
                .find(|id| *id != LOCAL && connectors.iter().all(|known| known.id != **id))
        {
            return Err(AdminError::Connector(bad.clone()));
        }
        let secret = match new.public {
            true => None,
            false => Some(random_token::<32>().ok_or(StorageError::Random)?),
        };
        let client = StoredClient {
            id: new.id,
            name,
            secret_sha256: secret.as_deref().map(digest_of),
            redirect_uris: new.redirect_uris,
            trusted_peers: new.trusted_peers,
            post_logout_redirect_uris: new.post_logout_redirect_uris,
            backchannel_logout_uri: new.backchannel_logout_uri,
            allowed_connectors: new.allowed_connectors,
            allowed_scopes: new.allowed_scopes,
            grant_types: new.grant_types,
            second_factor: new.second_factor,
            pkce: Some(new.pkce),
            prompt_none: Some(new.prompt_none),
            created_at: unix_seconds(&self.clock),
        };
        let written = client.clone();
        self.change(move |batch| {
            if batch.get::<StoredClient>(&written.id)?.is_some() {
                return Ok(Err(AdminError::ClientExists(written.id.clone())));
            }
            batch.put(&written.id, &written)?;
            Ok(Ok(()))
        })
        .await?;
        Ok((self.client_info(&client), secret.map(Secret::new)))
    }

    /// Takes a client away, with all tokens and approvals that it was given.
    ///
    /// # Errors
    /// When there is no such client in the database.
    pub async fn remove_client(&self, id: &str) -> Result<(), AdminError> {
        let id = id.to_owned();
        let configured = self.is_configured_client(&id);
        self.change(move |batch| {
            match (StoredClient::remove(batch, &id)?, configured) {
                (true, true) => {}
                (true, false) => StoredClient::forget(batch, &id)?,
                (false, true) => return Ok(Err(AdminError::ConfiguredClient(id.clone()))),
                (false, false) => return Ok(Err(AdminError::UnknownClient(id.clone()))),
            }
            Ok(Ok(()))
        })
        .await
    }

    fn is_configured_client(&self, id: &str) -> bool {
        self.config()
            .is_some_and(|config| config.client(id).is_some())
    }

    fn client_info(&self, client: &StoredClient) -> ClientInfo {
        ClientInfo {
            id: client.id.clone(),
            name: client.name.clone(),
            redirect_uris: client.redirect_uris.clone(),
            public: client.is_public(),
            pkce: client.pkce_in(self.config().map_or(Pkce::Optional, |config| config.pkce)),
            state: if self.is_configured_client(&client.id) {
                ClientState::Shadowed
            } else {
                ClientState::Stored
            },
            created_at: Some(client.created_at),
        }
    }
}
