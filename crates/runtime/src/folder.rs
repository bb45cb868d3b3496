//! The models of a folder.

use crate::sources::{self, Source};
use arc_swap::ArcSwap;
use inference::{Entry, Model, ModelSettings, Options, Refusal, Repository};
use serving::{Format, ModelFile, StorageError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// Where models are and how they are served.
#[derive(Debug, Clone)]
pub struct FolderSettings {
    /// A folder with one model file, or with a folder for each model.
    pub path: PathBuf,
    /// The name of the model if there is one.
    pub name: String,
    /// The format of model files.
    pub format: Format,
    /// How models answer.
    pub options: Options,
    /// Bytes that a model file may have.
    pub max_file: u64,
    /// Models are those that MLServer would find; what the environment says of one is here.
    pub mlserver: Option<ModelSettings>,
}

/// Why the models of a folder cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The folder itself.
    #[error("`{path}` cannot be read: {what}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A model in it.
    #[error("model `{name}`: {what}")]
    Model {
        /// Its name.
        name: String,
        /// Why.
        what: String,
    },
}

/// A repository in a folder.
#[derive(Debug)]
pub struct Folder {
    settings: FolderSettings,
    /// Whether the folder itself is the model.
    single: bool,
    table: ArcSwap<BTreeMap<String, State>>,
    /// The turn of whoever changes the table.
    turn: Mutex<()>,
}

#[derive(Debug, Clone)]
enum State {
    Ready(Arc<Model>),
    /// Why, and its version.
    Off(String, String),
}

impl Folder {
    /// Reads all models. KServe's rule: without a model file at the top level, every folder there is a model of its name.
    ///
    /// # Errors
    /// The first model that cannot be served. A server that came up without it would take traffic that it cannot answer.
    pub fn open(settings: FolderSettings) -> Result<Self, OpenError> {
        let mut table = BTreeMap::new();
        let path = &settings.path;
        if let Some(environment) = &settings.mlserver {
            let folder = |what: String| OpenError::Folder {
                path: path.clone(),
                what,
            };
            let sources = sources::find(path, settings.format, environment).map_err(folder)?;
            if sources.is_empty() {
                // MLServer would start and be ready without a model (MLServer#2056).
                let what = "there is no model-settings.json in it, and no MLSERVER_MODEL_NAME";
                return Err(folder(what.to_owned()));
            }
            for (name, source) in sources {
                let model = served(&settings, source).map_err(|what| OpenError::Model {
                    name: name.clone(),
                    what,
                })?;
                table.insert(name, State::Ready(Arc::new(model)));
            }
            return Ok(Self {
                settings,
                single: false,
                table: ArcSwap::from_pointee(table),
                turn: Mutex::default(),
            });
        }
        let file = serving::model_in(path, settings.format, settings.max_file);
        let file = file.map_err(|error| OpenError::Folder {
            path: path.clone(),
            what: error.to_string(),
        })?;
        let single = file.is_some();
        let mut put = |name: String, model: Result<Model, String>| {
            let model = model.map_err(|what| OpenError::Model {
                name: name.clone(),
                what,
            })?;
            table.insert(name, State::Ready(Arc::new(model)));
            Ok(())
        };
        if let Some(file) = file {
            let name = &settings.name;
            put(name.clone(), load(&settings, name, &file))?;
        } else {
            let names = folders(path).map_err(|error| OpenError::Folder {
                path: path.clone(),
                what: error.to_string(),
            })?;
            for name in names {
                put(name.clone(), read(&settings, single, &name))?;
            }
        }
        Ok(Self {
            settings,
            single,
            table: ArcSwap::from_pointee(table),
            turn: Mutex::default(),
        })
    }

