//! The binary files: `CBM1`, a length, and FlatBuffers (`catboost/libs/model/flatbuffers` in its sources).

use super::flat::Table;
use super::settings::OTHERS;
use super::statistics::Statistics;
use super::tables::{self, Columns};
use super::{Catboost, Child, Features, Node, Test, Tree, settings};
use crate::Limits;
use crate::document::{Source, Value};
use crate::json;

/// Fields of the whole, by their numbers.
mod core {
    pub(super) const VERSION: usize = 0;
    pub(super) const TREES: usize = 1;
    pub(super) const INFORMATION: usize = 2;
}

/// Fields of the trees.
mod trees {
    pub(super) const OUTPUTS: usize = 0;
    pub(super) const SPLITS: usize = 1;
    pub(super) const SIZES: usize = 2;
    pub(super) const CATEGORICAL: usize = 4;
    pub(super) const NUMERIC: usize = 5;
    pub(super) const ONE_HOT: usize = 6;
    pub(super) const CTR: usize = 7;
    pub(super) const VALUES: usize = 8;
    pub(super) const STEPS: usize = 10;
    pub(super) const LEAVES: usize = 11;
    pub(super) const TEXT: usize = 12;
    pub(super) const ESTIMATED: usize = 13;
    pub(super) const SCALE: usize = 14;
    pub(super) const BIAS: usize = 15;
    pub(super) const BIASES: usize = 16;
    pub(super) const EMBEDDINGS: usize = 18;
}

/// Outputs of a model.
const OUTPUTS: i32 = 1 << 16;

/// # Errors
/// What is damaged or not supported.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Catboost, String> {
    let mut source = Source::new(bytes, limits.objects);
    source.take(4)?;
    let length = usize::try_from(u32::from_le_bytes(source.array()?)).map_err(|_| "too long")?;
    let root = Table::root(source.take(length)?)?;
    if root.text(core::VERSION)? != "FlabuffersModel_v1" {
        return Err("an unknown version".to_owned());
    }
    let forest = root.table(core::TREES)?.ok_or("a model without trees")?;
    for field in [trees::TEXT, trees::ESTIMATED, trees::EMBEDDINGS] {
        if forest.count(field)? > 0 {
            return Err(OTHERS.to_owned());
        }
    }
    let outputs = forest.integer(trees::OUTPUTS, 0)?;
    let outputs = usize::try_from(outputs.min(OUTPUTS))
        .ok()
        .filter(|outputs| *outputs > 0);
    let outputs = outputs.ok_or("expected at least one output")?;
    let scale = forest.number(trees::SCALE)?.map_or(1.0, f64::from_le_bytes);
    let bias = match forest.values(trees::BIASES, f64::from_le_bytes)? {
        several if several.is_empty() => {
            vec![forest.number(trees::BIAS)?.map_or(0.0, f64::from_le_bytes)]
        }
        several => several,
    };
    let (parameters, classes) = information(&root, limits)?;
    let (answer, classes) = settings::read(parameters.as_ref(), classes.as_ref(), outputs)?;
    let mut features = Features::default();
    if source.left() > limits.compiled_bytes / 4 {
        return Err("more than the limit of compiled bytes".to_owned());
    }
    let (tests, statistics) = tests(&forest, &mut source, &mut features, limits)?;
    let model = Catboost::new(features, statistics, outputs, scale, bias, answer, classes)?;
    Forest::read(&forest, tests)?.add_to(model, limits)
}

/// The settings of training and the classes.
fn information(
    root: &Table<'_>,
    limits: &Limits,
) -> Result<(Option<Value>, Option<Value>), String> {
    let (mut parameters, mut classes) = (None, None);
    for entry in root.tables(core::INFORMATION)? {
        let document = match entry.text(0)? {
            "params" => &mut parameters,
            "class_params" => &mut classes,
            "binclass_probability_threshold" => {
                return Err(
                    "a threshold of one's own for the second class is not supported".to_owned(),
                );
            }
            _ => continue,
        };
        let text = entry.text(1)?;
        let mut source = Source::new(text.as_bytes(), limits.objects);
        *document =
            Some(json::read(&mut source).map_err(|what| format!("{what} in the settings"))?);
    }
    Ok((parameters, classes))
}

