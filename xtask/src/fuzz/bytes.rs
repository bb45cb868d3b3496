//! Changes to inputs that are bytes.

use super::random::Random;

/// Numbers at the borders of their types, as files hold them.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

/// Numbers as text.
const WORDS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "2147483648",
    "-2147483649",
    "9223372036854775808",
    "1e308",
    "1e999",
    "-0.0",
    "NaN",
    "Infinity",
    "null",
    "[]",
    "{}",
];

/// An input of a few changes to one of the files, now and then with a piece of another one.
pub(super) fn mutated(random: &mut Random, files: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.of(files).cloned().unwrap_or_default();
    // Many small changes end at the first; most inputs have one or two.
    let changes = 1 + random.below(3) * random.below(3);
    for _ in 0..changes {
        change(random, &mut bytes, files);
    }
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, files: &[Vec<u8>]) {
    let at = random.below(bytes.len());
    match random.below(10) {
        0 | 1 => {
            let bit = 1_u8 << random.below(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bit;
            }
        }
        2 => {
            let value = u8::try_from(random.below(256)).unwrap_or(0);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        3 => bytes.truncate(at),
        4 => {
            let end = (at + random.below(24)).min(bytes.len());
            drop(bytes.drain(at..end));
        }
        5 => {
            let end = (at + random.below(64)).min(bytes.len());
            let piece = bytes.get(at..end).unwrap_or_default().to_vec();
            let to = random.below(bytes.len());
            drop(bytes.splice(to..to, piece));
        }
        6 | 7 => {
            let number = random.of(&NUMBERS).copied().unwrap_or(0);
            let mut number = match random.one_in(3) {
                true => number.to_be_bytes(),
                false => number.to_le_bytes(),
            }
            .to_vec();
            number.truncate(1 << random.below(4));
            for (place, value) in bytes.iter_mut().skip(at).zip(number) {
                *place = value;
            }
        }
        8 => {
            // A number that is text, whole.
            let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
            let rest = bytes.get(at..).unwrap_or_default();
            let start = at + rest.iter().position(is_part).unwrap_or(0);
            let rest = bytes.get(start..).unwrap_or_default();
            let length = rest.iter().take_while(|byte| is_part(byte)).count();
            let word = random.word(&WORDS).bytes();
            drop(bytes.splice(start..start + length, word));
        }
        _ => {
            let other = random.of(files).map_or(&[][..], Vec::as_slice);
            let from = random.below(other.len());
            let end = (from + random.below(256)).min(other.len());
            let piece = other.get(from..end).unwrap_or_default();
            let end = (at + piece.len() * random.below(2)).min(bytes.len());
            drop(bytes.splice(at..end, piece.iter().copied()));
        }
    }
}
