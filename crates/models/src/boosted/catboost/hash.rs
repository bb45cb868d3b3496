//! The number that CatBoost knows a category by: the lower half of Google's CityHash64, version 1.0.

const K0: u64 = 0xc3a5_c85c_97cb_3127;
const K1: u64 = 0xb492_b66f_be98_f273;
const K2: u64 = 0x9ae1_6a3b_2f90_404f;
const K3: u64 = 0xc949_d7c7_509e_6557;

/// The number of a category, as it is compared in splits.
pub(super) fn category(text: &str) -> i32 {
    (city(text.as_bytes()) & 0xffff_ffff) as u32 as i32
}

/// Eight bytes, little-endian; bytes that are not there are zero.
fn word(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).and_then(|rest| rest.first_chunk());
    rest.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn half(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).and_then(|rest| rest.first_chunk());
    rest.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
}

fn mix(value: u64) -> u64 {
    value ^ (value >> 47)
}

fn both(low: u64, high: u64) -> u64 {
    const MULTIPLIER: u64 = 0x9ddf_ea08_eb38_2d69;
    let a = mix((low ^ high).wrapping_mul(MULTIPLIER));
    let b = mix((high ^ a).wrapping_mul(MULTIPLIER));
    b.wrapping_mul(MULTIPLIER)
}

fn city(bytes: &[u8]) -> u64 {
    match bytes.len() {
        0..=16 => short(bytes),
        17..=32 => medium(bytes),
        33..=64 => long(bytes),
        _ => longest(bytes),
    }
}

fn short(s: &[u8]) -> u64 {
    let length = s.len() as u64;
    match s {
        [] => K2,
        [first, ..] if s.len() < 4 => {
            let middle = s.get(s.len() / 2).copied().unwrap_or(0);
            let last = s.last().copied().unwrap_or(0);
            let y = u64::from(*first) + (u64::from(middle) << 8);
            let z = length + (u64::from(last) << 2);
            mix(y.wrapping_mul(K2) ^ z.wrapping_mul(K3)).wrapping_mul(K2)
        }
        _ if s.len() <= 8 => both(length.wrapping_add(half(s, 0) << 3), half(s, s.len() - 4)),
        _ => {
            let (a, b) = (word(s, 0), word(s, s.len() - 8));
            let turned = b.wrapping_add(length).rotate_right(s.len() as u32);
            both(a, turned) ^ b
        }
    }
}

fn medium(s: &[u8]) -> u64 {
    let a = word(s, 0).wrapping_mul(K1);
    let b = word(s, 8);
    let c = word(s, s.len() - 8).wrapping_mul(K2);
    let d = word(s, s.len() - 16).wrapping_mul(K0);
    let low = a
        .wrapping_sub(b)
        .rotate_right(43)
        .wrapping_add(c.rotate_right(30))
        .wrapping_add(d);
    let high = a
        .wrapping_add((b ^ K3).rotate_right(20))
        .wrapping_sub(c)
        .wrapping_add(s.len() as u64);
    both(low, high)
}

fn long(s: &[u8]) -> u64 {
    let end = s.len();
    let part = |first: u64, z: u64, second: u64, third: u64| {
        let b = first.wrapping_add(z).rotate_right(52);
        let mut c = first.rotate_right(37);
        let a = first.wrapping_add(second);
        c = c.wrapping_add(a.rotate_right(7));
        let a = a.wrapping_add(third);
        let f = a.wrapping_add(z);
        (f, b.wrapping_add(a.rotate_right(31)).wrapping_add(c))
    };
    let start = word(s, 0).wrapping_add(
        (end as u64)
            .wrapping_add(word(s, end - 16))
            .wrapping_mul(K0),
    );
    let (vf, vs) = part(start, word(s, 24), word(s, 8), word(s, 16));
    let start = word(s, 16).wrapping_add(word(s, end - 32));
    let (wf, ws) = part(
        start,
        word(s, end - 8),
        word(s, end - 24),
        word(s, end - 16),
    );
    let r = vf
        .wrapping_add(ws)
        .wrapping_mul(K2)
        .wrapping_add(wf.wrapping_add(vs).wrapping_mul(K0));
    mix(mix(r).wrapping_mul(K0).wrapping_add(vs)).wrapping_mul(K2)
}

/// `WeakHashLen32WithSeeds` of the 32 bytes at a place.
fn weak(s: &[u8], at: usize, a: u64, b: u64) -> (u64, u64) {
    let (w, x, y, z) = (
        word(s, at),
        word(s, at + 8),
        word(s, at + 16),
        word(s, at + 24),
    );
    let a = a.wrapping_add(w);
    let b = b.wrapping_add(a).wrapping_add(z).rotate_right(21);
    let c = a;
    let a = a.wrapping_add(x).wrapping_add(y);
    let b = b.wrapping_add(a.rotate_right(44));
    (a.wrapping_add(z), b.wrapping_add(c))
}

fn longest(s: &[u8]) -> u64 {
    let end = s.len();
    let length = end as u64;
    let mut x = word(s, 0);
    let mut y = word(s, end - 16) ^ K1;
    let mut z = word(s, end - 56) ^ K0;
    let mut v = weak(s, end - 64, length, y);
    let mut w = weak(s, end - 32, length.wrapping_mul(K1), K0);
    z = z.wrapping_add(mix(v.1).wrapping_mul(K1));
    x = z.wrapping_add(x).rotate_right(39).wrapping_mul(K1);
    y = y.rotate_right(33).wrapping_mul(K1);
    for at in (0..(end - 1) & !63).step_by(64) {
        x = x
            .wrapping_add(y)
            .wrapping_add(v.0)
            .wrapping_add(word(s, at + 16))
            .rotate_right(37)
            .wrapping_mul(K1);
        y = y
            .wrapping_add(v.1)
            .wrapping_add(word(s, at + 48))
            .rotate_right(42)
            .wrapping_mul(K1);
        x ^= w.1;
        y ^= v.0;
        z = (z ^ w.0).rotate_right(33);
        v = weak(s, at, v.1.wrapping_mul(K1), x.wrapping_add(w.0));
        w = weak(s, at + 32, z.wrapping_add(w.1), y);
        std::mem::swap(&mut z, &mut x);
    }
    let low = both(v.0, w.0)
        .wrapping_add(mix(y).wrapping_mul(K1))
        .wrapping_add(z);
    both(low, both(v.1, w.1).wrapping_add(x))
}
