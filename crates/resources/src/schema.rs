//! Which fields an object may have, and which words some of them are limited to,
//! as the published schemas of its kind say (`schemas/*.json`; Istio's and the
//! Gateway API's written by `cargo xtask record`, KServe's from its versions 0.7
//! to 0.20). The API server drops other fields and refuses other words, kubectl
//! refuses both.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::document::Document;
use crate::kinds::named;
use yaml::Step;

/// What a kind may hold. A shape is an object of fields, where `*` stands for
/// every other name, `{"[]": shape}` for a sequence, a list of words, the type of
/// another scalar, one of [`SHARED`] or `"any"`.
static KINDS: LazyLock<HashMap<String, Value>> = LazyLock::new(|| {
    [
        include_str!("schemas/istio.json"),
        include_str!("schemas/gateway-api.json"),
        include_str!("schemas/kserve.json"),
        include_str!("schemas/kubernetes.json"),
        include_str!("schemas/mesh.json"),
    ]
    .into_iter()
    .filter_map(|text| serde_json::from_str::<HashMap<String, Value>>(text).ok())
    .flatten()
    .collect()
});

/// The same for whole objects, with what each has.
static OBJECTS: LazyLock<HashMap<&str, Map<String, Value>>> = LazyLock::new(|| {
    let shapes = KINDS.iter();
    let shapes = shapes.filter_map(|(kind, shape)| Some((kind, shape.as_object()?.clone())));
    let whole = shapes.map(|(kind, mut fields)| {
        fields.extend(EVERYWHERE.map(|(name, shape)| (name.to_owned(), shape.into())));
        (kind.as_str(), fields)
    });
    whole.collect()
});

/// Shapes that others name.
const SHARED: [&str; 2] = ["metadata", "podSpec"];

/// Fields that every object has, besides those of its kind.
const EVERYWHERE: [(&str, &str); 4] = [
    ("apiVersion", "any"),
    ("kind", "any"),
    ("metadata", "metadata"),
    ("status", "any"),
];

/// Something wrong: where, and what.
pub(crate) type Wrong = (Vec<Step>, String);

/// What is wrong with the names and words of an object.
pub(crate) fn check(document: &Document) -> Vec<Wrong> {
    let mut walk = Walk::default();
    let fields = OBJECTS.get(named(document).as_str());
    if let (Some(fields), Some(object)) = (fields, document.value.as_object())
        && !is_patch(document, object)
    {
        walk.fields(object, fields);
    }
    walk.found
}

/// What the mesh configuration consists of.
pub(crate) const MESH: &str = "MeshConfig";
/// What settings of one proxy consist of.
pub(crate) const PROXY: &str = "ProxyConfig";

/// What is wrong with the names and words of settings that are text in other
/// objects. Istiod takes the names that fields have in its source too, which
/// become the usual ones here, and passes over what it does not know.
pub(crate) fn check_settings(value: &mut Value, kind: &str) -> Vec<Wrong> {
    let mut walk = Walk::default();
    if let Some(shape) = KINDS.get(kind) {
        spelled(value, shape);
        walk.value(value, shape);
    }
    walk.found
}

/// `trust_domain` as `trustDomain`, wherever the latter is a field.
fn spelled(value: &mut Value, shape: &Value) {
    match (value, shape) {
        (Value::Array(items), Value::Object(shape)) => {
            if let Some(shape) = shape.get("[]") {
                items.iter_mut().for_each(|item| spelled(item, shape));
            }
        }
        (Value::Object(object), Value::Object(shape)) => {
            let written: Vec<String> = object.keys().cloned().collect();
            for name in written {
                let usual = usual(&name);
                if !shape.contains_key(&name)
                    && shape.contains_key(&usual)
                    && !object.contains_key(&usual)
                    && let Some(value) = object.remove(&name)
                {
                    object.insert(usual, value);
                }
            }
            for (name, value) in object {
                if let Some(shape) = shape.get(name).or_else(|| shape.get("*")) {
                    spelled(value, shape);
                }
            }
        }
        _ => {}
    }
}

/// The name in JSON of a field of a Protocol Buffers message.
fn usual(name: &str) -> String {
    let mut parts = name.split('_');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        text.extend(letters);
    }
    text
}

/// Whether what is unknown of it is only told, not refused: EnvoyFilters with
/// misplaced fields have been released and are in force, and what an API server
/// answers (it has a `uid`) only has fields that its version knows. Where those
/// may decide about requests a newer version than is known here is refused.
pub(crate) fn is_lenient(document: &Document) -> bool {
    let uid = document.value.pointer("/metadata/uid").is_some();
    let decides = document.group.ends_with("istio.io") || document.group.starts_with("gateway.");
    document.kind == "EnvoyFilter" || (uid && !decides)
}

