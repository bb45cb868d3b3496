//! TokenReview (`authentication.k8s.io/v1`): the API server says whose a token
//! is.

use policy::ServiceAccount;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::ClusterError;
use super::questions::{Key, Questions, Server};
use crate::clock::{Clock, now};
use crate::cluster::account_of;

const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// What the API server said is believed for so many seconds.
pub(super) const BELIEVED: u64 = 60;

/// And what it refused.
const REFUSED: u64 = 10;

/// One question.
pub(super) struct Ask<'a> {
    pub(super) server: Server<'a>,
    pub(super) audiences: &'a [String],
    pub(super) token: &'a str,
}

pub(super) struct Reviews {
    clock: Clock,
    /// Account; `None` for a token that was refused.
    questions: Questions<Option<ServiceAccount>>,
}

#[derive(Deserialize)]
struct TokenReview {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    user: User,
    audiences: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
}

impl Reviews {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            questions: Questions::new(Clock::clone(&clock)),
            clock,
        }
    }

    /// Whose the token is, and until when that is believed.
    pub(super) async fn review(
        &self,
        ask: &Ask<'_>,
    ) -> Result<(ServiceAccount, u64), ClusterError> {
        let answer = self.questions.answer(key(ask), || self.ask(ask)).await?;
        match answer {
            (Some(account), until) => Ok((account, until)),
            (None, _) => Err(ClusterError::Refused),
        }
    }

    async fn ask(&self, ask: &Ask<'_>) -> Result<(Option<ServiceAccount>, u64), ClusterError> {
        let object = serde_json::json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": ask.token, "audiences": ask.audiences },
        });
        let body = self.questions.post(&ask.server, PATH, &object).await?;
        let review: TokenReview = serde_json::from_slice(&body)
            .map_err(|error| ClusterError::Unavailable(format!("`{PATH}`: {error}")))?;
        let status = review.status;
        // An API server that does not look at audiences says none (KEP-1205).
        let ours = status
            .audiences
            .iter()
            .any(|audience| ask.audiences.contains(audience));
        let account = account_of(&status.user.username).filter(|_| status.authenticated && ours);
        let believed = if account.is_some() { BELIEVED } else { REFUSED };
        Ok((account, now(&self.clock).saturating_add(believed)))
    }
}

fn key(ask: &Ask<'_>) -> Key {
    let mut digest = Sha256::new();
    for audience in ask.audiences {
        digest.update(
            u64::try_from(audience.len())
                .unwrap_or(u64::MAX)
                .to_be_bytes(),
        );
        digest.update(audience);
    }
    digest.update([0xff; 8]);
    digest.update(ask.token);
    digest.finalize().into()
}
