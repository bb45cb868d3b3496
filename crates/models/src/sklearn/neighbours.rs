//! `KNeighborsClassifier`, `KNeighborsRegressor`, `NearestCentroid`, and the clusters of `KMeans`.

use super::member::largest;
use super::part::Part;
use super::several::Outputs;
use crate::data::{DENSE_LIMIT, Data, Intake};
use crate::flow::{Fitted, Grid, Predict, Step, Transform};
use crate::kernels::{Metric, Points, argmax, log_sum_exp, normalise, sum};
use crate::labels::{IntegerType, Labels};
use crate::pickle::Node;
use crate::predictor::Output;
use crate::{InputError, LoadError, Precision};

/// The rows that were fitted, and how the nearest are found and weighed.
#[derive(Debug)]
struct Neighbours {
    intake: Intake,
    rows: Points,
    count: usize,
    /// Whether near rows count more than far ones.
    by_distance: bool,
}

/// Neighbours up to which they are kept in order while distances are looked through.
const FEW: usize = 32;

/// Buffers that rows share.
#[derive(Debug, Default)]
struct Nearest {
    distances: Vec<f64>,
    all: Vec<(f64, usize)>,
}

fn neighbours(part: &Part<'_, '_>) -> Result<Neighbours, LoadError> {
    let rows = part.any_matrix("_fit_X")?;
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
    let rows = rows.into_points(metric);
    let count = part
        .count("n_neighbors")
        .filter(|count| *count > 0 && *count <= rows.count())
        .ok_or_else(|| part.damaged("expected `n_neighbors` among the fitted rows"))?;
    let by_distance = match part.text("weights") {
        Some("uniform") => false,
        Some("distance") => true,
        _ => return Err(part.unknown("weights")),
    };
    Ok(Neighbours {
        intake: part.intake(),
        rows,
        count,
        by_distance,
    })
}

impl Neighbours {
    /// The nearest fitted rows with their weights, nearest first; of those as far the first.
    fn nearest(&self, row: &[f64], work: &mut Nearest) {
        let Nearest { distances, all } = work;
        self.rows.distances(row, distances);
        all.clear();
        let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        let numbered = distances
            .iter()
            .zip(0..)
            .map(|(distance, index)| (*distance, index));
        if self.count <= FEW {
            let mut farthest = f64::NAN;
            for near in numbered {
                if all.len() == self.count {
                    if near.0.total_cmp(&farthest).is_ge() {
                        continue;
                    }
                    all.pop();
                }
                let place = all.partition_point(|other| order(other, &near).is_lt());
                all.insert(place, near);
                farthest = all.last().map_or(f64::NAN, |(distance, _)| *distance);
            }
        } else {
            all.extend(numbered);
            if self.count < all.len() {
                all.select_nth_unstable_by(self.count - 1, order);
                all.truncate(self.count);
            }
            all.sort_unstable_by(order);
        }
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
    let (several, classes, width) = match part.truth("outputs_2d_") {
        Some(true) => {
            let found = Outputs::find(part)?;
            let (outputs, classes) = found.ok_or_else(|| part.unknown("classes_"))?;
            let most = outputs.sizes().max().unwrap_or(0);
            (Some(outputs), classes, most)
        }
        _ => {
            let classes = part.labels()?;
            let count = classes.len();
            (None, classes, count)
        }
    };
    let neighbours = neighbours(part)?;
    let labels = part.indices_at(part.required("_y")?, "_y", width)?;
    let outputs = several.as_ref().map_or(1, Outputs::count);
    if Some(labels.len()) != neighbours.rows.count().checked_mul(outputs) {
        return Err(part.damaged("expected a class for each fitted row"));
    }
    let features = neighbours.rows.length();
    let model = Classifier {
        neighbours,
        labels,
        classes: width,
        outputs,
        several,
    };
    Ok(Fitted::new(model, Some(features), Some(classes)))
}

#[derive(Debug)]
struct Classifier {
    neighbours: Neighbours,
    /// For each fitted row one of each output.
    labels: Vec<usize>,
    /// The most classes that an output has.
    classes: usize,
    outputs: usize,
    several: Option<Outputs>,
}

impl Classifier {
    /// The votes for each class, output after output.
    fn votes(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let rows = self.neighbours.intake.numbers(data)?;
        let columns = self.outputs.saturating_mul(self.classes);
        let count = rows.count().saturating_mul(columns);
        if count > DENSE_LIMIT {
            return Err(InputError::TooLarge);
        }
        let mut out = Vec::with_capacity(count);
        let mut work = Nearest::default();
        rows.each(|row| {
            let start = out.len();
            out.resize(start + columns, 0.0);
            self.neighbours.nearest(row, &mut work);
            let all = out.get_mut(start..).unwrap_or_default();
            for (weight, index) in &work.all {
                let labels = self.labels.get(index * self.outputs..).unwrap_or_default();
                let votes = all.chunks_exact_mut(self.classes.max(1));
                for (votes, label) in votes.zip(labels) {
                    if let Some(votes) = votes.get_mut(*label) {
                        *votes += weight;
                    }
                }
            }
        });
        Ok(Grid::double(out, columns))
    }
}

impl Predict for Classifier {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let votes = self.votes(data)?;
        Ok(match &self.several {
            None => largest(&votes),
            Some(outputs) => {
                let mut classes = Vec::new();
                for row in votes.rows() {
                    outputs.choose(row, self.classes, &mut classes);
                }
                outputs.table(classes)
            }
        })
    }

