//! Shapes that are stretched to fit each other, as in numpy.

/// The shape that both are stretched to.
///
/// # Errors
/// Two sizes that differ, of which none is one.
pub(super) fn broadcast(left: &[usize], right: &[usize]) -> Result<Vec<usize>, String> {
    let rank = left.len().max(right.len());
    let size = |shape: &[usize], index: usize| {
        let missing = rank - shape.len();
        index
            .checked_sub(missing)
            .and_then(|index| shape.get(index).copied())
            .unwrap_or(1)
    };
    (0..rank)
        .map(|index| match (size(left, index), size(right, index)) {
            (a, b) if a == b => Ok(a),
            (1, other) | (other, 1) => Ok(other),
            _ => Err(format!("the shapes {left:?} and {right:?} do not fit")),
        })
        .collect()
}

/// For each value of a stretched tensor, the place of the value that stands there, in order.
#[derive(Debug, Clone)]
pub(super) struct Places {
    shape: Vec<usize>,
    steps: Vec<usize>,
    index: Vec<usize>,
    at: usize,
    left: usize,
}

impl Places {
    /// Of a tensor of the first shape, stretched to the second, which fits it.
    pub(super) fn new(from: &[usize], to: &[usize]) -> Self {
        let mut steps = vec![0; to.len()];
        let mut step = 1_usize;
        for (size, place) in from.iter().rev().zip(steps.iter_mut().rev()) {
            *place = if *size == 1 { 0 } else { step };
            step = step.saturating_mul(*size);
        }
        Self::walk(to, steps)
    }

    /// Of a shape, where going on by one along a dimension means so many places.
    pub(super) fn walk(shape: &[usize], steps: Vec<usize>) -> Self {
        Self {
            left: crate::onnx::tensor::volume(shape).unwrap_or(0),
            index: vec![0; shape.len()],
            shape: shape.to_vec(),
            steps,
            at: 0,
        }
    }
}

impl Iterator for Places {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let place = self.at;
        let dimensions = self.index.iter_mut().zip(&self.shape).zip(&self.steps);
        for ((index, size), step) in dimensions.rev() {
            *index += 1;
            self.at = self.at.wrapping_add(*step);
            if *index < *size {
                break;
            }
            self.at = self.at.wrapping_sub(step.wrapping_mul(*size));
            *index = 0;
        }
        Some(place)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// How many places going on by one along each dimension means.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut steps = vec![1_usize; shape.len()];
    let mut step = 1_usize;
    for (size, place) in shape.iter().rev().zip(steps.iter_mut().rev()) {
        *place = step;
        step = step.saturating_mul(*size);
    }
    steps
}

/// A dimension that counts from the end if it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let size = i64::try_from(rank).unwrap_or(i64::MAX);
    let place = if axis < 0 {
        axis.saturating_add(size)
    } else {
        axis
    };
    let place = usize::try_from(place).ok().filter(|place| *place < rank);
    place.ok_or_else(|| format!("the dimension {axis} is none of {rank}"))
}

/// The sizes before, at and behind a dimension.
pub(super) fn around(shape: &[usize], axis: usize) -> Result<(usize, usize, usize), String> {
    let (before, rest) = shape.split_at_checked(axis).unwrap_or((shape, &[]));
    let (size, after) = rest.split_first().ok_or("there is no such dimension")?;
    let product = crate::onnx::tensor::volume;
    match (product(before), product(after)) {
        (Some(before), Some(after)) => Ok((before, *size, after)),
        _ => Err("a shape that is larger than memory".to_owned()),
    }
}
