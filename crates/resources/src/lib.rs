//! Kubernetes, Istio, KServe, Knative and Kubeflow objects: parse, validate,
//! index, and generate what the cluster's controllers would.
//!
//! [`Cluster`] is the one value everything else reads. It is plain data: every
//! object knows the file and line it comes from ([`Source`]), and objects that
//! a controller would have generated say so ([`Source::generated_from`]).

mod admission;
mod attach;
pub mod cluster;
pub mod core;
mod document;
mod endpoints;
mod error;
pub mod gateway_api;
mod generate;
pub mod ingress;
pub mod intents;
pub mod istio;
mod kinds;
pub mod kserve;
mod kubefilters;
mod kubematch;
mod kuberoutes;
pub mod l4;
mod load;
pub mod mesh;
pub mod meta;
mod peer_authentication;
mod places;
mod profiles;
pub mod proxy;
pub mod rbac;
mod releases;
mod request_authentication;
mod schema;
pub mod sidegate;
pub mod subsets;
mod urls;

pub use cluster::Cluster;
pub use error::{LoadError, LoadErrors};
pub use intents::parse_statements;
pub use load::{File, load, parse, parse_layers, read_files};
pub use meta::{Metadata, Object, ObjectRef, ServiceName, Source};
pub use places::Places;
pub use releases::Release;
pub use urls::{ModelUrls, urls};
