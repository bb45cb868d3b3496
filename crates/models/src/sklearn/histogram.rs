//! `HistGradientBoostingClassifier` and `HistGradientBoostingRegressor`.

use super::boosting::Link;
use super::part::Part;
use super::steps;
use crate::data::{Data, Intake};
use crate::flow::{Fitted, Flow, Grid, Predict};
use crate::kernels::{Cut, Fork, Question, Walk, Work};
use crate::pickle::{Array, Id, Node};
use crate::predictor::Output;
use crate::{InputError, LoadError};

pub(super) fn read(part: &Part<'_, '_>) -> Result<Fitted, LoadError> {
    let classes = if part.name() == "HistGradientBoostingClassifier" {
        Some(part.labels()?)
    } else {
        None
    };
    let (link, width) = match &classes {
        None if matches!(part.text("loss"), Some("poisson" | "gamma")) => (Link::Exponential, 1),
        None => (Link::Identity, 1),
        Some(classes) if classes.len() == 2 => (Link::Logit, 1),
        Some(classes) => (Link::Softmax, classes.len()),
    };
    let features = part
        .features()
        .or_else(|| part.count("_n_features"))
        .ok_or_else(|| part.damaged("expected `n_features_in_`"))?;
    let baseline = match part.array("_baseline_prediction") {
        Ok(_) => part.vector("_baseline_prediction", width)?,
        Err(_) => vec![part.scalar("_baseline_prediction")?; width],
    };
    let known = known(part, features)?;
    let mut trees = Walk::double(features, Cut::Byte);
    let mut leaves = Vec::new();
    for (stage, row) in part.list("_predictors")?.iter().enumerate() {
        let row = part.list_at(*row, "_predictors")?;
        if row.len() != width {
            return Err(part.damaged(format!("expected {width} trees in each of `_predictors`")));
        }
        for (output, id) in row.iter().enumerate() {
            let tree = part.inner(*id, &format!("_predictors[{stage}][{output}]"))?;
            read_tree(&tree, &known, &mut trees, &mut leaves)?;
        }
    }
    // From 1.4 on categories are numbered by a transformer that also puts them first.
    let before = match part.set("_preprocessor") {
        Some(id) => Some(steps(&part.inner(id, "_preprocessor")?)?),
        None => None,
    };
    trees.finish();
    let model = Histogram {
        intake: Intake {
            missing: part.version() >= (0, 22),
            infinite: part.version() >= (0, 22),
            ..part.intake()
        },
        before,
        baseline,
        trees,
        leaves,
        link,
    };
    Ok(Fitted::new(model, Some(features), classes))
}

/// Adds a `TreePredictor`, whose nodes are records.
fn read_tree(
    tree: &Part<'_, '_>,
    known: &[Set],
    trees: &mut Walk,
    leaves: &mut Vec<f64>,
) -> Result<(), LoadError> {
    if tree.name() != "TreePredictor" {
        return Err(tree.unsupported());
    }
    let graph = tree.graph();
    let nodes = tree.array("nodes")?;
    tree.pay(nodes.count().saturating_mul(6))?;
    let bad = |what: String| tree.damaged(what);
    let integers = |field| nodes.integers(graph, Some(field)).map_err(bad);
    let value = nodes.floats(graph, Some("value")).map_err(bad)?;
    let threshold = match nodes.has_field("num_threshold") {
        true => nodes.floats(graph, Some("num_threshold")).map_err(bad)?,
        false => nodes.floats(graph, Some("threshold")).map_err(bad)?,
    };
    let (feature, leaf) = (integers("feature_idx")?, integers("is_leaf")?);
    // Before 0.22 nothing may be missing.
    let missing = match nodes.has_field("missing_go_to_left") {
        true => integers("missing_go_to_left")?,
        false => vec![0; leaf.len()],
    };
    let (left, right) = (integers("left")?, integers("right")?);
    // Before 0.24 there are no categories.
    let (categorical, set) = if nodes.has_field("is_categorical") {
        (integers("is_categorical")?, integers("bitset_idx")?)
    } else {
        (vec![0; left.len()], vec![0; left.len()])
    };
    let sets = match tree.array("raw_left_cat_bitsets") {
        Ok(array) => sets(tree, array)?,
        Err(_) => Vec::new(),
    };
    let count = left.len();
    let before = (trees.bytes(), leaves.len());
    // A category that fitting did not see is missing: it joins a set where missing values are for yes.
    let mut asked = vec![Set::default(); count];
    for (index, asked) in asked.iter_mut().enumerate() {
        let of = |values: &[i64]| values.get(index).copied().unwrap_or(0);
        if of(&categorical) == 0 || of(&leaf) != 0 {
            continue;
        }
        let place = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        let set = sets.get(place(of(&set)));
        let set = set.ok_or_else(|| {
            tree.damaged(format!("node {index} has categories that do not exist"))
        })?;
        *asked = *set;
        if of(&missing) != 0
            && let Some(known) = known.get(place(of(&feature)))
        {
            for (word, known) in asked.iter_mut().zip(known) {
                *word |= !known;
            }
        }
    }
    let read = trees.add(count, |index| {
        let incomplete = || format!("node {index} does not exist");
        let of = |values: &[i64]| values.get(index).copied().ok_or_else(incomplete);
        if of(&leaf)? != 0 {
            let number = u32::try_from(leaves.len()).map_err(|_| "too many leaves")?;
            leaves.push(*value.get(index).ok_or_else(incomplete)?);
            return Ok(Fork::Leaf { number });
        }
        // Children come after their parent.
        let child = |child: i64| usize::try_from(child).ok().filter(|child| *child > index);
        let (Some(yes), Some(no)) = (child(of(&left)?), child(of(&right)?)) else {
            return Err(format!("node {index} has a child that is not after it"));
        };
        let question = match (of(&categorical)? != 0, asked.get(index)) {
            (true, Some(set)) => Question::Among(set),
            _ => Question::AtMost(*threshold.get(index).ok_or_else(incomplete)?),
        };
        Ok(Fork::Split {
            feature: usize::try_from(of(&feature)?).unwrap_or(usize::MAX),
            question,
            missing_yes: of(&missing)? != 0,
            zero_is_missing: false,
            yes,
            no,
        })
    });
    read.map_err(|what| tree.damaged(what))?;
    let values = leaves.len().saturating_sub(before.1);
    let nodes = trees.bytes().saturating_sub(before.0);
    tree.keep(
        count.saturating_mul(6),
        nodes.saturating_add(values.saturating_mul(size_of::<f64>())),
    );
    Ok(())
}

