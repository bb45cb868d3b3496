//! The life cycle of InferenceServices: where their model files come from, how
//! they become models, and which version answers meanwhile.
//!
//! [`Models`] is told what should be served ([`Models::reconcile`]) and brings
//! it about off the request path; requests read the current [`ModelState`]
//! without a lock ([`Models::get`]) and turn it into an answer ([`answer`]).

mod answer;
mod desired;
mod format;
mod models;
mod state;
mod storage;

pub use self::models::{Models, ModelsSettings};
pub use answer::{answer, task};
pub use desired::{DesiredModel, Output};
pub use format::{Format, UnsupportedFormat};
pub use inference::Model;
pub use state::{ModelState, ModelStatus, Update};
pub use storage::{
    Mirror, ModelFile, ObjectStoreSettings, S3Credentials, Storage, StorageError, StorageSettings,
    Target, model_in,
};
