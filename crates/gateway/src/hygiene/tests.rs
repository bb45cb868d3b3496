use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::Request;
use policy::{Destination, Question, Reply};

use super::*;
use crate::host::{Answer, Endpoint, UnknownWorkload};

struct Nobody;

impl Host for Nobody {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::default()
    }

    fn endpoint(&self, _: &Destination) -> Endpoint {
        Endpoint::Missing(String::new())
    }

    fn answer<'a>(&'a self, _: &'a Question, _: &'a RequestHead) -> BoxFuture<'a, Answer> {
        Box::pin(std::future::pending())
    }

    fn workload(&self, _: &HeaderValue) -> Result<Workload, UnknownWorkload> {
        Err(UnknownWorkload)
    }

    fn signed_identity(
        &self,
        _: &policy::Audience,
        _: &policy::Caller,
    ) -> Option<(http::HeaderName, HeaderValue)> {
        None
    }

    fn login(&self, _: &RequestHead) -> Reply {
        Reply {
            status: http::StatusCode::FOUND,
            headers: Vec::new(),
            body: bytes::Bytes::new(),
        }
    }
}

fn clean(
    version: Version,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
) -> Result<Admitted, Unfit> {
    let mut request = Request::builder().version(version).method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let origin = Origin {
        entrance: Entrance::Local,
        peer: SocketAddr::from(([10, 0, 0, 1], 1)),
        peer_text: &HeaderValue::from_static("10.0.0.1"),
    };
    admit(
        parts,
        &origin,
        &Snapshot::default(),
        &Nobody,
        &Limits::default(),
        false,
    )
}

#[test]
fn http2_requests_need_one_authority() {
    for (uri, headers, expected) in [
        ("http://k/a", &[][..], Some("k")),
        ("http://k/a", &[("host", "K")], Some("k")),
        ("http://k:80/a", &[("host", "k")], None),
        ("http://k/a", &[("host", "l")], None),
        ("/a", &[("host", "k")], Some("k")),
        ("/a", &[], None),
        ("http://k/a", &[("host", "k"), ("host", "k")], None),
    ] {
        let found = clean(Version::HTTP_2, "GET", uri, headers);
        let found = found.ok().map(|admitted| admitted.head.authority);
        assert_eq!(found.as_deref(), expected, "{uri} {headers:?}");
    }
}

#[test]
fn upgrades_are_websockets_or_nothing() {
    let upgrade = |to| vec![("host", "k"), ("connection", "Upgrade"), ("upgrade", to)];
    for (version, method, headers, websocket) in [
        (Version::HTTP_11, "GET", upgrade("WebSocket"), true),
        (Version::HTTP_11, "GET", upgrade("h2c"), false),
        (Version::HTTP_11, "GET", upgrade("websocket, h2c"), false),
        (Version::HTTP_11, "POST", upgrade("websocket"), false),
        (Version::HTTP_10, "GET", upgrade("websocket"), false),
        (
            Version::HTTP_11,
            "GET",
            vec![("host", "k"), ("upgrade", "websocket")],
            false,
        ),
    ] {
        let admitted = clean(version, method, "/", &headers).ok().unwrap();
        assert_eq!(admitted.websocket, websocket, "{headers:?}");
        assert_eq!(admitted.head.is_upgrade(), websocket, "{headers:?}");
        assert!(admitted.upgrade_sent);
    }
}

#[test]
fn an_http2_request_without_body_owes_none() {
    // CVE-2026-48743
    for (length, fit) in [("0", true), ("00", true), ("40", false), ("", false)] {
        let headers = [("content-length", length)];
        let admitted = clean(Version::HTTP_2, "GET", "http://k/", &headers);
        assert_eq!(admitted.is_ok(), fit, "{length}");
        if let Ok(admitted) = admitted {
            assert!(!admitted.head.headers.contains_key("content-length"));
        }
    }
}

#[test]
fn trailers_are_taken_only_when_asked_for() {
    for (te, expected) in [
        ("trailers", true),
        ("gzip, Trailers", true),
        ("gzip", false),
    ] {
        let headers = [("host", "k"), ("te", te)];
        let admitted = clean(Version::HTTP_11, "GET", "/", &headers).ok().unwrap();
        assert_eq!(admitted.trailers, expected, "{te}");
        assert!(!admitted.head.headers.contains_key("te"));
    }
}
