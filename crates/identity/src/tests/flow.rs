//! Logging in.

use http::StatusCode;
use policy::{Caller, Tokens};

use super::*;

async fn email(world: &World, browser: &Browser) -> Option<String> {
    match world
        .identity
        .caller(&browser.get("/"), Tokens::SessionOrBearer)
        .await
    {
        Caller::Session(person) => Some(person.email.to_string()),
        _ => None,
    }
}

#[tokio::test]
async fn a_login_leads_back_to_where_it_began() {
    let world = World::new();
    let mut browser = Browser::default();
    let reply = world.log_in(&mut browser, "/pipeline/?ns=team-a").await;
    assert_eq!(reply.status, StatusCode::FOUND);
    assert_eq!(location(&reply), "/pipeline/?ns=team-a");
    assert_eq!(
        email(&world, &browser).await.as_deref(),
        Some("user@example.com")
    );
    let Caller::Session(person) = world
        .identity
        .caller(&browser.get("/"), Tokens::SessionOrBearer)
        .await
    else {
        panic!("no session");
    };
    let groups: Vec<_> = person.groups.iter().map(|group| &**group).collect();
    assert_eq!(groups, ["team-a", "team-b"]);
    assert_eq!(
        world
            .identity
            .caller(&browser.get("/"), Tokens::BearerOnly)
            .await,
        Caller::Anonymous
    );
}

#[tokio::test]
async fn the_provider_is_asked_for_its_configuration_once() {
    let world = World::new();
    for _ in 0..3 {
        world.log_in(&mut Browser::default(), "/").await;
    }
    let asked = world.provider.state.lock().unwrap().asked.clone();
    let count = |path| asked.iter().filter(|asked| *asked == path).count();
    assert_eq!(count("/dex/.well-known/openid-configuration"), 1);
    assert_eq!(count("/dex/keys"), 1);
    assert_eq!(count("/dex/token"), 3);
}

#[tokio::test]
async fn cookies_are_small_and_closed() {
    for https in [false, true] {
        let world = World::new();
        let mut browser = Browser {
            https,
            ..Browser::default()
        };
        let begin = world
            .login()
            .begin_login(&browser.get(&format!("/{}", "a".repeat(1400))));
        assert!(location(&begin).len() < 4096);
        let done = world.log_in(&mut browser, "/").await;
        for cookie in set_cookies(&begin).into_iter().chain(set_cookies(&done)) {
            assert!(cookie.len() < 200, "{cookie}");
            assert!(cookie.contains("; Path=/; "), "{cookie}");
            assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
            assert_eq!(cookie.ends_with("; Secure"), https, "{cookie}");
        }
        assert_eq!(browser.cookies.len(), 1, "only the session stays");
    }
}

#[tokio::test]
async fn requests_of_strangers_store_nothing_and_pile_nothing_up() {
    let world = World::new();
    let before = std::fs::metadata(world.folder.path().join("sessions.redb"))
        .unwrap()
        .len();
    let mut browser = Browser::default();
    let mut given = 0;
    for _ in 0..500 {
        let reply = world.login().begin_login(&browser.get("/"));
        given += set_cookies(&reply).len();
        browser.take(&reply);
        world.advance(30);
    }
    assert!(
        browser.cookies.len() <= LOGIN_COOKIES.len(),
        "{:?}",
        browser.cookies
    );
    assert!(browser.header().len() < 450, "{}", browser.header().len());
    assert!(given < 25, "a cookie is used again: {given}");
    let after = std::fs::metadata(world.folder.path().join("sessions.redb"))
        .unwrap()
        .len();
    assert_eq!(before, after);
    assert!(world.provider.state.lock().unwrap().asked.is_empty());
}

#[tokio::test]
async fn tabs_opened_one_after_another_all_log_in() {
    let world = World::new();
    let mut browser = Browser::default();
    let mut backs = Vec::new();
    for tab in 0..6 {
        let reply = world
            .login()
            .begin_login(&browser.get(&format!("/tab/{tab}")));
        browser.take(&reply);
        backs.push(world.provider.log_in(location(&reply)));
    }
    for (tab, back) in backs.iter().enumerate().rev() {
        let reply = world.login().callback(&browser.get(back)).await;
        browser.take(&reply);
        assert_eq!(location(&reply), format!("/tab/{tab}"));
    }
    assert!(email(&world, &browser).await.is_some());
}

