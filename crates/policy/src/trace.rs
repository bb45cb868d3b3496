//! The trace behind `explain`: made by the decision itself, at no cost when
//! nobody listens.

use resources::{ObjectRef, Source};

use crate::looked::Looked;

/// Which part of the way a step belongs to, in the order a request meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Stage {
    Listener,
    VirtualHost,
    Filter,
    Policy,
    Check,
    Route,
    Access,
    Token,
    Forward,
    Answer,
}

/// One step of a decision.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which crossing of a gateway, from 0.
    pub hop: u8,
    /// Part of the way.
    pub stage: Stage,
    /// What was found, one sentence.
    pub text: String,
    /// The object that says so.
    pub object: Option<(ObjectRef, Source)>,
    /// Without it the answer would be another one. Steps that only were looked
    /// at are there for traces that want them ([`Trace::LOOKED`]).
    pub decides: bool,
    /// Rules and routes that were compared, in that order; what follows one
    /// that matched was not looked at.
    pub looked: Vec<Looked>,
    /// Where several objects have routes on one host: in which order they are
    /// tried.
    pub order: Vec<(ObjectRef, Source)>,
}

impl Step {
    /// A step that decides something.
    pub(crate) fn new(
        hop: u8,
        stage: Stage,
        text: String,
        object: Option<(ObjectRef, Source)>,
    ) -> Self {
        Self {
            hop,
            stage,
            text,
            object,
            decides: true,
            looked: Vec::new(),
            order: Vec::new(),
        }
    }
}

/// Receives the steps of a decision.
pub trait Trace {
    /// Whether it keeps anything.
    const KEPT: bool;
    /// Whether it also wants to know what was looked at and decided nothing.
    const LOOKED: bool;

    /// Takes a step; `step` is only called by traces that keep it.
    fn step(&mut self, step: impl FnOnce() -> Step);
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrace;

impl Trace for NoTrace {
    const KEPT: bool = false;
    const LOOKED: bool = false;

    fn step(&mut self, _: impl FnOnce() -> Step) {}
}

/// Keeps what decided.
impl Trace for Vec<Step> {
    const KEPT: bool = true;
    const LOOKED: bool = false;

    fn step(&mut self, step: impl FnOnce() -> Step) {
        self.push(step());
    }
}

/// Keeps everything that was looked at.
#[derive(Clone, Debug, Default)]
pub struct Everything(pub Vec<Step>);

impl Trace for Everything {
    const KEPT: bool = true;
    const LOOKED: bool = true;

    fn step(&mut self, step: impl FnOnce() -> Step) {
        self.0.push(step());
    }
}
