//! A reader for pickles that executes nothing.
//!
//! A pickle is a program for a stack machine that calls what it names. Here the machine only builds a graph of inert
//! values in which a call is a node like any other; what the graph means is decided by the code that reads it.

mod access;
mod dtype;
mod globals;
mod machine;
mod number;
mod numpy;
mod text;

pub(crate) use dtype::{Dtype, Kind};
pub(crate) use globals::check;
pub(crate) use numpy::Array;

use crate::{Limits, LoadError};
use std::borrow::Cow;

/// A value of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(u32);

/// An inert value. Containers hold ids, so the graph may share values and have cycles.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer outside of `i64`; its value never matters here.
    BigInt,
    Float(f64),
    Str(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Keys and values in turn.
    Dict(Vec<Id>),
    Set(Vec<Id>),
    Global(Box<Global<'a>>),
    Object(Box<Object>),
    Array(Box<Array>),
}

/// The name of a class or function.
#[derive(Debug)]
pub(crate) struct Global<'a> {
    pub(crate) module: Cow<'a, str>,
    pub(crate) name: Cow<'a, str>,
}

/// A class or function applied to arguments, with the state that was set on it later.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) class: Id,
    /// A tuple.
    pub(crate) arguments: Id,
    pub(crate) state: Option<Id>,
    /// Keys and values in turn, of a subclass of dict.
    pub(crate) items: Vec<Id>,
}

/// Everything a pickle says.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    stream: &'a [u8],
    nodes: Vec<Node<'a>>,
    limit: usize,
    /// Bytes that values copied from other values may still take; an honest file copies each byte once.
    copies: usize,
}

/// Reads a pickle or joblib stream and returns its graph and the value on top.
///
/// # Errors
/// A damaged stream, a passed limit, or a class outside of the allowed packages, with its place.
pub(crate) fn read<'a>(stream: &'a [u8], limits: &Limits) -> Result<(Graph<'a>, Id), LoadError> {
    let mut machine = machine::Machine::new(stream, limits);
    let top = machine.run(limits.depth)?;
    let graph = machine.into_graph();
    check(&graph, top)?;
    Ok((graph, top))
}
