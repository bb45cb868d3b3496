//! Which classes and functions a model file may name at all.

use super::{Graph, Id, Node};
use crate::LoadError;
use std::collections::{HashMap, VecDeque};

/// Modules whose names are data here: estimators, their parts, and the noise that comes with them.
const MODULES: &[&str] = &[
    "numpy",
    "numpy.core",
    "numpy._core",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core.numeric",
    "numpy._core.numeric",
    "numpy.ma",
    "numpy.ma.core",
    "numpy.dtypes",
    "joblib.numpy_pickle",
    // The columns of a data frame.
    "pandas.core.indexes.base",
    // Estimators of gradient boosting libraries, and what they keep of training.
    "xgboost.core",
    "xgboost.sklearn",
    "xgboost.compat",
    "xgboost.callback",
    "lightgbm.basic",
    "lightgbm.sklearn",
    "lightgbm.callback",
    // What scikit-learn's compiled losses call their module in some versions.
    "_loss",
    "sklearn.externals.joblib.numpy_pickle",
];
const PACKAGES: &[&str] = &[
    "sklearn.",
    "numpy.random.",
    "numpy.core.",
    "numpy._core.",
    "scipy.sparse.",
];
const BUILTINS: &[&str] = &[
    "object",
    "slice",
    "bytearray",
    "bytes",
    "set",
    "frozenset",
    "dict",
    "list",
    "tuple",
    "int",
    "float",
    "bool",
    "str",
    "complex",
    "range",
    // In what scikit-learn 0.20 keeps of a search.
    "FutureWarning",
];

fn allowed(module: &str, name: &str) -> bool {
    match module {
        "builtins" | "__builtin__" => BUILTINS.contains(&name),
        "copyreg" | "copy_reg" => matches!(name, "_reconstructor" | "__newobj__" | "__newobj_ex__"),
        "collections" => matches!(name, "OrderedDict" | "defaultdict"),
        "_codecs" => name == "encode",
        // HistGradientBoosting checks its input by one.
        "functools" => name == "partial",
        _ => {
            MODULES.contains(&module) || PACKAGES.iter().any(|package| module.starts_with(package))
        }
    }
}

/// Refuses a graph that names anything else, with the place of the first such name.
pub(crate) fn check(graph: &Graph<'_>, top: Id) -> Result<(), LoadError> {
    let foreign = |node: &Node<'_>| matches!(node, Node::Global(global) if !allowed(&global.module, &global.name));
    let Some(first) = graph.nodes.iter().find(|node| foreign(node)) else {
        return Ok(());
    };
    let reached = reach(graph, top, foreign);
    let (node, place) = match reached {
        Some((id, place)) => (graph.node(id), place),
        None => (first, "model".to_owned()),
    };
    let class = match node {
        Node::Global(global) => format!("{}.{}", global.module, global.name),
        _ => "unknown".to_owned(),
    };
    Err(LoadError::Class { class, place })
}

/// The nearest node that satisfies `wanted`, breadth first, and how to get there from the top.
fn reach(graph: &Graph<'_>, top: Id, wanted: impl Fn(&Node<'_>) -> bool) -> Option<(Id, String)> {
    let mut parents: HashMap<Id, Option<(Id, String)>> = HashMap::from([(top, None)]);
    let mut queue = VecDeque::from([top]);
    while let Some(id) = queue.pop_front() {
        if wanted(graph.node(id)) {
            return Some((id, path(&parents, id)));
        }
        for (child, step) in children(graph, id) {
            parents.entry(child).or_insert_with(|| {
                queue.push_back(child);
                Some((id, step))
            });
        }
    }
    None
}

fn path(parents: &HashMap<Id, Option<(Id, String)>>, end: Id) -> String {
    let mut steps = Vec::new();
    let mut id = end;
    while let Some(Some((parent, step))) = parents.get(&id) {
        steps.push(step.as_str());
        id = *parent;
    }
    steps.reverse();
    let place = steps.concat();
    let place = place.trim_start_matches('.');
    if place.is_empty() {
        "model".to_owned()
    } else {
        place.to_owned()
    }
}

fn children(graph: &Graph<'_>, id: Id) -> Vec<(Id, String)> {
    let numbered = |ids: &[Id]| {
        ids.iter()
            .enumerate()
            .map(|(index, id)| (*id, format!("[{index}]")))
            .collect()
    };
    match graph.node(id) {
        // A step of a pipeline is a pair of name and estimator, known to users by its number alone.
        Node::Tuple(ids) => match ids.as_slice() {
            [name, value] if matches!(graph.node(*name), Node::Str(_)) => {
                vec![(*value, String::new())]
            }
            _ => numbered(ids),
        },
        Node::List(ids) | Node::Set(ids) => numbered(ids),
        Node::Dict(items) => entries(graph, items, false),
        Node::Array(array) => array.elements(graph).map(numbered).unwrap_or_default(),
        Node::Object(object) => {
            let mut found = vec![(object.class, String::new())];
            found.push((object.arguments, String::new()));
            if let Some(state) = object.state {
                match graph.node(state) {
                    Node::Dict(items) => found.extend(entries(graph, items, true)),
                    _ => found.push((state, String::new())),
                }
            }
            found.extend(entries(graph, &object.items, false));
            found
        }
        _ => Vec::new(),
    }
}

fn entries(graph: &Graph<'_>, items: &[Id], attributes: bool) -> Vec<(Id, String)> {
    let mut found = Vec::new();
    for pair in items.chunks_exact(2) {
        let [key, value] = pair else { continue };
        let step = match graph.node(*key) {
            Node::Str(name) if name.len() > 64 => String::new(),
            Node::Str(name) if attributes => format!(".{name}"),
            Node::Str(name) => format!("['{name}']"),
            _ => String::new(),
        };
        found.push((*key, step.clone()));
        found.push((*value, step));
    }
    found
}
