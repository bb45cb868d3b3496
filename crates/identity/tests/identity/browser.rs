//! A browser, and a provider that it reaches without a socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ::provider::Provider;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use identity::{HttpClient, HttpError};
use policy::{Entrance, RequestHead, Scheme};

/// A provider without a socket.
pub(crate) struct InProcess(pub(crate) Provider);

impl HttpClient for InProcess {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        Box::pin(async move { Ok(self.0.handle(request).await) })
    }
}

/// Keeps the cookies of one site.
#[derive(Clone, Default)]
pub(crate) struct Browser(pub(crate) BTreeMap<String, String>);

impl Browser {
    pub(crate) fn take<'a>(&mut self, cookies: impl Iterator<Item = &'a http::HeaderValue>) {
        for cookie in cookies {
            let cookie = cookie.to_str().unwrap();
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            match rest.contains("Max-Age=0") {
                true => self.0.remove(name),
                false => self.0.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    pub(crate) fn headers(&self) -> HeaderMap {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        let mut headers = HeaderMap::new();
        headers.insert(
            "cookie",
            pairs.collect::<Vec<_>>().join("; ").parse().unwrap(),
        );
        headers
    }

    pub(crate) fn head(&self, authority: &str, target: &str) -> RequestHead {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        RequestHead {
            entrance: Entrance::External,
            method: Method::GET,
            scheme: Scheme::Http,
            authority: authority.to_owned(),
            path: path.to_owned(),
            query,
            headers: self.headers(),
            peer: SocketAddr::from(([127, 0, 0, 1], 4000)),
            connection: policy::Connection::default(),
            workload: None,
        }
    }

    /// Logs in at the page that an authorization request leads to; where to then.
    pub(crate) async fn log_in_at(&mut self, provider: &Provider, target: &str) -> String {
        let page = self.ask_provider(provider, Method::GET, target, "").await;
        assert_eq!(page.status(), StatusCode::FOUND, "{page:?}");
        let form = location(page.headers()).to_owned();
        let shown = self.ask_provider(provider, Method::GET, &form, "").await;
        assert_eq!(shown.status(), StatusCode::OK);
        let fields = "login=user%40example.com&password=12341234";
        let done = self
            .ask_provider(provider, Method::POST, &form, fields)
            .await;
        assert_eq!(done.status(), StatusCode::SEE_OTHER, "{done:?}");
        location(done.headers()).to_owned()
    }

    pub(crate) async fn ask_provider(
        &mut self,
        provider: &Provider,
        method: Method,
        target: &str,
        body: &str,
    ) -> Response<Bytes> {
        let mut request = Request::new(Bytes::copy_from_slice(body.as_bytes()));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().unwrap();
        *request.headers_mut() = self.headers();
        let kind = "application/x-www-form-urlencoded".parse().unwrap();
        request.headers_mut().insert("content-type", kind);
        let reply = provider.handle(request).await;
        self.take(reply.headers().get_all("set-cookie").iter());
        reply
    }
}

pub(crate) fn location(headers: &HeaderMap) -> &str {
    headers["location"].to_str().unwrap()
}
