//! Little-endian numbers of the pickle format.

/// An unsigned little-endian integer of up to 8 bytes.
#[inline]
pub(super) fn unsigned(bytes: &[u8]) -> u64 {
    if let Some(whole) = bytes.first_chunk() {
        return u64::from_le_bytes(*whole);
    }
    if let Ok(half) = bytes.try_into() {
        return u32::from_le_bytes(half).into();
    }
    bytes
        .iter()
        .take(8)
        .rev()
        .fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// A two's complement little-endian integer; `None` if it does not fit.
pub(super) fn signed(bytes: &[u8]) -> Option<i64> {
    let (head, rest) = bytes.split_at(bytes.len().min(8));
    let shift = u32::try_from(8 - head.len()).ok()?.checked_mul(8)?;
    if shift == 64 {
        return Some(0);
    }
    let value = ((unsigned(head) << shift).cast_signed()) >> shift;
    let fill = if value < 0 { 0xff } else { 0 };
    rest.iter().all(|byte| *byte == fill).then_some(value)
}
