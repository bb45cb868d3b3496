//! scikit-learn's fitted estimators, from their pickled attributes to compiled predictors.
//!
//! An estimator is one file: it reads and validates the state, and holds what it computes with. It is named once, in
//! [`predictor`] or [`transformer`], and has a case in the corpus.

mod adaboost;
mod analyzer;
mod bayes;
mod boosting;
mod calibrated;
mod categories;
mod compressed;
mod curve;
mod dummy;
mod expand;
mod function;
mod gaussian;
mod histogram;
mod importance;
mod impute;
mod isolation;
mod kernel_ridge;
mod labels;
mod lightgbm;
mod linear;
mod member;
mod multiclass;
mod neighbours;
mod network;
mod onehot;
mod ordinal;
mod part;
mod pipeline;
mod project;
mod scale;
mod select;
mod several;
mod stacking;
mod stop_words;
mod svc;
mod target;
mod text;
mod threshold;
mod tree;
mod union;
mod voting;
mod xgboost;

pub(crate) use xgboost::estimator_of;

use crate::flow::{Fitted, Flow, Step};
use crate::pickle::{Graph, Id};
use crate::predictor::{About, Predictor};
use crate::{Limits, LoadError};
use part::{Part, Reader};

/// Compiles the estimator on top of the graph.
pub(crate) fn compile(graph: &Graph<'_>, top: Id, limits: &Limits) -> Result<Predictor, LoadError> {
    let reader = Reader::new(graph, limits);
    let part = Part::top(&reader, top)?;
    let flow = flow(&part)?;
    check_version(&part)?;
    // Text is one column.
    let features = flow.takes().unwrap_or(1);
    let mut about = About {
        class: part.class().to_owned(),
        estimator: part.name().to_owned(),
        sklearn_version: part.version_text().map(str::to_owned),
        features,
        feature_names: match pipeline::feature_names(&part, features)? {
            None => flow.names().map(<[String]>::to_vec),
            names => names,
        },
        parts: Vec::new(),
        compiled_bytes: None,
    };
    drop(part);
    let (parts, bytes) = reader.met();
    (about.parts, about.compiled_bytes) = (parts, Some(bytes));
    Ok(Predictor::new(about, flow))
}

/// The versions of scikit-learn whose answers were compared. What others compute differently is not known.
const VERSIONS: std::ops::RangeInclusive<(u32, u32)> = (0, 20)..=(1, 9);

fn check_version(part: &Part<'_, '_>) -> Result<(), LoadError> {
    // Estimators of other libraries do not say which scikit-learn they stood beside.
    if !part.class().starts_with("sklearn.") || VERSIONS.contains(&part.version()) {
        return Ok(());
    }
    let version: String = part
        .version_text()
        .unwrap_or("no version")
        .chars()
        .take(32)
        .collect();
    Err(part.setting(format!(
        "`_sklearn_version` = {version}, outside of 0.20 to 1.9"
    )))
}

/// Compiles an estimator of any kind. What predicts is compiled to predict, also where it could transform.
fn flow(part: &Part<'_, '_>) -> Result<Flow, LoadError> {
    if let Some(flow) = wrapper(part, flow)? {
        return Ok(flow);
    }
    if let Some(last) = predictor(part)? {
        return Ok(Flow {
            steps: Vec::new(),
            last: Some(last),
        });
    }
    steps(part)
}

/// Compiles an estimator that stands before others.
fn steps(part: &Part<'_, '_>) -> Result<Flow, LoadError> {
    if let Some(flow) = wrapper(part, steps)? {
        return Ok(flow);
    }
    match transformer(part)? {
        Some(step) => Ok(Flow {
            steps: vec![step],
            last: None,
        }),
        None => Err(part.unsupported()),
    }
}

/// Compiles an estimator that has to predict.
fn predicting(part: &Part<'_, '_>) -> Result<Flow, LoadError> {
    let flow = flow(part)?;
    if flow.last.is_some() {
        Ok(flow)
    } else {
        Err(part.damaged("expected an estimator that predicts"))
    }
}

