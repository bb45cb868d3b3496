//! Threads for models that take a while: a queue for each model, and whoever has had the least time is next.
//!
//! There is one thread more than there are cores, and no model has more than there are cores: one is left for the others
//! whatever one model is asked. Threads start when they are needed first.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::oneshot;

/// What is put down for work of which nothing is known, in nanoseconds. It is corrected when it ends.
const UNKNOWN: u64 = 1_000_000;

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undone {
    /// So much waits for the same model that no more is taken.
    Full,
    /// It panicked.
    Failed,
}

/// A pool; its threads end when it is dropped and nothing waits any more.
#[derive(Debug)]
pub(crate) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// There is work, or it is the end.
    changed: Condvar,
    /// Threads that work for one model at once.
    share: usize,
    /// Requests of one model that wait at once.
    bound: usize,
}

#[derive(Debug, Default)]
struct State {
    queues: BTreeMap<u64, Queue>,
    /// The time that whoever was served last had had by then. Who comes anew begins there.
    clock: u64,
    threads: usize,
    idle: usize,
    ended: bool,
}

/// Of one model.
#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: usize,
    /// Requests that wait for each other on threads of their own.
    apart: usize,
    /// Nanoseconds.
    had: u64,
}

struct Job {
    expected: u64,
    work: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Job({} ns)", self.expected)
    }
}

impl Pool {
    /// With as many threads for one model as there are cores.
    pub(crate) fn new(bound: usize) -> Self {
        let cores = std::thread::available_parallelism();
        Self::of(cores.map_or(1, std::num::NonZero::get), bound)
    }

