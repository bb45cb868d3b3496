//! numpy's values in a pickle: dtypes, scalars and arrays, by the module names of numpy 1 and 2.

use super::{Graph, Id, Node, number};

/// What a REDUCE or NEWOBJ makes.
pub(super) enum Constructed<'a> {
    /// A value known to the reader.
    Value(Node<'a>),
    /// A value that exists already.
    Same(Id),
    /// An object that stays as written.
    Object,
}

/// What an object becomes when its state is set.
pub(super) enum Built {
    /// It stays an object.
    Object,
    /// An array whose bytes are in the state.
    Inline(Result<Array, String>),
    /// An array whose bytes follow in the stream, as joblib writes them.
    Follows(Result<Wrapper, String>),
}

/// The kind of a dtype's numbers, after numpy's `dtype.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Signed,
    Unsigned,
    Boolean,
    /// UTF-32 text.
    Text,
    /// Bytes, padded with zeros.
    Bytes,
    Object,
    Record,
}

#[derive(Debug, Clone)]
pub(crate) struct Dtype {
    pub(crate) kind: Kind,
    pub(crate) size: usize,
    big_endian: bool,
    /// Name, offset and dtype of each field of a record.
    fields: Vec<(String, usize, Dtype)>,
}

#[derive(Debug, Clone)]
enum Data {
    Stream { start: usize, length: usize },
    Bytes(Id),
    List(Id),
}

/// An array as written; nothing is converted until it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    fortran: bool,
    data: Data,
}

/// joblib's `NumpyArrayWrapper`, the header of an array in the stream.
pub(super) struct Wrapper {
    dtype: Dtype,
    shape: Vec<usize>,
    fortran: bool,
    aligned: bool,
}

fn is_multiarray(module: &str) -> bool {
    matches!(module, "numpy.core.multiarray" | "numpy._core.multiarray")
}

pub(super) fn constructed<'a>(
    graph: &mut Graph<'a>,
    class: Id,
    arguments: Id,
) -> Result<Constructed<'a>, String> {
    let Node::Global(global) = graph.node(class) else {
        return Ok(Constructed::Object);
    };
    let arguments = graph.sequence(arguments).unwrap_or_default();
    Ok(
        match (global.module.as_ref(), global.name.as_ref(), arguments) {
            (module, "scalar", [dtype, bytes]) if is_multiarray(module) => {
                match (Dtype::read(graph, *dtype)?, graph.bytes(*bytes)) {
                    (dtype, Some(bytes)) => dtype
                        .scalar(bytes)
                        .map_or(Constructed::Object, Constructed::Value),
                    _ => Constructed::Object,
                }
            }
            (
                "numpy.core.numeric" | "numpy._core.numeric",
                "_frombuffer",
                [bytes, dtype, shape, order],
            ) => {
                let array = Array {
                    dtype: Dtype::read(graph, *dtype)?,
                    shape: shape_of(graph, *shape)?,
                    fortran: graph.text(*order) == Some("F"),
                    data: Data::Bytes(*bytes),
                };
                Constructed::Value(Node::Array(Box::new(array.checked(graph)?)))
            }
            // Protocols below 3 write empty bytes as a call.
            ("builtins" | "__builtin__", "bytearray" | "bytes", []) => {
                Constructed::Value(Node::Bytes(Vec::new().into()))
            }
            ("builtins" | "__builtin__", "bytearray" | "bytes", [bytes])
                if graph.bytes(*bytes).is_some() =>
            {
                Constructed::Same(*bytes)
            }
            ("_codecs", "encode", [text, ..]) => {
                let text = graph
                    .text(*text)
                    .ok_or("an encoding of something that is no text")?;
                let bytes: Option<Vec<u8>> = text
                    .chars()
                    .map(|c| u8::try_from(u32::from(c)).ok())
                    .collect();
                let bytes = bytes.ok_or("text outside of Latin-1 where bytes were expected")?;
                graph.copy(bytes.len())?;
                Constructed::Value(Node::Bytes(bytes.into()))
            }
            _ => Constructed::Object,
        },
    )
}

