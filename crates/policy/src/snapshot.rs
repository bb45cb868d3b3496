//! The compiled configuration: an immutable value that everything reads.

use resources::mesh::Normalization;

/// Everything a decision reads, compiled and validated.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(crate) normalization: Normalization,
    pub(crate) enforce: bool,
}

impl Snapshot {
    /// How paths are normalised before anything looks at them.
    pub fn normalization(&self) -> Normalization {
        self.normalization
    }

    /// Whether access levels are enforced, and client-sent identity headers
    /// removed from every request.
    pub fn enforces(&self) -> bool {
        self.enforce
    }
}
