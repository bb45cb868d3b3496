//! Models of gradient boosting libraries in their own formats, told apart by content.
//!
//! KServe's servers do not look at the ending of the name either: a `.bst` may hold any of them.

mod catboost;
mod lightgbm;
mod xgboost;

use crate::document::{Source, Value};
use crate::flow::{Fitted, Flow};
use crate::json;
use crate::predictor::{About, Predictor};
use crate::{Labels, Limits, LoadError};
use catboost::Catboost;
pub(crate) use lightgbm::Lightgbm;
pub(crate) use xgboost::Xgboost;

/// A model of one of the formats; `None` if the bytes are of none. One of XGBoost is read as an estimator for scikit-learn
/// reads it if it is to be one.
pub(crate) fn read(
    bytes: &[u8],
    limits: &Limits,
    estimator: bool,
) -> Option<Result<Predictor, LoadError>> {
    let format = Format::of(bytes)?;
    if bytes.len() > limits.file_bytes {
        return Some(Err(LoadError::Limit {
            what: "bytes of file",
            limit: limits.file_bytes,
        }));
    }
    let (name, read) = match format {
        Format::Json => json(bytes, limits, estimator),
        Format::Ubj | Format::Binary => {
            let document = document(format, bytes, limits);
            let model = document.and_then(|document| booster(&document, limits, estimator));
            (format.name(), model)
        }
        Format::LightGbm => (format.name(), lightgbm(bytes, limits)),
        Format::Cbm => (
            format.name(),
            catboost::read_cbm(bytes, limits).map(catboost),
        ),
    };
    Some(read.map_err(|what| LoadError::Boosted { format: name, what }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// JSON of XGBoost or CatBoost.
    Json,
    /// XGBoost's binary JSON.
    Ubj,
    /// XGBoost's old binary format.
    Binary,
    /// LightGBM's text.
    LightGbm,
    /// CatBoost's binary format.
    Cbm,
}

impl Format {
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            // The first name's length is a byte, or a word whose type comes first.
            [b'{', b'L' | b'l' | b'I' | b'i' | b'U', ..] => Some(Self::Ubj),
            [b'{', ..] => Some(Self::Json),
            [b'b', b'i', b'n', b'f', ..] => Some(Self::Binary),
            [b't', b'r', b'e', b'e', b'\r' | b'\n', ..] => Some(Self::LightGbm),
            [b'C', b'B', b'M', b'1', ..] => Some(Self::Cbm),
            bytes if xgboost::binary::is_headless(bytes) => Some(Self::Binary),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "XGBoost model in JSON",
            Self::Ubj => "XGBoost model in UBJSON",
            Self::Binary => "XGBoost model in the old binary format",
            Self::LightGbm => "LightGBM model",
            Self::Cbm => "CatBoost model",
        }
    }
}

/// A model in JSON, and what it is called.
fn json(
    bytes: &[u8],
    limits: &Limits,
    estimator: bool,
) -> (&'static str, Result<Predictor, String>) {
    match document(Format::Json, bytes, limits) {
        Ok(document) if catboost::is_export(&document) => {
            let model = catboost::read_export(&document, limits);
            ("CatBoost model in JSON", model.map(catboost))
        }
        Ok(document) => (Format::Json.name(), booster(&document, limits, estimator)),
        Err(what) => (Format::Json.name(), Err(what)),
    }
}

fn booster(document: &Value, limits: &Limits, estimator: bool) -> Result<Predictor, String> {
    let model = xgboost::read(document, limits)?;
    if estimator {
        return wrapped(model);
    }
    Ok(predictor(
        "xgboost.core.Booster",
        model.features,
        model.feature_names.clone(),
        None,
        model,
    ))
}

/// What XGBClassifier or XGBRegressor makes of a file with `load_model`: whichever wrote it, and the latter if neither did.
fn wrapped(mut model: Xgboost) -> Result<Predictor, String> {
    let wrote = |kind: &str| {
        model
            .wrapper
            .as_ref()
            .is_some_and(|text| text.contains(kind))
    };
    let classifies = wrote("\"classifier\"");
    let name = if classifies {
        "XGBClassifier"
    } else {
        "XGBRegressor"
    };
    if let Some(best) = model.best_round() {
        model.keep_rounds(best.saturating_add(1), 1);
    }
    let (features, names) = (model.features, model.feature_names.clone());
    let about = About {
        class: format!("xgboost.sklearn.{name}"),
        estimator: name.to_owned(),
        sklearn_version: None,
        features,
        feature_names: names,
        parts: Vec::new(),
        compiled_bytes: None,
    };
    let flow = Flow {
        steps: Vec::new(),
        last: Some(crate::sklearn::estimator_of(name, model, classifies)?),
    };
    Ok(Predictor::new(about, flow))
}

fn catboost(model: Catboost) -> Predictor {
    predictor(
        "catboost.core.CatBoost",
        model.features(),
        model.feature_names(),
        model.classes().cloned(),
        model,
    )
}

fn document(format: Format, bytes: &[u8], limits: &Limits) -> Result<Value, String> {
    let mut source = Source::new(bytes, limits.objects);
    let document = match format {
        Format::Ubj => xgboost::ubj::read(&mut source),
        Format::Binary => xgboost::binary::read(&mut source),
        Format::Json | Format::LightGbm | Format::Cbm => json::read(&mut source),
    };
    document.map_err(|what| format!("{what} at byte {}", source.offset()))
}

/// A booster as XGBoost's Python package pickles it: JSON or UBJSON with the model and its settings.
///
/// # Errors
/// What is damaged or not supported.
pub(crate) fn pickled_xgboost(bytes: &[u8], limits: &Limits) -> Result<Xgboost, String> {
    match Format::of(bytes) {
        Some(format @ (Format::Json | Format::Ubj)) => {
            xgboost::read(document(format, bytes, limits)?.at("Model")?, limits)
        }
        _ => Err("expected JSON or UBJSON, as XGBoost has pickled since 1.1".to_owned()),
    }
}

/// A booster as LightGBM's Python package pickles it.
///
/// # Errors
/// What is damaged or not supported.
pub(crate) fn pickled_lightgbm(text: &str, limits: &Limits) -> Result<Lightgbm, String> {
    lightgbm::read(text.as_bytes(), limits)
}

fn lightgbm(bytes: &[u8], limits: &Limits) -> Result<Predictor, String> {
    let model = lightgbm::read(bytes, limits)?;
    Ok(predictor(
        "lightgbm.basic.Booster",
        model.features(),
        Some(model.feature_names().to_vec()),
        None,
        model,
    ))
}

fn predictor(
    class: &str,
    features: usize,
    feature_names: Option<Vec<String>>,
    classes: Option<Labels>,
    model: impl crate::flow::Predict + 'static,
) -> Predictor {
    let about = About {
        class: class.to_owned(),
        estimator: class.rsplit('.').next().unwrap_or_default().to_owned(),
        sklearn_version: None,
        features,
        feature_names,
        parts: Vec::new(),
        compiled_bytes: None,
    };
    let flow = Flow {
        steps: Vec::new(),
        last: Some(Fitted::new(model, Some(features), classes)),
    };
    Predictor::new(about, flow)
}
