//! The same answers as scikit-learn, over all estimators and versions, and the table of docs/models.md.

use crate::apart;
use crate::archive::{Answer, Case, cases};
use models::{Input, Labels, Limits, Output, Precision, Predictor, load};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::path::Path;

/// Units in the last place by which a float may differ, of the largest value that a case has: decisions near zero are
/// sums of large parts that cancel. BLAS chooses the order of additions by processor and shape, and numpy's exponential
/// and logarithm are its own.
pub(crate) const DOUBLE: f64 = 4.0;
pub(crate) const SINGLE: f64 = 2.0;

/// Estimators that are further away, by a word of the case's name. docs/models.md says why.
const FURTHER: &[(&str, f64)] = &[
    // Exponentials of logarithms: a difference in the last place of -1000 is one of 1000 places in what comes out.
    ("NB", 1024.0),
    ("QuadraticDiscriminantAnalysis", 1024.0),
    ("GaussianMixture", 1024.0),
    ("NearestCentroid", 1024.0),
    ("GammaRegressor", 16.0),
    ("PoissonRegressor", 16.0),
    ("TweedieRegressor", 16.0),
    // Sums of many products that cancel.
    ("PolynomialFeatures", 16.0),
    ("FeatureUnion", 16.0),
    ("KernelRidge", 64.0),
    ("KMeans Ridge", 16.0),
];

pub(crate) fn bound(case: &Case, precision: Precision) -> f64 {
    let further = FURTHER.iter().find(|(word, _)| case.name.contains(word));
    match (further, precision) {
        (Some((_, bound)), _) => *bound,
        (None, Precision::Double) => DOUBLE,
        (None, Precision::Single) => SINGLE,
    }
}

/// How far the answers for a case are from scikit-learn's, in units in the last place.
#[derive(Default, Clone, Copy)]
pub(crate) struct Distance {
    pub(crate) double: f64,
    pub(crate) single: f64,
    /// The same, each number measured by itself.
    pub(crate) own: Own,
}

/// In units of each number's own last place.
#[derive(Default, Clone, Copy)]
pub(crate) struct Own {
    pub(crate) double: f64,
    pub(crate) single: f64,
}

impl Distance {
    pub(crate) fn widen(&mut self, other: Self) {
        self.double = self.double.max(other.double);
        self.single = self.single.max(other.single);
        self.own.double = self.own.double.max(other.own.double);
        self.own.single = self.own.single.max(other.own.single);
    }
}

/// By row, then by version: the number of models and the largest distance.
type Table = BTreeMap<String, BTreeMap<String, (usize, Distance)>>;

/// A table of what was measured, filled case by case.
#[derive(Default)]
pub(crate) struct Measured {
    table: Table,
    /// In the order in which they came.
    versions: Vec<String>,
    pub(crate) models: usize,
}

impl Measured {
    /// Each row with the largest distance in any version.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, Distance)> {
        self.table.iter().map(|(row, versions)| {
            let mut worst = Distance::default();
            versions
                .values()
                .for_each(|(_, distance)| worst.widen(*distance));
            (row.as_str(), worst)
        })
    }

    /// Adds a case that was replayed.
    pub(crate) fn enter(&mut self, row: &str, version: &str, distance: Distance) {
        let entry = self.table.entry(row.to_owned()).or_default();
        let (count, worst) = entry.entry(version.to_owned()).or_default();
        *count += 1;
        worst.widen(distance);
        if !self.versions.iter().any(|known| known == version) {
            self.versions.push(version.to_owned());
        }
        self.models += 1;
    }
}

/// What a difference is measured by, and the most that it may be.
#[derive(Clone, Copy)]
struct Scale {
    largest: f64,
    double: f64,
    single: f64,
}

/// How far a model may be off, in numbers of this precision.
pub(crate) type Bound = fn(&Case, Precision) -> f64;

