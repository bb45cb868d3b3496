//! `sidegate model check`: a model's answers beside those that were recorded elsewhere.

use std::process::ExitCode;

use models::{Graph, Matrix, Output, Precision, Predictor, Values};
use serde_json::json;

use super::rows::{self, Expected, Rows};
use super::{Answer, CheckArgs, Model, bad, load, outputs, shown};
use crate::cli::Output as Form;
use crate::output;

/// Differences that are told one by one.
const TOLD: usize = 10;

/// What comparing showed.
#[derive(Debug, Default, PartialEq)]
struct Compared {
    rows: usize,
    /// Rows in which something is further apart than allowed, and what.
    different: Vec<(usize, String)>,
    /// How far numbers are apart at most, in units of the last place; `None` for labels.
    ulps: Option<u64>,
    /// The same as a number.
    apart: f64,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let loaded = load(&args.file)?;
    let rows = rows::of(&args.data, !args.no_header, &loaded.model)?;
    let expected = rows::expected(&args.expect, !args.no_header)?;
    let compared = match &loaded.model {
        Model::Predictor(predictor) => predicted(args, predictor, &rows, &expected)?,
        Model::Graph(graph) => output_of(args, graph, &rows, &expected)?,
    };
    let compared = compared.map_err(|error| bad(&args.expect, &error))?;
    tell(args, &compared)
}

/// Compares an answer of a predictor; the inner error is about what is expected.
fn predicted(
    args: &CheckArgs,
    predictor: &Predictor,
    rows: &Rows,
    expected: &Expected,
) -> anyhow::Result<Result<Compared, String>> {
    if args.tensor.is_some() {
        return Err(bad(&args.file.path, &"`--tensor` is for graphs of ONNX").into());
    }
    let answer = args
        .answer
        .of(predictor, rows.input())
        .map_err(|error| bad(&args.data, &error))?;
    let Some(answer) = answer else {
        let class = &predictor.about().class;
        return Err(bad(&args.file.path, &format!("`{class}` has no such answer")).into());
    };
    Ok(match &answer {
        Output::Classes(classes) | Output::ClassTable { classes, .. } => {
            let names = predictor.classes().map(shown).unwrap_or_default();
            let name = |class: &u32| {
                let class = usize::try_from(*class).ok();
                class.and_then(|class| names.get(class)).cloned()
            };
            let found: Vec<String> = classes
                .iter()
                .map(|c| name(c).unwrap_or_default())
                .collect();
            let columns = match &answer {
                Output::ClassTable { columns, .. } => *columns,
                _ => 1,
            };
            labels(&found, columns, expected)
        }
        Output::Values(values, precision) => numbers(values, 1, *precision, expected, args.ulps),
        Output::Table {
            values,
            columns,
            precision,
        } => numbers(values, *columns, *precision, expected, args.ulps),
    })
}

/// Compares an output of a graph: floats as numbers, everything else as labels.
fn output_of(
    args: &CheckArgs,
    graph: &Graph,
    rows: &Rows,
    expected: &Expected,
) -> anyhow::Result<Result<Compared, String>> {
    if args.answer != Answer::Predict {
        let what = "a graph has outputs and no such answer: name one with `--tensor NAME`";
        return Err(bad(&args.file.path, &what).into());
    }
    let names = graph.outputs().iter().map(|port| port.name.as_str());
    let place = match &args.tensor {
        None => 0,
        Some(name) => names
            .clone()
            .position(|known| known == name)
            .ok_or_else(|| {
                let known: Vec<&str> = names.clone().collect();
                let what = format!("it has no output `{name}`: expected {}", known.join(", "));
                bad(&args.file.path, &what)
            })?,
    };
    let outputs = outputs(graph, rows.input()).map_err(|error| bad(&args.data, &error))?;
    let tensor = outputs.get(place);
    let tensor = tensor.ok_or_else(|| bad(&args.file.path, &"it has no output"))?;
    let columns = match tensor.shape() {
        [] | [_] => 1,
        [_, rest @ ..] => rest.iter().product(),
    };
    let texts = |texts: Vec<String>| labels(&texts, columns, expected);
    Ok(match tensor.values() {
        Values::Float(values) => {
            let values: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            numbers(&values, columns, Precision::Single, expected, args.ulps)
        }
        Values::Double(values) => numbers(values, columns, Precision::Double, expected, args.ulps),
        Values::Int64(values) => texts(values.iter().map(ToString::to_string).collect()),
        Values::Int32(values) => texts(values.iter().map(ToString::to_string).collect()),
        Values::Bool(values) => texts(values.iter().map(ToString::to_string).collect()),
        Values::Text(values) => texts(values.clone()),
    })
}