/// Category numbers below 256, by bits.
type Set = [u32; 8];

fn sets(tree: &Part<'_, '_>, array: &Array) -> Result<Vec<Set>, LoadError> {
    tree.pay(array.count())?;
    let words = array
        .integers(tree.graph(), None)
        .map_err(|what| tree.damaged(what))?;
    let words: Option<Vec<u32>> = words.into_iter().map(|w| u32::try_from(w).ok()).collect();
    let words = words.ok_or_else(|| tree.damaged("expected 32 bits in each word of a set"))?;
    match words.as_chunks() {
        (sets, []) => Ok(sets.to_vec()),
        _ => Err(tree.damaged("expected 8 words for each set of categories")),
    }
}

/// The categories of each feature that fitting saw, by the mapper of bins.
fn known(part: &Part<'_, '_>, features: usize) -> Result<Vec<Set>, LoadError> {
    let mut known = vec![Set::default(); features];
    // `bin_mapper_` in 0.23, which had no categories.
    if part.set("_bin_mapper").is_none() {
        return Ok(known);
    }
    let mapper = part.part("_bin_mapper")?;
    let Some(flags) = mapper.set("is_categorical_") else {
        return Ok(known);
    };
    let flags = mapper.numbers_at(flags, "is_categorical_")?;
    let thresholds: &[Id] = mapper.list("bin_thresholds_")?;
    for ((set, flag), id) in known.iter_mut().zip(&flags).zip(thresholds) {
        if *flag == 0.0 || !matches!(mapper.graph().node(*id), Node::Array(_)) {
            continue;
        }
        for category in mapper.numbers_at(*id, "bin_thresholds_")? {
            if (0.0..256.0).contains(&category)
                && let Some(word) = set.get_mut(category as usize / 32)
            {
                *word |= 1 << (category as usize % 32);
            }
        }
    }
    Ok(known)
}

#[derive(Debug)]
struct Histogram {
    intake: Intake,
    before: Option<Flow>,
    baseline: Vec<f64>,
    /// Those of the outputs in turn.
    trees: Walk,
    /// Their values by number.
    leaves: Vec<f64>,
    link: Link,
}

impl Histogram {
    fn raw(&self, data: Data<'_>) -> Result<Grid, InputError> {
        self.intake.size(&data)?;
        let data = match &self.before {
            Some(before) => before.run(data)?,
            None => data,
        };
        let rows = self.intake.numbers(data)?;
        let width = self.baseline.len();
        let mut work = Work::default();
        let mut out = Vec::with_capacity(rows.count().saturating_mul(width));
        let value = |number: u32| {
            self.leaves
                .get(number as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        rows.each(|row| {
            let start = out.len();
            out.extend_from_slice(&self.baseline);
            let sums = out.get_mut(start..).unwrap_or_default();
            self.trees.add_up(row, &mut work, sums, value);
        });
        Ok(Grid::double(out, width))
    }
}

impl Predict for Histogram {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let raw = self.raw(data)?;
        Ok(match self.link {
            // By the probabilities, which can be equal where the sums are not.
            Link::Logit => Output::Classes(
                self.link
                    .probabilities(&raw)
                    .rows()
                    .map(|row| crate::kernels::argmax(row.iter().copied()))
                    .collect(),
            ),
            link => link.answer(raw),
        })
    }

    fn has_probabilities(&self) -> bool {
        self.link.classifies()
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        Ok(self.link.probabilities(&self.raw(data)?))
    }

    fn has_decisions(&self) -> bool {
        self.link.classifies()
    }

    fn decisions(&self, data: Data<'_>) -> Result<Grid, InputError> {
        self.raw(data)
    }
}
