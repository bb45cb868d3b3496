//! ONNX: a graph of operators, validated as a whole and run on our own kernels.
//!
//! The operators are those that converters of classical models emit: all of `ai.onnx.ml` that takes tensors, and those of
//! `ai.onnx` that stand around it. Answers are those of ONNX Runtime.

mod operator;
mod operators;
mod program;
mod proto;
mod real;
mod site;
mod tensor;
mod whole;
mod wire;

use crate::{InputError, Limits, LoadError};
use operator::Work;
pub use program::Port;
use program::{Program, Settings};
use std::collections::HashMap;
use std::sync::Arc;
pub use tensor::{ElementType, Tensor, Values};

/// The newest versions of operators that were compared with ONNX Runtime.
const NEWEST: [(&str, i64); 3] = [("", 24), ("ai.onnx.ml", 5), ("com.microsoft", 1)];

/// A compiled graph. Everything in it was validated when it was loaded: asking it fails only for inputs that it does not
/// take, and never panics.
#[derive(Debug, Clone)]
pub struct Graph {
    engine: Engine,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

/// What runs a graph.
#[derive(Debug, Clone)]
enum Engine {
    /// Our own operators, within bytes of tensors.
    Program(Arc<Program>, usize),
    Foreign(Arc<dyn GraphRunner>),
}

/// Something else that runs a graph.
pub trait GraphRunner: std::fmt::Debug + Send + Sync {
    /// The outputs for inputs that have the types and shapes of the graph's, both in its order.
    ///
    /// # Errors
    /// What went wrong, for the client.
    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, String>;
}

/// Something else that reads models of ONNX.
pub trait GraphReader: std::fmt::Debug + Send + Sync {
    /// Reads a model as [`Graph::load`] does.
    ///
    /// # Errors
    /// A model that it does not read either.
    fn read(&self, bytes: &[u8], limits: &Limits) -> Result<Graph, LoadError>;
}

impl Graph {
    /// Reads an ONNX model.
    ///
    /// # Errors
    /// A damaged file, one that passes `limits`, or a model with operators that are not supported; the error says which.
    pub fn load(bytes: &[u8], limits: &Limits) -> Result<Self, LoadError> {
        if bytes.len() > limits.file_bytes {
            return Err(LoadError::Limit {
                what: "bytes of file",
                limit: limits.file_bytes,
            });
        }
        let other = |what: String| LoadError::Onnx { what };
        let mut purse = proto::Purse {
            messages: limits.objects,
            depth: limits.depth,
        };
        let model = proto::Model::read(bytes, &mut purse).map_err(other)?;
        let graph = model.graph.as_ref().filter(|_| model.ir_version > 0);
        let graph = graph.ok_or_else(|| other("expected a graph".to_owned()))?;
        let mut opsets = HashMap::new();
        for (domain, version) in &model.opsets {
            let domain = if *domain == "ai.onnx" { "" } else { *domain };
            let newest = NEWEST.iter().find(|(known, _)| *known == domain);
            if let Some((_, newest)) = newest
                && version > newest
            {
                return Err(other(format!(
                    "version {version} of the operators of `{}` is not supported: convert the model with at most {newest}",
                    if domain.is_empty() { "ai.onnx" } else { domain }
                )));
            }
            // Converters repeat themselves; the runtime takes the first as well.
            opsets.entry(domain).or_insert(*version);
        }
        let settings = Settings {
            opsets,
            functions: model
                .functions
                .iter()
                .map(|function| (function.domain, function.name))
                .collect(),
            constant_bytes: std::cell::Cell::new(limits.compiled_bytes),
        };
        let compiled = program::compile(graph, &settings, &[])?;
        if compiled.program.bytes() > limits.compiled_bytes {
            return Err(LoadError::Limit {
                what: "compiled bytes",
                limit: limits.compiled_bytes,
            });
        }
        Ok(Self {
            engine: Engine::Program(Arc::new(compiled.program), limits.tensor_bytes),
            inputs: compiled.inputs,
            outputs: compiled.outputs,
        })
    }

    /// Reads a model with our own operators, or else by another reader.
    ///
    /// # Errors
    /// As [`Graph::load`], with the other reader's reason.
    pub fn load_or(
        bytes: &[u8],
        limits: &Limits,
        other: &dyn GraphReader,
    ) -> Result<Self, LoadError> {
        match Self::load(bytes, limits) {
            Err(LoadError::Operator { .. } | LoadError::Onnx { .. }) => other.read(bytes, limits),
            loaded => loaded,
        }
    }

    /// A graph that something else runs.
    pub fn foreign(inputs: Vec<Port>, outputs: Vec<Port>, runner: Arc<dyn GraphRunner>) -> Self {
        Self {
            engine: Engine::Foreign(runner),
            inputs,
            outputs,
        }
    }

    /// Whether something else runs it.
    pub fn is_foreign(&self) -> bool {
        matches!(self.engine, Engine::Foreign(_))
    }

    /// Checks what another reader would not: that the bytes are a model of ONNX, and that it names no other file.
    ///
    /// # Errors
    /// They are not, or it does.
    pub fn must_be_whole(bytes: &[u8], limits: &Limits) -> Result<(), LoadError> {
        if bytes.len() > limits.file_bytes {
            return Err(LoadError::Limit {
                what: "bytes of file",
                limit: limits.file_bytes,
            });
        }
        whole::check(bytes).map_err(|what| LoadError::Onnx { what })
    }

    /// The inputs, in the order of the file.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The outputs, in the order of the file.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// The outputs for inputs in the order of [`Graph::inputs`].
    ///
    /// # Errors
    /// Inputs of another number, type or shape, or that a node does not take.
    pub fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, InputError> {
        for (index, port) in self.inputs.iter().enumerate() {
            let tensor = inputs.get(index).ok_or_else(|| InputError::NoTensor {
                name: port.name.clone(),
            })?;
            if tensor.element() != port.element || !fits(tensor.shape(), port.shape.as_deref()) {
                return Err(InputError::Tensor {
                    name: port.name.clone(),
                    expected: described(port.element, port.shape.as_deref()),
                    found: described(
                        tensor.element(),
                        Some(&tensor.shape().iter().copied().map(Some).collect::<Vec<_>>()),
                    ),
                });
            }
        }
        match &self.engine {
            Engine::Program(program, tensor_bytes) => program
                .run(inputs, &mut Work::new(*tensor_bytes))
                .map_err(|(node, what)| InputError::Node { node, what }),
            Engine::Foreign(runner) => runner
                .run(inputs)
                .map_err(|what| InputError::Foreign { what }),
        }
    }
}

/// Whether a shape is one of those that a port takes.
fn fits(shape: &[usize], expected: Option<&[Option<usize>]>) -> bool {
    let Some(expected) = expected else {
        return true;
    };
    shape.len() == expected.len()
        && shape
            .iter()
            .zip(expected)
            .all(|(size, expected)| expected.is_none_or(|expected| expected == *size))
}

fn described(element: ElementType, shape: Option<&[Option<usize>]>) -> String {
    let Some(shape) = shape else {
        return element.name().to_owned();
    };
    let sizes: Vec<String> = shape
        .iter()
        .map(|size| size.map_or("-1".to_owned(), |size| size.to_string()))
        .collect();
    format!("{} of shape [{}]", element.name(), sizes.join(","))
}
