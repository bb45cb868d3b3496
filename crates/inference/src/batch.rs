//! Requests that are answered together: the first waits for others, and asks the model for all of them.

use models::{InputError, Matrix, Output, Precision};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many rows are answered together, and how long the first of them waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// Rows at which nobody waits any longer.
    pub rows: usize,
    /// How long the first request waits for others.
    pub wait: Duration,
}

/// Gathers the rows of requests for one model.
#[derive(Debug)]
pub(crate) struct Batcher {
    settings: Batching,
    open: Mutex<Option<Arc<Batch>>>,
}

#[derive(Debug)]
struct Batch {
    columns: usize,
    precision: Precision,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    values: Vec<f64>,
    rows: usize,
    closed: bool,
    outcome: Option<Outcome>,
}

/// What the model said about all rows; nothing if it refused them, for it may like some of them alone.
type Outcome = Option<Arc<Output>>;

impl Batcher {
    pub(crate) fn new(settings: Batching) -> Self {
        Self {
            settings,
            open: Mutex::default(),
        }
    }

    /// What `ask` says about rows, alone or with those of others. Waits.
    pub(crate) fn answer(
        &self,
        rows: &Matrix,
        ask: impl Fn(&Matrix) -> Result<Output, InputError>,
    ) -> Result<Output, InputError> {
        if rows.rows() == 0 || rows.rows() >= self.settings.rows {
            return ask(rows);
        }
        let (batch, start) = self.join(rows);
        let outcome = if start == 0 {
            self.lead(&batch, &ask)
        } else {
            let state = batch.lock();
            let ended = |state: &mut State| state.outcome.is_none();
            let state = batch.changed.wait_while(state, ended);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            state.outcome.as_mut().and_then(|outcome| outcome.clone())
        };
        match outcome.and_then(|output| part(&output, start, rows.rows())) {
            Some(output) => Ok(output),
            None => ask(rows),
        }
    }

    /// Adds rows to the open batch, or to a new one, and says where they begin.
    fn join(&self, rows: &Matrix) -> (Arc<Batch>, usize) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(batch) = &*open {
            let batch = Arc::clone(batch);
            let mut state = batch.lock();
            let together = state.rows + rows.rows();
            let fits = batch.columns == rows.columns()
                && batch.precision == rows.precision()
                && together <= self.settings.rows;
            if fits {
                state.values.extend_from_slice(rows.values());
                state.rows = together;
            }
            if !fits || together == self.settings.rows {
                state.closed = true;
                *open = None;
                batch.changed.notify_all();
            }
            if fits {
                drop(state);
                return (batch, together - rows.rows());
            }
        }
        let batch = Arc::new(Batch {
            columns: rows.columns(),
            precision: rows.precision(),
            state: Mutex::new(State {
                values: rows.values().to_vec(),
                rows: rows.rows(),
                ..State::default()
            }),
            changed: Condvar::new(),
        });
        *open = Some(Arc::clone(&batch));
        (batch, 0)
    }

    /// Waits for others, and asks for all.
    fn lead(
        &self,
        batch: &Arc<Batch>,
        ask: impl Fn(&Matrix) -> Result<Output, InputError>,
    ) -> Outcome {
        let wait = self.settings.wait;
        let filling = |state: &mut State| !state.closed;
        drop(
            batch
                .changed
                .wait_timeout_while(batch.lock(), wait, filling),
        );
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(open, batch)) {
            *open = None;
        }
        drop(open);
        let mut ended = Ended {
            batch,
            outcome: None,
        };
        let (values, rows) = {
            let mut state = batch.lock();
            (std::mem::take(&mut state.values), state.rows)
        };
        let all = Matrix::new(values, rows, batch.columns, batch.precision);
        ended.outcome = all.and_then(|all| ask(&all).ok()).map(Arc::new);
        ended.outcome.clone()
    }
}

