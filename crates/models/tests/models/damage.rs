//! Small files of every format, cut behind each of their bytes and with each of their bits flipped.

use crate::archive::{Case, boosted, cases, skops};
use models::{Limits, Predictor, load};
use std::collections::{BTreeMap, BTreeSet};

/// The smallest files of each format, of so many different estimators or objectives.
fn smallest(count: usize) -> BTreeMap<String, Vec<Case>> {
    let pickles = cases().into_iter().map(|case| ("pickle".to_owned(), case));
    let archives = skops().into_iter().map(|case| ("skops".to_owned(), case));
    let boosters = boosted().into_iter().filter_map(|case| {
        let library = case.version.split('-').next().unwrap().to_owned();
        (library != "wrapped" && case.writing != "refused").then_some((library, case))
    });
    let mut all: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for (library, case) in pickles.chain(archives).chain(boosters) {
        let format = format!("{library} {}", case.writing);
        all.entry(format).or_default().push(case);
    }
    for files in all.values_mut() {
        files.sort_by_key(|case| case.bytes.len());
        let mut kinds = BTreeSet::new();
        files.retain(|case| kinds.len() < count && kinds.insert(case.kind().to_owned()));
    }
    all
}

/// Everything that the model says about what it was asked, with all digits.
fn answers(model: &Predictor, case: &Case) -> Vec<String> {
    let inputs = case.asked.iter().map(|(given, _)| given.input());
    let said = inputs.map(|input| {
        let (classes, proba) = (model.predict(input), model.predict_proba(input));
        let (decision, rows) = (model.decision_function(input), model.transform(input));
        format!(
            "{:?} {classes:?} {proba:?} {decision:?} {rows:?}",
            model.classes()
        )
    });
    said.collect()
}

/// What a damaged file of a case is: refused, as it was, or another model.
#[derive(Debug, PartialEq, Eq)]
enum Damaged {
    Refused,
    Same,
    Other,
}

fn judge(bytes: &[u8], case: &Case, expected: &[String]) -> Damaged {
    match load(bytes, &Limits::default()) {
        Err(_) => Damaged::Refused,
        Ok(model) if answers(&model, case) == expected => Damaged::Same,
        Ok(_) => Damaged::Other,
    }
}

fn whole(case: &Case) -> Vec<String> {
    answers(&load(&case.bytes, &Limits::default()).unwrap(), case)
}

#[test]
fn a_file_that_is_cut_is_refused_or_says_the_same() {
    let formats = smallest(5);
    assert!(formats.len() >= 23, "{:?}", formats.keys());
    let mut looked = 0;
    for (format, files) in &formats {
        for case in files.iter().filter(|case| case.bytes.len() < 4000) {
            let expected = whole(case);
            for length in 0..case.bytes.len() {
                let found = judge(&case.bytes[..length], case, &expected);
                let tail = match format.as_str() {
                    // Attributes that change nothing stand behind the model.
                    "xgboost deprecated" => true,
                    // So do parameters, and the categories of text, which these cases have not.
                    "lightgbm text" => true,
                    // What can be missing of these is what only ends them or says that all is well.
                    format => format.starts_with("pickle joblib "),
                };
                let fits = found == Damaged::Refused || (tail && found == Damaged::Same);
                assert!(fits, "{format}, {case} cut at {length}: {found:?}");
                looked += 1;
            }
        }
    }
    assert!(looked > 30_000, "only {looked} files");
}

/// A single bit is all that the checksums of these formats have to find, so none of them becomes another model.
#[test]
fn a_flipped_bit_is_found_where_there_is_a_checksum() {
    let formats = smallest(1);
    let mut looked = 0;
    for format in [
        "pickle joblib zlib",
        "pickle joblib gzip",
        "pickle joblib bz2",
        "pickle joblib xz",
        "skops stored",
        "skops deflate",
        "skops bzip2",
        "skops lzma",
    ] {
        let case = &formats[format][0];
        let expected = whole(case);
        let mut bytes = case.bytes.clone();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                let found = judge(&bytes, case, &expected);
                assert!(
                    found != Damaged::Other,
                    "{format}, {case}: bit {bit} of byte {at}"
                );
                bytes[at] ^= 1 << bit;
                looked += 1;
            }
        }
    }
    assert!(looked > 20_000, "only {looked} files");
}
