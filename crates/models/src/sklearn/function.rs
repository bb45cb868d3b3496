//! `FunctionTransformer`: functions of numpy by their names. Any other function would have to be executed.

use super::part::Part;
use crate::data::{Data, rows_of};
use crate::flow::{Step, Transform};
use crate::matrix::round;
use crate::pickle::{Node, Object};
use crate::{InputError, LoadError};

#[derive(Debug, Clone, Copy)]
pub(super) enum Function {
    Identity,
    Numpy(fn(f64) -> f64),
}

impl Function {
    /// The function in that attribute.
    pub(super) fn read(part: &Part<'_, '_>, name: &str) -> Result<Self, LoadError> {
        let Some(id) = part.set(name) else {
            return Ok(Self::Identity);
        };
        let graph = part.graph();
        // numpy pickles a ufunc by its name, in some versions as a call.
        let (module, function) = match graph.node(id) {
            Node::Object(object) if is_check(part, object) => return Ok(Self::Identity),
            Node::Global(global) => (global.module.as_ref(), global.name.as_ref()),
            // With numpy before 1.20.
            Node::Object(object)
                if graph
                    .class(object)
                    .is_some_and(|class| class.name == "_ufunc_reconstruct") =>
            {
                match graph.sequence(object.arguments) {
                    Some([module, function]) => (
                        graph.text(*module).unwrap_or_default(),
                        graph.text(*function).unwrap_or_default(),
                    ),
                    _ => return Err(part.unknown(name)),
                }
            }
            _ => return Err(part.unknown(name)),
        };
        let numpy = module == "numpy" || module.starts_with("numpy.");
        let function = match function {
            _ if !numpy => None,
            "log1p" => Some(f64::ln_1p as fn(f64) -> f64),
            "expm1" => Some(f64::exp_m1 as fn(f64) -> f64),
            "log" => Some(f64::ln as fn(f64) -> f64),
            "log2" => Some(f64::log2 as fn(f64) -> f64),
            "log10" => Some(f64::log10 as fn(f64) -> f64),
            "exp" => Some(f64::exp as fn(f64) -> f64),
            "sqrt" => Some(f64::sqrt as fn(f64) -> f64),
            "cbrt" => Some(f64::cbrt as fn(f64) -> f64),
            "square" => Some((|value| value * value) as fn(f64) -> f64),
            "abs" | "absolute" | "fabs" => Some(f64::abs as fn(f64) -> f64),
            "negative" => Some((|value| -value) as fn(f64) -> f64),
            "sin" => Some(f64::sin as fn(f64) -> f64),
            "cos" => Some(f64::cos as fn(f64) -> f64),
            "tan" => Some(f64::tan as fn(f64) -> f64),
            "tanh" => Some(f64::tanh as fn(f64) -> f64),
            _ => None,
        };
        match function {
            Some(function) => Ok(Self::Numpy(function)),
            None => {
                let name = format!("{module}.{}", function_name(part, name));
                Err(part.setting(format!("the function `{name}`")))
            }
        }
    }

    pub(super) fn apply(self, value: f64) -> f64 {
        match self {
            Self::Identity => value,
            Self::Numpy(function) => function(value),
        }
    }
}

/// Whether this is a `functools.partial` of scikit-learn's `check_array`, which changes no number.
fn is_check(part: &Part<'_, '_>, object: &Object) -> bool {
    let graph = part.graph();
    let partial = graph
        .class(object)
        .is_some_and(|class| class.module == "functools" && class.name == "partial");
    let function = graph
        .sequence(object.arguments)
        .and_then(<[_]>::first)
        .map(|id| graph.node(*id));
    let check = matches!(function, Some(Node::Global(global))
        if global.module == "sklearn.utils.validation" && global.name == "check_array");
    partial && check
}

fn function_name(part: &Part<'_, '_>, name: &str) -> String {
    match part.attribute(name).map(|id| part.graph().node(id)) {
        Some(Node::Global(global)) => global.name.chars().take(64).collect(),
        _ => String::new(),
    }
}

#[derive(Debug)]
struct Apply(Function);

pub(super) fn read(part: &Part<'_, '_>) -> Result<Step, LoadError> {
    for name in ["kw_args", "inv_kw_args"] {
        if let Some(Node::Dict(items)) = part.set(name).map(|id| part.graph().node(id))
            && !items.is_empty()
        {
            return Err(part.setting(format!("`{name}`")));
        }
    }
    let function = Function::read(part, "func")?;
    let features = part.features();
    Ok(Step::new(Apply(function), features, features))
}

impl Transform for Apply {
    fn transform<'d>(&self, data: Data<'d>) -> Result<Data<'d>, InputError> {
        let Function::Numpy(function) = self.0 else {
            return Ok(data);
        };
        let rows = rows_of(data)?;
        let precision = rows.precision();
        let mut rows = rows.dense()?.into_owned();
        rows.values_mut()
            .iter_mut()
            .for_each(|value| *value = round(function(*value), precision));
        Ok(rows.into())
    }
}