/// Tells the others how it ended, however it did.
struct Ended<'b> {
    batch: &'b Batch,
    outcome: Outcome,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.batch.lock().outcome = Some(self.outcome.take());
        self.batch.changed.notify_all();
    }
}

impl Batch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an output says about some of its rows.
fn part(output: &Output, start: usize, rows: usize) -> Option<Output> {
    let end = start.checked_add(rows)?;
    Some(match output {
        Output::Classes(classes) => Output::Classes(classes.get(start..end)?.to_vec()),
        Output::ClassTable { classes, columns } => Output::ClassTable {
            classes: classes
                .get(start.checked_mul(*columns)?..end.checked_mul(*columns)?)?
                .to_vec(),
            columns: *columns,
        },
        Output::Values(values, precision) => {
            Output::Values(values.get(start..end)?.to_vec(), *precision)
        }
        Output::Table {
            values,
            columns,
            precision,
        } => Output::Table {
            values: values
                .get(start.checked_mul(*columns)?..end.checked_mul(*columns)?)?
                .to_vec(),
            columns: *columns,
            precision: *precision,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn matrix(values: &[f64], columns: usize) -> Matrix {
        let rows = values.len() / columns;
        Matrix::new(values.to_vec(), rows, columns, Precision::Double).unwrap()
    }

    /// The sum of each row; NaN is refused.
    fn sums(rows: &Matrix) -> Result<Output, InputError> {
        if rows.values().iter().any(|value| value.is_nan()) {
            return Err(InputError::TooLarge);
        }
        let sums = rows.iter().map(|row| row.iter().sum()).collect();
        Ok(Output::Values(sums, Precision::Double))
    }

    #[test]
    fn everyone_gets_the_answer_to_what_they_asked() {
        let batcher = Batcher::new(Batching {
            rows: 16,
            wait: Duration::from_millis(20),
        });
        let asked = AtomicUsize::new(0);
        let ask = |rows: &Matrix| {
            asked.fetch_add(1, Ordering::Relaxed);
            sums(rows)
        };
        std::thread::scope(|scope| {
            for thread in 0..12_u32 {
                let (batcher, ask) = (&batcher, &ask);
                scope.spawn(move || {
                    for round in 0..40_u32 {
                        let columns = if round % 10 == 9 { 3 } else { 2 };
                        let count = 1 + (thread as usize + round as usize) % 3;
                        let mut values = vec![f64::from(thread * 100 + round); count * columns];
                        if (thread + round) % 7 == 0 {
                            values[0] = f64::NAN;
                        }
                        let rows = matrix(&values, columns);
                        assert_eq!(batcher.answer(&rows, ask), sums(&rows));
                    }
                });
            }
        });
        assert!(asked.load(Ordering::Relaxed) < 480 * 2);
    }

    #[test]
    fn requests_are_answered_together() {
        let batcher = Batcher::new(Batching {
            rows: 8,
            wait: Duration::from_secs(60),
        });
        let asked = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    batcher.answer(&matrix(&[1.0, 2.0], 2), |rows| {
                        asked.fetch_add(1, Ordering::Relaxed);
                        sums(rows)
                    })
                });
            }
        });
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn everyone_has_their_rows_of_several_outputs() {
        let output = Output::ClassTable {
            classes: (0..8).collect(),
            columns: 2,
        };
        let expected = Output::ClassTable {
            classes: vec![2, 3, 4, 5],
            columns: 2,
        };
        assert_eq!(part(&output, 1, 2), Some(expected));
        assert_eq!(part(&output, 3, 2), None);
    }

    #[test]
    fn who_is_alone_is_answered_after_a_while() {
        let batcher = Batcher::new(Batching {
            rows: 8,
            wait: Duration::from_millis(5),
        });
        let rows = matrix(&[1.0, 2.0], 2);
        assert_eq!(batcher.answer(&rows, sums), sums(&rows));
        let many = matrix(&[1.0; 32], 2);
        assert_eq!(batcher.answer(&many, sums), sums(&many));
    }
}
