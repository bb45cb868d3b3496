//! `sidegate model inspect`.

use std::process::ExitCode;

use models::{About, Inner, Predictor};
use serde_json::json;

use super::{FileArgs, bench, load, shown, size, time};
use crate::cli::Output as Form;
use crate::output;

/// Lines of classes or columns that are told one by one.
const SHOWN: usize = 12;

pub(super) fn run(args: &FileArgs) -> anyhow::Result<ExitCode> {
    let loaded = load(&args.path)?;
    let predictor = &loaded.predictor;
    let about = predictor.about();
    let classes = predictor.classes().map(shown);
    let latency = bench::expected(predictor);
    let answers = answers(predictor);
    if args.output == Form::Json {
        let parts: Vec<_> = about
            .parts
            .iter()
            .map(|part| json!({"place": part.place, "class": part.class, "depth": part.depth}))
            .collect();
        let document = json!({
            "class": about.class,
            "sklearnVersion": about.sklearn_version,
            "parts": parts,
            "features": about.features,
            "featureNames": about.feature_names,
            "takesTexts": predictor.takes_texts(),
            "classes": classes,
            "answers": answers,
            "fileBytes": loaded.file_bytes,
            "compiledBytes": about.compiled_bytes,
            "loadMilliseconds": loaded.load.as_secs_f64() * 1e3,
            "oneRowMicroseconds": latency.map(|nanoseconds| nanoseconds / 1e3),
        });
        output::data(&format!("{document:#}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = vec![about.class.clone()];
    if let Some(version) = &about.sklearn_version {
        lines.push(format!("written by scikit-learn {version}"));
    }
    lines.extend(outline(about));
    lines.push(String::new());
    lines.push(format!("takes    {}", takes(predictor)));
    if let Some(names) = &about.feature_names {
        lines.push(format!("columns  {}", few(names)));
    }
    lines.push(format!("answers  {}", answers.join(", ")));
    if let Some(classes) = &classes {
        lines.push(format!("classes  {}", few(classes)));
    }
    let compiled = about
        .compiled_bytes
        .map(|bytes| format!(", {} compiled", size(bytes)));
    lines.push(format!(
        "size     {} in the file{}, loaded in {}",
        size(loaded.file_bytes),
        compiled.unwrap_or_default(),
        time(loaded.load.as_secs_f64() * 1e9)
    ));
    lines.push(match latency {
        Some(nanoseconds) => format!("one row  {} on this machine", time(nanoseconds)),
        None => {
            "one row  not measured: `sidegate model bench FILE --data ROWS` asks with rows of yours"
                .to_owned()
        }
    });
    output::data(&lines.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn answers(predictor: &Predictor) -> Vec<&'static str> {
    let mut out = Vec::new();
    match predictor.predicts() {
        true => out.push("predict"),
        false => out.push("transform"),
    }
    if predictor.has_probabilities() {
        out.push("predict_proba");
    }
    if predictor.decides() {
        out.push("decision_function");
    }
    out
}

fn takes(predictor: &Predictor) -> String {
    match (predictor.takes_texts(), predictor.features()) {
        (true, _) => "one text for each row".to_owned(),
        (false, 1) => "1 column".to_owned(),
        (false, features) => format!("{features} columns"),
    }
}

/// The first of a list, and how many more.
fn few(all: &[String]) -> String {
    let (first, rest) = all.split_at(all.len().min(SHOWN));
    match rest.len() {
        0 => first.join(", "),
        more => format!("{}, and {more} more", first.join(", ")),
    }
}

/// The estimators inside the model as an indented list; neighbours of one class are told together.
fn outline(about: &About) -> Vec<String> {
    let inside: Vec<&Inner> = about.parts.iter().skip(1).collect();
    let groups = inside.chunk_by(|a, b| a.class == b.class && a.depth == b.depth);
    let lines = groups.filter_map(|group| {
        let first = group.first()?;
        let indent = "  ".repeat(first.depth);
        let name = first.class.rsplit('.').next().unwrap_or_default();
        Some(match group {
            [_] => format!("{indent}{}: {name}", first.place),
            [.., last] => {
                let count = group.len();
                format!(
                    "{indent}{} to {}: {count} × {name}",
                    first.place, last.place
                )
            }
            [] => return None,
        })
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_class_are_told_together() {
        let part = |place: &str, class: &str, depth| Inner {
            place: place.to_owned(),
            class: class.to_owned(),
            depth,
        };
        let about = About {
            class: "sklearn.pipeline.Pipeline".to_owned(),
            estimator: "Pipeline".to_owned(),
            sklearn_version: None,
            features: 2,
            feature_names: None,
            parts: vec![
                part("model", "sklearn.pipeline.Pipeline", 0),
                part("steps[0]", "sklearn.preprocessing._data.StandardScaler", 1),
                part("steps[1]", "sklearn.ensemble._voting.VotingClassifier", 1),
                part("steps[1].estimators_[0]", "sklearn.svm._classes.SVC", 2),
                part("steps[1].estimators_[1]", "sklearn.svm._classes.SVC", 2),
            ],
            compiled_bytes: None,
        };
        assert_eq!(
            outline(&about),
            [
                "  steps[0]: StandardScaler",
                "  steps[1]: VotingClassifier",
                "    steps[1].estimators_[0] to steps[1].estimators_[1]: 2 × SVC",
            ]
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
        assert_eq!(few(names.get(..2).unwrap()), "c0, c1");
        assert!(few(&names).ends_with("c11, and 8 more"));
    }
}
