//! Models asked in process, ours and those of the libraries in turn.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Line, folder, lines, ours};

/// A model whose speed is compared.
#[derive(Debug)]
pub(super) struct Case {
    /// What it is, for people.
    pub(super) title: &'static str,
    pub(super) wanted: &'static [Wanted],
    pub(super) ours: Line,
    /// One line for each peer.
    pub(super) peers: Vec<Line>,
}

/// What is wanted of a case.
#[derive(Debug)]
pub(super) enum Wanted {
    /// Microseconds for one row.
    One(f64),
    /// Times as fast as a peer for one row.
    OneBeside(&'static str, f64),
    /// Times as fast as a peer for all rows.
    ManyBeside(&'static str, f64),
}

use Wanted::{ManyBeside, One, OneBeside};

/// The models of `make.py`.
const CASES: [(&str, &str, &[Wanted]); 11] = [
    (
        "forest",
        "random forest, 100 trees",
        &[
            One(3.0),
            OneBeside("onnxruntime", 3.0),
            ManyBeside("onnxruntime", 2.0),
        ],
    ),
    (
        "xgboost",
        "XGBoost, 500 trees of depth 6",
        &[One(3.0), ManyBeside("xgboost", 1.0)],
    ),
    (
        "lightgbm",
        "LightGBM, 500 trees of 31 leaves",
        &[OneBeside("lightgbm", 3.0), ManyBeside("lightgbm", 1.0)],
    ),
    (
        "histogram",
        "histogram gradient boosting, 500 trees of 31 leaves",
        &[OneBeside("scikit-learn", 3.0)],
    ),
    ("linear", "logistic regression, 100 columns", &[]),
    ("svc-linear", "SVC, linear kernel", &[]),
    ("svc-poly", "SVC, polynomial kernel", &[]),
    ("svc-rbf", "SVC, RBF kernel", &[]),
    ("svc-sigmoid", "SVC, sigmoid kernel", &[]),
    ("neighbours", "5 neighbours of 10,000 rows", &[]),
    ("text", "TF-IDF of 30 words and logistic regression", &[]),
];

/// Measures all cases: for each of them us, then its peers, so that both meet the same machine.
pub(super) fn measure(python: &Path, models: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (name, title, wanted) in CASES {
        eprintln!("measuring: {title}");
        let ours = ours(&["--case".as_ref(), models.as_ref(), name.as_ref()])?;
        let peers = lines(
            Command::new(python)
                .arg(folder().join("ask.py"))
                .arg(models)
                .arg(name)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("OMP_NUM_THREADS", "1")
                .env("OPENBLAS_NUM_THREADS", "1"),
        )?;
        cases.push(Case {
            title,
            wanted,
            ours,
            peers,
        });
    }
    Ok(cases)
}

impl Case {
    /// The figures of a peer.
    pub(super) fn peer(&self, name: &str) -> Option<&Line> {
        self.peers.iter().find(|peer| peer.text("peer") == name)
    }
}

impl Wanted {
    /// What is wanted, and whether it is so.
    pub(super) fn check(&self, case: &Case) -> (String, bool) {
        let ratio = |peer: &str, figure: &str| {
            let theirs = case.peer(peer).map_or(f64::NAN, |peer| peer.get(figure));
            theirs / case.ours.get(figure)
        };
        match self {
            Self::One(limit) => (
                format!("a row in {limit} µs"),
                case.ours.get("one") <= *limit,
            ),
            Self::OneBeside(peer, times) => (
                format!("a row {times} × {peer}"),
                ratio(peer, "one") >= *times,
            ),
            Self::ManyBeside(peer, times) => (
                format!("all rows {times} × {peer}"),
                ratio(peer, "many") >= *times,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wanted_is_compared_with_what_was_measured() {
        let case = Case {
            title: "trees",
            wanted: &[],
            ours: Line(json!({"one": 2.0, "many": 100.0})),
            peers: vec![Line(json!({"peer": "other", "one": 7.0, "many": 150.0}))],
        };
        for (wanted, expected) in [
            (One(2.0), ("a row in 2 µs", true)),
            (One(1.5), ("a row in 1.5 µs", false)),
            (OneBeside("other", 3.0), ("a row 3 × other", true)),
            (ManyBeside("other", 2.0), ("all rows 2 × other", false)),
            (ManyBeside("absent", 1.0), ("all rows 1 × absent", false)),
        ] {
            let (text, holds) = wanted.check(&case);
            assert_eq!((text.as_str(), holds), expected);
        }
    }
}
