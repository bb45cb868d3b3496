//! Keys that several replicas have in common through Redis: each is made by the first that asks.

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, sync_channel};

use replicated::{Change, Decision, Error, Mirror, Replica, Settings};

use crate::random::random;
use crate::session::StoreError;

/// The schema of the records in Redis.
const SCHEMA: u64 = 1;

/// A key of 32 random bytes under each name, the same for all who ask the same Redis. Waits up to
/// ten seconds for Redis: not for a thread that answers requests.
///
/// # Errors
/// When Redis does not answer, or holds what this version cannot read.
pub fn shared_keys<const N: usize>(
    settings: Settings,
    names: [&'static str; N],
) -> Result<[Vec<u8>; N], StoreError> {
    let mut made = HashMap::new();
    for name in names {
        made.insert(name.to_owned(), random::<32>()?.to_vec());
    }
    let replica = Replica::open(settings, "gateway-keys", SCHEMA, Keys::default())
        .map_err(StoreError::Redis)?;
    let (reply, answer) = sync_channel(1);
    let job = Job {
        made,
        found: HashMap::new(),
        reply,
    };
    replica.submit(job).map_err(StoreError::Redis)?;
    let mut found = match answer.recv() {
        Ok(found) => found.map_err(StoreError::Redis)?,
        Err(_) => return Err(StoreError::Stopped),
    };
    Ok(names.map(|name| found.remove(name).unwrap_or_default()))
}

/// Keys for names that have none yet.
struct Job {
    made: HashMap<String, Vec<u8>>,
    /// What the names have when it is done.
    found: HashMap<String, Vec<u8>>,
    reply: SyncSender<Result<HashMap<String, Vec<u8>>, Error>>,
}

#[derive(Default)]
struct Keys(HashMap<String, Vec<u8>>);

impl Keys {
    fn take(&mut self, changes: Vec<Change>) {
        for Change { name, value } in changes {
            match value {
                Some((_, key)) => drop(self.0.insert(name, key)),
                None => drop(self.0.remove(&name)),
            }
        }
    }
}

impl Mirror for Keys {
    type Job = Job;

    fn run(
        &mut self,
        jobs: &mut [Job],
        decide: &mut dyn FnMut(Vec<Change>) -> Decision,
    ) -> Result<(), Error> {
        let mut all = self.0.clone();
        let mut new = Vec::new();
        for job in jobs {
            job.found.clear();
            for (name, key) in &job.made {
                let key = all.entry(name.clone()).or_insert_with(|| {
                    new.push(Change {
                        name: name.clone(),
                        value: Some((u64::MAX, key.clone())),
                    });
                    key.clone()
                });
                job.found.insert(name.clone(), key.clone());
            }
        }
        if decide(new) == Decision::Keep {
            self.0 = all;
        }
        Ok(())
    }

    fn finish(job: Job, outcome: Result<(), &Error>) {
        let found = outcome.map(|()| job.found).map_err(Clone::clone);
        // Whoever asked may have gone.
        drop(job.reply.send(found));
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), Error> {
        self.take(changes);
        Ok(())
    }

    fn reset(&mut self, all: Vec<Change>) -> Result<(), Error> {
        self.0.clear();
        self.take(all);
        Ok(())
    }

    fn record(&self, name: &str) -> Result<Change, Error> {
        Ok(Change {
            name: name.to_owned(),
            value: self.0.get(name).map(|key| (u64::MAX, key.clone())),
        })
    }
}
