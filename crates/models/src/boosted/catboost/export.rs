//! The export to JSON (`save_model(format='json')`).

use super::settings::OTHERS;
use super::statistics::{Counted, Element, Kind, Lookup, Statistic, Statistics};
use super::{Catboost, Child, Features, Node, Test, Tree, settings};
use crate::Limits;
use crate::document::Value;
use std::collections::HashMap;

/// Whether a document is such an export.
pub(crate) fn is_export(document: &Value) -> bool {
    document.find("features_info").is_some()
}

/// # Errors
/// What is damaged or not supported.
pub(crate) fn read(document: &Value, limits: &Limits) -> Result<Catboost, String> {
    let described = document.at("features_info")?;
    let (features, mut columns) = columns(described, limits)?;
    let statistics = columns.statistics(document, described, features.names.len())?;
    let information = document.at("model_info")?;
    let (scale, bias) = scale_and_bias(document)?;
    let outputs = bias.len().max(1);
    let (answer, classes) = settings::read(
        information.find("params"),
        information.find("class_params"),
        outputs,
    )?;
    if information.find("binclass_probability_threshold").is_some() {
        return Err("a threshold of one's own for the second class is not supported".to_owned());
    }
    let mut model = Catboost::new(features, statistics, outputs, scale, bias, answer, classes)?;
    let symmetric = document.find("oblivious_trees").is_some();
    let trees = document.list(if symmetric {
        "oblivious_trees"
    } else {
        "trees"
    })?;
    for (index, tree) in trees.iter().enumerate() {
        let added = if symmetric {
            columns.symmetric(tree, &mut model)
        } else {
            let root = columns.node(tree, &mut model);
            root.map(|root| model.trees.push(Tree::Nodes(root)))
        };
        added.map_err(|what| format!("tree {index}: {what}"))?;
        if model.bytes() > limits.compiled_bytes {
            return Err("more than the limit of compiled bytes".to_owned());
        }
    }
    Ok(model)
}

fn scale_and_bias(document: &Value) -> Result<(f64, Vec<f64>), String> {
    let Some([Value::Number(scale), bias]) = list(document, "scale_and_bias") else {
        return Err("expected `scale_and_bias`".to_owned());
    };
    match bias {
        Value::Numbers(bias) => Ok((*scale, bias.clone())),
        Value::Number(bias) => Ok((*scale, vec![*bias])),
        _ => Err("expected `scale_and_bias`".to_owned()),
    }
}

fn list<'v>(document: &'v Value, name: &str) -> Option<&'v [Value]> {
    match document.find(name)? {
        Value::List(values) => Some(values),
        _ => None,
    }
}

/// Where features of one kind are among all columns.
struct Columns {
    /// With whether what is missing counts as above.
    numbers: Vec<(usize, bool)>,
    categories: Vec<usize>,
    /// What trees ask of statistics, each border of each, and the number of the first among all that they ask.
    statistics: Vec<Test>,
    first_statistic: usize,
}

fn columns(information: &Value, limits: &Limits) -> Result<(Features, Columns), String> {
    for name in ["text_features", "embedding_features", "estimated_features"] {
        if list(information, name).is_some_and(|features| !features.is_empty()) {
            return Err(OTHERS.to_owned());
        }
    }
    let mut features = Features::default();
    let mut columns = Columns {
        numbers: Vec::new(),
        categories: Vec::new(),
        statistics: Vec::new(),
        first_statistic: 0,
    };
    let mut asked = 0_usize;
    let mut add = |feature: &Value, categorical| {
        let name = feature.text("feature_id").unwrap_or_default();
        features.add(
            feature.whole("flat_feature_index").ok(),
            name,
            categorical,
            limits,
        )
    };
    for feature in list(information, "float_features").unwrap_or_default() {
        let treatment = feature.text("nan_value_treatment").unwrap_or("AsIs");
        let nans = matches!(feature.find("has_nans"), Some(Value::Number(truth)) if *truth != 0.0);
        columns
            .numbers
            .push((add(feature, false)?, nans && treatment == "AsTrue"));
        asked = asked.saturating_add(length(feature, "borders"));
    }
    for feature in list(information, "categorical_features").unwrap_or_default() {
        columns.categories.push(add(feature, true)?);
        asked = asked.saturating_add(length(feature, "values"));
    }
    columns.first_statistic = asked;
    Ok((features, columns))
}

/// The length of a list of numbers.
fn length(feature: &Value, name: &str) -> usize {
    feature.numbers(name).map_or(0, <[f64]>::len)
}

fn unknown() -> String {
    "a split asks about a feature that does not exist".to_owned()
}

fn number(of: &Value, name: &str) -> Result<f64, String> {
    match of.at(name)? {
        Value::Number(number) => Ok(*number),
        _ => Err(format!("expected a number in `{name}`")),
    }
}

/// A whole number of 32 bits.
fn integer(value: f64) -> Result<i32, String> {
    match value.fract() == 0.0 && value.abs() <= f64::from(1_u32 << 31) {
        true => Ok(value as i32),
        false => Err("a category or count that is no number of 32 bits".to_owned()),
    }
}

impl Columns {
    fn symmetric(&self, tree: &Value, model: &mut Catboost) -> Result<(), String> {
        // A tree without splits has none, or `null`.
        let splits = match tree.find("splits") {
            None | Some(Value::Null) => &[],
            Some(_) => tree.list("splits")?,
        };
        let tests: Result<Vec<Test>, String> =
            splits.iter().map(|split| self.test(split)).collect();
        model.add_symmetric(&tests?, tree.numbers("leaf_values")?)
    }