    fn of(share: usize, bound: usize) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::default(),
            changed: Condvar::new(),
            share,
            bound,
        }))
    }

    /// What came of work for a model when it was its turn. `expected` is how long it will take, in nanoseconds.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        model: u64,
        expected: Option<u64>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Undone> {
        let (send, receive) = oneshot::channel();
        let work = Box::new(move || {
            // Who asked may be gone.
            if !send.is_closed() {
                drop(send.send(work()));
            }
        });
        let expected = expected.unwrap_or(UNKNOWN);
        self.put(model, Job { expected, work })?;
        receive.await.map_err(|_| Undone::Failed)
    }

    /// What came of work that waits for other requests of its model, and would keep a core from them.
    pub(crate) async fn wait<T: Send + 'static>(
        &self,
        model: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Undone> {
        // Until it ends, whether or not anybody asks for it any more.
        let place = self.enter(model)?;
        let work = move || {
            let _place = place;
            work()
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| Undone::Failed)
    }

    fn enter(&self, model: u64) -> Result<Place, Undone> {
        let mut state = self.0.lock();
        let apart = &mut state.queue(model).apart;
        if *apart >= self.0.bound {
            return Err(Undone::Full);
        }
        *apart += 1;
        Ok(Place(Arc::clone(&self.0), model))
    }

    fn put(&self, model: u64, job: Job) -> Result<(), Undone> {
        let inner = &self.0;
        let mut state = inner.lock();
        let queue = state.queue(model);
        if queue.jobs.len() >= inner.bound {
            return Err(Undone::Full);
        }
        queue.jobs.push_back(job);
        if state.idle > 0 {
            inner.changed.notify_one();
        } else if state.threads <= inner.share {
            let worker = Arc::clone(inner);
            let thread = std::thread::Builder::new().name("model".to_owned());
            match thread.spawn(move || worker.work()) {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads == 0 => {
                    state.queue(model).jobs.pop_back();
                    return Err(Undone::Full);
                }
                Err(_) => {}
            }
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

/// A request that waits for others of its model.
struct Place(Arc<Inner>, u64);

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let queue = state.queue(self.1);
        queue.apart = queue.apart.saturating_sub(1);
        state.tidy();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some((model, Job { expected, work })) = state.next(self.share) {
                drop(state);
                let began = Instant::now();
                // Whoever asked is told by its channel.
                drop(catch_unwind(AssertUnwindSafe(work)));
                let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                state = self.lock();
                state.end(model, expected, took);
            } else if state.ended {
                return;
            } else {
                state.idle += 1;
                let woken = self.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

impl State {
    /// The queue of a model. Having done nothing for a while is no credit.
    fn queue(&mut self, model: u64) -> &mut Queue {
        let clock = self.clock;
        let queue = self.queues.entry(model).or_default();
        if queue.jobs.is_empty() && queue.running == 0 {
            queue.had = queue.had.max(clock);
        }
        queue
    }

    /// The work that is next: the first of the model that has had the least time.
    fn next(&mut self, share: usize) -> Option<(u64, Job)> {
        let queues = self.queues.iter_mut();
        let waiting = queues.filter(|(_, queue)| !queue.jobs.is_empty() && queue.running < share);
        let (model, queue) = waiting.min_by_key(|(_, queue)| queue.had)?;
        let job = queue.jobs.pop_front()?;
        self.clock = self.clock.max(queue.had);
        queue.running += 1;
        queue.had = queue.had.saturating_add(job.expected);
        Some((*model, job))
    }

    fn end(&mut self, model: u64, expected: u64, took: u64) {
        if let Some(queue) = self.queues.get_mut(&model) {
            queue.running = queue.running.saturating_sub(1);
            queue.had = queue.had.saturating_sub(expected).saturating_add(took);
        }
        self.tidy();
    }

    /// Forgets models of which nothing is left to know.
    fn tidy(&mut self) {
        let clock = self.clock;
        self.queues.retain(|_, queue| {
            let idle = queue.jobs.is_empty() && queue.running == 0 && queue.apart == 0;
            !idle || queue.had > clock
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .enable_time()
            .build()
            .unwrap()
    }

    /// Puts work that says its model and then waits to be let go.
    fn put(pool: &Pool, model: u64, expected: u64, told: &mpsc::Sender<u64>) -> mpsc::Sender<()> {
        let (go, gone) = mpsc::channel();
        let told = told.clone();
        let work = Box::new(move || {
            told.send(model).unwrap();
            let _ = gone.recv();
        });
        pool.put(model, Job { expected, work }).unwrap();
        go
    }

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn one_thread_is_left_for_the_others() {
        let pool = Pool::of(2, 100);
        let (told, began) = mpsc::channel();
        let held: Vec<_> = (0..10).map(|_| put(&pool, 1, 1000, &told)).collect();
        for _ in 0..2 {
            assert_eq!(began.recv_timeout(SOON), Ok(1));
        }
        assert!(began.recv_timeout(Duration::from_millis(100)).is_err());
        let other = put(&pool, 2, 1000, &told);
        assert_eq!(began.recv_timeout(SOON), Ok(2));
        drop((held, other));
        let rest: Vec<_> = (0..8).map(|_| began.recv_timeout(SOON).unwrap()).collect();
        assert_eq!(rest, [1; 8]);
    }

    /// By time and not by number: one whose requests take three times as long gets a third of the turns.
    #[test]
    fn models_have_the_same_time_whatever_waits() {
        let mut state = State::default();
        let job = |expected| Job {
            expected,
            work: Box::new(|| ()),
        };
        for _ in 0..1000 {
            state.queue(1).jobs.push_back(job(300));
        }
        let mut served = BTreeMap::<u64, u64>::new();
        for _ in 0..400 {
            // Of the second model only one waits at a time.
            if state.queue(2).jobs.is_empty() {
                state.queue(2).jobs.push_back(job(100));
            }
            let (model, Job { expected, .. }) = state.next(2).unwrap();
            state.end(model, expected, expected);
            *served.entry(model).or_default() += 1;
        }
        assert_eq!(served, BTreeMap::from([(1, 100), (2, 300)]));
        // Who was away does not come before all others for as long as it was away.
        for _ in 0..100 {
            let (model, Job { expected, .. }) = state.next(2).unwrap();
            state.end(model, expected, expected);
        }
        for _ in 0..10 {
            state.queue(3).jobs.push_back(job(300));
        }
        let next: Vec<u64> = (0..10)
            .map(|_| {
                let (model, Job { expected, .. }) = state.next(2).unwrap();
                state.end(model, expected, expected);
                model
            })
            .collect();
        let others = next.iter().filter(|model| **model == 1).count();
        assert!((4..=6).contains(&others), "{next:?}");
    }

    #[test]
    fn what_took_longer_than_expected_is_put_down() {
        let mut state = State::default();
        for model in [1, 2] {
            for _ in 0..10 {
                let work = Box::new(|| ());
                state.queue(model).jobs.push_back(Job { expected: 1, work });
            }
        }
        let (first, _) = state.next(2).unwrap();
        state.end(first, 1, 1000);
        let next: Vec<u64> = (0..5).map(|_| state.next(9).unwrap().0).collect();
        assert!(next.iter().all(|model| *model != first), "{next:?}");
    }

    #[test]
    fn queues_are_bounded_and_failures_told() {
        let pool = Arc::new(Pool::of(1, 2));
        let (told, began) = mpsc::channel();
        let held = put(&pool, 1, 1, &told);
        began.recv_timeout(SOON).unwrap();
        let waiting = [put(&pool, 1, 1, &told), put(&pool, 1, 1, &told)];
        runtime().block_on(async {
            assert_eq!(pool.run(1, None, || ()).await, Err(Undone::Full));
            assert_eq!(pool.run(2, None, || 7).await, Ok(7));
            let failed = pool.run(2, None, || std::panic::resume_unwind(Box::new(())));
            assert_eq!(failed.await, Err::<(), _>(Undone::Failed));
            drop((held, waiting));
            // A panic costs no thread.
            let began = Instant::now();
            while pool.run(1, Some(5), || 8).await != Ok(8) {
                assert!(began.elapsed() < SOON);
            }
        });
    }

    #[test]
    fn nobody_works_for_who_is_gone() {
        let pool = Pool::of(1, 10);
        let (told, began) = mpsc::channel();
        let held = put(&pool, 1, 1, &told);
        began.recv_timeout(SOON).unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        runtime().block_on(async {
            let count = |done: &Arc<AtomicUsize>| {
                let done = Arc::clone(done);
                move || done.fetch_add(1, Ordering::Relaxed)
            };
            let gone = pool.run(1, None, count(&done));
            assert!(tokio::time::timeout(Duration::ZERO, gone).await.is_err());
            drop(held);
            pool.run(1, None, count(&done)).await.unwrap();
        });
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn who_waits_for_others_is_counted_until_it_ends() {
        let pool = Pool::of(1, 1);
        let (go, gone) = mpsc::channel::<()>();
        runtime().block_on(async {
            let first = pool.wait(1, move || {
                let _ = gone.recv();
            });
            assert!(
                tokio::time::timeout(Duration::from_millis(10), first)
                    .await
                    .is_err()
            );
            assert_eq!(pool.wait(1, || ()).await, Err(Undone::Full));
            assert_eq!(pool.wait(2, || 3).await, Ok(3));
            drop(go);
            let began = Instant::now();
            while pool.wait(1, || ()).await == Err(Undone::Full) {
                assert!(began.elapsed() < SOON);
                tokio::task::yield_now().await;
            }
        });
        assert!(pool.0.lock().queues.is_empty());
    }
}
