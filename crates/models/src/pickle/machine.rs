//! The stack machine of the pickle format, protocols 0 to 5 (Python's `pickletools` lists the opcodes).

use super::{Global, Graph, Id, Node, Object, number, numpy, text};
use crate::{Limits, LoadError};
use std::borrow::Cow;

pub(super) struct Machine<'a> {
    graph: Graph<'a>,
    stream: &'a [u8],
    at: usize,
    objects: usize,
    depth: usize,
}

/// The state of one pickle; pickles nested in a stream have their own.
#[derive(Default)]
struct Frame {
    stack: Vec<Id>,
    /// Lengths of the stack below each open mark.
    marks: Vec<usize>,
    memo: Vec<Option<Id>>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(stream: &'a [u8], limits: &Limits) -> Self {
        Self {
            graph: Graph::new(stream, limits),
            stream,
            at: 0,
            objects: limits.objects,
            depth: limits.depth,
        }
    }

    pub(super) fn into_graph(self) -> Graph<'a> {
        self.graph
    }

    /// Runs one pickle up to its `STOP` and returns the value on top of its stack.
    pub(super) fn run(&mut self, depth: usize) -> Result<Id, LoadError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(LoadError::Limit {
                what: "nested pickles",
                limit: self.depth,
            });
        };
        let mut frame = Frame::default();
        loop {
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop(&mut frame);
            }
            self.step(opcode, &mut frame, depth)?;
        }
    }

    fn step(&mut self, opcode: u8, frame: &mut Frame, depth: usize) -> Result<(), LoadError> {
        let node = match opcode {
            // PROTO, FRAME: nothing in them changes the meaning; joblib's raw arrays lie between frames.
            0x80 => {
                let protocol = self.byte()?;
                if protocol > 5 {
                    return Err(self.bad(&format!("pickle protocol {protocol}, expected 0 to 5")));
                }
                return Ok(());
            }
            0x95 => return self.take(8).map(drop),
            b'(' => {
                frame.marks.push(frame.stack.len());
                return Ok(());
            }
            b'0' => return self.discard(frame),
            b'1' => return self.popped_mark(frame).map(drop),
            b'2' => {
                let top = self.top(frame)?;
                frame.stack.push(top);
                return Ok(());
            }
            b'p' | b'q' | b'r' | 0x94 => return self.memoize(opcode, frame),
            b'g' | b'h' | b'j' => return self.recall(opcode, frame),
            b'a' | b'e' | b's' | b'u' | 0x90 => return self.extend(opcode, frame),
            b'b' => return self.build(frame, depth),
            b'R' | 0x81 | 0x92 | b'o' | b'i' => return self.construct(opcode, frame),
            b'P' | b'Q' => return Err(self.bad("a reference to an object outside of the file")),
            0x82..=0x84 => return Err(self.bad("an extension code of another program")),
            0x97 | 0x98 => return Err(self.bad("a buffer outside of the file")),
            b't' => Node::Tuple(self.popped_mark(frame)?),
            b'l' => Node::List(self.popped_mark(frame)?),
            b'd' => Node::Dict(self.pairs(frame)?),
            0x91 => Node::Set(self.popped_mark(frame)?),
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let Some(rest) = frame.stack.len().checked_sub(count) else {
                    return Err(self.underflow());
                };
                Node::Tuple(frame.stack.split_off(rest))
            }
            b'c' => Node::Global(Box::new(Global {
                module: self.line_text()?,
                name: self.line_text()?,
            })),
            0x93 => {
                let (name, module) = (self.pop(frame)?, self.pop(frame)?);
                match (self.graph.node(module), self.graph.node(name)) {
                    // Short, so that naming one again and again costs little.
                    (Node::Str(module), Node::Str(name)) if module.len() + name.len() <= 512 => {
                        Node::Global(Box::new(Global {
                            module: module.clone(),
                            name: name.clone(),
                        }))
                    }
                    _ => return Err(self.bad("a class whose name is no short text")),
                }
            }
            _ => self.atom(opcode)?,
        };
        self.push(frame, node)
    }

    /// Opcodes that push one value of their own.
    fn atom(&mut self, opcode: u8) -> Result<Node<'a>, LoadError> {
        Ok(match opcode {
            b'N' => Node::None,
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b')' => Node::Tuple(Vec::new()),
            b']' => Node::List(Vec::new()),
            b'}' => Node::Dict(Vec::new()),
            0x8f => Node::Set(Vec::new()),
            b'K' => Node::Int(i64::from(self.byte()?)),
            b'M' => number::signed(self.take(2)?)
                .map_or(Node::BigInt, |value| Node::Int(value & 0xffff)),
            b'J' => number::signed(self.take(4)?).map_or(Node::BigInt, Node::Int),
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                let bits = self
                    .take(8)?
                    .iter()
                    .fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
                Node::Float(f64::from_bits(bits))
            }
            b'I' | b'L' => {
                let line = self.line_text()?;
                text::integer(&line).ok_or_else(|| self.bad("an integer that is none"))?
            }
            b'F' => {
                let line = self.line_text()?;
                Node::Float(text::float(&line).ok_or_else(|| self.bad("a float that is none"))?)
            }
            b'S' => {
                let line = self.line()?;
                old_string(
                    text::quoted(line)
                        .ok_or_else(|| self.bad("a string without quotes"))?
                        .into(),
                )
            }
            b'V' => {
                let line = self.line()?;
                Node::Str(text::raw_unicode(line).ok_or_else(|| self.bad("a damaged text"))?)
            }
            b'T' => old_string(self.sized(4)?.into()),
            b'U' => old_string(self.sized(1)?.into()),
            0x8c => Node::Str(self.utf8(1)?),
            b'X' => Node::Str(self.utf8(4)?),
            0x8d => Node::Str(self.utf8(8)?),
            b'C' => Node::Bytes(self.sized(1)?.into()),
            b'B' => Node::Bytes(self.sized(4)?.into()),
            0x8e | 0x96 => Node::Bytes(self.sized(8)?.into()),
            _ => return Err(self.bad(&format!("{opcode:#04x}, which is no opcode"))),
        })
    }

    /// `REDUCE`, `NEWOBJ`, `NEWOBJ_EX`, `OBJ` and `INST`: a class and its arguments, and no call.
    fn construct(&mut self, opcode: u8, frame: &mut Frame) -> Result<(), LoadError> {
        let (class, arguments) = match opcode {
            b'o' => {
                let mut parts = self.popped_mark(frame)?.into_iter();
                let Some(class) = parts.next() else {
                    return Err(self.underflow());
                };
                (class, self.graph.push(Node::Tuple(parts.collect()))?)
            }
            b'i' => {
                let global = Global {
                    module: self.line_text()?,
                    name: self.line_text()?,
                };
                let arguments = self.popped_mark(frame)?;
                (
                    self.graph.push(Node::Global(Box::new(global)))?,
                    self.graph.push(Node::Tuple(arguments))?,
                )
            }
            _ => {
                if opcode == 0x92 {
                    self.pop(frame)?;
                }
                let arguments = self.pop(frame)?;
                (self.pop(frame)?, arguments)
            }
        };
        if !matches!(self.graph.node(arguments), Node::Tuple(_)) {
            return Err(self.bad("arguments that are no tuple"));
        }
        if !matches!(self.graph.node(class), Node::Global(_)) {
            return Err(self.bad("a call of something that is no class or function"));
        }
        let class = self.unwrap_copyreg(class, arguments);
        match numpy::constructed(&mut self.graph, class, arguments)
            .map_err(|what| self.bad(&what))?
        {
            numpy::Constructed::Value(node) => self.push(frame, node),
            numpy::Constructed::Same(id) => {
                frame.stack.push(id);
                Ok(())
            }
            numpy::Constructed::Object => self.push(
                frame,
                Node::Object(Box::new(Object {
                    class,
                    arguments,
                    state: None,
                    items: Vec::new(),
                })),
            ),
        }
    }

    /// `copyreg._reconstructor(class, base, state)` and `copyreg.__newobj__(class, …)` make an object of `class`. What
    /// follows the class in their arguments is never looked at.
    fn unwrap_copyreg(&self, class: Id, arguments: Id) -> Id {
        let Node::Global(global) = self.graph.node(class) else {
            return class;
        };
        if !matches!(global.module.as_ref(), "copyreg" | "copy_reg") {
            return class;
        }
        match self.graph.sequence(arguments) {
            Some([inner, ..]) if matches!(self.graph.node(*inner), Node::Global(_)) => *inner,
            _ => class,
        }
    }

    fn build(&mut self, frame: &mut Frame, depth: usize) -> Result<(), LoadError> {
        let state = self.pop(frame)?;
        let target = self.top(frame)?;
        let Some(Node::Object(object)) = self.graph.node_mut(target) else {
            return Err(self.bad("state for something that is no object"));
        };
        object.state = Some(state);
        let array = match numpy::built(&self.graph, target) {
            numpy::Built::Object => return Ok(()),
            numpy::Built::Inline(array) => array.map_err(|what| self.bad(&what))?,
            numpy::Built::Follows(wrapper) => {
                let wrapper = wrapper.map_err(|what| self.bad(&what))?;
                if wrapper.holds_objects() {
                    let elements = self.run(depth)?;
                    wrapper
                        .with_objects(&self.graph, elements)
                        .map_err(|what| self.bad(&what))?
                } else {
                    if wrapper.aligned() {
                        let padding = self.byte()?;
                        self.take(usize::from(padding))?;
                    }
                    let start = self.at;
                    let Some(length) = wrapper.byte_length() else {
                        return Err(self.bad("an array of impossible size"));
                    };
                    self.take(length)?;
                    wrapper.with_stream(start, length)
                }
            }
        };
        if let Some(node) = self.graph.node_mut(target) {
            *node = Node::Array(Box::new(array));
        }
        Ok(())
    }

    /// `APPEND(S)`, `SETITEM(S)` and `ADDITEMS`.
    fn extend(&mut self, opcode: u8, frame: &mut Frame) -> Result<(), LoadError> {
        let single = match opcode {
            b'a' => Some(1),
            b's' => Some(2),
            _ => None,
        };
        let items = match single {
            Some(count) => {
                let Some(rest) = frame.stack.len().checked_sub(count) else {
                    return Err(self.underflow());
                };
                if frame.marks.last().is_some_and(|mark| *mark > rest) {
                    return Err(self.underflow());
                }
                frame.stack.split_off(rest)
            }
            None => self.popped_mark(frame)?,
        };
        let target = self.top(frame)?;
        let pairs = matches!(opcode, b's' | b'u');
        if pairs && items.len() % 2 != 0 {
            return Err(self.bad("a key without a value"));
        }
        match self.graph.node_mut(target) {
            Some(Node::List(list)) if matches!(opcode, b'a' | b'e') => list.extend(items),
            Some(Node::Set(set)) if opcode == 0x90 => set.extend(items),
            Some(Node::Dict(dict)) if pairs => dict.extend(items),
            Some(Node::Object(object)) if pairs => object.items.extend(items),
            _ => return Err(self.bad("items for something that takes none")),
        }
        Ok(())
    }

    fn memoize(&mut self, opcode: u8, frame: &mut Frame) -> Result<(), LoadError> {
        let index = match opcode {
            0x94 => frame.memo.len(),
            _ => self.memo_index(opcode)?,
        };
        let top = self.top(frame)?;
        if index > self.objects {
            return Err(LoadError::Limit {
                what: "memo entries",
                limit: self.objects,
            });
        }
        if index >= frame.memo.len() {
            frame.memo.resize(index + 1, None);
        }
        if let Some(entry) = frame.memo.get_mut(index) {
            *entry = Some(top);
        }
        Ok(())
    }

    fn recall(&mut self, opcode: u8, frame: &mut Frame) -> Result<(), LoadError> {
        let index = self.memo_index(opcode)?;
        let Some(Some(id)) = frame.memo.get(index) else {
            return Err(self.bad("a reference to nothing"));
        };
        frame.stack.push(*id);
        Ok(())
    }

    fn memo_index(&mut self, opcode: u8) -> Result<usize, LoadError> {
        let index = match opcode {
            b'p' | b'g' => self.line_text()?.parse().ok(),
            b'q' | b'h' => Some(u64::from(self.byte()?)),
            _ => Some(number::unsigned(self.take(4)?)),
        };
        index
            .and_then(|index| usize::try_from(index).ok())
            .ok_or_else(|| self.bad("a memo index that is none"))
    }

    fn push(&mut self, frame: &mut Frame, node: Node<'a>) -> Result<(), LoadError> {
        let id = self.graph.push(node)?;
        frame.stack.push(id);
        Ok(())
    }

    fn pop(&self, frame: &mut Frame) -> Result<Id, LoadError> {
        if frame.marks.last() == Some(&frame.stack.len()) {
            return Err(self.underflow());
        }
        frame.stack.pop().ok_or_else(|| self.underflow())
    }

    /// `POP` takes the mark instead when that is on top.
    fn discard(&self, frame: &mut Frame) -> Result<(), LoadError> {
        if frame.marks.last() == Some(&frame.stack.len()) {
            frame.marks.pop();
            return Ok(());
        }
        self.pop(frame).map(drop)
    }

    fn top(&self, frame: &Frame) -> Result<Id, LoadError> {
        frame.stack.last().copied().ok_or_else(|| self.underflow())
    }

    fn popped_mark(&self, frame: &mut Frame) -> Result<Vec<Id>, LoadError> {
        match frame.marks.pop() {
            Some(mark) if mark <= frame.stack.len() => Ok(frame.stack.split_off(mark)),
            _ => Err(self.underflow()),
        }
    }

    fn pairs(&self, frame: &mut Frame) -> Result<Vec<Id>, LoadError> {
        let items = self.popped_mark(frame)?;
        if items.len() % 2 != 0 {
            return Err(self.bad("a key without a value"));
        }
        Ok(items)
    }

    fn long(&mut self, width: usize) -> Result<Node<'a>, LoadError> {
        Ok(number::signed(self.sized(width)?).map_or(Node::BigInt, Node::Int))
    }

    fn utf8(&mut self, width: usize) -> Result<Cow<'a, str>, LoadError> {
        let bytes = self.sized(width)?;
        std::str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|_| self.bad("text that is no UTF-8"))
    }

    /// Bytes preceded by their number, itself `width` bytes wide.
    fn sized(&mut self, width: usize) -> Result<&'a [u8], LoadError> {
        let length = number::unsigned(self.take(width)?);
        let length = usize::try_from(length).map_err(|_| self.bad("an impossible length"))?;
        self.take(length)
    }

    fn line_text(&mut self) -> Result<Cow<'a, str>, LoadError> {
        let line = self.line()?;
        std::str::from_utf8(line)
            .map(Cow::Borrowed)
            .map_err(|_| self.bad("text that is no UTF-8"))
    }

    fn line(&mut self) -> Result<&'a [u8], LoadError> {
        let rest = self.stream.get(self.at..).unwrap_or_default();
        let Some(length) = memchr::memchr(b'\n', rest) else {
            return Err(self.ended());
        };
        let line = self.take(length)?;
        self.take(1)?;
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn byte(&mut self) -> Result<u8, LoadError> {
        match self.take(1)? {
            [byte] => Ok(*byte),
            _ => Err(self.ended()),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], LoadError> {
        let rest = self.stream.get(self.at..).unwrap_or_default();
        let Some((taken, _)) = rest.split_at_checked(length) else {
            return Err(self.ended());
        };
        self.at += length;
        Ok(taken)
    }

    fn bad(&self, what: &str) -> LoadError {
        LoadError::Malformed {
            offset: self.at,
            what: format!("found {what}"),
        }
    }

    fn ended(&self) -> LoadError {
        LoadError::Malformed {
            offset: self.at,
            what: "the file ends too early".to_owned(),
        }
    }

    fn underflow(&self) -> LoadError {
        self.bad("an operation on values that are not there")
    }
}

/// A string of Python 2 is text if it is ASCII, else bytes.
fn old_string(bytes: Cow<'_, [u8]>) -> Node<'_> {
    if !bytes.is_ascii() {
        return Node::Bytes(bytes);
    }
    match bytes {
        Cow::Borrowed(bytes) => Node::Str(String::from_utf8_lossy(bytes)),
        Cow::Owned(bytes) => Node::Str(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())),
    }
}