/// What can be asked, in the order in which trees count it: each border of each number, each category, each border of each
/// statistic, whose counts lie behind the trees.
fn tests(
    forest: &Table<'_>,
    behind: &mut Source<'_>,
    features: &mut Features,
    limits: &Limits,
) -> Result<(Vec<Test>, Statistics), String> {
    let place = |feature: &Table<'_>, field| {
        Ok::<_, String>(usize::try_from(feature.integer(field, -1)?).ok())
    };
    let mut left = limits.compiled_bytes / size_of::<Test>();
    let mut pay = |count: usize| {
        // Features may share their borders in a file.
        left = left
            .checked_sub(count)
            .ok_or("more than the limit of compiled bytes")?;
        Ok::<_, String>(())
    };
    let (mut tests, mut columns) = (Vec::new(), Columns::default());
    for feature in forest.tables(trees::NUMERIC)? {
        let column = features.add(place(&feature, 2)?, feature.text(4)?, false, limits)?;
        let has_nans = feature.number::<1>(0)?.is_some_and(|[truth]| truth != 0);
        let missing = has_nans
            && feature
                .number::<1>(5)?
                .is_some_and(|[treatment]| treatment == 2);
        columns
            .numbers
            .insert(feature.integer(1, -1)?, (column, missing));
        pay(feature.count(3)?)?;
        let borders = feature.values(3, f32::from_le_bytes)?;
        if !borders.is_sorted() {
            return Err("borders that are not sorted".to_owned());
        }
        let test = |border| Test::Above {
            column,
            border,
            missing,
        };
        tests.extend(borders.into_iter().map(test));
    }
    for feature in forest.tables(trees::CATEGORICAL)? {
        let column = features.add(place(&feature, 1)?, feature.text(2)?, true, limits)?;
        columns.categories.insert(feature.integer(0, -1)?, column);
    }
    for feature in forest.tables(trees::ONE_HOT)? {
        let known = columns.categories.get(&feature.integer(0, -1)?);
        let column = *known.ok_or("categories of a feature that does not exist")?;
        pay(feature.count(1)?)?;
        let test = |category| Test::Is { column, category };
        tests.extend(feature.values(1, i32::from_le_bytes)?.into_iter().map(test));
    }
    let asked = forest.tables(trees::CTR)?;
    if asked.is_empty() {
        return Ok((tests, Statistics::default()));
    }
    let statistics = tables::read(&asked, behind, &columns)?;
    for (index, feature) in asked.iter().enumerate() {
        let column = features.names.len() + index;
        pay(feature.count(tables::BORDERS)?)?;
        let borders = feature.values(tables::BORDERS, f32::from_le_bytes)?;
        tests.extend(borders.into_iter().map(|border| Test::Above {
            column,
            border,
            missing: false,
        }));
    }
    Ok((tests, statistics))
}

/// The trees as they lie in the file.
struct Forest {
    tests: Vec<Test>,
    sizes: Vec<i32>,
    splits: Vec<i32>,
    values: Vec<f64>,
    /// How far to go on without and with the test of a node, in trees that are not symmetric.
    steps: Vec<(u16, u16)>,
    leaves: Vec<u32>,
}

