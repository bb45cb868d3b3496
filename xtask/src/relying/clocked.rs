//! The provider in this process, with a clock that runs ahead when it is told: days of rotations in seconds.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use provider::{Clock, DexConfig, Options, Provider, Storage};
use server::{ConnectionLimits, Server, Service};

use super::folder;
use super::served::hash;

/// How long a rotation may take: keys are made beside the requests.
const ROTATION: Duration = Duration::from_secs(20);

/// A provider whose seconds pass by `POST /pass?seconds=N`, which answers when its keys have rotated.
pub(super) struct Clocked {
    pub(super) base: String,
    runtime: Option<tokio::runtime::Runtime>,
    _data: tempfile::TempDir,
}

struct Running {
    provider: Provider,
    ahead: Arc<AtomicU64>,
}

impl Clocked {
    /// Starts it with `dex.yaml` of the relying parties, keys that sign for 40 minutes and tokens that live an hour.
    pub(super) fn start() -> Result<Self> {
        let data = tempfile::tempdir().context("making a folder")?;
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let server = Server::bind(&[local])?;
        drop(entered);
        let address = server
            .addresses()
            .first()
            .context("no address")?
            .to_string();
        let base = format!("http://{address}");
        let yaml = std::fs::read_to_string(folder().join("dex.yaml"))?
            .replace("ISSUER", &format!("{base}/dex"))
            .replace("ORIGIN", "http://127.0.0.1:9")
            .replace("HASH", &hash()?)
            + "expiry: {signingKeys: 40m, idTokens: 1h}\n";
        let (config, _) = DexConfig::parse(&yaml, &|_| None)?;
        let ahead = Arc::new(AtomicU64::new(0));
        let seconds = Arc::clone(&ahead);
        let clock: Clock = Arc::new(move || {
            SystemTime::now() + Duration::from_secs(seconds.load(Ordering::Relaxed))
        });
        let options = Options {
            clock,
            ..Options::default()
        };
        let provider = Provider::open(config, Storage::open(data.path())?, options)?;
        let running = Arc::new(Running { provider, ahead });
        runtime.spawn(async move {
            let never = std::future::pending();
            server
                .run(running, ConnectionLimits::default(), never, Duration::ZERO)
                .await
        });
        Ok(Self {
            base,
            runtime: Some(runtime),
            _data: data,
        })
    }

    pub(super) fn issuer(&self) -> String {
        format!("{}/dex", self.base)
    }

    pub(super) fn clock(&self) -> String {
        format!("{}/pass", self.base)
    }
}

impl Drop for Clocked {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Running {
    /// Moves the clock and waits for the rotation that is due.
    async fn pass(&self, seconds: u64) -> StatusCode {
        let before = self.provider.jwks();
        self.ahead.fetch_add(seconds, Ordering::Relaxed);
        let rotated = async {
            while self.provider.jwks() == before {
                let look = Request::get("/dex/keys")
                    .body(Bytes::new())
                    .unwrap_or_default();
                self.provider.handle(look).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(ROTATION, rotated).await {
            Ok(()) => StatusCode::OK,
            Err(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

impl Service for Running {
    type Body = Full<Bytes>;

    async fn answer(
        self: Arc<Self>,
        request: Request<hyper::body::Incoming>,
        _: SocketAddr,
    ) -> Response<Full<Bytes>> {
        if request.method() == Method::POST && request.uri().path() == "/pass" {
            let query = request.uri().query().unwrap_or_default();
            let seconds = query
                .strip_prefix("seconds=")
                .and_then(|text| text.parse().ok());
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = match seconds {
                Some(seconds) => self.pass(seconds).await,
                None => StatusCode::BAD_REQUEST,
            };
            return answer;
        }
        self.provider.handle_body(request).await.map(Full::new)
    }
}
