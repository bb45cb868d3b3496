use proptest::prelude::*;
use serde_json::json;

use super::*;

fn token(header: &str, payload: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.AA", encode(header), encode(payload))
}

fn check(header: &str, payload: &str, expected: Result<(), JwtError>) {
    let text = token(header, payload);
    let found = Unverified::parse(&text, MAX_BEARER_BYTES).map(|_| ());
    assert_eq!(found, expected, "{header} {payload}");
}

#[test]
fn headers_are_read_strictly() {
    let rs = r#"{"alg":"RS256"}"#;
    check(rs, "{}", Ok(()));
    check(r#"{"alg":"ES256","kid":"x","typ":"JWT"}"#, "{}", Ok(()));
    check(r#"{"alg":"RS256","typ":"at+jwt","x5t":"y"}"#, "{}", Ok(()));
    for name in [
        "none", "None", "HS256", "HS512", "ES512", "ES256K", "rs256", "",
    ] {
        check(
            &json!({ "alg": name }).to_string(),
            "{}",
            Err(JwtError::Algorithm),
        );
    }
    check(r#"{"alg":["RS256"]}"#, "{}", Err(JwtError::Algorithm));
    check("{}", "{}", Err(JwtError::Algorithm));
    for name in REFUSED_HEADERS {
        let header = json!({ "alg": "RS256", name: "x" }).to_string();
        check(&header, "{}", Err(JwtError::Header(name)));
    }
    for kind in [
        json!("logout+jwt"),
        json!("dpop+jwt"),
        json!(1),
        json!(null),
    ] {
        let header = json!({ "alg": "RS256", "typ": kind }).to_string();
        check(&header, "{}", Err(JwtError::Header("typ")));
    }
    let kid = || JwtError::Malformed("its `kid` is not a short string");
    check(r#"{"alg":"RS256","kid":1}"#, "{}", Err(kid()));
    let long = json!({"alg": "RS256", "kid": "k".repeat(257)}).to_string();
    check(&long, "{}", Err(kid()));
    let twice = r#"{"sub":"a","sub":"b"}"#;
    check(
        rs,
        twice,
        Err(JwtError::Malformed("its payload is not one JSON object")),
    );
    check(
        rs,
        "{} {}",
        Err(JwtError::Malformed("its payload is not one JSON object")),
    );
    check(
        rs,
        "[]",
        Err(JwtError::Malformed("its payload is not one JSON object")),
    );
    let deep = "[".repeat(3000);
    check(
        rs,
        &deep,
        Err(JwtError::Malformed("its payload is not one JSON object")),
    );
    let nested = format!("{{\"a\":{}1{}}}", "[".repeat(1000), "]".repeat(1000));
    check(
        rs,
        &nested,
        Err(JwtError::Malformed("its payload is not one JSON object")),
    );
}

#[test]
fn key_documents_are_read_with_bounds() {
    let key = |kid: &str| json!({"kty": "RSA", "kid": kid, "n": URL_SAFE_NO_PAD.encode([0xc5; 256]), "e": "AQAB"});
    let count = |document: serde_json::Value| {
        KeySet::parse(document.to_string().as_bytes()).map(|keys| keys.len())
    };
    assert_eq!(count(json!({"keys": [key("a"), key("b")]})), Some(2));
    assert_eq!(
        count(json!({"keys": (0..1000).map(|at| key(&at.to_string())).collect::<Vec<_>>()})),
        Some(64)
    );
    assert_eq!(count(json!({"keys": []})), Some(0));
    assert_eq!(count(json!({})), None);
    assert_eq!(count(json!([])), None);
    let with = |name: &str, value: serde_json::Value| {
        let mut key = key("a");
        key[name] = value;
        count(json!({ "keys": [key] }))
    };
    assert_eq!(with("use", json!("sig")), Some(1));
    assert_eq!(with("use", json!("enc")), Some(0));
    assert_eq!(with("alg", json!("RS256")), Some(1));
    assert_eq!(with("alg", json!("PS512")), Some(1));
    assert_eq!(with("alg", json!("HS256")), Some(0));
    assert_eq!(with("alg", json!("none")), Some(0));
    assert_eq!(with("alg", json!("ES256")), Some(0));
    assert_eq!(with("kty", json!("oct")), Some(0));
    assert_eq!(with("n", json!("")), Some(0));
    assert_eq!(with("n", json!(7)), Some(0));
    assert_eq!(with("n", json!("A".repeat(100_000))), Some(0));
    assert_eq!(with("kid", json!(7)), Some(0));
    let point = json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode([1; 32]), "y": URL_SAFE_NO_PAD.encode([1; 32])});
    assert_eq!(
        count(json!({ "keys": [point] })),
        Some(0),
        "not on the curve"
    );
}

#[test]
fn two_keys_of_one_id_and_no_id_among_two_are_no_key() {
    let key = |kid: &str| json!({"kty": "RSA", "kid": kid, "n": URL_SAFE_NO_PAD.encode([0xc5; 256]), "e": "AQAB"});
    let find = |keys: &[&str], kid: Option<&str>| {
        let keys: Vec<_> = keys.iter().map(|kid| key(kid)).collect();
        let keys = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
        keys.verify(Algorithm::Rs256, kid, b"x", &[0; 256])
            .unwrap_err()
    };
    assert_eq!(find(&["a", "b"], Some("a")), JwtError::Signature);
    assert_eq!(find(&["a", "a"], Some("a")), JwtError::UnknownKey);
    assert_eq!(find(&["a", "b"], None), JwtError::UnknownKey);
    assert_eq!(find(&["a"], None), JwtError::Signature);
    assert_eq!(find(&["a"], Some("c")), JwtError::UnknownKey);
}

proptest! {
    #[test]
    fn no_text_makes_it_stumble(text in ".{0,200}", header in ".{0,80}", payload in ".{0,80}") {
        prop_assert!(Unverified::parse(&text, MAX_BEARER_BYTES).is_err());
        let text = token(&header, &payload);
        prop_assert!(Unverified::parse(&text, MAX_BEARER_BYTES).is_err());
    }

    #[test]
    fn no_key_document_makes_it_stumble(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(keys) = KeySet::parse(&bytes) {
            prop_assert!(keys.is_empty());
        }
    }
}

/// CVE-2022-21449: r = s = 0 verified for every message; nor do other lengths
/// and encodings stand for a signature (RFC 7518, 3.4).
#[test]
fn an_ecdsa_signature_of_zeros_is_none() {
    // The base point of P-256 (SEC 2, 2.4.2), and the order of its group.
    let point = |hex: &str| {
        let digits: Vec<u8> = hex
            .as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect();
        URL_SAFE_NO_PAD.encode(digits)
    };
    let x = point("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296");
    let y = point("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5");
    let key = json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y});
    let keys = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut one = [0; 64];
    one[31] = 1;
    one[63] = 1;
    let der = [0x30, 6, 2, 1, 1, 2, 1, 1];
    for signature in [
        &[0; 64][..],
        &[0; 63],
        &[0; 65],
        &[],
        &[order, order].concat(),
        &[[0; 32], order].concat(),
        &one,
        &der,
    ] {
        let found = keys.verify(Algorithm::Es256, Some("k"), b"x", signature);
        assert_eq!(found.unwrap_err(), JwtError::Signature, "{signature:?}");
    }
}
