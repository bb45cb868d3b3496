//! The model server of one container, as KServe starts it: a folder of models, HTTP/1.1, h2c and gRPC.
//!
//! Models are read first ([`Folder::open`]), then sockets open ([`server::Server::bind`]): whoever can connect is answered. Each port
//! speaks both protocols, told apart by the first bytes of a connection and the content type of a request.

mod answer;
mod bodies;
mod budget;
mod folder;
mod grpc;
mod pool;
mod reflection;
mod serve;
mod sources;

pub use bodies::Bodies;
pub use folder::{Folder, FolderSettings, OpenError};
pub use serve::{Limits, serve};
