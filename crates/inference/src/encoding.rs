//! Compressed bodies, which are inflated only as far as somebody pays for it.

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use std::io::Read;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950; without its frame, as some clients send it, too.
    Deflate,
}

/// Why a body cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InflateError {
    /// It is damaged, or of another coding.
    Damaged,
    /// It would become larger than was allowed.
    TooLarge,
}

/// Bytes that are inflated between two questions whether there may be more.
const STEP: usize = 64 << 10;

impl Coding {
    /// The coding of that name in `content-encoding` or `grpc-encoding`. `Some(None)` is none at all, `None` one that is not
    /// known.
    pub fn named(name: &str) -> Option<Option<Self>> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(None),
            "gzip" | "x-gzip" => Some(Some(Self::Gzip)),
            "deflate" => Some(Some(Self::Deflate)),
            _ => None,
        }
    }

    /// Inflates a body. `more` is asked before each step, with its bytes, whether it may be taken.
    ///
    /// # Errors
    /// The body is no such text, or `more` said no.
    pub fn inflate(
        self,
        bytes: &[u8],
        more: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<u8>, InflateError> {
        match self {
            Self::Gzip => drain(MultiGzDecoder::new(bytes), more),
            // The first byte of a frame is its method, 8, and its window (RFC 1950, 2.2).
            Self::Deflate if bytes.first().is_some_and(|byte| byte & 0xf == 8) => {
                drain(ZlibDecoder::new(bytes), more)
            }
            Self::Deflate => drain(DeflateDecoder::new(bytes), more),
        }
    }

    /// Compresses with gzip.
    pub fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = flate2::bufread::GzEncoder::new(bytes, flate2::Compression::new(6));
        // Reading from memory and writing to it does not fail.
        let _ = encoder.read_to_end(&mut out);
        out
    }
}

fn drain(
    mut from: impl Read,
    more: &mut dyn FnMut(usize) -> bool,
) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    let mut step = vec![0; STEP];
    loop {
        let read = from.read(&mut step).map_err(|_| InflateError::Damaged)?;
        if read == 0 {
            return Ok(out);
        }
        if !more(read) {
            return Err(InflateError::TooLarge);
        }
        out.extend_from_slice(step.get(..read).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflate(coding: Coding, bytes: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
        let mut left = limit;
        coding.inflate(bytes, &mut |more| {
            let enough = more <= left;
            left = left.saturating_sub(more);
            enough
        })
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let text = b"instances ".repeat(10_000);
        let packed = Coding::gzip(&text);
        assert_eq!(inflate(Coding::Gzip, &packed, 1 << 20), Ok(text.clone()));
        let framed = [
            0x78, 0x9c, 0x4b, 0x4c, 0x4a, 0x06, 0x00, 0x02, 0x4d, 0x01, 0x27,
        ];
        assert_eq!(inflate(Coding::Deflate, &framed, 9), Ok(b"abc".to_vec()));
        let bare = framed.get(2..7).unwrap();
        assert_eq!(inflate(Coding::Deflate, bare, 9), Ok(b"abc".to_vec()));
    }

    #[test]
    fn no_more_is_inflated_than_is_allowed() {
        let bomb = Coding::gzip(&vec![0; 50 << 20]);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(
            inflate(Coding::Gzip, &bomb, 1 << 20),
            Err(InflateError::TooLarge)
        );
        let half = bomb.get(..bomb.len() / 2).unwrap();
        assert_eq!(
            inflate(Coding::Gzip, half, 60 << 20),
            Err(InflateError::Damaged)
        );
        assert_eq!(
            inflate(Coding::Gzip, b"{\"instances\"", 99),
            Err(InflateError::Damaged)
        );
    }
}