/// The distance of each case, in their order. Fails with all cases that are not answered as expected.
pub(crate) fn replay_all<C: Display>(
    cases: &[C],
    check: impl Fn(&C) -> Result<Distance, String>,
) -> Vec<Distance> {
    let (mut distances, mut failures) = (Vec::new(), Vec::new());
    for case in cases {
        match check(case) {
            Ok(distance) => distances.push(distance),
            Err(error) => failures.push(format!("{case}: {error}")),
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} models failed:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
    distances
}

/// Loads the model of a case and asks it everything that it was asked in Python.
pub(crate) fn replay(case: &Case, bound: Bound) -> Result<(Predictor, Distance), String> {
    let model = load(&case.bytes, &Limits::default()).map_err(|error| error.to_string())?;
    let mut worst = Distance::default();
    for (number, (given, answers)) in case.asked.iter().enumerate() {
        for (method, expected) in answers {
            let place = format!("{method} of input {number}");
            let found =
                ask(&model, method, given.input()).map_err(|error| format!("{place}: {error}"))?;
            let scale = Scale {
                largest: largest(case, method),
                double: bound(case, Precision::Double),
                single: bound(case, Precision::Single),
            };
            compare(&model, expected, &found, scale, &mut worst)
                .map_err(|error| format!("{place}: {error}"))?;
        }
        let methods: Vec<&str> = answers.iter().map(|(method, _)| method.as_str()).collect();
        let probabilities = methods.contains(&"predict_proba");
        if probabilities != model.has_probabilities() {
            return Err(format!("probabilities: {probabilities} expected"));
        }
    }
    Ok((model, worst))
}

#[test]
fn the_corpus_is_answered_as_by_scikit_learn() {
    let cases = cases();
    assert!(cases.len() >= 400, "only {} models", cases.len());
    let distances = replay_all(&cases, |case| {
        let (model, distance) = replay(case, bound)?;
        if model.about().sklearn_version.as_deref() != Some(&case.version) {
            return Err(format!("{:?}", model.about()));
        }
        Ok(distance)
    });
    let mut measured = Measured::default();
    for (case, distance) in cases.iter().zip(distances) {
        measured.enter(row(case), &case.version, distance);
    }
    document("measured", "estimator", &measured);
    if is_recorded() {
        page_has("measured apart", &apart::table(&measured));
    }
}

/// The row of a case: its estimator, or all of its name where something behind the estimator is further away.
fn row(case: &Case) -> &str {
    let further = FURTHER.iter().find(|(word, _)| case.name.contains(word));
    match further {
        Some((word, _)) if !case.kind().contains(word) => &case.name,
        _ => case.kind(),
    }
}

/// The largest finite number that Python answered by that method.
fn largest(case: &Case, method: &str) -> f64 {
    let answers = case.asked.iter().flat_map(|(_, answers)| answers);
    let numbers = answers.filter_map(|(name, answer)| match answer {
        Answer::Numbers(values, ..) if name == method => Some(values),
        _ => None,
    });
    let finite = numbers.flatten().filter(|value| value.is_finite());
    finite.fold(0.0, |largest, value| largest.max(value.abs()))
}

fn ask(model: &Predictor, method: &str, input: Input<'_>) -> Result<Output, String> {
    let found = match method {
        "predict" => model.predict(input),
        "predict_proba" => model.predict_proba(input),
        "decision_function" => {
            let decisions = model.decision_function(input).map_err(|e| e.to_string())?;
            return decisions.ok_or_else(|| "none".to_owned());
        }
        "transform" => model.transform(input).map(|matrix| Output::Table {
            values: matrix.values().to_vec(),
            columns: matrix.columns(),
            precision: matrix.precision(),
        }),
        _ => return Err("an unknown method".to_owned()),
    };
    found.map_err(|error| error.to_string())
}

fn compare(
    model: &Predictor,
    expected: &Answer,
    found: &Output,
    scale: Scale,
    worst: &mut Distance,
) -> Result<(), String> {
    let (expected, shape, precision) = match expected {
        Answer::Labels(expected, dtype, shape) => {
            return labels(model, expected, dtype, shape, found);
        }
        Answer::Numbers(values, shape, precision) => (values, shape, *precision),
    };
    if let Output::Classes(_) | Output::ClassTable { .. } = found {
        let expected: Vec<Value> = expected.iter().map(|value| json!(value)).collect();
        return labels(model, &expected, "float64", shape, found);
    }
    let (found, found_shape, found_precision) = match found {
        Output::Values(values, precision) => (values, vec![values.len()], *precision),
        Output::Table {
            values,
            columns,
            precision,
        } => (
            values,
            vec![values.len() / (*columns).max(1), *columns],
            *precision,
        ),
        Output::Classes(_) | Output::ClassTable { .. } => return Err("classes".to_owned()),
    };
    if *shape != found_shape {
        return Err(format!(
            "the shape {shape:?} expected, {found_shape:?} found"
        ));
    }
    if precision != found_precision {
        return Err(format!(
            "{precision:?} precision expected, {found_precision:?} found"
        ));
    }
    let unit = unit_of(scale.largest, precision);
    let bound = match precision {
        Precision::Double => scale.double,
        Precision::Single => scale.single,
    };
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        if expected.to_bits() == found.to_bits() || (expected.is_nan() && found.is_nan()) {
            continue;
        }
        let distance = if expected == found {
            0.0
        } else {
            (expected - found).abs() / unit
        };
        if distance.is_nan() || distance > bound {
            return Err(format!(
                "{expected} expected at {index}, {found} found, {distance} units"
            ));
        }
        let own = (expected - found).abs() / unit_of(expected.abs().min(found.abs()), precision);
        let (worst, worst_own) = match precision {
            Precision::Double => (&mut worst.double, &mut worst.own.double),
            Precision::Single => (&mut worst.single, &mut worst.own.single),
        };
        *worst = worst.max(distance);
        *worst_own = worst_own.max(own);
    }
    Ok(())
}

