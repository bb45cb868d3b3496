//! Kubernetes, Istio, KServe, Knative and Kubeflow objects: parse, validate,
//! index, and generate what the cluster's controllers would.
//!
//! [`Cluster`] is the one value everything else reads. It is plain data: every
//! object knows the file and line it comes from ([`Source`]), and objects that
//! a controller would have generated say so ([`Source::generated_from`]).

pub mod cluster;
pub mod core;
pub mod istio;
pub mod kserve;
pub mod mesh;
pub mod meta;
pub mod sidegate;

pub use cluster::Cluster;
pub use meta::{Metadata, Object, ObjectRef, ServiceName, Source};
