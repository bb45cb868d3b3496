//! Files of `skops.io.dump`: a zip archive with a tree of states in JSON, and files of numpy that it refers to.
//!
//! The tree says of each value how skops would make it (its loader), of which class, and from what. Here it becomes the same
//! graph of inert values that a pickle is read into, so that whatever is known of estimators holds for both. skops asks its
//! user which types to trust; here types are names that the graph may have or not, as in pickles.

mod archive;
mod state;

use crate::document::{Source, Value};
use crate::pickle::{self, Graph, Id};
use crate::{Limits, LoadError, json};
use archive::Archive;

/// The tree of states inside of the archive.
const SCHEMA: &str = "schema.json";

/// Values inside values of the tree. An estimator inside of another takes eight or so.
const DEPTH: usize = 192;

/// Versions of the format: skops 0.3 began with 0, 0.10 and later write 2.
const PROTOCOLS: std::ops::RangeInclusive<usize> = 0..=2;

/// Whether the bytes begin like a zip archive.
pub(crate) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// Reads a file and returns its graph and the value on top.
///
/// # Errors
/// A damaged file, a passed limit, or a class outside of the allowed packages, with its place.
pub(crate) fn read<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(Graph<'a>, Id), LoadError> {
    if bytes.len() > limits.file_bytes {
        return Err(LoadError::Limit {
            what: "bytes of file",
            limit: limits.file_bytes,
        });
    }
    let bad = |what| LoadError::Skops { what };
    let archive = Archive::open(bytes, limits.objects).map_err(bad)?;
    let schema = archive
        .file(SCHEMA, limits.decompressed_bytes)
        .map_err(bad)?;
    let top = parse(&schema, limits).map_err(|what| bad(format!("{what} in `{SCHEMA}`")))?;
    let left = limits.decompressed_bytes - schema.len().min(limits.decompressed_bytes);
    let mut reader = state::Reader::new(archive, limits, left);
    let id = reader.value(&top)?;
    let graph = reader.into_graph();
    pickle::check(&graph, id)?;
    Ok((graph, id))
}

fn parse(schema: &[u8], limits: &Limits) -> Result<Value, String> {
    let top = json::read(&mut Source::new(schema, limits.objects).with_depth(DEPTH))?;
    let protocol = top.whole("protocol")?;
    if !PROTOCOLS.contains(&protocol) {
        return Err(format!("found protocol {protocol}, expected 0 to 2"));
    }
    Ok(top)
}
