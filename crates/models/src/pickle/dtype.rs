//! numpy's types of values, and values of them.

use super::{Graph, Id, Node, number};

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
    pub(super) fields: Vec<(String, usize, Dtype)>,
}

impl Dtype {
    pub(super) fn read(graph: &Graph<'_>, id: Id) -> Result<Self, String> {
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

    /// A record of fields that follow each other.
    pub(crate) fn record(each: impl IntoIterator<Item = (String, Self)>) -> Self {
        let (mut fields, mut size) = (Vec::new(), 0_usize);
        for (name, dtype) in each {
            let offset = size;
            size = size.saturating_add(dtype.size);
            fields.push((name, offset, dtype));
        }
        Self {
            kind: Kind::Record,
            size,
            big_endian: false,
            fields,
        }
    }

    /// numpy's code without the order of bytes, such as `f8`.
    pub(crate) fn code(&self) -> String {
        let (letter, size) = match self.kind {
            Kind::Float => ('f', self.size),
            Kind::Signed => ('i', self.size),
            Kind::Unsigned => ('u', self.size),
            Kind::Boolean => ('b', self.size),
            Kind::Text => ('U', self.size / 4),
            Kind::Bytes => ('S', self.size),
            Kind::Object => ('O', self.size),
            Kind::Record => ('V', self.size),
        };
        format!("{letter}{size}")
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

    pub(super) fn integer(&self, bytes: &[u8]) -> Option<i64> {
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

    /// The value of one element.
    pub(crate) fn scalar<'a>(&self, bytes: &[u8]) -> Option<Node<'a>> {
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
