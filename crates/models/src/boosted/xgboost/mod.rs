//! XGBoost's models, of JSON and UBJSON (`doc/model.schema` and `src/gbm` in its sources), 1.0 to 3.2.

pub(super) mod binary;
mod objective;
pub(super) mod ubj;

use crate::data::{Data, Intake, Rows};
use crate::document::{Value, whole};
use crate::flow::{Grid, Predict};
use crate::kernels::{Fork, Question, Walk, Work};
use crate::predictor::Output;
use crate::{InputError, Limits, Precision};
use objective::Objective;

/// A model that was validated.
#[derive(Debug, Clone)]
pub(crate) struct Xgboost {
    pub(crate) features: usize,
    pub(crate) feature_names: Option<Vec<String>>,
    /// The sums of a row before the first tree, one for each output.
    base: Vec<f32>,
    objective: Objective,
    booster: Booster,
    /// The round after which the score of training was best, where it stopped early.
    best_round: Option<usize>,
    /// What kind of estimator for scikit-learn wrote the file, in the words of XGBoost, if one did.
    pub(crate) wrapper: Option<String>,
}

#[derive(Debug, Clone)]
enum Booster {
    Trees(Box<Ensemble>),
    /// One row of weights for each feature, and one of biases.
    Linear(Vec<f32>),
}

#[derive(Debug, Clone)]
struct Ensemble {
    /// A leaf's number is the bits of its value where there is one, else the number of its row of values.
    trees: Walk,
    /// `width` values for each leaf, one for each output; none where the width is 1.
    leaves: Vec<f32>,
    width: usize,
    /// The output that a tree adds to.
    outputs: Vec<usize>,
    /// What each tree counts (DART).
    weights: Option<Vec<f32>>,
    /// The number of trees up to the end of each round, where the file tells.
    rounds: Option<Vec<usize>>,
}

/// Outputs of a model.
const OUTPUTS: usize = 1 << 16;

/// # Errors
/// What is damaged or not supported.
pub(crate) fn read(document: &Value, limits: &Limits) -> Result<Xgboost, String> {
    let learner = document.at("learner")?;
    let parameters = learner.at("learner_model_param")?;
    let features = parameters.whole("num_feature")?;
    if features > limits.objects {
        return Err("more features than the limit of objects".to_owned());
    }
    let count = |key: &str| {
        parameters
            .find(key)
            .map_or(Ok(0), |_| parameters.whole(key))
    };
    let outputs = count("num_class")?.max(count("num_target")?).max(1);
    if outputs > OUTPUTS {
        return Err(format!("{outputs} outputs: expected at most {OUTPUTS}"));
    }
    let objective = Objective::named(learner.at("objective")?.text("name")?)?;
    let base = base(parameters.text("base_score")?, outputs, objective)?;
    let gradient = learner.at("gradient_booster")?;
    let booster = match gradient.text("name")? {
        "gbtree" => {
            let trees = ensemble(gradient.at("model")?, features, outputs, limits)?;
            Booster::Trees(Box::new(trees))
        }
        "dart" => {
            let model = gradient.at("gbtree")?.at("model")?;
            let mut trees = ensemble(model, features, outputs, limits)?;
            let weights = singles(gradient.numbers("weight_drop")?)?;
            if weights.len() != trees.outputs.len() || trees.width != 1 {
                return Err("expected one weight for each tree".to_owned());
            }
            trees.weights = Some(weights);
            Booster::Trees(Box::new(trees))
        }
        "gblinear" => {
            let weights = singles(gradient.at("model")?.numbers("weights")?)?;
            if features
                .checked_add(1)
                .and_then(|rows| rows.checked_mul(outputs))
                != Some(weights.len())
            {
                return Err("expected one weight for each feature and output".to_owned());
            }
            Booster::Linear(weights)
        }
        other => {
            let shown: String = other.chars().take(64).collect();
            return Err(format!("the booster `{shown}` is not supported"));
        }
    };
    Ok(Xgboost {
        features,
        feature_names: names(learner, features)?,
        base,
        objective,
        booster,
        best_round: learner
            .find("attributes")
            .and_then(|attributes| attributes.whole("best_iteration").ok()),
        wrapper: learner
            .find("attributes")
            .and_then(|attributes| attributes.text("scikit_learn").ok())
            .map(str::to_owned),
    })
}

