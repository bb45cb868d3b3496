//! What `model-settings.json` says of a model.

use serde_json::Value;

/// What `model-settings.json` says of a model, as far as it has a meaning here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelSettings {
    /// The name that clients use; empty if it has none of its own.
    pub name: String,
    /// The class of MLServer that would serve it, such as `mlserver_sklearn.SKLearnModel`.
    pub implementation: Option<String>,
    /// Where the model is, relative to the file of the settings: a file, or a folder with a file of a known name.
    pub uri: Option<String>,
    /// The only version that requests may name.
    pub version: Option<String>,
    /// What answers when a request names no output: `predict` if there is none.
    pub predict_fn: Option<String>,
    /// Fields of its metadata as they are written, each a JSON value.
    pub metadata: Vec<(&'static str, String)>,
    /// Rows that are answered together, and how many milliseconds the first of them waits; neither if one is 0.
    pub batch: Option<(usize, u64)>,
}

/// Fields that MLServer's metadata has, and their values without settings.
pub(crate) const METADATA: [(&str, &str); 4] = [
    ("versions", "[]"),
    ("platform", "\"\""),
    ("inputs", "[]"),
    ("outputs", "[]"),
];

impl ModelSettings {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !value.is_object() {
            return Err("expected an object".to_owned());
        }
        let text = |value: Option<&Value>, what: &str| match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(format!("expected text for `{what}`, found `{other}`")),
        };
        let parameters = value.get("parameters");
        let parameter = |name: &str| {
            let value = parameters.and_then(|parameters| parameters.get(name));
            text(value, &format!("parameters.{name}"))
        };
        let extra = parameters.and_then(|parameters| parameters.get("extra"));
        let predict_fn = extra.and_then(|extra| extra.get("predict_fn"));
        let known = METADATA.iter().filter_map(|(name, _)| {
            let value = value.get(*name).filter(|value| !value.is_null())?;
            Some((*name, value.to_string()))
        });
        let size = value.get("max_batch_size").and_then(Value::as_u64);
        let time = value.get("max_batch_time").and_then(Value::as_f64);
        let batch = match (size.map(usize::try_from), time) {
            (Some(Ok(size)), Some(time)) if size > 1 && time > 0.0 => {
                // MLServer counts in seconds; a minute is beyond any use.
                Some((size, (time.min(60.0) * 1000.0) as u64))
            }
            _ => None,
        };
        Ok(Self {
            name: text(value.get("name"), "name")?.unwrap_or_default(),
            implementation: text(value.get("implementation"), "implementation")?,
            uri: parameter("uri")?,
            version: parameter("version")?,
            predict_fn: text(predict_fn, "parameters.extra.predict_fn")?,
            metadata: known.collect(),
            batch,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        let settings = ModelSettings::parse(
            r#"{"name": "iris", "implementation": "mlserver_sklearn.SKLearnModel", "platform": "sklearn", "more": [1],
                "max_batch_size": 8, "max_batch_time": 0.05,
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
                "parameters": {"uri": "./model.joblib", "version": "v1", "extra": {"predict_fn": "predict_proba"}}}"#,
        )
        .unwrap();
        assert_eq!(settings.name, "iris");
        assert_eq!(settings.uri.as_deref(), Some("./model.joblib"));
        assert_eq!(settings.version.as_deref(), Some("v1"));
        assert_eq!(settings.predict_fn.as_deref(), Some("predict_proba"));
        assert_eq!(settings.batch, Some((8, 50)));
        let names: Vec<_> = settings.metadata.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["platform", "inputs"]);
        assert_eq!(ModelSettings::parse("{}"), Ok(ModelSettings::default()));
        for wrong in ["", "[]", r#"{"name": 1}"#, r#"{"parameters": {"uri": {}}}"#] {
            assert!(ModelSettings::parse(wrong).is_err(), "{wrong}");
        }
    }
}