#[tokio::test]
async fn tabs_opened_at_the_same_moment_each_can_log_in() {
    let world = World::new();
    let mut browser = Browser::default();
    // Both requests leave before either answer has set its cookie.
    let tabs = loop {
        let tabs = [0, 1].map(|_| world.login().begin_login(&Browser::default().get("/")));
        let name = |at: usize| {
            set_cookies(&tabs[at])[0]
                .split('=')
                .next()
                .unwrap()
                .to_owned()
        };
        if name(0) != name(1) {
            break tabs;
        }
    };
    for reply in &tabs {
        browser.take(reply);
    }
    for reply in &tabs {
        let mut browser = browser.clone();
        let back = world.provider.log_in(location(reply));
        let reply = world.login().callback(&browser.get(&back)).await;
        browser.take(&reply);
        assert!(email(&world, &browser).await.is_some());
    }
}

#[tokio::test]
async fn a_callback_works_once() {
    let world = World::new();
    let mut browser = Browser::default();
    let begin = world.login().begin_login(&browser.get("/once"));
    browser.take(&begin);
    let binding = browser.clone();
    let back = world.provider.log_in(location(&begin));
    let reply = world.login().callback(&browser.get(&back)).await;
    browser.take(&reply);
    let exchanges = || {
        let state = world.provider.state.lock().unwrap();
        state
            .asked
            .iter()
            .filter(|path| *path == "/dex/token")
            .count()
    };
    assert_eq!(exchanges(), 1);
    // Loaded again by the same browser: the session is there, nothing is exchanged.
    let again = world.login().callback(&browser.get(&back)).await;
    assert_eq!(
        (again.status, location(&again)),
        (StatusCode::FOUND, "/once")
    );
    assert!(set_cookies(&again).is_empty());
    assert_eq!(exchanges(), 1);
    // By somebody who stole the whole jar from before: the code is used up.
    let stolen = world.login().callback(&binding.get(&back)).await;
    assert_eq!(stolen.status, StatusCode::BAD_GATEWAY);
    assert!(
        !set_cookies(&stolen)
            .iter()
            .any(|cookie| cookie.starts_with(SESSION_COOKIE))
    );
}

