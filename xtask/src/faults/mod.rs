//! What goes wrong around `sidegate authz`, on real processes: who it asks is away, busy or never answers, it is killed
//! itself. Nobody gets in who should not, who is known goes on, nothing piles up, and all goes on by itself afterwards.

mod api;
mod hanging;
mod killed;
mod memory;
mod peers;
mod relay;
mod renewal;
mod slow;
mod world;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

pub(crate) use self::world::{World, calls};
use crate::oracle::Check;

/// How soon all goes on once whoever was away is back: keys are asked for every five seconds at most.
const BACK: Duration = Duration::from_secs(20);

/// How soon an answer has to come that needs nobody else.
const AT_ONCE: Duration = Duration::from_secs(2);

pub(crate) fn suite() -> Vec<Check> {
    vec![
        (
            "faults of an authorizer: no login provider",
            Box::new(peers::provider),
        ),
        (
            "faults of an authorizer: no keys of an issuer",
            Box::new(peers::keys),
        ),
        (
            "faults of an authorizer: a busy API server",
            Box::new(api::check),
        ),
        (
            "faults of an authorizer: killed behind Envoy",
            Box::new(killed::check),
        ),
        (
            "faults of an authorizer: a Redis that hangs",
            Box::new(hanging::check),
        ),
        (
            "faults of an authorizer: memory while all are slow",
            Box::new(memory::check),
        ),
        (
            "faults of an authorizer: a thousand requests renew one session",
            Box::new(renewal::check),
        ),
        (
            "faults of an authorizer: gateways that ask slowly",
            Box::new(slow::check),
        ),
    ]
}

/// One of them by its name, or all: `cargo xtask faults [NAME]`.
pub(crate) fn run(wanted: Option<&str>) -> Result<()> {
    let mut ran = 0;
    for (name, check) in suite() {
        if wanted.is_none_or(|wanted| name.contains(wanted)) {
            ran += 1;
            let began = Instant::now();
            check().with_context(|| name.to_owned())?;
            println!("{name} ... ok ({} s)", began.elapsed().as_secs());
        }
    }
    if ran == 0 {
        bail!("no check is called so");
    }
    Ok(())
}

/// Waits until something is so again.
fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !holds()? {
        ensure!(began.elapsed() < BACK, "{what}: not so after {BACK:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Asks so often at the same time; what each got.
fn at_once<T: Send>(count: usize, ask: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let barrier = std::sync::Barrier::new(count);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..count)
            .map(|number| {
                let (barrier, ask) = (&barrier, &ask);
                scope.spawn(move || {
                    barrier.wait();
                    ask(number)
                })
            })
            .collect();
        all.into_iter()
            .map(|one| {
                let ended = one.join();
                ended.map_err(|_| anyhow::anyhow!("a request panicked"))?
            })
            .collect()
    })
}
