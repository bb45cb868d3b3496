//! Applications that go on without the person, or that are let in without a question.

use std::collections::{BTreeMap, BTreeSet};

use super::{Visitor, date};
use crate::approval::{Consent, in_words};
use crate::grant::{Grant, GrantId, Stage};
use crate::pages::{ApplicationLine, failed};
use crate::provider::Inner;
use crate::reply::Reply;
use crate::storage::{Record as _, StorageError};

/// What an application may.
#[derive(Default)]
struct Access {
    /// Since when it goes on without the person.
    since: Option<u64>,
    scopes: BTreeSet<String>,
}

impl Inner {
    /// Applications with refresh tokens or a remembered approval, by name.
    pub(super) fn applications(&self, visitor: &Visitor) -> Result<Vec<ApplicationLine>, Reply> {
        let prefix = GrantId::user_prefix_of(&self.sealer, &visitor.who);
        let found = self.read(|storage| -> Result<_, StorageError> {
            Ok((
                storage.with_prefix::<Grant>(&prefix)?,
                storage.with_prefix::<Consent>(&prefix)?,
            ))
        });
        let (grants, consents) = found.ok_or_else(failed)?;
        let now = self.now();
        let mut found: BTreeMap<String, Access> = BTreeMap::new();
        for (key, consent) in consents {
            if let Some(client) = key.strip_prefix(&prefix)
                && consent.expires_at() > now
            {
                let access = found.entry(client.to_owned()).or_default();
                access.scopes.extend(consent.scopes);
            }
        }
        for (_, grant) in grants {
            let active = matches!(grant.stage, Stage::Active { .. }) && grant.expires_at > now;
            if active && grant.is_offline() && grant.user == visitor.who {
                let access = found.entry(grant.client_id).or_default();
                let first = access.since.unwrap_or(grant.created_at);
                access.since = Some(first.min(grant.created_at));
                let requested = grant.requested.scopes().map(str::to_owned);
                access
                    .scopes
                    .extend(grant.scopes.into_iter().chain(requested));
            }
        }
        let line = |(id, access): (String, Access)| {
            let told = access.scopes.iter().map(String::as_str);
            ApplicationLine {
                name: self
                    .known_client(&id)
                    .map_or_else(|| id.clone(), |client| client.name),
                offline: access.since.map(date),
                asks: in_words(told.filter(|scope| *scope != "offline_access")),
                id,
            }
        };
        let mut lines: Vec<ApplicationLine> = found.into_iter().map(line).collect();
        lines.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(lines)
    }

    /// Revokes all that an application has of the person, and forgets what was allowed to it.
    pub(super) async fn end_application(
        &self,
        visitor: &Visitor,
        client: &str,
    ) -> Result<(), Reply> {
        let prefix = GrantId::user_prefix_of(&self.sealer, &visitor.who);
        let id = client.to_owned();
        let ended = self.write(move |batch| {
            for (key, grant) in batch.with_prefix::<Grant>(&prefix)? {
                if grant.client_id == id {
                    batch.put(&key, &grant.revoked())?;
                }
            }
            batch.remove::<Consent>(&format!("{prefix}{id}"))
        });
        ended.await.ok_or_else(failed)?;
        let user = visitor.user.email.as_str();
        tracing::info!(user, client, "access of an application ended by its person");
        Ok(())
    }
}
