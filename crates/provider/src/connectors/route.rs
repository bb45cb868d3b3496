//! Addresses that name a connector.

use std::net::IpAddr;

use bytes::Bytes;
use http::{Method, Request};

use super::Way;
use super::flow::unknown_connector;
use crate::provider::{Inner, not_found, wrong_method};
use crate::reply::Reply;

/// An address that names a connector.
pub(crate) enum ConnectorPath<'a> {
    /// `/auth/{id}`.
    Auth(&'a str),
    /// `/auth/{id}/login`.
    Form(&'a str),
    /// `/callback/{id}`.
    Callback(&'a str),
}

impl<'a> ConnectorPath<'a> {
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        if let Some(id) = path.strip_prefix("/callback/") {
            return Some(Self::Callback(id));
        }
        let rest = path.strip_prefix("/auth/")?;
        Some(match rest.strip_suffix("/login") {
            Some(id) => Self::Form(id),
            None => Self::Auth(rest),
        })
    }
}

impl Inner {
    /// Answers at an address that names a connector.
    pub(crate) async fn at_connector(
        &self,
        request: &Request<Bytes>,
        at: ConnectorPath<'_>,
        query: &[u8],
        sealed: Option<String>,
        source: Option<IpAddr>,
    ) -> Reply {
        let (ConnectorPath::Auth(id) | ConnectorPath::Form(id) | ConnectorPath::Callback(id)) = at;
        let Some(open) = self.connectors.get(id) else {
            return match at {
                ConnectorPath::Auth(_) => unknown_connector(),
                ConnectorPath::Form(_) | ConnectorPath::Callback(_) => not_found(),
            };
        };
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        match (at, &open.way, sealed) {
            (ConnectorPath::Callback(id), _, _) if get => self.callback(request, Some(id)).await,
            (ConnectorPath::Form(_), Way::Directory(directory), Some(req)) if get => {
                self.directory_form(request, &req, open, directory)
            }
            (ConnectorPath::Form(_), Way::Directory(directory), Some(req))
                if request.method() == Method::POST =>
            {
                self.directory_login(request, &req, source, open, directory)
                    .await
            }
            (ConnectorPath::Auth(id), _, Some(req)) if get => self.chosen(request, &req, id).await,
            (ConnectorPath::Auth(id), _, None) if get => self.start(request, query, Some(id)).await,
            (ConnectorPath::Form(_), Way::Oidc(_), _) | (ConnectorPath::Form(_), _, None) => {
                not_found()
            }
            (ConnectorPath::Form(_), ..) => wrong_method("GET, HEAD, POST"),
            _ => wrong_method("GET, HEAD"),
        }
    }
}