/// A part that kustomize puts onto objects, and no object itself.
fn is_patch(document: &Document, object: &Map<String, Value>) -> bool {
    object.contains_key("$patch") || document.reference().name.contains('*')
}

#[derive(Default)]
struct Walk<'v> {
    path: Vec<Place<'v>>,
    found: Vec<Wrong>,
}

/// A [`Step`] that becomes one only where something is wrong.
#[derive(Clone, Copy)]
enum Place<'v> {
    Field(&'v str),
    Item(usize),
}

impl From<Place<'_>> for Step {
    fn from(place: Place<'_>) -> Self {
        match place {
            Place::Field(name) => Self::Key(name.to_owned()),
            Place::Item(index) => Self::Index(index),
        }
    }
}

impl<'v> Walk<'v> {
    fn value(&mut self, value: &'v Value, shape: &Value) {
        match (value, shape) {
            (value, Value::String(name)) if SHARED.contains(&name.as_str()) => {
                if let Some(shape) = KINDS.get(name) {
                    self.value(value, shape);
                }
            }
            (Value::Array(items), Value::Object(shape)) => {
                let Some(shape) = shape.get("[]") else { return };
                for (index, item) in items.iter().enumerate() {
                    self.below(Place::Item(index), item, shape);
                }
            }
            (Value::Object(object), Value::Object(shape)) if !shape.contains_key("[]") => {
                self.fields(object, shape);
            }
            (value, Value::Array(words)) if !value.is_null() && !words.contains(value) => {
                let message = format!("expected {}, found {}", one_of(words), shown(value));
                self.refuse(message);
            }
            _ => {}
        }
    }

    fn fields(&mut self, object: &'v Map<String, Value>, shape: &Map<String, Value>) {
        for (name, value) in object {
            match shape.get(name).or_else(|| shape.get("*")) {
                Some(shape) => self.below(Place::Field(name), value, shape),
                None => {
                    self.path.push(Place::Field(name));
                    self.refuse(format!("unknown field `{name}`{}", instead(name, shape)));
                    self.path.pop();
                }
            }
        }
    }

    fn below(&mut self, place: Place<'v>, value: &'v Value, shape: &Value) {
        self.path.push(place);
        self.value(value, shape);
        self.path.pop();
    }

    fn refuse(&mut self, message: String) {
        let path = self.path.iter().copied().map(Step::from).collect();
        self.found.push((path, message));
    }
}

fn one_of(words: &[Value]) -> String {
    let words: Vec<String> = words.iter().map(shown).collect();
    match words.as_slice() {
        [one] => one.clone(),
        [one, other] => format!("{one} or {other}"),
        many => format!("one of {}", many.join(", ")),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        Value::Array(_) => "a sequence".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        other => format!("`{other}`"),
    }
}

/// No list of fields longer than this helps.
const MAX_LISTED: usize = 16;

/// What may have been meant by an unknown field.
fn instead(name: &str, shape: &Map<String, Value>) -> String {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let wanted = plain(name);
    let near = shape
        .keys()
        .filter(|known| *known != "*")
        .map(|known| (strsim::damerau_levenshtein(&plain(known), &wanted), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= (wanted.len() / 3).max(1))
        .map(|(_, known)| known.clone());
    if let Some(meant) = near.or_else(|| elsewhere(name, shape)) {
        return format!(", did you mean `{meant}`?");
    }
    if shape.len() > MAX_LISTED {
        return String::new();
    }
    let words: Vec<Value> = shape.keys().map(|known| known.as_str().into()).collect();
    format!(", expected {}", one_of(&words))
}

/// How many levels below the field may belong.
const MAX_BELOW: usize = 4;

/// The nearest place further below that has the field.
fn elsewhere(name: &str, shape: &Map<String, Value>) -> Option<String> {
    let mut level: Vec<(String, &Map<String, Value>)> = vec![(String::new(), shape)];
    for _ in 0..MAX_BELOW {
        let mut next = Vec::new();
        for (path, shape) in level {
            for (known, below) in shape {
                let path = match known.as_str() {
                    "*" => continue,
                    "[]" => format!("{path}[]"),
                    _ if path.is_empty() => known.clone(),
                    _ => format!("{path}.{known}"),
                };
                let Some(below) = below.as_object() else {
                    continue;
                };
                if below.contains_key(name) {
                    return Some(format!("{path}.{name}"));
                }
                next.push((path, below));
            }
        }
        level = next;
    }
    None
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod completeness;
