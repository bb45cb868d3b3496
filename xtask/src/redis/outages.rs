//! What goes on while Redis is away, and afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::server::Server;
use super::{BACK, Pair, jwks, log_in, redeem, refresh, tokens, userinfo};
use crate::http::{Answer, ask};
use crate::shell;
use crate::visitor::{Browser, Tokens, as_application, authorization, param};

/// How soon an answer has to come while Redis is away.
const AT_ONCE: Duration = Duration::from_secs(3);

/// While Redis is killed or hangs, nobody logs in, and what can be checked goes on; afterwards all
/// goes on.
pub(super) fn check() -> Result<()> {
    let mut server = Server::start("always")?;
    let pair = Pair::start(&server)?;
    let mut browser = Browser::default();
    let code = log_in(&mut browser, &pair.a)?;
    let mut held = tokens(&redeem(&pair.b, &code)?)?;
    ensure!(userinfo(&pair.a, &held)? == 200, "userinfo");
    for killed in [true, false, true] {
        if killed {
            server.kill();
        } else {
            server.freeze(true)?;
        }
        for address in [&pair.a, &pair.b] {
            without(address, &held)?;
        }
        if killed {
            server.restart()?;
        } else {
            server.freeze(false)?;
        }
        let began = Instant::now();
        for address in [&pair.a, &pair.b] {
            held = loop {
                let answer = refresh(address, &held.refresh)?;
                if answer.status == 200 {
                    break tokens(&answer)?;
                }
                ensure!(
                    answer.status == 503 && began.elapsed() < BACK,
                    "Redis is back: {answer:?}"
                );
                std::thread::sleep(Duration::from_millis(50));
            };
            let answer = browser.get(address, &authorization())?;
            ensure!(
                param(&answer, "code").is_some(),
                "a session after the outage: {answer:?}"
            );
        }
    }
    Ok(())
}

/// What a replica has in memory counts for `staleFor` and no longer, and again once Redis is back.
pub(super) fn cut_off() -> Result<()> {
    let mut server = Server::start("always")?;
    let mut pair = Pair::prepare(&shell::target().join("debug/sidegate"), &server)?;
    let url = format!("url: \"{}/2\", staleFor: 2s", server.url());
    for index in 0..2 {
        pair.configure(index, &url)?;
        pair.restart(index)?;
    }
    let code = log_in(&mut Browser::default(), &pair.a)?;
    let held = tokens(&redeem(&pair.b, &code)?)?;
    for address in [&pair.a, &pair.b] {
        ensure!(userinfo(address, &held)? == 200, "userinfo");
    }
    server.kill();
    for address in [&pair.a, &pair.b] {
        let status = userinfo(address, &held)?;
        ensure!(status == 200, "a moment without Redis: {status}");
    }
    let began = Instant::now();
    for address in [&pair.a, &pair.b] {
        while userinfo(address, &held)? != 503 {
            ensure!(began.elapsed() < BACK, "a token counts without end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    ensure!(jwks(&pair.a)? == jwks(&pair.b)?, "keys go on");
    server.restart()?;
    let began = Instant::now();
    for address in [&pair.a, &pair.b] {
        while userinfo(address, &held)? != 200 {
            ensure!(began.elapsed() < BACK, "Redis is back");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// What a replica answers without Redis.
fn without(address: &str, held: &Tokens) -> Result<()> {
    let timely = |what: &str, answer: Result<Answer>| -> Result<Answer> {
        let began = Instant::now();
        let answer = answer.with_context(|| what.to_owned())?;
        ensure!(began.elapsed() < AT_ONCE, "{what} took too long");
        Ok(answer)
    };
    let page = timely("a login", ask(address, "GET", &authorization(), &[], ""))?;
    ensure!(
        page.status == 503
            && page.header("retry-after").is_some()
            && page.text().contains("Nobody can log in just now"),
        "a login without Redis: {page:?}"
    );
    let answer = timely("a refresh", refresh(address, &held.refresh))?;
    let error = answer.json();
    ensure!(
        answer.status == 503
            && error.get("error").and_then(Value::as_str) == Some("temporarily_unavailable")
            && answer.header("retry-after").is_some(),
        "a refresh without Redis: {answer:?}"
    );
    let status = userinfo(address, held)?;
    ensure!(status == 200, "userinfo without Redis: {status}");
    // A token that is not known may be new.
    let unknown = Tokens {
        id: String::new(),
        access: "unknown".to_owned(),
        refresh: String::new(),
    };
    let status = userinfo(address, &unknown)?;
    ensure!(status == 503, "an unknown token without Redis: {status}");
    for (token, active) in [(held, Some(&Value::Bool(true))), (&unknown, None)] {
        let fields = [("token", token.access.as_str())];
        let about = as_application(address, "/dex/token/introspect", &fields)?;
        ensure!(
            about.json().get("active") == active,
            "introspection without Redis: {about:?}"
        );
    }
    for path in [
        "/dex/keys",
        "/dex/.well-known/openid-configuration",
        "/dex/healthz",
    ] {
        let answer = timely(path, ask(address, "GET", path, &[], ""))?;
        ensure!(answer.status == 200, "{path} without Redis: {answer:?}");
    }
    Ok(())
}
