//! What an attacker tries, many times.

use std::collections::BTreeSet;

use http::{Request, StatusCode};

use super::bed::{Bed, Browser, PASSWORD, encode, location, param, request};

fn changed<'a>(
    params: &[(&'a str, &'a str)],
    name: &'a str,
    value: &'a str,
) -> Vec<(&'a str, &'a str)> {
    let others = params.iter().copied().filter(|(known, _)| *known != name);
    others.chain([(name, value)]).collect()
}

/// Addresses that are almost the registered ones, in every way that parsers disagree about.
fn hostile() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let registered = ["/oauth2/callback", "https://app.example/cb?x=1"];
    for good in registered {
        for (at, character) in good.char_indices() {
            let (before, after) = good.split_at(at);
            let rest = after.strip_prefix(character).unwrap();
            // Another case, percent signs, doubled, left out, and with something in between.
            let other = if character.is_ascii_lowercase() {
                character.to_ascii_uppercase()
            } else {
                character.to_ascii_lowercase()
            };
            all.insert(format!("{before}{other}{rest}"));
            all.insert(format!("{before}%{:02x}{rest}", u32::from(character)));
            all.insert(format!("{before}%{:02X}{rest}", u32::from(character)));
            all.insert(format!("{before}{character}{character}{rest}"));
            all.insert(format!("{before}{rest}"));
            for between in ["\t", "\n", " ", "\\", "\u{200b}", "/./", "/../", ";", "%00"] {
                all.insert(format!("{before}{between}{after}"));
            }
        }
        for end in [
            "/",
            "?",
            "#",
            "&",
            "?y=1",
            "#x",
            "/..",
            "/../",
            "%2f",
            "%2e%2e",
            "..;/",
            ";a=b",
            "\\",
            "\0",
            "%0d%0aset-cookie:a=b",
            "@evil.example",
            ".evil.example",
            ":443",
            "*",
            " ",
            "\u{ff0f}",
        ] {
            all.insert(format!("{good}{end}"));
        }
        for start in [
            "/",
            "//",
            "\\",
            "/\\",
            "//evil.example",
            "https://evil.example",
            "http:",
            "javascript:",
            "data:text/html,",
            " ",
            "\t",
            "https:evil.example",
            "https:///evil.example",
            "https:\\\\evil.example",
            "//evil.example%00",
            "///",
        ] {
            all.insert(format!("{start}{good}"));
        }
    }
    for host in [
        "evil.example",
        "app.example.evil.example",
        "app.example@evil.example",
        "evil.example#app.example",
        "evil.example?app.example",
        "evil.example\\app.example",
        "app.example:443",
        "app.example:80",
        "app.example.",
        "APP.example",
        "a\u{440}p.example",
        "[::1]",
        "127.0.0.1",
        "localhost",
        "0x7f.1",
        "app.example%2eevil.example",
        "user:pass@app.example",
        "app.example:@evil.example",
    ] {
        for scheme in ["https", "http", "HTTPS", "ftp", "custom", "https:"] {
            all.insert(format!("{scheme}://{host}/cb?x=1"));
        }
    }
    for good in registered {
        all.remove(good);
    }
    all
}

/// RFC 9700 sections 2.1 and 4.1: whole strings are compared, and nothing is sent where nobody registered.
#[tokio::test]
async fn no_hostile_redirect_uri_is_followed() {
    let bed = Bed::new();
    let hostile = hostile();
    assert!(hostile.len() >= 500, "{}", hostile.len());
    for uri in &hostile {
        for kind in ["code", "token"] {
            let params = changed(
                &changed(&request(), "redirect_uri", uri),
                "response_type",
                kind,
            );
            let reply = bed.get(&format!("/dex/auth?{}", encode(&params))).await;
            assert_eq!(reply.status(), StatusCode::BAD_REQUEST, "{uri:?}");
            assert!(reply.headers().get("location").is_none(), "{uri:?}");
            assert!(reply.headers().get("set-cookie").is_none(), "{uri:?}");
        }
    }
}

/// RFC 9207: an application that talks to several providers sees whose answer it is, also of errors.
#[tokio::test]
async fn every_answer_to_an_application_names_its_issuer() {
    let bed = Bed::new();
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;
    let good = browser
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    let issuer = bed.provider.config().issuer.url().to_owned();
    assert_eq!(param(&location(&good), "iss").as_ref(), Some(&issuer));
    for (name, value) in [
        ("response_type", "token"),
        ("scope", "unknown"),
        ("prompt", "x"),
        ("request", "x"),
    ] {
        let params = changed(&request(), name, value);
        let reply = bed.get(&format!("/dex/auth?{}", encode(&params))).await;
        assert_eq!(reply.status(), StatusCode::SEE_OTHER, "{name}");
        assert!(param(&location(&reply), "error").is_some(), "{name}");
        assert_eq!(
            param(&location(&reply), "iss").as_ref(),
            Some(&issuer),
            "{name}"
        );
    }
}

/// Attempts that arrive together are counted together: none slips through between counting and checking.
#[tokio::test]
async fn guesses_at_once_are_limited_as_those_after_each_other() {
    let bed = Bed::new();
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;
    let cookie: Vec<String> = browser
        .cookies
        .iter()
        .map(|(n, v)| format!("{n}={v}"))
        .collect();
    let attempts = (0..100).map(|number| {
        let body = encode(&[
            ("login", "user@example.com"),
            ("password", &format!("guess {number}")),
        ]);
        let request = Request::post(&page)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", cookie.join("; "))
            .body(body.into())
            .unwrap();
        let provider = bed.provider.clone();
        tokio::spawn(async move { provider.handle(request).await.status() })
    });
    let mut statuses = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        statuses.push(attempt.await.unwrap());
    }
    let looked_at = statuses
        .iter()
        .filter(|status| **status == StatusCode::UNAUTHORIZED)
        .count();
    assert!(looked_at <= 10, "{looked_at} guesses were looked at");
    assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS));
    assert!(bed.provider.password_checks() <= 10);
}
