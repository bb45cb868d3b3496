//! Logins that the operator ends, of one person or of all.

use std::sync::Arc;

use http::StatusCode;

use super::accounts::{Heard, LoggedIn, NEW, OWN, logged_in, new};
use super::bed::{Bed, Browser, PASSWORD, config, location, param, request};
use super::connectors::{Pair, refresh, text_of, tokens};
use super::factors::enter;
use super::sessions::SESSIONS;
use crate::{Admin, AdminError, EndedLogins, Logins, Secret};

const CONFIGURED: &str = "user@example.com";

fn told() -> String {
    config(SESSIONS).replace(
        "id: platform,",
        "id: platform, backchannelLogoutURI: 'https://app.example/out',",
    )
}

async fn everybody(bed: &Bed) -> Vec<LoggedIn> {
    let mut all = Vec::new();
    for (email, password) in [
        (CONFIGURED, PASSWORD),
        ("other@example.com", PASSWORD),
        (NEW, OWN),
    ] {
        all.push(logged_in(bed, email, password).await);
    }
    all
}

async fn is_logged_in(bed: &Bed, who: &mut LoggedIn) -> bool {
    let reply = who.browser.ask(bed, &request()).await;
    param(&location(&reply), "code").is_some()
}

#[tokio::test]
async fn the_logins_of_one_person_end_and_nobody_elses() {
    let heard = Arc::new(Heard::default());
    let bed = Bed::with_sign_outs(&told(), heard.clone());
    let admin = bed.provider.admin();
    let password = Some(Secret::new(OWN));
    admin.add_user(new(NEW), password).await.unwrap();
    let [configured, mut other, kept] = everybody(&bed).await.try_into().ok().unwrap();
    let mut account = Browser::default();
    enter(&bed, &mut account, CONFIGURED, PASSWORD).await;
    for (email, before, sessions) in [(" USER@example.com", configured, 2), (NEW, kept, 1)] {
        let ended = admin.end_logins(Logins::OfUser(email.trim().to_owned()));
        let expected = EndedLogins {
            people: 1,
            sessions,
        };
        assert_eq!(ended.await.unwrap(), expected, "{email}");
        before.ends(&bed).await;
    }
    let page = account.visit(&bed, "/dex/account").await;
    assert_eq!(page.status(), StatusCode::FOUND, "the account page");
    assert!(is_logged_in(&bed, &mut other).await);
    assert_eq!(*heard.0.lock().unwrap(), ["User@example.com", NEW]);
    // The application of each session is told.
    while bed.posts.0.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(
        bed.posts.0.lock().unwrap()[0]
            .1
            .starts_with("logout_token=")
    );
    // Whoever it was logs in again, and what was ended stays so.
    for (email, password) in [(CONFIGURED, PASSWORD), (NEW, OWN)] {
        let mut again = logged_in(&bed, email, password).await;
        assert!(is_logged_in(&bed, &mut again).await, "{email}");
    }
    let ended = admin.end_logins(Logins::OfUser("nobody@example.com".to_owned()));
    assert!(matches!(ended.await, Err(AdminError::Unknown(_))));
}

#[tokio::test]
async fn all_logins_of_everybody_end_at_once() {
    let heard = Arc::new(Heard::default());
    let bed = Bed::with_sign_outs(&told(), heard.clone());
    let admin = bed.provider.admin();
    let password = Some(Secret::new(OWN));
    admin.add_user(new(NEW), password).await.unwrap();
    let all = everybody(&bed).await;
    let ended = admin.end_logins(Logins::All).await.unwrap();
    let expected = EndedLogins {
        people: 3,
        sessions: 3,
    };
    assert_eq!(ended, expected);
    for before in all {
        before.ends(&bed).await;
    }
    let mut heard = heard.0.lock().unwrap().clone();
    heard.sort();
    assert_eq!(heard, [NEW, "User@example.com", "other@example.com"]);
    while bed.posts.0.lock().unwrap().len() < 3 {
        tokio::task::yield_now().await;
    }
    let again = admin.end_logins(Logins::All).await.unwrap();
    assert_eq!(again, EndedLogins::default(), "nobody is left");
    let mut back = logged_in(&bed, CONFIGURED, PASSWORD).await;
    assert!(is_logged_in(&bed, &mut back).await);
}

