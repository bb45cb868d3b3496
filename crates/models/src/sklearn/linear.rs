//! Linear models: `sklearn.linear_model`, the linear machines of `sklearn.svm`, and linear discriminant analysis.

use super::part::Part;
use crate::data::{Data, Intake};
use crate::flow::{Fitted, Grid, Predict};
use crate::kernels::{Linear, argmax, normalise};
use crate::labels::{IntegerType, Labels};
use crate::matrix::round;
use crate::predictor::Output;
use crate::{InputError, LoadError, Precision};

const REGRESSORS: &[&str] = &[
    "ARDRegression",
    "BayesianRidge",
    "ElasticNet",
    "ElasticNetCV",
    "HuberRegressor",
    "Lars",
    "LarsCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "LassoLarsCV",
    "LassoLarsIC",
    "LinearRegression",
    "LinearSVR",
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
    "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV",
    "PassiveAggressiveRegressor",
    "QuantileRegressor",
    "Ridge",
    "RidgeCV",
    "SGDRegressor",
    "TheilSenRegressor",
];
/// Generalised linear models with a logarithmic link.
const EXPONENTIAL: &[&str] = &["GammaRegressor", "PoissonRegressor"];
const CLASSIFIERS: &[&str] = &[
    "LinearDiscriminantAnalysis",
    "LinearSVC",
    "LogisticRegression",
    "LogisticRegressionCV",
    "PassiveAggressiveClassifier",
    "Perceptron",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "SGDClassifier",
];

pub(super) fn is_known(name: &str) -> bool {
    REGRESSORS.contains(&name)
        || EXPONENTIAL.contains(&name)
        || CLASSIFIERS.contains(&name)
        || matches!(name, "TweedieRegressor" | "SGDOneClassSVM")
}

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    match part.name() {
        "SGDOneClassSVM" => read_one_class(part),
        name if CLASSIFIERS.contains(&name) => read_classifier(part),
        _ => read_regressor(part),
    }
}

/// The linear functions in `coef_` and `intercept_`, and whether `coef_` is one row without a second dimension.
fn functions(part: &Part<'_, '_>, coef: &str) -> Result<(Linear, bool), LoadError> {
    // `sparsify()` leaves the zeros of the coefficients out.
    let (coefficients, features, flat) = match part.spread(coef)? {
        Some((coefficients, features)) => (coefficients, features, false),
        None => coefficients(part, coef)?,
    };
    if part.features().is_some_and(|count| count != features) {
        return Err(part.damaged(format!("expected as many columns in `{coef}` as features")));
    }
    let outputs = coefficients.len() / features.max(1);
    let intercepts = match part.array("intercept_") {
        Ok(array) if array.count() > 1 => part.vector("intercept_", outputs)?,
        _ => {
            let intercept = part.scalar("intercept_")?;
            part.pay(outputs)?;
            vec![intercept; outputs]
        }
    };
    let linear = Linear::new(coefficients, intercepts, features, part.precision(coef));
    let linear = linear.ok_or_else(|| part.damaged("expected at least one feature"))?;
    Ok((linear, flat))
}

/// Coefficients for so many features, and whether they are one row without a second dimension.
fn coefficients(part: &Part<'_, '_>, coef: &str) -> Result<(Vec<f64>, usize, bool), LoadError> {
    let shape = part.array(coef)?.shape.as_slice();
    let (features, flat) = match shape {
        [features] => (*features, true),
        [_, features] => (*features, false),
        shape => {
            return Err(part.damaged(format!(
                "expected a matrix in `{coef}`, found the shape {shape:?}"
            )));
        }
    };
    Ok((part.floats(coef, shape)?, features, flat))
}

fn read_regressor(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let (linear, flat) = functions(part, "coef_")?;
    let exponential = match part.name() {
        "TweedieRegressor" => match part.text("link") {
            Some("log") => true,
            Some("identity") => false,
            _ => part.float("power")? > 0.0,
        },
        name => EXPONENTIAL.contains(&name),
    };
    let features = linear.features();
    let regressor = Regressor {
        intake: part.intake(),
        linear,
        exponential,
        flat,
    };
    Ok(Fitted::new(regressor, Some(features), None))
}

#[derive(Debug)]
struct Regressor {
    intake: Intake,
    linear: Linear,
    exponential: bool,
    /// Whether a row has one value and not a list of one.
    flat: bool,
}

impl Predict for Regressor {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let rows = self.intake.numbers(data)?;
        let precision = self.linear.precision(&rows);
        let mut values = self.linear.decide(&rows);
        if self.exponential {
            values
                .iter_mut()
                .for_each(|value| *value = round(value.exp(), precision));
        }
        Ok(if self.flat {
            Output::Values(values, precision)
        } else {
            Output::Table {
                values,
                columns: self.linear.outputs(),
                precision,
            }
        })
    }
}

/// `SGDOneClassSVM`: its decision function has the offset taken off, and 1 is inside.
fn read_one_class(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let (coefficients, features) = match part.array("coef_")?.shape.as_slice() {
        [features] => (part.floats("coef_", &[*features])?, *features),
        _ => return Err(part.damaged("expected one row in `coef_`")),
    };
    let offset = part.scalar("offset_")?;
    let linear = Linear::new(coefficients, vec![-offset], features, Precision::Double)
        .ok_or_else(|| part.damaged("expected at least one feature"))?;
    let classifier = Classifier {
        intake: part.intake(),
        linear,
        link: Link::Inside,
    };
    let classes = Labels::Integers(vec![-1, 1], IntegerType::Int32);
    Ok(Fitted::new(classifier, Some(features), Some(classes)))
}

