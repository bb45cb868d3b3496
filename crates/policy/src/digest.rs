//! What is the same in two configurations, told by a number instead of by
//! comparing it part by part.

use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};

/// Stands for a value: equal values have equal digests, and nobody knows two
/// others that do. Who writes configuration does not have to be trusted, so it
/// is a hash for which no collisions can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// What `Hash` feeds says where each part ends, so other values feed other
    /// bytes.
    pub(crate) fn of(value: &impl Hash) -> Self {
        let mut absorbed = Absorbed(Sha256::new());
        value.hash(&mut absorbed);
        Self(absorbed.0.finalize().into())
    }
}

/// One that stands for several.
impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

struct Absorbed(Sha256);

impl Hasher for Absorbed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Nobody asks for it: 64 bits would be too few.
    fn finish(&self) -> u64 {
        let all = self.0.clone().finalize();
        let first = all.first_chunk::<8>().copied();
        first.map_or(0, u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests;
