//! `grpc.reflection`, by which grpcurl and others find out what can be called.

use crate::answer::Body;
use crate::grpc::{ended, response};
use crate::serve::Shared;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use inference::grpc::descriptor::FILES;
use inference::grpc::{Code, Status};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::timeout;
use wire::framing::{PREFIX, frame, unframe};
use wire::{Decode, Encoder, Malformed, Value};

/// Both versions, whose messages are the same.
pub(crate) const SERVICES: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Bytes of one question.
const LIMIT: usize = 16 << 10;

/// Answers questions one after the other, as they come.
pub(crate) fn answer(shared: &Shared, body: Incoming) -> Response<Body> {
    let questions = Questions {
        body,
        read: BytesMut::new(),
        idle: shared.limits.connections.keep_alive,
    };
    let frames = stream::unfold(Some(questions), |questions| async {
        let mut questions = questions?;
        let (frame, questions) = match questions.next().await {
            Ok(Some(question)) => {
                let reply = reply(question);
                (Frame::data(frame(&reply)), Some(questions))
            }
            Ok(None) => (Frame::trailers(ended(None)), None),
            Err(status) => (Frame::trailers(ended(Some(&status))), None),
        };
        Some((Ok::<_, Infallible>(frame), questions))
    });
    response(StreamBody::new(frames).boxed_unsync())
}

struct Questions {
    body: Incoming,
    read: BytesMut,
    idle: Duration,
}

impl Questions {
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            let bytes = Bytes::copy_from_slice(&self.read);
            if let Some((compressed, message, used)) = unframe(&bytes) {
                if compressed {
                    let what = "compressed questions are not supported";
                    return Err(Status::new(Code::Unimplemented, what));
                }
                drop(self.read.split_to(used));
                return Ok(Some(message));
            }
            if self.read.len() > LIMIT + PREFIX {
                let what = format!("the question is larger than {LIMIT} bytes");
                return Err(Status::new(Code::ResourceExhausted, what));
            }
            match timeout(self.idle, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Ok(None) if self.read.is_empty() => return Ok(None),
                Ok(None | Some(Err(_))) => {
                    return Err(Status::new(Code::Internal, "the question ended early"));
                }
                Err(_) => {
                    return Err(Status::new(Code::Unavailable, "no question came in time"));
                }
            }
        }
    }
}

#[derive(Default)]
struct Question {
    file: Option<String>,
    symbol: Option<String>,
    services: bool,
}

impl Decode for Question {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            3 => self.file = Some(value.text()?),
            4 => self.symbol = Some(value.text()?),
            7 => self.services = true,
            _ => {}
        }
        Ok(())
    }
}

/// A `ServerReflectionResponse`.
fn reply(question: Bytes) -> Vec<u8> {
    let reply = Encoder::default().always(2, &question);
    let refused =
        |code: u64, what: &str| Encoder::default().number(1, code).bytes(2, what.as_bytes());
    let Ok(asked) = Question::decode(question) else {
        let what = "the question cannot be read";
        return reply.always(7, &refused(3, what).finish()).finish();
    };
    if asked.services {
        let services = FILES.iter().fold(Encoder::default(), |all, file| {
            let service = Encoder::default().bytes(1, file.service().as_bytes());
            all.always(1, &service.finish())
        });
        return reply.always(6, &services.finish()).finish();
    }
    let found = FILES.iter().find(|file| {
        asked.file.as_deref() == Some(file.name)
            || asked
                .symbol
                .as_deref()
                .is_some_and(|symbol| file.defines(symbol))
    });
    match found {
        Some(file) => {
            let files = Encoder::default().always(1, &file.encode());
            reply.always(4, &files.finish()).finish()
        }
        None => reply.always(7, &refused(5, "not found").finish()).finish(),
    }
}
