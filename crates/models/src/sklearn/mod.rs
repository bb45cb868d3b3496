//! scikit-learn's fitted estimators, from their pickled attributes to compiled predictors.

mod linear;
mod part;
mod pipeline;
mod svc;
mod tree;

use crate::kernels::Model;
use crate::pickle::{Graph, Id};
use crate::predictor::{About, Predictor};
use crate::{Limits, LoadError};
use part::{Part, Reader};

/// An estimator that ends a pipeline, and what it says about itself.
struct Fitted {
    model: Model,
    /// Columns that it expects.
    features: usize,
    classes: Option<crate::Labels>,
}

/// Compiles the estimator on top of the graph.
pub(crate) fn compile(graph: &Graph<'_>, top: Id, limits: &Limits) -> Result<Predictor, LoadError> {
    let reader = Reader::new(graph, limits);
    let part = Part::new(&reader, top, "model")?;
    let mut steps = Vec::new();
    let fitted = pipeline::flatten(&part, &mut steps, limits.depth)?;
    let first = steps.first().map_or(fitted.features, |step| step.columns());
    let about = About {
        class: part.class().to_owned(),
        estimator: fitted_name(&part).to_owned(),
        sklearn_version: part.version_text().map(str::to_owned),
        features: first,
        feature_names: pipeline::feature_names(&part, first, limits.depth)?,
    };
    Ok(Predictor::new(about, steps, fitted.model, fitted.classes))
}

fn fitted_name<'p>(part: &'p Part<'_, '_>) -> &'p str {
    part.class().rsplit('.').next().unwrap_or_default()
}

/// Compiles an estimator that is no pipeline.
fn estimator(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    match part.kind() {
        ("sklearn.svm", "SVC") => svc::read(part),
        ("sklearn.linear_model", "LogisticRegression") => linear::read(part),
        (
            "sklearn.tree",
            "DecisionTreeClassifier"
            | "DecisionTreeRegressor"
            | "ExtraTreeClassifier"
            | "ExtraTreeRegressor",
        ) => tree::read_tree(part),
        (
            "sklearn.ensemble",
            "RandomForestClassifier"
            | "RandomForestRegressor"
            | "ExtraTreesClassifier"
            | "ExtraTreesRegressor",
        ) => tree::read_forest(part),
        _ => Err(part.unsupported()),
    }
}