/// The last place of a number.
fn unit_of(value: f64, precision: Precision) -> f64 {
    match precision {
        Precision::Double => value.next_up() - value,
        Precision::Single => f64::from((value as f32).next_up() - value as f32),
    }
}

fn labels(
    model: &Predictor,
    expected: &[Value],
    dtype: &str,
    shape: &[usize],
    found: &Output,
) -> Result<(), String> {
    let (found, found_shape) = match found {
        Output::Classes(found) => (found, vec![found.len()]),
        Output::ClassTable { classes, columns } => {
            (classes, vec![classes.len() / columns, *columns])
        }
        _ => return Err(format!("classes expected, {found:?} found")),
    };
    if shape != found_shape {
        return Err(format!(
            "classes of the shape {shape:?} expected, {found_shape:?} found"
        ));
    }
    let classes = model.classes().ok_or("no classes")?;
    let label = |index: &u32| {
        let index = usize::try_from(*index).unwrap();
        match classes {
            Labels::Integers(values, _) => json!(values.get(index)),
            Labels::Floats(values) => json!(values.get(index)),
            Labels::Strings(values) => json!(values.get(index)),
            Labels::Booleans(values) => json!(values.get(index)),
        }
    };
    let found: Vec<Value> = found.iter().map(label).collect();
    if found != expected {
        return Err(format!("{expected:?} expected, {found:?} found"));
    }
    match classes {
        Labels::Integers(_, kind) if format!("{kind:?}").to_lowercase() != dtype => {
            Err(format!("{dtype} expected, {kind:?} found"))
        }
        _ => Ok(()),
    }
}

/// The table of docs/models.md behind a mark.
pub(crate) fn document(mark: &str, what: &str, measured: &Measured) {
    let Measured {
        table,
        versions,
        models,
    } = measured;
    let mut new = format!(
        "\n{models} models.\n\n| {what} | {} |\n|---|",
        versions.join(" | ")
    );
    new.push_str(&"---|".repeat(versions.len()));
    new.push('\n');
    for (row, cells) in table {
        write!(new, "| {row} |").unwrap();
        for version in versions {
            let cell = cells.get(version).map_or("–".to_owned(), |(_, worst)| {
                match (worst.double.ceil(), worst.single.ceil()) {
                    (0.0, 0.0) => "0".to_owned(),
                    (double, 0.0) => format!("{double}"),
                    (double, single) => format!("{double} / {single}"),
                }
            });
            write!(new, " {cell} |").unwrap();
        }
        new.push('\n');
    }
    page_has(mark, &new);
}

/// Whether the archives are the recorded ones.
fn is_recorded() -> bool {
    std::env::var_os("SIDEGATE_ARCHIVES").is_none()
}

/// Compares what docs/models.md has behind a mark with what was measured, or writes it where `UPDATE_MODELS_TABLE` is set.
/// The page is about the recorded archives, and no others.
pub(crate) fn page_has(mark: &str, measured: &str) {
    if !is_recorded() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/models.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {mark} -->\n"), "\n<!-- end -->");
    let (head, rest) = text.split_once(&begin).unwrap();
    let (old, tail) = rest.split_once(end).unwrap();
    if std::env::var_os("UPDATE_MODELS_TABLE").is_some() {
        std::fs::write(&path, format!("{head}{begin}{measured}{end}{tail}")).unwrap();
    } else {
        assert_eq!(
            old, measured,
            "docs/models.md is not what was measured: set UPDATE_MODELS_TABLE and run this test again"
        );
    }
}