/// The estimator in that attribute, which answers for this one.
fn wrapped(part: &Part<'_, '_>, name: &str) -> Result<Fitted, LoadError> {
    let flow = predicting(&part.part(name)?)?;
    let (takes, classes) = (flow.takes(), flow.classes().cloned());
    Ok(Fitted::new(flow, takes, classes))
}

/// An estimator that is only a frame around others.
fn wrapper(
    part: &Part<'_, '_>,
    inner: impl Fn(&Part<'_, '_>) -> Result<Flow, LoadError>,
) -> Result<Option<Flow>, LoadError> {
    let inside = match part.kind() {
        ("sklearn.pipeline", "Pipeline") => {
            part.meet();
            return pipeline::read(part, inner).map(Some);
        }
        (
            "sklearn.model_selection",
            "GridSearchCV" | "RandomizedSearchCV" | "HalvingGridSearchCV" | "HalvingRandomSearchCV",
        ) => "best_estimator_",
        ("sklearn.frozen", "FrozenEstimator") => "estimator",
        _ => return Ok(None),
    };
    part.meet();
    inner(&part.part(inside)?).map(Some)
}

/// An estimator that predicts; `None` if this is none, or an unknown one.
fn predictor(part: &Part<'_, '_>) -> Result<Option<Fitted>, LoadError> {
    let (package, name) = part.kind();
    let read = match (package, name) {
        ("sklearn.svm", "SVC" | "NuSVC") => svc::read_classifier,
        ("sklearn.svm", "SVR" | "NuSVR") => svc::read_regressor,
        ("sklearn.svm", "OneClassSVM") => svc::read_one_class,
        ("sklearn.linear_model", "RANSACRegressor") => target::read_ransac,
        ("sklearn.linear_model" | "sklearn.svm" | "sklearn.discriminant_analysis", _)
            if linear::is_known(name) =>
        {
            linear::read
        }
        ("sklearn.tree", name) if tree::is_tree(name) => tree::read_tree,
        (
            "sklearn.ensemble",
            "RandomForestClassifier"
            | "RandomForestRegressor"
            | "ExtraTreesClassifier"
            | "ExtraTreesRegressor",
        ) => tree::read_forest,
        ("sklearn.ensemble", "GradientBoostingClassifier" | "GradientBoostingRegressor") => {
            boosting::read
        }
        (
            "sklearn.ensemble",
            "HistGradientBoostingClassifier" | "HistGradientBoostingRegressor",
        ) => histogram::read,
        ("sklearn.ensemble", "IsolationForest") => isolation::read,
        ("sklearn.ensemble", "AdaBoostClassifier") => adaboost::read_classifier,
        ("sklearn.ensemble", "AdaBoostRegressor") => adaboost::read_regressor,
        ("sklearn.ensemble", "BaggingClassifier") => voting::read_bagging,
        ("sklearn.ensemble", "VotingClassifier") => voting::read_classifier,
        ("sklearn.ensemble", "VotingRegressor" | "BaggingRegressor") => voting::read_regressor,
        ("sklearn.ensemble", "StackingClassifier" | "StackingRegressor") => stacking::read,
        ("sklearn.model_selection", "FixedThresholdClassifier" | "TunedThresholdClassifierCV") => {
            threshold::read
        }
        ("sklearn.calibration", "CalibratedClassifierCV") => calibrated::read,
        ("sklearn.multiclass", "OneVsRestClassifier") => multiclass::read_one_vs_rest,
        ("sklearn.multiclass", "OneVsOneClassifier") => multiclass::read_one_vs_one,
        ("sklearn.multioutput", "MultiOutputClassifier") => several::read,
        ("sklearn.multioutput", "MultiOutputRegressor") => multiclass::read_multi_output,
        ("sklearn.multioutput", "RegressorChain") => multiclass::read_chain,
        ("sklearn.compose", "TransformedTargetRegressor") => target::read,
        ("sklearn.naive_bayes", _) => bayes::read,
        ("sklearn.neighbors", "KNeighborsClassifier") => neighbours::read_classifier,
        ("sklearn.neighbors", "KNeighborsRegressor") => neighbours::read_regressor,
        ("sklearn.neighbors", "NearestCentroid") => neighbours::read_centroid,
        ("sklearn.cluster", "KMeans" | "MiniBatchKMeans") => neighbours::read_clusters,
        ("sklearn.discriminant_analysis", "QuadraticDiscriminantAnalysis") => {
            gaussian::read_quadratic
        }
        ("sklearn.mixture", "GaussianMixture") => gaussian::read_mixture,
        ("sklearn.neural_network", "MLPClassifier" | "MLPRegressor") => network::read,
        ("sklearn.kernel_ridge", "KernelRidge") => kernel_ridge::read,
        ("sklearn.feature_selection", "RFE" | "RFECV") => select::read_eliminated,
        (
            "xgboost.sklearn",
            "XGBClassifier" | "XGBRegressor" | "XGBRanker" | "XGBRFClassifier" | "XGBRFRegressor",
        ) => xgboost::read,
        ("lightgbm.sklearn", "LGBMClassifier" | "LGBMRegressor" | "LGBMRanker") => lightgbm::read,
        ("lightgbm.basic", "Booster") => lightgbm::read_booster,
        ("sklearn.dummy", "DummyClassifier") => dummy::read_classifier,
        ("sklearn.dummy", "DummyRegressor") => dummy::read_regressor,
        _ => return Ok(None),
    };
    part.meet();
    read(part).map(Some)
}

