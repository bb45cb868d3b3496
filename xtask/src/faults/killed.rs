//! The authorizer is killed again and again while Envoy asks it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::json;

use super::until;
use super::world::{World, nothing_piled_up, open_files};
use crate::http::{Answer, ask_host};
use crate::person::{DASHBOARD, Person, USER};
use crate::relying::envoy::{Chain, Envoy, filter, inside};

const ROUNDS: usize = 3;
/// Who asks meanwhile: as many with a session as without.
const PAIRS: usize = 4;
/// Answers of a kind that a phase waits for.
const ENOUGH: usize = 40;

#[derive(Default)]
struct Seen {
    over: AtomicBool,
    inside: AtomicUsize,
    refused: AtomicUsize,
    strangers: AtomicUsize,
}

pub(super) fn check() -> Result<()> {
    let world = World::start("")?;
    let authz = world.authz(&[])?;
    let checks = authz.checks.to_string();
    let mut person = Person::default();
    person.log_in(&checks, &checks, &world.provider)?;
    let cookies = person.cookies();
    let asks = filter(
        "ext_authz",
        "ext_authz.v3.ExtAuthz",
        json!({
            "transport_api_version": "V3",
            "status_on_error": {"code": 403},
            "grpc_service": {"envoy_grpc": {"cluster_name": "authz"}, "timeout": "2s"},
        }),
    );
    let chain = Chain {
        filters: vec![asks],
        routes: vec![inside()],
        grpc: vec![("authz", checks.clone())],
        ..Chain::default()
    };
    let [high, low] = u16::try_from(std::process::id() % 65_000)?.to_be_bytes();
    // Checks are about the port of the Gateway's pods.
    let at = SocketAddr::from(([127, 78, high, low.max(1)], 8080));
    let _envoy = Envoy::start(chain, world.folder.path(), at)?;
    let (at, seen) = (at.to_string(), Seen::default());
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..PAIRS)
            .flat_map(|_| {
                [
                    scope.spawn(|| seen.ask(&at, &cookies)),
                    scope.spawn(|| seen.ask(&at, "")),
                ]
            })
            .collect();
        let outcome = storm(&world, authz, &seen);
        seen.over.store(true, Ordering::SeqCst);
        for asker in askers {
            let ended = asker.join();
            ended.map_err(|_| anyhow::anyhow!("one who asks panicked"))??;
        }
        outcome
    })
}

fn storm(world: &World, authz: crate::authz::Authz, seen: &Seen) -> Result<()> {
    let more = |what: &str, count: &AtomicUsize| {
        let wanted = count.load(Ordering::SeqCst) + ENOUGH;
        until(what, || Ok(count.load(Ordering::SeqCst) >= wanted))
    };
    more("people are inside", &seen.inside)?;
    // As many as are open while all goes well: no more are open after any of the rounds.
    let well = open_files(&authz)?;
    let mut authz = Some(authz);
    for round in 0..ROUNDS {
        more("people are inside", &seen.inside)?;
        more("strangers are answered", &seen.strangers)?;
        drop(authz.take());
        more("nobody gets in while there is none", &seen.refused)?;
        let again = world.authz(&[])?;
        more("people are inside again", &seen.inside)?;
        more("strangers are answered again", &seen.strangers)?;
        nothing_piled_up(&again, well)?;
        authz = Some(again);
        ensure!(!seen.over.load(Ordering::SeqCst), "round {round}");
    }
    Ok(())
}

impl Seen {
    /// Asks until it is over. Only a session is ever inside.
    fn ask(&self, envoy: &str, cookies: &str) -> Result<()> {
        let headers = [("cookie", cookies), ("accept", "text/html")];
        while !self.over.load(Ordering::SeqCst) {
            let answer = ask_host(envoy, DASHBOARD, "GET", "/pipeline/", &headers, "")?;
            match (answer.status, cookies.is_empty()) {
                (200, false) if is_of(&answer) => self.inside.fetch_add(1, Ordering::SeqCst),
                (403, _) => self.refused.fetch_add(1, Ordering::SeqCst),
                (302, true) => self.strangers.fetch_add(1, Ordering::SeqCst),
                _ => {
                    self.over.store(true, Ordering::SeqCst);
                    bail!("with `{cookies}` an answer is {answer:?}");
                }
            };
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

fn is_of(answer: &Answer) -> bool {
    answer.text() == "inside" && answer.header("x-user") == Some(USER)
}
