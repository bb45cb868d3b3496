//! The messages of `onnx.proto`, by their field numbers. What is not needed to answer is passed over.

use super::wire::{Fields, Value};

/// What reading may still cost: messages, each of which takes more memory than its bytes.
#[derive(Debug)]
pub(super) struct Purse {
    pub(super) messages: usize,
    /// Graphs inside graphs.
    pub(super) depth: usize,
}

impl Purse {
    fn pay(&mut self) -> Result<(), String> {
        let left = self.messages.checked_sub(1);
        self.messages = left.ok_or("more messages than the limit of objects")?;
        Ok(())
    }
}

/// `ModelProto`.
#[derive(Debug, Default)]
pub(super) struct Model<'b> {
    pub(super) ir_version: i64,
    /// Domains with the version of their operators.
    pub(super) opsets: Vec<(&'b str, i64)>,
    pub(super) graph: Option<Graph<'b>>,
    pub(super) functions: Vec<Function<'b>>,
}

/// `FunctionProto`: an operator made of others.
#[derive(Debug, Default)]
pub(super) struct Function<'b> {
    pub(super) name: &'b str,
    pub(super) domain: &'b str,
}

/// `GraphProto`.
#[derive(Debug, Default)]
pub(super) struct Graph<'b> {
    pub(super) nodes: Vec<Node<'b>>,
    pub(super) constants: Vec<Tensor<'b>>,
    pub(super) inputs: Vec<Port<'b>>,
    pub(super) outputs: Vec<Port<'b>>,
    pub(super) sparse: bool,
}

/// `NodeProto`.
#[derive(Debug, Default)]
pub(super) struct Node<'b> {
    pub(super) name: &'b str,
    pub(super) operator: &'b str,
    pub(super) domain: &'b str,
    /// An empty name is an input that is left out.
    pub(super) inputs: Vec<&'b str>,
    pub(super) outputs: Vec<&'b str>,
    pub(super) attributes: Vec<Attribute<'b>>,
}

/// `AttributeProto`. The values of all types are kept, since older files do not say which counts.
#[derive(Debug, Default)]
pub(super) struct Attribute<'b> {
    pub(super) name: &'b str,
    pub(super) float: Option<f32>,
    pub(super) int: Option<i64>,
    pub(super) text: Option<&'b [u8]>,
    pub(super) tensor: Option<Tensor<'b>>,
    pub(super) graph: Option<Graph<'b>>,
    pub(super) floats: Vec<f32>,
    pub(super) ints: Vec<i64>,
    pub(super) texts: Vec<&'b [u8]>,
    pub(super) reference: bool,
}

/// `TensorProto`.
#[derive(Debug, Default)]
pub(super) struct Tensor<'b> {
    pub(super) name: &'b str,
    pub(super) sizes: Vec<i64>,
    pub(super) kind: i64,
    pub(super) raw: Option<&'b [u8]>,
    pub(super) floats: Vec<f32>,
    pub(super) doubles: Vec<f64>,
    /// Of the fields for 32 bits and less, for 64 bits, and for unsigned ones.
    pub(super) ints: Vec<i64>,
    pub(super) texts: Vec<&'b [u8]>,
    /// Whether the values are in another file.
    pub(super) external: bool,
}

/// `ValueInfoProto`.
#[derive(Debug, Default)]
pub(super) struct Port<'b> {
    pub(super) name: &'b str,
    /// `None` for what is no tensor, such as a list of maps.
    pub(super) tensor: Option<TensorType>,
}

/// `TypeProto.Tensor`: −1 is a size that is open.
#[derive(Debug, Default)]
pub(super) struct TensorType {
    pub(super) kind: i64,
    pub(super) sizes: Option<Vec<i64>>,
}

type Read<T> = Result<T, String>;

fn each<'b>(bytes: &'b [u8], mut field: impl FnMut(u32, Value<'b>) -> Read<()>) -> Read<()> {
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next()? {
        field(number, value)?;
    }
    Ok(())
}

