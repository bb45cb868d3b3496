//! One copy of the state, and the thread that keeps it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use crate::log::{Change, Log, Progress};
use crate::position::Position;
use crate::recent::Recent;
use crate::{Error, Settings};

/// How many requests may wait for the thread; further ones are refused.
const QUEUE: usize = 4096;
/// Most jobs of one transaction. With others writing, fewer have a better chance.
const GROUP: usize = 256;
/// How long a job may be overtaken by others' transactions.
const OVERTAKEN: Duration = Duration::from_secs(3);
/// How often the log is looked at when nobody asks.
const LOOK: Duration = Duration::from_millis(200);
/// How often a connection is tried while there is none.
const AGAIN: Duration = Duration::from_millis(250);
/// How long the first connection is tried.
const STARTING: Duration = Duration::from_secs(10);
/// How often the log says that Redis is away.
const REMIND: Duration = Duration::from_secs(30);

/// The state in memory. Names of records are its own business.
pub trait Mirror: Send + 'static {
    /// A part of a transaction. It may be run several times, each time on the state as it then is.
    type Job: Send + 'static;

    /// Runs jobs in one transaction and keeps it if `decide`, which is told all that it changes, says
    /// so.
    ///
    /// # Errors
    /// When the state cannot be used; nothing has changed then.
    fn run(
        &mut self,
        jobs: &mut [Self::Job],
        decide: &mut dyn FnMut(Vec<Change>) -> Decision,
    ) -> Result<(), Error>;

    /// Tells whoever waits for a job what became of it.
    fn finish(job: Self::Job, outcome: Result<(), &Error>);

    /// Takes what other replicas changed.
    ///
    /// # Errors
    /// When the state cannot be used.
    fn apply(&mut self, changes: Vec<Change>) -> Result<(), Error>;

    /// Replaces everything by these records, of which the last of a name counts.
    ///
    /// # Errors
    /// When the state cannot be used.
    fn reset(&mut self, all: Vec<Change>) -> Result<(), Error>;

    /// A record as it is.
    ///
    /// # Errors
    /// When the state cannot be used.
    fn record(&self, name: &str) -> Result<Change, Error>;
}

/// Whether a transaction on the state in memory stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// All replicas will have it.
    Keep,
    /// It is to be undone.
    Undo,
}

/// How new the state in memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It has everything that was done before the question.
    Current,
    /// Redis does not answer, but not for so long that the state is not believed any more.
    Recent,
    /// It is too old to be believed.
    Outdated,
}

/// A copy of the state that follows the others. Dropping it ends its thread after what was asked.
pub struct Replica<M: Mirror> {
    queue: Option<Sender<Work<M::Job>>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

enum Work<J> {
    Job(J),
    CatchUp(oneshot::Sender<Freshness>),
}

struct Shared {
    opened: Instant,
    away: AtomicBool,
    /// Milliseconds after `opened` at which the state was current.
    current: AtomicU64,
    outages: AtomicU64,
    believed: Duration,
}

impl Shared {
    fn is_current_now(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.current.store(now, Ordering::Relaxed);
    }

