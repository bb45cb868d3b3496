//! LightGBM's models, of its text files (`src/io/tree.cpp`, `src/boosting/gbdt_model_text.cpp` in its sources).

mod categories;
mod objective;
mod text;

use crate::data::{Data, Intake};
use crate::flow::{Grid, Predict};
use crate::kernels::{Cut, Fork, Question, Walk, Work};
use crate::predictor::Output;
use crate::{InputError, Limits, Precision};
use categories::Categories;
use objective::Objective;
use text::{Lines, Section};

/// A model that was validated.
#[derive(Debug, Clone)]
pub(crate) struct Lightgbm {
    feature_names: Vec<String>,
    trees: Walk,
    /// The values of leaves by number.
    leaves: Vec<f64>,
    /// What leaves of linear trees have beside their values, by number; empty if no tree is linear.
    lines: Vec<Option<Line>>,
    terms: Vec<Term>,
    /// Tree `i` adds to output `i % outputs`.
    outputs: usize,
    /// Whether the answer is the mean of the trees (random forests).
    average: bool,
    objective: Objective,
    categories: Categories,
}

/// A constant and terms that count unless one of their values is missing.
#[derive(Debug, Clone, Copy)]
struct Line {
    constant: f64,
    start: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy)]
struct Term {
    feature: u32,
    coefficient: f64,
}

/// Outputs of a model.
const OUTPUTS: usize = 1 << 16;
/// What is as good as zero (`kZeroThreshold`, a number of single precision).
const ZERO: f64 = 1e-35_f32 as f64;
/// Bits of a decision.
const CATEGORICAL: u8 = 1;
const DEFAULT_LEFT: u8 = 2;

/// # Errors
/// What is damaged or not supported, and the line.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Lightgbm, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "text is not UTF-8")?;
    let mut lines = Lines::new(text);
    model(&mut lines, limits).map_err(|what| format!("{what} at line {}", lines.number))
}

fn model(lines: &mut Lines<'_>, limits: &Limits) -> Result<Lightgbm, String> {
    lines.next();
    let header = lines.section(&["average_output"])?;
    match header.at("version")? {
        "v2" | "v3" | "v4" => {}
        _ => return Err("a version other than v2, v3 and v4".to_owned()),
    }
    let outputs = header.whole("num_tree_per_iteration")?;
    if !(1..=OUTPUTS).contains(&outputs) || header.whole("num_class")? != outputs {
        return Err("expected a tree for each class in `num_tree_per_iteration`".to_owned());
    }
    let names = header.at("feature_names")?.split(' ');
    let feature_names: Vec<String> = names.map(str::to_owned).collect();
    let features = feature_names.len();
    if features > limits.objects {
        return Err("more features than the limit of objects".to_owned());
    }
    if header.whole("max_feature_idx")?.checked_add(1) != Some(features) {
        return Err("expected a name for each feature".to_owned());
    }
    let mut model = Lightgbm {
        feature_names,
        trees: Walk::double(features, Cut::Whole),
        leaves: Vec::new(),
        lines: Vec::new(),
        terms: Vec::new(),
        outputs,
        average: header.find("average_output").is_some(),
        objective: Objective::read(header.find("objective"), outputs)?,
        categories: Categories::default(),
    };
    let sizes = header.at("tree_sizes")?.split_ascii_whitespace();
    let count = sizes.count();
    if count % outputs != 0 {
        return Err("expected as many trees for each class".to_owned());
    }
    for index in 0..count {
        if lines.next_filled() != Some(format!("Tree={index}").as_str()) {
            return Err(format!("expected tree {index} of {count}"));
        }
        let tree = lines.section(&[])?;
        model
            .add(&tree)
            .map_err(|what| format!("tree {index}: {what}"))?;
        if model.bytes() > limits.compiled_bytes {
            return Err("more than the limit of compiled bytes".to_owned());
        }
    }
    if lines.next_filled() != Some("end of trees") {
        return Err("expected the end of the trees".to_owned());
    }
    model.trees.finish();
    let rest = std::iter::from_fn(|| lines.next());
    model.categories = Categories::read(rest, features, limits)?;
    Ok(model)
}

impl Lightgbm {
    /// Bytes that the model takes.
    pub(crate) fn bytes(&self) -> usize {
        let leaves = self.leaves.len().saturating_mul(size_of::<f64>());
        let lines = self.lines.len().saturating_mul(size_of::<Option<Line>>());
        let terms = self.terms.len().saturating_mul(size_of::<Term>());
        self.trees
            .bytes()
            .saturating_add(leaves)
            .saturating_add(lines)
            .saturating_add(terms)
    }

