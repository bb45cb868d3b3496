//! From a request to its answer.

use crate::grpc;
use crate::serve::Shared;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use inference::{Compat, Head};
use std::convert::Infallible;
use std::sync::Arc;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if grpc::is_meant(&parts) {
        return grpc::answer(shared, parts, body).await;
    }
    // KServe's server passes over the header.
    let inflates = shared.manner.compat != Compat::Strict;
    let task = |parts: &http::request::Parts| {
        inference::task(&*shared.models, &shared.manner, Head::from(parts))
    };
    let within = Arc::clone(&shared);
    let compute = move |parts: http::request::Parts, body: Bytes| {
        inference::handle(&*within.models, &within.manner, Head::from(&parts), &body)
    };
    let bodies = &shared.bodies;
    let response = bodies.answered(parts, body, inflates, task, compute).await;
    response.map(|body| Full::new(body).boxed_unsync())
}
