//! Fetches the documents that RequestAuthentications name, key sets above all:
//! from Services of the cluster where they are on this machine, else from the web.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use gateway::{Body, CallContext, Embedded, Endpoint};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Limited};
use identity::{HttpClient, HttpError};
use policy::{Caller, Destination, Entrance, Scheme};
use resources::ServiceName;

use crate::backends::Backends;

/// Longer documents are cut off, and then make no sense.
const MAX_BODY: usize = 1024 * 1024;

/// Whoever asks has a limit of their own, for everything.
const STALL: Duration = Duration::from_secs(30);

pub(crate) struct Documents {
    backends: Arc<Backends>,
    web: reqwest::Client,
}

fn failed(error: &dyn std::error::Error) -> HttpError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    HttpError(text)
}

impl Documents {
    pub(crate) fn new(backends: Arc<Backends>) -> anyhow::Result<Self> {
        let web = reqwest::Client::builder()
            .user_agent(concat!("sidegate/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(STALL)
            .read_timeout(STALL)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { backends, web })
    }

    async fn fetch(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri().clone();
        let host = uri.host().unwrap_or_default();
        let scheme = uri.scheme_str().unwrap_or_default();
        let port = uri
            .port_u16()
            .unwrap_or(if scheme == "https" { 443 } else { 80 });
        let inside = host.ends_with(".svc") || host.ends_with(".svc.cluster.local");
        let service = ServiceName::from_host(host, "istio-system");
        let endpoint = service.map(|service| {
            self.backends
                .endpoint(&Destination::Service { service, port })
        });
        match endpoint {
            Some(Endpoint::Embedded(service)) => embedded(&*service, request).await,
            Some(Endpoint::Tcp { authority, .. }) if scheme == "http" => {
                let path = uri.path_and_query().map_or("/", |path| path.as_str());
                self.web(&format!("http://{authority}{path}"), Some(&uri))
                    .await
            }
            Some(Endpoint::Missing(why)) if inside => Err(HttpError(why)),
            _ => self.web(&uri.to_string(), None).await,
        }
    }

    async fn web(
        &self,
        address: &str,
        original: Option<&http::Uri>,
    ) -> Result<Response<Bytes>, HttpError> {
        let mut request = self.web.get(address);
        if let Some(authority) = original.and_then(http::Uri::authority) {
            request = request.header(header::HOST, authority.as_str());
        }
        let mut answer = request.send().await.map_err(|error| failed(&error))?;
        let mut body = BytesMut::new();
        while body.len() < MAX_BODY
            && let Some(chunk) = answer.chunk().await.map_err(|error| failed(&error))?
        {
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(body.freeze());
        *response.status_mut() = answer.status();
        Ok(response)
    }
}

async fn embedded(
    service: &dyn Embedded,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let uri = request.uri().clone();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let mut sent = Request::new(Body::empty());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *sent.uri_mut() = path.parse().map_err(|error| failed(&error))?;
    let host = HeaderValue::from_str(authority).map_err(|error| failed(&error))?;
    sent.headers_mut().insert(header::HOST, host);
    let context = CallContext {
        caller: Caller::Anonymous,
        entrance: Entrance::Local,
        scheme: Scheme::Http,
        authority: authority.to_owned(),
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        workload: None,
    };
    let (parts, body) = service.call(sent, context).await.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|error| HttpError(error.to_string()))?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

impl HttpClient for Documents {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        Box::pin(self.fetch(request))
    }
}