fn tell(args: &CheckArgs, compared: &Compared) -> anyhow::Result<ExitCode> {
    let is_equal = compared.different.is_empty();
    if args.file.output == Form::Json {
        let told = compared.different.iter();
        let told: Vec<_> = told
            .map(|(row, what)| json!({"row": row, "what": what}))
            .collect();
        let document = json!({
            "rows": compared.rows,
            "different": told,
            "maxUlps": compared.ulps,
            "maxDifference": compared.apart,
        });
        output::data(&format!("{document:#}"))?;
    } else {
        let mut lines: Vec<String> = compared
            .different
            .iter()
            .take(TOLD)
            .map(|(row, what)| format!("row {row}: {what}"))
            .collect();
        let more = compared.different.len().saturating_sub(TOLD);
        if more > 0 {
            lines.push(format!("… {more} more rows differ"));
        }
        let apart = match compared.ulps {
            None => "labels equal".to_owned(),
            Some(0) => "every number equal bit for bit".to_owned(),
            Some(ulps) => format!("at most {ulps} ulps apart ({:e})", compared.apart),
        };
        lines.push(match compared.different.len() {
            0 => format!("{} rows: {apart}", compared.rows),
            count => format!("{count} of {} rows differ", compared.rows),
        });
        output::data(&lines.join("\n"))?;
    }
    Ok(match is_equal {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn labels(found: &[String], columns: usize, expected: &Expected) -> Result<Compared, String> {
    let (wanted, there): (Vec<String>, usize) = match expected {
        Expected::Texts { values, columns } => (values.clone(), *columns),
        Expected::Numbers(matrix) => {
            let values = matrix.values().iter().map(ToString::to_string);
            (values.collect(), matrix.columns())
        }
    };
    if there != columns {
        return Err(format!(
            "expected {columns} labels for each row, found {there}"
        ));
    }
    count(found.len(), wanted.len())?;
    let columns = columns.max(1);
    let mut out = Compared {
        rows: found.len() / columns,
        ..Compared::default()
    };
    let rows = found.chunks_exact(columns).zip(wanted.chunks(columns));
    for (row, (found, wanted)) in rows.enumerate() {
        let pairs = found.iter().zip(wanted).enumerate();
        let different = pairs.filter(|(_, (found, wanted))| !is_label(found, wanted));
        for (column, (found, wanted)) in different.take(1) {
            let place = match columns {
                1 => String::new(),
                _ => format!("column {column}: "),
            };
            out.different
                .push((row, format!("{place}{found}, expected {wanted}")));
        }
    }
    Ok(out)
}

/// Whether a label is written so: `1.0` is the label 1.
fn is_label(label: &str, written: &str) -> bool {
    let number = |text: &str| match text {
        "true" | "True" => Some(1.0),
        "false" | "False" => Some(0.0),
        _ => text.parse::<f64>().ok(),
    };
    label == written || number(label).is_some_and(|n| Some(n) == number(written))
}

fn numbers(
    values: &[f64],
    columns: usize,
    precision: Precision,
    expected: &Expected,
    allowed: u64,
) -> Result<Compared, String> {
    let wanted = match expected {
        Expected::Numbers(matrix) => matrix.clone(),
        Expected::Texts { values, columns } => {
            let parsed = values.iter().map(|text| {
                let number = text.parse::<f64>();
                number.map_err(|_| format!("expected numbers, found `{text:.40}`"))
            });
            let parsed = parsed.collect::<Result<Vec<f64>, _>>()?;
            let rows = parsed.len() / (*columns).max(1);
            Matrix::new(parsed, rows, *columns, Precision::Double)
                .ok_or("rows of different lengths")?
        }
    };
    let columns = columns.max(1);
    if wanted.columns() != columns {
        return Err(format!(
            "expected {columns} numbers for each row, found {}",
            wanted.columns()
        ));
    }
    count(values.len() / columns, wanted.rows())?;
    let mut out = Compared {
        rows: wanted.rows(),
        ulps: Some(0),
        ..Compared::default()
    };
    let rows = values.chunks_exact(columns).zip(wanted.iter());
    for (row, (found, wanted)) in rows.enumerate() {
        let mut worst: Option<(u64, String)> = None;
        for (column, (found, wanted)) in found.iter().zip(wanted).enumerate() {
            let apart = ulps(*found, *wanted, precision);
            out.ulps = out.ulps.max(Some(apart));
            if found.is_finite() && wanted.is_finite() {
                out.apart = out.apart.max((found - wanted).abs());
            }
            if apart > allowed && worst.as_ref().is_none_or(|(most, _)| apart > *most) {
                let place = match columns {
                    1 => String::new(),
                    _ => format!("column {column}: "),
                };
                let text = format!("{place}{found:?}, expected {wanted:?} ({apart} ulps)");
                worst = Some((apart, text));
            }
        }
        out.different.extend(worst.map(|(_, text)| (row, text)));
    }
    Ok(out)
}

fn count(found: usize, expected: usize) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!(
            "it has {expected} rows, and there are {found} answers: does its first line hold names? Else say `--no-header`"
        )),
    }
}

