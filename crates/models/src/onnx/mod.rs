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
    program: Arc<Program>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    producer: String,
    tensor_bytes: usize,
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
            program: Arc::new(compiled.program),
            inputs: compiled.inputs,
            outputs: compiled.outputs,
            producer: model.producer.to_owned(),
            tensor_bytes: limits.tensor_bytes,
        })
    }

    /// The inputs, in the order of the file.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The outputs, in the order of the file.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// The program that wrote the file.
    pub fn producer(&self) -> &str {
        &self.producer
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
        let mut work = Work::new(self.tensor_bytes);
        self.program
            .run(inputs, &mut work)
            .map_err(|(node, what)| InputError::Node { node, what })
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