    fn add(&mut self, tree: &Section<'_>) -> Result<(), String> {
        let leaves = tree.whole("num_leaves")?;
        let forks = leaves.checked_sub(1).ok_or("a tree without leaves")?;
        let first = u32::try_from(self.leaves.len()).ok();
        let first = first
            .filter(|first| u32::try_from(leaves).is_ok_and(|n| first.checked_add(n).is_some()));
        let first = first.ok_or("more leaves than are supported")?;
        let values: Vec<f64> = tree.numbers("leaf_value", leaves)?;
        if let Some(lines) = self.lines(tree, leaves)? {
            // Trees before it were not linear.
            self.lines.resize(self.leaves.len(), None);
            self.lines.extend(lines);
        }
        self.leaves.extend(values);
        let forks = Forks::read(tree, forks)?;
        let mut words_left = forks.words.len();
        self.trees.add(forks.features.len() + leaves, |index| {
            match index.checked_sub(forks.features.len()) {
                Some(leaf) => {
                    let number = u32::try_from(leaf).map_err(|_| "no such leaf")?;
                    Ok(Fork::Leaf {
                        number: first + number,
                    })
                }
                None => forks.fork(index, &mut words_left),
            }
        })
    }

    /// The linear models of the leaves of a tree, if it has any.
    fn lines(
        &mut self,
        tree: &Section<'_>,
        leaves: usize,
    ) -> Result<Option<Vec<Option<Line>>>, String> {
        let linear = tree
            .find("is_linear")
            .map_or(Ok(0), |_| tree.whole("is_linear"))?;
        if linear == 0 {
            return Ok(None);
        }
        let constants: Vec<f64> = tree.numbers("leaf_const", leaves)?;
        let counts: Vec<usize> = tree.numbers("num_features", leaves)?;
        let sum = |sum: usize, count: &usize| sum.checked_add(*count);
        let total = counts.iter().try_fold(0, sum);
        let total = total.ok_or("more terms than are supported")?;
        let columns: Vec<u32> = tree.numbers("leaf_features", total)?;
        let coefficients: Vec<f64> = tree.numbers("leaf_coeff", total)?;
        let known = |column: &u32| {
            usize::try_from(*column).is_ok_and(|column| column < self.feature_names.len())
        };
        if !columns.iter().all(known) {
            return Err("a leaf looks at a feature that does not exist".to_owned());
        }
        let place = |index: usize| {
            u32::try_from(index).map_err(|_| "more terms than are supported".to_owned())
        };
        let mut start = self.terms.len();
        let term = |(feature, coefficient)| Term {
            feature,
            coefficient,
        };
        self.terms
            .extend(columns.into_iter().zip(coefficients).map(term));
        let mut lines = Vec::with_capacity(leaves);
        for (constant, count) in constants.into_iter().zip(counts) {
            let end = start + count;
            lines.push(Some(Line {
                constant,
                start: place(start)?,
                end: place(end)?,
            }));
            start = end;
        }
        Ok(Some(lines))
    }

    pub(crate) fn features(&self) -> usize {
        self.feature_names.len()
    }

    /// The names of the columns; those of arrays are `Column_0`, `Column_1`, ….
    pub(crate) fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Leaves out the trees behind the first `count` rounds.
    pub(crate) fn keep_rounds(&mut self, count: usize) {
        self.trees.truncate(count.saturating_mul(self.outputs));
    }

    /// `Booster.predict` of rows, or the sums before what the objective makes of them.
    ///
    /// # Errors
    /// Another number of columns, or text that is no category; `estimator` is who says so.
    pub(crate) fn grid(
        &self,
        data: Data<'_>,
        estimator: &str,
        finished: bool,
    ) -> Result<Grid, InputError> {
        let intake = Intake {
            estimator: estimator.to_owned(),
            features: Some(self.features()),
            missing: true,
            infinite: true,
            single: false,
        };
        let data = match data {
            Data::Table(table) => Data::Table(self.categories.encode(table)),
            rows @ Data::Rows(_) => rows,
        };
        let rows = intake.numbers(data)?;
        let (mut given, mut sums, mut work) = (Vec::new(), Vec::new(), Work::default());
        let table = rows.map(self.outputs, Precision::Double, |row, out| {
            given.clear();
            let zeroed = |value: &f64| if value.abs() <= ZERO { 0.0 } else { *value };
            given.extend(row.iter().map(zeroed));
            self.sum(&given, &mut work, &mut sums);
            if finished {
                self.finish(&mut sums);
            }
            out.extend_from_slice(&sums);
        })?;
        Ok(Grid::double(table.into_values(), self.outputs))
    }

    /// The sums of a row in which what is as good as zero is zero.
    fn sum(&self, row: &[f64], work: &mut Work, sums: &mut Vec<f64>) {
        sums.clear();
        sums.resize(self.outputs, 0.0);
        let value = |number: u32| {
            let number = number as usize;
            let value = self.leaves.get(number).copied().unwrap_or(f64::NAN);
            match self.lines.get(number) {
                Some(Some(line)) => self.line(*line, value, row),
                _ => value,
            }
        };
        self.trees.add_up(row, work, sums, value);
    }