    /// How new the state is while Redis does not answer.
    fn without(&self) -> Freshness {
        let current = Duration::from_millis(self.current.load(Ordering::Relaxed));
        if self.opened.elapsed().saturating_sub(current) > self.believed {
            Freshness::Outdated
        } else {
            Freshness::Recent
        }
    }
}

impl<M: Mirror> Replica<M> {
    /// Connects to Redis, fills `mirror`, and follows from there. `state` names the state beside
    /// others in the same Redis, `schema` is the version of its records: data of a newer one is
    /// refused. Waits up to ten seconds for Redis: not for a thread that answers requests.
    ///
    /// # Errors
    /// When Redis does not answer, or holds data that this version cannot read.
    pub fn open(
        settings: Settings,
        state: &'static str,
        schema: u64,
        mirror: M,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            opened: Instant::now(),
            away: AtomicBool::new(false),
            current: AtomicU64::new(0),
            outages: AtomicU64::new(0),
            believed: settings.believed(),
        });
        let mut keeper = Keeper {
            mirror,
            settings,
            state,
            schema,
            log: None,
            seen: Position::start(schema),
            recent: Recent::at(Position::start(schema)),
            group: GROUP,
            shared: Arc::clone(&shared),
            told: None,
        };
        let began = Instant::now();
        while let Err(error) = keeper.begin() {
            if !matches!(error, Error::Redis(_)) || began.elapsed() > STARTING {
                return Err(error);
            }
            std::thread::sleep(AGAIN);
        }
        let (queue, work) = channel(QUEUE);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| Error::Mirror(error.to_string()))?;
        let thread = std::thread::Builder::new()
            .name(format!("{state}-replica"))
            .spawn(move || keeper.keep(&runtime, work))
            .map_err(|error| Error::Mirror(error.to_string()))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            shared,
        })
    }

    /// Hands a job over; [`Mirror::finish`] tells what became of it. Never waits.
    ///
    /// # Errors
    /// When Redis is away, or too many jobs wait.
    pub fn submit(&self, job: M::Job) -> Result<(), Error> {
        let queue = self.queue.as_ref().ok_or(Error::Unavailable)?;
        if self.is_away() {
            self.shared.outages.fetch_add(1, Ordering::Relaxed);
            return Err(Error::Unavailable);
        }
        queue
            .try_send(Work::Job(job))
            .map_err(|_| Error::Unavailable)
    }

    /// Waits until the state in memory has everything that was done before, at any replica. One
    /// question to Redis serves all that wait. Without Redis it answers at once.
    pub async fn catch_up(&self) -> Freshness {
        let without = || self.shared.without();
        let Some(queue) = self.queue.as_ref().filter(|_| !self.is_away()) else {
            return without();
        };
        let (reply, answer) = oneshot::channel();
        if queue.try_send(Work::CatchUp(reply)).is_err() {
            return without();
        }
        answer.await.unwrap_or_else(|_| without())
    }

    /// Whether Redis does not answer now.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.shared.away.load(Ordering::Relaxed)
    }

    /// Whether Redis has been away for so long that the state in memory is not believed any more.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.is_away() && self.shared.without() == Freshness::Outdated
    }

    /// How often something could not be done because Redis did not answer.
    #[must_use]
    pub fn outages(&self) -> u64 {
        self.shared.outages.load(Ordering::Relaxed)
    }
}

impl<M: Mirror> Drop for Replica<M> {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that follows Redis ended early");
        }
    }
}

/// What the thread has.
struct Keeper<M: Mirror> {
    mirror: M,
    settings: Settings,
    state: &'static str,
    schema: u64,
    log: Option<Log>,
    /// Up to where the mirror follows the log.
    seen: Position,
    recent: Recent,
    group: usize,
    shared: Arc<Shared>,
    /// When it was last said that Redis is away, and since when it is.
    told: Option<(Instant, Instant)>,
}

impl<M: Mirror> Keeper<M> {
    fn keep(mut self, runtime: &tokio::runtime::Runtime, mut work: Receiver<Work<M::Job>>) {
        let mut jobs = VecDeque::new();
        loop {
            let mut waiting = Vec::new();
            if jobs.is_empty() {
                let pause = if self.log.is_some() { LOOK } else { AGAIN };
                let next = async { tokio::time::timeout(pause, work.recv()).await };
                match runtime.block_on(next) {
                    Ok(None) => return,
                    Ok(Some(Work::Job(job))) => jobs.push_back(job),
                    Ok(Some(Work::CatchUp(reply))) => waiting.push(reply),
                    Err(_) => {}
                }
            }
            while jobs.len() < GROUP && waiting.len() < QUEUE {
                match work.try_recv() {
                    Ok(Work::Job(job)) => jobs.push_back(job),
                    Ok(Work::CatchUp(reply)) => waiting.push(reply),
                    Err(_) => break,
                }
            }
            let done = self.serve(&mut jobs);
            if let Err(error) = &done {
                self.lose(error);
                for job in jobs.drain(..) {
                    M::finish(job, Err(error));
                }
            }
            let freshness = match done {
                Ok(()) => Freshness::Current,
                Err(_) => self.shared.without(),
            };
            for reply in waiting {
                // Whoever asked may have gone.
                let _ = reply.send(freshness);
            }
        }
    }

