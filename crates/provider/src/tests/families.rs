//! Refresh tokens over many logins, many requests and many days.

use http::StatusCode;
use serde_json::Value;

use super::bed::{Bed, SKIP_APPROVAL, config, request};

const DAY: u64 = 86_400;

async fn family(bed: &Bed) -> String {
    token_of(&bed.redeem(&bed.code(&request()).await).await.1)
}

fn token_of(tokens: &Value) -> String {
    tokens["refresh_token"].as_str().expect("tokens").to_owned()
}

async fn refresh(bed: &Bed, token: &str) -> (StatusCode, Value) {
    bed.token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
        .await
}

#[tokio::test]
async fn logins_of_one_person_at_one_client_are_independent() {
    let bed = Bed::new();
    let laptop = family(&bed).await;
    let phone = family(&bed).await;
    let next = token_of(&refresh(&bed, &laptop).await.1);
    bed.pass(10);
    assert_eq!(refresh(&bed, &laptop).await.1["error"], "invalid_grant");
    assert_eq!(refresh(&bed, &next).await.1["error"], "invalid_grant");
    assert_eq!(refresh(&bed, &phone).await.0, StatusCode::OK);
}

#[tokio::test]
async fn requests_at_once_get_one_successor() {
    let bed = Bed::new();
    let first = family(&bed).await;
    let again = || refresh(&bed, &first);
    let (a, b, c, d) = tokio::join!(again(), again(), again(), again());
    let successors: Vec<String> = [a, b, c, d].iter().map(|(_, t)| token_of(t)).collect();
    assert!(successors.iter().all(|token| *token == successors[0]));
    assert_ne!(successors[0], first);
    let bed = bed.restart(&config(SKIP_APPROVAL));
    assert_eq!(token_of(&refresh(&bed, &first).await.1), successors[0]);
    bed.pass(10);
    assert_eq!(refresh(&bed, &successors[0]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_family_ends_at_last_however_much_it_is_used() {
    let bed = Bed::new();
    let mut token = family(&bed).await;
    for _ in 0..2 {
        bed.pass(80 * DAY);
        token = token_of(&refresh(&bed, &token).await.1);
    }
    bed.pass(5 * DAY);
    assert_eq!(refresh(&bed, &token).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn a_refresh_token_is_for_its_client() {
    let bed = Bed::new();
    let token = family(&bed).await;
    let params = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
        ("client_id", "peer"),
        ("client_secret", "other"),
    ];
    let reply = bed.send(super::bed::form("/dex/token", &params)).await;
    assert_eq!(super::bed::json(&reply)["error"], "invalid_grant");
    assert_eq!(
        refresh(&bed, &token).await.0,
        StatusCode::OK,
        "no harm done"
    );
}
