//! Just enough DER to publish an RSA key.

/// Modulus and exponent, big-endian without leading zeros, of an `RSAPublicKey` in DER
/// (RFC 8017 appendix A.1.1).
pub(super) fn public_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = element(der, 0x30)?;
    let (modulus, rest) = element(sequence, 0x02)?;
    let (exponent, _) = element(rest, 0x02)?;
    let trim = |number: &'_ [u8]| number.iter().take_while(|byte| **byte == 0).count();
    Some((
        modulus.get(trim(modulus)..)?,
        exponent.get(trim(exponent)..)?,
    ))
}

/// The content of the DER element with `tag` at the start, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        let length = digits
            .iter()
            .fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        (length, rest)
    };
    if found != tag {
        return None;
    }
    rest.split_at_checked(length)
}