#[tokio::test]
async fn a_callback_of_another_browser_is_refused() {
    let world = World::new();
    let mut attacker = Browser::default();
    let begin = world.login().begin_login(&attacker.get("/"));
    attacker.take(&begin);
    let back = world.provider.log_in(location(&begin));
    let mut victim = Browser::default();
    let other = world.login().begin_login(&victim.get("/"));
    victim.take(&other);
    for browser in [Browser::default(), victim] {
        let reply = world.login().callback(&browser.get(&back)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(set_cookies(&reply).is_empty());
        assert!(String::from_utf8_lossy(&reply.body).contains("another browser"));
    }
    assert!(world.provider.state.lock().unwrap().asked.is_empty());
}

#[tokio::test]
async fn nonsense_at_the_callback_gets_a_page() {
    let world = World::new();
    let mut browser = Browser::default();
    let begin = world.login().begin_login(&browser.get("/"));
    browser.take(&begin);
    let back = world.provider.log_in(location(&begin));
    let state = back.split_once("state=").unwrap().1;
    for target in [
        "/login/oidc".to_owned(),
        "/login/oidc?code=x".to_owned(),
        format!("/login/oidc?state={state}"),
        format!("/login/oidc?code=x&code=y&state={state}"),
        format!("/login/oidc?code=x&state={state}&state={state}"),
        "/login/oidc?code=x&state=AAAA".to_owned(),
        "/login/oidc?code=x&state=%00%ff".to_owned(),
        format!("/login/oidc?code=x&state={}", "A".repeat(1 << 20)),
        format!("/login/oidc?code={}&state={state}", "A".repeat(1 << 20)),
        format!("/login/oidc?code=x&state={state}&iss=https://evil.example"),
        format!("/login/oidc?code=x&state={state}A"),
        format!("/login/oidc?code=x&state=A{state}"),
    ] {
        let reply = world.login().callback(&browser.get(&target)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{target:.80}");
        assert!(
            !String::from_utf8_lossy(&reply.body).contains("evil"),
            "{target:.80}"
        );
        assert!(header(&reply.headers, "content-security-policy").is_some());
    }
    let denied =
        format!("/login/oidc?error=access_denied&error_description=%3Cscript%3E&state={state}");
    let reply = world.login().callback(&browser.get(&denied)).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert!(!String::from_utf8_lossy(&reply.body).contains("script"));
    let mut post = browser.get(&back);
    post.method = Method::POST;
    assert_eq!(
        world.login().callback(&post).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn a_login_takes_half_an_hour_at_most() {
    let world = World::new();
    let mut browser = Browser::default();
    let begin = world.login().begin_login(&browser.get("/"));
    browser.take(&begin);
    let back = world.provider.log_in(location(&begin));
    world.advance(30 * 60);
    let reply = world.login().callback(&browser.get(&back)).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn hostile_return_paths_lead_home() {
    let world = World::new();
    for target in [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "/login/oidc?code=1",
        "/oauth2/sign_out",
        "/oauth2/%73ign_out",
        "/authservice/logout",
        "javascript:alert(1)",
    ] {
        let mut browser = Browser::default();
        let begin = world
            .login()
            .begin_login_to(&browser.get("/oauth2/start"), target);
        browser.take(&begin);
        let back = world.provider.log_in(location(&begin));
        let reply = world.login().callback(&browser.get(&back)).await;
        assert_eq!(
            (reply.status, location(&reply)),
            (StatusCode::FOUND, "/"),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_provider_of_another_name_or_down_makes_no_session() {
    let world = World::new();
    world.provider.state.lock().unwrap().other_issuer = Some("https://evil.example".to_owned());
    let reply = world.log_in(&mut Browser::default(), "/").await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);

    let world = World::new();
    world.provider.state.lock().unwrap().down = true;
    let reply = world.log_in(&mut Browser::default(), "/").await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    world.provider.state.lock().unwrap().down = false;
    world.advance(5);
    let reply = world.log_in(&mut Browser::default(), "/").await;
    assert_eq!(reply.status, StatusCode::FOUND);
}

#[tokio::test]
async fn sessions_and_logins_on_their_way_outlive_a_restart() {
    let world = World::new();
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    let mut waiting = Browser::default();
    let begin = world.login().begin_login(&waiting.get("/waiting"));
    waiting.take(&begin);
    let world = world.restarted();
    assert!(email(&world, &browser).await.is_some());
    let back = world.provider.log_in(location(&begin));
    let reply = world.login().callback(&waiting.get(&back)).await;
    assert_eq!(location(&reply), "/waiting");
}

#[tokio::test]
async fn a_login_ends_the_session_from_before() {
    let world = World::new();
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    let old = browser.clone();
    world.log_in(&mut browser, "/").await;
    assert_ne!(old.session(), browser.session());
    assert_eq!(email(&world, &old).await, None);
    assert!(email(&world, &browser).await.is_some());
}

#[tokio::test]
async fn one_client_can_serve_several_hosts() {
    let world = World::with(RpConfig {
        redirect_uri: RedirectUri::OnRequestHost("/oauth2/callback".to_owned()),
        ..rp_config()
    });
    let mut browser = Browser {
        https: true,
        ..Browser::default()
    };
    let begin = world.login().begin_login(&browser.get("/x"));
    browser.take(&begin);
    let back = world.provider.log_in(location(&begin));
    let back = back.strip_prefix("https://kubeflow.example:8080").unwrap();
    let reply = world.login().handle(&browser.get(back)).await.unwrap();
    assert_eq!(location(&reply), "/x");
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let wrong: [(fn(&mut RpConfig), &str); 4] = [
        (
            |config| config.auth_url = Some("dex/auth".to_owned()),
            "`auth_url` is `dex/auth`",
        ),
        (
            |config| config.after_logout_url = "//evil.example".to_owned(),
            "`after_logout_url`",
        ),
        (
            |config| config.redirect_uri = RedirectUri::Exactly("login".to_owned()),
            "`redirect_uri`",
        ),
        (
            |config| config.redirect_uri = RedirectUri::Exactly("/a?b".to_owned()),
            "`redirect_uri`",
        ),
    ];
    for (change, expected) in wrong {
        let folder = tempfile::tempdir().unwrap();
        let sessions =
            Sessions::open(folder.path(), SessionConfig::default(), system_clock()).unwrap();
        let mut config = rp_config();
        change(&mut config);
        let http = Arc::new(FakeProvider::default());
        let error = RelyingParty::new(config, http, sessions, folder.path(), system_clock())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_changed_login_cookie_binds_nothing() {
    let world = World::new();
    let mut browser = Browser::default();
    let begin = world.login().begin_login(&browser.get("/"));
    browser.take(&begin);
    let back = world.provider.log_in(location(&begin));
    let (name, value) = browser.cookies.first_key_value().unwrap();
    let (name, value) = (name.clone(), value.clone());
    for at in 0..value.len() {
        let mut changed = value.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        browser.cookies.insert(name.clone(), changed);
        let reply = world.login().callback(&browser.get(&back)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "byte {at}");
    }
    // In another slot it is another's.
    browser.cookies.clear();
    let other = LOGIN_COOKIES.iter().find(|slot| **slot != name).unwrap();
    browser.cookies.insert((*other).to_owned(), value.clone());
    let reply = world.login().callback(&browser.get(&back)).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    browser.cookies.insert(name, value);
    let reply = world.login().callback(&browser.get(&back)).await;
    assert_eq!(reply.status, StatusCode::FOUND);
}
