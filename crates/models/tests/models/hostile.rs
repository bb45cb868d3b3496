//! Damaged and malicious files: an error or a valid model, never a panic, and soon.

use crate::archive;
use crate::corpus::cases;
use models::{Limits, LoadError, Matrix, Precision, load};
use proptest::prelude::*;

/// Enough for every golden case, so that the tests also meet the limits.
fn limits() -> Limits {
    Limits {
        file_bytes: 1 << 20,
        decompressed_bytes: 1 << 20,
        objects: 20_000,
        depth: 8,
        compiled_bytes: 1 << 20,
        ..Limits::default()
    }
}

/// Loads, and asks the model if there is one.
fn survive(bytes: &[u8]) {
    let Ok(model) = load(bytes, &limits()) else {
        return;
    };
    let columns = model.features();
    if columns > 1000 {
        return;
    }
    for value in [0.0, 1e300, -3.5, f64::NAN, f64::INFINITY] {
        let rows = Matrix::new(vec![value; columns * 2], 2, columns, Precision::Double).unwrap();
        let _ = (
            model.predict(&rows),
            model.predict_proba(&rows),
            model.decision_function(&rows),
        );
    }
}

#[test]
fn every_truncation_is_an_error() {
    for case in cases() {
        let columns = case.expected.columns;
        let rows = Matrix::new(vec![0.5; columns * 2], 2, columns, Precision::Double).unwrap();
        let said = |bytes: &[u8]| {
            let model = load(bytes, &limits())?;
            let all = (
                model.predict(&rows),
                model.predict_proba(&rows),
                model.decision_function(&rows),
            );
            Ok::<_, LoadError>(format!("{all:?}"))
        };
        let whole = said(&case.bytes);
        // Every length of the small files; the large ones add nothing but time.
        for length in (0..case.bytes.len()).step_by(1 + case.bytes.len() / 2500) {
            let found = said(&case.bytes[..length]);
            // Where a file is compressed its last bytes can be of no consequence.
            let fits = found.is_err() || (!case.is_plain() && found == whole);
            assert!(fits, "{} at {length}: {found:?}", case.name);
        }
    }
}

#[test]
fn flipped_bits_do_no_harm() {
    for (number, case) in cases().into_iter().enumerate() {
        let mut bytes = case.bytes;
        // Every bit of every file would take an hour; byte and bit differ from case to case.
        for at in (number % 13..bytes.len()).step_by(13) {
            let bit = 1 << ((at / 13 + number) % 8);
            bytes[at] ^= bit;
            survive(&bytes);
            bytes[at] ^= bit;
        }
    }
}

/// Bits of every estimator's file, a few in each: what still loads must answer or refuse what the estimator was asked.
#[test]
fn flipped_bits_of_every_estimator_do_no_harm() {
    let flips = std::env::var("SIDEGATE_FLIPS").map_or(4, |count| count.parse().unwrap());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % bound
    };
    let limits = Limits::default();
    for case in archive::cases().into_iter().chain(archive::boosted()) {
        // A flipped bit in a compressed file only shows that checksums work.
        if case.writing.contains(' ') && !case.writing.starts_with("pickle") {
            continue;
        }
        let mut bytes = case.bytes;
        for _ in 0..flips {
            let (at, bit) = (next(bytes.len()), 1 << next(8));
            bytes[at] ^= bit;
            if let Ok(model) = load(&bytes, &limits) {
                for (given, _) in &case.asked {
                    let input = given.input();
                    let _ = model.predict(input);
                    let _ = model.predict_proba(input);
                    let _ = model.decision_function(input);
                    let _ = model.transform(input);
                }
            }
            bytes[at] ^= bit;
        }
    }
}

proptest! {
    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        survive(&bytes);
    }

    /// Bytes that are mostly opcodes reach deeper than noise.
    #[test]
    fn opcodes_do_no_harm(bytes in proptest::collection::vec(
        prop_oneof![Just(b'('), Just(b']'), Just(b'}'), Just(b')'), Just(b'N'), Just(b'K'), Just(b'a'), Just(b'e'), Just(b's'),
            Just(b'u'), Just(b'b'), Just(b'R'), Just(0x81), Just(0x94), Just(b'h'), Just(b't'), Just(0x85), Just(0x86), Just(0x93),
            Just(0x8c), Just(b'2'), Just(b'0'), Just(b'1'), Just(b'.'), 0_u8..4, Just(b'o'), Just(0x90), Just(0x8f)], 0..200)) {
        survive(&bytes);
    }
}

fn refusal(bytes: &[u8]) -> (String, String) {
    match load(bytes, &limits()) {
        Err(LoadError::Class { class, place }) => (class, place),
        other => panic!("{other:?}"),
    }
}

#[test]
fn calls_are_refused_by_name() {
    let check = |bytes: &[u8], class: &str, place: &str| {
        assert_eq!(refusal(bytes), (class.to_owned(), place.to_owned()))
    };
    check(
        b"cos\nsystem\n(S'touch /tmp/owned'\ntR.",
        "os.system",
        "model",
    );
    check(b"cposix\nsystem\n(Vid\ntR.", "posix.system", "model");
    check(
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
        "builtins.eval",
        "model",
    );
    check(b"(csubprocess\nPopen\nNo.", "subprocess.Popen", "model");
    check(b"(S'id'\nios\nsystem\n.", "os.system", "model");
    // A call whose result is thrown away is refused as well.
    check(b"cos\nsystem\n(Vid\ntR0N.", "os.system", "model");
    // Inside an estimator, and inside a step of a pipeline.
    check(
        b"\x80\x02csklearn.svm._classes\nSVC\n)\x81}X\x0c\x00\x00\x00random_statecos\nsystem\nX\x02\x00\x00\x00id\x85Rsb.",
        "os.system",
        "random_state",
    );
    check(
        b"\x80\x02csklearn.pipeline\nPipeline\n)\x81}X\x05\x00\x00\x00steps](N\x8c\x01ac__main__\nMine\n)\x81\x86esb.",
        "__main__.Mine",
        "steps[1]",
    );
}