pub(super) fn built(graph: &Graph<'_>, target: Id) -> Built {
    let Some(object) = graph.object(target) else {
        return Built::Object;
    };
    let Some(global) = graph.class(object) else {
        return Built::Object;
    };
    let module = global.module.as_ref();
    match global.name.as_ref() {
        "_reconstruct" if is_multiarray(module) => {
            Built::Inline(reconstructed(graph, object.state))
        }
        "NumpyArrayWrapper" if module.ends_with("joblib.numpy_pickle") => {
            Built::Follows(Wrapper::read(graph, target))
        }
        _ => Built::Object,
    }
}

/// The state of `_reconstruct`: version, shape, dtype, Fortran order, bytes or list.
fn reconstructed(graph: &Graph<'_>, state: Option<Id>) -> Result<Array, String> {
    let parts = state
        .and_then(|state| graph.sequence(state))
        .unwrap_or_default();
    let [_, shape, dtype, fortran, data] = parts else {
        return Err("an array without its five parts".to_owned());
    };
    let data = match graph.node(*data) {
        Node::List(_) => Data::List(*data),
        Node::Bytes(_) | Node::Str(_) => Data::Bytes(*data),
        _ => return Err("an array without values".to_owned()),
    };
    let array = Array {
        dtype: Dtype::read(graph, *dtype)?,
        shape: shape_of(graph, *shape)?,
        fortran: graph.integer(*fortran) == Some(1),
        data,
    };
    array.checked(graph)
}

fn shape_of(graph: &Graph<'_>, id: Id) -> Result<Vec<usize>, String> {
    let sizes = graph.sequence(id).ok_or("an array without a shape")?;
    if sizes.len() > 8 {
        return Err("an array of more than 8 dimensions".to_owned());
    }
    let size = |id: &Id| {
        graph
            .integer(*id)
            .and_then(|size| usize::try_from(size).ok())
    };
    sizes
        .iter()
        .map(size)
        .collect::<Option<_>>()
        .ok_or_else(|| "an array of impossible shape".to_owned())
}

impl Wrapper {
    fn read(graph: &Graph<'_>, target: Id) -> Result<Self, String> {
        let object = graph.object(target).ok_or("no array header")?;
        let attribute = |name| {
            graph
                .attribute(object, name)
                .ok_or_else(|| format!("an array header without `{name}`"))
        };
        Ok(Self {
            dtype: Dtype::read(graph, attribute("dtype")?)?,
            shape: shape_of(graph, attribute("shape")?)?,
            fortran: graph.text(attribute("order")?) == Some("F"),
            aligned: graph
                .attribute(object, "numpy_array_alignment_bytes")
                .is_some_and(|id| graph.integer(id).is_some()),
        })
    }

    pub(super) fn holds_objects(&self) -> bool {
        self.dtype.kind == Kind::Object
    }

    /// joblib 1.2 and later put a byte before the values that says how much padding follows it.
    pub(super) fn aligned(&self) -> bool {
        self.aligned
    }

    pub(super) fn byte_length(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(self.dtype.size, |length, size| length.checked_mul(*size))
    }

    pub(super) fn with_stream(self, start: usize, length: usize) -> Array {
        self.with(Data::Stream { start, length })
    }

    /// The array that a nested pickle holds: numpy pickles the elements as an array of its own.
    pub(super) fn with_objects(self, graph: &Graph<'_>, elements: Id) -> Result<Array, String> {
        match graph.node(elements) {
            Node::Array(array) => Ok(Array::clone(array)),
            Node::List(_) => self.with(Data::List(elements)).checked(graph),
            _ => Err("an array of objects without elements".to_owned()),
        }
    }

    fn with(self, data: Data) -> Array {
        Array {
            dtype: self.dtype,
            shape: self.shape,
            fortran: self.fortran,
            data,
        }
    }
}

impl Dtype {
    fn read(graph: &Graph<'_>, id: Id) -> Result<Self, String> {
        Self::nested(graph, id, true)
    }

