//! Values with a shape.

use super::proto;
use std::sync::Arc;

/// The type of the values of a [`Tensor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// 32-bit floats.
    Float,
    /// 64-bit floats.
    Double,
    /// 64-bit whole numbers.
    Int64,
    /// 32-bit whole numbers.
    Int32,
    /// Truth values.
    Bool,
    /// Text.
    Text,
}

/// The values of a [`Tensor`], in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// 32-bit floats.
    Float(Vec<f32>),
    /// 64-bit floats.
    Double(Vec<f64>),
    /// 64-bit whole numbers.
    Int64(Vec<i64>),
    /// 32-bit whole numbers.
    Int32(Vec<i32>),
    /// Truth values.
    Bool(Vec<bool>),
    /// Text.
    Text(Vec<String>),
}

/// Values with a shape. Copies share the values.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) values: Arc<Values>,
}

/// Does the same with the values of any type.
macro_rules! each {
    ($values:expr, $name:ident => $body:expr) => {
        match $values {
            $crate::onnx::tensor::Values::Float($name) => $body,
            $crate::onnx::tensor::Values::Double($name) => $body,
            $crate::onnx::tensor::Values::Int64($name) => $body,
            $crate::onnx::tensor::Values::Int32($name) => $body,
            $crate::onnx::tensor::Values::Bool($name) => $body,
            $crate::onnx::tensor::Values::Text($name) => $body,
        }
    };
}

/// Makes values of the same type by doing the same with those of any type.
macro_rules! alike {
    ($values:expr, $name:ident => $body:expr) => {
        match $values {
            $crate::onnx::tensor::Values::Float($name) => {
                $crate::onnx::tensor::Values::Float($body)
            }
            $crate::onnx::tensor::Values::Double($name) => {
                $crate::onnx::tensor::Values::Double($body)
            }
            $crate::onnx::tensor::Values::Int64($name) => {
                $crate::onnx::tensor::Values::Int64($body)
            }
            $crate::onnx::tensor::Values::Int32($name) => {
                $crate::onnx::tensor::Values::Int32($body)
            }
            $crate::onnx::tensor::Values::Bool($name) => $crate::onnx::tensor::Values::Bool($body),
            $crate::onnx::tensor::Values::Text($name) => $crate::onnx::tensor::Values::Text($body),
        }
    };
}

pub(super) use alike;

impl ElementType {
    /// `TensorProto.DataType`.
    pub(super) fn of_number(number: i64) -> Result<Self, String> {
        Ok(match number {
            1 => Self::Float,
            6 => Self::Int32,
            7 => Self::Int64,
            8 => Self::Text,
            9 => Self::Bool,
            11 => Self::Double,
            other => {
                return Err(format!(
                    "values of ONNX's type {other} are not supported: expected float, double, int32, int64, bool or string"
                ));
            }
        })
    }

    /// ONNX's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Double => "double",
            Self::Int64 => "int64",
            Self::Int32 => "int32",
            Self::Bool => "bool",
            Self::Text => "string",
        }
    }

    /// Bytes that a value takes.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Float | Self::Int32 => 4,
            Self::Double | Self::Int64 => 8,
            Self::Bool => 1,
            Self::Text => size_of::<String>(),
        }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::Float | Self::Double)
    }

    pub(super) fn is_numeric(self) -> bool {
        !matches!(self, Self::Bool | Self::Text)
    }
}

impl Values {
    /// The number of values.
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the values.
    pub fn element(&self) -> ElementType {
        match self {
            Self::Float(_) => ElementType::Float,
            Self::Double(_) => ElementType::Double,
            Self::Int64(_) => ElementType::Int64,
            Self::Int32(_) => ElementType::Int32,
            Self::Bool(_) => ElementType::Bool,
            Self::Text(_) => ElementType::Text,
        }
    }

    /// The values at these places, in their order; `None` if one does not exist.
    pub(super) fn pick(&self, places: impl Iterator<Item = usize>) -> Option<Self> {
        Some(
            alike!(self, values => places.map(|place| values.get(place).cloned()).collect::<Option<_>>()?),
        )
    }
}

/// The number of values of a shape, if it can be.
pub(super) fn volume(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |product, size| product.checked_mul(*size))
}

impl Tensor {
    /// A tensor of that shape; `None` if the number of values is another.
    pub fn new(shape: Vec<usize>, values: Values) -> Option<Self> {
        (volume(&shape) == Some(values.len())).then(|| Self {
            shape,
            values: Arc::new(values),
        })
    }

