//! Pages in both languages: what a browser and a screen reader find.

use http::{Request, StatusCode};

use super::bed::{Bed, Browser, PASSWORD, config, form, json, location, param, request, text};

/// Approval is asked for.
const SESSIONS: &str = "sessions: {ssoSharedWithDefault: all}\n";

const KOREAN: (&str, &str) = ("ui_locales", "fr ko-KR");

/// Checks what every page has, and that it speaks one language.
fn check(html: &str, tag: &str) {
    assert!(html.starts_with("<!doctype html>"), "{html}");
    assert!(html.contains(&format!("<html lang=\"{tag}\">")), "{html}");
    for once in ["<main ", "<h1>", "<header ", "<title>"] {
        assert_eq!(html.matches(once).count(), 1, "{once}: {html}");
    }
    assert!(
        !html.contains("<script") && !html.contains(" style="),
        "{html}"
    );
    for input in html.split("<input ").skip(1) {
        let input = input.split('>').next().unwrap();
        if input.contains("type=\"hidden\"") {
            continue;
        }
        let id = input
            .split("id=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        assert!(
            html.contains(&format!("<label for=\"{id}\">")),
            "no label: {input}"
        );
    }
    let (_, body) = html.split_once("<body").unwrap();
    let visible: String = body
        .split("<nav")
        .next()
        .unwrap()
        .split('<')
        .filter(|piece| !piece.starts_with("code lang=\"en\""))
        .filter_map(|piece| piece.split_once('>'))
        .map(|(_, text)| text)
        .collect();
    let korean = visible.chars().any(|c| ('가'..='힣').contains(&c));
    assert_eq!(korean, tag == "ko", "{visible}");
    if tag == "ko" {
        for word in [" the ", " to ", " is ", "Log ", "You "] {
            assert!(!visible.contains(word), "{word}: {visible}");
        }
    }
}

#[tokio::test]
async fn the_language_that_the_application_asks_for_goes_on_to_the_end() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    let mut asked = request();
    asked.push(KOREAN);
    let page = browser.start(&bed, &asked).await;
    let reply = browser.visit(&bed, &page).await;
    assert_eq!(reply.headers()["content-language"], "ko");
    check(&text(&reply), "ko");
    assert!(text(&reply).contains("로그인하면 <strong>Platform &#60;b&#62;</strong> 앱으로"));
    let wrong = browser.log_in(&bed, &page, "user@example.com", "x").await;
    check(&text(&wrong), "ko");
    assert!(text(&wrong).contains("이메일 또는 비밀번호가 맞지 않아요."));
    let reply = browser
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    let approval = location(&reply);
    let shown = browser.visit(&bed, &approval).await;
    check(&text(&shown), "ko");
    // Whoever begins again does so in the same language.
    bed.pass(86_400);
    let late = text(&browser.visit(&bed, &page).await);
    check(&late, "ko");
    assert!(late.contains("ui_locales=ko"), "{late}");
}

#[tokio::test]
async fn the_browser_and_the_person_choose_where_the_application_does_not() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;
    let get = |uri: &str, languages: &str| {
        let request = Request::get(uri).header("accept-language", languages);
        request.body(bytes::Bytes::new()).unwrap()
    };
    check(&text(&browser.visit(&bed, &page).await), "en");
    let german = browser.send(&bed, get(&page, "de, fr;q=0.5")).await;
    check(&text(&german), "en");
    let korean = browser
        .send(&bed, get(&page, "ko-KR,ko;q=0.9,en;q=0.8"))
        .await;
    check(&text(&korean), "ko");
    assert_eq!(korean.headers()["vary"], "Accept-Language");
    // The link at the foot leads to the same page in the other language, and stays with the login.
    let link = text(&korean);
    let link = link
        .split("<nav")
        .nth(1)
        .unwrap()
        .split("href=\"")
        .nth(1)
        .unwrap();
    let link = link.split('"').next().unwrap().replace("&#38;", "&");
    assert_eq!(param(&link, "req"), param(&page, "req"));
    check(&text(&browser.send(&bed, get(&link, "ko")).await), "en");
    let reply = browser
        .log_in(&bed, &link, "user@example.com", PASSWORD)
        .await;
    let shown = browser.send(&bed, get(&location(&reply), "ko")).await;
    check(&text(&shown), "en");
}

