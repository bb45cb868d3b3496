//! Requests replayed that KServe's Python servers were asked, and their answers.

use crate::capture::{self, Probe, replay};
use crate::requests::iris;
use inference::{Compat, Manner, Model, Options};
use std::sync::Arc;

/// Answers whose body has a content type here and has none there.
const TYPED: &[&str] = &[
    "infer outputs binary",
    "infer params binary_out",
    "bin outputs bin",
    "bin all out",
    "v2 ce bin",
];

#[test]
fn answers_are_those_of_kserve() {
    let model = iris();
    replay("kserve", &probes(), TYPED, |probe| {
        probe.send(&Manner::default(), &model)
    });
}

/// `examples/models/train.py` makes the boosters.
#[test]
fn boosters_are_answered_as_by_kserve() {
    let load = |name: &str, file: &str, bytes: &[u8]| {
        Arc::new(Model::load(name, file, bytes, &Options::default()).unwrap())
    };
    let xgb = load("xgb", "model.ubj", include_bytes!("../models/iris.ubj"));
    let lgb = load("lgb", "model.bst", include_bytes!("../models/iris.bst"));
    let probes = capture::probes(include_str!("../golden/boosters.txt"));
    assert_eq!(probes.len(), 38);
    let typed = ["xgb v2 bin out", "lgb v2 bin out"];
    replay("boosters", &probes, &typed, |probe| {
        let xgboost = probe.title.starts_with("xgb");
        probe.send(&Manner::default(), if xgboost { &xgb } else { &lgb })
    });
}

/// What KServe's server does not have, or cannot: Triton's index, and text with a shape.
const MORE: [&str; 4] = [
    "get /v2/repository/index",
    "index post",
    "infer BYTES",
    "bin BYTES",
];

#[test]
fn strict_answers_have_all_statuses_of_kserve() {
    let model = iris();
    let strict = Manner {
        compat: Compat::Strict,
        ..Manner::default()
    };
    let mut wrong = Vec::new();
    for probe in probes() {
        let found = probe.send(&strict, &model).status().as_u16();
        if (found == probe.status) == MORE.contains(&probe.title) {
            wrong.push(format!(
                "{}: {found}, expected {}",
                probe.title, probe.status
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn probes() -> Vec<Probe<'static>> {
    let mut probes = capture::probes(include_str!("../golden/v1.txt"));
    probes.extend(capture::probes(include_str!("../golden/v2.txt")));
    assert_eq!(probes.len(), 147);
    probes
}
