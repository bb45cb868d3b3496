//! Who asks is slow: heads and calls that never end, byte by byte, and connections that say nothing. Others are answered
//! meanwhile, and nothing of it is kept.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testkit::Call;

use super::world::{World, nothing_piled_up, open_files};
use super::{AT_ONCE, at_once};
use crate::person::Person;

/// Of each kind.
const SLOW: usize = 40;
/// How long a call may take to arrive, and a little.
const CALL: Duration = Duration::from_secs(8);
/// How long a head may take, and a little.
const HEAD: Duration = Duration::from_secs(75);
const PAUSE: Duration = Duration::from_millis(500);

pub(super) fn check() -> Result<()> {
    let world = World::start("")?;
    let authz = world.authz(&[])?;
    let at = authz.checks.to_string();
    let mut known = Person::default();
    known.log_in(&at, &at, &world.provider)?;
    let before = open_files(&authz)?;
    std::thread::scope(|scope| {
        let heads = scope.spawn(|| at_once(SLOW, |_| head(&at)));
        let silent = scope.spawn(|| at_once(SLOW, |_| silence(&at)));
        let calls = scope.spawn(|| at_once(SLOW, |number| call(&at, number)));
        while !(heads.is_finished() && silent.is_finished() && calls.is_finished()) {
            let began = Instant::now();
            ensure!(known.is_inside(&at)?, "a session among slow ones");
            let begun = Person::default().ask(&at, "GET", "/")?;
            ensure!(begun.status == 302, "a stranger among slow ones: {begun:?}");
            ensure!(began.elapsed() < AT_ONCE, "it waits for slow ones");
            std::thread::sleep(PAUSE);
        }
        for ended in [heads.join(), silent.join(), calls.join()] {
            ended.map_err(|_| anyhow::anyhow!("a slow one panicked"))??;
        }
        anyhow::Ok(())
    })?;
    nothing_piled_up(&authz, before)
}

/// A head that grows by a header now and then, and never ends.
fn head(at: &str) -> Result<()> {
    let mut stream = TcpStream::connect(at)?;
    stream.write_all(b"GET /external/ HTTP/1.1\r\nhost: kubeflow.example.com\r\n")?;
    until_cut("a head", HEAD, || stream.write_all(b"a: b\r\n").is_err())
}

/// A connection on which nothing is said.
fn silence(at: &str) -> Result<()> {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    use std::io::Read as _;

    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(PAUSE))?;
    let mut byte = [0];
    until_cut("a silent connection", HEAD, || {
        match stream.read(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), WouldBlock | TimedOut),
        }
    })
}

fn until_cut(what: &str, patience: Duration, mut is_cut: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !is_cut() {
        let took = began.elapsed();
        ensure!(took < patience, "{what} is still waited for after {took:?}");
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// A call whose message drips: denied in a reply, whose status is not OK.
fn call(at: &str, number: usize) -> Result<()> {
    let began = Instant::now();
    let mut call = Call::begin(
        at,
        &[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/envoy.service.auth.v3.Authorization/Check"),
            (":authority", "authz"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ],
    )?;
    // A message of a hundred bytes, of which each call gives another part, and then a byte now and then.
    let message = [&[0, 0, 0, 0, 100][..], &[0; 20]].concat();
    call.data(message.get(..5 + number % 20).unwrap_or_default(), false)?;
    let writing = std::thread::spawn({
        let mut more = call.another()?;
        move || {
            while began.elapsed() < CALL && more.data(&[0], false).is_ok() {
                std::thread::sleep(PAUSE);
            }
        }
    });
    let answer = call.answer()?.context("no answer to a slow call")?;
    let took = began.elapsed();
    ensure!(took < CALL, "a slow call is answered after {took:?}");
    // A frame, then `status.code` of a CheckResponse: denied.
    ensure!(
        answer.get(5..9) == Some(&[0x0a, 2, 8, 7]),
        "a slow call gets {answer:?}"
    );
    writing
        .join()
        .map_err(|_| anyhow::anyhow!("one who sends panicked"))
}
