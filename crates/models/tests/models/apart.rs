//! Estimators of which single numbers are further away than the bounds allow for the largest of a case, and why.

use crate::replay::{DOUBLE, Measured, SINGLE};
use std::fmt::Write;

/// Why single numbers are further away in their own units. What differs is the order of additions and the last digit of
/// exponentials and logarithms; how much of a number that is depends on what it is made of.
const REASONS: &[(&str, &[&str])] = &[
    (
        "sums of products: near zero little is left of parts that cancel",
        &[
            "ARDRegression",
            "BayesianRidge",
            "ColumnTransformer",
            "ElasticNet",
            "ElasticNetCV",
            "FastICA",
            "FeatureUnion",
            "GridSearchCV",
            "HuberRegressor",
            "Lars",
            "Lasso",
            "LassoCV",
            "LassoLars",
            "LinearRegression",
            "LinearSVC",
            "LinearSVR",
            "MLPRegressor",
            "MultiTaskLasso",
            "OneVsOneClassifier",
            "OneVsRestClassifier",
            "PCA",
            "PassiveAggressiveClassifier",
            "PassiveAggressiveRegressor",
            "Perceptron",
            "Pipeline",
            "PolynomialFeatures",
            "QuantileRegressor",
            "RANSACRegressor",
            "RFE",
            "RegressorChain",
            "Ridge",
            "RidgeCV",
            "RidgeClassifier",
            "RidgeClassifierCV",
            "SGDClassifier",
            "SGDOneClassSVM",
            "SGDRegressor",
            "SelectFromModel",
            "StackingRegressor",
            "StandardScaler",
            "TheilSenRegressor",
            "TransformedTargetRegressor",
            "TruncatedSVD",
        ],
    ),
    (
        "probabilities near zero: exponentials of sums, and one less a number near one",
        &[
            "BaggingClassifier",
            "CalibratedClassifierCV",
            "FixedThresholdClassifier",
            "GradientBoostingClassifier",
            "LinearDiscriminantAnalysis",
            "LogisticRegression",
            "LogisticRegressionCV",
            "MLPClassifier",
            "StackingClassifier",
            "TfidfVectorizer",
            "TunedThresholdClassifierCV",
            "VotingClassifier",
        ],
    ),
    (
        "exponentials of large logarithms",
        &[
            "BernoulliNB",
            "CategoricalNB",
            "ComplementNB",
            "CountVectorizer MultinomialNB",
            "GaussianMixture",
            "GaussianNB",
            "MultinomialNB",
            "NearestCentroid",
            "QuadraticDiscriminantAnalysis",
            "TfidfVectorizer NearestCentroid",
        ],
    ),
    (
        "an exponential of a sum of products",
        &["GammaRegressor", "PoissonRegressor", "TweedieRegressor"],
    ),
    (
        "distances from products, whose parts cancel",
        &["KMeans Ridge", "KNeighborsClassifier", "KernelRidge"],
    ),
    (
        "a power of a number near one, less one",
        &["PowerTransformer"],
    ),
];

/// The table of docs/models.md. Fails where an estimator has no reason, or needs none.
pub(crate) fn table(measured: &Measured) -> String {
    let reason = |row: &str| {
        let found = REASONS.iter().find(|(_, rows)| rows.contains(&row));
        found.map(|(reason, _)| *reason)
    };
    let (mut out, mut within, mut wrong) = (String::new(), 0, Vec::new());
    for (row, distance) in measured.rows() {
        let far = distance.own.double > DOUBLE || distance.own.single > SINGLE;
        match (far, reason(row)) {
            (false, None) => within += 1,
            (true, Some(reason)) => {
                let shown = |double: f64, single: f64| match single.ceil() {
                    0.0 => format!("{}", double.ceil()),
                    single => format!("{} / {single}", double.ceil()),
                };
                writeln!(
                    out,
                    "| {row} | {} | {} | {reason} |",
                    shown(distance.own.double, distance.own.single),
                    shown(distance.double, distance.single),
                )
                .unwrap();
            }
            (far, _) => wrong.push(format!("{row}: {far}, {:?}", distance.own.double)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let all = within + out.lines().count();
    let head = "| estimator | of itself | of the largest | why |\n|---|---|---|---|";
    format!("\nOf {all} rows {within} are that near in every number.\n\n{head}\n{out}")
}
