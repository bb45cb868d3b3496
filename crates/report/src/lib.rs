//! What `verify`, the lints and a comparison find, as one HTML page: it needs
//! nothing from elsewhere, runs without its script, and says who gets where in
//! a picture, a table and words.
//!
//! Everything that comes from a configuration is escaped by the template; the
//! page forbids itself every resource (Content-Security-Policy).

mod page;
mod picture;
mod rich;
mod routes;
mod told;
mod who;

use policy::Snapshot;
use resources::Cluster;

/// What the page is about.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// How the configuration is called.
    pub name: &'a str,
    /// Its resources.
    pub cluster: &'a Cluster,
    /// The same, compiled.
    pub snapshot: &'a Snapshot,
    /// What holds for all requests.
    pub report: &'a verify::Report,
    /// What lints find.
    pub lints: &'a [lint::Finding],
    /// Where the external listener is reached, for curl lines.
    pub external: &'a str,
    /// Where the cluster-local listener is reached.
    pub local: &'a str,
    /// Another configuration, to compare with.
    pub compared: Option<Compared<'a>>,
}

/// The configuration that would come after.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// How it is called.
    pub name: &'a str,
    /// Its resources.
    pub cluster: &'a Cluster,
    /// The same, compiled.
    pub snapshot: &'a Snapshot,
    /// What holds there.
    pub report: &'a verify::Report,
    /// Which requests it answers otherwise.
    pub difference: &'a verify::Difference,
}

/// The page could not be written.
#[derive(Debug)]
pub struct Unwritten(askama::Error);

impl std::fmt::Display for Unwritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the page cannot be written: {}", self.0)
    }
}

impl std::error::Error for Unwritten {}

/// The page.
///
/// # Errors
/// [`Unwritten`] when the template fails, which writing to memory does not.
pub fn page(input: &Input<'_>) -> Result<String, Unwritten> {
    page::write(input).map_err(Unwritten)
}
