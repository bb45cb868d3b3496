//! Logout: by an application, by a person, and what applications are told.

use http::StatusCode;
use serde_json::Value;

use super::bed::{
    Bed, Browser, PASSWORD, config, encode, form, json, location, param, request, request_but, text,
};
use super::sessions::{SESSIONS, claims, id_token, log_in};

fn yaml() -> String {
    config(SESSIONS)
        .replace(
            "{id: platform,",
            "{id: platform, postLogoutRedirectURIs: ['https://app.example/bye?x=1'], \
             backchannelLogoutURI: 'http://app.internal/logout',",
        )
        .replace(
            "{id: peer,",
            "{id: peer, postLogoutRedirectURIs: ['https://peer.example/bye'], \
             backchannelLogoutURI: 'http://peer.internal/logout',",
        )
}

fn logout(params: &[(&str, &str)]) -> String {
    format!("/dex/logout?{}", encode(params))
}

fn is_logged_in(browser: &Browser) -> bool {
    browser.cookies.contains_key("sidegate_session")
}

/// Whether the session still gets codes.
async fn counts(bed: &Bed, browser: &Browser) -> bool {
    let reply = browser.clone().ask(bed, &request()).await;
    param(&location(&reply), "code").is_some()
}

#[tokio::test]
async fn an_application_logs_its_person_out() {
    let bed = Bed::with(&yaml());
    for post in [false, true] {
        let mut browser = Browser::default();
        let token = id_token(&bed, &log_in(&bed, &mut browser, "user@example.com").await).await;
        let held = browser.clone();
        assert!(is_logged_in(&held) && counts(&bed, &held).await);
        // An ID token that has expired is still a hint.
        bed.pass(3000);
        let params = [
            ("id_token_hint", token.as_str()),
            ("post_logout_redirect_uri", "https://app.example/bye?x=1"),
            ("state", "s&1"),
        ];
        let reply = if post {
            browser.send(&bed, form("/dex/logout", &params)).await
        } else {
            browser.visit(&bed, &logout(&params)).await
        };
        assert_eq!(location(&reply), "https://app.example/bye?x=1&state=s%261");
        assert!(!is_logged_in(&browser), "the cookie is taken away");
        assert!(!counts(&bed, &held).await, "and would not count");
        let reply = browser.visit(&bed, &logout(&params)).await;
        assert_eq!(reply.status(), StatusCode::SEE_OTHER, "twice does no harm");
    }
}

#[tokio::test]
async fn others_have_to_ask_the_person() {
    let bed = Bed::with(&yaml());
    let mut browser = Browser::default();
    log_in(&bed, &mut browser, "user@example.com").await;
    let foreign = id_token(
        &bed,
        &log_in(&bed, &mut Browser::default(), "other@example.com").await,
    )
    .await;
    // A session of the same person in another browser.
    let elsewhere = id_token(
        &bed,
        &log_in(&bed, &mut Browser::default(), "user@example.com").await,
    )
    .await;
    for params in [
        &[][..],
        &[("client_id", "platform")],
        &[("id_token_hint", &foreign)],
        &[("id_token_hint", &elsewhere)],
    ] {
        let reply = browser.visit(&bed, &logout(params)).await;
        assert_eq!(reply.status(), StatusCode::OK, "{params:?}");
        assert!(text(&reply).contains("Log out?"), "{params:?}");
        assert!(counts(&bed, &browser).await, "{params:?}");
    }
    let asked = logout(&[
        ("client_id", "platform"),
        ("post_logout_redirect_uri", "https://app.example/bye?x=1"),
    ]);
    let page = text(&browser.visit(&bed, &asked).await);
    let action = page
        .split_once("action=\"")
        .unwrap()
        .1
        .split_once('"')
        .unwrap()
        .0;
    let stay = browser.send(&bed, form(action, &[("logout", "no")])).await;
    assert!(text(&stay).contains("still logged in") && counts(&bed, &browser).await);
    let mut crossed = form(action, &[("logout", "yes")]);
    crossed
        .headers_mut()
        .insert("sec-fetch-site", "cross-site".parse().unwrap());
    assert_eq!(
        browser.send(&bed, crossed).await.status(),
        StatusCode::FORBIDDEN
    );
    let mut other = Browser::default();
    log_in(&bed, &mut other, "other@example.com").await;
    let reply = other.send(&bed, form(action, &[("logout", "yes")])).await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
    assert!(counts(&bed, &other).await && counts(&bed, &browser).await);
    let reply = browser.send(&bed, form(action, &[("logout", "yes")])).await;
    assert_eq!(location(&reply), "https://app.example/bye?x=1");
    assert!(!is_logged_in(&browser));
    let reply = browser.visit(&bed, "/dex/logout").await;
    assert!(text(&reply).contains("You are logged out"));
}

