//! Files of skops: the same answers as from the estimators that it reads from them, and files that are damaged.

use crate::archive::{Case, skops};
use crate::boosted::{limits, refusal};
use crate::replay::{Measured, bound, document, replay, replay_all};
use models::{Input, Limits, Matrix, Precision, load};
use rawzip::{CompressionMethod, ZipArchiveWriter};
use std::io::Write;

/// Twice what is let pass for pickles, whose luckier sums are cases of their own; more for a network whose layers cancel, for
/// which scikit-learn itself answers 24 units apart for a row alone and among others.
fn let_pass(case: &Case, precision: Precision) -> f64 {
    match case.name.starts_with("MLP") {
        true => 32.0,
        false => 2.0 * bound(case, precision),
    }
}

#[test]
fn files_of_skops_are_answered_as_by_what_skops_reads() {
    let cases = skops();
    assert!(cases.len() >= 300, "only {} models", cases.len());
    let distances = replay_all(&cases, |case| {
        let (model, distance) = replay(case, let_pass)?;
        let (_, sklearn) = case.version.split_once('+').unwrap();
        match model.about().sklearn_version.as_deref() {
            None => assert!(!model.about().class.starts_with("sklearn.")),
            Some(version) => assert_eq!(version, sklearn),
        }
        Ok(distance)
    });
    let mut measured = Measured::default();
    for (case, distance) in cases.iter().zip(distances) {
        measured.enter(&case.writing, &case.version, distance);
    }
    document("measured skops", "compression", &measured);
}

/// Some of the cases are enough for a test that anyone runs.
fn some() -> impl Iterator<Item = Case> {
    skops().into_iter().step_by(9)
}

#[test]
fn a_truncated_file_of_skops_is_an_error() {
    for case in some() {
        for length in (0..case.bytes.len()).step_by(1 + case.bytes.len() / 100) {
            let cut = load(&case.bytes[..length], &Limits::default());
            assert!(cut.is_err(), "{} at {length}", case.name);
        }
    }
}

/// An archive with one of its files exchanged, without the checksums of the old one.
fn with_flipped(case: &Case, next: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    let archive = rawzip::ZipArchive::from_slice(case.bytes.as_slice()).unwrap();
    let mut entries = archive.entries();
    let mut files = Vec::new();
    while let Some(entry) = entries.next_entry().unwrap() {
        let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
        let data = archive
            .get_entry(entry.wayfinder())
            .unwrap()
            .data()
            .to_vec();
        files.push((name, data));
    }
    let chosen = next(files.len());
    for _ in 0..3 {
        // Half of the time in the description, the rest in an array.
        let at = if next(2) == 0 {
            files.len() - 1
        } else {
            chosen
        };
        let data = &mut files[at].1;
        let (place, bit) = (next(data.len().max(1)), next(8));
        if let Some(byte) = data.get_mut(place) {
            *byte ^= 1 << bit;
        }
    }
    let files: Vec<_> = files
        .iter()
        .map(|(name, data)| (name.as_str(), data.as_slice()))
        .collect();
    archive_of(&files)
}

#[test]
fn flipped_bits_of_a_file_of_skops_do_no_harm() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % bound
    };
    let mut read = 0;
    for case in skops().into_iter().filter(|case| case.writing == "stored") {
        for _ in 0..4 {
            let bytes = with_flipped(&case, &mut next);
            if let Ok(model) = load(&bytes, &Limits::default()) {
                read += 1;
                for (given, _) in &case.asked {
                    let input: Input<'_> = given.input();
                    let _ = model.predict(input);
                    let _ = model.predict_proba(input);
                    let _ = model.transform(input);
                }
            }
        }
    }
    assert!(read > 50, "only {read} files could be read after all");
}

fn archive_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut out);
    for (name, data) in files {
        let (mut entry, config) = archive.new_file(name).start().unwrap();
        let mut writer = config.wrap(&mut entry);
        writer.write_all(data).unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    out
}

