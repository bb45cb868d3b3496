//! `KNeighborsClassifier`, `KNeighborsRegressor`, `NearestCentroid`, and the clusters of `KMeans`.

use super::member::largest;
use super::part::Part;
use crate::data::{Data, Intake};
use crate::flow::{Fitted, Grid, Predict, Step, Transform};
use crate::kernels::{Metric, log_sum_exp, normalise, sum};
use crate::labels::{IntegerType, Labels};
use crate::pickle::Node;
use crate::predictor::Output;
use crate::{InputError, LoadError, Precision};

/// The rows that were fitted, and how the nearest are found and weighed.
#[derive(Debug)]
struct Neighbours {
    intake: Intake,
    rows: Vec<f64>,
    features: usize,
    count: usize,
    metric: Metric,
    /// Whether near rows count more than far ones.
    by_distance: bool,
}

fn neighbours(part: &Part<'_, '_>) -> Result<Neighbours, LoadError> {
    let (rows, features) = part.matrix("_fit_X")?;
    let graph = part.graph();
    let parameters = "effective_metric_params_";
    let p = match part.set(parameters).map(|id| graph.node(id)) {
        Some(Node::Dict(items)) => {
            let p = graph.entry(items, "p").and_then(|id| graph.float(id));
            if items.len() / 2 > usize::from(p.is_some()) {
                return Err(part.setting(format!("`{parameters}` other than `p`")));
            }
            p
        }
        _ => None,
    };
    let metric = part
        .text("effective_metric_")
        .and_then(|name| Metric::find(name, p));
    let metric = match metric.ok_or_else(|| part.unknown("effective_metric_"))? {
        Metric::Euclidean if part.text("_fit_method") == Some("brute") => {
            Metric::EuclideanByProduct
        }
        metric => metric,
    };
    let count = part
        .count("n_neighbors")
        .filter(|count| *count > 0 && *count <= rows.len() / features)
        .ok_or_else(|| part.damaged("expected `n_neighbors` among the fitted rows"))?;
    let by_distance = match part.text("weights") {
        Some("uniform") => false,
        Some("distance") => true,
        _ => return Err(part.unknown("weights")),
    };
    Ok(Neighbours {
        intake: part.intake(),
        rows,
        features,
        count,
        metric,
        by_distance,
    })
}

impl Neighbours {
    /// The nearest fitted rows with their weights, nearest first.
    fn nearest(&self, row: &[f64], all: &mut Vec<(f64, usize)>) {
        all.clear();
        let fitted = self.rows.chunks_exact(self.features).enumerate();
        all.extend(fitted.map(|(index, fitted)| (self.metric.between(row, fitted), index)));
        let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if self.count < all.len() {
            all.select_nth_unstable_by(self.count - 1, order);
            all.truncate(self.count);
        }
        all.sort_unstable_by(order);
        if !self.by_distance {
            all.iter_mut().for_each(|(weight, _)| *weight = 1.0);
        } else if all
            .iter()
            .any(|(distance, _)| 1.0 / *distance == f64::INFINITY)
        {
            // Those at the same place have all the weight.
            all.iter_mut().for_each(|(distance, _)| {
                *distance = f64::from(u8::from(1.0 / *distance == f64::INFINITY));
            });
        } else {
            all.iter_mut()
                .for_each(|(distance, _)| *distance = 1.0 / *distance);
        }
    }
}

pub(super) fn read_classifier(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    if part.truth("outputs_2d_") == Some(true) {
        return Err(part.setting("several outputs"));
    }
    let classes = part.labels()?;
    let neighbours = neighbours(part)?;
    let labels = part.indices_at(part.required("_y")?, "_y", classes.len())?;
    if labels.len() != neighbours.rows.len() / neighbours.features {
        return Err(part.damaged("expected a class for each fitted row"));
    }
    let features = neighbours.features;
    let model = Classifier {
        neighbours,
        labels,
        classes: classes.len(),
    };
    Ok(Fitted::new(model, Some(features), Some(classes)))
}

#[derive(Debug)]
struct Classifier {
    neighbours: Neighbours,
    labels: Vec<usize>,
    classes: usize,
}

