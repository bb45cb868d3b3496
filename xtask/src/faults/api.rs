//! An API server that is asked about tokens: it is busy (429), then never answers, then byte by byte.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use server::{ConnectionLimits, Server, Service, Tls};

use super::relay::{Mode, Relay};
use super::world::{World, calls, nothing_piled_up, open_files};
use super::{at_once, until};
use crate::directory::peers;

const ISSUER: &str = "https://oidc.distribution.example/id/ABC";
const AUDIENCE: &str = "istio-ingressgateway.istio-system.svc.cluster.local";

/// Tokens that are asked about at the same time.
const PARALLEL: usize = 200;
/// Questions at a time.
const AT_ONCE: usize = 8;
/// How long a question may take, its turn included, and a little.
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) fn check() -> Result<()> {
    let api = Api::start()?;
    let relay = Relay::start(&api.address.to_string(), "\0never")?;
    let world = World::start("")?;
    let own = world.folder.path().join("own-token");
    std::fs::write(&own, token("sidegate", 0))?;
    let server = format!("https://localhost:{}", relay.address.port());
    let (authority, own) = (
        peers().join("ca.pem").display().to_string(),
        own.display().to_string(),
    );
    let authz = world.authz(&[
        "--kubernetes-api",
        &server,
        "--kubernetes-ca",
        &authority,
        "--kubernetes-token",
        &own,
        "--kubernetes-review",
    ])?;
    let at = authz.checks.to_string();
    let known = token("default", 0);
    ensure!(calls(&at, &known)? == 200, "a token that it knows");
    let before = open_files(&authz)?;

    api.state.busy.store(true, Ordering::SeqCst);
    let asked = api.state.asked.load(Ordering::SeqCst);
    let statuses = at_once(PARALLEL, |number| calls(&at, &token("default", number + 1)))?;
    ensure!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    ensure!(calls(&at, &known)? == 200, "a token that was known");
    let asked = api.state.asked.load(Ordering::SeqCst) - asked;
    ensure!(
        (1..=3 * AT_ONCE).contains(&asked),
        "{asked} questions to a server that asks for a pause"
    );
    api.state.busy.store(false, Ordering::SeqCst);
    until("a server that is no longer busy", || {
        Ok(calls(&at, &token("default", 1))? == 200)
    })?;

    for (mode, first) in [(Mode::Silent, 1000), (Mode::Drips, 2000)] {
        relay.behave(mode);
        relay.most();
        let began = Instant::now();
        let statuses = at_once(PARALLEL, |number| {
            calls(&at, &token("default", number + first))
        })?;
        ensure!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
        let took = began.elapsed();
        ensure!(
            took < PATIENCE,
            "{PARALLEL} requests took {took:?} while {mode:?}"
        );
        ensure!(calls(&at, &known)? == 200, "a token that was known");
        let most = relay.most();
        ensure!(most <= 2 * AT_ONCE, "{most} connections while {mode:?}");
        nothing_piled_up(&authz, before)?;
        relay.behave(Mode::Answers);
        until("a server that speaks again", || {
            Ok(calls(&at, &token("default", first))? == 200)
        })?;
    }
    Ok(())
}

/// A token as the cluster has them. Who is asked about it does not look at its signature.
fn token(account: &str, number: usize) -> String {
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |now| now.as_secs());
    let claims = json!({
        "iss": ISSUER, "aud": [AUDIENCE], "sub": format!("system:serviceaccount:kserve-test:{account}"),
        "iat": now, "nbf": now, "exp": now + 3600, "jti": number.to_string(),
        "kubernetes.io": {"namespace": "kserve-test", "serviceaccount": {"name": account, "uid": "1"}},
    });
    let header = json!({"alg": "RS256", "kid": "1"});
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", encode(header), encode(claims), "AAAA")
}

/// An API server that knows every token.
struct Api {
    address: SocketAddr,
    state: Arc<State>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Default)]
struct State {
    busy: AtomicBool,
    asked: AtomicUsize,
}

impl Api {
    fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let server = Server::bind(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])?;
        let address = *server.addresses().first().context("no address")?;
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(peers().join("server.pem"))?.collect();
        let key = PrivateKeyDer::from_pem_file(peers().join("server.key"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain?, key)?;
        let tls = Tls::new(config);
        let server = server.over_tls(&tls);
        let state = Arc::new(State::default());
        let answering = Arc::new(Answering(Arc::clone(&state)));
        runtime.spawn(async move {
            let never = std::future::pending();
            let limits = ConnectionLimits::default();
            let _kept = tls;
            server.run(answering, limits, never, Duration::ZERO).await
        });
        drop(entered);
        Ok(Self {
            address,
            state,
            runtime: Some(runtime),
        })
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Answering(Arc<State>);

impl Service for Answering {
    type Body = Full<Bytes>;

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        _: SocketAddr,
    ) -> Response<Full<Bytes>> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let busy = self.0.busy.load(Ordering::SeqCst);
        let body = request.into_body().collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        if busy {
            let mut answer = Response::new(Full::new(Bytes::new()));
            *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            let second = http::HeaderValue::from_static("1");
            answer.headers_mut().insert("retry-after", second);
            return answer;
        }
        let said = reviewed(&body).unwrap_or_default().to_string();
        Response::new(Full::new(said.into()))
    }
}

/// Whose a token is, by what it says.
fn reviewed(question: &[u8]) -> Option<Value> {
    let question: Value = serde_json::from_slice(question).ok()?;
    let token = question.pointer("/spec/token")?.as_str()?;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Some(json!({"kind": "TokenReview", "status": {
        "authenticated": true, "user": {"username": claims.get("sub")?}, "audiences": [AUDIENCE],
    }}))
}
