//! gRPC over HTTP/2: length-prefixed messages and texts of statuses
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use bytes::{BufMut, Bytes, BytesMut};

/// A flag and the length.
pub const PREFIX: usize = 5;

/// Whether the first message is compressed, the message, and how many bytes it took; `None` if it is not whole yet.
pub fn unframe(bytes: &Bytes) -> Option<(bool, Bytes, usize)> {
    let ([compressed, length @ ..], rest) = bytes.split_first_chunk::<PREFIX>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    (rest.len() >= length).then(|| {
        let end = PREFIX + length;
        (*compressed != 0, bytes.slice(PREFIX..end), end)
    })
}

/// A message with its prefix, not compressed.
pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(message);
    framed.freeze()
}

/// The text of a status as `grpc-message` carries it: everything but space to `~`, and `%`, percent-encoded.
pub fn percent(message: &str) -> String {
    message.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'%' | ..0x20 | 0x7f.. => out.push_str(&format!("%{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed() {
        let framed = frame(b"abc");
        assert_eq!(&framed[..], b"\0\0\0\0\x03abc");
        let (compressed, message, used) = unframe(&framed).unwrap();
        assert_eq!((compressed, &message[..], used), (false, &b"abc"[..], 8));
        for length in 0..framed.len() {
            assert_eq!(unframe(&framed.slice(..length)), None, "{length}");
        }
        assert!(unframe(&Bytes::from_static(b"\x01\0\0\0\0")).unwrap().0);
        assert_eq!(unframe(&Bytes::from_static(b"\0\xff\xff\xff\xff")), None);
    }

    #[test]
    fn texts_of_statuses_are_ascii() {
        assert_eq!(percent("50% ä\n'x'"), "50%25 %C3%A4%0A'x'");
    }
}
