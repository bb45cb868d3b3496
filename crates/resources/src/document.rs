//! From text to documents: splitting, YAML, `kind: List`.

use std::sync::Arc;

use serde_json::Value;
use yaml::{Step, Text, options, plain};

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
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) value: Value,
    /// The text it is in, to find the line of a wrong field.
    pub(crate) text: Arc<Text>,
    /// Where it is in that text: the item of a list.
    pub(crate) path: Vec<Step>,
}

impl Document {
    /// Kind, namespace and name as written, with the default namespace filled in.
    pub(crate) fn reference(&self) -> ObjectRef {
        let metadata = self.value.get("metadata");
        let text = |field: &str| metadata?.get(field)?.as_str();
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
            | "IngressClass"
            | "PersistentVolume"
            | "StorageClass"
    )
}

/// Reads all documents of a file. Errors of one document do not hide others.
pub(crate) fn read(file: &Arc<str>, text: &str, errors: &mut Vec<LoadError>) -> Vec<Document> {
    let mut documents = Vec::new();
    for (value, source, text) in values(file, text, errors) {
        unfold(value, &source, &text, &[], &mut documents, errors);
    }
    documents
}

/// Reads all documents of a file that holds no Kubernetes objects.
pub(crate) fn read_plain(
    file: &Arc<str>,
    text: &str,
    errors: &mut Vec<LoadError>,
) -> Vec<Document> {
    let values = values(file, text, errors).into_iter();
    let documents = values.map(|(value, source, text)| Document {
        source,
        group: String::new(),
        version: String::new(),
        kind: NO_KIND.to_owned(),
        value,
        text,
        path: Vec::new(),
    });
    documents.collect()
}

fn values(
    file: &Arc<str>,
    text: &str,
    errors: &mut Vec<LoadError>,
) -> Vec<(Value, Source, Arc<Text>)> {
    let mut found = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
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
        return found;
    }
    for (line, chunk) in split(text) {
        let source = Source {
            line: first_line(line, chunk),
            ..whole.clone()
        };
        match serde_saphyr::from_str_with_options::<Value>(chunk, options()) {
            Ok(Value::Null) => {}
            Ok(value) => {
                found.push((value, source, Arc::new(Text::new(chunk, line))));
            }
            Err(error) => {
                let at = error.location().map_or(source.line, |l| {
                    line + u32::try_from(l.line()).unwrap_or(1).saturating_sub(1)
                });
                let message = format!("not YAML: {}", plain(&error.without_snippet().to_string()));
                errors.push(LoadError::new(
                    &Source { line: at, ..source },
                    None,
                    message,
                ));
            }
        }
    }
    found
}

/// Documents with the 1-based line each begins on. A `---` at the beginning of
/// a line always separates: block scalars are indented (YAML 1.2, 9.1.2).
fn split(text: &str) -> Vec<(u32, &str)> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut start_line = 1;
    let mut at = 0;
    for (number, line) in (1u32..).zip(text.split_inclusive('\n')) {
        let end = at + line.len();
        let marker = ["---", "..."].into_iter().find(|marker| {
            line.strip_prefix(marker)
                .is_some_and(|rest| rest.chars().next().is_none_or(char::is_whitespace))
        });
        if let Some(marker) = marker {
            chunks.push((start_line, text.get(start..at).unwrap_or_default()));
            // Content may follow the marker on its line.
            start = at + marker.len();
            start_line = number;
        }
        at = end;
    }
    chunks.push((start_line, text.get(start..).unwrap_or_default()));
    chunks.retain(|(_, chunk)| chunk.lines().any(|l| !is_blank(l)));
    chunks
}

/// Nothing, a comment, or a directive.
fn is_blank(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#') || line.starts_with('%')
}

/// The line of the first content of a chunk, past comments and blank lines.
fn first_line(line: u32, chunk: &str) -> u32 {
    let skipped = chunk.lines().take_while(|l| is_blank(l)).count();
    line.saturating_add(u32::try_from(skipped).unwrap_or(0))
}

