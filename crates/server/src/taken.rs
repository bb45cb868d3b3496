//! Requests of a connection with many at a time, and where they are answered.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use crate::Answering;

type Answer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What was read and is not answered yet, where it is answered in place.
#[derive(Clone)]
pub(crate) struct Taken(Option<Arc<Mutex<Vec<Answer>>>>);

impl Taken {
    pub(crate) fn of(answering: Answering) -> Self {
        Self(match answering {
            Answering::Apart => None,
            Answering::InPlace => Some(Arc::default()),
        })
    }

    /// The connection, with its requests answered as they come: those that are there are read first, so that their answers
    /// go out together.
    pub(crate) async fn answered<C: Future>(&self, mut connection: Pin<&mut C>) -> C::Output {
        std::future::poll_fn(|context| {
            loop {
                let ended = connection.as_mut().poll(context);
                if ended.is_ready() || !self.answer() {
                    return ended;
                }
            }
        })
        .await
    }

    /// Whether there was something to answer.
    fn answer(&self) -> bool {
        let Some(taken) = &self.0 else {
            return false;
        };
        let taken = std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
        let some = !taken.is_empty();
        let mut context = Context::from_waker(Waker::noop());
        for mut answer in taken {
            // What has to wait is polled again as a task, which is then what is woken.
            if answer.as_mut().poll(&mut context).is_pending() {
                tokio::spawn(answer);
            }
        }
        some
    }
}

impl<F> hyper::rt::Executor<F> for Taken
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        match &self.0 {
            None => drop(tokio::spawn(future)),
            Some(taken) => {
                let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                taken.push(Box::pin(future));
            }
        }
    }
}
