//! TokenReview (`authentication.k8s.io/v1`): the API server says whose a token
//! is. Asked about each request it would end with its rate limit, as other
//! authorizers found out; so answers are kept, questions about one token are
//! one, and there is a bound on how many are asked at a time and in a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use policy::ServiceAccount;
use secret::Secret;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{ClusterError, bearer};
use crate::clock::{Clock, now};
use crate::cluster::account_of;
use crate::http_client::HttpClient;

/// What the API server said is believed for so many seconds.
pub(super) const BELIEVED: u64 = 60;

/// And what it refused.
const REFUSED: u64 = 10;

/// Answers kept.
const KEPT: u64 = 10_000;

/// Questions at a time.
pub(super) const AT_ONCE: usize = 8;

/// Questions in a second, and at once after a silence.
pub(super) const PER_SECOND: u64 = 50;
pub(super) const BURST: u64 = 100;

/// A question waits for its turn, and then for its answer, so long.
const PATIENCE: Duration = Duration::from_secs(3);

/// Questions about one token wait for each other; so many tokens do not.
const LANES: usize = 64;

/// Answers are not longer: groups and extra fields of one account.
const MAX_BODY: usize = 256 * 1024;

/// After 429 or 503 nothing is asked for as long as `retry-after` says, within these.
const PAUSE: std::ops::RangeInclusive<u64> = 1..=30;

/// One question.
pub(super) struct Ask<'a> {
    pub(super) http: &'a dyn HttpClient,
    pub(super) server: &'a str,
    pub(super) own: &'a Secret,
    pub(super) audiences: &'a [String],
    pub(super) token: &'a str,
}

/// Account and until when that is believed; `None` for a token that was refused.
type Answer = (Option<ServiceAccount>, u64);

pub(super) struct Reviews {
    clock: Clock,
    answers: moka::sync::Cache<[u8; 32], Answer>,
    lanes: Vec<tokio::sync::Mutex<()>>,
    turns: tokio::sync::Semaphore,
    budget: Mutex<Budget>,
    /// Nothing is asked before.
    paused_until: AtomicU64,
}

/// A token bucket, in questions.
struct Budget {
    left: u64,
    at: u64,
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
            clock,
            answers: moka::sync::Cache::builder()
                .max_capacity(KEPT)
                .time_to_live(Duration::from_secs(BELIEVED))
                .build(),
            lanes: (0..LANES).map(|_| tokio::sync::Mutex::new(())).collect(),
            turns: tokio::sync::Semaphore::new(AT_ONCE),
            budget: Mutex::new(Budget { left: BURST, at: 0 }),
            paused_until: AtomicU64::new(0),
        }
    }

    /// Whose the token is, and until when that is believed.
    pub(super) async fn review(
        &self,
        ask: &Ask<'_>,
    ) -> Result<(ServiceAccount, u64), ClusterError> {
        let key = key(ask);
        if let Some(answer) = self.kept(&key) {
            return answer;
        }
        let lane = key.first().map_or(0, |byte| usize::from(*byte) % LANES);
        let busy = || ClusterError::Unavailable("too many tokens are asked about".to_owned());
        let waited = async {
            let _lane = match self.lanes.get(lane) {
                Some(lane) => Some(lane.lock().await),
                None => None,
            };
            if let Some(answer) = self.kept(&key) {
                return answer;
            }
            let _turn = self.turns.acquire().await.map_err(|_| busy())?;
            self.may_ask()?;
            let answered = self.ask(ask).await?;
            self.answers.insert(key, answered.clone());
            read(answered)
        };
        tokio::time::timeout(PATIENCE, waited)
            .await
            .unwrap_or_else(|_| Err(ClusterError::Unavailable("no answer in time".to_owned())))
    }

    fn kept(&self, key: &[u8; 32]) -> Option<Result<(ServiceAccount, u64), ClusterError>> {
        let answer = self.answers.get(key)?;
        (now(&self.clock) < answer.1).then(|| read(answer))
    }

    fn may_ask(&self) -> Result<(), ClusterError> {
        let now = now(&self.clock);
        if now < self.paused_until.load(Ordering::Relaxed) {
            let why = "the API server asked for a pause".to_owned();
            return Err(ClusterError::Unavailable(why));
        }
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_sub(budget.at);
        budget.at = now;
        budget.left = budget
            .left
            .saturating_add(passed.saturating_mul(PER_SECOND))
            .min(BURST);
        match budget.left.checked_sub(1) {
            Some(left) => {
                budget.left = left;
                Ok(())
            }
            None => Err(ClusterError::Unavailable(
                "too many tokens are asked about".to_owned(),
            )),
        }
    }

    async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, ClusterError> {
        let unavailable = |why: String| ClusterError::Unavailable(why);
        let address = format!(
            "{}/apis/authentication.k8s.io/v1/tokenreviews",
            ask.server.trim_end_matches('/')
        );
        let body = serde_json::json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": ask.token, "audiences": ask.audiences },
        });
        let request = Request::builder()
            .method(Method::POST)
            .uri(&address)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, bearer(ask.own))
            .body(Bytes::from(body.to_string()))
            .map_err(|error| unavailable(error.to_string()))?;
        let response = ask.http.send(request).await;
        let response = response.map_err(|error| unavailable(format!("`{address}`: {error}")))?;
        let now = now(&self.clock);
        match response.status() {
            StatusCode::OK | StatusCode::CREATED => {}
            status @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                let after = response.headers().get(header::RETRY_AFTER);
                let after = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
                let pause = after.unwrap_or(1).clamp(*PAUSE.start(), *PAUSE.end());
                let until = now.saturating_add(pause);
                self.paused_until.fetch_max(until, Ordering::Relaxed);
                return Err(unavailable(format!("`{address}` answered {status}")));
            }
            status => return Err(unavailable(format!("`{address}` answered {status}"))),
        }
        if response.body().len() > MAX_BODY {
            return Err(unavailable(format!("`{address}` answered too much")));
        }
        let review: TokenReview = serde_json::from_slice(response.body())
            .map_err(|error| unavailable(format!("`{address}`: {error}")))?;
        let status = review.status;
        // An API server that does not look at audiences says none (KEP-1205).
        let ours = status
            .audiences
            .iter()
            .any(|audience| ask.audiences.contains(audience));
        let account = account_of(&status.user.username).filter(|_| status.authenticated && ours);
        let believed = if account.is_some() { BELIEVED } else { REFUSED };
        Ok((account, now.saturating_add(believed)))
    }
}

fn read(answer: Answer) -> Result<(ServiceAccount, u64), ClusterError> {
    match answer {
        (Some(account), until) => Ok((account, until)),
        (None, _) => Err(ClusterError::Refused),
    }
}

fn key(ask: &Ask<'_>) -> [u8; 32] {
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
