//! The trace behind `explain`: made by the decision itself, at no cost when
//! nobody listens.

use resources::{ObjectRef, Source};

/// Which part of the way a step belongs to, in the order a request meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Stage {
    Listener,
    VirtualHost,
    Policy,
    Check,
    Route,
    Access,
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
}

/// Receives the steps of a decision.
pub trait Trace {
    /// Takes a step; `step` is only called by traces that keep it.
    fn step(&mut self, step: impl FnOnce() -> Step);
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrace;

impl Trace for NoTrace {
    fn step(&mut self, _: impl FnOnce() -> Step) {}
}

impl Trace for Vec<Step> {
    fn step(&mut self, step: impl FnOnce() -> Step) {
        self.push(step());
    }
}
