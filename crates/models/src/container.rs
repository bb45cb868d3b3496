//! The outermost layer of a file: joblib compresses the whole stream.

use crate::{Limits, LoadError};
use std::borrow::Cow;
use std::io::Read;

/// Memory for the dictionary of an lzma stream: that of Python's highest preset is 64 MiB.
pub(crate) const LZMA_KIB: u32 = 70 << 10;

/// Returns the pickle stream inside `bytes`. The signatures are those of joblib's `_detect_compressor`.
///
/// # Errors
/// An unsupported or damaged compression, or a stream larger than the limits.
pub(crate) fn unpack<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>, LoadError> {
    if bytes.len() > limits.file_bytes {
        return Err(LoadError::Limit {
            what: "bytes of file",
            limit: limits.file_bytes,
        });
    }
    match bytes {
        [0x1f, 0x8b, ..] => inflate(flate2::read::MultiGzDecoder::new(bytes), "gzip", limits),
        [0x78, ..] => inflate(flate2::read::ZlibDecoder::new(bytes), "zlib", limits),
        [b'B', b'Z', b'h', ..] => inflate(bzip2::read::MultiBzDecoder::new(bytes), "bz2", limits),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            inflate(lzma_rust2::XzReader::new(bytes, true), "xz", limits)
        }
        [0x5d, 0x00, ..] => match lzma_rust2::LzmaReader::new_mem_limit(bytes, LZMA_KIB, None) {
            Ok(reader) => inflate(reader, "lzma", limits),
            Err(error) => Err(damaged("lzma", 0, &error)),
        },
        [0x04, 0x22, 0x4d, 0x18, ..] => {
            inflate(lz4_flex::frame::FrameDecoder::new(bytes), "lz4", limits)
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(LoadError::Compression { name: "zstd" }),
        [b'Z', b'F', ..] => Err(LoadError::Compression {
            name: "the format of joblib before 0.10",
        }),
        _ => Ok(Cow::Borrowed(bytes)),
    }
}

fn inflate<'a>(reader: impl Read, name: &str, limits: &Limits) -> Result<Cow<'a, [u8]>, LoadError> {
    let mut out = Vec::new();
    let bound = u64::try_from(limits.decompressed_bytes).unwrap_or(u64::MAX);
    let read = reader.take(bound.saturating_add(1)).read_to_end(&mut out);
    if out.len() > limits.decompressed_bytes {
        return Err(LoadError::Limit {
            what: "decompressed bytes",
            limit: limits.decompressed_bytes,
        });
    }
    match read {
        Ok(_) => Ok(Cow::Owned(out)),
        Err(error) => Err(damaged(name, out.len(), &error)),
    }
}

fn damaged(name: &str, offset: usize, error: &std::io::Error) -> LoadError {
    LoadError::Malformed {
        offset,
        what: format!("{name} data is damaged ({error})"),
    }
}
