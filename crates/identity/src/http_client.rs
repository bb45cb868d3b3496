//! How this crate talks HTTP: through whatever the program gives it.

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// Sends requests to the login provider: over the network, or in process to
/// the embedded one. An implementation bounds the size of the body it collects
/// (1 MiB is plenty) and follows no redirects.
pub trait HttpClient: Send + Sync {
    /// Sends one request and collects the response.
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, HttpError>>;
}

/// No response came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HttpError(pub String);