#[test]
fn unknown_estimators_are_refused_with_their_place() {
    let pipeline = |step: &str| {
        let head = b"\x80\x02csklearn.pipeline\nPipeline\n)\x81}X\x05\x00\x00\x00steps](\x8c\x01aN\x86\x8c\x01bc".as_slice();
        [head, step.as_bytes(), b"\n)\x81}b\x86esb."].concat()
    };
    let found = refusal(&pipeline("sklearn.cluster._dbscan\nDBSCAN"));
    assert_eq!(
        found,
        (
            "sklearn.cluster._dbscan.DBSCAN".to_owned(),
            "steps[1]".to_owned()
        )
    );
    let error = load(&pipeline("sklearn.cluster._dbscan\nDBSCAN"), &limits())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`sklearn.cluster._dbscan.DBSCAN` at `steps[1]`") && error.contains("ONNX"),
        "{error}"
    );
    let losses = refusal(&pipeline("_loss\nCyHalfMultinomialLoss"));
    assert_eq!(
        losses,
        (
            "_loss.CyHalfMultinomialLoss".to_owned(),
            "steps[1]".to_owned()
        )
    );
    let error = load(&pipeline("sklearn.svm._classes\nSVC"), &limits())
        .unwrap_err()
        .to_string();
    assert!(
        error
            .starts_with("`sklearn.svm._classes.SVC` at `steps[1]` is damaged or was never fitted"),
        "{error}"
    );
}

#[test]
fn limits_hold() {
    let limits = limits();
    let check = |bytes: &[u8], what: &str| match load(bytes, &limits) {
        Err(LoadError::Limit { what: found, .. }) => assert_eq!(found, what),
        other => panic!("{what}: {other:?}"),
    };
    check(&vec![0; (1 << 20) + 1], "bytes of file");
    check(&[b"]".repeat(30_000), b".".to_vec()].concat(), "objects");
    check(b"Nr\xff\xff\xff\x7f.", "memo entries");
    let bomb = std::io::Read::bytes(flate2::read::ZlibEncoder::new(
        std::io::Read::take(std::io::repeat(b']'), 2 << 20),
        flate2::Compression::best(),
    ));
    check(
        &bomb.collect::<Result<Vec<u8>, _>>().unwrap(),
        "decompressed bytes",
    );
    // A pipeline that contains itself.
    check(b"\x80\x02csklearn.pipeline\nPipeline\n)\x81q\x00}X\x05\x00\x00\x00steps]\x8c\x01ah\x00\x86asb.", "estimators inside estimators");
}

#[test]
fn compressions_out_of_reach_are_named() {
    for (head, name) in [
        (b"\x28\xb5\x2f\xfd".as_slice(), "zstd"),
        (b"ZF", "the format of joblib before 0.10"),
    ] {
        let error = load(head, &limits()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("the file is compressed with {name}")),
            "{error}"
        );
    }
}

#[test]
fn damaged_compressions_are_errors() {
    for head in [
        b"\xfd7zXZ\x00".as_slice(),
        b"]\x00\x00\x80",
        b"]\x00\xff\xff\xff\xff",
        b"\x04\x22\x4d\x18",
        b"\x1f\x8b\x08",
        b"x\x9c",
        b"BZh9",
    ] {
        for filling in [0, 0x41, 0xff] {
            let bytes = [head, &[filling; 64]].concat();
            assert!(load(&bytes, &limits()).is_err(), "{head:?}");
        }
    }
}

#[test]
fn objectives_of_ones_own_are_refused_by_name() {
    // `_objective` and `objective` are functions of the one who trained.
    for (class, attribute) in [
        ("lightgbm.sklearn\nLGBMRegressor", "_objective"),
        ("xgboost.sklearn\nXGBRegressor", "objective"),
    ] {
        let length = char::from(u8::try_from(attribute.len()).unwrap());
        let file = format!("c{class}\n)\u{1}}}\u{2}{length}{attribute}c__main__\nloss\nsb.");
        let mut bytes = b"\x80\x04".to_vec();
        bytes.extend(file.bytes().map(|byte| match byte {
            1 => 0x81,
            2 => 0x8c,
            byte => byte,
        }));
        assert_eq!(
            refusal(&bytes),
            ("__main__.loss".to_owned(), attribute.to_owned())
        );
    }
}

/// A booster that many estimators share is paid for each time.
#[test]
fn shared_boosters_are_bounded() {
    let text = "tree\nversion=v3\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=0\nfeature_names=a\ntree_sizes=\n\nend of trees\n";
    let text = format!("{text}{}", "\n".repeat(30_000));
    let mut bytes =
        b"\x80\x04csklearn.ensemble._voting\nVotingRegressor\n)\x81}\x8c\x0bestimators_](".to_vec();
    bytes.extend(b"clightgbm.basic\nBooster\n)\x81}\x8c\x06handleX");
    bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(b"sbq\x01");
    bytes.extend(b"h\x01".repeat(2_000));
    bytes.extend(b"esb.");
    match load(&bytes, &limits()) {
        Err(LoadError::Limit { what, .. }) => assert_eq!(what, "bytes of compiled model"),
        other => panic!("{other:?}"),
    }
}
