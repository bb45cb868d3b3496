//! What can be asked for, and what is answered.

use std::path::PathBuf;

use identity::{ApiKeys, Sessions};
use provider::{
    Admin, AdminError, ClientInfo, GrantType, Logins, NewClient, NewUser, Pkce, PromptNone,
    SecondFactor, Secret, SetupLink, Storage, UserInfo,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::keys::{self, ApiKey, KeysOrder};
use super::sessions::{self, OpenSession, SessionsOrder};
use crate::output::BadInput;

/// What is asked for.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    AddUser {
        email: String,
        name: String,
        groups: Vec<String>,
        password: Option<String>,
    },
    ListUsers,
    /// People of a connector.
    ListPeople(String),
    SetPerson {
        connector: String,
        user: String,
        enabled: bool,
    },
    EnableUser(String),
    DisableUser(String),
    ResetUser(String),
    /// Ends what somebody is logged in with, or everybody.
    EndLogins(LoginsOrder),
    /// Takes second factors away.
    ForgetFactors(String),
    AddClient(ClientOrder),
    ListClients,
    RemoveClient(String),
    /// About API keys.
    Keys(KeysOrder),
    /// About sessions at the gateway.
    Sessions(SessionsOrder),
    /// To an absolute path.
    Backup(PathBuf),
}

/// An order as it goes over the socket.
#[derive(Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) order: Order,
    /// Where people reach the provider, if that is not where it listens.
    pub(crate) base: Option<String>,
}

/// Whose logins are ended.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LoginsOrder {
    OfUser(String),
    OfPerson { connector: String, user: String },
    All,
}

impl From<LoginsOrder> for Logins {
    fn from(order: LoginsOrder) -> Self {
        match order {
            LoginsOrder::OfUser(email) => Self::OfUser(email),
            LoginsOrder::OfPerson { connector, user } => Self::OfPerson { connector, user },
            LoginsOrder::All => Self::All,
        }
    }
}

/// A client to be.
#[derive(Serialize, Deserialize)]
pub(crate) struct ClientOrder {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) public: bool,
    pub(crate) trusted_peers: Vec<String>,
    pub(crate) post_logout_redirect_uris: Vec<String>,
    pub(crate) backchannel_logout_uri: Option<String>,
    pub(crate) allowed_connectors: Vec<String>,
    pub(crate) allowed_scopes: Vec<String>,
    pub(crate) grant_types: Vec<GrantType>,
    pub(crate) second_factor: SecondFactor,
    #[serde(default)]
    pub(crate) pkce: Pkce,
    #[serde(default)]
    pub(crate) prompt_none: PromptNone,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Done {
    User {
        user: User,
        /// Where the person sets a password.
        link: Option<String>,
    },
    Users(Vec<User>),
    LoginsEnded {
        /// Who were logged in.
        people: usize,
        sessions: usize,
    },
    /// Of this user.
    FactorsForgotten(String),
    Client {
        client: Client,
        /// Shown once: what is kept is a digest.
        secret: Option<String>,
    },
    Clients(Vec<Client>),
    Removed(String),
    Key {
        key: ApiKey,
        /// Shown once: what is kept is a digest.
        secret: String,
    },
    Keys(Vec<ApiKey>),
    KeyRevoked(ApiKey),
    Sessions(Vec<OpenSession>),
    SessionsEnded {
        email: String,
        count: u64,
    },
    BackedUp(PathBuf),
}

/// What is told of a user.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    pub(crate) email: String,
    #[serde(rename = "userID")]
    pub(crate) user_id: String,
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
    pub(crate) state: String,
    /// Unix seconds.
    pub(crate) created_at: Option<u64>,
    pub(crate) password_changed_at: Option<u64>,
}

/// What is told of a client.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(rename = "redirectURIs")]
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) public: bool,
    #[serde(default)]
    pub(crate) pkce: Pkce,
    pub(crate) state: String,
    pub(crate) created_at: Option<u64>,
}