    fn nested(graph: &Graph<'_>, id: Id, records: bool) -> Result<Self, String> {
        let bad = || "a numpy dtype that is none".to_owned();
        let object = graph.object(id).ok_or_else(bad)?;
        let named = graph
            .class(object)
            .is_some_and(|class| class.module == "numpy" && class.name == "dtype");
        let code = graph
            .sequence(object.arguments)
            .and_then(<[Id]>::first)
            .and_then(|code| graph.text(*code));
        let (Some(code), true) = (code, named) else {
            return Err(bad());
        };
        let state = object
            .state
            .and_then(|state| graph.sequence(state))
            .unwrap_or_default();
        let big_endian = state
            .get(1)
            .is_some_and(|order| graph.text(*order) == Some(">"));
        let mut found = Self::of(code, big_endian)?;
        if found.kind == Kind::Record {
            let names = state
                .get(3)
                .and_then(|names| graph.sequence(*names))
                .unwrap_or_default();
            let Some(Node::Dict(items)) = state.get(4).map(|fields| graph.node(*fields)) else {
                return Err(bad());
            };
            if !records || names.len() > 64 || items.len() > 128 {
                return Err("a record of records, or of too many fields".to_owned());
            }
            for name in names {
                let name = graph.text(*name).ok_or_else(bad)?;
                let field = graph
                    .entry(items, name)
                    .and_then(|field| graph.sequence(field));
                let Some([dtype, offset, ..]) = field else {
                    return Err(bad());
                };
                let offset = graph
                    .integer(*offset)
                    .and_then(|offset| usize::try_from(offset).ok())
                    .ok_or_else(bad)?;
                found.fields.push((
                    name.chars().take(64).collect(),
                    offset,
                    Self::nested(graph, *dtype, false)?,
                ));
            }
        }
        Ok(found)
    }

    /// The type of a code such as `<f8` or `U3`.
    pub(crate) fn of(code: &str, big_endian: bool) -> Result<Self, String> {
        let code = code.trim_start_matches(['<', '>', '|', '=']);
        let unknown = || {
            let code: String = code.chars().take(16).collect();
            format!("the numpy dtype `{code}`")
        };
        let mut letters = code.chars();
        let kind = match letters.next() {
            Some('f') => Kind::Float,
            Some('i') => Kind::Signed,
            Some('u') => Kind::Unsigned,
            Some('b') => Kind::Boolean,
            Some('U') => Kind::Text,
            Some('S' | 'a') => Kind::Bytes,
            Some('O') => Kind::Object,
            Some('V') => Kind::Record,
            _ => return Err(unknown()),
        };
        let count = letters.as_str().parse().unwrap_or(8_usize);
        let size = match kind {
            Kind::Text => count.checked_mul(4).ok_or_else(unknown)?,
            _ => count,
        };
        Ok(Self {
            kind,
            size,
            big_endian,
            fields: Vec::new(),
        })
    }

    fn bits(&self, bytes: &[u8]) -> Option<u64> {
        if bytes.len() != self.size || !matches!(self.size, 1 | 2 | 4 | 8) {
            return None;
        }
        let little = number::unsigned(bytes);
        let shift = 64 - 8 * u32::try_from(self.size).ok()?;
        Some(if self.big_endian {
            little.swap_bytes() >> shift
        } else {
            little
        })
    }

    fn integer(&self, bytes: &[u8]) -> Option<i64> {
        let bits = self.bits(bytes)?;
        match self.kind {
            Kind::Boolean if self.size == 1 => Some(i64::from(bits != 0)),
            Kind::Unsigned => i64::try_from(bits).ok(),
            Kind::Signed => {
                let shift = 64 - 8 * u32::try_from(self.size).ok()?;
                Some((bits << shift).cast_signed() >> shift)
            }
            _ => None,
        }
    }

    pub(crate) fn float(&self, bytes: &[u8]) -> Option<f64> {
        match (self.kind, self.size) {
            (Kind::Float, 8) => Some(f64::from_bits(self.bits(bytes)?)),
            (Kind::Float, 4) => Some(f64::from(f32::from_bits(
                u32::try_from(self.bits(bytes)?).ok()?,
            ))),
            // Model integers are small; the conversion is numpy's.
            _ => self.integer(bytes).map(|value| value as f64),
        }
    }

    pub(crate) fn string(&self, bytes: &[u8]) -> Option<String> {
        match self.kind {
            Kind::Text => {
                let order = |unit: &[u8]| {
                    let value = u32::try_from(number::unsigned(unit)).ok()?;
                    char::from_u32(if self.big_endian {
                        value.swap_bytes()
                    } else {
                        value
                    })
                };
                let text: String = bytes.chunks_exact(4).map(order).collect::<Option<_>>()?;
                Some(text.trim_end_matches('\0').to_owned())
            }
            _ => None,
        }
    }

