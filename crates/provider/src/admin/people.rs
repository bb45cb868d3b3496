//! People who log in by a connector.

use std::sync::Arc;

use super::{Admin, AdminError, UserInfo, UserState};
use crate::accounts::Ended;
use crate::connectors::Upstream;

impl Admin {
    /// Who has logged in by the connector with this id, by address. Nobody is known before a first login, and
    /// somebody is forgotten when nothing of the last login can count any more.
    ///
    /// # Errors
    /// When the database fails.
    pub fn people_of(&self, connector: &str) -> Result<Vec<UserInfo>, AdminError> {
        let all = self.storage.all::<Upstream>()?.into_iter();
        let mut people: Vec<UserInfo> = all
            .filter(|(_, upstream)| upstream.user.connector == connector)
            .map(|(_, upstream)| info(&upstream))
            .collect();
        people.sort_by(|a, b| (&a.email, &a.user_id).cmp(&(&b.email, &b.user_id)));
        Ok(people)
    }

    /// Lets people of a connector log in again, or ends all of their logins and lets them in no more, whatever the
    /// connector says. `user` is an e-mail address, of which several people can be, or the id that the connector
    /// knows.
    ///
    /// # Errors
    /// When nobody of that address or id has logged in by the connector.
    pub async fn set_person_enabled(
        &self,
        connector: &str,
        user: &str,
        enabled: bool,
    ) -> Result<Vec<UserInfo>, AdminError> {
        let (connector, user) = (connector.to_owned(), user.to_owned());
        let sealer = Arc::clone(&self.sealer);
        let changed = self.change(move |batch| {
            let mut changed = Vec::new();
            for (key, mut upstream) in batch.with_prefix::<Upstream>("")? {
                if !upstream.is_called(&connector, &user) {
                    continue;
                }
                upstream.disabled = !enabled;
                let sessions = match enabled {
                    true => {
                        batch.put(&key, &upstream)?;
                        Vec::new()
                    }
                    false => upstream.end_logins(batch, &sealer, &key)?,
                };
                changed.push((upstream, sessions));
            }
            if changed.is_empty() {
                return Ok(Err(AdminError::UnknownAtConnector {
                    connector: connector.clone(),
                    user: user.clone(),
                }));
            }
            Ok(Ok(changed))
        });
        let mut people = Vec::new();
        for (upstream, sessions) in changed.await? {
            people.push(info(&upstream));
            if !enabled {
                let email = upstream.email;
                self.tell(Some(Ended { email, sessions })).await;
            }
        }
        Ok(people)
    }
}

fn info(upstream: &Upstream) -> UserInfo {
    UserInfo {
        user_id: upstream.user.user_id.clone(),
        email: upstream.email.clone(),
        name: upstream.name.clone(),
        groups: upstream.groups.clone(),
        state: match upstream.disabled {
            true => UserState::Disabled,
            false => UserState::Enabled,
        },
        created_at: None,
        password_changed_at: None,
    }
}
