//! What is written to the log.

use http::StatusCode;
use serde_json::json;

use super::*;

#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_has_no_secrets() {
    let log = Log::default();
    let writer = log.clone();
    // For all threads: a thread without a subscriber would switch events off for all.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .init();

    let world = World::new();
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    let mut secrets = vec![browser.session().unwrap().to_owned(), SECRET.to_owned()];
    world.provider.state.lock().unwrap().lie =
        Some(Box::new(|claims| claims["nonce"] = json!("wrong")));
    let mut failing = Browser::default();
    let begin = world.login().begin_login(&failing.get("/"));
    failing.take(&begin);
    let back = world.provider.log_in(location(&begin));
    let reply = world.login().callback(&failing.get(&back)).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    let again = world.login().callback(&failing.get(&back)).await;
    assert_eq!(again.status, StatusCode::BAD_GATEWAY, "the code is used up");
    secrets.push(back.split_once("state=").unwrap().1.to_owned());
    secrets.push("code-2".to_owned());
    secrets.extend(failing.cookies.values().cloned());
    let token = provider::sign(0, &world.provider.claims());
    drop(world.bearer(&format!("{token}x")).await);
    secrets.push(token);

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("claim `nonce`"), "{text}");
    assert!(text.contains("`invalid_grant`"), "{text}");
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} in {text}");
    }
}
