//! Themes that are taken, and those that are not.

use super::contrast::{PAIRS, palettes, ratio};
use super::look::STYLE;
use super::{Look, Theme, style};
use crate::config::{Frontend, Scheme};
use crate::words::Language;

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn load(files: &[(&str, &[u8])]) -> Result<Theme, String> {
    Theme::load(folder(files).path()).map_err(|error| error.to_string())
}

#[test]
fn the_palette_can_be_read_in_light_and_dark() {
    for (palette, when) in palettes(STYLE).iter().zip(["light", "dark"]) {
        for (front, back, least) in PAIRS {
            let ratio = ratio(palette, front, back)
                .unwrap_or_else(|| panic!("{front} on {back} in the {when}: expected hex colours"));
            assert!(
                ratio >= least,
                "{front} on {back}: {ratio:.2} in the {when}"
            );
        }
    }
}

#[test]
fn contrast_is_that_of_the_guidelines() {
    let palette = |front: &str, back: &str| {
        vec![
            ("--a".to_owned(), front.to_owned()),
            ("--b".to_owned(), back.to_owned()),
        ]
    };
    let check = |front: &str, back: &str, expected: f64| {
        let found = ratio(&palette(front, back), "--a", "--b").unwrap();
        assert!((found - expected).abs() < 0.005, "{front} {back}: {found}");
    };
    check("#000", "#fff", 21.0);
    check("#777777", "#ffffff", 4.48);
    check("#ffffff", "#767676", 4.54);
    assert_eq!(ratio(&palette("red", "#fff"), "--a", "--b"), None);
}

#[test]
fn a_whole_theme_is_taken() {
    let theme = load(&[
        (
            "style.css",
            b":root{--radius:.25rem} .card{background-image:url(data:image/png;base64,AA==)}",
        ),
        ("logo.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("favicon.ico", &[0, 0, 1, 0, 1]),
        (
            "messages.ko.yaml",
            "log_in: 들어가기\ntoo_many: '{seconds}초만 쉬어요.'\n".as_bytes(),
        ),
        ("..data", b"as volumes of a ConfigMap have it"),
    ])
    .unwrap();
    assert_eq!(theme.warnings(), [] as [&str; 0]);
    let frontend = Frontend {
        name: Some("Acme".to_owned()),
        scheme: Scheme::Light,
    };
    let look = Look::new(&frontend, &theme).unwrap();
    assert_eq!(look.words(Language::Korean).log_in, "들어가기");
    assert_eq!(look.words(Language::English).log_in, "Log in");
    assert!(look.style.contains("--radius:.25rem}") && look.style.contains("@media not all{"));
    assert!(look.logo.unwrap().starts_with("data:image/svg+xml;base64,"));
    let plain = Look::new(&Frontend::default(), &Theme::default()).unwrap();
    assert_ne!(plain.policy, look.policy);
    assert_eq!(
        (plain.name.as_str(), look.name.as_str()),
        ("Sidegate", "Acme")
    );
}

#[test]
fn what_is_no_theme_is_refused_with_the_name_of_the_file() {
    let large = vec![b' '; 64 * 1024 + 1];
    let check = |name: &str, content: &[u8], expected: &str| {
        let error = load(&[(name, content)]).unwrap_err();
        assert!(error.contains(name) && error.contains(expected), "{error}");
    };
    check("styles.css", b"", "is no part of a theme");
    check("style.css", &large, "at most 64 KiB");
    check("style.css", b"\xff", "not UTF-8");
    check("style.css", b"a{}\n</style><script>", "line 2: `</`");
    check("logo.png", b"<svg/>", "is no PNG image");
    check("logo.svg", b"\x89PNG\r\n\x1a\n", "is no SVG image");
    check("favicon.ico", b"", "is no ICO image");
    check("messages.fr.yaml", b"", "expected `en` or `ko`");
    check(
        "messages.en.yaml",
        b"log_im: a",
        "`log_im`: there is no text",
    );
    check(
        "messages.en.yaml",
        b"too_many: Wait.",
        "expected `{seconds}` in it",
    );
    check("messages.en.yaml", b"log_in: '{seconds}'", "expected no `{");
    check("messages.en.yaml", b"log_in: ''", "1 to 500 characters");
    check("messages.en.yaml", b"log_in: \"a\\nb\"", "one line");
    check("messages.en.yaml", b"log_in: [", "");
    let two = load(&[("logo.svg", b"<svg/>"), ("logo.png", b"\x89PNG\r\n\x1a\n")]).unwrap_err();
    assert!(
        two.contains("logo.svg") && two.contains("second logo"),
        "{two}"
    );
    let missing = Theme::load(std::path::Path::new("no/such/theme")).unwrap_err();
    assert_eq!(missing.file, "no/such/theme");
    let twice = load(&[("messages.en.yaml", b"log_in: a\nlog_in: b")]).unwrap_err();
    assert!(twice.contains("messages.en.yaml"), "{twice}");
}

#[test]
fn stylesheets_that_would_load_or_hide_something_are_refused() {
    let bad = [
        "@import 'x.css';",
        "@IMPORT url(data:image/png,);",
        "a{background:url(https://x.example/a.png)}",
        "a{background:url( \"//x.example/a.png\")}",
        "a{background:u/**/rl(x)} b{background:url(x)}",
        "a{background:\\75rl(x)}",
        "a{background:image-set('a.png' 1x)}",
        "a{background:url(data:text/html,x)}",
        "a{} /* no end",
        "a{",
        "a{}<!-- x",
        "a{content:'\u{0}'}",
    ];
    for css in bad {
        assert!(style::check(css).is_err(), "{css}");
    }
    for css in [
        "",
        "a{color:#fff}/* url(x) @import */",
        "a{background:url('data:image/svg+xml,%3Csvg/%3E')}",
    ] {
        assert_eq!(style::check(css), Ok(()), "{css}");
    }
}

#[test]
fn a_theme_that_is_hard_to_read_gets_a_word() {
    let theme = load(&[(
        "style.css",
        b":root{--muted:#999}@media (prefers-color-scheme: dark){:root{--accent:#444}}",
    )])
    .unwrap();
    let all = theme.warnings().join("\n");
    assert!(
        all.contains("`--muted` on `--surface` has a contrast of 2.8 in the light"),
        "{all}"
    );
    assert!(
        all.contains("`--accent` on `--surface`") && all.contains("in the dark"),
        "{all}"
    );
}
