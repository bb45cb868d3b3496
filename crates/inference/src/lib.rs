//! The V1 and V2 inference protocols over predictors and graphs.
//!
//! A request about models of a [`Repository`] goes in, a response comes out; there are no sockets here. Successful bodies are byte for byte those of KServe
//! 0.20's Python server for scikit-learn, including CloudEvents and the binary tensor extension. Where that server answers
//! 500 for a client's mistake, the answer here is 400 and says what was expected.

mod answer;
mod batch;
mod cloud_events;
mod cost;
pub mod encoding;
pub mod graph;
pub mod grpc;
mod json;
mod manner;
mod metadata;
mod metrics;
mod mlserver;
mod model;
mod numbers;
mod probe;
mod records;
mod reply;
mod repository;
mod route;
mod rows;
mod v1;
mod v2;
mod write;

pub use batch::Batching;
pub use cost::{Cost, Writing};
pub use manner::{Compat, EventSettings, Manner};
pub use mlserver::{ModelSettings, Traffic};
pub use model::{Description, LoadError, Model, Options, example_input};
pub use repository::{Entry, Refusal, Repository, ready};
pub use route::{Head, Task, handle, task};
