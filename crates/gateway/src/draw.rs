//! Numbers that need to differ, not to be secret: request ids, weighted routes.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

use http::HeaderValue;

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
}

/// A number (splitmix64, one sequence per thread, seeded by the system).
pub(crate) fn number() -> u64 {
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A request id in the shape of a random UUID, as Envoy writes them.
pub(crate) fn request_id() -> HeaderValue {
    let bits = u128::from(number()) << 64 | u128::from(number());
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = |shift: u32, digits: u32| bits >> shift & ((1 << (4 * digits)) - 1);
    let text = format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        hex(96, 8),
        hex(80, 4),
        hex(64, 4),
        hex(48, 4),
        hex(0, 12)
    );
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_version_4_uuids_and_differ() {
        let (a, b) = (request_id(), request_id());
        assert_ne!(a, b);
        let text = a.to_str().unwrap();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
    }
}
