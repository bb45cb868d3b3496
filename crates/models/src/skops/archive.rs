//! The zip archive around a model, and the smaller ones of sparse matrices inside.

use crate::container::LZMA_KIB;
use rawzip::{CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder, ZipSliceArchive};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;

/// An archive whose files are read one by one, each checked by its length and checksum.
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    zip: ZipSliceArchive<&'a [u8]>,
    /// Of files of the same name the last one counts, as in Python.
    files: HashMap<String, (ZipArchiveEntryWayfinder, CompressionMethod)>,
}

impl<'a> Archive<'a> {
    /// # Errors
    /// Bytes that are no archive, or one of more than `most` files.
    pub(super) fn open(bytes: &'a [u8], most: usize) -> Result<Self, String> {
        let bad = |error: rawzip::Error| format!("the zip archive is damaged ({error})");
        let zip = ZipArchive::from_slice(bytes).map_err(bad)?;
        let mut files = HashMap::new();
        let mut entries = zip.entries();
        while let Some(entry) = entries.next_entry().map_err(bad)? {
            let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
            files.insert(name, (entry.wayfinder(), entry.compression_method()));
            if files.len() > most {
                return Err(format!("more than {most} files in it"));
            }
        }
        Ok(Self { bytes, zip, files })
    }

    /// The names of all files, sorted.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.files.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The bytes of a file, of which there may be `most`.
    ///
    /// # Errors
    /// A file that is not there, damaged, compressed otherwise than Python does, or too large.
    pub(super) fn file(&self, name: &str, most: usize) -> Result<Cow<'a, [u8]>, String> {
        let shown = || name.chars().take(64).collect::<String>();
        let bad = |what: &dyn std::fmt::Display| format!("`{}` in it is damaged ({what})", shown());
        let Some((way, method)) = self.files.get(name) else {
            return Err(format!("expected the file `{}` in it", shown()));
        };
        let entry = self.zip.get_entry(*way).map_err(|error| bad(&error))?;
        let (start, end) = entry.compressed_data_range();
        let data = usize::try_from(start)
            .ok()
            .zip(usize::try_from(end).ok())
            .and_then(|(start, end)| self.bytes.get(start..end))
            .ok_or_else(|| bad(&"outside of the file"))?;
        let reader: Box<dyn Read + '_> = match *method {
            CompressionMethod::STORE => Box::new(data),
            CompressionMethod::DEFLATE => Box::new(flate2::bufread::DeflateDecoder::new(data)),
            CompressionMethod::BZIP2 => Box::new(bzip2::bufread::BzDecoder::new(data)),
            CompressionMethod::LZMA => Box::new(lzma(data).map_err(|what| bad(&what))?),
            _ => {
                return Err(format!(
                    "`{}` is compressed with method {}: expected none, deflate, bzip2 or lzma",
                    shown(),
                    method.as_u16()
                ));
            }
        };
        let mut reader = entry.verifying_reader(reader);
        if *method == CompressionMethod::STORE {
            std::io::copy(&mut reader, &mut std::io::sink()).map_err(|error| bad(&error))?;
            return Ok(Cow::Borrowed(data));
        }
        let mut out = Vec::new();
        let bound = u64::try_from(most).unwrap_or(u64::MAX);
        let read = reader.take(bound.saturating_add(1)).read_to_end(&mut out);
        if out.len() > most {
            return Err(format!("more than {most} decompressed bytes"));
        }
        read.map_err(|error| bad(&error))?;
        Ok(Cow::Owned(out))
    }
}

/// Zip keeps an lzma stream without the length that its own format has (APPNOTE 5.8.8).
fn lzma(data: &[u8]) -> Result<impl Read, String> {
    let Some(([_, _, 5, 0, properties @ ..], stream)) = data.split_first_chunk::<9>() else {
        return Err("expected the five properties of lzma".to_owned());
    };
    let unknown_length = u64::MAX.to_le_bytes();
    let header = [properties.as_slice(), &unknown_length].concat();
    let whole = std::io::Cursor::new(header).chain(stream);
    lzma_rust2::LzmaReader::new_mem_limit(whole, LZMA_KIB, None).map_err(|error| error.to_string())
}
