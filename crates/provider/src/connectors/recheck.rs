//! Asking a connector again when a refresh token is used: who was removed there loses access.

use http::StatusCode;

use super::{Noted, Trouble, Upstream};
use crate::client_auth::invalid;
use crate::clock::is_recent;
use crate::config::Client;
use crate::grant::{Grant, GrantId, Stage};
use crate::provider::Inner;
use crate::reply::{Reply, internal, oauth_error};
use crate::user::LOCAL;

/// An answer that is younger, in seconds, serves for another use: several applications refresh at
/// the same moment, and a refresh token of another provider works once.
const FRESH: u64 = 5;

impl Inner {
    /// Asks about the person of a refresh token, where somebody else knows them. An error is the
    /// answer to the client.
    pub(crate) async fn recheck(
        &self,
        client: &Client,
        id: &GrantId,
        presented: u64,
    ) -> Result<(), Reply> {
        let read = || self.read(|storage| storage.get::<Grant>(id.as_str()));
        let Some(grant) = read().ok_or_else(internal)? else {
            return Ok(());
        };
        if grant.user.connector == LOCAL || !is_current(&grant, client, presented) {
            // What is wrong with it is told where it is used.
            return Ok(());
        }
        let gone = || invalid("invalid_grant", "the connector of the login is not there");
        let open = self
            .connectors
            .get(&grant.user.connector)
            .ok_or_else(gone)?;
        let allowed =
            client.allows_connector(&open.config.id) && open.config.allows("refresh_token");
        if !allowed {
            return Err(gone());
        }
        let key = Upstream::key(&self.sealer, &grant.user.connector, &grant.user.user_id);
        let turn = self.connectors.turn(&key).map_err(|_| later())?;
        let _turn = turn.lock().await;
        let found = self.read(|_| self.upstream(&grant.user));
        let Some((_, upstream)) = found.ok_or_else(internal)? else {
            return Err(gone());
        };
        let now = self.now();
        if upstream.user.epoch != grant.user.epoch || is_recent(upstream.seen_at, FRESH, now) {
            return Ok(());
        }
        let Some(again) = self.unsealed(&upstream) else {
            let text = "the other provider gave no refresh token, so that nobody can be asked";
            return Err(invalid("invalid_grant", text));
        };
        let connector = &open.config.id;
        let trouble = match open.again(&again, now).await {
            Ok(identity) if identity.user_id == upstream.user.user_id => {
                return match self.note(connector, identity).await.ok_or_else(internal)? {
                    Noted::User(_) => Ok(()),
                    Noted::Disabled => Err(invalid("invalid_grant", "the person is disabled")),
                };
            }
            Ok(_) => Trouble::Gone("the answer is about another person".to_owned()),
            Err(trouble) => trouble,
        };
        tracing::info!(connector, client = client.id, %trouble, "a refresh was not confirmed");
        match trouble {
            Trouble::Unreachable(_) | Trouble::Busy => Err(later()),
            Trouble::Unusable(_) | Trouble::Weak(_) => Err(invalid(
                "invalid_grant",
                "what the other provider says of the person is not enough",
            )),
            Trouble::Refused(_) => {
                let id = id.clone();
                let revoked = self.write(move |batch| match batch.get::<Grant>(id.as_str())? {
                    Some(grant) => batch.put(id.as_str(), &grant.revoked()),
                    None => Ok(()),
                });
                revoked.await.ok_or_else(internal)?;
                let text = "the other provider does not let the person go on";
                Err(invalid("invalid_grant", text))
            }
            Trouble::Gone(_) => {
                let sealer = std::sync::Arc::clone(&self.sealer);
                let ended = self.write(move |batch| match batch.get::<Upstream>(&key)? {
                    Some(mut upstream) => upstream.end_logins(batch, &sealer, &key),
                    None => Ok(Vec::new()),
                });
                let sessions = ended.await.ok_or_else(internal)?;
                let email = upstream.email;
                self.tell_ended(crate::accounts::Ended { email, sessions })
                    .await;
                let text = "the other provider does not know the person any more";
                Err(invalid("invalid_grant", text))
            }
        }
    }
}

/// Whether the token would be taken, or was a moment ago.
fn is_current(grant: &Grant, client: &Client, presented: u64) -> bool {
    let Stage::Active { generation, .. } = grant.stage else {
        return false;
    };
    let near = presented == generation || presented.checked_add(1) == Some(generation);
    near && grant.client_id == client.id && grant.is_offline()
}

/// The token stays as it is: a later attempt may succeed.
fn later() -> Reply {
    oauth_error(
        StatusCode::SERVICE_UNAVAILABLE,
        "temporarily_unavailable",
        "the other provider cannot be asked about the person at the moment",
    )
}
