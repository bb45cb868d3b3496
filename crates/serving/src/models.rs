//! The registry: what is desired, what answers, and the work in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use models::GraphReader;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use crate::state::{ModelState, ModelStatus, Update};
use crate::storage::{ModelFile, Storage, StorageError};
use crate::{DesiredModel, Format, Output};

/// Settings of [`Models`].
#[derive(Clone, Debug)]
pub struct ModelsSettings {
    /// Models that are fetched and read at the same time; each may hold a whole
    /// file in memory.
    pub concurrent_loads: usize,
    /// First pause after storage failed; doubled each time.
    pub retry_after: Duration,
    /// Longest pause. KServe's pods back off the same way, 10 seconds to 5
    /// minutes.
    pub retry_at_most: Duration,
    /// What reads graphs of ONNX that are not read here.
    pub graphs: Option<Arc<dyn GraphReader>>,
}

impl Default for ModelsSettings {
    fn default() -> Self {
        Self {
            concurrent_loads: 2,
            retry_after: Duration::from_secs(10),
            retry_at_most: Duration::from_secs(300),
            graphs: None,
        }
    }
}

/// All models of a configuration. Clones share them.
///
/// Loading happens on the runtime given to [`Models::new`]; readers never wait
/// for it. A model whose reload fails keeps answering with the version it has.
pub struct Models<M: 'static = inference::Model> {
    inner: Arc<Inner<M>>,
}

type Loader<M> = dyn Fn(&DesiredModel, &ModelFile) -> Result<M, String> + Send + Sync;
type Table<M> = HashMap<String, HashMap<String, ModelStatus<M>>>;

struct Inner<M> {
    settings: ModelsSettings,
    storage: Storage,
    loader: Box<Loader<M>>,
    runtime: Handle,
    slots: Arc<Semaphore>,
    /// What requests read.
    table: ArcSwap<Table<M>>,
    /// Loads under way, and the turn of whoever changes the table.
    loads: Mutex<Loads>,
    revision: watch::Sender<u64>,
}

#[derive(Default)]
struct Loads {
    /// Number of the load that was begun last.
    begun: u64,
    /// By namespace and name.
    newest: HashMap<(String, String), Load>,
}

/// The newest load of a model; older ones may not report any more.
struct Load {
    number: u64,
    task: AbortHandle,
}

impl<M> Clone for Models<M> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl Models {
    /// No models yet. `runtime` is where they will be loaded.
    pub fn new(settings: ModelsSettings, storage: Storage, runtime: Handle) -> Self {
        let graphs = settings.graphs.clone();
        let loader: Box<Loader<_>> =
            Box::new(move |desired, file| read(desired, file, graphs.clone()));
        Self::with_loader(settings, storage, runtime, loader)
    }
}

impl<M: Send + Sync + 'static> Models<M> {
    fn with_loader(
        settings: ModelsSettings,
        storage: Storage,
        runtime: Handle,
        loader: Box<Loader<M>>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                slots: Arc::new(Semaphore::new(
                    settings.concurrent_loads.clamp(1, Semaphore::MAX_PERMITS),
                )),
                settings,
                storage,
                loader,
                runtime,
                table: ArcSwap::default(),
                loads: Mutex::default(),
                revision: watch::Sender::new(0),
            }),
        }
    }

    /// What answers for a model now. Lock-free.
    pub fn get(&self, namespace: &str, name: &str) -> Option<ModelState<M>> {
        let table = self.inner.table.load();
        Some(table.get(namespace)?.get(name)?.state.clone())
    }

    /// Everything known about one model.
    pub fn status(&self, namespace: &str, name: &str) -> Option<ModelStatus<M>> {
        self.inner.table.load().get(namespace)?.get(name).cloned()
    }

    /// Every model, ordered by namespace and name.
    pub fn list(&self) -> Vec<ModelStatus<M>> {
        let table = self.inner.table.load();
        let mut all: Vec<_> = table.values().flat_map(HashMap::values).cloned().collect();
        all.sort_unstable_by(|a, b| {
            (&a.desired.namespace, &a.desired.name).cmp(&(&b.desired.namespace, &b.desired.name))
        });
        all
    }

    /// Changes whenever a model's state does. The value is a running number.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.revision.subscribe()
    }

    /// Returns once no model is being loaded for the first time or again.
    pub async fn settled(&self) {
        let mut changed = self.changed();
        let busy = |status: &ModelStatus<M>| {
            matches!(status.state, ModelState::Loading) || status.update == Update::Loading
        };
        while self.list().iter().any(busy) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Brings about that exactly these models are served. New ones start to
    /// load, changed ones load behind the version that answers, unchanged ones
    /// are left alone, all others stop at once. Of two with the same name the
    /// first counts.
    pub fn reconcile(&self, desired: Vec<DesiredModel>) {
        let mut loads = self.inner.turn();
        let old = self.inner.table.load_full();
        let mut table: Table<M> = HashMap::new();
        let mut start = Vec::new();
        for desired in desired {
            let models = table.entry(desired.namespace.clone()).or_default();
            if models.contains_key(&desired.name) {
                continue;
            }
            let before = old
                .get(&desired.namespace)
                .and_then(|m| m.get(&desired.name));
            let status = match before {
                Some(before) if *before.desired == desired => before.clone(),
                before => {
                    let desired = Arc::new(desired);
                    start.push(Arc::clone(&desired));
                    loading(desired, before.map(|before| &before.state))
                }
            };
            models.insert(status.desired.name.clone(), status);
        }
        loads.newest.retain(|(namespace, name), load| {
            let kept = table
                .get(namespace)
                .is_some_and(|models| models.contains_key(name));
            if !kept {
                load.task.abort();
            }
            kept
        });
        self.inner.publish(table);
        for desired in start {
            self.inner.start(&mut loads, desired);
        }
    }

    /// Fetches and reads a model again, although what is desired is the same:
    /// its file may have changed. `false` if there is no such model.
    pub fn reload(&self, namespace: &str, name: &str) -> bool {
        let mut loads = self.inner.turn();
        let Some(before) = self.status(namespace, name) else {
            return false;
        };
        let status = loading(Arc::clone(&before.desired), Some(&before.state));
        self.inner.replace(status);
        self.inner.start(&mut loads, before.desired);
        true
    }
}