impl From<UserInfo> for User {
    fn from(user: UserInfo) -> Self {
        Self {
            email: user.email,
            user_id: user.user_id,
            name: user.name,
            groups: user.groups,
            state: user.state.name().to_owned(),
            created_at: user.created_at,
            password_changed_at: user.password_changed_at,
        }
    }
}

impl From<ClientInfo> for Client {
    fn from(client: ClientInfo) -> Self {
        Self {
            id: client.id,
            name: client.name,
            redirect_uris: client.redirect_uris,
            public: client.public,
            pkce: client.pkce,
            state: client.state.name().to_owned(),
            created_at: client.created_at,
        }
    }
}

/// The same for programs.
pub(crate) fn document(done: &Done) -> Value {
    match done {
        Done::User { user, link: None } => json!({ "user": user }),
        Done::User { user, link } => json!({ "user": user, "link": link }),
        Done::Users(users) => json!({ "users": users }),
        Done::LoginsEnded { people, sessions } => {
            json!({ "ended": { "people": people, "sessions": sessions } })
        }
        Done::FactorsForgotten(email) => json!({ "factorsForgotten": email }),
        Done::Client {
            client,
            secret: None,
        } => json!({ "client": client }),
        Done::Client { client, secret } => json!({ "client": client, "secret": secret }),
        Done::Clients(clients) => json!({ "clients": clients }),
        Done::Removed(id) => json!({ "removed": id }),
        Done::Key { key, secret } => json!({ "key": key, "secret": secret }),
        Done::Keys(keys) => json!({ "keys": keys }),
        Done::KeyRevoked(key) => json!({ "revoked": key }),
        Done::Sessions(sessions) => json!({ "sessions": sessions }),
        Done::SessionsEnded { email, count } => {
            json!({ "ended": { "email": email, "sessions": count } })
        }
        Done::BackedUp(file) => json!({ "backup": file }),
    }
}

/// Why an order is not carried out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    /// What was asked for cannot be, as opposed to something that failed.
    pub(crate) bad_input: bool,
}

impl From<AdminError> for Refusal {
    fn from(error: AdminError) -> Self {
        Self {
            message: error.to_string(),
            bad_input: !matches!(error, AdminError::Storage(_)),
        }
    }
}

impl From<Refusal> for anyhow::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal {
                message,
                bad_input: true,
            } => BadInput(vec![message]).into(),
            Refusal { message, .. } => Self::msg(message),
        }
    }
}

/// What orders are about.
pub(crate) struct Counter<'a> {
    /// None where the gateway runs alone.
    pub(crate) provider: Option<(&'a Admin, &'a Storage)>,
    /// None where nothing that runs takes keys.
    pub(crate) keys: Option<&'a ApiKeys>,
    /// None where the provider runs alone.
    pub(crate) sessions: Option<&'a Sessions>,
    /// Links are made for people who reach the provider here.
    pub(crate) base: &'a str,
}

