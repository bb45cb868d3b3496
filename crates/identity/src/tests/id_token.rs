//! ID tokens that are not what they should be.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};

use super::*;

/// The status of a callback whose provider lies.
async fn with_lie(lie: impl Fn(&mut Value) + Send + Sync + 'static) -> StatusCode {
    let world = World::new();
    world.provider.state.lock().unwrap().lie = Some(Box::new(lie));
    let mut browser = Browser::default();
    let reply = world.log_in(&mut browser, "/").await;
    assert_eq!(
        browser.session().is_some(),
        reply.status == StatusCode::FOUND
    );
    reply.status
}

#[tokio::test]
async fn wrong_id_tokens_make_no_session() {
    let lies: [(&str, fn(&mut Value)); 19] = [
        ("nonce of another login", |claims| {
            claims["nonce"] = json!("x")
        }),
        ("no nonce", |claims| {
            drop(claims.as_object_mut().unwrap().remove("nonce"))
        }),
        ("another audience", |claims| claims["aud"] = json!("other")),
        ("no audience", |claims| {
            drop(claims.as_object_mut().unwrap().remove("aud"))
        }),
        ("an audience that is none", |claims| {
            claims["aud"] = json!({"x": 1})
        }),
        ("several audiences, no azp", |claims| {
            claims["aud"] = json!([CLIENT, "other"])
        }),
        ("azp of another client", |claims| {
            claims["azp"] = json!("other")
        }),
        ("several audiences, azp of another", |claims| {
            claims["aud"] = json!([CLIENT, "other"]);
            claims["azp"] = json!("other");
        }),
        ("another issuer", |claims| {
            claims["iss"] = json!("https://evil.example")
        }),
        ("issuer with a slash more", |claims| {
            claims["iss"] = json!(format!("{ISSUER}/"))
        }),
        ("expired", |claims| claims["exp"] = json!(START)),
        ("no expiry", |claims| {
            drop(claims.as_object_mut().unwrap().remove("exp"))
        }),
        ("expiry as text", |claims| {
            claims["exp"] = json!("9999999999")
        }),
        ("negative expiry", |claims| claims["exp"] = json!(-1)),
        ("not yet valid", |claims| {
            claims["nbf"] = json!(START + 3600)
        }),
        ("issued in the future", |claims| {
            claims["iat"] = json!(START + 3600)
        }),
        ("no email", |claims| {
            drop(claims.as_object_mut().unwrap().remove("email"))
        }),
        ("email not verified", |claims| {
            claims["email_verified"] = json!(false)
        }),
        ("no subject", |claims| {
            drop(claims.as_object_mut().unwrap().remove("sub"))
        }),
    ];
    for (what, lie) in lies {
        assert_eq!(with_lie(lie).await, StatusCode::FORBIDDEN, "{what}");
    }
    let truths: [fn(&mut Value); 4] = [
        |_| {},
        |claims| claims["azp"] = json!(CLIENT),
        |claims| claims["aud"] = json!([CLIENT]),
        |claims| claims["exp"] = json!(1_800_000_900.5),
    ];
    for truth in truths {
        assert_eq!(with_lie(truth).await, StatusCode::FOUND);
    }
}

#[tokio::test]
async fn changed_or_differently_signed_id_tokens_make_no_session() {
    fn rewrite(token: &str, header: &Value) -> String {
        let mut parts = token.split('.');
        let payload = parts.nth(1).unwrap();
        let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header.to_string()));
        let signature = provider::signature(0, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
    let mangles: [(&str, fn(String) -> String); 9] = [
        ("alg none", |token| {
            let unsigned = rewrite(&token, &json!({"alg": "none"}));
            format!("{}.", unsigned.rsplit_once('.').unwrap().0)
        }),
        ("alg HS256", |token| {
            rewrite(&token, &json!({"alg": "HS256", "kid": "key-0"}))
        }),
        ("alg ES256 with an RSA key", |token| {
            rewrite(&token, &json!({"alg": "ES256", "kid": "key-0"}))
        }),
        ("jku", |token| {
            rewrite(
                &token,
                &json!({"alg": "RS256", "kid": "key-0", "jku": "https://evil.example"}),
            )
        }),
        ("jwk", |token| {
            rewrite(&token, &json!({"alg": "RS256", "kid": "key-0", "jwk": {}}))
        }),
        ("crit", |token| {
            rewrite(
                &token,
                &json!({"alg": "RS256", "kid": "key-0", "crit": ["x"]}),
            )
        }),
        ("another kind", |token| {
            rewrite(
                &token,
                &json!({"alg": "RS256", "kid": "key-0", "typ": "logout+jwt"}),
            )
        }),
        ("unknown key", |token| {
            rewrite(&token, &json!({"alg": "RS256", "kid": "key-9"}))
        }),
        ("another signature", |token| {
            let signed = token.rsplit_once('.').unwrap().0;
            format!(
                "{signed}.{}",
                URL_SAFE_NO_PAD.encode(provider::signature(1, signed.as_bytes()))
            )
        }),
    ];
    for (what, mangle) in mangles {
        let world = World::new();
        world.provider.state.lock().unwrap().mangle = Some(mangle);
        let mut browser = Browser::default();
        let reply = world.log_in(&mut browser, "/").await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{what}");
        assert_eq!(browser.session(), None, "{what}");
    }
    // The one key of the provider needs no id.
    let world = World::new();
    world.provider.state.lock().unwrap().mangle =
        Some(|token| rewrite(&token, &json!({"alg": "RS256"})));
    assert_eq!(
        world.log_in(&mut Browser::default(), "/").await.status,
        StatusCode::FOUND
    );
}
