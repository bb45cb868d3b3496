//! `sidegate model inspect`.

use std::process::ExitCode;

use models::{About, Graph, Inner, Port, Predictor};
use serde_json::json;

use super::{FileArgs, Loaded, Model, bench, load, shown, size, time};
use crate::cli::Output as Form;
use crate::output;

/// Lines of classes or columns that are told one by one.
const SHOWN: usize = 12;

pub(super) fn run(args: &FileArgs) -> anyhow::Result<ExitCode> {
    let loaded = load(args)?;
    let latency = bench::expected(&loaded.model);
    let predictor = match &loaded.model {
        Model::Predictor(predictor) => predictor,
        Model::Graph(graph) => return inspect_graph(args, &loaded, graph, latency),
    };
    let about = predictor.about();
    let classes = predictor.classes().map(shown);
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
    lines.push(one_row(latency));
    output::data(&lines.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn one_row(latency: Option<f64>) -> String {
    match latency {
        Some(nanoseconds) => format!("one row  {} on this machine", time(nanoseconds)),
        None => {
            "one row  not measured: `sidegate model bench FILE --data ROWS` asks with rows of yours"
                .to_owned()
        }
    }
}

/// What a graph of ONNX takes and gives, by the names, types and shapes of its inputs and outputs.
fn inspect_graph(
    args: &FileArgs,
    loaded: &Loaded,
    graph: &Graph,
    latency: Option<f64>,
) -> anyhow::Result<ExitCode> {
    if args.output == Form::Json {
        let ports = |ports: &[Port]| -> Vec<serde_json::Value> {
            let port = |port: &Port| json!({"name": port.name, "type": port.element.name(), "shape": sizes(port)});
            ports.iter().map(port).collect()
        };
        let document = json!({
            "class": loaded.model.class(),
            "inputs": ports(graph.inputs()),
            "outputs": ports(graph.outputs()),
            "fileBytes": loaded.file_bytes,
            "loadMilliseconds": loaded.load.as_secs_f64() * 1e3,
            "oneRowMicroseconds": latency.map(|nanoseconds| nanoseconds / 1e3),
        });
        output::data(&format!("{document:#}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = vec![loaded.model.class().to_owned(), String::new()];
    for (title, ports) in [("takes", graph.inputs()), ("answers", graph.outputs())] {
        for (index, port) in ports.iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            lines.push(format!("{title:<8} {}", described(port)));
        }
    }
    lines.push(format!(
        "size     {} in the file, loaded in {}",
        size(loaded.file_bytes),
        time(loaded.load.as_secs_f64() * 1e9)
    ));
    lines.push(one_row(latency));
    output::data(&lines.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Sizes of a shape, -1 where any will do.
fn sizes(port: &Port) -> Option<Vec<i64>> {
    let size = |size: &Option<usize>| size.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1);
    Some(port.shape.as_ref()?.iter().map(size).collect())
}

fn described(port: &Port) -> String {
    match sizes(port) {
        Some(sizes) => format!("{}: {} {sizes:?}", port.name, port.element.name()),
        None => format!("{}: {}", port.name, port.element.name()),
    }
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
