//! The messages of `inference.GRPCInferenceService`, by the field numbers of the Open Inference Protocol
//! (`specification/protocol/open_inference_grpc.proto`), Triton's model repository extension, and KServe's own form of
//! loading and unloading.

use super::wire::{Decode, Encoder, Malformed, Value};
use crate::v2::datatype::Field;
use bytes::Bytes;

/// A request without fields.
#[derive(Debug, Default)]
pub(super) struct Nothing;

impl Decode for Nothing {
    fn field(&mut self, _: u32, _: Value) -> Result<(), Malformed> {
        Ok(())
    }
}

/// `ModelReadyRequest` and `ModelMetadataRequest`. There are no versions here.
#[derive(Debug, Default)]
pub(super) struct ModelRequest {
    pub(super) name: String,
}

impl Decode for ModelRequest {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        if number == 1 {
            self.name = value.text()?;
        }
        Ok(())
    }
}

/// `RepositoryModelLoadRequest` and `RepositoryModelUnloadRequest`, in both forms: KServe has the model in the first field,
/// Triton a repository there and the model in the second.
#[derive(Debug, Default)]
pub(super) struct RepositoryRequest {
    first: String,
    second: String,
}

impl RepositoryRequest {
    pub(super) fn model(self) -> String {
        if self.second.is_empty() {
            self.first
        } else {
            self.second
        }
    }
}

impl Decode for RepositoryRequest {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            1 => self.first = value.text()?,
            2 => self.second = value.text()?,
            _ => {}
        }
        Ok(())
    }
}

/// `RepositoryIndexRequest`.
#[derive(Debug, Default)]
pub(super) struct IndexRequest {
    /// Whether to leave out models that are not ready.
    pub(super) ready: bool,
}

impl Decode for IndexRequest {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        if number == 2 {
            self.ready = value.number()? != 0;
        }
        Ok(())
    }
}

/// `ModelInferRequest`. KServe ignores the version and the outputs: it has one of each.
#[derive(Debug, Default)]
pub(super) struct InferRequest {
    pub(super) model_name: String,
    /// Only MLServer looks at it.
    pub(super) version: String,
    /// Names of outputs, which only MLServer looks at.
    pub(super) outputs: Vec<ModelRequest>,
    pub(super) id: String,
    /// The text of the parameter `content_type`.
    pub(super) content_type: String,
    pub(super) inputs: Vec<Input>,
    /// The values of the inputs, one for each, when those have none of their own.
    pub(super) raw: Vec<Bytes>,
}

impl Decode for InferRequest {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            1 => self.model_name = value.text()?,
            2 => self.version = value.text()?,
            3 => self.id = value.text()?,
            4 => {
                let entry: Parameter = value.message()?;
                entry.content_type(&mut self.content_type);
            }
            5 => self.inputs.push(value.message()?),
            6 => self.outputs.push(value.message()?),
            7 => self.raw.push(value.bytes()?),
            _ => {}
        }
        Ok(())
    }
}

/// An entry of `map<string, InferParameter>`.
#[derive(Debug, Default)]
struct Parameter {
    key: String,
    value: Choice,
}

impl Parameter {
    /// Its text, if it says of which content type something is.
    fn content_type(self, place: &mut String) {
        if self.key == "content_type" {
            *place = self.value.text;
        }
    }
}

impl Decode for Parameter {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            1 => self.key = value.text()?,
            2 => self.value = value.message()?,
            _ => {}
        }
        Ok(())
    }
}

/// `InferParameter`, of which only text has a meaning here.
#[derive(Debug, Default)]
struct Choice {
    text: String,
}

impl Decode for Choice {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        if number == 3 {
            self.text = value.text()?;
        }
        Ok(())
    }
}

/// `InferInputTensor`.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) datatype: String,
    pub(super) shape: Vec<i64>,
    /// The text of its parameter `content_type`, which only MLServer looks at.
    pub(super) content_type: String,
    pub(super) contents: Option<Contents>,
}

impl Decode for Input {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            1 => self.name = value.text()?,
            2 => self.datatype = value.text()?,
            3 => value.numbers(&mut self.shape, u64::cast_signed)?,
            4 => {
                let entry: Parameter = value.message()?;
                entry.content_type(&mut self.content_type);
            }
            5 => self.contents = Some(value.message()?),
            _ => {}
        }
        Ok(())
    }
}

/// `InferTensorContents`.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// BOOL.
    pub(crate) bools: Vec<bool>,
    /// INT8, INT16, INT32.
    pub(crate) ints: Vec<i32>,
    /// INT64.
    pub(crate) int64s: Vec<i64>,
    /// UINT8, UINT16, UINT32.
    pub(crate) uints: Vec<u32>,
    /// UINT64.
    pub(crate) uint64s: Vec<u64>,
    /// FP32.
    pub(crate) fp32s: Vec<f32>,
    /// FP64.
    pub(crate) fp64s: Vec<f64>,
    /// BYTES.
    pub(crate) bytes: Vec<Bytes>,
}

impl Decode for Contents {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            1 => value.numbers(&mut self.bools, |bits| bits != 0),
            // Longer numbers are cut to their 32 bits, as the encoding says.
            2 => value.numbers(&mut self.ints, |bits| (bits as u32).cast_signed()),
            3 => value.numbers(&mut self.int64s, u64::cast_signed),
            4 => value.numbers(&mut self.uints, |bits| bits as u32),
            5 => value.numbers(&mut self.uint64s, |bits| bits),
            6 => value.floats(&mut self.fp32s),
            7 => value.doubles(&mut self.fp64s),
            8 => {
                self.bytes.push(value.bytes()?);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Contents {
    /// The field of numbers that MLServer reads: it looks for one that is filled, whatever the datatype.
    pub(crate) fn filled(&self, kind: Field) -> Field {
        let filled = [
            (Field::Bool, !self.bools.is_empty()),
            (Field::Int, !self.ints.is_empty()),
            (Field::Int64, !self.int64s.is_empty()),
            (Field::Uint, !self.uints.is_empty()),
            (Field::Uint64, !self.uint64s.is_empty()),
            (Field::Fp32, !self.fp32s.is_empty()),
            (Field::Fp64, !self.fp64s.is_empty()),
        ];
        if kind == Field::Bytes || filled.contains(&(kind, true)) {
            return kind;
        }
        let first = filled.iter().find(|(_, filled)| *filled);
        first.map_or(kind, |(field, _)| *field)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut message = Encoder::default()
            .numbers(1, self.bools.iter().map(|v| u64::from(*v)))
            .numbers(2, self.ints.iter().map(|v| i64::from(*v).cast_unsigned()))
            .numbers(3, self.int64s.iter().map(|v| v.cast_unsigned()))
            .numbers(4, self.uints.iter().map(|v| u64::from(*v)))
            .numbers(5, self.uint64s.iter().copied())
            .floats(6, &self.fp32s)
            .doubles(7, &self.fp64s);
        for text in &self.bytes {
            message = message.always(8, text);
        }
        message.finish()
    }
}
