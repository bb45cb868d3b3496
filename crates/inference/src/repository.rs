//! Models by name, and what clients may do with them.

use crate::{Compat, Manner, Model};
use std::sync::Arc;

/// Where the protocols find models.
pub trait Repository: Send + Sync {
    /// The model that answers under a name now.
    fn find(&self, name: &str) -> Option<Arc<Model>>;

    /// Every model there is, ready or not, ordered by name.
    fn index(&self) -> Vec<Entry>;

    /// Loads a model, again if it is there. Waits until it is ready; what answered before goes on meanwhile.
    ///
    /// # Errors
    /// There is no such model, or it cannot be read; the one before stays.
    fn load(&self, name: &str) -> Result<(), Refusal>;

    /// Lets a model answer no new requests; those under way keep it until they end.
    ///
    /// # Errors
    /// It is not there, or models are not unloaded here.
    fn unload(&self, name: &str) -> Result<(), Refusal>;
}

/// Whether a server that has these models is ready: one of them answers, or there is none to wait for. KServe's and MLServer's
/// are whenever they run, and so is whoever answers as they do.
pub fn ready(models: &dyn Repository, manner: &Manner) -> bool {
    if manner.compat != Compat::Kserve {
        return true;
    }
    let index = models.index();
    index.is_empty() || index.iter().any(|entry| entry.ready)
}

/// A model of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name that clients use.
    pub name: String,
    /// Its version; empty if it has none.
    pub version: String,
    /// Whether it answers.
    pub ready: bool,
    /// Why it does not.
    pub reason: String,
}

/// Why a model was not loaded or unloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No such model answers.
    Unknown,
    /// It could not be loaded, and why, if there is more to say.
    NotReady(String),
    /// This is not done here, and what to do instead.
    Unsupported(&'static str),
}

/// The model of an InferenceService, alone and for as long as that is there.
impl Repository for Arc<Model> {
    fn find(&self, name: &str) -> Option<Arc<Model>> {
        (name == self.name()).then(|| Arc::clone(self))
    }

    fn index(&self) -> Vec<Entry> {
        vec![Entry {
            name: self.name().to_owned(),
            version: String::new(),
            ready: true,
            reason: String::new(),
        }]
    }

    fn load(&self, name: &str) -> Result<(), Refusal> {
        if name == self.name() {
            Ok(())
        } else {
            Err(Refusal::NotReady(String::new()))
        }
    }

    fn unload(&self, name: &str) -> Result<(), Refusal> {
        if name == self.name() {
            Err(Refusal::Unsupported(
                "a model is unloaded by removing its InferenceService",
            ))
        } else {
            Err(Refusal::Unknown)
        }
    }
}
