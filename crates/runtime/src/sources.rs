//! The models of a folder as MLServer finds them: one for each `model-settings.json` below it.

use inference::ModelSettings;
use serving::Format;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The name of the files that say what there is.
const FILE: &str = "model-settings.json";
/// Folders inside each other, and bytes of a file of settings.
const DEPTH: usize = 16;
const LIMIT: u64 = 1 << 20;

/// A model, and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// A file, or a folder with one.
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    pub(crate) settings: ModelSettings,
}

/// Every model by its name. `environment` says of a model what nobody else does: alone if there is no file, and otherwise
/// where files are silent.
///
/// # Errors
/// Files that cannot be read, and two models of one name.
pub(crate) fn find(
    root: &Path,
    format: Format,
    environment: &ModelSettings,
) -> Result<BTreeMap<String, Source>, String> {
    let mut files = Vec::new();
    gather(root, DEPTH, &mut files).map_err(|error| format!("`{}`: {error}", root.display()))?;
    let mut sources = BTreeMap::new();
    for folder in files {
        let file = folder.join(FILE);
        let shown = file.display().to_string();
        let said = |what: String| format!("`{shown}`: {what}");
        let mut text = String::new();
        let opened = fs::File::open(&file).map(|file| file.take(LIMIT));
        opened
            .and_then(|mut file| file.read_to_string(&mut text))
            .map_err(|error| said(error.to_string()))?;
        let mut settings = ModelSettings::parse(&text).map_err(said)?;
        if settings.name.is_empty() {
            settings.name = folder
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
        }
        settings.implementation = settings
            .implementation
            .or_else(|| environment.implementation.clone());
        let source = source(&folder, format, settings).map_err(said)?;
        if let Some(other) = sources.insert(source.settings.name.clone(), source) {
            let name = other.settings.name;
            return Err(said(format!("another file has the name `{name}`, too")));
        }
    }
    if sources.is_empty() && !environment.name.is_empty() {
        let source = source(root, format, environment.clone())?;
        sources.insert(environment.name.clone(), source);
    }
    Ok(sources)
}

fn gather(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let Some(depth) = depth.checked_sub(1) else {
        return Ok(());
    };
    if folder.join(FILE).is_file() {
        files.push(folder.to_owned());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.path().is_dir() {
            gather(&entry.path(), depth, files)?;
        }
    }
    Ok(())
}

fn source(folder: &Path, format: Format, settings: ModelSettings) -> Result<Source, String> {
    let format = match settings.implementation.as_deref() {
        None | Some("") if format == Format::Onnx => {
            return Err(
                "graphs of ONNX are not served in MLServer's way: start without --compat=mlserver"
                    .to_owned(),
            );
        }
        None | Some("") => format,
        Some("mlserver_sklearn.SKLearnModel") => Format::Sklearn,
        Some("mlserver_xgboost.XGBoostModel") => Format::Xgboost,
        Some("mlserver_lightgbm.LightGBMModel") => Format::Lightgbm,
        Some("mlserver_catboost.CatboostModel") => Format::Catboost,
        Some(other) => {
            return Err(format!(
                "the implementation `{other}` is not supported: expected mlserver_sklearn.SKLearnModel, mlserver_xgboost.XGBoostModel, mlserver_lightgbm.LightGBMModel or mlserver_catboost.CatboostModel"
            ));
        }
    };
    let path = match &settings.uri {
        Some(uri) => folder.join(uri),
        None => folder.to_owned(),
    };
    Ok(Source {
        path,
        format,
        settings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, folder: &str, text: &str) {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(FILE), text).unwrap();
    }

    #[test]
    fn every_file_of_settings_is_a_model() {
        let root = tempfile::tempdir().unwrap();
        put(
            root.path(),
            "a/deep",
            r#"{"parameters": {"uri": "./m.joblib"}}"#,
        );
        put(
            root.path(),
            "b",
            r#"{"name": "iris", "implementation": "mlserver_xgboost.XGBoostModel"}"#,
        );
        put(
            root.path(),
            "cats",
            r#"{"implementation": "mlserver_catboost.CatboostModel"}"#,
        );
        put(root.path(), ".hidden", "{}");
        let environment = ModelSettings {
            name: "unused".to_owned(),
            ..ModelSettings::default()
        };
        let found = find(root.path(), Format::Sklearn, &environment).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, source)| (name.as_str(), source.format, source.path.clone()))
            .collect();
        assert_eq!(
            found,
            [
                ("cats", Format::Catboost, root.path().join("cats")),
                (
                    "deep",
                    Format::Sklearn,
                    root.path().join("a/deep/./m.joblib")
                ),
                ("iris", Format::Xgboost, root.path().join("b")),
            ]
        );
        put(root.path(), "c", r#"{"name": "iris"}"#);
        let error = find(root.path(), Format::Sklearn, &environment).unwrap_err();
        assert!(error.contains("the name `iris`"), "{error}");
        put(root.path(), "c", r#"{"implementation": "mine.Model"}"#);
        let error = find(root.path(), Format::Sklearn, &environment).unwrap_err();
        assert!(error.contains("`mine.Model` is not supported"), "{error}");
        put(root.path(), "c", "{}");
        let error = find(root.path(), Format::Onnx, &environment).unwrap_err();
        assert!(error.contains("graphs of ONNX are not served"), "{error}");
    }

    #[test]
    fn without_a_file_the_environment_names_the_model() {
        let root = tempfile::tempdir().unwrap();
        let nobody = ModelSettings::default();
        assert!(
            find(root.path(), Format::Sklearn, &nobody)
                .unwrap()
                .is_empty()
        );
        let environment = ModelSettings {
            name: "iris".to_owned(),
            uri: Some("/mnt/models".to_owned()),
            ..nobody
        };
        let found = find(root.path(), Format::Sklearn, &environment).unwrap();
        assert_eq!(found["iris"].path, Path::new("/mnt/models"));
    }
}
