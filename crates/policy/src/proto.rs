//! Protocol buffers written as YAML: fields under either of their names.

use std::borrow::Cow;

use serde_json::Value;

/// A field by its `snake_case` name, as written or in lowerCamelCase.
pub(crate) fn field<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let map = value.as_object()?;
    map.get(name)
        .or_else(|| map.get(camel(name).as_ref()))
        .filter(|v| !v.is_null())
}

/// A field of a field.
pub(crate) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter()
        .try_fold(value, |value, name| field(value, name))
}

/// A text field, empty when it is not there.
pub(crate) fn text<'v>(value: &'v Value, path: &[&str]) -> &'v str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// A boolean field; `google.protobuf.BoolValue` looks the same.
pub(crate) fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or(false)
}

/// A number, which may be quoted.
pub(crate) fn number(value: &Value, path: &[&str]) -> Option<u64> {
    let value = at(value, path)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The items of a list.
pub(crate) fn items<'v>(
    value: &'v Value,
    path: &[&str],
) -> impl Iterator<Item = &'v Value> + use<'v> {
    at(value, path)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The names of the fields of a message, in `snake_case`.
pub(crate) fn names(value: &Value) -> impl Iterator<Item = Cow<'_, str>> {
    let map = value.as_object().into_iter().flatten();
    map.filter(|(_, v)| !v.is_null())
        .map(|(name, _)| snake(name))
}

/// The message's name at the end of a type URL, `v3.ExtAuthz` of
/// `type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz`.
pub(crate) fn type_name(any: &Value) -> &str {
    let url = any.get("@type").and_then(Value::as_str).unwrap_or_default();
    url.rsplit('/').next().unwrap_or_default()
}

fn camel(name: &str) -> Cow<'_, str> {
    if !name.contains('_') {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else if upper {
            out.push(c.to_ascii_uppercase());
            upper = false;
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn snake(name: &str) -> Cow<'_, str> {
    if name.starts_with('@') || !name.chars().any(|c| c.is_ascii_uppercase()) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_spellings() {
        let value = json!({"typedPerFilterConfig": {"a": 1}, "http_service": {"pathPrefix": "/x"}, "none": null});
        assert!(field(&value, "typed_per_filter_config").is_some());
        assert_eq!(text(&value, &["http_service", "path_prefix"]), "/x");
        let found: Vec<_> = names(&value).collect();
        assert_eq!(found, ["http_service", "typed_per_filter_config"]);
    }
}