impl Classifier {
    fn votes(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let rows = self.neighbours.intake.numbers(data)?;
        let mut out = Vec::with_capacity(rows.count() * self.classes);
        let mut all = Vec::new();
        rows.each(|row| {
            let start = out.len();
            out.resize(start + self.classes, 0.0);
            self.neighbours.nearest(row, &mut all);
            for (weight, index) in &all {
                let label = self.labels.get(*index).copied().unwrap_or(0);
                if let Some(votes) = out.get_mut(start + label) {
                    *votes += weight;
                }
            }
        });
        Ok(Grid::double(out, self.classes))
    }
}

impl Predict for Classifier {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        Ok(largest(&self.votes(data)?))
    }

    fn has_probabilities(&self) -> bool {
        true
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let mut votes = self.votes(data)?;
        votes
            .values
            .chunks_exact_mut(self.classes)
            .for_each(normalise);
        Ok(votes)
    }
}

pub(super) fn read_regressor(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let neighbours = neighbours(part)?;
    let count = neighbours.rows.len() / neighbours.features;
    let (outputs, flat) = match part.array("_y")?.shape.as_slice() {
        [rows] if *rows == count => (1, true),
        [rows, outputs] if *rows == count && *outputs > 0 => (*outputs, false),
        _ => return Err(part.damaged("expected values for each fitted row in `_y`")),
    };
    let features = neighbours.features;
    let model = Regressor {
        neighbours,
        values: part.vector("_y", count * outputs)?,
        outputs,
        flat,
    };
    Ok(Fitted::new(model, Some(features), None))
}

#[derive(Debug)]
struct Regressor {
    neighbours: Neighbours,
    /// `outputs` for each fitted row.
    values: Vec<f64>,
    outputs: usize,
    flat: bool,
}

impl Predict for Regressor {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let rows = self.neighbours.intake.numbers(data)?;
        let mut out = Vec::with_capacity(rows.count() * self.outputs);
        let (mut all, mut terms) = (Vec::new(), Vec::new());
        rows.each(|row| {
            self.neighbours.nearest(row, &mut all);
            let weights: Vec<f64> = all.iter().map(|(weight, _)| *weight).collect();
            for output in 0..self.outputs {
                terms.clear();
                terms.extend(all.iter().map(|(weight, index)| {
                    let value = self.values.get(index * self.outputs + output);
                    value.copied().unwrap_or(f64::NAN) * weight
                }));
                out.push(if self.neighbours.by_distance {
                    sum(&terms) / sum(&weights)
                } else {
                    // numpy's mean along the middle of three axes adds in turn.
                    terms.iter().fold(0.0, |sum, term| sum + term) / terms.len() as f64
                });
            }
        });
        Ok(if self.flat {
            Output::Values(out, Precision::Double)
        } else {
            Grid::double(out, self.outputs).into()
        })
    }
}

/// `KMeans` and `MiniBatchKMeans`: the number of the nearest center.
pub(super) fn read_clusters(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let (centers, features) = part.matrix("cluster_centers_")?;
    let count = centers.len() / features;
    let numbers = (0..i64::try_from(count).unwrap_or(0)).collect();
    let model = Centers {
        intake: part.intake(),
        centers,
        features,
        metric: Metric::EuclideanByProduct,
        discriminant: None,
    };
    let labels = Labels::Integers(numbers, IntegerType::Int32);
    Ok(Fitted::new(model, Some(features), Some(labels)))
}

/// `KMeans` before other estimators: the distance from each center.
pub(super) fn read_distances(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    let (centers, features) = part.matrix("cluster_centers_")?;
    let gives = centers.len() / features;
    let step = Distances {
        intake: part.intake(),
        centers,
        features,
    };
    Ok(Step::new(step, Some(features), Some(gives)))
}

#[derive(Debug)]
struct Distances {
    intake: Intake,
    centers: Vec<f64>,
    features: usize,
}

impl Transform for Distances {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let rows = self.intake.numbers(data)?;
        let columns = self.centers.len() / self.features;
        let matrix = rows.map(columns, Precision::Double, |row, out| {
            let centers = self.centers.chunks_exact(self.features);
            out.extend(centers.map(|center| Metric::EuclideanByProduct.between(row, center)));
        })?;
        Ok(matrix.into())
    }
}

