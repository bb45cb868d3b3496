//! `CalibratedClassifierCV`: decisions of classifiers made probabilities.

use super::part::Part;
use super::predicting;
use crate::data::Data;
use crate::flow::{Fitted, Flow, Grid, Predict};
use crate::kernels::{expit, interpolate, normalise};
use crate::labels::Labels;
use crate::predictor::Output;
use crate::{InputError, LoadError, Precision};

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = part.labels()?;
    let list = part.list("calibrated_classifiers_")?;
    let mut members = Vec::new();
    for (index, id) in list.iter().enumerate() {
        let inner = part.inner(*id, &format!("calibrated_classifiers_[{index}]"))?;
        members.push(member(&inner, &classes)?);
    }
    if members.is_empty() {
        return Err(part.damaged("expected at least one of `calibrated_classifiers_`"));
    }
    let model = Calibrated {
        members,
        classes: classes.len(),
    };
    Ok(Fitted::new(model, part.features(), Some(classes)))
}

/// A `_CalibratedClassifier`.
fn member(part: &Part<'_, '_>, classes: &Labels) -> Result<Member, LoadError> {
    let name = match part.set("estimator") {
        Some(_) => "estimator",
        None => "base_estimator",
    };
    let flow = predicting(&part.part(name)?)?;
    let places: Option<Vec<usize>> = flow.classes().and_then(|inner| {
        (0..inner.len())
            .map(|index| classes.position(inner, index))
            .collect()
    });
    let Some(places) = places.filter(|_| flow.has_decisions() || flow.has_probabilities()) else {
        return Err(part.damaged("expected a classifier of the classes around it"));
    };
    let list = match part.attribute("calibrators") {
        Some(_) => "calibrators",
        None => "calibrators_",
    };
    let mut curves = Vec::new();
    for (index, id) in part.list(list)?.iter().enumerate() {
        curves.push(curve(&part.inner(*id, &format!("{list}[{index}]"))?)?);
    }
    let columns = if places.len() == 2 { 1 } else { places.len() };
    if classes.len() < 2 || curves.len() != columns {
        return Err(part.damaged(format!("expected {columns} in `{list}`")));
    }
    Ok(Member {
        flow,
        places,
        curves,
    })
}

fn curve(part: &Part<'_, '_>) -> Result<Curve, LoadError> {
    match part.name() {
        "_SigmoidCalibration" => Ok(Curve::Sigmoid(part.scalar("a_")?, part.scalar("b_")?)),
        "IsotonicRegression" => {
            let name = match part.attribute("X_thresholds_") {
                Some(_) => ["X_thresholds_", "y_thresholds_"],
                None => ["_necessary_X_", "_necessary_y_"],
            };
            let [x, y] = name;
            let count = part.array(x)?.count();
            let (x, y) = (part.vector(x, count)?, part.vector(y, count)?);
            if x.is_empty() || !x.is_sorted() {
                return Err(part.damaged("expected growing thresholds"));
            }
            let single = part.precision(name[0]) == Precision::Single;
            match part.text("out_of_bounds") {
                Some("clip") if single => Ok(Curve::SingleSteps(x, y)),
                Some("clip") => Ok(Curve::Steps(x, y)),
                _ => Err(part.unknown("out_of_bounds")),
            }
        }
        _ => Err(part.unsupported()),
    }
}

#[derive(Debug)]
enum Curve {
    Sigmoid(f64, f64),
    Steps(Vec<f64>, Vec<f64>),
    /// Of single precision, in which scipy interpolates itself.
    SingleSteps(Vec<f64>, Vec<f64>),
}

impl Curve {
    fn at(&self, value: f64) -> f64 {
        match self {
            Self::Sigmoid(a, b) => expit(-(a * value + b)),
            Self::Steps(x, y) => interpolate(value, x, y),
            Self::SingleSteps(x, y) => interpolate_single(value, x, y),
        }
    }
}

/// scipy's `interp1d` of single precision, of a value that is brought between the ends first.
fn interpolate_single(value: f64, x: &[f64], y: &[f64]) -> f64 {
    let (Some(first), Some(last)) = (x.first(), x.last()) else {
        return f64::NAN;
    };
    let value = (value as f32).max(*first as f32).min(*last as f32);
    let above = x.partition_point(|x| *x < f64::from(value));
    let high = above.clamp(1, x.len().saturating_sub(1).max(1));
    let at =
        |values: &[f64], index: usize| values.get(index).map_or(f32::NAN, |value| *value as f32);
    if x.len() == 1 {
        return f64::from(at(y, 0));
    }
    let (x0, x1, y0, y1) = (at(x, high - 1), at(x, high), at(y, high - 1), at(y, high));
    let slope = (y1 - y0) / (x1 - x0);
    f64::from(slope * (value - x0) + y0)
}

#[derive(Debug)]
struct Member {
    flow: Flow,
    /// The class of each of its classes.
    places: Vec<usize>,
    curves: Vec<Curve>,
}

impl Member {
    fn probabilities(&self, data: Data<'_>, classes: usize) -> Result<Grid, InputError> {
        let decisions = if self.flow.has_decisions() {
            self.flow.decisions(data)?.ok_or(InputError::NoPrediction)?
        } else {
            self.flow.probabilities(data)?
        };
        let mut out = Vec::new();
        for row in decisions.rows() {
            let start = out.len();
            out.resize(start + classes, 0.0);
            let cells = out.get_mut(start..).unwrap_or_default();
            // For two classes only what speaks for the second is calibrated.
            let row = match (classes, row) {
                (2, [_, second]) => std::slice::from_ref(second),
                _ => row,
            };
            for ((value, curve), place) in row.iter().zip(&self.curves).zip(&self.places) {
                let place = if classes == 2 { place + 1 } else { *place };
                if let Some(cell) = cells.get_mut(place) {
                    *cell = curve.at(*value);
                }
            }
            match &mut *cells {
                [first, second] => *first = 1.0 - *second,
                cells if cells.iter().all(|value| *value == 0.0) => {
                    let share = 1.0 / classes as f64;
                    cells.fill(share);
                }
                cells => normalise(cells),
            }
            // scikit-learn takes back what rounding adds to one.
            for cell in cells {
                if *cell > 1.0 && *cell <= 1.0 + 1e-5 {
                    *cell = 1.0;
                }
            }
        }
        Ok(Grid::double(out, classes))
    }
}

#[derive(Debug)]
struct Calibrated {
    members: Vec<Member>,
    classes: usize,
}

impl Predict for Calibrated {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        Ok(super::member::largest(&self.probabilities(data)?))
    }

    fn has_probabilities(&self) -> bool {
        true
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let mut sums = vec![0.0; data.rows() * self.classes];
        for member in &self.members {
            let values = member.probabilities(data.by_ref(), self.classes)?;
            for (sum, value) in sums.iter_mut().zip(&values.values) {
                *sum += value;
            }
        }
        let count = self.members.len() as f64;
        sums.iter_mut().for_each(|sum| *sum /= count);
        Ok(Grid::double(sums, self.classes))
    }
}