/// Where no provider runs, nobody says who is in the configuration, but their records do.
#[tokio::test]
async fn all_logins_end_where_no_provider_runs() {
    let bed = Bed::with(&told());
    let admin = bed.provider.admin();
    let password = Some(Secret::new(OWN));
    admin.add_user(new(NEW), password).await.unwrap();
    let all = everybody(&bed).await;
    let alone = Admin::open(bed.storage.clone(), crate::system_clock()).unwrap();
    let unknown = alone
        .end_logins(Logins::OfUser(CONFIGURED.to_owned()))
        .await;
    assert!(matches!(unknown, Err(AdminError::Unknown(_))));
    let ended = alone.end_logins(Logins::All).await.unwrap();
    assert_eq!((ended.people, ended.sessions), (3, 3));
    drop((alone, admin));
    let bed = bed.restart(&told());
    for before in all {
        before.ends(&bed).await;
    }
}

#[tokio::test]
async fn the_logins_of_a_person_of_a_connector_end() {
    let pair = Pair::new(SESSIONS, "");
    let mut browser = Browser::default();
    let held = tokens(&pair, &mut browser).await;
    let admin = pair.bed.provider.admin();
    let of = |connector: &str, user: &str| Logins::OfPerson {
        connector: connector.to_owned(),
        user: user.to_owned(),
    };
    let unknown = admin.end_logins(of("other", CONFIGURED)).await;
    assert!(matches!(
        unknown,
        Err(AdminError::UnknownAtConnector { .. })
    ));
    // The user here of the same address is another.
    admin
        .end_logins(Logins::OfUser(CONFIGURED.to_owned()))
        .await
        .unwrap();
    let access = text_of(&held, "access_token");
    assert_eq!(pair.bed.userinfo(access).await.status(), StatusCode::OK);
    let ended = admin.end_logins(of("up", CONFIGURED)).await.unwrap();
    assert_eq!((ended.people, ended.sessions), (1, 1));
    assert_eq!(
        pair.bed.userinfo(access).await.status(),
        StatusCode::UNAUTHORIZED
    );
    let (status, _) = refresh(&pair, text_of(&held, "refresh_token")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let reply = pair.log_in(&mut Browser::default(), CONFIGURED).await;
    assert!(param(&location(&reply), "code").is_some(), "let in again");
}

/// Who leaves `staticPasswords` had no session at the provider any more, and kept all others.
#[tokio::test]
async fn who_leaves_the_configuration_is_logged_out_everywhere() {
    let heard = Arc::new(Heard::default());
    let mut bed = Bed::with_sign_outs(&told(), heard.clone());
    let told_of = || std::mem::take(&mut *heard.0.lock().unwrap());
    let end = async |bed: &Bed| {
        let admin = bed.provider.admin();
        admin.end_logins_of_the_gone().await.unwrap()
    };
    let nobody = EndedLogins::default();
    assert_eq!(end(&bed).await, nobody, "of whom nothing was noted before");
    let user = logged_in(&bed, CONFIGURED, PASSWORD).await;
    let mut other = logged_in(&bed, "other@example.com", PASSWORD).await;
    bed.reload(&told(), heard.clone());
    assert_eq!(end(&bed).await, nobody, "nobody has left");
    assert!(is_logged_in(&bed, &mut other).await);
    assert_eq!(told_of(), [""; 0]);

    let without: String = told()
        .lines()
        .filter(|line| !line.contains("User@example.com"))
        .map(|line| format!("{line}\n"))
        .collect();
    bed.reload(&without, heard.clone());
    let one = EndedLogins {
        people: 1,
        sessions: 1,
    };
    assert_eq!(end(&bed).await, one);
    assert_eq!(told_of(), ["User@example.com"]);
    assert_eq!(end(&bed).await, nobody, "once");
    assert!(is_logged_in(&bed, &mut other).await);
    // Who comes back has no login of before.
    bed.reload(&told(), heard.clone());
    assert_eq!(end(&bed).await, nobody);
    user.ends(&bed).await;
    logged_in(&bed, CONFIGURED, PASSWORD).await;

    // An address that somebody has no more is not theirs at the platform either; another way to write it is the same.
    bed.reload(&told().replace("User@", "USER@"), heard.clone());
    assert_eq!(end(&bed).await, nobody);
    bed.reload(&told().replace("User@", "renamed@"), heard.clone());
    assert_eq!(end(&bed).await.people, 1);
    assert_eq!(told_of(), ["USER@example.com"]);
    // With the password database all of its users are gone.
    let off = told().replace("enablePasswordDB: true", "enablePasswordDB: false")
        + "connectors: [{type: oidc, id: up, name: Up, config: {issuer: 'https://up.example', clientID: a, clientSecret: b, redirectURI: 'http://dex.auth.svc.cluster.local:5556/dex/callback'}}]\n";
    bed.reload(&off, heard.clone());
    assert_eq!(end(&bed).await.people, 2);
    let mut all = told_of();
    all.sort();
    assert_eq!(all, ["other@example.com", "renamed@example.com"]);
}
