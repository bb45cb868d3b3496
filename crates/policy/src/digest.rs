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
        let mut absorbed = Absorbed {
            sha: Sha256::new(),
            gathered: Vec::with_capacity(Absorbed::USUAL),
        };
        value.hash(&mut absorbed);
        absorbed.flush();
        Self(absorbed.sha.finalize().into())
    }
}

/// One that stands for several.
impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// `Hash` feeds a few bytes at a time, which are gathered.
struct Absorbed {
    sha: Sha256,
    gathered: Vec<u8>,
}

impl Absorbed {
    const ENOUGH: usize = 4 << 10;

    /// What a route takes.
    const USUAL: usize = 1 << 10;

    fn flush(&mut self) {
        self.sha.update(&self.gathered);
        self.gathered.clear();
    }
}

impl Hasher for Absorbed {
    fn write(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= Self::ENOUGH {
            self.flush();
        }
    }

    /// Nobody asks for it: 64 bits would be too few.
    fn finish(&self) -> u64 {
        let all = self.sha.clone().chain_update(&self.gathered).finalize();
        let first = all.first_chunk::<8>().copied();
        first.map_or(0, u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests;