#[tokio::test]
async fn every_page_is_there_in_both_languages() {
    let bed = Bed::with(&config(SESSIONS));
    for tag in ["en", "ko"] {
        let mut browser = Browser::default();
        let mut asked = request();
        asked.extend([("ui_locales", tag), ("prompt", "consent")]);
        let page = browser.start(&bed, &asked).await;
        let mut shown = vec![browser.visit(&bed, &page).await];
        let reply = browser
            .log_in(&bed, &page, "user@example.com", PASSWORD)
            .await;
        shown.push(browser.visit(&bed, &location(&reply)).await);
        asked.retain(|(name, _)| *name != "prompt");
        asked.push(("prompt", "select_account"));
        let granted = form(&location(&reply), &[("approval", "approve")]);
        assert_eq!(
            browser.send(&bed, granted).await.status(),
            StatusCode::SEE_OTHER
        );
        let choice = browser.start(&bed, &asked).await;
        shown.push(browser.visit(&bed, &choice).await);
        for path in [
            "device",
            "logout",
            "nothing",
            "auth?client_id=x",
            "auth/local?req=x",
        ] {
            let separator = if path.contains('?') { '&' } else { '?' };
            let uri = format!("/dex/{path}{separator}ui_locales={tag}");
            shown.push(browser.visit(&bed, &uri).await);
        }
        for path in ["/dex/device/auth/verify_code", "/dex/keys"] {
            let posted = form(&format!("{path}?ui_locales={tag}"), &[("user_code", "X")]);
            shown.push(browser.send(&bed, posted).await);
        }
        for page in &shown {
            check(&text(page), tag);
        }
        assert!(shown.len() == 10 && !shown.iter().any(|page| page.status().is_server_error()));
    }
}

#[tokio::test]
async fn discovery_says_which_languages_there_are() {
    let bed = Bed::new();
    let reply = bed.get("/dex/.well-known/openid-configuration").await;
    let document = json(&reply);
    assert_eq!(
        document["ui_locales_supported"],
        serde_json::json!(["en", "ko"])
    );
}

#[tokio::test]
async fn forms_of_other_sites_are_refused_however_old_the_browser_is() {
    let bed = Bed::new();
    let mut browser = Browser::default();
    let page = browser.start(&bed, &request()).await;
    let wrong = [("login", "user@example.com"), ("password", "x")];
    for (headers, status) in [
        (
            vec![("sec-fetch-site", "same-origin"), ("origin", "null")],
            401,
        ),
        (vec![("sec-fetch-site", "none")], 401),
        (vec![("sec-fetch-site", "cross-site")], 403),
        (vec![("sec-fetch-site", "same-site")], 403),
        (
            vec![("origin", "https://evil.example"), ("host", "app.example")],
            403,
        ),
        (vec![("origin", "https://evil.example")], 403),
        (vec![("origin", "nonsense")], 403),
        (
            vec![("origin", "https://app.example"), ("host", "app.example")],
            401,
        ),
        (
            vec![("origin", "http://dex.auth.svc.cluster.local:5556")],
            401,
        ),
        (
            vec![
                ("origin", "https://app.example"),
                ("x-forwarded-host", "app.example"),
            ],
            401,
        ),
        // These say nothing; the state is bound to the browser.
        (vec![("origin", "null")], 401),
        (vec![], 401),
    ] {
        let mut posted = form(&page, &wrong);
        for (name, value) in &headers {
            posted.headers_mut().insert(*name, value.parse().unwrap());
        }
        let reply = browser.send(&bed, posted).await;
        assert_eq!(reply.status().as_u16(), status, "{headers:?}");
    }
    // The form for a device's code carries a token of its own.
    let form_page = text(&browser.visit(&bed, "/dex/device").await);
    let token = form_page.split("name=\"token\" value=\"").nth(1).unwrap();
    let token = token.split('"').next().unwrap().to_owned();
    let with = |token: &str| {
        let fields = [("user_code", "XXXX-XXXX"), ("token", token)];
        form("/dex/device/auth/verify_code", &fields)
    };
    let mut other = Browser::default();
    other.visit(&bed, "/dex/device").await;
    assert_eq!(
        other.send(&bed, with(&token)).await.status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        browser.send(&bed, with("")).await.status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        browser.send(&bed, with(&token)).await.status(),
        StatusCode::BAD_REQUEST
    );
}

/// RFC 9700 sections 4.2, 4.12 and 4.16, on every answer of a login.
#[tokio::test]
async fn nothing_is_framed_told_by_a_referrer_or_posted_on() {
    let bed = Bed::with(&config(""));
    let mut browser = Browser::default();
    let mut replies = vec![browser.ask(&bed, &request()).await];
    let page = location(&replies[0]);
    replies.push(browser.visit(&bed, &page).await);
    let wrong = browser.log_in(&bed, &page, "user@example.com", "wrong");
    replies.push(wrong.await);
    let right = browser.log_in(&bed, &page, "user@example.com", PASSWORD);
    replies.push(right.await);
    let approval = location(replies.last().unwrap());
    replies.push(browser.visit(&bed, &approval).await);
    let allow = form(&approval, &[("approval", "approve")]);
    replies.push(browser.send(&bed, allow).await);
    replies.push(browser.visit(&bed, "/dex/nothing").await);
    let mut pages = 0;
    for reply in &replies {
        let header = |name: &str| reply.headers()[name].to_str().unwrap();
        assert_eq!(header("referrer-policy"), "no-referrer");
        if reply.status().is_redirection() {
            assert!(matches!(reply.status().as_u16(), 302 | 303), "{reply:?}");
            continue;
        }
        pages += 1;
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(header("x-frame-options"), "DENY");
    }
    assert_eq!(pages, 4);
    // What came of a form is gone on to by GET.
    let posted = [&replies[3], &replies[5]];
    assert!(posted.iter().all(|reply| reply.status().as_u16() == 303));
}