/// How decisions become probabilities and classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// No probabilities.
    Decision,
    /// No probabilities, and zero is inside.
    Inside,
    /// A sigmoid for each class, made to sum to one.
    OneVsRest,
    Softmax,
    /// `loss='modified_huber'`.
    Clipped,
}

fn read_classifier(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = match part.attribute("classes_") {
        Some(_) => part.labels()?,
        None => part.part("_label_binarizer")?.labels()?,
    };
    let k = classes.len();
    let (linear, _) = functions(part, "coef_")?;
    if k < 2 || linear.outputs() != if k == 2 { 1 } else { k } {
        return Err(part.damaged("expected a row in `coef_` for each class, one for two"));
    }
    let link = match part.name() {
        "LogisticRegression" | "LogisticRegressionCV" => logistic_link(part, k),
        "LinearDiscriminantAnalysis" if k == 2 || part.version() < (0, 21) => Link::OneVsRest,
        "LinearDiscriminantAnalysis" => Link::Softmax,
        "SGDClassifier" => match part.text("loss") {
            Some("log_loss" | "log") => Link::OneVsRest,
            Some("modified_huber") => Link::Clipped,
            _ => Link::Decision,
        },
        _ => Link::Decision,
    };
    let features = linear.features();
    let classifier = Classifier {
        intake: part.intake(),
        linear,
        link,
    };
    Ok(Fitted::new(classifier, Some(features), Some(classes)))
}

/// The rule of `LogisticRegression.predict_proba` in the version that wrote the file; `multi_class` is gone from 1.8 on,
/// and its default was `ovr` before 0.22 and `auto` until 1.5.
fn logistic_link(part: &Part<'_, '_>, classes: usize) -> Link {
    let solver = part.text("solver").unwrap_or_default();
    let one_vs_rest = match part.text("multi_class") {
        Some("ovr" | "warn") => true,
        Some("multinomial") => false,
        _ => {
            classes <= 2
                || solver == "liblinear"
                || (solver == "newton-cholesky" && part.version() < (1, 6))
        }
    };
    if one_vs_rest {
        Link::OneVsRest
    } else {
        Link::Softmax
    }
}

#[derive(Debug)]
struct Classifier {
    intake: Intake,
    linear: Linear,
    link: Link,
}

impl Classifier {
    fn classes(&self) -> usize {
        self.linear.outputs().max(2)
    }

    /// The probabilities of one row.
    fn link(&self, decisions: &[f64], precision: Precision, out: &mut Vec<f64>) {
        let start = out.len();
        let round = |value: f64| round(value, precision);
        let expit = |value: f64| round(1.0 / round(1.0 + round((-value).exp())));
        match (self.link, decisions) {
            (Link::OneVsRest, [decision]) => {
                let positive = expit(*decision);
                out.extend([round(1.0 - positive), positive]);
            }
            (Link::OneVsRest, _) => {
                out.extend(decisions.iter().map(|value| expit(*value)));
                let row = out.get_mut(start..).unwrap_or_default();
                if row.iter().all(|value| *value == 0.0) {
                    row.fill(1.0);
                }
                normalise(row);
            }
            (Link::Softmax, _) => {
                match decisions {
                    [decision] => out.extend([-decision, *decision]),
                    _ => out.extend_from_slice(decisions),
                }
                let row = out.get_mut(start..).unwrap_or_default();
                let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                row.iter_mut()
                    .for_each(|value| *value = round(round(*value - largest).exp()));
                normalise(row);
            }
            (Link::Clipped, [decision]) => {
                let positive = (decision.clamp(-1.0, 1.0) + 1.0) / 2.0;
                out.extend([1.0 - positive, positive]);
            }
            (Link::Clipped, _) => {
                out.extend(
                    decisions
                        .iter()
                        .map(|value| (value.clamp(-1.0, 1.0) + 1.0) / 2.0),
                );
                let row = out.get_mut(start..).unwrap_or_default();
                if row.iter().all(|value| *value == 0.0) {
                    row.fill(1.0);
                }
                normalise(row);
            }
            (Link::Decision | Link::Inside, _) => {}
        }
        out.iter_mut()
            .skip(start)
            .for_each(|value| *value = round(*value));
    }
}

impl Predict for Classifier {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let rows = self.intake.numbers(data)?;
        let decisions = self.linear.decide(&rows);
        let class = |row: &[f64]| match row {
            [decision] if self.link == Link::Inside => u32::from(*decision >= 0.0),
            [decision] => u32::from(*decision > 0.0),
            row => argmax(row.iter().copied()),
        };
        Ok(Output::Classes(
            decisions
                .chunks_exact(self.linear.outputs())
                .map(class)
                .collect(),
        ))
    }

    fn has_probabilities(&self) -> bool {
        !matches!(self.link, Link::Decision | Link::Inside)
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let rows = self.intake.numbers(data)?;
        let precision = self.linear.precision(&rows);
        let decisions = self.linear.decide(&rows);
        let mut values = Vec::with_capacity(rows.count() * self.classes());
        for row in decisions.chunks_exact(self.linear.outputs()) {
            self.link(row, precision, &mut values);
        }
        Ok(Grid {
            values,
            columns: self.classes(),
            precision,
        })
    }

    fn has_decisions(&self) -> bool {
        true
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let rows = self.intake.numbers(data)?;
        Ok(Grid {
            precision: self.linear.precision(&rows),
            values: self.linear.decide(&rows),
            columns: self.linear.outputs(),
        })
    }
}
