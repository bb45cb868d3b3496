//! Sessions in memory, as one of several replicas that agree through Redis.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redb::Database;
use replicated::{Change, Decision, Error, Freshness, Mirror, Replica, Settings};

use super::Memory;
use super::store::{CACHE_BYTES, StoreError, Tables, begin, decode, encode};

/// The schema of the records in Redis.
const SCHEMA: u64 = 1;

type Work = dyn FnMut(&mut Tables<'_>) -> Result<(), StoreError> + Send;

/// A part of a transaction, and who waits for it.
pub(super) struct Job {
    run: Box<Work>,
    reply: SyncSender<Result<(), String>>,
}

/// The replica of the sessions.
pub(super) struct Replicated(Replica<Sessions>);

pub(super) fn open(
    settings: Settings,
    memory: &Arc<Memory>,
) -> Result<(Replicated, Arc<Database>), StoreError> {
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(redb::backends::InMemoryBackend::new())?;
    let write = database.begin_write()?;
    drop(begin(&write)?);
    write.commit()?;
    let database = Arc::new(database);
    let sessions = Sessions {
        database: Arc::clone(&database),
        memory: Arc::clone(memory),
    };
    let replica =
        Replica::open(settings, "sessions", SCHEMA, sessions).map_err(StoreError::Redis)?;
    Ok((Replicated(replica), database))
}

impl Replicated {
    /// Runs `work` in a transaction that all replicas have when this returns. Blocks.
    pub(super) fn change<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let result = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&result);
        let (reply, answer): (_, Receiver<Result<(), String>>) = sync_channel(1);
        let job = Job {
            run: Box::new(move |tables| {
                let done = work(tables)?;
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
                Ok(())
            }),
            reply,
        };
        self.0.submit(job).map_err(StoreError::Redis)?;
        match answer.recv() {
            Ok(Ok(())) => {}
            Ok(Err(text)) => return Err(StoreError::Redis(Error::Mirror(text))),
            Err(_) => return Err(StoreError::Stopped),
        }
        let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
        result.take().ok_or(StoreError::Stopped)
    }

    /// Waits until all that other replicas have done is known here, if Redis answers.
    pub(super) async fn catch_up(&self) -> bool {
        self.0.catch_up().await == Freshness::Current
    }

    /// Whether Redis has been away for so long that no session is believed.
    pub(super) fn is_out_of_date(&self) -> bool {
        self.0.is_outdated()
    }
}

/// The tables in memory, and the sessions that were read out of them.
pub(super) struct Sessions {
    database: Arc<Database>,
    memory: Arc<Memory>,
}

impl Sessions {
    fn take(&self, changes: Vec<Change>, anew: bool) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        let mut changed = Vec::with_capacity(changes.len());
        {
            let mut tables = begin(&write)?;
            if anew {
                tables.clear()?;
            }
            for Change { name, value } in changes {
                let Some(hash) = hash(&name) else {
                    continue;
                };
                tables.remove(&hash)?;
                if let Some(record) = value.and_then(|(_, json)| decode(&json)) {
                    tables.put(&hash, &record)?;
                }
                changed.push(hash);
            }
        }
        write.commit()?;
        if anew {
            self.memory.forget_all();
        } else {
            self.memory.forget(&changed);
        }
        Ok(())
    }
}

fn failed(error: impl Into<StoreError>) -> Error {
    Error::Mirror(error.into().to_string())
}

fn hash(name: &str) -> Option<super::Hash> {
    URL_SAFE_NO_PAD.decode(name).ok()?.try_into().ok()
}

impl Mirror for Sessions {
    type Job = Job;

    fn run(
        &mut self,
        jobs: &mut [Job],
        decide: &mut dyn FnMut(Vec<Change>) -> Decision,
    ) -> Result<(), Error> {
        let write = self.database.begin_write().map_err(failed)?;
        let changes: Vec<Change> = {
            let mut tables = begin(&write).map_err(failed)?.for_replicas();
            for job in jobs {
                (job.run)(&mut tables).map_err(failed)?;
            }
            let written = tables.into_written().into_iter();
            written
                .map(|(hash, record)| Change {
                    name: URL_SAFE_NO_PAD.encode(hash),
                    value: record.map(|record| (record.deadline(), encode(&record))),
                })
                .collect()
        };
        match decide(changes) {
            Decision::Keep => write.commit().map_err(failed),
            Decision::Undo => write.abort().map_err(failed),
        }
    }

    fn finish(job: Job, outcome: Result<(), &Error>) {
        // Whoever asked may have gone.
        drop(job.reply.send(outcome.map_err(ToString::to_string)));
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), Error> {
        self.take(changes, false).map_err(failed)
    }

    fn reset(&mut self, all: Vec<Change>) -> Result<(), Error> {
        self.take(all, true).map_err(failed)
    }

    fn record(&self, name: &str) -> Result<Change, Error> {
        let record = match hash(name) {
            Some(hash) => super::store::look_up(&self.database, &hash).map_err(failed)?,
            None => None,
        };
        Ok(Change {
            name: name.to_owned(),
            value: record.map(|record| (record.deadline(), encode(&record))),
        })
    }
}
