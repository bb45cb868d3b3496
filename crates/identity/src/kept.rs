//! What others publish, keys above all: fetched when it is first
//! needed, again when it is old or not enough, and never in a hurry that
//! strangers set.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{Request, StatusCode};

use crate::clock::{Clock, now};
use crate::http_client::HttpClient;

/// Older than this is fetched again before use.
const FRESH: u64 = 15 * 60;

/// Older than this is not used any more when it cannot be fetched.
const USABLE: u64 = 24 * 3600;

/// At most one fetch in so many seconds, whoever sends what.
const BETWEEN_FETCHES: u64 = 5;

/// It was asked for less than five seconds ago, in vain or without what is
/// wanted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("asked a moment ago")]
pub(crate) struct Hurried;

/// One state of it.
#[derive(Debug)]
pub(crate) struct Fetched<T> {
    value: T,
    at: u64,
}

impl<T> Deref for Fetched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What is kept of one publisher.
pub(crate) struct Kept<T> {
    clock: Clock,
    known: ArcSwapOption<Fetched<T>>,
    /// One fetch at a time; who waits finds its result.
    fetching: tokio::sync::Mutex<()>,
    last_attempt: AtomicU64,
}

impl<T> Kept<T> {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            known: ArcSwapOption::empty(),
            fetching: tokio::sync::Mutex::new(()),
            last_attempt: AtomicU64::new(0),
        }
    }

    /// Begins with what `other` knows: the same, asked for by another configuration.
    pub(crate) fn continues(self, other: &Self) -> Self {
        self.known.store(other.known.load_full());
        self
    }

    /// What is known now, if it may still be used.
    pub(crate) fn already(&self) -> Option<Arc<Fetched<T>>> {
        let now = now(&self.clock);
        let known = self.known.load_full();
        known.filter(|known| now < known.at.saturating_add(USABLE))
    }

    /// Fresh enough, or not older than a day when it cannot be had.
    pub(crate) async fn get<E, F>(
        &self,
        fetch: impl FnOnce() -> F + Send,
    ) -> Result<Arc<Fetched<T>>, E>
    where
        F: Future<Output = Result<T, E>> + Send,
        E: From<Hurried> + std::fmt::Display,
    {
        let now = now(&self.clock);
        let known = self.known.load_full();
        let at = known.as_ref().map_or(0, |known| known.at);
        let usable = known.filter(|known| now < known.at.saturating_add(USABLE));
        match usable {
            Some(known) if now < known.at.saturating_add(FRESH) => Ok(known),
            Some(known) => match self.newer(at, fetch).await {
                Ok(newer) => Ok(newer),
                Err(error) => {
                    tracing::warn!(%error, "keys of an issuer are old");
                    Ok(known)
                }
            },
            None => self.newer(at, fetch).await,
        }
    }

    /// Newer than `known`, which had not what is wanted.
    pub(crate) async fn newer_than<E, F>(
        &self,
        known: &Fetched<T>,
        fetch: impl FnOnce() -> F + Send,
    ) -> Result<Arc<Fetched<T>>, E>
    where
        F: Future<Output = Result<T, E>> + Send,
        E: From<Hurried>,
    {
        self.newer(known.at, fetch).await
    }

    async fn newer<E, F>(
        &self,
        than: u64,
        fetch: impl FnOnce() -> F + Send,
    ) -> Result<Arc<Fetched<T>>, E>
    where
        F: Future<Output = Result<T, E>> + Send,
        E: From<Hurried>,
    {
        let _turn = self.fetching.lock().await;
        if let Some(known) = self.known.load_full().filter(|known| known.at > than) {
            return Ok(known);
        }
        let now = now(&self.clock);
        let last = self.last_attempt.load(Ordering::Relaxed);
        if last != 0 && now < last.saturating_add(BETWEEN_FETCHES) {
            return Err(Hurried.into());
        }
        self.last_attempt.store(now, Ordering::Relaxed);
        let fetched = fetch().await;
        // Who waited meanwhile does not wait for another one that ends as this one did.
        let ended = crate::clock::now(&self.clock);
        self.last_attempt.store(ended, Ordering::Relaxed);
        let value = fetched?;
        let known = Arc::new(Fetched { value, at: now });
        self.known.store(Some(Arc::clone(&known)));
        Ok(known)
    }
}

/// The body of a document of at most `max` bytes that answers within `limit`.
pub(crate) async fn document(
    http: &dyn HttpClient,
    request: Request<Bytes>,
    max: usize,
    limit: Duration,
) -> Result<Bytes, String> {
    let address = request.uri().to_string();
    let response = tokio::time::timeout(limit, http.send(request))
        .await
        .map_err(|_| format!("`{address}`: no answer in time"))?
        .map_err(|error| format!("`{address}`: {error}"))?;
    match response.status() {
        StatusCode::OK if response.body().len() > max => {
            Err(format!("`{address}` is longer than {max} bytes"))
        }
        StatusCode::OK => Ok(response.into_body()),
        status => Err(format!("`{address}` answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("away")]
    struct Away;

    impl From<Hurried> for Away {
        fn from(_: Hurried) -> Self {
            Self
        }
    }

    /// Each would have waited as long as all before it together.
    #[tokio::test]
    async fn who_waits_for_a_fetch_in_vain_does_not_wait_for_another() {
        let time = Arc::new(AtomicU64::new(1_800_000_000));
        let clock: Clock = {
            let time = Arc::clone(&time);
            Arc::new(move || UNIX_EPOCH + Duration::from_secs(time.load(Ordering::SeqCst)))
        };
        let kept: Kept<()> = Kept::new(clock);
        let fetches = AtomicU64::new(0);
        let fetch = || async {
            fetches.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            time.fetch_add(BETWEEN_FETCHES, Ordering::SeqCst);
            Err(Away)
        };
        let waiting = (0..10).map(|_| kept.get(fetch));
        let all = futures_util::future::join_all(waiting).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        time.fetch_add(BETWEEN_FETCHES, Ordering::SeqCst);
        assert!(kept.get(fetch).await.is_err());
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }
}