#[tokio::test]
async fn a_logout_leads_nowhere_unregistered() {
    let bed = Bed::with(&yaml());
    let mut browser = Browser::default();
    let token = id_token(&bed, &log_in(&bed, &mut browser, "user@example.com").await).await;
    let mut changed = token.clone().into_bytes();
    let middle = changed.len() - 10;
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    let uri = ("post_logout_redirect_uri", "https://app.example/bye?x=1");
    let hint = ("id_token_hint", token.as_str());
    for params in [
        &[
            hint,
            ("post_logout_redirect_uri", "https://app.example/bye"),
        ][..],
        &[
            hint,
            (
                "post_logout_redirect_uri",
                "https://app.example/bye?x=1&y=2",
            ),
        ],
        &[hint, ("post_logout_redirect_uri", "https://evil.example/")],
        &[
            hint,
            ("post_logout_redirect_uri", "https://peer.example/bye"),
        ],
        &[hint, ("post_logout_redirect_uri", "/oauth2/callback")],
        &[uri],
        &[("client_id", "peer"), uri],
        &[("client_id", "peer"), hint, uri],
        &[("client_id", "nobody"), uri],
        &[("id_token_hint", "a.b.c"), ("client_id", "platform"), uri],
        &[("id_token_hint", &changed), uri],
        &[hint, uri, uri],
    ] {
        let reply = browser.visit(&bed, &logout(params)).await;
        assert_eq!(reply.status(), StatusCode::BAD_REQUEST, "{params:?}");
        assert!(reply.headers().get("location").is_none(), "{params:?}");
        assert!(counts(&bed, &browser).await, "{params:?}");
    }
    for path in ["/dex/logout?state=%ff", "/dex/logout?req=AAAA"] {
        let request = form(path, &[("logout", "yes")]);
        assert_eq!(
            browser.send(&bed, request).await.status(),
            StatusCode::BAD_REQUEST
        );
    }
    assert!(counts(&bed, &browser).await);
}

