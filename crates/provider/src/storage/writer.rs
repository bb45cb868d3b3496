//! The one thread that writes.

use std::sync::Arc;
use std::thread::JoinHandle;

use redb::Database;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::job::BoxedJob;
use super::{Batch, StorageError};

/// How many writes may wait; further ones wait before they are counted.
const QUEUE: usize = 4096;
/// How many writes one transaction takes, which bounds how long the first of them waits.
const GROUP: usize = 1024;

pub(super) struct Writer {
    queue: Option<Sender<BoxedJob>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(database: Arc<Database>) -> std::io::Result<Self> {
        let (queue, jobs) = channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("provider-storage".to_owned())
            .spawn(move || run(&database, jobs))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    pub(super) async fn send(&self, job: BoxedJob) -> Result<(), StorageError> {
        let queue = self.queue.as_ref().ok_or(StorageError::Unavailable)?;
        queue.send(job).await.map_err(|_| StorageError::Unavailable)
    }

    pub(super) fn send_now(&self, job: BoxedJob) -> Result<(), StorageError> {
        let queue = self.queue.as_ref().ok_or(StorageError::Unavailable)?;
        queue.try_send(job).map_err(|_| StorageError::Unavailable)
    }
}

impl Drop for Writer {
    /// Ends the thread after what it was given, so that the file is free when this returns.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the identity provider's storage thread ended early");
        }
    }
}

fn run(database: &Database, mut jobs: Receiver<BoxedJob>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = jobs.try_recv()
        {
            group.push(next);
        }
        // Jobs that are dropped without an answer tell their callers so.
        if let Err(error) = commit(database, group) {
            tracing::error!(%error, "the identity provider's storage failed");
        }
    }
}

/// One transaction for all jobs of a group: all of them are on the disk, or none.
fn commit(database: &Database, group: Vec<BoxedJob>) -> Result<(), StorageError> {
    let transaction = database.begin_write()?;
    let mut batch = Batch::new(&transaction);
    let mut sound = true;
    let mut run = Vec::with_capacity(group.len());
    for mut job in group {
        sound = job.run(&mut batch);
        run.push(job);
        if !sound {
            break;
        }
    }
    let changed = batch.changed();
    let result = match (sound, changed) {
        (true, true) => transaction.commit().map_err(|error| error.to_string()),
        (true, false) => transaction.abort().map_err(|error| error.to_string()),
        (false, _) => {
            drop(transaction.abort());
            Err("another write of the same transaction failed".to_owned())
        }
    };
    for job in run {
        job.finish(result.as_ref().copied().map_err(String::as_str));
    }
    Ok(())
}
