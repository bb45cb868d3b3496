//! What all bodies together may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that bodies of requests may still take.
#[derive(Debug)]
pub(crate) struct Budget(AtomicUsize);

/// What one request has taken, which is given back when it ends.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    taken: usize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(bytes)))
    }

    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share {
            budget: Arc::clone(self),
            taken: 0,
        }
    }
}

impl Share {
    /// Takes more. Whether there was so much left; waiting for it could last until those wait who have it.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let left = &self.budget.0;
        let less = |left: usize| left.checked_sub(bytes);
        let taken = left.try_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.taken += if taken.is_ok() { bytes } else { 0 };
        taken.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let budget = Budget::new(100);
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.take(60) && !other.take(41) && other.take(40) && !one.take(1));
        drop(one);
        assert!(other.take(60) && !other.take(1));
        drop(other);
        assert_eq!(budget.0.load(Ordering::Relaxed), 100);
    }
}
