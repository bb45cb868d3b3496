//! Asking an external authorizer over HTTP, as Envoy's `ext_authz` filter does.
//!
//! The request has the original method, the path with the provider's prefix,
//! the original authority, no body, and the headers the configuration lets it
//! see. Redirects are answers, not to be followed. What an answer means is
//! decided in `policy`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use policy::{Caller, Check, CheckAnswer, CheckResponse, RequestHead};

use crate::body::{Body, ResponseBody};
use crate::connection::Connection;
use crate::forward;
use crate::host::{CallContext, Endpoint};
use edge::names;

/// Istio's default for `timeout` of an extension provider.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// Asks, and waits no longer than the provider's settings say.
pub(crate) async fn ask(
    connection: &Arc<Connection>,
    head: &RequestHead,
    check: &Check,
    endpoint: Endpoint,
) -> CheckAnswer {
    let limit = match check.settings.timeout.as_deref() {
        None => DEFAULT_TIMEOUT,
        Some(text) => match policy::duration(text) {
            Some(limit) => limit,
            None => return failed(format!("`{text}` is not a timeout")),
        },
    };
    let asked = send(connection, head, check, endpoint);
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(response)) => CheckAnswer::Response(response),
        Ok(Err(why)) => failed(why),
        Err(_) => failed(format!("no answer within {limit:?}")),
    }
}

fn failed(why: String) -> CheckAnswer {
    CheckAnswer::Failed(why)
}

async fn send(
    connection: &Arc<Connection>,
    head: &RequestHead,
    check: &Check,
    endpoint: Endpoint,
) -> Result<CheckResponse, String> {
    let limits = &connection.shared.limits;
    let request = request(check)?;
    let response = match endpoint {
        Endpoint::Missing(why) => return Err(why),
        Endpoint::Embedded(service) => {
            let context = CallContext {
                caller: Caller::Anonymous,
                entrance: head.entrance,
                scheme: head.scheme,
                authority: check.authority.clone(),
                peer: head.peer,
                workload: head.workload.clone(),
            };
            service.call(request, context).await
        }
        Endpoint::Tcp { authority, .. } => {
            let sent = forward::http1(&authority, request, None, limits).await;
            let (response, reuse) = sent.map_err(|error| error.to_string())?;
            let (parts, body) = response.into_parts();
            let body = ResponseBody::new(body, Some(reuse), None, false);
            Response::from_parts(parts, Body::response(body))
        }
    };
    let (parts, body) = response.into_parts();
    if parts.status.is_informational() {
        return Err("an interim answer in place of a final one".to_owned());
    }
    let body: Bytes = Limited::new(body, limits.check_body_bytes)
        .collect()
        .await
        .map_err(|error| format!("its answer cannot be read: {error}"))?
        .to_bytes();
    let mut last = None;
    let mut headers = Vec::with_capacity(parts.headers.len());
    for (name, value) in parts.headers {
        last = name.or(last);
        if let Some(name) = last.clone().filter(|name| !names::is_hop_by_hop(name)) {
            headers.push((name, value));
        }
    }
    Ok(CheckResponse {
        status: parts.status,
        headers,
        body,
    })
}

fn request(check: &Check) -> Result<Request<Body>, String> {
    let mut request = Request::new(Body::empty());
    request.method_mut().clone_from(&check.method);
    *request.uri_mut() = Uri::try_from(check.path_and_query.as_str())
        .map_err(|_| format!("`{}` is not a path", check.path_and_query))?;
    let headers = request.headers_mut();
    headers.clone_from(&check.headers);
    let host = HeaderValue::try_from(check.authority.as_str())
        .map_err(|_| format!("`{}` is not an authority", check.authority))?;
    headers.insert(header::HOST, host);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::UPGRADE);
    headers.remove(header::CONNECTION);
    Ok(request)
}
