//! Password checks: always one hash, on a thread of their own, a few at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::hash::PasswordHash;
use secret::Secret;

/// How many may wait for a thread before the answer is "try again". Those who wait have no memory of a hash
/// yet: that is of the few that are computed.
const MAX_WAITING: usize = 256;
/// How long one may wait before the answer is "try again", while somebody looks on.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

pub(crate) struct Passwords {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    runs: Arc<AtomicU64>,
    threads: OnceLock<Option<Threads>>,
    count: usize,
    longest_wait: Duration,
}

type Job = Box<dyn FnOnce() + Send>;

/// Where hashes are computed. These threads let all others go first, which they cannot take back: a token that is
/// asked about waits for no login.
struct Threads(mpsc::Sender<Job>);

impl Threads {
    /// `None` when the system has no threads.
    fn start(count: usize) -> Option<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..count {
            let jobs = Arc::clone(&jobs);
            let work = move || {
                step_back();
                loop {
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match job {
                        // What it was to answer is dropped, which is an answer.
                        Ok(job) => drop(catch_unwind(AssertUnwindSafe(job))),
                        Err(mpsc::RecvError) => return,
                    }
                }
            };
            let thread = std::thread::Builder::new().name("provider-hash".to_owned());
            thread.spawn(work).ok()?;
        }
        Some(Self(sender))
    }
}

/// Lowers the priority of this thread.
fn step_back() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};

        let lower = getpriority_process(None).map(|nice| (nice + 10).min(19));
        if let Err(error) = lower.and_then(|nice| setpriority_process(None, nice)) {
            tracing::debug!(%error, "hashes are computed at the priority of everything else");
        }
    }
}

/// Too many checks are waiting.
#[derive(Debug)]
pub(crate) struct Busy;

impl Passwords {
    pub(crate) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
        Self {
            permits: Arc::new(Semaphore::new(threads)),
            waiting: AtomicUsize::new(0),
            runs: Arc::default(),
            threads: OnceLock::new(),
            count: threads,
            longest_wait: LONGEST_WAIT,
        }
    }

    /// How many hashes have been computed.
    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// Whether `password` is that of `hash`.
    pub(crate) async fn check(&self, hash: PasswordHash, password: Secret) -> Result<bool, Busy> {
        self.run(move || hash.matches(&password)).await
    }

    /// Hashes a password that is being set; `None` when the system has no random bytes.
    pub(crate) async fn hash(&self, password: Secret) -> Result<Option<PasswordHash>, Busy> {
        self.run(move || PasswordHash::new(&password)).await
    }

    async fn run<R: Default + Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Busy> {
        let _place = Place::take(&self.waiting).ok_or(Busy)?;
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout(self.longest_wait, permit)
            .await
            .map_err(|_| Busy)?
            .map_err(|_| Busy)?;
        let threads = self.threads.get_or_init(|| Threads::start(self.count));
        let threads = threads.as_ref().ok_or(Busy)?;
        let runs = Arc::clone(&self.runs);
        let (answer, done) = oneshot::channel();
        let job = move || {
            runs.fetch_add(1, Ordering::Relaxed);
            let result = work();
            drop(permit);
            drop(answer.send(result));
        };
        threads.0.send(Box::new(job)).map_err(|_| Busy)?;
        Ok(done.await.unwrap_or_default())
    }
}

/// A place in the bounded queue.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            drop(place);
            return None;
        }
        Some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded() {
        let waiting = AtomicUsize::new(0);
        let places: Vec<_> = (0..MAX_WAITING)
            .map(|_| Place::take(&waiting).unwrap())
            .collect();
        assert!(Place::take(&waiting).is_none());
        drop(places);
        assert!(Place::take(&waiting).is_some());
    }

    /// However many wait, there is the memory of a few hashes.
    #[tokio::test]
    async fn few_hashes_are_computed_at_a_time_and_all_get_their_turn() {
        // On a busy machine so many take longer than people look on, which is not what this is about.
        let passwords = Arc::new(Passwords {
            longest_wait: Duration::from_secs(24 * 3600),
            ..Passwords::new()
        });
        let threads = passwords.permits.available_permits();
        // As many as may be are computed at the same time, or this does not go on.
        let together = Arc::new(std::sync::Barrier::new(threads));
        let first = Arc::new(AtomicUsize::new(0));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let (passwords, running, most) = (
                Arc::clone(&passwords),
                Arc::clone(&running),
                Arc::clone(&most),
            );
            let (together, first) = (Arc::clone(&together), Arc::clone(&first));
            waiting.spawn(async move {
                let work = move || {
                    let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    if first.fetch_add(1, Ordering::SeqCst) < threads {
                        together.wait();
                    }
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    true
                };
                passwords.run(work).await.unwrap()
            });
        }
        assert!(waiting.join_all().await.into_iter().all(|done| done));
        assert_eq!(passwords.runs(), 200);
        assert_eq!(most.load(Ordering::SeqCst), threads);
    }

    #[tokio::test]
    async fn a_hash_that_fails_is_wrong_and_the_next_is_computed() {
        let passwords = Passwords::new();
        for _ in 0..2 * passwords.count {
            let failed: bool = passwords.run(|| panic!("no hash")).await.unwrap();
            assert!(!failed);
        }
        assert!(passwords.run(|| true).await.unwrap());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn hashes_let_others_go_first_and_nothing_else_does() {
        let priority = || rustix::process::getpriority_process(None).unwrap_or_default();
        let before = priority();
        let theirs = Passwords::new().run(priority).await.unwrap();
        assert_eq!(theirs, (before + 10).min(19));
        assert_eq!(priority(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_people_look_on() {
        let passwords = Passwords::new();
        let all = u32::try_from(passwords.permits.available_permits()).unwrap();
        let _busy = passwords.permits.acquire_many(all).await.unwrap();
        let begin = tokio::time::Instant::now();
        assert!(passwords.run(|| true).await.is_err());
        assert_eq!(begin.elapsed(), LONGEST_WAIT);
    }
}