fn read(
    desired: &DesiredModel,
    file: &ModelFile,
    graphs: Option<Arc<dyn GraphReader>>,
) -> Result<inference::Model, String> {
    let options = inference::Options {
        predict_proba: desired.output == Output::Probabilities,
        graphs,
        ..inference::Options::default()
    };
    inference::Model::load(&desired.name, &file.name, &file.bytes, &options)
        .map_err(|error| error.to_string())
}

/// A status at the beginning of a load. What answers goes on answering.
fn loading<M>(desired: Arc<DesiredModel>, before: Option<&ModelState<M>>) -> ModelStatus<M> {
    let (state, update) = match before {
        Some(ready @ ModelState::Ready(_)) => (ready.clone(), Update::Loading),
        _ => (ModelState::Loading, Update::None),
    };
    ModelStatus {
        desired,
        state,
        update,
    }
}

/// Why a load failed, and whether the same load may succeed later.
struct Failure {
    reason: Arc<str>,
    retry: bool,
}

impl<M: Send + Sync + 'static> Inner<M> {
    fn turn(&self) -> MutexGuard<'_, Loads> {
        // Nothing under the lock leaves the map half changed.
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, table: Table<M>) {
        self.table.store(Arc::new(table));
        self.revision.send_modify(|revision| *revision += 1);
    }

    /// Replaces one status. The caller holds the turn.
    fn replace(&self, status: ModelStatus<M>) {
        let mut table = Table::clone(&self.table.load());
        table
            .entry(status.desired.namespace.clone())
            .or_default()
            .insert(status.desired.name.clone(), status);
        self.publish(table);
    }

    fn start(self: &Arc<Self>, loads: &mut Loads, desired: Arc<DesiredModel>) {
        loads.begun += 1;
        let number = loads.begun;
        let key = (desired.namespace.clone(), desired.name.clone());
        let task = self
            .runtime
            .spawn(Arc::clone(self).load(number, desired))
            .abort_handle();
        if let Some(older) = loads.newest.insert(key, Load { number, task }) {
            older.task.abort();
        }
    }

    /// Loads until it works, cannot work, or is replaced.
    async fn load(self: Arc<Self>, number: u64, desired: Arc<DesiredModel>) {
        let mut pause = self.settings.retry_after;
        loop {
            let result = Arc::clone(&self).attempt(Arc::clone(&desired)).await;
            let retry = result.as_ref().is_err_and(|failure| failure.retry);
            if !self.report(number, &desired, result) || !retry {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(self.settings.retry_at_most);
        }
    }

    async fn attempt(self: Arc<Self>, desired: Arc<DesiredModel>) -> Result<M, Failure> {
        let hopeless = |reason: String| Failure {
            reason: reason.into(),
            retry: false,
        };
        if let Some(reason) = &desired.refused {
            return Err(hopeless(reason.clone()));
        }
        let format: Format = desired
            .format
            .parse()
            .map_err(|e: crate::UnsupportedFormat| hopeless(e.to_string()))?;
        let Some(uri) = desired.storage_uri.as_deref() else {
            return Err(hopeless("`storageUri` is missing".into()));
        };
        let slot = Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|e| hopeless(e.to_string()))?;
        let file = self
            .storage
            .fetch(&desired.namespace, uri, format)
            .await
            .map_err(|error: StorageError| Failure {
                retry: error.may_pass(),
                reason: error.to_string().into(),
            })?;
        let reader = Arc::clone(&self);
        tokio::task::spawn_blocking(move || {
            // Reading goes on when the load is replaced, and so does its slot.
            let _slot = slot;
            (reader.loader)(&desired, &file)
        })
        .await
        .map_err(|_| hopeless("reading the model file failed inside".into()))?
        .map_err(hopeless)
    }

    /// Publishes the result of a load, unless a newer one has begun.
    fn report(&self, number: u64, desired: &Arc<DesiredModel>, result: Result<M, Failure>) -> bool {
        let loads = self.turn();
        let key = (desired.namespace.clone(), desired.name.clone());
        if loads
            .newest
            .get(&key)
            .is_none_or(|load| load.number != number)
        {
            return false;
        }
        let before = self
            .table
            .load()
            .get(&desired.namespace)
            .and_then(|models| models.get(&desired.name))
            .map(|status| status.state.clone());
        let (state, update) = match (result, before) {
            (Ok(model), _) => {
                tracing::info!(
                    namespace = desired.namespace,
                    model = desired.name,
                    "model ready"
                );
                (ModelState::Ready(Arc::new(model)), Update::None)
            }
            (Err(failure), before) => {
                tracing::warn!(
                    namespace = desired.namespace,
                    model = desired.name,
                    reason = &*failure.reason,
                    retry = failure.retry,
                    "model not loaded"
                );
                match before {
                    Some(ready @ ModelState::Ready(_)) => (ready, Update::Failed(failure.reason)),
                    _ => (ModelState::Failed(failure.reason), Update::None),
                }
            }
        };
        self.replace(ModelStatus {
            desired: Arc::clone(desired),
            state,
            update,
        });
        true
    }
}

#[cfg(test)]
mod tests;
