//! What a compiled node does, and what it may cost.

use super::site::Source;
use super::tensor::{ElementType, Tensor, Values, volume};
use std::fmt::Debug;

/// A compiled node. It fails for inputs that it does not take, and never panics.
pub(super) trait Operator: Debug + Send + Sync {
    fn run(&self, inputs: &Inputs<'_>, work: &mut Work) -> Result<Vec<Tensor>, String>;
}

/// The inputs of a node; some may be left out.
#[derive(Debug)]
pub(super) struct Inputs<'i>(pub(super) Vec<Option<&'i Tensor>>);

impl<'i> Inputs<'i> {
    pub(super) fn get(&self, index: usize) -> Result<&'i Tensor, String> {
        self.optional(index)
            .ok_or_else(|| format!("expected at least {} inputs", index + 1))
    }

    pub(super) fn optional(&self, index: usize) -> Option<&'i Tensor> {
        self.0.get(index).copied().flatten()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'i Tensor> {
        self.0.iter().copied().flatten()
    }

    /// Whole numbers that are known, or values of an input.
    pub(super) fn ints(&self, source: &Source) -> Result<Option<Vec<i64>>, String> {
        match source {
            Source::None => Ok(None),
            Source::Known(values) => Ok(Some(values.clone())),
            Source::Input(index) => self.get(*index)?.ints().map(Some),
        }
    }
}

/// What a request may still cost.
#[derive(Debug)]
pub(super) struct Work {
    bytes: usize,
    steps: usize,
}

/// Steps for each byte that is allowed.
const STEPS: usize = 64;

impl Work {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            bytes,
            steps: bytes.saturating_mul(STEPS),
        }
    }

    /// Pays for a tensor before it is made, and returns the number of its values.
    pub(super) fn room(&mut self, element: ElementType, shape: &[usize]) -> Result<usize, String> {
        let count = volume(shape);
        let bytes = count.and_then(|count| count.checked_mul(element.size()));
        let left = bytes.and_then(|bytes| self.bytes.checked_sub(bytes));
        match (left, count) {
            (Some(left), Some(count)) => {
                self.bytes = left;
                Ok(count)
            }
            _ => Err(TOO_MUCH.to_owned()),
        }
    }

    /// Pays for the time of as many additions.
    pub(super) fn steps(&mut self, factors: &[usize]) -> Result<(), String> {
        let steps = volume(factors);
        let left = steps.and_then(|steps| self.steps.checked_sub(steps));
        self.steps = left.ok_or(TOO_MUCH)?;
        Ok(())
    }
}

const TOO_MUCH: &str = "would make more of the rows than may be in memory: send fewer at once";

/// A tensor whose values are as many as its shape says.
pub(super) fn made(shape: Vec<usize>, values: Values) -> Result<Tensor, String> {
    Tensor::new(shape, values).ok_or_else(|| "made another number of values".to_owned())
}
