//! Signing keys of two providers in this process, whose clock runs ahead.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Request;
use provider::{Clock, DexConfig, Options, Provider, Storage, StorageConfig};
use serde_json::Value;

use super::server::{PASSWORD, Server};
use crate::visitor::CONFIG;

/// How long one key signs.
const PERIOD: u64 = 40 * 60;
const ROTATIONS: usize = 5;
const DEADLINE: Duration = Duration::from_secs(30);

/// Both begin with the same keys though they start at the same moment; at each rotation one new key
/// is made, whichever of them makes it, and both publish the same.
pub(super) fn check() -> Result<()> {
    let server = Server::start("always")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let yaml = format!(
        "{CONFIG}\nstorage: {{type: redis, config: {{url: \"{}\", password: $PASSWORD}}}}\n",
        server.url()
    )
    .replace("expiry: {", "expiry: {signingKeys: 40m, idTokens: 1h, ");
    let env = |name: &str| (name == "PASSWORD").then(|| PASSWORD.to_owned());
    let (config, _) = DexConfig::parse(&yaml, &env)?;
    let ahead = Arc::new(AtomicU64::new(0));
    let open = || -> Result<Provider> {
        let seconds = Arc::clone(&ahead);
        let clock: Clock = Arc::new(move || {
            SystemTime::now() + Duration::from_secs(seconds.load(Ordering::Relaxed))
        });
        let StorageConfig::Redis(redis) = &config.storage else {
            anyhow::bail!("storage of another kind");
        };
        let storage = Storage::open_redis(redis.settings(None)?)?;
        let options = Options {
            clock,
            ..Options::default()
        };
        Ok(Provider::open(config.clone(), storage, options)?)
    };
    let (first, second) = std::thread::scope(|scope| -> Result<_> {
        let first = scope.spawn(open);
        let second = open()?;
        let ended = |_| anyhow::anyhow!("a thread ended early");
        Ok((first.join().map_err(ended)??, second))
    })?;
    let mut seen = BTreeSet::new();
    for rotation in 0..=ROTATIONS {
        let before = keys(&first)?;
        if rotation > 0 {
            ahead.fetch_add(PERIOD, Ordering::Relaxed);
        }
        let began = Instant::now();
        loop {
            runtime.block_on(async { tokio::join!(look(&first), look(&second)) });
            let (here, there) = (keys(&first)?, keys(&second)?);
            if here == there && (rotation == 0 || here != before) {
                seen.extend(here);
                break;
            }
            ensure!(
                began.elapsed() < DEADLINE,
                "rotation {rotation}: {here:?} and {there:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    ensure!(
        seen.len() == 2 + ROTATIONS,
        "{} keys of {ROTATIONS} rotations: {seen:?}",
        seen.len()
    );
    runtime.shutdown_background();
    Ok(())
}

/// Requests are what a provider looks at the time by.
async fn look(provider: &Provider) {
    let request = Request::get("/dex/userinfo").body(Bytes::new());
    provider.handle(request.unwrap_or_default()).await;
}

/// Ids of the published keys, in their order.
fn keys(provider: &Provider) -> Result<Vec<String>> {
    let keys: Value = serde_json::from_slice(&provider.jwks())?;
    let keys = keys.get("keys").and_then(Value::as_array);
    let ids = keys.context("no keys")?.iter();
    let ids = ids.filter_map(|key| key.get("kid")?.as_str().map(str::to_owned));
    Ok(ids.collect())
}
