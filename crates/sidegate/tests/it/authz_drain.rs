//! The end of `sidegate authz`: what is under way completes, and what never would is cut.

use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Call, Socket, curl};

use super::authz::Authz;
use super::authz_bad_input::message;
use super::{LOCAL_HOST, OUTSIDE_HOST, PREDICT};

const CALL: [(&str, &str); 6] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/envoy.service.auth.v3.Authorization/Check"),
    (":authority", "authz"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
];

fn asked_to_end(authz: &Authz) {
    let killed = Command::new("kill").arg(authz.id().to_string()).status();
    assert!(killed.unwrap().success());
    authz.says("ending: checks under way complete first");
}

/// A check in its frame.
fn framed() -> Vec<u8> {
    let message = message(OUTSIDE_HOST, PREDICT, &[]);
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat()
}

/// The beginning of a check over HTTP. It has arrived, and all that was sent before: a check that was sent behind it has been
/// answered.
fn half_a_check(authz: &Authz) -> Socket {
    let mut slow = Socket::connect(&authz.checks).unwrap();
    slow.send(format!(
        "POST /local{PREDICT} HTTP/1.1\r\nhost: {LOCAL_HOST}\r\n"
    ))
    .unwrap();
    assert_eq!(
        authz
            .ask(&format!("/local{PREDICT}"), LOCAL_HOST, &[])
            .status,
        200
    );
    slow
}

#[test]
fn checks_under_way_complete_when_it_is_asked_to_end() {
    let mut authz = Authz::seed();
    let ready = |authz: &Authz| curl([format!("http://{}/readyz", authz.health)]);
    assert_eq!(ready(&authz).unwrap().status, 200);
    // Half of a check over gRPC, and half of one over HTTP.
    let framed = framed();
    let (first, rest) = framed.split_at(framed.len() / 2);
    let mut call = Call::begin(&authz.checks, &CALL).unwrap();
    call.data(first, false).unwrap();
    let mut slow = half_a_check(&authz);

    asked_to_end(&authz);
    let ending = ready(&authz).unwrap();
    assert_eq!((ending.status, &*ending.body), (503, "ending\n"));
    let alive = curl([format!("http://{}/healthz", authz.health)]).unwrap();
    assert_eq!(alive.status, 200);
    let began = Instant::now();
    while Socket::connect(&authz.checks).is_ok() {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "new ones are taken"
        );
        std::thread::sleep(Duration::from_millis(10));
    }

    call.data(rest, true).unwrap();
    let reply = call.answer().unwrap().expect("a reply");
    // Its status is 16: a token is wanted, which is the answer of a check that was read whole.
    assert_eq!(reply.get(5..9), Some(&[0x0a, 2, 8, 16][..]), "{reply:?}");
    slow.send("x: y\r\n\r\n").unwrap();
    let answer = slow.response().unwrap().expect("an answer");
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    assert_eq!(slow.rest().unwrap(), b"", "the connection ends");
    drop(call);
    assert!(authz.ended().success());
    assert!(!authz.told().contains("were cut"), "{}", authz.told());
    assert!(ready(&authz).is_err());
}

#[test]
fn checks_that_never_complete_are_cut_after_the_grace() {
    let mut authz = Authz::seed();
    let _slow = half_a_check(&authz);
    let began = Instant::now();
    asked_to_end(&authz);
    assert!(authz.ended().success());
    let took = began.elapsed().as_secs();
    assert!((9..20).contains(&took), "it took {took} s");
    authz.says("connections were cut after 10 s");
}

/// A check that does not arrive is denied in a reply, for an error would be leave where `failOpen` is set.
#[test]
fn a_check_that_drips_is_denied_in_time() {
    let authz = Authz::seed();
    let framed = framed();
    let mut call = Call::begin(&authz.checks, &CALL).unwrap();
    call.data(framed.get(..20).unwrap(), false).unwrap();
    let began = Instant::now();
    let reply = call.answer().unwrap().expect("a reply");
    let took = began.elapsed().as_secs();
    assert!((4..10).contains(&took), "it took {took} s");
    assert_eq!(reply.get(5..9), Some(&[0x0a, 2, 8, 7][..]), "{reply:?}");
    let line = authz.line("a check cannot be read");
    assert!(line.contains("does not arrive in time"), "{line}");
}
