//! `HistGradientBoostingClassifier` and `HistGradientBoostingRegressor`.

use super::boosting::Link;
use super::part::Part;
use super::steps;
use crate::data::{Data, Intake};
use crate::flow::{Fitted, Flow, Grid, Predict};
use crate::kernels::{Categories, HistogramNode, HistogramTree, Test};
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
    let mut trees = Vec::new();
    for (stage, row) in part.list("_predictors")?.iter().enumerate() {
        let row = part.list_at(*row, "_predictors")?;
        if row.len() != width {
            return Err(part.damaged(format!("expected {width} trees in each of `_predictors`")));
        }
        for (output, id) in row.iter().enumerate() {
            let tree = part.inner(*id, &format!("_predictors[{stage}][{output}]"))?;
            trees.push(read_tree(&tree, features)?);
        }
    }
    // From 1.4 on categories are numbered by a transformer that also puts them first.
    let before = match part.set("_preprocessor") {
        Some(id) => Some(steps(&part.inner(id, "_preprocessor")?)?),
        None => None,
    };
    let model = Histogram {
        intake: Intake {
            infinite: true,
            ..part.lenient_intake()
        },
        before,
        baseline,
        trees,
        known: known(part, features)?,
        link,
    };
    Ok(Fitted::new(model, Some(features), classes))
}

/// A `TreePredictor`, whose nodes are records.
fn read_tree(tree: &Part<'_, '_>, features: usize) -> Result<HistogramTree, LoadError> {
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
    let (feature, missing, leaf) = (
        integers("feature_idx")?,
        integers("missing_go_to_left")?,
        integers("is_leaf")?,
    );
    let (left, right) = (integers("left")?, integers("right")?);
    // Before 0.24 there are no categories.
    let (categorical, set) = if nodes.has_field("is_categorical") {
        (integers("is_categorical")?, integers("bitset_idx")?)
    } else {
        (vec![0; left.len()], vec![0; left.len()])
    };
    let node = |index: usize| {
        if *leaf.get(index)? != 0 {
            return Some(HistogramNode::Leaf(*value.get(index)?));
        }
        let test = if *categorical.get(index)? != 0 {
            Test::Categories(u32::try_from(*set.get(index)?).ok()?)
        } else {
            Test::Threshold(*threshold.get(index)?)
        };
        Some(HistogramNode::Inner {
            test,
            feature: u32::try_from(*feature.get(index)?).ok()?,
            missing_left: *missing.get(index)? != 0,
            left: u32::try_from(*left.get(index)?).ok()?,
            right: u32::try_from(*right.get(index)?).ok()?,
        })
    };
    let read: Option<Vec<_>> = (0..left.len()).map(node).collect();
    let read = read.ok_or_else(|| tree.damaged("a node is incomplete"))?;
    let sets = match tree.array("raw_left_cat_bitsets") {
        Ok(array) => sets(tree, array)?,
        Err(_) => Vec::new(),
    };
    HistogramTree::new(read, sets, features).map_err(|what| tree.damaged(what))
}

fn sets(tree: &Part<'_, '_>, array: &Array) -> Result<Vec<Categories>, LoadError> {
    tree.pay(array.count())?;
    let words = array
        .integers(tree.graph(), None)
        .map_err(|what| tree.damaged(what))?;
    let words: Option<Vec<u32>> = words.into_iter().map(|w| u32::try_from(w).ok()).collect();
    let words = words.ok_or_else(|| tree.damaged("expected 32 bits in each word of a set"))?;
    words
        .chunks(8)
        .map(Categories::from_words)
        .collect::<Option<_>>()
        .ok_or_else(|| tree.damaged("expected 8 words for each set of categories"))
}

/// The categories of each feature that fitting saw, by the mapper of bins.
fn known(part: &Part<'_, '_>, features: usize) -> Result<Vec<Categories>, LoadError> {
    let mut known = vec![Categories::default(); features];
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
            if (0.0..256.0).contains(&category) {
                set.insert(category as u8);
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
    trees: Vec<HistogramTree>,
    known: Vec<Categories>,
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
        let mut out = Vec::with_capacity(rows.count().saturating_mul(width));
        rows.each(|row| {
            let start = out.len();
            out.extend_from_slice(&self.baseline);
            let sums = out.get_mut(start..).unwrap_or_default();
            for (index, tree) in self.trees.iter().enumerate() {
                if let Some(sum) = sums.get_mut(index % width) {
                    *sum += tree.value(row, &self.known);
                }
            }
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
