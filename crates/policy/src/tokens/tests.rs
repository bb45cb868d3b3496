use super::*;

#[test]
fn reasons() {
    let other = || Fault::Other("bad".into());
    for (before, next, expected) in [
        (Fault::Missing, Fault::Issuer, Fault::Issuer),
        (Fault::Issuer, Fault::Missing, Fault::Issuer),
        (Fault::Audience, Fault::Issuer, Fault::Audience),
        (Fault::Audience, other(), other()),
        (other(), Fault::Audience, Fault::Audience),
    ] {
        assert_eq!(prefer(before, next), expected);
    }
}

#[test]
fn claims_as_headers() {
    for (json, expected) in [
        (r#""a b""#, Some("a b")),
        (r#""""#, None),
        ("true", Some("true")),
        ("7", Some("7")),
        ("7.0", Some("7")),
        ("-1", Some("-1.000000")),
        ("1.5", Some("1.500000")),
        (r#"["a"]"#, Some("WyJhIl0=")),
        ("null", None),
    ] {
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(header_text(&value).as_deref(), expected, "{json}");
    }
}
