//! Questions to an API server. Asked about each request it would end with its
//! rate limit, as other authorizers found out; so answers are kept, questions
//! about one thing are one, and there is a bound on how many are asked at a time
//! and in a second.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use secret::Secret;

use super::{ClusterError, bearer};
use crate::clock::{Clock, now};
use crate::http_client::HttpClient;

/// Answers kept.
const KEPT: usize = 10_000;

/// Questions at a time.
pub(super) const AT_ONCE: usize = 8;

/// Questions in a second, and at once after a silence.
pub(super) const PER_SECOND: u64 = 50;
pub(super) const BURST: u64 = 100;

/// A question waits for its turn, and then for its answer, so long.
const PATIENCE: Duration = Duration::from_secs(3);

/// Questions about one thing wait for each other; so many things do not.
const LANES: usize = 64;

/// Answers are not longer: groups and extra fields of one account.
const MAX_BODY: usize = 256 * 1024;

/// After 429 or 503 nothing is asked for as long as `retry-after` says, within these.
const PAUSE: std::ops::RangeInclusive<u64> = 1..=30;

/// What is asked about, as a digest.
pub(super) type Key = [u8; 32];

/// Where to ask, and as whom.
pub(super) struct Server<'a> {
    pub(super) http: &'a dyn HttpClient,
    pub(super) server: &'a str,
    pub(super) own: &'a Secret,
}

/// Questions of one kind.
pub(super) struct Questions<A> {
    clock: Clock,
    /// Answers, and until when each is believed.
    answers: quick_cache::sync::Cache<Key, (A, u64)>,
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

fn busy() -> ClusterError {
    ClusterError::Unavailable("too many questions are asked".to_owned())
}

impl<A: Clone + Send + Sync + 'static> Questions<A> {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            answers: quick_cache::sync::Cache::new(KEPT),
            lanes: (0..LANES).map(|_| tokio::sync::Mutex::new(())).collect(),
            turns: tokio::sync::Semaphore::new(AT_ONCE),
            budget: Mutex::new(Budget { left: BURST, at: 0 }),
            paused_until: AtomicU64::new(0),
        }
    }

    /// The answer, and until when it is believed: one that is kept, or what `ask`
    /// finds out.
    pub(super) async fn answer<F>(
        &self,
        key: Key,
        ask: impl FnOnce() -> F + Send,
    ) -> Result<(A, u64), ClusterError>
    where
        F: Future<Output = Result<(A, u64), ClusterError>> + Send,
    {
        if let Some(answer) = self.kept(&key) {
            return Ok(answer);
        }
        let lane = key.first().map_or(0, |byte| usize::from(*byte) % LANES);
        let waited = async {
            let _lane = match self.lanes.get(lane) {
                Some(lane) => Some(lane.lock().await),
                None => None,
            };
            if let Some(answer) = self.kept(&key) {
                return Ok(answer);
            }
            let _turn = self.turns.acquire().await.map_err(|_| busy())?;
            self.may_ask()?;
            let answered = ask().await?;
            self.answers.insert(key, answered.clone());
            Ok(answered)
        };
        tokio::time::timeout(PATIENCE, waited)
            .await
            .unwrap_or_else(|_| Err(ClusterError::Unavailable("no answer in time".to_owned())))
    }

    fn kept(&self, key: &Key) -> Option<(A, u64)> {
        let answer = self.answers.get(key)?;
        (now(&self.clock) < answer.1).then_some(answer)
    }

    /// An answer that is not believed any more, not longer than so many seconds ago.
    pub(super) fn old(&self, key: &Key, seconds: u64) -> Option<A> {
        let (answer, until) = self.answers.get(key)?;
        (now(&self.clock) < until.saturating_add(seconds)).then_some(answer)
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
            None => Err(busy()),
        }
    }

    /// Posts an object to a path; what the API server makes of it.
    pub(super) async fn post(
        &self,
        to: &Server<'_>,
        path: &str,
        object: &serde_json::Value,
    ) -> Result<Bytes, ClusterError> {
        let unavailable = |why: String| ClusterError::Unavailable(why);
        let address = format!("{}{path}", to.server.trim_end_matches('/'));
        let request = Request::builder()
            .method(Method::POST)
            .uri(&address)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, bearer(to.own))
            .body(Bytes::from(object.to_string()))
            .map_err(|error| unavailable(error.to_string()))?;
        let response = to.http.send(request).await;
        let response = response.map_err(|error| unavailable(format!("`{address}`: {error}")))?;
        let status = response.status();
        if matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            let after = response.headers().get(header::RETRY_AFTER);
            let after = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
            let pause = after.unwrap_or(1).clamp(*PAUSE.start(), *PAUSE.end());
            let until = now(&self.clock).saturating_add(pause);
            self.paused_until.fetch_max(until, Ordering::Relaxed);
        }
        if !matches!(status, StatusCode::OK | StatusCode::CREATED) {
            return Err(unavailable(format!("`{address}` answered {status}")));
        }
        if response.body().len() > MAX_BODY {
            return Err(unavailable(format!("`{address}` answered too much")));
        }
        Ok(response.into_body())
    }
}
