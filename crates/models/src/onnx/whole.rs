//! Whether all of a model is in its file, also those parts that are not read here.

use super::wire::{Fields, Value};

/// Messages of `onnx.proto` that can lead to a tensor.
#[derive(Debug, Clone, Copy)]
enum Message {
    Model,
    Training,
    Graph,
    Function,
    Node,
    Attribute,
    Sparse,
    Tensor,
}

impl Message {
    /// What the field of that number holds.
    fn inner(self, field: u32) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            _ => return None,
        })
    }
}

/// Looks for tensors whose values are elsewhere.
///
/// # Errors
/// There is one, or the file is none of ONNX.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    // Messages that are still to be looked into, instead of a call for each: nesting costs no stack.
    let mut open = vec![(Message::Model, bytes)];
    let mut graph = false;
    while let Some((message, bytes)) = open.pop() {
        let mut fields = Fields(bytes);
        while let Some((field, value)) = fields.next()? {
            if let Some(inner) = message.inner(field) {
                graph |= matches!(inner, Message::Graph);
                open.push((inner, value.bytes()?));
            }
            let external = match (message, field, value) {
                // `data_location`: EXTERNAL.
                (Message::Tensor, 14, Value::Varint(place)) => place != 0,
                // `external_data`.
                (Message::Tensor, 13, _) => true,
                _ => false,
            };
            if external {
                return Err(
                    "values of a tensor are in another file: save the model as one file".to_owned(),
                );
            }
        }
    }
    match graph {
        true => Ok(()),
        false => Err("expected a graph".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that holds a message.
    fn inside(number: u8, bytes: &[u8]) -> Vec<u8> {
        // Two bytes for numbers from 16 on.
        let key = u16::from(number) << 3 | 2;
        let mut field = match u8::try_from(key).ok().filter(|key| *key < 0x80) {
            Some(key) => vec![key],
            None => vec![(key & 0x7f) as u8 | 0x80, (key >> 7) as u8],
        };
        field.push(u8::try_from(bytes.len()).unwrap());
        field.extend_from_slice(bytes);
        field
    }

    #[test]
    fn a_tensor_elsewhere_is_found_wherever_it_hides() {
        let whole = [0x08, 0x01];
        let located = [0x70, 0x01];
        let named = inside(13, b"");
        let ways: [&[u8]; 9] = [
            &[7, 5],
            &[7, 1, 5, 5],
            &[7, 1, 5, 10],
            &[7, 1, 5, 6, 5],
            &[7, 1, 5, 11, 1, 5, 5],
            &[7, 15, 1],
            &[7, 1, 5, 22, 2],
            &[20, 2, 5],
            &[25, 7, 5, 5],
        ];
        for way in ways {
            let file = |tensor: &[u8]| {
                let made = way
                    .iter()
                    .rev()
                    .fold(tensor.to_vec(), |bytes, number| inside(*number, &bytes));
                [made, inside(7, b"")].concat()
            };
            assert_eq!(check(&file(&whole)), Ok(()), "{way:?}");
            for elsewhere in [&located[..], &named] {
                let error = check(&file(elsewhere)).unwrap_err();
                assert!(error.contains("in another file"), "{way:?}: {error}");
            }
        }
    }

    #[test]
    fn what_is_no_graph_is_refused() {
        for bytes in [&b""[..], b"ORTM", &[0x08, 0x01], b"\x3a\xff\x01"] {
            assert!(check(bytes).is_err(), "{bytes:?}");
        }
        // Deep nesting is no trouble.
        let mut deep = Vec::new();
        for _ in 0..20 {
            deep = inside(1, &inside(5, &inside(6, &deep)));
        }
        assert_eq!(check(&inside(7, &deep)), Ok(()));
    }
}