impl Forest {
    fn read(forest: &Table<'_>, tests: Vec<Test>) -> Result<Self, String> {
        Ok(Self {
            tests,
            sizes: forest.values(trees::SIZES, i32::from_le_bytes)?,
            splits: forest.values(trees::SPLITS, i32::from_le_bytes)?,
            values: forest.values(trees::VALUES, f64::from_le_bytes)?,
            steps: forest.values(trees::STEPS, |[a, b, c, d]: [u8; 4]| {
                (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
            })?,
            leaves: forest.values(trees::LEAVES, u32::from_le_bytes)?,
        })
    }

    fn add_to(self, mut model: Catboost, limits: &Limits) -> Result<Catboost, String> {
        let bytes = self.splits.len().saturating_mul(size_of::<Node>());
        if bytes.saturating_add(self.values.len().saturating_mul(8)) > limits.compiled_bytes {
            return Err("more than the limit of compiled bytes".to_owned());
        }
        let symmetric = self.steps.is_empty();
        if !symmetric {
            if self.steps.len() != self.splits.len() || self.leaves.len() != self.splits.len() {
                return Err("expected a step and a leaf for each node".to_owned());
            }
            model.values.clone_from(&self.values);
        }
        let (mut start, mut values) = (0_usize, 0_usize);
        for (index, size) in self.sizes.iter().enumerate() {
            let end = usize::try_from(*size)
                .ok()
                .and_then(|size| start.checked_add(size));
            let end = end.filter(|end| *end <= self.splits.len());
            let end = end.ok_or_else(|| format!("tree {index} has more splits than there are"))?;
            let added = if symmetric {
                self.symmetric(start..end, &mut values, &mut model)
            } else {
                self.nodes(start..end, &mut model)
            };
            added.map_err(|what| format!("tree {index}: {what}"))?;
            start = end;
        }
        Ok(model)
    }

    fn test(&self, split: usize) -> Result<Test, String> {
        let number = self
            .splits
            .get(split)
            .and_then(|number| usize::try_from(*number).ok());
        let test = number.and_then(|number| self.tests.get(number));
        test.copied()
            .ok_or_else(|| "a split asks about a feature that does not exist".to_owned())
    }

    fn symmetric(
        &self,
        splits: std::ops::Range<usize>,
        values: &mut usize,
        model: &mut Catboost,
    ) -> Result<(), String> {
        let leaves = u32::try_from(splits.len())
            .ok()
            .and_then(|depth| 1_usize.checked_shl(depth));
        let end = leaves.and_then(|leaves| leaves.checked_mul(model.outputs)?.checked_add(*values));
        let tests: Result<Vec<Test>, String> = splits.map(|split| self.test(split)).collect();
        let of = end.and_then(|end| self.values.get(*values..end));
        model.add_symmetric(&tests?, of.ok_or("expected values for each leaf")?)?;
        *values = end.unwrap_or(*values);
        Ok(())
    }

    fn nodes(&self, range: std::ops::Range<usize>, model: &mut Catboost) -> Result<(), String> {
        let base = model.nodes.len();
        // Leaves have no test; nodes are counted without them.
        let (mut places, mut next) = (Vec::new(), base);
        for step in self.steps.get(range.clone()).unwrap_or_default() {
            let has_test = *step != (0, 0);
            places.push(has_test.then_some(next));
            next += usize::from(has_test);
        }
        let leaf = |index: usize| {
            let start = self
                .leaves
                .get(index)
                .and_then(|start| usize::try_from(*start).ok());
            let start = start.filter(|start| {
                start
                    .checked_add(model.outputs)
                    .is_some_and(|end| end <= self.values.len())
            });
            start
                .map(Child::Leaf)
                .ok_or_else(|| "a leaf without values".to_owned())
        };
        let child = |index: usize| match index
            .checked_sub(range.start)
            .and_then(|index| places.get(index))
        {
            Some(Some(place)) => Ok(Child::Node(*place)),
            Some(None) => leaf(index),
            None => Err("a node outside of the tree".to_owned()),
        };
        let root = child(range.start)?;
        let mut nodes = Vec::new();
        for (index, (no, yes)) in range
            .clone()
            .zip(self.steps.get(range.clone()).unwrap_or_default())
        {
            if (*no, *yes) == (0, 0) {
                continue;
            }
            // Steps lead forward, so there is no cycle; without one the values are the node's own.
            let next = |step: u16| match step {
                0 => leaf(index),
                step => child(index.saturating_add(usize::from(step))),
            };
            nodes.push(Node {
                test: self.test(index)?,
                no: next(*no)?,
                yes: next(*yes)?,
            });
        }
        model.nodes.extend(nodes);
        model.trees.push(Tree::Nodes(root));
        Ok(())
    }
}
