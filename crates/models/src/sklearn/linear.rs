//! `sklearn.linear_model.LogisticRegression`.

use super::Fitted;
use super::part::Part;
use crate::LoadError;
use crate::kernels::{Link, Logistic, Model};

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = part.labels()?;
    let k = classes.len();
    if k < 2 {
        return Err(part.damaged("expected at least two classes"));
    }
    let outputs = if k == 2 { 1 } else { k };
    let features = match part.array("coef_")?.shape.as_slice() {
        [_, features] => *features,
        _ => return Err(part.damaged("expected a matrix in `coef_`")),
    };
    let coefficients = part.floats("coef_", &[outputs, features])?;
    let intercepts = part.floats("intercept_", &[outputs])?;
    let link = if one_vs_rest(part, k) {
        Link::OneVsRest
    } else {
        Link::Softmax
    };
    let model = Logistic::new(coefficients, intercepts, features, link);
    let model = model.ok_or_else(|| part.damaged("expected at least one feature"))?;
    Ok(Fitted {
        model: Model::Logistic(model),
        features,
        classes: Some(classes),
    })
}

/// The rule of `LogisticRegression.predict_proba` in the version that wrote the file; `multi_class` is gone from 1.8 on,
/// and its default was `ovr` before 0.22 and `auto` until 1.5.
fn one_vs_rest(part: &Part<'_, '_>, classes: usize) -> bool {
    let solver = part.text("solver").unwrap_or_default();
    match part.text("multi_class") {
        Some("ovr" | "warn") => true,
        Some("multinomial") => false,
        _ => {
            classes <= 2
                || solver == "liblinear"
                || (solver == "newton-cholesky" && part.version() < (1, 6))
        }
    }
}