    fn finish(&self, sums: &mut [f64]) {
        if self.average {
            let rounds = (self.trees.count() / self.outputs) as f64;
            sums.iter_mut().for_each(|sum| *sum /= rounds);
        }
        self.objective.finish(sums);
    }

    fn line(&self, line: Line, value: f64, row: &[f64]) -> f64 {
        let place = |index: u32| usize::try_from(index).unwrap_or(usize::MAX);
        let terms = self.terms.get(place(line.start)..place(line.end));
        let mut sum = line.constant;
        for term in terms.unwrap_or_default() {
            let given = row.get(place(term.feature)).copied().unwrap_or(f64::NAN);
            if given.is_nan() {
                return value;
            }
            sum += term.coefficient * given;
        }
        sum
    }
}

/// The inner nodes of a tree. Node `i` is fork `i`; behind them are the leaves.
struct Forks {
    features: Vec<usize>,
    thresholds: Vec<f64>,
    decisions: Vec<u8>,
    left: Vec<i64>,
    right: Vec<i64>,
    /// Where the categories of a split begin in `words`, and the end.
    bounds: Vec<usize>,
    words: Vec<u32>,
}

impl Forks {
    fn read(tree: &Section<'_>, count: usize) -> Result<Self, String> {
        if count == 0 {
            return Ok(Self {
                features: Vec::new(),
                thresholds: Vec::new(),
                decisions: Vec::new(),
                left: Vec::new(),
                right: Vec::new(),
                bounds: Vec::new(),
                words: Vec::new(),
            });
        }
        let categories = tree.whole("num_cat")?;
        let (mut bounds, mut words) = (Vec::new(), Vec::new());
        if categories > 0 {
            let count = categories.checked_add(1).ok_or("too many categories")?;
            bounds = tree.numbers("cat_boundaries", count)?;
            words = tree.numbers("cat_threshold", bounds.last().copied().unwrap_or(0))?;
        }
        Ok(Self {
            features: tree.numbers("split_feature", count)?,
            thresholds: tree.numbers("threshold", count)?,
            decisions: tree.numbers("decision_type", count)?,
            left: tree.numbers("left_child", count)?,
            right: tree.numbers("right_child", count)?,
            bounds,
            words,
        })
    }

    fn fork(&self, index: usize, words_left: &mut usize) -> Result<Fork<'_>, String> {
        let missing = || format!("node {index} does not exist");
        let child = |children: &[i64]| {
            let child = *children.get(index).ok_or_else(missing)?;
            // Leaves are counted from −1 down.
            let place = if child < 0 {
                usize::try_from(!child)
                    .ok()
                    .and_then(|leaf| leaf.checked_add(self.features.len()))
            } else {
                usize::try_from(child)
                    .ok()
                    .filter(|fork| *fork < self.features.len())
            };
            place.ok_or_else(|| format!("node {index} has a child that does not exist"))
        };
        let feature = *self.features.get(index).ok_or_else(missing)?;
        let threshold = *self.thresholds.get(index).ok_or_else(missing)?;
        let decision = *self.decisions.get(index).ok_or_else(missing)?;
        let (yes, no) = (child(&self.left)?, child(&self.right)?);
        if decision & CATEGORICAL != 0 {
            let words = self
                .words(threshold)
                .ok_or_else(|| format!("node {index} has no categories"))?;
            // Splits that share their categories would make much of a small file.
            *words_left = words_left
                .checked_sub(words.len())
                .ok_or("splits that share categories")?;
            return Ok(Fork::Split {
                feature,
                question: Question::Among(words),
                missing_yes: false,
                zero_is_missing: false,
                yes,
                no,
            });
        }
        let default_left = decision & DEFAULT_LEFT != 0;
        let (missing_yes, zero_is_missing) = match decision >> 2 {
            // Where nothing may be missing, NaN is zero.
            0 => (0.0 <= threshold, false),
            1 => (default_left, true),
            2 => (default_left, false),
            _ => return Err(format!("node {index} has an unknown type")),
        };
        Ok(Fork::Split {
            feature,
            question: Question::AtMost(threshold),
            missing_yes,
            zero_is_missing,
            yes,
            no,
        })
    }

    /// The categories that a threshold is the number of.
    fn words(&self, threshold: f64) -> Option<&[u32]> {
        let number = crate::document::whole(threshold)?;
        let bounds = (
            self.bounds.get(number)?,
            self.bounds.get(number.checked_add(1)?)?,
        );
        self.words.get(*bounds.0..*bounds.1)
    }
}

impl Predict for Lightgbm {
    /// `Booster.predict` with all trees.
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        Ok(self.grid(data, "Booster", true)?.into_output())
    }
}