fn described(state: &str) -> Vec<u8> {
    let schema = format!("{{\"protocol\": 2, {state}}}");
    archive_of(&[("schema.json", schema.as_bytes())])
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let check = |state: &str, what: &str| {
        let found = refusal(&described(state));
        assert!(found.contains(what), "{found}");
    };
    let node = |loader: &str, module: &str, class: &str| {
        format!(r#""__loader__": "{loader}", "__module__": "{module}", "__class__": "{class}""#)
    };
    check(
        &node("TypeNode", "os", "system"),
        "`os.system` at `model` is not supported",
    );
    check(
        &format!(
            r#"{}, "content": {{{}, "content": {{"steps": {{{}, "content": [{{{}}}]}}}}, "key_types": {{{}, "content": [{{{}}}]}}}}"#,
            node("ObjectNode", "sklearn.pipeline", "Pipeline"),
            node("DictNode", "builtins", "dict"),
            node("ListNode", "builtins", "list"),
            node("FunctionNode", "subprocess", "call"),
            node("ListNode", "builtins", "list"),
            node("TypeNode", "builtins", "str"),
        ),
        "`subprocess.call` at `steps[0]` is not supported",
    );
    check(
        &node("QuantileForestNode", "quantile_forest", "X"),
        "found a state for the loader `QuantileForestNode`",
    );
    check(
        &format!(
            r#"{}, "content": {{"a": 1}}, "key_types": {{{}, "content": []}}"#,
            node("DictNode", "builtins", "dict"),
            node("ListNode", "builtins", "list")
        ),
        "found 0 types for the 1 keys of a dict",
    );
    check(
        &format!(r#"{}, "content": "x""#, node("JsonNode", "builtins", "str")),
        "found a value that is no number and no text",
    );
    check(
        &format!(
            r#"{}, "type": "numpy", "file": "a.npy""#,
            node("NdArrayNode", "numpy", "ndarray")
        ),
        "expected the file `a.npy` in it",
    );
    check(r#""a": 1"#, "expected a member `__loader__`");
}

#[test]
fn archives_of_another_kind_are_refused() {
    let check = |bytes: &[u8], what: &str| {
        let found = refusal(bytes);
        assert!(found.contains(what), "{found}");
    };
    check(b"PK\x03\x04", "the zip archive is damaged");
    check(
        &archive_of(&[("data.pkl", b"")]),
        "expected the file `schema.json` in it",
    );
    check(
        &archive_of(&[("schema.json", br#"{"protocol": 3}"#)]),
        "found protocol 3, expected 0 to 2 in `schema.json`",
    );
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    check(&described(&format!("\"a\": {deep}")), "too deeply nested");
}

/// A small file that would be large in memory, alone and named by many states.
#[test]
fn decompression_is_bounded() {
    let zeros = vec![0_u8; 2 << 20];
    let mut bytes = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut bytes);
    let (mut entry, config) = archive
        .new_file("schema.json")
        .compression_method(CompressionMethod::DEFLATE)
        .start()
        .unwrap();
    let deflate = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::best());
    let mut writer = config.wrap(deflate);
    writer.write_all(&zeros).unwrap();
    let (deflate, descriptor) = writer.finish().unwrap();
    deflate.finish().unwrap();
    entry.finish(descriptor).unwrap();
    archive.finish().unwrap();
    assert!(bytes.len() < 10_000);
    let found = refusal(&bytes);
    assert!(
        found.contains("more than 1048576 decompressed bytes"),
        "{found}"
    );
}

#[test]
fn a_small_model_is_read() {
    // `DummyRegressor(constant=2.5)` without what does not matter.
    let state = r#""__loader__": "ObjectNode", "__module__": "sklearn.dummy", "__class__": "DummyRegressor",
        "content": {"__loader__": "DictNode", "__module__": "builtins", "__class__": "dict",
            "key_types": {"__loader__": "ListNode", "__module__": "builtins", "__class__": "list", "content": [
                {"__loader__": "TypeNode", "__module__": "builtins", "__class__": "str", "__id__": 7},
                {"__loader__": "TypeNode", "__module__": "builtins", "__class__": "str", "__id__": 7},
                {"__loader__": "TypeNode", "__module__": "builtins", "__class__": "str", "__id__": 7},
                {"__loader__": "TypeNode", "__module__": "builtins", "__class__": "str", "__id__": 7}]},
            "content": {
                "n_features_in_": {"__loader__": "JsonNode", "__module__": "builtins", "__class__": "str", "content": "2"},
                "n_outputs_": {"__loader__": "JsonNode", "__module__": "builtins", "__class__": "str", "content": "1"},
                "_sklearn_version": {"__loader__": "JsonNode", "__module__": "builtins", "__class__": "str", "content": "\"1.5.2\""},
                "constant_": {"__loader__": "NdArrayNode", "__module__": "numpy", "__class__": "ndarray", "type": "numpy", "file": "1.npy"}}}"#;
    let npy =
        b"\x93NUMPY\x01\x00\x3c\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }\n";
    let npy = [npy.as_slice(), &2.5_f64.to_le_bytes()].concat();
    let schema = format!("{{\"protocol\": 0, {state}}}");
    let bytes = archive_of(&[("1.npy", &npy), ("schema.json", schema.as_bytes())]);
    let model = load(&bytes, &limits()).unwrap();
    let rows = Matrix::new(vec![0.0; 4], 2, 2, Precision::Double).unwrap();
    let models::Output::Values(values, _) = model.predict(&rows).unwrap() else {
        panic!("no values");
    };
    assert_eq!(values, [2.5, 2.5]);
    // The same inside of one with more columns than anybody could send.
    let outer = format!(
        r#""__loader__": "ObjectNode", "__module__": "sklearn.multioutput", "__class__": "MultiOutputRegressor",
        "content": {{"__loader__": "DictNode", "__module__": "builtins", "__class__": "dict",
            "key_types": {{"__loader__": "ListNode", "__module__": "builtins", "__class__": "list", "content": [
                {{"__loader__": "TypeNode", "__module__": "builtins", "__class__": "str", "__id__": 7}},
                {{"__loader__": "TypeNode", "__module__": "builtins", "__class__": "str", "__id__": 7}},
                {{"__loader__": "TypeNode", "__module__": "builtins", "__class__": "str", "__id__": 7}}]}},
            "content": {{
                "n_features_in_": {{"__loader__": "JsonNode", "__module__": "builtins", "__class__": "str", "content": "4000000000"}},
                "_sklearn_version": {{"__loader__": "JsonNode", "__module__": "builtins", "__class__": "str", "content": "\"1.5.2\""}},
                "estimators_": {{"__loader__": "ListNode", "__module__": "builtins", "__class__": "list", "content": [{{{state}}}]}}}}}}"#
    );
    let schema = format!("{{\"protocol\": 0, {outer}}}");
    let bytes = archive_of(&[("1.npy", &npy), ("schema.json", schema.as_bytes())]);
    let found = refusal(&bytes);
    assert!(
        found.contains("passes the limit of 67108864 columns"),
        "{found}"
    );
}
