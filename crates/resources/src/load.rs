//! Reading files, layers, and the whole of a configuration.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::document::{self, Document, MAX_FILE};
use crate::error::{LoadError, LoadErrors};
use crate::generate::generate;
use crate::kinds;
use crate::meta::{ObjectRef, Source};

/// Name and text of a file.
pub type File = (Arc<str>, String);

/// Annotation of an object that removes the same object of an earlier layer.
const DELETE: &str = "sidegate.dev/delete";

/// Loads files and folders, each argument a layer: an object of a later one
/// takes the place of the same object of an earlier one.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(inputs: &[PathBuf]) -> Result<Cluster, LoadErrors> {
    let mut layers = Vec::new();
    let mut errors = Vec::new();
    for input in inputs {
        match read_files(std::slice::from_ref(input)) {
            Ok(files) => layers.push(files),
            Err(more) => errors.extend(more.errors),
        }
    }
    let parsed = parse_layers(&layers);
    match parsed {
        Ok(mut cluster) if errors.is_empty() => {
            cluster.files = inputs.to_vec();
            Ok(cluster)
        }
        Ok(_) => Err(LoadErrors { errors }),
        Err(more) => {
            errors.extend(more.errors);
            Err(LoadErrors { errors })
        }
    }
}

/// Reads files, folders (`*.yaml`, `*.yml`, `*.json`, recursively, sorted) and
/// `-` for standard input.
///
/// # Errors
/// Every file that cannot be read.
pub fn read_files(inputs: &[PathBuf]) -> Result<Vec<File>, LoadErrors> {
    let mut files = Vec::new();
    let mut errors = Vec::new();
    for input in inputs {
        if input.as_os_str() == "-" {
            let mut text = String::new();
            let limit = u64::try_from(MAX_FILE)
                .unwrap_or(u64::MAX)
                .saturating_add(1);
            let read = std::io::Read::read_to_string(
                &mut std::io::Read::take(std::io::stdin(), limit),
                &mut text,
            );
            match read {
                Ok(_) => files.push(("-".into(), text)),
                Err(error) => errors.push(unreadable(input, &error)),
            }
        } else {
            visit(input, true, &mut files, &mut errors);
        }
    }
    if errors.is_empty() {
        Ok(files)
    } else {
        Err(LoadErrors { errors })
    }
}

fn visit(path: &Path, named: bool, files: &mut Vec<File>, errors: &mut Vec<LoadError>) {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = match std::fs::read_dir(path) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(error) => return errors.push(unreadable(path, &error)),
        };
        entries.sort();
        let hidden = |p: &PathBuf| {
            p.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with('.'))
        };
        for entry in entries.iter().filter(|entry| !hidden(entry)) {
            visit(entry, false, files, errors);
        }
        return;
    }
    let known = path
        .extension()
        .is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
    if named || known {
        match std::fs::read_to_string(path) {
            Ok(text) => files.push((path.display().to_string().into(), text)),
            Err(error) => errors.push(unreadable(path, &error)),
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> LoadError {
    let source = Source {
        file: path.display().to_string().into(),
        line: 0,
        generated_from: None,
    };
    LoadError::new(&source, None, format!("cannot be read: {error}"))
}

/// Parses one layer of files. Pure.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn parse(files: &[File]) -> Result<Cluster, LoadErrors> {
    parse_layers(std::slice::from_ref(&files.to_vec()))
}

/// Parses layers: an object of a later one takes the place of the same object
/// of an earlier one, or removes it (annotation `sidegate.dev/delete: "true"`).
///
/// # Errors
/// Everything that is wrong, at once.
pub fn parse_layers(layers: &[Vec<File>]) -> Result<Cluster, LoadErrors> {
    let mut errors = Vec::new();
    let mut merged = Merged::default();
    for files in layers {
        let mut layer = Vec::new();
        for (name, text) in files {
            layer.extend(document::read(name, text, &mut errors));
        }
        merged.lay(layer, &mut errors);
    }
    let mut cluster = Cluster::default();
    for document in merged.documents.iter().flatten() {
        if let Err(error) = kinds::add(&mut cluster, document) {
            errors.push(error);
        }
    }
    if errors.is_empty() {
        generate(&mut cluster, &mut errors);
    }
    if errors.is_empty() {
        Ok(cluster)
    } else {
        Err(LoadErrors { errors })
    }
}

/// Names an object across versions of its API group.
type Key = (String, ObjectRef);

fn key(document: &Document) -> Option<Key> {
    let reference = document.reference();
    (!reference.name.is_empty()).then(|| (document.group.clone(), reference))
}

/// The documents of all layers so far; what was deleted leaves a gap.
#[derive(Default)]
struct Merged {
    documents: Vec<Option<Document>>,
    places: HashMap<Key, usize>,
}

impl Merged {
    fn lay(&mut self, layer: Vec<Document>, errors: &mut Vec<LoadError>) {
        let mut seen: HashMap<Key, Source> = HashMap::new();
        for document in layer {
            let Some(key) = key(&document) else {
                self.documents.push(Some(document));
                continue;
            };
            if let Some(first) = seen.get(&key) {
                let message = format!("is already at {first}, expected it once");
                errors.push(LoadError::new(&document.source, Some(&key.1), message));
                continue;
            }
            seen.insert(key.clone(), document.source.clone());
            let delete = document.annotation(DELETE) == Some("true");
            let place = self
                .places
                .get(&key)
                .and_then(|index| self.documents.get_mut(*index));
            match place {
                Some(place) => *place = (!delete).then_some(document),
                None if delete => {
                    let message = "is to be deleted, but no earlier input has it";
                    errors.push(LoadError::new(&document.source, Some(&key.1), message));
                }
                None => {
                    self.places.insert(key, self.documents.len());
                    self.documents.push(Some(document));
                }
            }
        }
    }
}