/// A `List` is its items; everything else is itself.
fn unfold(
    value: Value,
    source: &Source,
    text: &Arc<Text>,
    path: &[Step],
    documents: &mut Vec<Document>,
    errors: &mut Vec<LoadError>,
) {
    let field = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let (kind, api) = (field("kind"), field("apiVersion"));
    let mut document = Document {
        source: source.clone(),
        group: String::new(),
        version: String::new(),
        kind: NO_KIND.to_owned(),
        value: Value::Null,
        text: text.clone(),
        path: path.to_vec(),
    };
    match (kind, api) {
        (Some(kind), Some(api)) if is_list(&kind, &api, &value) => {
            let Value::Object(mut map) = value else {
                return;
            };
            let items = match map.remove("items") {
                Some(Value::Array(items)) => items,
                None | Some(Value::Null) => Vec::new(),
                Some(_) => {
                    let error = LoadError::new(source, None, "expected a sequence");
                    return errors.push(error.at("items"));
                }
            };
            for (index, mut item) in items.into_iter().enumerate() {
                // The API server's own lists name the kind once, on the list.
                if let (Some(one), Some(item)) = (kind.strip_suffix("List"), item.as_object_mut())
                    && !one.is_empty()
                {
                    item.entry("kind").or_insert_with(|| one.into());
                    item.entry("apiVersion")
                        .or_insert_with(|| api.as_str().into());
                }
                let mut path = path.to_vec();
                path.extend([Step::Key("items".to_owned()), Step::Index(index)]);
                let source = Source {
                    line: text.line_of(&path).unwrap_or(source.line),
                    ..source.clone()
                };
                unfold(item, &source, text, &path, documents, errors);
            }
        }
        (Some(kind), Some(api)) => {
            let (group, version) = api.split_once('/').unwrap_or(("", &api));
            document.group = group.to_owned();
            document.version = version.to_owned();
            document.kind = kind;
            document.value = value;
            documents.push(document);
        }
        // Patches of kustomize have neither, and may be sequences.
        (None, None) if value.is_object() || value.is_array() => documents.push(document),
        (None, None) => errors.push(LoadError::new(
            source,
            None,
            "expected an object with `apiVersion` and `kind`",
        )),
        (None, Some(_)) => errors.push(LoadError::new(source, None, "`kind` is missing")),
        // kustomize fills in its own apiVersion.
        (Some(kind), None) if kind == "Kustomization" || kind == "Component" => {
            document.kind = kind;
            documents.push(document);
        }
        (Some(kind), None) => {
            let message = format!("{kind}: `apiVersion` is missing");
            errors.push(LoadError::new(source, None, message));
        }
    }
}

/// What kubectl prints, `v1` `List`, and what the API server answers, as
/// `VirtualServiceList`.
fn is_list(kind: &str, api: &str, value: &Value) -> bool {
    match kind.strip_suffix("List") {
        Some("") => api == "v1",
        Some(_) => value.get("items").is_some_and(Value::is_array),
        None => false,
    }
}

/// Stands for the kind of a document that names none.
const NO_KIND: &str = "(no kind)";

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
        assert_eq!(
            errors[0].to_string(),
            "f:6: not YAML: its anchors expand to too much"
        );
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut errors = Vec::new();
        read(&"f".into(), &"[".repeat(100_000), &mut errors);
        assert_eq!(errors.len(), 1);
        assert_eq!(
            errors[0].to_string(),
            "f:1: not YAML: is nested deeper than 64 levels"
        );
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused() {
        let mut errors = Vec::new();
        read(
            &"f".into(),
            "kind: A\napiVersion: v1\nkind: B\n",
            &mut errors,
        );
        assert!(
            errors[0]
                .to_string()
                .starts_with("f:3: not YAML: duplicate mapping key: kind"),
            "{errors:?}"
        );
        assert!(!errors[0].message.contains("Options"), "{errors:?}");
    }
}
