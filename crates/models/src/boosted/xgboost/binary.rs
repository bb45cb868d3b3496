//! XGBoost's old binary format (`binf`, written up to 3.0; before 1.1 without these letters), as the document that JSON would hold.
//!
//! Little-endian structures as they lie in memory: `LearnerModelParamLegacy`, `GBTreeModelParam`, `TreeParam` and the nodes
//! of `RegTree`. Attributes at the end do not change answers and are not read.

use super::objective::Objective;
use crate::document::{Source, Value};

/// # Errors
/// Bytes that are no such file.
pub(crate) fn read(source: &mut Source<'_>) -> Result<Value, String> {
    // Files of 1.0 and before begin with the intercept.
    let first: [u8; 4] = source.array()?;
    let base = f32::from_le_bytes(match &first {
        b"binf" => source.array()?,
        _ => first,
    });
    let features = word(source)?;
    let classes = word(source)?;
    // Whether attributes and metrics follow.
    source.take(8)?;
    let major = word(source)?;
    let minor = word(source)?;
    let targets = word(source)?;
    source.take(4 + 25 * 4)?;
    let objective = text(source)?;
    let booster = text(source)?;
    let base = if major < 1 && !objective.starts_with("multi:") {
        // Before 1.0 the intercept was kept as a sum.
        let mut sums = vec![base];
        Objective::named(&objective)?.finish(&mut sums);
        sums.first().copied().unwrap_or(base)
    } else {
        base
    };
    // A number of targets came with 1.7; before, its place was reserved.
    let targets = if (major, minor) < (1, 6) { 1 } else { targets };
    let gradient = match booster.as_str() {
        "gbtree" => vec![("name", Value::Text(booster)), ("model", trees(source)?)],
        "dart" => {
            let model = object(vec![("model", trees(source)?)]);
            let weights = Value::Numbers(floats(source)?);
            vec![
                ("name", Value::Text(booster)),
                ("gbtree", model),
                ("weight_drop", weights),
            ]
        }
        "gblinear" => {
            source.take(34 * 4)?;
            let model = object(vec![("weights", Value::Numbers(floats(source)?))]);
            vec![("name", Value::Text(booster)), ("model", model)]
        }
        _ => return Err("an unknown booster".to_owned()),
    };
    let parameters = vec![
        ("base_score", Value::Text(base.to_string())),
        ("num_feature", Value::Number(f64::from(features))),
        ("num_class", Value::Number(f64::from(classes))),
        ("num_target", Value::Number(f64::from(targets))),
    ];
    let learner = vec![
        ("learner_model_param", object(parameters)),
        ("objective", object(vec![("name", Value::Text(objective))])),
        ("gradient_booster", object(gradient)),
    ];
    Ok(object(vec![("learner", object(learner))]))
}

/// Where the name of the objective is in a file without the four letters before it.
const OBJECTIVE: usize = 136;

/// Whether bytes are a file as XGBoost 1.0 and before wrote it, by the name of its objective.
pub(crate) fn is_headless(bytes: &[u8]) -> bool {
    let name = bytes.get(OBJECTIVE..).and_then(<[u8]>::split_first_chunk);
    let Some((length, rest)) = name else {
        return false;
    };
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let kinds = ["reg:", "binary:", "multi:", "rank:", "count:", "survival:"];
    let name = rest.get(..length.min(64)).unwrap_or_default();
    kinds.iter().any(|kind| name.starts_with(kind.as_bytes()))
}

fn object(entries: Vec<(&str, Value)>) -> Value {
    let entries = entries.into_iter();
    Value::Object(
        entries
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

fn word(source: &mut Source<'_>) -> Result<u32, String> {
    Ok(u32::from_le_bytes(source.array()?))
}

fn length(source: &mut Source<'_>) -> Result<usize, String> {
    let length = u64::from_le_bytes(source.array()?);
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= source.left());
    length.ok_or_else(|| "the file ends early".to_owned())
}

fn text(source: &mut Source<'_>) -> Result<String, String> {
    let length = length(source)?;
    String::from_utf8(source.take(length)?.to_vec()).map_err(|_| "text is not UTF-8".to_owned())
}

fn floats(source: &mut Source<'_>) -> Result<Vec<f64>, String> {
    let count = length(source)?;
    let number = |_| Ok(f64::from(f32::from_le_bytes(source.array()?)));
    (0..count).map(number).collect()
}

fn trees(source: &mut Source<'_>) -> Result<Value, String> {
    let count = usize::try_from(word(source)?).unwrap_or(usize::MAX);
    source.take(160 - 4)?;
    let mut trees = Vec::new();
    for _ in 0..count {
        trees.push(tree(source)?);
    }
    let mut outputs = Vec::new();
    for _ in 0..count {
        outputs.push(f64::from(word(source)?));
    }
    Ok(object(vec![
        ("trees", Value::List(trees)),
        ("tree_info", Value::Numbers(outputs)),
    ]))
}

fn tree(source: &mut Source<'_>) -> Result<Value, String> {
    source.pay()?;
    source.take(4)?;
    let count = usize::try_from(word(source)?).unwrap_or(usize::MAX);
    // Deleted nodes, depth and features.
    source.take(12)?;
    if word(source)? > 1 {
        return Err("leaves of several values".to_owned());
    }
    source.take(31 * 4)?;
    if count
        .checked_mul(36)
        .is_none_or(|bytes| bytes > source.left())
    {
        return Err("the file ends early".to_owned());
    }
    let mut columns: [Vec<f64>; 5] = Default::default();
    let [left, right, split, default_left, condition] = &mut columns;
    for _ in 0..count {
        // The parent.
        source.take(4)?;
        left.push(f64::from(i32::from_le_bytes(source.array()?)));
        right.push(f64::from(i32::from_le_bytes(source.array()?)));
        let index = word(source)?;
        split.push(f64::from(index & 0x7fff_ffff));
        default_left.push(f64::from(index >> 31));
        condition.push(f64::from(f32::from_le_bytes(source.array()?)));
    }
    source.take(count * 16)?;
    let [left, right, split, default_left, condition] = columns.map(Value::Numbers);
    Ok(object(vec![
        ("left_children", left),
        ("right_children", right),
        ("split_indices", split),
        ("split_conditions", condition),
        ("default_left", default_left),
        ("tree_param", object(Vec::new())),
    ]))
}
