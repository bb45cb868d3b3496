//! The CBOR that authenticators send (CTAP 2.2 section 8: definite lengths, little nesting), read
//! from bytes that anybody may have made.

/// An item of the kinds that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item<'b> {
    Int(i64),
    Bytes(&'b [u8]),
    Text(&'b str),
    Array(Vec<Item<'b>>),
    Map(Vec<(Item<'b>, Item<'b>)>),
    /// `true`, `false`, `null`, floats.
    Simple,
}

/// Deeper nesting is refused (CTAP 2.2 allows four levels).
const MAX_DEPTH: usize = 4;
/// More items of an array or map are refused.
const MAX_ITEMS: u64 = 64;

/// The first item of `bytes`, and what is behind it.
pub(super) fn read(bytes: &[u8]) -> Option<(Item<'_>, &[u8])> {
    item(bytes, MAX_DEPTH)
}

fn item(bytes: &[u8], depth: usize) -> Option<(Item<'_>, &[u8])> {
    let depth = depth.checked_sub(1)?;
    let (first, rest) = bytes.split_first()?;
    let (kind, short) = (first >> 5, first & 0x1f);
    let (number, rest) = match short {
        0..=23 => (u64::from(short), rest),
        // One, two, four or eight bytes of it follow.
        24..=27 => {
            let (number, rest) = rest.split_at_checked(1 << (short - 24))?;
            let number = number.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
            (number, rest)
        }
        _ => return None,
    };
    let length = || usize::try_from(number).ok();
    match kind {
        0 => Some((Item::Int(i64::try_from(number).ok()?), rest)),
        1 => Some((Item::Int(-1 - i64::try_from(number).ok()?), rest)),
        2 => {
            let (bytes, rest) = rest.split_at_checked(length()?)?;
            Some((Item::Bytes(bytes), rest))
        }
        3 => {
            let (text, rest) = rest.split_at_checked(length()?)?;
            Some((Item::Text(std::str::from_utf8(text).ok()?), rest))
        }
        4 if number <= MAX_ITEMS => {
            let (mut items, mut rest) = (Vec::new(), rest);
            for _ in 0..number {
                let (found, behind) = item(rest, depth)?;
                items.push(found);
                rest = behind;
            }
            Some((Item::Array(items), rest))
        }
        5 if number <= MAX_ITEMS => {
            let (mut pairs, mut rest) = (Vec::new(), rest);
            for _ in 0..number {
                let (key, behind) = item(rest, depth)?;
                let (value, behind) = item(behind, depth)?;
                if pairs.iter().any(|(known, _)| *known == key) {
                    return None;
                }
                pairs.push((key, value));
                rest = behind;
            }
            Some((Item::Map(pairs), rest))
        }
        7 => Some((Item::Simple, rest)),
        _ => None,
    }
}

impl<'b> Item<'b> {
    /// The value of a map under a number.
    pub(super) fn at(&self, key: i64) -> Option<&Item<'b>> {
        self.under(&Item::Int(key))
    }

    /// The value of a map under a name.
    pub(super) fn named(&self, key: &str) -> Option<&Item<'b>> {
        self.under(&Item::Text(key))
    }

    fn under(&self, key: &Item<'_>) -> Option<&Item<'b>> {
        let Item::Map(pairs) = self else {
            return None;
        };
        let (_, value) = pairs.iter().find(|(known, _)| known == key)?;
        Some(value)
    }

    pub(super) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn bytes(&self) -> Option<&'b [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&'b str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfc_are_read() {
        // RFC 8949 appendix A.
        let check = |bytes: &[u8], expected: Item<'_>| {
            assert_eq!(read(bytes), Some((expected, &[][..])), "{bytes:02x?}");
        };
        check(&[0x17], Item::Int(23));
        check(&[0x18, 0x64], Item::Int(100));
        check(&[0x19, 0x03, 0xe8], Item::Int(1000));
        check(&[0x1a, 0, 0x0f, 0x42, 0x40], Item::Int(1_000_000));
        check(&[0x38, 0x63], Item::Int(-100));
        check(&[0x39, 0x01, 0x00], Item::Int(-257));
        check(&[0x44, 1, 2, 3, 4], Item::Bytes(&[1, 2, 3, 4]));
        check(&[0x62, 0xc3, 0xbc], Item::Text("ü"));
        check(&[0xf5], Item::Simple);
        check(
            &[0x82, 1, 0x20],
            Item::Array(vec![Item::Int(1), Item::Int(-1)]),
        );
        let map = Item::Map(vec![
            (Item::Int(1), Item::Int(2)),
            (Item::Text("a"), Item::Bytes(&[])),
        ]);
        assert_eq!(map.at(1), Some(&Item::Int(2)));
        assert_eq!(map.named("a").unwrap().bytes(), Some(&[][..]));
        assert_eq!((map.named("b"), Item::Simple.at(1)), (None, None));
        check(&[0xa2, 1, 2, 0x61, b'a', 0x40], map);
        assert_eq!(read(&[1, 2]), Some((Item::Int(1), &[2][..])));
    }

    #[test]
    fn what_is_no_item_is_refused_whatever_it_claims() {
        for bad in [
            &[][..],
            &[0x18],
            &[0x44, 1],
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x5f, 0x41, 0, 0xff],
            &[0x61, 0xff],
            &[0xa2, 1, 2, 1, 3],
            &[0xa1, 1],
            &[0xc0, 1],
            &[0x81, 0x81, 0x81, 0x81, 1],
            &[0x98, 65],
        ] {
            assert_eq!(read(bad), None, "{bad:02x?}");
        }
        assert!(read(&[0x81, 0x81, 0x81, 1]).is_some());
    }
}
