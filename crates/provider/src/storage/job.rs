//! A part of a transaction, and who waits for it.

use super::{Batch, StorageError};

/// Work on a transaction. Where the transaction comes to nothing, as another one was first, it is run
/// again on what that one left.
pub(super) trait Job: Send {
    /// False when the database itself failed.
    fn run(&mut self, batch: &mut Batch<'_>) -> bool;

    /// Told after the transaction: whether it is kept, or why not.
    fn finish(self: Box<Self>, committed: Result<(), &str>);
}

pub(super) type BoxedJob = Box<dyn Job>;

struct Work<W, F, R> {
    work: W,
    reply: F,
    result: Option<Result<R, StorageError>>,
}

impl<W, F, R> Job for Work<W, F, R>
where
    R: Send,
    W: Fn(&mut Batch<'_>) -> Result<R, StorageError> + Send,
    F: FnOnce(Result<R, StorageError>) + Send,
{
    fn run(&mut self, batch: &mut Batch<'_>) -> bool {
        let result = (self.work)(batch);
        let sound = !matches!(result, Err(StorageError::Database(_)));
        self.result = Some(result);
        sound
    }

    fn finish(self: Box<Self>, committed: Result<(), &str>) {
        let result = self.result.unwrap_or(Err(StorageError::Unavailable));
        (self.reply)(match committed {
            Ok(()) => result,
            Err(reason) => result.and(Err(StorageError::Commit(reason.to_owned()))),
        });
    }
}

pub(super) fn job<R: Send + 'static>(
    work: impl Fn(&mut Batch<'_>) -> Result<R, StorageError> + Send + 'static,
    reply: impl FnOnce(Result<R, StorageError>) + Send + 'static,
) -> BoxedJob {
    Box::new(Work {
        work,
        reply,
        result: None,
    })
}