/// Carries an order out.
pub(crate) async fn carry_out(order: Order, at: Counter<'_>) -> Result<Done, Refusal> {
    let Counter {
        provider,
        keys,
        sessions,
        base,
    } = at;
    let gateways_keys = || {
        keys.ok_or_else(|| Refusal {
            message: "API keys are the gateway's, and what runs on this data folder takes none"
                .to_owned(),
            bad_input: true,
        })
    };
    let gateways_sessions = || {
        sessions.ok_or_else(|| Refusal {
            message: "sessions are the gateway's, and there is none on this data folder".to_owned(),
            bad_input: true,
        })
    };
    let Some((admin, storage)) = provider else {
        return match order {
            Order::Keys(order) => keys::carry_out(gateways_keys()?, order).await,
            Order::Sessions(order) => sessions::carry_out(gateways_sessions()?, order).await,
            _ => Err(Refusal {
                message: "users and clients are the provider's, and `sidegate authz` runs on this data folder"
                    .to_owned(),
                bad_input: true,
            }),
        };
    };
    // A copy may be what is needed most while the others cannot be had, and keys are not there.
    let own = matches!(
        order,
        Order::Backup(_) | Order::Keys(_) | Order::Sessions(_)
    );
    if let (Err(_), false) = (storage.catch_up().await, own) {
        return Err(Refusal {
            message: "Redis does not answer: what is known here may be old and cannot be changed"
                .to_owned(),
            bad_input: false,
        });
    }
    let with_link = |user: UserInfo, link: Option<SetupLink>| Done::User {
        user: user.into(),
        link: link.map(|link| link.at(base).expose().to_owned()),
    };
    Ok(match order {
        Order::AddUser {
            email,
            name,
            groups,
            password,
        } => {
            let new = NewUser {
                email,
                name,
                groups,
            };
            let (user, link) = admin.add_user(new, password.map(Secret::new)).await?;
            with_link(user, link)
        }
        Order::ListUsers => Done::Users(admin.users()?.into_iter().map(User::from).collect()),
        Order::ListPeople(connector) => {
            let people = admin.people_of(&connector)?.into_iter();
            Done::Users(people.map(User::from).collect())
        }
        Order::SetPerson {
            connector,
            user,
            enabled,
        } => {
            let people = admin.set_person_enabled(&connector, &user, enabled).await?;
            Done::Users(people.into_iter().map(User::from).collect())
        }
        Order::EnableUser(email) => with_link(admin.set_enabled(&email, true).await?, None),
        Order::DisableUser(email) => {
            let user = admin.set_enabled(&email, false).await?;
            keys::end_all_of(keys, &user.email).await?;
            with_link(user, None)
        }
        Order::ResetUser(email) => {
            let (user, link) = admin.reset_user(&email).await?;
            with_link(user, Some(link))
        }
        Order::EndLogins(whose) => {
            let ended = admin.end_logins(whose.into()).await?;
            Done::LoginsEnded {
                people: ended.people,
                sessions: ended.sessions,
            }
        }
        Order::ForgetFactors(email) => {
            admin.remove_second_factors(&email).await?;
            Done::FactorsForgotten(email)
        }
        Order::AddClient(order) => {
            let new = NewClient {
                id: order.id,
                name: order.name,
                redirect_uris: order.redirect_uris,
                public: order.public,
                trusted_peers: order.trusted_peers,
                post_logout_redirect_uris: order.post_logout_redirect_uris,
                backchannel_logout_uri: order.backchannel_logout_uri,
                allowed_connectors: order.allowed_connectors,
                allowed_scopes: order.allowed_scopes,
                grant_types: order.grant_types,
                second_factor: order.second_factor,
                pkce: order.pkce,
                prompt_none: order.prompt_none,
            };
            let (client, secret) = admin.add_client(new).await?;
            Done::Client {
                client: client.into(),
                secret: secret.map(|secret| secret.expose().to_owned()),
            }
        }
        Order::ListClients => {
            Done::Clients(admin.clients()?.into_iter().map(Client::from).collect())
        }
        Order::RemoveClient(id) => {
            admin.remove_client(&id).await?;
            Done::Removed(id)
        }
        Order::Keys(order) => keys::carry_out(gateways_keys()?, order).await?,
        Order::Sessions(order) => sessions::carry_out(gateways_sessions()?, order).await?,
        Order::Backup(to) => {
            let (storage, path) = (storage.clone(), to.clone());
            let copied = tokio::task::spawn_blocking(move || storage.backup(&path)).await;
            let failed = |message: String| Refusal {
                message,
                bad_input: false,
            };
            copied
                .map_err(|error| failed(error.to_string()))?
                .map_err(|error| failed(error.to_string()))?;
            Done::BackedUp(to)
        }
    })
}