pub(super) fn read_centroid(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = part.labels()?;
    let (centers, features) = part.matrix("centroids_")?;
    if centers.len() != classes.len() * features {
        return Err(part.damaged("expected a centroid for each class"));
    }
    let metric = part
        .text("metric")
        .and_then(|name| Metric::find(name, None));
    let metric = match metric.ok_or_else(|| part.unknown("metric"))? {
        Metric::Euclidean => Metric::EuclideanByProduct,
        metric => metric,
    };
    // Since 1.6 it also is a discriminant analysis.
    let discriminant = match part.set("within_class_std_dev_") {
        Some(_) if metric == Metric::EuclideanByProduct => Some(Discriminant {
            deviations: part.vector("within_class_std_dev_", features)?,
            priors: part.vector("class_prior_", classes.len())?,
        }),
        _ => None,
    };
    if discriminant.as_ref().is_some_and(|d| !d.is_even()) {
        return Err(part.setting("`priors` that differ"));
    }
    let model = Centers {
        intake: part.intake(),
        centers,
        features,
        metric,
        discriminant,
    };
    Ok(Fitted::new(model, Some(features), Some(classes)))
}

#[derive(Debug)]
struct Discriminant {
    deviations: Vec<f64>,
    priors: Vec<f64>,
}

impl Discriminant {
    /// Whether all classes are equally likely, so that the nearest centroid decides.
    fn is_even(&self) -> bool {
        let share = 1.0 / self.priors.len() as f64;
        let close = |prior: &f64| (prior - share).abs() <= 1e-8 + 1e-5 * share;
        self.priors.iter().all(close)
    }
}

#[derive(Debug)]
struct Centers {
    intake: Intake,
    centers: Vec<f64>,
    features: usize,
    metric: Metric,
    discriminant: Option<Discriminant>,
}

impl Centers {
    fn scores(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let rows = self.intake.numbers(data)?;
        let classes = self.centers.len() / self.features;
        let Some(discriminant) = &self.discriminant else {
            return Err(InputError::NoPrediction);
        };
        let scaled = |row: &[f64]| -> Vec<f64> {
            let pairs = row.iter().zip(&discriminant.deviations);
            pairs
                .map(|(value, deviation)| {
                    if *deviation == 0.0 {
                        *value
                    } else {
                        value / deviation
                    }
                })
                .collect()
        };
        let centers: Vec<Vec<f64>> = self
            .centers
            .chunks_exact(self.features)
            .map(scaled)
            .collect();
        let mut out = Vec::with_capacity(rows.count() * classes);
        rows.each(|row| {
            let row = scaled(row);
            for (center, prior) in centers.iter().zip(&discriminant.priors) {
                let distance = self.metric.between(&row, center);
                out.push(-(distance * distance) + 2.0 * prior.ln());
            }
        });
        Ok(Grid::double(out, classes))
    }
}

impl Predict for Centers {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let rows = self.intake.numbers(data)?;
        let mut out = Vec::with_capacity(rows.count());
        rows.each(|row| {
            let centers = self.centers.chunks_exact(self.features);
            let near = centers.map(|center| -self.metric.between(row, center));
            out.push(crate::kernels::argmax(near));
        });
        Ok(Output::Classes(out))
    }

    fn has_probabilities(&self) -> bool {
        self.discriminant.is_some()
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let mut scores = self.scores(data)?;
        posterior(&mut scores);
        Ok(scores)
    }

    fn has_decisions(&self) -> bool {
        self.discriminant.is_some()
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        Ok(ratio(self.scores(data)?))
    }
}

/// The scores of a discriminant analysis as probabilities.
pub(super) fn posterior(scores: &mut Grid) {
    for row in scores.values.chunks_exact_mut(scores.columns.max(1)) {
        let total = log_sum_exp(row);
        row.iter_mut()
            .for_each(|value| *value = (*value - total).exp());
    }
}

/// Scores as decisions: of two, how much larger the second is.
pub(super) fn ratio(scores: Grid) -> Grid {
    if scores.columns != 2 {
        return scores;
    }
    let (pairs, _) = scores.values.as_chunks::<2>();
    Grid::double(pairs.iter().map(|[a, b]| b - a).collect(), 1)
}
