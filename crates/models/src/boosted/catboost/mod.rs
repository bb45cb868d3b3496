//! CatBoost's models, of its binary files (`.cbm`) and its export to JSON.
//!
//! Trees ask about numeric features, about categories one by one, and about statistics of the target by category (CTR).
//! Features of text and embeddings are refused.

mod cbm;
mod exponential;
mod export;
mod flat;
mod hash;
mod settings;
mod statistics;
mod tables;

use crate::data::{Data, Intake, rows_of};
use crate::flow::{Grid, Predict};
use crate::kernels::argmax;
use crate::labels::Labels;
use crate::predictor::Output;
use crate::table::{CellRef, Column};
use crate::{InputError, Limits, Precision, Table};
pub(super) use cbm::read as read_cbm;
use exponential::exp;
pub(super) use export::{is_export, read as read_export};
use settings::Answer;
use statistics::Statistics;
use std::borrow::Cow;

/// A model that was validated.
#[derive(Debug, Clone)]
pub(crate) struct Catboost {
    features: Features,
    statistics: Statistics,
    outputs: usize,
    trees: Vec<Tree>,
    /// What the trees ask, one after the other.
    tests: Vec<Test>,
    nodes: Vec<Node>,
    /// `outputs` values for each leaf.
    values: Vec<f64>,
    scale: f64,
    bias: Vec<f64>,
    answer: Answer,
    classes: Option<Labels>,
}

/// The columns.
#[derive(Debug, Clone, Default)]
struct Features {
    names: Vec<String>,
    /// Whether each is of categories.
    categorical: Vec<bool>,
}

#[derive(Debug, Clone, Copy)]
enum Tree {
    /// One test for each level: its answers are the bits of the number of the leaf.
    Symmetric {
        first: usize,
        depth: usize,
        values: usize,
    },
    Nodes(Child),
}

/// A test, and where to go on without and with it.
#[derive(Debug, Clone, Copy)]
struct Node {
    test: Test,
    no: Child,
    yes: Child,
}

#[derive(Debug, Clone, Copy)]
enum Child {
    Node(usize),
    /// Where its values begin.
    Leaf(usize),
}

#[derive(Debug, Clone, Copy)]
enum Test {
    /// Whether a number is above a border; what is missing may count as above. Statistics are columns behind the others.
    Above {
        column: usize,
        border: f32,
        missing: bool,
    },
    /// Whether a category is this.
    Is { column: usize, category: i32 },
}

impl Test {
    fn holds(self, row: &[f64]) -> bool {
        let value = |column: usize| row.get(column).copied().unwrap_or(f64::NAN);
        match self {
            Self::Above {
                column,
                border,
                missing,
            } => match value(column) {
                value if value.is_nan() => missing,
                value => value > f64::from(border),
            },
            Self::Is { column, category } => value(column) == f64::from(category),
        }
    }
}

impl Features {
    /// Adds a column at its place among all.
    fn add(
        &mut self,
        place: Option<usize>,
        name: &str,
        categorical: bool,
        limits: &Limits,
    ) -> Result<usize, String> {
        let place = place.ok_or("a feature without a place")?;
        if place >= limits.objects {
            return Err("more features than the limit of objects".to_owned());
        }
        if self.names.len() <= place {
            self.names.resize(place + 1, String::new());
            self.categorical.resize(place + 1, false);
        }
        if let (Some(known), Some(kind)) =
            (self.names.get_mut(place), self.categorical.get_mut(place))
        {
            name.clone_into(known);
            *kind = categorical;
        }
        Ok(place)
    }
}

impl Catboost {
    /// A model without trees.
    fn new(
        features: Features,
        statistics: Statistics,
        outputs: usize,
        scale: f64,
        bias: Vec<f64>,
        answer: Answer,
        classes: Option<Labels>,
    ) -> Result<Self, String> {
        if !scale.is_finite() || !bias.iter().all(|bias| bias.is_finite()) {
            return Err("the scale or bias is not finite".to_owned());
        }
        let bias = match bias.as_slice() {
            [] => vec![0.0; outputs],
            [one] => vec![*one; outputs],
            several if several.len() == outputs => bias,
            _ => return Err("expected a bias for each output".to_owned()),
        };
        Ok(Self {
            features,
            statistics,
            outputs,
            trees: Vec::new(),
            tests: Vec::new(),
            nodes: Vec::new(),
            values: Vec::new(),
            scale,
            bias,
            answer,
            classes,
        })
    }