    /// Appends some of the jobs, or follows the log when there are none.
    fn serve(&mut self, jobs: &mut VecDeque<M::Job>) -> Result<(), Error> {
        if self.log.is_none() {
            self.connect()?;
        }
        if jobs.is_empty() {
            return self.follow();
        }
        let began = Instant::now();
        loop {
            let count = self.group.min(jobs.len());
            let group = jobs.make_contiguous().get_mut(..count).unwrap_or_default();
            match self.attempt(group) {
                Ok(None) => {
                    for job in jobs.drain(..count) {
                        M::finish(job, Ok(()));
                    }
                    self.group = self.group.saturating_mul(2).min(GROUP);
                    self.shared.is_current_now();
                    return Ok(());
                }
                Ok(Some(progress)) => {
                    self.settle(progress)?;
                    self.group = (self.group / 2).max(1);
                }
                Err(Error::Mirror(error)) => {
                    // One of them is at fault: the others are run again without it.
                    let error = Error::Mirror(error);
                    if count == 1 {
                        for job in jobs.drain(..count) {
                            M::finish(job, Err(&error));
                        }
                        return self.follow();
                    }
                    self.group = 1;
                }
                Err(error) => return Err(error),
            }
            if began.elapsed() > OVERTAKEN {
                return Err(Error::Redis("others write all the time".to_owned()));
            }
        }
    }

    fn follow(&mut self) -> Result<(), Error> {
        let log = self.log.as_mut().ok_or(Error::Unavailable)?;
        let progress = log.follow(&self.seen)?;
        self.settle(progress)
    }

    /// Runs jobs and appends what they change; what has happened meanwhile when that is in the way.
    fn attempt(&mut self, jobs: &mut [M::Job]) -> Result<Option<Progress>, Error> {
        let Self {
            mirror,
            log,
            seen,
            recent,
            settings,
            state,
            schema,
            ..
        } = self;
        let mut outcome = Err(Error::Unavailable);
        mirror.run(jobs, &mut |changes| {
            let changes = last_of_each(changes);
            outcome = Self::agree((settings, state, *schema), log, seen, &changes);
            match &outcome {
                Ok((next, None)) => {
                    if let Some(next) = next {
                        let names = changes.into_iter().map(|change| change.name).collect();
                        recent.push(next.clone(), names);
                        *seen = next.clone();
                    }
                    Decision::Keep
                }
                _ => Decision::Undo,
            }
        })?;
        outcome.map(|(_, progress)| progress)
    }

    /// The position of a transaction that was appended, or what has happened that it did not see.
    fn agree(
        (settings, state, schema): (&Settings, &str, u64),
        log: &mut Option<Log>,
        seen: &Position,
        changes: &[Change],
    ) -> Result<(Option<Position>, Option<Progress>), Error> {
        let open = log.as_mut().ok_or(Error::Unavailable)?;
        if !changes.is_empty() {
            let next = seen.next(schema)?;
            match open.append(seen, &next, changes) {
                Ok(true) => return Ok((Some(next), None)),
                Ok(false) => {}
                Err(error) => {
                    // It may be there all the same: the answer was lost.
                    *log = None;
                    let mut again = Log::connect(settings, state, schema)?;
                    let there = again.contains(&next)?;
                    *log = Some(again);
                    return if there {
                        Ok((Some(next), None))
                    } else {
                        Err(error)
                    };
                }
            }
        }
        match open.follow(seen)? {
            Progress::Same => Ok((None, None)),
            progress => Ok((None, Some(progress))),
        }
    }

