//! Answers of every status, as our replies write them, and what Envoy makes of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use ext_authz::{Authorizer, Host, KeyRing, Settings};
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, StatusCode};
use policy::{AccessAnswer, AccessCheck, Audience, Caller, Reply, RequestHead, Snapshot, Tokens};
use server::{ConnectionLimits, Server};
use testkit::Socket;

use super::rows::{DASHBOARD, Gate, Rows};

/// Where the login answers what it is asked for.
const PATH: &str = "/login/oidc";
/// No secret: nothing here counts on marks.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A login that answers with the status in the query, and with headers that an answer should not have.
struct Odd(Arc<Snapshot>);

impl Host for Odd {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0)
    }

    fn caller<'a>(&'a self, _: &'a RequestHead, _: Tokens) -> BoxFuture<'a, Caller> {
        Box::pin(std::future::ready(Caller::Anonymous))
    }

    fn login(&self, head: &RequestHead) -> Reply {
        answer(head)
    }

    fn login_page<'a>(&'a self, head: &'a RequestHead) -> BoxFuture<'a, Option<Reply>> {
        Box::pin(std::future::ready(Some(answer(head))))
    }

    fn identity_headers(&self, _: &RequestHead, _: &Caller) -> Vec<(HeaderName, HeaderValue)> {
        Vec::new()
    }

    fn access<'a>(&'a self, _: &'a AccessCheck) -> BoxFuture<'a, AccessAnswer> {
        Box::pin(std::future::ready(AccessAnswer::NoServer))
    }

    fn signed_identity(&self, _: &Audience, _: &Caller) -> Option<(HeaderName, HeaderValue)> {
        None
    }

    fn now(&self) -> u64 {
        0
    }
}

fn answer(head: &RequestHead) -> Reply {
    let asked = head.query.as_deref().unwrap_or_default();
    let status = asked
        .parse()
        .ok()
        .and_then(|status: u16| StatusCode::from_u16(status).ok());
    let headers = [
        ("x-frame-options", "odd"),
        ("content-length", "7"),
        ("transfer-encoding", "chunked"),
        ("connection", "keep-alive"),
        ("host", "shop.example.com"),
        // What an allow over HTTP says.
        ("x-envoy-auth-headers-to-remove", "cookie"),
        ("grpc-status", "0"),
    ];
    let named = |(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    Reply {
        status: status.unwrap_or(StatusCode::FORBIDDEN),
        headers: headers.map(named).into(),
        body: Bytes::from_static(b"an answer"),
    }
}

impl Rows {
    /// No answer of the login is leave, whatever its status.
    pub(super) fn odd_answers(&mut self) -> Result<()> {
        self.mesh.stop()?;
        let snapshot = self.mesh.snapshot(&policy::Settings {
            login_paths: vec![PATH.to_owned()],
            ..policy::Settings::default()
        })?;
        let at = self.mesh.authorizer();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let (bound, ready) = std::sync::mpsc::channel();
        let serving = std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let server = Server::bind(&[at])?;
                let _ = bound.send(());
                let keys = KeyRing::parse(KEY).map_err(|error| anyhow!("{error}"))?;
                let host = Arc::new(Odd(Arc::new(snapshot)));
                let authorizer = Arc::new(Authorizer::new(host, Settings::default(), keys));
                let until = async { drop(ended.await) };
                let limits = ConnectionLimits::default();
                server
                    .run(authorizer, limits, until, Duration::from_secs(1))
                    .await;
                Ok(())
            })
        });
        ready.recv().context("it does not listen")?;
        let asked = self.ask_for_all();
        drop(end);
        serving
            .join()
            .map_err(|_| anyhow!("the authorizer panicked"))??;
        asked?;
        self.mesh.authorize()
    }

    fn ask_for_all(&mut self) -> Result<()> {
        // The connection to the authorizer of before is gone; Envoy may have to notice first.
        let began = std::time::Instant::now();
        let first = format!("{PATH}?418");
        while self
            .ask(Gate::External, DASHBOARD, &first, &[])?
            .answer
            .status
            != 418
        {
            anyhow::ensure!(began.elapsed().as_secs() < 20, "nobody is asked");
            std::thread::sleep(Duration::from_millis(50));
        }
        let to: SocketAddr = self.mesh.external;
        let http = self.mesh.asks_over_http();
        for status in 100..=999_u16 {
            self.mesh.peers.arrived();
            let mut socket = Socket::connect(&to.to_string())?;
            let request = format!("GET {PATH}?{status} HTTP/1.1\r\nHost: {DASHBOARD}\r\n\r\n");
            socket.send(request)?;
            let answer = socket
                .response()
                .with_context(|| format!("asking for {status}"))?;
            let arrived = self.mesh.peers.arrived();
            let told = answer.as_ref().and_then(testkit::Message::status);
            // Over HTTP 200 is leave, so another one of success stands for it, and 5xx that nobody answered, which leave may
            // stand for. A status below 200 ends no exchange.
            let right = match status {
                200 => told == Some(if http { 203 } else { 200 }),
                100..=199 => told == Some(403),
                500..=599 if http => told == Some(403),
                status => told == Some(status),
            };
            let odd = answer
                .as_ref()
                .and_then(|answer| answer.header("x-frame-options"));
            let holds = right && arrived.is_empty() && odd == Some("odd");
            self.count(
                (!holds)
                    .then(|| format!("an answer of {status}: {answer:?}; arrived: {arrived:?}")),
            );
        }
        Ok(())
    }
}
