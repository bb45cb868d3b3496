//! Second factors that are demanded: by the configuration, for a client, or by an application.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::bed::{
    Bed, Browser, PASSWORD, SKIP_APPROVAL, config, form, location, param, request, request_but,
    text,
};
use super::factors::{app, between, claims, halfway};
use super::sessions::SESSIONS;

const USER: &str = "user@example.com";
const REQUIRED: &str = "secondFactor: required\n";

/// The password; the page where a second factor is made.
async fn sent_to_enrol(bed: &Bed, browser: &mut Browser, asked: &[(&str, &str)]) -> String {
    let page = browser.start(bed, asked).await;
    let reply = browser.log_in(bed, &page, USER, PASSWORD).await;
    let enrol = location(&reply);
    assert!(enrol.starts_with("/dex/auth/enrol?req="), "{enrol}");
    enrol
}

/// The secret on the page, plain and sealed.
async fn offered(bed: &Bed, browser: &mut Browser, page: &str) -> (String, String) {
    let shown = text(&browser.visit(bed, page).await);
    assert!(shown.contains("you have none yet"), "{shown}");
    (
        between(&shown, "class=\"secret\"><code>", "<").to_owned(),
        between(&shown, "name=\"secret\" value=\"", "\"").to_owned(),
    )
}

async fn type_code(
    bed: &Bed,
    browser: &mut Browser,
    page: &str,
    sealed: &str,
    code: &str,
) -> Response<Bytes> {
    let fields = [("secret", sealed), ("code", code)];
    browser.send(bed, form(page, &fields)).await
}

/// Makes an app; the answer to the application, and the secret.
async fn enrolled(bed: &Bed, browser: &mut Browser, page: &str) -> (Response<Bytes>, String) {
    let (secret, sealed) = offered(bed, browser, page).await;
    let reply = type_code(bed, browser, page, &sealed, &app(&secret, bed.now())).await;
    assert_eq!(reply.status(), StatusCode::OK);
    let shown = text(&reply);
    assert_eq!(shown.matches("<li><code>").count(), 10, "{shown}");
    let on = between(&shown, "action=\"", "\"").replace("&#38;", "&");
    assert!(on.starts_with("/dex/auth/enrolled?req="), "{on}");
    (browser.send(bed, form(&on, &[])).await, secret)
}

#[tokio::test]
async fn who_has_no_second_factor_makes_one_before_the_application_gets_an_answer() {
    let bed = Bed::with(&config(&format!("{SESSIONS}{REQUIRED}")));
    let mut browser = Browser::default();
    let page = sent_to_enrol(&bed, &mut browser, &request()).await;
    let (_, sealed) = offered(&bed, &mut browser, &page).await;
    let wrong = type_code(&bed, &mut browser, &page, &sealed, "000000").await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert!(text(&wrong).contains("The code is not right"));
    // Nothing that was shown until now is a login.
    let asked = browser.ask(&bed, &request_but("prompt", "none")).await;
    assert_eq!(
        param(&location(&asked), "error").as_deref(),
        Some("login_required")
    );
    let (reply, secret) = enrolled(&bed, &mut browser, &page).await;
    let said = claims(&bed, &reply).await;
    assert_eq!(said["acr"], "2");
    assert_eq!(said["amr"], serde_json::json!(["pwd", "otp", "mfa"]));
    // From now on it is asked for, and the session has it.
    let mut other = Browser::default();
    let second = halfway(&bed, &mut other, USER).await;
    bed.pass(30);
    let code = app(&secret, bed.now());
    let reply = other.send(&bed, form(&second, &[("code", &code)])).await;
    assert_eq!(claims(&bed, &reply).await["acr"], "2");
    let reply = browser.ask(&bed, &request_but("prompt", "none")).await;
    assert_eq!(claims(&bed, &reply).await["acr"], "2");
}

/// It is enough to know the password once there is a factor, and never to exchange it.
#[tokio::test]
async fn a_page_that_was_opened_before_replaces_no_second_factor() {
    let bed = Bed::with(&config(&format!("{SESSIONS}{REQUIRED}")));
    let (mut thief, mut owner) = (Browser::default(), Browser::default());
    let early = sent_to_enrol(&bed, &mut thief, &request()).await;
    let (stolen, sealed) = offered(&bed, &mut thief, &early).await;
    let page = sent_to_enrol(&bed, &mut owner, &request()).await;
    let (_, secret) = enrolled(&bed, &mut owner, &page).await;
    bed.pass(60);
    let code = app(&stolen, bed.now());
    let reply = type_code(&bed, &mut thief, &early, &sealed, &code).await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
    assert!(text(&reply).contains("start again"));
    let second = halfway(&bed, &mut owner, USER).await;
    let code = app(&secret, bed.now());
    let reply = owner.send(&bed, form(&second, &[("code", &code)])).await;
    assert_eq!(reply.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn guessing_the_first_code_is_slow() {
    let bed = Bed::with(&config(&format!("{SESSIONS}{REQUIRED}")));
    let mut browser = Browser::default();
    let page = sent_to_enrol(&bed, &mut browser, &request()).await;
    let (_, sealed) = offered(&bed, &mut browser, &page).await;
    let mut last = StatusCode::OK;
    for _ in 0..6 {
        last = type_code(&bed, &mut browser, &page, &sealed, "000000")
            .await
            .status();
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_client_alone_can_demand_it_and_no_weaker_session_serves_it() {
    let yaml = config(SESSIONS).replace("{id: platform,", "{id: platform, secondFactor: required,");
    let bed = Bed::with(&yaml);
    let mut browser = Browser::default();
    let peer = [
        ("client_id", "peer"),
        ("redirect_uri", "https://peer.example/cb"),
        ("response_type", "code"),
        ("scope", "openid"),
    ];
    let page = browser.start(&bed, &peer).await;
    let reply = browser.log_in(&bed, &page, USER, PASSWORD).await;
    assert!(
        param(&location(&reply), "code").is_some(),
        "the other client asks for none"
    );
    let reply = browser.ask(&bed, &request_but("prompt", "none")).await;
    assert_eq!(
        param(&location(&reply), "error").as_deref(),
        Some("login_required")
    );
    let page = sent_to_enrol(&bed, &mut browser, &request()).await;
    let (reply, _) = enrolled(&bed, &mut browser, &page).await;
    assert_eq!(claims(&bed, &reply).await["acr"], "2");
}

#[tokio::test]
async fn an_essential_acr_is_kept() {
    let bed = Bed::with(&config(SKIP_APPROVAL));
    let asking = |acr: &'static str| request_but("claims", acr);
    let one = r#"{"id_token": {"acr": {"essential": true, "values": ["1"]}}}"#;
    let mut browser = Browser::default();
    let page = browser.start(&bed, &asking(one)).await;
    let reply = browser.log_in(&bed, &page, USER, PASSWORD).await;
    assert_eq!(claims(&bed, &reply).await["acr"], "1");
    let two = r#"{"id_token": {"acr": {"essential": true, "values": ["2", "gold"]}}}"#;
    let page = sent_to_enrol(&bed, &mut browser, &asking(two)).await;
    let (reply, _) = enrolled(&bed, &mut browser, &page).await;
    assert_eq!(claims(&bed, &reply).await["acr"], "2");
}
