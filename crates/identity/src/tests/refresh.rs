//! Sessions whose tokens are renewed.

use futures_util::future::join_all;
use policy::{Caller, Person, Tokens};
use serde_json::json;

use super::*;

/// The tokens of the provider in these tests live so long.
const LIFE: u64 = 600;

struct LoggedIn {
    world: World,
    browser: Browser,
}

impl LoggedIn {
    async fn new() -> Self {
        let world = World::new();
        world.provider.state.lock().unwrap().refresh = Some("first".to_owned());
        let mut browser = Browser::default();
        world.log_in(&mut browser, "/").await;
        assert!(browser.session().is_some());
        Self { world, browser }
    }

    async fn person(&self) -> Option<Person> {
        let head = self.browser.get("/");
        let caller = self.world.identity.caller(&head, Tokens::SessionOrBearer);
        match caller.await {
            Caller::Session(person) => Some(person),
            Caller::Anonymous => None,
            other => panic!("{other:?}"),
        }
    }

    fn refreshes(&self) -> u32 {
        self.world.provider.state.lock().unwrap().refreshes
    }

    fn set_down(&self, down: bool) {
        self.world.provider.state.lock().unwrap().down = down;
    }
}

#[tokio::test]
async fn a_thousand_requests_with_ended_tokens_are_one_renewal() {
    let all = LoggedIn::new().await;
    all.world.advance(LIFE);
    let found = join_all((0..1000).map(|_| all.person())).await;
    assert!(found.iter().all(Option::is_some));
    assert_eq!(all.refreshes(), 1);
    assert!(all.person().await.is_some());
    assert_eq!(all.refreshes(), 1);
    // The next one is by the token that came with the first.
    all.world.advance(LIFE);
    assert!(all.person().await.is_some());
    assert_eq!(all.refreshes(), 2);
}

#[tokio::test]
async fn a_renewal_says_anew_who_the_person_is() {
    let all = LoggedIn::new().await;
    let many: Vec<String> = (0..400).map(|number| format!("group-{number}")).collect();
    all.world.provider.state.lock().unwrap().lie = Some(Box::new(move |claims| {
        claims["groups"] = json!(many);
    }));
    assert_eq!(all.person().await.unwrap().groups.len(), 2);
    all.world.advance(LIFE);
    assert_eq!(all.person().await.unwrap().groups.len(), 400);
    assert!(
        all.browser.header().len() < 200,
        "none of it is in the cookie"
    );
    let world = all.world.restarted();
    let all = LoggedIn { world, ..all };
    assert_eq!(all.person().await.unwrap().groups.len(), 400);
}

#[tokio::test]
async fn a_login_that_the_provider_ended_ends_the_session() {
    let all = LoggedIn::new().await;
    all.world.provider.state.lock().unwrap().refresh = None;
    assert!(all.person().await.is_some());
    all.world.advance(LIFE);
    let found = join_all((0..100).map(|_| all.person())).await;
    assert!(found.iter().all(Option::is_none));
    assert_eq!(all.refreshes(), 1);
    let id = all.browser.session().unwrap();
    assert!(all.world.identity.sessions().find(id).is_none());
}

#[tokio::test]
async fn tokens_of_another_person_end_the_session() {
    let all = LoggedIn::new().await;
    all.world.provider.state.lock().unwrap().lie =
        Some(Box::new(|claims| claims["sub"] = json!("somebody else")));
    all.world.advance(LIFE);
    assert_eq!(all.person().await, None);
    all.world.provider.state.lock().unwrap().lie = None;
    assert_eq!(all.person().await, None);
}

#[tokio::test]
async fn a_session_outlives_a_provider_that_is_down_for_an_hour() {
    let all = LoggedIn::new().await;
    all.set_down(true);
    all.world.advance(LIFE);
    for _ in 0..100 {
        assert!(all.person().await.is_some());
    }
    all.world.advance(3599);
    assert!(all.person().await.is_some());
    all.world.advance(1);
    assert_eq!(all.person().await, None, "not without end");
    // It has not ended: the provider is back.
    all.set_down(false);
    all.world.advance(60);
    assert!(all.person().await.is_some());
    assert_eq!(all.refreshes(), 1);
}

#[tokio::test]
async fn a_renewal_does_not_bring_an_ended_session_back() {
    let all = LoggedIn::new().await;
    let id = all.browser.session().unwrap();
    let sessions = all.world.identity.sessions();
    let session = sessions.find(id).unwrap();
    assert!(sessions.end(id).await.unwrap());
    let renewed = NewSession::of(session.person.clone());
    assert!(sessions.renew(&session, renewed).await.unwrap().is_none());
    assert!(sessions.find(id).is_none());
    // And lengthens none.
    let all = LoggedIn::new().await;
    all.world.advance(LIFE);
    assert!(all.person().await.is_some());
    all.world.advance(24 * 3600 - LIFE);
    assert_eq!(all.person().await, None);
}

#[tokio::test]
async fn refresh_tokens_are_kept_sealed() {
    let all = LoggedIn::new().await;
    let folder = all.world.folder.path().to_owned();
    let bytes = std::fs::read(folder.join("sessions.redb")).unwrap();
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(holds(b"user@example.com") && !holds(b"first"));
    // With another key the session lives on without.
    let world = all.world;
    std::fs::write(folder.join("sessions.key"), [7; 32]).unwrap();
    let world = world.restarted();
    let all = LoggedIn { world, ..all };
    all.world.advance(LIFE);
    assert!(all.person().await.is_some());
    assert_eq!(all.refreshes(), 0);
}

#[tokio::test]
async fn sessions_without_a_refresh_token_ask_nobody() {
    let world = World::new();
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    let all = LoggedIn { world, browser };
    all.world.advance(2 * LIFE);
    assert!(all.person().await.is_some());
    assert_eq!(all.refreshes(), 0);
}
