//! Keys in memory, as one of several replicas that agree through Redis.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use replicated::{Change, Decision, Error, Mirror, Replica, Settings};

use super::KeyError;
use super::held::{All, Held, Work, replace};
use super::secret::Digest;
use super::store::Record;
use crate::session::StoreError;

/// The schema of the records in Redis.
const SCHEMA: u64 = 1;

/// A part of a transaction, and who waits for it.
pub(super) struct Job {
    run: Box<dyn FnMut(&mut Work) + Send>,
    reply: SyncSender<Result<(), Error>>,
}

/// The replica of the keys.
pub(super) struct Replicated(Replica<Keys>);

pub(super) fn open(settings: Settings, held: &Arc<RwLock<All>>) -> Result<Replicated, StoreError> {
    let keys = Keys(Arc::clone(held));
    let replica = Replica::open(settings, "api-keys", SCHEMA, keys).map_err(StoreError::Redis)?;
    Ok(Replicated(replica))
}

impl Replicated {
    /// Runs `work` in a transaction that all replicas have when this returns. Blocks.
    pub(super) fn change<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Work) -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, KeyError> {
        let outcome = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&outcome);
        let (reply, answer) = sync_channel(1);
        let run = move |working: &mut Work| {
            let before = working.mark();
            let done = work(working);
            if done.is_err() {
                working.back_to(before);
            }
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        };
        let job = Job {
            run: Box::new(run),
            reply,
        };
        self.0.submit(job).map_err(StoreError::Redis)?;
        match answer.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(StoreError::Redis(error).into()),
            Err(_) => return Err(StoreError::Stopped.into()),
        }
        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.take().ok_or(StoreError::Stopped)?
    }

    /// Waits until all that other replicas have done is known here, if Redis answers.
    pub(super) async fn catch_up(&self) {
        self.0.catch_up().await;
    }

    /// Whether Redis has been away for so long that no key is believed.
    pub(super) fn is_out_of_date(&self) -> bool {
        self.0.is_outdated()
    }
}

/// The keys, by names in Redis.
pub(super) struct Keys(Arc<RwLock<All>>);

impl Keys {
    fn now(&self) -> All {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn take(&self, mut all: All, changes: Vec<Change>) {
        for Change { name, value } in changes {
            let Some(digest) = digest(&name) else {
                continue;
            };
            let record = value.and_then(|(_, json)| Record::read(&json));
            let Some(record) = record else {
                all.remove(&digest);
                continue;
            };
            let held = match all.get(&digest) {
                Some(held) => held.again(record.info()),
                None => Held::new(record.info()),
            };
            all.insert(digest, Arc::new(held));
        }
        replace(&self.0, all);
    }
}

fn digest(name: &str) -> Option<Digest> {
    URL_SAFE_NO_PAD.decode(name).ok()?.try_into().ok()
}

fn change(digest: &Digest, record: Option<&Record>) -> Change {
    Change {
        name: URL_SAFE_NO_PAD.encode(digest),
        value: record.map(|record| (record.expires(), record.json())),
    }
}

impl Mirror for Keys {
    type Job = Job;

    fn run(
        &mut self,
        jobs: &mut [Job],
        decide: &mut dyn FnMut(Vec<Change>) -> Decision,
    ) -> Result<(), Error> {
        let mut work = Work::on(&self.now());
        for job in jobs {
            (job.run)(&mut work);
        }
        let (all, changes) = work.finish();
        let told = changes
            .iter()
            .map(|(digest, record)| change(digest, record.as_ref()));
        if decide(told.collect()) == Decision::Keep {
            replace(&self.0, all);
        }
        Ok(())
    }

    fn finish(job: Job, outcome: Result<(), &Error>) {
        // Whoever asked may have gone.
        drop(job.reply.send(outcome.map_err(Clone::clone)));
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), Error> {
        self.take(self.now(), changes);
        Ok(())
    }

    fn reset(&mut self, all: Vec<Change>) -> Result<(), Error> {
        self.take(All::new(), all);
        Ok(())
    }

    fn record(&self, name: &str) -> Result<Change, Error> {
        let digest = digest(name);
        let all = self.now();
        let held = digest.and_then(|digest| all.get(&digest));
        let record = held.map(|held| Record::of(&held.info()));
        Ok(Change {
            name: name.to_owned(),
            value: record.map(|record| (record.expires(), record.json())),
        })
    }
}
