//! What a model answers, as tensors with names.

use crate::grpc::Contents;
use crate::v2::{self, OUTPUT};
use crate::write::Style;
use bytes::Bytes;
use models::{ElementType, Graph, Labels, Output, Port, Tensor, Values};

/// The answer of a model.
#[derive(Debug)]
pub(crate) enum Reply<'m> {
    /// Of a predictor, with its classes.
    Output(Output, Option<&'m Labels>),
    /// Of a graph: one tensor for each of its outputs.
    Tensors(&'m Graph, Vec<Tensor>),
}

/// One tensor of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named<'r> {
    Output(&'r Output, Option<&'r Labels>),
    Tensor(&'r Port, &'r Tensor),
}

impl Reply<'_> {
    /// The tensors, in the order of the model.
    pub(crate) fn all(&self) -> Vec<Named<'_>> {
        match self {
            Self::Output(output, labels) => vec![Named::Output(output, *labels)],
            Self::Tensors(graph, tensors) => {
                let pairs = graph.outputs().iter().zip(tensors);
                pairs
                    .map(|(port, tensor)| Named::Tensor(port, tensor))
                    .collect()
            }
        }
    }

    /// Appends the V1 predictions for so many rows. Of a graph with several outputs each is an object with a member for each
    /// output, as in the protocol of TensorFlow Serving, which V1 is.
    ///
    /// # Errors
    /// An output without a value for each row.
    pub(crate) fn predictions(
        &self,
        rows: usize,
        style: Style,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let (graph, tensors) = match self {
            Self::Output(output, labels) => {
                style.nested(output, *labels, out);
                return Ok(());
            }
            Self::Tensors(graph, tensors) => (graph, tensors),
        };
        let pairs: Vec<(&Port, &Tensor)> = graph.outputs().iter().zip(tensors).collect();
        let uneven = pairs
            .iter()
            .find(|(_, tensor)| tensor.shape().first() != Some(&rows));
        if let Some((port, _)) = uneven {
            return Err(format!(
                "the output `{}` has no value for each instance: ask by the V2 protocol",
                crate::rows::short(&port.name)
            ));
        }
        style.list(0..rows, out, |row, out| match pairs.as_slice() {
            [(port, tensor)] => row_of(style, port, tensor, row, out),
            several => {
                let members = several
                    .iter()
                    .map(|(port, tensor)| (port.name.as_str(), (*port, *tensor)));
                object(style, members, out, |(port, tensor), out| {
                    row_of(style, port, tensor, row, out);
                });
            }
        });
        Ok(())
    }
}

/// Appends the value of one row.
fn row_of(style: Style, port: &Port, tensor: &Tensor, row: usize, out: &mut Vec<u8>) {
    let sizes = tensor.shape().get(1..).unwrap_or_default();
    let count: usize = sizes.iter().product();
    let start = row * count;
    match &port.keys {
        Some(keys) => {
            let members = (0..count).map(|index| (keys.show(index).unwrap_or_default(), index));
            let members: Vec<(String, usize)> = members.collect();
            let members = members.iter().map(|(key, index)| (key.as_str(), *index));
            object(style, members, out, |index, out| {
                value(style, tensor.values(), start + index, out);
            });
        }
        None => nested(style, tensor.values(), sizes, start, out),
    }
}

fn object<'k, T>(
    style: Style,
    members: impl Iterator<Item = (&'k str, T)>,
    out: &mut Vec<u8>,
    mut member: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(b'{');
    for (index, (key, value)) in members.enumerate() {
        if index > 0 {
            out.extend_from_slice(style.comma());
        }
        style.text(key, out);
        out.extend_from_slice(if style == Style::Compact { b":" } else { b": " });
        member(value, out);
    }
    out.push(b'}');
}

fn nested(style: Style, values: &Values, sizes: &[usize], start: usize, out: &mut Vec<u8>) {
    match sizes.split_first() {
        None => value(style, values, start, out),
        Some((size, rest)) => {
            let step: usize = rest.iter().product();
            style.list(0..*size, out, |index, out| {
                nested(style, values, rest, start + index * step, out);
            });
        }
    }
}