    /// What MLServer's settings say of a model now.
    fn source(&self, name: &str) -> Result<Source, String> {
        let FolderSettings {
            path,
            format,
            mlserver,
            ..
        } = &self.settings;
        let environment = mlserver.clone().unwrap_or_default();
        let mut sources = sources::find(path, *format, &environment)?;
        let source = sources.remove(name);
        source.ok_or_else(|| format!("no model-settings.json has the name `{name}`"))
    }

    fn set(&self, name: &str, state: State) {
        let mut table = BTreeMap::clone(&self.table.load());
        table.insert(name.to_owned(), state);
        self.table.store(Arc::new(table));
    }

    /// Whether a model of that name can be in the folder: names come from clients.
    fn belongs(&self, name: &str) -> bool {
        if self.single {
            return name == self.settings.name;
        }
        if self.settings.mlserver.is_some() {
            return self.table.load().contains_key(name) || self.source(name).is_ok();
        }
        self.table.load().contains_key(name)
            || folders(&self.settings.path).is_ok_and(|names| names.iter().any(|n| n == name))
    }
}

/// Names of the folders of a folder, in order. Those with a dot are not for people: volumes keep their versions there.
fn folders(path: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if let (true, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string())
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The model of a source: a file, or the one in a folder.
fn served(settings: &FolderSettings, source: Source) -> Result<Model, String> {
    let Source {
        path,
        format,
        settings: said,
    } = source;
    let (name, bytes) = if path.is_file() {
        let size = std::fs::metadata(&path).map_or(0, |data| data.len());
        if size > settings.max_file {
            return Err(format!(
                "`{}` has {size} bytes, which is more than {}",
                path.display(),
                settings.max_file
            ));
        }
        let bytes =
            std::fs::read(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
        let name = path.file_name().unwrap_or_default();
        (name.to_string_lossy().into_owned(), bytes.into())
    } else {
        let file = serving::model_in(&path, format, settings.max_file);
        let file = file.map_err(|error| error.to_string())?;
        let file = file.ok_or_else(|| missing(&path, format))?;
        (file.name, file.bytes)
    };
    let model = Model::load(&said.name, &name, &bytes, &settings.options);
    let model = model.map_err(|error| error.to_string())?;
    Ok(model.with_settings(said))
}

fn missing(path: &Path, format: Format) -> String {
    format!(
        "no model file in `{}`: expected one ending in {}",
        path.display(),
        format.extensions().join(", ")
    )
}

fn read(settings: &FolderSettings, single: bool, name: &str) -> Result<Model, String> {
    let nested = settings.path.join(name);
    let path = if single { &settings.path } else { &nested };
    let file = serving::model_in(path, settings.format, settings.max_file);
    let file = file.map_err(|error: StorageError| error.to_string())?;
    let file = file.ok_or_else(|| missing(path, settings.format))?;
    load(settings, name, &file)
}

fn load(settings: &FolderSettings, name: &str, file: &ModelFile) -> Result<Model, String> {
    Model::load(name, &file.name, &file.bytes, &settings.options).map_err(|error| error.to_string())
}

impl Repository for Folder {
    fn find(&self, name: &str) -> Option<Arc<Model>> {
        match self.table.load().get(name)? {
            State::Ready(model) => Some(Arc::clone(model)),
            State::Off(..) => None,
        }
    }

    fn index(&self) -> Vec<Entry> {
        let table = self.table.load();
        let entry = |(name, state): (&String, &State)| Entry {
            name: name.clone(),
            version: match state {
                State::Ready(model) => model.settings().version.clone().unwrap_or_default(),
                State::Off(_, version) => version.clone(),
            },
            ready: matches!(state, State::Ready(_)),
            reason: match state {
                State::Ready(_) => String::new(),
                State::Off(reason, _) => reason.clone(),
            },
        };
        table.iter().map(entry).collect()
    }

    fn load(&self, name: &str) -> Result<(), Refusal> {
        if !self.belongs(name) && self.settings.mlserver.is_some() {
            return Err(Refusal::Unknown);
        }
        if !self.belongs(name) {
            let what = "There is no such folder in the model repository.".to_owned();
            return Err(Refusal::NotReady(what));
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let model = match self.settings.mlserver {
            Some(_) => self
                .source(name)
                .and_then(|source| served(&self.settings, source)),
            None => read(&self.settings, self.single, name),
        };
        match model {
            Ok(model) => {
                self.set(name, State::Ready(Arc::new(model)));
                tracing::info!(model = name, "model loaded");
                Ok(())
            }
            Err(what) => {
                tracing::warn!(model = name, reason = what, "model not loaded");
                // A version that answers goes on answering.
                if self.find(name).is_none() {
                    self.set(name, State::Off(what.clone(), String::new()));
                }
                Err(Refusal::NotReady(what))
            }
        }
    }

    fn unload(&self, name: &str) -> Result<(), Refusal> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(model) = self.find(name) else {
            return Err(Refusal::Unknown);
        };
        let version = model.settings().version.clone().unwrap_or_default();
        self.set(name, State::Off("unloaded".to_owned(), version));
        tracing::info!(model = name, "model unloaded");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const IRIS: &[u8] = include_bytes!("../../../examples/models/sklearn-iris/model.joblib");

    fn settings(path: &Path) -> FolderSettings {
        FolderSettings {
            path: path.to_owned(),
            name: "model".to_owned(),
            format: Format::Sklearn,
            options: Options::default(),
            max_file: 1 << 20,
            mlserver: None,
        }
    }

    fn put(folder: &Path, name: &str, bytes: &[u8]) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
    }

    #[test]
    fn one_file_is_the_model_and_can_come_back() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "model.joblib", IRIS);
        put(&folder.path().join("other"), "model.joblib", IRIS);
        let models = Folder::open(settings(folder.path())).unwrap();
        assert!(models.find("model").is_some() && models.find("other").is_none());
        assert!(models.load("other").is_err(), "one model, no repository");
        models.unload("model").unwrap();
        assert!(models.find("model").is_none());
        assert_eq!(models.unload("model"), Err(Refusal::Unknown));
        assert_eq!(models.index()[0].reason, "unloaded");
        models.load("model").unwrap();
        assert!(models.find("model").is_some());
    }

    #[test]
    fn several_files_are_refused_in_the_words_of_kserve() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "a.joblib", IRIS);
        put(folder.path(), "b.pkl", IRIS);
        let error = Folder::open(settings(folder.path())).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("More than one model file is detected"),
            "{error}"
        );
    }

    #[test]
    fn without_a_file_each_folder_is_a_model() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", ".hidden"] {
            put(&folder.path().join(name), "model.joblib", IRIS);
        }
        let models = Folder::open(settings(folder.path())).unwrap();
        let names: Vec<_> = models.index().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["a", "b"]);
        // One that comes later can be loaded; names that lead elsewhere cannot.
        put(&folder.path().join("c"), "model.joblib", IRIS);
        models.load("c").unwrap();
        assert!(models.find("c").is_some());
        for name in ["..", ".", "", "a/../b", ".hidden", "nope"] {
            assert!(models.load(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_read_ends_the_start_and_leaves_what_answers() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("a"), "model.joblib", IRIS);
        let models = Folder::open(settings(folder.path())).unwrap();
        put(&folder.path().join("a"), "model.joblib", &IRIS[..100]);
        assert!(matches!(models.load("a"), Err(Refusal::NotReady(_))));
        assert!(models.find("a").is_some());
        let error = Folder::open(settings(folder.path())).unwrap_err();
        assert!(error.to_string().starts_with("model `a`: "), "{error}");
    }

    #[test]
    fn an_empty_folder_is_an_empty_repository_and_a_missing_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            Folder::open(settings(folder.path()))
                .unwrap()
                .index()
                .is_empty()
        );
        assert!(Folder::open(settings(&folder.path().join("missing"))).is_err());
    }
}
