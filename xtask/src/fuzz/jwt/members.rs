//! Headers and claims as text, which can be what no object is.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::fuzz::random::Random;

/// Members of an object as they are written, so that a name may be there twice.
pub(super) type Members = Vec<(String, String)>;

pub(super) fn members(all: &[(&str, Value)]) -> Members {
    let all = all.iter();
    all.map(|(name, value)| ((*name).to_owned(), value.to_string()))
        .collect()
}

pub(super) fn changed(random: &mut Random, object: &mut Members, names: &[&str], values: &[&str]) {
    let name = random.word(names);
    let value = random.word(values);
    match object.iter().position(|(known, _)| known == name) {
        Some(at) if random.one_in(6) => drop(object.remove(at)),
        Some(at) => {
            if let Some((_, old)) = object.get_mut(at) {
                value.clone_into(old);
            }
        }
        None => object.push((name.to_owned(), value.to_owned())),
    }
}

pub(super) fn part(random: &mut Random, object: &Members) -> String {
    let all: Vec<String> = object
        .iter()
        .map(|(name, value)| format!("{}:{value}", Value::String(name.clone())))
        .collect();
    let mut text = format!("{{{}}}", all.join(","));
    if random.one_in(30) {
        text.push_str(random.word(&[" ", "\n", "{}", "\u{0}", ",", "]"]));
    }
    match random.below(40) {
        0 => URL_SAFE.encode(text),
        1 => STANDARD.encode(text),
        _ => URL_SAFE_NO_PAD.encode(text),
    }
}

pub(super) const URLS: [&str; 5] = [
    "https://evil.example/keys",
    "file:///dev/null",
    "http://127.0.0.1/",
    "exp",
    "DEF",
];

pub(super) const HEADERS: [&str; 26] = [
    r#""none""#,
    r#""None""#,
    r#""NONE""#,
    r#""""#,
    r#""HS256""#,
    r#""RS256""#,
    r#""RS512""#,
    r#""PS256""#,
    r#""ES256""#,
    r#""ES384""#,
    r#""EdDSA""#,
    r#""es256""#,
    r#"["ES256"]"#,
    "null",
    "1",
    r#""ec""#,
    r#""rsa""#,
    r#""ed""#,
    r#""stranger""#,
    r#""../../dev/null""#,
    r#""' OR 1=1 --""#,
    r#""ec\u0000""#,
    r#"{"kid":"ec"}"#,
    r#""at+jwt""#,
    r#""logout+jwt""#,
    r#""JWT""#,
];

pub(super) const CLAIMS: [&str; 36] = [
    r#""https://many.example""#,
    r#""https://one.example""#,
    r#""https://many.example/""#,
    r#""HTTPS://many.example""#,
    r#""https://unknown.example""#,
    r#"["https://many.example"]"#,
    r#""models""#,
    r#"["other","models"]"#,
    r#"["models",1]"#,
    r#""models other""#,
    "[]",
    "{}",
    "null",
    "true",
    "0",
    "-1",
    "1",
    "1e999",
    "1e15",
    "1e400",
    "18446744073709551615",
    "18446744073709551616",
    "9007199254740993",
    "1699999999",
    "1700000000",
    "1700000000.5",
    "1700000030",
    "1700000031",
    "1700000060",
    "1700000061",
    "1700000600",
    r#""1700000600""#,
    r#""1""#,
    r#""""#,
    r#""eve@example.com""#,
    r#""a\nb@example.com""#,
];