/// An estimator that transforms; `None` if this is none, or an unknown one.
fn transformer(part: &Part<'_, '_>) -> Result<Option<Step>, LoadError> {
    let (package, name) = part.kind();
    let read = match (package, name) {
        ("sklearn.preprocessing", "StandardScaler") => scale::standard,
        ("sklearn.preprocessing", "MinMaxScaler") => scale::min_max,
        ("sklearn.preprocessing", "MaxAbsScaler") => scale::max_abs,
        ("sklearn.preprocessing", "RobustScaler") => scale::robust,
        ("sklearn.preprocessing", "Normalizer") => scale::normalizer,
        ("sklearn.preprocessing", "Binarizer") => scale::binarizer,
        ("sklearn.preprocessing", "FunctionTransformer") => function::read,
        ("sklearn.preprocessing", "OneHotEncoder") => onehot::read,
        ("sklearn.preprocessing", "OrdinalEncoder") => ordinal::read,
        ("sklearn.preprocessing", "LabelEncoder") => ordinal::read_labels,
        ("sklearn.preprocessing", "TargetEncoder") => ordinal::read_target,
        ("sklearn.preprocessing", "PolynomialFeatures") => expand::read,
        ("sklearn.preprocessing", "KBinsDiscretizer") => curve::read_bins,
        ("sklearn.preprocessing", "PowerTransformer") => curve::read_power,
        ("sklearn.preprocessing", "QuantileTransformer") => curve::read_quantiles,
        ("sklearn.feature_extraction", "CountVectorizer") => text::read_counts,
        ("sklearn.feature_extraction", "TfidfTransformer") => text::read_weights,
        ("sklearn.feature_extraction", "TfidfVectorizer") => text::read_vectorizer,
        ("sklearn.feature_extraction", "HashingVectorizer") => text::read_hasher,
        ("sklearn.impute", "SimpleImputer") => impute::read,
        ("sklearn.impute", "MissingIndicator") => impute::read_indicator,
        ("sklearn.compose", "ColumnTransformer") => union::read_columns,
        ("sklearn.pipeline", "FeatureUnion") => union::read_union,
        ("sklearn.cluster", "KMeans" | "MiniBatchKMeans") => neighbours::read_distances,
        ("sklearn.discriminant_analysis", "LinearDiscriminantAnalysis") => {
            project::read_discriminants
        }
        ("sklearn.decomposition", "PCA" | "IncrementalPCA") => project::read_pca,
        ("sklearn.decomposition", "TruncatedSVD" | "FastICA") => project::read_components,
        (
            "sklearn.feature_selection",
            "VarianceThreshold"
            | "SelectKBest"
            | "SelectPercentile"
            | "SelectFpr"
            | "SelectFdr"
            | "SelectFwe"
            | "SelectFromModel"
            | "RFE"
            | "RFECV"
            | "SequentialFeatureSelector",
        ) => select::read,
        _ => return Ok(None),
    };
    part.meet();
    read(part).map(Some)
}