/// Appends one value.
fn value(style: Style, values: &Values, index: usize, out: &mut Vec<u8>) {
    let int = |value: i64, out: &mut Vec<u8>| {
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    };
    match values {
        Values::Float(values) => {
            let value = values.get(index).copied().unwrap_or(f32::NAN);
            style.float(f64::from(value), out);
        }
        Values::Double(values) => {
            style.float(values.get(index).copied().unwrap_or(f64::NAN), out);
        }
        Values::Int64(values) => int(values.get(index).copied().unwrap_or(0), out),
        Values::Int32(values) => int(i64::from(values.get(index).copied().unwrap_or(0)), out),
        Values::Bool(values) => out.extend_from_slice(if values.get(index) == Some(&true) {
            b"true"
        } else {
            b"false"
        }),
        Values::Text(values) => style.text(values.get(index).map_or("", String::as_str), out),
    }
}

/// The name that the V2 protocol has for a type.
pub(crate) fn datatype(element: ElementType) -> &'static str {
    match element {
        ElementType::Float => "FP32",
        ElementType::Double => "FP64",
        ElementType::Int64 => "INT64",
        ElementType::Int32 => "INT32",
        ElementType::Bool => "BOOL",
        ElementType::Text => "BYTES",
    }
}

impl<'r> Named<'r> {
    pub(crate) fn name(self) -> &'r str {
        match self {
            Self::Output(..) => OUTPUT,
            Self::Tensor(port, _) => &port.name,
        }
    }

    pub(crate) fn datatype(self) -> &'static str {
        match self {
            Self::Output(output, labels) => v2::datatype(output, labels),
            Self::Tensor(_, tensor) => datatype(tensor.element()),
        }
    }

    pub(crate) fn shape(self) -> Vec<i64> {
        match self {
            Self::Output(output, _) => v2::shape(output),
            Self::Tensor(_, tensor) => {
                let size = |size: &usize| i64::try_from(*size).unwrap_or(i64::MAX);
                tensor.shape().iter().map(size).collect()
            }
        }
    }

    /// Appends all values as one list.
    pub(crate) fn flat(self, style: Style, out: &mut Vec<u8>) {
        match self {
            Self::Output(output, labels) => style.flat(output, labels, out),
            Self::Tensor(_, tensor) => {
                let values = tensor.values();
                style.list(0..values.len(), out, |index, out| {
                    value(style, values, index, out)
                });
            }
        }
    }

    /// Appends little-endian values; text is preceded by its length in four bytes.
    pub(crate) fn raw(self, out: &mut Vec<u8>) {
        let tensor = match self {
            Self::Output(output, labels) => return v2::raw(output, labels, out),
            Self::Tensor(_, tensor) => tensor,
        };
        match tensor.values() {
            Values::Float(values) => values.iter().for_each(|v| out.extend(v.to_le_bytes())),
            Values::Double(values) => values.iter().for_each(|v| out.extend(v.to_le_bytes())),
            Values::Int64(values) => values.iter().for_each(|v| out.extend(v.to_le_bytes())),
            Values::Int32(values) => values.iter().for_each(|v| out.extend(v.to_le_bytes())),
            Values::Bool(values) => out.extend(values.iter().map(|truth| u8::from(*truth))),
            Values::Text(values) => values.iter().for_each(|text| {
                out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }),
        }
    }

    /// The typed contents of gRPC.
    pub(crate) fn contents(self) -> Contents {
        let tensor = match self {
            Self::Output(output, labels) => {
                return crate::grpc::contents(self.datatype(), output, labels);
            }
            Self::Tensor(_, tensor) => tensor,
        };
        let mut contents = Contents::default();
        match tensor.values().clone() {
            Values::Float(values) => contents.fp32s = values,
            Values::Double(values) => contents.fp64s = values,
            Values::Int64(values) => contents.int64s = values,
            Values::Int32(values) => contents.ints = values,
            Values::Bool(values) => contents.bools = values,
            Values::Text(values) => contents.bytes = values.into_iter().map(Bytes::from).collect(),
        }
        contents
    }
}
