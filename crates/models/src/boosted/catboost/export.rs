//! The export to JSON (`save_model(format='json')`).

use super::settings::{OTHERS, STATISTICS};
use super::{Catboost, Child, Features, Node, Test, Tree, settings};
use crate::Limits;
use crate::document::{Value, whole};

/// Whether a document is such an export.
pub(crate) fn is_export(document: &Value) -> bool {
    document.find("features_info").is_some()
}

/// # Errors
/// What is damaged or not supported.
pub(crate) fn read(document: &Value, limits: &Limits) -> Result<Catboost, String> {
    let (features, columns) = columns(document.at("features_info")?, limits)?;
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
    let mut model = Catboost::new(features, outputs, scale, bias, answer, classes)?;
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
}

fn columns(information: &Value, limits: &Limits) -> Result<(Features, Columns), String> {
    if list(information, "ctrs").is_some_and(|ctrs| !ctrs.is_empty()) {
        return Err(STATISTICS.to_owned());
    }
    for name in ["text_features", "embedding_features", "estimated_features"] {
        if list(information, name).is_some_and(|features| !features.is_empty()) {
            return Err(OTHERS.to_owned());
        }
    }
    let mut features = Features::default();
    let mut columns = Columns {
        numbers: Vec::new(),
        categories: Vec::new(),
    };
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
    }
    for feature in list(information, "categorical_features").unwrap_or_default() {
        columns.categories.push(add(feature, true)?);
    }
    Ok((features, columns))
}

impl Columns {
    fn symmetric(&self, tree: &Value, model: &mut Catboost) -> Result<(), String> {
        let splits = tree
            .find("splits")
            .map_or(Ok([].as_slice()), |_| tree.list("splits"))?;
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
        let unknown = || "a split asks about a feature that does not exist".to_owned();
        let number = |name: &str| match split.at(name)? {
            Value::Number(number) => Ok(*number),
            _ => Err(format!("expected a number in `{name}`")),
        };
        match split.text("split_type")? {
            "FloatFeature" => {
                let feature = self.numbers.get(split.whole("float_feature_index")?);
                let (column, missing) = *feature.ok_or_else(unknown)?;
                let border = number("border")? as f32;
                if border.is_nan() {
                    return Err("a split without a border".to_owned());
                }
                Ok(Test::Above {
                    column,
                    border,
                    missing,
                })
            }
            "OneHotFeature" => {
                let feature = self.categories.get(split.whole("cat_feature_index")?);
                let value = number("value")?;
                let magnitude = whole(value.abs()).filter(|magnitude| *magnitude <= 1 << 31);
                magnitude.ok_or("a category that is no number of 32 bits")?;
                Ok(Test::Is {
                    column: *feature.ok_or_else(unknown)?,
                    category: value as i32,
                })
            }
            "OnlineCtr" => Err(STATISTICS.to_owned()),
            _ => Err(OTHERS.to_owned()),
        }
    }
}
