//! Calls of gRPC replayed that KServe's server was asked, and its answers.

use crate::capture::{Differences, escape, mask, the_page_counts, unescape};
use crate::requests::iris;
use bytes::Bytes;
use inference::Manner;
use inference::grpc::{Code, call, has};

/// Answers that differ on purpose, by the reason that docs/runtime.md gives: the call, the code or 0, and the message or text.
const DIFFERENCES: &Differences = &[
    (
        "Metadata of gRPC has names, types and shapes",
        &[(
            "mmeta",
            0,
            r#"\x0a\x04iris\x1a\x07sklearn"\x1c\x0a\x07input-0\x12\x04FP64\x1a\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x04*\x1d\x0a\x08output-0\x12\x05INT64\x1a\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"#,
        )],
    ),
    (
        "The status of gRPC is KServe's, the text says what was expected",
        &[
            (
                "infer bad dt",
                3,
                "invalid datatype 'XX' in the input i: expected BOOL, INT8 to INT64, UINT8 to UINT64, FP16, FP32, FP64 or BYTES",
            ),
            (
                "infer BF16",
                3,
                "invalid datatype 'BF16' in the input i: expected BOOL, INT8 to INT64, UINT8 to UINT64, FP16, FP32, FP64 or BYTES",
            ),
            (
                "infer no inputs",
                3,
                "expected at least one tensor in \"inputs\"",
            ),
        ],
    ),
    (
        "Loading over gRPC works, and says so where there is no such model",
        &[
            ("load", 0, r"\x0a\x04iris\x10\x01"),
            ("load nope", 14, "Model with name nope is not ready."),
        ],
    ),
    (
        "There are the health service and reflection of gRPC",
        &[("health", 0, ""), ("refl", 0, "")],
    ),
];

#[test]
fn answers_are_those_of_kserve() {
    let models = iris();
    let differences = DIFFERENCES.iter().flat_map(|(_, list)| *list);
    let mut differences: Vec<_> = differences.collect();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for probe in include_str!("../golden/grpc.txt").split("\n== ").skip(1) {
        let lines: Vec<&str> = probe.lines().collect();
        let [title, method, message, outcome, answer] = lines[..] else {
            panic!("{probe}");
        };
        count += 1;
        let difference = differences.iter().position(|(name, ..)| *name == title);
        let difference = difference.map(|at| differences.remove(at));
        // Other services are the transport's: tests/it/runtime.rs of the program calls them.
        if method.contains('/') {
            assert!(difference.is_some(), "{title}");
            continue;
        }
        assert!(has(method), "{method}");
        let message = unescape(message.strip_prefix(">").unwrap().trim_start());
        let recorded = (code(outcome), answer.strip_prefix("< ").unwrap().to_owned());
        let found = match call(&models, &Manner::default(), method, Bytes::from(message)) {
            Ok(reply) => (0, mask(&escape(&reply))),
            Err(status) => (status.code as u16, status.message),
        };
        let expected = match difference {
            Some((_, code, text)) => (*code, (*text).to_owned()),
            None => recorded,
        };
        if found != expected {
            wrong.push(format!("{title}: {found:?}\n    expected: {expected:?}"));
        }
    }
    assert_eq!(count, 27);
    assert!(differences.is_empty(), "no such calls: {differences:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The number of a status (`google.rpc.Code`).
fn code(name: &str) -> u16 {
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

#[test]
fn the_page_gives_every_reason() {
    the_page_counts(DIFFERENCES);
}
