//! What a model says about its training: the loss, from which follows what it answers, and the classes.

use crate::document::Value;
use crate::labels::{IntegerType, Labels};

/// What is made of the sums of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Raw,
    Exponential,
    /// A mean and a variance.
    Uncertainty,
    /// The second of two classes if the sum is positive.
    Binary,
    Softmax,
    /// A logistic function for each class.
    OneVsAll,
}

/// What models of that many outputs with these settings answer, and their classes.
///
/// # Errors
/// A loss that is not supported, or classes that do not fit the outputs.
pub(super) fn read(
    parameters: Option<&Value>,
    classes: Option<&Value>,
    outputs: usize,
) -> Result<(Answer, Option<Labels>), String> {
    let loss = parameters.and_then(|parameters| parameters.find("loss_function"));
    let loss = loss.map(|loss| loss.text("type")).transpose()?;
    let answer = match loss {
        Some("Logloss" | "CrossEntropy" | "Focal") => Answer::Binary,
        Some("MultiClass") => Answer::Softmax,
        Some("MultiClassOneVsAll") => Answer::OneVsAll,
        Some("Poisson" | "Tweedie") => Answer::Exponential,
        Some("RMSEWithUncertainty") if outputs == 2 => Answer::Uncertainty,
        Some(
            "RMSE"
            | "MAE"
            | "Quantile"
            | "MultiQuantile"
            | "Expectile"
            | "LogLinQuantile"
            | "MAPE"
            | "Lq"
            | "Huber"
            | "LogCosh"
            | "MultiRMSE"
            | "MultiRMSEWithMissingValues"
            | "SurvivalAft"
            | "Cox"
            | "PairLogit"
            | "PairLogitPairwise"
            | "YetiRank"
            | "YetiRankPairwise"
            | "LambdaMart"
            | "StochasticFilter"
            | "StochasticRank"
            | "QueryCrossEntropy"
            | "QueryRMSE"
            | "QuerySoftMax"
            | "GroupQuantile",
        ) => Answer::Raw,
        Some(other) => {
            let shown: String = other.chars().take(64).collect();
            return Err(format!("the loss `{shown}` is not supported"));
        }
        None if classes.is_some() => return Err("classes without a loss".to_owned()),
        None => Answer::Raw,
    };
    let expected = match answer {
        Answer::Binary if outputs == 1 => 2,
        Answer::Softmax | Answer::OneVsAll if outputs > 1 => outputs,
        Answer::Binary | Answer::Softmax | Answer::OneVsAll => {
            return Err(format!("{outputs} outputs do not fit the loss"));
        }
        Answer::Raw | Answer::Exponential | Answer::Uncertainty => return Ok((answer, None)),
    };
    // Without names classes are numbers.
    let named =
        classes.filter(|classes| classes.find("class_names") != Some(&Value::Numbers(Vec::new())));
    let labels = match named {
        Some(classes) => labels(classes)?,
        None => Labels::Integers((0..).take(expected).collect(), IntegerType::Int64),
    };
    if labels.len() != expected {
        return Err(format!("{} classes, expected {expected}", labels.len()));
    }
    Ok((answer, Some(labels)))
}

fn labels(classes: &Value) -> Result<Labels, String> {
    let wrong = || "the classes are not of their type".to_owned();
    match classes.text("class_label_type")? {
        "String" => {
            let text = |name: &Value| match name {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            };
            let names = classes.list("class_names")?.iter().map(text);
            names
                .collect::<Option<_>>()
                .map(Labels::Strings)
                .ok_or_else(wrong)
        }
        "Integer" => {
            let integer =
                |value: &f64| (value.fract() == 0.0 && value.abs() < 9e15).then_some(*value as i64);
            let names = classes.numbers("class_names")?.iter().map(integer);
            let names: Option<_> = names.collect();
            names
                .map(|names| Labels::Integers(names, IntegerType::Int64))
                .ok_or_else(wrong)
        }
        "Float" => Ok(Labels::Floats(classes.numbers("class_names")?.to_vec())),
        "Boolean" => {
            let names = classes
                .numbers("class_names")?
                .iter()
                .map(|value| *value != 0.0);
            Ok(Labels::Booleans(names.collect()))
        }
        _ => Err(wrong()),
    }
}

/// What to say about features that are no numbers and no categories asked one by one.
pub(super) const OTHERS: &str =
    "features of text or embeddings, which are not supported: serve it with the Python image";