    /// Of several outputs they are one table for each, which no server has an answer for.
    fn has_probabilities(&self) -> bool {
        self.several.is_none()
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
    let count = neighbours.rows.count();
    let (outputs, flat) = match part.array("_y")?.shape.as_slice() {
        [rows] if *rows == count => (1, true),
        [rows, outputs] if *rows == count && *outputs > 0 => (*outputs, false),
        _ => return Err(part.damaged("expected values for each fitted row in `_y`")),
    };
    let features = neighbours.rows.length();
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
        let (mut work, mut terms) = (Nearest::default(), Vec::new());
        rows.each(|row| {
            self.neighbours.nearest(row, &mut work);
            let all = &work.all;
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
        points: Points::new(centers, features, Metric::EuclideanByProduct),
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
        centers: Points::new(centers, features, Metric::EuclideanByProduct),
    };
    Ok(Step::new(step, Some(features), Some(gives)))
}

#[derive(Debug)]
struct Distances {
    intake: Intake,
    centers: Points,
}

impl Transform for Distances {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let rows = self.intake.numbers(data)?;
        let mut distances = Vec::new();
        let matrix = rows.map(self.centers.count(), Precision::Double, |row, out| {
            self.centers.distances(row, &mut distances);
            out.extend_from_slice(&distances);
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
        Some(_) if metric == Metric::EuclideanByProduct => {
            let deviations = part.vector("within_class_std_dev_", features)?;
            let priors = part.vector("class_prior_", classes.len())?;
            Some(Discriminant::new(deviations, priors, &centers))
        }
        _ => None,
    };
    if discriminant.as_ref().is_some_and(|d| !d.is_even()) {
        return Err(part.setting("`priors` that differ"));
    }
    let model = Centers {
        intake: part.intake(),
        points: Points::new(centers, features, metric),
        discriminant,
    };
    Ok(Fitted::new(model, Some(features), Some(classes)))
}

#[derive(Debug)]
struct Discriminant {
    deviations: Vec<f64>,
    priors: Vec<f64>,
    /// The centroids, divided by the deviations.
    centers: Points,
}

impl Discriminant {
    fn new(deviations: Vec<f64>, priors: Vec<f64>, centers: &[f64]) -> Self {
        let features = deviations.len();
        let rows = centers.chunks_exact(features.max(1));
        let centers = rows.flat_map(|row| scaled(row, &deviations)).collect();
        Self {
            centers: Points::new(centers, features, Metric::EuclideanByProduct),
            deviations,
            priors,
        }
    }

    /// Whether all classes are equally likely, so that the nearest centroid decides.
    fn is_even(&self) -> bool {
        let share = 1.0 / self.priors.len() as f64;
        let close = |prior: &f64| (prior - share).abs() <= 1e-8 + 1e-5 * share;
        self.priors.iter().all(close)
    }
}

/// Values divided by deviations, but those by zero.
fn scaled<'s>(row: &'s [f64], deviations: &'s [f64]) -> impl Iterator<Item = f64> + 's {
    let pairs = row.iter().zip(deviations);
    pairs.map(|(value, deviation)| match *deviation {
        0.0 => *value,
        deviation => value / deviation,
    })
}

#[derive(Debug)]
struct Centers {
    intake: Intake,
    points: Points,
    discriminant: Option<Discriminant>,
}

impl Centers {
    fn scores(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let rows = self.intake.numbers(data)?;
        let classes = self.points.count();
        let Some(discriminant) = &self.discriminant else {
            return Err(InputError::NoPrediction);
        };
        let mut out = Vec::with_capacity(rows.count() * classes);
        let (mut given, mut distances) = (Vec::new(), Vec::new());
        rows.each(|row| {
            given.clear();
            given.extend(scaled(row, &discriminant.deviations));
            discriminant.centers.distances(&given, &mut distances);
            for (distance, prior) in distances.iter().zip(&discriminant.priors) {
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
        let mut distances = Vec::new();
        rows.each(|row| {
            self.points.distances(row, &mut distances);
            out.push(argmax(distances.iter().map(|distance| -distance)));
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
