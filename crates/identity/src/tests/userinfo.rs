//! Providers whose ID tokens do not say who somebody is.

use http::StatusCode;
use policy::{Caller, Person, Tokens};
use serde_json::{Value, json};

use super::*;

const SUBJECT: &str = "Cg0wLTM4NS0yODA4OS0wEgRtb2Nr";

/// A provider whose ID tokens have none of `missing`, and what its userinfo says.
fn thin(missing: &'static [&'static str], userinfo: Option<Value>) -> World {
    let world = World::new();
    {
        let mut state = world.provider.state.lock().unwrap();
        state.userinfo = userinfo;
        state.lie = Some(Box::new(move |claims| {
            for name in missing {
                claims.as_object_mut().unwrap().remove(*name);
            }
        }));
    }
    world
}

const WHO: &[&str] = &["email", "email_verified", "name", "groups"];

async fn person(world: &World, browser: &Browser) -> Option<Person> {
    let head = browser.get("/");
    let caller = world.identity.caller(&head, Tokens::SessionOrBearer);
    match caller.await {
        Caller::Session(person) => Some(person),
        Caller::Anonymous => None,
        other => panic!("{other:?}"),
    }
}

fn asked(world: &World) -> usize {
    let state = world.provider.state.lock().unwrap();
    let userinfo = state.asked.iter().filter(|path| *path == "/dex/userinfo");
    userinfo.count()
}

#[tokio::test]
async fn an_address_that_only_userinfo_tells_is_asked_for() {
    let told = json!({
        "sub": SUBJECT, "email": "thin@example.com", "email_verified": true, "groups": ["staff"],
    });
    let world = thin(WHO, Some(told.clone()));
    let mut browser = Browser::default();
    let reply = world.log_in(&mut browser, "/").await;
    assert_eq!(reply.status, StatusCode::FOUND);
    let who = person(&world, &browser).await.unwrap();
    assert_eq!(&*who.email, "thin@example.com");
    assert_eq!(&*who.subject, SUBJECT);
    assert_eq!(
        who.groups.iter().map(|g| &**g).collect::<Vec<_>>(),
        ["staff"]
    );
    // What the ID token says counts, and nobody is asked about it.
    let world = thin(&[], Some(told));
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    let who = person(&world, &browser).await.unwrap();
    assert_eq!((&*who.email, who.groups.len()), ("user@example.com", 2));
    assert_eq!(asked(&world), 0);
}

#[tokio::test]
async fn userinfo_makes_nobody_somebody_else() {
    for (why, told, status) in [
        (
            "of another person",
            json!({"sub": "other", "email": "a@b.c"}),
            403,
        ),
        ("of nobody", json!({"email": "a@b.c"}), 403),
        ("without an address", json!({"sub": SUBJECT}), 403),
        (
            "not verified there, whatever the ID token says",
            json!({"sub": SUBJECT, "email": "a@b.c", "email_verified": false}),
            403,
        ),
        ("no object", json!([]), 502),
    ] {
        let world = thin(&["email"], Some(told));
        let mut browser = Browser::default();
        let reply = world.log_in(&mut browser, "/").await;
        assert_eq!(reply.status.as_u16(), status, "{why}");
        assert!(browser.session().is_none(), "{why}");
    }
    // There is no such endpoint.
    let world = thin(&["email"], None);
    let reply = world.log_in(&mut Browser::default(), "/").await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_renewal_asks_userinfo_too_and_survives_its_outage() {
    let told =
        |group: &str| Some(json!({"sub": SUBJECT, "email": "thin@example.com", "groups": [group]}));
    let world = thin(WHO, told("staff"));
    world.provider.state.lock().unwrap().refresh = Some("first".to_owned());
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    world.provider.state.lock().unwrap().userinfo = told("admins");
    world.advance(600);
    let who = person(&world, &browser).await.unwrap();
    assert_eq!(&*who.groups[0], "admins");
    // The refresh token is taken all the same, and the next renewal asks again.
    world.provider.state.lock().unwrap().userinfo = Some(json!("away"));
    world.advance(600);
    assert_eq!(
        &*person(&world, &browser).await.unwrap().groups[0],
        "admins"
    );
    world.provider.state.lock().unwrap().userinfo = told("guests");
    world.advance(600);
    assert_eq!(
        &*person(&world, &browser).await.unwrap().groups[0],
        "guests"
    );
    // About somebody else, it ends the session.
    world.provider.state.lock().unwrap().userinfo = Some(json!({"sub": "x", "email": "x@y.z"}));
    world.advance(600);
    assert_eq!(person(&world, &browser).await, None);
}
