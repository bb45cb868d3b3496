//! A directory that checks passwords (`connector/ldap` of Dex).

use std::collections::HashSet;
use std::time::Duration;

use ldap::{Connection, Entry, Filter, Search, Server, Trust};
use secret::Secret;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Again, Identity, Trouble};
use crate::config::LdapConnector;

/// How long everything about one login may take.
const TIME: Duration = Duration::from_secs(15);
/// How many connections there are at a time, and how long one may wait for its turn.
const AT_ONCE: usize = 32;
const PATIENCE: Duration = Duration::from_secs(5);
/// Most groups of a person, and most levels of groups in groups.
const MAX_GROUPS: usize = 2000;
const MAX_LEVELS: usize = 32;
/// Longest value that is taken over.
const MAX_VALUE: usize = 1000;

pub(crate) struct Directory {
    config: LdapConnector,
    server: Server,
    turns: Semaphore,
}

impl Directory {
    pub(super) fn new(config: LdapConnector) -> Result<Self, String> {
        let read = |what: &str, path: &std::path::Path| {
            let read = std::fs::read(path);
            read.map_err(|error| format!("`{what}`: `{}`: {error}", path.display()))
        };
        let mut roots = config.root_ca_data.clone();
        if let (true, Some(path)) = (roots.is_empty(), &config.root_ca) {
            roots = read("rootCA", path)?;
        }
        let own = match &config.client {
            Some((certificate, key)) => {
                Some((read("clientCert", certificate)?, read("clientKey", key)?))
            }
            None => None,
        };
        let trust = Trust { roots, own };
        let server = Server::new(&config.host, config.port, config.security, &trust);
        Ok(Self {
            server: server.map_err(|error| format!("certificates: {error}"))?,
            config,
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// What the field of the name is called.
    pub(super) fn prompt(&self) -> &str {
        &self.config.prompt
    }

    /// Who logs in with this name and password; `None` when that is nobody.
    pub(crate) async fn log_in(
        &self,
        username: &str,
        password: &Secret,
    ) -> Result<Option<Identity>, Trouble> {
        // A bind without a password succeeds, whoever's it is (RFC 4513 section 5.1.2).
        if username.is_empty() || password.expose().is_empty() {
            return Ok(None);
        }
        let _turn = self.turn().await?;
        let mut connection = self.connect().await?;
        let user = self.user(&mut connection, username).await?;
        // Somebody who is not there costs a bind as well, to a name that nobody has.
        let nobody = format!("cn=nobody,{}", self.config.users.base);
        let dn = user.as_ref().map_or(nobody.as_str(), |user| &user.dn);
        match connection.bind(dn, password.expose()).await {
            Ok(()) => {}
            Err(error) if error.is_wrong_password() || user.is_none() => return Ok(None),
            Err(error) => return Err(failed("bind", &error)),
        }
        let Some(user) = user else {
            return Ok(None);
        };
        let mut identity = self.identity(&user)?;
        if self.config.groups.is_some() {
            // As the service again, which may see what the person may not.
            self.bind(&mut connection).await?;
            identity.groups = self.groups(&mut connection, &user).await?;
        }
        identity.again = Some(Again::Entry {
            username: username.to_owned(),
            dn: user.dn,
        });
        Ok(Some(identity))
    }

    /// Looks somebody up who logged in before.
    pub(super) async fn again(&self, username: &str, dn: &str) -> Result<Identity, Trouble> {
        let _turn = self.turn().await?;
        let mut connection = self.connect().await?;
        let Some(user) = self.user(&mut connection, username).await? else {
            return Err(Trouble::Gone("the directory has no such entry".to_owned()));
        };
        if user.dn != dn {
            let text = "the name leads to another entry than at the login";
            return Err(Trouble::Gone(text.to_owned()));
        }
        let mut identity = self.identity(&user)?;
        identity.groups = self.groups(&mut connection, &user).await?;
        identity.again = Some(Again::Entry {
            username: username.to_owned(),
            dn: user.dn,
        });
        Ok(identity)
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Trouble> {
        match tokio::time::timeout(PATIENCE, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Trouble::Busy),
        }
    }

    async fn connect(&self) -> Result<Connection, Trouble> {
        let opened = Connection::open(&self.server, TIME).await;
        let mut connection = opened.map_err(|error| failed("connection", &error))?;
        self.bind(&mut connection).await?;
        Ok(connection)
    }

    /// Binds as the service that may search.
    async fn bind(&self, connection: &mut Connection) -> Result<(), Trouble> {
        let bound = match &self.config.bind {
            Some((dn, password)) => connection.bind(dn, password.expose()).await,
            None => connection.bind_anonymously().await,
        };
        bound.map_err(|error| failed("bind of the service", &error))
    }

    /// The one entry that a name leads to.
    async fn user(
        &self,
        connection: &mut Connection,
        username: &str,
    ) -> Result<Option<Entry>, Trouble> {
        let users = &self.config.users;
        let mut named: Vec<Filter> = users
            .username
            .iter()
            .map(|attribute| Filter::equal(attribute, username))
            .collect();
        let named = match named.len() {
            1 => named.remove(0),
            _ => Filter::Or(named),
        };
        let filter = match &users.filter {
            Some(filter) => Filter::And(vec![filter.clone(), named]),
            None => named,
        };
        let mut attributes = vec![users.id.as_str(), users.email.as_str()];
        attributes.extend(users.username.iter().map(String::as_str));
        attributes.extend(users.name.as_deref());
        attributes.extend(users.preferred_username.as_deref());
        if let Some(groups) = &self.config.groups {
            attributes.extend(groups.matchers.iter().map(|m| m.user_attr.as_str()));
        }
        let search = Search {
            base: &users.base,
            scope: users.scope,
            filter: &filter,
            attributes: &attributes,
            limit: 1,
        };
        match connection.search(search).await {
            Ok(mut found) => Ok(found.pop()),
            Err(ldap::Error::TooMuch(_)) => {
                tracing::warn!("a name leads to several entries of the directory: nobody logs in");
                Ok(None)
            }
            Err(error) => Err(failed("search for a user", &error)),
        }
    }

    fn identity(&self, user: &Entry) -> Result<Identity, Trouble> {
        let users = &self.config.users;
        let value = |attribute: &str| {
            let value = user
                .value(attribute)
                .filter(|value| value.len() <= MAX_VALUE && !value.chars().any(char::is_control));
            value.map(str::to_owned).ok_or_else(|| {
                Trouble::Unusable(format!("the entry has no attribute `{attribute}`"))
            })
        };
        let optional = |attribute: &Option<String>| attribute.as_deref().map(value).transpose();
        let user_id = value(&users.id)?;
        let name = optional(&users.name)?.unwrap_or_default();
        let email = match &users.email_suffix {
            Some(suffix) => format!("{name}@{suffix}"),
            None => value(&users.email)?,
        };
        Ok(Identity {
            user_id,
            preferred_username: optional(&users.preferred_username)?,
            name,
            email,
            email_verified: true,
            groups: Vec::new(),
            again: None,
        })
    }

    async fn groups(
        &self,
        connection: &mut Connection,
        user: &Entry,
    ) -> Result<Vec<String>, Trouble> {
        let Some(rules) = &self.config.groups else {
            return Ok(Vec::new());
        };
        let mut names: Vec<String> = Vec::new();
        for matcher in &rules.matchers {
            let mut level = Vec::new();
            for value in user.values(&matcher.user_attr) {
                level.extend(self.members(connection, &matcher.group_attr, value).await?);
            }
            let mut seen: HashSet<String> = HashSet::new();
            for _ in 0..MAX_LEVELS {
                level.retain(|group: &Entry| seen.insert(group.dn.clone()));
                let mut parents = Vec::new();
                for group in &level {
                    let name = group.value(&rules.name).filter(|name| {
                        name.len() <= MAX_VALUE && !name.chars().any(char::is_control)
                    });
                    let name = name.ok_or_else(|| {
                        Trouble::Unusable(format!("a group has no attribute `{}`", rules.name))
                    })?;
                    if !names.iter().any(|known| known == name) {
                        names.push(name.to_owned());
                    }
                    if names.len() > MAX_GROUPS {
                        return Err(Trouble::Unusable("the person has too many groups".into()));
                    }
                    if !matcher.recursion_group_attr.is_empty() {
                        let attribute = &matcher.recursion_group_attr;
                        parents.extend(self.members(connection, attribute, &group.dn).await?);
                    }
                }
                if parents.is_empty() {
                    break;
                }
                level = parents;
            }
        }
        Ok(names)
    }

    /// Groups that have this value.
    async fn members(
        &self,
        connection: &mut Connection,
        attribute: &str,
        value: &str,
    ) -> Result<Vec<Entry>, Trouble> {
        let Some(rules) = &self.config.groups else {
            return Ok(Vec::new());
        };
        let member = Filter::equal(attribute, value);
        let filter = match &rules.filter {
            Some(filter) => Filter::And(vec![filter.clone(), member]),
            None => member,
        };
        let search = Search {
            base: &rules.base,
            scope: rules.scope,
            filter: &filter,
            attributes: &[&rules.name],
            limit: MAX_GROUPS as u32,
        };
        match connection.search(search).await {
            Err(error) if error.is_no_such_object() => Ok(Vec::new()),
            found => found.map_err(|error| failed("search for groups", &error)),
        }
    }
}

fn failed(what: &str, error: &ldap::Error) -> Trouble {
    Trouble::Unreachable(format!("{what}: {error}"))
}
