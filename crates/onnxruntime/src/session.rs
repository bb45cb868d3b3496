//! Sessions of ONNX Runtime behind [`models::Graph`].

use super::OpenError;
use models::{
    ElementType, Graph, GraphReader, GraphRunner, Limits, LoadError, Port, Tensor, Values,
};
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Outlet, TensorElementType, ValueType};
use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// ONNX Runtime's library, of which a process has one.
#[derive(Debug)]
pub struct Library {
    environment: Environment,
}

impl Library {
    /// Loads the library from a file. What it tells Microsoft of its use (only on Windows) is turned off.
    ///
    /// # Errors
    /// No such file, something else than ONNX Runtime or one before 1.18, or a second library.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let bad = |what: String| OpenError::Library {
            path: path.to_owned(),
            what,
        };
        // Relative paths would be those of the program's own folder.
        let whole = std::path::absolute(path).map_err(|error| bad(error.to_string()))?;
        let builder = ort::init_from(whole).map_err(|error| bad(error.to_string()))?;
        let environment = builder
            .with_name("sidegate")
            .with_telemetry(false)
            .build()
            .map_err(|error| bad(error.to_string()))?;
        Ok(Self { environment })
    }
}

impl GraphReader for Library {
    fn read(&self, bytes: &[u8], limits: &Limits) -> Result<Graph, LoadError> {
        // Sessions would open what a file names.
        Graph::must_be_whole(bytes, limits)?;
        let session = self.session(bytes).map_err(failed)?;
        let ports = |outlets: &[Outlet]| outlets.iter().map(port).collect::<Result<Vec<_>, _>>();
        let inputs = ports(session.inputs())?;
        let outputs = ports(session.outputs())?;
        let runner = Runner {
            inputs: inputs.iter().map(|port| port.name.clone()).collect(),
            outputs: outputs.clone(),
            session: Mutex::new(session),
        };
        Ok(Graph::foreign(inputs, outputs, Arc::new(runner)))
    }
}

impl Library {
    fn session(&self, bytes: &[u8]) -> ort::Result<Session> {
        let builder = Session::builder(&self.environment)?;
        // What goes wrong is in the error as well.
        let mut builder = builder.with_log_level(LogLevel::Fatal)?;
        builder.commit_from_memory(bytes)
    }
}

fn failed(error: ort::Error) -> LoadError {
    LoadError::Foreign {
        what: error.to_string(),
    }
}

fn port(outlet: &Outlet) -> Result<Port, LoadError> {
    let refused = |what: String| LoadError::Foreign {
        what: format!("`{}` {what}", outlet.name()),
    };
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(refused("is no tensor, which is not supported".to_owned()));
    };
    let element = match ty {
        TensorElementType::Float32 => ElementType::Float,
        TensorElementType::Float64 => ElementType::Double,
        TensorElementType::Int64 => ElementType::Int64,
        TensorElementType::Int32 => ElementType::Int32,
        TensorElementType::Bool => ElementType::Bool,
        TensorElementType::String => ElementType::Text,
        other => {
            return Err(refused(format!(
                "has values of {}, which is not supported: expected float, double, int32, int64, bool or string",
                format!("{other:?}").to_lowercase()
            )));
        }
    };
    // A graph that says nothing of a shape and one that says that there is a single value look alike here.
    let sizes = shape.iter().map(|size| usize::try_from(*size).ok());
    Ok(Port {
        name: outlet.name().to_owned(),
        element,
        shape: (!shape.is_empty()).then(|| sizes.collect()),
        keys: None,
    })
}

#[derive(Debug)]
struct Runner {
    inputs: Vec<String>,
    outputs: Vec<Port>,
    /// A session answers one request after the other, each on all cores.
    session: Mutex<Session>,
}

impl GraphRunner for Runner {
    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, String> {
        let told = |error: ort::Error| error.to_string();
        let mut values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
        for (name, tensor) in self.inputs.iter().zip(inputs) {
            values.push((name.as_str().into(), value(tensor).map_err(told)?.into()));
        }
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = session.run(values).map_err(told)?;
        let outputs = self.outputs.iter();
        outputs
            .map(|port| {
                let value = answers.get(&port.name);
                let value = value.ok_or_else(|| format!("no output `{}`", port.name))?;
                tensor(port, value)
            })
            .collect()
    }
}

fn value(tensor: Tensor) -> ort::Result<DynValue> {
    use ort::value::Tensor as Value;
    let shape = tensor.shape().to_vec();
    Ok(match tensor.into_values() {
        Values::Float(values) => Value::from_array((shape, values))?.into_dyn(),
        Values::Double(values) => Value::from_array((shape, values))?.into_dyn(),
        Values::Int64(values) => Value::from_array((shape, values))?.into_dyn(),
        Values::Int32(values) => Value::from_array((shape, values))?.into_dyn(),
        Values::Bool(values) => Value::from_array((shape, values))?.into_dyn(),
        Values::Text(values) => Value::from_string_array((shape, values.as_slice()))?.into_dyn(),
    })
}

fn tensor(port: &Port, value: &DynValue) -> Result<Tensor, String> {
    let told = |error: ort::Error| error.to_string();
    let (shape, values) = match port.element {
        ElementType::Float => {
            let (shape, values) = value.try_extract_tensor::<f32>().map_err(told)?;
            (shape, Values::Float(values.to_vec()))
        }
        ElementType::Double => {
            let (shape, values) = value.try_extract_tensor::<f64>().map_err(told)?;
            (shape, Values::Double(values.to_vec()))
        }
        ElementType::Int64 => {
            let (shape, values) = value.try_extract_tensor::<i64>().map_err(told)?;
            (shape, Values::Int64(values.to_vec()))
        }
        ElementType::Int32 => {
            let (shape, values) = value.try_extract_tensor::<i32>().map_err(told)?;
            (shape, Values::Int32(values.to_vec()))
        }
        ElementType::Bool => {
            let (shape, values) = value.try_extract_tensor::<bool>().map_err(told)?;
            (shape, Values::Bool(values.to_vec()))
        }
        ElementType::Text => {
            let (shape, values) = value.try_extract_strings().map_err(told)?;
            (shape, Values::Text(values))
        }
    };
    let sizes: Option<Vec<usize>> = shape
        .iter()
        .map(|size| usize::try_from(*size).ok())
        .collect();
    let tensor = sizes.and_then(|sizes| Tensor::new(sizes, values));
    tensor.ok_or_else(|| format!("the output `{}` has another shape than it says", port.name))
}
