//! Orders about sessions at the gateway.

use identity::{SessionInfo, Sessions, StoreError};
use serde::{Deserialize, Serialize};

use super::order::{Done, Refusal};

/// What is asked for, of a person by e-mail address.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SessionsOrder {
    List(String),
    EndAll(String),
    EndOne { email: String, id: String },
}

/// What is told of a session. Times are Unix seconds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpenSession {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) issuer: Option<String>,
    pub(crate) used_at: u64,
    pub(crate) expires_at: u64,
}

impl From<SessionInfo> for OpenSession {
    fn from(session: SessionInfo) -> Self {
        Self {
            id: session.id,
            email: session.email,
            issuer: session.issuer,
            used_at: session.used,
            expires_at: session.expires,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self {
            message: error.to_string(),
            bad_input: false,
        }
    }
}

pub(super) async fn carry_out(sessions: &Sessions, order: SessionsOrder) -> Result<Done, Refusal> {
    Ok(match order {
        SessionsOrder::List(email) => {
            let listed = sessions.list_of(&email).await?.into_iter();
            Done::Sessions(listed.map(OpenSession::from).collect())
        }
        SessionsOrder::EndAll(email) => {
            let count = sessions.end_all_of(&email).await?;
            Done::SessionsEnded { email, count }
        }
        SessionsOrder::EndOne { email, id } => {
            if !sessions.end_one_of(&email, &id).await? {
                return Err(Refusal {
                    message: format!(
                        "there is no session `{id}` of `{email}`; `sidegate session list` has those there are"
                    ),
                    bad_input: true,
                });
            }
            Done::SessionsEnded { email, count: 1 }
        }
    })
}