#[tokio::test]
async fn what_does_not_outlive_the_session_ends_with_it() {
    let bed = Bed::with(&yaml());
    let mut browser = Browser::default();
    log_in(&bed, &mut browser, "user@example.com").await;
    let mut tokens = Vec::new();
    for scope in ["openid email", "openid offline_access"] {
        let params = super::bed::request_but("scope", scope);
        let code = param(&location(&browser.ask(&bed, &params).await), "code").unwrap();
        tokens.push(bed.redeem(&code).await.1);
    }
    let unused = param(
        &location(
            &browser
                .ask(&bed, &super::bed::request_but("scope", "openid"))
                .await,
        ),
        "code",
    )
    .unwrap();
    let hint = tokens[0]["id_token"].as_str().unwrap();
    browser
        .visit(&bed, &logout(&[("id_token_hint", hint)]))
        .await;
    let status = async |tokens: &Value| {
        bed.userinfo(tokens["access_token"].as_str().unwrap())
            .await
            .status()
    };
    assert_eq!(status(&tokens[0]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        status(&tokens[1]).await,
        StatusCode::OK,
        "access while away was allowed"
    );
    assert_eq!(bed.redeem(&unused).await.1["error"], "invalid_grant");
    let refresh = tokens[1]["refresh_token"].as_str().unwrap();
    let params = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    assert_eq!(bed.token(&params).await.0, StatusCode::OK);
}

#[tokio::test]
async fn applications_of_the_session_are_told() {
    let bed = Bed::with(&yaml());
    let document = json(&bed.get("/dex/.well-known/openid-configuration").await);
    assert_eq!(document["backchannel_logout_session_supported"], true);
    let mut browser = Browser::default();
    let token = id_token(&bed, &log_in(&bed, &mut browser, "user@example.com").await).await;
    let posts = || bed.posts.0.lock().unwrap().clone();
    browser
        .visit(&bed, &logout(&[("id_token_hint", &token)]))
        .await;
    tokio::task::yield_now().await;
    let [(uri, body)] = &posts()[..] else {
        panic!("{:?}", posts());
    };
    assert_eq!(
        uri, "http://app.internal/logout",
        "`peer` had no part in it"
    );
    let sent = body.strip_prefix("logout_token=").unwrap();
    let verified = super::flow::verified(&bed, sent, "platform");
    let (hint, now) = (claims(&token), &verified["iat"]);
    assert_eq!(
        verified["iss"],
        "http://dex.auth.svc.cluster.local:5556/dex"
    );
    assert_eq!(verified["aud"], "platform");
    assert_eq!(
        (&verified["sub"], &verified["sid"]),
        (&hint["sub"], &hint["sid"])
    );
    assert_eq!(verified["exp"], now.as_u64().unwrap() + 120);
    assert!(verified["jti"].as_str().unwrap().len() >= 22);
    assert_eq!(
        verified["events"],
        serde_json::json!({"http://schemas.openid.net/event/backchannel-logout": {}})
    );
    assert_eq!(verified["nonce"], Value::Null);
    let header = jsonwebtoken::decode_header(sent);
    assert!(header.is_ok_and(|header| header.typ.as_deref() == Some("logout+jwt")));
    // A logout token is nothing else.
    assert_eq!(bed.userinfo(sent).await.status(), StatusCode::UNAUTHORIZED);
    let reply = browser
        .visit(&bed, &logout(&[("id_token_hint", sent)]))
        .await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn another_person_in_the_same_browser_ends_the_session() {
    let bed = Bed::with(&yaml());
    let mut browser = Browser::default();
    log_in(&bed, &mut browser, "user@example.com").await;
    let before = browser.clone();
    let page = browser
        .start(&bed, &super::bed::request_but("prompt", "login"))
        .await;
    browser
        .log_in(&bed, &page, "other@example.com", PASSWORD)
        .await;
    assert!(!counts(&bed, &before).await && counts(&bed, &browser).await);
    tokio::task::yield_now().await;
    assert_eq!(bed.posts.0.lock().unwrap().len(), 1);
}

/// Whoever is logged in can log out wherever a page of ours is met, also in the middle of another login.
#[tokio::test]
async fn every_page_of_a_session_has_a_way_to_log_out() {
    let bed = Bed::with(&config("sessions: {ssoSharedWithDefault: all}\n"));
    let mut browser = Browser::default();
    let link = "href=\"/dex/logout";
    let page = browser.start(&bed, &request()).await;
    let shown = text(&browser.visit(&bed, &page).await);
    assert!(!shown.contains(link), "nobody is logged in: {shown}");
    let reply = browser
        .log_in(&bed, &page, "user@example.com", PASSWORD)
        .await;
    let approval = location(&reply);
    let login = browser.start(&bed, &request_but("prompt", "login")).await;
    let select = browser
        .start(&bed, &request_but("prompt", "select_account"))
        .await;
    let (mut other, told) = (Browser::default(), "<span>User@example.com</span>");
    for path in [
        &approval,
        &login,
        &select,
        "/dex/device",
        "/dex/auth?client_id=nobody",
        "/dex/nothing",
    ] {
        let shown = text(&browser.visit(&bed, path).await);
        assert!(
            shown.contains(link) && shown.contains(told),
            "{path}: {shown}"
        );
        let shown = text(&other.visit(&bed, path).await);
        assert!(!shown.contains(link), "another browser at {path}: {shown}");
    }
    let question = text(&browser.visit(&bed, "/dex/logout").await);
    assert!(!question.contains(link), "the page asks: {question}");
    let action = question.split("action=\"").nth(1).unwrap();
    let action = action.split('"').next().unwrap().replace("&#38;", "&");
    let out = browser
        .send(&bed, form(&action, &[("logout", "yes")]))
        .await;
    assert!(text(&out).contains("You are logged out") && !text(&out).contains(link));
    let shown = text(&browser.visit(&bed, &login).await);
    assert!(!shown.contains(link), "{shown}");
    // The login that was under way there is over.
    let reply = browser
        .send(&bed, form(&approval, &[("approval", "approve")]))
        .await;
    assert_eq!(param(&location(&reply), "error").unwrap(), "login_required");
}

/// An authenticating proxy is a session of a browser and nothing else (`refreshTokenLifetime` of Dex).
#[tokio::test]
async fn refresh_tokens_end_with_the_session_where_the_client_says_so() {
    let yaml = yaml().replace(
        "{id: platform,",
        "{id: platform, refreshTokenLifetime: session,",
    );
    let bed = Bed::with(&yaml);
    let log_in = async |browser: &mut Browser| {
        let reply = log_in(&bed, browser, "user@example.com").await;
        let code = param(&location(&reply), "code").unwrap();
        let (_, tokens) = bed.redeem(&code).await;
        tokens["refresh_token"].as_str().unwrap().to_owned()
    };
    let refresh = async |token: &str| {
        let params = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let (_, answer) = bed.token(&params).await;
        match answer["refresh_token"].as_str() {
            Some(next) => Ok(next.to_owned()),
            None => Err(answer["error"].as_str().unwrap().to_owned()),
        }
    };
    let over = Err("invalid_grant".to_owned());
    // By a logout.
    let mut browser = Browser::default();
    let token = refresh(&log_in(&mut browser).await).await.unwrap();
    let page = text(&browser.visit(&bed, &logout(&[])).await);
    let (_, action) = page.split_once("action=\"").unwrap();
    let action = action.split('"').next().unwrap();
    browser.send(&bed, form(action, &[("logout", "yes")])).await;
    assert!(!is_logged_in(&browser));
    assert_eq!(refresh(&token).await, over);
    // By its time, which refreshes do not prolong.
    let token = log_in(&mut Browser::default()).await;
    bed.pass(1800);
    let token = refresh(&token).await.unwrap();
    bed.pass(1800);
    assert_eq!(refresh(&token).await, over);
    // Another session of the same person is another.
    let (one, two) = (&mut Browser::default(), &mut Browser::default());
    let (_, kept) = (log_in(one).await, log_in(two).await);
    one.visit(&bed, &logout(&[])).await;
    assert!(refresh(&kept).await.is_ok());
}
