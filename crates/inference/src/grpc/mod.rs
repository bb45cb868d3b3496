//! `inference.GRPCInferenceService`: messages in and out, without the transport.
//!
//! Statuses are KServe's, except where its server fails by a mistake of its own (loading, models that are not ready).

pub mod descriptor;
mod infer;
mod messages;
pub use ::wire;

use crate::cost::Writing;
use crate::metadata::{self, Metadata, Tensor};
use crate::{Compat, Manner, Refusal, Repository, Task, mlserver, ready};
use bytes::Bytes;
pub(crate) use infer::contents;
pub(crate) use messages::Contents;
use messages::{IndexRequest, InferRequest, ModelRequest, Nothing, RepositoryRequest};
use wire::{Decode, Encoder};

/// The full name of the service.
pub const SERVICE: &str = "inference.GRPCInferenceService";

/// A status of gRPC that is no success (`google.rpc.Code`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A request that cannot be answered, whatever the state of the server.
    InvalidArgument = 3,
    /// No such model.
    NotFound = 5,
    /// A message beyond the limit.
    ResourceExhausted = 8,
    /// Not offered here.
    Unimplemented = 12,
    /// A fault of the server.
    Internal = 13,
    /// A model that is not ready.
    Unavailable = 14,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What kind of failure.
    pub code: Code,
    /// What went wrong, for people.
    pub message: String,
}

impl Code {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::NotFound => "NOT_FOUND",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

impl Status {
    /// A status with its text.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    fn no_model(name: &str) -> Self {
        Self::new(
            Code::NotFound,
            format!("Model with name {name} does not exist."),
        )
    }
}

/// Whether [`SERVICE`] has a method of that name.
pub fn has(method: &str) -> bool {
    METHODS.contains(&method)
}

/// Those that take one message and give one.
const METHODS: [&str; 9] = [
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "RepositoryIndex",
];

/// Fields of a message among which the name of a model is looked for: who writes them in order writes it first.
const FIELDS: usize = 64;

/// What a call of [`SERVICE`] is about, by the name of its method.
pub fn task(models: &dyn Repository, method: &str, message: &Bytes) -> Task {
    match method {
        "RepositoryModelLoad" => return Task::Loads,
        "ModelInfer" => {}
        _ => return Task::Quick,
    }
    let fields = wire::Fields::of(message).take(FIELDS);
    let name = fields.filter_map(Result::ok).find_map(|field| match field {
        (1, wire::Field::Bytes(name)) => std::str::from_utf8(name).ok(),
        _ => None,
    });
    let model = name.and_then(|name| models.find(name));
    model.map_or(Task::Quick, |model| Task::Asks(model, Writing::Binary))
}

/// Answers one call of [`SERVICE`] by the name of its method.
///
/// # Errors
/// The status that the client gets.
pub fn call(
    models: &dyn Repository,
    manner: &Manner,
    method: &str,
    message: Bytes,
) -> Result<Vec<u8>, Status> {
    let known = METHODS.into_iter().find(|known| *known == method);
    match known.filter(|_| manner.compat == Compat::Mlserver) {
        Some(method) => {
            let answer = || answer(models, manner, method, message);
            manner.traffic.call(method, answer)
        }
        None => answer(models, manner, method, message),
    }
}