    /// Adds a symmetric tree.
    fn add_symmetric(&mut self, tests: &[Test], values: &[f64]) -> Result<(), String> {
        let leaves = u32::try_from(tests.len())
            .ok()
            .and_then(|depth| 1_usize.checked_shl(depth));
        if leaves.and_then(|leaves| leaves.checked_mul(self.outputs)) != Some(values.len()) {
            return Err("expected values for each leaf".to_owned());
        }
        self.trees.push(Tree::Symmetric {
            first: self.tests.len(),
            depth: tests.len(),
            values: self.values.len(),
        });
        self.tests.extend_from_slice(tests);
        self.values.extend_from_slice(values);
        Ok(())
    }

    fn bytes(&self) -> usize {
        let trees = self.trees.len().saturating_mul(size_of::<Tree>());
        let tests = self.tests.len().saturating_mul(size_of::<Test>());
        let nodes = self.nodes.len().saturating_mul(size_of::<Node>());
        let values = self.values.len().saturating_mul(8);
        trees
            .saturating_add(tests)
            .saturating_add(nodes)
            .saturating_add(values)
    }

    pub(super) fn features(&self) -> usize {
        self.features.names.len()
    }

    /// The names of the columns, if all have one.
    pub(super) fn feature_names(&self) -> Option<Vec<String>> {
        let named = !self.features.names.iter().any(String::is_empty);
        named.then(|| self.features.names.clone())
    }

    pub(super) fn classes(&self) -> Option<&Labels> {
        self.classes.as_ref()
    }

    fn leaf(&self, tree: Tree, row: &[f64]) -> usize {
        match tree {
            Tree::Symmetric {
                first,
                depth,
                values,
            } => {
                let tests = self
                    .tests
                    .get(first..)
                    .unwrap_or_default()
                    .iter()
                    .take(depth);
                let bits = tests
                    .enumerate()
                    .map(|(level, test)| usize::from(test.holds(row)) << level);
                values + bits.sum::<usize>() * self.outputs
            }
            Tree::Nodes(mut at) => loop {
                match at {
                    Child::Leaf(values) => return values,
                    Child::Node(index) => match self.nodes.get(index) {
                        Some(node) if node.test.holds(row) => at = node.yes,
                        Some(node) => at = node.no,
                        None => return usize::MAX,
                    },
                }
            },
        }
    }

