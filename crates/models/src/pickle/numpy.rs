//! numpy's values in a pickle: dtypes, scalars and arrays, by the module names of numpy 1 and 2.

use super::{Dtype, Graph, Id, Kind, Node};

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

#[derive(Debug, Clone)]
enum Data {
    Stream {
        start: usize,
        length: usize,
    },
    /// The bytes of a value, from that place on.
    Bytes(Id, usize),
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
                let (dtype, shape) = (Dtype::read(graph, *dtype)?, shape_of(graph, *shape)?);
                let fortran = graph.text(*order) == Some("F");
                let array = Array::of_bytes(graph, dtype, shape, fortran, *bytes, 0)?;
                Constructed::Value(Node::Array(Box::new(array)))
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
        Node::Bytes(_) | Node::Str(_) => Data::Bytes(*data, 0),
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

impl Array {
    /// An array whose values are the bytes of that value from `start` on.
    ///
    /// # Errors
    /// Bytes that do not fill the shape.
    pub(crate) fn of_bytes(
        graph: &Graph<'_>,
        dtype: Dtype,
        shape: Vec<usize>,
        fortran: bool,
        bytes: Id,
        start: usize,
    ) -> Result<Self, String> {
        let data = Data::Bytes(bytes, start);
        let array = Self {
            dtype,
            shape,
            fortran,
            data,
        };
        array.checked(graph)
    }

    /// An array of the objects of a list, in C order.
    ///
    /// # Errors
    /// Objects that do not fill the shape.
    pub(crate) fn of_objects(
        graph: &Graph<'_>,
        shape: Vec<usize>,
        list: Id,
    ) -> Result<Self, String> {
        let array = Self {
            dtype: Dtype::of("O", false)?,
            shape,
            fortran: false,
            data: Data::List(list),
        };
        array.checked(graph)
    }

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
            Data::Bytes(id, start) => {
                let bytes: &[u8] = match graph.node(*id) {
                    Node::Bytes(bytes) => bytes,
                    Node::Str(text) => text.as_bytes(),
                    _ => &[],
                };
                bytes.get(*start..).unwrap_or_default()
            }
            Data::List(_) => &[],
        }
    }

    /// The value of an array without dimensions.
    pub(crate) fn scalar<'a>(&self, graph: &Graph<'_>) -> Option<Node<'a>> {
        match self.shape.is_empty() {
            true => self.dtype.scalar(self.bytes(graph)),
            false => None,
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
        let values = match self.dtype.size {
            0 => None,
            size => {
                let records = bytes.chunks_exact(size);
                // A collection of options would not know how many there are.
                let mut values = Vec::with_capacity(records.len());
                let read = records.map(value).try_for_each(|value| {
                    values.push(value?);
                    Some(())
                });
                read.map(|()| values)
            }
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