    /// The sizes of its dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values in row-major order.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The values in row-major order, copied only if they are shared.
    pub fn into_values(self) -> Values {
        Arc::unwrap_or_clone(self.values)
    }

    /// The type of the values.
    pub fn element(&self) -> ElementType {
        self.values.element()
    }

    /// What the file has as a tensor.
    ///
    /// # Errors
    /// A type that is not supported, or another number of values than its shape says.
    pub(super) fn read(file: &proto::Tensor<'_>) -> Result<Self, String> {
        let named = |what: String| format!("the tensor `{}`: {what}", short(file.name));
        if file.external {
            return Err(named(
                "its values are in another file: save the model as one file".to_owned(),
            ));
        }
        let shape: Option<Vec<usize>> = file
            .sizes
            .iter()
            .map(|size| usize::try_from(*size).ok())
            .collect();
        let shape = shape.ok_or_else(|| named("a size is negative".to_owned()))?;
        let element = ElementType::of_number(file.kind).map_err(named)?;
        let values = values(file, element).map_err(named)?;
        let (expected, found) = (volume(&shape), values.len());
        Self::new(shape, values).ok_or_else(|| {
            named(match expected {
                Some(expected) => format!("expected {expected} values, found {found}"),
                None => "its shape is larger than memory".to_owned(),
            })
        })
    }

    /// Rows and columns of a matrix; a vector is one row.
    pub(super) fn table(&self) -> Result<(usize, usize), String> {
        match self.shape.as_slice() {
            [columns] => Ok((1, *columns)),
            [rows, columns] => Ok((*rows, *columns)),
            // What the runtime makes of more dimensions: rows of all that follows the first.
            [rows, rest @ ..] if !rest.is_empty() => {
                let columns = volume(rest).ok_or("a shape that is larger than memory")?;
                Ok((*rows, columns))
            }
            _ => Err("expected rows and columns, found a single value".to_owned()),
        }
    }

    pub(super) fn ints(&self) -> Result<Vec<i64>, String> {
        match &*self.values {
            Values::Int64(values) => Ok(values.clone()),
            Values::Int32(values) => Ok(values.iter().map(|value| i64::from(*value)).collect()),
            other => Err(format!(
                "expected whole numbers, found {}",
                other.element().name()
            )),
        }
    }
}

fn values(file: &proto::Tensor<'_>, element: ElementType) -> Result<Values, String> {
    if let Some(raw) = file.raw {
        return from_raw(raw, element);
    }
    let beyond = || "a value does not fit its type".to_owned();
    Ok(match element {
        ElementType::Float => Values::Float(file.floats.clone()),
        ElementType::Double => Values::Double(file.doubles.clone()),
        ElementType::Int64 => Values::Int64(file.ints.clone()),
        ElementType::Int32 => {
            let ints = file.ints.iter().map(|value| i32::try_from(*value));
            Values::Int32(ints.collect::<Result<_, _>>().map_err(|_| beyond())?)
        }
        ElementType::Bool => Values::Bool(file.ints.iter().map(|value| *value != 0).collect()),
        ElementType::Text => {
            let texts = file.texts.iter().map(|text| str::from_utf8(text));
            let texts = texts.map(|text| text.map(str::to_owned));
            Values::Text(
                texts
                    .collect::<Result<_, _>>()
                    .map_err(|_| "expected text in UTF-8".to_owned())?,
            )
        }
    })
}

fn from_raw(raw: &[u8], element: ElementType) -> Result<Values, String> {
    fn of<const N: usize, T>(raw: &[u8], from: impl Fn([u8; N]) -> T) -> Result<Vec<T>, String> {
        let (chunks, rest) = raw.as_chunks::<N>();
        if !rest.is_empty() {
            return Err(format!("expected values of {N} bytes"));
        }
        Ok(chunks.iter().map(|chunk| from(*chunk)).collect())
    }
    Ok(match element {
        ElementType::Float => Values::Float(of(raw, f32::from_le_bytes)?),
        ElementType::Double => Values::Double(of(raw, f64::from_le_bytes)?),
        ElementType::Int64 => Values::Int64(of(raw, i64::from_le_bytes)?),
        ElementType::Int32 => Values::Int32(of(raw, i32::from_le_bytes)?),
        ElementType::Bool => Values::Bool(raw.iter().map(|byte| *byte != 0).collect()),
        ElementType::Text => return Err("text cannot be raw".to_owned()),
    })
}

/// The beginning of a name, for messages.
pub(super) fn short(name: &str) -> String {
    name.chars().take(64).collect()
}
