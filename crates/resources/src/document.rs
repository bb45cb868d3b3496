//! From text to documents: splitting, YAML, `kind: List`.

use std::sync::Arc;

use serde_json::Value;

use crate::error::LoadError;
use crate::meta::{ObjectRef, Source};

/// Files longer than this are not configuration.
pub(crate) const MAX_FILE: usize = 50 << 20;

/// One object, not yet read into its type.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) source: Source,
    /// API group, without version; empty for core objects.
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) value: Value,
    /// The document's own text, to find the line of a wrong field.
    pub(crate) text: Arc<str>,
}

impl Document {
    /// Kind, namespace and name as written, with the default namespace filled in.
    pub(crate) fn reference(&self) -> ObjectRef {
        let text = |field: &str| {
            self.value
                .pointer(&format!("/metadata/{field}"))
                .and_then(Value::as_str)
        };
        let namespace = match text("namespace") {
            Some(namespace) if !namespace.is_empty() => namespace,
            _ if is_cluster_scoped(&self.kind) => "",
            _ => "default",
        };
        ObjectRef::new(&self.kind, namespace, text("name").unwrap_or_default())
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.value
            .get("metadata")?
            .get("annotations")?
            .get(name)?
            .as_str()
    }
}

fn is_cluster_scoped(kind: &str) -> bool {
    matches!(
        kind,
        "Namespace"
            | "ClusterRole"
            | "ClusterRoleBinding"
            | "CustomResourceDefinition"
            | "ClusterServingRuntime"
            | "Profile"
            | "GatewayClass"
            | "PersistentVolume"
            | "StorageClass"
    )
}

/// Reads all documents of a file. Errors of one document do not hide others.
pub(crate) fn read(file: &Arc<str>, text: &str, errors: &mut Vec<LoadError>) -> Vec<Document> {
    let mut documents = Vec::new();
    let whole = Source {
        file: file.clone(),
        line: 0,
        generated_from: None,
    };
    if text.len() > MAX_FILE {
        errors.push(LoadError::new(
            &whole,
            None,
            format!("the file is longer than {} MiB", MAX_FILE >> 20),
        ));
        return documents;
    }
    for (line, chunk) in split(text) {
        let source = Source {
            line: first_line(line, chunk),
            ..whole.clone()
        };
        match serde_saphyr::from_str_with_options::<Value>(chunk, options()) {
            Ok(Value::Null) => {}
            Ok(value) => unfold(value, &source, &Arc::from(chunk), &mut documents, errors),
            Err(error) => {
                let at = error.location().map_or(source.line, |l| {
                    line + u32::try_from(l.line()).unwrap_or(1).saturating_sub(1)
                });
                let message = format!(
                    "not YAML: {}",
                    one_line(&error.without_snippet().to_string())
                );
                errors.push(LoadError::new(
                    &Source { line: at, ..source },
                    None,
                    message,
                ));
            }
        }
    }
    documents
}

/// Snippets are left out of messages: they would repeat secrets.
pub(crate) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { with_snippet: false }
}

pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Documents with the 1-based line each begins on. A `---` at the beginning of
/// a line always separates: block scalars are indented.
fn split(text: &str) -> Vec<(u32, &str)> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut start_line = 1;
    let mut at = 0;
    for (number, line) in (1u32..).zip(text.split_inclusive('\n')) {
        let end = at + line.len();
        let trimmed = line.trim_end();
        if trimmed == "---" || trimmed.starts_with("--- ") || trimmed == "..." {
            chunks.push((start_line, text.get(start..at).unwrap_or_default()));
            start = end;
            start_line = number.saturating_add(1);
        }
        at = end;
    }
    chunks.push((start_line, text.get(start..).unwrap_or_default()));
    chunks.retain(|(_, chunk)| {
        chunk
            .lines()
            .any(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#'))
    });
    chunks
}

/// The line of the first content of a chunk, past comments and blank lines.
fn first_line(line: u32, chunk: &str) -> u32 {
    let skipped = chunk
        .lines()
        .take_while(|l| l.trim().is_empty() || l.trim_start().starts_with('#'))
        .count();
    line.saturating_add(u32::try_from(skipped).unwrap_or(0))
}

/// A `List` is its items; everything else is itself.
fn unfold(
    value: Value,
    source: &Source,
    text: &Arc<str>,
    documents: &mut Vec<Document>,
    errors: &mut Vec<LoadError>,
) {
    let field = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let (kind, api) = (field("kind"), field("apiVersion"));
    let Value::Object(map) = &value else {
        errors.push(LoadError::new(
            source,
            None,
            "expected an object with `apiVersion` and `kind`",
        ));
        return;
    };
    match (kind, api) {
        (Some(kind), Some(api)) if kind == "List" && api == "v1" => {
            for item in map
                .get("items")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                unfold(item.clone(), source, text, documents, errors);
            }
        }
        (Some(kind), Some(api)) => {
            let group = api
                .split_once('/')
                .map_or("", |(group, _)| group)
                .to_owned();
            documents.push(Document {
                source: source.clone(),
                group,
                kind,
                value,
                text: text.clone(),
            });
        }
        (None, None) => documents.push(Document {
            source: source.clone(),
            group: String::new(),
            kind: "(no kind)".to_owned(),
            value,
            text: text.clone(),
        }),
        (None, Some(_)) => errors.push(LoadError::new(source, None, "`kind` is missing")),
        (Some(kind), None) if kind == "Kustomization" => {}
        (Some(kind), None) => {
            errors.push(LoadError::new(
                source,
                None,
                format!("{kind}: `apiVersion` is missing"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_documents() {
        let text =
            "# a comment\n\nkind: A\napiVersion: v1\n---\n---\n# more\nkind: B\napiVersion: v1\n";
        let mut errors = Vec::new();
        let found: Vec<_> = read(&"f".into(), text, &mut errors)
            .into_iter()
            .map(|d| (d.kind, d.source.line))
            .collect();
        assert_eq!(found, [("A".to_owned(), 3), ("B".to_owned(), 8)]);
        assert_eq!(errors, []);
    }

    #[test]
    fn an_expanding_document_is_refused() {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, before) in ["b", "c", "d", "e", "f", "g", "h", "i"]
            .iter()
            .zip("abcdefgh".chars())
        {
            text.push_str(&format!(
                "{name}: &{name} [{}]\n",
                vec![format!("*{before}"); 10].join(", ")
            ));
        }
        let mut errors = Vec::new();
        assert!(read(&"f".into(), &text, &mut errors).is_empty());
        assert!(errors[0].message.starts_with("not YAML"), "{errors:?}");
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut errors = Vec::new();
        read(&"f".into(), &"[".repeat(100_000), &mut errors);
        assert_eq!(errors.len(), 1);
    }
}
