//! Formats of model files, and which file of a folder is the model.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A model format that can be served, by KServe's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `sklearn`: a joblib, pickle or skops file.
    Sklearn,
    /// `xgboost`: a file of `Booster.save_model`, whatever its ending.
    Xgboost,
    /// `lightgbm`: a text file of `Booster.save_model`.
    Lightgbm,
    /// `catboost`: a binary file of `save_model`, or its export to JSON.
    Catboost,
    /// `onnx`: a graph in one file.
    Onnx,
}

/// A format that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("model format `{}` is not supported: expected {}", .0, Format::names())]
pub struct UnsupportedFormat(pub String);

/// Why no file of a folder is the model.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum NoChoice {
    /// None has a known ending.
    #[error("expected one file ending in {expected}, found {found}")]
    Missing { expected: String, found: String },
    /// KServe's sentence (`python/sklearnserver/sklearnserver/model.py`).
    #[error(
        "More than one model file is detected, Only one is allowed within model_dir: [{}]",
        .0.join(", ")
    )]
    Several(Vec<String>),
}

/// The ending that skops recommends, which KServe's server does not know.
const SKOPS: &str = ".skops";

/// How many names a message lists.
const NAMES_SHOWN: usize = 5;

impl FromStr for Format {
    type Err = UnsupportedFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| UnsupportedFormat(name.to_owned()))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Files of MLServer's settings.
const SETTINGS: [&str; 2] = ["model-settings.json", "settings.json"];

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] = [
        Self::Sklearn,
        Self::Xgboost,
        Self::Lightgbm,
        Self::Catboost,
        Self::Onnx,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Sklearn => "sklearn",
            Self::Xgboost => "xgboost",
            Self::Lightgbm => "lightgbm",
            Self::Catboost => "catboost",
            Self::Onnx => "onnx",
        }
    }

    /// The names of all formats, for messages: `` `a`, `b` or `c` ``.
    pub fn names() -> String {
        any_of(&Self::ALL.map(|format| format!("`{format}`")))
    }

    /// File endings that KServe's server of this format looks for
    /// (`MODEL_EXTENSIONS` in its `model.py`), and those it does not know:
    /// skops, and all of CatBoost's (`.bin` is what MLServer calls a `.cbm`).
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Sklearn => &[".joblib", ".pkl", ".pickle", SKOPS],
            Self::Xgboost => &[".bst", ".json", ".ubj"],
            Self::Lightgbm => &[".bst"],
            Self::Catboost => &[".cbm", ".bin", ".json"],
            Self::Onnx => &[".onnx"],
        }
    }

    /// Whether a file of that name can be the model. What MLServer reads of one, which lies beside it, cannot.
    pub fn accepts(self, name: &str) -> bool {
        let ends = |ending: &&str| name.ends_with(*ending);
        self.extensions().iter().any(ends) && !SETTINGS.contains(&name)
    }

    /// The one model file among the names of a folder's top level. Other files
    /// (README, requirements) are allowed beside it.
    pub(crate) fn choose(self, mut names: Vec<String>) -> Result<String, NoChoice> {
        names.sort_unstable();
        let (mut models, others): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| self.accepts(name));
        // A folder that KServe's server can serve is served as it would.
        if models.iter().any(|name| !name.ends_with(SKOPS)) {
            models.retain(|name| !name.ends_with(SKOPS));
        }
        match (models.pop(), models.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                models.push(last);
                models.truncate(NAMES_SHOWN);
                Err(NoChoice::Several(models))
            }
            (None, _) => Err(self.missing(&others)),
        }
    }

    /// What to say when these names are all there is.
    pub(crate) fn missing(self, found: &[String]) -> NoChoice {
        let mut shown: Vec<_> = found
            .iter()
            .take(NAMES_SHOWN)
            .map(|n| format!("`{n}`"))
            .collect();
        if found.len() > NAMES_SHOWN {
            shown.push(format!("{} more", found.len() - NAMES_SHOWN));
        }
        NoChoice::Missing {
            expected: any_of(self.extensions()),
            found: if shown.is_empty() {
                "nothing".to_owned()
            } else {
                shown.join(", ")
            },
        }
    }
}

/// `a, b or c`.
fn any_of<T: AsRef<str>>(names: &[T]) -> String {
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        text.push_str(match index {
            0 => "",
            _ if index + 1 == names.len() => " or ",
            _ => ", ",
        });
        text.push_str(name.as_ref());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], expected: Result<&str, &str>) {
        let chosen = Format::Sklearn
            .choose(names.iter().map(|n| (*n).to_owned()).collect())
            .map_err(|e| e.to_string());
        assert_eq!(
            chosen,
            expected.map(str::to_owned).map_err(str::to_owned),
            "{names:?}"
        );
    }

    #[test]
    fn settings_of_mlserver_are_no_model() {
        let names = ["model-settings.json", "model.json", "settings.json"];
        let chosen = Format::Xgboost.choose(names.map(str::to_owned).to_vec());
        assert_eq!(chosen.ok().as_deref(), Some("model.json"));
    }

    #[test]
    fn one_model_file_is_chosen_among_others() {
        check(&["model.joblib"], Ok("model.joblib"));
        check(
            &["README.md", "iris.pkl", "requirements.txt"],
            Ok("iris.pkl"),
        );
        check(&["x.pickle"], Ok("x.pickle"));
        check(&["a.skops", "README.md"], Ok("a.skops"));
    }

    #[test]
    fn what_kserve_would_serve_comes_before_skops() {
        check(&["a.skops", "model.joblib"], Ok("model.joblib"));
        check(
            &["a.skops", "b.skops"],
            Err(
                "More than one model file is detected, Only one is allowed within model_dir: \
                 [a.skops, b.skops]",
            ),
        );
    }

    #[test]
    fn several_model_files_are_refused_in_the_words_of_kserve() {
        check(
            &["model.pkl", "model.joblib"],
            Err(
                "More than one model file is detected, Only one is allowed within model_dir: \
                 [model.joblib, model.pkl]",
            ),
        );
    }

    #[test]
    fn a_folder_without_a_model_says_what_was_expected() {
        check(
            &[],
            Err("expected one file ending in .joblib, .pkl, .pickle or .skops, found nothing"),
        );
        check(
            &["b.bst", "a.txt", "c", "d", "e", "f", "g"],
            Err(
                "expected one file ending in .joblib, .pkl, .pickle or .skops, \
                 found `a.txt`, `b.bst`, `c`, `d`, `e`, 2 more",
            ),
        );
    }

    #[test]
    fn unknown_formats_name_the_known_ones() {
        assert_eq!(
            "tensorflow".parse::<Format>().unwrap_err().to_string(),
            "model format `tensorflow` is not supported: expected `sklearn`, `xgboost`, `lightgbm`, `catboost` or `onnx`"
        );
        for format in Format::ALL {
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
        }
        assert_eq!(
            Format::Lightgbm.missing(&[]).to_string(),
            "expected one file ending in .bst, found nothing"
        );
    }
}
