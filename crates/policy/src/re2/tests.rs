use super::*;

#[test]
fn what_re2_takes() {
    for (pattern, value, expected) in [
        (".*", "/any", true),
        ("/v1/{id}", "/v1/{id}", true),
        ("/v1/{id}", "/v1/7", false),
        ("/a{,3}", "/a{,3}", true),
        ("/a{2}", "/aa", true),
        ("/a{2,}?", "/aaa", true),
        (r"/\d+", "/42", true),
        (r"/\d+", "/\u{664}", false),
        (r"/\w+\s\W", "/a_1 !", true),
        (r"[\d\-x]+", "4-x", true),
        (r"[\D]", "4", false),
        (r"[^\w]", "!", true),
        (r"\Qa.b*\E.", "a.b*c", true),
        (r"\Qa.b*\E.", "axb*c", false),
        (r"\101\x42\x{43}", "ABC", true),
        (r"\0", "\0", true),
        (r"\<a\>", "<a>", true),
        (r"a\_b\ c", "a_b c", true),
        ("[a&&b]+", "a&b", true),
        ("[[a]+", "[a", true),
        ("[]a]+", "]a", true),
        ("[+--]+", "+,-", true),
        ("[a~~b-]+", "~-", true),
        ("[[:alpha:][:^digit:]]+", "ab!", true),
        (r"\pL\p{Greek}\P{L}", "aα1", true),
        (r"\p{^L}", "1", true),
        ("(?i)AbC", "aBc", true),
        ("(?i:a)B", "AB", true),
        ("(?P<x>a)(?<y>b)(?:c)", "abc", true),
        ("a|b", "b", true),
        ("a|b", "ab", false),
        ("^/a$", "/a", true),
        ("a b # c", "a b # c", true),
        ("}", "}", true),
        ("", "", true),
        (r"a\b-\bb", "a-b", true),
        (r"a\Bb", "ab", true),
        (r"a\B-", "a-", false),
        ("/(a|ab)(c|bcd)(d*)", "/abcd", true),
        ("[^a]+", "\u{20ac}", true),
        ("..", "\u{20ac}", false),
    ] {
        let regex = full_match(pattern).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(regex.is_match(value), expected, "{pattern} {value}");
    }
}

#[test]
fn what_re2_refuses() {
    for (pattern, expected) in [
        ("(?=a)", "look-ahead"),
        ("(?!a)", "look-ahead"),
        ("(?<=a)b", "look-behind"),
        ("(?<!a)b", "look-behind"),
        ("(?>a)", "`(?>`"),
        ("(?x)a", "`(?x`"),
        ("(?P=x)", "`(?P`"),
        (r"(a)\1", "back reference"),
        (r"\8", "the escape `\\8`"),
        (r"\Z", "the escape `\\Z`"),
        ("a**", "behind another repetition"),
        ("a++", "behind another repetition"),
        ("a{2}{3}", "behind another repetition"),
        ("a{1001}", "more than 1000 times"),
        ("(a{100}){11}", "nested repetitions"),
        ("((a{10}){10}b){11}", "nested repetitions"),
        ("a{3,2}", "the repetition"),
        ("*a", "nothing to repeat"),
        ("(|+)", "nothing to repeat"),
        ("{2}", "nothing to repeat"),
        ("(a", "without `)`"),
        ("a)|(b", "without `(`"),
        ("[a", "without `]`"),
        ("[z-a]", "the range"),
        ("[b--]", "the range"),
        ("[[:nope:]]", "the class"),
        ("a\\", "at the end"),
        (r"\xZZ", "escape"),
        (r"\x{110000}", "escape"),
    ] {
        let error = full_match(pattern).expect_err(pattern);
        assert!(error.contains(expected), "{pattern}: {error}");
        assert!(error.contains("Istio refuses"), "{pattern}: {error}");
    }
}

#[test]
fn what_only_re2_takes() {
    let error = full_match(r"a\Cb").unwrap_err();
    assert!(error.contains("not understood here"), "{error}");
}

#[test]
fn big_ones_are_refused_in_time() {
    let deep = format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(full_match(&deep).unwrap_err().contains("deeper"));
    let big = r"[\pL]{1000}".repeat(50);
    assert!(full_match(&big).unwrap_err().contains("KiB"));
}