fn answer(
    models: &dyn Repository,
    manner: &Manner,
    method: &str,
    message: Bytes,
) -> Result<Vec<u8>, Status> {
    let mlserver = manner.compat == Compat::Mlserver;
    let reply = Encoder::default();
    let reply = match method {
        "ServerLive" => {
            read::<Nothing>(message)?;
            reply.number(1, 1)
        }
        "ServerReady" => {
            read::<Nothing>(message)?;
            reply.number(1, u64::from(ready(models, manner)))
        }
        "ModelReady" => {
            let ModelRequest { name } = read(message)?;
            models.find(&name).ok_or_else(|| unknown(manner, &name))?;
            reply.number(1, 1)
        }
        "ServerMetadata" => {
            read::<Nothing>(message)?;
            if mlserver {
                let reply = reply.bytes(1, mlserver::SERVER.as_bytes());
                return Ok(reply.bytes(2, mlserver::VERSION.as_bytes()).finish());
            }
            let reply = reply
                .bytes(1, metadata::SERVER.as_bytes())
                .bytes(2, metadata::VERSION.as_bytes());
            let extensions = metadata::EXTENSIONS.iter();
            extensions.fold(reply, |reply, name| reply.always(3, name.as_bytes()))
        }
        "ModelMetadata" => {
            let ModelRequest { name } = read(message)?;
            let model = models.find(&name).ok_or_else(|| unknown(manner, &name))?;
            if mlserver {
                return Ok(reply.bytes(1, model.name().as_bytes()).finish());
            }
            described(reply, &model.metadata())
        }
        "ModelInfer" => {
            let bytes = message.len();
            let request: InferRequest = read(message)?;
            let name = &request.model_name;
            let model = models.find(name).ok_or_else(|| unknown(manner, name))?;
            if mlserver {
                let version = Some(&request.version).filter(|version| !version.is_empty());
                if version.is_some() && version != model.settings().version.as_ref() {
                    let version = &request.version;
                    let message = format!("Model {name} with version {version} not found");
                    return Err(Status::new(Code::NotFound, message));
                }
            }
            infer::infer(&model, manner, &request, bytes)?
        }
        "RepositoryModelLoad" => {
            let name = read::<RepositoryRequest>(message)?.model();
            models
                .load(&name)
                .map_err(|why| refused(manner, &name, why))?;
            changed(reply, manner, &name)
        }
        "RepositoryModelUnload" => {
            let name = read::<RepositoryRequest>(message)?.model();
            models
                .unload(&name)
                .map_err(|why| refused(manner, &name, why))?;
            changed(reply, manner, &name)
        }
        "RepositoryIndex" => {
            let request: IndexRequest = read(message)?;
            let entries = models.index().into_iter();
            let entries = entries.filter(|entry| entry.ready || !request.ready);
            entries.fold(reply, |reply, entry| {
                let entry = Encoder::default()
                    .bytes(1, entry.name.as_bytes())
                    .bytes(2, entry.version.as_bytes())
                    .bytes(3, metadata::state(&entry).as_bytes())
                    .bytes(4, entry.reason.as_bytes());
                reply.always(1, &entry.finish())
            })
        }
        _ => return Err(Status::new(Code::Unimplemented, "Method not found!")),
    };
    Ok(reply.finish())
}

fn read<M: Decode>(message: Bytes) -> Result<M, Status> {
    M::decode(message).map_err(|wire::Malformed| {
        Status::new(
            Code::InvalidArgument,
            "the message cannot be read: it is not of the type that this method takes",
        )
    })
}

/// KServe's answer to loading and unloading; MLServer's, like Triton's, is empty.
fn changed(reply: Encoder, manner: &Manner, name: &str) -> Encoder {
    match manner.compat {
        Compat::Mlserver => reply,
        Compat::Kserve | Compat::Strict => reply.bytes(1, name.as_bytes()).number(2, 1),
    }
}

fn unknown(manner: &Manner, name: &str) -> Status {
    match manner.compat {
        Compat::Mlserver => Status::new(Code::NotFound, format!("Model {name} not found")),
        Compat::Kserve | Compat::Strict => Status::no_model(name),
    }
}

fn refused(manner: &Manner, name: &str, refusal: Refusal) -> Status {
    match refusal {
        Refusal::Unknown => unknown(manner, name),
        Refusal::NotReady(why) => {
            let message = format!("Model with name {name} is not ready. {why}");
            Status::new(Code::Unavailable, message.trim_end())
        }
        Refusal::Unsupported(what) => Status::new(Code::Unimplemented, what),
    }
}

fn described(reply: Encoder, metadata: &Metadata) -> Encoder {
    let reply = reply
        .bytes(1, metadata.name.as_bytes())
        .bytes(3, metadata.platform.as_bytes());
    let tensor = |tensor: &Tensor| {
        Encoder::default()
            .bytes(1, tensor.name.as_bytes())
            .bytes(2, tensor.datatype.as_bytes())
            .numbers(3, tensor.shape.iter().map(|size| size.cast_unsigned()))
            .finish()
    };
    let inputs = metadata.inputs.iter();
    let reply = inputs.fold(reply, |reply, input| reply.always(4, &tensor(input)));
    let outputs = metadata.outputs.iter();
    outputs.fold(reply, |reply, output| reply.always(5, &tensor(output)))
}
