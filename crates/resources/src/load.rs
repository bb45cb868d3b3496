//! Reading files, layers, and the whole of a configuration.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::document::{self, Document, MAX_FILE};
use crate::error::{LoadError, LoadErrors};
use crate::generate::generate;
use crate::kinds;
use crate::meta::{ObjectRef, Source};
use crate::places::Places;

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
    let mut reader = Reader::default();
    for input in inputs {
        if input.as_os_str() == "-" {
            reader.read(input, std::io::stdin());
        } else {
            reader.visit(input, 0);
        }
    }
    if reader.errors.is_empty() {
        Ok(reader.files)
    } else {
        Err(LoadErrors {
            errors: reader.errors,
        })
    }
}

/// Folders deeper than this are a mistake.
const MAX_DEPTH: usize = 32;

#[derive(Default)]
struct Reader {
    files: Vec<File>,
    errors: Vec<LoadError>,
    bytes: usize,
}

impl Reader {
    /// `depth` is 0 for what the user named: that is read whatever its name is.
    fn visit(&mut self, path: &Path, depth: usize) {
        if path.is_dir() {
            // Links to folders are followed only where they are named, so
            // that no link leads back to where it is.
            if depth == 0 || (depth <= MAX_DEPTH && !path.is_symlink()) {
                self.folder(path, depth);
            }
            return;
        }
        let known = path
            .extension()
            .is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if depth == 0 || (known && path.is_file()) {
            match std::fs::File::open(path) {
                Ok(file) => self.read(path, file),
                Err(error) => self.fail(path, &error),
            }
        }
    }

    fn folder(&mut self, path: &Path, depth: usize) {
        let mut entries: Vec<PathBuf> = match std::fs::read_dir(path) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(error) => return self.fail(path, &error),
        };
        entries.sort();
        for entry in entries {
            let hidden = entry
                .file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with('.'));
            if !hidden {
                self.visit(&entry, depth + 1);
            }
        }
    }

    fn read(&mut self, path: &Path, input: impl std::io::Read) {
        let limit = u64::try_from(MAX_FILE.saturating_sub(self.bytes)).unwrap_or(0);
        let mut text = String::new();
        let read = input
            .take(limit.saturating_add(1))
            .read_to_string(&mut text);
        match read {
            Ok(_) if text.len() as u64 > limit => {
                let message = format!("is too long, expected {} MiB at most", MAX_FILE >> 20);
                self.fail(path, &std::io::Error::other(message));
            }
            Ok(_) => {
                self.bytes += text.len();
                self.files.push((path.display().to_string().into(), text));
            }
            Err(error) => self.fail(path, &error),
        }
    }

    fn fail(&mut self, path: &Path, error: &std::io::Error) {
        self.errors.push(unreadable(path, error));
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
    assemble(&[files])
}

/// Parses layers: an object of a later one takes the place of the same object
/// of an earlier one, or removes it (annotation `sidegate.dev/delete: "true"`).
///
/// # Errors
/// Everything that is wrong, at once.
pub fn parse_layers(layers: &[Vec<File>]) -> Result<Cluster, LoadErrors> {
    let layers: Vec<&[File]> = layers.iter().map(Vec::as_slice).collect();
    assemble(&layers)
}

fn assemble(layers: &[&[File]]) -> Result<Cluster, LoadErrors> {
    let mut errors = Vec::new();
    let mut merged = Merged::default();
    for files in layers {
        let mut layer = Vec::new();
        for (name, text) in *files {
            layer.extend(document::read(name, text, &mut errors));
        }
        merged.lay(layer, &mut errors);
    }
    let mut cluster = Cluster {
        objects: {
            let all = merged.documents.iter().flatten();
            // What is for kustomize itself, and its patches, are no objects of a cluster.
            let parts = ["", "(no kind)", "Kustomization", "Component"];
            all.filter(|document| !parts.contains(&&*document.reference().kind))
                .count()
        },
        ..Cluster::default()
    };
    for document in merged.documents.iter().flatten() {
        kinds::add(&mut cluster, document, &mut errors);
    }
    if errors.is_empty() {
        generate(&mut cluster, &mut errors);
    }
    if errors.is_empty() {
        let compiled = merged.documents.iter().flatten();
        cluster.places = Places::of(compiled.filter(|document| kinds::is_compiled(document)));
        return Ok(cluster);
    }
    let order: Vec<&Arc<str>> = layers.iter().copied().flatten().map(|(n, _)| n).collect();
    errors.sort_by_key(|error| {
        let file = order.iter().position(|name| **name == error.file);
        (file, error.line)
    });
    Err(LoadErrors { errors })
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

#[cfg(test)]
mod tests;