impl<'b> Model<'b> {
    pub(super) fn read(bytes: &'b [u8], purse: &mut Purse) -> Read<Self> {
        let mut model = Self::default();
        each(bytes, |number, value| {
            match number {
                1 => model.ir_version = value.number()?,
                7 => model.graph = Some(Graph::read(value.bytes()?, purse)?),
                8 => {
                    purse.pay()?;
                    let (mut domain, mut version) = ("", 0);
                    each(value.bytes()?, |number, value| {
                        match number {
                            1 => domain = value.text()?,
                            2 => version = value.number()?,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    model.opsets.push((domain, version));
                }
                25 => {
                    purse.pay()?;
                    let mut function = Function::default();
                    each(value.bytes()?, |number, value| {
                        match number {
                            1 => function.name = value.text()?,
                            10 => function.domain = value.text()?,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    model.functions.push(function);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(model)
    }
}

impl<'b> Graph<'b> {
    fn read(bytes: &'b [u8], purse: &mut Purse) -> Read<Self> {
        let depth = purse.depth.checked_sub(1);
        purse.depth = depth.ok_or("graphs inside graphs are nested too deeply")?;
        let mut graph = Self::default();
        each(bytes, |number, value| {
            match number {
                1 => graph.nodes.push(Node::read(value.bytes()?, purse)?),
                5 => graph.constants.push(Tensor::read(value.bytes()?, purse)?),
                11 => graph.inputs.push(Port::read(value.bytes()?, purse)?),
                12 => graph.outputs.push(Port::read(value.bytes()?, purse)?),
                15 => graph.sparse = true,
                _ => {}
            }
            Ok(())
        })?;
        purse.depth += 1;
        Ok(graph)
    }
}

impl<'b> Node<'b> {
    fn read(bytes: &'b [u8], purse: &mut Purse) -> Read<Self> {
        purse.pay()?;
        let mut node = Self::default();
        each(bytes, |number, value| {
            match number {
                1 => node.inputs.push(value.text()?),
                2 => node.outputs.push(value.text()?),
                3 => node.name = value.text()?,
                4 => node.operator = value.text()?,
                5 => node
                    .attributes
                    .push(Attribute::read(value.bytes()?, purse)?),
                7 => node.domain = value.text()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(node)
    }
}

impl<'b> Attribute<'b> {
    fn read(bytes: &'b [u8], purse: &mut Purse) -> Read<Self> {
        purse.pay()?;
        let mut attribute = Self::default();
        each(bytes, |number, value| {
            match number {
                1 => attribute.name = value.text()?,
                2 => attribute.float = Some(value.float()?),
                3 => attribute.int = Some(value.number()?),
                4 => attribute.text = Some(value.bytes()?),
                5 => attribute.tensor = Some(Tensor::read(value.bytes()?, purse)?),
                6 => attribute.graph = Some(Graph::read(value.bytes()?, purse)?),
                7 => value.floats(&mut attribute.floats)?,
                8 => value.numbers(&mut attribute.ints)?,
                9 => attribute.texts.push(value.bytes()?),
                21 => attribute.reference = true,
                _ => {}
            }
            Ok(())
        })?;
        Ok(attribute)
    }
}

impl<'b> Tensor<'b> {
    fn read(bytes: &'b [u8], purse: &mut Purse) -> Read<Self> {
        purse.pay()?;
        let mut tensor = Self::default();
        each(bytes, |number, value| {
            match number {
                1 => value.numbers(&mut tensor.sizes)?,
                2 => tensor.kind = value.number()?,
                4 => value.floats(&mut tensor.floats)?,
                5 | 7 | 11 => value.numbers(&mut tensor.ints)?,
                6 => tensor.texts.push(value.bytes()?),
                8 => tensor.name = value.text()?,
                9 => tensor.raw = Some(value.bytes()?),
                10 => value.doubles(&mut tensor.doubles)?,
                13 => tensor.external = true,
                14 => tensor.external |= value.number()? != 0,
                _ => {}
            }
            Ok(())
        })?;
        Ok(tensor)
    }
}

impl<'b> Port<'b> {
    fn read(bytes: &'b [u8], purse: &mut Purse) -> Read<Self> {
        purse.pay()?;
        let mut port = Self::default();
        each(bytes, |number, value| {
            match number {
                1 => port.name = value.text()?,
                2 => each(value.bytes()?, |number, value| {
                    if number == 1 {
                        port.tensor = Some(TensorType::read(value.bytes()?)?);
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(port)
    }
}

impl TensorType {
    fn read(bytes: &[u8]) -> Read<Self> {
        let mut made = Self::default();
        each(bytes, |number, value| {
            match number {
                1 => made.kind = value.number()?,
                2 => {
                    let mut sizes = Vec::new();
                    each(value.bytes()?, |number, value| {
                        if number == 1 {
                            let mut size = -1;
                            each(value.bytes()?, |number, value| {
                                if number == 1 {
                                    size = value.number()?;
                                }
                                Ok(())
                            })?;
                            // Some converters write 0 for a size that is open.
                            sizes.push(if size <= 0 { -1 } else { size });
                        }
                        Ok(())
                    })?;
                    made.sizes = Some(sizes);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(made)
    }
}