    /// Brings the mirror to where the log is.
    fn settle(&mut self, progress: Progress) -> Result<(), Error> {
        match progress {
            Progress::Same => {}
            Progress::Changed(to, changes) => {
                let names = changes.iter().map(|change| change.name.clone()).collect();
                self.mirror.apply(changes)?;
                self.recent.push(to.clone(), names);
                self.seen = to;
            }
            Progress::Other(head) => self.rejoin(&head)?,
        }
        self.shared.is_current_now();
        Ok(())
    }

    /// The log does not go on from where the mirror is.
    fn rejoin(&mut self, head: &Position) -> Result<(), Error> {
        if head.is_start() && !self.seen.is_start() {
            return Err(Error::Emptied);
        }
        if !head.is_of(&self.seen) {
            return Err(Error::Another);
        }
        let log = self.log.as_mut().ok_or(Error::Unavailable)?;
        if let Some(names) = self.recent.since(head).filter(|_| !head.is_start()) {
            let lost: Vec<Change> = names
                .into_iter()
                .map(|name| self.mirror.record(name))
                .collect::<Result<_, _>>()?;
            let next = head.next(self.schema)?;
            if log.append(head, &next, &lost)? {
                tracing::warn!(
                    records = lost.len(),
                    "Redis had lost the end of its log and got it back: `appendonly yes` with \
                     `appendfsync always` keeps it from losing any"
                );
                self.recent = Recent::at(next.clone());
                self.seen = next;
                return Ok(());
            }
            return Err(Error::Redis("its log changed meanwhile".to_owned()));
        }
        if head.number < self.seen.number {
            tracing::error!("Redis has lost transactions that were acknowledged");
        }
        let (head, all) = log.load()?;
        self.mirror.reset(all)?;
        self.recent = Recent::at(head.clone());
        self.seen = head;
        Ok(())
    }

    /// The first connection.
    fn begin(&mut self) -> Result<(), Error> {
        let mut log = Log::connect(&self.settings, self.state, self.schema)?;
        let (head, all) = log.load()?;
        self.mirror.reset(all)?;
        self.recent = Recent::at(head.clone());
        self.seen = head;
        self.log = Some(log);
        self.shared.is_current_now();
        Ok(())
    }

    fn connect(&mut self) -> Result<(), Error> {
        let mut log = Log::connect(&self.settings, self.state, self.schema)?;
        let progress = log.follow(&self.seen)?;
        self.log = Some(log);
        self.settle(progress)?;
        self.shared.away.store(false, Ordering::Relaxed);
        if let Some((_, since)) = self.told.take() {
            tracing::info!("Redis is back after {:.1} s", since.elapsed().as_secs_f32());
        }
        Ok(())
    }

    fn lose(&mut self, error: &Error) {
        self.log = None;
        self.shared.away.store(true, Ordering::Relaxed);
        self.shared.outages.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let since = match self.told {
            Some((told, _)) if told.elapsed() < REMIND => return,
            Some((_, since)) => since,
            None => now,
        };
        self.told = Some((now, since));
        tracing::error!(
            address = self.settings.address(),
            "{error}: nothing can be written, the state in memory is read"
        );
    }
}

/// Of several changes of a record, the last.
fn last_of_each(changes: Vec<Change>) -> Vec<Change> {
    let mut last: Vec<Change> = Vec::with_capacity(changes.len());
    let mut places: HashMap<String, usize> = HashMap::new();
    for change in changes {
        match places.get(&change.name).and_then(|at| last.get_mut(*at)) {
            Some(place) => *place = change,
            None => {
                places.insert(change.name.clone(), last.len());
                last.push(change);
            }
        }
    }
    last
}