    /// Adds a node and those below it. The document bounds how deep they are.
    fn node(&self, node: &Value, model: &mut Catboost) -> Result<Child, String> {
        if let Some(value) = node.find("value") {
            let start = model.values.len();
            match value {
                Value::Number(value) => model.values.push(*value),
                Value::Numbers(values) => model.values.extend_from_slice(values),
                _ => {}
            }
            return match model.values.len() - start == model.outputs {
                true => Ok(Child::Leaf(start)),
                false => Err("expected values for each leaf".to_owned()),
            };
        }
        let test = self.test(node.at("split")?)?;
        let no = self.node(node.at("left")?, model)?;
        let yes = self.node(node.at("right")?, model)?;
        model.nodes.push(Node { test, no, yes });
        Ok(Child::Node(model.nodes.len() - 1))
    }

    fn test(&self, split: &Value) -> Result<Test, String> {
        match split.text("split_type")? {
            "FloatFeature" => self.above(split),
            "OneHotFeature" => self.is(split),
            "OnlineCtr" => {
                let index = split
                    .whole("split_index")?
                    .checked_sub(self.first_statistic);
                let test = index.and_then(|index| self.statistics.get(index));
                test.copied().ok_or_else(unknown)
            }
            _ => Err(OTHERS.to_owned()),
        }
    }

    fn above(&self, split: &Value) -> Result<Test, String> {
        let feature = self.numbers.get(split.whole("float_feature_index")?);
        let (column, missing) = *feature.ok_or_else(unknown)?;
        let border = number(split, "border")? as f32;
        if border.is_nan() {
            return Err("a split without a border".to_owned());
        }
        Ok(Test::Above {
            column,
            border,
            missing,
        })
    }

    fn category(&self, of: &Value) -> Result<usize, String> {
        let feature = self.categories.get(of.whole("cat_feature_index")?);
        feature.copied().ok_or_else(unknown)
    }

    fn is(&self, split: &Value) -> Result<Test, String> {
        Ok(Test::Is {
            column: self.category(split)?,
            category: integer(number(split, "value")?)?,
        })
    }

    /// Reads the statistics, which follow `width` columns, and what can be asked of them.
    fn statistics(
        &mut self,
        document: &Value,
        described: &Value,
        width: usize,
    ) -> Result<Statistics, String> {
        let (mut lookups, mut all, mut known) = (Vec::new(), Vec::new(), HashMap::new());
        for statistic in list(described, "ctrs").unwrap_or_default() {
            let kind = match statistic.text("ctr_type")? {
                "Borders" => Kind::Borders,
                "Buckets" => Kind::Buckets,
                "BinarizedTargetMeanValue" | "FloatTargetMeanValue" => Kind::Mean,
                "Counter" | "FeatureFreq" => Kind::Counter,
                _ => return Err("a statistic of an unknown kind".to_owned()),
            };
            let name = statistic.text("identifier")?;
            let lookup = match known.get(name) {
                Some(lookup) => *lookup,
                None => {
                    let table = document.at("ctr_data")?.at(name)?;
                    lookups.push(self.lookup(kind, statistic, table)?);
                    known.insert(name, lookups.len() - 1);
                    lookups.len() - 1
                }
            };
            let column = width.saturating_add(all.len());
            for border in statistic.numbers("borders")? {
                self.statistics.push(Test::Above {
                    column,
                    border: *border as f32,
                    missing: false,
                });
            }
            all.push(Statistic {
                lookup,
                kind,
                border: statistic.whole("target_border_idx")?,
                prior: number(statistic, "prior_numerator")? as f32,
                prior_rows: number(statistic, "prior_denomerator")? as f32,
                shift: number(statistic, "shift")? as f32,
                scale: number(statistic, "scale")? as f32,
            });
        }
        Statistics::new(lookups, all)
    }

    fn lookup(&self, kind: Kind, statistic: &Value, table: &Value) -> Result<Lookup, String> {
        let mut elements = Vec::new();
        for element in statistic.list("elements")? {
            elements.push(match element.text("combination_element")? {
                "cat_feature_value" => Element::Category(self.category(element)?),
                "float_feature" => Element::Test(self.above(element)?),
                "cat_feature_exact_value" => Element::Test(self.is(element)?),
                _ => return Err("a statistic of an unknown feature".to_owned()),
            });
        }
        let stride = table.whole("hash_stride")?;
        let width = match kind {
            Kind::Borders | Kind::Buckets => stride.saturating_sub(1),
            Kind::Mean => 2,
            Kind::Counter => 1,
        };
        let list = table.list("hash_map")?;
        if width == 0 || width.checked_add(1) != Some(stride) || list.len() % stride != 0 {
            return Err("counts that do not fit their kind".to_owned());
        }
        let (mut places, mut counts, mut means) = (Vec::new(), Vec::new(), Vec::new());
        for (place, entry) in (0_u32..).zip(list.chunks_exact(stride)) {
            let [Value::Text(hash), values @ ..] = entry else {
                return Err("counts without the hash of a category".to_owned());
            };
            let hash = hash.parse().map_err(|_| "a hash that is no number")?;
            places.push((hash, place));
            let value = |value: &Value| match value {
                Value::Number(value) => Ok(*value),
                _ => Err("counts that are no numbers".to_owned()),
            };
            match (kind, values) {
                (Kind::Mean, [sum, rows]) => {
                    means.push((value(sum)? as f32, integer(value(rows)?)?))
                }
                _ => {
                    for count in values {
                        counts.push(integer(value(count)?)?);
                    }
                }
            }
        }
        let counted = match kind {
            Kind::Borders | Kind::Buckets => Counted::Classes(counts, width),
            Kind::Mean => Counted::Means(means),
            Kind::Counter => Counted::Rows(counts, integer(number(table, "counter_denominator")?)?),
        };
        Lookup::new(elements, places, counted)
    }
}
