//! The provider where people log in, over the network.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri, header};
use identity::{HttpClient, HttpError};
use provider::{Outgoing as _, Roots};

use crate::outgoing::Network;

/// Reaches the provider by the URL of its issuer, or at an address.
pub(crate) struct Provider {
    network: Network,
    at: Option<String>,
    roots: Roots,
}

impl Provider {
    pub(crate) fn new(at: Option<String>) -> Self {
        Self {
            network: Network::default(),
            at,
            roots: Roots::default(),
        }
    }

    /// Only certificates of these authorities count.
    pub(crate) fn trusting(self, roots: Roots) -> Self {
        Self { roots, ..self }
    }

    /// The request for the address, with the host that the issuer has.
    fn aimed(&self, mut request: Request<Bytes>) -> Result<Request<Bytes>, String> {
        let Some(at) = &self.at else {
            return Ok(request);
        };
        if request.uri().scheme() == Some(&http::uri::Scheme::HTTPS) {
            return Err("`--provider` is for issuers with http".to_owned());
        }
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        let host = parts.authority.replace(
            at.parse()
                .map_err(|_| format!("`--provider {at}`: expected HOST:PORT"))?,
        );
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| error.to_string())?;
        if let Some(host) = host.and_then(|host| HeaderValue::try_from(host.as_str()).ok()) {
            request.headers_mut().insert(header::HOST, host);
        }
        Ok(request)
    }
}

impl HttpClient for Provider {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        Box::pin(async move {
            let request = self.aimed(request).map_err(HttpError)?;
            let sent = self.network.send(request, self.roots.clone());
            sent.await.map_err(HttpError)
        })
    }
}
