//! The table and the choice of a language.

use super::{Language, Part, Text, Unfit, Words, gaps, parts, replace};

fn both(key: &str) -> (String, String) {
    let mut all = Language::ALL.map(Words::of);
    let [english, korean] = &mut all;
    (
        english.text_mut(key).unwrap().to_string(),
        korean.text_mut(key).unwrap().to_string(),
    )
}

#[test]
fn every_text_is_there_in_every_language_with_the_same_gaps() {
    for key in Words::KEYS {
        let (english, korean) = both(key);
        assert!(
            !english.trim().is_empty() && !korean.trim().is_empty(),
            "{key}"
        );
        assert_eq!(gaps(&english), gaps(&korean), "{key}");
        assert!(english.is_ascii(), "{key}: {english}");
    }
}

/// The page that lists all texts.
#[test]
fn the_page_of_messages_has_every_text() {
    let mut page =
        "# Texts of the pages\n\nNames for `messages.en.yaml` and `messages.ko.yaml` of a \
                    [theme](provider.md#how-pages-look), and the texts that they replace.\n\n\
                    | name | English | Korean |\n|---|---|---|\n"
            .to_owned();
    for key in Words::KEYS {
        let (english, korean) = both(key);
        page.push_str(&format!("| `{key}` | {english} | {korean} |\n"));
    }
    let written = include_str!("../../../../docs/messages.md");
    assert!(written == page, "docs/messages.md should be:\n{page}");
}

/// Names of techniques that are the same in Korean.
const FOREIGN: &[&str] = &["PIN", "Sidegate"];

#[test]
fn korean_texts_are_korean_and_in_one_polite_form() {
    for key in Words::KEYS {
        let (_, korean) = both(key);
        let hangul = korean.chars().any(|c| ('가'..='힣').contains(&c));
        assert!(hangul, "{key}: {korean}");
        for part in parts(&korean) {
            let Part::Text(text) = part else { continue };
            let latin = text
                .split(|c: char| !c.is_ascii_alphabetic())
                .find(|word| !word.is_empty() && !FOREIGN.contains(word));
            assert_eq!(latin, None, "{key}: {korean}");
        }
        assert!(
            !korean.contains("니다") && !korean.contains("시오"),
            "{key}: {korean}"
        );
        for sentence in korean.split_inclusive(['.', '?']) {
            let sentence = sentence.trim();
            if let Some(body) = sentence.strip_suffix(['.', '?']) {
                assert!(body.ends_with('요'), "{key}: {sentence}");
            }
        }
    }
}

#[test]
fn the_application_asks_for_a_language_by_tags() {
    let check = |locales: &str, expected: Option<Language>| {
        assert_eq!(Language::of_locales(locales), expected, "{locales}");
    };
    check("ko", Some(Language::Korean));
    check("fr-FR ko-KR en", Some(Language::Korean));
    check("EN-us ko", Some(Language::English));
    check("  KO  ", Some(Language::Korean));
    check("", None);
    check("fr kok korean", None);
    check(&"xx ".repeat(5_000), None);
}

#[test]
fn the_browser_asks_for_a_language_by_weights() {
    let check = |header: &str, expected: Option<Language>| {
        assert_eq!(Language::of_accepted(header), expected, "{header}");
    };
    check(
        "ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7",
        Some(Language::Korean),
    );
    check("en;q=0.5, ko;q=0.501", Some(Language::Korean));
    check("fr, en;q=0.1", Some(Language::English));
    check("ko;q=0, *;q=0.1", Some(Language::English));
    check("ko;q=0", None);
    check(
        "ko;q=x, ko;q=2, ko;q=0.1234, en;q=1.000",
        Some(Language::English),
    );
    check("", None);
    check(";;;,,,=q", None);
}

#[test]
fn gaps_are_filled_and_nothing_else_is() {
    let words = Words::of(Language::English);
    let text = Text::new(|w| &w.too_many).with("seconds", 6);
    assert_eq!(text.say(&words), "Too many attempts. Try again in 6 s.");
    let sly = Text::new(|w| &w.log_in_to).with("client", "{client} {seconds}");
    assert_eq!(sly.say(&words), "to continue to {client} {seconds}");
    assert_eq!(
        parts("a {b} { {C} {d"),
        [Part::Text("a "), Part::Gap("b"), Part::Text(" { {C} {d"),]
    );
    assert_eq!(gaps("{b}{a}{b}"), ["a", "b"]);
}

#[test]
fn a_theme_replaces_texts_that_exist_with_texts_that_fit() {
    let mut words = Words::of(Language::English);
    replace(&mut words, "log_in", "Sign in".to_owned()).unwrap();
    assert_eq!(words.log_in, "Sign in");
    let unknown = replace(&mut words, "log_inn", String::new());
    assert_eq!(unknown, Err(Unfit::Unknown));
    let gapless = replace(&mut words, "too_many", "Slow down.".to_owned());
    assert_eq!(gapless, Err(Unfit::Gaps(vec!["seconds".to_owned()])));
}
