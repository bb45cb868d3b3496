//! What a model is doing right now.

use std::sync::Arc;

/// What answers a model's requests.
#[derive(Debug)]
pub enum ModelState<M = inference::Model> {
    /// The file is being fetched or read for the first time.
    Loading,
    /// This version answers.
    Ready(Arc<M>),
    /// There is nothing to answer with, for this reason.
    Failed(Arc<str>),
}

impl<M> Clone for ModelState<M> {
    fn clone(&self) -> Self {
        match self {
            Self::Loading => Self::Loading,
            Self::Ready(model) => Self::Ready(Arc::clone(model)),
            Self::Failed(reason) => Self::Failed(Arc::clone(reason)),
        }
    }
}

/// What is happening behind a version that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Nothing: what is desired is what answers, or its failure is the state.
    None,
    /// A newer version is being fetched or read.
    Loading,
    /// A newer version is desired but could not be loaded, for this reason; the
    /// older one still answers.
    Failed(Arc<str>),
}

/// One model as people want to see it.
#[derive(Debug)]
pub struct ModelStatus<M = inference::Model> {
    /// What should be served.
    pub desired: Arc<crate::DesiredModel>,
    /// What answers requests.
    pub state: ModelState<M>,
    /// What is happening behind it.
    pub update: Update,
}

impl<M> Clone for ModelStatus<M> {
    fn clone(&self) -> Self {
        Self {
            desired: Arc::clone(&self.desired),
            state: self.state.clone(),
            update: self.update.clone(),
        }
    }
}
