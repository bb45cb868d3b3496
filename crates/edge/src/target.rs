//! The one reading of a request target.

use http::Method;
use policy::{RequestHead, Snapshot};

use crate::Ambiguous;

const BAD: Ambiguous = Ambiguous("path or query has no single reading");

/// Splits and normalises path and query, as a client sent them in origin form.
///
/// # Errors
/// Targets that have no single reading, or that mean something else to whoever
/// normalises them again.
pub fn read(
    method: &Method,
    text: &str,
    snapshot: &Snapshot,
) -> Result<(String, Option<String>), Ambiguous> {
    let path = text.split_once('?').map_or(text, |(path, _)| path);
    if path == "*" && *method != Method::OPTIONS {
        return Err(Ambiguous("only OPTIONS may ask for `*`"));
    }
    if text.bytes().any(|b| b <= 0x20 || b >= 0x7f || b == b'#') {
        return Err(BAD);
    }
    let split = RequestHead::split_target(text, snapshot.normalization()).map_err(|_| BAD)?;
    match RequestHead::split_target(&split.0, snapshot.normalization()) {
        Ok((again, _)) if again == split.0 => Ok(split),
        _ => Err(BAD),
    }
}

/// The same of a target that a gateway has normalised: it is in the form that
/// is read here already, or the two would route and decide on different paths.
///
/// # Errors
/// As [`read`], and when the path changes.
pub fn read_again(
    method: &Method,
    text: &str,
    snapshot: &Snapshot,
) -> Result<(String, Option<String>), Ambiguous> {
    let split = read(method, text, snapshot)?;
    let path = text.split_once('?').map_or(text, |(path, _)| path);
    match path == split.0 {
        true => Ok(split),
        false => Err(BAD),
    }
}
