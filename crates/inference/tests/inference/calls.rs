//! Calls of gRPC replayed that KServe's server and MLServer were asked, and their answers.

use crate::capture::{Comparison, escape, mask, unescape};
use crate::mlserver::{mlserver, shelf};
use crate::requests::iris;
use bytes::Bytes;
use inference::grpc::{Code, call, has};
use inference::{Manner, Repository};

#[test]
fn answers_are_those_of_kserve() {
    let file = include_str!("../golden/grpc.txt");
    replay("grpc", file, 27, &Manner::default(), &iris());
}

#[test]
fn answers_are_those_of_mlserver() {
    let file = include_str!("../golden/mlserver_grpc.txt");
    replay("mlserver_grpc", file, 30, &mlserver(), &shelf());
}

fn replay(recording: &str, file: &str, expected: usize, manner: &Manner, models: &dyn Repository) {
    let mut comparison = Comparison::with(recording);
    let mut count = 0;
    for probe in file.split("\n== ").skip(1) {
        let lines: Vec<&str> = probe.lines().collect();
        let [title, method, message, outcome, answer] = lines[..] else {
            panic!("{probe}");
        };
        count += 1;
        // Other services are the transport's: tests/it/runtime.rs of the program calls them.
        if method.contains('/') {
            comparison.pass_over(title);
            continue;
        }
        assert!(has(method), "{method}");
        let message = unescape(message.strip_prefix(">").unwrap().trim_start());
        let (code, found) = match call(models, manner, method, Bytes::from(message)) {
            Ok(reply) => (0, mask(&escape(&reply))),
            Err(status) => (status.code as u16, status.message),
        };
        let recorded = (number(outcome), answer.strip_prefix("< ").unwrap());
        comparison.compare(title, recorded, (code, &found));
    }
    assert_eq!(count, expected);
    comparison.end();
}

/// The number of a status (`google.rpc.Code`).
fn number(name: &str) -> u16 {
    match name {
        "OK" => 0,
        "UNKNOWN" => 2,
        "INVALID_ARGUMENT" => Code::InvalidArgument as u16,
        "NOT_FOUND" => Code::NotFound as u16,
        "UNIMPLEMENTED" => Code::Unimplemented as u16,
        "INTERNAL" => Code::Internal as u16,
        other => panic!("{other}"),
    }
}