    /// The sums of rows.
    fn sums(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let intake = Intake {
            estimator: "CatBoost".to_owned(),
            // Columns behind those of the model are not looked at.
            features: (data.columns() < self.features()).then_some(self.features()),
            missing: true,
            infinite: true,
            single: true,
        };
        intake.size(&data)?;
        let rows = rows_of(self.encode(data)?)?;
        let (mut given, mut places, mut sums) = (Vec::new(), Vec::new(), Vec::new());
        let table = rows.map(self.outputs, Precision::Double, |row, out| {
            given.clear();
            let value = |(value, categorical): (&f64, &bool)| {
                if *categorical {
                    *value
                } else {
                    f64::from(*value as f32)
                }
            };
            given.extend(row.iter().zip(&self.features.categorical).map(value));
            self.statistics.add_to(&mut given, &mut places);
            sums.clear();
            sums.resize(self.outputs, 0.0);
            for tree in &self.trees {
                let values = self
                    .values
                    .get(self.leaf(*tree, &given)..)
                    .unwrap_or_default();
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += value;
                }
            }
            out.extend(
                sums.iter()
                    .zip(&self.bias)
                    .map(|(sum, bias)| sum * self.scale + bias),
            );
        })?;
        Ok(Grid::double(table.values().to_vec(), self.outputs))
    }

    /// The data with the numbers of categories in place of the categories.
    fn encode<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        if !self.features.categorical.contains(&true) {
            return Ok(data);
        }
        let is_categorical = |column: usize| self.features.categorical.get(column) == Some(&true);
        match data {
            Data::Table(table) => {
                let mut columns = table.columns().to_vec();
                for (index, (_, column)) in columns.iter_mut().enumerate() {
                    if !is_categorical(index) {
                        continue;
                    }
                    if let Column::Integers(values) = column {
                        let code = |whole: &i128| f64::from(hash::category(&whole.to_string()));
                        let codes = values.iter().map(code).collect();
                        *column = Column::Numbers(codes, Precision::Double);
                    } else {
                        let codes = (0..column.len()).map(|row| match column.cell(row) {
                            CellRef::Text(text) => Ok(f64::from(hash::category(text))),
                            CellRef::Number(number) => category_of(number),
                            CellRef::Integer(whole) => {
                                Ok(f64::from(hash::category(&whole.to_string())))
                            }
                            CellRef::None => category_of(f64::NAN),
                        });
                        *column =
                            Column::Numbers(codes.collect::<Result<_, _>>()?, Precision::Double);
                    }
                }
                Ok(Data::Table(Table::new(columns).map_or(table, Cow::Owned)))
            }
            Data::Rows(rows) => {
                let mut error = None;
                let coded = rows.map(rows.columns(), Precision::Double, |row, out| {
                    for (column, value) in row.iter().enumerate() {
                        if !is_categorical(column) {
                            out.push(*value);
                            continue;
                        }
                        match category_of(*value) {
                            Ok(code) => out.push(code),
                            Err(refused) => error = Some(refused),
                        }
                    }
                })?;
                error.map_or(Ok(coded.into()), Err)
            }
        }
    }
}

/// The number of a category that is a whole number, which CatBoost takes for its digits.
fn category_of(number: f64) -> Result<f64, InputError> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Ok(f64::from(hash::category(&(number as i64).to_string())));
    }
    Err(InputError::Domain {
        estimator: "CatBoost".to_owned(),
        what: format!("the category {number}: expected text or a whole number"),
    })
}

impl Predict for Catboost {
    fn predict(&self, data: Data<'_>) -> Result<Output, InputError> {
        let mut sums = self.sums(data)?;
        let columns = sums.columns.max(1);
        let class = |row: &[f64]| match row {
            [sum] => u32::from(*sum > 0.0),
            several => argmax(several.iter().copied()),
        };
        match self.answer {
            Answer::Raw => {}
            Answer::Exponential => sums.values.iter_mut().for_each(|sum| *sum = exp(*sum)),
            Answer::Uncertainty => {
                let variances = sums.values.iter_mut().skip(1).step_by(2);
                variances.for_each(|sum| *sum = exp(*sum * 2.0));
            }
            Answer::Binary | Answer::Softmax | Answer::OneVsAll => {
                return Ok(Output::Classes(
                    sums.values.chunks_exact(columns).map(class).collect(),
                ));
            }
        }
        Ok(sums.into_output())
    }

    fn has_probabilities(&self) -> bool {
        self.classes.is_some()
    }

    fn probabilities(&self, data: Data<'_>) -> Result<Grid, InputError> {
        let mut sums = self.sums(data)?;
        let logistic = |sum: f64| 1.0 / (1.0 + (-sum).exp());
        if self.answer == Answer::Binary {
            let second = sums.values.iter().map(|sum| logistic(*sum));
            return Ok(Grid::double(
                second.flat_map(|second| [1.0 - second, second]).collect(),
                2,
            ));
        }
        for row in sums.values.chunks_exact_mut(sums.columns.max(1)) {
            match self.answer {
                Answer::OneVsAll => row.iter_mut().for_each(|sum| *sum = logistic(*sum)),
                _ => softmax(row),
            }
        }
        Ok(sums)
    }
}

fn softmax(sums: &mut [f64]) {
    let largest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut total = 0.0;
    for sum in &mut *sums {
        *sum = exp(*sum - largest);
        total += *sum;
    }
    sums.iter_mut().for_each(|sum| *sum /= total);
}