    fn scalar<'a>(&self, bytes: &[u8]) -> Option<Node<'a>> {
        match self.kind {
            Kind::Float => self.float(bytes).map(Node::Float),
            Kind::Boolean => self.integer(bytes).map(|value| Node::Bool(value != 0)),
            Kind::Signed | Kind::Unsigned => self.integer(bytes).map(Node::Int),
            Kind::Text if bytes.len() <= 4096 => {
                self.string(bytes).map(|text| Node::Str(text.into()))
            }
            _ => None,
        }
    }
}

impl Array {
    /// The number of elements.
    pub(crate) fn count(&self) -> usize {
        self.shape
            .iter()
            .try_fold(1_usize, |count, size| count.checked_mul(*size))
            .unwrap_or(usize::MAX)
    }

    fn checked(self, graph: &Graph<'_>) -> Result<Self, String> {
        let expected = self.count();
        let fits = match &self.data {
            Data::List(id) => graph.sequence(*id).is_some_and(|ids| ids.len() == expected),
            _ => expected
                .checked_mul(self.dtype.size)
                .is_some_and(|length| self.bytes(graph).len() == length),
        };
        if fits {
            Ok(self)
        } else {
            Err("an array whose values do not fill its shape".to_owned())
        }
    }

    fn bytes<'g>(&self, graph: &'g Graph<'_>) -> &'g [u8] {
        match &self.data {
            Data::Stream { start, length } => graph
                .stream()
                .get(*start..)
                .and_then(|rest| rest.get(..*length))
                .unwrap_or_default(),
            Data::Bytes(id) => match graph.node(*id) {
                Node::Bytes(bytes) => bytes,
                Node::Str(text) => text.as_bytes(),
                _ => &[],
            },
            Data::List(_) => &[],
        }
    }

    /// The elements of an array of objects, in the order written.
    pub(crate) fn elements<'g>(&self, graph: &'g Graph<'_>) -> Option<&'g [Id]> {
        match &self.data {
            Data::List(id) => graph.sequence(*id),
            _ => None,
        }
    }

    /// All elements, or the field of all records, as floats in C order.
    pub(crate) fn floats(
        &self,
        graph: &Graph<'_>,
        field: Option<&str>,
    ) -> Result<Vec<f64>, String> {
        self.convert(graph, field, "numbers", Dtype::float)
    }

    /// All elements, or the field of all records, as integers in C order.
    pub(crate) fn integers(
        &self,
        graph: &Graph<'_>,
        field: Option<&str>,
    ) -> Result<Vec<i64>, String> {
        self.convert(graph, field, "integers", Dtype::integer)
    }

    /// All elements as strings.
    pub(crate) fn strings(&self, graph: &Graph<'_>) -> Result<Vec<String>, String> {
        self.convert(graph, None, "text", Dtype::string)
    }

    /// Whether records have this field.
    pub(crate) fn has_field(&self, field: &str) -> bool {
        self.dtype.fields.iter().any(|(name, ..)| name == field)
    }

    fn convert<T: Clone>(
        &self,
        graph: &Graph<'_>,
        field: Option<&str>,
        what: &str,
        read: impl Fn(&Dtype, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, String> {
        let (offset, dtype) = match field {
            None => (0, &self.dtype),
            Some(name) => self
                .dtype
                .fields
                .iter()
                .find_map(|(field, offset, dtype)| (field == name).then_some((*offset, dtype)))
                .ok_or_else(|| format!("records without the field `{name}`"))?,
        };
        let value = |record: &[u8]| read(dtype, record.get(offset..)?.get(..dtype.size)?);
        let bytes = self.bytes(graph);
        let values: Option<Vec<T>> = match self.dtype.size {
            0 => None,
            size => bytes.chunks_exact(size).map(value).collect(),
        };
        let values = values
            .filter(|values| values.len() == self.count())
            .ok_or_else(|| format!("an array that is not of {what}"))?;
        match (self.fortran, self.shape.as_slice()) {
            (true, [rows, columns]) if *rows > 1 && *columns > 1 => {
                let transposed =
                    (0..*rows).flat_map(|row| values.iter().skip(row).step_by(*rows).cloned());
                Ok(transposed.collect())
            }
            (true, [_, _, _, ..]) => {
                Err("an array of three dimensions in Fortran order".to_owned())
            }
            _ => Ok(values),
        }
    }
}