fn names(learner: &Value, features: usize) -> Result<Option<Vec<String>>, String> {
    if learner.find("feature_names").is_none() {
        return Ok(None);
    }
    let mut names = Vec::new();
    for name in learner.list("feature_names")? {
        match name {
            Value::Text(name) => names.push(name.clone()),
            _ => return Err("expected text in `feature_names`".to_owned()),
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    if names.len() != features {
        return Err("expected a name for each feature".to_owned());
    }
    Ok(Some(names))
}

/// The intercepts: a number, since 3.1 a list of them in text.
fn base(text: &str, outputs: usize, objective: Objective) -> Result<Vec<f32>, String> {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let mut base = Vec::new();
    for number in inner.unwrap_or(text).split(',') {
        let number: Option<f32> = number.trim().parse().ok();
        let margin = number.and_then(|number| objective.margin(number));
        base.push(margin.ok_or("`base_score` is not one that the objective takes")?);
    }
    match base.as_slice() {
        [only] => Ok(vec![*only; outputs]),
        several if several.len() == outputs => Ok(base),
        _ => Err("expected a `base_score` for each output".to_owned()),
    }
}

fn singles(values: &[f64]) -> Result<Vec<f32>, String> {
    let single = |value: &f64| {
        let value = *value as f32;
        value.is_finite().then_some(value)
    };
    let values: Option<Vec<f32>> = values.iter().map(single).collect();
    values.ok_or_else(|| "expected finite numbers".to_owned())
}

fn ensemble(
    model: &Value,
    features: usize,
    outputs: usize,
    limits: &Limits,
) -> Result<Ensemble, String> {
    let mut ensemble = Ensemble {
        trees: Walk::single(features),
        leaves: Vec::new(),
        width: 0,
        outputs: Vec::new(),
        weights: None,
        rounds: None,
    };
    let trees = model.list("trees")?;
    let outputs_of = model.numbers("tree_info")?;
    if trees.len() != outputs_of.len() {
        return Err("expected an output for each tree in `tree_info`".to_owned());
    }
    for (index, (tree, output)) in trees.iter().zip(outputs_of).enumerate() {
        let output = whole(*output).filter(|output| *output < outputs);
        let output = output.ok_or_else(|| format!("tree {index} adds to no output"))?;
        let id = tree.find("id").map_or(Ok(index), |_| tree.whole("id"))?;
        if id != index {
            return Err(format!("expected tree {index}, found {id}"));
        }
        ensemble.outputs.push(output);
        ensemble
            .add(tree, outputs)
            .map_err(|error| format!("tree {index}: {error}"))?;
        if ensemble.bytes() > limits.compiled_bytes {
            return Err("more than the limit of compiled bytes".to_owned());
        }
    }
    ensemble.width = ensemble.width.max(1);
    ensemble.trees.finish();
    ensemble.rounds = rounds(model, trees.len(), outputs / ensemble.width)?;
    Ok(ensemble)
}

/// Where rounds end among the trees (`iteration_indptr` since 2.0), each with trees for `outputs` outputs. `None` for files
/// from before 1.6, which do not tell.
fn rounds(model: &Value, trees: usize, outputs: usize) -> Result<Option<Vec<usize>>, String> {
    if model.find("iteration_indptr").is_some() {
        let ends = model
            .numbers("iteration_indptr")?
            .iter()
            .map(|end| whole(*end));
        let ends: Option<Vec<usize>> = ends.skip(1).collect();
        return match ends {
            Some(ends) if ends.is_sorted() && ends.last().is_none_or(|last| *last == trees) => {
                Ok(Some(ends))
            }
            _ => Err("the rounds do not fit the trees".to_owned()),
        };
    }
    match model.find("gbtree_model_param") {
        Some(parameters) if parameters.find("num_parallel_tree").is_some() => {
            let parallel = parameters.whole("num_parallel_tree")?;
            let size = parallel.saturating_mul(outputs).max(1);
            Ok(Some((1..=trees / size).map(|round| round * size).collect()))
        }
        _ => Ok(None),
    }
}

impl Ensemble {
    fn bytes(&self) -> usize {
        let leaves = self.leaves.len().saturating_mul(4);
        self.trees.bytes().saturating_add(leaves)
    }

    fn add(&mut self, tree: &Value, outputs: usize) -> Result<(), String> {
        let left = tree.numbers("left_children")?;
        let right = tree.numbers("right_children")?;
        let column = tree.numbers("split_indices")?;
        let condition = tree.numbers("split_conditions")?;
        let default_left = tree.numbers("default_left")?;
        let parameters = tree.at("tree_param")?;
        let size = parameters.find("size_leaf_vector");
        let width = size
            .map_or(Ok(1), |_| parameters.whole("size_leaf_vector"))?
            .max(1);
        if width != 1 && width != outputs {
            return Err(format!("leaves of {width} values, expected {outputs}"));
        }
        if self.width != 0 && self.width != width {
            return Err("leaves of another size than in the trees before".to_owned());
        }
        self.width = width;
        // Since 3.2 the right child of a leaf says which of the rows is its.
        let sparse = width > 1 && tree.find("leaf_weights").is_some();
        let values = match width {
            1 => condition,
            _ if sparse => tree.numbers("leaf_weights")?,
            _ => tree.numbers("base_weights")?,
        };
        let categories = Categories::read(tree)?;
        let count = left.len();
        let place = |value: &f64| whole(*value).unwrap_or(usize::MAX);
        let leaves = &mut self.leaves;
        self.trees.add(count, |index| {
            let missing = || format!("node {index} does not exist");
            let left = left.get(index).ok_or_else(missing)?;
            if *left == -1.0 {
                let number = u32::try_from(leaves.len() / width);
                if width == 1 {
                    let value = values.get(index..=index).ok_or("a leaf has no value")?;
                    let number = singles(value)?.first().map_or(0, |value| value.to_bits());
                    return Ok(Fork::Leaf { number });
                }
                let row = if sparse {
                    place(right.get(index).ok_or_else(missing)?)
                } else {
                    index
                };
                let start = row.checked_mul(width);
                let row = start.and_then(|start| values.get(start..)?.get(..width));
                leaves.extend(singles(row.ok_or("a leaf has no value")?)?);
                return match number {
                    Ok(number) => Ok(Fork::Leaf { number }),
                    Err(_) => Err("more leaves than are supported".to_owned()),
                };
            }
            let yes = place(left);
            let no = place(right.get(index).ok_or_else(missing)?);
            let feature = place(column.get(index).ok_or_else(missing)?);
            let default_left = *default_left.get(index).ok_or_else(missing)? != 0.0;
            Ok(match categories.of(index)? {
                // A category of the list goes to the right.
                Some(words) => Fork::Split {
                    feature,
                    question: Question::Among(words),
                    missing_yes: !default_left,
                    zero_is_missing: false,
                    yes: no,
                    no: yes,
                },
                None => Fork::Split {
                    feature,
                    question: Question::AtMost(below(*condition.get(index).ok_or_else(missing)?)),
                    missing_yes: default_left,
                    zero_is_missing: false,
                    yes,
                    no,
                },
            })
        })
    }
}

/// The single precision number below a threshold, so that `<` becomes `<=`.
fn below(threshold: f64) -> f64 {
    f64::from((threshold as f32).next_down())
}

/// The categories of the nodes of a tree, as bits.
#[derive(Debug, Default)]
struct Categories {
    /// By node; `None` for numeric splits.
    nodes: Vec<Option<Vec<u32>>>,
}

/// The largest category that single precision counts to (`OutOfRangeCat`).
const CATEGORIES: usize = 1 << 24;

impl Categories {
    fn read(tree: &Value) -> Result<Self, String> {
        let Some(Value::Numbers(types)) = tree.find("split_type") else {
            // Before 1.3.
            return Ok(Self::default());
        };
        if types.iter().all(|kind| *kind == 0.0) {
            return Ok(Self::default());
        }
        let values = tree.numbers("categories")?;
        let starts = tree.numbers("categories_segments")?;
        let sizes = tree.numbers("categories_sizes")?;
        let mut nodes: Vec<Option<Vec<u32>>> = types.iter().map(|_| None).collect();
        let wrong = || "the categories do not fit the nodes".to_owned();
        let of = tree.numbers("categories_nodes")?;
        if of.len() != starts.len() || of.len() != sizes.len() {
            return Err(wrong());
        }
        let mut paid = values.len();
        for ((node, start), size) in of.iter().zip(starts).zip(sizes) {
            let node = whole(*node)
                .and_then(|node| nodes.get_mut(node))
                .ok_or_else(wrong)?;
            let (start, size) = whole(*start).zip(whole(*size)).ok_or_else(wrong)?;
            let listed = values
                .get(start..)
                .and_then(|rest| rest.get(..size))
                .ok_or_else(wrong)?;
            // Lists that overlap would make much of a small file.
            paid = paid.checked_sub(size).ok_or_else(wrong)?;
            let mut words = Vec::new();
            for category in listed {
                let category = whole(*category).filter(|category| *category < CATEGORIES);
                let category = category.ok_or_else(wrong)?;
                if words.len() <= category / 32 {
                    words.resize(category / 32 + 1, 0_u32);
                }
                if let Some(word) = words.get_mut(category / 32) {
                    *word |= 1 << (category % 32);
                }
            }
            *node = Some(words);
        }
        for (node, kind) in nodes.iter_mut().zip(types) {
            match (*kind, &node) {
                (0.0, _) => *node = None,
                (1.0, Some(_)) => {}
                _ => return Err(wrong()),
            }
        }
        Ok(Self { nodes })
    }

    fn of(&self, index: usize) -> Result<Option<&[u32]>, String> {
        if self.nodes.is_empty() {
            return Ok(None);
        }
        let node = self.nodes.get(index);
        node.map(Option::as_deref)
            .ok_or_else(|| format!("node {index} has no type"))
    }
}

impl Xgboost {
    pub(crate) fn outputs(&self) -> usize {
        self.base.len()
    }

    /// Bytes that the model takes.
    pub(crate) fn bytes(&self) -> usize {
        match &self.booster {
            Booster::Trees(ensemble) => ensemble.bytes(),
            Booster::Linear(weights) => weights.len().saturating_mul(4),
        }
    }

    /// The round after which the score of training was best, where it stopped early; from 0.
    pub(crate) fn best_round(&self) -> Option<usize> {
        self.best_round
    }

    /// Leaves out the trees behind the first `count` rounds, of `parallel` trees for each output where the file does not tell.
    /// Linear models have no rounds.
    pub(crate) fn keep_rounds(&mut self, count: usize, parallel: usize) {
        let Booster::Trees(ensemble) = &mut self.booster else {
            return;
        };
        let end = match &ensemble.rounds {
            Some(rounds) => count
                .checked_sub(1)
                .and_then(|last| rounds.get(last))
                .copied(),
            None => count
                .checked_mul(parallel)
                .and_then(|trees| trees.checked_mul(self.base.len())),
        };
        if let Some(end) = end {
            ensemble.trees.truncate(end);
        }
    }

    /// Whether the answer is the number of the class with the largest sum.
    pub(crate) fn answers_classes(&self) -> bool {
        self.objective.is_single()
    }

    /// The sums of rows, or what the objective makes of them. What sparse rows have not is missing, and so is `missing`.
    pub(crate) fn grid(
        &self,
        rows: &Rows<'_>,
        missing: f64,
        finished: bool,
    ) -> Result<Grid, InputError> {
        let columns = match self.objective.is_single() && finished {
            true => 1,
            false => self.base.len(),
        };
        let missing = missing as f32;
        let (mut single, mut sums, mut work) = (Vec::new(), Vec::new(), Work::default());
        let table = rows.map_over(f64::NAN, columns, Precision::Single, |row, out| {
            single.clear();
            single.extend(row.iter().map(|value| match *value as f32 {
                value if value == missing => f64::NAN,
                value => f64::from(value),
            }));
            self.answer(&single, &mut work, &mut sums);
            if finished {
                self.objective.finish(&mut sums);
            }
            out.extend(sums.iter().map(|sum| f64::from(*sum)));
        })?;
        Ok(Grid {
            values: table.into_values(),
            columns,
            precision: Precision::Single,
        })
    }

    /// The sums of a row.
    fn answer(&self, row: &[f64], work: &mut Work, sums: &mut Vec<f32>) {
        sums.clear();
        sums.extend_from_slice(&self.base);
        match &self.booster {
            Booster::Trees(ensemble) => ensemble.sum(row, work, sums),
            Booster::Linear(weights) => {
                // The first intercept counts for all outputs, also since there are several (`gblinear.cc`).
                let first = self.base.first().copied().unwrap_or(0.0);
                sums.fill(first);
                let outputs = self.base.len();
                let bias = weights.get(self.features * outputs..).unwrap_or_default();
                for (sum, bias) in sums.iter_mut().zip(bias) {
                    *sum += bias;
                }
                for (value, weights) in row.iter().zip(weights.chunks_exact(outputs)) {
                    if value.is_nan() {
                        continue;
                    }
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum += *value as f32 * weight;
                    }
                }
            }
        }
    }
}

impl Ensemble {
    fn sum(&self, row: &[f64], work: &mut Work, sums: &mut [f32]) {
        match (&self.weights, sums) {
            (_, sums) if self.width > 1 => self.trees.leaves(row, work, &mut |_, numbers| {
                for number in numbers {
                    let start = (*number as usize).saturating_mul(self.width);
                    let values = self.leaves.get(start..).unwrap_or_default();
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum += value;
                    }
                }
            }),
            (None, [sum]) => self.trees.leaves(row, work, &mut |_, numbers| {
                let values = numbers.iter().map(|number| f32::from_bits(*number));
                *sum = values.fold(*sum, |sum, value| sum + value);
            }),
            (weights, sums) => self.trees.leaves(row, work, &mut |before, numbers| {
                let outputs = self.outputs.get(before..).unwrap_or_default();
                let weights = weights.as_ref().and_then(|weights| weights.get(before..));
                let weights = weights.unwrap_or_default().iter().copied();
                let weights = weights.chain(std::iter::repeat(1.0));
                for ((number, output), weight) in numbers.iter().zip(outputs).zip(weights) {
                    if let Some(sum) = sums.get_mut(*output) {
                        *sum += f32::from_bits(*number) * weight;
                    }
                }
            }),
        }
    }
}

impl Predict for Xgboost {
    /// `Booster.predict` of a `DMatrix` of the rows. Columns at the end may be left out: they are missing.
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let intake = Intake {
            estimator: "Booster".to_owned(),
            features: (data.columns() > self.features).then_some(self.features),
            missing: true,
            infinite: false,
            single: true,
        };
        let rows = intake.numbers(data)?;
        Ok(self.grid(&rows, f64::NAN, true)?.into_output())
    }
}