/// How many numbers of that precision are between two. All NaN are one.
fn ulps(a: f64, b: f64, precision: Precision) -> u64 {
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() && b.is_nan() {
            0
        } else {
            u64::MAX
        };
    }
    // Numbers in order have their bits in order, but for the sign.
    let (a, b) = match precision {
        Precision::Double => (ordered(a.to_bits(), 63), ordered(b.to_bits(), 63)),
        Precision::Single => (
            ordered((a as f32).to_bits().into(), 31),
            ordered((b as f32).to_bits().into(), 31),
        ),
    };
    u64::try_from(a.abs_diff(b)).unwrap_or(u64::MAX)
}

fn ordered(bits: u64, sign: u32) -> i128 {
    let magnitude = i128::from(bits & !(1 << sign));
    if bits >> sign == 0 {
        magnitude
    } else {
        -magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulps_count_the_numbers_between() {
        let next = f64::from_bits(1f64.to_bits() + 3);
        assert_eq!(ulps(1.0, next, Precision::Double), 3);
        assert_eq!(ulps(1.0, next, Precision::Single), 0);
        assert_eq!(ulps(0.0, -0.0, Precision::Double), 0);
        let least = f64::from_bits(1);
        assert_eq!(ulps(-least, least, Precision::Double), 2);
        assert_eq!(ulps(f64::NAN, f64::NAN, Precision::Single), 0);
        assert_eq!(ulps(f64::NAN, 1.0, Precision::Double), u64::MAX);
    }

    #[test]
    fn labels_are_compared_as_numbers_where_they_are_some() {
        assert!(is_label("1", "1.0") && is_label("true", "1") && is_label("a", "a"));
        assert!(!is_label("1", "2") && !is_label("a", "b") && !is_label("a", "1"));
    }

    #[test]
    fn labels_of_several_outputs_are_compared_row_by_row() {
        let expected = Expected::Texts {
            values: ["a", "1", "b", "0"].map(str::to_owned).to_vec(),
            columns: 2,
        };
        let found = ["a", "1", "b", "1"].map(str::to_owned);
        let found_in = labels(&found, 2, &expected).unwrap();
        assert_eq!(found_in.rows, 2);
        assert_eq!(
            found_in.different,
            [(1, "column 1: 1, expected 0".to_owned())]
        );
        assert!(labels(&found, 1, &expected).is_err());
    }

    #[test]
    fn the_worst_of_a_row_is_told() {
        let expected = Expected::Texts {
            values: ["1", "2", "3", "4.5"].map(str::to_owned).to_vec(),
            columns: 2,
        };
        let found = numbers(&[1.0, 2.0, 3.1, 4.6], 2, Precision::Double, &expected, 4).unwrap();
        assert_eq!(found.rows, 2);
        let [(1, text)] = found.different.as_slice() else {
            panic!("{found:?}");
        };
        assert!(text.starts_with("column 0: 3.1, expected 3.0"), "{text}");
        assert!((found.apart - 0.1).abs() < 1e-9);
        assert!(numbers(&[1.0], 1, Precision::Double, &expected, 4).is_err());
    }
}
