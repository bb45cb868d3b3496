//! Services that are inside this process: models, provider, login, echo.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway::{Body, CallContext, Embedded};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use identity::BACKCHANNEL_LOGOUT_PATH;
use policy::{Reply, RequestHead};
use serde_json::{Map, Value, json};

use runtime::Bodies;

use crate::login::Login;

/// Bodies longer than this are not for us: logins, forms, echoes.
const SMALL_BODY: usize = 1 << 20;

/// A model, by the InferenceService it belongs to.
pub(crate) struct ModelService {
    pub(crate) models: serving::Models,
    pub(crate) bodies: Bodies,
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Embedded for ModelService {
    fn call(&self, request: Request<Body>, _: CallContext) -> BoxFuture<'static, Response<Body>> {
        let state = self.models.get(&self.namespace, &self.name);
        let bodies = self.bodies.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Some(state) = state else {
                return json_answer(
                    StatusCode::SERVICE_UNAVAILABLE,
                    &json!({ "error": "the model has been removed" }),
                );
            };
            let asked = state.clone();
            let task = move |parts: &_| serving::task(&asked, parts);
            let compute = move |parts, body| serving::answer(&state, parts, body);
            let response = bodies.answered(parts, body, true, task, compute).await;
            response.map(Body::full)
        })
    }
}

/// The embedded OpenID provider.
pub(crate) struct ProviderService(pub(crate) provider::Provider);

impl Embedded for ProviderService {
    fn call(
        &self,
        request: Request<Body>,
        context: CallContext,
    ) -> BoxFuture<'static, Response<Body>> {
        let provider = self.0.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            parts.extensions.insert(provider::Source(context.peer.ip()));
            if let Ok(host) = HeaderValue::from_str(&context.authority) {
                parts.headers.insert(header::HOST, host);
            }
            provider
                .handle_body(Request::from_parts(parts, body))
                .await
                .map(Body::full)
        })
    }
}

/// The embedded login: callback, logout, and what authservice serves.
pub(crate) struct LoginService(pub(crate) Arc<Login>);

impl Embedded for LoginService {
    fn call(
        &self,
        request: Request<Body>,
        context: CallContext,
    ) -> BoxFuture<'static, Response<Body>> {
        let login = Arc::clone(&self.0);
        Box::pin(async move {
            let head = head_of(&request, &context);
            let reply = match login.logins.of(&head.authority) {
                Some(_) if head.path == BACKCHANNEL_LOGOUT_PATH => {
                    let Some(body) = small(request.into_body()).await else {
                        return unreadable();
                    };
                    login.logins.backchannel_logout(&head, &body).await
                }
                Some(relying_party) => relying_party.handle(&head).await,
                None => None,
            };
            match reply {
                Some(reply) => reply_answer(reply),
                None => json_answer(
                    StatusCode::NOT_FOUND,
                    &json!({ "error": "the login has nothing at this path" }),
                ),
            }
        })
    }
}

/// Answers with the request as it arrived, as JSON: the foreign application of
/// the examples.
pub(crate) struct Echo;

impl Embedded for Echo {
    fn call(&self, request: Request<Body>, _: CallContext) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Some(body) = small(body).await else {
                return unreadable();
            };
            let mut headers: Map<String, Value> = Map::new();
            for (name, value) in &parts.headers {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                let values = headers
                    .entry(name.as_str())
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(values) = values {
                    values.push(value.into());
                }
            }
            json_answer(
                StatusCode::OK,
                &json!({
                    "method": parts.method.as_str(),
                    "path": parts.uri.path(),
                    "query": parts.uri.query(),
                    "headers": headers,
                    "body": String::from_utf8_lossy(&body),
                }),
            )
        })
    }
}

/// The head of a request that has already been decided, for code that reads heads.
pub(crate) fn head_of(request: &Request<Body>, context: &CallContext) -> RequestHead {
    RequestHead {
        entrance: context.entrance,
        method: request.method().clone(),
        scheme: context.scheme,
        authority: context.authority.clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().map(str::to_owned),
        headers: request.headers().clone(),
        peer: context.peer,
        connection: policy::Connection::default(),
        workload: context.workload.clone(),
    }
}

/// A whole small body; `None` when it is longer, broken or too slow.
pub(crate) async fn small(body: Body) -> Option<Bytes> {
    let body = http_body_util::Limited::new(body, SMALL_BODY).collect();
    let body = tokio::time::timeout(Duration::from_secs(30), body)
        .await
        .ok()?;
    body.ok().map(http_body_util::Collected::to_bytes)
}

pub(crate) fn unreadable() -> Response<Body> {
    json_answer(
        StatusCode::BAD_REQUEST,
        &json!({ "error": "the body did not arrive whole, or is too long" }),
    )
}

pub(crate) fn json_answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::full(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

pub(crate) fn reply_answer(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::full(reply.body));
    *response.status_mut() = reply.status;
    let headers: &mut HeaderMap = response.headers_mut();
    for (name, value) in reply.headers {
        headers.append(name, value);
    }
    response
}
